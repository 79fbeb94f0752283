/** The addon's pure functions against the same thing written slowly in TypeScript. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { native } from '../../src/native.ts'
import { Flag, Gso } from '../../src/packet/layout.ts'

/** RFC 1071, word by word. */
function sumOf(bytes: Uint8Array, start = 0): number {
  let sum = start
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i] * 256 + (i + 1 < bytes.length ? bytes[i + 1] : 0)
    while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536)
  }
  return sum
}

/** 0 and 0xffff are the same number in ones' complement. */
const same = (a: number, b: number): boolean => a % 0xffff === b % 0xffff

const word = (bytes: Uint8Array, at: number): number => bytes[at] * 256 + bytes[at + 1]
function put(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value >> 8) & 255
  bytes[at + 1] = value & 255
}

describe('checksum', () => {
  test('is the sum of RFC 1071 for any bytes, place and length', () => {
    const bytes = fc.uint8Array({ maxLength: 700 })
    fc.assert(
      fc.property(bytes, fc.nat(700), fc.nat(700), fc.nat(0xffff), (b, x, y, start) => {
        const from = Math.min(x, b.length)
        const len = Math.min(y, b.length - from)
        expect(same(native.checksum(b, from, len, start), sumOf(b.subarray(from, from + len), start))).toBe(
          true,
        )
      }),
    )
  })

  test('loses no carry in 64 KiB of ones', () => {
    const bytes = new Uint8Array(65535).fill(255)
    expect(same(native.checksum(bytes, 0, bytes.length), sumOf(bytes))).toBe(true)
  })

  test('does not read outside the array', () => {
    for (const [from, len] of [
      [0, 11],
      [11, 0],
      [-1, 1],
      [5, 6],
      [0, -1],
      [2 ** 31, 1],
      [10, 2 ** 32 - 1],
    ]) {
      expect(() => native.checksum(new Uint8Array(10), from, len)).toThrow(RangeError)
    }
    expect(native.checksum(new Uint8Array(10), 10, 0)).toBe(0)
  })
})

describe('finishing a partial checksum', () => {
  test('makes the sum from start to end come out right', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 2, maxLength: 200 }),
        fc.nat(200),
        fc.nat(200),
        (b, start, offset) => {
          const before = b.slice()
          const fits = start + offset + 2 <= b.length
          expect(native.finishChecksum(b, start, offset)).toBe(fits)
          if (!fits) return void expect(b).toEqual(before)
          const expected = 0xffff - sumOf(before.subarray(start))
          const stored = word(b, start + offset)
          expect(stored).toBe(expected === 0 && offset === 6 ? 0xffff : expected)
          put(before, start + offset, stored)
          expect(b).toEqual(before)
        },
      ),
    )
  })
  test('refuses offsets that are no offsets', () => {
    for (const [start, offset] of [
      [-1, 0],
      [0, -1],
      [2 ** 31 - 1, 2 ** 31 - 1],
      [9, 0],
    ]) {
      expect(native.finishChecksum(new Uint8Array(10), start, offset)).toBe(false)
    }
  })
})

interface Super {
  frame: Uint8Array
  l3: number
  l4: number
  payload: number
  v6: boolean
  tcp: boolean
}

interface Shape {
  tags: number
  v6: boolean
  tcp: boolean
  options: number
  body: Uint8Array
  flags: number
  id: number
  seq: number
  noEthernet: boolean
}

/** A super-frame as a TAP hands it over, its checksum unfinished. */
function superFrame(s: Shape): Super {
  const l3 = s.noEthernet ? 0 : 14 + 4 * s.tags
  const l4 = l3 + (s.v6 ? 40 : 20)
  const payload = l4 + (s.tcp ? 20 + 4 * s.options : 8)
  const f = new Uint8Array(payload + s.body.length)
  if (!s.noEthernet) {
    f.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2])
    for (let t = 0; t < s.tags; t++)
      f.set([t === 0 && s.tags === 2 ? 0x88 : 0x81, t === 0 && s.tags === 2 ? 0xa8 : 0, 0x20, 7], 12 + 4 * t)
    put(f, l3 - 2, s.v6 ? 0x86dd : 0x0800)
  }
  const l4Len = f.length - l4
  if (s.v6) {
    f[l3] = 0x60
    put(f, l3 + 4, l4Len)
    f[l3 + 6] = s.tcp ? 6 : 17
    f[l3 + 7] = 64
    for (let i = 0; i < 32; i++) f[l3 + 8 + i] = 0x20 + i
  } else {
    f[l3] = 0x45
    put(f, l3 + 2, f.length - l3)
    put(f, l3 + 4, s.id)
    f[l3 + 8] = 64
    f[l3 + 9] = s.tcp ? 6 : 17
    f.set([10, 0, 0, 1, 10, 0, 0, 2], l3 + 12)
  }
  put(f, l4, 1234)
  put(f, l4 + 2, 80)
  if (s.tcp) {
    put(f, l4 + 4, s.seq >>> 16)
    put(f, l4 + 6, s.seq & 0xffff)
    f[l4 + 12] = (5 + s.options) << 4
    f[l4 + 13] = s.flags
    f.fill(1, l4 + 20, payload)
  } else put(f, l4 + 4, l4Len)
  f.set(s.body, payload)
  put(f, l4 + (s.tcp ? 16 : 6), pseudo(f, l3, l4Len, s.v6, s.tcp))
  return { frame: f, l3, l4, payload, v6: s.v6, tcp: s.tcp }
}

function pseudo(f: Uint8Array, l3: number, l4Len: number, v6: boolean, tcp: boolean): number {
  const addresses = v6 ? f.subarray(l3 + 8, l3 + 40) : f.subarray(l3 + 12, l3 + 20)
  return sumOf(addresses, (tcp ? 6 : 17) + l4Len)
}

/** RFC 9293 and 768 by hand: what a network card makes of a super-frame. */
function cut(s: Super, size: number, ecn: boolean): Uint8Array[] {
  const body = s.frame.subarray(s.payload)
  const count = Math.max(1, Math.ceil(body.length / size))
  return Array.from({ length: count }, (_, i) => {
    const part = body.subarray(i * size, (i + 1) * size)
    const f = new Uint8Array([...s.frame.subarray(0, s.payload), ...part])
    const l4Len = f.length - s.l4
    if (s.v6) put(f, s.l3 + 4, l4Len)
    else {
      put(f, s.l3 + 2, f.length - s.l3)
      put(f, s.l3 + 4, (word(f, s.l3 + 4) + i) % 65536)
      put(f, s.l3 + 10, 0)
      put(f, s.l3 + 10, 0xffff - sumOf(f.subarray(s.l3, s.l4)))
    }
    const field = s.l4 + (s.tcp ? 16 : 6)
    if (s.tcp) {
      const seq = (word(f, s.l4 + 4) * 65536 + word(f, s.l4 + 6) + i * size) % 2 ** 32
      put(f, s.l4 + 4, Math.floor(seq / 65536))
      put(f, s.l4 + 6, seq % 65536)
      if (i < count - 1) f[s.l4 + 13] &= 0xff - 0x09
      if (ecn && i > 0) f[s.l4 + 13] &= 0x7f
    } else put(f, s.l4 + 4, l4Len)
    put(f, field, 0)
    const sum = 0xffff - sumOf(f.subarray(s.l4), pseudo(f, s.l3, l4Len, s.v6, s.tcp))
    put(f, field, sum === 0 && !s.tcp ? 0xffff : sum)
    return f
  })
}

const shape: fc.Arbitrary<Shape> = fc.record({
  tags: fc.nat(2),
  v6: fc.boolean(),
  tcp: fc.boolean(),
  options: fc.nat(10),
  body: fc.uint8Array({ maxLength: 300 }),
  flags: fc.nat(255),
  id: fc.nat(0xffff),
  seq: fc.nat(0xffffffff),
  noEthernet: fc.boolean(),
})
const typeOf = (s: Super): number => (s.tcp ? (s.v6 ? Gso.Tcp6 : Gso.Tcp4) : Gso.Udp)
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex')

describe('segmentation', () => {
  test('makes the frames that a network card would', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 400 }), fc.boolean(), (given, size, ecn) => {
        const s = superFrame(given)
        const flags = (ecn ? Flag.GsoEcn : 0) | (given.noEthernet ? Flag.NoEthernet : 0)
        const before = s.frame.slice()
        const made = native.segment(s.frame, typeOf(s), size, s.l4, flags)
        expect(made?.map(hex)).toEqual(cut(s, size, ecn).map(hex))
        expect(s.frame).toEqual(before)
      }),
      { numRuns: 500 },
    )
  })

  test('of 64 KiB works', () => {
    const body = Uint8Array.from({ length: 65535 - 40 }, (_, i) => i * 7)
    const s = superFrame({
      tags: 0,
      v6: false,
      tcp: true,
      options: 0,
      body,
      flags: 0x18,
      id: 65530,
      seq: 0xfffffff0,
      noEthernet: false,
    })
    expect(native.segment(s.frame, Gso.Tcp4, 1460, s.l4)?.map(hex)).toEqual(cut(s, 1460, false).map(hex))
  })

  test('says no to headers that do not add up, and never more than that', () => {
    fc.assert(
      fc.property(
        shape,
        fc.nat(80),
        fc.nat(255),
        fc.integer(),
        fc.integer(),
        fc.integer(),
        (given, at, value, type, size, start) => {
          const s = superFrame(given)
          const flags = given.noEthernet ? Flag.NoEthernet : 0
          for (let length = 0; length < s.payload; length++) {
            expect(native.segment(s.frame.slice(0, length), typeOf(s), 10, s.l4, flags)).toBe(null)
          }
          expect(native.segment(s.frame, typeOf(s), 0, s.l4, flags)).toBe(null)
          expect(native.segment(s.frame, typeOf(s), 10, s.l4 + 1, flags)).toBe(null)
          expect(native.segment(s.frame, type, size, start, flags)).toBe(null)
          s.frame[at % s.frame.length] = value
          const made = native.segment(s.frame, typeOf(s), 10, s.l4, flags)
          if (made !== null)
            expect(Buffer.concat(made.map((f) => f.subarray(s.payload))).length).toBeLessThanOrEqual(
              given.body.length + 40,
            )
        },
      ),
    )
  })
})

describe('coalescing', () => {
  test('segmentation and coalescing undo each other', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 20, max: 200 }), (given, size) => {
        const s = superFrame({ ...given, options: given.tcp ? given.options : 0, flags: 0x10 })
        if (given.body.length <= size) return
        const flags = given.noEthernet ? Flag.NoEthernet : 0
        const parts = cut(s, size, false).map((f) => Buffer.from(f))
        const merged = native.coalesce(parts, flags, true)
        const again = merged.flatMap((m) =>
          m.gsoType === 0 ? [m.bytes] : native.segment(m.bytes, m.gsoType, m.gsoSize, m.csumStart, flags)!,
        )
        expect(again.map(hex)).toEqual(parts.map(hex))
        if (merged.length === 1) expect([merged[0].gsoType, merged[0].gsoSize]).toEqual([typeOf(s), size])
      }),
    )
  })

  test('a run of one flow becomes one super-frame', () => {
    const body = Uint8Array.from({ length: 5000 }, (_, i) => i)
    const s = superFrame({
      tags: 1,
      v6: true,
      tcp: true,
      options: 3,
      body,
      flags: 0x10,
      id: 0,
      seq: 5,
      noEthernet: false,
    })
    const [merged, ...rest] = native.coalesce(cut(s, 1000, false).map((f) => Buffer.from(f)))
    expect(rest).toEqual([])
    expect([merged.gsoType, merged.gsoSize, merged.csumStart]).toEqual([Gso.Tcp6, 1000, s.l4])
    expect(hex(merged.bytes)).toBe(hex(s.frame))
  })

  test('leaves what it does not know alone: any bytes come out as they went in', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 120 }), { maxLength: 8 }), (frames) => {
        const out = native.coalesce(
          frames.map((f) => Buffer.from(f)),
          0,
          true,
        )
        expect(out.map((m) => hex(m.bytes))).toEqual(frames.map(hex))
      }),
    )
  })

  test('a frame with a wrong checksum is never merged', () => {
    const body = new Uint8Array(2000)
    const s = superFrame({
      tags: 0,
      v6: false,
      tcp: true,
      options: 0,
      body,
      flags: 0x10,
      id: 0,
      seq: 5,
      noEthernet: false,
    })
    const parts = cut(s, 500, false).map((f) => Buffer.from(f))
    parts[1][60] ^= 1
    expect(native.coalesce(parts).map((m) => m.bytes.length)).toEqual([554, 554, 1054])
  })
})
