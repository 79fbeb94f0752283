// HOT
/**
 * The options of an IPv4 header (RFC 791 3.1): what lies between byte 20 and the end that IHL gives.
 *
 *     +-+---+-------+---------------+------------------------------
 *     |C|cls| number|    length     |  length - 2 bytes
 *     +-+---+-------+---------------+------------------------------
 *
 * C       copied: the option goes into every fragment, not only into the first
 * length  of the whole option; types 0 (end of the list) and 1 (nothing) have none
 *
 * All functions are bounded by the header's length, whatever the options say. `at` is the header's place.
 */
import { headerLength, SIZE } from './ipv4.ts'

const VERSION_IHL = 0
const COPIED = 0x80

export const enum Option {
  End = 0,
  Nop = 1,
  RecordRoute = 7,
  Timestamp = 68,
  /** Loose source route. */
  LooseRoute = 131,
  StrictRoute = 137,
  RouterAlert = 148,
}

/** Place of the option behind the one at `place`; `end` when it was the last; -1 when it is malformed. */
function next(view: DataView, place: number, end: number): number {
  const type = view.getUint8(place)
  if (type === Option.End) return end
  if (type === Option.Nop) return place + 1
  if (end - place < 2) return -1
  const length = view.getUint8(place + 1)
  return length < 2 || length > end - place ? -1 : place + length
}

/** Place of the first option of this type, or -1. */
export function findOption(view: DataView, at: number, type: number): number {
  const end = at + headerLength(view, at)
  let place = at + SIZE
  while (place < end) {
    const after = next(view, place, end)
    if (after < 0) return -1
    if (view.getUint8(place) === type) return place
    place = after
  }
  return -1
}

/** 0 when the options add up, else the offset of the bad one from the header: ICMP 12's pointer. */
export function badOption(view: DataView, at: number): number {
  const end = at + headerLength(view, at)
  let place = at + SIZE
  while (place < end) {
    const after = next(view, place, end)
    if (after < 0) return place - at
    place = after
  }
  return 0
}

/**
 * Copies the options that later fragments have, from the header at `at` to the one at `to`, padded to whole
 * words, and sets IHL there. Returns that header's length. The checksum is the caller's, for he changes
 * more. Needs badOption 0; `to` may not overlap.
 */
export function copyOptions(view: DataView, at: number, to: number): number {
  const end = at + headerLength(view, at)
  let length = SIZE
  let place = at + SIZE
  while (place < end) {
    const after = next(view, place, end)
    if (after < 0) break
    if ((view.getUint8(place) & COPIED) !== 0) {
      for (let i = place; i < after; i++) view.setUint8(to + length++, view.getUint8(i))
    }
    place = after
  }
  while ((length & 3) !== 0) view.setUint8(to + length++, Option.End)
  view.setUint8(to + VERSION_IHL, 0x40 | (length >> 2))
  return length
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  const end = at + headerLength(view, at)
  const names: string[] = []
  for (let place = at + SIZE; place < end; ) {
    const after = next(view, place, end)
    if (after < 0) return [...names, 'malformed'].join(' ')
    const type = view.getUint8(place)
    if (type > Option.Nop) names.push(`option ${type}`)
    place = after
  }
  return names.join(' ')
}
