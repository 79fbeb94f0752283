// HOT
/**
 * Out of the tunnel: one datagram's way from its header to a frame of a VXLAN port.
 *
 *     header -> VNI: a port -> sender: accepted? -> inner tag -> 8 bytes off -> congestion marks (RFC 6040)
 *            -> kernel's super-frame? -> MSS of a SYN -> learn (VNI, source) -> sender -> ARP, ND
 *
 * Reserved bits of the header are ignored (RFC 7348 5); `strict` drops what has one set, as Linux does.
 *
 * A kernel's VXLAN device on this machine sends its super-frames as they are, up to 64 KiB in one datagram with
 * an unfinished checksum. The addon tells of the checksum; that it is a super-frame is told by its length here,
 * and its segments get the size the tunnel to that remote carries: for TCP any size will do.
 */
import { drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, Flag, Gso, INFO_SHIFT, Info, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { TunnelHost } from '../packet/tunnel.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as tcp from '../wire/tcp.ts'
import * as tcpOption from '../wire/tcp-option.ts'
import * as vxlan from '../wire/vxlan.ts'
import { decapsulate, ECN_MASK } from './ecn.ts'
import { ETHERNET, type Inner, isTag } from './inner.ts'
import type { Remotes } from './remotes.ts'
import { SegmentFlag, type Segments } from './segments.ts'
import { frameRoom } from './size.ts'
import { Heard, Stations } from './stations.ts'
import type { Suppression } from './suppress.ts'
import { COUNT_SHIFT, REMOTE_SHIFT, Remote, RemoteCount } from './tables.ts'

/** Stations and remotes from which on their tables no longer fit the L2 cache. */
const PREFETCH_FROM = 8192
const PREFETCH_REMOTES = 4096

export class Decapsulation {
  /** From VtepSettings, by Vtep.set. */
  mtu = 1500
  strict = false
  /** Our own address: what comes from it is ours, come back. Family 0 = any address. */
  readonly own = new Int32Array(5)
  /** Where the datagrams of the batch in hand came from. */
  readonly info: Int32Array
  /** Keeps the loads of `prefetch` from being optimised away. */
  fetched = 0
  /** Row of the remote that the packet `open` let in came from; -1 = no room for one. */
  row = -1
  private readonly places = new Int32Array(BATCH)
  private readonly host: TunnelHost
  private readonly inner: Inner
  private readonly remotes: Remotes
  private readonly stations: Stations
  private readonly segments: Segments
  private readonly suppression: Suppression

  constructor(
    host: TunnelHost,
    info: Int32Array,
    inner: Inner,
    remotes: Remotes,
    stations: Stations,
    segments: Segments,
    suppression: Suppression,
  ) {
    this.host = host
    this.info = info
    this.inner = inner
    this.remotes = remotes
    this.stations = stations
    this.segments = segments
    this.suppression = suppression
  }

  /** As Switch.prefetch, for slots[0 .. n) of the batch. */
  prefetch(slots: Int32Array, n: number): void {
    if (this.stations.table.size > PREFETCH_FROM) this.prefetchStations(slots, n)
    if (this.remotes.size > PREFETCH_REMOTES) this.fetched ^= this.remotes.prefetchSenders(this.info, n)
  }

  private prefetchStations(slots: Int32Array, n: number): void {
    const { places } = this
    const { meta, view } = this.host.pool
    const { table } = this.stations
    const { words } = table
    let count = 0
    for (let i = 0; i < n; i++) {
      const m = slots[i] << META_SHIFT
      if (meta[m + Meta.Len] < vxlan.SIZE + ETHERNET) continue
      const at = slots[i] * SLOT_SIZE + meta[m + Meta.Head]
      const port = this.segments.portOf(vxlan.vni(view, at))
      const key1 = Stations.key1(view.getUint16(at + vxlan.SIZE + 6), port)
      places[count++] = (table.home(view.getInt32(at + vxlan.SIZE + 8), key1) << 2) + 1
    }
    let sum = 0
    for (let i = 0; i < count; i++) sum ^= words[places[i]]
    this.fetched = sum
  }

  /**
   * Datagram i of the batch, in `slot`: VXLAN port it is for, its header taken off; -1 after counting the drop.
   * @param underlay port index that counts what is dropped
   */
  open(i: number, slot: number, underlay: number, nowS: number): number {
    const { counters, pool } = this.host
    const { meta, view } = pool
    const m = slot << META_SHIFT
    const at = slot * SLOT_SIZE + meta[m + Meta.Head]
    const length = meta[m + Meta.Len]
    if (!vxlan.fits(view, at, at + length) || (this.strict && !vxlan.isPlain(view, at))) {
      drop(counters, underlay, Drop.TunnelHeader)
      return -1
    }
    const port = this.segments.portOf(vxlan.vni(view, at))
    if (port < 0) {
      drop(counters, underlay, Drop.TunnelNoVni)
      return -1
    }
    if (length < vxlan.SIZE + ETHERNET) {
      drop(counters, underlay, Drop.Runt)
      return -1
    }
    const flags = this.segments.flags[port]
    if (!this.admit(i << INFO_SHIFT, port, flags, nowS)) {
      drop(counters, underlay, Drop.TunnelRemote)
      return -1
    }
    const frame = at + vxlan.SIZE
    if ((flags & SegmentFlag.KeepTags) === 0 && isTag(view.getUint16(frame + 12))) {
      drop(counters, underlay, Drop.TunnelTagged)
      this.count(RemoteCount.Tagged, 1)
      return -1
    }
    meta[m + Meta.Head] += vxlan.SIZE
    meta[m + Meta.Len] -= vxlan.SIZE
    meta[m + Meta.CsumStart] -= vxlan.SIZE
    meta[m + Meta.HdrLen] -= vxlan.SIZE
    meta[m + Meta.Strip] = 0
    this.inner.read(slot)
    if (!this.mark(this.info[(i << INFO_SHIFT) + Info.Tos] & ECN_MASK)) {
      drop(counters, underlay, Drop.TunnelEcn)
      this.count(RemoteCount.Ecn, 1)
      return -1
    }
    if (!this.learn(frame, port, flags, nowS)) {
      drop(counters, underlay, Drop.TunnelRemote)
      this.count(RemoteCount.NotAccepted, 1)
      return -1
    }
    if ((meta[m + Meta.Flags] & Flag.CsumPartial) !== 0 && meta[m + Meta.GsoSize] === 0)
      this.superFrame(m, frame)
    if ((flags & SegmentFlag.ClampMss) !== 0 && this.inner.isSyn()) this.clamp(m, frame)
    this.count(RemoteCount.RxPackets, 1)
    this.count(RemoteCount.RxBytes, length)
    return port
  }

  private count(which: RemoteCount, by: number): void {
    if (this.row >= 0) this.remotes.counters[(this.row << COUNT_SHIFT) + which] += by
  }

  /** Finds the sender's row, or makes one. False when it is not accepted. */
  private admit(i: number, port: number, flags: number, nowS: number): boolean {
    const { info, own, remotes } = this
    let row = remotes.findSender(info, i)
    this.row = row
    if (row < 0) {
      if (this.isOwn(i)) return false
      if ((flags & SegmentFlag.Known) !== 0) return false
      if ((flags & SegmentFlag.Learning) === 0) return true
      row = remotes.addSender(info, i, nowS)
      this.row = row
    } else {
      if ((flags & SegmentFlag.Known) !== 0 && !this.segments.names(port, row)) {
        this.count(RemoteCount.NotAccepted, 1)
        return false
      }
      if (own[0] !== 0 && this.isOwn(i)) return false
    }
    if (row >= 0) remotes.words[(row << REMOTE_SHIFT) + Remote.HeardS] = nowS
    return true
  }

  private isOwn(i: number): boolean {
    const { info, own } = this
    for (let word = 0; word < own.length; word++) if (info[i + word] !== own[word]) return false
    return true
  }

  /** False when the sender says something that the operator said of another. */
  private learn(frame: number, port: number, flags: number, nowS: number): boolean {
    const { view } = this.host.pool
    const macHi = view.getUint16(frame + 6)
    const macLo = view.getInt32(frame + 8)
    // The switch drops what comes from a group or from nobody.
    if (this.row < 0 || (macHi & 0x100) !== 0 || (macHi | macLo) === 0) return true
    const heard =
      (flags & SegmentFlag.Learning) !== 0
        ? this.stations.learn(macLo, Stations.key1(macHi, port), port, this.row, nowS)
        : this.stations.check(macLo, Stations.key1(macHi, port), this.row)
    if (heard === Heard.Pinned) return false
    const { inner } = this
    if ((flags & SegmentFlag.Suppress) !== 0 && (inner.arp || inner.isIcmpv6()))
      this.suppression.learn(port, nowS)
    return true
  }

  /** Takes the outer congestion mark into the inner header. False = drop. */
  private mark(outer: number): boolean {
    const { inner } = this
    if (outer === 0 || inner.family === 0) return true
    const tos = inner.tos()
    const now = decapsulate(tos & ECN_MASK, outer)
    if (now < 0) return false
    if (now === (tos & ECN_MASK)) return true
    const { view } = this.host.pool
    if (inner.family === 4) ipv4.setTos(view, inner.l3, (tos & ~ECN_MASK) | now)
    else ipv6.setTos(view, inner.l3, (tos & ~ECN_MASK) | now)
    return true
  }

  /** Longest inner frame that the tunnel to the sender carries. */
  private room(): number {
    const { row } = this
    const { words } = this.remotes
    const mtu = row < 0 ? 0 : words[(row << REMOTE_SHIFT) + Remote.Mtu]
    const family = row < 0 ? 4 : words[(row << REMOTE_SHIFT) + Remote.Family]
    return frameRoom(mtu || this.mtu, family)
  }

  private superFrame(m: number, frame: number): void {
    const { meta, view } = this.host.pool
    const { inner } = this
    const room = this.room()
    if (meta[m + Meta.Len] <= room || inner.l4 < 0 || inner.proto !== ipv4.Protocol.Tcp) return
    if (!tcp.fits(view, inner.l4, inner.end)) return
    const header = inner.l4 - frame + tcp.headerLength(view, inner.l4)
    if (room - header < LEAST_MSS) return
    meta[m + Meta.GsoType] = inner.family === 4 ? Gso.Tcp4 : Gso.Tcp6
    meta[m + Meta.GsoSize] = room - header
    meta[m + Meta.HdrLen] = header
    meta[m + Meta.CsumStart] = inner.l4 - frame
    meta[m + Meta.CsumOffset] = 16
    if ((tcp.flags(view, inner.l4) & tcp.TcpFlag.Cwr) !== 0) meta[m + Meta.Flags] |= Flag.GsoEcn
  }

  private clamp(m: number, frame: number): void {
    const { inner } = this
    const { meta, view } = this.host.pool
    const headers = inner.l3 - frame + (inner.family === 4 ? ipv4.SIZE : ipv6.SIZE) + tcp.SIZE
    const most = this.room() - headers
    if (most >= LEAST_MSS)
      tcpOption.clampMss(view, inner.l4, most, (meta[m + Meta.Flags] & Flag.CsumPartial) !== 0)
  }
}

/** Less is an attack on whoever has to segment (Linux: TCP_MIN_SND_MSS). */
const LEAST_MSS = 48
