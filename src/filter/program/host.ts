/**
 * What the filter asks of others: connection tracking (ConntrackLike) and the router around it (FilterHost).
 * Both are handed in, so that neither is imported.
 */
import type { Hook } from '../../packet/hooks.ts'

export const enum Manip {
  /** POSTROUTING, INPUT. */
  Source = 0,
  /** PREROUTING, OUTPUT. */
  Destination = 1,
}

/** The kernel's IPS_ bits of an entry. */
export const enum CtStatus {
  Expected = 1,
  SeenReply = 2,
  Assured = 4,
  Confirmed = 8,
  SourceNat = 16,
  DestinationNat = 32,
}

/** Connections. `entry` is `Ip.Ct >> 1`, `node` is `Ip.Ct`: entry << 1 | direction. */
export interface ConntrackLike {
  /** Entries are below this. */
  readonly capacity: number
  /**
   * Finds or begins the connection of a packet: sets Ip.Ct and Ip.CtState. False: drop it, the table is full.
   * @param zone directions (1 original, 2 reply) << 16 | id; 0 = the default zone
   */
  in(slot: number, zone: number, nowMs: number): boolean
  /** The packet has got through: what it began can be found from now on. False: drop it, another was faster. */
  confirm(slot: number, nowMs: number): boolean
  /** The packet was dropped: what it began is forgotten. */
  drop(slot: number): void
  /** Chooses a translation as NatRange at words[at]. False: drop the packet, nothing is free. */
  natSetup(slot: number, manip: Manip, words: Int32Array, at: number, nowMs: number): boolean
  /** True when this side of the translation is chosen. */
  natDone(slot: number, manip: Manip): boolean
  /** Rewrites the packet as its connection says. False: drop it. */
  natApply(slot: number, hook: Hook): boolean
  /** CtStatus bits. */
  status(entry: number): number
  mark(entry: number): number
  setMark(entry: number, mark: number): void
  expiresMs(entry: number, nowMs: number): number
  /** The tuple of a direction: src 0..3, dst 4..7, ports at 8 (of ICMP identifier << 16 | ...), protocol at 9. */
  tuple(node: number, into: Int32Array): void
  /** The entry is free, or a TCP connection that has ended (TIME_WAIT, CLOSE). */
  closed(entry: number): boolean
  tick(nowMs: number): void
}

export const enum Tuple {
  Source = 0,
  Destination = 4,
  Ports = 8,
  /** The low byte. */
  Protocol = 9,
  Words = 10,
}

export interface FilterHost {
  /** Drops a packet by name; `iface` -1: it came from no interface. */
  lose(iface: number, slot: number): void
  /** Answers a packet that a rule refuses, which stays with the filter. @param how type << 8 | code, -1 = TCP reset */
  reject(slot: number, how: number, nowMs: number): void
  /** The kind of the address at ip[at]: ADDRESS_TYPE bit of matches/model.ts. @param iface only its addresses; -1 = all */
  addressType(ip: Int32Array, at: number, family: number, iface: number): number
  /** rpfilter: the way back to the source is the way it came. @param flags 1 loose, 2 with the mark, 4 local too */
  reversePath(slot: number, flags: number): boolean
  /**
   * The address of ours for packets by this interface, written to words[at..at+4). False: there is none.
   * MASQUERADE asks for the one next to the next hop of `slot`, REDIRECT for the first.
   */
  addressOf(slot: number, iface: number, toHop: boolean, words: Int32Array, at: number): boolean
  /** Path MTU, both ways: TCPMSS. */
  pathMtu(slot: number): number
}
