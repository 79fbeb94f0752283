// HOT
/**
 * Netfilter: takes a packet through the tables of a hook, in the order of order.ts, where the picture is.
 *
 * Chains of nat are asked for the first packet of a connection only; the others are rewritten as it was. A
 * connection that the packet began is confirmed, and so can be found, when the packet has got through.
 *
 * From a connection that goes on, packets like one before skip the rules of a hook, but not their counters
 * (flow-cache.ts). Raw is always walked: it comes before the connection is known.
 */
import { native } from '../native.ts'
import { Drop } from '../packet/drop.ts'
import { Hook, type Hooks, Verdict } from '../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import type { Pool } from '../packet/pool.ts'
import type { RuleLoad } from './load.ts'
import { Manip } from './nat/range.ts'
import { MAX_STEPS, ORDER, Step } from './order.ts'
import { Connections } from './program/connections.ts'
import { FlowCache } from './program/flow-cache.ts'
import type { ConntrackLike, FilterHost } from './program/host.ts'
import { HOOKS, TableId } from './program/layout.ts'
import { Plane } from './program/plane.ts'
import { Program } from './program/program.ts'
import type { Report } from './program/report.ts'
import { Walk } from './program/walk.ts'

/** ICMP type << 8 | code: communication administratively prohibited, of IPv4 and IPv6. */
const PROHIBITED = [(3 << 8) | 13, (1 << 8) | 1]
const TCP_RESET = -1 // of FilterHost.reject
const CACHE_LINES = 32768

export interface NetfilterParts {
  /** Rows of packet/ip.ts. */
  ip: Int32Array
  pool: Pool
  host: FilterHost
  conntrack: ConntrackLike
  report: Report
  /** Of everything that is random: hashes, statistic. */
  seed: number
  /** Places of the flow cache, a power of two; 0 = none. */
  cacheLines?: number
}

export class Netfilter implements Hooks {
  tracks4 = false
  tracks6 = false
  readonly cache: FlowCache
  private readonly plane: Plane
  private readonly walk: Walk
  private readonly connections: Connections
  private readonly report: Report
  private readonly seed: number
  /** Changes when an entry begins to stand for another connection. */
  private readonly serials: Int32Array
  /** By slot of a packet that waits, in a queue or for the rest of its batch: the serial of its connection. */
  private readonly waitingSerial: Int32Array
  private explain = false
  private v4: Program | null = null
  private v6: Program | null = null
  /** Steps that do something: [family 0 or 1][hook], MAX_STEPS each; -1 ends. */
  private readonly steps = new Int32Array(2 * HOOKS * MAX_STEPS).fill(-1)
  private readonly idleAt = new Uint8Array(HOOKS).fill(1)
  /** [family][hook]: no table is asked, the connection alone. */
  private readonly bareAt = new Uint8Array(2 * HOOKS)
  /** [family][hook]: connections are tracked, and no table but nat has rules. */
  private readonly quietAt = new Uint8Array(2 * HOOKS)

  constructor({ cacheLines = CACHE_LINES, conntrack, host, ip, pool, report, seed }: NetfilterParts) {
    this.plane = new Plane(ip, pool, host, conntrack)
    this.walk = new Walk(this.plane, report)
    this.report = report
    this.seed = seed
    this.serials = new Int32Array(conntrack.capacity)
    this.waitingSerial = new Int32Array(pool.size)
    this.connections = new Connections(this.plane, this.serials)
    this.cache = new FlowCache(Math.max(1, cacheLines), this.serials)
    this.cache.enabled = cacheLines > 0
    for (const table of [this.serials, this.cache.lines]) native.hugePages(new Uint8Array(table.buffer))
  }

  /**
   * Puts rules in force, between two batches. Connections stay as they are. Named tables (recent, hashlimit)
   * keep their contents.
   */
  set({ carry4, carry6, explain = false, generation = 0, track = false, v4, v6 }: RuleLoad): void {
    const { seed, serials } = this
    const next4 = v4 && new Program(v4, { serials, seed, before: this.v4 })
    const next6 = v6 && new Program(v6, { serials, seed, before: this.v6 })
    if (next4 && this.v4 && carry4) next4.carry(this.v4, carry4)
    if (next6 && this.v6 && carry6) next6.carry(this.v6, carry6)
    this.v4 = next4
    this.v6 = next6
    this.report.generation = generation
    this.explain = explain
    this.cache.invalidate()
    this.tracks4 = track || next4?.tracks === true
    this.tracks6 = track || next6?.tracks === true
    this.idleAt.fill(1)
    for (const [family, program] of [next4, next6].entries()) {
      const tracked = family === 0 ? this.tracks4 : this.tracks6
      for (const [hook, order] of ORDER.entries()) {
        const steps = order.filter((step) => (step < Step.Conntrack ? program?.has(step, hook) : tracked))
        const at = (family * HOOKS + hook) * MAX_STEPS
        this.steps.fill(-1, at, at + MAX_STEPS).set(steps, at)
        this.bareAt[family * HOOKS + hook] = Number(
          steps.length > 0 && steps.every((step) => step >= Step.Conntrack),
        )
        const quiet = tracked && steps.every((step) => step >= Step.Conntrack || program?.isEmpty(step, hook))
        this.quietAt[family * HOOKS + hook] = Number(quiet)
        if (steps.length > 0) this.idleAt[hook] = 0
      }
    }
  }

  idle(hook: Hook): boolean {
    return this.idleAt[hook] === 1
  }

  private get tracked(): boolean {
    return this.tracks4 || this.tracks6
  }

  prefetch(slots: Int32Array, n: number): void {
    if (!this.tracked) return
    this.plane.conntrack.prefetch(slots, n)
    this.cache.prefetch(this.plane.ip, Hook.Forward, slots, n)
  }

  settled(slot: number, nowMs: number): boolean {
    const { ip } = this.plane
    const row = slot << IP_SHIFT
    const base = ip[row + Ip.Family] === 4 ? 0 : HOOKS
    // Rules there may depend on what the packet before has left behind.
    if ((this.quietAt[base + Hook.Prerouting] & this.quietAt[base + Hook.Postrouting]) === 0) return false
    if (!this.plane.conntrack.settled(slot, nowMs)) return false
    this.waitingSerial[slot] = this.serials[~ip[row + Ip.CtGuess] >> 1]
    return true
  }

  orphaned(slot: number): boolean {
    const node = this.plane.ip[(slot << IP_SHIFT) + Ip.Ct]
    if (node < 0) return false
    return this.serials[node >> 1] !== this.waitingSerial[slot] || this.plane.conntrack.ended(node >> 1)
  }

  run(hook: Hook, slot: number, nowMs: number): Verdict {
    const { connections, plane } = this
    const { ip } = plane
    const row = slot << IP_SHIFT
    const tracks = hook === Hook.Prerouting || hook === Hook.Output
    if (tracks) this.report.traced[slot] = 0
    const base = (ip[row + Ip.Family] === 4 ? 0 : HOOKS) + hook
    if (this.bareAt[base] === 0) return this.from(hook, 0, 0, slot, nowMs)
    // No table here: what goes on is translated as it was, and was confirmed long ago.
    plane.refused = 0
    let verdict: Verdict = tracks ? connections.track(slot, row, nowMs) : Verdict.Accept
    if (verdict === Verdict.Accept) {
      if (!plane.goesOn(row)) return this.from(hook, tracks ? 1 : 0, 0, slot, nowMs)
      verdict = connections.apply(slot, tracks ? Manip.Destination : Manip.Source)
    }
    return verdict === Verdict.Accept ? verdict : this.drop(hook, slot, row, nowMs)
  }

  /**
   * Goes on with a packet that a queue gave back: behind the table it was in (NF_ACCEPT), or in that table
   * again (NF_REPEAT). @param step as FilterHost.queue was told
   */
  resume(hook: Hook, step: number, again: boolean, slot: number, nowMs: number): Verdict {
    const { plane, steps } = this
    const row = slot << IP_SHIFT
    if (this.orphaned(slot)) {
      plane.ip[row + Ip.Ct] = -1
      plane.host.lose(plane.ip[row + (hook === Hook.Output ? Ip.OutIf : Ip.InIf)], slot, Drop.QueueGone)
      return Verdict.Drop
    }
    // Rules may have been set meanwhile: the next step of those in force.
    const order = ORDER[hook]
    const base = ((plane.ip[row + Ip.Family] === 4 ? 0 : HOOKS) + hook) * MAX_STEPS
    const place = order.indexOf(step) + (again ? 0 : 1)
    let first = 0
    while (steps[base + first] >= 0 && order.indexOf(steps[base + first]) < place) first++
    return this.from(hook, first, 1, slot, nowMs)
  }

  /** @param cached 0 not looked yet, 1 rules are walked, 2 they were skipped, 3 walked for the cache */
  private from(hook: Hook, first: number, cached: number, slot: number, nowMs: number): Verdict {
    const { plane, steps } = this
    const row = slot << IP_SHIFT
    plane.enter(hook, slot)
    const four = plane.ip[row + Ip.Family] === 4
    const base = ((four ? 0 : HOOKS) + hook) * MAX_STEPS
    let mark = 0
    let ctMark = 0
    this.walk.length = 0
    for (let i = first; i < MAX_STEPS; i++) {
      const step = steps[base + i]
      if (step < 0) break
      plane.step = step
      let verdict: Verdict
      if (step >= Step.Conntrack) verdict = this.connection(step, slot, row, nowMs)
      else if (step === Step.Raw) verdict = this.table(step, slot, nowMs)
      else {
        const program = four ? this.v4! : this.v6!
        if (cached === 0) {
          // Rules before the connection was known are not part of what is noted.
          this.walk.length = 0
          plane.variable = 0
          cached = 1
          if (this.cache.covers(plane, row) && this.report.traced[slot] === 0) {
            const line = this.cache.find(plane, program, slot, row)
            if (line >= 0) {
              cached = 2
              verdict = this.cache.replay(line, plane, program, row)
              if (verdict !== Verdict.Accept) return this.drop(hook, slot, row, nowMs)
              continue
            }
            cached = 3
            mark = plane.ip[row + Ip.Mark]
            ctMark = plane.conntrack.mark(plane.ip[row + Ip.Ct] >> 1)
          }
        } else if (cached === 2) continue
        verdict = this.table(step, slot, nowMs)
        if (cached === 3 && (verdict === Verdict.Drop || this.lastRules(base + i + 1))) {
          if (verdict !== Verdict.Stolen)
            this.cache.note(plane, program, this.walk, slot, row, mark, ctMark, verdict)
          cached = 1
        }
      }
      if (verdict === Verdict.Accept) continue
      if (verdict === Verdict.Drop) return this.drop(hook, slot, row, nowMs)
      this.waitingSerial[slot] = this.serials[plane.ip[row + Ip.Ct] >> 1]
      return verdict
    }
    return Verdict.Accept
  }

  /** No table follows. */
  private lastRules(at: number): boolean {
    for (let i = at; i % MAX_STEPS !== 0; i++) {
      const step = this.steps[i]
      if (step < 0) return true
      if (step < Step.Conntrack) return false
    }
    return true
  }

  private table(table: number, slot: number, nowMs: number): Verdict {
    const { plane } = this
    const program = plane.ip[(slot << IP_SHIFT) + Ip.Family] === 4 ? this.v4 : this.v6
    if (program === null) return Verdict.Accept
    return this.walk.run(program, table * HOOKS + plane.hook, slot, nowMs)
  }

  private connection(step: Step, slot: number, row: number, nowMs: number): Verdict {
    const { connections, plane } = this
    if (step === Step.Conntrack) return connections.track(slot, row, nowMs)
    if (step === Step.Confirm) return connections.confirm(slot, row, nowMs)
    const manip = step === Step.NatDst ? Manip.Destination : Manip.Source
    if (connections.asks(slot, row, manip) || connections.shows(row, manip)) {
      const program = plane.ip[row + Ip.Family] === 4 ? this.v4 : this.v6
      if (program?.has(TableId.Nat, plane.hook)) {
        const verdict = this.table(TableId.Nat, slot, nowMs)
        if (verdict !== Verdict.Accept) return verdict
      }
    }
    return connections.translate(slot, row, manip, nowMs)
  }

  private drop(hook: Hook, slot: number, row: number, nowMs: number): Verdict {
    const { conntrack, host, ip, reason, refused, reply } = this.plane
    const iface = hook === Hook.Output ? ip[row + Ip.OutIf] : ip[row + Ip.InIf]
    const exhausted =
      reason === Drop.NatExhausted || reason === Drop.ConntrackFull || reason === Drop.ConntrackSource
    if (refused !== 0 || (this.explain && exhausted)) {
      const prohibited = PROHIBITED[ip[row + Ip.Family] === 4 ? 0 : 1]
      this.connections.attached = ip[row + Ip.Ct]
      const sent = host.reject(slot, refused !== 0 ? reply : prohibited, nowMs)
      const reset = sent && refused !== 0 && reply === TCP_RESET && ip[row + Ip.Ct] >= 2
      if (reset) conntrack.close(ip[row + Ip.Ct] >> 1, nowMs)
      this.connections.attached = -1
    }
    if (this.tracked) conntrack.drop(slot)
    host.lose(iface, slot, reason)
    return Verdict.Drop
  }

  gone(slot: number): void {
    if (this.tracked) this.plane.conntrack.drop(slot)
  }

  tick(nowMs: number): void {
    // Also when no rule asks any more: what is there ends in its time.
    this.plane.conntrack.tick(nowMs)
  }
}
