/** Every rule that the parser takes has a program, and no packet, however broken, breaks one. */
import { describe, expect, test } from 'vitest'
import { parseSets } from '../../../src/filter/ipset.ts'
import { icmp, ipv4, ipv6, random, tcp, udp } from '../../support/frames.ts'
import { cases, fixture, ruleFile } from '../support.ts'
import { Lab } from './lab.ts'

const ENDS = { src: '10.0.0.2', dst: '192.0.2.9' }
const ENDS6 = { src: 'fd00::2', dst: '2001:db8::9' }
const seeds4 = [
  ipv4({ ...ENDS, payload: udp(ENDS) }),
  ipv4({ ...ENDS, protocol: 6, payload: tcp(ENDS, { flags: 2, options: [2, 4, 5, 180, 1, 3, 3, 7] }) }),
  ipv4({ ...ENDS, protocol: 1, payload: icmp({ type: 8 }) }),
  ipv4({
    ...ENDS,
    protocol: 1,
    payload: icmp({ type: 3, code: 1, payload: ipv4({ src: ENDS.dst, dst: ENDS.src, payload: udp(ENDS) }) }),
  }),
  ipv4({ ...ENDS, protocol: 6, payload: new Uint8Array(3) }),
  ipv4({ ...ENDS, protocol: 132, payload: new Uint8Array(30) }),
]
const seeds6 = [
  ipv6({ ...ENDS6, payload: udp(ENDS6) }),
  ipv6({ ...ENDS6, next: 6, payload: tcp(ENDS6, { flags: 2 }) }),
  ipv6({ ...ENDS6, next: 58, payload: icmp({ type: 128 }, ENDS6) }),
  ipv6({ ...ENDS6, next: 0, payload: Uint8Array.from([17, 0, 5, 2, 0, 0, 1, 0, ...udp(ENDS6)]) }),
]

/** A packet whose bytes behind the IP header were changed; the header itself stays as the router leaves it. */
function broken(seed: Uint8Array, r: () => number): Uint8Array {
  const bytes = seed.slice()
  const head = bytes[0] >> 4 === 4 ? 20 : 40
  for (let n = r() % 6; n > 0 && bytes.length > head; n--) bytes[head + (r() % (bytes.length - head))] = r()
  return bytes
}

function shower(lab: Lab, seeds: Uint8Array[], n: number, seed: number): number {
  const r = random(seed)
  let ended = 0
  for (let i = 0; i < n; i++) {
    const bytes = broken(seeds[r() % seeds.length], r)
    let sent: { end: string }
    try {
      sent = lab.send(bytes, {
        in: lab.interfaces[r() % lab.interfaces.length],
        pktType: r() % 3,
        local: r() % 5 === 0,
      })
    } catch (error) {
      // The router's parser has dropped it.
      if (error instanceof Error && error.message.startsWith('the parser')) continue
      throw error
    }
    expect(sent.end).not.toBe('lost without a name')
    ended++
    lab.nowMs += r() % 50
  }
  return ended
}

describe.each([4, 6] as const)('IPv%i', (family) => {
  test('every good rule compiles and runs', () => {
    const sets = [
      'create allowed hash:ip',
      'create s hash:ip timeout 5 counters',
      'create s6 hash:ip family inet6',
      'add allowed 10.0.0.2',
    ].join('\n')
    for (const { rule } of cases(`good-v${family}.txt`)) {
      const known = parseSets(sets)
      const names = [...rule.matchAll(/--match-set ("?)(\S+?)\1 (\S+)/g)].map(([, , name, sides]) => ({
        name,
        sides,
      }))
      const setText = names
        .filter(({ name }) => !known.has(name))
        .map(({ name, sides }) => {
          const type = ['hash:ip', 'hash:ip,port', 'hash:ip,port,ip'][
            Math.min(3, sides.split(',').length) - 1
          ]
          return `create ${name} ${type}${family === 6 ? ' family inet6' : ''} counters timeout 0\n`
        })
        .filter((line, i, all) => all.indexOf(line) === i)
        .join('')
      const text = ruleFile(rule)
      const lab = new Lab({
        ...(family === 4 ? { rules: text } : { rules6: text }),
        setText: setText || sets,
        cacheLines: 64,
      })
      shower(lab, family === 4 ? seeds4 : seeds6, 20, 1)
    }
  }, 120_000)
})

test.each([
  'docker-20.rules',
  'docker-28.rules',
  'fail2ban.rules',
  'kube-proxy.rules',
  'router.rules',
  'ufw.rules',
  'ufw6.rules',
])(
  '%s under random packets',
  (name) => {
    const text = fixture(name)
    const six = name === 'ufw6.rules'
    const lab = new Lab({
      ...(six ? { rules6: text } : { rules: text }),
      setText: fixture('sets.ipset'),
      interfaces: ['docker0', 'eth0', 'eth1', 'lo'],
      addresses: { docker0: '172.17.0.1', eth0: '203.0.113.1' },
      cacheLines: 256,
    })
    expect(shower(lab, six ? seeds6 : seeds4, 3000, 2)).toBeGreaterThan(1000)
    // Nothing grows: what was dropped is forgotten.
    expect(lab.conntrack.count).toBeLessThanOrEqual(4096)
  },
  60_000,
)
