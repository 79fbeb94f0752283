/** Random valid rule sets print to a fixed point; mutated lines give a rule set or a RuleError, never anything else. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RuleError } from '../../src/filter/error.ts'
import { parseSets, printSets } from '../../src/filter/ipset.ts'
import type { Family } from '../../src/filter/model.ts'
import { parseRules } from '../../src/filter/parse.ts'
import { printRules } from '../../src/filter/print.ts'
import { cases, fixture, ruleFile, withoutLines } from './support.ts'

const not = fc.constantFrom('', '! ')
const port = fc.nat(65535)
const range = (limit: number, separator = ':') =>
  fc
    .tuple(fc.nat(limit), fc.nat(limit))
    .map(([a, b]) => (a === b ? `${a}` : `${Math.min(a, b)}${separator}${Math.max(a, b)}`))
const address = (family: Family) => (family === 4 ? fc.ipV4() : fc.ipV6())
const network = (family: Family) =>
  fc
    .tuple(address(family), fc.integer({ min: 1, max: family === 4 ? 32 : 128 }))
    .map(([base, prefix]) => `${base}/${prefix}`)
/** Rates that iptables prints without rounding. */
const rate = fc.constantFrom(1, 2, 5, 10, 20, 50, 100, 500, 1000)
const u32 = fc.nat(0xffff_ffff)
const text = fc.string({ minLength: 1, maxLength: 28 }).filter((word) => !/[\r\n]/.test(word))
const quoted = text.map((word) => `"${word.replace(/["\\]/g, '\\$&')}"`)
const some = (...words: string[]) => fc.subarray(words, { minLength: 1 }).map((list) => list.join(','))
const join = (...parts: (string | fc.Arbitrary<unknown>)[]) =>
  fc
    .tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part)))
    .map((list) => list.join(''))
const maybe = (part: fc.Arbitrary<string>) => fc.oneof(fc.constant(''), part)
/** hashlimit's table: its rules measure, or none does. */
const measured = fc.oneof(
  fc.constant(' --hashlimit-name n'),
  join(
    ' --hashlimit-name m --hashlimit-rate-match',
    maybe(join(' --hashlimit-rate-interval ', fc.integer({ min: 1, max: 0x7fff_ffff }))),
  ),
)

const matches = (family: Family) =>
  fc.oneof(
    join(
      '-m multiport ',
      not,
      fc.constantFrom('--dports ', '--sports ', '--ports '),
      fc.array(port, { minLength: 1, maxLength: 15 }),
    ),
    join(
      '-m conntrack ',
      not,
      '--ctstate ',
      some('NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED', 'SNAT', 'DNAT'),
      maybe(join(' ', not, '--ctorigdst ', network(family))),
      maybe(join(' --ctorigdstport ', range(65535))),
    ),
    join(
      '-m conntrack ',
      not,
      '--ctexpire ',
      range(100_000),
      ' --ctstatus ',
      some('EXPECTED', 'SEEN_REPLY', 'ASSURED', 'CONFIRMED'),
      ' --ctdir REPLY',
    ),
    join('-m state ', not, '--state ', some('NEW', 'RELATED', 'INVALID')),
    join(fc.constantFrom('-m mark ', '-m connmark '), not, '--mark ', u32, maybe(join('/', u32))),
    join(
      '-m limit --limit ',
      rate,
      fc.constantFrom('/sec', '/min', '/hour'),
      ' --limit-burst ',
      fc.integer({ min: 1, max: 30 }),
    ),
    join(
      '-m hashlimit --hashlimit-',
      fc.constantFrom('upto ', 'above '),
      rate,
      fc.constantFrom('/sec', '/min'),
      ' --hashlimit-mode ',
      some('srcip', 'dstip', 'srcport', 'dstport'),
      ' --hashlimit-srcmask ',
      fc.nat(32),
      measured,
    ),
    join(
      '-m hashlimit --hashlimit-',
      fc.constantFrom('upto ', 'above '),
      fc.integer({ min: 16, max: 900 }),
      fc.constantFrom('b/s', 'kb/s', 'mb/s'),
      maybe(join(' --hashlimit-burst ', fc.integer({ min: 900, max: 4095 }), 'mb')),
      maybe(fc.constant(' --hashlimit-htable-expire 60000')),
      measured,
    ),
    join('-m connlimit ', not, '--connlimit-above ', u32, ' --connlimit-mask ', fc.nat(32)),
    join(
      '-m recent ',
      not,
      fc.constantFrom('--update ', '--rcheck '),
      '--seconds ',
      fc.integer({ min: 1, max: 9999 }),
      ' --hitcount ',
      fc.nat(99),
      ' --rdest',
    ),
    join(
      '-m set ',
      not,
      '--match-set s ',
      fc.array(fc.constantFrom('src', 'dst'), { minLength: 1, maxLength: 6 }),
      ' --bytes-gt ',
      u32,
    ),
    join(
      '-m statistic --mode random ',
      not,
      '--probability ',
      fc.float({ min: 0, max: 1, noNaN: true }).map((value) => Math.abs(value).toFixed(9)),
    ),
    join('-m length ', not, '--length ', range(65535)),
    join('-m dscp ', not, '--dscp ', fc.nat(63)),
    join('-m comment --comment ', quoted),
    join('-m iprange ', not, '--src-range ', address(family)),
    join('-m addrtype ', not, '--dst-type ', some('LOCAL', 'UNICAST', 'MULTICAST', 'ANYCAST')),
    family === 4
      ? join('-m ttl ', not, '--ttl-eq ', fc.nat(255))
      : join('-m hl ', not, '--hl-eq ', fc.nat(255)),
  )

const target = (family: Family) =>
  fc.oneof(
    fc.constantFrom(
      '',
      '-j ACCEPT',
      '-j DROP',
      '-j RETURN',
      '-j uc',
      '-g uc',
      '-j QUEUE',
      '-j REJECT',
      '-p tcp -j REJECT --reject-with tcp-reset',
    ),
    join('-j LOG --log-prefix ', quoted, ' --log-level ', fc.nat(7), maybe(fc.constant(' --log-uid'))),
    join('-j NFLOG --nflog-group ', port, ' --nflog-size ', u32),
    join(
      '-j MARK ',
      fc.constantFrom('--set-mark ', '--set-xmark ', '--or-mark ', '--and-mark ', '--xor-mark '),
      u32,
    ),
    join('-j CONNMARK --restore-mark --nfmask ', u32, ' --ctmask ', u32),
    fc.constant(
      family === 4
        ? '-j NFQUEUE --queue-balance 3:9 --queue-bypass'
        : '-j REJECT --reject-with adm-prohibited',
    ),
  )

const ruleText = (family: Family) =>
  join(
    maybe(join(not, '-s ', network(family), ' ')),
    maybe(join(not, '-d ', network(family), ' ')),
    maybe(join(not, '-i ', fc.constantFrom('eth0', 'br-0123456789a', 'ppp+'), ' ')),
    fc.oneof(
      join('-p tcp ', not, '--dport ', range(65535), ' '),
      join('-p udp -m udp --sport ', range(65535), ' '),
    ),
    fc.array(matches(family), { maxLength: 4 }).map((list) => list.map((match) => `${match} `).join('')),
    target(family).map((one) => one.replace(/^-p tcp /, '')),
  ).filter((rule) => !rule.includes('tcp-reset') || rule.includes('-p tcp'))

describe.each([4, 6] as Family[])('random IPv%i rule sets', (family) => {
  it('mean the same after printing, and print the same again', () => {
    const chain = fc.constantFrom('INPUT', 'FORWARD', 'other')
    const counters = fc
      .tuple(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.nat())
      .map(([p, b]) => `[${p}:${b}]`)
    const line = fc
      .tuple(counters, chain, ruleText(family))
      .map(([count, name, rule]) => `${count} -A ${name} ${rule}`)
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), fc.constantFrom('ACCEPT', 'DROP'), (lines, policy) => {
        const source = [
          '*filter',
          `:FORWARD ${policy} [1:2]`,
          ':uc - [0:0]',
          ':other - [0:0]',
          ...lines,
          'COMMIT',
          '',
        ].join('\n')
        const rules = parseRules(source, { family })
        const printed = printRules(rules, { counters: true })
        const again = parseRules(printed, { family })
        expect(withoutLines(again)).toEqual(withoutLines(rules))
        expect(printRules(again, { counters: true })).toBe(printed)
      }),
      { numRuns: 1500, seed: 20 },
    )
  })
})

/** xorshift32: the same mutations each time. */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const PIECES = [
  '!',
  '"',
  '\\',
  '-',
  '--',
  '=',
  ',',
  ':',
  '/',
  '+',
  ' ',
  '0',
  '4294967296',
  '-1',
  '0x',
  '::',
  '[',
  ']',
  '*',
  '#',
  'ACCEPT',
  '-j',
  '-m',
  'tcp',
  '\t',
  '\u0000',
  'é',
  '__proto__',
  'constructor',
  'NaN',
  '1e9',
]

function mutate(line: string, below: (limit: number) => number): string {
  let text = line
  for (let times = 1 + below(3); times > 0; times--) {
    const at = below(text.length + 1)
    const end = at + below(6)
    const words = text.split(' ')
    switch (below(6)) {
      case 0:
        text = text.slice(0, at) + text.slice(end)
        break
      case 1:
        text = text.slice(0, at) + PIECES[below(PIECES.length)] + text.slice(at)
        break
      case 2:
        text = text.slice(0, at) + String.fromCharCode(32 + below(95)) + text.slice(at + 1)
        break
      case 3:
        words.splice(below(words.length), 1)
        text = words.join(' ')
        break
      case 4:
        words.splice(below(words.length), 0, words[below(words.length)])
        text = words.join(' ')
        break
      case 5:
        words[below(words.length)] = PIECES[below(PIECES.length)]
        text = words.join(' ')
    }
  }
  return text
}

/** Anything but a RuleError fails; what is accepted must print to a fixed point. */
function survives(text: string, family: Family): boolean {
  let printed: string
  try {
    printed = printRules(parseRules(text, { family }), { counters: true })
  } catch (error) {
    if (error instanceof RuleError && error.problems.length > 0 && error.message.length < 40_000) return false
    throw new Error(`not a RuleError for ${JSON.stringify(text)}`, { cause: error })
  }
  const again = printRules(parseRules(printed, { family }), { counters: true })
  if (again !== printed) throw new Error(`no fixed point for ${JSON.stringify(text)}`)
  return true
}

describe('mutated text', () => {
  it('200000 lines: a rule set or a RuleError', { timeout: 240_000 }, () => {
    const below = random(0x5eed)
    const corpus = ([4, 6] as Family[]).flatMap((family) =>
      cases(`good-v${family}.txt`)
        .flatMap(({ rule, expected }) => [
          rule,
          ...expected.map((line) => `${rule.split(' ')[0]} ${line.slice(3)}`),
        ])
        .map((rule) => ({ rule, family })),
    )
    let accepted = 0
    for (let at = 0; at < 200_000; at++) {
      const { rule, family } = corpus[below(corpus.length)]
      const table = rule.split(' ', 1)[0]
      if (survives(ruleFile(`${table} ${mutate(rule.slice(table.length + 1), below)}`), family)) accepted++
    }
    expect(accepted).toBeGreaterThan(5_000)
  })

  it('whole files', { timeout: 120_000 }, () => {
    const below = random(77)
    for (const name of ['docker-20', 'docker-28', 'ufw', 'kube-proxy', 'router']) {
      const lines = fixture(`${name}.rules`).split('\n')
      for (let at = 0; at < 300; at++) {
        const copy = [...lines]
        const line = below(copy.length)
        if (below(4) === 0) copy.splice(line, 1 + below(3))
        else copy[line] = mutate(copy[line], below)
        survives(copy.join('\n'), 4)
      }
    }
  })

  it('20000 set files: sets or a RuleError', { timeout: 60_000 }, () => {
    const below = random(4711)
    const lines = fixture('sets.ipset').split('\n')
    for (let at = 0; at < 20_000; at++) {
      const copy = [...lines]
      const line = below(copy.length)
      copy[line] = mutate(copy[line], below)
      let printed: string
      try {
        printed = printSets(parseSets(copy.join('\n')))
      } catch (error) {
        if (error instanceof RuleError) continue
        throw new Error(`not a RuleError for ${JSON.stringify(copy[line])}`, { cause: error })
      }
      expect(printSets(parseSets(printed)), copy[line]).toBe(printed)
    }
  })
})
