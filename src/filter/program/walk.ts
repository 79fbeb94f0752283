// HOT
/**
 * A packet through one chain of one table, as ipt_do_table does it: record by record until a verdict.
 * layout.ts has the picture. What was hit is noted in `path`, for flow-cache.ts.
 *
 * Notes on performance (one of two busy cores, Node 20; a new flow through FORWARD, no conntrack):
 *
 *     rules                                    10        1,000      10,000
 *     nothing in common                     90 ns   3.5 to 4.6 ns   3.7 to 4.6 ns a rule
 *     a dispatch over all of them           90 ns       0.1 ns         0.01 ns a rule
 *     established, from the flow cache      80 ns       80 ns          80 ns (all rules)
 *
 * Generated code was not tried: a rule costs about as much as the cache line it is read from.
 */
import { Verdict } from '../../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../../packet/ip.ts'
import { act } from './act.ts'
import { Answer, Body, Dispatch, Head, Rule, Target } from './layout.ts'
import { matchOps } from './match.ts'
import type { Plane } from './plane.ts'
import type { Program } from './program.ts'
import type { Report } from './report.ts'

const GOLDEN = 0x9e3779b1
/** Counters of one way through the tables of a hook that are noted; longer ways are not remembered. */
export const MAX_PATH = 22

export class Walk {
  readonly path = new Int32Array(MAX_PATH)
  /** MAX_PATH + 1: too long. */
  length = 0
  private readonly plane: Plane
  private readonly report: Report

  constructor(plane: Plane, report: Report) {
    this.plane = plane
    this.report = report
  }

  /** @param chain table * HOOKS + hook */
  run(program: Program, chain: number, slot: number, nowMs: number): Verdict {
    const { plane, report } = this
    const { ip, short } = plane
    const w = program.words
    const { stack } = program
    const row = slot << IP_SHIFT
    let depth = 0
    let r = w[Head.Chains + chain]
    /** Record behind the run that a dispatch led into; 0 = rules are tried one by one. */
    let run = 0
    for (;;) {
      if (short !== 0) {
        if (!passes(w, ip, row, r) && w[w[r + Rule.Body] + Body.Ordered] === 0) {
          r += Rule.Words
          continue
        }
      } else if (run === 0) r = scan(w, ip, row, r)
      else if (!passes(w, ip, row, r)) {
        r = w[r + Rule.Next]
        if (r === run) run = 0
        continue
      }
      const body = w[r + Rule.Body]
      const next = run === 0 ? r + Rule.Words : w[r + Rule.Next]
      const nextRun = next === run ? 0 : run
      // A packet cut short is asked in the order of the text: the first that looks for ports drops it.
      const ops = short !== 0 && w[body + Body.Ordered] !== 0 ? w[body + Body.Ordered] : body + Body.Ops
      if (w[ops] !== 0) {
        const answer = matchOps(plane, program, ops, slot, nowMs)
        if (answer !== Answer.Yes) {
          if (answer === Answer.HotDrop) return Verdict.Drop
          r = next
          run = nextRun
          continue
        }
      }
      const counter = w[body + Body.Counter]
      if (counter >= 0) this.count(program, counter, slot, row)
      switch (w[body + Body.Target]) {
        case Target.Accept:
          return Verdict.Accept
        case Target.Drop:
          return Verdict.Drop
        case Target.Jump:
          stack[depth] = next
          stack[depth + 1] = nextRun
          depth += 2
          r = w[body + Body.Arg]
          run = 0
          break
        case Target.Goto:
          r = w[body + Body.Arg]
          run = 0
          break
        case Target.Return:
        case Target.End:
          if (depth > 0) {
            depth -= 2
            r = stack[depth]
            run = stack[depth + 1]
          } else {
            // Out of a built-in chain: its policy, which counts.
            r = w[Head.Ends + chain]
            run = 0
          }
          break
        case Target.Dispatch: {
          // A packet cut short must come past every rule that asks for ports.
          const table = w[body + Body.Arg]
          r = short !== 0 ? next : this.dispatch(w, table, row)
          run = short !== 0 || r === w[table + Dispatch.Behind] ? 0 : w[table + Dispatch.Behind]
          break
        }
        case Target.None:
          r = next
          run = nextRun
          break
        default: {
          const verdict = act(plane, program, report, body, slot, nowMs)
          if (verdict >= 0) return verdict
          r = next
          run = nextRun
        }
      }
    }
  }

  private count(program: Program, counter: number, slot: number, row: number): void {
    const { plane, report } = this
    const { counters } = program
    counters[2 * counter]++
    counters[2 * counter + 1] += plane.ip[row + Ip.Length]
    if (this.length < MAX_PATH) this.path[this.length] = counter
    if (this.length <= MAX_PATH) this.length++
    if (report.traced[slot] !== 0) report.trace(plane, slot, counter)
  }

  /** The first rule of a run for this packet, or the record behind the run. */
  private dispatch(w: Int32Array, table: number, row: number): number {
    const value = this.plane.ip[row + w[table + Dispatch.Word]] & w[table + Dispatch.Mask]
    const shift = w[table + Dispatch.Shift]
    const mask = (1 << (32 - shift)) - 1
    let slot = Math.imul(value, GOLDEN) >>> shift
    for (;;) {
      const pair = table + Dispatch.Pairs + 2 * slot
      const record = w[pair + 1]
      if (record === 0) return w[table + Dispatch.Behind]
      if (w[pair] === value) return record
      slot = (slot + 1) & mask
    }
  }
}

/** The compares of a record hold. */
function passes(w: Int32Array, ip: Int32Array, row: number, r: number): boolean {
  return (
    (((ip[row + w[r + Rule.Word0]] ^ w[r + Rule.Value0]) & w[r + Rule.Mask0]) |
      ((ip[row + w[r + Rule.Word1]] ^ w[r + Rule.Value1]) & w[r + Rule.Mask1]) |
      ((ip[row + w[r + Rule.Word2]] ^ w[r + Rule.Value2]) & w[r + Rule.Mask2]) |
      ((ip[row + w[r + Rule.Word3]] ^ w[r + Rule.Value3]) & w[r + Rule.Mask3])) ===
    0
  )
}

/**
 * The first record from `r` on whose compares hold; the last of a chain always does. Nothing is called in this
 * loop, so V8 keeps the arrays' addresses in registers; and no step waits for a load of where to go next.
 */
function scan(w: Int32Array, ip: Int32Array, row: number, r: number): number {
  for (;;) {
    if (
      ((ip[row + w[r + Rule.Word0]] ^ w[r + Rule.Value0]) & w[r + Rule.Mask0]) === 0 &&
      (((ip[row + w[r + Rule.Word1]] ^ w[r + Rule.Value1]) & w[r + Rule.Mask1]) |
        ((ip[row + w[r + Rule.Word2]] ^ w[r + Rule.Value2]) & w[r + Rule.Mask2]) |
        ((ip[row + w[r + Rule.Word3]] ^ w[r + Rule.Value3]) & w[r + Rule.Mask3])) ===
        0
    )
      return r
    r += Rule.Words
  }
}
