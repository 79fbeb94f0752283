// HOT
/**
 * The states of neighbours and their timers: RFC 4861 7.3 with Linux's numbers, for IPv4 and IPv6 alike.
 * Requests are sent by arp.ts and nd.ts; who sends packets is neighbour.ts.
 *
 *     state        packets  ends after         because of                       next
 *     (no entry)   wait                        a packet: a request is sent      Incomplete
 *     Incomplete   wait     1 s, three times   no answer                        Failed
 *                                              an answer                        Reachable or Stale
 *     Failed       wait                        a packet: a request is sent      Incomplete
 *     Reachable    go       ~30 s unconfirmed  used in the last 5 s             Delay
 *                                              not used                         Stale
 *     Stale        go                          a packet                         Delay
 *     Delay        go       5 s                a confirmation meanwhile         Reachable
 *                                              none: a unicast request is sent  Probe
 *     Probe        go       1 s, three times   no answer                        Failed
 *     Permanent    go
 *
 * A confirmation, of whatever kind, makes Stale, Delay and Probe Reachable. When one fails, each packet
 * that waited is shown to `unreachable` (ICMP's part) and dropped by name.
 */
import { Drop } from '../packet/drop.ts'
import type { RouterHost } from './host.ts'
import type { Interfaces } from './interfaces.ts'
import { MAX_PACKETS, NeighbourQueue } from './neighbour-queue.ts'
import { Random } from './neighbour-random.ts'
import { N, NeighbourTable, Nud, T, TIME_SHIFT } from './neighbour-table.ts'

/** Linux's defaults, ms. The time a confirmation lasts is 0.5 to 1.5 of the base, chosen anew now and then. */
export const BASE_REACHABLE_MS = 30_000
export const DELAY_PROBE_MS = 5_000
export const RETRANS_MS = 1_000
/** Requests in Incomplete (mcast_solicit) and in Probe (ucast_solicit). */
export const SOLICITS = 3
export const GC_STALE_MS = 60_000
/** A neighbour that changed is not changed again for so long (ARP's locktime). */
export const LOCK_MS = 1_000
/** With fewer entries of a family nothing is collected (gc_thresh1). */
export const GC_THRESHOLD = 128
const GC_INTERVAL_MS = 15_000
const RANDOM_INTERVAL_MS = 300_000
/** Addresses asked for of late; a power of two. */
const ASKED = 256

/** What an update may do (NEIGH_UPDATE_F_*). */
export const enum Update {
  /** Replace a MAC that differs. */
  Override = 1,
  /** If it may not: a reachable entry becomes stale, so that it is asked. */
  Weak = 2,
  /** The message says that the neighbour is a router, or that it is none. */
  Router = 4,
  Host = 8,
}

/** Sends requests: arp.ts, nd.ts. `hi` -1 = to everybody, else to this MAC. */
export interface Solicitor {
  solicit(iface: number, w0: number, w1: number, w2: number, w3: number, hi: number, lo: number): void
}

export class NeighbourStates {
  readonly table: NeighbourTable
  readonly queue: NeighbourQueue
  arp: Solicitor | null = null
  nd: Solicitor | null = null
  reachableMs = BASE_REACHABLE_MS
  private readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly unreachable: (slot: number, nowMs: number) => void
  private readonly random: Random
  /** Pairs: hash of an address, when everybody was asked for it. Outlives the entry. */
  private readonly asked = new Float64Array(2 * ASKED).fill(Number.NEGATIVE_INFINITY)
  private readonly failing = new Int32Array(MAX_PACKETS)
  private nextDueMs = 0
  private nextGcMs = 0
  private nextRandomMs = 0

  constructor(
    memory: SharedArrayBuffer,
    host: RouterHost,
    interfaces: Interfaces,
    unreachable: (slot: number, nowMs: number) => void,
    seed: number,
  ) {
    this.table = new NeighbourTable(memory)
    this.host = host
    this.interfaces = interfaces
    this.unreachable = unreachable
    this.queue = new NeighbourQueue(host, interfaces, this.table.words)
    this.random = new Random(seed)
  }

  /** A new entry, Incomplete; -1 when nobody can go to make room for it. */
  create(key: number, w0: number, w1: number, w2: number, w3: number, nowMs: number): number {
    const table = this.table
    if (table.count[(key >> 9) & 1] >= table.capacity >> 1) {
      const victim = table.victim(key)
      if (victim < 0) return -1
      this.remove(victim, Drop.NeighbourTable)
    }
    return table.add(key, w0, w1, w2, w3, nowMs)
  }

  remove(e: number, reason: Drop): void {
    this.queue.drop(e, reason)
    this.table.remove(e)
  }

  /** Starts resolution: the first request goes out at once, if none did in the last second. */
  ask(e: number, nowMs: number): void {
    this.enter(e, Nud.Incomplete, nowMs + RETRANS_MS, nowMs)
    const hash = this.table.hash(e)
    const a = (hash & (ASKED - 1)) << 1
    if (this.asked[a] === hash && nowMs < this.asked[a + 1] + RETRANS_MS)
      this.wake(e, this.asked[a + 1] + RETRANS_MS)
    else this.solicit(e, nowMs)
  }

  /** @param dueMs when the state's timer ends; Infinity = it has none */
  enter(e: number, state: Nud, dueMs: number, nowMs: number): void {
    this.table.words[e + N.State] = state
    this.table.words[e + N.Probes] = 0
    this.table.times[(e >> TIME_SHIFT) + T.Updated] = nowMs
    this.wake(e, dueMs)
  }

  /** A packet goes to a stale neighbour. */
  delay(e: number, nowMs: number): void {
    this.enter(e, Nud.Delay, nowMs + DELAY_PROBE_MS, nowMs)
  }

  private wake(e: number, dueMs: number): void {
    this.table.times[(e >> TIME_SHIFT) + T.Due] = dueMs
    if (dueMs < this.nextDueMs) this.nextDueMs = dueMs
  }

  private solicit(e: number, nowMs: number): void {
    const words = this.table.words
    const everybody = words[e + N.State] === Nud.Incomplete
    if (everybody) {
      const hash = this.table.hash(e)
      const a = (hash & (ASKED - 1)) << 1
      this.asked[a] = hash
      this.asked[a + 1] = nowMs
    }
    words[e + N.Probes]++
    const key = words[e + N.Key]
    const solicitor = key >> 8 === 4 ? this.arp : this.nd
    if (solicitor === null) return
    const a = e + N.Addr
    const hi = everybody ? -1 : words[e + N.MacHi]
    solicitor.solicit(key & 255, words[a], words[a + 1], words[a + 2], words[a + 3], hi, words[e + N.MacLo])
  }

  /**
   * What a message said about a neighbour (Linux's neigh_update). True when its MAC is known now and was
   * not before: packets may wait for that.
   * @param hi of its MAC; -1 = it did not say
   * @param state Reachable or Stale
   * @param flags Update bits
   */
  update(e: number, hi: number, lo: number, state: Nud, flags: number, nowMs: number): boolean {
    const { words, times } = this.table
    const old = words[e + N.State]
    if (old === Nud.Permanent) return false
    const valid = old > Nud.Permanent
    if (hi < 0) {
      if (!valid) return false
      hi = words[e + N.MacHi]
      lo = words[e + N.MacLo]
    }
    const same = valid && hi === words[e + N.MacHi] && lo === words[e + N.MacLo]
    if (valid && !same && (flags & Update.Override) === 0) {
      if ((flags & Update.Weak) !== 0 && old === Nud.Reachable) this.stale(e, nowMs)
      return false
    }
    if (state === Nud.Reachable) times[(e >> TIME_SHIFT) + T.Confirmed] = nowMs
    else if (same) state = old
    words[e + N.MacHi] = hi
    words[e + N.MacLo] = lo
    if ((flags & Update.Router) !== 0) words[e + N.Router] = 1
    else if ((flags & Update.Host) !== 0) words[e + N.Router] = 0
    if (state === old && same) return false
    if (state === Nud.Reachable) this.enter(e, state, nowMs + this.reachableMs, nowMs)
    else if (state === old) this.table.times[(e >> TIME_SHIFT) + T.Updated] = nowMs
    else this.stale(e, nowMs)
    return !valid
  }

  private stale(e: number, nowMs: number): void {
    this.enter(e, Nud.Stale, Number.POSITIVE_INFINITY, nowMs)
  }

  /** Somebody heard from this neighbour in answer to what we sent. */
  confirm(e: number, nowMs: number): void {
    const state = this.table.words[e + N.State]
    if (state <= Nud.Permanent) return
    this.table.times[(e >> TIME_SHIFT) + T.Confirmed] = nowMs
    if (state !== Nud.Reachable) this.enter(e, Nud.Reachable, nowMs + this.reachableMs, nowMs)
  }

  /** When `tick` has something to do, monotonic ms. */
  due(): number {
    return this.nextDueMs < this.nextGcMs ? this.nextDueMs : this.nextGcMs
  }

  tick(nowMs: number): void {
    if (nowMs >= this.nextRandomMs) {
      this.nextRandomMs = nowMs + RANDOM_INTERVAL_MS
      this.reachableMs = this.random.between(BASE_REACHABLE_MS / 2, (BASE_REACHABLE_MS * 3) / 2)
    }
    const collect = nowMs >= this.nextGcMs
    if (collect) this.nextGcMs = nowMs + GC_INTERVAL_MS
    if (!collect && nowMs < this.nextDueMs) return
    const { words, times, count } = this.table
    this.nextDueMs = Number.POSITIVE_INFINITY
    for (let e = 0; e < words.length; e += N.Words) {
      const state = words[e + N.State]
      if (state === Nud.Free || state === Nud.Permanent) continue
      const t = e >> TIME_SHIFT
      if (state === Nud.Failed || state === Nud.Stale) {
        if (!collect || count[(words[e + N.Key] >> 9) & 1] < GC_THRESHOLD) continue
        const seen = times[t + T.Used] > times[t + T.Confirmed] ? times[t + T.Used] : times[t + T.Confirmed]
        if (state === Nud.Failed || nowMs - seen > GC_STALE_MS) this.remove(e, Drop.NeighbourTable)
      } else if (times[t + T.Due] <= nowMs) this.timer(e, state, nowMs)
      else if (times[t + T.Due] < this.nextDueMs) this.nextDueMs = times[t + T.Due]
    }
  }

  private timer(e: number, state: Nud, nowMs: number): void {
    const { words, times } = this.table
    const t = e >> TIME_SHIFT
    if (state === Nud.Reachable) {
      const until = times[t + T.Confirmed] + this.reachableMs
      if (nowMs < until) this.wake(e, until)
      else if (nowMs <= times[t + T.Used] + DELAY_PROBE_MS) this.delay(e, nowMs)
      else this.stale(e, nowMs)
      return
    }
    if (state === Nud.Delay) this.enter(e, Nud.Probe, nowMs + RETRANS_MS, nowMs)
    else if (words[e + N.Probes] >= SOLICITS) {
      this.fail(e, nowMs)
      return
    }
    this.wake(e, nowMs + RETRANS_MS)
    this.solicit(e, nowMs)
  }

  private fail(e: number, nowMs: number): void {
    const { failing, host, queue } = this
    this.enter(e, Nud.Failed, Number.POSITIVE_INFINITY, nowMs)
    const port = this.interfaces.port[this.table.words[e + N.Key] & 255]
    // All of them first: an error may be sent to this same neighbour, or push its entry out.
    let n = 0
    for (let slot = queue.take(e); slot >= 0; slot = queue.take(e)) failing[n++] = slot
    for (let i = 0; i < n; i++) {
      this.unreachable(failing[i], nowMs)
      host.lose(port, failing[i], Drop.NeighbourFailed)
    }
  }
}
