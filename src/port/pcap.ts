// HOT
/**
 * Replays a capture file: its frames come in at the times they were captured, from the moment the port
 * first runs, `speed` times as fast (0 = all at once, as fast as the switch takes them). The same file
 * gives the same frames in the same order, always. What is sent to the port is counted and forgotten.
 *
 * A loop starts one mean gap after the last frame, 1 ms at least, so that the rate stays what it was.
 */
import type { PcapFrames } from '../engine/command.ts'
import type { Batch } from '../packet/batch.ts'
import { wireLength } from '../packet/egress.ts'
import { BATCH, Clock, META_SHIFT, Meta } from '../packet/layout.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from './port.ts'

export class PcapPort implements Port {
  readonly index: number
  readonly name: string
  mtu: number
  readonly timed = true
  private readonly host: PortHost
  private readonly frames: PcapFrames
  private readonly count: number
  private readonly loop: boolean
  /** File time over real time; 0 = do not wait. */
  private readonly speed: number
  /** File time of one round, ms. */
  private readonly periodMs: number
  private next = 0
  /** Monotonic ms of file time 0 of this round; NaN = not started. */
  private originMs = Number.NaN

  constructor(
    host: PortHost,
    index: number,
    name: string,
    mtu: number,
    frames: PcapFrames,
    loop: boolean,
    speed: number,
  ) {
    this.host = host
    this.index = index
    this.name = name
    this.mtu = mtu
    this.frames = frames
    this.count = frames.starts.length - 1
    this.loop = loop
    this.speed = speed
    const last = this.count > 0 ? frames.timesMs[this.count - 1] : 0
    this.periodMs = last + (this.count > 1 ? Math.max(1, last / (this.count - 1)) : 1000)
  }

  rx(batch: Batch): number {
    const { bytes, starts } = this.frames
    const { memory, pool } = this.host
    const nowMs = memory.clock[Clock.MonotonicMs]
    if (Number.isNaN(this.originMs)) this.originMs = nowMs
    let n = 0
    let total = 0
    while (n < BATCH && this.due() <= nowMs) {
      const from = starts[this.next]
      const length = starts[this.next + 1] - from
      const slot = batch.slots[n++]
      pool.reset(slot, length)
      pool.meta[(slot << META_SHIFT) + Meta.Port] = this.index
      const at = pool.at(slot)
      for (let i = 0; i < length; i++) pool.bytes[at + i] = bytes[from + i]
      total += length
      this.advance()
    }
    batch.n = n
    countRx(this.host, this.index, n, total)
    return n
  }

  private advance(): void {
    this.next++
    if (this.next < this.count || !this.loop) return
    this.next = 0
    if (this.speed > 0) this.originMs += this.periodMs / this.speed
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
    if (this.next >= this.count) return Number.POSITIVE_INFINITY
    if (this.speed === 0 || Number.isNaN(this.originMs)) return Number.NEGATIVE_INFINITY
    return this.originMs + this.frames.timesMs[this.next] / this.speed
  }

  close(): void {
    this.next = this.count
  }
}
