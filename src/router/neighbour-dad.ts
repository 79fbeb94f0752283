/**
 * Is an address of ours free? RFC 5227 for IPv4, RFC 4862 5.4 for IPv6.
 *
 *     start --wait--> probe, as often as it takes --settle--> Unique: announce, as often as it takes
 *                       \                            /
 *                        `-- somebody else has it --'
 *                                  Duplicate: tried again a minute later
 *
 *                wait      probes     settle  announcements  again after
 *     IPv4       0-1 s     3, 1-2 s   2 s     2, 2 s         60 s (RATE_LIMIT_INTERVAL)
 *     IPv6       0-1 s     1          1 s     1              60 s (ours: the RFC gives up)
 *
 *     started as  among the interface's addresses meanwhile
 *     Wait        no, only once it is Unique: nothing is sent from it, nobody is answered for it
 *     Use         yes, and taken away if it is Duplicate; its first probe goes out at once
 *     Announce    yes; not probed, only announced
 *     Taken       no; known to be Duplicate, tried again a minute later
 *
 * Who is told keeps the interface's addresses (engine/addresses.ts).
 */
import type { Random } from './neighbour-random.ts'

export const enum Fate {
  Unique = 0,
  /** Somebody else has it; it is not used. */
  Duplicate = 1,
  /** Somebody else uses an address that is in use here. */
  Conflict = 2,
}

/**
 * Told about an address of ours. IPv4: w0 alone.
 * @param hi and lo: the MAC of the other station
 */
export type AddressTold = (
  fate: Fate,
  iface: number,
  family: 4 | 6,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  hi: number,
  lo: number,
) => void

export interface DadTimes {
  family: 4 | 6
  waitMs: number
  probes: number
  probeMinMs: number
  probeMaxMs: number
  settleMs: number
  announcements: number
  announceMs: number
}

export const DAD4: DadTimes = {
  family: 4,
  waitMs: 1000,
  probes: 3,
  probeMinMs: 1000,
  probeMaxMs: 2000,
  settleMs: 2000,
  announcements: 2,
  announceMs: 2000,
}
export const DAD6: DadTimes = {
  family: 6,
  waitMs: 1000,
  probes: 1,
  probeMinMs: 1000,
  probeMaxMs: 1000,
  settleMs: 1000,
  announcements: 1,
  announceMs: 1000,
}
export const AGAIN_MS = 60_000

/** How an address begins. */
export const enum Begin {
  Wait = 0,
  Use = 1,
  Announce = 2,
  Taken = 3,
}

/** Sends them: arp.ts, nd.ts. */
export interface DadSender {
  probe(iface: number, w0: number, w1: number, w2: number, w3: number): void
  announce(iface: number, w0: number, w1: number, w2: number, w3: number): void
}

interface Address {
  iface: number
  words: [number, number, number, number]
  /** Probes sent; all of them and `unique`: announcements. */
  sent: number
  unique: boolean
  /** Told to be. */
  duplicate: boolean
  dueMs: number
}

export class Dad {
  private readonly times: DadTimes
  private readonly sender: DadSender
  private readonly told: AddressTold
  private readonly random: Random
  private addresses: Address[] = []

  constructor(times: DadTimes, sender: DadSender, told: AddressTold, random: Random) {
    this.times = times
    this.sender = sender
    this.told = told
    this.random = random
  }

  /** Addresses being looked at, or announced. */
  get size(): number {
    return this.addresses.length
  }

  start(
    iface: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    nowMs: number,
    begin: Begin = Begin.Wait,
  ): void {
    this.stop(iface, w0, w1, w2, w3)
    let dueMs = nowMs
    if (begin === Begin.Wait) dueMs += this.random.between(0, this.times.waitMs)
    if (begin === Begin.Taken) dueMs += AGAIN_MS
    const unique = begin === Begin.Announce
    const duplicate = begin === Begin.Taken
    this.addresses.push({ iface, words: [w0, w1, w2, w3], sent: 0, unique, duplicate, dueMs })
  }

  /** True when it is being looked at, or announced. */
  has(iface: number, w0: number, w1: number, w2: number, w3: number): boolean {
    return this.addresses.some((a) => is(a, iface, w0, w1, w2, w3))
  }

  /** The address is not wanted any more. */
  stop(iface: number, w0: number, w1: number, w2: number, w3: number): void {
    this.addresses = this.addresses.filter((a) => !is(a, iface, w0, w1, w2, w3))
  }

  /** All addresses of an interface. */
  flush(iface: number): void {
    this.addresses = this.addresses.filter((a) => a.iface !== iface)
  }

  /** True when the address is being probed on this interface, or somebody else's. */
  tentative(iface: number, w0: number, w1: number, w2: number, w3: number): boolean {
    return this.addresses.length > 0 && this.find(iface, w0, w1, w2, w3) !== undefined
  }

  /** Somebody else (hi, lo) has an address that is being probed. */
  taken(
    iface: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    hi: number,
    lo: number,
    nowMs: number,
  ): void {
    const address = this.find(iface, w0, w1, w2, w3)
    if (address === undefined) return
    const news = !address.duplicate
    address.duplicate = true
    address.sent = 0
    address.dueMs = nowMs + AGAIN_MS
    if (news) this.told(Fate.Duplicate, iface, this.times.family, w0, w1, w2, w3, hi, lo)
  }

  private find(iface: number, w0: number, w1: number, w2: number, w3: number): Address | undefined {
    return this.addresses.find((a) => !a.unique && is(a, iface, w0, w1, w2, w3))
  }

  /** When `tick` has something to do, monotonic ms. */
  due(): number {
    return this.addresses.reduce((least, a) => Math.min(least, a.dueMs), Number.POSITIVE_INFINITY)
  }

  tick(nowMs: number): void {
    if (this.addresses.length === 0) return
    for (const address of this.addresses.filter((a) => a.dueMs <= nowMs)) this.step(address, nowMs)
    this.addresses = this.addresses.filter((a) => !a.unique || a.sent < this.times.announcements)
  }

  private step(address: Address, nowMs: number): void {
    const { times } = this
    const { iface } = address
    const [w0, w1, w2, w3] = address.words
    if (!address.unique && address.sent < times.probes) {
      address.sent++
      const last = address.sent === times.probes
      address.dueMs =
        nowMs + (last ? times.settleMs : this.random.between(times.probeMinMs, times.probeMaxMs))
      this.sender.probe(iface, w0, w1, w2, w3)
      return
    }
    if (!address.unique) {
      address.unique = true
      address.duplicate = false
      address.sent = 0
      this.told(Fate.Unique, iface, times.family, w0, w1, w2, w3, 0, 0)
    }
    address.sent++
    address.dueMs = nowMs + times.announceMs
    this.sender.announce(iface, w0, w1, w2, w3)
  }
}

function is(a: Address, iface: number, w0: number, w1: number, w2: number, w3: number): boolean {
  const [a0, a1, a2, a3] = a.words
  return a.iface === iface && a0 === w0 && a1 === w1 && a2 === w2 && a3 === w3
}
