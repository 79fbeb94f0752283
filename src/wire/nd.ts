// HOT
/**
 * Neighbour discovery for IPv6 (RFC 4861 4): five ICMPv6 messages. `at` is the place of the ICMPv6 header.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |   Code = 0    |           Checksum            |
 *     +-+-+-+---------+---------------+-------------------------------+
 *     |R|S|O|                     reserved                            |  135 NS (no flags), 136 NA
 *     +-+-+-+---------------------------------------------------------+
 *     |                  Target Address (16 bytes)                    |  the address asked for, or told
 *     +---------------------------------------------------------------+
 *     |  Options from byte 24                                         |
 *
 *     +---------------+-+-+-----------+-------------------------------+
 *     | Cur Hop Limit |M|O|  reserved |        Router Lifetime        |  134 RA
 *     +---------------+-+-+-----------+-------------------------------+
 *     |                        Reachable Time                         |  ms, 0 = not said
 *     +---------------------------------------------------------------+
 *     |                         Retrans Timer                         |  ms, 0 = not said
 *     +---------------------------------------------------------------+
 *     |  Options from byte 16                                         |
 *
 *     133 RS: a reserved word, options from byte 8
 *     137 redirect: a reserved word, target and destination address, options from byte 40
 *
 * R S O            of an NA: sender is a router; it answers a solicitation; override what is known
 * Router Lifetime  seconds as a default router, 0 = is none
 * M O              addresses, other things are to be had by DHCPv6
 *
 * An option is type (1), length in units of 8 bytes (1, never 0), and what follows.
 */

import { Icmpv6Type, text as icmpText, write as writeIcmp } from './icmpv6.ts'
import { dstAddr as ipDstAddr, isLinkLocal, isMulticast, srcAddr, srcUnspecified, ttl } from './ipv6.ts'

const CODE = 1
const FLAGS = 4
const TARGET = 8
const HOP_LIMIT = 4
const ROUTER_FLAGS = 5
const LIFETIME = 6
const REACHABLE = 8
const RETRANS = 12
const DESTINATION = 24

export const enum NdFlag {
  Router = 0x80,
  Solicited = 0x40,
  Override = 0x20,
}

export const enum NdOption {
  SourceLink = 1,
  TargetLink = 2,
  Prefix = 3,
  Redirected = 4,
  Mtu = 5,
  /** Recursive DNS servers (RFC 8106). */
  Dns = 25,
  /** Names to search in (RFC 8106). */
  Search = 31,
}

/** Where the options of a message start, from its first byte: its least length. -1 = not one of these. */
export function optionsOffset(type: number): number {
  if (type === Icmpv6Type.NeighborSolicitation || type === Icmpv6Type.NeighborAdvertisement) return 24
  if (type === Icmpv6Type.RouterSolicitation) return 8
  if (type === Icmpv6Type.RouterAdvertisement) return 16
  if (type === Icmpv6Type.Redirect) return 40
  return -1
}

/** The message is whole and its options fill it exactly. `end` is behind the IPv6 packet's last byte. */
export function fits(view: DataView, at: number, end: number): boolean {
  if (end - at < 8) return false
  const first = optionsOffset(view.getUint8(at))
  if (first < 0 || end - at < first) return false
  let place = at + first
  while (place < end) {
    if (end - place < 8) return false
    const length = view.getUint8(place + 1) << 3
    if (length === 0 || length > end - place) return false
    place += length
  }
  return true
}

/**
 * The rules of RFC 4861 6.1 and 7.1 for the message in the IPv6 packet at `ip`, but for the checksum. What
 * breaks one is dropped in silence. Needs `fits`.
 */
export function valid(view: DataView, ip: number, at: number, end: number): boolean {
  if (ttl(view, ip) !== 255 || view.getUint8(at + CODE) !== 0) return false
  const anonymous = srcUnspecified(view, ip)
  switch (view.getUint8(at)) {
    case Icmpv6Type.NeighborSolicitation:
      if (isMulticast(targetAddr(view, at, 0))) return false
      return !anonymous || (toSolicitedNode(view, ip) && findOption(view, at, end, NdOption.SourceLink) < 0)
    case Icmpv6Type.NeighborAdvertisement:
      if (isMulticast(targetAddr(view, at, 0))) return false
      return !isMulticast(ipDstAddr(view, ip, 0)) || (flags(view, at) & NdFlag.Solicited) === 0
    case Icmpv6Type.RouterSolicitation:
      return !anonymous || findOption(view, at, end, NdOption.SourceLink) < 0
    default:
      return isLinkLocal(srcAddr(view, ip, 0))
  }
}

function toSolicitedNode(view: DataView, ip: number): boolean {
  return (
    ipDstAddr(view, ip, 0) === SOLICITED0 &&
    ipDstAddr(view, ip, 1) === 0 &&
    ipDstAddr(view, ip, 2) === 1 &&
    ipDstAddr(view, ip, 3) >>> 24 === 0xff
  )
}

/** The solicited-node group of an address, ff02::1:ffXX:XXXX: words 0 to 2 are these, 0 and 1. */
export const SOLICITED0 = 0xff020000 | 0

/** Its word 3. */
export function solicited3(addr3: number): number {
  return 0xff000000 | (addr3 & 0xffffff)
}

/** NdFlag bits of an NA. */
export function flags(view: DataView, at: number): number {
  return view.getUint8(at + FLAGS)
}

/** Word 0 to 3 of NS, NA and redirect. */
export function targetAddr(view: DataView, at: number, word: number): number {
  return view.getInt32(at + TARGET + (word << 2))
}

/** Word 0 to 3 of a redirect. */
export function dstAddr(view: DataView, at: number, word: number): number {
  return view.getInt32(at + DESTINATION + (word << 2))
}

export function curHopLimit(view: DataView, at: number): number {
  return view.getUint8(at + HOP_LIMIT)
}

/** Seconds, of an RA. */
export function lifetime(view: DataView, at: number): number {
  return view.getUint16(at + LIFETIME)
}

/** Place of the first option of this type, or -1. Needs `fits`. */
export function findOption(view: DataView, at: number, end: number, option: number): number {
  let place = at + optionsOffset(view.getUint8(at))
  while (end - place >= 8) {
    const length = view.getUint8(place + 1) << 3
    if (length === 0 || length > end - place) return -1
    if (view.getUint8(place) === option) return place
    place += length
  }
  return -1
}

/** Of a link-layer address option at `place`. */
export function macHi(view: DataView, place: number): number {
  return view.getUint16(place + 2)
}

export function macLo(view: DataView, place: number): number {
  return view.getInt32(place + 4)
}

/** Writes an NS or, with NdFlag bits, an NA, up to its options. The checksum comes last (icmpv6.ts). */
export function writeNeighbor(
  view: DataView,
  at: number,
  type: number,
  bits: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): void {
  writeIcmp(view, at, type, 0, bits << 24)
  view.setInt32(at + TARGET, w0)
  view.setInt32(at + TARGET + 4, w1)
  view.setInt32(at + TARGET + 8, w2)
  view.setInt32(at + TARGET + 12, w3)
}

export function writeRs(view: DataView, at: number): void {
  writeIcmp(view, at, Icmpv6Type.RouterSolicitation, 0, 0)
}

/** @param bits 0x80 M, 0x40 O */
export function writeRa(view: DataView, at: number, hopLimit: number, bits: number, lifetimeS: number): void {
  writeIcmp(view, at, Icmpv6Type.RouterAdvertisement, 0, 0)
  view.setUint8(at + HOP_LIMIT, hopLimit)
  view.setUint8(at + ROUTER_FLAGS, bits)
  view.setUint16(at + LIFETIME, lifetimeS)
  view.setInt32(at + REACHABLE, 0)
  view.setInt32(at + RETRANS, 0)
}

/** SourceLink or TargetLink. Returns the place behind it. */
export function writeLink(view: DataView, place: number, option: number, hi: number, lo: number): number {
  view.setUint8(place, option)
  view.setUint8(place + 1, 1)
  view.setUint16(place + 2, hi)
  view.setInt32(place + 4, lo)
  return place + 8
}

export function writeMtu(view: DataView, place: number, mtu: number): number {
  view.setUint8(place, NdOption.Mtu)
  view.setUint8(place + 1, 1)
  view.setUint16(place + 2, 0)
  view.setUint32(place + 4, mtu)
  return place + 8
}

/**
 * Prefix information (RFC 4861 4.6.2).
 * @param bits 0x80 on-link, 0x40 hosts may make addresses of it (RFC 4862)
 */
export function writePrefix(
  view: DataView,
  place: number,
  len: number,
  bits: number,
  validS: number,
  preferredS: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): number {
  view.setUint8(place, NdOption.Prefix)
  view.setUint8(place + 1, 4)
  view.setUint8(place + 2, len)
  view.setUint8(place + 3, bits)
  view.setUint32(place + 4, validS)
  view.setUint32(place + 8, preferredS)
  view.setInt32(place + 12, 0)
  view.setInt32(place + 16, w0)
  view.setInt32(place + 20, w1)
  view.setInt32(place + 24, w2)
  view.setInt32(place + 28, w3)
  return place + 32
}

/** Head of an option for `servers` DNS servers; their addresses follow, 16 bytes each, at the place returned. */
export function writeDns(view: DataView, place: number, servers: number, lifetimeS: number): number {
  view.setUint8(place, NdOption.Dns)
  view.setUint8(place + 1, 1 + 2 * servers)
  view.setUint16(place + 2, 0)
  view.setUint32(place + 4, lifetimeS)
  return place + 8
}

/** Head of an option for `bytes` of domain names, a multiple of 8; they follow at the place returned. */
export function writeSearch(view: DataView, place: number, bytes: number, lifetimeS: number): number {
  view.setUint8(place, NdOption.Search)
  view.setUint8(place + 1, 1 + (bytes >> 3))
  view.setUint16(place + 2, 0)
  view.setUint32(place + 4, lifetimeS)
  return place + 8
}

// Text for people: not for the data plane.

const NAMES = [
  'router solicitation',
  'router advertisement',
  'neighbor solicitation',
  'neighbor advertisement',
  'redirect',
]

export function text(view: DataView, at: number): string {
  const name = NAMES[view.getUint8(at) - Icmpv6Type.RouterSolicitation]
  return name === undefined ? icmpText(view, at) : `icmp6 ${name}`
}
