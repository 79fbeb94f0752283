/**
 * The same packets through the kernel's conntrack and ours, one by one: the same state, the same
 * `conntrack -L` line (TCP state, flags, packets, bytes), the same timeout to the second.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lineOf } from '../../../src/filter/conntrack/row.ts'
import { rows } from '../../../src/filter/conntrack/select.ts'
import { random } from '../../support/frames.ts'
import { lacking } from '../../support/netlab.ts'
import { apart, INSIDE, KernelRouter, OUTSIDE } from './kernel-router.ts'
import { Bench, build, errorAbout, type Packet, WSCALE7 } from './support.ts'

let kernel: KernelRouter

beforeAll(() => {
  if (!lacking) kernel = new KernelRouter()
})
afterAll(() => kernel?.close())

function ours(bench: Bench): string[] {
  return [...rows(bench.ct.table.memory, bench.nowMs)].map((row) => lineOf(row).replace(/ use=1$/, '')).sort()
}

/** Sends to both and compares. */
function both(bench: Bench, from: 0 | 1, packet: Packet | Uint8Array, what: string): void {
  const bytes = packet instanceof Uint8Array ? packet : build(packet)
  const theirs = kernel.send(from, from === 0 ? 1 : 0, bytes)
  const sent = bench.sendBytes(bytes, { inIf: from, outIf: 1 - from, noNat: true })
  const mine = sent.drop === null ? sent.state : null
  expect(mine, `${what}: state`).toBe(theirs?.state ?? null)
  const a = apart(ours(bench))
  const b = apart(kernel.list())
  expect(a.text, what).toEqual(b.text)
  a.seconds.forEach((s, i) => {
    expect(Math.abs(s - b.seconds[i]), `${what}: timeout ${s}, kernel ${b.seconds[i]}`).toBeLessThanOrEqual(2)
  })
}

describe.skipIf(lacking)(`conntrack as the kernel does it${lacking ? ` (${lacking})` : ''}`, () => {
  const FLAGS = ['S', 'SA', 'A', 'PA', 'FA', 'R', 'RA', 'A', 'A', 'PA', 'S', 'FA', 'SA']

  /** A conversation whose segments are mostly in order, and now and then are not. */
  function converse(seed: number, steps: number, begin: string[]): void {
    kernel.flush()
    const bench = new Bench()
    const next = random(seed)
    const upTo = (n: number): number => next() % n
    const a = { src: INSIDE, dst: OUTSIDE, sport: 40000 + (seed % 1000), dport: 80 }
    const b = { src: OUTSIDE, dst: INSIDE, sport: 80, dport: a.sport }
    const seq = [upTo(2) ? 0xfffffe00 : next(), upTo(2) ? 0xffffff80 : next()]
    const story: string[] = []
    for (let i = 0; i < steps; i++) {
      const scripted = begin[i]
      const dir = scripted ? (scripted.startsWith('<') ? 1 : 0) : upTo(2)
      const flags = scripted ? scripted.slice(1) : FLAGS[upTo(FLAGS.length)]
      const odd = scripted ? -1 : upTo(12)
      const payload = flags.includes('P') ? 1 + upTo(1400) : 0
      const jump = odd === 0 ? upTo(200_000) - 100_000 : odd === 1 ? -1 - upTo(2000) : 0
      const ackJump = odd === 2 ? upTo(200_000) - 100_000 : odd === 3 ? -1 - upTo(2000) : 0
      const zero = odd === 4 && flags.startsWith('R')
      const sequence = zero ? 0 : (seq[dir] + jump) >>> 0
      const packet: Packet = {
        ...(dir === 0 ? a : b),
        flags,
        seq: sequence,
        ack: flags.includes('A') && !zero ? (seq[1 - dir] + ackJump) >>> 0 : 0,
        win: odd === 5 ? 0 : odd === 6 ? upTo(500) : 30_000,
        payload,
        options: flags.startsWith('S') && upTo(2) ? WSCALE7 : [],
      }
      story.push(
        `${dir === 0 ? '>' : '<'}${flags} seq ${packet.seq} ack ${packet.ack} win ${packet.win} len ${payload}`,
      )
      both(bench, dir as 0 | 1, packet, `seed ${seed}\n${story.join('\n')}\n`)
      if (jump === 0 && !zero) seq[dir] = (seq[dir] + payload + (/[SF]/.test(flags) ? 1 : 0)) >>> 0
    }
  }

  test('TCP, from the first SYN on', () => {
    for (let seed = 1; seed <= 8; seed++) converse(seed, 14, ['>S', '<SA', '>A'])
  })

  test('TCP, closing', () => {
    for (let seed = 101; seed <= 106; seed++)
      converse(seed, 14, ['>S', '<SA', '>A', '>PA', '<A', '>FA', '<FA', '>A'])
  })

  test('TCP, anything in any order', () => {
    for (let seed = 201; seed <= 210; seed++) converse(seed, 12, [])
  })

  test('TCP, simultaneous open', () => {
    for (let seed = 301; seed <= 304; seed++) converse(seed, 10, ['>S', '<S', '>SA', '<SA', '>A'])
  })

  test('UDP, ICMP, other protocols', () => {
    kernel.flush()
    const bench = new Bench()
    both(bench, 0, { src: INSIDE, dst: OUTSIDE, proto: 'udp', sport: 4000, payload: 20 }, 'a question')
    both(bench, 0, { src: INSIDE, dst: OUTSIDE, proto: 'udp', sport: 4000, payload: 20 }, 'asked again')
    both(
      bench,
      1,
      { src: OUTSIDE, dst: INSIDE, proto: 'udp', sport: 53, dport: 4000, payload: 200 },
      'an answer',
    )
    both(bench, 1, { src: OUTSIDE, dst: INSIDE, proto: 'udp', sport: 53, dport: 4001 }, 'from outside')
    both(bench, 0, { src: INSIDE, dst: OUTSIDE, proto: 'icmp', type: 8, id: 9, payload: 30 }, 'echo')
    both(bench, 1, { src: OUTSIDE, dst: INSIDE, proto: 'icmp', type: 0, id: 9, payload: 30 }, 'echo reply')
    both(bench, 1, { src: OUTSIDE, dst: INSIDE, proto: 'icmp', type: 0, id: 10 }, 'a reply to nothing')
    both(bench, 0, { src: INSIDE, dst: OUTSIDE, proto: 'icmp', type: 13, id: 11, payload: 12 }, 'timestamp')
    both(bench, 0, { src: INSIDE, dst: OUTSIDE, proto: 'icmp', type: 42, id: 12 }, 'an unknown type')
    both(bench, 0, { src: INSIDE, dst: OUTSIDE, proto: 99, payload: 30 }, 'protocol 99')
    both(bench, 1, { src: OUTSIDE, dst: INSIDE, proto: 99, payload: 30 }, 'protocol 99 back')
  })

  test('ICMP errors', () => {
    kernel.flush()
    const bench = new Bench()
    const question: Packet = { src: INSIDE, dst: OUTSIDE, proto: 'udp', sport: 4000, payload: 20 }
    both(bench, 0, question, 'a question')
    const quoted = build(question)
    const router = '203.0.113.9'
    both(bench, 1, errorAbout(quoted, router, INSIDE, 3, 3), 'port unreachable')
    both(bench, 1, errorAbout(quoted, router, INSIDE, 11, 0, 28), 'time exceeded, 8 bytes')
    both(bench, 1, errorAbout(quoted, router, INSIDE, 11, 0, 23), 'cut off in the ports')
    both(bench, 1, errorAbout(quoted, router, '10.0.0.3', 3, 3), 'to somebody else')
    both(bench, 1, errorAbout(build({ ...question, sport: 4001 }), router, INSIDE, 3, 3), 'about nothing')
    both(bench, 0, errorAbout(quoted, INSIDE, OUTSIDE, 3, 3), 'in the wrong direction')
    const broken = build(errorAbout(quoted, router, INSIDE, 3, 3))
    broken[60] ^= 1
    both(bench, 1, broken, 'a wrong checksum')
  })
})
