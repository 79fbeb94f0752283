/** `taploom flush WHAT`: forgets learned addresses (fdb, tunnels; static ones stay), or tracked connections. */
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

  const connections = parent.command('conntrack').description('forget all tracked connections')
  connections
    .option('--router <name>', 'only of this router')
    .option('--json', 'a stable JSON document instead of a sentence')
  connections.action(async ({ router, json }: { router?: string; json?: boolean }) => {
    const document = await clientOf(connections).post<{ deleted: number }>('/v1/conntrack/flush', { router })
    if (json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
    else process.stdout.write(`${plural(document.deleted, 'connection')} deleted\n`)
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
