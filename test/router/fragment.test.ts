import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { wordsOf } from '../../src/packet/egress.ts'
import { Frag, IP_SHIFT, Ip } from '../../src/packet/ip.ts'
import { Flag, Gso, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import { framesOnWire } from '../../src/port/on-wire.ts'
import {
  a4,
  a6,
  bytes,
  ethernet,
  fragment6,
  hex,
  type Ip4Parts,
  internetChecksum,
  ipv4,
  ipv6,
  pattern,
  u16,
  u32,
  udp,
} from './packets.ts'
import { Bench, OWN } from './support.ts'

/** Cuts a packet; the pieces from the IP header on. */
function cut(
  bench: Bench,
  frame: Uint8Array,
  mtu: number,
  prepare: (slot: number) => void = () => {},
): Uint8Array[] {
  const pieces: Uint8Array[] = []
  bench.emit = (slot) => {
    pieces.push(bench.packet(slot))
    bench.host.send(1, slot)
  }
  const slot = bench.put(frame, 1)
  bench.route(slot, '10.0.0.2', 0)
  prepare(slot)
  bench.fragments.cut(slot, mtu, bench.nowMs)
  // They must still be what they were when the round ends.
  const sent = bench.host.round()
  sent.forEach((s, i) => {
    expect(hex(s.bytes).endsWith(hex(pieces[i]))).toBe(true)
  })
  return pieces
}

const four = (p: Ip4Parts): Uint8Array => ethernet(OWN + 1, 9, 0x0800, ipv4(p))

interface Read {
  id: number
  df: boolean
  mf: boolean
  offset: number
  options: number[]
  payload: Uint8Array
}

function read(p: Uint8Array): Read {
  const view = new DataView(p.buffer, p.byteOffset)
  const size = (p[0] & 15) * 4
  expect(internetChecksum(p.subarray(0, size))).toBe(0)
  expect(view.getUint16(2)).toBe(p.length)
  const fragment = view.getUint16(6)
  return {
    id: view.getUint16(4),
    df: (fragment & 0x4000) !== 0,
    mf: (fragment & 0x2000) !== 0,
    offset: (fragment & 0x1fff) * 8,
    options: [...p.subarray(20, size)],
    payload: p.slice(size),
  }
}

describe('IPv4', () => {
  test('a datagram of 4000 bytes over 1500', () => {
    const bench = new Bench()
    const payload = pattern(3980)
    const pieces = cut(bench, four({ id: 77, tos: 4, ttl: 9, payload }), 1500).map(read)
    expect(pieces.map((p) => [p.offset, p.payload.length, p.mf, p.id, p.df])).toEqual([
      [0, 1480, true, 77, false],
      [1480, 1480, true, 77, false],
      [2960, 1020, false, 77, false],
    ])
    expect(bytes(...pieces.map((p) => p.payload))).toEqual(payload)
    expect(bench.host.made).toBe(2)
  })

  test('what fits goes as it is', () => {
    const bench = new Bench()
    const frame = four({ payload: pattern(1480) })
    expect(cut(bench, frame, 1500)).toEqual([frame.subarray(14)])
  })

  test('one byte too much', () => {
    const bench = new Bench()
    expect(cut(bench, four({ payload: pattern(1481) }), 1500).map((p) => p.length)).toEqual([1500, 21])
  })

  test('a fragment is cut again: places are added, and only the last of the last is the last', () => {
    for (const mf of [true, false]) {
      const bench = new Bench()
      const slot = bench.host.inject({ frame: four({ payload: pattern(1400), offset: 2960, mf }) }, 1)
      const r = slot << IP_SHIFT
      const ip = bench.host.ip
      ip.fill(0, r, r + Ip.Words)
      ip[r + Ip.Family] = 4
      ip[r + Ip.L3] = 14
      ip[r + Ip.Length] = 1420
      ip[r + Ip.Frag] = Frag.Any | Frag.Later
      const pieces: Read[] = []
      bench.emit = (s) => {
        pieces.push(read(bench.packet(s)))
        bench.host.send(1, s)
      }
      bench.fragments.cut(slot, 820, bench.nowMs)
      bench.host.round()
      expect(pieces.map((p) => [p.offset, p.payload.length, p.mf])).toEqual([
        [2960, 800, true],
        [3760, 600, mf],
      ])
    }
  })

  test('options: all in the first, those with the copy bit in the others', () => {
    const options = [7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0]
    const pieces = cut(new Bench(), four({ payload: pattern(3000), options }), 1500).map(read)
    expect(pieces.map((p) => p.options)).toEqual([options, [0x94, 4, 0, 0], [0x94, 4, 0, 0]])
    expect(pieces.map((p) => p.payload.length)).toEqual([1464, 1472, 64])
    expect(bytes(...pieces.map((p) => p.payload))).toEqual(pattern(3000))
  })

  test('options that do not add up are no reason to fail', () => {
    const pieces = cut(new Bench(), four({ payload: pattern(3000), options: [0x94, 200, 0, 0] }), 1500)
    expect(pieces.length).toBe(3)
  })

  test('the least MTU: 68', () => {
    const options = new Array(40).fill(1)
    const pieces = cut(new Bench({ slots: 512 }), four({ payload: pattern(100), options }), 68).map(read)
    expect(bytes(...pieces.map((p) => p.payload))).toEqual(pattern(100))
  })

  test('DF is not cut', () => {
    const bench = new Bench()
    expect(cut(bench, four({ df: true, payload: pattern(3000) }), 1500)).toEqual([])
    expect(bench.host.dropped('fragment-needed')).toBe(1)
  })

  test('a checksum left to the device is finished first', () => {
    const bench = new Bench()
    const data = udp(1000, 2000, pattern(3001))
    const pseudo =
      ~internetChecksum(bytes(a4('10.1.0.9'), a4('10.0.0.2'), u32(17), u32(data.length))) & 0xffff
    data.set(u16(pseudo), 6)
    const frame = four({ payload: data })
    const pieces = cut(bench, frame, 1500, (slot) => {
      const m = slot << META_SHIFT
      const { meta } = bench.host.pool
      meta[m + Meta.Flags] |= Flag.CsumPartial
      meta[m + Meta.CsumStart] = 34
      meta[m + Meta.CsumOffset] = 6
    }).map(read)
    const whole = bytes(...pieces.map((p) => p.payload))
    expect(whole.subarray(8)).toEqual(pattern(3001))
    expect(internetChecksum(bytes(a4('10.1.0.9'), a4('10.0.0.2'), u32(17), u32(whole.length), whole))).toBe(0)
  })

  test('a UDP checksum that comes out as 0 is written as 0xffff', () => {
    const bench = new Bench()
    const data = udp(1000, 2000, new Uint8Array(3000))
    const pseudo = bytes(a4('10.1.0.9'), a4('10.0.0.2'), u32(17), u32(data.length))
    // With its own checksum as payload, the sum is 0xffff.
    data.set(u16(internetChecksum(bytes(pseudo, data))), 8)
    data.set(u16(~internetChecksum(pseudo) & 0xffff), 6)
    const [first] = cut(bench, four({ payload: data }), 1500, (slot) => {
      const m = slot << META_SHIFT
      const { meta } = bench.host.pool
      meta[m + Meta.Flags] |= Flag.CsumPartial
      meta[m + Meta.CsumStart] = 34
      meta[m + Meta.CsumOffset] = 6
    })
    expect([...first.subarray(26, 28)]).toEqual([255, 255])
  })

  test('a checksum outside of the packet: malformed', () => {
    const bench = new Bench()
    cut(bench, four({ payload: pattern(3000) }), 1500, (slot) => {
      const m = slot << META_SHIFT
      bench.host.pool.meta[m + Meta.Flags] |= Flag.CsumPartial
      bench.host.pool.meta[m + Meta.CsumStart] = 4000
    })
    expect(bench.host.dropped('malformed')).toBe(1)
  })

  test('no slot in the middle: the rest is dropped by name', () => {
    const bench = new Bench({ slots: 10 })
    const pieces = cut(bench, four({ payload: pattern(20_000) }), 1500)
    expect(pieces.length).toBe(9)
    expect(bench.host.dropped('no-slot')).toBe(1)
  })

  test('any length over any MTU comes together again', () => {
    const length = fc.integer({ min: 1, max: 9000 })
    const mtu = fc.integer({ min: 68, max: 2000 })
    const bench = new Bench({ slots: 256 })
    fc.assert(
      fc.property(length, mtu, fc.boolean(), (n, m, options) => {
        const pieces = cut(bench, four({ payload: pattern(n), options: options ? [1, 1, 1, 0] : [] }), m).map(
          read,
        )
        let at = 0
        for (const p of pieces) {
          const right = p.offset === at && 20 + p.options.length + p.payload.length <= m
          at += p.payload.length
          if (!right || p.mf !== at < n) throw new Error(`piece up to ${at} of ${n} over ${m}`)
        }
        expect(hex(bytes(...pieces.map((p) => p.payload)))).toBe(hex(pattern(n)))
      }),
      { numRuns: 200 },
    )
  })

  test('pieces go to the neighbour like any packet', () => {
    const bench = new Bench()
    const slot = bench.put(four({ id: 5, payload: pattern(3000) }), 1)
    bench.route(slot, '10.0.0.2', 0)
    bench.fragments.cut(slot, 1500, bench.nowMs)
    expect(bench.host.round().length).toBe(1)
    expect(bench.host.held.size).toBe(3)
    const [hi, lo] = [0x200, 2]
    bench.neighbours.pin(0, 4, (10 << 24) | 2, 0, 0, 0, hi, lo, bench.nowMs)
    const sent = bench.host.round()
    expect(sent.map((s) => read(s.bytes.slice(14)).offset)).toEqual([0, 1480, 2960])
    expect(sent.every((s) => !s.bare && s.bytes[12] === 8)).toBe(true)
  })
})

describe('super-frames', () => {
  /** An IPv4 TCP or UDP super-frame of `n` payload bytes. */
  function superFrame(bench: Bench, proto: 6 | 17, n: number, gsoSize: number, df: boolean): number {
    const size = proto === 6 ? 20 : 8
    const l4 = new Uint8Array(size + n)
    if (proto === 6) l4[12] = 0x50
    else l4.set(u16(l4.length), 4)
    const pseudo =
      ~internetChecksum(bytes(a4('10.1.0.9'), a4('10.0.0.2'), u32(proto), u32(l4.length))) & 0xffff
    l4.set(u16(pseudo), proto === 6 ? 16 : 6)
    l4.set(pattern(n), size)
    const gsoType = proto === 6 ? Gso.Tcp4 : Gso.Udp
    const offloads = {
      gsoType,
      gsoSize,
      csumStart: 34,
      csumOffset: proto === 6 ? 16 : 6,
      flags: Flag.CsumPartial,
    }
    const slot = bench.put(four({ id: 50, proto, df, payload: l4 }), 1, offloads)
    bench.route(slot, '10.0.0.2', 0)
    return slot
  }

  test('is sent as it is when its segments fit, whatever its length', () => {
    const bench = new Bench()
    bench.emit = (slot) => bench.host.send(1, slot)
    bench.fragments.cut(superFrame(bench, 6, 60_000, 1460, true), 1500, bench.nowMs)
    expect(bench.host.round()[0]).toMatchObject({ gsoSize: 1460 })
  })

  test('TCP without DF becomes one of smaller segments', () => {
    const bench = new Bench()
    bench.emit = (slot) => bench.host.send(1, slot)
    bench.fragments.cut(superFrame(bench, 6, 60_000, 1460, false), 1000, bench.nowMs)
    expect(bench.host.round()[0]).toMatchObject({ gsoSize: 960 })
  })

  test('with DF it is refused', () => {
    const bench = new Bench()
    bench.fragments.cut(superFrame(bench, 6, 60_000, 1460, true), 1000, bench.nowMs)
    bench.host.round()
    expect(bench.host.dropped('fragment-needed')).toBe(1)
  })

  test('UDP becomes datagrams, each cut: the same that native segmentation and cutting make', () => {
    const bench = new Bench()
    const expected: Uint8Array[] = []
    const other = new Bench()
    const twin = superFrame(other, 17, 5000, 1400, false)
    for (const frame of framesOnWire(other.host.pool, wordsOf(other.host.pool), twin, 0, 0)!) {
      expected.push(...cut(new Bench(), frame.bytes, 600))
    }
    const pieces: Uint8Array[] = []
    bench.emit = (slot) => {
      pieces.push(bench.packet(slot))
      bench.host.send(1, slot)
    }
    bench.fragments.cut(superFrame(bench, 17, 5000, 1400, false), 600, bench.nowMs)
    bench.host.round()
    expect(pieces).toEqual(expected)
  })
})

describe('IPv6', () => {
  /** As the reassembler leaves it. */
  const reassembled =
    (bench: Bench, largest: number, id: number) =>
    (slot: number): void => {
      const r = slot << IP_SHIFT
      bench.host.ip[r + Ip.Frag] = Frag.Reassembled
      bench.host.ip[r + Ip.Scratch] = largest
      bench.host.ip[r + Ip.Scratch + 1] = id
    }

  test('is not cut by a router', () => {
    const bench = new Bench()
    cut(bench, ethernet(OWN + 1, 9, 0x86dd, ipv6({ payload: pattern(3000) })), 1500)
    expect(bench.host.dropped('fragment-needed')).toBe(1)
  })

  test('but what was put together is, with its identification', () => {
    const bench = new Bench()
    const payload = pattern(3000)
    const frame = ethernet(OWN + 1, 9, 0x86dd, ipv6({ tos: 8, payload }))
    const pieces = cut(bench, frame, 1280, reassembled(bench, 1280, 0x01020304))
    const part = (from: number, to: number): Uint8Array =>
      ipv6({
        tos: 8,
        next: 44,
        payload: fragment6(17, from, to < 3000, 0x01020304, payload.subarray(from, to)),
      })
    expect(pieces).toEqual([part(0, 1232), part(1232, 2464), part(2464, 3000)])
  })

  test('behind hop-by-hop and routing headers, in front of destination options', () => {
    const bench = new Bench()
    const hop = [43, 0, 1, 4, 0, 0, 0, 0]
    const routing = [60, 2, 4, 0, 0, 0, 0, 0, ...a6('fd00::5')]
    const destination = [17, 0, 1, 4, 0, 0, 0, 0]
    const rest = pattern(1500)
    const frame = ethernet(
      OWN + 1,
      9,
      0x86dd,
      ipv6({ next: 0, payload: bytes(hop, routing, destination, rest) }),
    )
    const pieces = cut(bench, frame, 1280, reassembled(bench, 1280, 9))
    const early = bytes(hop, [44, ...routing.slice(1)])
    const late = bytes(destination, rest)
    expect(pieces).toEqual([
      ipv6({ next: 0, payload: bytes(early, fragment6(60, 0, true, 9, late.subarray(0, 1200))) }),
      ipv6({ next: 0, payload: bytes(early, fragment6(60, 1200, false, 9, late.subarray(1200))) }),
    ])
  })
})
