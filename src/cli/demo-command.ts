/** `taploom demo`: the README's first command. */
import type { Command } from 'commander'
import { globalsOf } from './options.ts'
import { logFormatOption, logLevelOption } from './up.ts'

const NOTES = `
Builds the lab of config/lab.yaml, proves it with pings between every two hosts (IPv4 and IPv6) and a
short TCP transfer, shows the tables, and leaves it running until Ctrl-C. Needs root.`

export function demo(program: Command): void {
  program
    .command('demo')
    .description('three namespaces, one switch, and the proof that it works')
    .option('--file <file>', 'another configuration than config/lab.yaml')
    .option('--once', 'end after the proof: exit code 0 when it holds, 1 when not')
    .addOption(logLevelOption('warn'))
    .addOption(logFormatOption())
    .addHelpText('after', NOTES)
    .action(async (options, command: Command) => {
      const { runDemo } = await import('./demo.ts')
      const { createLog } = await import('../control/log.ts')
      const log = createLog({ level: options.logLevel, format: options.logFormat })
      process.exit(
        await runDemo({
          file: options.file,
          once: options.once === true,
          socket: globalsOf(command).socket,
          log,
        }),
      )
    })
}
