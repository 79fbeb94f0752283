// HOT
/**
 * A packet through one chain of one table, as ipt_do_table does it: record by record until a verdict.
 * layout.ts has the picture. What was hit is noted in `path`, for flow-cache.ts.
 *
 * Notes on performance (bench/filter.ts): a rule that does not match costs five loads and one branch that is
 * guessed right, some 1 to 2 ns. Generated code was not tried beyond a sketch: V8 does not optimise functions
 * of ten thousand rules at all, and a run with a dispatch costs nothing per rule.
 */
import { Verdict } from '../../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../../packet/ip.ts'
import { act } from './act.ts'
import { Answer, Body, Dispatch, Head, Rule, Target, TESTS } from './layout.ts'
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
    const traced = report.traced[slot] !== 0
    let depth = 0
    let r = w[Head.Chains + chain]
    for (;;) {
      if (short !== 0 && this.cutOff(w, r, row)) return Verdict.Drop
      if (
        ((ip[row + w[r + Rule.Word0]] ^ w[r + Rule.Value0]) & w[r + Rule.Mask0]) !== 0 ||
        (((ip[row + w[r + Rule.Word1]] ^ w[r + Rule.Value1]) & w[r + Rule.Mask1]) |
          ((ip[row + w[r + Rule.Word2]] ^ w[r + Rule.Value2]) & w[r + Rule.Mask2]) |
          ((ip[row + w[r + Rule.Word3]] ^ w[r + Rule.Value3]) & w[r + Rule.Mask3])) !==
          0
      ) {
        r = short !== 0 ? r + Rule.Words : w[r + Rule.Next]
        continue
      }
      const body = w[r + Rule.Body]
      const next = short !== 0 ? r + Rule.Words : w[r + Rule.Next]
      if (w[body + Body.Ops] !== 0) {
        const answer = matchOps(plane, program, body + Body.Ops, slot, nowMs)
        if (answer !== Answer.Yes) {
          if (answer === Answer.HotDrop) return Verdict.Drop
          r = next
          continue
        }
      }
      const counter = w[body + Body.Counter]
      if (counter >= 0) {
        program.counters[2 * counter]++
        program.counters[2 * counter + 1] += ip[row + Ip.Length]
        if (this.length < MAX_PATH) this.path[this.length] = counter
        if (this.length <= MAX_PATH) this.length++
        if (traced) report.trace(plane, slot, counter)
      }
      const target = w[body + Body.Target]
      switch (target) {
        case Target.Accept:
          return Verdict.Accept
        case Target.Drop:
          return Verdict.Drop
        case Target.Jump:
          stack[depth++] = next
          r = w[body + Body.Arg]
          break
        case Target.Goto:
          r = w[body + Body.Arg]
          break
        case Target.Return:
        case Target.End:
          // Out of a built-in chain: its policy, which counts.
          r = depth > 0 ? stack[--depth] : w[Head.Ends + chain]
          break
        case Target.None:
          r = next
          break
        case Target.Dispatch:
          r = short !== 0 ? next : this.dispatch(w, w[body + Body.Arg], row)
          break
        default: {
          const verdict = act(plane, program, report, body, slot, nowMs)
          if (verdict >= 0) return verdict
          r = next
        }
      }
    }
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

  /** The packet ends within its transport header, and the rule asks for ports: xtables drops it. */
  private cutOff(w: Int32Array, r: number, row: number): boolean {
    const { ip } = this.plane
    let asks = false
    for (let i = 0; i < TESTS; i++) {
      const word = w[r + Rule.Word0 + 3 * i]
      const mask = w[r + Rule.Mask0 + 3 * i]
      if (word === Ip.Ports && mask !== 0) asks = true
      else if (((ip[row + word] ^ w[r + Rule.Value0 + 3 * i]) & mask) !== 0) return false
    }
    return asks
  }
}
