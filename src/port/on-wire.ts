/**
 * A packet as the frames that a wire, or a device with some offloads, would get: the tag popped and
 * pushed, the checksum finished, a super-frame segmented. For ports without a descriptor (memory,
 * channel); native/transmit.cc does the same for devices. Allocates.
 */
import { native } from '../native.ts'
import { canTag, copyWire, wireLength } from '../packet/egress.ts'
import { Flag, Gso, META_SHIFT, Meta, Offload } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'

/** What the virtio header of a device would say. */
export interface FrameMeta {
  /** A Gso kind. */
  gsoType: number
  /** Payload bytes per segment, 0 = not a super-frame. */
  gsoSize: number
  /** Where the unfinished checksum starts, and where it is stored from there. */
  csumStart: number
  csumOffset: number
  /** Flag bits: CsumPartial, CsumVerified, GsoEcn. */
  flags: number
  hdrLen: number
}

export interface SentFrame extends FrameMeta {
  bytes: Uint8Array
}

export const PLAIN: FrameMeta = { gsoType: 0, gsoSize: 0, csumStart: 0, csumOffset: 0, flags: 0, hdrLen: 0 }
/** What of a packet's flags a virtio header can say. */
export const META_FLAGS = Flag.CsumPartial | Flag.CsumVerified | Flag.GsoEcn
/** The packet as the frames that leave; null when it cannot. */
export function framesOnWire(
  pool: Pool,
  poolWords: Int32Array,
  slot: number,
  tag: number,
  offloads: number,
): SentFrame[] | null {
  const { meta } = pool
  const m = slot << META_SHIFT
  if (!canTag(pool, slot, tag)) return null
  const length = wireLength(pool, slot, tag)
  const shift = length - meta[m + Meta.Len]
  const words = new Int32Array((length + 3) >> 2)
  const bytes = new Uint8Array(words.buffer, 0, length)
  copyWire(pool, poolWords, slot, tag, bytes, words, 0, length)
  const flags = meta[m + Meta.Flags]
  const partial = (flags & Flag.CsumPartial) !== 0
  const csumStart = meta[m + Meta.CsumStart] + shift
  const csumOffset = meta[m + Meta.CsumOffset]
  const gsoType = meta[m + Meta.GsoType]
  const gsoSize = meta[m + Meta.GsoSize]
  if (gsoSize !== 0) {
    if ((offloads & offloadFor(gsoType)) !== 0) {
      const hdrLen = meta[m + Meta.HdrLen] + shift
      return [{ bytes, gsoType, gsoSize, csumStart, csumOffset, flags: flags & META_FLAGS, hdrLen }]
    }
    if (!partial) return null
    const segments = native.segment(bytes, gsoType, gsoSize, csumStart, flags)
    return segments?.map((segment) => ({ ...PLAIN, bytes: segment })) ?? null
  }
  if (!partial) {
    return [{ ...PLAIN, bytes, flags: offloads === 0 ? 0 : flags & Flag.CsumVerified }]
  }
  if ((offloads & Offload.Csum) !== 0) {
    return [{ ...PLAIN, bytes, csumStart, csumOffset, flags: Flag.CsumPartial }]
  }
  return native.finishChecksum(bytes, csumStart, csumOffset) ? [{ ...PLAIN, bytes }] : null
}

function offloadFor(gsoType: number): number {
  switch (gsoType) {
    case Gso.Tcp4:
      return Offload.Tso4
    case Gso.Tcp6:
      return Offload.Tso6
    case Gso.Udp:
      return Offload.Uso
    default:
      return 0
  }
}
