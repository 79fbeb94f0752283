// HOT
/**
 * A source and a sink without a wire: frames prepared once are received over and over, and what is sent
 * is counted and forgotten. Nothing is allocated after opening, so benchmarks and the test for garbage
 * collections measure the switch, not the port.
 *
 *     templates: frame 0 | frame 1 | ... | frame k-1      rx copies the next ones, round and round
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { copyBytes, wireLength, wordsOf } from '../packet/egress.ts'
import { BATCH, META_SHIFT, Meta } from '../packet/layout.ts'
import { Pool } from '../packet/pool.ts'
import type { FrameMeta } from './on-wire.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from './port.ts'

export class LoopPort implements Port {
  readonly index: number
  readonly name: string
  mtu = 65535
  readonly timed = false
  /** Frames still to be received; `start` sets it. */
  left = 0
  private readonly host: PortHost
  private readonly poolWords: Int32Array
  /** The templates: a pool of their own, so that a copy is bytes and metadata. */
  private readonly source: Pool
  private readonly sourceWords: Int32Array
  private readonly count: number
  private next = 0

  /** @param frames may be empty: a sink */
  constructor(
    host: PortHost,
    index: number,
    name: string,
    frames: Uint8Array[],
    metas: Partial<FrameMeta>[] = [],
  ) {
    this.host = host
    this.index = index
    this.name = name
    this.count = frames.length
    this.poolWords = wordsOf(host.pool)
    this.source = Pool.of(frames.length)
    this.sourceWords = wordsOf(this.source)
    for (let i = 0; i < frames.length; i++) this.prepare(i, frames[i], metas[i] ?? {})
  }

  private prepare(slot: number, frame: Uint8Array, about: Partial<FrameMeta>): void {
    const { meta } = this.source
    const m = slot << META_SHIFT
    this.source.reset(slot, frame.length)
    this.source.bytes.set(frame, this.source.at(slot))
    meta[m + Meta.Port] = this.index
    meta[m + Meta.Flags] = about.flags ?? 0
    meta[m + Meta.GsoType] = about.gsoType ?? 0
    meta[m + Meta.GsoSize] = about.gsoSize ?? 0
    meta[m + Meta.HdrLen] = about.hdrLen ?? 0
    meta[m + Meta.CsumStart] = about.csumStart ?? 0
    meta[m + Meta.CsumOffset] = about.csumOffset ?? 0
  }

  /** Receives `packets` more, a batch at each round of the loop. Infinity = until `stop`. */
  start(packets: number): void {
    if (this.count === 0) return
    this.left = packets
    this.host.ready(this.index)
  }

  stop(): void {
    this.left = 0
  }

  rx(batch: Batch): number {
    const { source, sourceWords, poolWords, count } = this
    const { pool } = this.host
    const slots = batch.slots
    const n = Math.min(this.left, BATCH)
    let next = this.next
    let bytes = 0
    let supers = 0
    for (let i = 0; i < n; i++) {
      const to = slots[i] << META_SHIFT
      const from = next << META_SHIFT
      for (let w = 0; w < Meta.Words; w++) pool.meta[to + w] = source.meta[from + w]
      const length = source.meta[from + Meta.Len]
      copyBytes(source.bytes, sourceWords, source.at(next), pool.bytes, poolWords, pool.at(slots[i]), length)
      bytes += length
      if (source.meta[from + Meta.GsoSize] !== 0) supers++
      next = next + 1 === count ? 0 : next + 1
    }
    this.next = next
    this.left -= n
    batch.n = n
    countRx(this.host, this.index, n, bytes)
    if (supers > 0) this.host.memory.counters[this.index * COUNTER_WORDS + Counter.RxSuper] += supers
    if (this.left > 0) this.host.ready(this.index)
    return n
  }

  tx(queue: TxQueue): number {
    const { pool } = this.host
    let bytes = 0
    for (let i = 0; i < queue.count; i++) {
      bytes += wireLength(pool, queue.words[queue.at + 2 * i], queue.words[queue.at + 2 * i + 1])
    }
    countTx(this.host, this.index, queue.count, bytes)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    this.left = 0
  }
}
