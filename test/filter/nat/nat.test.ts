/** NAT as stories: what is chosen, and that every packet of both directions is rewritten rightly. */
import { describe, expect, test } from 'vitest'
import { type NatRangeSpec, natRange, netmapOf } from '../../../src/filter/nat/range.ts'
import {
  addr,
  Bench,
  build,
  checkSums,
  errorAbout,
  type Packet,
  quoteIn,
  type Sent,
} from '../conntrack/support.ts'

const range = (spec: Omit<NatRangeSpec, 'addresses'> & { to?: string }): ReturnType<typeof natRange> => {
  const { to, ...rest } = spec
  const [first, last] = (to ?? '').split('-')
  const addresses = to ? { first: addr(first), last: addr(last ?? first) } : null
  return natRange({ ...rest, addresses })
}
const MASQ = natRange({ dynamic: true, bound: true })
const OWN = '203.0.113.1'
const SNAT = range({ to: OWN })
const HOST = '10.0.0.2'
const WEB = '198.51.100.9'

function sound(sent: Sent): Sent {
  if (sent.drop === null) checkSums(sent.bytes)
  return sent
}

describe('source NAT', () => {
  test('masquerade: out with our address, back with theirs, for every packet', () => {
    const b = new Bench()
    const out = sound(b.send({ src: HOST, dst: WEB, flags: 'S', seq: 1 }, { snat: MASQ, address: OWN }))
    expect(out).toMatchObject({ state: 'NEW', src: OWN, dst: WEB, sport: 40000, dport: 80 })
    const back = sound(b.send({ src: WEB, dst: OWN, sport: 80, dport: 40000, flags: 'SA', seq: 9, ack: 2 }))
    expect(back).toMatchObject({
      state: 'ESTABLISHED',
      reply: true,
      src: WEB,
      dst: HOST,
      sport: 80,
      dport: 40000,
    })
    const more = sound(b.send({ src: HOST, dst: WEB, flags: 'A', seq: 2, ack: 10 }))
    expect(more).toMatchObject({ state: 'ESTABLISHED', src: OWN })
    expect(b.list()[0]).toMatch(
      /src=10.0.0.2 dst=198.51.100.9 .*src=198.51.100.9 dst=203.0.113.1 sport=80 dport=40000 \[ASSURED\]/,
    )
  })

  test('two hosts with one port to one server: never one reply tuple', () => {
    const b = new Bench()
    const seen = new Set<number>()
    for (let i = 2; i < 60; i++) {
      const sent = sound(b.send({ src: `10.0.0.${i}`, dst: WEB, proto: 'udp', sport: 5000 }, { snat: SNAT }))
      expect(sent.drop).toBeNull()
      expect(sent.sport).toBeGreaterThanOrEqual(1024)
      seen.add(sent.sport)
    }
    expect(seen.size).toBe(58)
    expect(seen.has(5000)).toBe(true)
  })

  test('to two servers one port serves both (linux: ports may be shared)', () => {
    const b = new Bench()
    const one = b.send({ src: '10.0.0.2', dst: WEB, proto: 'udp', sport: 5000 }, { snat: SNAT })
    const two = b.send({ src: '10.0.0.3', dst: '198.51.100.10', proto: 'udp', sport: 5000 }, { snat: SNAT })
    expect([one.sport, two.sport]).toEqual([5000, 5000])
  })

  test('a moved port stays moved: the endpoint keeps what it has for other servers', () => {
    const b = new Bench()
    b.send({ src: '10.0.0.2', dst: WEB, proto: 'udp', sport: 5000 }, { snat: SNAT })
    const moved = b.send(
      { src: '10.0.0.3', dst: WEB, proto: 'udp', sport: 5000 },
      { snat: range({ to: OWN, ports: { min: 6000, max: 6999 } }) },
    )
    expect(moved.sport).toBeGreaterThanOrEqual(6000)
    const next = b.send(
      { src: '10.0.0.3', dst: '198.51.100.10', proto: 'udp', sport: 5000 },
      { snat: range({ to: OWN, ports: { min: 6000, max: 6999 } }) },
    )
    expect(next.sport).toBe(moved.sport)
  })

  test.each([
    [300, 1, 511],
    [700, 600, 1023],
    [2000, 1024, 65535],
  ])('port %d moves within its class, %d to %d', (sport, min, max) => {
    const b = new Bench()
    for (let i = 2; i < 40; i++) {
      const sent = b.send({ src: `10.0.0.${i}`, dst: WEB, proto: 'udp', sport }, { snat: SNAT })
      expect(sent.sport).toBeGreaterThanOrEqual(min)
      expect(sent.sport).toBeLessThanOrEqual(max)
    }
  })

  test('a range that is full: nat-exhausted, and nothing stays', () => {
    const b = new Bench()
    const narrow = range({ to: OWN, ports: { min: 7000, max: 7003 } })
    const ports = [2, 3, 4, 5].map(
      (i) => b.send({ src: `10.0.0.${i}`, dst: WEB, proto: 'udp', sport: 5000 }, { snat: narrow }).sport,
    )
    expect(ports.sort()).toEqual([7000, 7001, 7002, 7003])
    const last = b.send({ src: '10.0.0.6', dst: WEB, proto: 'udp', sport: 5000 }, { snat: narrow })
    expect(last.drop).toBe('nat-exhausted')
    expect(b.ct.count).toBe(4)
  })

  test('full of TCP flows that are over: one of them gives way', () => {
    const b = new Bench()
    const narrow = range({ to: OWN, ports: { min: 7000, max: 7000 } })
    b.send({ src: '10.0.0.2', dst: WEB, flags: 'S' }, { snat: narrow })
    b.send({ src: WEB, dst: OWN, sport: 80, dport: 7000, flags: 'SA', seq: 5, ack: 1 })
    b.send({ src: '10.0.0.2', dst: WEB, flags: 'A', seq: 1, ack: 6 })
    expect(b.send({ src: '10.0.0.3', dst: WEB, flags: 'S' }, { snat: narrow }).drop).toBe('nat-exhausted')
    b.send({ src: '10.0.0.2', dst: WEB, flags: 'R', seq: 1 })
    expect(b.tcpState()).toBe('CLOSE')
    expect(b.send({ src: '10.0.0.3', dst: WEB, flags: 'S' }, { snat: narrow })).toMatchObject({
      drop: null,
      sport: 7000,
    })
  })

  test('random: the port is another one, each time', () => {
    const b = new Bench()
    const kept = [2, 3, 4, 5, 6, 7].filter(
      (i) =>
        b.send(
          { src: `10.0.0.${i}`, dst: WEB, sport: 41000 + i, flags: 'S' },
          { snat: range({ to: OWN, random: true }) },
        ).sport ===
        41000 + i,
    )
    expect(kept.length).toBeLessThan(2)
  })

  test('a pool: many addresses are used; persistent: one host has one', () => {
    const b = new Bench()
    const pool = { to: '203.0.113.16-203.0.113.31' }
    const used = new Set<string>()
    for (let i = 2; i < 200; i++)
      used.add(b.send({ src: `10.0.0.${i}`, dst: WEB, proto: 'udp' }, { snat: range(pool) }).src)
    expect(used.size).toBeGreaterThan(8)
    for (const src of used) expect(Number(src.split('.')[3])).toBeGreaterThanOrEqual(16)
    const same = new Set<string>()
    for (let i = 2; i < 50; i++)
      same.add(
        b.send(
          { src: HOST, dst: `198.51.100.${i}`, proto: 'udp', sport: 9000 + i },
          { snat: range({ ...pool, persistent: true }) },
        ).src,
      )
    expect(same.size).toBe(1)
  })

  test('a service port of a client is not kept towards ephemeral ports (port shadowing)', () => {
    const b = new Bench()
    const spoof = b.send({ src: HOST, dst: WEB, proto: 'udp', sport: 1194, dport: 41234 }, { snat: SNAT })
    expect(spoof.sport).not.toBe(1194)
    // So this is a new flow to our own service, not the answer to the flow above.
    const client = b.send({ src: WEB, dst: OWN, proto: 'udp', sport: 41234, dport: 1194 })
    expect(client).toMatchObject({ state: 'NEW', dst: OWN })
  })

  test('no rule: nothing changes, unless the reply would be another flow s', () => {
    const b = new Bench()
    expect(b.send({ src: '10.0.0.2', dst: WEB, sport: 5000, proto: 'udp' })).toMatchObject({
      src: '10.0.0.2',
      sport: 5000,
    })
    b.send({ src: '10.0.0.3', dst: WEB, proto: 'udp', sport: 5001 }, { snat: SNAT })
    // The router's own flow from the address and port that the masqueraded one has.
    const own = b.send({ src: OWN, dst: WEB, proto: 'udp', sport: 5001 }, { local: true })
    expect(own).toMatchObject({ drop: null, src: OWN })
    expect(own.sport).not.toBe(5001)
  })

  test('a flow that would leave by another interface than it is masqueraded for ends', () => {
    const b = new Bench()
    b.send({ src: HOST, dst: WEB, proto: 'udp' }, { snat: MASQ, address: OWN, outIf: 1 })
    expect(b.send({ src: HOST, dst: WEB, proto: 'udp' }, { outIf: 2 }).drop).toBe('nat-moved')
    expect(b.ct.count).toBe(0)
  })

  test('IPv6', () => {
    const b = new Bench()
    const snat = range({ to: '2001:db8::1' })
    const out = sound(b.send({ src: 'fd00::2', dst: '2001:db8:9::9', flags: 'S', payload: 11 }, { snat }))
    expect(out).toMatchObject({ src: '2001:db8::1', sport: 40000 })
    const back = sound(
      b.send({ src: '2001:db8:9::9', dst: '2001:db8::1', sport: 80, dport: 40000, flags: 'SA', ack: 12 }),
    )
    expect(back).toMatchObject({ state: 'ESTABLISHED', dst: 'fd00::2' })
    const clash = sound(b.send({ src: 'fd00::3', dst: '2001:db8:9::9', flags: 'S' }, { snat }))
    expect(clash.sport).not.toBe(40000)
    const ping = sound(b.send({ src: 'fd00::2', dst: '2001:db8:9::9', proto: 'icmpv6', id: 5 }, { snat }))
    const ping2 = sound(b.send({ src: 'fd00::3', dst: '2001:db8:9::9', proto: 'icmpv6', id: 5 }, { snat }))
    expect(ping.id).toBe(5)
    expect(ping2.id).not.toBe(5)
    expect(
      sound(b.send({ src: '2001:db8:9::9', dst: '2001:db8::1', proto: 'icmpv6', type: 129, id: ping2.id })),
    ).toMatchObject({ dst: 'fd00::3', id: 5 })
  })

  test('ICMP queries: the identifier is the port', () => {
    const b = new Bench()
    const one = sound(b.send({ src: '10.0.0.2', dst: WEB, proto: 'icmp', id: 5 }, { snat: SNAT }))
    const two = sound(b.send({ src: '10.0.0.3', dst: WEB, proto: 'icmp', id: 5 }, { snat: SNAT }))
    expect(one.id).toBe(5)
    expect(two.id).not.toBe(5)
    const back = sound(b.send({ src: WEB, dst: OWN, proto: 'icmp', type: 0, id: two.id }))
    expect(back).toMatchObject({ state: 'ESTABLISHED', dst: '10.0.0.3', id: 5 })
  })

  test('UDP without a checksum stays without', () => {
    const b = new Bench()
    const out = sound(b.send({ src: HOST, dst: WEB, proto: 'udp', noChecksum: true }, { snat: SNAT }))
    expect([out.bytes[26], out.bytes[27]]).toEqual([0, 0])
  })

  test('SCTP: a moved port gets a new CRC, an address alone keeps it', () => {
    const b = new Bench()
    const payload = new Uint8Array(20).fill(3)
    expect(b.send({ src: HOST, dst: WEB, proto: 132, payload }, { snat: SNAT }).bytes.slice(28, 32)).toEqual(
      new Uint8Array(4),
    )
    const moved = b.send({ src: '10.0.0.3', dst: WEB, proto: 132, payload }, { snat: SNAT })
    expect(moved.sport).not.toBe(40000)
    expect(moved.bytes.slice(28, 32)).not.toEqual(new Uint8Array(4))
  })

  test('protocols without ports: the second host to one server has no place', () => {
    const b = new Bench()
    expect(b.send({ src: '10.0.0.2', dst: WEB, proto: 47, payload: 8 }, { snat: SNAT }).src).toBe(OWN)
    expect(b.send({ src: '10.0.0.3', dst: WEB, proto: 47, payload: 8 }, { snat: SNAT }).drop).toBe(
      'nat-exhausted',
    )
  })
})

describe('destination NAT', () => {
  const PUBLISH = range({ to: '10.0.0.80', ports: { min: 8080, max: 8080 } })

  test('publish: in with the port changed, out again as if we were the server', () => {
    const b = new Bench()
    const inn = sound(b.send({ src: WEB, dst: OWN, dport: 80, flags: 'S' }, { dnat: PUBLISH }))
    expect(inn).toMatchObject({ dst: '10.0.0.80', dport: 8080, src: WEB })
    const out = sound(b.send({ src: '10.0.0.80', dst: WEB, sport: 8080, dport: 40000, flags: 'SA', ack: 1 }))
    expect(out).toMatchObject({ src: OWN, sport: 80, dst: WEB, state: 'ESTABLISHED' })
  })

  test('hairpin: published, reached from inside with the source translated too', () => {
    const b = new Bench()
    const inn = sound(
      b.send(
        { src: HOST, dst: OWN, dport: 80, flags: 'S' },
        { dnat: PUBLISH, snat: MASQ, address: '10.0.0.1' },
      ),
    )
    expect(inn).toMatchObject({ src: '10.0.0.1', dst: '10.0.0.80', dport: 8080 })
    const out = sound(
      b.send({ src: '10.0.0.80', dst: '10.0.0.1', sport: 8080, dport: 40000, flags: 'SA', ack: 1 }),
    )
    expect(out).toMatchObject({ src: OWN, sport: 80, dst: HOST, dport: 40000 })
  })

  test('a range of ports, shifted by a base', () => {
    const b = new Bench()
    const shifted = range({ to: '10.0.0.80', ports: { min: 5000, max: 5099 }, basePort: 8000 })
    expect(b.send({ src: WEB, dst: OWN, dport: 8042, flags: 'S' }, { dnat: shifted }).dport).toBe(5042)
  })

  test('clients of two destinations that become one: the second one s source moves', () => {
    const b = new Bench()
    b.send({ src: WEB, dst: OWN, dport: 80, flags: 'S' }, { dnat: PUBLISH })
    const second = sound(b.send({ src: WEB, dst: '203.0.113.2', dport: 80, flags: 'S' }, { dnat: PUBLISH }))
    expect(second).toMatchObject({ drop: null, src: WEB, dst: '10.0.0.80' })
    expect(second.sport).not.toBe(40000)
    const back = sound(
      b.send({ src: '10.0.0.80', dst: WEB, sport: 8080, dport: second.sport, flags: 'SA', ack: 1 }),
    )
    expect(back).toMatchObject({ src: '203.0.113.2', sport: 80, dport: 40000 })
  })

  test('redirect to our own address', () => {
    const b = new Bench()
    const redirect = natRange({ dynamic: true, ports: { min: 3128, max: 3128 } })
    const inn = sound(b.send({ src: HOST, dst: WEB, flags: 'S' }, { dnat: redirect, address: '10.0.0.1' }))
    expect(inn).toMatchObject({ dst: '10.0.0.1', dport: 3128 })
  })

  test('netmap keeps the host bits', () => {
    const b = new Bench()
    const to = netmapOf({ address: addr('192.168.7.0'), mask: addr('255.255.255.0') })
    expect(b.send({ src: WEB, dst: '203.0.113.77', proto: 'udp' }, { dnat: to }).dst).toBe('192.168.7.77')
    expect(b.send({ src: '10.0.0.99', dst: WEB, proto: 'udp' }, { snat: to }).src).toBe('192.168.7.99')
  })
})

describe('ICMP errors', () => {
  const quotes: [string, Packet, number][] = [
    ['UDP, whole', { src: HOST, dst: WEB, proto: 'udp', payload: 30 }, 600],
    ['UDP, 8 bytes', { src: HOST, dst: WEB, proto: 'udp', payload: 30 }, 28],
    ['TCP, whole', { src: HOST, dst: WEB, flags: 'S', payload: 5 }, 600],
    ['TCP, 8 bytes', { src: HOST, dst: WEB, flags: 'S', payload: 5 }, 28],
    ['echo', { src: HOST, dst: WEB, proto: 'icmp', id: 9, payload: 10 }, 600],
    ['UDP without a checksum', { src: HOST, dst: WEB, proto: 'udp', payload: 30, noChecksum: true }, 600],
  ]
  test.each(quotes)('about a masqueraded flow, back to who began it: %s', (_, packet, length) => {
    const b = new Bench()
    b.send({ ...packet, src: '10.0.0.250' }, { snat: SNAT })
    // Its port is taken, so ours moves: both are put back.
    const out = sound(b.send(packet, { snat: SNAT }))
    const error = sound(b.send(errorAbout(out.bytes, '192.0.2.99', OWN, 11, 0, length)))
    expect(error).toMatchObject({ state: 'RELATED', src: '192.0.2.99', dst: HOST, drop: null })
    expect(quoteIn(error.bytes).bytes).toEqual(build(packet).slice(0, length))
  })

  test('IPv6: packet too big', () => {
    const b = new Bench()
    const packet: Packet = { src: 'fd00::2', dst: '2001:db8:9::9', flags: 'S', payload: 400 }
    const out = sound(b.send(packet, { snat: range({ to: '2001:db8::1', ports: { min: 7, max: 7 } }) }))
    const error = sound(b.send(errorAbout(out.bytes, '2001:db8:8::8', '2001:db8::1', 2, 0, 300, 1280)))
    expect(error).toMatchObject({ state: 'RELATED', dst: 'fd00::2' })
    expect(quoteIn(error.bytes).bytes).toEqual(build(packet).slice(0, 300))
  })

  test('from inside about a published flow: source and quote are ours', () => {
    const b = new Bench()
    const packet: Packet = { src: WEB, dst: OWN, dport: 80, flags: 'S' }
    const inn = b.send(packet, { dnat: range({ to: '10.0.0.80', ports: { min: 8080, max: 8080 } }) })
    const error = sound(b.send(errorAbout(inn.bytes, '10.0.0.80', WEB, 3, 3)))
    expect(error).toMatchObject({ state: 'RELATED', src: OWN, dst: WEB })
    expect(quoteIn(error.bytes).bytes).toEqual(build(packet))
  })

  test('neither refresh nor end the flow', () => {
    const b = new Bench()
    const out = b.send({ src: HOST, dst: WEB, proto: 'udp' }, { snat: SNAT })
    b.pass(20)
    b.send(errorAbout(out.bytes, WEB, OWN, 3, 3))
    expect(b.timeout()).toBe(10)
  })

  test('a redirect about a translated flow is dropped', () => {
    const b = new Bench()
    const out = b.send({ src: HOST, dst: WEB, proto: 'udp' }, { snat: SNAT })
    expect(b.send(errorAbout(out.bytes, '192.0.2.99', OWN, 5, 1)).drop).toBe('nat-untranslatable')
  })
})

describe('offloads', () => {
  test('a partial checksum: the pseudo-header s part alone changes', () => {
    const b = new Bench()
    const packet: Packet = { src: HOST, dst: WEB, flags: 'S', payload: 3000, gso: 1448, partial: true }
    const sent = b.send(packet, { snat: range({ to: OWN, ports: { min: 7777, max: 7777 } }) })
    const wanted = build({ ...packet, src: OWN, sport: 7777 })
    expect(sent.bytes).toEqual(wanted)
  })

  test('UDP, partial', () => {
    const b = new Bench()
    const packet: Packet = { src: HOST, dst: WEB, proto: 'udp', payload: 100, partial: true }
    const sent = b.send(packet, { snat: range({ to: OWN, ports: { min: 7777, max: 7777 } }) })
    expect(sent.bytes).toEqual(build({ ...packet, src: OWN, sport: 7777 }))
  })
})
