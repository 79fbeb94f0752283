// HOT
/**
 * Whether a packet is whole enough to be tracked: lengths, TCP's flags, and checksums. A partial checksum
 * (Flag.CsumPartial) is nobody's yet, a verified one is known to be right; a full one is verified if the
 * settings say with what. Of ICMP errors it always is: they speak about others (RFC 5508 REQ-3).
 */
import { IP_SHIFT, Ip } from '../../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import type { Pool } from '../../packet/pool.ts'
import { pseudo4, pseudo6, verify } from '../../wire/checksum.ts'
import * as icmp from '../../wire/icmp.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as tcp from '../../wire/tcp.ts'
import * as udp from '../../wire/udp.ts'
import type { Checksum } from './options.ts'
import { saneFlags } from './tcp-state.ts'
import * as tuple from './tuple.ts'

const UNKNOWN = Flag.CsumPartial | Flag.CsumVerified

/** The packet's L4 header, which Ip.L4 points to, is that of a packet which can be tracked. */
export function soundTransport(pool: Pool, ip: Int32Array, slot: number, checksum: Checksum | null): boolean {
  const row = slot << IP_SHIFT
  const m = slot << META_SHIFT
  const { meta, view } = pool
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const at = head + ip[row + Ip.L4]
  const l3 = head + ip[row + Ip.L3]
  const end = l3 + ip[row + Ip.Length]
  const proto = ip[row + Ip.Proto]
  if (proto === ipv4.Protocol.Tcp) {
    if (!tcp.fits(view, at, end) || !saneFlags(tcp.flags(view, at))) return false
  } else if (proto === ipv4.Protocol.Udp) {
    if (!udp.fits(view, at, end)) return false
    if (udp.checksum(view, at) === 0) return ip[row + Ip.Family] === 4
  } else if (!tuple.isIcmp(proto)) return true
  if (checksum === null || (meta[m + Meta.Flags] & UNKNOWN) !== 0) return true
  const length = proto === ipv4.Protocol.Udp ? udp.length(view, at) : end - at
  return checksum(pool.bytes, at, length, pseudo(ip, row, view, l3, proto, length)) === 0xffff
}

function pseudo(
  ip: Int32Array,
  row: number,
  view: DataView,
  l3: number,
  proto: number,
  length: number,
): number {
  if (proto === ipv4.Protocol.Icmp) return 0
  return ip[row + Ip.Family] === 4 ? pseudo4(view, l3, proto, length) : pseudo6(view, l3, proto, length)
}

/**
 * The packet is an ICMP error with a right checksum; the tuple of what it quotes goes to `t`. What lies
 * behind the quote's ports is not looked at (RFC 5508 REQ-3 d).
 * @param strict the quoted IPv4 header's checksum must be right too
 */
export function errorFits(
  pool: Pool,
  ip: Int32Array,
  slot: number,
  zone: number,
  strict: boolean,
  t: Int32Array,
): boolean {
  const row = slot << IP_SHIFT
  const m = slot << META_SHIFT
  const { meta, view } = pool
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const at = head + ip[row + Ip.L4]
  const l3 = head + ip[row + Ip.L3]
  const end = l3 + ip[row + Ip.Length]
  const proto = ip[row + Ip.Proto]
  const v6 = ip[row + Ip.Family] === 6
  if ((proto === ipv4.Protocol.Icmpv6) !== v6) return false
  if ((meta[m + Meta.Flags] & UNKNOWN) === 0) {
    if (!verify(view, at, end - at, pseudo(ip, row, view, l3, proto, end - at))) return false
  }
  const quote = at + icmp.QUOTE
  if (strict && !v6 && (!ipv4.fitsQuoted(view, quote, end) || !ipv4.verified(view, quote))) return false
  return tuple.ofQuote(view, quote, end, zone, v6, t) >= 0
}
