// HOT
/**
 * Writes neighbour discovery messages and sends them (RFC 4861 4.3, 4.4). Hop limit 255 proves to the
 * receiver that no router forwarded them.
 *
 *     solicitation   to the solicited-node group, or to the neighbour itself: is it still there?
 *     its source     our link-local address; :: while we ask whether an address is free
 *     advertisement  to who asked; to ff02::1 when nobody did, or who asked has no address yet
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { pseudo6 } from '../wire/checksum.ts'
import { GROUP6_HI } from '../wire/ethernet.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import { Protocol } from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as wire from '../wire/nd.ts'
import type { RouterHost } from './host.ts'
import { type Interfaces, MAX_ADDRESSES } from './interfaces.ts'
import { describeMade } from './made.ts'
import { putEthernet } from './neighbour-link.ts'

const HOP_LIMIT = 255
const MESSAGE = 24
const LINK_OPTION = 8
/** ff02::1 */
export const ALL_NODES0 = 0xff020000 | 0
export const ALL_NODES3 = 1

export class NdSender {
  private readonly host: RouterHost
  private readonly interfaces: Interfaces

  constructor(host: RouterHost, interfaces: Interfaces) {
    this.host = host
    this.interfaces = interfaces
  }

  /** Index into address6 of the address we ask from: a link-local one, else the first; -1 = none. */
  sourceOf(iface: number): number {
    const { address6, count6 } = this.interfaces
    const base = iface * MAX_ADDRESSES
    for (let i = 0; i < count6[iface]; i++) {
      if (ipv6.isLinkLocal(address6[(base + i) << 2])) return (base + i) << 2
    }
    return count6[iface] > 0 ? base << 2 : -1
  }

  /**
   * Makes an ND message of ours; its destination is filled in by `to`. -1 when there is no slot.
   * @param source index into address6; -1 = ::, and no link-layer address option
   */
  private make(
    iface: number,
    type: number,
    bits: number,
    source: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
  ): number {
    const { host, interfaces } = this
    const length = ipv6.SIZE + MESSAGE + (source >= 0 ? LINK_OPTION : 0)
    const slot = host.make(length)
    if (slot < 0) return -1
    const { ip } = host
    const { view } = host.pool
    const r = slot << IP_SHIFT
    describeMade(ip, slot, 6, Protocol.Icmpv6, ipv6.SIZE, length, type << 24, 0)
    ip[r + Ip.Ttl] = HOP_LIMIT
    ip[r + Ip.OutIf] = iface
    for (let i = 0; i < 4; i++) ip[r + Ip.Src0 + i] = source < 0 ? 0 : interfaces.address6[source + i]
    const at = slot * SLOT_SIZE + host.pool.meta[(slot << META_SHIFT) + Meta.Head]
    ipv6.write(view, at, length - ipv6.SIZE, Protocol.Icmpv6, HOP_LIMIT, 0, 0)
    wire.writeNeighbor(view, at + ipv6.SIZE, type, bits, w0, w1, w2, w3)
    if (source < 0) return slot
    const solicitation = type === icmpv6.Icmpv6Type.NeighborSolicitation
    const option = solicitation ? wire.NdOption.SourceLink : wire.NdOption.TargetLink
    const place = at + ipv6.SIZE + MESSAGE
    wire.writeLink(view, place, option, interfaces.macHi[iface], interfaces.macLo[iface])
    return slot
  }

  /** Writes both addresses, in the row and in the header, and the checksum. */
  private to(slot: number, w0: number, w1: number, w2: number, w3: number): void {
    const { ip, pool } = this.host
    const view = pool.view
    const r = slot << IP_SHIFT
    ip[r + Ip.Dst0] = w0
    ip[r + Ip.Dst0 + 1] = w1
    ip[r + Ip.Dst0 + 2] = w2
    ip[r + Ip.Dst0 + 3] = w3
    const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
    for (let i = 0; i < 4; i++) {
      ip[r + Ip.Hop0 + i] = ip[r + Ip.Dst0 + i]
      view.setInt32(at + 8 + 4 * i, ip[r + Ip.Src0 + i])
      view.setInt32(at + 24 + 4 * i, ip[r + Ip.Dst0 + i])
    }
    const bytes = ip[r + Ip.Length] - ipv6.SIZE
    icmpv6.fillChecksum(view, at + ipv6.SIZE, bytes, pseudo6(view, at, Protocol.Icmpv6, bytes))
  }

  private send(slot: number, iface: number, hi: number, lo: number): void {
    const { host, interfaces } = this
    putEthernet(host.pool, host.ip, slot, hi, lo, interfaces.macHi[iface], interfaces.macLo[iface])
    host.send(interfaces.port[iface], slot)
  }

  /**
   * A solicitation for the target.
   * @param source index into address6; -1 = :: (a probe)
   * @param hi -1 = to the solicited-node group, else to the target at this MAC
   */
  solicit(
    iface: number,
    source: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    hi: number,
    lo: number,
  ): void {
    const slot = this.make(iface, icmpv6.Icmpv6Type.NeighborSolicitation, 0, source, w0, w1, w2, w3)
    if (slot < 0) return
    if (hi >= 0) {
      this.to(slot, w0, w1, w2, w3)
      this.send(slot, iface, hi, lo)
      return
    }
    const group3 = wire.solicited3(w3)
    this.to(slot, wire.SOLICITED0, 0, 1, group3)
    this.send(slot, iface, GROUP6_HI, group3)
  }

  /** Tells everybody about an address of ours, `source` in address6. */
  advertise(iface: number, source: number): void {
    const slot = this.advertisement(iface, source, wire.NdFlag.Router | wire.NdFlag.Override)
    if (slot < 0) return
    this.to(slot, ALL_NODES0, 0, 0, ALL_NODES3)
    this.send(slot, iface, GROUP6_HI, ALL_NODES3)
  }

  /** An advertisement to one neighbour, for `Neighbours.output`; -1 when there is no slot. */
  advertiseTo(iface: number, source: number, w0: number, w1: number, w2: number, w3: number): number {
    const bits = wire.NdFlag.Router | wire.NdFlag.Override | wire.NdFlag.Solicited
    const slot = this.advertisement(iface, source, bits)
    if (slot >= 0) this.to(slot, w0, w1, w2, w3)
    return slot
  }

  private advertisement(iface: number, source: number, bits: number): number {
    const a = this.interfaces.address6
    const type = icmpv6.Icmpv6Type.NeighborAdvertisement
    return this.make(iface, type, bits, source, a[source], a[source + 1], a[source + 2], a[source + 3])
  }
}
