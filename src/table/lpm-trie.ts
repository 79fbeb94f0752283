/**
 * The blocks of the trie that remembers the prefixes up to /24 (lpm-writer.ts): five bits a step, compressed by
 * bitmaps (Eatherton, Varghese, Dittia: "Tree Bitmap", 2004). Everything about one node, in one piece:
 *
 *     [0] bit i: there is a block below for the five bits i        [3 ..] one word per bit of [0]
 *     [1] bit i: a prefix ends behind the five bits i              then one value per bit of [2],
 *     [2] bit 2^n - 2 + p: a prefix ends behind n bits p, n < 5    then one value per bit of [1]
 *
 * The place of a word is the number of bits before its own. Look-ups do not come here, lists (lpm-list.ts) do.
 */
import { LpmState } from './lpm.ts'
import { allocate, free } from './lpm-block.ts'

/** Words of a block in front of its children. */
export const BLOCK_HEAD = 3

/** Bits set. */
export function popcount(x: number): number {
  x -= (x >>> 1) & 0x55555555
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333)
  x = (x + (x >>> 4)) & 0x0f0f0f0f
  return Math.imul(x, 0x01010101) >>> 24
}

/** Children and values of a block. */
export function entries(words: Int32Array, at: number): number {
  return popcount(words[at]) + popcount(words[at + 1]) + popcount(words[at + 2])
}

/** Nothing refers to this block any more. */
export function freeBlock(words: Int32Array, at: number): void {
  free(words, at, BLOCK_HEAD + entries(words, at))
}

/** A block with a single child or value, or 0. */
export function single(
  words: Int32Array,
  children: number,
  full: number,
  part: number,
  word: number,
): number {
  const at = allocate(words, BLOCK_HEAD + 1)
  if (at === 0) return 0
  words[at] = children
  words[at + 1] = full
  words[at + 2] = part
  words[at + BLOCK_HEAD] = word
  return at
}

/** A copy with `word` put in as entry `n`, and these bits more; or 0. */
export function inserted(
  words: Int32Array,
  at: number,
  n: number,
  word: number,
  children: number,
  full: number,
  part: number,
): number {
  const count = entries(words, at)
  const to = allocate(words, BLOCK_HEAD + count + 1)
  if (to === 0) return 0
  words[to] = words[at] | children
  words[to + 1] = words[at + 1] | full
  words[to + 2] = words[at + 2] | part
  words.copyWithin(to + BLOCK_HEAD, at + BLOCK_HEAD, at + BLOCK_HEAD + n)
  words[to + BLOCK_HEAD + n] = word
  words.copyWithin(to + BLOCK_HEAD + n + 1, at + BLOCK_HEAD + n, at + BLOCK_HEAD + count)
  return to
}

/**
 * A copy without entry `n` and these bits. When there is no room for a copy, the block itself: removing
 * must always be possible, and a reader may then, at worst, see the value next to the right one.
 */
export function erased(
  words: Int32Array,
  at: number,
  n: number,
  children: number,
  full: number,
  part: number,
): number {
  const count = entries(words, at)
  const copy = allocate(words, BLOCK_HEAD + count - 1)
  const to = copy === 0 ? at : copy
  // In place, an odd size gets a word smaller than it was made; that word is lost until the table is made anew.
  if (copy === 0) words[LpmState.Live] -= (BLOCK_HEAD + count) & 1 ? 2 : 0
  words[to] = words[at] & ~children
  words[to + 1] = words[at + 1] & ~full
  words[to + 2] = words[at + 2] & ~part
  if (to !== at) words.copyWithin(to + BLOCK_HEAD, at + BLOCK_HEAD, at + BLOCK_HEAD + n)
  words.copyWithin(to + BLOCK_HEAD + n, at + BLOCK_HEAD + n + 1, at + BLOCK_HEAD + count)
  return to
}
