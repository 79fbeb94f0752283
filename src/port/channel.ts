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
import { native } from '../native.ts'
import type { Batch } from '../packet/batch.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, Flag, HEADROOM, MAX_FRAME, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { RingReader, RingWriter } from '../packet/ring.ts'
import { countRx, countTx, dropAll, type Port, type PortHost, type TxQueue } from './port.ts'

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

const MAC_BYTES = 12
const TAG_BYTES = 4

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

  constructor(host: PortHost, spec: ChannelSpec) {
    this.host = host
    this.index = spec.index
    this.name = spec.name
    this.mtu = spec.mtu
    this.reader = new RingReader(spec.toPlane)
    this.writer = new RingWriter(spec.fromPlane)
    this.signal = new Int32Array(spec.signal)
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
    for (let i = 0; i < queue.count; i++) {
      const slot = queue.words[queue.at + 2 * i]
      this.send(slot, queue.words[queue.at + 2 * i + 1])
    }
    if (Atomics.exchange(this.signal, 0, 1) === 0) this.host.notify(this.index)
    return 0
  }

  private send(slot: number, tag: number): void {
    const { pool } = this.host
    const meta = pool.meta
    const m = slot << META_SHIFT
    const strip = meta[m + Meta.Strip]
    let frame: Uint8Array = pool.frame(slot)
    if (meta[m + Meta.GsoSize] > 0) {
      const parts = native.segment(
        frame,
        meta[m + Meta.GsoType],
        meta[m + Meta.GsoSize],
        meta[m + Meta.CsumStart],
        meta[m + Meta.Flags],
      )
      if (parts === null) return dropAll(this.host, this.index, Drop.Malformed, 1)
      let bytes = 0
      for (const part of parts) {
        const sent = this.write(part, strip, tag)
        if (sent < 0) return dropAll(this.host, this.index, Drop.QueueFull, 1)
        bytes += sent
      }
      return countTx(this.host, this.index, 1, bytes)
    }
    if ((meta[m + Meta.Flags] & Flag.CsumPartial) !== 0) {
      frame = frame.slice()
      if (!native.finishChecksum(frame, meta[m + Meta.CsumStart], meta[m + Meta.CsumOffset])) {
        return dropAll(this.host, this.index, Drop.Malformed, 1)
      }
    }
    const sent = this.write(frame, strip, tag)
    if (sent < 0) dropAll(this.host, this.index, Drop.QueueFull, 1)
    else countTx(this.host, this.index, 1, sent)
  }

  /** Bytes written, or -1 when the ring is full. */
  private write(frame: Uint8Array, strip: number, tag: number): number {
    const { writer } = this
    const pushed = tag === 0 ? 0 : TAG_BYTES
    const len = frame.length - strip + pushed
    const at = writer.reserve(len)
    if (at < 0) return -1
    if (strip === 0 && pushed === 0) writer.bytes.set(frame, at)
    else {
      writer.bytes.set(frame.subarray(0, MAC_BYTES), at)
      let to = at + MAC_BYTES
      for (let shift = 24; pushed > 0 && shift >= 0; shift -= 8) writer.bytes[to++] = tag >>> shift
      writer.bytes.set(frame.subarray(MAC_BYTES + strip), to)
    }
    writer.commit()
    return len
  }

  held(): number {
    return 0
  }

  due(): number {
    return this.reader.empty ? Number.POSITIVE_INFINITY : 0
  }

  close(): void {}
}
