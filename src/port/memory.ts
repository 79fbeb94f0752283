/**
 * A port whose wire is an array: tests and the library's inline use. It allocates per frame, so it is
 * not for speed (loop.ts is).
 *
 *     inject(frame) --> queue, bounded --> rx --> switch --> tx --> sent[] or onSent(frame)
 *
 * What leaves is what a wire, or a device with `offloads`, would get: the tag popped and pushed, the
 * checksum finished, a super-frame segmented, unless the port takes them as they are.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { wordsOf } from '../packet/egress.ts'
import { BATCH, Flag, MAX_FRAME, META_SHIFT, Meta } from '../packet/layout.ts'
import { type FrameMeta, framesOnWire, META_FLAGS, PLAIN, type SentFrame } from './on-wire.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from './port.ts'

export interface MemoryOptions {
  mtu?: number
  /** Offload bits the port takes; 0 = a plain wire. */
  offloads?: number
  /** Most frames that wait to be received, and most in `sent`. */
  limit?: number
  /** Gets every frame that leaves, instead of `sent`. */
  onSent?: (frame: SentFrame) => void
}

const DEFAULT_LIMIT = 65536

export class MemoryPort implements Port {
  readonly index: number
  readonly name: string
  mtu: number
  readonly timed = false
  /** Frames that left, oldest first. Take them out, or the port drops (no-room) at its limit. */
  readonly sent: SentFrame[] = []
  private readonly host: PortHost
  private readonly poolWords: Int32Array
  private readonly offloads: number
  private readonly limit: number
  private readonly onSent: ((frame: SentFrame) => void) | null
  private waiting: SentFrame[] = []
  private open = true

  constructor(host: PortHost, index: number, name: string, options: MemoryOptions = {}) {
    this.host = host
    this.index = index
    this.name = name
    this.mtu = options.mtu ?? 1500
    this.offloads = options.offloads ?? 0
    this.limit = options.limit ?? DEFAULT_LIMIT
    this.onSent = options.onSent ?? null
    this.poolWords = wordsOf(host.pool)
  }

  /**
   * Queues a copy of `frame` for the next receive.
   * @returns false when the queue is full or the port closed; the frame was not taken then
   * @throws RangeError for a frame longer than a slot holds (MAX_FRAME)
   */
  inject(frame: Uint8Array, meta: Partial<FrameMeta> = PLAIN): boolean {
    if (frame.length > MAX_FRAME) {
      throw new RangeError(`a frame of ${frame.length} bytes: at most ${MAX_FRAME} expected`)
    }
    if (!this.open || this.waiting.length >= this.limit) return false
    this.waiting.push({ ...PLAIN, ...meta, bytes: frame.slice() })
    this.host.ready(this.index)
    return true
  }

  rx(batch: Batch): number {
    const frames = this.waiting.splice(0, BATCH)
    let bytes = 0
    let supers = 0
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i]
      this.fill(batch.slots[i], frame)
      bytes += frame.bytes.length
      if (frame.gsoSize !== 0) supers++
    }
    batch.n = frames.length
    countRx(this.host, this.index, frames.length, bytes)
    this.host.memory.counters[this.index * COUNTER_WORDS + Counter.RxSuper] += supers
    if (this.waiting.length > 0) this.host.ready(this.index)
    return frames.length
  }

  private fill(slot: number, frame: SentFrame): void {
    const { pool } = this.host
    const { meta } = pool
    const m = slot << META_SHIFT
    pool.reset(slot, frame.bytes.length)
    pool.bytes.set(frame.bytes, pool.at(slot))
    meta[m + Meta.Port] = this.index
    meta[m + Meta.Flags] = frame.flags & META_FLAGS
    meta[m + Meta.GsoType] = frame.gsoSize === 0 ? 0 : frame.gsoType
    meta[m + Meta.GsoSize] = frame.gsoSize
    meta[m + Meta.HdrLen] = frame.hdrLen
    meta[m + Meta.CsumStart] = frame.csumStart
    meta[m + Meta.CsumOffset] = frame.csumOffset
    // As the addon does: a checksum outside of the frame leaves a runt.
    const end = frame.csumStart + frame.csumOffset + 2
    if ((frame.flags & Flag.CsumPartial) !== 0 && end > frame.bytes.length) meta[m + Meta.Len] = 0
  }

  tx(queue: TxQueue): number {
    const { counters } = this.host.memory
    let packets = 0
    let bytes = 0
    for (let i = 0; i < queue.count; i++) {
      const slot = queue.words[queue.at + 2 * i]
      const tag = queue.words[queue.at + 2 * i + 1]
      const frames = framesOnWire(this.host.pool, this.poolWords, slot, tag, this.offloads)
      if (frames === null) {
        drop(counters, this.index, Drop.Malformed)
      } else if (this.onSent === null && this.sent.length + frames.length > this.limit) {
        drop(counters, this.index, Drop.NoRoom)
      } else {
        packets++
        for (const frame of frames) {
          bytes += frame.bytes.length
          if (this.onSent) this.onSent(frame)
          else this.sent.push(frame)
        }
      }
    }
    countTx(this.host, this.index, packets, bytes)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    this.open = false
    this.waiting = []
  }
}
