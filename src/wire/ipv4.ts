// HOT
/**
 * The IPv4 header (RFC 791 3.1).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+-------------------------------+
 *     |Version|  IHL  |Type of Service|          Total Length         |
 *     +-------+-------+---------------+-----+-------------------------+
 *     |         Identification        |Flags|     Fragment Offset     |
 *     +---------------+---------------+-----+-------------------------+
 *     | Time to Live  |    Protocol   |        Header Checksum        |
 *     +---------------+---------------+-------------------------------+
 *     |                         Source Address                        |
 *     +---------------------------------------------------------------+
 *     |                      Destination Address                      |
 *     +---------------------------------------------------------------+
 *     |                            Options                            |
 *
 * IHL              length of this header in words, 5 to 15
 * Type of Service  DSCP (6 bits, RFC 2474) and ECN (2, RFC 3168)
 * Total Length     header and payload, bytes; what lies behind it in the frame is padding. A super-frame
 *                  has its own total here, at most 65535
 * Identification   the same in all fragments of a datagram (RFC 6864)
 * Flags            0, DF (do not fragment), MF (more fragments)
 * Fragment Offset  of this fragment's payload, in units of 8 bytes; here always in bytes
 * Header Checksum  of this header alone
 * Options          see findOption
 *
 * Every setter also corrects the header's checksum; those of fields in the pseudo-header also the
 * transport's, at `sumAt` (-1 = none: ICMP, a later fragment, or cut off in a quote), see checksum.ts. They
 * return the diff of all they changed, for the checksum of an ICMP error around it.
 */
import { adjust, apply, checksumOf, diff16, diff32 } from './checksum.ts'

const VERSION_IHL = 0
const TOS = 1
const TOTAL_LENGTH = 2
const ID = 4
const FRAGMENT = 6
const TTL = 8
const PROTOCOL = 9
const CHECKSUM = 10
const SRC_ADDR = 12
const DST_ADDR = 16
/** Without options. */
export const SIZE = 20
export const MAX_SIZE = 60

const DF = 0x4000
const MF = 0x2000
const OFFSET_MASK = 0x1fff

export const enum Protocol {
  Icmp = 1,
  Igmp = 2,
  Tcp = 6,
  Udp = 17,
  Dccp = 33,
  Esp = 50,
  Ah = 51,
  Icmpv6 = 58,
  Sctp = 132,
  UdpLite = 136,
}

/**
 * RFC 1812 5.2.2 but for the checksum: version 4, a header of 20 bytes or more, the packet as long as it
 * says. `end` is behind the frame's last byte; the packet ends at `at + totalLength`.
 */
export function fits(view: DataView, at: number, end: number): boolean {
  const room = end - at
  if (room < SIZE) return false
  const first = view.getUint8(at + VERSION_IHL)
  const total = view.getUint16(at + TOTAL_LENGTH)
  return first >= 0x45 && first <= 0x4f && (first & 15) << 2 <= total && total <= room
}

/** The header alone is there: enough for a packet that an ICMP error quotes in part. */
export function fitsQuoted(view: DataView, at: number, end: number): boolean {
  const room = end - at
  if (room < SIZE) return false
  const first = view.getUint8(at + VERSION_IHL)
  return first >= 0x45 && first <= 0x4f && (first & 15) << 2 <= room
}

/** Bytes. */
export function headerLength(view: DataView, at: number): number {
  return (view.getUint8(at + VERSION_IHL) & 15) << 2
}

export function tos(view: DataView, at: number): number {
  return view.getUint8(at + TOS)
}

export function totalLength(view: DataView, at: number): number {
  return view.getUint16(at + TOTAL_LENGTH)
}

export function id(view: DataView, at: number): number {
  return view.getUint16(at + ID)
}

export function dontFragment(view: DataView, at: number): boolean {
  return (view.getUint16(at + FRAGMENT) & DF) !== 0
}

export function moreFragments(view: DataView, at: number): boolean {
  return (view.getUint16(at + FRAGMENT) & MF) !== 0
}

/** Bytes. */
export function fragmentOffset(view: DataView, at: number): number {
  return (view.getUint16(at + FRAGMENT) & OFFSET_MASK) << 3
}

/** First, middle or last. */
export function isFragment(view: DataView, at: number): boolean {
  return (view.getUint16(at + FRAGMENT) & (MF | OFFSET_MASK)) !== 0
}

export function ttl(view: DataView, at: number): number {
  return view.getUint8(at + TTL)
}

export function protocol(view: DataView, at: number): number {
  return view.getUint8(at + PROTOCOL)
}

export function checksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM)
}

/** True when the header's checksum is right. */
export function verified(view: DataView, at: number): boolean {
  return checksumOf(view, at, headerLength(view, at), 0) === 0
}

export function srcAddr(view: DataView, at: number): number {
  return view.getInt32(at + SRC_ADDR)
}

export function dstAddr(view: DataView, at: number): number {
  return view.getInt32(at + DST_ADDR)
}

/** Takes a change into the header's checksum. Returns the change of the field. */
function correct(view: DataView, at: number, diff: number): number {
  const old = view.getUint16(at + CHECKSUM)
  const now = apply(old, diff)
  view.setUint16(at + CHECKSUM, now)
  return diff16(old, now)
}

function setWord(view: DataView, at: number, offset: number, value: number): number {
  const diff = diff16(view.getUint16(at + offset), value)
  view.setUint16(at + offset, value)
  return diff + correct(view, at, diff)
}

function setAddr(
  view: DataView,
  at: number,
  place: number,
  addr: number,
  sumAt: number,
  mode: number,
): number {
  const diff = diff32(view.getInt32(place), addr)
  view.setInt32(place, addr)
  return diff + correct(view, at, diff) + adjust(view, sumAt, diff, 0, mode)
}

/** @param mode a SumMode */
export function setSrcAddr(view: DataView, at: number, addr: number, sumAt: number, mode: number): number {
  return setAddr(view, at, at + SRC_ADDR, addr, sumAt, mode)
}

/** @param mode a SumMode */
export function setDstAddr(view: DataView, at: number, addr: number, sumAt: number, mode: number): number {
  return setAddr(view, at, at + DST_ADDR, addr, sumAt, mode)
}

/** @param mode a SumMode: the length is in the pseudo-header. Bytes that came or went are the caller's. */
export function setTotalLength(
  view: DataView,
  at: number,
  length: number,
  sumAt: number,
  mode: number,
): number {
  const diff = diff16(view.getUint16(at + TOTAL_LENGTH), length)
  view.setUint16(at + TOTAL_LENGTH, length)
  return diff + correct(view, at, diff) + adjust(view, sumAt, diff, 0, mode)
}

export function setTos(view: DataView, at: number, value: number): number {
  return setWord(view, at, VERSION_IHL, (view.getUint8(at + VERSION_IHL) << 8) | value)
}

export function setId(view: DataView, at: number, value: number): number {
  return setWord(view, at, ID, value)
}

/** @param offset bytes, a multiple of 8. DF stays as it is. */
export function setFragment(view: DataView, at: number, offset: number, more: boolean): number {
  return setWord(view, at, FRAGMENT, (view.getUint16(at + FRAGMENT) & DF) | (more ? MF : 0) | (offset >> 3))
}

export function setTtl(view: DataView, at: number, value: number): number {
  return setWord(view, at, TTL, (value << 8) | view.getUint8(at + PROTOCOL))
}

/** Writes a header without options, the checksum included. */
export function write(
  view: DataView,
  at: number,
  length: number,
  proto: number,
  src: number,
  dst: number,
  timeToLive: number,
  service: number,
  ident: number,
  dontFrag: boolean,
): void {
  view.setUint8(at + VERSION_IHL, 0x45)
  view.setUint8(at + TOS, service)
  view.setUint16(at + TOTAL_LENGTH, length)
  view.setUint16(at + ID, ident)
  view.setUint16(at + FRAGMENT, dontFrag ? DF : 0)
  view.setUint8(at + TTL, timeToLive)
  view.setUint8(at + PROTOCOL, proto)
  view.setInt32(at + SRC_ADDR, src)
  view.setInt32(at + DST_ADDR, dst)
  fillChecksum(view, at)
}

/** Computes the header's checksum whole. */
export function fillChecksum(view: DataView, at: number): void {
  view.setUint16(at + CHECKSUM, 0)
  view.setUint16(at + CHECKSUM, checksumOf(view, at, headerLength(view, at), 0))
}

// Text for people: not for the data plane.

/** 10.0.0.1 */
export function addrText(addr: number): string {
  return `${addr >>> 24}.${(addr >> 16) & 255}.${(addr >> 8) & 255}.${addr & 255}`
}

export function text(view: DataView, at: number): string {
  const flags = `${dontFragment(view, at) ? ' DF' : ''}${moreFragments(view, at) ? ' MF' : ''}`
  const fragment = isFragment(view, at) ? ` offset ${fragmentOffset(view, at)}` : ''
  const what = `proto ${protocol(view, at)} ttl ${ttl(view, at)} tos ${tos(view, at)} id ${id(view, at)}`
  const ends = `${addrText(srcAddr(view, at))} > ${addrText(dstAddr(view, at))}`
  return `${ends} ${what}${flags}${fragment} length ${totalLength(view, at)}`
}
