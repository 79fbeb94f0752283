// HOT
/**
 * Longest-prefix match (RFC 1812 5.2.4.3): address -> value of the longest prefix that covers it, for
 * IPv4 and IPv6. The first 24 bits are one step into a table of 2^24 words, which mostly knows the answer
 * already (Gupta, Lin, McKeown: DIR-24-8, 1998). What is longer lies behind it in lists, as long as it is
 * little, and in nodes that take eight bits a step:
 *
 *     address   |---------------- 24 ----------------|---- 8 ----|---- 8 ----|-- ...
 *     root[ ]   a word                                 a word of a node, ...
 *
 *     a word     0: nothing but /0
 *                > 0: an answer, (length - 1) << 24 | value + 1
 *                < 0: minus the place of a block:
 *
 *     list   [0] entries | words of a key << 10 | half its size << 16   [1] the answer when none matches
 *            [2 ..] key, answer; the longer prefix before the shorter: the first that matches is it.
 *            A key is the prefix from the list's depth on
 *     node   [0] -1   [1] the answer of what it inherits   [2] blocks below   [3] the prefixes that end in
 *            it, in a list that only the writer reads, or 0   [4 ..] 256 words like this one
 *
 * Every word and every [1] holds the answer of all prefixes that are shorter, so a look-up never goes back:
 * it reads one word of the root, one of each node, and at most one list. A list becomes a node when it
 * is longer than LIST_WORDS; in the global tables that is one node, seldom two.
 *
 * One thread writes (lpm-writer.ts, lpm-long.ts), others read at any time. The writer never changes a block
 * that a reader may see, but for one word: it makes a new block and stores its place in the one word that
 * referred to the old. Old blocks are kept for QUARANTINE frees before they are used again, and a reader
 * that was interrupted for longer than that looks once more. So an answer is always one that was right at
 * some time during the call.
 *
 * Notes on performance (node 20, a virtual EPYC shared with other work; routes mixed and placed as in the global
 * tables; ns a look-up of 8,192 destinations in turn, and of so many that none is in a cache any more; best to
 * median; the trie of five bits a step that was here before measured in turn with this):
 *
 *     routes              trie        this        trie, cold    this, cold    load     memory beside the root
 *     100 000    IPv4     49-53       36-43       68-87         73-91         0.4 s
 *     1 000 000  IPv4     27-40       21-33       67-121        58-84         1.1 s    17 MiB
 *     100 000    IPv6     160-375     97-197      315-370       184-217       0.3 s
 *     1 000 000  IPv6     532-1034    90-156      759-813       237-374       1.3 s    21 MiB
 *
 * A read of a random place costs 120 to 160 ns there, page walk included, and few of them overlap: what counts is how
 * many places a look-up touches. IPv4 mostly has the root's; IPv6 three: root, node, list. Huge pages help by a
 * fifth (RouteWriter asks for them). So an IPv6 table that is too big for the caches remembers its last answers
 * (lpm-recent.ts) and is asked itself only for others: of 8,192 destinations 18-43 ns (best) and 21-59 (median) among
 * a million routes, 19 and 35 among 30 000 (62 and 91 without); of so many that nothing is remembered a tenth more.
 * Reading ahead for 64 addresses at once makes those 300 instead of 365: not worth its forty lines.
 */

import { RecentAnswers } from './lpm-recent.ts'

/** Words at the start of the memory. */
export const enum LpmState {
  Count = 0,
  /** Value of /0, or -1. */
  Default = 1,
  /** First block of the trie of prefixes up to /24 (the writer's), or 0. */
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
  /** Changes so far, modulo 2^32, and a step of two, so never 0. Told after each. */
  Changes = 8,
  /** Heads of the lists of free blocks, by half their size in words. */
  Lists = 16,
}

/** Frees a block waits before it is used again. A power of two. */
export const QUARANTINE = 4096
/** Place and half the size of each block that waits. */
export const RING = 1024
export const ROOT_BITS = 24
/** Words of the root that refer to blocks, counted by GROUP, so that listing need not read them all. */
export const GROUPS = RING + 2 * QUARANTINE
export const GROUP_SHIFT = 12
export const ROOT = GROUPS + (1 << (ROOT_BITS - GROUP_SHIFT))
export const HEAP = ROOT + (1 << ROOT_BITS)
/** An answer: the prefix's length - 1 above, its value + 1 below. */
export const LENGTH_SHIFT = 24
export const VALUE_MASK = (1 << LENGTH_SHIFT) - 1
export const MAX_VALUE = VALUE_MASK - 1

export const INHERITED = 1
/** Bits of a list's [0]. */
export const LIST_COUNT = 0x1ff
export const LIST_KEYS_SHIFT = 10
export const LIST_SIZE_SHIFT = 16
export const LIST_HEAD = 2
/** Longer lists become nodes: three cache lines. */
export const LIST_WORDS = 48
export const NODE = -1
export const NODE_HELD = 2
export const NODE_OWN = 3
export const NODE_HEAD = 4
export const NODE_BITS = 8
export const NODE_SIZE = NODE_HEAD + (1 << NODE_BITS)
/** Words of the largest block: a list of all 510 prefixes that can end in a node, and the room that lists get. */
export const MAX_BLOCK = 1024
/** Words in blocks: a smaller table is in the caches itself. */
const REMEMBER_FROM = 1 << 16

export class Lpm {
  readonly words: Int32Array
  /** Once a look-up wants it. Of IPv6 only: IPv4 mostly has its answer in the root. */
  private recent: RecentAnswers | null = null
  private readonly rememberFrom: number
  /** The last search had looked at all prefixes up to /64, and there were no longer ones to ask. */
  private forAll64 = false

  /**
   * @param memory from `Lpm.memory`; a table of another thread is adopted as it is
   * @param rememberFrom words in blocks, from which IPv6 answers are remembered
   */
  constructor(memory: SharedArrayBuffer, rememberFrom = REMEMBER_FROM) {
    this.words = new Int32Array(memory)
    this.rememberFrom = rememberFrom
  }

  /**
   * 64 MiB and the blocks, of which pages count when they are touched: an empty table has some twenty, a
   * prefix up to /24 paints its part of the root (4 bytes for each /24), /0 none.
   * @param width bits of an address: 32 or 128
   * @param limit most prefixes
   * @param heapBytes room for blocks, by default 96 bytes a prefix for IPv4 and 192 for IPv6, several
   *   times what the global tables need
   */
  static memory(
    width: 32 | 128,
    limit: number,
    heapBytes = (width === 32 ? 96 : 192) * limit + 65536,
  ): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(4 * (HEAP + Math.ceil(heapBytes / 4)))
    const words = new Int32Array(memory)
    words[LpmState.Default] = -1
    words[LpmState.Fresh] = HEAP
    words[LpmState.Limit] = limit
    words[LpmState.Width] = width
    words[LpmState.Changes] = 1
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
    const words = this.words
    if (words[LpmState.Live] >= this.rememberFrom) return this.remembered(addr0, addr1, addr2, addr3)
    const root = words[ROOT + (addr0 >>> 8)]
    return root > 0 ? (root & VALUE_MASK) - 1 : this.walk6(addr0, addr1, addr2, addr3)
  }

  private longer4(addr: number): number {
    const words = this.words
    for (;;) {
      const freed = words[LpmState.Freed]
      const value = this.search4(words[ROOT + (addr >>> 8)], addr)
      if (((words[LpmState.Freed] - freed) | 0) < QUARANTINE) return value
    }
  }

  private remembered(addr0: number, addr1: number, addr2: number, addr3: number): number {
    const { words } = this
    this.recent ??= new RecentAnswers()
    const { recent } = this
    if (!recent.worthAsking()) return this.walk6(addr0, addr1, addr2, addr3)
    const known = recent.find(addr0, addr1, words[LpmState.Changes])
    if (known >= 0) return recent.answer(known)
    // Before what is read below, also where the processor would rather not.
    const changes = Atomics.load(words, LpmState.Changes)
    const value = this.walk6(addr0, addr1, addr2, addr3)
    if (this.forAll64) recent.keep(addr0, addr1, changes, value)
    return value
  }

  private walk6(addr0: number, addr1: number, addr2: number, addr3: number): number {
    const words = this.words
    for (;;) {
      const freed = words[LpmState.Freed]
      const root = words[ROOT + (addr0 >>> 8)]
      let value = 0
      // Most often: one node, and a list of prefixes up to /64 behind it.
      const word = root < 0 && words[-root] === NODE ? words[NODE_HEAD - root + (addr0 & 255)] : 0
      const head = word < 0 ? words[-word] : 0
      if (((head >>> LIST_KEYS_SHIFT) & 7) === 1) {
        this.forAll64 = true
        value = this.listed(-word, head & LIST_COUNT, addr1, ROOT_BITS + NODE_BITS)
      } else value = this.search6(root, addr0, addr1, addr2, addr3)
      if (((words[LpmState.Freed] - freed) | 0) < QUARANTINE) return value
    }
  }

  // The loops below are bounded by themselves, not by what they read: a reader that was overtaken may
  // see anything.

  private search4(root: number, addr: number): number {
    const words = this.words
    if (root >= 0) return this.value(root)
    const at = -root
    const head = words[at]
    if (head === NODE) return this.value(words[at + NODE_HEAD + (addr & 255)])
    return this.listed(at, head & LIST_COUNT, addr << ROOT_BITS, ROOT_BITS)
  }

  private search6(root: number, addr0: number, addr1: number, addr2: number, addr3: number): number {
    const words = this.words
    this.forAll64 = true
    if (root >= 0) return this.value(root)
    let at = -root
    let depth = ROOT_BITS
    // The address from `depth` on.
    let rest0 = (addr0 << ROOT_BITS) | (addr1 >>> 8)
    let rest1 = (addr1 << ROOT_BITS) | (addr2 >>> 8)
    let rest2 = (addr2 << ROOT_BITS) | (addr3 >>> 8)
    let rest3 = addr3 << ROOT_BITS
    for (; depth < 128 && words[at] === NODE; depth += NODE_BITS) {
      const next = words[at + NODE_HEAD + (rest0 >>> 24)]
      this.forAll64 = depth + NODE_BITS <= 64
      if (next >= 0) return this.value(next)
      at = -next
      rest0 = (rest0 << NODE_BITS) | (rest1 >>> 24)
      rest1 = (rest1 << NODE_BITS) | (rest2 >>> 24)
      rest2 = (rest2 << NODE_BITS) | (rest3 >>> 24)
      rest3 <<= NODE_BITS
    }
    const head = words[at]
    const keys = (head >>> LIST_KEYS_SHIFT) & 7
    // The longest comes first.
    this.forAll64 = words[at + LIST_HEAD + keys] >>> LENGTH_SHIFT < 64
    if (keys === 1) return this.listed(at, head & LIST_COUNT, rest0, depth)
    const step = keys + 1
    const end = at + LIST_HEAD + step * (head & LIST_COUNT)
    for (let p = at + LIST_HEAD; p < end; p += step) {
      let same = Math.clz32(words[p] ^ rest0)
      if (same === 32) same += Math.clz32(words[p + 1] ^ rest1)
      if (same === 64 && keys === 4) same += Math.clz32(words[p + 2] ^ rest2)
      if (same === 96) same += Math.clz32(words[p + 3] ^ rest3)
      const answer = words[p + keys]
      if (same + depth > answer >>> LENGTH_SHIFT) return (answer & VALUE_MASK) - 1
    }
    return this.value(words[at + INHERITED])
  }

  /** The answer of a list whose keys are one word. */
  private listed(at: number, count: number, rest: number, depth: number): number {
    const words = this.words
    const end = at + LIST_HEAD + 2 * count
    for (let p = at + LIST_HEAD; p < end; p += 2) {
      const answer = words[p + 1]
      if (Math.clz32(words[p] ^ rest) + depth > answer >>> LENGTH_SHIFT) return (answer & VALUE_MASK) - 1
    }
    return this.value(words[at + INHERITED])
  }

  private value(answer: number): number {
    return answer === 0 ? this.words[LpmState.Default] : (answer & VALUE_MASK) - 1
  }
}
