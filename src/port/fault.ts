// HOT
/**
 * A bad line, on purpose: loses, duplicates, reorders, cuts and delays what passes between a port and
 * its switch, either way. The port inside knows nothing of it.
 *
 *     rx   inner.rx -> fate -> waiting, by time -> batch        what is due now comes out at once
 *     tx   queue -> fate -> inner.tx                            nothing waits, fate is plain: as it is
 *                        -> waiting, by time -> (our next rx turn) inner.tx
 *
 * What waits was taken from the pool, WAITING packets in each direction at most; over that it is dropped
 * (queue-full). A held packet that shall be sent is first put into the batch in hand, which is empty
 * when our turn comes: the inner port may then `take` it like any other.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, Clock, Flag, META_SHIFT, Meta } from '../packet/layout.ts'
import { QUEUE_WORDS } from '../packet/memory.ts'
import type { DelayQueue } from './delay.ts'
import { Fate, type FaultRates, type FaultSpec, truncate } from './fate.ts'
import { type Port, type PortHost, type TxQueue, take } from './port.ts'

export type { FaultRates, FaultSpec }

/** Makes the two directions of one seed differ. */
const TX_STREAM = 0x5bd1e995

export class FaultPort implements Port {
  readonly inner: Port
  readonly index: number
  readonly name: string
  readonly timed = true
  private readonly host: PortHost
  private readonly rxFate: Fate | null
  private readonly txFate: Fate | null
  private readonly queue: TxQueue

  constructor(host: PortHost, inner: Port, spec: FaultSpec) {
    this.host = host
    this.inner = inner
    this.index = inner.index
    this.name = inner.name
    this.rxFate = spec.rx ? new Fate(spec.rx, spec.seed) : null
    this.txFate = spec.tx ? new Fate(spec.tx, spec.seed ^ TX_STREAM) : null
    this.queue = { words: host.memory.txq, at: this.index * QUEUE_WORDS, count: 0 }
  }

  get mtu(): number {
    return this.inner.mtu
  }

  set mtu(bytes: number) {
    this.inner.mtu = bytes
  }

  rx(batch: Batch): number {
    const nowMs = this.host.memory.clock[Clock.MonotonicMs]
    batch.n = 0
    const sent = this.txFate === null ? 0 : this.sendDue(batch, this.txFate, nowMs)
    if (sent < 0) return sent
    const fate = this.rxFate
    if (fate === null) return this.inner.rx(batch)
    if (fate.waiting.dueMs() <= nowMs) {
      // More was due than a batch holds: that first, and the port again in the next round.
      this.host.ready(this.index)
    } else {
      const received = this.inner.rx(batch)
      if (received < 0) return received
      this.hold(batch, fate, nowMs)
    }
    return this.receiveDue(batch, fate.waiting, nowMs)
  }

  /** What was received waits; its places in the batch get other slots. */
  private hold(batch: Batch, fate: Fate, nowMs: number): void {
    const { pool } = this.host
    const slots = batch.slots
    for (let i = 0; i < batch.n; i++) {
      const slot = slots[i]
      fate.draw(nowMs)
      if (fate.lost) {
        this.drop(Drop.FaultLoss)
        continue
      }
      const fresh = fate.waiting.full ? -1 : pool.alloc()
      if (fresh < 0) {
        this.drop(fate.waiting.full ? Drop.QueueFull : Drop.NoSlot)
        continue
      }
      slots[i] = fresh
      if (fate.cut) truncate(pool.meta, slot, fate.keep)
      this.wait(fate, slot, 0)
    }
  }

  private receiveDue(batch: Batch, waiting: DelayQueue, nowMs: number): number {
    const slots = batch.slots
    let n = 0
    while (n < BATCH && waiting.dueMs() <= nowMs) {
      this.host.pool.release(slots[n])
      slots[n++] = waiting.pop()
    }
    batch.n = n
    this.countHeld(-n)
    return n
  }

  tx(queue: TxQueue): number {
    const fate = this.txFate
    if (fate === null) return this.inner.tx(queue)
    const { words, at } = queue
    const nowMs = this.host.memory.clock[Clock.MonotonicMs]
    let kept = 0
    for (let i = 0; i < queue.count; i++) {
      const slot = words[at + 2 * i]
      const tag = words[at + 2 * i + 1]
      fate.draw(nowMs)
      if (fate.lost) {
        this.drop(Drop.FaultLoss)
      } else if (fate.waiting.count === 0 && fate.dueMs <= nowMs && !fate.duplicated && !fate.cut) {
        words[at + 2 * kept] = slot
        words[at + 2 * kept++ + 1] = tag
      } else if (fate.waiting.full) {
        this.drop(Drop.QueueFull)
      } else {
        // Others may still send this packet: a cut one is always a copy.
        const mine = fate.cut ? this.copy(slot) : take(this.host, slot)
        if (mine < 0) {
          this.drop(Drop.NoSlot)
          continue
        }
        if (fate.cut) truncate(this.host.pool.meta, mine, fate.keep)
        this.wait(fate, mine, tag)
      }
    }
    queue.count = kept
    return kept === 0 ? 0 : this.inner.tx(queue)
  }

  /** Sends what is due, through the batch. */
  private sendDue(batch: Batch, fate: Fate, nowMs: number): number {
    const { waiting } = fate
    const { queue } = this
    const { pool } = this.host
    let n = 0
    while (n < BATCH && waiting.dueMs() <= nowMs) {
      const slot = waiting.pop()
      pool.release(batch.slots[n])
      batch.slots[n] = slot
      queue.words[queue.at + 2 * n] = slot
      queue.words[queue.at + 2 * n + 1] = waiting.tag
      n++
    }
    if (n === 0) return 0
    this.countHeld(-n)
    queue.count = n
    const result = this.inner.tx(queue)
    this.flush()
    if (batch.taken > 0) batch.refill(pool)
    return result
  }

  /** Puts our own packet, and its duplicate, where they wait. */
  private wait(fate: Fate, slot: number, tag: number): void {
    fate.waiting.push(slot, tag, fate.dueMs)
    this.countHeld(1)
    if (!fate.duplicated) return
    this.host.memory.counters[this.index * COUNTER_WORDS + Counter.Made]++
    const twin = fate.waiting.full ? -1 : this.copy(slot)
    if (twin < 0) {
      this.drop(fate.waiting.full ? Drop.QueueFull : Drop.NoSlot)
      return
    }
    fate.waiting.push(twin, tag, fate.dueMs)
    this.countHeld(1)
  }

  /** A copy of our own; leaves the batch what it needs for its refill. */
  private copy(slot: number): number {
    const { pool, batch } = this.host
    if (pool.available <= batch.taken) return -1
    const copy = pool.alloc()
    pool.copy(slot, copy)
    pool.meta[(copy << META_SHIFT) + Meta.Flags] &= ~(Flag.Taken | Flag.Loose)
    return copy
  }

  private drop(reason: Drop): void {
    drop(this.host.memory.counters, this.index, reason)
  }

  private countHeld(packets: number): void {
    this.host.memory.counters[this.index * COUNTER_WORDS + Counter.Held] += packets
  }

  flush(): void {
    this.inner.flush?.()
  }

  held(): number {
    return this.inner.held() + (this.rxFate?.waiting.count ?? 0) + (this.txFate?.waiting.count ?? 0)
  }

  due(): number {
    let due = this.inner.due()
    if (this.rxFate !== null) due = Math.min(due, this.rxFate.waiting.dueMs())
    if (this.txFate !== null) due = Math.min(due, this.txFate.waiting.dueMs())
    return due
  }

  close(): void {
    const { pool } = this.host
    if (this.rxFate !== null) while (this.rxFate.waiting.count > 0) pool.release(this.rxFate.waiting.pop())
    if (this.txFate !== null) while (this.txFate.waiting.count > 0) pool.release(this.txFate.waiting.pop())
    this.inner.close()
  }
}
