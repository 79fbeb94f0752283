/**
 * Every timeout of conntrack, in both profiles, as stories: a conversation comes so far, the clock is moved by
 * hand; a millisecond before its time is over the entry is there, then it is not, for the listing as for packets.
 */
import { describe, expect, test } from 'vitest'
import { natRange } from '../../../src/filter/nat/range.ts'
import { Bench, type BenchOptions, type Packet } from './support.ts'

const HERE = { src: '10.0.0.2', dst: '198.51.100.1' }
const THERE = { src: '198.51.100.1', dst: '10.0.0.2' }
/** A segment: who, flags, sequence and acknowledgement number, payload. */
type Step = [who: 'a' | 'b', flags: string, seq: number, ack: number, payload?: number]

function segment([who, flags, seq, ack, payload = 0]: Step, win = 5000): Packet {
  const a = who === 'a'
  const ends = a ? { ...HERE, sport: 40000, dport: 80 } : { ...THERE, sport: 80, dport: 40000 }
  return {
    ...ends,
    proto: 'tcp',
    flags,
    seq: (a ? 1000 : 9000) + seq,
    ack: ack + (a ? 9000 : 1000),
    payload,
    win,
  }
}

const OPEN: Step[] = [
  ['a', 'S', 0, 0],
  ['b', 'SA', 0, 1],
  ['a', 'A', 1, 1],
]
const CLOSING: Step[] = [...OPEN, ['a', 'FA', 1, 1], ['b', 'A', 1, 2], ['b', 'FA', 1, 2], ['a', 'A', 2, 2]]
const DATA: Step = ['a', 'PA', 1, 1, 100]

const TCP: [state: string, what: string, linux: number, rfc: number, steps: Step[]][] = [
  ['SYN_SENT', 'asked', 120, 240, OPEN.slice(0, 1)],
  [
    'SYN_SENT2',
    'both asked',
    120,
    240,
    [
      ['a', 'S', 0, 0],
      ['b', 'S', 0, 0],
    ],
  ],
  ['SYN_RECV', 'answered', 60, 240, OPEN.slice(0, 2)],
  ['ESTABLISHED', 'idle', 432000, 7440, OPEN],
  ['ESTABLISHED', 'data that nobody acknowledges', 300, 300, [...OPEN, DATA]],
  ['ESTABLISHED', 'sent four times', 300, 300, [...OPEN, DATA, DATA, DATA, DATA]],
  ['FIN_WAIT', 'closed on one side', 120, 240, CLOSING.slice(0, 4)],
  ['CLOSE_WAIT', 'the FIN acknowledged', 60, 240, CLOSING.slice(0, 5)],
  ['LAST_ACK', 'closed on the other', 30, 240, CLOSING.slice(0, 6)],
  ['TIME_WAIT', 'all acknowledged', 120, 240, CLOSING],
  ['CLOSE', 'reset', 10, 240, [...OPEN, ['b', 'R', 1, 0]]],
]

/** The only entry is there for exactly `seconds` more. */
function lasts(b: Bench, seconds: number): void {
  expect(b.timeout()).toBe(seconds)
  b.pass(seconds - 0.001)
  b.ct.tick(b.nowMs)
  expect(b.list()).toHaveLength(1)
  expect(b.ct.count).toBe(1)
  b.pass(0.001)
  expect(b.list()).toEqual([])
  b.ct.tick(b.nowMs)
  expect(b.ct.count).toBe(0)
}

describe.each(['linux', 'rfc'] as const)('profile %s', (profile) => {
  const bench = (more: BenchOptions = {}): Bench => new Bench({ profile, ...more })
  const pick = (linux: number, rfc: number): number => (profile === 'linux' ? linux : rfc)

  test.each(TCP)('TCP, %s: %s', (state, _, linux, rfc, steps) => {
    const b = bench()
    for (const step of steps) b.send(segment(step))
    expect(b.tcpState()).toBe(state)
    lasts(b, pick(linux, rfc))
  })

  test('TCP, a window of 0: as long as retransmissions', () => {
    const b = bench()
    for (const step of OPEN) b.send(segment(step))
    b.send(segment(['b', 'A', 1, 1], 0))
    lasts(b, 300)
  })

  test('TCP, picked up in the middle', () => {
    const b = bench()
    b.send(segment(['a', 'PA', 1, 1, 10]))
    expect(b.tcpState()).toBe('ESTABLISHED')
    lasts(b, 300)
  })

  const udp = { proto: 'udp', sport: 5000, dport: 53 } as const
  const udpBack = { proto: 'udp', sport: 53, dport: 5000 } as const

  test('UDP, one direction', () => {
    const b = bench()
    b.send({ ...HERE, ...udp })
    lasts(b, pick(30, 300))
  })

  test('UDP, question and answer', () => {
    const b = bench()
    b.send({ ...HERE, ...udp })
    b.send({ ...THERE, ...udpBack })
    b.pass(2)
    b.send({ ...HERE, ...udp })
    expect(b.list()[0]).not.toContain('ASSURED')
    lasts(b, pick(30, 300))
  })

  test('UDP, a stream: assured', () => {
    const b = bench()
    b.send({ ...HERE, ...udp })
    b.send({ ...THERE, ...udpBack })
    b.pass(2.001)
    b.send({ ...HERE, ...udp })
    expect(b.list()[0]).toContain('ASSURED')
    lasts(b, pick(120, 300))
  })

  test('ICMP and ICMPv6', () => {
    for (const query of [
      { ...HERE, proto: 'icmp', type: 8 },
      { src: 'fd00::2', dst: '2001:db8::9', proto: 'icmpv6', type: 128 },
    ] as Packet[]) {
      const b = bench()
      b.send(query)
      lasts(b, pick(30, 60))
    }
  })

  test('GRE: one direction, and answered, which is assured', () => {
    const b = bench()
    b.send({ ...HERE, proto: 47, payload: 8 })
    lasts(b, pick(30, 600))
    b.send({ ...HERE, proto: 47, payload: 8 })
    b.send({ ...THERE, proto: 47, payload: 8 })
    expect(b.timeout()).toBe(pick(30, 600))
    b.send({ ...HERE, proto: 47, payload: 8 })
    expect(b.list()[0]).toContain('ASSURED')
    lasts(b, pick(180, 600))
  })

  test.each([50, 89, 132])('protocol %i: generic', (proto) => {
    const b = bench()
    b.send({ ...HERE, proto, payload: 12 })
    lasts(b, 600)
  })

  test('an operator’s own', () => {
    const b = bench({ timeouts: { udp: 7, tcpSynSent: 9 } })
    b.send({ ...HERE, ...udp })
    lasts(b, 7)
    b.send(segment(OPEN[0]))
    lasts(b, 9)
  })

  test('a NAT mapping goes with its last connection, and its port is free', () => {
    const snat = natRange({ dynamic: true, bound: true })
    const way = { snat, address: '203.0.113.1', inIf: 0, outIf: 1 }
    const b = bench()
    // Somebody else has the port, so this one is mapped to another.
    b.send({ ...HERE, ...udp, src: '10.0.0.3' }, way)
    b.send({ ...HERE, ...udp }, way)
    const seconds = pick(30, 300)
    b.pass(seconds - 0.001)
    b.ct.tick(b.nowMs)
    expect(b.mappings.size).toBeGreaterThan(0)
    b.pass(0.001)
    b.ct.tick(b.nowMs)
    expect(b.mappings.size).toBe(0)
    expect(b.send({ ...HERE, ...udp }, way).sport).toBe(5000)
  })
})
