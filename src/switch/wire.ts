// HOT
/**
 * Two ports joined and nothing in between: what comes in by one goes out by the other, as it is. The
 * simplest stage, and the only one that carries TUN packets without a router.
 */
import type { Batch } from '../packet/batch.ts'
import { drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { META_SHIFT, Meta } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import type { Stage } from '../packet/stage.ts'
import { PortFlag, type PortTable } from './ports.ts'

export class Wire implements Stage {
  readonly members = new Int32Array(2)
  memberCount = 0
  private readonly pool: Pool
  private readonly ports: PortTable
  private readonly counters: Float64Array

  constructor(pool: Pool, ports: PortTable, counters: Float64Array) {
    this.pool = pool
    this.ports = ports
    this.counters = counters
  }

  process(batch: Batch, port: number): void {
    const { counters, ports } = this
    const meta = this.pool.meta
    const slots = batch.slots
    const n = batch.n
    if ((ports.flags[port] & PortFlag.Up) === 0) {
      drop(counters, port, Drop.PortDown, n)
      return
    }
    const out = this.memberCount === 2 ? (this.members[0] === port ? this.members[1] : this.members[0]) : -1
    if (out < 0 || (ports.flags[out] & PortFlag.Up) === 0) {
      drop(counters, port, Drop.NoEgress, n)
      return
    }
    for (let i = 0; i < n; i++) {
      if (meta[(slots[i] << META_SHIFT) + Meta.Len] === 0) drop(counters, port, Drop.Runt)
      else ports.push(out, slots[i], 0)
    }
  }

  forget(): void {}

  tick(): void {}
}
