/**
 * The `taploom` command. One file per command; each adds itself to the program and loads what is
 * heavy (the addon, fastify, zod) only when it runs.
 */
import { Command } from 'commander'
import { version } from '../root.ts'
import { bench } from './bench.ts'
import { capture } from './capture.ts'
import { check } from './check.ts'
import { conntrack } from './conntrack.ts'
import { demo } from './demo-command.ts'
import { report } from './exit.ts'
import { flush } from './flush.ts'
import { addGlobals } from './options.ts'
import { reload } from './reload.ts'
import { show } from './show.ts'
import { up } from './up.ts'

const EXAMPLES = `
Examples:
  sudo taploom demo                       three namespaces, one switch, proof that it works
  sudo taploom up config/lab.yaml         run a configuration in the foreground
  taploom check config/lab.yaml           say what is wrong with it, touch nothing
  sudo taploom show ports                 what runs, as a table (--json for programs)
  sudo taploom show fdb --vlan 10         which address is behind which port
  sudo taploom show drops                 which packets were dropped, and why
  sudo taploom capture web -w - | tshark -r -
  sudo taploom reload                     apply what changed in the file

Exit codes: 0 done, 1 failed, 2 bad usage or configuration.`

const program = new Command('taploom')
  .description('A virtual switch in one Node.js process: TAP and TUN devices woven into one fabric.')
  .version(version, '-V, --version', 'print the version')
  .helpOption('-h, --help', 'print help')
  .helpCommand('help [command]', 'print help for a command')
  .showSuggestionAfterError(true)
  .configureHelp({ showGlobalOptions: true })
  .addHelpText('after', EXAMPLES)
  // Before the commands: they inherit it.
  .exitOverride()
addGlobals(program)
for (const add of [up, check, reload, show, capture, conntrack, flush, demo, bench]) add(program)

// A reader that has seen enough (`| head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  process.exit(report(new Error(`cannot write the output: ${error.message}`), Boolean(program.opts().debug)))
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error, Boolean(program.opts().debug))
}
