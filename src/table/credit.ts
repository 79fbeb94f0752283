// HOT
/**
 * Whether a cache is worth asking. An answer spares as much as so many questions in vain cost: `worth`. Where fewer
 * than one question in `worth` is answered, only one in RARELY is asked, until answers come again.
 */

/** Questions in vain until it is believed. */
const PATIENCE = 1024
/** A power of two. */
const RARELY = 16

export class Credit {
  private readonly worth: number
  private left = PATIENCE
  private skipped = 0

  constructor(worth: number) {
    this.worth = worth
  }

  /** Each question is worth asking. */
  get good(): boolean {
    return this.left > 0
  }

  /** This question is. */
  ask(): boolean {
    if (this.left > 0) return true
    this.skipped = (this.skipped + 1) & (RARELY - 1)
    return this.skipped === 0
  }

  answered(): void {
    if (this.left < PATIENCE) this.left += this.worth
  }

  inVain(): void {
    if (this.left > 0) this.left--
  }
}
