// HOT
/**
 * What a fragment says about itself and its datagram, of either family, in one row: what the reassembler
 * compares. Two fragments belong together when Family to Dst3 are equal.
 *
 *     key      interface, source, destination and
 *              IPv4: identification, protocol (RFC 791)   IPv6: identification alone (RFC 8200 4.5)
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as extension from '../wire/ipv6-extension.ts'

export const enum Piece {
  /** family << 24 | protocol << 8 | interface */
  Family = 0,
  Id = 1,
  Src = 2,
  Dst = 6,
  /** Where its payload belongs, bytes. */
  Offset = 10,
  /** Payload, bytes. */
  Length = 11,
  /** 1 = more follow. */
  More = 12,
  /** Bytes from the frame's head to the payload: link, IP header, options, fragment header. */
  Headers = 13,
  /** Of the IP packet, bytes. */
  Size = 14,
  /** IPv4 DF. */
  DontFragment = 15,
  /** Bit of its ECN codepoint (RFC 3168). */
  Ecn = 16,
  Words = 20,
}

/** Words of the key. */
export const PIECE_KEY = 10

const found = new Int32Array(extension.Walk.Words)

/** Fills `piece` from a parsed fragment. False when it is a whole packet (an atomic fragment, RFC 6946). */
export function describePiece(pool: Pool, ip: Int32Array, slot: number, piece: Int32Array): boolean {
  const { meta, view } = pool
  const r = slot << IP_SHIFT
  const at = slot * SLOT_SIZE + meta[(slot << META_SHIFT) + Meta.Head] + ip[r + Ip.L3]
  const length = ip[r + Ip.Length]
  piece[Piece.Size] = length
  piece[Piece.DontFragment] = 0
  const six = ip[r + Ip.Family] === 6
  for (let i = 0; i < 4; i++) {
    piece[Piece.Src + i] = six || i === 0 ? ip[r + Ip.Src0 + i] : 0
    piece[Piece.Dst + i] = six || i === 0 ? ip[r + Ip.Dst0 + i] : 0
  }
  let header: number
  if (six) {
    if (extension.walk(view, at, at + length, found) !== extension.WalkResult.Ok) return false
    const place = found[extension.Walk.Fragment]
    if (place < 0) return false
    header = place - at + 8
    piece[Piece.Family] = (6 << 24) | ip[r + Ip.InIf]
    piece[Piece.Id] = extension.id(view, place)
    piece[Piece.Offset] = extension.fragmentOffset(view, place)
    piece[Piece.More] = extension.moreFragments(view, place) ? 1 : 0
    piece[Piece.Ecn] = 1 << (ipv6.tos(view, at) & 3)
  } else {
    header = ipv4.headerLength(view, at)
    piece[Piece.Family] = (4 << 24) | (ipv4.protocol(view, at) << 8) | ip[r + Ip.InIf]
    piece[Piece.Id] = ipv4.id(view, at)
    piece[Piece.Offset] = ipv4.fragmentOffset(view, at)
    piece[Piece.More] = ipv4.moreFragments(view, at) ? 1 : 0
    piece[Piece.Ecn] = 1 << (ipv4.tos(view, at) & 3)
    piece[Piece.DontFragment] = ipv4.dontFragment(view, at) ? 1 : 0
  }
  piece[Piece.Headers] = ip[r + Ip.L3] + header
  piece[Piece.Length] = length - header
  return piece[Piece.Offset] !== 0 || piece[Piece.More] !== 0
}

/** Spreads the key, and the seed, over 32 bits. */
export function hashOf(piece: Int32Array, seed: number): number {
  let h = seed
  for (let i = 0; i < PIECE_KEY; i++) {
    h = Math.imul(h ^ piece[i], 0x9e3779b1)
    h ^= h >>> 15
  }
  return h
}
