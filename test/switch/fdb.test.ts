/** The forwarding database by itself: ageing, moves, limits, fairness. Time is a number. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { COUNTER_WORDS, Counter } from '../../src/packet/counters.ts'
import { MAX_PORTS } from '../../src/packet/layout.ts'
import { Entry, Fdb, Learned, SWEEP_PLACES } from '../../src/switch/fdb.ts'
import { HashTable } from '../../src/table/hash.ts'

interface Lab {
  fdb: Fdb
  memory: SharedArrayBuffer
  counters: Float64Array
  portLimit: Int32Array
}

function labOf(limit = 1024, agingS = 300, seed = 1): Lab {
  const memory = HashTable.memory(limit, seed)
  const counters = new Float64Array(MAX_PORTS * COUNTER_WORDS)
  const portLimit = new Int32Array(MAX_PORTS)
  return { fdb: new Fdb(memory, counters, portLimit, limit, agingS), memory, counters, portLimit }
}

const VLAN = Fdb.key1(0x0200, 1)
const count = (lab: Lab, port: number, which: Counter): number => lab.counters[port * COUNTER_WORDS + which]

function portOf(fdb: Fdb, key0: number, nowS: number, key1 = VLAN): number {
  const at = fdb.find(key0, key1, nowS)
  return at < 0 ? -1 : fdb.table.words[at + 2] & Entry.PortMask
}

/** What perPort must be: counted the slow way. */
function census(fdb: Fdb): Map<number, number> {
  const perPort = new Map<number, number>()
  const w = fdb.table.words
  for (let at = 0; at < w.length; at += 4) {
    if (w[at + 1] === 0) continue
    const port = w[at + 2] & Entry.PortMask
    perPort.set(port, (perPort.get(port) ?? 0) + 1)
  }
  return perPort
}

function countsAgree(fdb: Fdb): void {
  const real = census(fdb)
  let sum = 0
  for (let port = 0; port < MAX_PORTS; port++) {
    if (fdb.perPort[port] !== (real.get(port) ?? 0))
      expect([port, fdb.perPort[port]]).toEqual([port, real.get(port)])
    sum += fdb.perPort[port]
  }
  expect(sum).toBe(fdb.table.size)
}

describe('ageing', () => {
  test('an address is known up to and in its last second, and not one later', () => {
    const { fdb } = labOf(16, 300)
    expect(fdb.learn(7, VLAN, 3, 1000)).toBe(Learned.New)
    expect(portOf(fdb, 7, 1300)).toBe(3)
    expect(portOf(fdb, 7, 1301)).toBe(-1)
  })

  test('a frame makes it young again', () => {
    const { fdb } = labOf(16, 300)
    fdb.learn(7, VLAN, 3, 0)
    expect(fdb.learn(7, VLAN, 3, 200)).toBe(Learned.Known)
    expect(portOf(fdb, 7, 500)).toBe(3)
    expect(portOf(fdb, 7, 501)).toBe(-1)
  })

  test('an ageing time of 0 means for ever', () => {
    const { fdb } = labOf(16, 0)
    fdb.learn(7, VLAN, 3, 0)
    fdb.sweep(2 ** 31 - 1)
    expect(portOf(fdb, 7, 2 ** 31 - 1)).toBe(3)
  })

  test('sweeping changes nothing one can see, only reclaims the places', () => {
    const lab = labOf(1024, 10)
    for (let i = 0; i < 600; i++) lab.fdb.learn(i, VLAN, i % 3, i % 20)
    const before = Array.from({ length: 600 }, (_, i) => portOf(lab.fdb, i, 25))
    lab.fdb.sweep(25)
    expect(Array.from({ length: 600 }, (_, i) => portOf(lab.fdb, i, 25))).toEqual(before)
    expect(lab.fdb.table.size).toBe(before.filter((p) => p >= 0).length)
    countsAgree(lab.fdb)
  })

  test('a table larger than one sweep is reclaimed bit by bit, by bounded steps', () => {
    const { fdb } = labOf(SWEEP_PLACES * 2, 10)
    for (let i = 0; i < SWEEP_PLACES * 2; i++) fdb.learn(i, VLAN, 0, 0)
    let last = fdb.table.size
    for (let rounds = 0; fdb.table.size > 0; rounds++) {
      expect(rounds).toBeLessThan(2 * (fdb.table.capacity / SWEEP_PLACES))
      fdb.sweep(100)
      // Removing an entry does not use up a place, but at most one is reclaimed for each looked at.
      expect(last - fdb.table.size).toBeLessThanOrEqual(SWEEP_PLACES)
      last = fdb.table.size
    }
    countsAgree(fdb)
  })
})

describe('moving', () => {
  test('a station seen at another port is there from now on, and the move is counted', () => {
    const lab = labOf()
    lab.fdb.learn(7, VLAN, 3, 0)
    expect(lab.fdb.learn(7, VLAN, 4, 1)).toBe(Learned.Moved)
    expect(portOf(lab.fdb, 7, 1)).toBe(4)
    expect([
      count(lab, 4, Counter.Moved),
      count(lab, 3, Counter.Moved),
      count(lab, 4, Counter.Learned),
    ]).toEqual([1, 0, 0])
    countsAgree(lab.fdb)
  })

  test('one that had aged out before it showed up elsewhere is new, not moved', () => {
    const lab = labOf(16, 300)
    lab.fdb.learn(7, VLAN, 3, 0)
    expect(lab.fdb.learn(7, VLAN, 4, 301)).toBe(Learned.New)
    expect([count(lab, 4, Counter.Moved), count(lab, 4, Counter.Learned)]).toEqual([0, 1])
    countsAgree(lab.fdb)
  })

  test('the same address in two VLANs is two stations', () => {
    const { fdb } = labOf()
    fdb.learn(7, Fdb.key1(1, 10), 3, 0)
    expect(fdb.learn(7, Fdb.key1(1, 20), 4, 0)).toBe(Learned.New)
    expect(portOf(fdb, 7, 0, Fdb.key1(1, 10))).toBe(3)
    expect(portOf(fdb, 7, 0, Fdb.key1(1, 20))).toBe(4)
  })

  test('VLAN 4094 and a MAC of all ones do not run into each other', () => {
    const { fdb } = labOf()
    fdb.learn(-1, Fdb.key1(0xffff, 4094), 1, 0)
    expect(portOf(fdb, -1, 0, Fdb.key1(0xffff, 4094))).toBe(1)
    expect(portOf(fdb, -1, 0, Fdb.key1(0xfffe, 4094))).toBe(-1)
    expect(portOf(fdb, -1, 0, Fdb.key1(0xffff, 4095))).toBe(-1)
    expect(portOf(fdb, -1, 0, Fdb.key1(0xffff, 0))).toBe(-1)
  })
})

describe('static addresses', () => {
  test('do not age, do not move, survive a flush, and go when the port takes them back', () => {
    const { fdb } = labOf(64, 10)
    expect(fdb.pin(7, VLAN, 3, Entry.None, 0)).toBe(true)
    expect(fdb.learn(7, VLAN, 4, 1)).toBe(Learned.Pinned)
    fdb.sweep(100000)
    expect(portOf(fdb, 7, 100000)).toBe(3)
    expect(fdb.flush(-1, -1, false)).toBe(0)
    fdb.learn(8, VLAN, 3, 100000)
    fdb.unpin(3)
    expect(portOf(fdb, 7, 100000)).toBe(-1)
    expect(portOf(fdb, 8, 100000)).toBe(3)
    countsAgree(fdb)
  })

  test('replace what was learned', () => {
    const { fdb } = labOf()
    fdb.learn(7, VLAN, 4, 0)
    fdb.pin(7, VLAN, 3, Entry.None, 0)
    expect(portOf(fdb, 7, 0)).toBe(3)
    expect(fdb.table.size).toBe(1)
    countsAgree(fdb)
  })

  test("the switch's own address is told apart from a static one", () => {
    const { fdb } = labOf()
    fdb.pin(7, VLAN, 3, Entry.Own, 0)
    expect(fdb.learn(7, VLAN, 4, 0)).toBe(Learned.Own)
    expect(fdb.learn(7, VLAN, 3, 0)).toBe(Learned.Known)
  })

  test('many static addresses of one port do not make it the one that others are evicted for', () => {
    const { fdb } = labOf(16, 300)
    for (let i = 0; i < 8; i++) fdb.pin(100 + i, VLAN, 1, Entry.None, 0)
    for (let i = 0; i < 8; i++) expect(fdb.learn(i, VLAN, 2, 0)).toBe(Learned.New)
    // Full. Port 1 holds most, but nothing of it can go: port 2 makes room.
    expect(fdb.learn(50, VLAN, 3, 1)).toBe(Learned.New)
    expect(fdb.table.size).toBe(16)
    expect(fdb.perPort[2]).toBe(7)
  })

  test('a table full of static addresses refuses more', () => {
    const lab = labOf(8, 300)
    for (let i = 0; i < 8; i++) expect(lab.fdb.pin(i, VLAN, 1, Entry.None, 0)).toBe(true)
    expect(lab.fdb.pin(9, VLAN, 1, Entry.None, 0)).toBe(false)
    expect(lab.fdb.learn(9, VLAN, 2, 0)).toBe(Learned.Refused)
    expect(count(lab, 2, Counter.LearnRefused)).toBe(1)
  })
})

describe('limits', () => {
  test('a port with a limit learns that many and no more, and moves count', () => {
    const lab = labOf()
    lab.portLimit[3] = 2
    expect(lab.fdb.learn(1, VLAN, 3, 0)).toBe(Learned.New)
    expect(lab.fdb.learn(2, VLAN, 3, 0)).toBe(Learned.New)
    expect(lab.fdb.learn(3, VLAN, 3, 0)).toBe(Learned.Refused)
    lab.fdb.learn(4, VLAN, 5, 0)
    expect(lab.fdb.learn(4, VLAN, 3, 0)).toBe(Learned.Refused)
    expect(portOf(lab.fdb, 4, 0)).toBe(5)
    expect(lab.fdb.learn(1, VLAN, 3, 9)).toBe(Learned.Known)
    expect(count(lab, 3, Counter.LearnRefused)).toBe(2)
  })

  test('a port that sends ten thousand source addresses pushes out its own, not the others', () => {
    const lab = labOf(1024)
    for (let port = 1; port < 8; port++)
      for (let i = 0; i < 100; i++) lab.fdb.learn(port * 1000 + i, VLAN, port, 0)
    for (let i = 0; i < 10_000; i++) lab.fdb.learn(1_000_000 + i, VLAN, 9, 1)
    for (let port = 1; port < 8; port++) {
      for (let i = 0; i < 100; i++) expect(portOf(lab.fdb, port * 1000 + i, 1)).toBe(port)
    }
    expect(lab.fdb.table.size).toBe(1024)
    expect(lab.fdb.perPort[9]).toBe(1024 - 700)
    expect(count(lab, 9, Counter.Evicted)).toBe(10_000 - 324)
    countsAgree(lab.fdb)
  })

  test('no flood takes an address from a port that keeps to its equal share', () => {
    const flood = fc.array(fc.tuple(fc.nat(5), fc.nat(400)), { minLength: 100, maxLength: 600 })
    fc.assert(
      fc.property(
        fc.integer(),
        fc.integer({ min: 2, max: 6 }),
        fc.nat(5),
        flood,
        (seed, k, noisy, frames) => {
          const { fdb } = labOf(64, 300, seed)
          const share = Math.floor(64 / k)
          const honest = (p: number): boolean => p !== noisy % k
          for (let p = 0; p < k; p++) {
            if (honest(p)) for (let i = 0; i < share; i++) fdb.learn(p * 1000 + i, VLAN, p, 0)
          }
          for (const [, n] of frames) fdb.learn(100_000 + n, VLAN, noisy % k, 1)
          for (let i = 0; i < 200; i++) fdb.learn(200_000 + i, VLAN, noisy % k, 1)
          for (let p = 0; p < k; p++) {
            if (honest(p)) for (let i = 0; i < share; i++) expect(portOf(fdb, p * 1000 + i, 1)).toBe(p)
          }
          expect(fdb.table.size).toBeLessThanOrEqual(64)
          countsAgree(fdb)
        },
      ),
    )
  })

  test('a newcomer gets a place although a noisy port has filled the table', () => {
    const { fdb } = labOf(256)
    for (let i = 0; i < 1000; i++) fdb.learn(i, VLAN, 1, 0)
    for (let i = 0; i < 128; i++) expect(fdb.learn(5000 + i, VLAN, 2, 1)).toBe(Learned.New)
    expect([fdb.perPort[1], fdb.perPort[2]]).toEqual([128, 128])
  })

  test('aged addresses go before live ones', () => {
    const { fdb } = labOf(64, 10)
    for (let i = 0; i < 32; i++) fdb.learn(i, VLAN, 1, 0)
    for (let i = 32; i < 64; i++) fdb.learn(i, VLAN, 1, 100)
    for (let i = 0; i < 32; i++) expect(fdb.learn(1000 + i, VLAN, 2, 100)).toBe(Learned.New)
    for (let i = 32; i < 64; i++) expect(portOf(fdb, i, 100)).toBe(1)
    countsAgree(fdb)
  })
})

describe('flush', () => {
  test('by port, by VLAN, both, all; and how many is told', () => {
    const { fdb } = labOf()
    const fill = (): void => {
      for (let i = 0; i < 100; i++) fdb.learn(i, Fdb.key1(2, i % 5), i % 4, 0)
    }
    fill()
    expect(fdb.flush(1, -1, false)).toBe(25)
    expect(fdb.flush(1, -1, false)).toBe(0)
    fill()
    expect(fdb.flush(-1, 3, false)).toBe(20)
    fill()
    expect(fdb.flush(2, 4, false)).toBe(5)
    expect(fdb.flush(-1, -1, false)).toBe(95)
    expect(fdb.table.size).toBe(0)
    countsAgree(fdb)
  })

  test('static ones only when asked', () => {
    const { fdb } = labOf()
    fdb.pin(1, VLAN, 1, Entry.None, 0)
    fdb.learn(2, VLAN, 1, 0)
    expect(fdb.flush(1, -1, false)).toBe(1)
    expect(fdb.flush(1, -1, true)).toBe(1)
    countsAgree(fdb)
  })
})

test('a successor adopts the table of a dead worker: addresses, counts, limits', () => {
  const lab = labOf(64, 300)
  for (let i = 0; i < 20; i++) lab.fdb.learn(i, VLAN, i % 3, 5)
  lab.fdb.pin(99, VLAN, 2, Entry.None, 5)
  const heir = new Fdb(lab.memory, lab.counters, lab.portLimit, 64, 300)
  expect([...heir.perPort]).toEqual([...lab.fdb.perPort])
  for (let i = 0; i < 20; i++) expect(portOf(heir, i, 5)).toBe(i % 3)
  heir.unpin(2)
  expect(portOf(heir, 99, 5)).toBe(-1)
  lab.portLimit[0] = 7
  expect(heir.learn(1000, VLAN, 0, 5)).toBe(Learned.Refused)
  countsAgree(heir)
})

test('any sequence of calls keeps the counts true and the size bounded', () => {
  const step = fc.tuple(fc.nat(9), fc.nat(40), fc.nat(3), fc.nat(4))
  fc.assert(
    fc.property(fc.integer(), fc.array(step, { maxLength: 150 }), (seed, steps) => {
      const { fdb, portLimit } = labOf(16, 5, seed)
      portLimit[3] = 4
      let nowS = 0
      for (const [op, key, port, vid] of steps) {
        const key1 = Fdb.key1(2, vid)
        if (op < 5) fdb.learn(key, key1, port, nowS)
        else if (op === 5) fdb.pin(key, key1, port, Entry.None, nowS)
        else if (op === 6) fdb.flush(port - 1, vid - 1, key % 2 === 0)
        else if (op === 7) fdb.unpin(port)
        else if (op === 8) fdb.sweep(nowS)
        else nowS += key
        expect(fdb.table.size).toBeLessThanOrEqual(16)
        countsAgree(fdb)
      }
    }),
  )
})
