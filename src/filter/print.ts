/**
 * A RuleSet as iptables-save (-c) writes it. Read again it gives the same rule set, and text that
 * iptables-save wrote comes out byte for byte, less its comment lines. Built-in chains come first in
 * hook order, then user-defined ones in the order they were declared; rules stand chain by chain.
 */
import { findMatch } from './matches/index.ts'
import type { Chain, Counters, Family, Rule, RuleSet, Table } from './model.ts'
import { printProtocol } from './names.ts'
import { words } from './option.ts'
import { findTarget } from './targets/index.ts'
import { printInterface, printNetwork } from './value.ts'

export interface PrintOptions {
  /** Counters before each rule, as with -c. Those of chains are always written. */
  counters?: boolean
}

export function printRules(rules: RuleSet, options: PrintOptions = {}): string {
  return rules.tables.map((table) => printTable(table, rules.family, options)).join('')
}

export function printTable(table: Table, family: Family, { counters = false }: PrintOptions = {}): string {
  const lines = [`*${table.name}`]
  for (const chain of table.chains)
    lines.push(`:${chain.name} ${chain.policy ?? '-'} ${printCounters(chain.counters)}`)
  for (const chain of table.chains) {
    for (const rule of chain.rules) {
      lines.push(words(counters && printCounters(rule.counters), printRule(rule, chain, table, family)))
    }
  }
  lines.push('COMMIT', '')
  return lines.join('\n')
}

/** One rule, from '-A'. */
export function printRule(rule: Rule, chain: Chain, table: Table, family: Family): string {
  const { source, destination, inInterface, outInterface, protocol, fragment } = rule
  return words(
    `-A ${chain.name}`,
    source && `${not(source)}-s ${printNetwork(source)}`,
    destination && `${not(destination)}-d ${printNetwork(destination)}`,
    inInterface && `${not(inInterface)}-i ${printInterface(inInterface)}`,
    outInterface && `${not(outInterface)}-o ${printInterface(outInterface)}`,
    protocol && `${not(protocol)}-p ${printProtocol(protocol.number)}`,
    fragment !== null && (fragment ? '-f' : '! -f'),
    ...rule.matches.map((match) =>
      words(`-m ${match.kind}`, findMatch(match.kind, family)!.print(match, family)),
    ),
    printTarget(rule, table, family),
  )
}

function printTarget({ target }: Rule, table: Table, family: Family): string {
  if (target === null) return ''
  if (target.kind === 'jump') return `${target.goto ? '-g' : '-j'} ${table.chains[target.chain].name}`
  return words(`-j ${target.kind}`, findTarget(target.kind, family)!.print(target, family))
}

function not({ invert }: { invert: boolean }): string {
  return invert ? '! ' : ''
}

function printCounters({ packets, bytes }: Counters): string {
  return `[${packets}:${bytes}]`
}
