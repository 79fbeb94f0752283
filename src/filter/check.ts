/**
 * What can be said only of a whole table: jumps lead to user-defined chains and never back, and a rule may
 * stand where it stands. A chain's `reach` is the set of hooks from which packets can come to it, as the
 * kernel marks it (mark_source_chains); a match or target is valid if it is valid in all of them.
 */
import { type Problems, Wrong } from './error.ts'
import type { IpSet } from './ipset.ts'
import { findMatch } from './matches/index.ts'
import {
  type Chain,
  type Family,
  type HashlimitMatch,
  HOOK,
  type Rule,
  type SetMatch,
  type Table,
} from './model.ts'
import type { Place } from './option.ts'
import { findTarget, targetNames } from './targets/index.ts'

/** A jump read, its chain not yet looked up. */
export interface PendingJump {
  rule: Rule
  chain: string
  goto: boolean
}

export interface TableDraft {
  table: Table
  jumps: PendingJump[]
  /** Line by number, for messages. */
  textOf(line: number): string
}

export interface CheckContext {
  family: Family
  problems: Problems
  /** undefined: sets are not known, any name will do. */
  sets?: ReadonlyMap<string, IpSet>
  /** Of hashlimit's tables found so far, in all tables of rules: does it measure? */
  measured: Map<string, boolean>
}

export function checkTable(draft: TableDraft, context: CheckContext): void {
  resolveJumps(draft, context)
  if (findLoops(draft, context)) return
  markReach(draft.table.chains)
  for (const chain of draft.table.chains) {
    for (const rule of chain.rules) {
      const place = { table: draft.table.name, reach: chain.reach, rule }
      context.problems.guard(rule.line, draft.textOf(rule.line), () => checkRule(place, context))
    }
  }
}

function resolveJumps({ table, jumps, textOf }: TableDraft, { family, problems }: CheckContext): void {
  const index = new Map(table.chains.map((chain, at) => [chain.name, at]))
  for (const { rule, chain, goto } of jumps) {
    const at = index.get(chain)
    if (at !== undefined && table.chains[at].hook === null) {
      rule.target = { kind: 'jump', chain: at, goto }
      continue
    }
    const text = textOf(rule.line)
    if (at !== undefined)
      problems.add(rule.line, text, `'${chain}' is a built-in chain, nothing can jump there`)
    else {
      const chains = table.chains.filter((one) => one.hook === null).map((one) => `chain ${one.name}`)
      problems.add(rule.line, text, `unknown target or chain '${chain}'`, [...targetNames(family), ...chains])
    }
  }
}

function jumpOf(rule: Rule): number {
  return rule.target?.kind === 'jump' ? rule.target.chain : -1
}

/** Depth first with a stack of our own: a file may have a million chains in a row. */
function findLoops({ table: { chains }, textOf }: TableDraft, { problems }: CheckContext): boolean {
  const NEW = 0
  const OPEN = 1
  const DONE = 2
  const state = new Uint8Array(chains.length)
  let found = false
  for (let start = 0; start < chains.length; start++) {
    if (state[start] !== NEW) continue
    const path = [{ chain: start, next: 0 }]
    state[start] = OPEN
    while (path.length > 0) {
      const top = path[path.length - 1]
      const rule = chains[top.chain].rules[top.next++]
      if (rule === undefined) {
        state[top.chain] = DONE
        path.pop()
        continue
      }
      const to = jumpOf(rule)
      if (to < 0) continue
      if (state[to] === NEW) {
        state[to] = OPEN
        path.push({ chain: to, next: 0 })
      } else if (state[to] === OPEN) {
        found = true
        const loop = path
          .slice(path.findIndex(({ chain }) => chain === to))
          .map(({ chain }) => chains[chain].name)
        const shown = loop.length > 8 ? [...loop.slice(0, 4), '...', ...loop.slice(-3)] : loop
        problems.add(
          rule.line,
          textOf(rule.line),
          `the jumps form a loop: ${[...shown, chains[to].name].join(' -> ')}`,
        )
      }
    }
  }
  return found
}

function markReach(chains: readonly Chain[]): void {
  for (const [at, { hook }] of chains.entries()) {
    if (hook === null) continue
    const bit = HOOK[hook]
    const open = [at]
    for (let chain = open.pop(); chain !== undefined; chain = open.pop()) {
      if (chains[chain].reach & bit) continue
      chains[chain].reach |= bit
      for (const rule of chains[chain].rules) {
        const to = jumpOf(rule)
        if (to >= 0) open.push(to)
      }
    }
  }
}

function checkRule(place: Place, { family, measured, sets }: CheckContext): void {
  for (const match of place.rule.matches) {
    complain(findMatch(match.kind, family)?.check?.(match, place))
    if (match.kind === 'set' && sets) checkSet(match, sets, family)
    if (match.kind === 'hashlimit') checkHashlimit(match, measured)
  }
  const { target } = place.rule
  if (target && target.kind !== 'jump') complain(findTarget(target.kind, family)?.check?.(target, place))
}

function complain(message: string | undefined): void {
  if (message !== undefined) throw new Wrong(message)
}

/** The kernel takes both, and reads the one's sums as the other's credits. */
function checkHashlimit({ intervalS, name }: HashlimitMatch, measured: Map<string, boolean>): void {
  const before = measured.get(name) ?? intervalS > 0
  measured.set(name, before)
  if (before !== intervalS > 0)
    throw new Wrong(
      `hashlimit: a rule before this one has the table '${name}' ${before ? 'with' : 'without'} --hashlimit-rate-match`,
    )
}

function checkSet(match: SetMatch, sets: ReadonlyMap<string, IpSet>, family: Family): void {
  const set = sets.get(match.set)
  if (!set) throw new Wrong(`there is no set '${match.set}'`, [...sets.keys()].slice(0, 50))
  if (set.family !== null && set.family !== family)
    throw new Wrong(`set '${match.set}' holds IPv${set.family} addresses`)
  const wanted = set.type.split(':')[1].split(',').length
  if (match.sides.length < wanted) {
    throw new Wrong(
      `set '${match.set}' is a ${set.type}: it needs ${wanted} of src and dst, separated by commas`,
    )
  }
  if ((match.packets || match.bytes) && !set.counters) throw new Wrong(`set '${match.set}' has no counters`)
}
