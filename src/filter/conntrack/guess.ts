// HOT
/**
 * Guesses which words of the index (table.ts) belong to the hashes of a batch: those with the tag of the hash. All
 * of a batch at once, in short loops, so that the processor has many of their loads on the way.
 *
 *     hash --lower bits--> recent[place]:  the word of the index that was found last, or 0
 *
 * A thousand connections among a million have their words in a thousand pages, and the translation of those is what
 * a look-up would wait for; here they lie together. ns to find one of a thousand, three runs in turns: 31-36 among a
 * million (40-51 by the index alone), 29-33 among themselves (34-38). Where most of a batch is not here, the index
 * is read at once: where all of a million talk, in random order, that is 113-141 instead of 105-128.
 */
import { Credit } from '../../table/credit.ts'
import { lineWords } from '../../table/line.ts'

/** Packets of a batch, at most. */
export const MOST_GUESSED = 256
/** A power of two, 64 KiB. */
const RECENT = 16384
const RECENT_MASK = RECENT - 1
/** Of Credit: half of the batches have to have most of their words here. */
const WORTH = 1

export class Guesses {
  private readonly index: Int32Array
  private readonly mask: number
  private readonly nodeMask: number
  /** Nothing that was removed from the index. */
  private readonly recent = lineWords(RECENT)
  private readonly credit = new Credit(WORTH)
  private readonly missed = new Int32Array(MOST_GUESSED)

  /** @param nodeMask bits of a word that are no tag */
  constructor(index: Int32Array, nodeMask: number) {
    this.index = index
    this.mask = index.length - 1
    this.nodeMask = nodeMask
  }

  /**
   * Turns `n` hashes, at most MOST_GUESSED, into nodes, 0 = none.
   * @returns a number that only keeps the loads from being optimised away
   */
  guess(hashes: Int32Array, n: number): number {
    if (this.credit.ask()) return this.recall(hashes, n)
    const { index, mask, nodeMask } = this
    let sum = 0
    for (let i = 0; i < n; i++) sum ^= index[hashes[i] & mask]
    for (let i = 0; i < n; i++) hashes[i] = this.likely(hashes[i]) & nodeMask
    return sum
  }

  private recall(hashes: Int32Array, n: number): number {
    const { credit, index, mask, missed, nodeMask, recent } = this
    let sum = 0
    let misses = 0
    for (let i = 0; i < n; i++) {
      const h = hashes[i]
      const place = recent[h & RECENT_MASK]
      if (place === 0 || ((place ^ h) & ~nodeMask) !== 0) missed[misses++] = i
      else hashes[i] = place & nodeMask
    }
    if (2 * misses < n) credit.answered()
    else credit.inVain()
    for (let i = 0; i < misses; i++) sum ^= index[hashes[missed[i]] & mask]
    for (let i = 0; i < misses; i++) {
      const h = hashes[missed[i]]
      const place = this.likely(h)
      recent[h & RECENT_MASK] = place
      hashes[missed[i]] = place & nodeMask
    }
    return sum
  }

  /** The word of the index that bears the tag of a hash, or 0. */
  private likely(h: number): number {
    const { index, mask, nodeMask } = this
    let place = index[h & mask]
    for (let at = h + 1; place !== 0 && ((place ^ h) & ~nodeMask) !== 0; at++) place = index[at & mask]
    return place
  }

  /** A node leaves the index. */
  forget(h: number, node: number): void {
    if ((this.recent[h & RECENT_MASK] & this.nodeMask) === node) this.recent[h & RECENT_MASK] = 0
  }
}
