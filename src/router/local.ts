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
import { chainFault, FINE } from './options.ts'
import { resetFor } from './reset.ts'
import { sumHolds } from './sum.ts'

/** Router and neighbour discovery, redirect (RFC 4861). */
const ND_FIRST = 133
const ND_LAST = 137
/** Of an IP packet. */
const MAX_SIZE = 65535

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
  /** Identification of the next answer that may have to be cut. */
  private nextId = 1

  constructor(parts: LocalParts) {
    this.parts = parts
  }

  /** Deals with a packet that passed INPUT. */
  deliver(slot: number, port: number, nowMs: number): void {
    const { errors, host } = this.parts
    const { ip, pool } = host
    const row = slot << IP_SHIFT
    if ((ip[row + Ip.Frag] & Frag.Later) !== 0) return host.lose(port, slot, Drop.NoListener)
    const l3 = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
    const four = ip[row + Ip.Family] === 4
    if (!four) {
      const fault = chainFault(pool.view, l3, l3 + ip[row + Ip.Length])
      if (fault > 0) errors.send(slot, -1, Icmp6Code.ParameterProblem | (fault >> 16), fault & 0xffff, nowMs)
      if (fault !== FINE) return host.lose(port, slot, fault > 0 ? Drop.NoListener : Drop.IpMalformed)
    }
    if (!sumHolds(pool, ip, slot)) return host.lose(port, slot, Drop.IpMalformed)
    const proto = ip[row + Ip.Proto]
    if (proto === (four ? ipv4.Protocol.Icmp : ipv4.Protocol.Icmpv6)) return this.icmp(slot, row, port, nowMs)
    if (proto === ipv4.Protocol.Udp && this.isDhcp(row)) {
      if (this.parts.punt(slot, ip[row + Ip.InIf])) return host.consume(port, slot)
      return host.lose(port, slot, Drop.QueueFull)
    }
    if (ip[row + Ip.PktType] === 0 && (ip[row + Ip.Flags] & IpFlag.ToUs) !== 0) {
      if (proto === ipv4.Protocol.Tcp) {
        const made = resetFor(host, slot, four ? ipv4.tos(pool.view, l3) : ipv6.tos(pool.view, l3))
        if (made >= 0) this.parts.originate(made, nowMs)
      } else {
        const udp = proto === ipv4.Protocol.Udp
        // As in Linux, what is refused here is no longer its connection's: the answer finds it, or is not tracked.
        if (udp) ip[row + Ip.Ct] = -1
        const refusal = udp ? Icmp4Code.PortUnreachable : Icmp4Code.ProtocolUnreachable
        errors.send(slot, refusal, Icmp6Code.PortUnreachable, 0, nowMs)
      }
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
    if (!four && type >= ND_FIRST && type <= ND_LAST) return nd(slot, ip[row + Ip.InIf], nowMs)
    const echo = four ? icmp.IcmpType.Echo : icmpv6.Icmpv6Type.Echo
    const group = (ip[row + Ip.Flags] & IpFlag.ToUs) === 0
    if (type !== echo || (four && (group || ip[row + Ip.PktType] !== 0))) return host.consume(port, slot)
    this.answer(slot, row, four, nowMs)
  }

  /** Turns an echo request into its reply, in place, with a header of our own: options stay behind. */
  private answer(slot: number, row: number, four: boolean, nowMs: number): void {
    const { host, interfaces } = this.parts
    const { ip, pool } = host
    const { meta, view } = pool
    const m = slot << META_SHIFT
    const inIf = ip[row + Ip.InIf]
    const old = slot * SLOT_SIZE + meta[m + Meta.Head] + ip[row + Ip.L3]
    const tos = four ? ipv4.tos(view, old) : ipv6.tos(view, old)
    const ident = four ? ipv4.id(view, old) : 0
    const header = four ? ipv4.SIZE : ipv6.SIZE
    const shift = ip[row + Ip.L4] - ip[row + Ip.L3] - header
    meta[m + Meta.Head] += shift
    meta[m + Meta.Len] -= shift
    ip[row + Ip.L4] -= shift
    ip[row + Ip.Length] -= shift
    const at = old + shift
    const l4 = at + header
    const length = ip[row + Ip.Length]
    if (four) {
      const src = ip[row + Ip.Src0]
      ip[row + Ip.Src0] = ip[row + Ip.Dst0]
      ip[row + Ip.Dst0] = src
      ipv4.write(view, at, length, ipv4.Protocol.Icmp, ip[row + Ip.Src0], src, MADE_TTL, tos, ident, false)
      icmp.setType(view, l4, icmp.IcmpType.EchoReply)
      ip[row + Ip.Frag] = 0
    } else {
      ipv6.write(view, at, length - header, ipv4.Protocol.Icmpv6, MADE_TTL, tos, 0)
      this.swap6(row, at, l4, inIf, interfaces)
      icmpv6.setType(view, l4, icmpv6.Icmpv6Type.EchoReply, false)
      // A node may cut what it sends itself: as if it had come so.
      ip[row + Ip.Frag] = Frag.Reassembled
      ip[row + Ip.Scratch] = MAX_SIZE
      ip[row + Ip.Scratch + 1] = this.nextId++ | 0
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
