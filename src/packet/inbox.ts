// HOT
/**
 * Packets that wait for the turn of ports that have no device of their own: one list of slots per port, oldest
 * first, bounded. All lists of an engine's tunnel lie in four small arrays, so that a thousand ports that get a
 * packet each touch no more memory than one that gets a thousand.
 *
 *     first[port] -> slot -> next[slot] -> ... -> last[port]
 *
 * Who puts a packet in has taken it (Flag.Taken) or made it; who takes it out owns it.
 */
import { MAX_PORTS } from './layout.ts'

/** Packets of one port at most. */
export const INBOX = 256

export class Inboxes {
  /** By port index. */
  readonly count = new Int32Array(MAX_PORTS)
  private readonly first = new Int32Array(MAX_PORTS)
  private readonly last = new Int32Array(MAX_PORTS)
  private readonly next: Int32Array

  /** @param slots of the pool */
  constructor(slots: number) {
    this.next = new Int32Array(slots)
  }

  /** False when the port's list is full: the caller keeps the slot. */
  put(port: number, slot: number): boolean {
    const count = this.count[port]
    if (count === INBOX) return false
    if (count === 0) this.first[port] = slot
    else this.next[this.last[port]] = slot
    this.last[port] = slot
    this.count[port] = count + 1
    return true
  }

  /** The oldest of the port. Needs one. */
  take(port: number): number {
    const slot = this.first[port]
    this.first[port] = this.next[slot]
    this.count[port]--
    return slot
  }
}
