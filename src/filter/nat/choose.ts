// HOT
/**
 * What a flow's source or destination becomes, chosen once, by the first packet. The rule that no two flows
 * may have one reply tuple is what everything here serves: `taken` asks the table of entries.
 *
 *     linux    1  its own numbers, if they are in the range and free; the mapping it has
 *              2  an address of the range, by a hash of source and destination (persistent: of the source)
 *              3  its own port, if it is in the range and free; else a free one (ports.ts)
 *
 *     rfc      1  the mapping it has: the same whoever is spoken to (RFC 4787 REQ-1)
 *              2  an address by a hash of the source alone: paired pooling (REQ-2)
 *              3  its own port if no other endpoint has it (REQ-3: no overloading), else a random one of the
 *                 same class (REQ-3 a) and, for UDP, parity (REQ-4)
 *
 * A destination is never refused: if its tuple is taken, the source's turn comes later and resolves it.
 */
import { Protocol } from '../../wire/ipv4.ts'
import type { Entries } from '../conntrack/entries.ts'
import { Dir, ENT_SHIFT, Ent, Header, Status, V6 } from '../conntrack/layout.ts'
import { TcpState } from '../conntrack/tcp-state.ts'
import { stateOf } from '../conntrack/tcp-word.ts'
import * as tuple from '../conntrack/tuple.ts'
import { T } from '../conntrack/tuple.ts'
import type { Mappings } from './mappings.ts'
import { ATTEMPTS, LEAST_ATTEMPTS, PortSpan, RandomPorts, shadows } from './ports.ts'
import { Manip, type NatRange, RangeFlag, RangeWord } from './range.ts'

/** With so few attempts left, a TCP flow that is all but over gives up its port. */
const PRESSED = 32
/** Ports looked at for one of a mapping's own. */
const MAPPING_ATTEMPTS = 512

export class Choice {
  readonly random = new RandomPorts()
  /** Moves service ports of clients (ports.ts, `shadows`). The kernel did in 5.17 only. */
  shadowSafe = true
  private readonly entries: Entries
  private readonly mappings: Mappings
  private readonly seeds: Int32Array
  private readonly span = new PortSpan()
  private readonly probe = new Int32Array(T.Words)
  private readonly own = new Int32Array(T.Words)

  constructor(entries: Entries, mappings: Mappings) {
    this.entries = entries
    this.mappings = mappings
    this.seeds = entries.table.header.subarray(Header.Seeds, Header.Words)
  }

  /** Another flow has the replies of this tuple. `self`: the entry that asks. */
  private taken(t: Int32Array, self: number, attemptsLeft: number, nowMs: number): boolean {
    const { entries, own, probe } = this
    const { table } = entries
    tuple.invert(t, probe)
    probe[T.Key] = table.key(self << ENT_SHIFT, Dir.Reply)
    const node = entries.find(probe, nowMs)
    if (node < 0) return false
    // The same flow, begun by a packet that went before: `confirm` brings them together.
    table.load(self << 1, own)
    if ((node & 1) === Dir.Reply && table.has(node & ~1, own)) return false
    const e = (node >> 1) << ENT_SHIFT
    const words = table.words
    if (attemptsLeft > PRESSED || (words[e + Ent.Key] & 0xff) !== Protocol.Tcp) return true
    const state = stateOf(words, e)
    if ((words[e + Ent.Status] & Status.SrcNat) === 0 || state < TcpState.LastAck || state > TcpState.Close)
      return true
    entries.kill(node >> 1)
    return false
  }

  /** linux. False when `to` is taken, whatever was tried. */
  choose(
    self: number,
    from: Int32Array,
    to: Int32Array,
    range: NatRange | null,
    manip: Manip,
    nowMs: number,
  ): boolean {
    const flags = range === null ? 0 : range[RangeWord.Flags]
    const proto = from[T.Key] & 0xff
    let random = (flags & RangeFlag.Random) !== 0
    tuple.copy(from, to)
    if (manip === Manip.Source && !random) {
      random = range !== null && (flags & RangeFlag.Addresses) !== 0 && this.mustMove(self, from, proto)
      if (!random) {
        if (range === null || within(from, range)) {
          if (!this.taken(to, self, ATTEMPTS, nowMs)) return true
        } else if (this.known(from, to, range)) {
          if (!this.taken(to, self, ATTEMPTS, nowMs)) return true
          tuple.copy(from, to)
        }
      }
    }
    if (range !== null) this.pickAddress(to, range, manip, (flags & RangeFlag.Persistent) !== 0)
    if (!random) {
      if ((flags & RangeFlag.Ports) === 0) {
        if (!this.taken(to, self, ATTEMPTS, nowMs)) return true
      } else if ((flags & RangeFlag.Shifted) === 0 && portWithin(to, range!, manip)) {
        if (range![RangeWord.MinPort] === range![RangeWord.MaxPort]) return true
        if (!this.taken(to, self, ATTEMPTS, nowMs)) return true
      }
    }
    return this.pickPort(self, to, range, manip, random, nowMs)
  }

  private mustMove(self: number, from: Int32Array, proto: number): boolean {
    if (!this.shadowSafe || (proto !== Protocol.Tcp && proto !== Protocol.Udp)) return false
    if ((this.entries.table.words[(self << ENT_SHIFT) + Ent.Status] & Status.Local) !== 0) return false
    return shadows(from[T.Ports] >>> 16, from[T.Ports] & 0xffff)
  }

  /** The mapping that the source has, if the range allows it. */
  private known(from: Int32Array, to: Int32Array, range: NatRange): boolean {
    const id = this.mappings.internal(from)
    if (id === 0) return false
    this.mappings.toExternal(id, to)
    if (within(to, range)) return true
    tuple.copy(from, to)
    return false
  }

  /** An address of the range into `to`. */
  pickAddress(to: Int32Array, range: NatRange, manip: Manip, persistent: boolean): void {
    const flags = range[RangeWord.Flags]
    if ((flags & RangeFlag.Addresses) === 0) return
    const words = (to[T.Key] & V6) !== 0 ? 4 : 1
    const side = manip === Manip.Source ? T.Src : T.Dst
    if ((flags & RangeFlag.Netmap) !== 0) return netmap(to, range, side, words)
    let h = this.seeds[0]
    for (let i = 0; i < words; i++) h = mix(h ^ to[T.Src + i], this.seeds[1])
    if (!persistent) h = mix(h ^ to[T.Dst + words - 1] ^ (to[T.Key] >>> 16), this.seeds[2])
    // Behind the first word that is not the last one's, the whole of a word may be used.
    let free = false
    for (let i = 0; i < words; i++) {
      const min = free ? 0 : range[RangeWord.MinAddr + i] >>> 0
      const size = free ? 0x100000000 : (range[RangeWord.MaxAddr + i] >>> 0) - min + 1
      to[side + i] = min + Math.floor(((h >>> 0) / 0x100000000) * size)
      if (to[side + i] !== range[RangeWord.MaxAddr + i]) free = true
      h = mix(h + i, this.seeds[3])
    }
  }

  /** A free port of the range into `to`; false when none was found. */
  private pickPort(
    self: number,
    to: Int32Array,
    range: NatRange | null,
    manip: Manip,
    random: boolean,
    nowMs: number,
  ): boolean {
    const proto = to[T.Key] & 0xff
    const icmp = tuple.isIcmp(proto)
    const flags = range === null ? 0 : range[RangeWord.Flags]
    const ports = (flags & RangeFlag.Ports) !== 0
    if (!icmp && !hasPort(proto)) return manip === Manip.Destination || !this.taken(to, self, 0, nowMs)
    // Without ports of its own a rule does not change where a flow goes to.
    if (manip === Manip.Destination && !ports && !icmp) return true
    const high = icmp || manip === Manip.Source
    const own = high ? to[T.Ports] >>> 16 : to[T.Ports] & 0xffff
    const span = this.span
    if (range !== null && ports) span.set(range, proto, own)
    else span.set(NO_RANGE, proto, own)
    let offset = 0
    if ((flags & RangeFlag.Shifted) !== 0) offset = (own - range![RangeWord.BasePort]) & 0xffff
    else if (random || manip === Manip.Source) offset = this.random.next()
    for (let attempts = span.size < ATTEMPTS ? span.size : ATTEMPTS; ; attempts >>= 1) {
      for (let i = 0; i < attempts; i++, offset++) {
        setPort(to, high, span.min + (offset % span.size))
        if (!this.taken(to, self, attempts - i, nowMs)) return true
      }
      if (attempts >= span.size || attempts < LEAST_ATTEMPTS) return manip === Manip.Destination
      offset = this.random.next()
    }
  }

  /**
   * rfc: the external end of a source's mapping into `to`. Returns the mapping, new or not; -1 = a flow
   * without one; 0 = there is no port left.
   */
  mapSource(
    self: number,
    from: Int32Array,
    to: Int32Array,
    range: NatRange,
    outIf: number,
    nowMs: number,
  ): number {
    const { mappings } = this
    tuple.copy(from, to)
    const id = mappings.internal(from)
    if (id !== 0) {
      mappings.toExternal(id, to)
      if (within(to, range)) {
        if (this.taken(to, self, ATTEMPTS, nowMs)) return 0
        // `taken` forgets what has expired, and this mapping may have gone with its last flow.
        return mappings.internal(from) === id ? id : mappings.add(from, to, outIf)
      }
      // The rules have changed: the endpoint's flows of before keep what they have.
      tuple.copy(from, to)
    }
    this.pickAddress(to, range, Manip.Source, true)
    if (!this.pickOwnPort(self, from, to, range, nowMs)) return 0
    // Without ports the external end may be another endpoint's too: the first has the mapping.
    const unique = mappings.internal(from) === 0 && mappings.external(to, T.Src) === 0
    return unique ? mappings.add(from, to, outIf) : -1
  }

  private pickOwnPort(
    self: number,
    from: Int32Array,
    to: Int32Array,
    range: NatRange,
    nowMs: number,
  ): boolean {
    const proto = to[T.Key] & 0xff
    const flags = range[RangeWord.Flags]
    const icmp = tuple.isIcmp(proto)
    if (!icmp && !hasPort(proto)) return !this.taken(to, self, 0, nowMs)
    const own = to[T.Ports] >>> 16
    const keep = (flags & RangeFlag.Random) === 0 && !this.mustMove(self, from, proto)
    if (keep && ((flags & RangeFlag.Ports) === 0 || portWithin(to, range, Manip.Source))) {
      if (this.isFree(to, self, nowMs)) return true
    }
    const span = this.span
    span.set(range, proto, own)
    const parity = proto === Protocol.Udp && (flags & RangeFlag.Ports) === 0 ? 2 : 1
    let offset = this.random.next() % span.size
    if (parity === 2 && ((span.min + offset - own) & 1) !== 0) offset++
    const most = span.size < MAPPING_ATTEMPTS ? span.size : MAPPING_ATTEMPTS
    for (let i = 0; i < most; i++, offset += parity) {
      setPort(to, true, span.min + (offset % span.size))
      if (this.isFree(to, self, nowMs)) return true
    }
    return false
  }

  private isFree(to: Int32Array, self: number, nowMs: number): boolean {
    return this.mappings.external(to, T.Src) === 0 && !this.taken(to, self, ATTEMPTS, nowMs)
  }
}

const NO_RANGE: NatRange = new Int32Array(RangeWord.Words)

function hasPort(proto: number): boolean {
  return (
    proto === Protocol.Tcp ||
    proto === Protocol.Udp ||
    proto === Protocol.UdpLite ||
    proto === Protocol.Sctp ||
    proto === Protocol.Dccp
  )
}

function setPort(t: Int32Array, high: boolean, port: number): void {
  t[T.Ports] = high ? (port << 16) | (t[T.Ports] & 0xffff) : (t[T.Ports] & 0xffff0000) | port
}

/** The port that `manip` is about is one of the range's. */
function portWithin(t: Int32Array, range: NatRange, manip: Manip): boolean {
  const high = manip === Manip.Source || tuple.isIcmp(t[T.Key] & 0xff)
  const port = high ? t[T.Ports] >>> 16 : t[T.Ports] & 0xffff
  return port >= range[RangeWord.MinPort] && port <= range[RangeWord.MaxPort]
}

/** The tuple's source is one that the range allows. */
function within(t: Int32Array, range: NatRange): boolean {
  const flags = range[RangeWord.Flags]
  if ((flags & RangeFlag.Netmap) !== 0) return false
  if ((flags & RangeFlag.Addresses) !== 0) {
    const words = (t[T.Key] & V6) !== 0 ? 4 : 1
    if (compare(t, T.Src, range, RangeWord.MinAddr, words) < 0) return false
    if (compare(t, T.Src, range, RangeWord.MaxAddr, words) > 0) return false
  }
  return (flags & RangeFlag.Ports) === 0 || portWithin(t, range, Manip.Source)
}

function compare(a: Int32Array, at: number, b: Int32Array, bt: number, words: number): number {
  for (let i = 0; i < words; i++) {
    if (a[at + i] !== b[bt + i]) return a[at + i] >>> 0 < b[bt + i] >>> 0 ? -1 : 1
  }
  return 0
}

/** The range's network with the host bits of the address. */
function netmap(to: Int32Array, range: NatRange, side: T, words: number): void {
  let bits = range[RangeWord.Prefix]
  for (let i = 0; i < words; i++, bits -= 32) {
    const mask = bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits)
    to[side + i] = (range[RangeWord.MinAddr + i] & mask) | (to[side + i] & ~mask)
  }
}

function mix(h: number, seed: number): number {
  h = Math.imul(h ^ (h >>> 16), seed | 1)
  h = Math.imul(h ^ (h >>> 13), 0x2c1b3c6d)
  return h ^ (h >>> 16)
}
