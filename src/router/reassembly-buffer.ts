// HOT
/**
 * The slot a datagram is put together in: that of the fragment which came first, rearranged. The payload
 * starts at BASE, the headers of the first fragment (by offset) end there:
 *
 *     | headroom      | link | IP header, options, fragment header | payload 0 .. 65535 |
 *                     head                                        BASE
 *
 * Until the datagram is whole the frame is its first fragment, as it came: what an ICMP error quotes. Then
 * the header is made that of the whole, and an IPv6 fragment header is taken out.
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, HEADROOM, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { namedAt } from './fragment-chain.ts'
import { Piece } from './reassembly-piece.ts'

/** Bytes of headers a first fragment may have; more is nothing honest. */
export const MAX_HEADERS = 512
/** Where the payload starts: behind the headroom of a received frame and all headers. */
const BASE = HEADROOM + MAX_HEADERS
const EXTENSION = 8
const MAX_LENGTH = 65535
const NOT_KEPT = Flag.CsumPartial | Flag.CsumVerified | Flag.GsoEcn
const CE = 3

const headers = new Uint8Array(MAX_HEADERS)

/** Makes the fragment's own slot the buffer. */
export function adopt(pool: Pool, ip: Int32Array, slot: number, piece: Int32Array): void {
  const { bytes, meta } = pool
  const m = slot << META_SHIFT
  const base = slot * SLOT_SIZE
  const head = base + meta[m + Meta.Head]
  const size = piece[Piece.Headers]
  for (let i = 0; i < size; i++) headers[i] = bytes[head + i]
  const target = base + BASE + piece[Piece.Offset]
  bytes.copyWithin(target, head + size, head + size + piece[Piece.Length])
  meta[m + Meta.Flags] &= ~NOT_KEPT
  meta[m + Meta.Strip] = 0
  if (piece[Piece.Offset] === 0) putHeaders(pool, ip, slot, slot, piece)
  else {
    meta[m + Meta.Head] = BASE
    meta[m + Meta.Len] = 0
  }
}

/** Copies a fragment into the buffer. */
export function put(pool: Pool, ip: Int32Array, buffer: number, slot: number, piece: Int32Array): void {
  const { bytes, meta } = pool
  const head = slot * SLOT_SIZE + meta[(slot << META_SHIFT) + Meta.Head]
  const size = piece[Piece.Headers]
  const target = buffer * SLOT_SIZE + BASE + piece[Piece.Offset]
  bytes.copyWithin(target, head + size, head + size + piece[Piece.Length])
  if (piece[Piece.Offset] !== 0) return
  for (let i = 0; i < size; i++) headers[i] = bytes[head + i]
  putHeaders(pool, ip, buffer, slot, piece)
}

/** The first fragment is there: the frame begins. `headers` holds its headers. */
function putHeaders(pool: Pool, ip: Int32Array, buffer: number, slot: number, piece: Int32Array): void {
  const { bytes, meta } = pool
  const m = buffer << META_SHIFT
  const size = piece[Piece.Headers]
  const to = buffer * SLOT_SIZE + BASE - size
  for (let i = 0; i < size; i++) bytes[to + i] = headers[i]
  meta[m + Meta.Head] = BASE - size
  meta[m + Meta.Len] = size + piece[Piece.Length]
  if (buffer === slot) return
  const r = slot << IP_SHIFT
  ip.copyWithin(buffer << IP_SHIFT, r, r + Ip.Words)
}

/**
 * Makes the frame the whole datagram. False when that is longer than its length field can say.
 * @param total payload, bytes
 * @param ecn bits of the codepoints that came
 */
export function complete(
  pool: Pool,
  ip: Int32Array,
  buffer: number,
  total: number,
  dontFragment: boolean,
  ecn: number,
): boolean {
  const { bytes, meta, view } = pool
  const m = buffer << META_SHIFT
  const r = buffer << IP_SHIFT
  const l3 = ip[r + Ip.L3]
  const six = ip[r + Ip.Family] === 6
  const payload = buffer * SLOT_SIZE + BASE
  if (six) {
    const from = buffer * SLOT_SIZE + meta[m + Meta.Head]
    const fragment = payload - EXTENSION
    view.setUint8(namedAt(view, from + l3, fragment), view.getUint8(fragment))
    bytes.copyWithin(from + EXTENSION, from, fragment)
    meta[m + Meta.Head] += EXTENSION
  }
  const at = buffer * SLOT_SIZE + meta[m + Meta.Head] + l3
  const length = payload - at - (six ? ipv6.SIZE : 0) + total
  if (length > MAX_LENGTH) return false
  meta[m + Meta.Len] = l3 + payload - at + total
  // A router on the way marked one of them: the datagram saw congestion (RFC 3168 5.3).
  const marked = (ecn & (1 << CE)) !== 0
  if (six) {
    view.setUint16(at + 4, length)
    if (marked) ipv6.setTos(view, at, ipv6.tos(view, at) | CE)
    return true
  }
  view.setUint16(at + 2, length)
  view.setUint16(at + 6, dontFragment ? 0x4000 : 0)
  if (marked) view.setUint8(at + 1, view.getUint8(at + 1) | CE)
  ipv4.fillChecksum(view, at)
  return true
}
