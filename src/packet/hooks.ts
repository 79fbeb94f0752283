/**
 * The hooks of the router: where the filter is asked. The router knows only this interface; the engine
 * puts a filter behind it (filter/netfilter.ts), or nothing.
 *
 *            +------------ PREROUTING ------------> route --> FORWARD --> POSTROUTING --> out
 *            |   raw, conntrack, mangle, nat(dst)     |        mangle      mangle
 *     in ----+                                        |        filter      nat(src)
 *                                                     |        security    confirm
 *                                                     v
 *                                                   INPUT --> us --> OUTPUT --> route --> POSTROUTING
 *                                                   mangle           raw, conntrack, mangle,
 *                                                   filter           nat(dst), filter, security
 *                                                   security
 *                                                   nat(src), confirm
 */
export const enum Hook {
  Prerouting = 0,
  Input = 1,
  Forward = 2,
  Output = 3,
  Postrouting = 4,
}

/** What becomes of a packet. */
export const enum Verdict {
  Accept = 0,
  Drop = 1,
  /** The filter has taken the packet (REJECT answered, QUEUE keeps it): the router forgets it. */
  Stolen = 2,
}

export interface Hooks {
  /**
   * Asks about one packet; its Ip row is filled. May rewrite addresses, ports, TTL, mark (row and
   * bytes alike). A Drop was counted by name already.
   */
  run(hook: Hook, slot: number, nowMs: number): Verdict
  /** A batch will go to PREROUTING: a chance to read, all at once, what `run` will look up one by one. */
  prefetch(slots: Int32Array, n: number): void
  /**
   * Nothing begins or ends in PREROUTING with this packet of a batch that was fetched: it may wait behind it while
   * others of the batch go there.
   */
  settled(slot: number, nowMs: number): boolean
  /** What a packet belonged to that waited so is gone. */
  orphaned(slot: number): boolean
  /** The router itself drops a packet that PREROUTING or OUTPUT had let pass. */
  gone(slot: number): void
  /** True when `run` of this hook can never do anything: the router skips the call. */
  idle(hook: Hook): boolean
  /** Connections are tracked: fragments of this family must be put together before PREROUTING. */
  readonly tracks4: boolean
  readonly tracks6: boolean
  /** Work that belongs to the clock, a few times a second. */
  tick(nowMs: number): void
}

/** A router without a filter. */
export const NO_HOOKS: Hooks = {
  run: () => Verdict.Accept,
  prefetch() {},
  settled: () => false,
  orphaned: () => false,
  gone() {},
  idle: () => true,
  tracks4: false,
  tracks6: false,
  tick() {},
}
