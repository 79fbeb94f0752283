/** Rule sets as Docker, ufw, fail2ban and kube-proxy write them come out as they went in. */
import { describe, expect, it } from 'vitest'
import type { Family } from '../../src/filter/model.ts'
import { parseRules } from '../../src/filter/parse.ts'
import { printRules } from '../../src/filter/print.ts'
import { fixture, uncommented, withoutLines } from './support.ts'

const SAVED: [name: string, family: Family][] = [
  ['docker-20', 4],
  ['docker-28', 4],
  ['ufw', 4],
  ['ufw6', 6],
  ['fail2ban', 4],
  ['kube-proxy', 4],
]

describe('saved rule sets', () => {
  it.each(SAVED)('%s: printing is the identity', (name, family) => {
    const text = fixture(`${name}.rules`)
    expect(printRules(parseRules(text, { family }), { counters: true })).toBe(uncommented(text))
  })

  it.each(SAVED)('%s: without counters too', (name, family) => {
    const text = uncommented(fixture(`${name}.rules`)).replace(/^\[[0-9:]+\] /gm, '')
    expect(printRules(parseRules(text, { family }))).toBe(text)
  })
})

describe('a rule set written by hand', () => {
  it('keeps its meaning through printing', () => {
    const rules = parseRules(fixture('router.rules'), { family: 4 })
    const printed = printRules(rules)
    const again = parseRules(printed, { family: 4 })
    expect(withoutLines(again)).toEqual(withoutLines(rules))
    expect(printRules(again)).toBe(printed)
  })

  it('puts an inserted rule first', () => {
    const table = parseRules(fixture('router.rules'), { family: 4 }).tables.find(
      ({ name }) => name === 'filter',
    )!
    const forward = table.chains.find(({ name }) => name === 'FORWARD')!
    expect(forward.rules[0].matches.at(-1)).toEqual({ kind: 'comment', text: 'not a beginning' })
    expect(table.chains.find(({ name }) => name === 'guests')!.rules).toHaveLength(4)
  })
})
