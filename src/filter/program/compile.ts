/**
 * The compiler: a RuleSet into a ProgramMemory (layout.ts). It runs in the control thread and touches nothing
 * that is in force; the worker puts the finished program in place between two batches (netfilter.ts, set).
 *
 * Names of interfaces become indices here: when an interface comes, goes or is renamed, compile again.
 */
import type { Chain, HookName, RuleSet, Table, TableName } from '../model.ts'
import { actionOf } from './actions.ts'
import { headerConditions, type OpCondition } from './condition.ts'
import type { CompileContext, CompileOptions } from './context.ts'
import { countersOf } from './counters.ts'
import { arrange, type Draft, findRuns, type Run, sortConditions, testOf, writeTests } from './draft.ts'
import { Body, Dispatch, Head, HOOKS, Op, Rule, TableId, Target } from './layout.ts'
import type { ProgramMemory } from './memory.ts'
import { matchConditions } from './ops.ts'

const TABLE: Readonly<Record<TableName, TableId>> = {
  raw: TableId.Raw,
  mangle: TableId.Mangle,
  nat: TableId.Nat,
  filter: TableId.Filter,
  security: TableId.Security,
}
const HOOK_INDEX: Readonly<Record<HookName, number>> = {
  PREROUTING: 0,
  INPUT: 1,
  FORWARD: 2,
  OUTPUT: 3,
  POSTROUTING: 4,
}
/** The first record; every record is a cache line. */
const FIRST = Head.Words
const GOLDEN = 0x9e3779b1

export type { CompileOptions } from './context.ts'

export function compile(rules: RuleSet, options: CompileOptions): ProgramMemory {
  return new Compiler(rules, options).write()
}

/** A record without conditions or counter. */
const PLAIN = { tests: [], ops: [], ordered: [], counter: -1, arg: 0, arg2: 0 }

interface ChainDraft {
  chain: Chain
  drafts: Draft[]
  runs: Run[]
  /** Record it begins with. */
  start: number
  /** Record of its policy, or of its return. */
  end: number
  /** Record of each rule. */
  records: number[]
  policyCounter: number
}

class Compiler {
  private readonly rules: RuleSet
  private readonly context: CompileContext
  /** By table of the rule set. */
  private readonly chains: ChainDraft[][]
  private words: Int32Array = new Int32Array(0)
  /** Where the next body goes. */
  private free = 0

  constructor(rules: RuleSet, options: CompileOptions) {
    this.rules = rules
    const { list, counters } = countersOf(rules, options.counters === true)
    const memory: ProgramMemory = {
      family: rules.family,
      words: new SharedArrayBuffer(0),
      counters,
      limits: [],
      counts: [],
      recents: [],
      hashlimits: [],
      connlimits: [],
      sets: [],
      ranges: [],
    }
    this.context = {
      setMemories: new Map(),
      ...options,
      family: rules.family,
      table: 'filter',
      memory,
      tcpFlags: 0,
      tracks: false,
    }
    let counter = 0
    this.chains = rules.tables.map((table) =>
      table.chains.map((chain) => {
        const drafts = chain.rules.map((_, at) => this.draft(table, chain, at, counter + at))
        counter += chain.rules.length
        arrange(drafts)
        const policyCounter = chain.hook === null ? -1 : counter++
        return { chain, drafts, runs: findRuns(drafts), start: 0, end: 0, records: [], policyCounter }
      }),
    )
    if (counter !== list.length) throw new Error('counters and rules do not agree')
  }

  private draft(table: Table, chain: Chain, at: number, counter: number): Draft {
    const { context } = this
    context.table = table.name
    const rule = chain.rules[at]
    const conditions = [
      ...headerConditions(rule, context),
      ...rule.matches.flatMap((match) => matchConditions(match, rule, context)),
    ]
    return { ...sortConditions(conditions), counter, ...actionOf(rule.target, context) }
  }

  write(): ProgramMemory {
    const records = this.place()
    const { memory } = this.context
    this.free = FIRST + records * Rule.Words
    memory.words = new SharedArrayBuffer((this.free + this.bodyWords()) * 4)
    this.words = new Int32Array(memory.words)
    for (const table of this.chains) for (const one of table) this.writeChain(one, table)
    this.writeHead()
    return memory
  }

  /** Gives every chain and rule its record. Records in all. */
  private place(): number {
    let records = 0
    const next = (): number => FIRST + records++ * Rule.Words
    for (const one of this.chains.flat()) {
      one.start = FIRST + records * Rule.Words
      for (let at = 0, run = 0; at < one.drafts.length; at++) {
        if (one.runs[run]?.first === at) {
          run++
          next()
        }
        one.records.push(next())
      }
      one.end = next()
    }
    return records
  }

  private bodyWords(): number {
    let words = 0
    for (const { drafts, runs } of this.chains.flat()) {
      words += (drafts.length + runs.length + 1) * (Body.Ops + 1)
      for (const { ops, ordered } of drafts) {
        for (const one of [...ops, ...ordered]) words += one.operands.length + 2
        if (ordered.length > 0) words++
      }
      for (const run of runs) words += Dispatch.Pairs + 2 * slotsOf(run)
    }
    return words
  }

  private writeChain(one: ChainDraft, table: ChainDraft[]): void {
    const { drafts, records, runs, chain, end } = one
    const { words } = this
    for (const [at, draft] of drafts.entries()) {
      writeTests(words, records[at], draft.tests)
      words[records[at] + Rule.Next] = records[at] + Rule.Words
      this.writeBody(records[at], draft, draft.chain === undefined ? draft.arg : table[draft.chain].start)
    }
    for (const run of runs) this.writeRun(run, one)
    const policy = chain.policy === 'DROP' ? Target.Drop : Target.Accept
    const target = chain.hook === null ? Target.End : policy
    words[end + Rule.Next] = end
    this.writeBody(end, { ...PLAIN, counter: one.policyCounter, target }, 0)
  }

  private writeBody(record: number, draft: Draft, arg: number): void {
    const { words } = this
    const at = this.free
    words[record + Rule.Body] = at
    words[at + Body.Counter] = draft.counter
    words[at + Body.Target] = draft.target
    words[at + Body.Arg] = arg
    words[at + Body.Arg2] = draft.arg2
    this.free = at + Body.Ops
    this.writeOps(draft.ops)
    if (draft.ordered.length === 0) return
    words[at + Body.Ordered] = this.free
    this.writeOps(draft.ordered)
  }

  private writeOps(ops: readonly OpCondition[]): void {
    const { words } = this
    for (const { op, operands } of ops) {
      words[this.free++] = op
      words[this.free++] = operands.length + 2
      for (const operand of operands) words[this.free++] = operand
    }
    words[this.free++] = Op.End
  }

  /** The record before the run, its table, and the `next` of its rules. */
  private writeRun(run: Run, { drafts, records }: ChainDraft): void {
    const { words } = this
    const record = records[run.first] - Rule.Words
    const behind = records[run.behind - 1] + Rule.Words
    const table = this.free
    const slots = slotsOf(run)
    this.free += Dispatch.Pairs + 2 * slots
    words[table + Dispatch.Word] = run.word
    words[table + Dispatch.Mask] = run.mask
    words[table + Dispatch.Shift] = 32 - Math.log2(slots)
    words[table + Dispatch.Behind] = behind
    for (let at = run.behind - 1; at >= run.first; at--) {
      const { value } = testOf(drafts[at], run.word, run.mask)!
      let slot = Math.imul(value, GOLDEN) >>> words[table + Dispatch.Shift]
      const pair = (): number => table + Dispatch.Pairs + 2 * slot
      while (words[pair() + 1] !== 0 && words[pair()] !== value) slot = (slot + 1) & (slots - 1)
      words[records[at] + Rule.Next] = words[pair() + 1] || behind
      words[pair()] = value
      words[pair() + 1] = records[at]
    }
    words[record + Rule.Next] = record + Rule.Words
    this.writeBody(record, { ...PLAIN, target: Target.Dispatch }, table)
  }

  private writeHead(): void {
    const { words, rules, context } = this
    words[Head.Family] = rules.family
    words[Head.Depth] = this.chains.reduce((most, table) => Math.max(most, table.length), 1)
    words[Head.TcpFlags] = context.tcpFlags
    words[Head.Counters] = context.memory.counters.byteLength / 16
    words[Head.Tracks] = context.tracks ? 1 : 0
    for (const [t, { name }] of rules.tables.entries()) {
      for (const { chain, start, end } of this.chains[t]) {
        if (chain.hook === null) continue
        const at = TABLE[name] * HOOKS + HOOK_INDEX[chain.hook]
        words[Head.Chains + at] = start
        words[Head.Ends + at] = end
      }
    }
  }
}

/** Places of a run's table: a power of two, at most half taken. */
function slotsOf({ first, behind }: Run): number {
  let slots = 4
  while (slots < 2 * (behind - first)) slots *= 2
  return slots
}
