// HOT
/**
 * Packets that wait until their neighbour's MAC is known (RFC 1122 2.3.2.2), in order, one queue per
 * neighbour, and all of them in one list from the oldest to the youngest:
 *
 *     entry    First -> slot -> slot -> Last       `behind`
 *     all      oldest <-> slot <-> ... <-> youngest   `older`, `younger`
 *
 * The oldest of a queue also comes before the rest of it in the list of all. Limits, and who is dropped at
 * each (queue-full's sibling, neighbour-queue):
 *
 *     a neighbour has MAX_PACKETS or MAX_BYTES    its oldest
 *     all together have a quarter of the pool     the oldest of all: what is being resolved now is young
 */
import { Drop } from '../packet/drop.ts'
import { META_SHIFT, Meta } from '../packet/layout.ts'
import type { RouterHost } from './host.ts'
import type { Interfaces } from './interfaces.ts'
import { N } from './neighbour-table.ts'

/** Linux: unres_qlen and unres_qlen_bytes. */
export const MAX_PACKETS = 101
export const MAX_BYTES = 212992

export class NeighbourQueue {
  /** Packets that wait, of all neighbours. */
  count = 0
  readonly limit: number
  private readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly words: Int32Array
  private readonly behind: Int32Array
  private readonly older: Int32Array
  private readonly younger: Int32Array
  private readonly owner: Int32Array
  private oldest = -1
  private youngest = -1

  /** @param words the table's entries */
  constructor(host: RouterHost, interfaces: Interfaces, words: Int32Array) {
    this.host = host
    this.interfaces = interfaces
    this.words = words
    const slots = host.pool.size
    this.limit = Math.max(1, slots >> 2)
    this.behind = new Int32Array(slots)
    this.older = new Int32Array(slots)
    this.younger = new Int32Array(slots)
    this.owner = new Int32Array(slots)
  }

  /** Keeps the packet for entry `e`, or drops it by name. */
  put(e: number, slot: number): void {
    const { words, host } = this
    if (this.count >= this.limit) this.dropFirst(this.owner[this.oldest])
    const bytes = host.pool.meta[(slot << META_SHIFT) + Meta.Len]
    while (
      words[e + N.Waiting] > 0 &&
      (words[e + N.Waiting] >= MAX_PACKETS || words[e + N.WaitingBytes] + bytes > MAX_BYTES)
    )
      this.dropFirst(e)
    if (!host.hold(slot)) {
      host.lose(this.portOf(e), slot, Drop.NoSlot)
      return
    }
    this.behind[slot] = -1
    if (words[e + N.First] < 0) words[e + N.First] = slot
    else this.behind[words[e + N.Last]] = slot
    words[e + N.Last] = slot
    words[e + N.Waiting]++
    words[e + N.WaitingBytes] += bytes
    this.owner[slot] = e
    this.older[slot] = this.youngest
    this.younger[slot] = -1
    if (this.youngest < 0) this.oldest = slot
    else this.younger[this.youngest] = slot
    this.youngest = slot
    this.count++
  }

  /** The first packet of `e`, which may be sent or lost in this round; -1 = none. */
  take(e: number): number {
    const words = this.words
    const slot = words[e + N.First]
    if (slot < 0) return -1
    words[e + N.First] = this.behind[slot]
    words[e + N.Waiting]--
    words[e + N.WaitingBytes] -= this.host.pool.meta[(slot << META_SHIFT) + Meta.Len]
    const before = this.older[slot]
    const after = this.younger[slot]
    if (before < 0) this.oldest = after
    else this.younger[before] = after
    if (after < 0) this.youngest = before
    else this.older[after] = before
    this.count--
    this.host.resume(slot)
    return slot
  }

  private dropFirst(e: number): void {
    this.host.lose(this.portOf(e), this.take(e), Drop.NeighbourQueue)
  }

  /** Drops all that wait for `e`. */
  drop(e: number, reason: Drop): void {
    for (;;) {
      const slot = this.take(e)
      if (slot < 0) return
      this.host.lose(this.portOf(e), slot, reason)
    }
  }

  private portOf(e: number): number {
    return this.interfaces.port[this.words[e + N.Key] & 255]
  }
}
