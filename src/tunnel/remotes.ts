// HOT
/**
 * The remotes of a VTEP: address -> row of tables.ts Remote. A row is *named* while a VXLAN port has it in a
 * list, as its group or in a static entry; such a row stays. The others were learned from what they sent:
 * one goes when it has no addresses and was silent for IDLE_S, or when the table is full and it is the
 * poorest, then longest silent, of a few candidates: so senders of many source addresses push out each other.
 */
import { BATCH, Info } from '../packet/layout.ts'
import { RowIndex } from './row-index.ts'
import {
  COUNT_SHIFT,
  REMOTE_SHIFT,
  Remote,
  RemoteCount,
  RemoteFlag,
  Station,
  type TunnelAddress,
  type VtepMemory,
} from './tables.ts'

/** Seconds after which a learned remote without addresses is forgotten. */
const IDLE_S = 300
const SWEEP_ROWS = 1024
const EVICT_REACH = 64
const EVICT_CANDIDATES = 8

export class Remotes {
  readonly words: Int32Array
  readonly counters: Float64Array
  private port = 0
  /** Remotes with learned addresses, and how many those are in all. */
  holders = 0
  learned = 0
  private readonly index: RowIndex
  private readonly fetching = new Int32Array(BATCH)
  private hand = 0
  private sweepHand = 0

  constructor(memory: VtepMemory, seed: number) {
    this.words = memory.remotes
    this.counters = memory.counters
    this.index = new RowIndex(this.words, REMOTE_SHIFT, seed)
    // Who names them, and how many addresses they have, is found out anew.
    for (let at = 0; at < this.words.length; at += Remote.Words) {
      this.words[at + Remote.Users] = 0
      this.words[at + Remote.Addresses] = 0
      this.words[at + Remote.Flags] &= RemoteFlag.Dead
    }
  }

  /** UDP port of all remotes from now on. */
  setPort(port: number): void {
    this.port = port
    for (let at = 0; at < this.words.length; at += Remote.Words) {
      if (this.words[at] !== 0) this.words[at + Remote.Port] = port
    }
  }

  get size(): number {
    return this.index.size
  }

  /** The row of who sent info[i..], or -1. */
  findSender(info: Int32Array, i: number): number {
    return this.index.find(
      info[i + Info.Family],
      info[i + Info.Address0],
      info[i + Info.Address0 + 1],
      info[i + Info.Address0 + 2],
      info[i + Info.Address0 + 3],
    )
  }

  /**
   * Reads what a look-up of the senders info[0 .. n) will read, and the rows and counters behind: in loops that
   * are nothing but loads, see Switch.prefetch.
   */
  prefetchSenders(info: Int32Array, n: number): number {
    const { index, fetching } = this
    for (let i = 0, at = 0; i < n; i++, at += Info.Words) {
      fetching[i] = index.hash(
        info[at + Info.Family],
        info[at + Info.Address0],
        info[at + Info.Address0 + 1],
        info[at + Info.Address0 + 2],
        info[at + Info.Address0 + 3],
      )
    }
    index.guess(fetching, n)
    return this.prefetch(fetching, n)
  }

  /** Reads rows (-1 = none) and their counters. */
  prefetch(rows: Int32Array, n: number): number {
    const { words, counters } = this
    let sum = 0
    for (let i = 0; i < n; i++) if (rows[i] >= 0) sum ^= words[(rows[i] << REMOTE_SHIFT) + Remote.Flags]
    for (let i = 0; i < n; i++) if (rows[i] >= 0) sum ^= counters[rows[i] << COUNT_SHIFT] | 0
    return sum
  }

  /** A row for a sender that has none. -1 when there is no room. */
  addSender(info: Int32Array, i: number, nowS: number): number {
    const scope = info[i + Info.Flags] >>> 8
    const a = i + Info.Address0
    return this.add(info[i + Info.Family], info[a], info[a + 1], info[a + 2], info[a + 3], scope, nowS)
  }

  private add(
    family: number,
    a0: number,
    a1: number,
    a2: number,
    a3: number,
    scope: number,
    nowS: number,
  ): number {
    if (this.index.size === this.index.rows && !this.evict(nowS)) return -1
    const row = this.index.add(family, a0, a1, a2, a3)
    const at = row << REMOTE_SHIFT
    this.words[at + Remote.Port] = this.port
    this.words[at + Remote.Scope] = scope
    this.words[at + Remote.HeardS] = nowS
    this.words[at + Remote.Flags] = 0
    this.words[at + Remote.Mtu] = 0
    this.words[at + Remote.Addresses] = 0
    this.words[at + Remote.Users] = 0
    this.counters.fill(0, row << COUNT_SHIFT, (row << COUNT_SHIFT) + RemoteCount.Words)
    return row
  }

  /** The row of a remote that the configuration names: made if need be, counted. -1 when there is no room. */
  pin(remote: TunnelAddress, flags: RemoteFlag, nowS: number): number {
    const family = remote.address.length === 1 ? 4 : 6
    const [a0, a1 = 0, a2 = 0, a3 = 0] = remote.address
    let row = this.index.find(family, a0, a1, a2, a3)
    if (row < 0) {
      row = this.add(family, a0, a1, a2, a3, remote.scope, nowS)
      if (row < 0) return -1
      this.words[(row << REMOTE_SHIFT) + Remote.HeardS] = 0
    }
    const at = row << REMOTE_SHIFT
    this.words[at + Remote.Flags] |= flags | RemoteFlag.Named
    this.words[at + Remote.Scope] = remote.scope
    this.words[at + Remote.Users]++
    return row
  }

  /** One user less. The last takes the row along, and what was learned of it. */
  unpin(row: number): void {
    if (--this.words[(row << REMOTE_SHIFT) + Remote.Users] === 0) this.remove(row)
  }

  /** The row of a remote, or -1. */
  find(remote: TunnelAddress): number {
    const [a0, a1 = 0, a2 = 0, a3 = 0] = remote.address
    return this.index.find(remote.address.length === 1 ? 4 : 6, a0, a1, a2, a3)
  }

  private remove(row: number): void {
    this.forget(row)
    this.index.remove(row)
  }

  /** All that was learned of it is void (tables.ts). */
  forget(row: number): void {
    const at = row << REMOTE_SHIFT
    const held = this.words[at + Remote.Addresses]
    if (held > 0) this.holders--
    this.learned -= held
    this.words[at + Remote.Generation] = (this.words[at + Remote.Generation] + 1) & Station.GenerationMask
    this.words[at + Remote.Addresses] = 0
  }

  /** What an entry learned of the remote now says (tables.ts). */
  stamp(row: number): number {
    return row | (this.words[(row << REMOTE_SHIFT) + Remote.Generation] << Station.GenerationShift)
  }

  /** One address more is behind it. */
  hold(row: number): void {
    if (this.words[(row << REMOTE_SHIFT) + Remote.Addresses]++ === 0) this.holders++
    this.learned++
  }

  release(row: number): void {
    if (--this.words[(row << REMOTE_SHIFT) + Remote.Addresses] === 0) this.holders--
    this.learned--
  }

  /** Most addresses each may have for all to have as many; one more asks when `row` has none. */
  share(row: number): number {
    const newcomer = this.words[(row << REMOTE_SHIFT) + Remote.Addresses] === 0 ? 1 : 0
    return (this.learned / (this.holders + newcomer)) | 0
  }

  private evict(nowS: number): boolean {
    const { words } = this
    let victim = -1
    let candidates = 0
    let row = this.hand
    for (let step = 0; step < EVICT_REACH && candidates < EVICT_CANDIDATES; step++) {
      row = row + 1 === this.index.rows ? 0 : row + 1
      const at = row << REMOTE_SHIFT
      if ((words[at + Remote.Flags] & RemoteFlag.Named) !== 0) continue
      candidates++
      if (victim < 0 || this.poorer(at, victim << REMOTE_SHIFT, nowS)) victim = row
    }
    this.hand = row
    if (victim < 0) return false
    this.remove(victim)
    return true
  }

  private poorer(a: number, b: number, nowS: number): boolean {
    const { words } = this
    const more = words[a + Remote.Addresses] - words[b + Remote.Addresses]
    return more !== 0 ? more < 0 : nowS - words[a + Remote.HeardS] > nowS - words[b + Remote.HeardS]
  }

  /** Forgets silent remotes, SWEEP_ROWS of them a call. */
  sweep(nowS: number): void {
    const { words } = this
    if (this.index.size === 0) return
    const looks = Math.min(SWEEP_ROWS, this.index.rows)
    for (let step = 0; step < looks; step++) {
      const row = this.sweepHand
      this.sweepHand = row + 1 === this.index.rows ? 0 : row + 1
      const at = row << REMOTE_SHIFT
      if (words[at + Remote.Family] === 0 || (words[at + Remote.Flags] & RemoteFlag.Named) !== 0) continue
      if (words[at + Remote.Addresses] === 0 && nowS - words[at + Remote.HeardS] > IDLE_S) this.remove(row)
    }
  }
}
