// HOT
/**
 * TCPMSS: the MSS option of a SYN is lowered, never raised; a SYN without one gets one, not larger than what
 * its absence means (RFC 9293 3.7.1: 536 bytes, IPv6 1220), as xt_TCPMSS does.
 */
import { Frag, Ip } from '../../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import { adjust, diff16, diff32, SumMode } from '../../wire/checksum.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as tcp from '../../wire/tcp.ts'
import * as tcpOption from '../../wire/tcp-option.ts'
import type { Plane } from './plane.ts'

const OPTION = 4
const MAX_HEADER = 60
const CHECKSUM = 16
const DEFAULT4 = 536
const DEFAULT6 = 1220

/** False: the packet is to be dropped. @param mss -1 = what the path carries */
export function setMss(plane: Plane, slot: number, row: number, mss: number): boolean {
  const { ip, meta, view } = plane
  if ((ip[row + Ip.Frag] & Frag.Later) !== 0) return true
  const m = slot << META_SHIFT
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const at = head + ip[row + Ip.L4]
  const length = ip[row + Ip.L3] + ip[row + Ip.Length] - ip[row + Ip.L4]
  if (!tcp.fits(view, at, at + length)) return false
  const four = ip[row + Ip.Family] === 4
  const headers = (four ? ipv4.SIZE : ipv6.SIZE) + tcp.SIZE
  const mtu = mss < 0 ? plane.host.pathMtu(slot) : 0
  if (mss < 0 && mtu <= headers) return false
  const most = mss < 0 ? mtu - headers : mss
  const partial = (meta[m + Meta.Flags] & Flag.CsumPartial) !== 0
  if (tcpOption.mss(view, at) >= 0) {
    tcpOption.clampMss(view, at, most, partial)
    return true
  }
  const header = tcp.headerLength(view, at)
  // Behind data there is no room for an option.
  if (length > header || header >= MAX_HEADER) return true
  if (meta[m + Meta.Head] + meta[m + Meta.Len] + OPTION > SLOT_SIZE) return true
  const least = four ? DEFAULT4 : DEFAULT6
  insert(plane, row, head, at, header, most < least ? most : least, partial)
  meta[m + Meta.Len] += OPTION
  plane.l4Length += OPTION
  ip[row + Ip.Length] += OPTION
  return true
}

/** Puts the option in front of the others: they move by whole words, so their sum stays. */
function insert(
  plane: Plane,
  row: number,
  head: number,
  at: number,
  header: number,
  mss: number,
  partial: boolean,
): void {
  const { ip, pool, view } = plane
  const mode = partial ? SumMode.Partial : SumMode.Full
  pool.bytes.copyWithin(at + tcp.SIZE + OPTION, at + tcp.SIZE, at + header)
  const option = (tcpOption.TcpOption.Mss << 24) | (OPTION << 16) | mss
  view.setInt32(at + tcp.SIZE, option)
  const old = view.getUint16(at + 12)
  const now = old + (1 << 12)
  view.setUint16(at + 12, now)
  adjust(view, at + CHECKSUM, 0, diff32(0, option) + diff16(old, now), mode)
  const l3 = head + ip[row + Ip.L3]
  const length = ip[row + Ip.Length] + OPTION
  if (ip[row + Ip.Family] === 4) ipv4.setTotalLength(view, l3, length, at + CHECKSUM, mode)
  else ipv6.setPayloadLength(view, l3, length - ipv6.SIZE, at + CHECKSUM, mode)
}
