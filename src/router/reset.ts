// HOT
/**
 * A TCP reset that refuses a segment (RFC 9293 3.10.7.1): for the router's own closed ports and for
 * REJECT --reject-with tcp-reset.
 */
import { IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import * as checksum from '../wire/checksum.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as tcp from '../wire/tcp.ts'
import type { RouterHost } from './host.ts'
import { describeMade, MADE_TTL } from './made.ts'

/**
 * A slot with the reset, its row filled; -1 when there must be none or no slot is free.
 * @param tos of the reset
 */
export function resetFor(host: RouterHost, slot: number, tos: number): number {
  const { ip, pool } = host
  const { view } = pool
  const row = slot << IP_SHIFT
  const head = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
  const from = head + ip[row + Ip.L4]
  const end = head + ip[row + Ip.L3] + ip[row + Ip.Length]
  if ((ip[row + Ip.Flags] & IpFlag.HasL4) === 0 || !tcp.fits(view, from, end)) return -1
  if ((ip[row + Ip.Flags] & IpFlag.Broadcast) !== 0) return -1
  const flags = tcp.flags(view, from)
  if ((flags & tcp.TcpFlag.Rst) !== 0) return -1
  const four = ip[row + Ip.Family] === 4
  const header = four ? ipv4.SIZE : ipv6.SIZE
  const made = host.make(header + tcp.SIZE)
  if (made < 0) return -1
  const at = made * SLOT_SIZE + pool.meta[(made << META_SHIFT) + Meta.Head]
  const to = made << IP_SHIFT
  for (let i = 0; i < 4; i++) {
    ip[to + Ip.Src0 + i] = ip[row + Ip.Dst0 + i]
    ip[to + Ip.Dst0 + i] = ip[row + Ip.Src0 + i]
  }
  if (four) {
    const src = ip[row + Ip.Dst0]
    const dst = ip[row + Ip.Src0]
    ipv4.write(view, at, header + tcp.SIZE, ipv4.Protocol.Tcp, src, dst, MADE_TTL, tos, 0, true)
  } else {
    ipv6.write(view, at, tcp.SIZE, ipv4.Protocol.Tcp, MADE_TTL, tos, 0)
    for (let i = 0; i < 4; i++) {
      view.setInt32(at + 8 + 4 * i, ip[to + Ip.Src0 + i])
      view.setInt32(at + 24 + 4 * i, ip[to + Ip.Dst0 + i])
    }
  }
  const acked = (flags & tcp.TcpFlag.Ack) !== 0
  const span = tcp.span(view, from, end - from - tcp.headerLength(view, from))
  tcp.write(
    view,
    at + header,
    tcp.dstPort(view, from),
    tcp.srcPort(view, from),
    acked ? tcp.ack(view, from) : 0,
    acked ? 0 : (tcp.seq(view, from) + span) | 0,
    acked ? tcp.TcpFlag.Rst : tcp.TcpFlag.Rst | tcp.TcpFlag.Ack,
    0,
  )
  const pseudo = four
    ? checksum.pseudo4(view, at, ipv4.Protocol.Tcp, tcp.SIZE)
    : checksum.pseudo6(view, at, ipv4.Protocol.Tcp, tcp.SIZE)
  tcp.fillChecksum(view, at + header, tcp.SIZE, pseudo, false)
  const ports = (tcp.dstPort(view, from) << 16) | tcp.srcPort(view, from)
  describeMade(ip, made, four ? 4 : 6, ipv4.Protocol.Tcp, header, header + tcp.SIZE, ports, 0)
  return made
}
