/**
 * Memory whose first byte begins a cache line, so that a row of 64 or 128 bytes lies in one line or two, not in one
 * more. malloc puts its header before what it maps: a big ArrayBuffer begins 16 bytes behind a page. Where that is
 * otherwise, rows straddle lines and nothing else happens.
 */
const MALLOC_HEADER = 16
const LINE = 64
/** Byte of a big buffer that begins a line. */
const START = LINE - MALLOC_HEADER

export function lineBytes(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(START + length), START, length)
}

export function lineWords(length: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(START + length * 4), START, length)
}

export function lineDoubles(length: number): Float64Array {
  return new Float64Array(new SharedArrayBuffer(START + length * 8), START, length)
}
