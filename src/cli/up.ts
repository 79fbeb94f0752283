/** `taploom up FILE`: the daemon, in the foreground. */
import { type Command, Option } from 'commander'
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../control/log-options.ts'
import { globalsOf, sizeText } from './options.ts'

interface UpOptions {
  logLevel: LogLevel
  logFormat: LogFormat
}

export const logLevelOption = (fallback: LogLevel): Option =>
  new Option('--log-level <level>', 'least severe line that is logged').choices(LOG_LEVELS).default(fallback)
export const logFormatOption = (): Option =>
  new Option('--log-format <format>', 'auto: pretty on a terminal, else JSON')
    .choices(LOG_FORMATS)
    .default('auto')

const NOTES = `
Prints one line with the word "ready" on standard output once traffic flows; logs go to standard error.
SIGINT and SIGTERM end it and remove what it created, SIGHUP is "taploom reload".

Examples:
  sudo taploom up config/lab.yaml
  sudo taploom up --socket /run/lab.sock --log-format json config/lab.yaml`

export function up(program: Command): void {
  program
    .command('up')
    .description('run a configuration in the foreground')
    .argument('<file>', 'configuration, YAML or JSON')
    .addOption(logLevelOption('info'))
    .addOption(logFormatOption())
    .addHelpText('after', NOTES)
    .action(async (file: string, options: UpOptions, command: Command) => {
      const { runDaemon } = await import('../control/daemon.ts')
      const { createLog } = await import('../control/log.ts')
      const { socket } = globalsOf(command)
      const log = createLog({ level: options.logLevel, format: options.logFormat })
      const code = await runDaemon({
        file,
        socket,
        log,
        ready: (daemon) => {
          process.stdout.write(
            `taploom is ready: ${sizeText(daemon.fabric.config)}, control socket ${socket}\n`,
          )
          return undefined
        },
      })
      process.exit(code)
    })
}
