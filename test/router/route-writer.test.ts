/** The control thread's side of routing: what `replace` touches, what is found then, places that come again. */
import { describe, expect, test, vi } from 'vitest'
import { type RouteEntry, RouteWriter } from '../../src/router/route-writer.ts'
import { Route, RouteKind, TABLE_MAIN } from '../../src/router/routes.ts'
import { Lpm } from '../../src/table/lpm.ts'

function route(first: number, more: Partial<RouteEntry> = {}): RouteEntry {
  const six = more.family === 6
  return {
    family: 4,
    address: six ? [first, 0, 0, 0] : [first],
    length: six ? 48 : 24,
    table: TABLE_MAIN,
    kind: RouteKind.Unicast,
    metric: 0,
    hops: [{ outIf: 1, gateway: null, weight: 1 }],
    src: null,
    ...more,
  }
}

/** The metric of the route to an address of the main table, or null. */
function metricOf(writer: RouteWriter, first: number, family: 4 | 6 = 4): number | null {
  const table = writer.memory.tables.find((t) => t.id === TABLE_MAIN)!
  const lpm = new Lpm(family === 4 ? table.v4 : table.v6)
  const at = family === 4 ? lpm.lookup4(first | 1) : lpm.lookup6(first, 1, 1, 1)
  return at < 0 ? null : new Int32Array(writer.memory.routes)[at * Route.Words + Route.Metric]
}

describe.each([4, 6] as const)('replace, IPv%i', (family) => {
  const of = (first: number, more: Partial<RouteEntry> = {}): RouteEntry => route(first, { family, ...more })

  test('what is not wanted goes, what is new comes, what stays keeps its place', () => {
    const writer = new RouteWriter(16)
    const stays = of(0x0a000100, { metric: 3 })
    writer.replace([stays, of(0x0a000200)])
    const table = writer.memory.tables.find((t) => t.id === TABLE_MAIN)!
    const lpm = new Lpm(family === 4 ? table.v4 : table.v6)
    const look = (): number => (family === 4 ? lpm.lookup4(0x0a000100) : lpm.lookup6(0x0a000100, 0, 0, 0))
    const before = look()
    writer.replace([{ ...stays, hops: [...stays.hops] }, of(0x0a000300, { metric: 7 })])
    expect(look()).toBe(before)
    expect(metricOf(writer, 0x0a000200, family)).toBeNull()
    expect(metricOf(writer, 0x0a000300, family)).toBe(7)
    expect([...writer.entries()]).toHaveLength(2)
  })

  test('of several for one prefix the lowest metric is found; one said twice is there once', () => {
    const writer = new RouteWriter(16)
    const list = [of(0x0a000100, { metric: 5 }), of(0x0a000100, { metric: 2 }), of(0x0a000100, { metric: 2 })]
    writer.replace(list)
    expect([...writer.entries()]).toHaveLength(2)
    expect(metricOf(writer, 0x0a000100, family)).toBe(2)
    writer.replace([list[0]])
    expect(metricOf(writer, 0x0a000100, family)).toBe(5)
    writer.replace([of(0x0a000100, { metric: 5, hops: [{ outIf: 2, gateway: null, weight: 1 }] })])
    expect([...writer.entries()].map((e) => e.hops[0].outIf)).toEqual([2])
  })
})

test('the same first bits in another table, family or length are other routes', () => {
  const writer = new RouteWriter(16)
  const routes = [
    route(0x20010d00),
    route(0x20010d00, { length: 25 }),
    route(0x20010d00, { table: 70000 }),
    route(0x20010d00, { table: 70000 & 0xffff }),
    route(0x20010d00, { family: 6 }),
    route(0x20010d00, { family: 6, table: 70000 }),
    route(0x20010d00, { family: 6, table: 70000 & 0xffff }),
  ]
  writer.replace(routes)
  writer.replace([...routes].reverse())
  expect([...writer.entries()]).toHaveLength(routes.length)
  writer.replace(routes.slice(1))
  expect([...writer.entries()]).toHaveLength(routes.length - 1)
})

test('places are used again when no look-up can hold them any more, however often routes change', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  try {
    const writer = new RouteWriter(40)
    for (let round = 0; round < 20; round++) {
      writer.replace(Array.from({ length: 18 }, (_, i) => route((round << 16) | (i << 8), { metric: round })))
      expect(metricOf(writer, (round << 16) | 0x100)).toBe(round)
      vi.advanceTimersByTime(1001)
    }
    // Twice at once: the places of the first are not free yet, and there are no others.
    writer.replace(Array.from({ length: 18 }, (_, i) => route(i << 8)))
    expect(() => writer.replace(Array.from({ length: 39 }, (_, i) => route(0x01000000 | (i << 8))))).toThrow(
      'more than 40 routes',
    )
  } finally {
    vi.useRealTimers()
  }
})
