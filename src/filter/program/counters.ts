/**
 * Counters of a rule set: who has which index. In the order of the rule set: the rules of a chain, then its
 * policy if it is a built-in one; chain by chain, table by table.
 */
import type { Chain, Counters, Rule, RuleSet } from '../model.ts'
import { printRule } from '../print.ts'
import type { ProgramMemory } from './memory.ts'

/** Rules and built-in chains by index. */
export function counted(rules: RuleSet): (Rule | Chain)[] {
  return rules.tables.flatMap(({ chains }) =>
    chains.flatMap((chain) => (chain.hook === null ? chain.rules : [...chain.rules, chain])),
  )
}

/** Memory for the counters, with those of the rule set or zero. */
export function countersOf(
  rules: RuleSet,
  keep: boolean,
): { list: (Rule | Chain)[]; counters: SharedArrayBuffer } {
  const list = counted(rules)
  const counters = new SharedArrayBuffer(list.length * 16)
  const words = new Float64Array(counters)
  if (keep) {
    for (const [i, one] of list.entries()) {
      words[2 * i] = Number(one.counters.packets)
      words[2 * i + 1] = Number(one.counters.bytes)
    }
  }
  return { list, counters }
}

/** Takes the live counters into the rule set, which can then be printed (print.ts). Any thread may. */
export function readCounters(rules: RuleSet, memory: Pick<ProgramMemory, 'counters'>): void {
  const words = new Float64Array(memory.counters)
  for (const [i, one] of counted(rules).entries()) {
    const counters: Counters = { packets: BigInt(words[2 * i]), bytes: BigInt(words[2 * i + 1]) }
    one.counters = counters
  }
}

/**
 * Which counters go on in a new rule set: for each of its indices the one of the old rule set's rule with the
 * same text in the same chain (the first such rule's goes to the first), or -1.
 */
export function carriedCounters(from: RuleSet, to: RuleSet): Int32Array {
  const old = new Map<string, number[]>()
  for (const [i, name] of names(from).entries()) {
    const same = old.get(name)
    if (same) same.push(i)
    else old.set(name, [i])
  }
  return Int32Array.from(names(to), (name) => old.get(name)?.shift() ?? -1)
}

function names(rules: RuleSet): string[] {
  return rules.tables.flatMap((table) =>
    table.chains.flatMap((chain) => [
      ...chain.rules.map((rule) => `${table.name} ${printRule(rule, chain, table, rules.family)}`),
      ...(chain.hook === null ? [] : [`${table.name} ${chain.name}`]),
    ]),
  )
}
