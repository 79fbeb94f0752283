/** The order of tables at each hook, connections from first packet to last, and rules that change under way. */
import { describe, expect, test } from 'vitest'
import { parseRules } from '../../src/filter/parse.ts'
import { compile } from '../../src/filter/program/compile.ts'
import { carriedCounters } from '../../src/filter/program/counters.ts'
import { LogLines } from '../../src/filter/program/log-line.ts'
import { Hook } from '../../src/packet/hooks.ts'
import { RingReader } from '../../src/packet/ring.ts'
import { icmp, ipv4, ipv6, tcp, udp } from '../support/frames.ts'
import { Lab } from './program/lab.ts'
import { fixture } from './support.ts'

const packet = (src: string, dst: string, srcPort = 1000, dstPort = 53): Uint8Array =>
  ipv4({ src, dst, payload: udp({ src, dst }, { srcPort, dstPort }) })

/** Addresses and ports. */
const ends = (bytes: Uint8Array): string =>
  `${bytes.subarray(12, 16).join('.')}:${(bytes[20] << 8) | bytes[21]} > ${bytes.subarray(16, 20).join('.')}:${(bytes[22] << 8) | bytes[23]}`

const EVERY = [
  'raw PREROUTING OUTPUT',
  'mangle PREROUTING INPUT FORWARD OUTPUT POSTROUTING',
  'nat PREROUTING INPUT OUTPUT POSTROUTING',
  'filter INPUT FORWARD OUTPUT',
  'security INPUT FORWARD OUTPUT',
]

function logAll(): string {
  // So that connections are tracked: LOG in table nat does not ask for that, as in the kernel.
  const tracked = '-A OUTPUT -m conntrack --ctstate INVALID\n'
  return EVERY.map((line) => {
    const [table, ...chains] = line.split(' ')
    return `*${table}\n${chains.map((chain) => `-A ${chain} -j LOG --log-prefix "${table} ${chain}"`).join('\n')}\n${table === 'mangle' ? tracked : ''}COMMIT\n`
  }).join('')
}

function toldBy(lab: Lab): string[] {
  const lines = new LogLines([lab.rules4!], lab.interfaces)
  const ring = new RingReader(lab.rings.log)
  const told: string[] = []
  for (let line = lines.next(ring); line; line = lines.next(ring)) told.push(line.text.split('IN=')[0])
  return told
}

describe('the order of tables', () => {
  test('of a packet that is forwarded', () => {
    const lab = new Lab({ rules: logAll(), routes: [['10.0.0.0/8', 'eth0']] })
    lab.send(packet('10.0.0.2', '192.0.2.9'))
    expect(toldBy(lab)).toEqual([
      'raw PREROUTING',
      'mangle PREROUTING',
      'nat PREROUTING',
      'mangle FORWARD',
      'filter FORWARD',
      'security FORWARD',
      'mangle POSTROUTING',
      'nat POSTROUTING',
    ])
    // Nat is asked once for a connection.
    lab.send(packet('192.0.2.9', '10.0.0.2', 53, 1000), { in: 'eth1' })
    expect(toldBy(lab).filter((line) => line.startsWith('nat'))).toEqual([])
  })

  test('of a packet to us', () => {
    const lab = new Lab({ rules: logAll(), addresses: { eth0: '10.0.0.1' } })
    expect(lab.send(packet('10.0.0.2', '10.0.0.1')).end).toBe('in')
    expect(toldBy(lab)).toEqual([
      'raw PREROUTING',
      'mangle PREROUTING',
      'nat PREROUTING',
      'mangle INPUT',
      'filter INPUT',
      'security INPUT',
      'nat INPUT',
    ])
  })

  test('of a packet of ours', () => {
    const lab = new Lab({ rules: logAll() })
    expect(lab.send(packet('10.0.0.1', '192.0.2.9'), { local: true }).end).toBe('out eth1')
    expect(toldBy(lab)).toEqual([
      'raw OUTPUT',
      'mangle OUTPUT',
      'nat OUTPUT',
      'filter OUTPUT',
      'security OUTPUT',
      'mangle POSTROUTING',
      'nat POSTROUTING',
    ])
  })

  test('hooks without rules are idle, and connections are tracked only if something asks', () => {
    const idle = (rules: string): boolean[] => {
      const { filter } = new Lab({ rules })
      return [0, 1, 2, 3, 4].map((hook) => filter.idle(hook as Hook))
    }
    expect(idle('')).toEqual([true, true, true, true, true])
    expect(idle('*filter\n-A FORWARD -p tcp -j DROP\nCOMMIT\n')).toEqual([true, false, false, false, true])
    expect(idle('*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n')).toEqual([false, false, true, false, false])
    const tracks = (rules: string): boolean => new Lab({ rules }).filter.tracks4
    expect(tracks('*filter\n-A FORWARD -p tcp -j DROP\nCOMMIT\n')).toBe(false)
    expect(tracks('*filter\n-A FORWARD -m state --state NEW\nCOMMIT\n')).toBe(true)
  })

  test('a rule of one family has connections of that family tracked, and of no other', () => {
    const asks = '*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n'
    const counts = '*filter\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n'
    const four = packet('10.0.0.2', '192.0.2.9')
    const ends6 = { src: '2001:db8::2', dst: '2001:db8:1::9' }
    const six = ipv6({ ...ends6, next: 17, payload: udp(ends6, { srcPort: 1000, dstPort: 53 }) })
    const lab = new Lab({ rules: asks, rules6: counts })
    expect([lab.filter.tracks4, lab.filter.tracks6]).toEqual([true, false])
    expect([lab.send(six).end, lab.packets(0, 6), lab.conntrack.count]).toEqual(['out eth1', 1, 0])
    expect([lab.send(four).end, lab.conntrack.count]).toEqual(['out eth1', 1])
    lab.load({ rules: counts, rules6: asks })
    expect([lab.filter.tracks4, lab.filter.tracks6]).toEqual([false, true])
    expect([lab.send(six).end, lab.conntrack.count]).toEqual(['out eth1', 2])
    expect([lab.send(packet('10.0.0.3', '192.0.2.9')).end, lab.conntrack.count]).toEqual(['out eth1', 2])
  })

  test('a flow that nobody has answered yet skips the rules, too, until somebody does', () => {
    const rules = ['NEW', 'ESTABLISHED'].map(
      (state) => `-A FORWARD -m conntrack --ctstate ${state} -j ACCEPT`,
    )
    const lab = new Lab({ rules: `*filter\n${rules.join('\n')}\nCOMMIT\n`, routes: [['10.0.0.0/8', 'eth0']] })
    const send = (): string => lab.send(packet('10.0.0.2', '192.0.2.9')).end
    // The first makes the connection, the second is noted.
    expect([send(), send(), lab.filter.cache.hits]).toEqual(['out eth1', 'out eth1', 0])
    expect([send(), send(), lab.filter.cache.hits]).toEqual(['out eth1', 'out eth1', 2])
    expect([lab.packets(0), lab.packets(1)]).toEqual([4, 0])
    lab.send(packet('192.0.2.9', '10.0.0.2', 53, 1000), { in: 'eth1' })
    expect([send(), send(), lab.packets(0), lab.packets(1)]).toEqual(['out eth1', 'out eth1', 4, 3])
    expect(lab.filter.cache.hits).toBe(3)
  })

  test('what was tracked ends in its time when no rule asks any more', () => {
    const lab = new Lab({ rules: '*filter\n-A FORWARD -m state --state INVALID\nCOMMIT\n' })
    lab.send(packet('10.0.0.2', '192.0.2.9'))
    lab.load({ rules: '*filter\nCOMMIT\n' })
    lab.filter.tick(lab.nowMs + 29_000)
    expect(lab.conntrack.count).toBe(1)
    lab.filter.tick(lab.nowMs + 30_001)
    expect(lab.conntrack.count).toBe(0)
  })

  test('a packet that is dropped leaves no connection behind', () => {
    const lab = new Lab({ rules: '*filter\n-A FORWARD -j DROP\nCOMMIT\n', track: true })
    for (let i = 0; i < 10; i++) expect(lab.send(packet('10.0.0.2', '192.0.2.9', i)).end).toBe('filter')
    expect(lab.conntrack.count).toBe(0)
  })
})

describe('translation', () => {
  const options = {
    addresses: { eth0: '10.0.0.1', eth1: '203.0.113.1' },
    routes: [
      ['10.0.0.0/8', 'eth0'],
      ['0.0.0.0/0', 'eth1'],
    ] as [string, string][],
  }

  test('MASQUERADE out and back', () => {
    const lab = new Lab({ ...options, rules: '*nat\n-A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n' })
    expect(ends(lab.send(packet('10.0.0.2', '192.0.2.9')).bytes)).toBe('203.0.113.1:1000 > 192.0.2.9:53')
    const back = lab.send(packet('192.0.2.9', '203.0.113.1', 53, 1000), { in: 'eth1' })
    expect([back.end, ends(back.bytes)]).toEqual(['out eth0', '192.0.2.9:53 > 10.0.0.2:1000'])
    expect(lab.packets()).toBe(1)
  })

  test('DNAT, SNAT, REDIRECT, NETMAP', () => {
    const to = (rule: string, bytes = packet('192.0.2.9', '203.0.113.1', 1000, 8080)): [string, string] => {
      const lab = new Lab({ ...options, rules: `*nat\n-A ${rule}\nCOMMIT\n` })
      const sent = lab.send(bytes, { in: 'eth1' })
      return [sent.end, ends(sent.bytes)]
    }
    expect(to('PREROUTING -p udp -m udp --dport 8080 -j DNAT --to-destination 10.0.0.2:80')).toEqual([
      'out eth0',
      '192.0.2.9:1000 > 10.0.0.2:80',
    ])
    expect(to('PREROUTING -p udp -j REDIRECT --to-ports 99')).toEqual([
      'in',
      '192.0.2.9:1000 > 203.0.113.1:99',
    ])
    expect(to('INPUT -j SNAT --to-source 10.9.9.9')).toEqual(['in', '10.9.9.9:1000 > 203.0.113.1:8080'])
    expect(to('PREROUTING -j NETMAP --to 10.7.0.0/16')).toEqual([
      'out eth0',
      '192.0.2.9:1000 > 10.7.113.1:8080',
    ])
    expect(to('POSTROUTING -j SNAT --to-source 10.9.9.9', packet('192.0.2.9', '10.0.0.2'))).toEqual([
      'out eth0',
      '10.9.9.9:1000 > 10.0.0.2:53',
    ])
  })

  test('MASQUERADE without an address drops', () => {
    const lab = new Lab({ ...options, addresses: {}, rules: '*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n' })
    expect(lab.send(packet('10.0.0.2', '192.0.2.9')).end).toBe('filter')
    expect(lab.conntrack.count).toBe(0)
  })
})

describe('a packet that is refused', () => {
  test('is answered on behalf of its connection, which nobody will ever find', () => {
    const lab = new Lab({
      addresses: { eth0: '10.0.0.1', eth1: '203.0.113.1' },
      routes: [
        ['10.0.0.0/8', 'eth0'],
        ['0.0.0.0/0', 'eth1'],
      ],
      rules:
        '*nat\n-A PREROUTING -p udp -m udp --dport 8080 -j DNAT --to-destination 10.0.0.2:80\nCOMMIT\n' +
        '*filter\n-A FORWARD -j REJECT\n-A OUTPUT -m conntrack --ctstate RELATED -j ACCEPT\n-A OUTPUT -j DROP\nCOMMIT\n',
    })
    let told: Uint8Array | null = null
    lab.answer = (slot) => {
      const quoted = lab.pool.frame(slot).slice(14)
      const payload = icmp({ type: 3, code: 3, payload: quoted })
      told = lab.send(ipv4({ src: '10.0.0.2', dst: '192.0.2.9', protocol: 1, payload }), {
        local: true,
      }).bytes
    }
    const sent = lab.send(packet('192.0.2.9', '203.0.113.1', 1000, 8080), { in: 'eth1' })
    expect([sent.end, sent.hook, sent.refused]).toEqual(['filter', Hook.Forward, [0x303]])
    // From the address that was spoken to, about the packet as it was sent.
    expect([...told!.subarray(12, 16)]).toEqual([203, 0, 113, 1])
    expect(ends(told!.subarray(28))).toBe('192.0.2.9:1000 > 203.0.113.1:8080')
    expect(lab.conntrack.count).toBe(0)
    expect(lab.packets(2)).toBe(1)
  })

  test('is refused each time, cache or not', () => {
    const lab = new Lab({
      routes: [['10.0.0.0/8', 'eth0']],
      rules:
        '*filter\n-A FORWARD -m conntrack --ctstate NEW -j ACCEPT\n-A FORWARD -s 10.0.0.2 -j REJECT\nCOMMIT\n',
    })
    lab.send(packet('10.0.0.2', '192.0.2.9'))
    lab.send(packet('192.0.2.9', '10.0.0.2', 53, 1000), { in: 'eth1' })
    for (let i = 0; i < 5; i++) expect(lab.send(packet('10.0.0.2', '192.0.2.9')).refused).toEqual([0x303])
    expect(lab.packets(1)).toBe(5)
  })
})

test('a way with more rules than a line of the cache holds is walked, and counted', () => {
  const rules = `*filter\n${'-A FORWARD -p udp\n'.repeat(40)}-A FORWARD -m state --state NEW,ESTABLISHED -j ACCEPT\nCOMMIT\n`
  const lab = new Lab({ rules, routes: [['10.0.0.0/8', 'eth0']] })
  for (let i = 0; i < 5; i++) {
    lab.send(packet('10.0.0.2', '192.0.2.9'))
    lab.send(packet('192.0.2.9', '10.0.0.2', 53, 1000), { in: 'eth1' })
  }
  for (let n = 0; n <= 40; n++) expect(lab.packets(n)).toBe(10)
  expect(lab.filter.cache.hits).toBe(0)
})

test('more flows than it has room for leave the cache alone, and what they match is counted all the same', () => {
  const rules = '*filter\n-A FORWARD -p udp\n-A FORWARD -m state --state NEW -j ACCEPT\nCOMMIT\n'
  const lab = new Lab({ rules, cacheLines: 64 })
  const { cache } = lab.filter
  const send = (flows: number, rounds: number): void => {
    for (let n = 0; n < rounds; n++) {
      for (let flow = 0; flow < flows; flow++) lab.send(packet('10.0.0.2', '192.0.2.9', 1000 + flow))
    }
  }
  send(1000, 5)
  const asked = cache.hits + cache.misses
  expect(cache.hits).toBeLessThan(100)
  expect(asked).toBeLessThan(2000)
  expect([lab.packets(0), lab.packets(1)]).toEqual([5000, 5000])
  // Few of them talk: soon it is asked each time, and knows each.
  send(10, 100)
  const { hits } = cache
  send(10, 100)
  expect(cache.hits - hits).toBe(1000)
  expect([lab.packets(0), lab.packets(1)]).toEqual([7000, 7000])
})

describe('rules are replaced', () => {
  const first = '*filter\n-A FORWARD -p udp -j ACCEPT\n-A FORWARD -p tcp -j ACCEPT\nCOMMIT\n'
  const second = '*filter\n-A FORWARD -p icmp -j ACCEPT\n-A FORWARD -p udp -j ACCEPT\nCOMMIT\n'

  test('at once, and what the cache knew is void', () => {
    const lab = new Lab({ rules: first, track: true, routes: [['10.0.0.0/8', 'eth0']] })
    for (let i = 0; i < 4; i++) {
      lab.send(packet('10.0.0.2', '192.0.2.9'))
      lab.send(packet('192.0.2.9', '10.0.0.2', 53, 1000), { in: 'eth1' })
    }
    expect(lab.filter.cache.hits).toBeGreaterThan(0)
    lab.load({ rules: '*filter\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j DROP\nCOMMIT\n' })
    expect(lab.send(packet('10.0.0.2', '192.0.2.9')).end).toBe('filter')
    // The connection itself has stayed.
    expect(lab.packets()).toBe(1)
  })

  test('counters begin at zero, or with the file, or go on if asked', () => {
    const lab = new Lab({ rules: first })
    lab.send(packet('10.0.0.2', '192.0.2.9'))
    expect([lab.packets(0), lab.packets(1)]).toEqual([1, 0])
    const from = lab.rules4!
    const to = parseRules(second, { family: 4 })
    const v4 = compile(to, { interfaces: lab.interfaces })
    lab.filter.set({ v4, v6: null, carry4: carriedCounters(from, to) })
    lab.rules4 = to
    lab.program4 = v4
    expect([lab.packets(0), lab.packets(1)]).toEqual([0, 1])
    lab.load({ rules: second.replace('-A FORWARD -p icmp', '[7:700] -A FORWARD -p icmp'), counters: true })
    expect(lab.packets(0)).toBe(7)
  })

  test('named tables keep what they have seen', () => {
    const knock =
      '*filter\n-A FORWARD -p udp -m udp --dport 99 -m recent --set --name K -j DROP\n-A FORWARD -m recent --rcheck --name K -j ACCEPT\nCOMMIT\n'
    const lab = new Lab({ rules: knock })
    lab.send(packet('10.0.0.2', '192.0.2.9', 1, 99))
    lab.load({ rules: knock })
    lab.send(packet('10.0.0.2', '192.0.2.9'))
    expect(lab.packets(1)).toBe(1)
  })
})

describe("Docker's rules", () => {
  /** 172.17.0.2 publishes 8080 -> 80; the host is 203.0.113.1. */
  const docker = (bridge: string, extra = ''): Lab =>
    new Lab({
      rules: fixture(bridge === 'br-6f0e1d2c3b4a' ? 'docker-28.rules' : 'docker-20.rules').replace(
        /^(?=\[.*-A FORWARD -j DOCKER-USER)/m,
        extra,
      ),
      interfaces: ['docker0', bridge, 'wan'],
      addresses: { docker0: '172.17.0.1', [bridge]: '172.18.0.1', wan: '203.0.113.1' },
      routes: [
        ['172.17.0.0/16', 'docker0'],
        ['172.18.0.0/16', bridge],
        ['0.0.0.0/0', 'wan'],
      ],
    })
  const syn = (src: string, dst: string, dstPort = 80, flags = 2, srcPort = 40000): Uint8Array =>
    ipv4({
      src,
      dst,
      protocol: 6,
      payload: tcp({ src, dst }, { srcPort, dstPort, flags, seq: 100, ack: flags === 2 ? 0 : 101 }),
    })
  const addresses = (bytes: Uint8Array): string =>
    `${bytes.subarray(12, 16).join('.')} > ${bytes.subarray(16, 20).join('.')}`

  for (const bridge of ['br-0a1b2c3d4e5f', 'br-6f0e1d2c3b4a']) {
    describe(bridge === 'br-6f0e1d2c3b4a' ? 'of version 28' : 'of version 20', () => {
      test('the same network talks', () => {
        const lab = docker(bridge)
        const there = lab.send(syn('172.17.0.3', '172.17.0.2', 5000), { in: 'docker0' })
        expect(there.end).toBe(bridge === 'br-6f0e1d2c3b4a' ? 'out docker0' : 'out docker0')
      })

      test('different networks do not', () => {
        const lab = docker(bridge)
        expect(lab.send(syn('172.18.0.7', '172.17.0.3', 5000), { in: bridge }).end).toBe('filter')
        expect(lab.send(syn('172.17.0.3', '172.18.0.7', 5000), { in: 'docker0' }).end).toBe('filter')
      })

      test('containers reach the world as the host, and the answers come back', () => {
        const lab = docker(bridge)
        const out = lab.send(syn('172.18.0.7', '192.0.2.9', 443), { in: bridge })
        expect([out.end, addresses(out.bytes)]).toEqual(['out wan', '203.0.113.1 > 192.0.2.9'])
        const back = lab.send(syn('192.0.2.9', '203.0.113.1', 40000, 18, 443), { in: 'wan' })
        expect([back.end, addresses(back.bytes)]).toEqual([`out ${bridge}`, '192.0.2.9 > 172.18.0.7'])
        expect(lab.send(syn('192.0.2.9', '172.18.0.7', 5000), { in: 'wan' }).end).toBe('filter')
      })

      test('a published port is reached from outside', () => {
        const lab = docker(bridge)
        const there = lab.send(syn('192.0.2.9', '203.0.113.1', 8080), { in: 'wan' })
        expect([there.end, addresses(there.bytes), there.bytes[23]]).toEqual([
          'out docker0',
          '192.0.2.9 > 172.17.0.2',
          80,
        ])
        const back = lab.send(syn('172.17.0.2', '192.0.2.9', 40000, 18, 80), { in: 'docker0' })
        expect([back.end, addresses(back.bytes), back.bytes[21] | (back.bytes[20] << 8)]).toEqual([
          'out wan',
          '203.0.113.1 > 192.0.2.9',
          8080,
        ])
      })

      test('an ACCEPT in front opens the path again', () => {
        const lab = docker(bridge, `-A DOCKER-USER -s 172.18.0.7 -d 172.17.0.3 -j ACCEPT\n`)
        expect(lab.send(syn('172.18.0.7', '172.17.0.3', 5000), { in: bridge }).end).toBe('out docker0')
      })
    })
  }

  test('hairpin: a container reaches its own published port', () => {
    const lab = new Lab({
      rules:
        '*nat\n-A PREROUTING -p tcp -m tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to-destination 172.17.0.2:80\n-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE\nCOMMIT\n',
      interfaces: ['docker0', 'wan'],
      addresses: { docker0: '172.17.0.1', wan: '203.0.113.1' },
      routes: [['172.17.0.0/16', 'docker0']],
    })
    const there = lab.send(syn('172.17.0.2', '203.0.113.1', 8080), { in: 'docker0' })
    expect([there.end, addresses(there.bytes)]).toEqual(['out docker0', '172.17.0.1 > 172.17.0.2'])
    const back = lab.send(syn('172.17.0.2', '172.17.0.1', 40000, 18, 80), { in: 'docker0' })
    expect(addresses(back.bytes)).toBe('203.0.113.1 > 172.17.0.2')
  })
})
