/**
 * What a port's packets go to: a switch, a wire or a router. Called once per batch.
 */
import type { Batch } from './batch.ts'

export interface Stage {
  /** Indices of the ports that belong to it: members[0 .. memberCount). */
  readonly members: Int32Array
  memberCount: number
  /** Takes every packet of the batch a step on: queued on ports, or dropped by name. */
  process(batch: Batch, port: number, nowMs: number): void
  /**
   * Packets slots[0 .. n) will come in small parts, by the ports that Meta.Port says: reads what `process` will
   * look up, so that the cache misses of many parts overlap. Some may be another stage's.
   */
  foresee?(slots: Int32Array, n: number): void
  /** Forgets what was learned of a port; static entries only when it is removed. */
  forget(port: number, alsoStatic: boolean): void
  /** Work that belongs to the clock, a few times a second. */
  tick(nowMs: number): void
}
