// HOT
/**
 * The order of stages, in one place. One batch of one port goes all the way before the next is read:
 *
 *     port.rx -> switch, wire or router -> transmit queues -> port.tx -> tunnels -> batch.refill, loose.release
 *
 * A batch of datagrams goes to its VTEP, which puts packets into the inboxes of VXLAN ports: their turns follow
 * at once.
 *
 * The batch holds the packets until every queue is written, so a flood is the same slot in many queues,
 * and nothing is counted or copied to share it. A queue that is full in the middle of a round is sent then,
 * and so is everything when the pool is empty: what the round has made goes back, and it can make more.
 */
import { Batch } from '../packet/batch.ts'
import { drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH } from '../packet/layout.ts'
import { LooseSlots } from '../packet/loose.ts'
import { QUEUE_WORDS } from '../packet/memory.ts'
import type { Pool } from '../packet/pool.ts'
import type { Stage } from '../packet/stage.ts'
import type { Tunnel } from '../packet/tunnel.ts'
import type { Port, TxQueue } from '../port/port.ts'
import type { PortTable } from '../switch/ports.ts'

export class Pipeline {
  /** By port index; null = no such port. */
  readonly portOf: (Port | null)[]
  /** The switch or wire a port belongs to. */
  readonly stageOf: (Stage | null)[]
  /** What sends when the round is over: VTEPs. */
  tunnels: Tunnel[] = []
  /** Packets of this round that are in no batch. */
  readonly loose: LooseSlots
  private readonly pool: Pool
  private readonly ports: PortTable
  private readonly counters: Float64Array
  private readonly early = new Int32Array(BATCH)
  private readonly queue: { words: Int32Array; at: number; count: number }
  /** Ports whose turn follows. */
  private readonly following: Int32Array
  private followCount = 0
  /** A part of the batch in hand, whose slots it lists again. */
  private readonly part = new Batch(new Int32Array(BATCH))
  /** Told when a port's device is gone. */
  private readonly failed: (port: number, errno: number) => void

  constructor(
    pool: Pool,
    ports: PortTable,
    counters: Float64Array,
    maxPorts: number,
    failed: (port: number, errno: number) => void,
  ) {
    this.pool = pool
    this.loose = new LooseSlots(pool.size)
    this.ports = ports
    this.counters = counters
    this.following = new Int32Array(maxPorts)
    this.portOf = new Array(maxPorts).fill(null)
    this.stageOf = new Array(maxPorts).fill(null)
    this.queue = { words: ports.queue, at: 0, count: 0 } satisfies TxQueue
    this.failed = failed
    ports.onFull = (port) => this.sendEarly(port)
  }

  /** Receives one batch from `port` and takes it all the way. Packets received; 0 = it was empty. */
  run(batch: Batch, port: Port, nowMs: number): number {
    const received = port.rx(batch)
    if (received <= 0) {
      if (received < 0) this.failed(port.index, received)
      // A decorator may have sent what it held, and a tunnel copied some of it.
      if (this.loose.count > 0) this.settle(batch)
      return 0
    }
    const stage = this.stageOf[port.index]
    if (stage === null) drop(this.counters, port.index, Drop.NoEgress, batch.n)
    else stage.process(batch, port.index, nowMs)
    this.settle(batch)
    if (this.followCount > 0) this.runFollowing(batch, nowMs)
    return received
  }

  /** Asks for the turn of `port` when this round is over; once per round. */
  follow(port: number): void {
    this.following[this.followCount++] = port
  }

  /**
   * Many ports with few packets each share the batch: what one received stays in its places until all had their
   * turn, so that everything is sent at once. A port's stage sees its part alone. These ports have no followers of
   * their own: what they receive came out of a tunnel.
   */
  private runFollowing(batch: Batch, nowMs: number): void {
    const { part } = this
    const n = this.followCount
    this.followCount = 0
    let used = 0
    for (let i = 0; i < n; i++) {
      const port = this.portOf[this.following[i]]
      if (port === null) continue
      const held = port.held()
      // A bad line has twins of what it holds.
      const most = held < BATCH && !port.timed ? held : BATCH
      // Taken slots are replaced first: a decorator may draw from the pool what the batch needs for that.
      if (used > 0 && (used + most > BATCH || batch.taken > 0)) {
        this.settle(batch)
        used = 0
      }
      for (let k = 0; k < most; k++) part.slots[k] = batch.slots[used + k]
      const received = port.rx(part)
      for (let k = 0; k < most; k++) batch.slots[used + k] = part.slots[k]
      if (received <= 0) {
        if (received < 0) this.failed(port.index, received)
        continue
      }
      used += received
      const stage = this.stageOf[port.index]
      if (stage === null) drop(this.counters, port.index, Drop.NoEgress, received)
      else stage.process(part, port.index, nowMs)
    }
    this.settle(batch)
  }

  /** Ends a round: sends what is queued; packets nobody took go back to where they belong. */
  settle(batch: Batch): void {
    const ports = this.ports
    if (ports.dirtyCount > 0) {
      for (let i = 0; i < ports.dirtyCount; i++) this.send(ports.dirty[i])
      ports.clean()
      for (let i = 0; i < this.tunnels.length; i++) this.tunnels[i].flush()
    }
    if (batch.taken > 0) batch.refill(this.pool)
    if (this.loose.count > 0) this.loose.release(this.pool)
  }

  /** Sends all that is queued, in the middle of a round, for the slots that come free. */
  relieve(): void {
    const ports = this.ports
    for (let i = 0; i < ports.dirtyCount; i++) this.sendEarly(ports.dirty[i])
  }

  private sendEarly(index: number): void {
    const { early, loose, pool, ports } = this
    const count = ports.queued[index]
    // A port may write into its queue.
    for (let i = 0; i < count; i++) early[i] = ports.queue[index * QUEUE_WORDS + 2 * i]
    this.send(index)
    // A tunnel puts off sending until the round is over; these slots are free before that.
    this.portOf[index]?.flush?.()
    for (let i = 0; i < count; i++) loose.free(pool, early[i])
  }

  private send(index: number): void {
    const { ports, queue } = this
    if (ports.queued[index] === 0) return
    queue.at = index * QUEUE_WORDS
    queue.count = ports.queued[index]
    ports.queued[index] = 0
    const port = this.portOf[index]
    if (port === null) {
      drop(this.counters, index, Drop.PortRemoved, queue.count)
      return
    }
    const result = port.tx(queue)
    if (result < 0) this.failed(index, result)
  }
}
