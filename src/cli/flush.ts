/** `taploom flush fdb` and `flush tunnels`: forget learned addresses; static ones stay. */
import type { Command } from 'commander'
import { clientOf, plural } from './options.ts'
import { filterOptions } from './show.ts'

export function flush(program: Command): void {
  const parent = program.command('flush').description('forget what was learned')
  const command = parent.command('fdb').description('forget learned addresses; static ones stay')
  filterOptions(command)
  command.action(async (options: { switch?: string; port?: string; vlan?: number }) => {
    const { flushed } = await clientOf(command).post<{ flushed: number }>('/v1/flush', options)
    process.stdout.write(`${plural(flushed, 'address', 'addresses')} forgotten\n`)
  })
  const tunnels = parent
    .command('tunnels')
    .description('forget which remote an address is behind; static ones stay')
    .option('--vtep <name>', 'only this VTEP')
    .option('--remote <address>', 'only what is behind this remote')
  tunnels.action(async (options: { vtep?: string; remote?: string }) => {
    const { flushed } = await clientOf(tunnels).post<{ flushed: number }>('/v1/flush/tunnels', options)
    process.stdout.write(`${plural(flushed, 'address', 'addresses')} forgotten\n`)
  })
}
