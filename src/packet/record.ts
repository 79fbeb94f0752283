// HOT
/**
 * A frame as a record of a ring (ring.ts): what the worker tells the control thread about a captured
 * frame, and how the frames of a memory port cross in either direction.
 *
 *     Rec.Words int32 of what is known about it | the frame's bytes, Rec.Captured of them
 */
import { canTag, copyWire, wireLength } from './egress.ts'
import { Clock, META_SHIFT, Meta } from './layout.ts'
import type { PlaneMemory } from './memory.ts'
import type { Pool } from './pool.ts'
import type { RingWriter } from './ring.ts'

export const enum Rec {
  /** Index of the port. */
  Port = 0,
  /** 0 = received by the switch, 1 = sent. */
  Direction = 1,
  /** Wall clock of the breath it was seen in: seconds (unsigned) and nanoseconds. */
  Seconds = 2,
  Nanos = 3,
  /** Bytes on the wire. */
  Length = 4,
  /** Bytes that follow. */
  Captured = 5,
  /** Flag bits: the checksum's state, NoEthernet. */
  Flags = 6,
  GsoType = 7,
  GsoSize = 8,
  HdrLen = 9,
  CsumStart = 10,
  CsumOffset = 11,
  Words = 12,
}
export const RECORD_BYTES = Rec.Words * 4

/**
 * Writes one frame with its egress tag. False when the ring has no room.
 * @param poolWords from `wordsOf`
 * @param snapLen most bytes of the frame
 */
export function putRecord(
  ring: RingWriter,
  memory: PlaneMemory,
  pool: Pool,
  poolWords: Int32Array,
  port: number,
  direction: number,
  slot: number,
  tag: number,
  snapLen: number,
): boolean {
  const meta = pool.meta
  const m = slot << META_SHIFT
  // What cannot be tagged will not leave; it is shown as it lies there.
  const egressTag = canTag(pool, slot, tag) ? tag : 0
  const length = Math.max(0, wireLength(pool, slot, egressTag))
  const captured = Math.min(length, snapLen)
  const at = ring.reserve(RECORD_BYTES + captured)
  if (at < 0) return false
  const words = ring.words
  const w = at >> 2
  const shift = length - meta[m + Meta.Len]
  words[w + Rec.Port] = port
  words[w + Rec.Direction] = direction
  words[w + Rec.Seconds] = memory.clock[Clock.WallSeconds]
  words[w + Rec.Nanos] = memory.clock[Clock.WallNanos]
  words[w + Rec.Length] = length
  words[w + Rec.Captured] = captured
  words[w + Rec.Flags] = meta[m + Meta.Flags]
  words[w + Rec.GsoType] = meta[m + Meta.GsoType]
  words[w + Rec.GsoSize] = meta[m + Meta.GsoSize]
  words[w + Rec.HdrLen] = meta[m + Meta.HdrLen] + shift
  words[w + Rec.CsumStart] = meta[m + Meta.CsumStart] + shift
  words[w + Rec.CsumOffset] = meta[m + Meta.CsumOffset]
  copyWire(pool, poolWords, slot, egressTag, ring.bytes, words, at + RECORD_BYTES, captured)
  ring.commit()
  return true
}
