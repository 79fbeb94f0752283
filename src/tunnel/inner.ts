// HOT
/**
 * What a tunnel wants to know of the frame inside: its IP header, and which flow it belongs to. One object,
 * filled anew for each packet by `read`; offsets are places in the pool.
 *
 *     dst, src | Meta.Strip bytes left out | [a tag] | type | IP header | TCP, UDP, ...
 *
 * A fragment has no transport here, not even the first: all fragments of a datagram are one flow.
 */
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import type { Icmpv6Type } from '../wire/icmpv6.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { Walk, WalkResult, walk } from '../wire/ipv6-extension.ts'
import * as l4 from '../wire/l4.ts'
import * as tcp from '../wire/tcp.ts'

export const ETHERNET = 14
const TYPE_IPV4 = 0x0800
const TYPE_ARP = 0x0806
const TYPE_IPV6 = 0x86dd
const TYPE_TAG = 0x8100
const TYPE_S_TAG = 0x88a8

/** A C-tag or an S-tag. */
export function isTag(type: number): boolean {
  return type === TYPE_TAG || type === TYPE_S_TAG
}

export class Inner {
  /** 4, 6, or 0 = not IP (or malformed). */
  family = 0
  /** The IP header. */
  l3 = 0
  /** The transport header, or -1. */
  l4 = -1
  proto = 0
  /** Behind the IP packet's last byte. */
  end = 0
  arp = false
  private readonly pool: Pool
  private readonly found = new Int32Array(Walk.Words)

  constructor(pool: Pool) {
    this.pool = pool
  }

  /** Needs 14 bytes behind Meta.Strip. */
  read(slot: number): void {
    const { meta, view } = this.pool
    const m = slot << META_SHIFT
    const at = slot * SLOT_SIZE + meta[m + Meta.Head]
    const end = at + meta[m + Meta.Len]
    let place = at + 12 + meta[m + Meta.Strip]
    let type = view.getUint16(place)
    if (isTag(type) && end - place >= 6) {
      place += 4
      type = view.getUint16(place)
    }
    this.family = 0
    this.l4 = -1
    this.l3 = place + 2
    this.end = end
    this.arp = type === TYPE_ARP
    if (type === TYPE_IPV4) this.read4(view, end)
    else if (type === TYPE_IPV6) this.read6(view, end)
  }

  private read4(view: DataView, end: number): void {
    const { l3 } = this
    if (!ipv4.fits(view, l3, end)) return
    this.family = 4
    this.proto = ipv4.protocol(view, l3)
    this.end = l3 + ipv4.totalLength(view, l3)
    if (!ipv4.isFragment(view, l3)) this.l4 = l3 + ipv4.headerLength(view, l3)
  }

  private read6(view: DataView, end: number): void {
    const { found, l3 } = this
    if (!ipv6.fits(view, l3, end)) return
    this.family = 6
    this.end = l3 + ipv6.SIZE + ipv6.payloadLength(view, l3)
    const next = ipv6.nextHeader(view, l3)
    this.proto = next
    if (next === ipv4.Protocol.Tcp || next === ipv4.Protocol.Udp) {
      this.l4 = l3 + ipv6.SIZE
      return
    }
    if (walk(view, l3, this.end, found) !== WalkResult.Ok) return
    this.proto = found[Walk.Protocol]
    if (found[Walk.Fragment] < 0) this.l4 = found[Walk.L4]
  }

  /** The TCP header is whole and opens or answers a connection. */
  isSyn(): boolean {
    const { view } = this.pool
    if (this.proto !== ipv4.Protocol.Tcp || this.l4 < 0 || this.family === 0) return false
    return tcp.fits(view, this.l4, this.end) && (tcp.flags(view, this.l4) & tcp.TcpFlag.Syn) !== 0
  }

  isIcmpv6(): boolean {
    return this.family === 6 && this.proto === ipv4.Protocol.Icmpv6
  }

  /** ICMPv6 of this type. */
  isNd(type: Icmpv6Type): boolean {
    const { l4: at } = this
    if (!this.isIcmpv6() || at < 0 || this.end - at < 24) return false
    return this.pool.view.getUint8(at) === type
  }

  /** TOS or traffic class; 0 when it is not IP. */
  tos(): number {
    if (this.family === 4) return ipv4.tos(this.pool.view, this.l3)
    return this.family === 6 ? ipv6.tos(this.pool.view, this.l3) : 0
  }

  /** TTL or hop limit; 0 when it is not IP. */
  ttl(): number {
    if (this.family === 4) return ipv4.ttl(this.pool.view, this.l3)
    return this.family === 6 ? ipv6.ttl(this.pool.view, this.l3) : 0
  }

  /** Must not be fragmented: IPv6, and IPv4 with DF (as Linux's df inherit). */
  dontFragment(): boolean {
    if (this.family === 4) return ipv4.dontFragment(this.pool.view, this.l3)
    return this.family === 6
  }

  /** A number of 32 bits, the same for all packets of one inner flow: addresses, protocol, ports; else the MACs. */
  flow(slot: number): number {
    const { view } = this.pool
    const { l3 } = this
    let h: number
    if (this.family === 4) h = mix(view.getInt32(l3 + 12), view.getInt32(l3 + 16))
    else if (this.family === 6) {
      h = mix(view.getInt32(l3 + 8) ^ view.getInt32(l3 + 12), view.getInt32(l3 + 16) ^ view.getInt32(l3 + 20))
      h = mix(
        h ^ view.getInt32(l3 + 24) ^ view.getInt32(l3 + 28),
        view.getInt32(l3 + 32) ^ view.getInt32(l3 + 36),
      )
    } else {
      const at = slot * SLOT_SIZE + this.pool.meta[(slot << META_SHIFT) + Meta.Head]
      return mix(mix(view.getInt32(at), view.getInt32(at + 4)), view.getInt32(at + 8))
    }
    const ports = this.l4 >= 0 && l4.hasPorts(this.proto) && l4.fits(view, this.l4, this.end)
    return mix(h ^ this.proto, ports ? view.getInt32(this.l4) : 0)
  }
}

function mix(a: number, b: number): number {
  let h = Math.imul(a ^ (a >>> 16), 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}
