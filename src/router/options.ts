// HOT
/**
 * What becomes of a packet for its options: IPv4's on every router (RFC 1812 5.2.4.1), IPv6's hop-by-hop ones
 * on every router and all the others where the packet ends (RFC 8200 4).
 *
 *     IPv4    malformed                 dropped, and its source told (parameter problem)
 *             loose, strict route       dropped (RFC 7126 4.3; Linux without accept_source_route)
 *             everything else           passes as it is: neither a route nor times are recorded (RFC 7126 4.5, 4.7)
 *     IPv6    unknown, by its two high bits: 00 passes, 01 dropped, 10 and source told, 11 but not about a group
 */
import { badOption, findOption, Option } from '../wire/ipv4-option.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { Extension, lengthOf, segmentsLeft } from '../wire/ipv6-extension.ts'

/** The packet may go on. */
export const FINE = 0
/** It is dropped, and nobody told. Above 0: Icmp6Code's low byte << 16 | the offset that the error points to. */
export const SILENT = -1
/** Codes of ICMPv6 parameter problem (RFC 4443 3.4). */
const FIELD = 0
const NEXT_HEADER = 1
const OPTION = 2
const ROUTER_ALERT = 5
/** The least place of a pointer: a record of a route or of times begins behind its own head. */
const FIRST_ROUTE = 4
const FIRST_TIME = 5

/** True when the IPv4 packet at `at` asks to be source-routed. */
export function sourceRouted(view: DataView, at: number): boolean {
  return findOption(view, at, Option.LooseRoute) >= 0 || findOption(view, at, Option.StrictRoute) >= 0
}

/** 0 = the options of the IPv4 header at `at` add up, else what ICMP's parameter problem points to. */
export function fault4(view: DataView, at: number): number {
  const bad = badOption(view, at)
  if (bad !== 0) return bad
  const route = findOption(view, at, Option.RecordRoute)
  if (route >= 0) {
    const length = view.getUint8(route + 1)
    if (length < 3) return route + 1 - at
    if (view.getUint8(route + 2) < FIRST_ROUTE) return route + 2 - at
    // The next place must be whole.
    if (view.getUint8(route + 2) <= length && view.getUint8(route + 2) + 3 > length) return route + 2 - at
  }
  const times = findOption(view, at, Option.Timestamp)
  if (times >= 0) {
    if (view.getUint8(times + 1) < 4) return times + 1 - at
    if (view.getUint8(times + 2) < FIRST_TIME) return times + 2 - at
  }
  return 0
}

/**
 * Looks at the options in the hop-by-hop or destination header at `place`, of the packet at `at`.
 * @param group the packet is to a group
 */
export function fault6(view: DataView, at: number, place: number, group: boolean): number {
  const end = place + ((view.getUint8(place + 1) + 1) << 3)
  let option = place + 2
  while (option < end) {
    const type = view.getUint8(option)
    if (type === 0) {
      option++
      continue
    }
    if (end - option < 2) return SILENT
    const after = option + 2 + view.getUint8(option + 1)
    if (after > end) return SILENT
    if (type > 1 && type !== ROUTER_ALERT && type >> 6 !== 0) {
      if (type >> 6 === 1 || (type >> 6 === 3 && group)) return SILENT
      return (OPTION << 16) | (option - at)
    }
    option = after
  }
  return FINE
}

/** What the extension headers of an IPv6 packet to us ask for, and we do not do. `end` is the packet's. */
export function chainFault(view: DataView, at: number, end: number): number {
  const group = view.getUint8(at + 24) === 0xff
  let type = ipv6.nextHeader(view, at)
  let namedAt = at + 6
  let place = at + ipv6.SIZE
  for (let first = true; ; first = false) {
    if (type === Extension.None) return SILENT
    if (type === Extension.HopByHop && !first) return (NEXT_HEADER << 16) | (namedAt - at)
    const known =
      type === Extension.HopByHop ||
      type === Extension.Routing ||
      type === Extension.Fragment ||
      type === Extension.Auth ||
      type === Extension.Destination
    if (!known) return isTransport(type) ? FINE : (NEXT_HEADER << 16) | (namedAt - at)
    if (end - place < 8 || lengthOf(view, place, type) > end - place) return SILENT
    if (type === Extension.Destination) {
      const fault = fault6(view, at, place, group)
      if (fault !== FINE) return fault
    }
    if (type === Extension.Routing && segmentsLeft(view, place) > 0) return (FIELD << 16) | (place + 2 - at)
    namedAt = place
    const length = lengthOf(view, place, type)
    type = view.getUint8(place)
    place += length
  }
}

/** Protocols that are answered here. */
function isTransport(type: number): boolean {
  return type === 6 || type === 17 || type === 58
}
