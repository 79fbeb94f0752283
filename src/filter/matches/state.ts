/** Matches on what is known of a packet beside its bytes: conntrack, state, mark, connmark, addrtype, rpfilter, physdev, pkttype, mac. */
import { Wrong } from '../error.ts'
import { HOOK, type Network } from '../model.ts'
import { readProtocol } from '../names.ts'
import { type Extension, flag, type Options, only, option, printInverting, words } from '../option.ts'
import {
  familyOf,
  hex,
  prefixOf,
  printAddress,
  printBits,
  printInterface,
  printMac,
  printNetwork,
  printRange,
  readBits,
  readInterface,
  readMac,
  readMark,
  readNumber,
  readPort,
  readRange,
  readUnmasked,
  readWord,
  U32,
  width,
} from '../value.ts'
import {
  ADDRESS_TYPE,
  type AddrtypeMatch,
  type ConntrackMatch,
  CT_STATE,
  CT_STATUS,
  type MacMatch,
  type MarkMatch,
  type PhysdevMatch,
  type PkttypeMatch,
  type RpfilterMatch,
  type StateMatch,
} from './model.ts'

function readStatus(text: string): number {
  return readBits(text, { NONE: 0, ...CT_STATUS }, 'conntrack status')
}

/** conntrack leaves a full mask out. */
function printTupleAddress(network: Network): string {
  const whole = prefixOf(network.mask) === width(familyOf(network.mask))
  return whole ? printAddress(network.address) : printNetwork(network)
}

export const conntrack: Extension<ConntrackMatch> = {
  name: 'conntrack',
  options: [
    option('state', '--ctstate', { invert: true }),
    option('proto', '--ctproto', { invert: true }),
    option('origsrc', '--ctorigsrc', { invert: true }),
    option('origdst', '--ctorigdst', { invert: true }),
    option('replsrc', '--ctreplsrc', { invert: true }),
    option('repldst', '--ctrepldst', { invert: true }),
    option('origsrcport', '--ctorigsrcport', { invert: true }),
    option('origdstport', '--ctorigdstport', { invert: true }),
    option('replsrcport', '--ctreplsrcport', { invert: true }),
    option('repldstport', '--ctrepldstport', { invert: true }),
    option('status', '--ctstatus', { invert: true }),
    option('expire', '--ctexpire', { invert: true }),
    option('dir', '--ctdir'),
  ],
  build: (options, family) => {
    options.needAny()
    const network = (text: string) => readUnmasked(text, family)
    const ports = (text: string) => readRange(text, readPort, { min: 0, max: 65535 })
    const seconds = (text: string) => readNumber(text, 0, U32, 'seconds')
    return {
      kind: 'conntrack',
      states: options.inverting('state', (text) => readBits(text, CT_STATE, 'conntrack state')),
      protocol: options.inverting('proto', readTupleProtocol),
      origSource: options.inverting('origsrc', network),
      origDestination: options.inverting('origdst', network),
      replySource: options.inverting('replsrc', network),
      replyDestination: options.inverting('repldst', network),
      origSourcePort: options.inverting('origsrcport', ports),
      origDestinationPort: options.inverting('origdstport', ports),
      replySourcePort: options.inverting('replsrcport', ports),
      replyDestinationPort: options.inverting('repldstport', ports),
      status: options.inverting('status', readStatus),
      expireS: options.inverting('expire', (text) => readRange(text, seconds, { min: 0, max: U32 })),
      direction: options.maybe('dir', (text) => readWord(text, ['original', 'reply'], 'direction')),
    }
  },
  print: (match) =>
    words(
      printInverting('--ctstate', match.states, (bits) => printBits(bits, CT_STATE)),
      printInverting('--ctproto', match.protocol, String),
      printInverting('--ctorigsrc', match.origSource, printTupleAddress),
      printInverting('--ctorigdst', match.origDestination, printTupleAddress),
      printInverting('--ctreplsrc', match.replySource, printTupleAddress),
      printInverting('--ctrepldst', match.replyDestination, printTupleAddress),
      printInverting('--ctorigsrcport', match.origSourcePort, printRange),
      printInverting('--ctorigdstport', match.origDestinationPort, printRange),
      printInverting('--ctreplsrcport', match.replySourcePort, printRange),
      printInverting('--ctrepldstport', match.replyDestinationPort, printRange),
      printInverting('--ctstatus', match.status, (bits) => printBits(bits, CT_STATUS) || 'NONE'),
      printInverting('--ctexpire', match.expireS, printRange),
      match.direction && `--ctdir ${match.direction.toUpperCase()}`,
    ),
}

function readTupleProtocol(text: string): number {
  const number = readProtocol(text)
  if (number === 0) throw new Wrong('conntrack: --ctproto of any protocol would never match')
  return number
}

const { SNAT: _snat, DNAT: _dnat, ...PLAIN_STATE } = CT_STATE

export const state: Extension<StateMatch> = {
  name: 'state',
  options: [option('state', '--state', { invert: true })],
  build: (options) => ({
    kind: 'state',
    invert: options.inverted('state'),
    states: readBits(options.need('state', '--state'), PLAIN_STATE, 'state'),
  }),
  print: ({ invert, states }) => `${invert ? '! ' : ''}--state ${printBits(states, PLAIN_STATE)}`,
}

function markMatch(kind: 'mark' | 'connmark'): Extension<MarkMatch> {
  return {
    name: kind,
    options: [option('mark', '--mark', { invert: true })],
    build: (options) => ({
      kind,
      invert: options.inverted('mark'),
      ...readMark(options.need('mark', '--mark')),
    }),
    print: ({ invert, value, mask }) =>
      `${invert ? '! ' : ''}--mark ${hex(value)}${mask === U32 ? '' : `/${hex(mask)}`}`,
  }
}

export const mark = markMatch('mark')
export const connmark = markMatch('connmark')

/** The kernel's IPv6 routing knows no broadcast, and addrtype does not ask it for these. */
const V6_TYPE = Object.fromEntries(
  Object.entries(ADDRESS_TYPE).filter(([name]) =>
    /^(UNSPEC|UNICAST|LOCAL|ANYCAST|MULTICAST|UNREACHABLE)$/.test(name),
  ),
)

export const addrtype: Extension<AddrtypeMatch> = {
  name: 'addrtype',
  options: [
    option('source', '--src-type', { invert: true }),
    option('destination', '--dst-type', { invert: true }),
    flag('in', '--limit-iface-in'),
    flag('out', '--limit-iface-out'),
  ],
  build: (options, family) => {
    if (!options.has('source') && !options.has('destination')) {
      throw new Wrong('addrtype: --src-type or --dst-type must be given')
    }
    options.exclusive('in', 'out')
    const types = (text: string) => readBits(text, family === 4 ? ADDRESS_TYPE : V6_TYPE, 'address type')
    return {
      kind: 'addrtype',
      source: options.inverting('source', types),
      destination: options.inverting('destination', types),
      limit: options.has('in') ? 'in' : options.has('out') ? 'out' : null,
    }
  },
  print: ({ source, destination, limit }) =>
    words(
      printInverting('--src-type', source, (bits) => printBits(bits, ADDRESS_TYPE)),
      printInverting('--dst-type', destination, (bits) => printBits(bits, ADDRESS_TYPE)),
      limit && `--limit-iface-${limit}`,
    ),
  check: ({ limit }, { reach }) => {
    if (limit === 'in' && reach & (HOOK.OUTPUT | HOOK.POSTROUTING)) {
      return '--limit-iface-in: there is no input interface in OUTPUT and POSTROUTING'
    }
    if (limit === 'out' && reach & (HOOK.PREROUTING | HOOK.INPUT)) {
      return '--limit-iface-out: there is no output interface in PREROUTING and INPUT'
    }
    return undefined
  },
}

export const rpfilter: Extension<RpfilterMatch> = {
  name: 'rpfilter',
  options: [
    flag('loose', '--loose'),
    flag('validmark', '--validmark'),
    flag('accept-local', '--accept-local'),
    flag('invert', '--invert'),
  ],
  build: (options) => ({
    kind: 'rpfilter',
    loose: options.has('loose'),
    validMark: options.has('validmark'),
    acceptLocal: options.has('accept-local'),
    invert: options.has('invert'),
  }),
  print: (match) =>
    words(
      match.loose && '--loose',
      match.validMark && '--validmark',
      match.acceptLocal && '--accept-local',
      match.invert && '--invert',
    ),
  check: (_, place) => only(place, 'match rpfilter', ['raw', 'mangle'], HOOK.PREROUTING, 'PREROUTING'),
}

export const physdev: Extension<PhysdevMatch> = {
  name: 'physdev',
  options: [
    option('in', '--physdev-in', { invert: true }),
    option('out', '--physdev-out', { invert: true }),
    flag('is-in', '--physdev-is-in', { invert: true }),
    flag('is-out', '--physdev-is-out', { invert: true }),
    flag('is-bridged', '--physdev-is-bridged', { invert: true }),
  ],
  build: (options) => {
    options.needAny()
    return {
      kind: 'physdev',
      in: options.inverting('in', readInterface),
      out: options.inverting('out', readInterface),
      isIn: readFlag(options, 'is-in'),
      isOut: readFlag(options, 'is-out'),
      isBridged: readFlag(options, 'is-bridged'),
    }
  },
  print: (match) =>
    words(
      printFlag('--physdev-is-in', match.isIn),
      printInverting('--physdev-in', match.in, printInterface),
      printFlag('--physdev-is-out', match.isOut),
      printInverting('--physdev-out', match.out, printInterface),
      printFlag('--physdev-is-bridged', match.isBridged),
    ),
  check: ({ out, isOut, isBridged }, { reach }) =>
    (out !== null || isOut !== null) && isBridged !== true && reach & HOOK.OUTPUT
      ? 'in OUTPUT the outgoing bridge port is known only for bridged packets: add --physdev-is-bridged'
      : undefined,
}

function readFlag(options: Options, key: string): boolean | null {
  return options.has(key) ? !options.inverted(key) : null
}

function printFlag(name: string, wanted: boolean | null): string {
  return wanted === null ? '' : wanted ? name : `! ${name}`
}

export const pkttype: Extension<PkttypeMatch> = {
  name: 'pkttype',
  options: [option('type', '--pkt-type', { invert: true })],
  build: (options) => {
    const text = options.need('type', '--pkt-type')
    const type = text.toLowerCase() === 'host' ? 'unicast' : readPacketType(text)
    return { kind: 'pkttype', invert: options.inverted('type'), type }
  },
  print: ({ invert, type }) => `${invert ? '! ' : ''}--pkt-type ${type}`,
}

function readPacketType(text: string): PkttypeMatch['type'] {
  return readWord(text, ['unicast', 'broadcast', 'multicast', 'otherhost'], 'packet type')
}

export const mac: Extension<MacMatch> = {
  name: 'mac',
  options: [option('source', '--mac-source', { invert: true })],
  build: (options) => ({
    kind: 'mac',
    invert: options.inverted('source'),
    source: readMac(options.need('source', '--mac-source')),
  }),
  print: ({ invert, source }) => `${invert ? '! ' : ''}--mac-source ${printMac(source)}`,
  check: (_, place) =>
    only(place, 'match mac', [], HOOK.PREROUTING | HOOK.INPUT | HOOK.FORWARD, 'PREROUTING, INPUT, FORWARD'),
}
