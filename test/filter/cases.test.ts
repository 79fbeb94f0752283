/** Every match and target, good and bad: what iptables prints for it, and why it is refused. */
import { describe, expect, it } from 'vitest'
import { matchNames } from '../../src/filter/matches/index.ts'
import type { Family } from '../../src/filter/model.ts'
import { parseRules } from '../../src/filter/parse.ts'
import { printRules } from '../../src/filter/print.ts'
import { targetNames } from '../../src/filter/targets/index.ts'
import { cases, problemsOf, ruleFile, ruleLines } from './support.ts'

describe.each([4, 6] as Family[])('IPv%i', (family) => {
  const good = cases(`good-v${family}.txt`)
  const bad = cases(`bad-v${family}.txt`)

  it.each(good)('$rule', ({ rule, expected }) => {
    const rules = parseRules(ruleFile(rule), { family })
    expect(ruleLines(rules)).toEqual(expected)
    const printed = printRules(rules, { counters: true })
    expect(printRules(parseRules(printed, { family }), { counters: true })).toBe(printed)
  })

  it.each(bad)('refuses $rule', ({ rule, expected }) => {
    const problems = problemsOf(ruleFile(rule), { family })
    expect(problems.map(({ message }) => message)).toEqual(expected)
    expect(problems[0].line).toBe(3)
    expect(problems[0].text).toBe(`-A ${rule.slice(rule.indexOf(' ') + 1)}`)
  })

  it('has a case for every match and target', () => {
    const text = `${good.flatMap(({ expected }) => expected).join('\n')}\n`
    for (const name of matchNames(family))
      expect(text.includes(`-m ${name} `) || text.includes(`-m ${name}\n`), name).toBe(true)
    for (const name of targetNames(family))
      expect(text.includes(`-j ${name} `) || text.includes(`-j ${name}\n`), name).toBe(true)
  })
})
