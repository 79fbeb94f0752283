/** Targets that decide about a packet or hand it to someone: ACCEPT, DROP, RETURN, REJECT, LOG, NFLOG, QUEUE, NFQUEUE. */
import { Wrong } from '../error.ts'
import { quoteText } from '../lex.ts'
import { HOOK } from '../model.ts'
import { type Extension, flag, isProtocol, only, option, words } from '../option.ts'
import { printRange, readNumber, readRange, readWord, U32 } from '../value.ts'
import type { LogTarget, NflogTarget, QueueTarget, RejectTarget, VerdictTarget } from './model.ts'

function verdict(kind: VerdictTarget['kind']): Extension<VerdictTarget> {
  return {
    name: kind,
    options: [],
    build: () => ({ kind }),
    print: () => '',
    check: (_, { table }) =>
      kind === 'DROP' && table === 'nat'
        ? 'table nat is not for filtering: DROP is not allowed there'
        : undefined,
  }
}

export const accept = verdict('ACCEPT')
export const drop = verdict('DROP')
export const returning = verdict('RETURN')

/** Name, alias, ICMP type and code. The first of each list is the default. */
type Reply = readonly [name: string, alias: string, type: number, code: number]

const REPLY: readonly Reply[] = [
  ['icmp-port-unreachable', 'port-unreach', 3, 3],
  ['icmp-net-unreachable', 'net-unreach', 3, 0],
  ['icmp-host-unreachable', 'host-unreach', 3, 1],
  ['icmp-proto-unreachable', 'proto-unreach', 3, 2],
  ['icmp-net-prohibited', 'net-prohib', 3, 9],
  ['icmp-host-prohibited', 'host-prohib', 3, 10],
  ['icmp-admin-prohibited', 'admin-prohib', 3, 13],
]

const REPLY6: readonly Reply[] = [
  ['icmp6-port-unreachable', 'port-unreach', 1, 4],
  ['icmp6-no-route', 'no-route', 1, 0],
  ['icmp6-adm-prohibited', 'adm-prohibited', 1, 1],
  ['icmp6-addr-unreachable', 'addr-unreach', 1, 3],
  ['icmp6-policy-fail', 'policy-fail', 1, 5],
  ['icmp6-reject-route', 'reject-route', 1, 6],
]

export const reject: Extension<RejectTarget> = {
  name: 'REJECT',
  options: [option('with', '--reject-with')],
  build: (options, family) => {
    const replies = family === 4 ? REPLY : REPLY6
    const names = [
      ...replies.map(([name]) => name),
      ...replies.map(([, alias]) => alias),
      'tcp-reset',
      'tcp-rst',
    ]
    const found = readWord(options.text('with') ?? replies[0][0], names, 'reject type')
    if (found === 'tcp-reset' || found === 'tcp-rst')
      return { kind: 'REJECT', reply: { protocol: 'tcp-reset' } }
    const [, , type, code] = replies.find(([name, alias]) => name === found || alias === found)!
    return { kind: 'REJECT', reply: { protocol: family === 4 ? 'icmp' : 'icmp6', type, code } }
  },
  print: ({ reply }) => {
    if (reply.protocol === 'tcp-reset') return '--reject-with tcp-reset'
    const replies = reply.protocol === 'icmp' ? REPLY : REPLY6
    return `--reject-with ${replies.find(([, , type, code]) => type === reply.type && code === reply.code)![0]}`
  },
  check: ({ reply }, place) => {
    if (reply.protocol === 'tcp-reset' && !isProtocol(place.rule, 6))
      return 'REJECT --reject-with tcp-reset needs -p tcp in the same rule'
    return only(
      place,
      'target REJECT',
      ['filter'],
      HOOK.INPUT | HOOK.FORWARD | HOOK.OUTPUT,
      'INPUT, FORWARD, OUTPUT',
    )
  },
}

const LEVEL: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  emerg: 0,
  panic: 0,
  alert: 1,
  crit: 2,
  err: 3,
  error: 3,
  warning: 4,
  notice: 5,
  info: 6,
  debug: 7,
})
const DEFAULT_LEVEL = 4

function readLevel(text: string): number {
  const level = LEVEL[text] ?? (/^[0-7]$/.test(text) ? Number(text) : undefined)
  if (level === undefined) throw new Wrong(`unknown log level '${text}'`, ['0 to 7', ...Object.keys(LEVEL)])
  return level
}

/** The kernel has room for `longest` bytes; iptables would cut the rest off without a word. */
function readPrefix(text: string, longest: number): string {
  const length = Buffer.byteLength(text)
  if (length < 1 || length > longest)
    throw new Wrong(`a prefix has 1 to ${longest} bytes, this one ${length}`)
  return text
}

export const log: Extension<LogTarget> = {
  name: 'LOG',
  options: [
    option('level', '--log-level'),
    option('prefix', '--log-prefix'),
    flag('sequence', '--log-tcp-sequence'),
    flag('tcp-options', '--log-tcp-options'),
    flag('ip-options', '--log-ip-options'),
    flag('uid', '--log-uid'),
    flag('mac', '--log-macdecode'),
  ],
  build: (options) => ({
    kind: 'LOG',
    level: options.maybe('level', readLevel) ?? DEFAULT_LEVEL,
    prefix: options.maybe('prefix', (text) => readPrefix(text, 29)) ?? '',
    tcpSequence: options.has('sequence'),
    tcpOptions: options.has('tcp-options'),
    ipOptions: options.has('ip-options'),
    uid: options.has('uid'),
    macDecode: options.has('mac'),
  }),
  print: (target) =>
    words(
      target.prefix !== '' && `--log-prefix ${quoteText(target.prefix)}`,
      target.level !== DEFAULT_LEVEL && `--log-level ${target.level}`,
      target.tcpSequence && '--log-tcp-sequence',
      target.tcpOptions && '--log-tcp-options',
      target.ipOptions && '--log-ip-options',
      target.uid && '--log-uid',
      target.macDecode && '--log-macdecode',
    ),
}

export const nflog: Extension<NflogTarget> = {
  name: 'NFLOG',
  options: [
    option('group', '--nflog-group'),
    option('prefix', '--nflog-prefix'),
    option('range', '--nflog-range'),
    option('size', '--nflog-size'),
    option('threshold', '--nflog-threshold'),
  ],
  build: (options) => {
    options.exclusive('range', 'size')
    return {
      kind: 'NFLOG',
      group: options.maybe('group', (text) => readNumber(text, 0, 65535, 'a group')) ?? 0,
      prefix: options.maybe('prefix', (text) => readPrefix(text, 63)) ?? '',
      size: options.maybe('size', (text) => readNumber(text, 0, U32, 'a number of bytes')),
      range: options.maybe('range', (text) => readNumber(text, 0, U32, 'a number of bytes')) ?? 0,
      threshold: options.maybe('threshold', (text) => readNumber(text, 0, 65535, 'a number of packets')) ?? 0,
    }
  },
  print: ({ group, prefix, size, range, threshold }) =>
    words(
      prefix !== '' && `--nflog-prefix ${quoteText(prefix)}`,
      group !== 0 && `--nflog-group ${group}`,
      size !== null ? `--nflog-size ${size}` : range !== 0 && `--nflog-range ${range}`,
      threshold !== 0 && `--nflog-threshold ${threshold}`,
    ),
}

const QUEUE_ZERO = { min: 0, max: 0 }

function readQueue(text: string): number {
  return readNumber(text, 0, 65535, 'a queue number')
}

export const nfqueue: Extension<QueueTarget> = {
  name: 'NFQUEUE',
  options: [
    option('num', '--queue-num'),
    option('balance', '--queue-balance'),
    flag('bypass', '--queue-bypass'),
    flag('fanout', '--queue-cpu-fanout'),
  ],
  build: (options) => {
    options.exclusive('num', 'balance')
    const queues = options.maybe('balance', (text) => readRange(text, readQueue))
    if (queues && queues.min === queues.max)
      throw new Wrong('NFQUEUE: --queue-balance wants first:last, two different queues')
    if (options.has('fanout') && !queues) throw new Wrong('NFQUEUE: --queue-cpu-fanout needs --queue-balance')
    const number = readQueue(options.text('num') ?? '0')
    return {
      kind: 'NFQUEUE',
      queues: queues ?? { min: number, max: number },
      bypass: options.has('bypass'),
      cpuFanout: options.has('fanout'),
    }
  },
  print: ({ queues, bypass, cpuFanout }) =>
    words(
      `--queue-${queues.min === queues.max ? 'num' : 'balance'} ${printRange(queues)}`,
      bypass && '--queue-bypass',
      cpuFanout && '--queue-cpu-fanout',
    ),
}

export const queue: Extension<QueueTarget> = {
  name: 'QUEUE',
  options: [],
  build: () => ({ kind: 'QUEUE', queues: QUEUE_ZERO, bypass: false, cpuFanout: false }),
  print: () => '',
}
