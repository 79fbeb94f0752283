/**
 * A rule with its conditions sorted: up to four compares for the record, most telling first, the rest as ops.
 *
 *     hoisted    compares that stand before every op with effects (or that may drop): tried in any order
 *     merged     compares of one word become one (protocol, interfaces and `no later fragment` are one word)
 *     left out   the guard of a transport header, where a port is hoisted
 *     ordered    all of them, as written, where a transport header is asked for: a packet that is cut off in it is
 *                dropped if it comes so far (hotdrop), so there the order is all that counts
 */
import { Ip } from '../../packet/ip.ts'
import type { Condition, OpCondition } from './condition.ts'
import { Op, Rule, STATEFUL, type Target, TESTS } from './layout.ts'

export interface Test {
  word: number
  value: number
  mask: number
}

export interface Draft {
  /** Hoisted, not yet cut down to TESTS. */
  tests: Test[]
  ops: OpCondition[]
  /** All conditions as written, if one asks for a transport header: Body.Ordered. */
  ordered: readonly OpCondition[]
  counter: number
  target: Target
  arg: number
  arg2: number
  /** Index of the chain to go to, for a jump. */
  chain?: number
}

/** Puts the conditions of a rule in order. */
export function sortConditions(conditions: readonly Condition[]): Pick<Draft, 'tests' | 'ops' | 'ordered'> {
  const tests = new Map<number, Test>()
  const ops: OpCondition[] = []
  let effects = false
  let never = false
  for (const one of conditions) {
    if (one.kind === 'op') {
      effects ||= one.op >= STATEFUL || one.op === Op.TcpOption || one.op === Op.Tcpmss
      ops.push(one)
    } else if (effects) ops.push(asOp(one))
    else {
      const same = tests.get(one.word)
      if (!same) tests.set(one.word, { word: one.word, value: one.value, mask: one.mask })
      else if (((same.value ^ one.value) & same.mask & one.mask) !== 0) never = true
      else tests.set(one.word, { word: one.word, value: same.value | one.value, mask: same.mask | one.mask })
    }
  }
  if (never) ops.unshift({ kind: 'op', op: Op.Never, operands: [] })
  const hoistedPorts = tests.has(Ip.Ports)
  return {
    tests: [...tests.values()].filter(({ mask }) => mask !== 0),
    ops: ops.filter((one) => !(hoistedPorts && isGuard(one))),
    ordered: conditions.some(isGuard) ? conditions.map(asOp) : [],
  }
}

const isGuard = (one: Condition): boolean => one.kind === 'op' && one.op === Op.Guard

const asOp = (one: Condition): OpCondition =>
  one.kind === 'op' ? one : { kind: 'op', op: Op.Word, operands: [one.word, one.value, one.mask, 0] }

/**
 * Chooses the compares of each record of a chain and their order: what differs most between the rules of a
 * chain fails most often.
 */
export function arrange(chain: readonly Draft[]): void {
  const distinct = new Map<string, Set<number>>()
  for (const { tests } of chain) {
    for (const { word, value, mask } of tests) {
      const key = `${word}/${mask}`
      const seen = distinct.get(key)
      if (seen) seen.add(value)
      else distinct.set(key, new Set([value]))
    }
  }
  const rank = ({ word, mask }: Test): number => distinct.get(`${word}/${mask}`)!.size * 64 + ones(mask)
  for (const draft of chain) {
    draft.tests.sort((a, b) => rank(b) - rank(a))
    const rest = draft.tests.splice(TESTS)
    draft.ops.unshift(...rest.map((test) => asOp({ kind: 'word', ...test })))
  }
}

function ones(mask: number): number {
  let n = 0
  for (let m = mask; m !== 0; m &= m - 1) n++
  return n
}

export interface Run {
  word: number
  mask: number
  /** Rules [first, behind) of the chain. */
  first: number
  behind: number
}

/** A run is worth a dispatch from so many rules, with so many values, on. */
const LEAST_RULES = 8
const LEAST_VALUES = 4

/** The runs of a chain that get a dispatch, in order, none over another. */
export function findRuns(chain: readonly Draft[]): Run[] {
  const ends = runEnds(chain)
  const runs: Run[] = []
  /** Runs with too few values, by word and mask: not to be counted again. */
  const poor = new Map<string, number>()
  for (let at = 0; at < chain.length; ) {
    let best: Run | null = null
    let most = 0
    for (const { word, mask } of chain[at].tests) {
      const key = `${word}/${mask}`
      const behind = ends[at].get(key)!
      if (behind - at < LEAST_RULES || (poor.get(key) ?? 0) >= behind) continue
      const values = new Set(chain.slice(at, behind).map((draft) => testOf(draft, word, mask)!.value)).size
      if (values < LEAST_VALUES) poor.set(key, behind)
      const spared = (behind - at) * (1 - 1 / values)
      if (values >= LEAST_VALUES && spared > most) {
        best = { word, mask, first: at, behind }
        most = spared
      }
    }
    if (best) runs.push(best)
    at = best ? best.behind : at + 1
  }
  return runs
}

export function testOf(draft: Draft, word: number, mask: number): Test | undefined {
  return draft.tests.find((test) => test.word === word && test.mask === mask)
}

/** For every rule and compare of it: the first rule behind that has no such compare. */
function runEnds(chain: readonly Draft[]): Map<string, number>[] {
  const ends: Map<string, number>[] = new Array(chain.length)
  for (let at = chain.length - 1; at >= 0; at--) {
    ends[at] = new Map(
      chain[at].tests.map(({ word, mask }) => [
        `${word}/${mask}`,
        ends[at + 1]?.get(`${word}/${mask}`) ?? at + 1,
      ]),
    )
  }
  return ends
}

/** The words of a record's compares. */
export function writeTests(words: Int32Array, record: number, tests: readonly Test[]): void {
  for (const [i, { word, value, mask }] of tests.entries()) {
    words[record + Rule.Word0 + 3 * i] = word
    words[record + Rule.Value0 + 3 * i] = value
    words[record + Rule.Mask0 + 3 * i] = mask
  }
}
