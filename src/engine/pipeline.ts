// HOT
/**
 * The order of stages, in one place. One batch of one port goes all the way before the next is read:
 *
 *     port.rx -> switch: admit, learn, forward -> transmit queues -> port.tx -> batch.refill
 *
 * The batch holds the packets until every queue is written, so a flood is the same slot in many queues,
 * and nothing is counted or copied to share it.
 */
import type { Batch } from '../packet/batch.ts'
import { drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { QUEUE_WORDS } from '../packet/memory.ts'
import type { Pool } from '../packet/pool.ts'
import type { Port, TxQueue } from '../port/port.ts'
import type { PortTable } from '../switch/ports.ts'
import type { Stage } from '../switch/stage.ts'

export class Pipeline {
  /** By port index; null = no such port. */
  readonly portOf: (Port | null)[]
  /** The switch or wire a port belongs to. */
  readonly stageOf: (Stage | null)[]
  private readonly pool: Pool
  private readonly ports: PortTable
  private readonly counters: Float64Array
  private readonly queue: { words: Int32Array; at: number; count: number }
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
    this.ports = ports
    this.counters = counters
    this.portOf = new Array(maxPorts).fill(null)
    this.stageOf = new Array(maxPorts).fill(null)
    this.queue = { words: ports.queue, at: 0, count: 0 } satisfies TxQueue
    this.failed = failed
  }

  /** Receives one batch from `port` and takes it all the way. Packets received; 0 = it was empty. */
  run(batch: Batch, port: Port, nowMs: number): number {
    const received = port.rx(batch)
    if (received <= 0) {
      if (received < 0) this.failed(port.index, received)
      return 0
    }
    const stage = this.stageOf[port.index]
    if (stage === null) drop(this.counters, port.index, Drop.NoEgress, batch.n)
    else stage.process(batch, port.index, nowMs)
    if (this.ports.dirtyCount > 0) this.send()
    if (batch.taken > 0) batch.refill(this.pool)
    return received
  }

  private send(): void {
    const ports = this.ports
    const queue = this.queue
    for (let i = 0; i < ports.dirtyCount; i++) {
      const index = ports.dirty[i]
      queue.at = index * QUEUE_WORDS
      queue.count = ports.queued[index]
      ports.queued[index] = 0
      const port = this.portOf[index]
      if (port === null) {
        drop(this.counters, index, Drop.PortRemoved, queue.count)
        continue
      }
      const result = port.tx(queue)
      if (result < 0) this.failed(index, result)
    }
    ports.dirtyCount = 0
  }
}
