/** Matches on fields of the packet's own headers: tcp, udp, icmp, icmp6, multiport, length, ttl, hl, tcpmss, dscp. */
import { Wrong } from '../error.ts'
import type {
  DscpMatch,
  Family,
  IcmpMatch,
  MultiportMatch,
  PortMatch,
  Range,
  RangeMatch,
  TcpMatch,
  TtlMatch,
  UdpMatch,
} from '../model.ts'
import { ICMP, ICMP6, printProtocol, readDscpClass, readIcmpType } from '../names.ts'
import {
  type Extension,
  flag,
  isProtocol,
  type OptionSpec,
  type Options,
  option,
  type Place,
  printInverting,
  words,
} from '../option.ts'
import { printBits, printRange, readBits, readNumber, readPort, readPortRange, readRange } from '../value.ts'
import { type Inverted, TCP_FLAG } from './model.ts'

const PORTS: readonly OptionSpec[] = [
  option('source', '--sport --source-port', { invert: true }),
  option('destination', '--dport --destination-port', { invert: true }),
]

function buildPorts(options: Options): PortMatch {
  return { source: readPorts(options, 'source'), destination: readPorts(options, 'destination') }
}

/** All ports is no condition, as in iptables. */
function readPorts(options: Options, key: string): Inverted<Range> | null {
  const ports = options.inverting(key, readPortRange)
  return ports && !ports.invert && ports.value.min === 0 && ports.value.max === 65535 ? null : ports
}

function printPorts(match: PortMatch): string {
  return words(
    printInverting('--sport', match.source, printRange),
    printInverting('--dport', match.destination, printRange),
  )
}

function needs(name: string, ...protocols: number[]): (shape: unknown, place: Place) => string | undefined {
  const text = protocols.map((number) => `-p ${printProtocol(number)}`).join(', ')
  return (_, { rule }) =>
    isProtocol(rule, ...protocols) ? undefined : `match ${name} needs ${text} in the same rule`
}

const FLAG_WORDS: Readonly<Record<string, number>> = { ...TCP_FLAG, ALL: 63, NONE: 0 }
const SYN_MASK = TCP_FLAG.SYN | TCP_FLAG.RST | TCP_FLAG.ACK | TCP_FLAG.FIN

function readFlags(options: Options): TcpMatch['flags'] {
  options.exclusive('syn', 'flags')
  if (options.has('syn')) {
    return { invert: options.inverted('syn'), value: { mask: SYN_MASK, compare: TCP_FLAG.SYN } }
  }
  const args = options.args('flags')
  if (!args) return null
  const mask = readBits(args[0], FLAG_WORDS, 'TCP flag')
  const compare = readBits(args[1], FLAG_WORDS, 'TCP flag')
  if (mask === 0 && compare === 0 && !options.inverted('flags')) return null
  return { invert: options.inverted('flags'), value: { mask, compare } }
}

export const tcp: Extension<TcpMatch> = {
  name: 'tcp',
  options: [
    ...PORTS,
    option('flags', '--tcp-flags', { args: 2, invert: true }),
    flag('syn', '--syn', { invert: true }),
    option('option', '--tcp-option', { invert: true }),
  ],
  build: (options) => ({
    kind: 'tcp',
    ...buildPorts(options),
    flags: readFlags(options),
    option: options.inverting('option', (text) => readNumber(text, 1, 255, 'a TCP option')),
  }),
  print: (match) =>
    words(
      printPorts(match),
      printInverting('--tcp-option', match.option, String),
      printInverting(
        '--tcp-flags',
        match.flags,
        ({ mask, compare }) => `${printFlags(mask)} ${printFlags(compare)}`,
      ),
    ),
  check: needs('tcp', 6),
}

function printFlags(bits: number): string {
  return printBits(bits, TCP_FLAG) || 'NONE'
}

export const udp: Extension<UdpMatch> = {
  name: 'udp',
  options: PORTS,
  build: (options) => ({ kind: 'udp', ...buildPorts(options) }),
  print: printPorts,
  check: needs('udp', 17),
}

const ANY_CODE: Range = { min: 0, max: 255 }

function icmpMatch(
  kind: 'icmp' | 'icmp6',
  family: Family,
  name: string,
  protocol: number,
): Extension<IcmpMatch> {
  return {
    name: kind,
    aliases: kind === 'icmp6' ? ['icmpv6', 'ipv6-icmp'] : [],
    family,
    options: [option('type', name, { invert: true })],
    build: (options) => {
      const text = options.need('type', name)
      const invert = options.inverted('type')
      if (kind === 'icmp' && text === 'any') return { kind, invert, type: null, code: ANY_CODE }
      const { type, code } = readIcmpType(text, kind === 'icmp' ? ICMP : ICMP6)
      // To the kernel type 255 is any type, whatever the code; only for IPv4.
      return kind === 'icmp' && type === 255
        ? { kind, invert, type: null, code: ANY_CODE }
        : { kind, invert, type, code }
    },
    print: ({ invert, type, code }) => {
      const text = type === null ? 'any' : code.min === code.max ? `${type}/${code.min}` : String(type)
      return `${invert ? '! ' : ''}${name} ${text}`
    },
    check: needs(kind, protocol),
  }
}

export const icmp = icmpMatch('icmp', 4, '--icmp-type', 1)
export const icmp6 = icmpMatch('icmp6', 6, '--icmpv6-type', 58)

const MULTIPORT_SIDE = { source: '--sports', destination: '--dports', either: '--ports' } as const

export const multiport: Extension<MultiportMatch> = {
  name: 'multiport',
  options: [
    option('source', '--sports --source-ports', { invert: true }),
    option('destination', '--dports --destination-ports', { invert: true }),
    option('either', '--ports', { invert: true }),
  ],
  build: (options) => {
    const side = options.oneOf(
      ['source', 'destination', 'either'],
      '--sports, --dports, --ports',
    ) as MultiportMatch['side']
    let numbers = 0
    const ports = options
      .text(side)!
      .split(',')
      .map((text) => {
        const range = readRange(text, readPort)
        const isRange = text.includes(':')
        if (isRange && range.min === range.max) throw new Wrong(`the range '${text}' is a single port`)
        numbers += isRange ? 2 : 1
        return range
      })
    if (numbers > 15) throw new Wrong('multiport: more than 15 ports (a range counts as two)')
    return { kind: 'multiport', side, invert: options.inverted(side), ports }
  },
  print: ({ side, invert, ports }) =>
    `${invert ? '! ' : ''}${MULTIPORT_SIDE[side]} ${ports.map((range) => printRange(range)).join(',')}`,
  check: needs('multiport', 6, 17, 136, 132, 33),
}

/** `closed`: a range that ends before it begins is an error only where the kernel says so; here always. */
function rangeMatch(kind: 'length' | 'tcpmss', name: string, what: string): Extension<RangeMatch> {
  return {
    name: kind,
    options: [option('range', name, { invert: true })],
    build: (options) => {
      const read = (text: string) => readNumber(text, 0, 65535, what)
      const range = readRange(options.need('range', name), read, { min: 0, max: 65535 })
      return { kind, invert: options.inverted('range'), range }
    },
    print: ({ invert, range }) => `${invert ? '! ' : ''}${name} ${printRange(range)}`,
    check: kind === 'tcpmss' ? needs('tcpmss', 6) : undefined,
  }
}

export const length = rangeMatch('length', '--length', 'a length')
export const tcpmss = rangeMatch('tcpmss', '--mss', 'an MSS')

function ttlMatch(kind: 'ttl' | 'hl', family: Family): Extension<TtlMatch> {
  return {
    name: kind,
    family,
    options: [
      option('eq', `--${kind}-eq --${kind}`, { invert: true }),
      option('lt', `--${kind}-lt`),
      option('gt', `--${kind}-gt`),
    ],
    build: (options) => {
      const key = options.oneOf(['eq', 'lt', 'gt'], `--${kind}-eq, --${kind}-lt, --${kind}-gt`) as
        | 'eq'
        | 'lt'
        | 'gt'
      const value = readNumber(options.text(key)!, 0, 255, kind === 'ttl' ? 'a TTL' : 'a hop limit')
      return { kind, compare: options.inverted(key) ? 'ne' : key, value }
    },
    print: ({ compare, value }) =>
      compare === 'ne' ? `! --${kind}-eq ${value}` : `--${kind}-${compare} ${value}`,
  }
}

export const ttl = ttlMatch('ttl', 4)
export const hl = ttlMatch('hl', 6)

export const dscp: Extension<DscpMatch> = {
  name: 'dscp',
  options: [option('value', '--dscp', { invert: true }), option('class', '--dscp-class', { invert: true })],
  build: (options) => {
    const key = options.oneOf(['value', 'class'], '--dscp, --dscp-class')
    const text = options.text(key)!
    const value = key === 'value' ? readNumber(text, 0, 63, 'a DSCP') : readDscpClass(text)
    return { kind: 'dscp', invert: options.inverted(key), value }
  },
  print: ({ invert, value }) => `${invert ? '! ' : ''}--dscp 0x${value.toString(16).padStart(2, '0')}`,
}
