// HOT
/**
 * Where a fragment header stands in the chain of an IPv6 packet (RFC 8200 4.1, 4.5): behind what routers
 * on the way read, which every fragment has.
 *
 *     | IPv6 | hop-by-hop | destination, routing |  fragment  | the rest, which is cut
 *     +------------- unfragmentable ------------+
 */
import { SIZE } from '../wire/ipv6.ts'
import { Extension } from '../wire/ipv6-extension.ts'

const NEXT_HEADER = 6

/** Bytes of the part that is not cut, of the packet at `at`. */
export function unfragmentable(view: DataView, at: number, end: number): number {
  let type = view.getUint8(at + NEXT_HEADER)
  let place = at + SIZE
  let part = place
  while (end - place >= 8 && isEarly(type)) {
    const next = place + ((view.getUint8(place + 1) + 1) << 3)
    if (next > end) break
    // Destination options belong to it only when a routing header follows.
    if (type !== Extension.Destination) part = next
    type = view.getUint8(place)
    place = next
  }
  return part - at
}

function isEarly(type: number): boolean {
  return type === Extension.HopByHop || type === Extension.Routing || type === Extension.Destination
}

/** Place of the byte that names the header at `place`; the chain up to there is known to be whole. */
export function namedAt(view: DataView, at: number, place: number): number {
  let named = at + NEXT_HEADER
  let header = at + SIZE
  while (header < place) {
    const type = view.getUint8(named)
    const n = view.getUint8(header + 1)
    named = header
    header += type === Extension.Auth ? (n + 2) << 2 : (n + 1) << 3
  }
  return named
}
