// HOT
/** Lowers the MSS of a SYN to what the way out carries (RFC 6691); never raises it. */
import { IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as tcp from '../wire/tcp.ts'
import * as tcpOption from '../wire/tcp-option.ts'

/** @param mtu bytes from the IP header on */
export function clampMss(pool: Pool, ip: Int32Array, slot: number, mtu: number): void {
  const row = slot << IP_SHIFT
  const m = slot << META_SHIFT
  if (ip[row + Ip.Proto] !== ipv4.Protocol.Tcp || (ip[row + Ip.Flags] & IpFlag.HasL4) === 0) return
  const head = slot * SLOT_SIZE + pool.meta[m + Meta.Head]
  const at = head + ip[row + Ip.L4]
  if (!tcp.fits(pool.view, at, head + ip[row + Ip.L3] + ip[row + Ip.Length])) return
  if ((tcp.flags(pool.view, at) & tcp.TcpFlag.Syn) === 0) return
  const headers = (ip[row + Ip.Family] === 4 ? ipv4.SIZE : ipv6.SIZE) + tcp.SIZE
  tcpOption.clampMss(pool.view, at, mtu - headers, (pool.meta[m + Meta.Flags] & Flag.CsumPartial) !== 0)
}
