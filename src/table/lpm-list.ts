/**
 * Lists a longest-prefix table (lpm.ts), from any thread, while its writer writes. What is returned of one
 * part of the table (the prefixes up to /24; those longer with the same first 24 bits) was there at one time;
 * other parts may be a little older or newer.
 */
import {
  GROUP_SHIFT,
  GROUPS,
  LENGTH_SHIFT,
  type Lpm,
  LpmState,
  NODE,
  NODE_BITS,
  NODE_HEAD,
  NODE_OWN,
  QUARANTINE,
  ROOT,
  ROOT_BITS,
  VALUE_MASK,
} from './lpm.ts'
import { endOf, keysOf } from './lpm-entries.ts'
import { BLOCK_HEAD, popcount } from './lpm-trie.ts'

export interface Prefix {
  /** The address in words of 32 bits; IPv4 has the first only. Bits behind `len` are 0. */
  addr: [number, number, number, number]
  len: number
  value: number
}

/** All prefixes: /0, then up to /24, then longer ones; among these shorter before longer in a block. */
export function* prefixes(table: Lpm): Generator<Prefix> {
  const words = table.words
  const fallback = words[LpmState.Default]
  if (fallback >= 0) yield { addr: [0, 0, 0, 0], len: 0, value: fallback }
  yield* part(words, LpmState.Short, 0, 0)
  for (let group = 0; group < 1 << (ROOT_BITS - GROUP_SHIFT); group++) {
    if (words[GROUPS + group] === 0) continue
    const first = group << GROUP_SHIFT
    for (let i = first; i < first + (1 << GROUP_SHIFT); i++) {
      if (words[ROOT + i] < 0) yield* part(words, ROOT + i, i << (32 - ROOT_BITS), ROOT_BITS)
    }
  }
}

/** The prefixes below one word, read again when the writer overtook. */
function part(words: Int32Array, slot: number, addr0: number, depth: number): Prefix[] {
  for (;;) {
    const freed = Atomics.load(words, LpmState.Freed)
    const found: Prefix[] = []
    if (depth === 0) collect(words, words[slot], [0, 0, 0, 0], 0, found, freed)
    else collectLong(words, words[slot], [addr0, 0, 0, 0], depth, found, freed)
    if (!overtaken(words, freed)) return found
  }
}

/** What was read since may be of blocks that are used again. */
function overtaken(words: Int32Array, freed: number): boolean {
  return ((Atomics.load(words, LpmState.Freed) - freed) | 0) >= QUARANTINE
}

function collect(
  words: Int32Array,
  at: number,
  addr: Prefix['addr'],
  depth: number,
  found: Prefix[],
  freed: number,
): void {
  if (at === 0 || depth >= ROOT_BITS || overtaken(words, freed)) return
  const values = at + BLOCK_HEAD + popcount(words[at])
  let n = 0
  for (let bits = 1; bits <= 5; bits++) {
    const set = bits < 5 ? words[at + 2] >>> ((1 << bits) - 2) : words[at + 1]
    for (let p = 0; p < 1 << bits; p++) {
      if (((set >>> p) & 1) === 0) continue
      found.push({ addr: withBits(addr, depth, bits, p), len: depth + bits, value: words[values + n++] })
    }
  }
  n = 0
  for (let p = 0; p < 32; p++) {
    if (((words[at] >>> p) & 1) === 0) continue
    collect(words, words[at + BLOCK_HEAD + n++], withBits(addr, depth, 5, p), depth + 5, found, freed)
  }
}

/** What is behind a word of the root or of a node. */
function collectLong(
  words: Int32Array,
  word: number,
  addr: Prefix['addr'],
  depth: number,
  found: Prefix[],
  freed: number,
): void {
  if (word >= 0 || depth >= words[LpmState.Width] || overtaken(words, freed)) return
  const at = -word
  if (words[at] !== NODE) {
    entriesOf(words, at, addr, depth, found)
    return
  }
  if (words[at + NODE_OWN] !== 0) entriesOf(words, words[at + NODE_OWN], addr, depth, found)
  for (let p = 0; p < 1 << NODE_BITS; p++) {
    const below = words[at + NODE_HEAD + p]
    collectLong(words, below, withBits(addr, depth, NODE_BITS, p), depth + NODE_BITS, found, freed)
  }
}

function entriesOf(
  words: Int32Array,
  list: number,
  addr: Prefix['addr'],
  depth: number,
  found: Prefix[],
): void {
  const keys = keysOf(words, list)
  for (let p = endOf(words, list) - keys - 1; p > list; p -= keys + 1) {
    const address: Prefix['addr'] = [...addr]
    for (let i = 0; i < keys && depth + 32 * i < 128; i++) putBits(address, depth + 32 * i, words[p + i])
    const answer = words[p + keys]
    const len = (answer >>> LENGTH_SHIFT) + 1
    found.push({ addr: address, len, value: (answer & VALUE_MASK) - 1 })
  }
}

/** Puts 32 bits into an address, from `depth` on; what does not fit is 0. */
function putBits(addr: Prefix['addr'], depth: number, bits: number): void {
  const word = depth >> 5
  const shift = depth & 31
  addr[word] |= bits >>> shift
  if (shift > 0 && word < 3) addr[word + 1] |= bits << (32 - shift)
}

/** The address with `count` bits put in at `depth`. */
function withBits(addr: Prefix['addr'], depth: number, count: number, bits: number): Prefix['addr'] {
  const result: Prefix['addr'] = [...addr]
  const word = depth >> 5
  const end = (depth & 31) + count
  if (end <= 32) result[word] |= bits << (32 - end)
  else {
    result[word] |= bits >>> (end - 32)
    if (word < 3) result[word + 1] |= bits << (64 - end)
  }
  return result
}
