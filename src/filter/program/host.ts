/**
 * What the filter asks of others: connections (conntrack/ and nat/, joined in tracker.ts) and the router
 * around it. Both are handed in. Functions that return a number return PASS, or the Drop the packet ends for.
 */

import type { Drop } from '../../packet/drop.ts'
import type { Hook } from '../../packet/hooks.ts'
import type { Manip, NatRange } from '../nat/range.ts'

export const PASS = -1
/** Of ConntrackLike.status: the connection can be found (IPS_CONFIRMED). */
export const CONFIRMED = 8

/** Connections. `node` is Ip.Ct: entry << 1 | direction. */
export interface ConntrackLike {
  /** Entries are below this. */
  readonly capacity: number
  /** Finds or begins the connection of a packet: sets Ip.Ct and Ip.CtState. */
  in(slot: number, nowMs: number): number
  /** Reads, all at once, what `in` will look up for these packets. */
  prefetch(slots: Int32Array, n: number): void
  /** Of a packet that was fetched: `in`, which must come next, will find its connection, and make or end none. */
  settled(slot: number, nowMs: number): boolean
  /** Before `in`: the packet is not tracked. */
  untrack(slot: number): void
  /** Before `in`. @param dirs 1 original, 2 reply */
  zone(slot: number, zone: number, dirs: number): void
  /** The packet has got through: what it began can be found from now on. */
  confirm(slot: number, nowMs: number): number
  /** The packet was dropped: what it began is forgotten. */
  drop(slot: number): void
  /** Where the address of a range without one (MASQUERADE, REDIRECT) is put before natSetup. */
  readonly natAddress: Int32Array
  /** Chooses the translation of this side. `range` null: none, but for what keeps the tuple unique. */
  natSetup(slot: number, manip: Manip, range: NatRange | null, nowMs: number): number
  /** The packet begins a connection for which this side of the translation is not chosen yet. */
  natFresh(slot: number, manip: Manip): boolean
  /** Rewrites this side of the packet as its connection says. */
  natApply(slot: number, manip: Manip): number
  /** The kernel's IPS_ bits. */
  status(entry: number): number
  mark(entry: number): number
  setMark(entry: number, mark: number): void
  expiresMs(entry: number, nowMs: number): number
  /** The tuple of a direction. */
  tuple(node: number, into: Int32Array): void
  /** The entry is free, or a TCP connection that has ended (TIME_WAIT, CLOSE). */
  closed(entry: number): boolean
  /** The entry is free. */
  ended(entry: number): boolean
  /** A reset that we made ends this TCP connection, if it is confirmed (nf_ct_set_closing). */
  close(entry: number, nowMs: number): void
  tick(nowMs: number): void
}

/** Words of a tuple, as filter/conntrack/tuple.ts has them. */
export const enum Tuple {
  Source = 0,
  Destination = 4,
  /** source << 16 | destination; ICMP: identifier << 16 | type << 8 | code. */
  Ports = 8,
  /** The low byte. */
  Protocol = 9,
  Words = 10,
}

export interface FilterHost {
  /** Drops a packet by name. @param iface it came by, in OUTPUT it would leave by; -1 = none */
  lose(iface: number, slot: number, reason: Drop): void
  /**
   * Answers a packet that a rule refuses, which stays with the filter. False: there was no answer.
   * @param how type << 8 | code, -1 = TCP reset
   */
  reject(slot: number, how: number, nowMs: number): boolean
  /** The kind of the address at ip[at]: ADDRESS_TYPE bit of filter/matches/model.ts. @param iface only its addresses; -1 = all */
  addressType(ip: Int32Array, at: number, family: number, iface: number): number
  /** rpfilter: the way back to the source is the way it came. @param flags 1 loose, 2 with the mark, 4 local too */
  reversePath(slot: number, flags: number): boolean
  /**
   * Our address on an interface, into words[0..4); false: there is none. `toHop`: the one next to the packet's
   * next hop (MASQUERADE), else the first (REDIRECT).
   */
  addressOf(slot: number, iface: number, toHop: boolean, words: Int32Array): boolean
  /** The least MTU of the ways to the packet's destination and to its source: TCPMSS. */
  pathMtu(slot: number): number
  /**
   * Gives a packet to whoever listens on a queue; Netfilter.resume goes on with it.
   * @param step to hand to `resume`
   */
  queue(slot: number, queue: number, hook: Hook, step: number, nowMs: number): Queued
}

/** What became of a packet that a rule wants queued. */
export const enum Queued {
  Taken = 0,
  Nobody = 1,
  /** There is no room, and what the queue then says. */
  FullAccept = 2,
  FullDrop = 3,
}
