/**
 * BCP 127 (RFC 4787, 5382, 5508, updated by 7857), requirement by requirement, for the `rfc` profile: the
 * name of each test is a row of the table in the README.
 */
import { describe, expect, test } from 'vitest'
import { natRange } from '../../../src/filter/nat/range.ts'
import {
  addr,
  Bench,
  type BenchOptions,
  build,
  errorAbout,
  type Packet,
  quoteIn,
  type Sent,
  type Way,
} from '../conntrack/support.ts'

const OWN = '203.0.113.1'
const MASQ: Way = { snat: natRange({ dynamic: true, bound: true }), address: OWN, inIf: 0, outIf: 1 }
const IN: Way = { inIf: 1, outIf: 0 }
const WEB = '198.51.100.9'
const OTHER = '198.51.100.10'

const rfc = (options: BenchOptions = {}): Bench => new Bench({ profile: 'rfc', ...options })
const udp = (src: string, dst: string, sport: number, dport: number): Packet => ({
  src,
  dst,
  proto: 'udp',
  sport,
  dport,
})
const out = (
  b: Bench,
  src: string,
  dst: string,
  sport: number,
  dport = 9,
  more: Partial<Packet> = {},
): Sent => b.send({ ...udp(src, dst, sport, dport), ...more }, MASQ)

describe('RFC 4787, UDP', () => {
  test('REQ-1: endpoint-independent mapping', () => {
    const b = rfc()
    const one = out(b, '10.0.0.2', WEB, 5000)
    const two = out(b, '10.0.0.2', OTHER, 5000, 77)
    expect([two.src, two.sport]).toEqual([one.src, one.sport])
    // And when the port had to change.
    const moved = out(b, '10.0.0.3', WEB, 5000)
    expect(moved.sport).not.toBe(5000)
    expect(out(b, '10.0.0.3', OTHER, 5000).sport).toBe(moved.sport)
  })

  test('REQ-2: paired address pooling', () => {
    const b = rfc()
    const pool: Way = {
      snat: natRange({ addresses: { first: addr('203.0.113.16'), last: addr('203.0.113.31') } }),
    }
    const used = new Set<string>()
    for (let i = 0; i < 50; i++) used.add(b.send(udp('10.0.0.2', `198.51.100.${i}`, 6000 + i, 53), pool).src)
    expect(used.size).toBe(1)
    for (let i = 3; i < 60; i++) used.add(b.send(udp(`10.0.0.${i}`, WEB, 6000, 53), pool).src)
    expect(used.size).toBeGreaterThan(4)
  })

  test('REQ-3: no port overloading', () => {
    const b = rfc({ capacity: 3000 })
    const taken = new Map<number, string>()
    for (let i = 0; i < 2000; i++) {
      const host = `10.0.${i >> 8}.${i & 255}`
      // Different servers: with overloading they could share a port.
      const sent = out(b, host, `198.51.${i >> 8}.${i & 255}`, 5000 + (i % 7))
      expect(taken.has(sent.sport)).toBe(false)
      taken.set(sent.sport, host)
    }
  })

  test('REQ-3 a: ports 0 to 1023 and 1024 to 65535 stay apart', () => {
    const b = rfc()
    for (let i = 2; i < 40; i++) {
      expect(out(b, `10.0.0.${i}`, WEB, 700).sport).toBeLessThan(1024)
      expect(out(b, `10.0.0.${i}`, WEB, 7000).sport).toBeGreaterThanOrEqual(1024)
    }
  })

  test('REQ-4: port parity', () => {
    const b = rfc()
    for (let i = 2; i < 60; i++) {
      expect(out(b, `10.0.0.${i}`, WEB, 7000).sport % 2).toBe(0)
      expect(out(b, `10.0.0.${i}`, WEB, 7001).sport % 2).toBe(1)
    }
  })

  test('REQ-5: the timer is 2 minutes or more; 5 by default', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    expect(b.timeout()).toBe(300)
    b.pass(299)
    expect(out(b, '10.0.0.2', OTHER, 5000).sport).toBe(5000)
  })

  test('REQ-6: outbound packets refresh the mapping, inbound ones do not (unless set)', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    b.send(udp(WEB, OWN, 9, 5000), IN)
    b.pass(200)
    b.send(udp(WEB, OWN, 9, 5000), IN)
    expect(b.timeout()).toBe(100)
    out(b, '10.0.0.2', WEB, 5000)
    expect(b.timeout()).toBe(300)
    const open = rfc({ inboundRefresh: true })
    out(open, '10.0.0.2', WEB, 5000)
    open.send(udp(WEB, OWN, 9, 5000), IN)
    open.pass(200)
    open.send(udp(WEB, OWN, 9, 5000), IN)
    expect(open.timeout()).toBe(300)
  })

  test('REQ-6: an inbound flow does not keep the mapping alive either', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    b.send(udp(OTHER, OWN, 1, 5000), IN)
    for (let i = 0; i < 4; i++) {
      b.pass(100)
      b.send(udp(OTHER, OWN, 1, 5000), IN)
    }
    b.ct.tick(b.nowMs)
    expect(b.send(udp('192.0.2.50', OWN, 1, 5000), IN).dst).toBe(OWN)
  })

  test('REQ-8: endpoint-independent filtering, for transparency', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    const third = b.send(udp('192.0.2.50', OWN, 4321, 5000), IN)
    expect(third).toMatchObject({ dst: '10.0.0.2', dport: 5000, drop: null })
    const answer = b.send(udp('10.0.0.2', '192.0.2.50', 5000, 4321), MASQ)
    expect(answer).toMatchObject({ src: OWN, sport: 5000 })
  })

  test('REQ-8: address-dependent filtering, for safety', () => {
    const b = rfc({ filtering: 'address-dependent' })
    out(b, '10.0.0.2', WEB, 5000)
    expect(b.send(udp('192.0.2.50', OWN, 4321, 5000), IN).drop).toBe('nat-filtered')
    expect(b.send(udp(WEB, OWN, 4321, 5000), IN)).toMatchObject({ dst: '10.0.0.2', drop: null })
    // When the last flow to the address is forgotten, so is the address.
    b.pass(301)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(0)
    out(b, '10.0.0.2', OTHER, 5000)
    expect(b.send(udp(WEB, OWN, 4321, 5000), IN).drop).toBe('nat-filtered')
  })

  test('REQ-8: address-and-port-dependent filtering', () => {
    const b = rfc({ filtering: 'address-and-port-dependent' })
    out(b, '10.0.0.2', WEB, 5000)
    expect(b.send(udp(WEB, OWN, 4321, 5000), IN).drop).toBe('nat-filtered')
    expect(b.send(udp(WEB, OWN, 9, 5000), IN)).toMatchObject({ state: 'ESTABLISHED', dst: '10.0.0.2' })
  })

  test('REQ-9: hairpinning, with the external source address and port', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    const caller = out(b, '10.0.0.3', WEB, 6000)
    const call = b.send(udp('10.0.0.3', OWN, 6000, 5000), { inIf: 0, outIf: 0 })
    expect(call).toMatchObject({ src: OWN, sport: caller.sport, dst: '10.0.0.2', dport: 5000 })
    const back = b.send(udp('10.0.0.2', OWN, 5000, 6000), { inIf: 0, outIf: 0 })
    expect(back).toMatchObject({ src: OWN, sport: 5000, dst: '10.0.0.3', dport: 6000, state: 'ESTABLISHED' })
  })

  test('REQ-9: hairpinning of an endpoint that has no mapping yet', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    const call = b.send(udp('10.0.0.3', OWN, 6000, 5000), { inIf: 0, outIf: 0 })
    expect(call).toMatchObject({ src: OWN, sport: 6000, dst: '10.0.0.2' })
    expect(out(b, '10.0.0.3', WEB, 6000).sport).toBe(6000)
  })

  test('REQ-10: no ALG touches a payload', () => {
    const b = rfc()
    const payload = new TextEncoder().encode('INVITE sip:10.0.0.2:5060 Contact: 10.0.0.2')
    expect(out(b, '10.0.0.2', WEB, 5060, 5060, { payload }).bytes.slice(28)).toEqual(payload)
  })

  test('REQ-11: the mapping does not depend on what came before', () => {
    const [b, c] = [rfc(), rfc()]
    for (let i = 0; i < 20; i++) out(c, '10.0.0.9', `198.51.100.${i}`, 30000 + i)
    expect(out(b, '10.0.0.2', WEB, 5000).sport).toBe(out(c, '10.0.0.2', WEB, 5000).sport)
  })

  test('REQ-12, REQ-13: ICMP errors reach who the packet came from, mapping and all', () => {
    const b = rfc()
    const sent = out(b, '10.0.0.2', WEB, 5000)
    const error = b.send(errorAbout(sent.bytes, '192.0.2.99', OWN, 3, 4, 548, 1400), IN)
    expect(error).toMatchObject({ state: 'RELATED', dst: '10.0.0.2' })
    expect(b.list()).toHaveLength(1)
  })
})

describe('RFC 5382, TCP', () => {
  const tcp = (
    src: string,
    dst: string,
    sport: number,
    dport: number,
    flags: string,
    more: Partial<Packet> = {},
  ): Packet => ({ src, dst, sport, dport, flags, ...more })

  function open(b: Bench): void {
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'S', { seq: 10 }), MASQ)
    b.send(tcp(WEB, OWN, 80, 5000, 'SA', { seq: 20, ack: 11 }), IN)
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'A', { seq: 11, ack: 21 }), MASQ)
  }

  test('REQ-1: endpoint-independent mapping', () => {
    const b = rfc()
    const one = b.send(tcp('10.0.0.2', WEB, 5000, 80, 'S'), MASQ)
    const two = b.send(tcp('10.0.0.2', OTHER, 5000, 443, 'S'), MASQ)
    expect([two.src, two.sport]).toEqual([one.src, one.sport])
  })

  test('REQ-2: simultaneous open through the mapping', () => {
    const b = rfc()
    expect(b.send(tcp('10.0.0.2', WEB, 5000, 80, 'S', { seq: 10 }), MASQ).drop).toBeNull()
    expect(b.send(tcp(WEB, OWN, 80, 5000, 'S', { seq: 20 }), IN)).toMatchObject({
      dst: '10.0.0.2',
      state: 'ESTABLISHED',
    })
    expect(b.send(tcp('10.0.0.2', WEB, 5000, 80, 'SA', { seq: 10, ack: 21 }), MASQ)).toMatchObject({
      src: OWN,
    })
    expect(b.send(tcp(WEB, OWN, 80, 5000, 'SA', { seq: 20, ack: 11 }), IN)).toMatchObject({ dst: '10.0.0.2' })
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'A', { seq: 11, ack: 21 }), MASQ)
    expect(b.tcpState()).toBe('ESTABLISHED')
  })

  test('REQ-3: endpoint-independent or address-dependent filtering', () => {
    const b = rfc()
    open(b)
    expect(b.send(tcp(OTHER, OWN, 99, 5000, 'S'), IN)).toMatchObject({ dst: '10.0.0.2', drop: null })
    const strict = rfc({ filtering: 'address-dependent' })
    open(strict)
    expect(strict.send(tcp(OTHER, OWN, 99, 5000, 'S'), IN).drop).toBe('nat-filtered')
  })

  test('REQ-4: an unsolicited SYN that is filtered is dropped without a word', () => {
    const b = rfc({ filtering: 'address-dependent' })
    open(b)
    expect(b.send(tcp(OTHER, OWN, 99, 5000, 'S', { seq: 5 }), IN).drop).toBe('nat-filtered')
    // An outbound SYN meanwhile begins the connection as if nothing had been.
    expect(b.send(tcp('10.0.0.2', OTHER, 5000, 99, 'S', { seq: 7 }), MASQ)).toMatchObject({
      state: 'NEW',
      sport: 5000,
    })
    expect(b.send(tcp(OTHER, OWN, 99, 5000, 'S', { seq: 5 }), IN)).toMatchObject({
      state: 'ESTABLISHED',
      drop: null,
    })
  })

  test('REQ-5: established for 2 h 4 min, transitory for 4 min', () => {
    const b = rfc()
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'S', { seq: 10 }), MASQ)
    expect(b.timeout()).toBe(240)
    b.send(tcp(WEB, OWN, 80, 5000, 'SA', { seq: 20, ack: 11 }), IN)
    expect(b.timeout()).toBe(240)
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'A', { seq: 11, ack: 21 }), MASQ)
    expect(b.timeout()).toBe(7440)
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'FA', { seq: 11, ack: 21 }), MASQ)
    expect(b.timeout()).toBe(240)
  })

  test('REQ-6: no ALG', () => {
    const payload = new TextEncoder().encode('PORT 10,0,0,2,19,136')
    const b = rfc()
    open(b)
    const sent = b.send(tcp('10.0.0.2', WEB, 5000, 80, 'PA', { seq: 11, ack: 21, payload }), MASQ)
    expect(sent.bytes.slice(40)).toEqual(payload)
  })

  test('REQ-7: no port overloading', () => {
    const b = rfc()
    const one = b.send(tcp('10.0.0.2', WEB, 5000, 80, 'S'), MASQ)
    const two = b.send(tcp('10.0.0.3', OTHER, 5000, 80, 'S'), MASQ)
    expect(two.sport).not.toBe(one.sport)
  })

  test('REQ-8: hairpinning, with the external source address and port', () => {
    const b = rfc()
    open(b)
    const call = b.send(tcp('10.0.0.3', OWN, 6000, 5000, 'S', { seq: 1 }), { inIf: 0, outIf: 0 })
    expect(call).toMatchObject({ src: OWN, sport: 6000, dst: '10.0.0.2', dport: 5000 })
    const back = b.send(tcp('10.0.0.2', OWN, 5000, 6000, 'SA', { seq: 9, ack: 2 }), { inIf: 0, outIf: 0 })
    expect(back).toMatchObject({ src: OWN, sport: 5000, dst: '10.0.0.3', dport: 6000 })
  })

  test('REQ-9: ICMP errors are translated and end nothing', () => {
    const b = rfc()
    const sent = b.send(tcp('10.0.0.2', WEB, 5000, 80, 'S', { seq: 10 }), MASQ)
    const error = b.send(errorAbout(sent.bytes, WEB, OWN, 3, 1), IN)
    expect(error).toMatchObject({ state: 'RELATED', dst: '10.0.0.2' })
    expect(b.timeout()).toBe(240)
  })

  test('RFC 7857 2.2: after a RST the state stays for 4 minutes', () => {
    const b = rfc()
    open(b)
    b.send(tcp('10.0.0.2', WEB, 5000, 80, 'R', { seq: 11 }), MASQ)
    expect([b.tcpState(), b.timeout()]).toEqual(['CLOSE', 240])
  })
})

describe('RFC 5508, ICMP', () => {
  const ping = (src: string, dst: string, id: number, type = 8): Packet => ({
    src,
    dst,
    proto: 'icmp',
    type,
    id,
    payload: 8,
  })

  test('REQ-1, REQ-1 a: queries are translated, endpoint-independently', () => {
    const b = rfc()
    expect(b.send(ping('10.0.0.2', WEB, 5), MASQ)).toMatchObject({ src: OWN, id: 5 })
    const moved = b.send(ping('10.0.0.3', WEB, 5), MASQ)
    expect(moved.id).not.toBe(5)
    expect(b.send(ping('10.0.0.3', OTHER, 5), MASQ).id).toBe(moved.id)
    expect(b.send(ping(OTHER, OWN, moved.id, 0), IN)).toMatchObject({ dst: '10.0.0.3', id: 5 })
  })

  test('REQ-2: the query timer is 60 seconds', () => {
    const b = rfc()
    b.send(ping('10.0.0.2', WEB, 5), MASQ)
    expect(b.timeout()).toBe(60)
  })

  test('REQ-3 a: an error with a wrong checksum is not believed', () => {
    const b = rfc()
    const sent = out(b, '10.0.0.2', WEB, 5000)
    const error = build(errorAbout(sent.bytes, '192.0.2.99', OWN, 3, 3))
    error[50] ^= 4
    expect(b.sendBytes(error, IN).state).toBe('INVALID')
  })

  test('REQ-3 b: nor one whose quoted header has a wrong checksum', () => {
    const b = rfc()
    const quoted = out(b, '10.0.0.2', WEB, 5000).bytes.slice()
    quoted[8] ^= 1
    expect(b.send(errorAbout(quoted, '192.0.2.99', OWN, 3, 3), IN).state).toBe('INVALID')
  })

  test('REQ-3 c, d: options of the quoted packet are skipped, its transport checksum not verified', () => {
    const b = rfc()
    const sent = out(b, '10.0.0.2', WEB, 5000)
    const quoted = new Uint8Array(sent.bytes.length + 4)
    quoted.set(sent.bytes.slice(0, 20))
    quoted.set([1, 1, 1, 0], 20)
    quoted.set(sent.bytes.slice(20), 24)
    quoted[0] = 0x46
    quoted[3] += 4
    quoted[30] ^= 0x55
    const view = new DataView(quoted.buffer)
    view.setUint16(10, 0)
    let sum = 0
    for (let i = 0; i < 24; i += 2) sum += view.getUint16(i)
    view.setUint16(10, ~((sum & 0xffff) + (sum >>> 16)))
    const error = b.send(errorAbout(quoted, '192.0.2.99', OWN, 3, 3), IN)
    expect(error).toMatchObject({ state: 'RELATED', dst: '10.0.0.2' })
    expect(quoteIn(error.bytes)).toMatchObject({ src: '10.0.0.2', sport: 5000 })
  })

  test('REQ-4: from outside: the quote is put back, type and code stay, the destination is the host', () => {
    const b = rfc()
    out(b, '10.0.0.9', WEB, 5000)
    const packet = udp('10.0.0.2', WEB, 5000, 9)
    const sent = b.send(packet, MASQ)
    const error = b.send(errorAbout(sent.bytes, '192.0.2.99', OWN, 11, 1), IN)
    expect(error).toMatchObject({ src: '192.0.2.99', dst: '10.0.0.2' })
    expect([error.bytes[20], error.bytes[21]]).toEqual([11, 1])
    expect(quoteIn(error.bytes).bytes).toEqual(build(packet))
  })

  test('REQ-4: without a mapping: not believed', () => {
    const b = rfc()
    const quoted = build(udp(OWN, WEB, 5000, 9))
    expect(b.send(errorAbout(quoted, '192.0.2.99', OWN, 3, 3), IN).state).toBe('INVALID')
  })

  test('REQ-5: from inside: source and quote become the external ones', () => {
    const b = rfc()
    out(b, '10.0.0.2', WEB, 5000)
    const packet = udp(OTHER, OWN, 7, 5000)
    const inn = b.send(packet, IN)
    const error = b.send(errorAbout(inn.bytes, '10.0.0.2', OTHER, 3, 3), { inIf: 0, outIf: 1 })
    expect(error).toMatchObject({ src: OWN, dst: OTHER, state: 'RELATED' })
    expect(quoteIn(error.bytes).bytes).toEqual(build(packet))
  })

  test('REQ-6: errors neither refresh nor delete', () => {
    const b = rfc()
    const sent = out(b, '10.0.0.2', WEB, 5000)
    b.pass(100)
    b.send(errorAbout(sent.bytes, '192.0.2.99', OWN, 3, 3), IN)
    expect(b.timeout()).toBe(200)
  })

  test('REQ-7: hairpinning of queries', () => {
    const b = rfc()
    b.send(ping('10.0.0.2', WEB, 5), MASQ)
    const call = b.send(ping('10.0.0.3', OWN, 5), { inIf: 0, outIf: 0 })
    // The identifier is that of the mapping which was called.
    expect(call).toMatchObject({ src: OWN, dst: '10.0.0.2' })
  })

  test('REQ-8: no resources: nat-exhausted, which the router answers with 3/13', () => {
    const b = rfc()
    const one: Way = { ...MASQ, snat: natRange({ dynamic: true, ports: { min: 7000, max: 7000 } }) }
    expect(b.send(udp('10.0.0.2', WEB, 1, 2), one).drop).toBeNull()
    expect(b.send(udp('10.0.0.3', WEB, 1, 2), one).drop).toBe('nat-exhausted')
    expect(b.send(udp('10.0.0.2', OTHER, 1, 2), one)).toMatchObject({ drop: null, sport: 7000 })
  })
})

describe('linux, for comparison', () => {
  test('a third host does not get in, an answer does', () => {
    const b = new Bench()
    out(b, '10.0.0.2', WEB, 5000)
    expect(b.send(udp(OTHER, OWN, 9, 5000), IN)).toMatchObject({ state: 'NEW', dst: OWN })
    expect(b.send(udp(WEB, OWN, 9, 5000), IN)).toMatchObject({ state: 'ESTABLISHED', dst: '10.0.0.2' })
  })

  test('any packet refreshes', () => {
    const b = new Bench()
    out(b, '10.0.0.2', WEB, 5000)
    b.send(udp(WEB, OWN, 9, 5000), IN)
    b.pass(20)
    b.send(udp(WEB, OWN, 9, 5000), IN)
    expect(b.timeout()).toBe(120)
  })
})

test('mappings go with the entries that used them', () => {
  const b = rfc({ filtering: 'address-dependent' })
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 200; i++) out(b, `10.0.${i >> 6}.${i & 63}`, `198.51.100.${i & 7}`, 5000 + (i & 3))
    b.send(udp('10.0.0.1', OWN, 900, 5001), { inIf: 0, outIf: 0 })
    expect(b.mappings.size).toBeGreaterThan(100)
    b.pass(301)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(0)
    expect(b.mappings.size).toBe(0)
  }
})

test('a mapping that goes while a flow is being given it is made again', () => {
  const b = rfc()
  // A new flow pays for a few places of the sweep: these stand before the one that is looked for.
  for (let i = 0; i < 90; i++) b.send(udp('10.9.0.1', '10.9.0.2', 1000 + i, 9), { noNat: true })
  out(b, '10.0.0.2', WEB, 5000)
  // No tick: the first flow is forgotten when the second, whose replies would be the same, looks for a place.
  b.pass(301)
  const ports = { min: 9, max: 9 }
  const published = natRange({ addresses: { first: addr(WEB), last: addr(WEB) }, ports })
  const again = b.send(udp('10.0.0.2', OTHER, 5000, 9), { ...MASQ, dnat: published })
  expect(again).toMatchObject({ src: OWN, sport: 5000, dst: WEB })
  expect(b.mappings.size).toBe(1)
  expect(out(b, '10.0.0.3', OTHER, 5000).sport).not.toBe(5000)
  b.pass(301)
  b.ct.tick(b.nowMs)
  expect([b.ct.count, b.mappings.size]).toEqual([0, 0])
})

test('protocols without ports: one endpoint has the mapping, others share its address', () => {
  const b = rfc()
  const gre = (src: string, dst: string): Sent => b.send({ src, dst, proto: 47 }, MASQ)
  expect(gre('10.0.0.2', WEB)).toMatchObject({ src: OWN, drop: null })
  expect(gre('10.0.0.3', OTHER)).toMatchObject({ src: OWN, drop: null })
  expect(gre('10.0.0.3', WEB).drop).toBe('nat-exhausted')
  expect(b.mappings.size).toBe(1)
  // From somebody new: to whom the mapping is.
  expect(b.send({ src: '198.51.100.7', dst: OWN, proto: 47 }, IN).dst).toBe('10.0.0.2')
  b.pass(601)
  b.ct.tick(b.nowMs)
  expect([b.ct.count, b.mappings.size]).toEqual([0, 0])
})
