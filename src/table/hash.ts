// HOT
/**
 * A bounded hash table over int32 words: two words of key, two of value, open addressing with linear
 * probing, at most half full. An entry is 16 bytes, so a look-up touches one cache line, usually.
 *
 *     words[4i] key0 | words[4i+1] key1, never 0: 0 marks a free place | words[4i+2..3] values
 *
 * Removal shifts back the entries behind (Knuth, TAOCP 6.4, algorithm R), so there are no tombstones
 * and the table never decays; positions are therefore only valid until the next insert or remove.
 * The hash is seeded: a sender who does not know the seed cannot aim at one place.
 *
 * One thread writes; others may read at any time and see, at worst, an entry that is just moving.
 */
export class HashTable {
  /** Places; a power of two. */
  readonly capacity: number
  /** Most entries: half the places. */
  readonly limit: number
  readonly words: Int32Array
  private readonly mask: number
  private readonly seed: number
  /** [entries] in shared memory, so that a reader knows too. */
  private readonly state: Int32Array

  /** @param memory made by `HashTable.memory(limit)`; a table of another thread is adopted as it is */
  constructor(memory: SharedArrayBuffer) {
    this.state = new Int32Array(memory, 0, 4)
    this.capacity = (memory.byteLength - 16) / 16
    this.limit = this.capacity >> 1
    this.mask = this.capacity - 1
    this.seed = this.state[1]
    this.words = new Int32Array(memory, 16)
  }

  /** @param limit entries, 1 to 2^26; rounded up to a power of two */
  static memory(limit: number, seed: number): SharedArrayBuffer {
    let capacity = 16
    while (capacity < 2 * limit) capacity *= 2
    const memory = new SharedArrayBuffer(16 + capacity * 16)
    new Int32Array(memory, 0, 4)[1] = seed
    return memory
  }

  get size(): number {
    return this.state[0]
  }

  /** Where the search for this key starts. */
  home(key0: number, key1: number): number {
    let h = Math.imul(key0 ^ this.seed, 0x9e3779b1) ^ Math.imul(key1, 0x85ebca6b)
    h ^= h >>> 15
    h = Math.imul(h, 0x2c1b3c6d)
    return (h ^ (h >>> 13)) & this.mask
  }

  /** Index into `words` of the entry, or -1. */
  find(key0: number, key1: number): number {
    const words = this.words
    const mask = this.mask
    let i = this.home(key0, key1)
    for (;;) {
      const at = i << 2
      const k1 = words[at + 1]
      if (k1 === 0) return -1
      if (k1 === key1 && words[at] === key0) return at
      i = (i + 1) & mask
    }
  }

  /** Adds an entry that is not there yet. Index into `words`, or -1 when the table is full. */
  insert(key0: number, key1: number, value0: number, value1: number): number {
    if (this.state[0] >= this.limit) return -1
    const words = this.words
    let i = this.home(key0, key1)
    while (words[(i << 2) + 1] !== 0) i = (i + 1) & this.mask
    const at = i << 2
    words[at] = key0
    words[at + 2] = value0
    words[at + 3] = value1
    words[at + 1] = key1
    this.state[0]++
    return at
  }

  /** Removes the entry at `at` (from `find`). The entry after it may move to `at`. */
  remove(at: number): void {
    const words = this.words
    const mask = this.mask
    let hole = at >> 2
    let i = hole
    for (;;) {
      i = (i + 1) & mask
      const from = i << 2
      if (words[from + 1] === 0) break
      const home = this.home(words[from], words[from + 1])
      // Leave it where the hole lies before its home, cyclically.
      if (((i - home) & mask) < ((i - hole) & mask)) continue
      const to = hole << 2
      words[to + 1] = words[from + 1]
      words[to] = words[from]
      words[to + 2] = words[from + 2]
      words[to + 3] = words[from + 3]
      hole = i
    }
    words[(hole << 2) + 1] = 0
    this.state[0]--
  }

  clear(): void {
    this.words.fill(0)
    this.state[0] = 0
  }
}
