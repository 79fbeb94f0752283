// HOT
/**
 * The forwarding database (802.1Q 8.8): (VLAN, MAC) -> port, with the time last seen.
 *
 *     key0   bytes 2..5 of the MAC          value0  port | Entry flags
 *     key1   1 | VID (12) | bytes 0..1      value1  second of the worker's clock, last seen
 *
 * Ageing is exact: a look-up ignores an entry past its time; `sweep` only reclaims the place, a few
 * thousand places a call. Static entries never age nor move.
 *
 * When the table is full, room is made at the expense of the port that holds most addresses: of a few
 * of its entries, found from a hand that goes round, the oldest leaves. A host that sends ten thousand
 * source addresses therefore pushes out its own. Every operation is bounded; see the constants.
 */
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { MAX_PORTS } from '../packet/layout.ts'
import { HashTable } from '../table/hash.ts'

export const enum Entry {
  None = 0,
  PortMask = 0xffff,
  /** Set by the operator: does not age, does not move. */
  Static = 0x10000,
  /** The switch's own address (a host port): a frame from outside with it is an imposter's. */
  Own = 0x20000,
}

/** What `learn` found. */
export const enum Learned {
  Known = 0,
  New = 1,
  Moved = 2,
  Refused = 3,
  /** The address is static somewhere else; nothing changed. */
  Pinned = 4,
  /** The address is the switch's own. */
  Own = 5,
}

/** Places looked at to find a victim, and candidates compared. */
const EVICT_REACH = 4096
const EVICT_CANDIDATES = 8
/** Places a sweep looks at. */
export const SWEEP_PLACES = 8192

export class Fdb {
  readonly table: HashTable
  /** Addresses per port index, for limits and fairness. */
  readonly perPort: Int32Array
  /** Static ones among them. */
  private readonly pinned = new Int32Array(MAX_PORTS)
  /** Most addresses in all. */
  limit: number
  /** Seconds without a frame after which an address is forgotten; 0 = never. */
  agingS: number
  private readonly counters: Float64Array
  private readonly portLimit: Int32Array
  private hand = 0
  private sweepHand = 0

  /**
   * @param memory from HashTable.memory
   * @param portLimit most addresses per port index; 0 = only the table's limit
   */
  constructor(
    memory: SharedArrayBuffer,
    counters: Float64Array,
    portLimit: Int32Array,
    limit: number,
    agingS: number,
  ) {
    this.table = new HashTable(memory)
    this.perPort = new Int32Array(MAX_PORTS)
    this.counters = counters
    this.portLimit = portLimit
    this.limit = Math.min(limit, this.table.limit)
    this.agingS = agingS
    this.recount()
  }

  static key1(macHi: number, vid: number): number {
    return 0x80000000 | (vid << 16) | macHi
  }

  /** Entry index of a live address, or -1. */
  find(key0: number, key1: number, nowS: number): number {
    const at = this.table.find(key0, key1)
    return at >= 0 && this.expired(at, nowS) ? -1 : at
  }

  private expired(at: number, nowS: number): boolean {
    const words = this.table.words
    return this.agingS !== 0 && nowS - words[at + 3] > this.agingS && (words[at + 2] & Entry.Static) === 0
  }

  /** A frame from (key0, key1) came in by `port`. */
  learn(key0: number, key1: number, port: number, nowS: number): Learned {
    const words = this.table.words
    const at = this.table.find(key0, key1)
    if (at < 0) return this.add(key0, key1, port, nowS)
    const value = words[at + 2]
    if ((value & Entry.PortMask) === port) {
      if (words[at + 3] !== nowS) words[at + 3] = nowS
      return Learned.Known
    }
    if ((value & Entry.Own) !== 0) return Learned.Own
    if ((value & Entry.Static) !== 0) return Learned.Pinned
    const gone = this.expired(at, nowS)
    if (this.full(port)) {
      this.counters[port * COUNTER_WORDS + Counter.LearnRefused]++
      return Learned.Refused
    }
    this.perPort[value & Entry.PortMask]--
    this.perPort[port]++
    words[at + 2] = port
    words[at + 3] = nowS
    this.counters[port * COUNTER_WORDS + (gone ? Counter.Learned : Counter.Moved)]++
    return gone ? Learned.New : Learned.Moved
  }

  private full(port: number): boolean {
    const limit = this.portLimit[port]
    return limit !== 0 && this.perPort[port] >= limit
  }

  private add(key0: number, key1: number, port: number, nowS: number): Learned {
    const own = port * COUNTER_WORDS
    if (this.full(port) || (this.table.size >= this.limit && !this.evict(port, nowS))) {
      this.counters[own + Counter.LearnRefused]++
      return Learned.Refused
    }
    this.table.insert(key0, key1, port, nowS)
    this.perPort[port]++
    this.counters[own + Counter.Learned]++
    return Learned.New
  }

  /**
   * Makes room for one address of `port`. False when none can go (all static). Only addresses that can
   * go are counted, and in a tie it is the one who asks that pays: so a port with no more than its
   * equal share never loses an address to another's flood.
   */
  private evict(port: number, nowS: number): boolean {
    const { perPort, pinned } = this
    let greedy = port
    let most = perPort[port] - pinned[port]
    for (let p = 0; p < MAX_PORTS; p++) {
      const learned = perPort[p] - pinned[p]
      if (learned <= most) continue
      most = learned
      greedy = p
    }
    const words = this.table.words
    const mask = this.table.capacity - 1
    let victim = -1
    let candidates = 0
    let i = this.hand
    for (let step = 0; step < EVICT_REACH && candidates < EVICT_CANDIDATES; step++, i = (i + 1) & mask) {
      const at = i << 2
      if (words[at + 1] === 0 || (words[at + 2] & Entry.Static) !== 0) continue
      if (this.expired(at, nowS)) {
        victim = at
        break
      }
      if ((words[at + 2] & Entry.PortMask) !== greedy) continue
      if (victim < 0 || words[at + 3] - words[victim + 3] < 0) victim = at
      candidates++
    }
    this.hand = i
    if (victim < 0) return false
    const loser = words[victim + 2] & Entry.PortMask
    this.counters[loser * COUNTER_WORDS + Counter.Evicted]++
    this.removeAt(victim)
    return true
  }

  removeAt(at: number): void {
    const value = this.table.words[at + 2]
    this.perPort[value & Entry.PortMask]--
    if ((value & Entry.Static) !== 0) this.pinned[value & Entry.PortMask]--
    this.table.remove(at)
  }

  /** Reclaims expired places, SWEEP_PLACES of them a call. */
  sweep(nowS: number): void {
    if (this.table.size === 0 || this.agingS === 0) return
    const words = this.table.words
    const mask = this.table.capacity - 1
    // Removing uses up a look too: so many do a small table in one call, whatever is in it.
    const looks = Math.min(SWEEP_PLACES, this.table.capacity + this.table.size)
    let i = this.sweepHand
    for (let step = 0; step < looks; step++) {
      const at = i << 2
      if (words[at + 1] !== 0 && this.expired(at, nowS)) this.removeAt(at)
      else i = (i + 1) & mask
    }
    this.sweepHand = i
  }

  /** Sets a static address; replaces a learned one. False when the table is full. */
  pin(key0: number, key1: number, port: number, flags: Entry, nowS: number): boolean {
    const at = this.table.find(key0, key1)
    if (at >= 0) this.removeAt(at)
    else if (this.table.size >= this.limit && !this.evict(port, nowS)) return false
    this.table.insert(key0, key1, port | Entry.Static | flags, nowS)
    this.perPort[port]++
    this.pinned[port]++
    return true
  }

  /** Turns the static addresses of a port into nothing, without touching those it learned. */
  unpin(port: number): void {
    const words = this.table.words
    for (let i = 0; this.pinned[port] > 0 && i < this.table.capacity; ) {
      const at = i << 2
      const value = words[at + 2]
      if (words[at + 1] !== 0 && (value & Entry.PortMask) === port && (value & Entry.Static) !== 0)
        this.removeAt(at)
      else i++
    }
  }

  /**
   * Forgets addresses: of one port or all (-1), of one VLAN or all (-1); static ones only if asked.
   * Walks the whole table. Returns how many.
   */
  flush(port: number, vid: number, alsoStatic: boolean): number {
    const words = this.table.words
    let removed = 0
    if (port >= 0 && this.perPort[port] === 0) return 0
    for (let i = 0; i < this.table.capacity; ) {
      const at = i << 2
      const value = words[at + 2]
      if (
        words[at + 1] !== 0 &&
        (port < 0 || (value & Entry.PortMask) === port) &&
        (vid < 0 || ((words[at + 1] >> 16) & 0xfff) === vid) &&
        (alsoStatic || (value & Entry.Static) === 0)
      ) {
        this.removeAt(at)
        removed++
      } else i++
    }
    return removed
  }

  /** After adopting a table of another worker. */
  private recount(): void {
    if (this.table.size === 0) return
    const words = this.table.words
    for (let at = 0; at < words.length; at += 4) {
      if (words[at + 1] === 0) continue
      const value = words[at + 2]
      this.perPort[value & Entry.PortMask]++
      if ((value & Entry.Static) !== 0) this.pinned[value & Entry.PortMask]++
    }
  }
}
