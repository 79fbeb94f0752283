// HOT
/**
 * Slots of the round in hand that no batch owns: packets made here (errors, replies, fragments) and
 * packets that were held and go on now. They are released when everything queued was sent, unless a
 * port or a part has taken them meanwhile (its flag is then gone).
 */
import { Flag, META_SHIFT, Meta } from './layout.ts'
import type { Pool } from './pool.ts'

export class LooseSlots {
  count = 0
  private readonly slots: Int32Array

  /** @param pool slots there are; a slot may come and go a few times in a round */
  constructor(pool: number) {
    this.slots = new Int32Array(4 * pool)
  }

  /** False when the list is full: the caller keeps the slot. */
  add(pool: Pool, slot: number): boolean {
    if (this.count === this.slots.length) return false
    pool.meta[(slot << META_SHIFT) + Meta.Flags] |= Flag.Loose
    this.slots[this.count++] = slot
    return true
  }

  release(pool: Pool): void {
    for (let i = 0; i < this.count; i++) {
      const at = (this.slots[i] << META_SHIFT) + Meta.Flags
      if ((pool.meta[at] & Flag.Loose) === 0) continue
      pool.meta[at] &= ~Flag.Loose
      pool.release(this.slots[i])
    }
    this.count = 0
  }
}
