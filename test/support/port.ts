/**
 * A port made of two arrays: what the test puts in, and what the plane sent, with tags taken off and
 * put on as a real device would gather them. Smaller than src/port/memory.ts and with no dependency on
 * it: it also sets any metadata, right or wrong, as a device with offloads could hand it over.
 */
import type { Batch } from '../../src/packet/batch.ts'
import { COUNTER_WORDS, type Counter } from '../../src/packet/counters.ts'
import { BATCH, Flag, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import type { Pool } from '../../src/packet/pool.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from '../../src/port/port.ts'

/** What the virtio header would have said. */
export interface Offloads {
  gsoType?: number
  gsoSize?: number
  csumStart?: number
  csumOffset?: number
  flags?: number
}

export interface Injected extends Offloads {
  frame: Uint8Array
}

export class TestPort implements Port {
  readonly index: number
  readonly name: string
  mtu = 1500
  readonly timed = false
  readonly inbox: Injected[] = []
  sent: Uint8Array[] = []
  /** The slots of the last `tx`, for tests of who shares what. */
  lastSlots: number[] = []
  /** Returned by the next `tx` after it counted everything, as a device that is gone does. */
  failWith = 0
  closed = false
  private readonly host: PortHost

  constructor(host: PortHost, index: number, name: string) {
    this.host = host
    this.index = index
    this.name = name
  }

  inject(frame: Uint8Array, offloads: Offloads = {}): void {
    this.inbox.push({ frame, ...offloads })
    this.host.ready(this.index)
  }

  rx(batch: Batch): number {
    const { pool } = this.host
    const arrived = this.inbox.splice(0, BATCH)
    let bytes = 0
    arrived.forEach((packet, i) => {
      fill(pool, batch.slots[i], packet, this.index)
      bytes += packet.frame.length
    })
    batch.n = arrived.length
    countRx(this.host, this.index, arrived.length, bytes)
    if (this.inbox.length > 0) this.host.ready(this.index)
    return arrived.length
  }

  tx(queue: TxQueue): number {
    this.lastSlots = []
    let bytes = 0
    for (let i = 0; i < queue.count; i++) {
      const slot = queue.words[queue.at + 2 * i]
      const frame = onWire(this.host.pool, slot, queue.words[queue.at + 2 * i + 1])
      this.lastSlots.push(slot)
      this.sent.push(frame)
      bytes += frame.length
    }
    countTx(this.host, this.index, queue.count, bytes)
    return this.failWith
  }

  /** What was sent since the last call. */
  take(): Uint8Array[] {
    const sent = this.sent
    this.sent = []
    return sent
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    this.closed = true
  }
}

/** Puts a packet into a slot as a receive does. */
export function fill(pool: Pool, slot: number, packet: Injected, port: number): void {
  pool.reset(slot, packet.frame.length)
  const m = slot << META_SHIFT
  pool.bytes.set(packet.frame, pool.at(slot))
  pool.meta[m + Meta.Port] = port
  pool.meta[m + Meta.Flags] = packet.flags ?? (packet.gsoSize ? Flag.CsumPartial : 0)
  pool.meta[m + Meta.GsoType] = packet.gsoType ?? 0
  pool.meta[m + Meta.GsoSize] = packet.gsoSize ?? 0
  pool.meta[m + Meta.CsumStart] = packet.csumStart ?? 0
  pool.meta[m + Meta.CsumOffset] = packet.csumOffset ?? 0
}

/** The frame a device would write: without the bytes to strip, with the tag to put on. */
export function onWire(pool: Pool, slot: number, tag: number): Uint8Array {
  const frame = pool.frame(slot)
  const strip = pool.meta[(slot << META_SHIFT) + Meta.Strip]
  const added = tag === 0 ? [] : [tag >>> 24, (tag >>> 16) & 255, (tag >>> 8) & 255, tag & 255]
  return Uint8Array.from([...frame.subarray(0, 12), ...added, ...frame.subarray(12 + strip)])
}

export function counter(counters: Float64Array, port: number, which: Counter): number {
  return counters[port * COUNTER_WORDS + which]
}
