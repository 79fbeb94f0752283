// HOT
/**
 * The table of entries: from a tuple to the entry and direction it belongs to.
 *
 *     tuple --hash--> index[place]:  | tag  (hash's upper bits) | entry << 1 | direction |   0 = free
 *
 * The index is open addressing with linear probing over one-word places, at most 0.6 full: 16 of them in a
 * cache line, so a look-up reads one line of the index; the tag (11 bits with a million entries) keeps it
 * from reading entries that are not the one, so it reads one entry. Removal shifts back (Knuth, TAOCP 6.4,
 * algorithm R): no tombstones, the table does not decay.
 *
 * The hash multiplies every word by a secret: who does not know the seeds cannot aim at one place.
 *
 * A confirmed entry is in the index twice, an unconfirmed one not at all: nobody finds it.
 */
import { Guesses } from './guess.ts'
import {
  type ConntrackMemory,
  Dir,
  ENT_SHIFT,
  Ent,
  EXT_TUPLE_WORDS,
  EXT_WORDS,
  Header,
  Status,
  TUPLE_WORDS,
  V6,
} from './layout.ts'
import { T } from './tuple.ts'

export class EntryTable {
  readonly memory: ConntrackMemory
  readonly words: Int32Array
  readonly ext: Int32Array
  /** Doubles over `words`: `counters[(entry << 4) + 12 ..]`. */
  readonly counters: Float64Array
  readonly due: Int32Array
  readonly header: Int32Array
  readonly index: Int32Array
  private readonly mask: number
  private readonly nodeMask: number
  private readonly seeds: Int32Array
  private readonly k0: number
  private readonly k1: number
  private readonly k2: number
  private readonly k3: number
  private readonly k4: number
  private readonly guesses: Guesses
  private readonly scratch = new Int32Array(T.Words)

  /** @param memory new, or that of a worker before */
  constructor(memory: ConntrackMemory) {
    this.memory = memory
    const { entries } = memory
    this.words = entries
    this.ext = memory.ext
    this.due = memory.due
    this.header = memory.header
    this.index = memory.index
    this.counters = new Float64Array(entries.buffer, entries.byteOffset, entries.length >> 1)
    this.mask = memory.index.length - 1
    let nodes = 4
    while (nodes < 2 * memory.due.length) nodes *= 2
    this.nodeMask = nodes - 1
    this.guesses = new Guesses(this.index, this.nodeMask)
    const k = memory.header.subarray(Header.Seeds, Header.Words)
    this.seeds = k
    this.k0 = k[0]
    this.k1 = k[1] | 1
    this.k2 = k[2] | 1
    this.k3 = k[3] | 1
    this.k4 = k[4] | 1
  }

  get count(): number {
    return this.header[Header.Count]
  }

  hash(t: Int32Array): number {
    let h = Math.imul(t[T.Src] ^ this.k0, this.k1)
    h = Math.imul(h ^ (h >>> 15) ^ t[T.Dst], this.k2)
    h = Math.imul(h ^ (h >>> 15) ^ t[T.Ports], this.k3)
    const key = t[T.Key]
    h = Math.imul(h ^ (h >>> 15) ^ key, this.k4)
    if ((key & V6) !== 0) h = this.hash6(t, h)
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    return h ^ (h >>> 13)
  }

  private hash6(t: Int32Array, h: number): number {
    const k = this.seeds
    for (let i = 1; i < 4; i++) {
      h = Math.imul(h ^ (h >>> 15) ^ t[T.Src + i], k[4 + i] | 1)
      h = Math.imul(h ^ (h >>> 15) ^ t[T.Dst + i], k[7 + i] | 1)
    }
    return h
  }

  /** entry << 1 | direction of this tuple, whose hash is `h`; -1 = there is none. */
  find(t: Int32Array, h: number): number {
    const { index, mask, nodeMask } = this
    for (let i = h & mask; ; i = (i + 1) & mask) {
      const place = index[i]
      if (place === 0) return -1
      if (((place ^ h) & ~nodeMask) === 0 && this.has(place & nodeMask, t)) return place & nodeMask
    }
  }

  /** The tuple of this entry and direction is `t`. */
  has(node: number, t: Int32Array): boolean {
    const words = this.words
    const e = (node >> 1) << ENT_SHIFT
    const at = e + (node & 1) * TUPLE_WORDS
    if (words[at] !== t[T.Src] || words[at + 1] !== t[T.Dst] || words[at + 2] !== t[T.Ports]) return false
    if (this.key(e, node & 1) !== t[T.Key]) return false
    return (t[T.Key] & V6) === 0 || this.hasExt(node, t)
  }

  private hasExt(node: number, t: Int32Array): boolean {
    const ext = this.ext
    const at = (node >> 1) * EXT_WORDS + (node & 1) * EXT_TUPLE_WORDS
    return (
      ext[at] === t[T.Src + 1] &&
      ext[at + 1] === t[T.Src + 2] &&
      ext[at + 2] === t[T.Src + 3] &&
      ext[at + 3] === t[T.Dst + 1] &&
      ext[at + 4] === t[T.Dst + 2] &&
      ext[at + 5] === t[T.Dst + 3]
    )
  }

  /** The key of one direction's tuple: a zone may count in one only. */
  key(e: number, dir: number): number {
    const key = this.words[e + Ent.Key]
    return ((this.words[e + Ent.Status] >> (Status.ZoneShift + dir)) & 1) !== 0 ? key : key & 0xffff
  }

  /** Reads the tuple of an entry and direction. */
  load(node: number, t: Int32Array): void {
    const words = this.words
    const e = (node >> 1) << ENT_SHIFT
    const at = e + (node & 1) * TUPLE_WORDS
    t[T.Src] = words[at]
    t[T.Dst] = words[at + 1]
    t[T.Ports] = words[at + 2]
    t[T.Key] = this.key(e, node & 1)
    if ((t[T.Key] & V6) === 0) return
    const ext = this.ext
    const more = (node >> 1) * EXT_WORDS + (node & 1) * EXT_TUPLE_WORDS
    for (let i = 0; i < 3; i++) {
      t[T.Src + 1 + i] = ext[more + i]
      t[T.Dst + 1 + i] = ext[more + 3 + i]
    }
  }

  /** Writes the tuple of an entry and direction that is not in the index. */
  store(node: number, t: Int32Array): void {
    const words = this.words
    const at = ((node >> 1) << ENT_SHIFT) + (node & 1) * TUPLE_WORDS
    words[at] = t[T.Src]
    words[at + 1] = t[T.Dst]
    words[at + 2] = t[T.Ports]
    if ((t[T.Key] & V6) === 0) return
    const ext = this.ext
    const more = (node >> 1) * EXT_WORDS + (node & 1) * EXT_TUPLE_WORDS
    for (let i = 0; i < 3; i++) {
      ext[more + i] = t[T.Src + 1 + i]
      ext[more + 3 + i] = t[T.Dst + 1 + i]
    }
  }

  /** A zeroed entry that nobody finds; 0 = all are taken. */
  take(dueMs: number): number {
    const { header, words } = this
    let entry = header[Header.Free]
    if (entry !== 0) header[Header.Free] = words[entry << ENT_SHIFT]
    else if (header[Header.High] < header[Header.Capacity]) entry = ++header[Header.High]
    else return 0
    const e = entry << ENT_SHIFT
    for (let i = 0; i < Ent.Words; i++) words[e + i] = 0
    words[e + Ent.Status] = Status.Live
    words[e + Ent.ExpiresMs] = dueMs
    this.due[entry] = dueMs | 0 || 1
    header[Header.Count]++
    return entry
  }

  /** Gives the place back. The entry must not be in the index. */
  release(entry: number): void {
    const { header, words } = this
    const e = entry << ENT_SHIFT
    words[e + Ent.Status] = 0
    words[e] = header[Header.Free]
    this.due[entry] = 0
    header[Header.Free] = entry
    header[Header.Count]--
  }

  /** Makes both tuples findable. They must not be there. */
  link(entry: number): void {
    const t = this.scratch
    for (let node = entry << 1; node <= ((entry << 1) | Dir.Reply); node++) {
      this.load(node, t)
      const h = this.hash(t)
      let i = h & this.mask
      while (this.index[i] !== 0) i = (i + 1) & this.mask
      this.index[i] = (h & ~this.nodeMask) | node
    }
  }

  unlink(entry: number): void {
    this.remove(entry << 1)
    this.remove((entry << 1) | Dir.Reply)
  }

  private remove(node: number): void {
    const { index, mask, nodeMask, scratch } = this
    this.load(node, scratch)
    const h = this.hash(scratch)
    this.guesses.forget(h, node)
    let hole = h & mask
    while ((index[hole] & nodeMask) !== node) {
      if (index[hole] === 0) return
      hole = (hole + 1) & mask
    }
    for (let i = (hole + 1) & mask; index[i] !== 0; i = (i + 1) & mask) {
      this.load(index[i] & nodeMask, scratch)
      const home = this.hash(scratch) & mask
      // Leave it where the hole lies before its home, cyclically.
      if (((i - home) & mask) < ((i - hole) & mask)) continue
      index[hole] = index[i]
      hole = i
    }
    index[hole] = 0
  }

  /** The node at the `step`th place from a hash's home, or -1: where a search for victims looks. */
  neighbour(h: number, step: number): number {
    const place = this.index[(h + step) & this.mask]
    return place === 0 ? -1 : place & this.nodeMask
  }

  /** Turns `n` hashes into the nodes that most likely are theirs (guess.ts), and reads their entries. */
  guess(hashes: Int32Array, n: number): number {
    const { words } = this
    let sum = this.guesses.guess(hashes, n)
    // The first line says whose it is; the second is read where that is sure (Conntrack.settled).
    for (let i = 0; i < n; i++) sum ^= words[(hashes[i] >> 1) << ENT_SHIFT]
    return sum
  }

  /** A node that `guess` gave is that of `t`, and can be found. */
  guessed(node: number, t: Int32Array): boolean {
    if (node < 2 || !this.has(node, t)) return false
    return (this.words[((node >> 1) << ENT_SHIFT) + Ent.Status] & Status.Confirmed) !== 0
  }
}
