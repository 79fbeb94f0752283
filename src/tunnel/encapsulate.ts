// HOT
/**
 * Into the tunnel. Packets of all VXLAN ports of a round are queued and taken on together, so that the cache
 * misses of big tables overlap and the kernel is called once:
 *
 *     queue -> flush: (VNI, destination) -> one remote, or the list and the group
 *                     -> ARP, ND answered here -> MSS of a SYN -> fits? else the sender is told
 *                     -> inner flow -> source socket, TOS (RFC 6040), TTL -> outbox -> UDP
 *
 * Split horizon: the switch does not send a packet back to the port it came from. Where the operator lets it
 * (hairpin: the VTEP is a hub), it goes to all but the remote it came from.
 */
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { wireLength } from '../packet/egress.ts'
import { Clock, Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { TunnelHost } from '../packet/tunnel.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as tcp from '../wire/tcp.ts'
import * as tcpOption from '../wire/tcp-option.ts'
import type { Answers } from './answers.ts'
import { ECN_MASK } from './ecn.ts'
import { ETHERNET, type Inner, isTag } from './inner.ts'
import type { Outbox } from './outbox.ts'
import type { Remotes } from './remotes.ts'
import { SegmentFlag, type Segments } from './segments.ts'
import { frameLength, frameRoom } from './size.ts'
import { Stations } from './stations.ts'
import type { Suppression } from './suppress.ts'
import { COUNT_SHIFT, REMOTE_SHIFT, Remote, RemoteCount, RemoteFlag, Station } from './tables.ts'

/** Packets queued at most: then they are taken on at once. */
const QUEUE = 512
/** Stations and remotes from which on their tables no longer fit the L2 cache. */
const PREFETCH_FROM = 8192
const PREFETCH_REMOTES = 4096
const WORDS = 3
/** Where the inner packet has none (it is not IP). */
const DEFAULT_TTL = 64
/** Less is an attack on whoever has to segment (Linux: TCP_MIN_SND_MSS). */
const LEAST_MSS = 48
/** More than any room; a small integer, which is not boxed. */
const ANY_LENGTH = 0x3fffffff

export class Encapsulation {
  /** From VtepSettings, by Vtep.set. */
  mtu = 1500
  ttl = 64
  groupTtl = 1
  tos = -1
  /** Index of the first sending socket, how many there are, and where those with DF begin (0 = no choice). */
  firstSender = 0
  senders = 1
  dfSenders = 0
  /** Keeps the loads of `prefetch` from being optimised away. */
  fetched = 0
  private readonly host: TunnelHost
  private readonly inner: Inner
  private readonly remotes: Remotes
  private readonly stations: Stations
  private readonly segments: Segments
  private readonly suppression: Suppression
  private readonly answers: Answers
  private readonly outbox: Outbox
  /** (port, slot, tag) */
  private readonly waiting = new Int32Array(QUEUE * WORDS)
  private readonly places = new Int32Array(QUEUE)
  private count = 0
  /** Of the packet in hand. */
  private socket = 0
  private outerTos = 0
  private bytes = 0
  private readonly one = new Int32Array(1)

  constructor(
    host: TunnelHost,
    inner: Inner,
    remotes: Remotes,
    stations: Stations,
    segments: Segments,
    suppression: Suppression,
    answers: Answers,
    outbox: Outbox,
  ) {
    this.host = host
    this.inner = inner
    this.remotes = remotes
    this.stations = stations
    this.segments = segments
    this.suppression = suppression
    this.answers = answers
    this.outbox = outbox
  }

  queue(port: number, words: Int32Array, at: number, count: number): void {
    if (this.count + count > QUEUE) this.flush()
    const { waiting } = this
    let to = this.count * WORDS
    for (let i = 0; i < count; i++, to += WORDS) {
      waiting[to] = port
      waiting[to + 1] = words[at + 2 * i]
      waiting[to + 2] = words[at + 2 * i + 1]
    }
    this.count += count
  }

  flush(): void {
    const n = this.count
    if (n === 0) return
    this.count = 0
    const { waiting } = this
    const nowS = (this.host.memory.clock[Clock.MonotonicMs] / 1000) | 0
    if (this.stations.table.size > PREFETCH_FROM && n > 1) this.prefetch(n)
    for (let i = 0, at = 0; i < n; i++, at += WORDS)
      this.packet(waiting[at], waiting[at + 1], waiting[at + 2], nowS)
    this.outbox.flush()
  }

  /** As Switch.prefetch: the places of all stations and then, if they are many, the rows of their remotes. */
  private prefetch(n: number): void {
    const { places, remotes, waiting } = this
    const { meta, view } = this.host.pool
    const { table } = this.stations
    const { words } = table
    for (let i = 0, w = 0; i < n; i++, w += WORDS) {
      const at = waiting[w + 1] * SLOT_SIZE + meta[(waiting[w + 1] << META_SHIFT) + Meta.Head]
      places[i] = table.home(view.getInt32(at + 2), Stations.key1(view.getUint16(at), waiting[w])) << 2
    }
    let sum = 0
    for (let i = 0; i < n; i++) sum ^= words[places[i] + 1]
    this.fetched = sum
    if (remotes.size <= PREFETCH_REMOTES) return
    for (let i = 0, w = 0; i < n; i++, w += WORDS) {
      const at = waiting[w + 1] * SLOT_SIZE + meta[(waiting[w + 1] << META_SHIFT) + Meta.Head]
      const found = table.find(view.getInt32(at + 2), Stations.key1(view.getUint16(at), waiting[w]))
      places[i] = found < 0 ? -1 : words[found + 2] & Station.RowMask
    }
    this.fetched ^= remotes.prefetch(places, n)
  }

  private packet(port: number, slot: number, tag: number, nowS: number): void {
    const { inner, segments, stations } = this
    const { counters } = this.host
    const { meta, view } = this.host.pool
    const m = slot << META_SHIFT
    const strip = meta[m + Meta.Strip]
    if (meta[m + Meta.Len] - strip < ETHERNET || (meta[m + Meta.Flags] & Flag.NoEthernet) !== 0) {
      drop(counters, port, Drop.Runt)
      return
    }
    const flags = segments.flags[port]
    const at = slot * SLOT_SIZE + meta[m + Meta.Head]
    const keep = (flags & SegmentFlag.KeepTags) !== 0
    if (!keep && isTag(view.getUint16(at + 12 + strip))) {
      drop(counters, port, Drop.TunnelTagged)
      return
    }
    inner.read(slot)
    const macHi = view.getUint16(at)
    const group = (macHi & 0x100) !== 0
    const asks = (flags & SegmentFlag.Suppress) !== 0 && (inner.arp || inner.isIcmpv6())
    if (asks && this.suppression.ask(port, slot, tag, group, nowS)) {
      counters[port * COUNTER_WORDS + Counter.Consumed]++
      return
    }
    const from = meta[m + Meta.Port] === port ? meta[m + Meta.Remote] : -1
    const row = group ? -1 : stations.find(view.getInt32(at + 2), Stations.key1(macHi, port), nowS)
    const pushed = keep ? tag : 0
    if (row >= 0 && !this.isDead(row)) {
      if (row === from) {
        drop(counters, port, Drop.SamePort)
        return
      }
      this.one[0] = row
      this.send(port, slot, tag, pushed, this.one, -1, -1, !group)
    } else this.send(port, slot, tag, pushed, segments.lists[port], segments.group[port], from, !group)
  }

  private isDead(row: number): boolean {
    return (this.remotes.words[(row << REMOTE_SHIFT) + Remote.Flags] & RemoteFlag.Dead) !== 0
  }

  /** To every remote of `list` but `from` and the dead, and to the group. `told`: the sender is, if it is too big. */
  private send(
    port: number,
    slot: number,
    tag: number,
    pushed: number,
    list: Int32Array,
    group: number,
    from: number,
    told: boolean,
  ): void {
    const { inner } = this
    const { counters, pool } = this.host
    const above =
      inner.l3 - pool.at(slot) - pool.meta[(slot << META_SHIFT) + Meta.Strip] + (pushed !== 0 ? 4 : 0)
    const isSyn = (this.segments.flags[port] & SegmentFlag.ClampMss) !== 0 && inner.isSyn()
    const packet = isSyn ? this.clamped(slot, above, list, group) : slot
    const length = frameLength(pool, slot, pushed)
    this.bytes = wireLength(pool, slot, pushed)
    this.choose(slot)
    let copies = 0
    let least = ANY_LENGTH
    for (let i = 0; i < list.length; i++) {
      const row = list[i]
      if (row === from || this.isDead(row)) continue
      copies++
      const room = this.room(row)
      if (length <= room) this.add(port, row, packet, pushed, this.ttl)
      else {
        this.tooBig(port, row)
        if (room < least) least = room
      }
    }
    if (group >= 0) {
      copies++
      const room = this.room(group)
      if (length <= room) this.add(port, group, packet, pushed, this.groupTtl)
      else {
        this.tooBig(port, group)
        if (room < least) least = room
      }
    }
    if (copies === 0) drop(counters, port, Drop.TunnelNoRemote)
    else if (copies > 1) counters[port * COUNTER_WORDS + Counter.Made] += copies - 1
    if (told && least !== ANY_LENGTH) this.answers.tooBig(port, slot, tag, least - above)
  }

  /** Longest inner frame to a remote. */
  private room(row: number): number {
    const { words } = this.remotes
    const at = row << REMOTE_SHIFT
    return frameRoom(words[at + Remote.Mtu] || this.mtu, words[at + Remote.Family])
  }

  private tooBig(port: number, row: number): void {
    drop(this.host.counters, port, Drop.TunnelTooBig)
    this.remotes.counters[(row << COUNT_SHIFT) + RemoteCount.TooBig]++
  }

  /** The packet with its MSS lowered to what all of the remotes carry: others may send the original. */
  private clamped(slot: number, above: number, list: Int32Array, group: number): number {
    const { l4, family } = this.inner
    const { pool } = this.host
    let room = group >= 0 ? this.room(group) : ANY_LENGTH
    for (let i = 0; i < list.length; i++) {
      const one = this.room(list[i])
      if (one < room) room = one
    }
    const most = room - above - (family === 4 ? ipv4.SIZE : ipv6.SIZE) - tcp.SIZE
    if (most < LEAST_MSS || tcpOption.mss(pool.view, l4) <= most) return slot
    const copy = this.host.copy(slot)
    if (copy < 0) return slot
    const partial = (pool.meta[(copy << META_SHIFT) + Meta.Flags] & Flag.CsumPartial) !== 0
    tcpOption.clampMss(pool.view, l4 - pool.at(slot) + pool.at(copy), most, partial)
    return copy
  }

  /** Socket and TOS of the packet that `inner` has read. */
  private choose(slot: number): void {
    const { inner } = this
    const flow = inner.flow(slot)
    // The upper bits: the product spreads 32 bits over the sockets without a division.
    const nth = ((flow >>> 16) * this.senders) >>> 16
    const second = this.dfSenders !== 0 && inner.dontFragment()
    this.socket = (second ? this.dfSenders : this.firstSender) + nth
    const tos = inner.tos()
    this.outerTos = this.tos < 0 ? tos : (this.tos & ~ECN_MASK) | (tos & ECN_MASK)
  }

  private add(port: number, row: number, slot: number, tag: number, ttl: number): void {
    const hops = ttl !== 0 ? ttl : this.inner.ttl() || DEFAULT_TTL
    const { outbox, segments } = this
    outbox.add(
      port,
      row,
      slot,
      tag,
      this.socket,
      (hops << 8) | this.outerTos,
      segments.header[port],
      this.bytes,
    )
  }
}
