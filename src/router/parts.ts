/** The parts of a router that it knows by what they do; the engine builds them (engine/routers.ts). */

/** ARP and neighbour discovery (neighbour.ts). */
export interface Resolver {
  /** Sends a packet to its next hop, or keeps it until that is known. */
  output(slot: number, iface: number, nowMs: number): void
  arp(slot: number, iface: number, nowMs: number): void
  /** Asks everybody on the link who has an IPv4 address, also when that is known. */
  ask(iface: number, address: number): void
  nd(slot: number, iface: number, nowMs: number): void
  /** Forgets the neighbours of an interface; those set by the operator only if asked. */
  flush(iface: number, alsoPermanent: boolean): void
  tick(nowMs: number): void
}

/** Fragments, in and out (fragment.ts, reassembly.ts). */
export interface Fragments {
  /** Forgets what came in by an interface. */
  flush(iface: number): void
  /** Takes a fragment; the slot of the whole packet when it was the last that lacked, else -1. */
  gather(slot: number, nowMs: number): number
  /** Cuts a packet to `mtu` bytes; every piece goes to `egress`. */
  cut(slot: number, mtu: number, nowMs: number): void
  tick(nowMs: number): void
}

/** Packets that the filter has taken and that go on later (`Router.proceed`). */
export interface Waiting {
  /** Drops what came in by an interface, or would leave by it. */
  flush(iface: number): void
}

/** What the control thread does for the router: DHCP, router advertisements (packet/punt.ts). */
export interface Services {
  /** Hands a packet over, as a copy. False when there is no room. */
  punt(slot: number, iface: number): boolean
}
