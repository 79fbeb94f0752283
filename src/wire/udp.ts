// HOT
/**
 * The UDP header (RFC 768).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source Port          |       Destination Port        |
 *     +-------------------------------+-------------------------------+
 *     |            Length             |           Checksum            |
 *     +-------------------------------+-------------------------------+
 *
 * Length    header and payload, bytes, 8 or more. A super-frame has its own total here
 * Checksum  of pseudo-header, header and payload; 0 = none, in IPv6 only for tunnels (RFC 6935); a
 *           computed 0 is written as 0xffff
 */
import { adjust, diff16, fill, SumMode } from './checksum.ts'

const SRC_PORT = 0
const DST_PORT = 2
const LENGTH = 4
const CHECKSUM = 6
export const SIZE = 8

/** The header is there, and the datagram as long as it says. */
export function fits(view: DataView, at: number, end: number): boolean {
  const room = end - at
  if (room < SIZE) return false
  const stated = view.getUint16(at + LENGTH)
  return stated >= SIZE && stated <= room
}

export { dstPort, setDstPort, setSrcPort, srcPort } from './l4.ts'

export function length(view: DataView, at: number): number {
  return view.getUint16(at + LENGTH)
}

export function checksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM)
}

/** The length is in the header and in the pseudo-header. Bytes that came or went are the caller's. */
export function setLength(view: DataView, at: number, bytes: number, partial: boolean): number {
  const diff = diff16(view.getUint16(at + LENGTH), bytes)
  view.setUint16(at + LENGTH, bytes)
  const mode = SumMode.Udp | (partial ? SumMode.Partial : 0)
  return diff + adjust(view, at + CHECKSUM, diff, diff, mode)
}

/** Writes a header without a checksum. */
export function write(view: DataView, at: number, src: number, dst: number, bytes: number): void {
  view.setUint16(at + SRC_PORT, src)
  view.setUint16(at + DST_PORT, dst)
  view.setUint16(at + LENGTH, bytes)
  view.setUint16(at + CHECKSUM, 0)
}

/** Computes the checksum whole. `pseudo` from pseudo4 or pseudo6. */
export function fillChecksum(view: DataView, at: number, pseudo: number, partial: boolean): void {
  fill(view, at, length(view, at), at + CHECKSUM, pseudo, SumMode.Udp | (partial ? SumMode.Partial : 0))
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  return `udp ${view.getUint16(at + SRC_PORT)} > ${view.getUint16(at + DST_PORT)} length ${length(view, at)}`
}
