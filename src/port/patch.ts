// HOT
/**
 * Two ports of two switches in one plane, back to back. A packet changes hands without being copied:
 *
 *     switch A | patch A --- outbox of A, bounded --> patch B | switch B
 *              |  tx: takes the packet                 rx: puts it into the batch, tag applied
 *
 * What is in A's outbox is held by A; it counts as sent by A when B has received it, so the conservation
 * law holds at every moment. Over OUTBOX packets A drops (queue-full): two switches patched twice are a
 * loop, and a broadcast in it goes round for ever, but never grows. When B goes, what waits for it is
 * dropped on A (port-down).
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { canTag, retag } from '../packet/egress.ts'
import { BATCH, META_SHIFT, Meta } from '../packet/layout.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue, take } from './port.ts'

/** Packets that can be on their way in one direction. */
export const OUTBOX = 256

export class PatchPort implements Port {
  readonly index: number
  readonly name: string
  mtu: number
  readonly timed = false
  private readonly host: PortHost
  private peer: PatchPort | null = null
  /** Pairs (slot, tag), a ring. */
  private readonly outbox = new Int32Array(2 * OUTBOX)
  private first = 0
  private count = 0

  constructor(host: PortHost, index: number, name: string, mtu: number) {
    this.host = host
    this.index = index
    this.name = name
    this.mtu = mtu
  }

  /** Connects two ends; both must be free. */
  join(peer: PatchPort): void {
    if (this.peer !== null || peer.peer !== null || peer === this) {
      throw new Error(`patch ${this.name} cannot be joined with ${peer.name}: one of them is joined already`)
    }
    this.peer = peer
    peer.peer = this
  }

  rx(batch: Batch): number {
    const peer = this.peer
    batch.n = 0
    if (peer === null || peer.count === 0) return 0
    const { pool } = this.host
    const { counters } = this.host.memory
    const slots = batch.slots
    const n = Math.min(peer.count, BATCH)
    let received = 0
    let bytes = 0
    for (let i = 0; i < n; i++) {
      const at = 2 * ((peer.first + i) % OUTBOX)
      const slot = peer.outbox[at]
      if (!retag(pool, slot, peer.outbox[at + 1])) {
        drop(counters, peer.index, Drop.TooBig)
        pool.release(slot)
        continue
      }
      pool.release(slots[received])
      slots[received++] = slot
      pool.meta[(slot << META_SHIFT) + Meta.Port] = this.index
      bytes += pool.meta[(slot << META_SHIFT) + Meta.Len]
    }
    peer.first = (peer.first + n) % OUTBOX
    peer.count -= n
    batch.n = received
    counters[peer.index * COUNTER_WORDS + Counter.Held] -= n
    countTx(this.host, peer.index, received, bytes)
    countRx(this.host, this.index, received, bytes)
    this.countSupers(batch)
    if (peer.count > 0) this.host.ready(this.index)
    return received
  }

  private countSupers(batch: Batch): void {
    const meta = this.host.pool.meta
    let supers = 0
    for (let i = 0; i < batch.n; i++) {
      if (meta[(batch.slots[i] << META_SHIFT) + Meta.GsoSize] !== 0) supers++
    }
    if (supers > 0) this.host.memory.counters[this.index * COUNTER_WORDS + Counter.RxSuper] += supers
  }

  tx(queue: TxQueue): number {
    const { host, peer } = this
    const { counters } = host.memory
    if (peer === null) {
      drop(counters, this.index, Drop.PortDown, queue.count)
      return 0
    }
    let kept = 0
    for (let i = 0; i < queue.count; i++) {
      const slot = queue.words[queue.at + 2 * i]
      const tag = queue.words[queue.at + 2 * i + 1]
      if (this.count === OUTBOX) {
        drop(counters, this.index, Drop.QueueFull, queue.count - i)
        break
      }
      if (!canTag(host.pool, slot, tag)) {
        drop(counters, this.index, Drop.Malformed)
        continue
      }
      const mine = take(host, slot)
      if (mine < 0) {
        drop(counters, this.index, Drop.NoSlot)
        continue
      }
      const at = 2 * ((this.first + this.count++) % OUTBOX)
      this.outbox[at] = mine
      this.outbox[at + 1] = tag
      kept++
    }
    counters[this.index * COUNTER_WORDS + Counter.Held] += kept
    if (this.count > 0) host.ready(peer.index)
    return 0
  }

  held(): number {
    return this.count
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    const peer = this.peer
    this.empty()
    if (peer === null) return
    this.peer = null
    peer.peer = null
    if (peer.count === 0) return
    const { counters } = this.host.memory
    drop(counters, peer.index, Drop.PortDown, peer.count)
    counters[peer.index * COUNTER_WORDS + Counter.Held] -= peer.count
    peer.empty()
  }

  private empty(): void {
    for (let i = 0; i < this.count; i++) this.host.pool.release(this.outbox[2 * ((this.first + i) % OUTBOX)])
    this.first = 0
    this.count = 0
  }
}
