/** The options of conntrack(8) that say which connections are meant, for `show conntrack` and `conntrack delete`. */
import { type Command, Option } from 'commander'
import type { Query } from '../control/api/client.ts'

/** Key of the control API: the option, other names that it has, and what it says. */
const OPTIONS: [key: string, flags: string, also: string[], about: string][] = [
  ['family', '-f, --family <family>', [], 'ipv4 or ipv6'],
  ['proto', '-p, --proto <protocol>', ['--protonum'], 'tcp, udp, icmp, ..., or a number'],
  ['src', '-s, --src <address>', ['--orig-src'], 'source: an address, or a network with /PREFIX'],
  ['dst', '-d, --dst <address>', ['--orig-dst'], 'destination'],
  ['replySrc', '-r, --reply-src <address>', [], 'source of the answers'],
  ['replyDst', '-q, --reply-dst <address>', [], 'destination of the answers'],
  ['sport', '--sport <port>', ['--orig-port-src'], 'source port'],
  ['dport', '--dport <port>', ['--orig-port-dst'], 'destination port'],
  ['replySport', '--reply-port-src <port>', [], 'source port of the answers'],
  ['replyDport', '--reply-port-dst <port>', [], 'destination port of the answers'],
  ['state', '--state <state>', [], 'of TCP: ESTABLISHED, TIME_WAIT, ...'],
  ['status', '-u, --status <status>', [], 'ASSURED, SEEN_REPLY, UNSET; several with commas'],
  ['mark', '-m, --mark <mark>', [], 'value, or value/mask'],
  ['zone', '-w, --zone <zone>', [], 'conntrack zone'],
  ['srcNat', '-n, --src-nat', [], 'only those whose source is translated'],
  ['dstNat', '-g, --dst-nat', [], 'only those whose destination is translated'],
]

export function conntrackOptions(command: Command): void {
  command.option('--router <name>', 'only this router')
  for (const [, flags, also, about] of OPTIONS) {
    command.option(flags, about)
    for (const name of also)
      command.addOption(new Option(flags.replace(/^(-., )?--[a-z-]+/, name), about).hideHelp())
  }
}

const attribute = (flags: string): string => new Option(flags).attributeName()

/** What was asked for, as the control API wants it. */
export function conntrackQuery(options: Record<string, unknown>): Query {
  const query: Query = { router: options.router as string | undefined }
  for (const [key, flags, also] of OPTIONS) {
    const found = [flags, ...also].map((one) => options[attribute(one)]).find((value) => value !== undefined)
    if (found !== undefined) query[key] = found as string | boolean
  }
  return query
}
