/**
 * `taploom conntrack delete`: ends connections that fit, and NAT's mappings with them. They are listed by
 * `show conntrack`, which has the same options, and all of them forgotten by `flush conntrack`.
 */
import type { Command } from 'commander'
import { conntrackOptions, conntrackQuery } from './conntrack-options.ts'
import { FAILED, UsageError } from './exit.ts'
import { clientOf, plural } from './options.ts'

const NOTES = `
The options are those of conntrack(8); all that are given must fit. As there, it is a failure (exit code 1)
when nothing fits.

Examples:
  taploom conntrack delete -p tcp --dport 22 --state ESTABLISHED
  taploom conntrack delete -s 10.0.0.0/24 --src-nat
  taploom show conntrack -f ipv6
  taploom flush conntrack                     all of them`

export function conntrack(program: Command): void {
  const parent = program.command('conntrack').description('end tracked connections')
  const command = parent.command('delete').description('forget the connections that fit')
  conntrackOptions(command)
  command.option('--json', 'a stable JSON document instead of a sentence').addHelpText('after', NOTES)
  command.action(async (options: Record<string, unknown>) => {
    const query = conntrackQuery(options)
    if (Object.keys(query).every((key) => key === 'router'))
      throw new UsageError('say which connections, or use "taploom flush conntrack" for all of them')
    const document = await clientOf(command).post<{ deleted: number }>('/v1/conntrack/delete', query)
    if (options.json) process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
    else process.stdout.write(`${plural(document.deleted, 'connection')} deleted\n`)
    if (document.deleted === 0) process.exitCode = FAILED
  })
}
