// HOT
/**
 * A port without a kernel behind it, for the micro-benchmarks: `rx` makes a full batch of small frames
 * from lists of addresses, `tx` takes everything. What is left to measure is what decides.
 */
import type { Batch } from '../src/packet/batch.ts'
import { BATCH, HEADROOM, META_SHIFT, Meta, SLOT_SIZE } from '../src/packet/layout.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from '../src/port/port.ts'

const FRAME = 60
/** All stations are 02:00:xx:xx:xx:xx; the lists hold the four bytes. */
export const STATION_HI = 0x0200
export const BROADCAST = -1

/** Four bytes for station `i`: neighbours in number are not neighbours in value. */
export function station(i: number): number {
  return Math.imul(i + 1, 0x9e3779b1)
}

export class TrafficPort implements Port {
  readonly index: number
  readonly name: string
  mtu = 1500
  readonly timed = false
  private sources: Int32Array = Int32Array.of(0)
  private destinations: Int32Array = Int32Array.of(BROADCAST)
  /** 802.1Q TCI of the frames, 0 = untagged. */
  tci = 0
  private source = 0
  private destination = 0
  private readonly host: PortHost

  constructor(host: PortHost, index: number) {
    this.host = host
    this.index = index
    this.name = `port${index}`
  }

  /** From now on frame i goes from sources[i % length] to destinations[i % length], [BROADCAST] = to all. */
  talk(sources: Int32Array, destinations: Int32Array): void {
    this.sources = sources
    this.destinations = destinations
    this.source = 0
    this.destination = 0
  }

  rx(batch: Batch): number {
    const { pool } = this.host
    const { sources, destinations } = this
    const view = pool.view
    const meta = pool.meta
    const slots = batch.slots
    for (let i = 0; i < BATCH; i++) {
      const slot = slots[i]
      const m = slot << META_SHIFT
      meta[m + Meta.Head] = HEADROOM
      meta[m + Meta.Len] = FRAME
      meta[m + Meta.Port] = this.index
      meta[m + Meta.Flags] = 0
      meta[m + Meta.GsoSize] = 0
      meta[m + Meta.Strip] = 0
      const at = slot * SLOT_SIZE + HEADROOM
      const to = destinations[this.destination]
      view.setUint16(at, to === BROADCAST ? 0xffff : STATION_HI)
      view.setInt32(at + 2, to)
      view.setUint16(at + 6, STATION_HI)
      view.setInt32(at + 8, sources[this.source])
      view.setUint16(at + 12, this.tci === 0 ? 0x0800 : 0x8100)
      view.setUint16(at + 14, this.tci)
      if (++this.source === sources.length) this.source = 0
      if (++this.destination === destinations.length) this.destination = 0
    }
    batch.n = BATCH
    countRx(this.host, this.index, BATCH, BATCH * FRAME)
    return BATCH
  }

  tx(queue: TxQueue): number {
    countTx(this.host, this.index, queue.count, queue.count * FRAME)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {}
}
