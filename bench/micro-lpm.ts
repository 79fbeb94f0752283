/**
 * Longest-prefix match: look-ups among a thousand, and a million, IPv4 routes with the mix of prefix
 * lengths of the Internet's table (about six in ten are /24), and what loading a million takes.
 */
import { Lpm } from '../src/table/lpm.ts'
import { LpmWriter } from '../src/table/lpm-writer.ts'

const OPS = 8192
const SEED = 20240229

/** xorshift32: the same numbers in every run. */
function random(seed: number): () => number {
  let x = seed
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x | 0
  }
}

/** Prefix length for a number of 0..99: roughly the table of a router of the default-free zone. */
function lengthFor(percent: number): number {
  if (percent < 60) return 24
  if (percent < 72) return 22
  if (percent < 80) return 23
  if (percent < 90) return 20 + (percent & 1)
  if (percent < 98) return 16 + (percent & 3)
  return percent === 98 ? 12 : 32
}

export interface LpmTimes {
  /** Ms to add a million routes to an empty table. */
  loadMillionMs: number
}

export function lpm(measure: (name: string, ops: number, call: () => number) => number): LpmTimes {
  let loadMillionMs = 0
  for (const size of [1000, 1_000_000]) {
    const memory = Lpm.memory(32, size)
    const writer = new LpmWriter(memory)
    const next = random(SEED)
    const inside = new Int32Array(OPS)
    const start = performance.now()
    for (let added = 0; added < size; ) {
      const length = lengthFor((next() >>> 0) % 100)
      const address = next() & (-1 << (32 - length))
      if (writer.add(length, added & 0xffff, address)) inside[added++ & (OPS - 1)] = address
    }
    loadMillionMs = performance.now() - start
    const table = new Lpm(memory)
    const anywhere = Int32Array.from({ length: OPS }, next)
    for (const [where, addresses] of [
      ['inside the routes', inside],
      ['anywhere', anywhere],
    ] as const) {
      measure(`LPM, ${size} IPv4 routes: destinations ${where}`, OPS, () => {
        let sum = 0
        for (let i = 0; i < OPS; i++) sum += table.lookup4(addresses[i])
        return sum
      })
    }
  }
  return { loadMillionMs }
}
