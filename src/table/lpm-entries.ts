/**
 * Lists of prefixes in a longest-prefix table (lpm.ts): entries of some key words and an answer, the longer
 * prefix before the shorter. A key begins with the bit at which the list does, its depth; behind the prefix
 * it is 0. All keys of a list are as long as the longest needs: 1, 2 or 4 words.
 *
 * A list that readers may see is copied, not changed, but for single answers.
 */
import {
  INHERITED,
  LENGTH_SHIFT,
  LIST_COUNT,
  LIST_HEAD,
  LIST_KEYS_SHIFT,
  LIST_SIZE_SHIFT,
  LIST_WORDS,
  NODE_BITS,
} from './lpm.ts'
import { allocate } from './lpm-block.ts'

/** Words of each key. */
export function keysOf(words: Int32Array, list: number): number {
  return (words[list] >>> LIST_KEYS_SHIFT) & 7
}

export function countOf(words: Int32Array, list: number): number {
  return words[list] & LIST_COUNT
}

/** The end of its last entry. */
export function endOf(words: Int32Array, list: number): number {
  return list + LIST_HEAD + countOf(words, list) * (keysOf(words, list) + 1)
}

/** Bits of the longest key, made a number of words. */
export function keysFor(bits: number): number {
  return bits <= 32 ? 1 : bits <= 64 ? 2 : 4
}

/** Place of the answer for exactly this prefix, or 0. */
export function find(words: Int32Array, list: number, key: Int32Array, len: number): number {
  const keys = keysOf(words, list)
  const end = endOf(words, list)
  for (let p = list + LIST_HEAD; p < end; p += keys + 1) {
    if (words[p + keys] >>> LENGTH_SHIFT !== len - 1) continue
    let i = 0
    while (i < keys && words[p + i] === key[i]) i++
    if (i === keys) return p + keys
  }
  return 0
}

/** A new list with one entry; or 0. */
export function single(
  words: Int32Array,
  inherited: number,
  key: Int32Array,
  keys: number,
  answer: number,
): number {
  const at = make(words, 1, keys, inherited)
  if (at === 0) return 0
  for (let i = 0; i < keys; i++) words[at + LIST_HEAD + i] = key[i]
  words[at + LIST_HEAD + keys] = answer
  return at
}

/** A copy with one entry more, whose key needs `needed` words; or 0. */
export function added(
  words: Int32Array,
  list: number,
  key: Int32Array,
  needed: number,
  answer: number,
): number {
  const before = keysOf(words, list)
  const keys = Math.max(before, needed)
  const count = countOf(words, list)
  const at = make(words, count + 1, keys, words[list + INHERITED])
  if (at === 0) return 0
  const len = answer >>> LENGTH_SHIFT
  let to = at + LIST_HEAD
  let from = list + LIST_HEAD
  let n = 0
  for (; n < count && words[from + before] >>> LENGTH_SHIFT > len; n++, from += before + 1)
    to = copy(words, from, before, to, keys)
  for (let i = 0; i < keys; i++) words[to + i] = key[i]
  words[to + keys] = answer
  to += keys + 1
  for (; n < count; n++, from += before + 1) to = copy(words, from, before, to, keys)
  return at
}

/**
 * A copy without the entry whose answer is at `gone`. When there is no room for a copy, the list itself:
 * removing must always be possible, and a reader may then, at worst, see the entry next to the right one.
 */
export function removed(words: Int32Array, list: number, gone: number): number {
  const keys = keysOf(words, list)
  const end = endOf(words, list)
  const entry = gone - keys
  const at = make(words, countOf(words, list) - 1, keys, words[list + INHERITED])
  if (at === 0) {
    words.copyWithin(entry, gone + 1, end)
    words[list]--
    return list
  }
  words.copyWithin(at + LIST_HEAD, list + LIST_HEAD, entry)
  words.copyWithin(at + entry - list, gone + 1, end)
  return at
}

/**
 * Of the entries of a list at `depth`, made a node: the `count` that go on with this byte, as a list a node deeper;
 * byte -1: those that end there, as they are. 0 = no room.
 */
export function part(
  words: Int32Array,
  list: number,
  depth: number,
  byte: number,
  count: number,
  inherited: number,
): number {
  const before = keysOf(words, list)
  const end = endOf(words, list)
  const wanted = (p: number): boolean =>
    isBehind(words, p, before, depth) ? words[p] >>> 24 === byte : byte === -1
  const shift = byte === -1 ? 0 : NODE_BITS
  let longest = 0
  for (let p = list + LIST_HEAD; p < end; p += before + 1)
    if (wanted(p)) longest = Math.max(longest, (words[p + before] >>> LENGTH_SHIFT) + 1)
  const keys = keysFor(longest - depth - shift)
  const at = make(words, count, keys, inherited)
  if (at === 0) return 0
  let to = at + LIST_HEAD
  for (let p = list + LIST_HEAD; p < end; p += before + 1) {
    if (!wanted(p)) continue
    for (let i = 0; i < keys; i++) {
      const next = i + 1 < before && shift > 0 ? words[p + i + 1] >>> (32 - shift) : 0
      words[to + i] = (words[p + i] << shift) | next
    }
    words[to + keys] = words[p + before]
    to += keys + 1
  }
  return at
}

/** The entry's prefix does not end in a node at `depth`. */
export function isBehind(words: Int32Array, entry: number, keys: number, depth: number): boolean {
  return words[entry + keys] >>> LENGTH_SHIFT >= depth + NODE_BITS
}

/** Words that `free` needs. */
export function sizeOf(words: Int32Array, list: number): number {
  return (words[list] >>> LIST_SIZE_SHIFT) << 1
}

function make(words: Int32Array, count: number, keys: number, inherited: number): number {
  let size = LIST_HEAD + count * (keys + 1)
  // Few sizes, so that a list which grows finds the places of others that did.
  if (size > LIST_WORDS) size = 1 << (32 - Math.clz32(size - 1))
  const at = allocate(words, size)
  if (at === 0) return 0
  words[at] = count | (keys << LIST_KEYS_SHIFT) | (((size + 1) >> 1) << LIST_SIZE_SHIFT)
  words[at + INHERITED] = inherited
  return at
}

/** Copies an entry, its key made longer. Returns the place behind it. */
function copy(words: Int32Array, from: number, before: number, to: number, keys: number): number {
  for (let i = 0; i < keys; i++) words[to + i] = i < before ? words[from + i] : 0
  words[to + keys] = words[from + before]
  return to + keys + 1
}
