// HOT
/**
 * The extension headers between an IPv6 header and the transport (RFC 8200 4).
 *
 *     hop-by-hop (0), destination (60), routing (43)        authentication (51, RFC 4302)
 *     +---------------+---------------+----------           +---------------+---------------+-------
 *     |  Next Header  | Hdr Ext Len n |  8n + 6 bytes       |  Next Header  | Payload Len n | 4n + 6
 *     +---------------+---------------+----------           +---------------+---------------+-------
 *
 *     fragment (44), always 8 bytes
 *     +---------------+---------------+-------------------------+---+-+
 *     |  Next Header  |   Reserved    |     Fragment Offset     |Res|M|
 *     +---------------+---------------+-------------------------+---+-+
 *     |                         Identification                        |
 *     +---------------------------------------------------------------+
 *
 * Fragment Offset  of this fragment's payload, in units of 8 bytes; here always in bytes
 * M                more fragments follow; offset 0 without M is an atomic fragment (RFC 6946): a whole packet
 *
 * Everything else (TCP, ICMPv6, ESP, no next header, unknown) counts as the transport: `walk` stops there.
 */
import { SIZE as HEADER, nextHeader, payloadLength } from './ipv6.ts'

/** More than any honest packet has; Linux has no limit, FreeBSD 8. */
const MAX_HEADERS = 8

export const enum Extension {
  HopByHop = 0,
  Routing = 43,
  Fragment = 44,
  Auth = 51,
  None = 59,
  Destination = 60,
}

/** What `walk` writes. Places are in the pool like `at`; -1 = there is none. */
export const enum Walk {
  /** The transport header; -1 in a fragment that is not the first. */
  L4 = 0,
  Protocol = 1,
  /** The fragment header. */
  Fragment = 2,
  Routing = 3,
  /** Only where it may be: first. */
  HopByHop = 4,
  /** The byte that named the last header looked at: what parameter problem 1 (RFC 4443 3.4) points to. */
  NamedAt = 5,
  Words = 8,
}

export const enum WalkResult {
  Ok = 0,
  /** A header reaches over the packet's end. */
  Truncated = 1,
  TooMany = 2,
}

/** Finds the transport of the packet at `at`. Needs `fits`, or `fitsQuoted` with `end` behind the quote. */
export function walk(view: DataView, at: number, end: number, found: Int32Array): WalkResult {
  const stated = at + HEADER + payloadLength(view, at)
  if (stated < end) end = stated
  found[Walk.L4] = -1
  found[Walk.Fragment] = -1
  found[Walk.Routing] = -1
  found[Walk.HopByHop] = -1
  let type = nextHeader(view, at)
  let namedAt = at + 6
  let place = at + HEADER
  for (let n = 0; n <= MAX_HEADERS; n++) {
    found[Walk.Protocol] = type
    found[Walk.NamedAt] = namedAt
    if (!isExtension(type)) {
      found[Walk.L4] = place
      return WalkResult.Ok
    }
    if (end - place < 8) return WalkResult.Truncated
    // Elsewhere it is not for routers: the destination refuses it (RFC 8200 4.1).
    if (type === Extension.HopByHop && n === 0) found[Walk.HopByHop] = place
    else if (type === Extension.Routing) found[Walk.Routing] = place
    else if (type === Extension.Fragment) {
      found[Walk.Fragment] = place
      if (fragmentOffset(view, place) !== 0) {
        found[Walk.Protocol] = view.getUint8(place)
        found[Walk.NamedAt] = place
        return WalkResult.Ok
      }
    }
    const length = lengthOf(view, place, type)
    if (length > end - place) return WalkResult.Truncated
    type = view.getUint8(place)
    namedAt = place
    place += length
  }
  return WalkResult.TooMany
}

function isExtension(type: number): boolean {
  return (
    type === Extension.HopByHop ||
    type === Extension.Routing ||
    type === Extension.Fragment ||
    type === Extension.Auth ||
    type === Extension.Destination
  )
}

/** Bytes of the header of this type at `place`, of which 8 are there. */
export function lengthOf(view: DataView, place: number, type: number): number {
  if (type === Extension.Fragment) return 8
  const n = view.getUint8(place + 1)
  return type === Extension.Auth ? (n + 2) << 2 : (n + 1) << 3
}

// Of the fragment header at `place`.

/** Bytes. */
export function fragmentOffset(view: DataView, place: number): number {
  return view.getUint16(place + 2) & 0xfff8
}

export function moreFragments(view: DataView, place: number): boolean {
  return (view.getUint8(place + 3) & 1) !== 0
}

export function id(view: DataView, place: number): number {
  return view.getInt32(place + 4)
}

/** @param offset bytes, a multiple of 8 */
export function writeFragment(
  view: DataView,
  place: number,
  next: number,
  offset: number,
  more: boolean,
  ident: number,
): void {
  view.setUint8(place, next)
  view.setUint8(place + 1, 0)
  view.setUint16(place + 2, offset | (more ? 1 : 0))
  view.setInt32(place + 4, ident)
}

// Of the routing header at `place`.

/** Type 0 is to be dropped (RFC 5095). */
export function routingType(view: DataView, place: number): number {
  return view.getUint8(place + 2)
}

export function segmentsLeft(view: DataView, place: number): number {
  return view.getUint8(place + 3)
}

// Text for people: not for the data plane.

export function text(view: DataView, place: number): string {
  const more = moreFragments(view, place) ? ' MF' : ''
  return `frag id ${id(view, place) >>> 0} offset ${fragmentOffset(view, place)}${more} next ${view.getUint8(place)}`
}
