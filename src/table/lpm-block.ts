/**
 * The blocks of a longest-prefix table (lpm.ts): making, freeing, and the copy that differs by one word.
 *
 *     fresh memory --> in use --> quarantine (a ring of the last QUARANTINE) --> list of its size --> in use
 *
 * Sizes are rounded up to two words; there is a list for each. When there is no fresh memory any more, a
 * larger free block is split, and at last the quarantine is emptied early. All state lies in the shared
 * memory, so that a writer can be replaced by another.
 */
import { BLOCK_HEAD, HEAP, LpmState, popcount, QUARANTINE, RING } from './lpm.ts'

/** Half the size of the largest block: head, 32 children, 62 values. */
const CLASSES = 49

/** Words in front of the values and children plus these. */
function sizeOf(words: Int32Array, at: number): number {
  return BLOCK_HEAD + popcount(words[at]) + popcount(words[at + 1]) + popcount(words[at + 2])
}

/** Children and values of a block. */
export function entries(words: Int32Array, at: number): number {
  return sizeOf(words, at) - BLOCK_HEAD
}

/** A place for a block of `size` words, or 0 when there is none. */
export function allocate(words: Int32Array, size: number): number {
  const wanted = (size + 1) >> 1
  let at = fromLists(words, wanted, wanted)
  if (at === 0) at = fromFresh(words, wanted)
  if (at === 0) at = fromLists(words, wanted + 1, wanted)
  if (at === 0) {
    // A reader that is looking right now sees QUARANTINE frees and looks again.
    for (let i = 0; i < QUARANTINE; i++) retire(words, 0)
    at = fromLists(words, wanted, wanted)
  }
  if (at !== 0) words[LpmState.Live] += wanted << 1
  return at
}

function fromFresh(words: Int32Array, wanted: number): number {
  const at = words[LpmState.Fresh]
  if (at + (wanted << 1) > words.length) return 0
  words[LpmState.Fresh] = at + (wanted << 1)
  return at
}

/** From the list of `first` or a larger size; what is left over goes back. */
function fromLists(words: Int32Array, first: number, wanted: number): number {
  for (let half = first; half <= CLASSES; half++) {
    const at = words[LpmState.Lists + half]
    if (at === 0) continue
    words[LpmState.Lists + half] = words[at]
    if (half > wanted) list(words, at + (wanted << 1), half - wanted)
    return at
  }
  return 0
}

function list(words: Int32Array, at: number, half: number): void {
  words[at] = words[LpmState.Lists + half]
  words[LpmState.Lists + half] = at
}

/** Puts `at` (0 = nothing) into the quarantine, and the block that was there longest into its list. */
function retire(words: Int32Array, at: number): void {
  const place = RING + (words[LpmState.Freed] & (QUARANTINE - 1))
  const oldest = words[place]
  words[place] = at
  Atomics.store(words, LpmState.Freed, (words[LpmState.Freed] + 1) | 0)
  if (oldest !== 0) list(words, oldest, (sizeOf(words, oldest) + 1) >> 1)
}

/** Nothing refers to this block any more. */
export function free(words: Int32Array, at: number): void {
  words[LpmState.Live] -= ((sizeOf(words, at) + 1) >> 1) << 1
  retire(words, at)
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

/** Bytes of blocks in use, and of memory that blocks ever touched. */
export function heapUse(words: Int32Array): { liveBytes: number; touchedBytes: number } {
  return { liveBytes: words[LpmState.Live] * 4, touchedBytes: (words[LpmState.Fresh] - HEAP) * 4 }
}
