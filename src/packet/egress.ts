// HOT
/**
 * A frame as it is on the wire of the port it leaves by. In its slot it lies as it came in; what the
 * egress changes is told beside it (native/transmit.cc does the same for devices):
 *
 *     slot    | dst, src (12) | Meta.Strip bytes left out | type, payload |
 *     wire    | dst, src (12) | tag: TPID<<16 | TCI, or 0 | type, payload |
 *
 * `copyWire` copies it out and leaves the slot alone, so that other ports can still send it. `retag`
 * changes the slot, for whoever owns the packet.
 */
import { Flag, HEADROOM, MAX_FRAME, MAX_VNET_HEADER, META_SHIFT, Meta, SLOT_SIZE } from './layout.ts'
import type { Pool } from './pool.ts'

const MACS = 12
const TAG = 4

/** Bytes the frame has with this tag. Checksum and header offsets move by the same difference. */
export function wireLength(pool: Pool, slot: number, tag: number): number {
  const m = slot << META_SHIFT
  return pool.meta[m + Meta.Len] - pool.meta[m + Meta.Strip] + (tag !== 0 ? TAG : 0)
}

/** True when the frame can get this tag: a TUN packet has no addresses, a runt none to put it behind. */
export function canTag(pool: Pool, slot: number, tag: number): boolean {
  const m = slot << META_SHIFT
  const meta = pool.meta
  const strip = meta[m + Meta.Strip]
  if (tag === 0 && strip === 0) return true
  return meta[m + Meta.Len] >= MACS + strip && (meta[m + Meta.Flags] & Flag.NoEthernet) === 0
}

/**
 * Copies at most `max` bytes of the frame with its tag to `bytes[at..]`. `words` is the same memory, and
 * `at` a multiple of 4: a frame usually is too, and is then copied by words. Returns the bytes copied.
 */
export function copyWire(
  pool: Pool,
  poolWords: Int32Array,
  slot: number,
  tag: number,
  bytes: Uint8Array,
  words: Int32Array,
  at: number,
  max: number,
): number {
  const m = slot << META_SHIFT
  const strip = pool.meta[m + Meta.Strip]
  const from = slot * SLOT_SIZE + pool.meta[m + Meta.Head]
  const length = Math.min(wireLength(pool, slot, tag), max)
  if (tag === 0 && strip === 0) {
    copyBytes(pool.bytes, poolWords, from, bytes, words, at, length)
    return length
  }
  copyBytes(pool.bytes, poolWords, from, bytes, words, at, Math.min(length, MACS))
  let done = MACS
  if (tag !== 0) {
    for (let i = 0; i < TAG && done < length; i++, done++) bytes[at + done] = tag >>> (24 - 8 * i)
  }
  if (length > done)
    copyBytes(pool.bytes, poolWords, from + MACS + strip, bytes, words, at + done, length - done)
  return length
}

/** Copies between two memories without making a view. */
export function copyBytes(
  source: Uint8Array,
  sourceWords: Int32Array,
  from: number,
  target: Uint8Array,
  targetWords: Int32Array,
  to: number,
  length: number,
): void {
  let done = 0
  if (((from | to) & 3) === 0) {
    const count = length >> 2
    const a = from >> 2
    const b = to >> 2
    for (let i = 0; i < count; i++) targetWords[b + i] = sourceWords[a + i]
    done = count << 2
  }
  for (; done < length; done++) target[to + done] = source[from + done]
}

/**
 * Makes the frame in the slot what it is on the wire: pops what Strip says, pushes `tag`. Needs
 * `canTag`. False when the slot has no room for it; nothing changed then.
 */
export function retag(pool: Pool, slot: number, tag: number): boolean {
  const { bytes, meta } = pool
  const m = slot << META_SHIFT
  const shift = (tag !== 0 ? TAG : 0) - meta[m + Meta.Strip]
  const base = slot * SLOT_SIZE
  if (shift !== 0) {
    if (meta[m + Meta.Head] - shift < MAX_VNET_HEADER) {
      // Many tags pushed on the way through many switches: the frame moves back to where one starts.
      const length = meta[m + Meta.Len]
      if (length > MAX_FRAME) return false
      const start = base + meta[m + Meta.Head]
      bytes.copyWithin(base + HEADROOM, start, start + length)
      meta[m + Meta.Head] = HEADROOM
    }
    const head = base + meta[m + Meta.Head]
    bytes.copyWithin(head - shift, head, head + MACS)
    meta[m + Meta.Head] -= shift
    meta[m + Meta.Len] += shift
    meta[m + Meta.CsumStart] += shift
    meta[m + Meta.HdrLen] += shift
  }
  if (tag !== 0) {
    const at = base + meta[m + Meta.Head] + MACS
    for (let i = 0; i < TAG; i++) bytes[at + i] = tag >>> (24 - 8 * i)
  }
  meta[m + Meta.Strip] = 0
  meta[m + Meta.Tci] = 0
  return true
}

/** An int32 view of a pool's bytes, for `copyWire`. */
export function wordsOf(pool: Pool): Int32Array {
  const { buffer, byteOffset, byteLength } = pool.bytes
  return new Int32Array(buffer, byteOffset, byteLength >> 2)
}
