// HOT
/**
 * Rewrites addresses and ports of a packet, or of the packet that an ICMP error quotes, with their checksums
 * (RFC 1624, by difference) and the packet's Ip row.
 *
 *     checksum     address                       port
 *     full         equation 3                    equation 3; UDP's 0 stays 0, ICMPv4 has no pseudo-header
 *     partial      the pseudo-header's sum       nothing: whoever finishes the packet sums it
 *     SCTP         nothing                       computed whole: a CRC cannot be corrected
 *
 * A super-frame's headers are rewritten once, its segments are cut from it later.
 */
import { IP_SHIFT, Ip, IpFlag } from '../../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import type { Pool } from '../../packet/pool.ts'
import { SumMode } from '../../wire/checksum.ts'
import * as icmp from '../../wire/icmp.ts'
import * as icmpv6 from '../../wire/icmpv6.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as l4 from '../../wire/l4.ts'
import { V6 } from '../conntrack/layout.ts'
import * as tuple from '../conntrack/tuple.ts'
import { T } from '../conntrack/tuple.ts'
import { sctpChecksum } from './crc32c.ts'
import { Manip } from './range.ts'

const SCTP_CHECKSUM = 8
const SCTP_HEADER = 12

const quoted = new Int32Array(T.Words)

/** One address of the IP header at `at`, from `to`; the transport's checksum at `sumAt`. Returns the diff. */
function address(
  view: DataView,
  at: number,
  v6: boolean,
  manip: Manip,
  to: Int32Array,
  sumAt: number,
  mode: number,
): number {
  if (!v6) {
    return manip === Manip.Source
      ? ipv4.setSrcAddr(view, at, to[T.Src], sumAt, mode)
      : ipv4.setDstAddr(view, at, to[T.Dst], sumAt, mode)
  }
  return manip === Manip.Source
    ? ipv6.setSrcAddr(view, at, to[T.Src], to[T.Src + 1], to[T.Src + 2], to[T.Src + 3], sumAt, mode)
    : ipv6.setDstAddr(view, at, to[T.Dst], to[T.Dst + 1], to[T.Dst + 2], to[T.Dst + 3], sumAt, mode)
}

/** The port or identifier of the transport header at `at`, if it has one. Returns the diff. */
function port(
  view: DataView,
  at: number,
  proto: number,
  manip: Manip,
  to: Int32Array,
  sumAt: number,
  mode: number,
): number {
  if (proto === ipv4.Protocol.Icmp) {
    return icmp.counterpart(icmp.type(view, at)) < 0 ? 0 : icmp.setIdent(view, at, to[T.Ports] >>> 16)
  }
  if (proto === ipv4.Protocol.Icmpv6) {
    if (icmpv6.counterpart(icmpv6.type(view, at)) < 0) return 0
    return icmpv6.setIdent(view, at, to[T.Ports] >>> 16, (mode & SumMode.Partial) !== 0)
  }
  if (!l4.hasPorts(proto)) return 0
  return manip === Manip.Source
    ? l4.setSrcPort(view, at, to[T.Ports] >>> 16, sumAt, mode)
    : l4.setDstPort(view, at, to[T.Ports] & 0xffff, sumAt, mode)
}

/** The packet's checksum is to be finished by whoever sends it. */
function isPartial(pool: Pool, ip: Int32Array, slot: number): boolean {
  const m = slot << META_SHIFT
  const meta = pool.meta
  return (
    (meta[m + Meta.Flags] & Flag.CsumPartial) !== 0 &&
    meta[m + Meta.CsumStart] === ip[(slot << IP_SHIFT) + Ip.L4]
  )
}

/** Makes the packet's source or destination that of the tuple `to`. */
export function rewrite(pool: Pool, ip: Int32Array, slot: number, manip: Manip, to: Int32Array): void {
  const row = slot << IP_SHIFT
  const view = pool.view
  const head = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
  const l3 = head + ip[row + Ip.L3]
  const proto = ip[row + Ip.Proto]
  const known = (ip[row + Ip.Flags] & IpFlag.HasL4) !== 0
  const at = known ? head + ip[row + Ip.L4] : -1
  const sumAt = l4.sumPlace(proto, at, l3 + ip[row + Ip.Length])
  const mode = l4.sumMode(proto, isPartial(pool, ip, slot))
  address(view, l3, ip[row + Ip.Family] === 6, manip, to, sumAt, mode)
  moveAddress(ip, row, manip, to)
  if (!known) return
  const before = ip[row + Ip.Ports]
  if (tuple.isIcmp(proto)) ip[row + Ip.Ports] = (before & 0xffff0000) | (to[T.Ports] >>> 16)
  else if (manip === Manip.Source) ip[row + Ip.Ports] = (to[T.Ports] & 0xffff0000) | (before & 0xffff)
  else ip[row + Ip.Ports] = (before & 0xffff0000) | (to[T.Ports] & 0xffff)
  if (ip[row + Ip.Ports] === before) return
  port(view, at, proto, manip, to, sumAt, mode)
  if (proto !== ipv4.Protocol.Sctp) return
  const length = l3 + ip[row + Ip.Length] - at
  if (length >= SCTP_HEADER) view.setUint32(at + SCTP_CHECKSUM, sctpChecksum(pool.bytes, at, length), true)
}

function moveAddress(ip: Int32Array, row: number, manip: Manip, to: Int32Array): void {
  const words = ip[row + Ip.Family] === 6 ? 4 : 1
  const into = row + (manip === Manip.Source ? Ip.Src0 : Ip.Dst0)
  const from = manip === Manip.Source ? T.Src : T.Dst
  for (let i = 0; i < words; i++) ip[into + i] = to[from + i]
  ip[row + Ip.Flags] |= IpFlag.Translated
}

/**
 * An ICMP error: `manip` of its own header becomes that of `outer`, the opposite of the packet it quotes
 * becomes that of `inner`. Type and code stay. False when the quote cannot be read, and nothing was done.
 */
export function rewriteError(
  pool: Pool,
  ip: Int32Array,
  slot: number,
  manip: Manip,
  outer: Int32Array,
  inner: Int32Array,
): boolean {
  const row = slot << IP_SHIFT
  const view = pool.view
  const head = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
  const l3 = head + ip[row + Ip.L3]
  const end = l3 + ip[row + Ip.Length]
  const at = head + ip[row + Ip.L4]
  const v6 = ip[row + Ip.Family] === 6
  const quote = at + icmp.QUOTE
  const place = tuple.ofQuote(view, quote, end, 0, v6, quoted)
  if (place < 0 || ((inner[T.Key] & V6) !== 0) !== v6) return false
  const proto = quoted[T.Key] & 0xff
  const other = manip === Manip.Source ? Manip.Destination : Manip.Source
  const sumAt = l4.sumPlace(proto, place, end)
  const mode = l4.sumMode(proto, false)
  const diff =
    address(view, quote, v6, other, inner, sumAt, mode) + port(view, place, proto, other, inner, sumAt, mode)
  const partial = isPartial(pool, ip, slot)
  if (v6) icmpv6.correct(view, at, diff, partial)
  else icmp.correct(view, at, diff)
  const ownSum = l4.sumPlace(ip[row + Ip.Proto], at, end)
  address(view, l3, v6, manip, outer, ownSum, l4.sumMode(ip[row + Ip.Proto], partial))
  moveAddress(ip, row, manip, outer)
  return true
}
