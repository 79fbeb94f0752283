// HOT
/**
 * RouterHost for the routers of one engine: where packets go when a part of a router lets go of them.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import type { Drop } from '../packet/drop.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta } from '../packet/layout.ts'
import type { LooseSlots } from '../packet/loose.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Pool } from '../packet/pool.ts'
import type { RouterHost } from '../router/host.ts'
import type { PortTable } from '../switch/ports.ts'
import type { Pipeline } from './pipeline.ts'

export class EngineRouterHost implements RouterHost {
  readonly memory: PlaneMemory
  readonly pool: Pool
  readonly counters: Float64Array
  readonly ip: Int32Array
  /** Port index that counts what no port has received: packets made and held. */
  private readonly home: number
  private readonly ports: PortTable
  private readonly batch: Batch
  private readonly loose: LooseSlots
  private readonly pipeline: Pipeline

  constructor(
    memory: PlaneMemory,
    pool: Pool,
    ports: PortTable,
    batch: Batch,
    pipeline: Pipeline,
    ip: Int32Array,
    home: number,
  ) {
    this.memory = memory
    this.pool = pool
    this.counters = memory.counters
    this.ip = ip
    this.home = home
    this.ports = ports
    this.batch = batch
    this.loose = pipeline.loose
    this.pipeline = pipeline
  }

  send(port: number, slot: number): void {
    this.ports.push(port, slot, 0)
  }

  hold(slot: number): boolean {
    const { batch, pool } = this
    const at = (slot << META_SHIFT) + Meta.Flags
    if ((pool.meta[at] & Flag.Loose) !== 0) pool.meta[at] &= ~Flag.Loose
    else {
      if (pool.available <= batch.taken) return false
      pool.meta[at] |= Flag.Taken
      batch.taken++
    }
    this.counters[this.home * COUNTER_WORDS + Counter.Held]++
    return true
  }

  resume(slot: number): void {
    this.counters[this.home * COUNTER_WORDS + Counter.Held]--
    this.loose.add(this.pool, slot)
  }

  lose(port: number, slot: number, reason: Drop): void {
    drop(this.counters, port, reason)
    this.loose.free(this.pool, slot)
  }

  consume(port: number, _slot: number): void {
    this.counters[port * COUNTER_WORDS + Counter.Consumed]++
  }

  make(len: number): number {
    const { loose, pool } = this
    // The batch's replacements come from the same stack.
    if (pool.available <= this.batch.taken) {
      this.pipeline.relieve()
      if (pool.available <= this.batch.taken) return -1
    }
    const slot = pool.alloc()
    pool.reset(slot, len)
    pool.meta[(slot << META_SHIFT) + Meta.Flags] = Flag.NoEthernet
    this.ip[(slot << IP_SHIFT) + Ip.Family] = 0
    loose.add(pool, slot)
    this.counters[this.home * COUNTER_WORDS + Counter.Made]++
    return slot
  }
}
