// HOT
/**
 * The Ethernet header (IEEE 802.3 clause 3.2), without preamble and FCS.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |     destination, bytes 0, 1   |     destination, bytes 2, 3   |
 *     +-------------------------------+-------------------------------+
 *     |     destination, bytes 4, 5   |         source, bytes 0, 1    |
 *     +-------------------------------+-------------------------------+
 *     |                     source, bytes 2 to 5                      |
 *     +-------------------------------+-------------------------------+
 *     |           EtherType           |
 *     +-------------------------------+
 *
 * destination  who shall take it; the lowest bit of byte 0 says group
 * source       who sent it; never a group
 * EtherType    what follows, from 0x600 on; below, the length of an 802.2 frame
 *
 * An address is two numbers: `hi` its first two bytes, `lo` the other four as an int32.
 */
const DST = 0
const SRC = 6
const TYPE = 12
export const SIZE = 14

export const enum EtherType {
  Ipv4 = 0x0800,
  Arp = 0x0806,
  Vlan = 0x8100,
  Ipv6 = 0x86dd,
  /** 802.1ad. */
  ServiceVlan = 0x88a8,
}

/** True when the header is whole; `end` is behind the packet's last byte. */
export function fits(_view: DataView, at: number, end: number): boolean {
  return end - at >= SIZE
}

export function dstMacHi(view: DataView, at: number): number {
  return view.getUint16(at + DST)
}

export function dstMacLo(view: DataView, at: number): number {
  return view.getInt32(at + DST + 2)
}

export function srcMacHi(view: DataView, at: number): number {
  return view.getUint16(at + SRC)
}

export function srcMacLo(view: DataView, at: number): number {
  return view.getInt32(at + SRC + 2)
}

export function etherType(view: DataView, at: number): number {
  return view.getUint16(at + TYPE)
}

/** Multicast or broadcast. */
export function isGroup(view: DataView, at: number): boolean {
  return (view.getUint8(at + DST) & 1) !== 0
}

export function isBroadcast(view: DataView, at: number): boolean {
  return view.getUint16(at + DST) === 0xffff && view.getInt32(at + DST + 2) === -1
}

export function setDstMac(view: DataView, at: number, hi: number, lo: number): void {
  view.setUint16(at + DST, hi)
  view.setInt32(at + DST + 2, lo)
}

export function setSrcMac(view: DataView, at: number, hi: number, lo: number): void {
  view.setUint16(at + SRC, hi)
  view.setInt32(at + SRC + 2, lo)
}

export function setEtherType(view: DataView, at: number, type: number): void {
  view.setUint16(at + TYPE, type)
}

export function write(
  view: DataView,
  at: number,
  dstHi: number,
  dstLo: number,
  srcHi: number,
  srcLo: number,
  type: number,
): void {
  setDstMac(view, at, dstHi, dstLo)
  setSrcMac(view, at, srcHi, srcLo)
  setEtherType(view, at, type)
}

/** The first two bytes of the address of an IPv4 group (RFC 1112 6.4) and of an IPv6 group (RFC 2464 7). */
export const GROUP4_HI = 0x0100
export const GROUP6_HI = 0x3333

/** The other four bytes for an IPv4 group: its low 23 bits. (For an IPv6 group: its last word.) */
export function group4Lo(addr: number): number {
  return 0x5e000000 | (addr & 0x7fffff)
}

// Text for people: not for the data plane.

/** 02:00:00:00:00:01 */
export function macText(hi: number, lo: number): string {
  const bytes = [hi >> 8, hi, lo >>> 24, lo >> 16, lo >> 8, lo]
  return bytes.map((b) => (b & 255).toString(16).padStart(2, '0')).join(':')
}

export function text(view: DataView, at: number): string {
  const src = macText(srcMacHi(view, at), srcMacLo(view, at))
  const dst = macText(dstMacHi(view, at), dstMacLo(view, at))
  return `${src} > ${dst} type 0x${etherType(view, at).toString(16).padStart(4, '0')}`
}
