/** The hash table against a Map: the same calls, the same answers, always. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HashTable } from '../../src/table/hash.ts'

const tableOf = (limit: number, seed = 1): HashTable => new HashTable(HashTable.memory(limit, seed))

/** Everything in the table, and that each entry can be found where it lies. */
function contents(table: HashTable): Map<string, string> {
  const all = new Map<string, string>()
  const w = table.words
  for (let at = 0; at < w.length; at += 4) {
    if (w[at + 1] === 0) continue
    expect(table.find(w[at], w[at + 1])).toBe(at)
    all.set(`${w[at]},${w[at + 1]}`, `${w[at + 2]},${w[at + 3]}`)
  }
  expect(all.size).toBe(table.size)
  return all
}

function compare(
  table: HashTable,
  steps: [op: number, key: [number, number], v0: number, v1: number][],
): void {
  const oracle = new Map<string, string>()
  for (const [op, [k0, k1], v0, v1] of steps) {
    const name = `${k0},${k1}`
    const at = table.find(k0, k1)
    expect(at >= 0).toBe(oracle.has(name))
    if (at >= 0) expect(`${table.words[at + 2]},${table.words[at + 3]}`).toBe(oracle.get(name))
    if (op < 3 && at < 0) {
      const placed = table.insert(k0, k1, v0, v1)
      expect(placed >= 0).toBe(oracle.size < table.limit)
      if (placed >= 0) oracle.set(name, `${v0},${v1}`)
    } else if (op === 3 && at >= 0) {
      table.remove(at)
      oracle.delete(name)
    }
    expect(table.size).toBe(oracle.size)
  }
  expect(contents(table)).toEqual(oracle)
}

const value = fc.integer()

describe('against a Map', () => {
  test('any keys', () => {
    const key = fc.tuple(
      fc.integer(),
      fc.integer().filter((k) => k !== 0),
    )
    const step = fc.tuple(fc.nat(3), key, value, value)
    fc.assert(
      fc.property(fc.integer(), fc.array(step, { maxLength: 100 }), (seed, steps) =>
        compare(tableOf(32, seed), steps),
      ),
    )
  })

  test('few keys, so that they are removed and come back, in a table that fills up', () => {
    const key = fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 3 }))
    const step = fc.tuple(fc.nat(3), key, value, value)
    fc.assert(
      fc.property(fc.integer(), fc.array(step, { maxLength: 200 }), (seed, steps) =>
        compare(tableOf(8, seed), steps),
      ),
      { numRuns: 300 },
    )
  })

  test('keys of one home, in a cluster that wraps around the end', () => {
    const probe = tableOf(16)
    const homes = [probe.capacity - 2, probe.capacity - 1, 0]
    const keys: [number, number][] = []
    for (let k = 1; keys.length < 24; k++) if (homes.includes(probe.home(k, 9))) keys.push([k, 9])
    const step = fc.tuple(fc.nat(3), fc.constantFrom(...keys), value, value)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => compare(tableOf(16), steps)),
      { numRuns: 500 },
    )
  })
})

test('a full table refuses, and takes again after one was removed', () => {
  const table = tableOf(1000)
  expect(table.limit).toBe(1024)
  for (let i = 0; i < table.limit; i++) expect(table.insert(i, 1, i, 0)).toBeGreaterThanOrEqual(0)
  expect(table.insert(-1, 1, 0, 0)).toBe(-1)
  expect(table.find(-1, 1)).toBe(-1)
  for (let i = 0; i < table.limit; i++) expect(table.words[table.find(i, 1) + 2]).toBe(i)
  table.remove(table.find(500, 1))
  expect(table.insert(-1, 1, 0, 0)).toBeGreaterThanOrEqual(0)
  table.clear()
  expect(table.size).toBe(0)
  expect(contents(table).size).toBe(0)
})

test('a reader with the same memory sees what the writer does', () => {
  const memory = HashTable.memory(8, 77)
  const [writer, reader] = [new HashTable(memory), new HashTable(memory)]
  writer.insert(1, 2, 3, 4)
  expect(reader.size).toBe(1)
  expect(reader.words[reader.find(1, 2) + 3]).toBe(4)
})

test('the seed moves keys to other places', () => {
  const [a, b] = [tableOf(4096, 1), tableOf(4096, 0x5eed)]
  let same = 0
  for (let k = 0; k < 1000; k++) if (a.home(k, 5) === b.home(k, 5)) same++
  expect(same).toBeLessThan(50)
})

test('consecutive addresses, as a machine full of containers has, spread well', () => {
  const table = tableOf(65536)
  for (let k = 0; k < 65536; k++) table.insert(k, 0x80000200, 0, 0)
  const w = table.words
  let distance = 0
  for (let at = 0; at < w.length; at += 4) {
    if (w[at + 1] !== 0) distance += ((at >> 2) - table.home(w[at], w[at + 1])) & (table.capacity - 1)
  }
  // Linear probing at half load needs half a step on average with an ideal hash (TAOCP 6.4).
  expect(distance / 65536).toBeLessThan(1)
})
