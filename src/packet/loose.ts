// HOT
/**
 * Slots of the round in hand that no batch owns: packets made here (errors, replies, fragments) and
 * packets that were held and go on now. Each is in one transmit queue at most, so it can be released as
 * soon as that was sent, or when it is dropped; what is left is released when the round ends. One that a
 * port or a part has taken meanwhile (its flag is then gone) stays theirs.
 *
 * The list may hold slots that are not loose any more, and one twice; Flag.Loose alone tells. When it is
 * full these are cleared out: there are never more loose slots than slots.
 */
import { Flag, META_SHIFT, Meta } from './layout.ts'
import type { Pool } from './pool.ts'

export class LooseSlots {
  count = 0
  private readonly slots: Int32Array

  /** @param pool slots there are */
  constructor(pool: number) {
    this.slots = new Int32Array(4 * pool)
  }

  add(pool: Pool, slot: number): void {
    if (this.count === this.slots.length) this.compact(pool)
    pool.meta[(slot << META_SHIFT) + Meta.Flags] |= Flag.Loose
    this.slots[this.count++] = slot
  }

  /**
   * Releases a slot that was sent or dropped, if it is loose. One that was taken from the batch in this
   * same round stays to its end: the batch finds by its flag that it must replace it.
   */
  free(pool: Pool, slot: number): void {
    const at = (slot << META_SHIFT) + Meta.Flags
    if ((pool.meta[at] & (Flag.Loose | Flag.Taken)) !== Flag.Loose) return
    pool.meta[at] &= ~Flag.Loose
    pool.release(slot)
  }

  /** At the end of a round, after the batch's refill. */
  release(pool: Pool): void {
    for (let i = 0; i < this.count; i++) this.free(pool, this.slots[i])
    this.count = 0
  }

  private compact(pool: Pool): void {
    const { slots } = this
    let kept = 0
    for (let i = 0; i < this.count; i++) {
      const at = (slots[i] << META_SHIFT) + Meta.Flags
      if ((pool.meta[at] & Flag.Loose) === 0) continue
      pool.meta[at] &= ~Flag.Loose
      slots[kept++] = slots[i]
    }
    for (let i = 0; i < kept; i++) pool.meta[(slots[i] << META_SHIFT) + Meta.Flags] |= Flag.Loose
    this.count = kept
  }
}
