/** What the compiler hands to the worker: one value that crosses threads as it is (structured clone). */
import type { Family } from '../model.ts'
import type { NatRange } from '../nat/range.ts'
import type { SetMemory } from './set-memory.ts'

/** A table that rules share by name (`recent`): a new program finds the old one's contents. */
export interface RecentSpec {
  name: string
  /** Four words. */
  mask: number[]
  /** Time stamps kept per address, a power of two. */
  stamps: number
}

export interface HashlimitSpec {
  name: string
  byBytes: boolean
  /** A bucket: what a packet, or a chunk of 16 bytes, takes; what there is room for; what a millisecond brings. */
  cost: number
  cap: number
  perMs: number
  /** Bytes: how often it is filled at once when it is empty. */
  refills: number
  /** --hashlimit-rate-match: the interval, 0 for buckets; packets or bytes it may hold by the rate, and at most. */
  intervalMs: number
  rate: number
  most: number
  /** HASH_MODE bits, and masks of four words for each address. */
  mode: number
  sourceMask: number[]
  destinationMask: number[]
  max: number
  expireMs: number
}

export interface ConnlimitSpec {
  mask: number[]
}

export interface ProgramMemory {
  family: Family
  words: SharedArrayBuffer
  /** Packets and bytes by counter: doubles, exact to 2^53, written by the worker alone. */
  counters: SharedArrayBuffer
  /** Limits: tick costs and bursts by index. */
  limits: { cost100us: number; burst: number }[]
  /** Counting matches (statistic nth): start values. */
  counts: number[]
  recents: RecentSpec[]
  hashlimits: HashlimitSpec[]
  connlimits: ConnlimitSpec[]
  sets: SetMemory[]
  ranges: NatRange[]
}
