// HOT
/**
 * Answers of a longest-prefix table (lpm.ts) for the /64s that were asked for last: one cache line is read instead of
 * the three to five that lie on the way through a big table. Each reader has its own; nothing is shared.
 *
 *     a set, one cache line     4 x [0] and [1] the /64   [2] changes the table had had   [3] the answer
 *
 * Any change of the table ends all that is remembered: a line holds only as long as its [2] is the table's. Who
 * asks for another /64 each time can neither grow it nor make it slow: there is no list to walk and nothing to free,
 * and where it seldom knows it is seldom asked (credit.ts).
 */
import { Credit } from './credit.ts'
import { lineWords } from './line.ts'

/** Sets: 65,536 /64s, 1 MiB. A page counts when it is touched, so with the destinations that are spoken to. */
const SETS_BITS = 14
const WAYS = 4
const WORDS = 4
const SET = WAYS * WORDS
/** An answer spares as much as so many questions in vain cost. */
const WORTH = 4

export class RecentAnswers {
  private readonly sets = lineWords(SET << SETS_BITS)
  /** Way of a set that goes next. */
  private next = 0
  private readonly credit = new Credit(WORTH)

  worthAsking(): boolean {
    return this.credit.ask()
  }

  /** Place of the answer, or -1. `changes` is never 0, so a set's first words match nothing. */
  find(addr0: number, addr1: number, changes: number): number {
    const { sets } = this
    const first = setOf(addr0, addr1)
    const end = first + SET
    for (let at = first; at < end; at += WORDS) {
      if (sets[at] !== addr0 || sets[at + 1] !== addr1 || sets[at + 2] !== changes) continue
      this.credit.answered()
      return at
    }
    this.credit.inVain()
    return -1
  }

  answer(at: number): number {
    return this.sets[at + 3]
  }

  keep(addr0: number, addr1: number, changes: number, answer: number): void {
    const { sets } = this
    const at = setOf(addr0, addr1) + this.next
    this.next = (this.next + WORDS) & (SET - 1)
    sets[at] = addr0
    sets[at + 1] = addr1
    sets[at + 2] = changes
    sets[at + 3] = answer
  }
}

function setOf(addr0: number, addr1: number): number {
  const hash = Math.imul(Math.imul(addr0, 0x9e3779b1) ^ addr1, 0x85ebca6b)
  return (hash >>> (32 - SETS_BITS)) * SET
}
