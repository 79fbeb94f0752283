/**
 * Longest-prefix match: look-ups among a thousand, and a million, routes of each family with the mix of prefix
 * lengths of the Internet's tables, and what loading a million takes: into the table alone, and as the control
 * thread does it (RouteWriter).
 */
import { native } from '../src/native.ts'
import { type RouteEntry, RouteWriter } from '../src/router/route-writer.ts'
import { RouteKind, TABLE_MAIN } from '../src/router/routes.ts'
import { Lpm } from '../src/table/lpm.ts'
import { heapUse } from '../src/table/lpm-block.ts'
import { LpmWriter } from '../src/table/lpm-writer.ts'
import { SEED } from './order.ts'

const OPS = 8192
const MILLION = 1_000_000
/** Destinations that are spoken to at a time; so many more that none is still in a cache when it comes again. */
const ACTIVE = 1 << 13
const ALL = 1 << 19

type Random = () => number
type Words = [number, number, number, number]
interface Route {
  address: Words
  length: number
}

/** xorshift32: the same numbers in every run. */
function random(seed: number): Random {
  let x = seed
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x | 0
  }
}

/** Prefix length for a number of 0..99: roughly the table of a router of the default-free zone. */
function length4(percent: number): number {
  if (percent < 60) return 24
  if (percent < 72) return 22
  if (percent < 80) return 23
  if (percent < 90) return 20 + (percent & 1)
  if (percent < 98) return 16 + (percent & 3)
  return percent === 98 ? 12 : 32
}

/** Nearly half are /48. */
function length6(percent: number): number {
  if (percent < 46) return 48
  if (percent < 58) return 32
  if (percent < 68) return 40
  if (percent < 77) return 44
  if (percent < 83) return 46 + (percent & 1)
  if (percent < 88) return 36
  if (percent < 92) return 42
  if (percent < 96) return 33 + (percent & 1)
  if (percent < 99) return 29 + (percent & 1)
  return 64
}

/** What the registries were given, a /12 each. */
const REGISTRIES = [0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00]
/** Allocations in each: routes lie close together, below them. */
const ALLOCATIONS = 12000

function masked(address: Words, length: number): Words {
  return address.map((word, i) => {
    const bits = length - 32 * i
    return bits >= 32 ? word : bits <= 0 ? 0 : word & (-1 << (32 - bits))
  }) as Words
}

/** `size` different routes. */
export function routesOf(family: 4 | 6, size: number, next: Random): Route[] {
  const percent = (): number => (next() >>> 0) % 100
  const seen = new Set<string>()
  const routes: Route[] = []
  while (routes.length < size) {
    const length = family === 4 ? length4(percent()) : length6(percent())
    const registry = REGISTRIES[(next() >>> 0) % REGISTRIES.length]
    const allocation = Math.imul((next() >>> 0) % ALLOCATIONS, 0x9e37) & 0xfffff
    const first = family === 4 ? next() : (registry << 16) | allocation
    const address = masked([first, family === 4 ? 0 : next(), 0, 0], length)
    const key = `${length}/${address[0]}/${address[1]}`
    if (seen.has(key)) continue
    seen.add(key)
    routes.push({ address, length })
  }
  return routes
}

export interface LpmTimes {
  /** By family: ms to add a million routes to an empty table; the same through RouteWriter.replace. */
  loadMillionMs: Record<string, number>
  replaceMillionMs: Record<string, number>
  /** ns of a look-up inside a million routes, of the few destinations and of the many. */
  lookupNs: Record<string, { active: number; cold: number }>
  /** Bytes a route, without the root's 64 MiB. */
  bytesPerRoute: Record<string, number>
}

type Measure = (name: string, ops: number, call: () => number) => number

export function lpm(measure: Measure): LpmTimes {
  const times: LpmTimes = { loadMillionMs: {}, replaceMillionMs: {}, lookupNs: {}, bytesPerRoute: {} }
  for (const family of [4, 6] as const) {
    for (const size of [1000, MILLION]) {
      const next = random(SEED)
      const routes = routesOf(family, size, next)
      const memory = Lpm.memory(family === 4 ? 32 : 128, size)
      if (size === MILLION) native.hugePages(new Uint8Array(memory))
      const writer = new LpmWriter(memory)
      const start = performance.now()
      for (const [i, { address, length }] of routes.entries()) writer.add(length, i, ...address)
      const took = performance.now() - start
      const ns = lookUps(measure, memory, family, routes, next)
      if (size !== MILLION) continue
      times.loadMillionMs[`v${family}`] = took
      times.lookupNs[`v${family}`] = ns
      times.bytesPerRoute[`v${family}`] = heapUse(new Int32Array(memory)).touchedBytes / size
      times.replaceMillionMs[`v${family}`] = replace(family, routes)
    }
  }
  return times
}

function lookUps(
  measure: Measure,
  memory: SharedArrayBuffer,
  family: 4 | 6,
  routes: Route[],
  next: Random,
): { active: number; cold: number } {
  const table = new Lpm(memory)
  const inside = (count: number): number[][] =>
    Array.from({ length: count }, () => {
      const { address, length } = routes[(next() >>> 0) % routes.length]
      const mask = masked([-1, -1, -1, -1], length)
      return address.map((word, i) => word | (next() & ~mask[i]))
    })
  const anywhere = Array.from({ length: ACTIVE }, () => [next(), next(), next(), next()])
  const result = { active: 0, cold: 0 }
  for (const [where, key, addresses] of [
    ['8,192 destinations anywhere', null, anywhere],
    ['8,192 destinations inside the routes', 'active', inside(ACTIVE)],
    ['524,288 destinations inside the routes', 'cold', inside(ALL)],
  ] as const) {
    const words = Int32Array.from(addresses.flat())
    let at = 0
    const ns = measure(`LPM, ${routes.length} IPv${family} routes: ${where}`, OPS, () => {
      let sum = 0
      const end = at + 4 * OPS
      if (family === 4) for (; at < end; at += 4) sum += table.lookup4(words[at])
      else {
        for (; at < end; at += 4) sum += table.lookup6(words[at], words[at + 1], words[at + 2], words[at + 3])
      }
      if (at === words.length) at = 0
      return sum
    })
    if (key !== null) result[key] = ns
  }
  return result
}

/** Ms in which the control thread makes its tables hold these routes and no others. */
function replace(family: 4 | 6, routes: Route[]): number {
  const hops = [{ outIf: 0, gateway: null, weight: 1 }]
  const entries: RouteEntry[] = routes.map(({ address, length }) => {
    const words = family === 4 ? [address[0]] : address
    return {
      family,
      address: words,
      length,
      table: TABLE_MAIN,
      kind: RouteKind.Unicast,
      metric: 0,
      hops,
      src: null,
    }
  })
  const writer = new RouteWriter(MILLION)
  const start = performance.now()
  writer.replace(entries)
  return performance.now() - start
}
