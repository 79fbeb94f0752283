/**
 * Anything may come: random and mutated packets, ICMP errors about them, rules that differ from packet to
 * packet. Nothing throws, no entry is lost or kept for ever, and what is translated stays a right packet.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ENT_SHIFT, Ent, Header, Status } from '../../../src/filter/conntrack/layout.ts'
import { lineOf } from '../../../src/filter/conntrack/row.ts'
import { rows } from '../../../src/filter/conntrack/select.ts'
import * as tuple from '../../../src/filter/conntrack/tuple.ts'
import { T } from '../../../src/filter/conntrack/tuple.ts'
import { natRange } from '../../../src/filter/nat/range.ts'
import { random } from '../../support/frames.ts'
import {
  addr,
  Bench,
  type BenchOptions,
  build,
  checkSums,
  errorAbout,
  type Packet,
  type Way,
} from './support.ts'

const HOSTS4 = ['10.0.0.2', '10.0.0.3', '10.0.0.4', '198.51.100.9', '203.0.113.1', '203.0.113.16']
const HOSTS6 = ['fd00::2', 'fd00::3', '2001:db8::9', '2001:db8::1']

/** The table is what it should be: counts, index, both tuples of every entry, sources. */
function sane(b: Bench): void {
  const { table } = b.ct
  const { header, words } = table
  let live = 0
  let confirmed = 0
  const sources = new Map<string, number>()
  const t = new Int32Array(T.Words)
  for (let entry = 1; entry <= header[Header.High]; entry++) {
    const e = entry << ENT_SHIFT
    const status = words[e + Ent.Status]
    if ((status & Status.Live) === 0) continue
    live++
    if ((status & Status.Counted) !== 0) {
      table.load(entry << 1, t)
      const source = `${t[T.Src]} ${(t[T.Key] & 0x100) !== 0 ? t[T.Src + 1] : 0} ${t[T.Key] & ~0xff}`
      sources.set(source, (sources.get(source) ?? 0) + 1)
    }
    if ((status & Status.Confirmed) === 0) continue
    confirmed++
    for (const node of [entry << 1, (entry << 1) | 1]) {
      table.load(node, t)
      const found = table.find(t, table.hash(t))
      // A flow from a socket to itself has one tuple for both directions.
      expect(found >> 1).toBe(entry)
      if (found !== node) expect(table.has(node, t) && table.has(node ^ 1, t)).toBe(true)
    }
  }
  expect(header[Header.Count]).toBe(live)
  expect(table.index.filter((place) => place !== 0).length).toBe(2 * confirmed)
  for (const [source, count] of sources) {
    const [a, second, key] = source.split(' ').map(Number)
    expect(b.ct.entries.sources.count(a, second, key)).toBe(count)
  }
}

function soak(seed: number, steps: number, options: BenchOptions): void {
  const next = random(seed)
  const upTo = (n: number): number => next() % n
  const pick = <A>(list: readonly A[]): A => list[upTo(list.length)]
  const b = new Bench({ capacity: 64, checksum: null, ...options })
  const memory = JSON.stringify(Object.values(b.ct.table.memory).map((a) => a.byteLength))
  const sent: Uint8Array[] = []
  for (let i = 0; i < steps; i++) {
    const hosts = upTo(4) === 0 ? HOSTS6 : HOSTS4
    const v6 = hosts === HOSTS6
    const flags = [...'SAFRPUEC'].filter(() => upTo(3) === 0).join('')
    let packet: Packet = {
      src: pick(hosts),
      dst: pick(hosts),
      proto: pick(['tcp', 'tcp', 'udp', v6 ? 'icmpv6' : 'icmp', 47, 132] as const),
      sport: 1 + upTo(4),
      dport: 1 + upTo(4),
      flags: pick(['S', 'SA', 'A', 'FA', 'R', 'PA', flags]),
      seq: next(),
      ack: next(),
      win: upTo(65536),
      options: pick([
        [],
        [3, 3, 20, 0],
        [5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1],
        [8, 200, 0, 0],
        [255, 0, 255, 0],
      ]),
      payload: upTo(40),
      type: pick([0, 3, 8, 11, 13, 14, 128, 129, upTo(256)]),
      id: upTo(3),
      partial: upTo(5) === 0,
    }
    if (packet.proto !== 'tcp' && packet.proto !== 'udp') packet.partial = false
    if (upTo(4) === 0 && sent.length > 0) {
      const quoted = pick(sent)
      const inner = quoted[0] >> 4 === 6 ? HOSTS6 : HOSTS4
      const type = pick(inner === HOSTS6 ? [1, 2, 3, 4] : [3, 4, 5, 11, 12])
      packet = errorAbout(quoted, pick(inner), pick(inner), type, upTo(16), 20 + upTo(80))
    }
    const bytes = build(packet)
    const mutated = upTo(5) === 0
    if (mutated) for (let k = 0; k <= upTo(3); k++) bytes[upTo(bytes.length)] = next()
    const cut = upTo(12) === 0 ? bytes.slice(0, 1 + upTo(bytes.length)) : bytes
    const way: Way = {
      inIf: upTo(2),
      outIf: upTo(2),
      dropped: upTo(6) === 0,
      local: upTo(8) === 0,
      untracked: upTo(30) === 0,
      zone: upTo(10) === 0 ? [upTo(3), upTo(4)] : undefined,
      address: v6 ? '2001:db8::1' : '203.0.113.1',
      snat: upTo(2)
        ? natRange({
            dynamic: upTo(2) === 0,
            bound: upTo(2) === 0,
            random: upTo(3) === 0,
            addresses: {
              first: addr(v6 ? '2001:db8::1' : '203.0.113.16'),
              last: addr(v6 ? '2001:db8::3' : '203.0.113.18'),
            },
            ports: upTo(2) ? { min: 1, max: 4 } : null,
          })
        : null,
      dnat:
        upTo(4) === 0
          ? natRange({
              addresses: { first: addr(hosts[1]), last: addr(hosts[1]) },
              ports: { min: 2, max: 3 },
            })
          : null,
    }
    if (cut.length === 0 || (cut[0] >> 4 !== 4 && cut[0] >> 4 !== 6)) continue
    const result = b.sendBytes(cut, way, 1 + upTo(3), mutated ? {} : packet)
    expect(result.state !== 'none' || result.drop !== null).toBe(true)
    const plain = !mutated && cut === bytes && !packet.partial && packet.proto !== 132
    if (plain && result.drop === null) checkSums(result.bytes, `${JSON.stringify(packet)} `)
    if (result.drop === null && result.bytes.length < 200) sent[upTo(16)] = result.bytes
    if (sent.includes(undefined as never)) sent.splice(0, sent.length, ...sent.filter(Boolean))
    if (upTo(10) === 0) b.pass(upTo(40))
    if (upTo(20) === 0) b.ct.tick(b.nowMs)
    if (i % 100 === 0) sane(b)
    expect(b.ct.count).toBeLessThanOrEqual(64)
  }
  sane(b)
  for (const row of rows(b.ct.table.memory, b.nowMs)) expect(lineOf(row)).toMatch(/src=.* src=.* use=1$/)
  expect(JSON.stringify(Object.values(b.ct.table.memory).map((a) => a.byteLength))).toBe(memory)
  b.pass(900_000)
  b.ct.tick(b.nowMs)
  expect(b.ct.count).toBe(0)
  expect(b.ct.table.header[Header.Sources]).toBe(0)
  expect(b.mappings.size).toBe(0)
}

describe('random packets, errors and rules', () => {
  test.each([1, 2, 3])('linux, seed %d', (seed) => soak(seed, 4000, {}))
  test.each([4, 5])('rfc, seed %d', (seed) => soak(seed, 4000, { profile: 'rfc' }))
  test.each([6, 7])('rfc, address-dependent, seed %d', (seed) =>
    soak(seed, 4000, { profile: 'rfc', filtering: 'address-dependent' }),
  )
  test('liberal, with limits', () => soak(8, 4000, { liberal: true, perSource: 10, loose: false }))
})

describe('tuples', () => {
  test('turned around twice is the same', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer(), { minLength: 9, maxLength: 9 }),
        fc.constantFrom(6, 17, 1, 58, 47, 132),
        (words, proto) => {
          const t = Int32Array.from([...words, proto | 0x100])
          const back = new Int32Array(T.Words)
          if (!tuple.invert(t, back)) return
          tuple.invert(back, back)
          expect(tuple.same(t, back)).toBe(true)
        },
      ),
    )
  })

  test('of a quote: never beyond its end', () => {
    const t = new Int32Array(T.Words)
    for (const proto of ['tcp', 'udp', 'icmp'] as const) {
      const whole = build({ src: '10.0.0.2', dst: '10.0.0.3', proto, payload: 4 })
      for (let n = 0; n <= whole.length; n++) {
        const cut = whole.slice(0, n)
        const at = tuple.ofQuote(new DataView(cut.buffer), 0, n, 0, false, t)
        expect(at >= 0).toBe(n >= (proto === 'icmp' ? 28 : 24))
      }
    }
  })
})
