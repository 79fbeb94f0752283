// HOT
/**
 * A batch: the packets a port handed over, in order, as slots in `slots[0..n)`. It owns them. Behind
 * `n` lie slots that wait for the next receive, so `slots` is always a permutation of the same slots
 * (but for Taken ones, which `refill` replaces).
 *
 * A stage that drops packets moves the survivors to the front with `keep`, in order:
 *
 *     let kept = 0
 *     for (let i = 0; i < n; i++) if (good) batch.keep(i, kept++)
 *     batch.n = kept
 */
import { Flag, META_SHIFT, Meta } from './layout.ts'
import type { Pool } from './pool.ts'

export class Batch {
  readonly slots: Int32Array
  n = 0
  /** Set by whoever marks a packet Taken, so that `refill` looks. */
  taken = 0

  constructor(slots: Int32Array) {
    this.slots = slots
  }

  keep(from: number, to: number): void {
    const slots = this.slots
    const slot = slots[from]
    slots[from] = slots[to]
    slots[to] = slot
  }

  /** Draws slots for all places: before the first receive. False when the pool is too small. */
  fill(pool: Pool): boolean {
    for (let i = 0; i < this.slots.length; i++) {
      const slot = pool.alloc()
      if (slot < 0) return false
      this.slots[i] = slot
    }
    return true
  }

  /**
   * Replaces the slots that ports took, after everything was sent. A port takes with `take`, which
   * draws the replacement first, so this never fails.
   */
  refill(pool: Pool): void {
    const meta = pool.meta
    const slots = this.slots
    for (let i = 0; i < slots.length && this.taken > 0; i++) {
      const m = (slots[i] << META_SHIFT) + Meta.Flags
      if ((meta[m] & Flag.Taken) === 0) continue
      meta[m] &= ~Flag.Taken
      slots[i] = pool.alloc()
      this.taken--
    }
  }
}
