// HOT
/**
 * Tuples: what names one direction of a flow. Ten words in a scratch array.
 *
 *     word   0 .. 3       4 .. 7        8        9
 *            src address  dst address   ports    protocol | V6 | zone << 16
 *
 * Addresses as in packet/ip.ts: IPv4 uses the first word alone. Ports are source << 16 | destination; of
 * ICMP the identifier << 16 | type << 8 | code, and turning it around gives the type of the answer.
 */
import { Ip } from '../../packet/ip.ts'
import * as icmp from '../../wire/icmp.ts'
import * as icmpv6 from '../../wire/icmpv6.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as extension from '../../wire/ipv6-extension.ts'
import * as l4 from '../../wire/l4.ts'
import { V6 } from './layout.ts'

export const enum T {
  Src = 0,
  Dst = 4,
  Ports = 8,
  Key = 9,
  Words = 10,
}

const found = new Int32Array(extension.Walk.Words)

export function isIcmp(proto: number): boolean {
  return proto === ipv4.Protocol.Icmp || proto === ipv4.Protocol.Icmpv6
}

/** The tuple of the packet of this row. */
export function ofPacket(ip: Int32Array, row: number, zone: number, t: Int32Array): void {
  const proto = ip[row + Ip.Proto]
  const ports = ip[row + Ip.Ports]
  t[T.Src] = ip[row + Ip.Src0]
  t[T.Dst] = ip[row + Ip.Dst0]
  t[T.Ports] = isIcmp(proto) ? (ports << 16) | (ports >>> 16) : ports
  if (ip[row + Ip.Family] === 4) {
    t[T.Key] = proto | (zone << 16)
    return
  }
  t[T.Key] = proto | V6 | (zone << 16)
  for (let i = 1; i < 4; i++) {
    t[T.Src + i] = ip[row + Ip.Src0 + i]
    t[T.Dst + i] = ip[row + Ip.Dst0 + i]
  }
}

/** Ports of the other direction; -1 when an ICMP type has no answer (as ports, that cannot be: type 255). */
function invertPorts(proto: number, ports: number): number {
  if (!isIcmp(proto)) return (ports << 16) | (ports >>> 16)
  const type = (ports >>> 8) & 0xff
  const other = proto === ipv4.Protocol.Icmp ? icmp.counterpart(type) : icmpv6.counterpart(type)
  return other < 0 ? -1 : (ports & 0xffff00ff) | (other << 8)
}

/** What answers to `t` look like; false when there are none. `to` may be `t`. */
export function invert(t: Int32Array, to: Int32Array): boolean {
  const ports = invertPorts(t[T.Key] & 0xff, t[T.Ports])
  const words = (t[T.Key] & V6) === 0 ? 1 : 4
  for (let i = 0; i < words; i++) {
    const src = t[T.Src + i]
    to[T.Src + i] = t[T.Dst + i]
    to[T.Dst + i] = src
  }
  to[T.Ports] = ports
  to[T.Key] = t[T.Key]
  return ports !== -1 || !isIcmp(t[T.Key] & 0xff)
}

export function same(a: Int32Array, b: Int32Array): boolean {
  if (a[T.Src] !== b[T.Src] || a[T.Dst] !== b[T.Dst]) return false
  if (a[T.Ports] !== b[T.Ports] || a[T.Key] !== b[T.Key]) return false
  if ((a[T.Key] & V6) === 0) return true
  for (let i = 1; i < 4; i++) {
    if (a[T.Src + i] !== b[T.Src + i] || a[T.Dst + i] !== b[T.Dst + i]) return false
  }
  return true
}

export function copy(from: Int32Array, to: Int32Array): void {
  for (let i = 0; i < T.Words; i++) to[i] = from[i]
}

/**
 * The tuple of the packet that an ICMP error quotes at `at`. Returns the place of its transport header; -1
 * when it cannot be told (cut off, a later fragment, malformed). Nothing but addresses and ports is looked at.
 */
export function ofQuote(
  view: DataView,
  at: number,
  end: number,
  zone: number,
  v6: boolean,
  t: Int32Array,
): number {
  return v6 ? ofQuote6(view, at, end, zone, t) : ofQuote4(view, at, end, zone, t)
}

function ofQuote4(view: DataView, at: number, end: number, zone: number, t: Int32Array): number {
  if (!ipv4.fitsQuoted(view, at, end) || ipv4.fragmentOffset(view, at) !== 0) return -1
  t[T.Src] = ipv4.srcAddr(view, at)
  t[T.Dst] = ipv4.dstAddr(view, at)
  const proto = ipv4.protocol(view, at)
  t[T.Key] = proto | (zone << 16)
  return quotedPorts(view, at + ipv4.headerLength(view, at), end, proto, t)
}

function ofQuote6(view: DataView, at: number, end: number, zone: number, t: Int32Array): number {
  if (!ipv6.fitsQuoted(view, at, end)) return -1
  if (extension.walk(view, at, end, found) !== extension.WalkResult.Ok) return -1
  const place = found[extension.Walk.L4]
  if (place < 0) return -1
  for (let i = 0; i < 4; i++) {
    t[T.Src + i] = ipv6.srcAddr(view, at, i)
    t[T.Dst + i] = ipv6.dstAddr(view, at, i)
  }
  const proto = found[extension.Walk.Protocol]
  t[T.Key] = proto | V6 | (zone << 16)
  return quotedPorts(view, place, end, proto, t)
}

function quotedPorts(view: DataView, place: number, end: number, proto: number, t: Int32Array): number {
  t[T.Ports] = 0
  if (l4.hasPorts(proto)) {
    if (!l4.fits(view, place, end)) return -1
    t[T.Ports] = (l4.srcPort(view, place) << 16) | l4.dstPort(view, place)
  } else if (isIcmp(proto)) {
    if (!icmp.fits(view, place, end)) return -1
    t[T.Ports] = (icmp.ident(view, place) << 16) | (icmp.type(view, place) << 8) | icmp.code(view, place)
  }
  return place
}
