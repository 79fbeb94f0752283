import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Frag, IP_SHIFT, Ip } from '../../src/packet/ip.ts'
import { Flag, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import { Fit, FragmentMap } from '../../src/router/reassembly-map.ts'
import { bytes, ethernet, fragment6, hex, type Ip4Parts, ipv4, ipv6, pattern, udp } from './packets.ts'
import { Bench, OWN } from './support.ts'

interface Part {
  from: number
  to: number
  /** Default: the fragment ends before `total`. */
  mf?: boolean
}

/** A part of a datagram with this payload. */
function part4(payload: Uint8Array, { from, to, mf }: Part, more: Ip4Parts = {}): Uint8Array {
  const parts = {
    id: 7,
    offset: from,
    mf: mf ?? to < payload.length,
    payload: payload.slice(from, to),
    ...more,
  }
  return ethernet(OWN, 9, 0x0800, ipv4({ src: '10.0.0.9', dst: '10.1.0.2', ...parts }))
}

function part6(payload: Uint8Array, { from, to, mf }: Part, id = 7, options: number[] = []): Uint8Array {
  const fragment = fragment6(17, from, mf ?? to < payload.length, id, payload.slice(from, to))
  const body = options.length === 0 ? fragment : bytes([44, ...options], fragment)
  return ethernet(
    OWN,
    9,
    0x86dd,
    ipv6({ next: options.length === 0 ? 44 : 0, src: 'fd00::9', dst: 'fd00:1::2', payload: body }),
  )
}

const parts = (n: number, size: number): Part[] =>
  Array.from({ length: Math.ceil(n / size) }, (_, i) => ({ from: i * size, to: Math.min(n, (i + 1) * size) }))

/** A whole UDP datagram's payload, without a checksum. */
const datagram = (n: number): Uint8Array => udp(1000, 2000, pattern(n - 8))

function shuffled<T>(list: T[], seed: number): T[] {
  return list
    .map((x, i) => [Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b), x] as const)
    .sort((a, b) => a[0] - b[0])
    .map(([, x]) => x)
}

describe.each([
  ['in order', (p: Part[]) => p],
  ['backwards', (p: Part[]) => [...p].reverse()],
  ['shuffled', (p: Part[]) => shuffled(p, 5)],
])('%s', (_, order) => {
  test('IPv4', () => {
    const bench = new Bench()
    const payload = datagram(4000)
    for (const p of order(parts(4000, 1480))) bench.receive(part4(payload, p))
    expect(bench.emitted).toEqual([ipv4({ src: '10.0.0.9', dst: '10.1.0.2', id: 7, payload })])
    expect(bench.host.consumed).toBe(2 + 1)
    expect(bench.reassembler.datagrams.count).toBe(0)
  })

  test('IPv6, behind a hop-by-hop header', () => {
    const bench = new Bench()
    const payload = datagram(4000)
    const options = [0, 1, 4, 0, 0, 0, 0]
    for (const p of order(parts(4000, 1432))) bench.receive(part6(payload, p, 99, options))
    const whole = bytes([17, ...options], payload)
    expect(bench.emitted).toEqual([ipv6({ next: 0, src: 'fd00::9', dst: 'fd00:1::2', payload: whole })])
  })

  test('IPv6', () => {
    const bench = new Bench()
    const payload = datagram(4001)
    for (const p of order(parts(4001, 1448))) bench.receive(part6(payload, p))
    expect(bench.emitted).toEqual([ipv6({ src: 'fd00::9', dst: 'fd00:1::2', payload })])
  })
})

describe('the whole', () => {
  test('has the row of a packet that came whole, and remembers its largest fragment', () => {
    const bench = new Bench()
    const payload = datagram(3000)
    const cuts: Part[] = [
      { from: 0, to: 800 },
      { from: 800, to: 2000 },
      { from: 2000, to: 3000 },
    ]
    bench.put(part4(payload, cuts[2]))
    bench.put(part4(payload, cuts[0]))
    const slot = bench.put(part4(payload, cuts[1]))
    expect(slot).toBeGreaterThanOrEqual(0)
    expect(bench.row(slot, Ip.Frag)).toBe(Frag.Reassembled)
    expect(bench.row(slot, Ip.Scratch)).toBe(1220)
    expect(bench.row(slot, Ip.Length)).toBe(3020)
    expect(bench.row(slot, Ip.L4)).toBe(34)
    expect(bench.row(slot, Ip.Ports) >>> 0).toBe((1000 << 16) | 2000)
    expect(bench.row(slot, Ip.InIf)).toBe(0)
    expect(bench.host.pool.frame(slot).subarray(0, 14)).toEqual(part4(payload, cuts[0]).subarray(0, 14))
    bench.host.consume(1, slot)
    bench.host.round()
  })

  test('IPv6 remembers its identification', () => {
    const bench = new Bench()
    const payload = datagram(2000)
    bench.put(part6(payload, { from: 0, to: 1000 }, 0x12345678))
    const slot = bench.put(part6(payload, { from: 1000, to: 2000 }, 0x12345678))
    expect(bench.row(slot, Ip.Scratch)).toBe(1048)
    expect(bench.row(slot, Ip.Scratch + 1)).toBe(0x12345678)
    bench.host.consume(1, slot)
    bench.host.round()
  })

  test('from a TUN as well', () => {
    const bench = new Bench()
    const payload = datagram(2000)
    for (const p of parts(2000, 1000).reverse()) bench.receive(part4(payload, p).slice(14), 2)
    expect(bench.emitted).toEqual([ipv4({ src: '10.0.0.9', dst: '10.1.0.2', id: 7, payload })])
  })

  test('options are those of the first fragment', () => {
    const bench = new Bench()
    const payload = datagram(2000)
    const options = [7, 7, 4, 0, 0, 0, 0, 0]
    bench.receive(part4(payload, { from: 1000, to: 2000 }))
    bench.receive(part4(payload, { from: 0, to: 1000 }, { options }))
    expect(bench.emitted).toEqual([ipv4({ src: '10.0.0.9', dst: '10.1.0.2', id: 7, options, payload })])
  })

  test.each([
    ['the largest had it', true, false, true],
    ['only a smaller one had it', false, true, false],
    ['all had it', true, true, true],
  ])('DF: %s', (_, large, small, result) => {
    const bench = new Bench()
    const payload = datagram(2000)
    bench.receive(part4(payload, { from: 0, to: 1200 }, { df: large }))
    bench.receive(part4(payload, { from: 1200, to: 2000 }, { df: small }))
    expect((bench.emitted[0][6] & 0x40) !== 0).toBe(result)
  })

  test.each([
    [[2, 2], 2],
    [[2, 3], 3],
    [[3, 1], 3],
    [[0, 0], 0],
  ])('ECN %j becomes %i', (codepoints, result) => {
    for (const build of [part4, part6]) {
      const bench = new Bench()
      const payload = datagram(2000)
      parts(2000, 1000).forEach((p, i) => {
        const frame = build === part4 ? part4(payload, p, { tos: 0x10 | codepoints[i] }) : part6(payload, p)
        if (build === part6) frame[15] = codepoints[i] << 4
        bench.receive(frame)
      })
      expect(build === part4 ? bench.emitted[0][1] & 3 : (bench.emitted[0][1] >> 4) & 3).toBe(result)
    }
  })

  test('ECN-capable and not: nobody sends that', () => {
    const bench = new Bench()
    const payload = datagram(2000)
    bench.receive(part4(payload, { from: 0, to: 1000 }, { tos: 0 }))
    bench.receive(part4(payload, { from: 1000, to: 2000 }, { tos: 2 }))
    expect(bench.host.dropped('fragment-invalid')).toBe(2)
  })

  test('64 KiB, and not a byte more', () => {
    const bench = new Bench()
    const payload = datagram(65_515)
    for (const p of parts(65_515, 1480)) bench.receive(part4(payload, p))
    expect(bench.emitted).toEqual([ipv4({ src: '10.0.0.9', dst: '10.1.0.2', id: 7, payload })])
    bench.receive(part4(new Uint8Array(70_000), { from: 64_800, to: 65_520, mf: false }))
    expect(bench.host.dropped('fragment-invalid')).toBe(1)
  })

  test('options that make the whole too long: no length that wraps around', () => {
    const bench = new Bench()
    const payload = datagram(65_515)
    const [first, ...rest] = parts(65_515, 1480)
    for (const p of rest) bench.receive(part4(payload, p))
    bench.receive(part4(payload, first, { options: new Array(40).fill(1) }))
    expect(bench.emitted).toEqual([])
    expect(bench.host.dropped('fragment-invalid')).toBe(1)
    expect(bench.host.held.size).toBe(0)
  })
})

describe('which belong together', () => {
  const payload = datagram(2000)
  const [first, last] = parts(2000, 1000)
  test.each([
    ['source', part4(payload, last, { src: '10.0.0.8' })],
    ['destination', part4(payload, last, { dst: '10.1.0.3' })],
    ['identification', part4(payload, last, { id: 8 })],
    ['protocol', part4(payload, last, { proto: 6 })],
  ])('not those of another %s', (_, frame) => {
    const bench = new Bench()
    bench.receive(part4(payload, first))
    bench.receive(frame)
    expect(bench.emitted).toEqual([])
    expect(bench.reassembler.datagrams.count).toBe(2)
  })

  test('not those of another interface', () => {
    const bench = new Bench()
    bench.receive(part4(payload, first))
    bench.receive(part4(payload, last), 1)
    expect(bench.reassembler.datagrams.count).toBe(2)
  })

  test('IPv6: the protocol is that of the first', () => {
    const bench = new Bench()
    const frame = part6(payload, last)
    frame[54] = 60
    bench.receive(frame)
    bench.receive(part6(payload, first))
    expect(bench.emitted.length).toBe(1)
    expect(bench.emitted[0][6]).toBe(17)
  })

  test('atomic fragments are whole, and disturb nobody (RFC 6946)', () => {
    const bench = new Bench()
    bench.receive(part6(payload, first))
    const atomic = part6(payload.slice(0, 100), { from: 0, to: 100 })
    bench.receive(atomic)
    expect(bench.emitted).toEqual([atomic.slice(14)])
    bench.receive(part6(payload, last))
    expect(bench.emitted.length).toBe(2)
  })
})

describe('time', () => {
  const payload = datagram(3000)
  const [first, second, last] = parts(3000, 1000)

  test.each([
    ['IPv4', part4, 30_000],
    ['IPv6', part6, 60_000],
  ])('%s: the first fragment is told of when the others do not come', (_, part, timeout) => {
    const bench = new Bench()
    bench.receive(part(payload, last))
    bench.nowMs += 1000
    bench.receive(part(payload, first))
    bench.wait(timeout - 1001, 1001)
    expect(bench.expired).toEqual([])
    bench.wait(1)
    expect(bench.expired).toEqual([part(payload, first).slice(14)])
    expect(bench.host.dropped('fragment-timeout')).toBe(1)
    expect(bench.host.held.size).toBe(0)
    expect(bench.reassembler.datagrams.count).toBe(0)
  })

  test('without the first nobody is told', () => {
    const bench = new Bench()
    bench.receive(part4(payload, second))
    bench.receive(part4(payload, last))
    bench.wait(31_000, 1000)
    expect(bench.expired).toEqual([])
    expect(bench.host.dropped('fragment-timeout')).toBe(1)
  })

  test('a fragment that comes too late starts anew', () => {
    const bench = new Bench()
    bench.receive(part4(payload, first))
    bench.wait(30_000, 1000)
    bench.receive(part4(payload, second))
    bench.receive(part4(payload, last))
    expect(bench.emitted).toEqual([])
    bench.receive(part4(payload, first))
    expect(bench.emitted.length).toBe(1)
  })

  test('due says when', () => {
    const bench = new Bench()
    expect(bench.reassembler.due()).toBe(Number.POSITIVE_INFINITY)
    bench.receive(part4(payload, first))
    expect(bench.reassembler.due()).toBe(bench.nowMs + 30_000)
  })
})

describe('bad fragments', () => {
  const payload = datagram(3000)
  const [first, second, last] = parts(3000, 1000)

  test('the same again is dropped alone', () => {
    const bench = new Bench()
    for (const p of [first, first, second, second, last]) bench.receive(part4(payload, p))
    expect(bench.emitted.length).toBe(1)
    expect(bench.host.dropped('fragment-duplicate')).toBe(2)
  })

  test.each([
    ['over the end of one', { from: 800, to: 1600 }],
    ['over the start of one', { from: 1600, to: 2200 }],
    ['inside of one', { from: 8, to: 16 }],
    ['around one', { from: 0, to: 1008 }],
    ['a part of one, from its start', { from: 0, to: 992 }],
  ])('%s: all of the datagram is dropped, also what comes then (RFC 5722)', (_, overlap) => {
    const bench = new Bench()
    bench.receive(part4(payload, first))
    bench.receive(part4(payload, last))
    bench.receive(part4(payload, overlap))
    bench.receive(part4(payload, second))
    expect(bench.emitted).toEqual([])
    expect(bench.host.dropped('fragment-overlap')).toBe(3)
    expect(bench.host.consumed).toBe(1)
    bench.wait(31_000, 1000)
    expect(bench.expired).toEqual([])
    expect(bench.reassembler.datagrams.count).toBe(0)
    for (const p of [first, second, last]) bench.receive(part4(payload, p))
    expect(bench.emitted.length).toBe(1)
  })

  test.each([
    ['two ends', { from: 1000, to: 2000, mf: false }],
    ['behind the end', { from: 3000, to: 3008, mf: true }],
  ])('%s: dropped as a whole', (_, wrong) => {
    const bench = new Bench()
    const longer = bytes(payload, new Uint8Array(100))
    bench.receive(part4(payload, last))
    bench.receive(part4(longer, wrong))
    expect(bench.host.dropped('fragment-invalid')).toBe(2)
    bench.receive(part4(payload, first))
    expect(bench.host.dropped('fragment-overlap')).toBe(1)
  })

  test('an end in front of what came', () => {
    const bench = new Bench()
    bench.receive(part4(payload, second))
    bench.receive(part4(payload, { from: 0, to: 1000, mf: true }))
    bench.receive(part4(payload, { from: 1000, to: 1496, mf: false }))
    expect(bench.host.dropped('fragment-invalid')).toBe(2)
  })

  test('a length that is no multiple of 8; IPv6 is told so', () => {
    const bench = new Bench()
    bench.receive(part4(payload, { from: 0, to: 1001 }))
    bench.receive(part6(payload, { from: 0, to: 1001 }))
    expect(bench.host.dropped('fragment-invalid')).toBe(2)
    expect(bench.problems).toEqual([{ bytes: part6(payload, { from: 0, to: 1001 }).slice(14), pointer: 4 }])
    expect(bench.reassembler.datagrams.count).toBe(0)
  })

  test('IPv6 beyond 64 KiB is told so: the offset', () => {
    const bench = new Bench()
    const far = part6(new Uint8Array(70_000), { from: 65_528, to: 65_528 + 16, mf: false })
    bench.receive(far)
    expect(bench.problems).toEqual([{ bytes: far.slice(14), pointer: 42 }])
  })

  test('nothing in it', () => {
    const bench = new Bench()
    bench.receive(part4(payload, { from: 1000, to: 1000, mf: true }))
    bench.receive(part6(payload, { from: 1000, to: 1000, mf: false }))
    expect(bench.host.dropped('fragment-invalid')).toBe(2)
  })

  test('a checksum left to the device, or a super-frame, cannot be a fragment', () => {
    const bench = new Bench()
    bench.put(part4(payload, first), 0, { flags: Flag.CsumPartial, csumStart: 34, csumOffset: 6 })
    bench.put(part4(payload, first), 0, { gsoSize: 100, gsoType: 1, csumStart: 34, csumOffset: 6 })
    bench.host.round()
    expect(bench.host.dropped('fragment-invalid')).toBe(2)
  })

  test('no slot to keep one: dropped by name, and nothing is left', () => {
    const bench = new Bench()
    bench.host.exhausted = true
    bench.receive(part4(payload, first))
    expect(bench.host.dropped('no-slot')).toBe(1)
    expect(bench.reassembler.datagrams.count).toBe(0)
  })

  test('flush gives up what came by an interface', () => {
    const bench = new Bench()
    bench.receive(part4(payload, first))
    bench.receive(part4(payload, first), 1)
    bench.reassembler.flush(0)
    bench.host.round()
    expect(bench.host.dropped('port-removed')).toBe(1)
    expect(bench.reassembler.datagrams.count).toBe(1)
  })
})

describe('bounds', () => {
  test('a source has an eighth, and loses its own', () => {
    const bench = new Bench({ slots: 512 })
    const payload = datagram(2000)
    const [first, last] = parts(2000, 1000)
    bench.receive(part4(payload, first, { src: '10.0.0.7', id: 1 }))
    for (let id = 0; id < 1000; id++) bench.receive(part4(payload, first, { id }))
    expect(bench.reassembler.datagrams.count).toBe(8 + 1)
    expect(bench.host.dropped('fragment-limit')).toBe(992)
    bench.receive(part4(payload, last, { src: '10.0.0.7', id: 1 }))
    expect(bench.emitted.length).toBe(1)
    expect(bench.host.held.size).toBe(8)
  })

  test('all have an eighth of the pool; the oldest goes', () => {
    const bench = new Bench({ slots: 512 })
    const payload = datagram(2000)
    const [first, last] = parts(2000, 1000)
    for (let i = 0; i < 5000; i++) {
      bench.nowMs += 1
      bench.receive(part4(payload, first, { src: `10.9.${i >> 8}.${i & 255}` }))
      if (bench.host.held.size > 64) throw new Error('too many are held')
    }
    bench.receive(part4(payload, first))
    bench.receive(part4(payload, last))
    expect(bench.emitted.length).toBe(1)
    bench.wait(31_000, 1000)
    expect(bench.host.held.size).toBe(0)
  })
})

describe('oracles', () => {
  test('units that have come agree with a list of fragments', () => {
    const range = fc.tuple(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 1, max: 100 }))
    fc.assert(
      fc.property(fc.array(range, { maxLength: 30 }), (ranges) => {
        const map = new FragmentMap(2)
        map.add(0, 0, 8192)
        map.forgetAll(1)
        const list: [number, number][] = []
        for (const [from, length] of ranges) {
          const to = from + length
          const touched = list.filter(([a, b]) => a < to && from < b)
          const same = touched.length === 1 && touched[0][0] === from && touched[0][1] === to
          const expected = touched.length === 0 ? Fit.Free : same ? Fit.Duplicate : Fit.Overlap
          expect(map.fit(1, from, to)).toBe(expected)
          if (expected !== Fit.Free) continue
          map.add(1, from, to)
          list.push([from, to])
        }
        expect(map.fit(0, 0, 8192)).toBe(Fit.Duplicate)
      }),
      { numRuns: 500 },
    )
  })

  test('any fragments in any order: the whole exactly when a map of bytes says so', () => {
    const bench = new Bench()
    let id = 0
    const cutAt = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 })
    const extra = fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1, max: 10 })), {
      maxLength: 1,
    })
    const tail = fc.integer({ min: 1, max: 8 })
    fc.assert(
      fc.property(
        cutAt,
        extra,
        tail,
        fc.array(fc.nat(7), { maxLength: 3 }),
        fc.integer(),
        fc.boolean(),
        (cuts, wild, end, again, seed, six) => {
          const places = [...new Set([0, ...cuts])].sort((a, b) => a - b)
          const total = places[places.length - 1] * 8 + end
          const payload = pattern(total, id)
          const honest: Part[] = places.map((p, i) => ({
            from: p * 8,
            to: i + 1 < places.length ? places[i + 1] * 8 : total,
          }))
          if (honest.length === 1) return
          const list = [...honest, ...again.map((i) => honest[i % honest.length])]
          for (const [at, n] of wild) {
            const to = Math.min((at + n) * 8, total)
            // From the first byte to the last it would be no fragment.
            const all = at === 0 && to === total
            if (!all && at * 8 < to && (to % 8 === 0 || to === total)) list.push({ from: at * 8, to })
          }
          id++
          const order = shuffled(list, seed)
          const came: Part[] = []
          const owner = new Array<Part | null>(total).fill(null)
          let dead = false
          let whole = 0
          bench.emitted.length = 0
          for (const p of order) {
            // What comes after the whole starts another one; it is not our business here.
            if (whole > 0) break
            bench.receive(six ? part6(payload, p, id) : part4(payload, p, { id: id & 0xffff }))
            if (dead) continue
            const there = owner.slice(p.from, p.to)
            if (came.some((c) => c.from === p.from && c.to === p.to)) continue
            if (there.some((o) => o !== null)) {
              dead = true
              continue
            }
            owner.fill(p, p.from, p.to)
            came.push(p)
            if (owner.every((o) => o !== null)) whole++
          }
          expect(bench.emitted.length).toBe(whole)
          if (whole === 1) {
            const got = bench.emitted[0]
            expect(hex(got.slice(six ? 40 : 20))).toBe(hex(payload))
          }
          bench.wait(61_000, 61_000)
        },
      ),
      { numRuns: 1500 },
    )
  })

  test('fragment and put together: the identity; and fragmented again, the same fragments', () => {
    const bench = new Bench({ slots: 256 })
    const plain = new Bench({ slots: 256 })
    const options = [7, 7, 4, 0, 0, 0, 0, 0]
    let id = 0
    fc.assert(
      fc.property(
        fc.integer({ min: 600, max: 12_000 }),
        fc.integer({ min: 300, max: 1500 }),
        fc.boolean(),
        fc.integer(),
        (n, mtu, withOptions, seed) => {
          id = (id + 1) & 0xffff
          const whole = ipv4({
            src: '10.0.0.9',
            dst: '10.1.0.2',
            id,
            options: withOptions ? options : [],
            payload: datagram(n),
          })
          const fragments = cut(bench, bench.put(ethernet(OWN, 9, 0x0800, whole)), mtu)
          if (fragments.length === 1) return
          let slot = -1
          for (const f of shuffled(fragments, seed)) {
            expect(slot).toBe(-1)
            slot = bench.put(ethernet(OWN, 9, 0x0800, f))
          }
          expect(hex(bench.packet(slot))).toBe(hex(whole))
          const largest = bench.row(slot, Ip.Scratch)
          expect(largest).toBe(Math.max(...fragments.map((f) => f.length)))
          expect(cut(bench, slot, largest).map(hex)).toEqual(
            cutPlain(plain, fragments, largest, whole).map(hex),
          )
        },
      ),
      { numRuns: 150 },
    )
  })

  test('IPv6: put together and cut again, the same fragments', () => {
    const bench = new Bench()
    const payload = datagram(5000)
    const fragments = parts(5000, 1232).map((p) => part6(payload, p, 0x01020304))
    let slot = -1
    for (const f of fragments) slot = bench.put(f)
    expect(cut(bench, slot, bench.row(slot, Ip.Scratch))).toEqual(fragments.map((f) => f.slice(14)))
  })

  /** The pieces that leave, from the IP header on. */
  function cut(bench: Bench, slot: number, mtu: number): Uint8Array[] {
    const pieces: Uint8Array[] = []
    bench.emit = (s) => {
      pieces.push(bench.packet(s))
      bench.host.send(1, s)
    }
    bench.route(slot, '10.1.0.2', 1)
    bench.fragments.cut(slot, mtu, bench.nowMs)
    bench.host.round()
    return pieces
  }

  /** The same cuts when the largest is as large as the MTU allowed, else by a bench of its own. */
  function cutPlain(bench: Bench, fragments: Uint8Array[], largest: number, whole: Uint8Array): Uint8Array[] {
    if (fragments[0].length === largest) return fragments
    return cut(bench, bench.put(ethernet(OWN, 9, 0x0800, whole)), largest)
  }

  test('whatever comes has one fate, nothing grows, and all is over in a minute', () => {
    const bench = new Bench({ slots: 128 })
    const field = fc.record({
      offset: fc.nat(8191),
      mf: fc.boolean(),
      id: fc.nat(3),
      source: fc.nat(3),
      length: fc.nat(1480),
      six: fc.boolean(),
      junk: fc.array(fc.tuple(fc.integer({ min: 14, max: 60 }), fc.nat(255)), { maxLength: 2 }),
    })
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), (list) => {
        for (const f of list) {
          const offset = (f.offset & 15) < 8 ? (f.offset & 7) * 8 : f.offset * 8
          const payload = new Uint8Array(f.length)
          const packet = f.six
            ? ethernet(
                OWN,
                9,
                0x86dd,
                ipv6({
                  next: 44,
                  src: `fd00::${f.source}`,
                  payload: fragment6(17, offset, f.mf, f.id, payload),
                }),
              )
            : ethernet(
                OWN,
                9,
                0x0800,
                ipv4({ src: `10.0.0.${f.source + 2}`, id: f.id, offset, mf: f.mf, payload }),
              )
          for (const [at, to] of f.junk) if (at < packet.length) packet[at] = to
          bench.emitted.length = 0
          bench.nowMs += 5
          bench.receive(packet)
          for (const whole of bench.emitted) expect(whole.length).toBeLessThanOrEqual(65_575)
          if (bench.host.held.size > 16) throw new Error('too many are held')
        }
      }),
      { numRuns: 600 },
    )
    bench.wait(61_000, 1000)
    expect(bench.host.held.size).toBe(0)
  })
})

test('the buffer is what a port can send: metadata says a plain frame', () => {
  const bench = new Bench()
  const payload = datagram(2000)
  bench.put(part4(payload, { from: 1000, to: 2000 }), 0, { flags: Flag.CsumVerified })
  const slot = bench.put(part4(payload, { from: 0, to: 1000 }))
  const m = slot << META_SHIFT
  const { meta } = bench.host.pool
  expect(meta[m + Meta.Flags] & (Flag.CsumVerified | Flag.CsumPartial)).toBe(0)
  expect(meta[m + Meta.Len]).toBe(14 + 20 + 2000)
  expect(meta[m + Meta.GsoSize]).toBe(0)
  expect(bench.host.ip[(slot << IP_SHIFT) + Ip.L3]).toBe(14)
  bench.host.consume(1, slot)
  bench.host.round()
})
