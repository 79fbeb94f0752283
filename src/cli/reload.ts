/** `taploom reload`: the running daemon reads its file again and applies the difference. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { clientOf } from './options.ts'

/** Devices are created and removed meanwhile. */
const RELOAD_MS = 120_000

const NOTES = `
Ports that did not change lose no packet. A file that is wrong changes nothing (exit code 2).

Examples:
  sudo taploom reload
  sudo taploom reload --file config/lab2.yaml`

export function reload(program: Command): void {
  program
    .command('reload')
    .description('apply what changed in the configuration')
    .option('--file <file>', 'another configuration than the one it was started with')
    .addHelpText('after', NOTES)
    .action(async (options: { file?: string }, command: Command) => {
      const body = options.file === undefined ? {} : { file: resolve(options.file) }
      const { changes } = await clientOf(command, RELOAD_MS).post<{ changes: string[] }>('/v1/reload', body)
      process.stdout.write(changes.length === 0 ? 'nothing changed\n' : `${changes.join('\n')}\n`)
    })
}
