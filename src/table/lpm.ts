// HOT
/**
 * Longest-prefix match (RFC 1812 5.2.4.3): address -> value of the longest prefix that covers it, for
 * IPv4 and IPv6. A trie that takes five bits a step, its nodes compressed by bitmaps (Eatherton, Varghese,
 * Dittia: "Tree Bitmap", 2004), behind a table of 2^24 words that takes the first 24 bits in one step and
 * mostly knows the answer already (Gupta, Lin, McKeown: DIR-24-8, 1998):
 *
 *     address   |---------------- 24 ----------------|--5--|--5--|-- ...
 *     root[ ]    0: nothing up to /24, ask /0          25-29 30-34 35-39 ...   prefixes that end here
 *                > 0: length << 26 | value + 1, of the longest prefix up to /24
 *                < 0: minus the first block of those that are longer
 *     short      the prefixes up to /24 in a trie of their own, from which root[ ] is filled
 *
 * A block is everything about one node, in one piece:
 *
 *     [0] bit i: there is a block below for the five bits i        [3 ..] one word per bit of [0]
 *     [1] bit i: a prefix ends behind the five bits i              then one value per bit of [2],
 *     [2] bit 2^n - 2 + p: a prefix ends behind n bits p, n < 5    then one value per bit of [1]
 *
 * The place of a word is the number of bits before its own. A look-up goes down as far as there are blocks
 * and remembers the last that had a match: which one is decided by the highest bit in [2], a longer prefix
 * having the higher bit. Only where longer prefixes exist and none matches, the short trie is asked.
 *
 * One thread writes (lpm-writer.ts), others read at any time. The writer never changes a block that a
 * reader may see, but for one word: it makes a new block and stores its place in the one word that
 * referred to the old. Old blocks are kept for QUARANTINE frees before they are used again, and a reader
 * that was interrupted for longer than that looks once more. So an answer is always one that was right at
 * some time during the call.
 *
 * Notes on performance (node 20, a virtual EPYC shared with other work, lengths mixed as in the global
 * tables, addresses inside random routes, ns of CPU a look-up, best to median of 25 runs):
 *
 *     routes     IPv4     IPv6       load IPv4, IPv6     memory IPv4, IPv6
 *     1 000      5-6      72-92      40, 10 ms           4, 1 MiB
 *     100 000    57-84    243-364    270, 80 ms          59, 4 MiB
 *     1 000 000  50-94    700-770    1.7, 1.3 s          56 of root + 16 of blocks, 36 MiB
 *
 * One read of a random place in 64 MiB takes 38 to 50 ns there, however much overlaps: that is what IPv4
 * pays, and what the first 24 bits in one step are for (behind 2^20 words the same trie took 230 to 300).
 * IPv6 pays it once for each of the last three or four blocks; addresses that no long route covers take
 * 20 ns. Going down with 64 addresses in step gained a quarter at most. What would help: all routes of one
 * /32 in one piece, as long as they are few.
 *
 * What it does not like: random /128, of which each has up to 21 blocks to itself, some 350 bytes; give
 * `heapBytes` for a table full of them.
 */

/** Words at the start of the memory. */
export const enum LpmState {
  Count = 0,
  /** Value of /0, or -1. */
  Default = 1,
  /** First block of the short trie, or 0. */
  Short = 2,
  /** Blocks freed so far, modulo 2^32. */
  Freed = 3,
  /** First word never used. */
  Fresh = 4,
  /** Most prefixes. */
  Limit = 5,
  /** 32 or 128. */
  Width = 6,
  /** Words in blocks that are in use. */
  Live = 7,
  /** Heads of the lists of free blocks, by half their size in words. */
  Lists = 16,
}

/** Frees a block waits before it is used again. A power of two. */
export const QUARANTINE = 4096
export const RING = 128
export const ROOT_BITS = 24
/** Words of the root that refer to blocks, counted by GROUP, so that listing need not read them all. */
export const GROUPS = RING + QUARANTINE
export const GROUP_SHIFT = 12
export const ROOT = GROUPS + (1 << (ROOT_BITS - GROUP_SHIFT))
export const HEAP = ROOT + (1 << ROOT_BITS)
/** A word of the root that is an answer: the prefix's length above, its value + 1 below. */
export const LENGTH_SHIFT = 26
export const VALUE_MASK = (1 << LENGTH_SHIFT) - 1
export const MAX_VALUE = VALUE_MASK - 1
/** Words of a block in front of its children. */
export const BLOCK_HEAD = 3

/** The bits of a block's [2] that can match, by the first four bits: those of lengths 1, 2, 3, 4. */
const SHORTER = new Int32Array(16)
for (let p = 0; p < 16; p++) SHORTER[p] = (1 << (p >> 3)) | (4 << (p >> 2)) | (64 << (p >> 1)) | (0x4000 << p)

/** Bits set. */
export function popcount(x: number): number {
  x -= (x >>> 1) & 0x55555555
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333)
  x = (x + (x >>> 4)) & 0x0f0f0f0f
  return Math.imul(x, 0x01010101) >>> 24
}

/** Not 0 when a prefix of this block covers the five bits `i`. */
function matches(words: Int32Array, at: number, i: number): number {
  return ((words[at + 1] >>> i) & 1) | (words[at + 2] & SHORTER[i >> 1])
}

/** The block below for the five bits `i`, or 0. */
function below(words: Int32Array, at: number, i: number): number {
  const children = words[at]
  if (((children >>> i) & 1) === 0) return 0
  return words[at + BLOCK_HEAD + popcount(children & ((1 << i) - 1))]
}

/** Value of the longest prefix of this block that covers the five bits `i`; needs `matches`. */
function valueIn(words: Int32Array, at: number, i: number): number {
  const full = words[at + 1]
  const part = words[at + 2]
  const values = at + BLOCK_HEAD + popcount(words[at])
  if (((full >>> i) & 1) !== 0) return words[values + popcount(part) + popcount(full & ((1 << i) - 1))]
  const longest = 31 - Math.clz32(part & SHORTER[i >> 1])
  return words[values + popcount(part & ((1 << longest) - 1))]
}

export class Lpm {
  readonly words: Int32Array

  /** @param memory from `Lpm.memory`; a table of another thread is adopted as it is */
  constructor(memory: SharedArrayBuffer) {
    this.words = new Int32Array(memory)
  }

  /**
   * 64 MiB and the blocks, of which pages count when they are touched: an empty table has some twenty, a
   * prefix up to /24 paints its part of the root (4 bytes for each /24), /0 none.
   * @param width bits of an address: 32 or 128
   * @param limit most prefixes
   * @param heapBytes room for blocks, by default 64 bytes a prefix for IPv4 and 128 for IPv6, which is
   *   some four times what the global tables need
   */
  static memory(
    width: 32 | 128,
    limit: number,
    heapBytes = (width === 32 ? 64 : 128) * limit + 65536,
  ): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(4 * (HEAP + Math.ceil(heapBytes / 4)))
    const words = new Int32Array(memory)
    words[LpmState.Default] = -1
    words[LpmState.Fresh] = HEAP
    words[LpmState.Limit] = limit
    words[LpmState.Width] = width
    return memory
  }

  /** Prefixes in the table. */
  get size(): number {
    return this.words[LpmState.Count]
  }

  /** Value of the longest prefix that covers an IPv4 address, or -1. */
  lookup4(addr: number): number {
    const root = this.words[ROOT + (addr >>> 8)]
    return root > 0 ? (root & VALUE_MASK) - 1 : this.longer4(addr)
  }

  /** Value of the longest prefix that covers an IPv6 address, in four words, or -1. */
  lookup6(addr0: number, addr1: number, addr2: number, addr3: number): number {
    const root = this.words[ROOT + (addr0 >>> 8)]
    return root > 0 ? (root & VALUE_MASK) - 1 : this.longer6(addr0, addr1, addr2, addr3)
  }

  private longer4(addr: number): number {
    const words = this.words
    for (;;) {
      const freed = words[LpmState.Freed]
      const value = this.search4(words[ROOT + (addr >>> 8)], addr)
      if (((words[LpmState.Freed] - freed) | 0) < QUARANTINE) return value
    }
  }

  private longer6(addr0: number, addr1: number, addr2: number, addr3: number): number {
    const words = this.words
    for (;;) {
      const freed = words[LpmState.Freed]
      const value = this.search6(words[ROOT + (addr0 >>> 8)], addr0, addr1, addr2, addr3)
      if (((words[LpmState.Freed] - freed) | 0) < QUARANTINE) return value
    }
  }

  // The loops below are bounded by themselves, not by what they read: a reader that was overtaken may
  // see anything.

  private search4(root: number, addr: number): number {
    const words = this.words
    if (root >= 0) return root === 0 ? words[LpmState.Default] : (root & VALUE_MASK) - 1
    const block = -root
    const first = (addr >>> 3) & 31
    const last = (addr << 2) & 31
    const second = below(words, block, first)
    if (second !== 0 && matches(words, second, last) !== 0) return valueIn(words, second, last)
    if (matches(words, block, first) !== 0) return valueIn(words, block, first)
    return this.searchShort(addr)
  }

  private search6(root: number, addr0: number, addr1: number, addr2: number, addr3: number): number {
    const words = this.words
    if (root >= 0) return root === 0 ? words[LpmState.Default] : (root & VALUE_MASK) - 1
    let at = -root
    let rest = (addr0 << 24) | (addr1 >>> 8)
    let hit = 0
    let hitBits = 0
    for (let step = 1; at !== 0; step++) {
      const i = rest >>> 27
      if (matches(words, at, i) !== 0) {
        hit = at
        hitBits = i
      }
      at = below(words, at, i)
      rest <<= 5
      // Six steps use up thirty bits; then the next are fetched. The last block is at depth 124.
      if (step === 6) rest = (addr1 << 22) | (addr2 >>> 10)
      else if (step === 12) rest = (addr2 << 20) | (addr3 >>> 12)
      else if (step === 18) rest = addr3 << 18
      else if (step === 21) break
    }
    return hit !== 0 ? valueIn(words, hit, hitBits) : this.searchShort(addr0)
  }

  private searchShort(addr0: number): number {
    const words = this.words
    let at = words[LpmState.Short]
    let rest = addr0
    let hit = 0
    let hitBits = 0
    for (let step = 0; step < 5 && at !== 0; step++) {
      const i = rest >>> 27
      if (matches(words, at, i) !== 0) {
        hit = at
        hitBits = i
      }
      at = below(words, at, i)
      rest <<= 5
    }
    return hit !== 0 ? valueIn(words, hit, hitBits) : words[LpmState.Default]
  }
}
