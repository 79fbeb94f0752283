// HOT
/**
 * The VXLAN header (RFC 7348 5), between UDP (port 4789, or Linux's older 8472) and the inner frame.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-+-+-+-+-+-+-+-+-----------------------------------------------+
 *     |R|R|R|R|I|R|R|R|            reserved                           |
 *     +-+-+-+-+-+-+-+-+-------------------------------+---------------+
 *     |                VNI                            |   reserved    |
 *     +-----------------------------------------------+---------------+
 *
 * I         set: the VNI is valid; without it the packet is dropped
 * VNI       the segment the inner frame belongs to, 24 bits
 * reserved  sent as 0, ignored on receipt; Linux drops what it does not know (GBP, GPE and others use them)
 */
const FLAGS = 0
const VNI = 4
export const SIZE = 8
export const PORT = 4789

const VALID = 0x08000000

/** The header is there and its VNI valid. */
export function fits(view: DataView, at: number, end: number): boolean {
  return end - at >= SIZE && (view.getInt32(at + FLAGS) & VALID) !== 0
}

export function vni(view: DataView, at: number): number {
  return view.getUint32(at + VNI) >>> 8
}

/** The first word: flags, and what extensions put into the reserved bits. */
export function flags(view: DataView, at: number): number {
  return view.getInt32(at + FLAGS)
}

/** All reserved bits are 0: what a strict receiver wants. */
export function isPlain(view: DataView, at: number): boolean {
  return view.getInt32(at + FLAGS) === VALID && view.getUint8(at + VNI + 3) === 0
}

export function write(view: DataView, at: number, segment: number): void {
  view.setInt32(at + FLAGS, VALID)
  view.setInt32(at + VNI, segment << 8)
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  return `vxlan vni ${vni(view, at)}${isPlain(view, at) ? '' : ' (reserved bits set)'}`
}
