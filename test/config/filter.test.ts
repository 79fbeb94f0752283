/** Sets, NFLOG files and conntrack keys of a router: what they mean, and what is wrong with them, with its place. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/error.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { RouterConfig } from '../../src/config/types.ts'

const folder = mkdtempSync(join(tmpdir(), 'tl-filter-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text)
  return name
}

const HEAD = 'switches: {}\nrouters:\n  r:\n    interfaces: { a: { memory: {} } }\n'

/** Lines of the router's keys; the first is line 5. */
function router(...lines: string[]): RouterConfig {
  return parseConfig(HEAD + lines.map((l) => `    ${l}\n`).join(''), join(folder, 'lab.yaml')).routers.r
}

/** [file:line, path, the rest]. */
function problems(...lines: string[]): string[] {
  try {
    router(...lines)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(
      (p) =>
        `${p.file?.replace(`${folder}/`, '')}:${p.line} ${p.path}: found ${p.found}, expected ${p.expected}${p.hint ? ` (${p.hint})` : ''}`,
    )
  }
  return []
}

describe('sets', () => {
  it('inline: a list, or more about it', () => {
    const { sets } = router(
      'sets:',
      "  blocked: [10.0.0.0/8, 192.0.2.1, '192.0.2.9 nomatch']",
      "  six: ['fd00::/8']",
      "  ports: { type: 'bitmap:port', elements: [80, 8000-8002] }",
      "  users: { type: 'hash:ip,port', timeout: 60, counters: true, elements: ['10.0.0.1,tcp:80 timeout 5'] }",
    )
    expect(sets).toEqual([
      {
        file: 'sets',
        text: `create blocked hash:net family inet hashsize 1024 maxelem 65536
add blocked 10.0.0.0/8
add blocked 192.0.2.1
add blocked 192.0.2.9 nomatch
create six hash:net family inet6 hashsize 1024 maxelem 65536
add six fd00::/8
create ports bitmap:port range 0-65535
add ports 80
add ports 8000
add ports 8001
add ports 8002
create users hash:ip,port family inet hashsize 1024 maxelem 65536 timeout 60 counters
add users 10.0.0.1,tcp:80 timeout 5 packets 0 bytes 0
`,
      },
    ])
  })

  it('a file is taken as it is, and rules may name its sets', () => {
    const text = 'create office hash:ip family inet hashsize 1024 maxelem 65536\nadd office 10.0.0.1\n'
    const found = router(
      `setFiles: ${file('a.ipset', text)}`,
      `rules: ${file('a.rules', '*filter\n-A FORWARD -m set --match-set office src -j DROP\nCOMMIT\n')}`,
    )
    expect(found.sets).toEqual([{ file: join(folder, 'a.ipset'), text }])
  })

  it('mistakes have their place', () => {
    file('bad.ipset', 'create x hash:ip\nadd x 10.0.0.1\nadd x 10.0.0.1\nadd y 10.0.0.1\n')
    file('again.ipset', 'create blocked hash:net\n')
    expect(problems('sets:', '  blocked:', '    - 10.0.0.0/8', '    - 10.0.0/24')).toEqual([
      "lab.yaml:8 routers.r.sets.blocked[1]: found '10.0.0/24', expected what ipset save writes ('10.0.0' is not an IPv4 address (host names are not looked up))",
    ])
    expect(problems('sets:', '  b: { type: hash:ipp, elements: [] }')[0]).toMatch(
      /^lab\.yaml:6 routers\.r\.sets\.b\.type: found 'hash:ipp', expected hash:ip, hash:net/,
    )
    expect(problems('setFiles: [bad.ipset, none.ipset]').map((p) => p.slice(0, 120))).toEqual([
      expect.stringMatching(
        /^lab\.yaml:5 routers\.r\.setFiles\[1\]: found 'none\.ipset', expected a file in ipset/,
      ),
      expect.stringMatching(/^bad\.ipset:3 routers\.r\.setFiles\[0\]: found 'add x 10\.0\.0\.1'/),
      expect.stringMatching(/^bad\.ipset:4 routers\.r\.setFiles\[0\]: found 'add y 10\.0\.0\.1'/),
    ])
    expect(problems('sets: { blocked: [10.0.0.0/8] }', 'setFiles: again.ipset')).toEqual([
      'lab.yaml:6 routers.r.setFiles: found set blocked again, expected each set once (also in sets)',
    ])
  })

  it('a rule that names a set that is not there, with file and line', () => {
    file('set.rules', '*filter\n-A FORWARD -m set --match-set blokced src -j DROP\nCOMMIT\n')
    const [problem] = problems('sets: { blocked: [10.0.0.0/8] }', 'rules: set.rules')
    expect(problem).toMatch(/^set\.rules:2 .*expected blocked .*there is no set 'blokced'/)
    // With a mistake in the sets themselves, only that is told.
    expect(problems('sets: { blocked: [x] }', 'rules: set.rules').length).toBe(1)
  })
})

describe('nflog', () => {
  it('a file for a group, from the directory of the configuration on', () => {
    expect(router('nflog: { 5: { file: x.pcapng }, 65535: { file: /tmp/y, maxBytes: 4096 } }').nflog).toEqual(
      [
        { group: 5, file: join(folder, 'x.pcapng'), maxBytes: 2 ** 30 },
        { group: 65535, file: '/tmp/y', maxBytes: 4096 },
      ],
    )
  })

  it('mistakes', () => {
    expect(problems('nflog: { 65536: { file: x } }')[0]).toMatch(
      /found the name '65536', expected a group from 0 to 65535/,
    )
    expect(problems('nflog: { 5: { file: x }, 6: { file: ./x } }')[0]).toMatch(
      /nflog\.6\.file: found .*x again, expected each file once \(also at routers\.r\.nflog\.5\.file, line 5\)/,
    )
    expect(problems('nflog: { 5: x }')[0]).toMatch(/routers\.r\.nflog\.5: found 'x', expected a mapping/)
  })
})

describe('conntrack', () => {
  it('timeouts have the names of sysctls', () => {
    const { conntrack } = router(
      'conntrack:',
      '  max: 1000',
      '  perSource: 10',
      '  timeouts: { nf_conntrack_tcp_timeout_established: 2h, nf_conntrack_udp_timeout: 10 }',
    )
    expect(conntrack).toEqual({
      max: 1000,
      perSource: 10,
      timeouts: { tcpEstablished: 7200, udp: 10 },
      loose: true,
      liberal: false,
      maxRetrans: 3,
      filtering: 'endpoint-independent',
    })
  })

  it('what profile rfc leaves to choose; unsaid, the profile decides', () => {
    const { conntrack } = router(
      'conntrack: { filtering: address-dependent, inboundRefresh: true }',
      'profile: rfc',
    )
    expect(conntrack).toMatchObject({ filtering: 'address-dependent', inboundRefresh: true })
    expect(router('profile: rfc').conntrack.inboundRefresh).toBe(undefined)
    expect(problems('conntrack: { filtering: none, inboundRefresh: maybe }')).toEqual([
      expect.stringMatching(/filtering: found 'none', expected endpoint-independent, address-dependent or/),
      expect.stringMatching(/inboundRefresh: found 'maybe', expected true or false/),
    ])
  })

  it('mistakes', () => {
    expect(problems('conntrack: { timeouts: { nf_conntrack_tcp_timeout_establishd: 5 } }')[0]).toMatch(
      /did you mean nf_conntrack_tcp_timeout_established\?/,
    )
    expect(problems('conntrack: { timeouts: { nf_conntrack_udp_timeout: 0 } }')[0]).toMatch(
      /found 0, expected a time from 1s to 1000000s/,
    )
    expect(problems('conntrack: { max: 0 }')[0]).toMatch(/found 0, expected connections from 1 to 8388606/)
  })
})
