/**
 * Against the real thing: what iptables-legacy-save prints of a rule set the kernel took is what we print.
 * The nft variant of iptables is not the reference: it prints some rules in its own way.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BUILT_IN, type Family, type TableName } from '../../src/filter/model.ts'
import { parseRules } from '../../src/filter/parse.ts'
import { printRules } from '../../src/filter/print.ts'
import { random } from '../support/frames.ts'
import { cases, fixture, problemsOf, uncommented } from './support.ts'

const NAMESPACE = `tl-filter-${process.pid}`
const TABLES: TableName[] = ['raw', 'mangle', 'nat', 'filter', 'security']

function has(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
}

function inside(
  command: string,
  args: string[],
  input = '',
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('ip', ['netns', 'exec', NAMESPACE, command, ...args], {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  })
}

const TOOL: Record<Family, string> = { 4: 'iptables-legacy', 6: 'ip6tables-legacy' }

/** Loads `text` into empty tables. Returns what the kernel then has of the tables that stand in it. */
function throughKernel(text: string, family: Family): string {
  const empty = TABLES.map((table) => {
    const chains = BUILT_IN[table].map((chain) => `:${chain} ACCEPT [0:0]\n`).join('')
    return `*${table}\n${chains}COMMIT\n`
  }).join('')
  inside(`${TOOL[family]}-restore`, [], empty)
  const loaded = inside(`${TOOL[family]}-restore`, ['-c'], text)
  if (loaded.status !== 0) throw new Error(`${TOOL[family]}-restore: ${loaded.stderr}`)
  const tables = [...text.matchAll(/^\*(\w+)/gm)].map(([, table]) => table)
  return tables
    .map((table) => uncommented(inside(`${TOOL[family]}-save`, ['-c', '-t', table]).stdout))
    .join('')
}

const missing =
  process.getuid?.() !== 0
    ? 'root'
    : !has('iptables-legacy-restore')
      ? 'iptables-legacy'
      : !has('ip6tables-legacy-restore')
        ? 'ip6tables-legacy'
        : ''
const ipset = missing === '' && has('ipset')

describe.skipIf(missing !== '')(`iptables-legacy${missing && ` (skipped: needs ${missing})`}`, () => {
  beforeAll(() => {
    execFileSync('ip', ['netns', 'add', NAMESPACE])
    if (ipset) {
      for (const set of [
        'a hash:ip counters',
        'np hash:net,port',
        'h3 hash:ip,port,net',
        'six hash:ip family inet6',
      ]) {
        inside('ipset', ['create', ...set.split(' ')])
      }
    }
  })
  afterAll(() => {
    spawnSync('ip', ['netns', 'del', NAMESPACE])
  })

  it.each([
    ['docker-20', 4],
    ['docker-28', 4],
    ['ufw', 4],
    ['ufw6', 6],
    ['fail2ban', 4],
    ['kube-proxy', 4],
    ['router', 4],
  ] as [string, Family][])(
    '%s: saved by the kernel, read and printed by us: byte for byte',
    (name, family) => {
      const text = fixture(`${name}.rules`)
      const saved = throughKernel(text, family)
      expect(printRules(parseRules(saved, { family }), { counters: true })).toBe(saved)
      // And what we print of the original means the same to the kernel.
      expect(throughKernel(printRules(parseRules(text, { family }), { counters: true }), family)).toBe(saved)
    },
  )

  it.each([4, 6] as Family[])('IPv%i: every case of the tables, in one rule set', (family) => {
    const rules = cases(`good-v${family}.txt`)
      .map(({ rule }) => rule)
      .filter((rule) => ipset || !rule.includes('--match-set'))
    const text = TABLES.map((table) => {
      const lines = rules
        .filter((rule) => rule.startsWith(`${table} `))
        .map((rule) => `-A ${rule.slice(table.length + 1)}`.replace(/^-A uc /, '-A lone '))
      return [`*${table}`, ':lone - [0:0]', ':uc - [0:0]', ...lines, 'COMMIT', ''].join('\n')
    }).join('')
    expect(printRules(parseRules(text, { family }), { counters: true })).toBe(throughKernel(text, family))
  })

  it('hashlimit: any rate is printed as the kernel has it', () => {
    const next = random(31)
    const lines = Array.from({ length: 400 }, (_, i) => {
      const count = 1 + (next() % 10 ** (1 + (next() % 6)))
      const unit = ['sec', 'min', 'hour', 'day', 'b/s', 'kb/s', 'mb/s'][next() % 7]
      const rate = unit.endsWith('b/s') ? `${16 + (count % 4000)}${unit}` : `${count}/${unit}`
      const measured =
        next() % 2 ? ` --hashlimit-rate-match --hashlimit-rate-interval ${1 + (next() % 99)}` : ''
      return `-A INPUT -m hashlimit --hashlimit-upto ${rate} --hashlimit-name r${i}${measured}`
    })
    // What neither takes: 5 a day is longer than the kernel can count.
    const taken = lines.filter((line) => problemsOf(`*filter\n${line}\nCOMMIT\n`).length === 0)
    expect(taken.length).toBeGreaterThan(350)
    const text = `*filter\n${taken.join('\n')}\nCOMMIT\n`
    expect(printRules(parseRules(text, { family: 4 }), { counters: true })).toBe(throughKernel(text, 4))
  })

  it.each([4, 6] as Family[])('IPv%i: what we refuse, it refuses', (family) => {
    for (const { rule } of cases(`bad-v${family}.txt`)) {
      const [table] = rule.split(' ', 1)
      const text = `*${table}\n:uc - [0:0]\n-A ${rule.slice(table.length + 1)}\nCOMMIT\n`
      expect(
        inside(`${TOOL[family]}-restore`, ['-t'], text).status === 0 &&
          inside(`${TOOL[family]}-restore`, [], text).status === 0,
        rule,
      ).toBe(false)
    }
  })

  it.skipIf(!ipset)(`sets as ipset saves them${ipset ? '' : ' (skipped: needs ipset)'}`, async () => {
    const { parseSets, printSets } = await import('../../src/filter/ipset.ts')
    const text = fixture('sets.ipset')
    // Sets that rules name cannot go.
    for (const family of [4, 6] as Family[]) throughKernel('', family)
    inside('ipset', ['destroy'])
    expect(inside('ipset', ['restore'], text)).toMatchObject({ status: 0, stderr: '' })
    const saved = inside('ipset', ['save']).stdout
    expect(printSets(parseSets(saved))).toBe(saved)
    expect(saved.split('\n').length).toBe(text.split('\n').length)
  })
})
