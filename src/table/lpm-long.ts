/**
 * Writes the part of a longest-prefix table (lpm.ts) that is longer than /24: lists (lpm-entries.ts) and nodes.
 *
 *     add      go down to the node the prefix ends in, or to a list: the node gets it and paints its words;
 *              the list is copied with one entry more, and made a node if it is too long then
 *     remove   the same back. What became empty goes, and the word that referred to it gets the answer
 *              that it had inherited
 *     inherit  a shorter prefix came or went: its answer goes to all that no longer one covers
 *
 * A list whose prefixes mostly go on the same way (hosts of one /64) may grow to LIST_MOST entries: nodes in a
 * row that lead to one list would cost 1 KiB each and spare nothing.
 */
import {
  GROUP_SHIFT,
  GROUPS,
  INHERITED,
  LENGTH_SHIFT,
  LIST_HEAD,
  LIST_WORDS,
  LpmState,
  NODE,
  NODE_BITS,
  NODE_HEAD,
  NODE_HELD,
  NODE_OWN,
  NODE_SIZE,
  ROOT,
  ROOT_BITS,
  VALUE_MASK,
} from './lpm.ts'
import { allocate, free, needCount, tableFull } from './lpm-block.ts'
import {
  added,
  countOf,
  endOf,
  find,
  isBehind,
  keysFor,
  keysOf,
  part,
  removed,
  single,
  sizeOf,
} from './lpm-entries.ts'

const LIST_MOST = 64
const CHILDREN = 1 << NODE_BITS
/** Nodes in a row: (128 - 24) / 8, and the root's word. */
const MAX_STEPS = 14

export class LongPrefixes {
  private readonly words: Int32Array
  /** Bits behind the prefix are 0. A fifth word, 0, for what is shifted in at the end. */
  private readonly key = new Int32Array(5)
  /** The same from `depth` on. */
  private readonly rest = new Int32Array(4)
  private len = 0
  /** Where the last walk went: the words that refer to each block. */
  private readonly slots = new Int32Array(MAX_STEPS)
  private steps = 0
  /** Depth of the last block in bits. */
  private depth = 0

  constructor(words: Int32Array) {
    this.words = words
  }

  /** As LpmWriter.add. */
  add(len: number, value: number, addr: Int32Array): boolean {
    const { words } = this
    const at = this.walk(len, addr)
    const answer = ((len - 1) << LENGTH_SHIFT) | (value + 1)
    if (at !== 0 && words[at] === NODE) return this.addOwn(at, answer)
    const found = at === 0 ? 0 : find(words, at, this.rest, len)
    if (found !== 0) {
      words[found] = answer
      return false
    }
    needCount(words)
    const slot = this.slots[this.steps - 1]
    const keys = keysFor(len - this.depth)
    const list =
      at === 0
        ? single(words, words[slot], this.rest, keys, answer)
        : added(words, at, this.rest, keys, answer)
    if (list === 0) throw tableFull(words)
    const node = this.split(list, this.depth)
    if (node !== 0 || countOf(words, list) > LIST_MOST) this.discard(list)
    if (node === 0 && countOf(words, list) > LIST_MOST) throw tableFull(words)
    if (at === 0) this.held(1)
    Atomics.store(words, slot, -(node || list))
    if (at !== 0) this.discard(at)
    words[LpmState.Count]++
    return true
  }

  private addOwn(node: number, answer: number): boolean {
    const { len, rest, words } = this
    const own = words[node + NODE_OWN]
    const found = own === 0 ? 0 : find(words, own, rest, len)
    if (found !== 0) words[found] = answer
    else {
      needCount(words)
      const list = own === 0 ? single(words, 0, rest, 1, answer) : added(words, own, rest, 1, answer)
      if (list === 0) throw tableFull(words)
      words[node + NODE_OWN] = list
      if (own !== 0) this.discard(own)
      words[LpmState.Count]++
    }
    this.repaint(node)
    return found === 0
  }

  /** As LpmWriter.remove. */
  remove(len: number, addr: Int32Array): number {
    const { words } = this
    const value = this.get(len, addr)
    if (value < 0) return -1
    words[LpmState.Count]--
    const slot = this.slots[this.steps - 1]
    const at = -words[slot]
    if (words[at] === NODE) {
      this.without(at + NODE_OWN, words[at + NODE_OWN], 1)
      this.repaint(at)
      if (words[at + NODE_OWN] === 0 && words[at + NODE_HELD] === 0) this.drop()
    } else if (countOf(words, at) === 1) this.drop()
    else this.without(slot, at, -1)
    return value
  }

  /** Takes the prefix out of a list that `slot` refers to, by its place times `sign`. */
  private without(slot: number, list: number, sign: number): void {
    const { words } = this
    const last = countOf(words, list) === 1
    const copy = last ? 0 : removed(words, list, find(words, list, this.rest, this.len))
    if (copy === list) return
    Atomics.store(words, slot, sign * copy)
    this.discard(list)
  }

  /** As LpmWriter.get. */
  get(len: number, addr: Int32Array): number {
    const { words } = this
    const at = this.walk(len, addr)
    const list = at !== 0 && words[at] === NODE ? words[at + NODE_OWN] : at
    const found = list === 0 ? 0 : find(words, list, this.rest, len)
    return found === 0 ? -1 : (words[found] & VALUE_MASK) - 1
  }

  /** The block at `at` and all below get another answer for what no prefix of theirs covers. */
  inherit(at: number, answer: number): void {
    const { words } = this
    words[at + INHERITED] = answer
    if (words[at] !== NODE) return
    const own = this.ownAnswers(at)
    for (let i = 0; i < CHILDREN; i++) if (own[i] === 0) this.settle(at + NODE_HEAD + i, answer)
  }

  /** Goes down to the block where the prefix is or would be; 0 = there is none yet. */
  private walk(len: number, addr: Int32Array): number {
    const { key, rest, slots, words } = this
    for (let i = 0; i < 4; i++) {
      const bits = len - 32 * i
      key[i] = bits >= 32 ? addr[i] : bits <= 0 ? 0 : addr[i] & (-1 << (32 - bits))
    }
    let slot = ROOT + (key[0] >>> (32 - ROOT_BITS))
    let depth = ROOT_BITS
    let at = 0
    let steps = 0
    for (; ; depth += NODE_BITS) {
      slots[steps++] = slot
      at = words[slot] < 0 ? -words[slot] : 0
      if (at === 0 || words[at] !== NODE || len <= depth + NODE_BITS) break
      slot = at + NODE_HEAD + ((key[depth >> 5] >>> (24 - (depth & 31))) & (CHILDREN - 1))
    }
    for (let i = 0; i < 4; i++) rest[i] = bitsFrom(key, depth + 32 * i)
    this.len = len
    this.steps = steps
    this.depth = depth
    return at
  }

  /** By word of a node: the answer of the longest of its own prefixes that covers it, or 0. */
  private ownAnswers(node: number): Int32Array {
    const { words } = this
    const answers = new Int32Array(CHILDREN)
    const list = words[node + NODE_OWN]
    if (list === 0) return answers
    for (let p = list + LIST_HEAD; p < endOf(words, list); p += 2) {
      const first = words[p] >>> 24
      const bits = ((words[p + 1] >>> LENGTH_SHIFT) & (NODE_BITS - 1)) + 1
      const end = first + (CHILDREN >> bits)
      for (let i = first; i < end; i++) if (answers[i] === 0) answers[i] = words[p + 1]
    }
    return answers
  }

  /** Gives the node's words under the prefix their answers. */
  private repaint(node: number): void {
    const { words } = this
    const own = this.ownAnswers(node)
    const covered = CHILDREN >> (this.len - this.depth)
    const first = (this.rest[0] >>> 24) & -covered
    for (let i = first; i < first + covered; i++)
      this.settle(node + NODE_HEAD + i, own[i] || words[node + INHERITED])
  }

  private settle(slot: number, answer: number): void {
    const word = this.words[slot]
    if (word >= 0) this.words[slot] = answer
    else if (this.words[INHERITED - word] !== answer) this.inherit(-word, answer)
  }

  /** The same as a node, if the list is too long and there is room; else 0. */
  private split(list: number, depth: number): number {
    const { words } = this
    const keys = keysOf(words, list)
    const count = countOf(words, list)
    if (count * (keys + 1) <= LIST_WORDS) return 0
    const perChild = new Uint8Array(CHILDREN)
    const end = endOf(words, list)
    let most = 0
    let ending = 0
    for (let p = list + LIST_HEAD; p < end; p += keys + 1) {
      if (isBehind(words, p, keys, depth)) most = Math.max(most, ++perChild[words[p] >>> 24])
      else ending++
    }
    if (most > (count * 3) >> 2 && count <= LIST_MOST) return 0
    const node = allocate(words, NODE_SIZE)
    if (node === 0) return 0
    words.fill(0, node, node + NODE_SIZE)
    words[node] = NODE
    words[node + INHERITED] = words[list + INHERITED]
    if (ending > 0) {
      words[node + NODE_OWN] = part(words, list, depth, -1, ending, 0)
      if (words[node + NODE_OWN] === 0) return this.undo(node)
    }
    const own = this.ownAnswers(node)
    for (let i = 0; i < CHILDREN; i++) {
      const slot = node + NODE_HEAD + i
      words[slot] = own[i] || words[node + INHERITED]
      if (perChild[i] === 0) continue
      const below = part(words, list, depth, i, perChild[i], words[slot])
      if (below === 0) return this.undo(node)
      const deeper = this.split(below, depth + NODE_BITS)
      if (deeper !== 0) this.discard(below)
      words[slot] = -(deeper || below)
      words[node + NODE_HELD]++
    }
    return node
  }

  private undo(node: number): number {
    this.discard(node)
    return 0
  }

  /** The last block of the walk is empty: its word gets what it inherited, and so on upwards. */
  private drop(): void {
    const { slots, words } = this
    for (;;) {
      const slot = slots[this.steps - 1]
      const at = -words[slot]
      Atomics.store(words, slot, words[at + INHERITED])
      this.held(-1)
      this.discard(at)
      this.steps--
      if (this.steps === 0) return
      const node = -words[slots[this.steps - 1]]
      if (words[node + NODE_HELD] !== 0 || words[node + NODE_OWN] !== 0) return
    }
  }

  /** The last word of the walk begins or ceases to refer to a block. */
  private held(by: number): void {
    const { slots, steps, words } = this
    if (steps === 1) words[GROUPS + ((slots[0] - ROOT) >> GROUP_SHIFT)] += by
    else words[NODE_HELD - words[slots[steps - 2]]] += by
  }

  /** Frees a block and all below. */
  private discard(at: number): void {
    const { words } = this
    if (words[at] !== NODE) {
      free(words, at, sizeOf(words, at))
      return
    }
    if (words[at + NODE_OWN] !== 0) this.discard(words[at + NODE_OWN])
    for (let i = NODE_HEAD; i < NODE_SIZE; i++) if (words[at + i] < 0) this.discard(-words[at + i])
    free(words, at, NODE_SIZE)
  }
}

/** 32 bits of an address with a word of zeros behind it. */
function bitsFrom(addr: Int32Array, bit: number): number {
  const i = bit >> 5
  if (i > 3) return 0
  const shift = bit & 31
  return shift === 0 ? addr[i] : (addr[i] << shift) | (addr[i + 1] >>> (32 - shift))
}
