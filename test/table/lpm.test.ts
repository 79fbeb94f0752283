/** Longest-prefix match against a list that is searched from the longest prefix down. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Lpm, LpmState, MAX_VALUE, QUARANTINE } from '../../src/table/lpm.ts'
import { heapUse } from '../../src/table/lpm-block.ts'
import { prefixes } from '../../src/table/lpm-list.ts'
import { RecentAnswers } from '../../src/table/lpm-recent.ts'
import { LpmWriter } from '../../src/table/lpm-writer.ts'
import { random } from '../support/frames.ts'

type Words = [number, number, number, number]
type Route = { addr: Words; len: number; value: number }

/** The first `len` bits of an address, the others 0. */
function masked(addr: Words, len: number): Words {
  return addr.map((w, i) => {
    const bits = len - 32 * i
    return bits >= 32 ? w | 0 : bits <= 0 ? 0 : (w & (-1 << (32 - bits))) | 0
  }) as Words
}

const keyOf = (addr: Words, len: number): string => `${masked(addr, len).join()}/${len}`

/** The naive table. */
class List {
  readonly routes = new Map<string, Route>()
  readonly width: number

  constructor(width: number) {
    this.width = width
  }

  lookup(addr: Words): number {
    for (let len = this.width; len >= 0; len--) {
      const found = this.routes.get(keyOf(addr, len))
      if (found) return found.value
    }
    return -1
  }
}

/** Both tables, always changed alike. */
class Pair {
  readonly list: List
  readonly writer: LpmWriter
  readonly memory: SharedArrayBuffer
  /** Another reader, which remembers however small the table is. */
  readonly remembering: Lpm
  private readonly width: 32 | 128

  constructor(width: 32 | 128, limit = 4096) {
    this.width = width
    this.list = new List(width)
    this.memory = Lpm.memory(width, limit)
    this.writer = new LpmWriter(this.memory)
    this.remembering = new Lpm(this.memory, 0)
  }

  add(addr: Words, len: number, value: number): void {
    const key = keyOf(addr, len)
    expect(this.writer.add(len, value, ...addr)).toBe(!this.list.routes.has(key))
    this.list.routes.set(key, { addr: masked(addr, len), len, value })
    expect(this.writer.get(len, ...addr)).toBe(value)
    expect(this.writer.table.size).toBe(this.list.routes.size)
  }

  remove(addr: Words, len: number): void {
    const key = keyOf(addr, len)
    expect(this.writer.remove(len, ...addr)).toBe(this.list.routes.get(key)?.value ?? -1)
    this.list.routes.delete(key)
    expect(this.writer.get(len, ...addr)).toBe(-1)
    expect(this.writer.table.size).toBe(this.list.routes.size)
  }

  look(addr: Words): void {
    const expected = this.list.lookup(addr)
    for (const table of [this.writer.table, this.remembering]) {
      const found = this.width === 32 ? table.lookup4(addr[0]) : table.lookup6(...addr)
      if (found !== expected) throw new Error(`${addr}: ${found}, not ${expected}`)
    }
  }

  /** What the table lists is what the list has. */
  compareListing(): void {
    const rows = [...prefixes(this.writer.table)].map((r) => `${r.addr.join()}/${r.len}=${r.value}`).sort()
    const expected = [...this.list.routes.values()].map((r) => `${r.addr.join()}/${r.len}=${r.value}`).sort()
    expect(rows).toEqual(expected)
  }
}

/** Addresses at the prefix's first and last address, beside it, and anywhere in it. */
function near(route: { addr: Words; len: number }, r: () => number): Words[] {
  const first = masked(route.addr, route.len)
  const last = first.map((w, i) => {
    const bits = route.len - 32 * i
    return bits >= 32 ? w : bits <= 0 ? -1 : w | (-1 >>> bits)
  }) as Words
  const inside = first.map((w, i) => w | (last[i] & ~w & r())) as Words
  const beside = [...first] as Words
  if (route.len > 0) beside[(route.len - 1) >> 5] ^= 1 << (31 - ((route.len - 1) & 31))
  return [first, last, inside, beside]
}

const width = { v4: 32, v6: 128 } as const

describe.each(['v4', 'v6'] as const)('%s against a list', (family) => {
  const bits = width[family]
  // Few values in each word, so that prefixes overlap; the same for lookups.
  const word = fc.oneof(fc.constantFrom(0, -1, 0x0a000000, 0x0a000001, 0x0a0000ff, 0x0a000100), fc.integer())
  const addr = fc.tuple(word, word, word, word) as fc.Arbitrary<Words>
  const len = fc.oneof(
    fc.integer({ min: 0, max: bits }),
    fc.constantFrom(0, 1, 5, 8, 23, 24, 25, 29, 30, bits - 1, bits),
  )
  const step = fc.record({ op: fc.nat(3), addr, len, value: fc.integer({ min: 0, max: MAX_VALUE }) })

  test('any prefixes, added, replaced and removed', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer(), (steps, seed) => {
        // Short prefixes paint millions of words of the root: few of them, or the test takes for ever.
        const pair = new Pair(bits, 100)
        const r = random(seed)
        for (const s of steps) {
          const at = s.len > 0 && s.len < 8 ? s.len + 8 : s.len
          if (s.op === 3) pair.remove(s.addr, at)
          else pair.add(s.addr, at, s.value)
          for (const a of near({ addr: s.addr, len: at }, r)) pair.look(a)
        }
        for (const route of pair.list.routes.values()) for (const a of near(route, r)) pair.look(a)
        pair.compareListing()
        for (const route of [...pair.list.routes.values()]) pair.remove(route.addr, route.len)
        expect(heapUse(pair.writer.table.words).liveBytes).toBe(0)
      }),
      { numRuns: 150 },
    )
  })

  test('ten thousand look-ups in random tables, full and half removed', () => {
    for (let seed = 1; seed <= 2; seed++) {
      const r = random(seed)
      const pair = new Pair(bits)
      const routes: { addr: Words; len: number }[] = []
      for (let i = 0; i < 3000; i++) {
        // In four blocks, so that there is much overlap; every length from 8 on.
        const route = {
          addr: [((r() & 3) << 24) | (r() & 0xffffff), r() & r(), r(), r()] as Words,
          len: 8 + (r() % (bits - 7)),
        }
        routes.push(route)
        pair.add(route.addr, route.len, i)
      }
      pair.add([0, 0, 0, 0], 0, 4000)
      const look = (): void => {
        for (let i = 0; i < 2500; i++) for (const a of near(routes[r() % routes.length], r)) pair.look(a)
        for (let i = 0; i < 1000; i++) pair.look([r() | 0, r() | 0, r() | 0, r() | 0])
      }
      look()
      for (let i = 0; i < routes.length; i += 2) pair.remove(routes[i].addr, routes[i].len)
      pair.remove([0, 0, 0, 0], 0)
      look()
      pair.compareListing()
    }
  })

  test('crowded: lists become nodes, and nodes go when their last prefix does', () => {
    for (const [seed, first] of [
      [11, 25],
      [12, bits === 32 ? 27 : 60],
      [13, bits === 32 ? 30 : 100],
    ]) {
      const r = random(seed)
      const pair = new Pair(bits, 8192)
      const routes: { addr: Words; len: number }[] = []
      const look = (n: number): void => {
        for (let i = 0; i < n; i++) for (const a of near(routes[r() % routes.length], r)) pair.look(a)
      }
      for (let i = 0; i < 1500; i++) {
        // Below one /22, and mostly the same way on: few bits differ in each word, anywhere.
        const addr: Words = [0x20010c00 | (r() & 0x3ff), 1 << (r() & 31), (r() & 3) << (r() & 31), r() & 255]
        const route = { addr, len: first + (r() % (bits + 1 - first)) }
        routes.push(route)
        pair.add(route.addr, route.len, i)
        // Shorter ones, which nodes and lists inherit, come and go meanwhile.
        if (i % 50 === 0) pair.add(addr, 17 + (r() % 10), i)
        if (i % 70 === 0) pair.remove(addr, 17 + (r() % 10))
        if (i % 25 === 0) look(10)
      }
      look(800)
      pair.compareListing()
      for (const route of routes.slice(0, 1400)) pair.remove(route.addr, route.len)
      look(300)
      pair.compareListing()
      for (const route of [...pair.list.routes.values()]) pair.remove(route.addr, route.len)
      expect(heapUse(pair.writer.table.words).liveBytes).toBe(0)
    }
  })

  test('a full /24 and every one of its hosts', () => {
    const pair = new Pair(bits)
    const at = (i: number): Words => (bits === 32 ? [0x0a000000 | i, 0, 0, 0] : [0x0a000000, 7, 7, i])
    for (let i = 0; i < 256; i++) pair.add(at(i), bits, i)
    pair.add(at(0), bits - 8, 1000)
    pair.add(at(0), bits - 1, 1001)
    for (let i = 0; i < 256; i++) pair.look(at(i))
    for (let i = 0; i < 256; i += 3) pair.remove(at(i), bits)
    for (let i = 0; i < 256; i++) pair.look(at(i))
    pair.remove(at(0), bits - 8)
    for (let i = 0; i < 256; i++) pair.look(at(i))
    pair.compareListing()
  })

  test('every length alone, and all on top of each other', () => {
    const r = random(7)
    const pair = new Pair(bits)
    const base: Words = [0xc0a80a55 | 0, 0x12345678, -1, 0x55aa55aa]
    for (let l = bits; l >= 0; l--) pair.add(base, l, l)
    for (let l = 0; l <= bits; l++) {
      for (const a of near({ addr: base, len: l }, r)) pair.look(a)
    }
    pair.look(base)
    for (let l = bits; l >= 0; l--) {
      pair.remove(base, l)
      pair.look(base)
    }
    expect(heapUse(pair.writer.table.words).liveBytes).toBe(0)
  })

  test('the empty table, the default route, the widest prefixes', () => {
    const pair = new Pair(bits)
    const ends: Words[] = [
      [0, 0, 0, 0],
      [-1, -1, -1, -1],
      [0x7fffffff, -1, -1, -1],
      [0x80000000 | 0, 0, 0, 0],
    ]
    const look = (): void => {
      for (const a of ends) pair.look(a)
    }
    look()
    pair.add([0, 0, 0, 0], 0, 1)
    look()
    pair.add([0x80000000 | 0, 0, 0, 0], 1, 2)
    look()
    pair.add([-1, -1, -1, -1], bits, 3)
    pair.add([0, 0, 0, 0], bits, 4)
    look()
    pair.add([0, 0, 0, 0], 0, MAX_VALUE)
    look()
    pair.remove([-1, 0, 0, 0], 1)
    look()
    pair.remove([0, 0, 0, 0], 0)
    look()
    pair.compareListing()
  })

  test('a full table says so and is as it was; a route that goes makes room', () => {
    const pair = new Pair(bits, 10)
    for (let i = 0; i < 10; i++) pair.add([i << 8, 0, 0, 0], 24, i)
    expect(() => pair.writer.add(32, 1, 5)).toThrow('the table is full: it has its limit of 10 prefixes')
    expect(() => pair.writer.add(0, 1, 0)).toThrow(RangeError)
    pair.compareListing()
    pair.add([0, 0, 0, 0], 24, 77)
    pair.remove([0, 0, 0, 0], 24)
    pair.add([5, 0, 0, 0], 32, 1)
    pair.compareListing()
  })

  test('without memory it says so, nothing changes, and everything can still be removed', () => {
    const writer = new LpmWriter(Lpm.memory(bits, 100_000, 4096))
    const r = random(3)
    const kept: Route[] = []
    let refused = 0
    for (let i = 0; i < 2000; i++) {
      const route = {
        addr: [r() | 0, r() | 0, r() | 0, r() | 0] as Words,
        len: 9 + (r() % (bits - 8)),
        value: i,
      }
      const before = [...kept].length === writer.table.size
      expect(before).toBe(true)
      try {
        if (writer.add(route.len, i, ...route.addr)) kept.push(route)
        else kept.find((k) => keyOf(k.addr, k.len) === keyOf(route.addr, route.len))!.value = i
      } catch (error) {
        expect(String(error)).toContain('no memory for another prefix')
        refused++
      }
      if (refused > 50) break
    }
    expect(refused).toBeGreaterThan(50)
    for (const k of kept) expect(writer.get(k.len, ...k.addr)).toBe(k.value)
    for (const k of kept) expect(writer.remove(k.len, ...k.addr)).toBe(k.value)
    expect(writer.table.size).toBe(0)
    expect([...prefixes(writer.table)]).toEqual([])
    expect(heapUse(writer.table.words).liveBytes).toBe(0)
    writer.add(30, 5, 1)
    expect(writer.get(30, 1)).toBe(5)
  })

  test('a route that flaps for ever uses no more memory than once', () => {
    const pair = new Pair(bits)
    for (let i = 0; i < 200; i++) pair.add([i << 12, i, 0, 0], bits, i)
    const flap = (): void => {
      pair.writer.add(bits, 1, 77 << 12, 1)
      pair.writer.remove(bits, 77 << 12, 1)
    }
    for (let i = 0; i < 2 * QUARANTINE; i++) flap()
    const { touchedBytes } = heapUse(pair.writer.table.words)
    for (let i = 0; i < 5 * QUARANTINE; i++) flap()
    expect(heapUse(pair.writer.table.words).touchedBytes).toBe(touchedBytes)
  })
})

describe('what a reader remembers of the last answers', () => {
  /** Among these, lists have become nodes; hosts lie in some of the /64s. */
  function crowd(r: () => number): { pair: Pair; hosts: Words[] } {
    const pair = new Pair(128, 8192)
    for (let i = 0; i < 2000; i++) {
      const addr: Words = [0x20010d00 | (r() & 0xff), r() & 0xf0f00000, 0, 0]
      pair.add(addr, 25 + (r() % 40), i)
    }
    const hosts = Array.from(
      { length: 300 },
      (): Words => [0x20010d00 | (r() & 0xff), r() & 0xf0f00000, r() & 3, r() & 7],
    )
    return { pair, hosts }
  }

  test('ends with any change: shorter, longer, replaced, gone, the default', () => {
    const r = random(31)
    const { pair, hosts } = crowd(r)
    const before = pair.writer.table.words[LpmState.Changes]
    for (let i = 0; i < 400; i++) {
      const addr = hosts[r() % hosts.length]
      const len = i % 40 === 0 ? 0 : 12 + (r() % 117)
      if (i % 3 === 2) pair.remove(addr, len)
      else pair.add(addr, len, 10_000 + i)
      for (const host of hosts) pair.look(host)
    }
    expect(pair.writer.table.words[LpmState.Changes]).toBe(before + 800)
  })

  test('is of the /64, so never where a longer prefix lies in it', () => {
    const { pair } = crowd(random(32))
    const net: Words = [0x20010d01, 0x10100000, 0, 0]
    pair.add(net, 64, 1)
    const answers = (): number[] => [0, 1, 2, 3].map((n) => pair.remembering.lookup6(net[0], net[1], 0, n))
    expect(answers()).toEqual([1, 1, 1, 1])
    pair.add([net[0], net[1], 0, 2], 128, 7)
    expect(answers()).toEqual([1, 1, 7, 1])
    expect(answers()).toEqual([1, 1, 7, 1])
    pair.remove([net[0], net[1], 0, 2], 128)
    expect(answers()).toEqual([1, 1, 1, 1])
  })

  test('another address each time: right for as long as nothing is known, and again when something is', () => {
    const { pair, hosts } = crowd(random(33))
    for (let i = 0; i < 5000; i++) pair.look([0x20010d00 | (i & 0xff), Math.imul(i, 0x9e3779b1), 0, 0])
    for (let i = 0; i < 20; i++) for (const host of hosts) pair.look(host)
  })

  test('is that of the same state of the table', () => {
    const recent = new RecentAnswers()
    expect(recent.find(0, 0, 1)).toBe(-1)
    recent.keep(0, 0, 1, -1)
    expect(recent.answer(recent.find(0, 0, 1))).toBe(-1)
    expect(recent.find(0, 0, 3)).toBe(-1)
  })
})

test("wrong lengths and values are the caller's error", () => {
  const writer = new LpmWriter(Lpm.memory(32, 10))
  expect(() => writer.add(33, 1, 0)).toThrow('prefix length 33: 0 to 32 expected')
  expect(() => writer.add(-1, 1, 0)).toThrow(RangeError)
  expect(() => writer.add(8, -1, 0)).toThrow('value -1')
  expect(() => writer.add(8, MAX_VALUE + 1, 0)).toThrow(RangeError)
  expect(writer.table.size).toBe(0)
})

test('another writer goes on with the table as it is', () => {
  const memory = Lpm.memory(32, 100)
  const first = new LpmWriter(memory)
  first.add(16, 1, 0x0a000000)
  first.add(28, 2, 0x0a000010)
  const second = new LpmWriter(memory)
  expect(second.remove(28, 0x0a000010)).toBe(2)
  second.add(25, 3, 0x0a000000)
  expect(first.table.lookup4(0x0a000011)).toBe(3)
  expect(first.table.lookup4(0x0a0000ff)).toBe(1)
  expect(new Lpm(memory).size).toBe(2)
})

test('a reader that was overtaken by the quarantine looks again', () => {
  const writer = new LpmWriter(Lpm.memory(32, 100))
  writer.add(30, 9, 0x0a000000)
  const table = writer.table
  // The writer frees QUARANTINE blocks between the reader's two looks at the counter.
  const words = table.words
  const flap = (): number => Number(writer.add(32, 1, 77)) + writer.remove(32, 77)
  let looks = 0
  const spied = new Proxy(words, {
    get(target, name) {
      if (name === String(LpmState.Freed)) {
        looks++
        if (looks === 2) for (let i = 0; i <= QUARANTINE; i++) flap()
      }
      return Reflect.get(target, name, target)
    },
  })
  Object.assign(table, { words: spied })
  expect(table.lookup4(0x0a000001)).toBe(9)
  expect(looks).toBe(4)
})
