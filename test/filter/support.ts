/** What the filter's tests share: fixtures, one rule in a table, problems of a text. */
import { readFileSync } from 'node:fs'
import { RuleError, type RuleProblem } from '../../src/filter/error.ts'
import type { Family, Rule, RuleSet } from '../../src/filter/model.ts'
import { type ParseOptions, parseRules } from '../../src/filter/parse.ts'
import { printRules } from '../../src/filter/print.ts'

export function fixture(name: string): string {
  return readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8')
}

/** 'table chain rule' as a whole file, beside it a user-defined chain uc. */
export function ruleFile(rule: string): string {
  const [table] = rule.split(' ', 1)
  return `*${table}\n:uc - [0:0]\n-A ${rule.slice(table.length + 1)}\nCOMMIT\n`
}

export function parseRule(rule: string, family: Family = 4): Rule {
  const rules = parseRules(ruleFile(rule), { family }).tables[0].chains.flatMap((chain) => chain.rules)
  return rules[0]
}

/** The -A lines of a printed rule set. */
export function ruleLines(rules: RuleSet): string[] {
  return printRules(rules)
    .split('\n')
    .filter((line) => line.startsWith('-A'))
}

export function problemsOf(text: string, options: Partial<ParseOptions> = {}): readonly RuleProblem[] {
  try {
    parseRules(text, { family: 4, ...options })
  } catch (error) {
    if (error instanceof RuleError) return error.problems
    throw error
  }
  return []
}

/** Cases of a fixture: a line, and the indented lines below it. */
export function cases(name: string): { rule: string; expected: string[] }[] {
  const list: { rule: string; expected: string[] }[] = []
  for (const line of fixture(name).split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    if (line.startsWith('    ')) list.at(-1)!.expected.push(line.slice(4))
    else list.push({ rule: line, expected: [] })
  }
  return list
}

/** A text without its comment lines. */
export function uncommented(text: string): string {
  return text.replace(/^#.*\n/gm, '')
}

/** A rule set without what printing does not keep: line numbers. */
export function withoutLines(rules: RuleSet): unknown {
  return JSON.parse(
    JSON.stringify(rules, (key, value) =>
      key === 'line' ? undefined : typeof value === 'bigint' ? `${value}n` : value,
    ),
  )
}
