/**
 * A port whose other side is another thread: frames cross two rings in shared memory. The library's
 * memory ports and its Tap and Tun streams stand on it; so will what the control thread takes part in
 * itself (STP, DHCP).
 *
 *     control thread --toPlane-->   rx   [worker]
 *     control thread <--fromPlane-- tx
 *
 * Frames cross as a wire would carry them: tags applied, checksums finished, super-frames segmented.
 */
import type { Batch } from '../packet/batch.ts'
import { drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { wordsOf } from '../packet/egress.ts'
import { BATCH, Flag, HEADROOM, MAX_FRAME, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { RingReader, RingWriter } from '../packet/ring.ts'
import { framesOnWire, type SentFrame } from './on-wire.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from './port.ts'

export interface ChannelSpec {
  index: number
  name: string
  mtu: number
  toPlane: SharedArrayBuffer
  fromPlane: SharedArrayBuffer
  /** One int32: 1 while the reader of fromPlane knows that there is something. */
  signal: SharedArrayBuffer
  /** Frames start with the IP header. */
  noEthernet: boolean
}

export class ChannelPort implements Port {
  readonly index: number
  readonly name: string
  readonly timed = true
  mtu: number
  private readonly host: PortHost
  private readonly reader: RingReader
  private readonly writer: RingWriter
  private readonly signal: Int32Array
  private readonly flags: number
  private readonly poolWords: Int32Array

  constructor(host: PortHost, spec: ChannelSpec) {
    this.host = host
    this.index = spec.index
    this.name = spec.name
    this.mtu = spec.mtu
    this.reader = new RingReader(spec.toPlane)
    this.writer = new RingWriter(spec.fromPlane)
    this.signal = new Int32Array(spec.signal)
    this.poolWords = wordsOf(host.pool)
    this.flags = spec.noEthernet ? Flag.NoEthernet : 0
  }

  rx(batch: Batch): number {
    const { pool } = this.host
    const { reader } = this
    let n = 0
    let bytes = 0
    while (n < BATCH) {
      const at = reader.next()
      if (at < 0) break
      const len = Math.min(reader.length, MAX_FRAME)
      const slot = batch.slots[n]
      pool.reset(slot, len)
      pool.meta[(slot << META_SHIFT) + Meta.Flags] = this.flags
      pool.meta[(slot << META_SHIFT) + Meta.Port] = this.index
      pool.bytes.set(reader.bytes.subarray(at, at + len), slot * SLOT_SIZE + HEADROOM)
      reader.release()
      bytes += len
      n++
    }
    batch.n = n
    countRx(this.host, this.index, n, bytes)
    return n
  }

  tx(queue: TxQueue): number {
    const { counters } = this.host.memory
    let packets = 0
    let bytes = 0
    for (let i = 0; i < queue.count; i++) {
      const slot = queue.words[queue.at + 2 * i]
      const tag = queue.words[queue.at + 2 * i + 1]
      const frames = framesOnWire(this.host.pool, this.poolWords, slot, tag, 0)
      const sent = frames === null ? 0 : this.write(frames)
      if (frames === null) drop(counters, this.index, Drop.Malformed)
      else if (sent === 0) drop(counters, this.index, Drop.QueueFull)
      else packets++
      bytes += sent
    }
    countTx(this.host, this.index, packets, bytes)
    if (Atomics.exchange(this.signal, 0, 1) === 0) this.host.notify(this.index)
    return 0
  }

  /** Bytes written; 0 when the ring is full. Segments of a super-frame may be cut off there, as on any wire. */
  private write(frames: SentFrame[]): number {
    const { writer } = this
    let bytes = 0
    for (const { bytes: frame } of frames) {
      const at = writer.reserve(frame.length)
      if (at < 0) break
      writer.bytes.set(frame, at)
      writer.commit()
      bytes += frame.length
    }
    return bytes
  }

  held(): number {
    return 0
  }

  due(): number {
    return this.reader.empty ? Number.POSITIVE_INFINITY : 0
  }

  close(): void {}
}
