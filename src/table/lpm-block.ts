/**
 * The blocks of a longest-prefix table (lpm.ts): making, freeing, and the copy that differs by one word.
 *
 *     fresh memory --> in use --> quarantine (a ring of the last QUARANTINE) --> list of its size --> in use
 *
 * Sizes are rounded up to two words; there is a list for each. When there is no fresh memory any more, a
 * larger free block is split, and at last the quarantine is emptied early. All state lies in the shared
 * memory, so that a writer can be replaced by another.
 */
import { HEAP, LpmState, MAX_BLOCK, QUARANTINE, RING } from './lpm.ts'

/** Half the size of the largest block. */
const CLASSES = MAX_BLOCK >> 1

/** A place for a block of `size` words, or 0 when there is none. */
export function allocate(words: Int32Array, size: number): number {
  const wanted = (size + 1) >> 1
  let at = fromLists(words, wanted, wanted)
  if (at === 0) at = fromFresh(words, wanted)
  if (at === 0) at = fromLists(words, wanted + 1, wanted)
  if (at === 0) {
    // A reader that is looking right now sees QUARANTINE frees and looks again.
    for (let i = 0; i < QUARANTINE; i++) retire(words, 0, 0)
    at = fromLists(words, wanted, wanted)
    if (at === 0) at = fromLists(words, wanted + 1, wanted)
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
function retire(words: Int32Array, at: number, half: number): void {
  const place = RING + ((words[LpmState.Freed] & (QUARANTINE - 1)) << 1)
  const oldest = words[place]
  const oldHalf = words[place + 1]
  words[place] = at
  words[place + 1] = half
  Atomics.store(words, LpmState.Freed, (words[LpmState.Freed] + 1) | 0)
  if (oldest !== 0) list(words, oldest, oldHalf)
}

/** Nothing refers to this block of `size` words any more. */
export function free(words: Int32Array, at: number, size: number): void {
  const half = (size + 1) >> 1
  words[LpmState.Live] -= half << 1
  retire(words, at, half)
}

/** Bytes of blocks in use, and of memory that blocks ever touched. */
export function heapUse(words: Int32Array): { liveBytes: number; touchedBytes: number } {
  return { liveBytes: words[LpmState.Live] * 4, touchedBytes: (words[LpmState.Fresh] - HEAP) * 4 }
}

/** @throws RangeError when there may be no further prefix */
export function needCount(words: Int32Array): void {
  const count = words[LpmState.Count]
  if (count >= words[LpmState.Limit])
    throw new RangeError(`the table is full: it has its limit of ${count} prefixes`)
}

/** What is thrown when `allocate` had nothing. */
export function tableFull(words: Int32Array): RangeError {
  const count = words[LpmState.Count]
  return new RangeError(`the table is full: no memory for another prefix beside its ${count}`)
}
