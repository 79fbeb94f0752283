// HOT
/**
 * TCP options (RFC 9293 3.2): what lies between byte 20 and the end that the data offset gives.
 *
 *     +---------------+---------------+------------------------------
 *     |     kind      |    length     |  length - 2 bytes
 *     +---------------+---------------+------------------------------
 *
 *     kind  length      what
 *     0     1, alone    end of the list
 *     1     1, alone    nothing: padding
 *     2     4           MSS: most payload bytes of a segment; only in a SYN
 *     3     3           window scale: the shift of later windows, at most 14 (RFC 7323); only in a SYN
 *     4     2           SACK permitted (RFC 2018); only in a SYN
 *     5     2 + 8n      SACK: n pairs of (left edge, right edge) that arrived out of order
 *     8     10          timestamps (RFC 7323): value, echo
 *
 * `length` is that of the whole option. All functions are bounded by the header's length, whatever the
 * options say; a malformed option ends the list. `at` is the place of the TCP header; needs `fits` there.
 */
import { adjust, diff16, diff16Odd, SumMode } from './checksum.ts'
import { headerLength, SIZE } from './tcp.ts'

const CHECKSUM = 16

export const enum TcpOption {
  End = 0,
  Nop = 1,
  Mss = 2,
  WindowScale = 3,
  SackPermitted = 4,
  Sack = 5,
  Timestamps = 8,
}

/** RFC 7323 2.3: a larger shift is taken as this. */
const MAX_WINDOW_SCALE = 14

/** Place of the first option of this kind, or -1. All its bytes are in the header. */
export function findOption(view: DataView, at: number, kind: number): number {
  const end = at + headerLength(view, at)
  let place = at + SIZE
  while (place < end) {
    const found = view.getUint8(place)
    if (found === TcpOption.End) return -1
    if (found === TcpOption.Nop) {
      place++
      continue
    }
    if (end - place < 2) return -1
    const length = view.getUint8(place + 1)
    if (length < 2 || length > end - place) return -1
    if (found === kind) return place
    place += length
  }
  return -1
}

/** Place of an option of exactly this kind and length, or -1. */
function exactly(view: DataView, at: number, kind: number, length: number): number {
  const place = findOption(view, at, kind)
  return place >= 0 && view.getUint8(place + 1) === length ? place : -1
}

/** Bytes, or -1 when there is no such option. */
export function mss(view: DataView, at: number): number {
  const place = exactly(view, at, TcpOption.Mss, 4)
  return place < 0 ? -1 : view.getUint16(place + 2)
}

/** The shift, 0 to 14, or -1 when there is no such option. */
export function windowScale(view: DataView, at: number): number {
  const place = exactly(view, at, TcpOption.WindowScale, 3)
  return place < 0 ? -1 : Math.min(view.getUint8(place + 2), MAX_WINDOW_SCALE)
}

export function sackPermitted(view: DataView, at: number): boolean {
  return exactly(view, at, TcpOption.SackPermitted, 2) >= 0
}

/** Place of the timestamp's value, its echo 4 bytes behind; -1 when there is no such option. */
export function timestampsAt(view: DataView, at: number): number {
  const place = exactly(view, at, TcpOption.Timestamps, 10)
  return place < 0 ? -1 : place + 2
}

/** The highest right edge of the SACK blocks, or `otherwise` when there is none behind it. */
export function sackEdge(view: DataView, at: number, otherwise: number): number {
  const place = findOption(view, at, TcpOption.Sack)
  if (place < 0) return otherwise
  const end = place + view.getUint8(place + 1)
  let edge = otherwise
  for (let block = place + 2; end - block >= 8; block += 8) {
    const right = view.getInt32(block + 4)
    if (((right - edge) | 0) > 0) edge = right
  }
  return edge
}

/**
 * Lowers the MSS of a SYN to `most`, never raises it. Returns true when it did. The option may lie at an odd
 * place, where its bytes are in different words of the sum.
 */
export function clampMss(view: DataView, at: number, most: number, partial: boolean): boolean {
  const place = exactly(view, at, TcpOption.Mss, 4)
  if (place < 0) return false
  const old = view.getUint16(place + 2)
  if (old <= most) return false
  view.setUint16(place + 2, most)
  const diff = ((place - at) & 1) !== 0 ? diff16Odd(old, most) : diff16(old, most)
  adjust(view, at + CHECKSUM, 0, diff, partial ? SumMode.Partial : SumMode.Full)
  return true
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  const parts: string[] = []
  if (mss(view, at) >= 0) parts.push(`mss ${mss(view, at)}`)
  if (windowScale(view, at) >= 0) parts.push(`wscale ${windowScale(view, at)}`)
  if (sackPermitted(view, at)) parts.push('sackOK')
  const stamps = timestampsAt(view, at)
  if (stamps >= 0) parts.push(`TS val ${view.getUint32(stamps)} ecr ${view.getUint32(stamps + 4)}`)
  return parts.join(' ')
}
