/**
 * The same packets through the kernel's NAT and ours: what comes out is the same, byte for byte, and so is
 * the `conntrack -L` line. Where a port is drawn at random, both must draw one, of the same class.
 *
 *     POSTROUTING -o t1 ! -s 10.0.0.9 -j SNAT 203.0.113.1       PREROUTING -d 203.0.113.1 tcp 8080 -j DNAT 10.0.0.3:80
 *     POSTROUTING -o t0 -s 10.0.0.0/24 -j SNAT 10.0.0.1         (hairpin)
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { lineOf } from '../../../src/filter/conntrack/row.ts'
import { rows } from '../../../src/filter/conntrack/select.ts'
import { natRange } from '../../../src/filter/nat/range.ts'
import { lacking } from '../../support/netlab.ts'
import { apart, KernelRouter, OUTSIDE } from '../conntrack/kernel-router.ts'
import { addr, Bench, build, errorAbout, type Packet, type Sent } from '../conntrack/support.ts'

const OWN = '203.0.113.1'
const to = (address: string, port?: number): ReturnType<typeof natRange> =>
  natRange({
    addresses: { first: addr(address), last: addr(address) },
    ports: port === undefined ? null : { min: port, max: port },
  })
const SNAT = to(OWN)
const HAIRPIN = to('10.0.0.1')
const DNAT = to('10.0.0.3', 80)

let kernel: KernelRouter
let bench: Bench

beforeAll(() => {
  if (lacking) return
  kernel = new KernelRouter()
  kernel.rule('nat', 'POSTROUTING', '-o', 't1', '!', '-s', '10.0.0.9', '-j', 'SNAT', '--to-source', OWN)
  kernel.rule('nat', 'POSTROUTING', '-o', 't0', '-s', '10.0.0.0/24', '-j', 'SNAT', '--to-source', '10.0.0.1')
  kernel.rule(
    'nat',
    'PREROUTING',
    '-d',
    OWN,
    '-p',
    'tcp',
    '--dport',
    '8080',
    '-j',
    'DNAT',
    '--to-destination',
    '10.0.0.3:80',
  )
})
beforeEach(() => {
  if (lacking) return
  kernel.flush()
  bench = new Bench()
})
afterAll(() => kernel?.close())

/** Sends to both. @param alike false: ports may differ, only who and where are compared */
function both(
  from: 0 | 1,
  out: 0 | 1,
  packet: Packet | Uint8Array,
  alike = true,
): { ours: Sent; theirs: Uint8Array } {
  const bytes = packet instanceof Uint8Array ? packet : build(packet)
  const p = packet instanceof Uint8Array ? null : packet
  const source = bytes.slice(12, 16).join('.')
  const snat =
    out === 1 ? (source === '10.0.0.9' ? null : SNAT) : source.startsWith('10.0.0.') ? HAIRPIN : null
  const dnat = p?.dport === 8080 && p.dst === OWN ? DNAT : null
  const theirs = kernel.send(from, out, bytes)
  const ours = bench.sendBytes(bytes, { inIf: from, outIf: out, snat, dnat })
  expect(theirs, 'the kernel dropped it').not.toBeNull()
  expect(ours.drop).toBeNull()
  expect(ours.state).toBe(theirs!.state)
  if (alike) {
    expect(Buffer.from(ours.bytes).toString('hex')).toBe(Buffer.from(theirs!.bytes).toString('hex'))
    const mine = [...rows(bench.ct.table.memory, bench.nowMs)].map((row) =>
      lineOf(row).replace(/ use=1$/, ''),
    )
    expect(apart(mine.sort()).text).toEqual(apart(kernel.list()).text)
  } else expect(Buffer.from(ours.bytes.slice(12, 20))).toEqual(Buffer.from(theirs!.bytes.slice(12, 20)))
  return { ours, theirs: theirs!.bytes }
}

const sportOf = (bytes: Uint8Array): number => (bytes[20] << 8) | bytes[21]

describe.skipIf(lacking)(`NAT as the kernel does it${lacking ? ` (${lacking})` : ''}`, () => {
  const inside = (more: Partial<Packet>): Packet => ({ src: '10.0.0.2', dst: OUTSIDE, ...more })
  const outside = (more: Partial<Packet>): Packet => ({ src: OUTSIDE, dst: OWN, ...more })

  test('TCP out and back', () => {
    both(0, 1, inside({ flags: 'S', seq: 1, payload: 3 }))
    both(1, 0, outside({ sport: 80, dport: 40000, flags: 'SA', seq: 9, ack: 5 }))
    both(0, 1, inside({ flags: 'A', seq: 5, ack: 10 }))
    both(0, 1, inside({ flags: 'PA', seq: 5, ack: 10, payload: 777 }))
    both(1, 0, outside({ sport: 80, dport: 40000, flags: 'R', seq: 10 }))
  })

  test('UDP, with and without a checksum', () => {
    both(0, 1, inside({ proto: 'udp', payload: 31 }))
    both(1, 0, outside({ proto: 'udp', sport: 53, dport: 40000, payload: 100 }))
    both(0, 1, inside({ proto: 'udp', sport: 41000, payload: 31, noChecksum: true }))
  })

  test('echo', () => {
    both(0, 1, inside({ proto: 'icmp', id: 7, payload: 20 }))
    both(1, 0, outside({ proto: 'icmp', type: 0, id: 7, payload: 20 }))
  })

  test('published, out and back', () => {
    both(1, 0, outside({ dport: 8080, flags: 'S', seq: 1 }))
    both(0, 1, { src: '10.0.0.3', dst: OUTSIDE, sport: 80, dport: 40000, flags: 'SA', seq: 7, ack: 2 })
  })

  test('hairpin', () => {
    both(0, 0, { src: '10.0.0.2', dst: OWN, dport: 8080, flags: 'S', seq: 1 })
    both(0, 0, { src: '10.0.0.3', dst: '10.0.0.1', sport: 80, dport: 40000, flags: 'SA', seq: 7, ack: 2 })
  })

  test.each([600, 28])('errors from outside, %d bytes quoted', (length) => {
    for (const packet of [
      inside({ proto: 'udp', payload: 31 }),
      inside({ flags: 'S' }),
      inside({ proto: 'icmp', id: 3 }),
    ]) {
      const { theirs } = both(0, 1, packet)
      both(1, 0, errorAbout(theirs, '203.0.113.7', OWN, 3, 1, length))
      both(1, 0, errorAbout(theirs, OUTSIDE, OWN, 11, 0, length))
    }
  })

  test.each([600, 28])('errors from inside about a published flow, %d bytes quoted', (length) => {
    const { theirs } = both(1, 0, outside({ dport: 8080, flags: 'S', seq: 1 }))
    both(0, 1, errorAbout(theirs, '10.0.0.3', OUTSIDE, 3, 3, length))
    both(0, 1, errorAbout(theirs, '10.0.0.5', OUTSIDE, 3, 1, length))
  })

  test.each([300, 700, 5000])('port %d is taken: another of its class', (sport) => {
    both(0, 1, inside({ proto: 'udp', sport }))
    const { ours, theirs } = both(0, 1, { ...inside({ proto: 'udp', sport }), src: '10.0.0.3' }, false)
    const range = sport < 512 ? [1, 511] : sport < 1024 ? [600, 1023] : [1024, 65535]
    for (const port of [ours.sport, sportOf(theirs)]) {
      expect(port).not.toBe(sport)
      expect(port).toBeGreaterThanOrEqual(range[0])
      expect(port).toBeLessThanOrEqual(range[1])
    }
  })

  test('a service port towards an ephemeral one: kept when it shall be as the kernel does it', () => {
    for (const src of ['10.0.0.2', '10.0.0.9']) {
      bench.nat.choice.shadowSafe = false
      both(0, 1, { src, dst: OUTSIDE, proto: 'udp', sport: 1194, dport: 41234 })
    }
    bench.nat.choice.shadowSafe = true
    both(0, 1, { src: '10.0.0.9', dst: OUTSIDE, proto: 'udp', sport: 1195, dport: 41234 })
  })

  test('one port to two servers', () => {
    both(0, 1, inside({ proto: 'udp', sport: 5000 }))
    both(0, 1, { src: '10.0.0.3', dst: '203.0.113.3', proto: 'udp', sport: 5000 })
  })
})
