/**
 * Writes a longest-prefix table (lpm.ts): adds, replaces, removes. One writer per table. Each change is
 * made beside what readers see and then shown by one store, so a reader sees all of it or nothing; when there
 * is no room, nothing has changed. Prefixes longer than /24 are lpm-long.ts's; those up to /24 are
 * remembered in a trie (lpm-trie.ts) and painted over their words of the root:
 *
 *     add      go down to where the prefix ends; the last block is copied with one entry more,
 *              and blocks that are missing below it are made first
 *     remove   the block is copied with one entry less; a block that became empty goes from its
 *              parent, and so on upwards
 *     paint    over nothing and over prefixes that are not longer; blocks behind the root inherit. Removed,
 *              the next shorter one takes its words.
 *
 * The words of the root are painted one by one: a /8 has 65536, some 50 us; a /1 eight million.
 */
import { INHERITED, LENGTH_SHIFT, Lpm, LpmState, MAX_VALUE, ROOT, ROOT_BITS } from './lpm.ts'
import { needCount, tableFull } from './lpm-block.ts'
import { LongPrefixes } from './lpm-long.ts'
import { BLOCK_HEAD, entries, erased, freeBlock, inserted, popcount, single } from './lpm-trie.ts'

/** Blocks in a row: 24 / 5, rounded up. */
const MAX_STEPS = 5
const STRIDE = 5

/** A root's word. */
const answer = (len: number, value: number): number => ((len - 1) << LENGTH_SHIFT) | (value + 1)

export class LpmWriter {
  readonly table: Lpm
  private readonly words: Int32Array
  private readonly long: LongPrefixes
  private readonly key = new Int32Array(4)
  /** Where the last walk went: the words that refer to each block, and the five bits in each. */
  private readonly slots = new Int32Array(MAX_STEPS)
  private readonly picks = new Int32Array(MAX_STEPS)
  private steps = 0
  /** Bits of the prefix that end in the last block: 1 to 5; more when blocks are missing below. */
  private left = 0
  /** Depth of the last block in bits. */
  private depth = 0

  /** @param memory from `Lpm.memory`, new or with another's table in it */
  constructor(memory: SharedArrayBuffer) {
    this.table = new Lpm(memory)
    this.words = this.table.words
    this.long = new LongPrefixes(this.words)
  }

  /**
   * Adds a prefix or gives it another value. Bits behind `len` are ignored. True when it is new.
   * @param len bits, 0 to the width of the table
   * @param value 0 to MAX_VALUE
   * @throws RangeError when the table is full; it is then as it was
   */
  add(len: number, value: number, addr0: number, addr1 = 0, addr2 = 0, addr3 = 0): boolean {
    if (!(value >= 0 && value <= MAX_VALUE))
      throw new RangeError(`value ${value}: 0 to ${MAX_VALUE} expected`)
    this.take(len, addr0, addr1, addr2, addr3)
    const isNew = len > ROOT_BITS ? this.long.add(len, value, this.key) : this.addShort(len, value)
    this.changed()
    return isNew
  }

  /** Removes a prefix. Its value, or -1 when it was not there. */
  remove(len: number, addr0: number, addr1 = 0, addr2 = 0, addr3 = 0): number {
    this.take(len, addr0, addr1, addr2, addr3)
    const value = len > ROOT_BITS ? this.long.remove(len, this.key) : this.removeShort(len)
    this.changed()
    return value
  }

  /** What readers remember ends: when all they may read is written. */
  private changed(): void {
    Atomics.store(this.words, LpmState.Changes, (this.words[LpmState.Changes] + 2) | 0)
  }

  private addShort(len: number, value: number): boolean {
    const { words } = this
    const addr0 = this.key[0]
    if (len === 0) {
      const isNew = words[LpmState.Default] < 0
      if (isNew) needCount(words)
      words[LpmState.Default] = value
      if (isNew) words[LpmState.Count]++
      return isNew
    }
    this.walk(len)
    const slot = this.slots[this.steps - 1]
    const at = words[slot]
    const pick = this.picks[this.steps - 1]
    if (at !== 0 && this.left <= STRIDE) {
      const full = this.fullBit(pick)
      const part = this.partBit(pick)
      const n = this.entryOf(at, full, part)
      if (((words[at + 1] & full) | (words[at + 2] & part)) !== 0) {
        words[at + BLOCK_HEAD + n] = value
        this.paint(len, addr0, answer(len, value))
        return false
      }
      needCount(words)
      this.publish(slot, inserted(words, at, n, value, 0, full, part), at)
    } else {
      needCount(words)
      if (at === 0) this.publish(slot, this.chain(this.depth, value), 0)
      else {
        const chain = this.chain(this.depth + STRIDE, value)
        const child = 1 << pick
        const grown = inserted(words, at, popcount(words[at] & (child - 1)), chain, child, 0, 0)
        if (grown === 0) this.drop(chain)
        this.publish(slot, grown, at)
      }
    }
    words[LpmState.Count]++
    this.paint(len, addr0, answer(len, value))
    return true
  }

  private removeShort(len: number): number {
    const { words } = this
    const addr0 = this.key[0]
    const value = this.get(len, addr0)
    if (value < 0) return -1
    words[LpmState.Count]--
    if (len === 0) {
      words[LpmState.Default] = -1
      return value
    }
    let step = this.steps - 1
    let full = this.fullBit(this.picks[step])
    let part = this.partBit(this.picks[step])
    let child = 0
    // Blocks whose only entry goes, go too; from the last one that stays, the entry goes.
    while (step > 0 && entries(words, words[this.slots[step]]) === 1) {
      step--
      full = 0
      part = 0
      child = 1 << this.picks[step]
    }
    const slot = this.slots[step]
    const at = words[slot]
    if (entries(words, at) === 1) {
      Atomics.store(words, slot, 0)
      this.drop(at)
    } else {
      const n = child !== 0 ? popcount(words[at] & (child - 1)) : this.entryOf(at, full, part)
      const lower = child !== 0 ? words[at + BLOCK_HEAD + n] : 0
      const copy = erased(words, at, n, child, full, part)
      if (copy !== at) this.show(slot, copy, at)
      this.drop(lower)
    }
    this.paint(len, addr0, this.shorter(len - 1, addr0))
    return value
  }

  /** Value of exactly this prefix, or -1. */
  get(len: number, addr0: number, addr1 = 0, addr2 = 0, addr3 = 0): number {
    const words = this.words
    this.take(len, addr0, addr1, addr2, addr3)
    if (len > ROOT_BITS) return this.long.get(len, this.key)
    if (len === 0) return words[LpmState.Default]
    this.walk(len)
    const at = words[this.slots[this.steps - 1]]
    if (at === 0 || this.left > STRIDE) return -1
    const pick = this.picks[this.steps - 1]
    const full = this.fullBit(pick)
    const part = this.partBit(pick)
    if (((words[at + 1] & full) | (words[at + 2] & part)) === 0) return -1
    return words[at + BLOCK_HEAD + this.entryOf(at, full, part)]
  }

  private take(len: number, addr0: number, addr1: number, addr2: number, addr3: number): void {
    const width = this.words[LpmState.Width]
    if (!(len >= 0 && len <= width)) throw new RangeError(`prefix length ${len}: 0 to ${width} expected`)
    const { key } = this
    key[0] = addr0
    key[1] = addr1
    key[2] = addr2
    key[3] = addr3
  }

  /** Goes down as far as there are blocks, at most to the one where the prefix ends. */
  private walk(len: number): void {
    const { words, slots, picks } = this
    let depth = 0
    let slot: number = LpmState.Short
    let steps = 0
    for (;;) {
      const pick = this.bitsAt(depth)
      slots[steps] = slot
      picks[steps++] = pick
      const at = words[slot]
      if (at === 0 || len - depth <= STRIDE || ((words[at] >>> pick) & 1) === 0) break
      slot = at + BLOCK_HEAD + popcount(words[at] & ((1 << pick) - 1))
      depth += STRIDE
    }
    this.steps = steps
    this.depth = depth
    this.left = len - depth
  }

  /** Five bits of the key. */
  private bitsAt(depth: number): number {
    return (this.key[0] << depth) >>> 27
  }

  /** The bit in a block's [1] of a prefix that takes all five bits, or 0. */
  private fullBit(pick: number): number {
    return this.left === STRIDE ? 1 << pick : 0
  }

  /** The bit in a block's [2] of a prefix that takes fewer. */
  private partBit(pick: number): number {
    return this.left < STRIDE ? 1 << ((1 << this.left) - 2 + (pick >>> (STRIDE - this.left))) : 0
  }

  /** Which of the block's entries has (or would have) this bit. */
  private entryOf(at: number, full: number, part: number): number {
    const words = this.words
    const children = popcount(words[at])
    if (full === 0) return children + popcount(words[at + 2] & (part - 1))
    return children + popcount(words[at + 2]) + popcount(words[at + 1] & (full - 1))
  }

  /** New blocks from `depth` down to the one where the prefix ends. */
  private chain(depth: number, value: number): number {
    const len = this.depth + this.left
    let last = depth
    while (len - last > STRIDE) last += STRIDE
    this.left = len - last
    const pick = this.bitsAt(last)
    let top = single(this.words, 0, this.fullBit(pick), this.partBit(pick), value)
    for (let d = last - STRIDE; d >= depth && top !== 0; d -= STRIDE) {
      const above = single(this.words, 1 << this.bitsAt(d), 0, 0, top)
      if (above === 0) this.drop(top)
      top = above
    }
    if (top === 0) throw tableFull(this.words)
    return top
  }

  /** Frees a block and the chain below it. */
  private drop(at: number): void {
    const words = this.words
    while (at !== 0) {
      const next = words[at] !== 0 ? words[at + BLOCK_HEAD] : 0
      freeBlock(words, at)
      at = next
    }
  }

  /** Shows a new block in place of the old (0 = there was none). */
  private publish(slot: number, block: number, old: number): void {
    if (block === 0) throw tableFull(this.words)
    this.show(slot, block, old)
  }

  private show(slot: number, block: number, old: number): void {
    Atomics.store(this.words, slot, block)
    if (old !== 0) freeBlock(this.words, old)
  }

  /** The root's word for the longest prefix of at most `max` bits that covers the address. */
  private shorter(max: number, addr0: number): number {
    const words = this.words
    let at = words[LpmState.Short]
    let found = 0
    for (let depth = 0; at !== 0 && depth < max; depth += STRIDE) {
      const pick = (addr0 << depth) >>> 27
      for (let bits = 1; bits <= STRIDE && depth + bits <= max; bits++) {
        const full = bits === STRIDE ? 1 << pick : 0
        const part = bits < STRIDE ? 1 << ((1 << bits) - 2 + (pick >>> (STRIDE - bits))) : 0
        if (((words[at + 1] & full) | (words[at + 2] & part)) === 0) continue
        found = answer(depth + bits, words[at + BLOCK_HEAD + this.entryOf(at, full, part)])
      }
      const child = 1 << pick
      at = (words[at] & child) === 0 ? 0 : words[at + BLOCK_HEAD + popcount(words[at] & (child - 1))]
    }
    return found
  }

  /** Gives `word` to the root's words under a prefix, but for those of longer prefixes. */
  private paint(len: number, addr0: number, word: number): void {
    const words = this.words
    const first = ROOT + ((addr0 >>> (32 - len)) << (ROOT_BITS - len))
    const end = first + (1 << (ROOT_BITS - len))
    for (let i = first; i < end; i++) {
      const old = words[i]
      if (old >= 0) {
        if (old >>> LENGTH_SHIFT < len) words[i] = word
      } else if (words[INHERITED - old] >>> LENGTH_SHIFT < len) this.long.inherit(-old, word)
    }
  }
}
