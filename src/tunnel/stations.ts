// HOT
/**
 * The stations behind remotes: (VXLAN port, MAC) -> row of remotes, as tables.ts says. Learned from what comes
 * out of the tunnel, and kept alive by that alone: what our side sends refreshes nothing.
 *
 * Ageing is exact: a look-up ignores an entry past its time or of a remote that was forgotten; `sweep` only
 * reclaims the place. When the table is full, room is made at the expense of remotes that hold more than an
 * equal share: a remote that sends ten thousand source addresses pushes out its own, and one with no more
 * than its share never loses an address to another. Every operation is bounded; see the constants.
 */
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { MAX_PORTS } from '../packet/layout.ts'
import { HashTable } from '../table/hash.ts'
import type { Remotes } from './remotes.ts'
import { COUNT_SHIFT, isLive, REMOTE_SHIFT, Remote, RemoteCount, Station } from './tables.ts'

/** What `learn` found. */
export const enum Heard {
  Known = 0,
  New = 1,
  Moved = 2,
  Refused = 3,
  /** The address is static behind another remote; nothing changed. */
  Pinned = 4,
}

/** Places looked at to find a victim, and candidates compared. */
const EVICT_REACH = 4096
const EVICT_CANDIDATES = 8
/** Places a sweep looks at. */
const SWEEP_PLACES = 8192

export class Stations {
  readonly table: HashTable
  /** Entries per port index, void ones too until they are reclaimed. */
  readonly perPort = new Int32Array(MAX_PORTS)
  /** Most of them; 0 = only the table's limit. */
  readonly limits = new Int32Array(MAX_PORTS)
  /** Seconds without a frame after which an address of the port is forgotten; 0 = never. */
  readonly agingS = new Int32Array(MAX_PORTS)
  private readonly remotes: Remotes
  private readonly counters: Float64Array
  /** Static entries per port index. */
  private readonly pinned = new Int32Array(MAX_PORTS)
  private hand = 0
  private sweepHand = 0

  constructor(memory: SharedArrayBuffer, remotes: Remotes, counters: Float64Array) {
    this.table = new HashTable(memory)
    this.remotes = remotes
    this.counters = counters
    this.recount()
  }

  static key1(macHi: number, port: number): number {
    return 0x80000000 | (port << 16) | macHi
  }

  /** Row of the remote a station is behind, or -1. */
  find(key0: number, key1: number, nowS: number): number {
    const at = this.table.find(key0, key1)
    return at >= 0 && this.current(at, nowS) ? this.table.words[at + 2] & Station.RowMask : -1
  }

  /** The entry is neither too old nor void. */
  private current(at: number, nowS: number): boolean {
    const words = this.table.words
    const value = words[at + 2]
    if ((value & Station.Static) !== 0) return true
    const agingS = this.agingS[(words[at + 1] >>> 16) & 0x7fff]
    return (agingS === 0 || nowS - words[at + 3] <= agingS) && isLive(this.remotes.words, value)
  }

  /** A frame from (key0, key1) came out of the tunnel, from the remote of `row`. */
  learn(key0: number, key1: number, port: number, row: number, nowS: number): Heard {
    const words = this.table.words
    const at = this.table.find(key0, key1)
    if (at < 0) return this.add(key0, key1, port, row, nowS)
    const value = words[at + 2]
    if ((value & Station.Static) !== 0) return (value & Station.RowMask) === row ? Heard.Known : Heard.Pinned
    const stamp = this.remotes.stamp(row)
    if (value === stamp) {
      if (words[at + 3] !== nowS) words[at + 3] = nowS
      return Heard.Known
    }
    const moved = this.current(at, nowS)
    this.release(value)
    words[at + 2] = stamp
    words[at + 3] = nowS
    this.remotes.hold(row)
    this.count(
      port,
      row,
      moved ? Counter.Moved : Counter.Learned,
      moved ? RemoteCount.Moved : RemoteCount.Learned,
    )
    return moved ? Heard.Moved : Heard.New
  }

  /** As `learn`, but nothing is learned. */
  check(key0: number, key1: number, row: number): Heard {
    const at = this.table.find(key0, key1)
    if (at < 0) return Heard.Refused
    const value = this.table.words[at + 2]
    if ((value & Station.RowMask) === row) return Heard.Known
    return (value & Station.Static) !== 0 ? Heard.Pinned : Heard.Refused
  }

  private add(key0: number, key1: number, port: number, row: number, nowS: number): Heard {
    const limit = this.limits[port]
    if (
      (limit !== 0 && this.perPort[port] >= limit) ||
      (this.table.size >= this.table.limit && !this.evict(row, nowS))
    ) {
      this.counters[port * COUNTER_WORDS + Counter.LearnRefused]++
      return Heard.Refused
    }
    this.table.insert(key0, key1, this.remotes.stamp(row), nowS)
    this.perPort[port]++
    this.remotes.hold(row)
    this.count(port, row, Counter.Learned, RemoteCount.Learned)
    return Heard.New
  }

  private count(port: number, row: number, which: Counter, of: RemoteCount): void {
    this.counters[port * COUNTER_WORDS + which]++
    this.remotes.counters[(row << COUNT_SHIFT) + of]++
  }

  /** The remote of a learned entry has one less; a forgotten one has none already. */
  private release(value: number): void {
    if (isLive(this.remotes.words, value)) this.remotes.release(value & Station.RowMask)
  }

  /** Makes room for one address of `row`. False when none can go. */
  private evict(row: number, nowS: number): boolean {
    const { words } = this.table
    const remotes = this.remotes.words
    const share = this.remotes.share(row)
    const mask = this.table.capacity - 1
    let victim = -1
    let most = 0
    let candidates = 0
    let i = this.hand
    for (let step = 0; step < EVICT_REACH && candidates < EVICT_CANDIDATES; step++, i = (i + 1) & mask) {
      const at = i << 2
      if (words[at + 1] === 0 || (words[at + 2] & Station.Static) !== 0) continue
      if (!this.current(at, nowS)) {
        this.hand = i
        this.removeAt(at)
        return true
      }
      const holder = words[at + 2] & Station.RowMask
      const held = remotes[(holder << REMOTE_SHIFT) + Remote.Addresses]
      if (held <= share && holder !== row) continue
      candidates++
      if (victim >= 0 && (held < most || (held === most && words[at + 3] - words[victim + 3] >= 0))) continue
      victim = at
      most = held
    }
    this.hand = i
    if (victim < 0) return false
    const port = (words[victim + 1] >>> 16) & 0x7fff
    this.count(port, words[victim + 2] & Station.RowMask, Counter.Evicted, RemoteCount.Evicted)
    this.removeAt(victim)
    return true
  }

  private removeAt(at: number): void {
    const words = this.table.words
    const port = (words[at + 1] >>> 16) & 0x7fff
    this.perPort[port]--
    if ((words[at + 2] & Station.Static) === 0) this.release(words[at + 2])
    else this.pinned[port]--
    this.table.remove(at)
  }

  /** Forgets one station that was learned. */
  remove(key0: number, key1: number): void {
    const at = this.table.find(key0, key1)
    if (at >= 0 && (this.table.words[at + 2] & Station.Static) === 0) this.removeAt(at)
  }

  /** Reclaims places of entries too old or void, SWEEP_PLACES of them a call. */
  sweep(nowS: number): void {
    if (this.table.size === 0) return
    const words = this.table.words
    const mask = this.table.capacity - 1
    const looks = Math.min(SWEEP_PLACES, this.table.capacity + this.table.size)
    let i = this.sweepHand
    for (let step = 0; step < looks; step++) {
      const at = i << 2
      if (words[at + 1] !== 0 && !this.current(at, nowS)) this.removeAt(at)
      else i = (i + 1) & mask
    }
    this.sweepHand = i
  }

  /** Sets a static station; replaces a learned one. False when there is no room. */
  pin(key0: number, key1: number, port: number, row: number, nowS: number): boolean {
    const at = this.table.find(key0, key1)
    if (at >= 0) this.removeAt(at)
    else if (this.table.size >= this.table.limit && !this.evict(row, nowS)) return false
    this.table.insert(key0, key1, row | Station.Static, nowS)
    this.perPort[port]++
    this.pinned[port]++
    return true
  }

  /** Forgets stations: of one port or all (-1), of one remote or all (-1); static ones only if asked. */
  flush(port: number, row: number, alsoStatic: boolean): void {
    const words = this.table.words
    if (port >= 0 && this.perPort[port] === 0) return
    for (let i = 0; i < this.table.capacity; ) {
      const at = i << 2
      const hit =
        words[at + 1] !== 0 &&
        (port < 0 || ((words[at + 1] >>> 16) & 0x7fff) === port) &&
        (row < 0 || (words[at + 2] & Station.RowMask) === row) &&
        (alsoStatic || (words[at + 2] & Station.Static) === 0)
      if (hit) this.removeAt(at)
      else i++
    }
  }

  /** Takes back the static stations of a port. */
  unpin(port: number): void {
    const words = this.table.words
    for (let i = 0; this.pinned[port] > 0 && i < this.table.capacity; ) {
      const at = i << 2
      const pinned = words[at + 1] !== 0 && (words[at + 2] & Station.Static) !== 0
      if (pinned && ((words[at + 1] >>> 16) & 0x7fff) === port) this.removeAt(at)
      else i++
    }
  }

  /** After adopting a table of another worker: static entries come anew with their ports. */
  private recount(): void {
    const words = this.table.words
    for (let i = 0; this.table.size > 0 && i < this.table.capacity; ) {
      const at = i << 2
      if (words[at + 1] !== 0 && (words[at + 2] & Station.Static) !== 0) this.table.remove(at)
      else i++
    }
    for (let at = 0; at < words.length; at += 4) {
      if (words[at + 1] === 0) continue
      this.perPort[(words[at + 1] >>> 16) & 0x7fff]++
      if (isLive(this.remotes.words, words[at + 2])) this.remotes.hold(words[at + 2] & Station.RowMask)
    }
  }
}
