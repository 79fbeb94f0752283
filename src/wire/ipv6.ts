// HOT
/**
 * The IPv6 header (RFC 8200 3). What follows before the transport is in ipv6-extension.ts.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+---------------+---------------------------------------+
 *     |Version| Traffic Class |              Flow Label               |
 *     +-------+---------------+-------+---------------+---------------+
 *     |         Payload Length        |  Next Header  |   Hop Limit   |
 *     +-------------------------------+---------------+---------------+
 *     |                                                               |
 *     +                    Source Address (16 bytes)                  +
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *     |                                                               |
 *     +                 Destination Address (16 bytes)                +
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *
 * Traffic Class   DSCP (6 bits) and ECN (2), as IPv4's Type of Service
 * Flow Label      the same for all packets of a flow (RFC 6437)
 * Payload Length  everything behind these 40 bytes; 0 would be a jumbogram (RFC 2675), which we do not do
 * Next Header     the protocol, or the first extension header
 * Hop Limit       IPv4's TTL; there is no checksum that covers it
 *
 * An address is four int32 words. Setters of fields in the pseudo-header also correct the transport's
 * checksum, at `sumAt` (-1 = none), see checksum.ts, and return the diff of all they changed.
 */
import { adjust, diff16, diffAddr6 } from './checksum.ts'

const FIRST = 0
const PAYLOAD_LENGTH = 4
const NEXT_HEADER = 6
const HOP_LIMIT = 7
const SRC_ADDR = 8
const DST_ADDR = 24
export const SIZE = 40

/** Version 6, and the packet as long as it says; it ends at `at + SIZE + payloadLength`. */
export function fits(view: DataView, at: number, end: number): boolean {
  return fitsQuoted(view, at, end) && view.getUint16(at + PAYLOAD_LENGTH) <= end - at - SIZE
}

/** The header alone is there: enough for a packet that an ICMPv6 error quotes in part. */
export function fitsQuoted(view: DataView, at: number, end: number): boolean {
  return end - at >= SIZE && view.getUint8(at + FIRST) >> 4 === 6
}

/** Traffic class; named as in IPv4. */
export function tos(view: DataView, at: number): number {
  return (view.getUint16(at + FIRST) >> 4) & 255
}

export function flowLabel(view: DataView, at: number): number {
  return view.getInt32(at + FIRST) & 0xfffff
}

export function payloadLength(view: DataView, at: number): number {
  return view.getUint16(at + PAYLOAD_LENGTH)
}

export function nextHeader(view: DataView, at: number): number {
  return view.getUint8(at + NEXT_HEADER)
}

/** Hop limit; named as in IPv4. */
export function ttl(view: DataView, at: number): number {
  return view.getUint8(at + HOP_LIMIT)
}

/** Word 0 to 3. */
export function srcAddr(view: DataView, at: number, word: number): number {
  return view.getInt32(at + SRC_ADDR + (word << 2))
}

/** Word 0 to 3. */
export function dstAddr(view: DataView, at: number, word: number): number {
  return view.getInt32(at + DST_ADDR + (word << 2))
}

/** ff00::/8 */
export function isMulticast(word0: number): boolean {
  return word0 >>> 24 === 0xff
}

/** fe80::/10 */
export function isLinkLocal(word0: number): boolean {
  return (word0 & 0xffc00000) === (0xfe800000 | 0)
}

/** The source is ::. */
export function srcUnspecified(view: DataView, at: number): boolean {
  return (srcAddr(view, at, 0) | srcAddr(view, at, 1) | srcAddr(view, at, 2) | srcAddr(view, at, 3)) === 0
}

function setAddr(
  view: DataView,
  place: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  sumAt: number,
  mode: number,
): number {
  const diff = diffAddr6(view, place, w0, w1, w2, w3)
  view.setInt32(place, w0)
  view.setInt32(place + 4, w1)
  view.setInt32(place + 8, w2)
  view.setInt32(place + 12, w3)
  return diff + adjust(view, sumAt, diff, 0, mode)
}

/** @param mode a SumMode */
export function setSrcAddr(
  view: DataView,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  sumAt: number,
  mode: number,
): number {
  return setAddr(view, at + SRC_ADDR, w0, w1, w2, w3, sumAt, mode)
}

/** @param mode a SumMode */
export function setDstAddr(
  view: DataView,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  sumAt: number,
  mode: number,
): number {
  return setAddr(view, at + DST_ADDR, w0, w1, w2, w3, sumAt, mode)
}

/** @param mode a SumMode: the length is in the pseudo-header. Bytes that came or went are the caller's. */
export function setPayloadLength(
  view: DataView,
  at: number,
  length: number,
  sumAt: number,
  mode: number,
): number {
  const diff = diff16(view.getUint16(at + PAYLOAD_LENGTH), length)
  view.setUint16(at + PAYLOAD_LENGTH, length)
  return diff + adjust(view, sumAt, diff, 0, mode)
}

export function setTos(view: DataView, at: number, value: number): number {
  const old = view.getUint16(at + FIRST)
  const now = (old & 0xf00f) | (value << 4)
  view.setUint16(at + FIRST, now)
  return diff16(old, now)
}

export function setTtl(view: DataView, at: number, value: number): number {
  const old = view.getUint16(at + NEXT_HEADER)
  const now = (old & 0xff00) | value
  view.setUint16(at + NEXT_HEADER, now)
  return diff16(old, now)
}

export function setNextHeader(view: DataView, at: number, value: number): void {
  view.setUint8(at + NEXT_HEADER, value)
}

/** Writes everything but the addresses, which have setters (`sumAt` -1). */
export function write(
  view: DataView,
  at: number,
  length: number,
  next: number,
  hopLimit: number,
  service: number,
  label: number,
): void {
  view.setInt32(at + FIRST, (6 << 28) | (service << 20) | label)
  view.setUint16(at + PAYLOAD_LENGTH, length)
  view.setUint8(at + NEXT_HEADER, next)
  view.setUint8(at + HOP_LIMIT, hopLimit)
}

// Text for people: not for the data plane.

/** As RFC 5952 wants it: fd00::1 */
export function addrText(w0: number, w1: number, w2: number, w3: number): string {
  const groups = [w0, w1, w2, w3].flatMap((w) => [w >>> 16, w & 0xffff])
  let [from, length] = [0, 1]
  for (let i = 0; i < 8; i++) {
    let n = 0
    while (i + n < 8 && groups[i + n] === 0) n++
    if (n > length) [from, length] = [i, n]
  }
  const hex = groups.map((g) => g.toString(16))
  if (length === 1) return hex.join(':')
  return `${hex.slice(0, from).join(':')}::${hex.slice(from + length).join(':')}`
}

export function text(view: DataView, at: number): string {
  const [src, dst] = [srcAddr, dstAddr].map((a) =>
    addrText(a(view, at, 0), a(view, at, 1), a(view, at, 2), a(view, at, 3)),
  )
  const what = `next ${nextHeader(view, at)} hlim ${ttl(view, at)} tos ${tos(view, at)} flow ${flowLabel(view, at)}`
  return `${src} > ${dst} ${what} length ${payloadLength(view, at)}`
}
