/** `taploom check FILE`: validates, touches nothing. */
import type { Command } from 'commander'
import { sizeText } from './options.ts'

const NOTES = `
Without --offline it also looks at this machine: namespace files that must exist, devices that must not.

Examples:
  taploom check config/lab.yaml
  taploom check --offline config/lab.yaml     in CI, away from the machine that will run it`

export function check(program: Command): void {
  program
    .command('check')
    .description('validate a configuration; touches nothing')
    .argument('<file>', 'configuration, YAML or JSON')
    .option('--offline', 'only the file, not this machine')
    .addHelpText('after', NOTES)
    .action(async (file: string, options: { offline?: boolean }) => {
      const { loadConfig } = await import('../config/load.ts')
      const config = loadConfig(file)
      if (!options.offline) {
        const { checkSystem } = await import('../config/system.ts')
        checkSystem(config)
      }
      process.stdout.write(`${file}: ok (${sizeText(config)})\n`)
    })
}
