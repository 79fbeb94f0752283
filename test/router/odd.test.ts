/**
 * What a router does with packets it meets seldom, each as Linux does it (differential/router.test.ts is where
 * that was found out): to itself, with options and extension headers, from addresses nobody has. And random
 * ones: whatever comes, every packet has one fate, and what leaves is sound.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { forUs, malformed, martians, options, pieces, refused, summed } from '../differential/router/odd.ts'
import { OurSide } from '../differential/router/our-side.ts'
import { wholeTables } from '../differential/router/run.ts'
import {
  bytes,
  echoPacket,
  fragments,
  packet,
  spoiled,
  tcpPacket,
  udpPacket,
} from '../differential/router/traffic.ts'
import { toRouter, world } from '../differential/router/world.ts'
import { checkSums } from '../filter/conntrack/support.ts'
import { ipv4, ipv6, random, udp } from '../support/frames.ts'

const here = { src: '10.0.0.2', dst: '10.0.0.1', sport: 40000, dport: 9 }
const there = { ...here, dst: '203.0.113.2' }
const here6 = { src: 'fd00:1::2', dst: 'fd00:1::1', sport: 40000, dport: 9 }
const there6 = { ...here6, dst: 'fd00:2::2' }
const ALL = ['INPUT', 'FORWARD', 'OUTPUT']

let router: OurSide
beforeEach(() => {
  router = new OurSide(world())
})
afterEach(() => {
  expect(router.balance()).toBe(0)
  router.close()
})

/** What comes out, as IP packets. */
const send = (p: Uint8Array, link = 0): Uint8Array[] =>
  router.send(link, toRouter(link, p)).flatMap((list) => list.map((f) => f.slice(14)))
/** Source, type, code and TOS of an ICMP or ICMPv6 answer. */
const answer = (p: Uint8Array, link = 0): string => {
  const [a, ...more] = send(p, link)
  expect(more).toEqual([])
  if (!a) return 'nothing'
  checkSums(a)
  return a[0] >> 4 === 4
    ? `${a.subarray(12, 16).join('.')} ${a[20]}/${a[21]} tos ${a[1]}`
    : `${Buffer.from(a.subarray(8, 24)).toString('hex')} ${a[40]}/${a[41]}`
}
const count = (chain: string, family: 4 | 6 = 4): number =>
  Number(new RegExp(`:${chain} ACCEPT \\[(\\d+)`).exec(router.rules(family).split('*filter')[1])![1])
const withOption = (f: typeof here, opts: number[]): Uint8Array =>
  ipv4({ ...f, ttl: 9, options: opts, payload: udp(f, { srcPort: f.sport, dstPort: f.dport }) })

describe('to the router itself', () => {
  test('errors come from the address that was asked, and keep its TOS', () => {
    expect(answer(udpPacket({ ...here, dst: '203.0.113.1' }, 9, { tos: 0x28 }))).toBe(
      '203.0.113.1 3/3 tos 200',
    )
    expect(answer(udpPacket({ ...here6, dst: 'fd00:2::1' }))).toMatch(/^fd0000020{23}1 1\/4$/)
  })

  test('others from the interface by which they leave (RFC 1812 4.3.2.4)', () => {
    expect(answer(udpPacket({ ...there, src: '192.0.2.9' }, 9, { ttl: 1 }))).toBe('203.0.113.1 11/0 tos 192')
  })

  test('nothing answers a wrong checksum, or a header that is cut off', () => {
    for (const p of [udpPacket(here), tcpPacket(here, { flags: 2, payload: bytes(4) }), echoPacket(here, 3)])
      expect(send(spoiled(p))).toEqual([])
    for (const protocol of [17, 6, 1]) expect(send(packet(here, protocol, bytes(4)))).toEqual([])
  })

  test('a reset has the TOS of what it refuses', () => {
    expect(send(tcpPacket(here, { flags: 2 }, { tos: 0x10 }))[0][1]).toBe(0x10)
  })

  test('an echo reply has no DF and no options', () => {
    const ping = echoPacket(here, 7, false, 20, { options: [148, 4, 0, 0] })
    const [reply] = send(ping)
    expect([reply[0], reply[6], reply.length]).toEqual([0x45, 0, 48])
    checkSums(reply)
  })

  test('a ping in fragments is answered, in fragments too', () => {
    for (const ends of [here, here6]) {
      const whole = echoPacket(ends, 9, false, 3000, { dontFragment: false })
      const header = ends === here ? 20 : 40
      const cuts: [number, number][] = [
        [0, 1448],
        [1448, 1448],
        [2896, 2000],
      ]
      const body = whole.subarray(header)
      const parts = fragments({ ...ends }, 3000, cuts).map((p, i) => {
        const head = ends === here ? 20 : 48
        p.set(body.subarray(cuts[i][0], cuts[i][0] + p.length - head), head)
        if (ends === here) p[9] = 1
        else p[40] = 58
        return ends === here ? summed(p) : p
      })
      const out = parts.flatMap((p) => send(p))
      expect(out.length).toBe(3)
      expect(out.reduce((n, p) => n + p.length, 0)).toBe(3008 + 3 * (ends === here ? 20 : 48))
    }
  })

  test('a broadcast is not refused', () => {
    for (const dst of ['10.0.0.255', '10.0.2.255', '255.255.255.255', '224.0.0.1']) {
      expect(send(udpPacket({ ...here, dst }))).toEqual([])
      expect(send(echoPacket({ ...here, dst }, 4))).toEqual([])
    }
  })
})

describe('addresses', () => {
  test('martians and groups: rules of PREROUTING see them, those of INPUT and FORWARD do not', () => {
    router.load({ 4: wholeTables('*raw\n-A PREROUTING\nCOMMIT\n') })
    for (const src of ['127.0.0.1', '224.0.0.9', '255.255.255.255', '10.0.0.1', '203.0.113.1'])
      expect(send(udpPacket({ ...there, src }))).toEqual([])
    for (const dst of ['127.0.0.1', '224.0.0.9', '0.0.0.0'])
      expect(send(udpPacket({ ...here, dst }))).toEqual([])
    expect(router.rules(4)).toContain('[8:384] -A PREROUTING')
    expect(ALL.map((chain) => count(chain))).toEqual([0, 0, 0])
  })

  test('an IPv6 source of the link alone is told that the destination is not there', () => {
    router.close()
    router = new OurSide({
      ...world(),
      links: world().links.map((l) => ({ ...l, hosts: [...l.hosts, 'fe80::5'] })),
    })
    expect(answer(udpPacket({ ...there6, src: 'fe80::5' }))).toMatch(/ 1\/2$/)
    expect(send(udpPacket({ ...there6, src: '::' }))).toEqual([])
  })
})

describe('options', () => {
  test('source routes are dropped, other options pass as they are', () => {
    for (const type of [131, 137]) expect(send(withOption(there, [type, 7, 4, 10, 0, 2, 3, 0]))).toEqual([])
    const [out] = send(withOption(there, [7, 7, 4, 0, 0, 0, 0, 0]))
    expect([...out.subarray(20, 28)]).toEqual([7, 7, 4, 0, 0, 0, 0, 0])
    expect(router.drops()).toEqual({ 'source-route': 2 })
  })

  test.each([
    ['length 1', [7, 1, 4, 0], 20],
    ['longer than the header', [7, 40, 4, 0], 20],
    ['no length', [1, 1, 1, 7], 23],
    ['a pointer into the head', [7, 7, 3, 0, 0, 0, 0, 0], 22],
  ])('malformed: %s', (_, opts, pointer) => {
    for (const f of [there, here]) {
      const [out] = send(withOption(f, opts))
      expect([out[20], out[21], out[24]]).toEqual([12, 0, pointer])
    }
  })

  test.each([
    [0x1e, null],
    [0x5e, []],
    [0x9e, [4, 2, 42]],
    [0xde, [4, 2, 42]],
  ])('IPv6 hop by hop, type %i', (type, expected) => {
    const p = ipv6({
      ...there6,
      next: 0,
      payload: Uint8Array.from([17, 0, type, 4, 0, 0, 0, 0, ...udp(there6)]),
    })
    const [out] = send(p)
    if (expected === null) expect(out[6]).toBe(0)
    else expect(out ? [out[40], out[41], out[47]] : []).toEqual(expected)
  })

  test('IPv6 headers for the destination: read there, and by nobody on the way', () => {
    const route = [17, 2, 0, 1, ...new Array(20).fill(0)]
    const cases: [number, number[], number[]][] = [
      [43, route, [4, 0, 42]],
      [60, [17, 0, 0x9e, 4, 0, 0, 0, 0], [4, 2, 42]],
      [60, [0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0], [4, 1, 40]],
      [60, [200, 0, 1, 4, 0, 0, 0, 0], [4, 1, 40]],
    ]
    for (const [next, header, expected] of cases) {
      const to = (f: typeof here6) => ipv6({ ...f, next, payload: Uint8Array.from([...header, ...udp(f)]) })
      expect(send(to(there6))[0][7]).toBe(63)
      const [out] = send(to(here6))
      expect([out[40], out[41], out[47]]).toEqual(expected)
    }
  })
})

describe('with rules', () => {
  const load = (rules: string): void => router.load({ 4: wholeTables(rules) })

  test('an error about a flow that nobody can find yet is RELATED', () => {
    load(
      '*filter\n-A OUTPUT -m conntrack --ctstate RELATED\n-A OUTPUT -m conntrack --ctstate INVALID\nCOMMIT\n',
    )
    send(udpPacket(there, 9, { ttl: 1 }))
    expect(router.rules(4)).toMatch(
      /\[1:65\] -A OUTPUT -m conntrack --ctstate RELATED\n\[0:0\] -A OUTPUT -m conntrack --ctstate INVALID/,
    )
  })

  test('without a connection the states decide alone, whatever else is asked of it', () => {
    load(
      '*filter\n-A FORWARD -m conntrack ! --ctstate NEW --ctdir ORIGINAL\n-A FORWARD -m conntrack --ctstate NEW --ctdir ORIGINAL\nCOMMIT\n',
    )
    send(tcpPacket(there, { flags: 0 }))
    expect(router.rules(4)).toMatch(
      /\[1:40\] -A FORWARD -m conntrack ! --ctstate NEW --ctdir ORIGINAL\n\[0:0\]/,
    )
  })

  test('--ctstatus NONE asks for no bit: it never matches, its opposite always', () => {
    load(
      '*filter\n-A FORWARD -m conntrack --ctstatus NONE\n-A FORWARD -m conntrack ! --ctstatus NONE\nCOMMIT\n',
    )
    send(udpPacket(there))
    expect(router.rules(4)).toMatch(
      /\[0:0\] -A FORWARD -m conntrack --ctstatus NONE\n\[1:48\] -A FORWARD -m conntrack ! --ctstatus NONE/,
    )
  })

  test('a mark with bits outside of its mask: never, and its opposite always', () => {
    load('*filter\n-A FORWARD -m mark --mark 0x2/0x1\n-A FORWARD -m mark ! --mark 0x2/0x1\nCOMMIT\n')
    send(udpPacket(there))
    expect(router.rules(4)).toMatch(/\[0:0\] -A FORWARD -m mark --mark 0x2\/0x1\n\[1:48\]/)
  })

  test('REJECT with a reset closes the connection; it is silent about a wrong checksum', () => {
    load(
      '*filter\n-A FORWARD -p tcp -m tcp --tcp-flags FIN FIN -j REJECT --reject-with tcp-reset\n-A FORWARD -m conntrack --ctstate INVALID -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n',
    )
    send(tcpPacket(there, { flags: 2, seq: 1 }))
    send(
      tcpPacket({ src: there.dst, dst: there.src, sport: 9, dport: 40000 }, { flags: 18, seq: 1, ack: 2 }),
      1,
    )
    expect(send(tcpPacket(there, { flags: 17, seq: 2, ack: 2 }))).toHaveLength(1)
    expect(router.connections()[0]).toMatch(/^tcp +6 (9|10) CLOSE/)
    expect(send(spoiled(udpPacket(there)))).toEqual([])
  })
})

test.each([4, 6] as const)('IPv%i: whatever comes, with rules and without', (family) => {
  const next = random(family)
  const seeds = [forUs, refused, martians, malformed, pieces, options].flatMap((make) => make(family))
  const rules =
    '*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\n-A INPUT -p udp -j REJECT\nCOMMIT\n*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n'
  for (const text of ['', rules]) {
    if (text !== '') router.load({ [family]: wholeTables(text) })
    for (let i = 0; i < 6000; i++) {
      const { packet: from } = seeds[next() % seeds.length]
      const p = from.slice(0, next() % 8 === 0 ? next() % (from.length + 1) : from.length)
      for (let n = next() % 4; n > 0 && p.length > 0; n--)
        p[(next() % 3 === 0 ? next() : next() % 64) % p.length] = next()
      if (family === 4 && p.length >= 20 && next() % 8 !== 0) summed(p)
      for (const out of send(p, next() % 3)) {
        // ARP and ND for whoever is asked now.
        if (out[0] >> 4 === 4)
          expect([ipv4HeaderIsRight(out), (out[2] << 8) | out[3]]).toEqual([true, out.length])
        else expect(out[0] >> 4 === 6 || out[1] === 1).toBe(true)
      }
      if (i % 1000 === 0) expect(router.balance()).toBe(0)
    }
  }
})

function ipv4HeaderIsRight(p: Uint8Array): boolean {
  const was = [p[10], p[11]]
  const again = summed(p.slice())
  return again[10] === was[0] && again[11] === was[1]
}
