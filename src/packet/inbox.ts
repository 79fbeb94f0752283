// HOT
/**
 * Packets that wait for the turn of a port that has no device of its own: slots, oldest first, bounded. Who
 * puts one in has taken it (Flag.Taken) or made it; who takes it out owns it.
 */
export const INBOX = 256

export class Inbox {
  count = 0
  private readonly slots = new Int32Array(INBOX)
  private first = 0

  /** False when it is full: the caller keeps the slot. */
  put(slot: number): boolean {
    if (this.count === INBOX) return false
    this.slots[(this.first + this.count++) % INBOX] = slot
    return true
  }

  /** The oldest. Needs one. */
  take(): number {
    const slot = this.slots[this.first]
    this.first = (this.first + 1) % INBOX
    this.count--
    return slot
  }
}
