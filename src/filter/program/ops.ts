/**
 * Matches into conditions. The operands of every op are written here, and read in match.ts, match-variable.ts
 * and match-stateful.ts in the same order.
 */
import { Ip } from '../../packet/ip.ts'
import { bytesPerS } from '../matches/hashlimit.ts'
import type {
  ConntrackMatch,
  HashlimitMatch,
  Inverted,
  Match,
  MultiportMatch,
  Network,
  PhysdevMatch,
  PortMatch,
  Range,
  RecentMatch,
  Rule,
  SetMatch,
  Words,
} from '../model.ts'
import { prefixMask } from '../value.ts'
import {
  type Condition,
  fourWords,
  guard,
  maskedWord,
  op,
  portRange,
  rowStates,
  stateCondition,
  word,
} from './condition.ts'
import { type CompileContext, shared } from './context.ts'
import { Tuple } from './host.ts'
import { Op } from './layout.ts'
import { buildSet, isConstant } from './set-memory.ts'

const COMPARE = { eq: 0, ne: 1, lt: 2, gt: 3 } as const
const PACKET_TYPE = { unicast: 0, broadcast: 1, multicast: 2, otherhost: 3 } as const
const SNAT_DNAT = 96
const TCP_BYTES = 20
const UDP_BYTES = 8
const ICMP_BYTES = 8

const bit = (value: boolean): number => (value ? 1 : 0)

export function matchConditions(match: Match, rule: Rule, context: CompileContext): Condition[] {
  switch (match.kind) {
    case 'comment':
      return []
    case 'tcp':
      if (match.flags) context.tcpFlags |= match.flags.value.mask
      return [
        ...guard(TCP_BYTES),
        ...ports(match),
        ...(match.flags
          ? [op(Op.TcpFlags, match.flags.value.mask, match.flags.value.compare, bit(match.flags.invert))]
          : []),
        ...(match.option ? [op(Op.TcpOption, match.option.value, bit(match.option.invert))] : []),
      ]
    case 'udp':
      return [...guard(UDP_BYTES), ...ports(match)]
    case 'icmp':
    case 'icmp6':
      return icmp(match.type, match.code, match.invert)
    case 'multiport':
      return [...guard(4), multiport(match)]
    case 'iprange':
      return [range(Ip.Src0, match.source), range(Ip.Dst0, match.destination)].flat()
    case 'state':
      context.tracks = true
      return states(match.states, match.invert, context)
    case 'conntrack':
      context.tracks = true
      return conntrack(match, context)
    case 'mark':
      return [word(Ip.Mark, match.value, match.mask, match.invert)]
    case 'connmark':
      context.tracks = true
      return [op(Op.Connmark, match.value, match.mask, bit(match.invert))]
    case 'pkttype':
      return [word(Ip.PktType, PACKET_TYPE[match.type], 3, match.invert)]
    case 'length':
      return [op(Op.Length, match.range.min, match.range.max, bit(match.invert))]
    case 'tcpmss':
      return [op(Op.Tcpmss, match.range.min, match.range.max, bit(match.invert))]
    case 'ttl':
    case 'hl':
      return [op(Op.Ttl, COMPARE[match.compare], match.value)]
    case 'dscp':
      return [op(Op.Dscp, match.value, bit(match.invert))]
    case 'mac': {
      const [a, b, c, d, e, f] = match.source
      return [op(Op.Mac, (a << 8) | b, (c << 24) | (d << 16) | (e << 8) | f, bit(match.invert))]
    }
    case 'addrtype':
      return [match.source, match.destination].flatMap((one, side) => {
        const limit = match.limit === null ? 0 : match.limit === 'in' ? 1 : 2
        return one ? [op(Op.Addrtype, side === 0 ? Ip.Src0 : Ip.Dst0, one.value, bit(one.invert), limit)] : []
      })
    case 'rpfilter': {
      const flags = bit(match.loose) | (bit(match.validMark) << 1) | (bit(match.acceptLocal) << 2)
      return [op(Op.Rpfilter, flags, bit(match.invert))]
    }
    case 'physdev':
      return physdev(match)
    case 'limit':
      context.memory.limits.push({ cost100us: match.cost100us, burst: match.burst })
      return [op(Op.Limit, context.memory.limits.length - 1)]
    case 'hashlimit':
      return [op(Op.Hashlimit, hashlimit(match, context), bit(match.above))]
    case 'connlimit': {
      context.tracks = true
      const mask = prefixMask(match.prefix, context.family)
      context.memory.connlimits.push({ mask: fourWords(mask) })
      const side = match.by === 'source' ? Ip.Src0 : Ip.Dst0
      return [op(Op.Connlimit, context.memory.connlimits.length - 1, side, match.limit, bit(match.above))]
    }
    case 'recent':
      return [recent(match, context)]
    case 'statistic':
      if (match.mode === 'random') return [op(Op.Random, match.threshold31, bit(match.invert))]
      context.memory.counts.push(match.every - 1 - match.packet)
      return [op(Op.Nth, context.memory.counts.length - 1, match.every, bit(match.invert))]
    case 'set':
      return [set(match, context)]
    default:
      throw new Error(`line ${rule.line}: match ${(match as { kind: string }).kind} has no program`)
  }
}

function ports({ source, destination }: PortMatch): Condition[] {
  return [
    ...(source ? portRange(16, source.value, source.invert) : []),
    ...(destination ? portRange(0, destination.value, destination.invert) : []),
  ]
}

/** The row has type << 24 | code << 16 where others have ports. */
function icmp(type: number | null, code: Range, invert: boolean): Condition[] {
  if (type === null) return [...guard(ICMP_BYTES), ...(invert ? [op(Op.Never)] : [])]
  const any = code.min === 0 && code.max === 255
  if (any || code.min === code.max) {
    const mask = any ? 0xff00_0000 : 0xffff_0000
    return [...guard(ICMP_BYTES), maskedWord(Ip.Ports, (type << 24) | (code.min << 16), mask, invert)]
  }
  return [...guard(ICMP_BYTES), op(Op.Icmp, type, code.min, code.max, bit(invert))]
}

const SIDE = { source: 1, destination: 2, either: 3 } as const

function multiport({ side, invert, ports: list }: MultiportMatch): Condition {
  return op(Op.Multiport, SIDE[side], bit(invert), list.length, ...list.flatMap(({ min, max }) => [min, max]))
}

function range(at: number, one: Inverted<{ first: Words; last: Words }> | null): Condition[] {
  if (!one) return []
  const { first, last } = one.value
  return [op(Op.Iprange, at, first.length, bit(one.invert), ...first, ...last)]
}

/** In raw, connections are not known yet: the word of the row says nothing. */
function states(bits: number, invert: boolean, context: CompileContext): Condition[] {
  const nat = bits & SNAT_DNAT
  if (nat === 0 && context.table !== 'raw') return [stateCondition(bits, invert)]
  return [op(Op.CtState, rowStates(bits), nat >> 1, bit(invert))]
}

/** CtGate: without a connection, only the states can match, and then they decide alone. */
function conntrack(match: ConntrackMatch, context: CompileContext): Condition[] {
  const list: Condition[] = []
  const networks = [match.origSource, match.origDestination, match.replySource, match.replyDestination]
  const portsOf = [
    match.origSourcePort,
    match.origDestinationPort,
    match.replySourcePort,
    match.replyDestinationPort,
  ]
  if (match.direction) list.push(op(Op.CtDirection, match.direction === 'original' ? 0 : 1))
  for (const [i, one] of networks.entries()) if (one) list.push(tupleAddress(i, one))
  if (match.protocol) list.push(op(Op.CtProtocol, match.protocol.value, bit(match.protocol.invert)))
  for (const [i, one] of portsOf.entries()) {
    if (one) list.push(op(Op.CtPorts, i >> 1, i & 1 ? 0 : 16, one.value.min, one.value.max, bit(one.invert)))
  }
  if (match.status) list.push(op(Op.CtStatus, match.status.value, bit(match.status.invert)))
  if (match.expireS) {
    const { value, invert } = match.expireS
    list.push(op(Op.CtExpire, value.min, value.max, bit(invert)))
  }
  const first = match.states ? states(match.states.value, match.states.invert, context) : []
  if (list.length === 0) return first
  const words = list.reduce((sum, one) => sum + (one.kind === 'op' ? one.operands.length + 2 : 0), 0)
  return [...first, op(Op.CtGate, bit(match.states !== null), words), ...list]
}

function tupleAddress(which: number, { value, invert }: Inverted<Network>): Condition {
  const at = which & 1 ? Tuple.Destination : Tuple.Source
  const mask = fourWords(value.mask)
  const address = fourWords(value.address).map((one, i) => one & mask[i])
  return op(Op.CtAddress, which >> 1, at, bit(invert), ...address, ...mask)
}

/** There is no bridge below a router: nothing is ever known of its ports (xt_physdev without nf_bridge). */
function physdev(match: PhysdevMatch): Condition[] {
  const asked = [match.in, match.out].some((one) => one && !one.invert)
  const required = match.isIn === true || match.isOut === true || match.isBridged === true
  return asked || required ? [op(Op.Never)] : []
}

function hashlimit(match: HashlimitMatch, { memory, family }: CompileContext): number {
  const spec = {
    name: match.name,
    ...hashlimitRate(match.rate),
    intervalMs: match.intervalS * 1000,
    mode: match.mode,
    sourceMask: fourWords(prefixMask(match.sourcePrefix, family)),
    destinationMask: fourWords(prefixMask(match.destinationPrefix, family)),
    max: match.tableMax,
    expireMs: match.expireMs,
  }
  // Rules that name one table share it; the first says how it works.
  return shared(memory.hashlimits, spec, (one) => one.name)
}

/** Credits that fill a bucket of bytes, in one second: the kernel's HZ times CREDITS_PER_JIFFY_BYTES. */
const BYTE_CREDITS = 1000 * 2 ** 22
const US_PER_MS = 1000
const US_PER_S = 1_000_000

/** Buckets as xt_hashlimit fills them (user2credits), and what it measures flows by (user2rate). */
function hashlimitRate(rate: HashlimitMatch['rate']) {
  if (rate.unit === 'packets') {
    const { burst, costUs } = rate
    const perInterval = Math.floor(US_PER_S / costUs)
    const bucket = { cost: costUs, cap: costUs * burst, perMs: US_PER_MS, refills: 0 }
    return { byBytes: false, ...bucket, rate: perInterval, most: burst + perInterval }
  }
  const { chunkCost, refills } = rate
  const bytes = bytesPerS(chunkCost)
  const bucket = { cost: Math.floor((chunkCost * BYTE_CREDITS) / 2 ** 32), cap: BYTE_CREDITS, refills }
  return { byBytes: true, ...bucket, perMs: BYTE_CREDITS / 1000, rate: bytes, most: bytes * (refills || 1) }
}

const ACTION = { set: 0, rcheck: 1, update: 2, remove: 3 } as const
const DEFAULT_STAMPS = 32

function recent(match: RecentMatch, { memory }: CompileContext): Condition {
  let stamps = match.hitCount === 0 ? DEFAULT_STAMPS : 1
  while (stamps < match.hitCount) stamps *= 2
  const spec = { name: match.name, mask: fourWords(match.mask), stamps }
  const index = shared(memory.recents, spec, (one) => one.name)
  if (memory.recents[index].stamps < stamps) memory.recents[index].stamps = stamps
  const flags = bit(match.reap) | (bit(match.sameTtl) << 1) | (bit(match.side === 'destination') << 2)
  const { seconds, hitCount, invert } = match
  return op(Op.Recent, index, ACTION[match.action], flags, seconds, hitCount, bit(invert))
}

/** -1 = not asked. 64-bit numbers as two words. */
function counterOperands(one: SetMatch['packets']): number[] {
  if (!one) return [-1, 0, 0]
  return [COMPARE[one.compare], Number(one.value & 0xffff_ffffn), Number(one.value >> 32n)]
}

function set(match: SetMatch, context: CompileContext): Condition {
  const spec = context.sets?.get(match.set)
  if (!spec) throw new Error(`there is no set '${match.set}'`)
  const memory = buildSet(spec, context)
  const all = context.memory.sets
  let index = all.indexOf(memory)
  if (index < 0) index = all.push(memory) - 1
  const sides = match.sides.reduce((bits, side, i) => bits | (side === 'dst' ? 1 << i : 0), 0)
  const flags =
    bit(match.returnNomatch) | (bit(match.updateCounters) << 1) | (bit(match.updateSubcounters) << 2)
  const code = isConstant(memory) ? Op.SetConstant : Op.Set
  const counters = [...counterOperands(match.packets), ...counterOperands(match.bytes)]
  return op(code, index, sides, flags, bit(match.invert), ...counters)
}
