// HOT
/**
 * ARP and neighbour discovery at the edge of a tunnel (as RFC 9161 does it for EVPN): a broadcast question for
 * an address whose station is known behind the tunnel is answered here and floods no tunnel.
 *
 *     out of the tunnel   learn  ARP: sender's address -> MAC; advertisement: target -> MAC, router flag
 *     into the tunnel     ask    a binding no older than the port's ageing time, of a station still known there:
 *                                the answer; what our side says of itself voids what was known of the tunnel
 *
 * Never answered: probes, announcements and duplicate address detection (they look for somebody who objects),
 * unicast questions (they ask whether the station is alive).
 */
import type { TunnelHost } from '../packet/tunnel.ts'
import * as arp from '../wire/arp.ts'
import { Icmpv6Type } from '../wire/icmpv6.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as nd from '../wire/nd.ts'
import type { Answers } from './answers.ts'
import type { Bindings } from './bindings.ts'
import type { Inner } from './inner.ts'
import { Stations } from './stations.ts'
import { Binding, BindingFlag } from './tables.ts'

export class Suppression {
  private readonly host: TunnelHost
  private readonly inner: Inner
  private readonly bindings: Bindings
  private readonly stations: Stations
  private readonly answers: Answers

  constructor(host: TunnelHost, inner: Inner, bindings: Bindings, stations: Stations, answers: Answers) {
    this.host = host
    this.inner = inner
    this.bindings = bindings
    this.stations = stations
    this.answers = answers
  }

  /** Of a frame that came out of the tunnel; `inner` has read it. */
  learn(port: number, nowS: number): void {
    const { inner, bindings } = this
    const { view } = this.host.pool
    if (inner.arp) {
      const at = inner.l3
      if (!arp.fits(view, at, inner.end)) return
      const addr = arp.srcAddr(view, at)
      if (addr === 0) return
      const hi = arp.srcMacHi(view, at)
      bindings.learn(port, 4, addr, 0, 0, 0, hi, arp.srcMacLo(view, at), nowS)
      return
    }
    if (!inner.isNd(Icmpv6Type.NeighborAdvertisement)) return
    const at = inner.l4
    if (!nd.fits(view, at, inner.end) || !nd.valid(view, inner.l3, at, inner.end)) return
    const link = nd.findOption(view, at, inner.end, nd.NdOption.TargetLink)
    if (link < 0) return
    const router = (nd.flags(view, at) & nd.NdFlag.Router) !== 0 ? BindingFlag.Router : 0
    const a0 = nd.targetAddr(view, at, 0)
    const a1 = nd.targetAddr(view, at, 1)
    const a2 = nd.targetAddr(view, at, 2)
    const a3 = nd.targetAddr(view, at, 3)
    const hi = nd.macHi(view, link) | router
    bindings.learn(port, 6, a0, a1, a2, a3, hi, nd.macLo(view, link), nowS)
  }

  /** Of a frame on its way into the tunnel; `inner` has read it. True when it was answered here. */
  ask(port: number, slot: number, tag: number, group: boolean, nowS: number): boolean {
    const { inner } = this
    if (inner.arp) return this.askArp(port, slot, tag, group, nowS)
    if (inner.isNd(Icmpv6Type.NeighborSolicitation)) return this.askNd(port, slot, tag, group, nowS)
    if (inner.isNd(Icmpv6Type.NeighborAdvertisement)) this.ours6(port)
    return false
  }

  private askArp(port: number, slot: number, tag: number, group: boolean, nowS: number): boolean {
    const { view } = this.host.pool
    const at = this.inner.l3
    if (!arp.fits(view, at, this.inner.end)) return false
    const sender = arp.srcAddr(view, at)
    if (sender !== 0) this.bindings.remove(port, 4, sender, 0, 0, 0)
    this.stations.remove(arp.srcMacLo(view, at), Stations.key1(arp.srcMacHi(view, at), port))
    const asked = arp.dstAddr(view, at)
    if (!group || arp.op(view, at) !== arp.ArpOp.Request || sender === 0 || sender === asked) return false
    const found = this.usable(port, this.bindings.find(port, 4, asked, 0, 0, 0), nowS)
    if (found < 0) return false
    const { words } = this.bindings
    const hi = words[found + Binding.MacHi] & 0xffff
    return this.answers.arpReply(port, slot, tag, hi, words[found + Binding.MacLo])
  }

  private askNd(port: number, slot: number, tag: number, group: boolean, nowS: number): boolean {
    const { inner, bindings } = this
    const { view } = this.host.pool
    const at = inner.l4
    if (!nd.fits(view, at, inner.end) || !nd.valid(view, inner.l3, at, inner.end)) return false
    if (!group || ipv6.srcUnspecified(view, inner.l3)) return false
    const a0 = nd.targetAddr(view, at, 0)
    const a1 = nd.targetAddr(view, at, 1)
    const a2 = nd.targetAddr(view, at, 2)
    const a3 = nd.targetAddr(view, at, 3)
    const found = this.usable(port, bindings.find(port, 6, a0, a1, a2, a3), nowS)
    if (found < 0) return false
    const hi = bindings.words[found + Binding.MacHi]
    const router = (hi & BindingFlag.Router) !== 0 ? nd.NdFlag.Router : 0
    const bits = nd.NdFlag.Solicited | nd.NdFlag.Override | router
    return this.answers.advertisement(
      port,
      slot,
      tag,
      hi & 0xffff,
      bindings.words[found + Binding.MacLo],
      bits,
    )
  }

  /** An advertisement of our side: the address is here. */
  private ours6(port: number): void {
    const { view } = this.host.pool
    const at = this.inner.l4
    const a0 = nd.targetAddr(view, at, 0)
    const a1 = nd.targetAddr(view, at, 1)
    const a2 = nd.targetAddr(view, at, 2)
    this.bindings.remove(port, 6, a0, a1, a2, nd.targetAddr(view, at, 3))
  }

  /** The binding at `found` (-1 = none) if it still holds, else -1. */
  private usable(port: number, found: number, nowS: number): number {
    if (found < 0) return -1
    const { words } = this.bindings
    const hi = words[found + Binding.MacHi]
    const agingS = this.stations.agingS[port]
    const old = agingS !== 0 && nowS - words[found + Binding.SeenS] > agingS
    if (old && (hi & BindingFlag.Static) === 0) return -1
    const key1 = Stations.key1(hi & 0xffff, port)
    return this.stations.find(words[found + Binding.MacLo], key1, nowS) < 0 ? -1 : found
  }
}
