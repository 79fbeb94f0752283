// HOT
/**
 * The memory of the neighbour table: (interface, family, address) -> MAC, state, times. It lies in a
 * SharedArrayBuffer, so that the control thread lists it (neighbour-list.ts) without asking.
 *
 *     header | buckets: first entry + 1 of each chain | entries, 64 bytes each | their times, doubles
 *
 * What an entry means and how it changes is neighbour.ts. This file finds, adds, removes, and says who
 * has to go when a family has all the entries it may have:
 *
 *     first   failed, then incomplete and stale ones, the oldest first; those of the interface that holds
 *             most before those of others, so that a scan of one subnet forgets that subnet's addresses
 *     last    reachable, delay and probe (in use), and only of an interface that holds more than the one
 *             that asks
 *     never   permanent ones
 *
 * Indices of entries are into `words`; `e >> TIME_SHIFT` is the place of its times.
 */
import { MAX_INTERFACES } from './interfaces.ts'

/** Neighbour unreachability detection, RFC 4861 7.3.2 and Linux. From Permanent on the MAC is known. */
export const enum Nud {
  Free = 0,
  Incomplete = 1,
  Failed = 2,
  Permanent = 3,
  Reachable = 4,
  Stale = 5,
  Delay = 6,
  Probe = 7,
}

/** Words of an entry. */
export const enum N {
  /** family << 8 | interface; 0 = free. */
  Key = 0,
  State = 1,
  MacHi = 2,
  MacLo = 3,
  Addr = 4,
  /** Next entry + 1 in the chain, or in the list of free ones. */
  Next = 8,
  /** Requests sent in this state. */
  Probes = 9,
  /** 1 = a router (the R flag of its advertisements). */
  Router = 10,
  /** Packets that wait: first and last slot, how many, bytes. See neighbour-queue.ts. */
  First = 11,
  Last = 12,
  Waiting = 13,
  WaitingBytes = 14,
  Words = 16,
}
const WORD_SHIFT = 4

/** Times of an entry, monotonic ms. */
export const enum T {
  /** State or MAC changed. */
  Updated = 0,
  /** Known to be reachable. */
  Confirmed = 1,
  Used = 2,
  /** When the state's timer ends. */
  Due = 3,
  Words = 4,
}
export const TIME_SHIFT = 2

export const KEY4 = 4 << 8
export const KEY6 = 6 << 8

const enum Head {
  Capacity = 0,
  Buckets = 1,
  Seed = 2,
  Words = 16,
}
export interface NeighbourView {
  head: Int32Array
  buckets: Int32Array
  words: Int32Array
  times: Float64Array
}

/** Entries looked at to find one that can go. */
const EVICT_REACH = 1024

export class NeighbourTable {
  readonly words: Int32Array
  readonly times: Float64Array
  /** Places for entries, of both families. */
  readonly capacity: number
  /** Entries per family: [IPv4, IPv6]. */
  readonly count = new Int32Array(2)
  private readonly buckets: Int32Array
  private readonly mask: number
  private readonly seed: number
  private free = 0
  private hand = 0
  /** Entries that can go, per interface, IPv4 and then IPv6. */
  private readonly perInterface = new Int32Array(2 * MAX_INTERFACES)

  /** @param memory made by `NeighbourTable.memory`; that of a worker that died is adopted */
  constructor(memory: SharedArrayBuffer) {
    const { head, buckets, words, times } = NeighbourTable.view(memory)
    this.capacity = head[Head.Capacity]
    this.mask = head[Head.Buckets] - 1
    this.seed = head[Head.Seed]
    this.buckets = buckets
    this.words = words
    this.times = times
    this.recount()
  }

  /** The parts of the memory, for whoever only reads. */
  static view(memory: SharedArrayBuffer): NeighbourView {
    const head = new Int32Array(memory, 0, Head.Words)
    const entriesAt = (Head.Words + head[Head.Buckets]) * 4
    const count = head[Head.Capacity] * N.Words
    return {
      head,
      buckets: new Int32Array(memory, Head.Words * 4, head[Head.Buckets]),
      words: new Int32Array(memory, entriesAt, count),
      times: new Float64Array(memory, entriesAt + count * 4, head[Head.Capacity] * T.Words),
    }
  }

  /**
   * @param limit most entries of each family, 16 to 65536
   * @param seed of the hash
   */
  static memory(limit: number, seed: number): SharedArrayBuffer {
    if (!(limit >= 16 && limit <= 65536)) throw new RangeError(`${limit} neighbours: 16 to 65536 expected`)
    const capacity = 2 * limit
    let buckets = 32
    while (buckets < 2 * capacity) buckets *= 2
    const memory = new SharedArrayBuffer(
      (Head.Words + buckets + capacity * N.Words) * 4 + capacity * T.Words * 8,
    )
    const head = new Int32Array(memory, 0, Head.Words)
    head[Head.Capacity] = capacity
    head[Head.Buckets] = buckets
    head[Head.Seed] = seed
    return memory
  }

  /** Rebuilds chains and counts from the entries; what was being asked for is forgotten. */
  private recount(): void {
    const words = this.words
    this.buckets.fill(0)
    this.free = 0
    for (let e = (this.capacity - 1) << WORD_SHIFT; e >= 0; e -= N.Words) {
      if (words[e + N.State] > Nud.Failed) {
        this.link(e)
        continue
      }
      words[e + N.Key] = 0
      words[e + N.State] = Nud.Free
      words[e + N.Next] = this.free
      this.free = e + 1
    }
  }

  /** Of the entry's address. */
  hash(e: number): number {
    const words = this.words
    const a = e + N.Addr
    return this.mix(words[e + N.Key], words[a], words[a + 1], words[a + 2], words[a + 3])
  }

  private mix(key: number, w0: number, w1: number, w2: number, w3: number): number {
    let h = Math.imul(key ^ this.seed ^ w0, 0x9e3779b1)
    h = Math.imul(h ^ (h >>> 15) ^ w1, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13) ^ w2, 0xc2b2ae35)
    h = Math.imul(h ^ (h >>> 16) ^ w3, 0x2c1b3c6d)
    return h ^ (h >>> 15)
  }

  /** The entry, or -1. An IPv4 address is w0, the others 0. */
  find(key: number, w0: number, w1: number, w2: number, w3: number): number {
    const words = this.words
    let e = this.buckets[this.mix(key, w0, w1, w2, w3) & this.mask] - 1
    while (e >= 0) {
      if (
        words[e + N.Addr] === w0 &&
        words[e + N.Key] === key &&
        words[e + N.Addr + 3] === w3 &&
        words[e + N.Addr + 2] === w2 &&
        words[e + N.Addr + 1] === w1
      )
        return e
      e = words[e + N.Next] - 1
    }
    return -1
  }

  /** Adds an entry that is not there, Incomplete; -1 = no place is free. */
  add(key: number, w0: number, w1: number, w2: number, w3: number, nowMs: number): number {
    const e = this.free - 1
    if (e < 0) return -1
    const words = this.words
    this.free = words[e + N.Next]
    for (let i = 0; i < N.Words; i++) words[e + i] = 0
    words[e + N.State] = Nud.Incomplete
    words[e + N.Addr] = w0
    words[e + N.Addr + 1] = w1
    words[e + N.Addr + 2] = w2
    words[e + N.Addr + 3] = w3
    words[e + N.First] = -1
    const t = e >> TIME_SHIFT
    for (let i = 0; i < T.Words; i++) this.times[t + i] = nowMs
    words[e + N.Key] = key
    this.link(e)
    return e
  }

  private link(e: number): void {
    const words = this.words
    const b = this.hash(e) & this.mask
    words[e + N.Next] = this.buckets[b]
    this.buckets[b] = e + 1
    this.account(words[e + N.Key], 1)
  }

  private account(key: number, change: number): void {
    const six = (key >> 9) & 1
    this.count[six] += change
    this.perInterface[six * MAX_INTERFACES + (key & 255)] += change
  }

  /** Needs an entry nobody waits for. */
  remove(e: number): void {
    const words = this.words
    const b = this.hash(e) & this.mask
    if (this.buckets[b] === e + 1) this.buckets[b] = words[e + N.Next]
    else {
      let before = this.buckets[b] - 1
      while (words[before + N.Next] !== e + 1) before = words[before + N.Next] - 1
      words[before + N.Next] = words[e + N.Next]
    }
    this.account(words[e + N.Key], -1)
    words[e + N.Key] = 0
    words[e + N.State] = Nud.Free
    words[e + N.Next] = this.free
    this.free = e + 1
  }

  /** Who goes to make room for one of `key`'s family and interface; -1 = nobody can. */
  victim(key: number): number {
    const { words, times } = this
    const base = ((key >> 9) & 1) * MAX_INTERFACES
    let greedy = key & 255
    for (let i = 0; i < MAX_INTERFACES; i++) {
      if (this.perInterface[base + i] > this.perInterface[base + greedy]) greedy = i
    }
    const others = greedy !== (key & 255)
    let best = -1
    let bestRank = 8
    let e = this.hand
    const reach = this.capacity < EVICT_REACH ? this.capacity : EVICT_REACH
    for (let step = 0; step < reach; step++) {
      e = e === 0 ? (this.capacity - 1) << WORD_SHIFT : e - N.Words
      const state = words[e + N.State]
      if (state === Nud.Free || state === Nud.Permanent || words[e + N.Key] >> 8 !== key >> 8) continue
      const mine = (words[e + N.Key] & 255) === greedy
      let rank = mine ? 1 : 2
      if (state === Nud.Failed) rank = 0
      else if (state !== Nud.Incomplete && state !== Nud.Stale) {
        if (!mine || !others) continue
        rank = 3
      }
      if (rank > bestRank) continue
      const older = best < 0 || times[(e >> TIME_SHIFT) + T.Updated] < times[(best >> TIME_SHIFT) + T.Updated]
      if (rank === bestRank && !older) continue
      best = e
      bestRank = rank
    }
    this.hand = e
    return best
  }
}
