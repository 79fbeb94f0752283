// HOT
/**
 * Packets to the router itself: echo requests are answered, neighbour discovery goes to nd.ts, what the
 * control thread asked for (DHCP, router solicitations) goes to it, the rest is refused as a host
 * without services does: ICMP port or protocol unreachable, a reset for TCP.
 */
import { Drop } from '../packet/drop.ts'
import { Frag, IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { diff32 } from '../wire/checksum.ts'
import { SERVER_PORT } from '../wire/dhcp.ts'
import * as icmp from '../wire/icmp.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import type { RouterHost } from './host.ts'
import { Icmp4Code, Icmp6Code, type IcmpErrors } from './icmp.ts'
import { IfFlag, type Interfaces, MAX_ADDRESSES } from './interfaces.ts'
import { forget, MADE_TTL } from './made.ts'
import { resetFor } from './reset.ts'

/** Router and neighbour discovery, redirect (RFC 4861). */
const ND_FIRST = 133
const ND_LAST = 137

export interface LocalParts {
  host: RouterHost
  interfaces: Interfaces
  errors: IcmpErrors
  /** Sends a packet that was made here. */
  originate(slot: number, nowMs: number): void
  /** Takes a neighbour discovery packet. */
  nd(slot: number, iface: number, nowMs: number): void
  /** Hands a packet to the control thread. False when it cannot take more. */
  punt(slot: number, iface: number): boolean
}

export class Local {
  private readonly parts: LocalParts

  constructor(parts: LocalParts) {
    this.parts = parts
  }

  /** Deals with a packet that passed INPUT. */
  deliver(slot: number, port: number, nowMs: number): void {
    const { errors, host } = this.parts
    const { ip } = host
    const row = slot << IP_SHIFT
    const proto = ip[row + Ip.Proto]
    const unicast = ip[row + Ip.PktType] === 0 && !isGroup(ip, row)
    if ((ip[row + Ip.Frag] & Frag.Later) !== 0) return host.lose(port, slot, Drop.NoListener)
    if (proto === ipv4.Protocol.Icmp || proto === ipv4.Protocol.Icmpv6)
      return this.icmp(slot, row, port, nowMs)
    if (proto === ipv4.Protocol.Udp && this.isDhcp(row)) {
      if (this.parts.punt(slot, ip[row + Ip.InIf])) return host.consume(port, slot)
      return host.lose(port, slot, Drop.QueueFull)
    }
    if (unicast && proto === ipv4.Protocol.Tcp) {
      const made = resetFor(host, slot)
      if (made >= 0) this.parts.originate(made, nowMs)
    } else if (unicast) {
      const four = proto === ipv4.Protocol.Udp ? Icmp4Code.PortUnreachable : Icmp4Code.ProtocolUnreachable
      const six = proto === ipv4.Protocol.Udp ? Icmp6Code.PortUnreachable : Icmp6Code.UnknownNextHeader
      errors.send(slot, four, six, 0, nowMs)
    }
    host.lose(port, slot, Drop.NoListener)
  }

  /** For the DHCP server of the interface. Fragments are not: a client has no reason to send them. */
  private isDhcp(row: number): boolean {
    const { host, interfaces } = this.parts
    const { ip } = host
    return (
      (ip[row + Ip.Ports] & 0xffff) === SERVER_PORT &&
      ip[row + Ip.Family] === 4 &&
      (ip[row + Ip.Frag] & Frag.Any) === 0 &&
      (interfaces.flags[ip[row + Ip.InIf]] & IfFlag.Dhcp) !== 0
    )
  }

  private icmp(slot: number, row: number, port: number, nowMs: number): void {
    const { host, nd } = this.parts
    const { ip } = host
    const type = ip[row + Ip.Ports] >>> 24
    const four = ip[row + Ip.Family] === 4
    if ((ip[row + Ip.Flags] & IpFlag.HasL4) === 0) return host.lose(port, slot, Drop.IpMalformed)
    if (!four && type >= ND_FIRST && type <= ND_LAST) return nd(slot, ip[row + Ip.InIf], nowMs)
    const echo = four ? icmp.IcmpType.Echo : icmpv6.Icmpv6Type.Echo
    if (type !== echo || (four && ip[row + Ip.PktType] !== 0)) return host.consume(port, slot)
    this.answer(slot, row, four, nowMs)
  }

  /** Turns an echo request into its reply, in place. */
  private answer(slot: number, row: number, four: boolean, nowMs: number): void {
    const { host, interfaces } = this.parts
    const { ip, pool } = host
    const { view } = pool
    const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
    const l4 = at - ip[row + Ip.L3] + ip[row + Ip.L4]
    const inIf = ip[row + Ip.InIf]
    if (four) {
      const src = ip[row + Ip.Src0]
      ipv4.setDstAddr(view, at, src, -1, 0)
      ipv4.setSrcAddr(view, at, ip[row + Ip.Dst0], -1, 0)
      ipv4.setTtl(view, at, MADE_TTL)
      icmp.setType(view, l4, icmp.IcmpType.EchoReply)
      ip[row + Ip.Src0] = ip[row + Ip.Dst0]
      ip[row + Ip.Dst0] = src
    } else {
      this.swap6(row, at, l4, inIf, interfaces)
      ipv6.setTtl(view, at, MADE_TTL)
      icmpv6.setType(view, l4, icmpv6.Icmpv6Type.EchoReply, false)
    }
    ip[row + Ip.Ports] = (icmp.type(view, l4) << 24) | (ip[row + Ip.Ports] & 0xffffff)
    ip[row + Ip.Flags] = IpFlag.Local | IpFlag.HasL4
    ip[row + Ip.Ttl] = MADE_TTL
    forget(ip, row)
    // A link-local destination is only reached by the interface it spoke on.
    ip[row + Ip.OutIf] = inIf
    this.parts.originate(slot, nowMs)
  }

  /** A group's request is answered from an address of ours (RFC 4443 4.2). */
  private swap6(row: number, at: number, l4: number, inIf: number, interfaces: Interfaces): void {
    const { ip, pool } = this.parts.host
    const { view } = pool
    const group = ip[row + Ip.Dst0] >>> 24 === 0xff
    const own = group ? interfaces.count6[inIf] > 0 : true
    for (let i = 0; i < 4; i++) {
      const src = ip[row + Ip.Src0 + i]
      const mine = group && own ? interfaces.address6[inIf * MAX_ADDRESSES * 4 + i] : ip[row + Ip.Dst0 + i]
      if (mine !== ip[row + Ip.Dst0 + i]) icmpv6.correct(view, l4, diff32(ip[row + Ip.Dst0 + i], mine), false)
      view.setInt32(at + 8 + 4 * i, mine)
      view.setInt32(at + 24 + 4 * i, src)
      ip[row + Ip.Src0 + i] = mine
      ip[row + Ip.Dst0 + i] = src
    }
  }
}

/** The destination is a group: multicast, or IPv4's broadcast. */
export function isGroup(ip: Int32Array, row: number): boolean {
  const dst = ip[row + Ip.Dst0]
  return ip[row + Ip.Family] === 4 ? dst === -1 || dst >>> 28 === 14 : dst >>> 24 === 0xff
}
