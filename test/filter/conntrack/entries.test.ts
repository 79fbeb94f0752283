/** The table of entries against a Map, and its limits: ageing, early drop, sources, floods. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Conntrack } from '../../../src/filter/conntrack/conntrack.ts'
import {
  bytesPerEntry,
  conntrackMemory,
  ENT_SHIFT,
  Ent,
  Header,
  Stat,
  Status,
  V6,
} from '../../../src/filter/conntrack/layout.ts'
import { rows } from '../../../src/filter/conntrack/select.ts'
import { EntryTable } from '../../../src/filter/conntrack/table.ts'
import * as tuple from '../../../src/filter/conntrack/tuple.ts'
import { T } from '../../../src/filter/conntrack/tuple.ts'
import { random } from '../../support/frames.ts'
import { Bench, type Packet } from './support.ts'

const SEED = Int32Array.from({ length: 12 }, (_, i) => i * 0x9e3779b1 + 7)

function udpTuple(src: number, dst: number, ports: number, key: number): Int32Array {
  const t = new Int32Array(T.Words)
  t[T.Src] = src
  t[T.Dst] = dst
  t[T.Ports] = ports
  t[T.Key] = key
  if ((key & V6) !== 0) for (let i = 1; i < 4; i++) [t[T.Src + i], t[T.Dst + i]] = [src ^ i, dst ^ i]
  return t
}

/** Adds an entry of this tuple and its reply. */
function add(table: EntryTable, t: Int32Array): number {
  const entry = table.take(1000)
  if (entry === 0) return 0
  const reply = new Int32Array(T.Words)
  tuple.invert(t, reply)
  table.words[(entry << ENT_SHIFT) + Ent.Key] = t[T.Key]
  table.words[(entry << ENT_SHIFT) + Ent.Status] |= Status.ZoneOrig | Status.ZoneReply
  table.store(entry << 1, t)
  table.store((entry << 1) | 1, reply)
  table.link(entry)
  return entry
}

describe('the table against a Map', () => {
  const operation = fc.record({
    kind: fc.constantFrom('add', 'find', 'remove'),
    src: fc.integer({ min: 0, max: 6 }),
    dst: fc.integer({ min: 0, max: 3 }),
    port: fc.integer({ min: 0, max: 3 }),
    key: fc.constantFrom(17, 6, 17 | V6, 17 | (5 << 16)),
  })

  test('finds what is there, in both directions, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), fc.integer(), (operations, seed) => {
        const table = new EntryTable(
          conntrackMemory(
            40,
            SEED.map((s) => s ^ seed),
          ),
        )
        const model = new Map<string, number>()
        const reply = new Int32Array(T.Words)
        for (const { kind, src, dst, port, key } of operations) {
          const t = udpTuple(src, dst + 100, (port << 16) | 53, key)
          tuple.invert(t, reply)
          const id = `${src} ${dst} ${port} ${key}`
          if (kind === 'add' && !model.has(id)) {
            const entry = add(table, t)
            if (entry !== 0) model.set(id, entry)
            else expect(model.size).toBe(40)
          } else if (kind === 'remove' && model.has(id)) {
            table.unlink(model.get(id)!)
            table.release(model.get(id)!)
            model.delete(id)
          }
          const entry = model.get(id)
          expect(table.find(t, table.hash(t))).toBe(entry === undefined ? -1 : entry << 1)
          expect(table.find(reply, table.hash(reply))).toBe(entry === undefined ? -1 : (entry << 1) | 1)
        }
        expect(table.count).toBe(model.size)
        expect(table.index.filter((place) => place !== 0).length).toBe(2 * model.size)
        const back = new Int32Array(T.Words)
        for (const entry of model.values()) {
          table.load((entry << 1) | 1, back)
          tuple.invert(back, reply)
          expect(table.has(entry << 1, reply)).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('a zone may count in one direction only', () => {
    const table = new EntryTable(conntrackMemory(8, SEED))
    const t = udpTuple(1, 2, (3 << 16) | 4, 17 | (9 << 16))
    const entry = add(table, t)
    table.unlink(entry)
    table.words[(entry << ENT_SHIFT) + Ent.Status] &= ~Status.ZoneReply
    table.link(entry)
    expect(table.find(t, table.hash(t))).toBe(entry << 1)
    const reply = new Int32Array(T.Words)
    tuple.invert(t, reply)
    expect(table.find(reply, table.hash(reply))).toBe(-1)
    reply[T.Key] = 17
    expect(table.find(reply, table.hash(reply))).toBe((entry << 1) | 1)
  })

  test('what a batch expects to find is made sure of', () => {
    const table = new EntryTable(conntrackMemory(1000, SEED))
    const tuples = Array.from({ length: 1000 }, (_, i) => udpTuple(i, 7, (i << 16) | 53, 17))
    const entries = tuples.slice(0, 900).map((t) => add(table, t))
    const guesses = Int32Array.from(tuples, (t) => table.hash(t))
    for (let i = 0; i < 1000; i += 250) table.guess(guesses.subarray(i, i + 250), 250)
    const confirm = (entry: number): void => {
      table.words[(entry << ENT_SHIFT) + Ent.Status] |= Status.Confirmed
    }
    expect(tuples.some((t, i) => table.guessed(guesses[i], t))).toBe(false)
    entries.forEach(confirm)
    // Tags are short: one of another flow's may be taken for that of the hash, and is then refused.
    const right = tuples.filter((t, i) => {
      const guessed = table.guessed(guesses[i], t)
      if (guessed) expect(guesses[i]).toBe(table.find(t, table.hash(t)))
      return guessed
    })
    expect(right.length).toBeGreaterThan(890)
    expect(right.length).toBeLessThanOrEqual(900)
    // The place belongs to somebody else by now.
    table.unlink(entries[5])
    table.release(entries[5])
    expect(table.guessed(guesses[5], tuples[5])).toBe(false)
    expect(add(table, tuples[950])).toBe(entries[5])
    confirm(entries[5])
    expect(table.guessed(guesses[5], tuples[5])).toBe(false)
    for (const anything of [-1, 0, 1, 1 << 30, 0x7fffffff, -(2 ** 31)]) {
      expect(table.guessed(anything, tuples[3])).toBe(false)
    }
  })

  test('a batch is told the same of connections that go on, and nothing old of those that went', () => {
    const table = new EntryTable(conntrackMemory(1000, SEED))
    const tuples = Array.from({ length: 100 }, (_, i) => udpTuple(i, 7, (i << 16) | 53, 17))
    const entries = tuples.map((t) => add(table, t))
    const guess = (): Int32Array => {
      const guesses = Int32Array.from(tuples, (t) => table.hash(t))
      table.guess(guesses, guesses.length)
      return guesses
    }
    const nodes = (): Int32Array => Int32Array.from(entries, (entry) => entry << 1)
    for (let i = 0; i < 3; i++) expect(guess()).toEqual(nodes())
    // The same tuple, another entry.
    table.unlink(entries[5])
    table.unlink(entries[6])
    for (const entry of [entries[5], entries[6]]) table.release(entry)
    entries[5] = add(table, tuples[5])
    entries[6] = add(table, tuples[6])
    expect(guess()).toEqual(nodes())
    table.unlink(entries[7])
    entries[7] = 0
    expect(guess()).toEqual(nodes())
    // More of them than are remembered: the index is asked.
    const many = new EntryTable(conntrackMemory(60_000, SEED))
    const all = Array.from({ length: 50_000 }, (_, i) => udpTuple(i, 9, (i << 16) | 53, 17))
    const made = all.map((t) => add(many, t) << 1)
    for (let round = 0; round < 8; round++) {
      let right = 0
      for (let i = 0; i < all.length; i += 250) {
        const guesses = Int32Array.from(all.slice(i, i + 250), (t) => many.hash(t))
        many.guess(guesses, 250)
        for (let j = 0; j < 250; j++) if (guesses[j] === made[i + j]) right++
      }
      expect(right).toBeGreaterThan(49_500)
    }
  })

  test('an entry costs less than 200 bytes, all in all', () => {
    const memory = conntrackMemory(1_000_000)
    expect(bytesPerEntry(memory, 4)).toBeLessThan(160)
    expect(bytesPerEntry(memory, 6)).toBeLessThan(200)
    // And nothing else belongs to a table.
    const all = Object.values(memory).reduce((sum, array) => sum + array.byteLength, 0)
    expect(all / 1_000_000).toBeLessThan(200)
  })
})

const udp = (n: number, more: Partial<Packet> = {}): Packet => ({
  src: `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`,
  dst: '198.51.100.1',
  proto: 'udp',
  ...more,
})

describe('confirmation', () => {
  test('a packet that is dropped leaves nothing', () => {
    const b = new Bench()
    expect(b.send(udp(1), { dropped: true }).drop).toBe('filter')
    expect(b.ct.count).toBe(0)
    expect(b.send(udp(1)).state).toBe('NEW')
  })

  test('until then nobody finds it, and the second of two packets joins the first', () => {
    const b = new Bench()
    const way = { noNat: true }
    b.load(1, b.send(udp(9), { ...way, dropped: true }).bytes)
    b.load(2, b.send(udp(9), { ...way, dropped: true }, 2).bytes)
    expect(b.ct.in(1, b.nowMs)).toBe(-1)
    expect(b.ct.in(2, b.nowMs)).toBe(-1)
    expect(b.list()).toEqual([])
    expect(b.ct.count).toBe(2)
    expect(b.ct.confirm(1, b.nowMs)).toBe(-1)
    expect(b.ct.confirm(2, b.nowMs)).toBe(-1)
    expect(b.ct.count).toBe(1)
    expect([...rows(b.ct.table.memory, b.nowMs)][0].original.packets).toBe(2)
  })

  test('an entry whose packet was lost is reclaimed', () => {
    const b = new Bench()
    b.send(udp(1), { dropped: true })
    b.load(1, b.send(udp(2), { dropped: true }).bytes)
    b.ct.in(1, b.nowMs)
    expect(b.ct.count).toBe(1)
    b.pass(61)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(0)
  })

  test('time that the packet waited is not taken from the entry', () => {
    const b = new Bench()
    b.load(1, b.send(udp(2), { dropped: true }).bytes)
    b.ct.in(1, b.nowMs)
    b.pass(12)
    b.ct.confirm(1, b.nowMs)
    expect(b.timeout()).toBe(30)
  })
})

describe('ageing', () => {
  test('UDP: 30 s, and 120 s as a stream', () => {
    const b = new Bench()
    const answer: Packet = { src: '198.51.100.1', dst: '10.0.0.1', proto: 'udp', sport: 53, dport: 40000 }
    b.send(udp(1))
    expect(b.timeout()).toBe(30)
    expect(b.list()[0]).toContain('[UNREPLIED]')
    b.send(answer)
    expect(b.timeout()).toBe(30)
    expect(b.list()[0]).not.toContain('UNREPLIED')
    b.pass(2.001)
    b.send(udp(1))
    expect(b.timeout()).toBe(120)
    expect(b.list()[0]).toContain('[ASSURED]')
  })

  test.each([
    ['icmp', { proto: 'icmp' }, 30],
    ['generic', { proto: 99, payload: 8 }, 600],
    ['sctp', { proto: 132 }, 600],
  ] as [string, Partial<Packet>, number][])('%s: %j %d s', (_, more, seconds) => {
    const b = new Bench()
    b.send(udp(1, more))
    expect(b.timeout()).toBe(seconds)
    b.pass(seconds - 0.001)
    expect(b.list()).toHaveLength(1)
    b.pass(0.001)
    expect(b.list()).toEqual([])
    expect(b.send(udp(1, more)).state).toBe('NEW')
    expect(b.ct.stats[Stat.Expired]).toBe(1)
  })

  test('the sweep forgets what is over and nothing else, exactly, whatever is refreshed', () => {
    const b = new Bench({ capacity: 500 })
    const next = random(11)
    const model = new Map<number, number>()
    for (let second = 0; second < 300; second++) {
      b.pass(1)
      for (let i = 0; i < 10; i++) {
        const n = next() % 200
        b.send(udp(n))
        model.set(n, b.nowMs + 30_000)
      }
      for (const [n, until] of model) if (until <= b.nowMs) model.delete(n)
      b.ct.tick(b.nowMs)
      expect(b.ct.count).toBe(model.size)
    }
  })

  test('also when the clock wraps around 2^32 ms', () => {
    const b = new Bench()
    b.nowMs = 2 ** 32 - 5000
    b.send(udp(1))
    b.send(udp(2, { proto: 'tcp', flags: 'S' }))
    b.pass(29)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(2)
    b.pass(1)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(1)
    b.pass(90)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(0)
  })

  test('a shortened time is seen at once', () => {
    const b = new Bench()
    const [A, B] = [
      { src: '10.0.0.1', dst: '198.51.100.1', sport: 40000, dport: 80 },
      { src: '198.51.100.1', dst: '10.0.0.1', sport: 80, dport: 40000 },
    ]
    b.send({ ...A, flags: 'S', seq: 0 })
    b.send({ ...B, flags: 'SA', seq: 0, ack: 1 })
    b.send({ ...A, flags: 'A', seq: 1, ack: 1 })
    b.ct.tick(b.nowMs)
    b.send({ ...A, flags: 'R', seq: 1 })
    b.pass(10)
    b.ct.tick(b.nowMs)
    expect(b.ct.count).toBe(0)
  })
})

describe('limits', () => {
  test('per source: the one who has too many, nobody else', () => {
    const b = new Bench({ perSource: 5 })
    for (let i = 0; i < 5; i++) expect(b.send(udp(1, { sport: 1000 + i })).drop).toBeNull()
    expect(b.send(udp(1, { sport: 2000 })).drop).toBe('conntrack-source')
    expect(b.send(udp(2, { sport: 2000 })).drop).toBeNull()
    expect(b.send(udp(1, { sport: 1000 })).drop).toBeNull()
    b.pass(30)
    b.ct.tick(b.nowMs)
    expect(b.send(udp(1, { sport: 2000 })).drop).toBeNull()
  })

  test('an IPv6 source is a /64', () => {
    const b = new Bench({ perSource: 2 })
    const from = (src: string, sport: number): string | null =>
      b.send({ src, dst: '2001:db8::1', proto: 'udp', sport }).drop
    expect(from('fd00::1', 1)).toBeNull()
    expect(from('fd00::2', 1)).toBeNull()
    expect(from('fd00::3', 1)).toBe('conntrack-source')
    expect(from('fd00:0:0:1::3', 1)).toBeNull()
  })

  test('sources are counted as a Map would, over many that come and go', () => {
    const b = new Bench({ capacity: 2000 })
    const next = random(3)
    const ages: [number, number][] = []
    for (let i = 0; i < 5000; i++) {
      b.pass(0.02)
      const n = next() % 60
      b.send(udp(n, { sport: 1 + (next() % 60000) }))
      ages.push([n, b.nowMs + 30_000])
    }
    b.ct.tick(b.nowMs)
    const counts = new Map<number, number>()
    for (const row of rows(b.ct.table.memory, b.nowMs)) {
      const n = Number(row.original.src.split('.')[3])
      counts.set(n, (counts.get(n) ?? 0) + 1)
    }
    for (let n = 0; n < 60; n++)
      expect(b.ct.entries.sources.count((10 << 24) | n, 0, 0)).toBe(counts.get(n) ?? 0)
    expect(b.ct.table.header[Header.Sources]).toBe(counts.size)
  })

  test('full: a flow that nobody answered gives way, assured ones do not', () => {
    const b = new Bench({ capacity: 4 })
    for (let i = 1; i <= 4; i++) b.send(udp(i))
    expect(b.send(udp(5)).drop).toBeNull()
    expect(b.ct.count).toBe(4)
    expect(b.ct.stats[Stat.EarlyDropped]).toBe(1)

    const full = new Bench({ capacity: 4 })
    for (let i = 1; i <= 4; i++) establish(full, i)
    expect(full.send(udp(9)).drop).toBe('conntrack-full')
    expect(full.ct.stats[Stat.Full]).toBe(1)
    // One that is closing does.
    full.send({ ...tcpOf(2), flags: 'R', seq: 1 })
    expect(full.send(udp(9)).drop).toBeNull()
  })

  test('the search for a victim is bounded', () => {
    const b = new Bench({ capacity: 2000 })
    for (let i = 1; i <= 2000; i++) establish(b, i)
    expect(b.send(udp(3000)).drop).toBe('conntrack-full')
  })
})

const tcpOf = (n: number): Packet => ({
  src: `10.0.${n >> 8}.${n & 255}`,
  dst: '198.51.100.1',
  sport: 1000,
  dport: 80,
})

function establish(b: Bench, n: number): void {
  const there = tcpOf(n)
  const back = { src: there.dst, dst: there.src, sport: 80, dport: 1000 }
  b.send({ ...there, flags: 'S', seq: 0 }, { noNat: true })
  b.send({ ...back, flags: 'SA', seq: 0, ack: 1 }, { noNat: true })
  b.send({ ...there, flags: 'A', seq: 1, ack: 1 }, { noNat: true })
}

describe('floods leave others unharmed', () => {
  const CAPACITY = 2000

  /** Users who had flows before, and users who begin one every now and then, and their answers. */
  function under(flood: (b: Bench, i: number) => void): Bench {
    const b = new Bench({ capacity: CAPACITY })
    for (let n = 1; n <= 200; n++) establish(b, n)
    const memory = Object.values(b.ct.table.memory).reduce((sum, array) => sum + array.byteLength, 0)
    let lost = 0
    let begun = 0
    for (let i = 0; i < 20_000; i++) {
      flood(b, i)
      if (i % 40 === 0) {
        const user: Packet = {
          src: `10.1.${(i / 40) >> 8}.${(i / 40) & 255}`,
          dst: '198.51.100.7',
          proto: 'udp',
          sport: 7,
        }
        begun++
        b.send(user, { noNat: true })
        // 50 packets of the flood later the answer comes.
        for (let k = 0; k < 50; k++) flood(b, 1_000_000 + i * 50 + k)
        const answer: Packet = { src: user.dst, dst: user.src, proto: 'udp', sport: 53, dport: 7 }
        if (b.send(answer, { noNat: true }).state !== 'ESTABLISHED') lost++
      }
      if (i % 1000 === 0) b.pass(1)
    }
    expect(lost / begun).toBeLessThan(0.02)
    for (let n = 1; n <= 200; n++) {
      const sent = b.send({ ...tcpOf(n), flags: 'A', seq: 1, ack: 1 }, { noNat: true })
      expect(sent).toMatchObject({ state: 'ESTABLISHED', drop: null })
    }
    expect(b.ct.count).toBeLessThanOrEqual(CAPACITY)
    expect(Object.values(b.ct.table.memory).reduce((sum, array) => sum + array.byteLength, 0)).toBe(memory)
    return b
  }

  test('SYN flood from one source', () => {
    const b = under((b, i) => {
      b.send(
        {
          src: '10.9.9.9',
          dst: '198.51.100.3',
          sport: 1 + (i % 65535),
          dport: 80 + ((i / 65535) | 0),
          flags: 'S',
          seq: i,
        },
        { noNat: true },
      )
    })
    expect(b.ct.stats[Stat.EarlyDropped]).toBeGreaterThan(1000)
  })

  test('port scan from one source', () => {
    under((b, i) => {
      const dst = `198.51.${(i >> 16) & 255}.${(i >> 8) & 255}`
      b.send(
        {
          src: '10.9.9.9',
          dst,
          sport: 4444,
          dport: 1 + (i % 65535),
          proto: i % 2 ? 'udp' : 'tcp',
          flags: 'S',
        },
        { noNat: true },
      )
    })
  })

  test('SYN flood with forged sources: established flows stay', () => {
    const b = new Bench({ capacity: CAPACITY })
    for (let n = 1; n <= 200; n++) establish(b, n)
    for (let i = 0; i < 20_000; i++)
      b.send(
        { src: `172.${16 + ((i >> 16) & 15)}.${(i >> 8) & 255}.${i & 255}`, dst: '198.51.100.3', flags: 'S' },
        { noNat: true },
      )
    for (let n = 1; n <= 200; n++)
      expect(b.send({ ...tcpOf(n), flags: 'A', seq: 1, ack: 1 }, { noNat: true }).state).toBe('ESTABLISHED')
  })
})

describe('another worker', () => {
  test('adopts the table as it is', async () => {
    const { adopt } = await import('../../../src/filter/conntrack/select.ts')
    const b = new Bench()
    establish(b, 1)
    b.load(1, b.send(udp(2), { dropped: true }).bytes)
    b.ct.in(1, b.nowMs)
    const memory = b.ct.table.memory
    const next = new Conntrack(b, memory)
    adopt(next.entries)
    expect(next.count).toBe(1)
    b.load(1, b.send({ ...tcpOf(1), flags: 'A', seq: 1, ack: 1 }).bytes)
    next.in(1, b.nowMs)
    expect([...rows(memory, b.nowMs)][0].state).toBe('ESTABLISHED')
  })
})
