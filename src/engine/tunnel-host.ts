// HOT
/** TunnelHost for the VTEPs of one engine. */
import type { Batch } from '../packet/batch.ts'
import { Flag, META_SHIFT, Meta } from '../packet/layout.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Pool } from '../packet/pool.ts'
import type { TunnelHost } from '../packet/tunnel.ts'
import type { Engine } from './engine.ts'

export class EngineTunnelHost implements TunnelHost {
  readonly memory: PlaneMemory
  readonly pool: Pool
  readonly counters: Float64Array
  readonly batch: Batch
  private readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
    this.memory = engine.memory
    this.pool = engine.pool
    this.counters = engine.memory.counters
    this.batch = engine.batch
  }

  make(len: number): number {
    const { pool } = this
    // The batch's replacements come from the same stack.
    if (pool.available <= this.batch.taken) return -1
    const slot = pool.alloc()
    pool.reset(slot, len)
    return slot
  }

  copy(slot: number): number {
    const { pool } = this
    if (pool.available <= this.batch.taken) return -1
    const copy = pool.alloc()
    pool.copy(slot, copy)
    pool.meta[(copy << META_SHIFT) + Meta.Flags] &= ~(Flag.Taken | Flag.Loose)
    this.engine.pipeline.loose.add(pool, copy)
    return copy
  }

  foresee(port: number, slots: Int32Array, n: number): void {
    this.engine.pipeline.stageOf[port]?.foresee?.(slots, n)
  }

  follow(port: number): void {
    this.engine.pipeline.follow(port)
  }

  ready(port: number): void {
    this.engine.ready(port)
  }

  notify(port: number): void {
    this.engine.notify(port)
  }
}
