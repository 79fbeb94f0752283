/**
 * A program in the worker: the compiler's words and what its rules remember. Named tables (recent, hashlimit)
 * are taken over from the program before, if they are the same; everything else begins anew.
 */
import type { NatRange } from '../nat/range.ts'
import { Connlimit } from './connlimit.ts'
import { Hashlimit } from './hashlimit.ts'
import { Head, HOOKS } from './layout.ts'
import type { ProgramMemory } from './memory.ts'
import { Recent } from './recent.ts'
import { RuntimeSet } from './sets.ts'

export interface ProgramParts {
  /** By conntrack entry. */
  serials: Int32Array
  seed: number
  before: Program | null
}

export class Program {
  readonly words: Int32Array
  readonly counters: Float64Array
  /** By limit: cost, cap, credit, since. */
  readonly limits: Float64Array
  readonly counts: Float64Array
  readonly recents: Recent[]
  readonly hashlimits: Hashlimit[]
  readonly connlimits: Connlimit[]
  readonly sets: RuntimeSet[]
  readonly ranges: NatRange[]
  /** Records to come back to, and the ends of the runs they are in. */
  readonly stack: Int32Array
  readonly tcpFlags: number
  readonly tracks: boolean
  private state: number

  constructor(memory: ProgramMemory, { serials, seed, before }: ProgramParts) {
    this.words = new Int32Array(memory.words)
    this.counters = new Float64Array(memory.counters)
    this.limits = Float64Array.from(
      memory.limits.flatMap(({ cost100us, burst }) => [cost100us, cost100us * burst, cost100us * burst, -1]),
    )
    this.counts = Float64Array.from(memory.counts)
    const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
    this.recents = memory.recents.map(
      (spec) => before?.recents.find((one) => same(one.spec, spec)) ?? new Recent(spec, seed),
    )
    this.hashlimits = memory.hashlimits.map(
      (spec) => before?.hashlimits.find((one) => same(one.spec, spec)) ?? new Hashlimit(spec, seed),
    )
    this.connlimits = memory.connlimits.map((spec) => new Connlimit(spec, serials, seed))
    this.sets = memory.sets.map((set) => new RuntimeSet(set))
    this.ranges = memory.ranges
    this.stack = new Int32Array(2 * this.words[Head.Depth])
    this.tcpFlags = this.words[Head.TcpFlags]
    this.tracks = this.words[Head.Tracks] !== 0
    this.state = before?.state ?? seed
  }

  /** The rules have a chain of this table at this hook. */
  has(table: number, hook: number): boolean {
    return this.words[Head.Chains + table * HOOKS + hook] !== 0
  }

  /** That chain has a policy and no rules. */
  isEmpty(table: number, hook: number): boolean {
    const at = table * HOOKS + hook
    return this.words[Head.Chains + at] === this.words[Head.Ends + at]
  }

  /** 31 random bits; the same for the same seed (mulberry32, a public-domain design). */
  random(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) & 0x7fffffff
  }

  /** Goes on with counters of the program before. @param from index there by index here, -1 = none */
  carry(before: Program, from: Int32Array): void {
    for (const [to, index] of from.entries()) {
      if (index < 0) continue
      this.counters[2 * to] += before.counters[2 * index]
      this.counters[2 * to + 1] += before.counters[2 * index + 1]
    }
  }
}
