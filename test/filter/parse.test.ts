/** The grammar of the file: tables, chains, counters, quotes, and what is wrong with a whole. */
import { describe, expect, it } from 'vitest'
import { RuleError } from '../../src/filter/error.ts'
import { parseSets } from '../../src/filter/ipset.ts'
import { splitWords } from '../../src/filter/lex.ts'
import { CT_STATE } from '../../src/filter/matches/model.ts'
import { HOOK } from '../../src/filter/model.ts'
import { MAX_TEXT, parseRules } from '../../src/filter/parse.ts'
import { printRules } from '../../src/filter/print.ts'
import { fixture, parseRule, problemsOf, ruleFile } from './support.ts'

function filter(...lines: string[]): string {
  return ['*filter', ...lines, 'COMMIT', ''].join('\n')
}

function messages(text: string): string[] {
  return problemsOf(text).map(({ line, message }) => `${line}: ${message}`)
}

describe('words', () => {
  it.each([
    ['a  b\tc', ['a', 'b', 'c']],
    ['--comment "a b"', ['--comment', 'a b']],
    ['"a \\"b\\" \\\\ \\\'c"', ['a "b" \\ \'c']],
    ['--log-prefix="a b" x', ['--log-prefix=a b', 'x']],
    ['""', ['']],
    ['a\\b', ['a\\b']],
  ])('%s', (line, words) => expect(splitWords(line)).toEqual(words))

  it.each(['"a', '"a\\', '"a\\"', 'a"b"c'])('refuses %s', (line) => expect(() => splitWords(line)).toThrow())

  it('says that single quotes do not quote', () => {
    expect(messages(filter("-A INPUT -m comment --comment 'a b'"))[0]).toMatch(/single quotes/)
  })
})

describe('tables and chains', () => {
  it('has all built-in chains, whatever is mentioned', () => {
    const { tables } = parseRules('*mangle\nCOMMIT\n*raw\nCOMMIT\n', { family: 4 })
    expect(tables.map(({ name }) => name)).toEqual(['mangle', 'raw'])
    expect(tables[0].chains.map(({ name }) => name)).toEqual([
      'PREROUTING',
      'INPUT',
      'FORWARD',
      'OUTPUT',
      'POSTROUTING',
    ])
    expect(tables[1].chains.every(({ policy }) => policy === 'ACCEPT')).toBe(true)
  })

  it('reads policies and counters of 64 bits', () => {
    const text = filter(':INPUT DROP [18446744073709551615:7]', '[3:4] -A INPUT -j ACCEPT')
    const [input] = parseRules(text, { family: 4 }).tables[0].chains
    expect(input.policy).toBe('DROP')
    expect(input.counters).toEqual({ packets: 18446744073709551615n, bytes: 7n })
    expect(input.rules[0].counters).toEqual({ packets: 3n, bytes: 4n })
    expect(messages(filter(':INPUT DROP [18446744073709551616:7]'))[0]).toMatch(/64-bit/)
  })

  it('reads the commands people write', () => {
    const rules = parseRules(
      filter(
        '-N a',
        '-P FORWARD DROP',
        '-A INPUT -i x',
        '-I INPUT -i y',
        '-I INPUT 2 -i z',
        '-A a -j RETURN',
        '-F a',
        '-A INPUT -c 5 6 -j a',
      ),
      { family: 4 },
    )
    expect(printRules(rules, { counters: true })).toBe(
      filter(
        ':INPUT ACCEPT [0:0]',
        ':FORWARD DROP [0:0]',
        ':OUTPUT ACCEPT [0:0]',
        ':a - [0:0]',
        '[0:0] -A INPUT -i y',
        '[0:0] -A INPUT -i z',
        '[0:0] -A INPUT -i x',
        '[5:6] -A INPUT -j a',
      ),
    )
  })

  it('takes blanks, comments and carriage returns', () => {
    expect(messages('# c\r\n\r\n*filter\r\n  -A INPUT -j ACCEPT\t\r\n  # d\r\nCOMMIT \r\n')).toEqual([])
    expect(parseRules('', { family: 6 })).toEqual({ family: 6, tables: [] })
  })

  it('resolves jumps to indices and knows from where a chain is reached', () => {
    const text = filter(
      ':a - [0:0]',
      ':b - [0:0]',
      ':c - [0:0]',
      '-A INPUT -j a',
      '-A a -g b',
      '-A FORWARD -j b',
    )
    const { chains } = parseRules(text, { family: 4 }).tables[0]
    expect(chains[0].rules[0].target).toEqual({ kind: 'jump', chain: 3, goto: false })
    expect(chains[3].rules[0].target).toEqual({ kind: 'jump', chain: 4, goto: true })
    expect(chains.map(({ reach }) => reach)).toEqual([
      HOOK.INPUT,
      HOOK.FORWARD,
      HOOK.OUTPUT,
      HOOK.INPUT,
      HOOK.INPUT | HOOK.FORWARD,
      0,
    ])
  })

  it.each([
    ['no table', '-A INPUT -j ACCEPT\n', '1: this stands outside of a table'],
    [
      'unknown table',
      '*broute\n-A nonsense\nCOMMIT\n',
      "1: unknown table 'broute' (its lines were not checked)",
    ],
    ['missing COMMIT', '*filter\n-A INPUT -j ACCEPT\n', '1: the table is not closed: COMMIT is missing'],
    ['table in table', '*filter\n*nat\nCOMMIT\n', '2: COMMIT of table filter is missing'],
    ['stray COMMIT', 'COMMIT\n', '1: COMMIT without a table'],
    ['table twice', '*filter\nCOMMIT\n*filter\nCOMMIT\n', '3: table filter is here twice'],
    ['chain twice', filter(':a - [0:0]', ':a - [0:0]'), "3: chain 'a' is declared twice"],
    ['policy on a user chain', filter(':a DROP [0:0]'), '2: only a built-in chain has a policy'],
    ['unknown policy', filter(':INPUT REJECT [0:0]'), "2: unknown policy 'REJECT'"],
    ['DROP policy in nat', '*nat\n:OUTPUT DROP [0:0]\nCOMMIT\n', '2: table nat is not for filtering'],
    ['bad counters', filter(':INPUT DROP [a:b]'), "2: '[a:b]' is not [packets:bytes]"],
    ['junk after a chain', filter(':INPUT DROP [0:0] x'), '2: a chain is declared as'],
    ['chain named as a target', filter(':LOG - [0:0]'), "2: a chain cannot be named 'LOG'"],
    ['long chain name', filter(`:${'a'.repeat(29)} - [0:0]`), `2: '${'a'.repeat(29)}' is not a chain name`],
    [
      'built-in chain of another table',
      filter('-A PREROUTING -j ACCEPT'),
      "2: there is no chain 'PREROUTING'",
    ],
    ['unknown target', filter('-A INPUT -j TARPIT'), "2: unknown target or chain 'TARPIT'"],
    ['jump to a built-in chain', filter('-A INPUT -j OUTPUT'), "2: 'OUTPUT' is a built-in chain"],
    [
      'loop',
      filter(':a - [0:0]', ':b - [0:0]', '-A a -j b', '-A b -g a'),
      '5: the jumps form a loop: a -> b -> a',
    ],
    ['jump to itself', filter(':a - [0:0]', '-A a -j a'), '3: the jumps form a loop: a -> a'],
    ['command not taken', filter('-D INPUT 1'), "2: unexpected '-D'"],
    ['insert past the end', filter('-I INPUT 2 -j ACCEPT'), "2: '2' is not a place in chain INPUT"],
    ['other family', filter('-A INPUT -6 -j ACCEPT'), '2: a rule for IPv6 among IPv4 rules'],
    [
      'long line',
      filter(`-A INPUT -m comment --comment ${'a'.repeat(11_000)}`),
      '2: the line is longer than',
    ],
  ])('refuses: %s', (_, text, expected) => {
    const found = messages(text)
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(expected)
  })

  it('checks a rule in every chain from which it is reached', () => {
    const nat = (from: string) =>
      `*nat\n:a - [0:0]\n:b - [0:0]\n-A ${from} -j a\n-A a -j b\n-A b -j DNAT --to-destination 10.0.0.1\nCOMMIT\n`
    expect(messages(nat('PREROUTING'))).toEqual([])
    expect(messages(nat('POSTROUTING'))[0]).toMatch(/^6: target DNAT is valid only in PREROUTING, OUTPUT/)
  })

  it('refuses a table of hashlimit that measures in one rule and not in another, whatever their tables', () => {
    const rule = '-A INPUT -m hashlimit --hashlimit-upto 5/min --hashlimit-name h'
    const text = (first: string, second: string) =>
      `*mangle\n${rule}${first}\nCOMMIT\n*filter\n${rule}${second}\nCOMMIT\n`
    const measured = ' --hashlimit-rate-match'
    const before = "5: hashlimit: a rule before this one has the table 'h'"
    expect(messages(text(measured, ''))).toEqual([`${before} with --hashlimit-rate-match`])
    expect(messages(text('', measured))).toEqual([`${before} without --hashlimit-rate-match`])
    expect(messages(text(measured, measured))).toEqual([])
  })

  it('tells all problems at once, in order, with what is supported', () => {
    const problems = problemsOf(
      filter(
        '-A INPUT -m u32 --u32 0',
        '-A INPUT -j ACCEPT',
        '-A INPUT -j NOPE',
        '-A INPUT --wat',
        '-A INPUT -m tcp',
      ),
    )
    expect(problems.map(({ line }) => line)).toEqual([2, 4, 5, 6])
    expect(problems[0]).toMatchObject({ text: '-A INPUT -m u32 --u32 0', message: "unknown match 'u32'" })
    expect(problems[0].supported).toContain('conntrack')
    expect(problems[1].supported).toContain('MASQUERADE')
    expect(problems[2].supported).toContain('-s')
    const error = new RuleError(problems, 'edge.rules')
    expect(error.message).toContain("edge.rules:2: unknown match 'u32'; supported: addrtype, ")
  })

  it('counts problems past the first hundred', () => {
    const problems = problemsOf(filter(...new Array(250).fill('-A INPUT --wat')))
    expect(problems).toHaveLength(101)
    expect(problems.at(-1)!.message).toBe('and 150 more problems')
  })

  it('refuses a text beyond its limit, unread', () => {
    expect(problemsOf('#'.repeat(MAX_TEXT + 1))[0].message).toMatch(/longer than/)
  })

  it('survives a hundred thousand chains in a row, and finds the loop at their end', () => {
    const count = 100_000
    const chains = Array.from({ length: count }, (_, at) => `:c${at} - [0:0]`)
    const jumps = Array.from({ length: count - 1 }, (_, at) => `-A c${at} -j c${at + 1}`)
    const text = filter(chains.join('\n'), '-A INPUT -j c0', jumps.join('\n'))
    expect(parseRules(text, { family: 4 }).tables[0].chains.at(-1)!.reach).toBe(HOOK.INPUT)
    expect(messages(text.replace('COMMIT', `-A c${count - 1} -j c0\nCOMMIT`))[0]).toMatch(/loop/)
  })
})

describe('the model', () => {
  it('is normalised', () => {
    const rule = parseRule(
      'filter FORWARD ! -s 10.1.2.3/8 -i eth+ -p TCP --dport http -m conntrack --ctstate new,ESTABLISHED -j REJECT',
    )
    expect(rule).toMatchObject({
      source: { invert: true, address: [0x0a000000], mask: [0xff000000] },
      inInterface: { invert: false, name: 'eth', prefix: true },
      protocol: { invert: false, number: 6 },
      matches: [
        { kind: 'tcp', source: null, destination: { invert: false, value: { min: 80, max: 80 } } },
        { kind: 'conntrack', states: { invert: false, value: CT_STATE.NEW | CT_STATE.ESTABLISHED } },
      ],
      target: { kind: 'REJECT', reply: { protocol: 'icmp', type: 3, code: 3 } },
    })
  })

  it('has four words for an IPv6 address', () => {
    const rule = parseRule('filter INPUT -d 2001:db8::ff:0:1/120', 6)
    expect(rule.destination).toEqual({
      invert: false,
      address: [0x20010db8, 0, 0xff, 0],
      mask: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffff00],
    })
  })

  it('makes one rule of each pair of a list, with targets of their own', () => {
    const text = ruleFile('filter INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.1,10.1.0.2 -j uc')
    const { rules } = parseRules(text, { family: 4 }).tables[0].chains[0]
    expect(
      rules.map(({ source, destination }) => [source!.address[0] & 255, destination!.address[0] & 255]),
    ).toEqual([
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ])
    expect(rules.every(({ target }) => target?.kind === 'jump')).toBe(true)
  })

  it('has the rates of hashlimit as the kernel counts them', () => {
    const shape = (options: string) =>
      parseRule(`filter INPUT -m hashlimit --hashlimit-name h ${options}`).matches[0]
    const measured = '--hashlimit-rate-match'
    expect(shape(`--hashlimit-upto 7/min ${measured}`)).toMatchObject({
      rate: { unit: 'packets', costUs: 142_857, burst: 5 },
      intervalS: 60,
      expireMs: 60_000,
    })
    expect(shape(`--hashlimit-upto 7/min ${measured} --hashlimit-rate-interval 9`)).toMatchObject({
      intervalS: 9,
    })
    expect(shape('--hashlimit-upto 7/min')).toMatchObject({ rate: { costUs: 8_571_428 }, intervalS: 0 })
    expect(shape(`--hashlimit-upto 10kb/s --hashlimit-burst 1mb ${measured}`)).toMatchObject({
      rate: { unit: 'bytes', chunkCost: 6_700_416, refills: 103 },
      intervalS: 1,
      expireMs: 60_000,
    })
  })

  it('prints a hashlimit exactly where iptables-save prints another', () => {
    const printed = (options: string) =>
      printRules(
        parseRules(ruleFile(`filter INPUT -m hashlimit --hashlimit-name h ${options}`), { family: 4 }),
      )
    // 1mb there, which is 103 seconds of it and not 150; 4096mb, which is not read; 0b/s, which is not read.
    expect(printed('--hashlimit-upto 10kb/s --hashlimit-burst 1500kb')).toContain('--hashlimit-burst 1500kb')
    expect(printed('--hashlimit-upto 1234kb/s --hashlimit-burst 4095mb')).toContain(
      '--hashlimit-burst 4095mb',
    )
    expect(printed('--hashlimit-upto 3b/s')).toContain('--hashlimit-upto 15b/s')
  })

  // iptables takes these and forgets the option, or counts something else.
  it.each([
    ['--hashlimit-rate-interval 10', 'hashlimit: --hashlimit-rate-interval needs --hashlimit-rate-match'],
    [
      '--hashlimit-rate-match --hashlimit-rate-interval 5s',
      "'5s' is not a number of seconds from 1 to 2147483647",
    ],
    [
      '--hashlimit-rate-match --hashlimit-rate-interval 5000000000',
      "'5000000000' is not a number of seconds from 1 to 2147483647",
    ],
  ])('refuses hashlimit with %s', (options, message) => {
    const rule = `filter INPUT -m hashlimit --hashlimit-upto 5/min --hashlimit-name h ${options}`
    expect(messages(ruleFile(rule))).toEqual([`3: ${message}`])
  })

  it('knows its sets if it is told them', () => {
    const sets = parseSets(fixture('sets.ipset'))
    const wrong = (rule: string) =>
      problemsOf(ruleFile(`filter INPUT -m set --match-set ${rule}`), { sets })[0]?.message
    expect(wrong('blocked src')).toBeUndefined()
    expect(wrong('services dst,dst')).toBeUndefined()
    expect(wrong('blocked src --packets-gt 3')).toBeUndefined()
    expect(wrong('services dst')).toMatch(/needs 2 of src and dst/)
    expect(wrong('nope src')).toBe("there is no set 'nope'")
    expect(wrong('six src')).toMatch(/holds IPv6/)
    expect(wrong('services dst,dst --packets-gt 3')).toMatch(/no counters/)
  })
})
