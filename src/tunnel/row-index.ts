// HOT
/**
 * Finds rows of a table by their first five words (a word that is never 0 in a row in use, and an address):
 * open addressing over row numbers, at most half full, with a seeded hash. The rows lie in shared memory and
 * say themselves whether they are in use; this index is the worker's own and is built anew from them by the
 * next worker. Removal shifts back, as in table/hash.ts.
 *
 *     hash --> places[hash & mask]:  | tag (upper bits of the hash) | row + 1 |     0 = free
 *
 * The tag keeps a look-up from reading rows of others, each of which is a cache miss in a big table.
 */
export class RowIndex {
  readonly words: Int32Array
  /** Most rows. */
  readonly rows: number
  size = 0
  /** Keeps the loads of `guess` from being optimised away. */
  fetched = 0
  private readonly shift: number
  private readonly places: Int32Array
  private readonly mask: number
  /** The bits of a place that say the row. */
  private readonly rowMask: number
  private readonly seed: number
  /** Free rows: a stack, lowest number on top. */
  private readonly free: Int32Array

  /** @param shift a row has 1 << shift words, at least 8 */
  constructor(words: Int32Array, shift: number, seed: number) {
    this.words = words
    this.shift = shift
    this.seed = seed
    this.rows = words.length >> shift
    let capacity = 16
    while (capacity < 2 * this.rows) capacity *= 2
    this.places = new Int32Array(capacity)
    this.mask = capacity - 1
    this.rowMask = capacity - 1
    this.free = new Int32Array(this.rows)
    let free = 0
    for (let row = this.rows - 1; row >= 0; row--) {
      if (words[row << shift] === 0) this.free[free++] = row
      else this.enter(row)
    }
    this.size = this.rows - free
  }

  hash(k: number, a0: number, a1: number, a2: number, a3: number): number {
    let h = Math.imul(k ^ this.seed, 0x9e3779b1) ^ Math.imul(a0, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) ^ a1
    h = Math.imul(h ^ (h >>> 13), 0x297a2d39) ^ a2
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) ^ a3
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
    return h ^ (h >>> 14)
  }

  /** The row with this key, or -1. */
  find(k: number, a0: number, a1: number, a2: number, a3: number): number {
    const { words, places, mask, rowMask, shift } = this
    const h = this.hash(k, a0, a1, a2, a3)
    for (let i = h & mask; ; i = (i + 1) & mask) {
      const place = places[i]
      if (place === 0) return -1
      if (((place ^ h) & ~rowMask) !== 0) continue
      const row = (place & rowMask) - 1
      const at = row << shift
      if (
        words[at] === k &&
        words[at + 1] === a0 &&
        words[at + 2] === a1 &&
        words[at + 3] === a2 &&
        words[at + 4] === a3
      )
        return row
    }
  }

  /** Turns `n` hashes into the rows that most likely are theirs; -1 = none. The loads of one loop overlap. */
  guess(hashes: Int32Array, n: number): void {
    const { places, mask, rowMask } = this
    let sum = 0
    for (let i = 0; i < n; i++) sum ^= places[hashes[i] & mask]
    this.fetched = sum
    for (let i = 0; i < n; i++) {
      const h = hashes[i]
      let place = places[h & mask]
      for (let at = h + 1; place !== 0 && ((place ^ h) & ~rowMask) !== 0; at++) place = places[at & mask]
      hashes[i] = (place & rowMask) - 1
    }
  }

  /** A row for this key, which is not there yet; its other words are what they were. -1 = the table is full. */
  add(k: number, a0: number, a1: number, a2: number, a3: number): number {
    if (this.size === this.rows) return -1
    const { words, shift } = this
    this.size++
    const row = this.free[this.rows - this.size]
    const at = row << shift
    words[at + 1] = a0
    words[at + 2] = a1
    words[at + 3] = a2
    words[at + 4] = a3
    // Last: who reads along sees a row that is complete.
    words[at] = k
    this.enter(row)
    return row
  }

  /** The hash of a row's key. */
  private home(row: number): number {
    const at = row << this.shift
    const words = this.words
    return this.hash(words[at], words[at + 1], words[at + 2], words[at + 3], words[at + 4])
  }

  private enter(row: number): void {
    const h = this.home(row)
    let i = h & this.mask
    while (this.places[i] !== 0) i = (i + 1) & this.mask
    this.places[i] = (h & ~this.rowMask) | (row + 1)
  }

  remove(row: number): void {
    const { places, mask, rowMask } = this
    let hole = this.home(row) & mask
    while ((places[hole] & rowMask) !== row + 1) hole = (hole + 1) & mask
    let i = hole
    for (;;) {
      i = (i + 1) & mask
      const other = places[i]
      if (other === 0) break
      const home = this.home((other & rowMask) - 1) & mask
      if (((i - home) & mask) < ((i - hole) & mask)) continue
      places[hole] = other
      hole = i
    }
    places[hole] = 0
    this.words[row << this.shift] = 0
    this.free[this.rows - this.size] = row
    this.size--
  }
}
