// HOT
/**
 * Shows what passes between a port and its switch to another thread: a record of every frame received
 * and sent goes into a ring (packet/record.ts). When the ring is full the record is lost and counted;
 * traffic never waits. It is the outermost decorator: with a fault inside, received frames are shown
 * after their fate and sent ones before.
 *
 * A port that is not captured is not wrapped, so it costs nothing (engine/open.ts puts this on and off).
 * A super-frame is one record, an unfinished checksum is shown as it is, and says so.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { wordsOf } from '../packet/egress.ts'
import { putRecord } from '../packet/record.ts'
import { RingWriter } from '../packet/ring.ts'
import type { Port, PortHost, TxQueue } from './port.ts'

const IN = 0
const OUT = 1

export class CapturePort implements Port {
  readonly inner: Port
  readonly index: number
  readonly name: string
  readonly timed: boolean
  private readonly host: PortHost
  private readonly poolWords: Int32Array
  private readonly ring: RingWriter
  private readonly snapLen: number

  /** @param snapLen most bytes of a frame that are kept */
  constructor(host: PortHost, inner: Port, ring: SharedArrayBuffer, snapLen: number) {
    this.host = host
    this.inner = inner
    this.index = inner.index
    this.name = inner.name
    this.timed = inner.timed
    this.poolWords = wordsOf(host.pool)
    this.ring = new RingWriter(ring)
    this.snapLen = snapLen
  }

  get mtu(): number {
    return this.inner.mtu
  }

  set mtu(bytes: number) {
    this.inner.mtu = bytes
  }

  rx(batch: Batch): number {
    const received = this.inner.rx(batch)
    for (let i = 0; i < received; i++) this.show(IN, batch.slots[i], 0)
    return received
  }

  tx(queue: TxQueue): number {
    // Before it is sent: finishing a checksum changes the packet.
    for (let i = 0; i < queue.count; i++) {
      this.show(OUT, queue.words[queue.at + 2 * i], queue.words[queue.at + 2 * i + 1])
    }
    return this.inner.tx(queue)
  }

  private show(direction: number, slot: number, tag: number): void {
    const { memory, pool } = this.host
    const kept = putRecord(
      this.ring,
      memory,
      pool,
      this.poolWords,
      this.index,
      direction,
      slot,
      tag,
      this.snapLen,
    )
    memory.counters[this.index * COUNTER_WORDS + (kept ? Counter.Captured : Counter.CaptureLost)]++
  }

  flush(): void {
    this.inner.flush?.()
  }

  held(): number {
    return this.inner.held()
  }

  due(): number {
    return this.inner.due()
  }

  /** The capture ends, the port goes on. */
  end(): void {
    this.ring.end()
  }

  close(): void {
    this.ring.end()
    this.inner.close()
  }
}
