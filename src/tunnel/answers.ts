// HOT
/**
 * Packets the VTEP makes and gives to the switch as if they had come out of the tunnel:
 *
 *     too big      ICMP 3/4 or ICMPv6 2 about a packet that does not fit, as Linux does for bridged packets:
 *                  addresses and MACs swapped, so that it seems to come from the destination
 *     ARP reply, neighbour advertisement      for a station whose binding is known (suppress.ts)
 *
 * None about what must not be answered (RFC 1122 3.2.2, RFC 4443 2.4 e). One more or less does no harm: without
 * a slot or room in the inbox there is none.
 */
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { INBOX } from '../packet/inbox.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { TunnelHost } from '../packet/tunnel.ts'
import * as arp from '../wire/arp.ts'
import * as checksum from '../wire/checksum.ts'
import * as ethernet from '../wire/ethernet.ts'
import * as icmp from '../wire/icmp.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as nd from '../wire/nd.ts'
import type { Inner } from './inner.ts'
import type { Segments } from './segments.ts'

/** RFC 1812 4.3.2.3 and RFC 4443 2.4 c: most bytes of an error. */
const MOST4 = 576
const MOST6 = 1280
/** A path with less is no path (RFC 791, RFC 8200 5); Linux does not answer for it either. */
const LEAST4 = 576
const LEAST6 = 1280
const MACS = 12
const ND_BYTES = 24 + 8

export class Answers {
  private readonly host: TunnelHost
  private readonly segments: Segments
  private readonly inner: Inner

  constructor(host: TunnelHost, segments: Segments, inner: Inner) {
    this.host = host
    this.segments = segments
    this.inner = inner
  }

  /** `inner` has read the packet. @param mtu longest IP packet that fits */
  tooBig(port: number, slot: number, tag: number, mtu: number): void {
    if (this.inner.family === 4) this.tooBig4(port, slot, tag, mtu)
    else if (this.inner.family === 6) this.tooBig6(port, slot, tag, mtu)
  }

  private tooBig4(port: number, slot: number, tag: number, mtu: number): void {
    const { l3, l4, end } = this.inner
    const { view } = this.host.pool
    if (mtu < LEAST4 || l4 < 0 || !ipv4.dontFragment(view, l3)) return
    const src = ipv4.srcAddr(view, l3)
    const dst = ipv4.dstAddr(view, l3)
    if (src >>> 24 === 0 || src >>> 24 === 127 || src >>> 28 >= 14 || dst >>> 28 >= 14) return
    const aboutError =
      ipv4.protocol(view, l3) === ipv4.Protocol.Icmp && (end <= l4 || icmp.isError(icmp.type(view, l4)))
    if (aboutError) return
    const quote = Math.min(end - l3, MOST4 - ipv4.SIZE - icmp.SIZE)
    const made = this.start(port, slot, tag, ipv4.SIZE + icmp.SIZE + quote)
    if (made < 0) return
    const at = this.payload(made, slot, tag)
    ipv4.write(view, at, ipv4.SIZE + icmp.SIZE + quote, ipv4.Protocol.Icmp, dst, src, 64, 0, 0, false)
    const fragmentationNeeded = icmp.Unreachable.FragmentationNeeded
    icmp.write(view, at + ipv4.SIZE, icmp.IcmpType.Unreachable, fragmentationNeeded, mtu)
    this.host.pool.bytes.copyWithin(at + ipv4.SIZE + icmp.SIZE, l3, l3 + quote)
    icmp.fillChecksum(view, at + ipv4.SIZE, icmp.SIZE + quote)
    this.give(port, made)
  }

  private tooBig6(port: number, slot: number, tag: number, mtu: number): void {
    const { l3, l4, end, proto } = this.inner
    const { view } = this.host.pool
    if (mtu < LEAST6 || ipv6.srcUnspecified(view, l3) || ipv6.isMulticast(ipv6.srcAddr(view, l3, 0))) return
    if (ipv6.isMulticast(ipv6.dstAddr(view, l3, 0))) return
    const aboutError =
      proto === ipv4.Protocol.Icmpv6 && (l4 < 0 || end <= l4 || icmpv6.isError(icmpv6.type(view, l4)))
    if (aboutError) return
    const quote = Math.min(end - l3, MOST6 - ipv6.SIZE - icmpv6.SIZE)
    const made = this.start(port, slot, tag, ipv6.SIZE + icmpv6.SIZE + quote)
    if (made < 0) return
    const at = this.payload(made, slot, tag)
    ipv6.write(view, at, icmpv6.SIZE + quote, ipv4.Protocol.Icmpv6, 64, 0, 0)
    this.swapAddresses6(at, l3)
    const l4At = at + ipv6.SIZE
    icmpv6.write(view, l4At, icmpv6.Icmpv6Type.PacketTooBig, 0, mtu)
    this.host.pool.bytes.copyWithin(l4At + icmpv6.SIZE, l3, l3 + quote)
    const pseudo = checksum.pseudo6(view, at, ipv4.Protocol.Icmpv6, icmpv6.SIZE + quote)
    icmpv6.fillChecksum(view, l4At, icmpv6.SIZE + quote, pseudo)
    this.give(port, made)
  }

  private swapAddresses6(to: number, from: number): void {
    const { bytes } = this.host.pool
    bytes.copyWithin(to + 8, from + 24, from + 40)
    bytes.copyWithin(to + 24, from + 8, from + 24)
  }

  /** Answers the ARP request in `slot`, which `inner` has read. True when there is an answer. */
  arpReply(port: number, slot: number, tag: number, macHi: number, macLo: number): boolean {
    const { l3 } = this.inner
    const { view } = this.host.pool
    const made = this.start(port, slot, tag, arp.SIZE)
    if (made < 0) return false
    this.from(made, macHi, macLo)
    const at = this.payload(made, slot, tag)
    const askerHi = arp.srcMacHi(view, l3)
    const askerLo = arp.srcMacLo(view, l3)
    const asked = arp.dstAddr(view, l3)
    arp.write(view, at, arp.ArpOp.Reply, macHi, macLo, asked, askerHi, askerLo, arp.srcAddr(view, l3))
    return this.give(port, made)
  }

  /** Answers the neighbour solicitation in `slot`. `bits`: NdFlag. */
  advertisement(
    port: number,
    slot: number,
    tag: number,
    macHi: number,
    macLo: number,
    bits: number,
  ): boolean {
    const { l3, l4 } = this.inner
    const { view } = this.host.pool
    const made = this.start(port, slot, tag, ipv6.SIZE + ND_BYTES)
    if (made < 0) return false
    this.from(made, macHi, macLo)
    const at = this.payload(made, slot, tag)
    ipv6.write(view, at, ND_BYTES, ipv4.Protocol.Icmpv6, 255, 0, 0)
    this.swapAddresses6(at, l3)
    // From the address that was asked for, not from its group.
    this.host.pool.bytes.copyWithin(at + 8, l4 + 8, l4 + 24)
    const a0 = nd.targetAddr(view, l4, 0)
    const a1 = nd.targetAddr(view, l4, 1)
    const a2 = nd.targetAddr(view, l4, 2)
    const a3 = nd.targetAddr(view, l4, 3)
    const advertisement = icmpv6.Icmpv6Type.NeighborAdvertisement
    nd.writeNeighbor(view, at + ipv6.SIZE, advertisement, bits, a0, a1, a2, a3)
    nd.writeLink(view, at + ipv6.SIZE + 24, nd.NdOption.TargetLink, macHi, macLo)
    const pseudo = checksum.pseudo6(view, at, ipv4.Protocol.Icmpv6, ND_BYTES)
    icmpv6.fillChecksum(view, at + ipv6.SIZE, ND_BYTES, pseudo)
    return this.give(port, made)
  }

  /** Bytes of a wire frame in front of its IP header or ARP message. */
  private above(slot: number, tag: number): number {
    const { meta } = this.host.pool
    const m = slot << META_SHIFT
    const head = slot * SLOT_SIZE + meta[m + Meta.Head]
    return this.inner.l3 - head - meta[m + Meta.Strip] + (tag !== 0 ? 4 : 0)
  }

  /** A frame back to who sent the packet in `slot`, in the same VLAN; -1 = there is none. */
  private start(port: number, slot: number, tag: number, payload: number): number {
    const { pool } = this.host
    const { bytes, meta, view } = pool
    if (this.segments.inboxes.count[port] === INBOX) return -1
    const above = this.above(slot, tag)
    const made = this.host.make(above + payload)
    if (made < 0) return -1
    const m = slot << META_SHIFT
    const from = slot * SLOT_SIZE + meta[m + Meta.Head]
    const to = pool.at(made)
    bytes.copyWithin(to, from + 6, from + MACS)
    bytes.copyWithin(to + 6, from, from + 6)
    let place = to + MACS
    if (tag !== 0) {
      view.setInt32(place, tag)
      place += 4
    }
    bytes.copyWithin(place, from + MACS + meta[m + Meta.Strip], this.inner.l3)
    return made
  }

  private payload(made: number, slot: number, tag: number): number {
    return this.host.pool.at(made) + this.above(slot, tag)
  }

  private from(made: number, macHi: number, macLo: number): void {
    ethernet.setSrcMac(this.host.pool.view, this.host.pool.at(made), macHi, macLo)
  }

  private give(port: number, made: number): boolean {
    const { host } = this
    const { meta } = host.pool
    const { counters } = host
    meta[(made << META_SHIFT) + Meta.Port] = port
    meta[(made << META_SHIFT) + Meta.Remote] = -1
    this.segments.inboxes.put(port, made)
    counters[port * COUNTER_WORDS + Counter.Made]++
    counters[port * COUNTER_WORDS + Counter.Held]++
    host.ready(port)
    return true
  }
}
