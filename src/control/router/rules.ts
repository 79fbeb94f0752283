/**
 * A router's rules: what its files say and what the `nat` key says, as one rule set per family, compiled
 * for the worker. The key is sugar: it becomes rules of table nat like any others, behind those of the
 * files, and `show rules` prints them all.
 *
 *     masquerade { from, out }      POSTROUTING  -s FROM -o OUT -j MASQUERADE
 *     publish { listen, to }        PREROUTING, OUTPUT  -d LISTEN --dport P -j DNAT --to-destination TO
 *                                   POSTROUTING  hairpin: -s (subnet of TO) -d TO --dport P -j MASQUERADE
 */
import { isDeepStrictEqual } from 'node:util'
import type { FilterConfig } from '../../config/diff-router.ts'
import { NO_FILTER } from '../../config/router-resolve.ts'
import type { NatConfig } from '../../config/types.ts'
import { type IpSet, parseSets } from '../../filter/ipset.ts'
import type { RuleLoad } from '../../filter/load.ts'
import type { RuleSet } from '../../filter/model.ts'
import { parseRules } from '../../filter/parse.ts'
import { compile } from '../../filter/program/compile.ts'
import { carriedCounters } from '../../filter/program/counters.ts'
import type { ProgramMemory } from '../../filter/program/memory.ts'
import { carrySet } from '../../filter/program/set-live.ts'
import { buildSet, type SetMemory } from '../../filter/program/set-memory.ts'

export type { FilterConfig }

export interface LiveRules {
  config: FilterConfig
  v4: RuleSet | null
  v6: RuleSet | null
  memory4: ProgramMemory | null
  memory6: ProgramMemory | null
  /** By name, and their tables in shared memory. */
  sets: Map<string, IpSet>
  setMemories: Map<string, SetMemory>
  /** Counts how often rules were put in force. */
  generation: number
}

export const NO_RULES: LiveRules = {
  config: NO_FILTER,
  v4: null,
  v6: null,
  memory4: null,
  memory6: null,
  sets: new Map(),
  setMemories: new Map(),
  generation: 0,
}

/** An interface's subnet, for the hairpin of a publish. */
export interface Subnet {
  cidr: string
  contains(address: string): boolean
}

/**
 * @param names of the router's interfaces by index, '' = not in use
 * @throws RuleError with every mistake of a file
 */
export function buildRules(
  config: FilterConfig,
  before: LiveRules,
  names: string[],
  subnets: Subnet[],
): LiveRules {
  const nowMs = process.hrtime()[0] * 1000
  const { setMemories, sets } = liveSets(config, before, nowMs)
  const v4 = ruleSet(4, config, subnets, sets)
  const v6 = ruleSet(6, config, subnets, sets)
  const options = { interfaces: names, nowMs, sets, setMemories }
  return {
    config,
    v4,
    v6,
    memory4: v4 && compile(v4, options),
    memory6: v6 && compile(v6, options),
    sets,
    setMemories,
    generation: before.generation + 1,
  }
}

/** Sets that did not change go on with their tables, elements that did not with what is left of them. */
function liveSets(
  { sets: texts }: FilterConfig,
  before: LiveRules,
  nowMs: number,
): Pick<LiveRules, 'sets' | 'setMemories'> {
  if (isDeepStrictEqual(texts, before.config.sets)) return before
  const sets = new Map(texts.flatMap(({ file, text }) => [...parseSets(text, file)]))
  const setMemories = new Map<string, SetMemory>()
  for (const [name, set] of sets) {
    const memory = buildSet(set, { sets, setMemories, nowMs })
    const was = before.sets.get(name)
    const old = before.setMemories.get(name)
    if (was && old && set.type !== 'list:set') carrySet(was, old, set, memory)
  }
  return { sets, setMemories }
}

/** What the worker is told; rules that are the same keep their counters. */
export function loadOf(rules: LiveRules, before: LiveRules): RuleLoad {
  return {
    v4: rules.memory4,
    v6: rules.memory6,
    carry4: rules.v4 && before.v4 && carriedCounters(before.v4, rules.v4),
    carry6: rules.v6 && before.v6 && carriedCounters(before.v6, rules.v6),
    generation: rules.generation,
  }
}

function ruleSet(
  family: 4 | 6,
  config: FilterConfig,
  subnets: Subnet[],
  known: Map<string, IpSet>,
): RuleSet | null {
  const sets = config.rules
    .filter((r) => r.family === family)
    .map((r) => parseRules(r.text, { family, file: r.file, sets: known }))
  const text = natText(family, config.nat, subnets)
  if (text !== '') sets.push(parseRules(text, { family, file: 'nat' }))
  if (sets.length === 0) return null
  return sets.reduce(merged)
}

/** The tables of both; where both have a table, the rules of its built-in chains one behind the other. */
function merged(a: RuleSet, b: RuleSet): RuleSet {
  for (const table of b.tables) {
    const mine = a.tables.find((t) => t.name === table.name)
    if (!mine) a.tables.push(table)
    else {
      for (const chain of table.chains) {
        mine.chains.find((c) => c.name === chain.name)?.rules.push(...chain.rules)
      }
    }
  }
  return a
}

/** The `nat` key in the grammar of iptables-save; '' when nothing is of this family. */
export function natText(family: 4 | 6, nat: NatConfig[], subnets: Subnet[]): string {
  const lines = nat.flatMap((n) =>
    n.type === 'masquerade' ? masquerade(family, n) : publish(family, n, subnets),
  )
  return lines.length === 0 ? '' : ['*nat', ...lines, 'COMMIT', ''].join('\n')
}

const familyOf = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4)

function masquerade(family: 4 | 6, n: Extract<NatConfig, { type: 'masquerade' }>): string[] {
  if (familyOf(n.from) !== family) return []
  return [`-A POSTROUTING -s ${n.from} -o ${n.out} -j MASQUERADE`]
}

function publish(family: 4 | 6, n: Extract<NatConfig, { type: 'publish' }>, subnets: Subnet[]): string[] {
  if (familyOf(n.to) !== family) return []
  const [first, last] = n.listenPorts
  const width = family === 4 ? 32 : 128
  const to = family === 4 ? n.to : `[${n.to}]`
  const toLast = n.toPort + last - first
  const proto = `-p ${n.proto} -m ${n.proto}`
  const where = n.listen === '' ? '-m addrtype --dst-type LOCAL' : `-d ${n.listen}/${width}`
  const ports = first === last ? `${first}` : `${first}:${last}`
  const target = first === last ? `${to}:${n.toPort}` : `${to}:${n.toPort}-${toLast}/${first}`
  const dnat = (chain: string) => {
    const match =
      n.listen === '' ? `${proto} --dport ${ports} ${where}` : `${where} ${proto} --dport ${ports}`
    return `-A ${chain} ${match} -j DNAT --to-destination ${target}`
  }
  const inside = first === last ? `${n.toPort}` : `${n.toPort}:${toLast}`
  const hairpin = subnets
    .filter((s) => s.contains(n.to))
    .map((s) => `-A POSTROUTING -s ${s.cidr} -d ${n.to}/${width} ${proto} --dport ${inside} -j MASQUERADE`)
  return [dnat('PREROUTING'), dnat('OUTPUT'), ...hairpin]
}
