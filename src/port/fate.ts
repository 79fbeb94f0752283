// HOT
/**
 * What happens to the packets of one direction of a bad line (fault.ts), and which of them wait.
 *
 * Every packet costs six random numbers, whatever its fate: what happens to the k-th packet depends on
 * the seed, k and its time of arrival, never on the other rates. Without `reorder` no packet overtakes
 * another, jitter or not.
 */
import { Flag, META_SHIFT, Meta } from '../packet/layout.ts'
import { DelayQueue } from './delay.ts'

export interface FaultRates {
  /** Probabilities, 0 to 1, each on its own. */
  loss: number
  duplicate: number
  /** A reordered packet waits REORDER_MS longer than those behind it. */
  reorder: number
  /** A truncated packet keeps a random length, 14 bytes at least. */
  truncate: number
  /** Every packet waits so long, and up to jitterMs more. */
  delayMs: number
  jitterMs: number
}

export interface FaultSpec {
  /** 32 bits. The same seed and packets give the same result. */
  seed: number
  /** From the port to the switch, and back. */
  rx?: FaultRates
  tx?: FaultRates
}

export const REORDER_MS = 5
/** Packets that can wait in each direction. */
export const WAITING = 256

const ETHERNET_HEADER = 14
const TCP_HEADER = 20

/** What happens to the next packet of one direction. */
export class Fate {
  lost = false
  duplicated = false
  cut = false
  /** Of what can be cut, 0 to 1. */
  keep = 0
  dueMs = 0
  readonly waiting = new DelayQueue(WAITING)
  private readonly rates: FaultRates
  private lastDueMs = 0
  private state: number

  constructor(rates: FaultRates, seed: number) {
    this.rates = rates
    this.state = seed | 0
  }

  draw(nowMs: number): void {
    const rates = this.rates
    this.lost = this.random() < rates.loss
    this.duplicated = this.random() < rates.duplicate
    this.cut = this.random() < rates.truncate
    this.keep = this.random()
    const held = this.random() < rates.reorder
    const dueMs = nowMs + rates.delayMs + this.random() * rates.jitterMs
    if (held) {
      this.dueMs = dueMs + REORDER_MS
      return
    }
    if (this.lost) return
    if (dueMs > this.lastDueMs) this.lastDueMs = dueMs
    this.dueMs = this.lastDueMs
  }

  /** A counter through a mixer of multiplications and shifts (splitmix's scheme, 32 bits); 0 <= x < 1. */
  private random(): number {
    this.state = (this.state + 0x9e3779b9) | 0
    let x = this.state
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
    return ((x ^ (x >>> 15)) >>> 0) / 4294967296
  }
}

/** Cuts a super-frame within its first segment, so that it is one frame, and not a giant. */
export function truncate(meta: Int32Array, slot: number, keep: number): void {
  const m = slot << META_SHIFT
  const least = ETHERNET_HEADER + meta[m + Meta.Strip]
  let most = meta[m + Meta.Len]
  if (meta[m + Meta.GsoSize] !== 0) {
    most = Math.min(most, meta[m + Meta.CsumStart] + TCP_HEADER + meta[m + Meta.GsoSize])
  }
  if (most <= least) return
  const length = least + Math.floor(keep * (most - least))
  meta[m + Meta.Len] = length
  meta[m + Meta.GsoType] = 0
  meta[m + Meta.GsoSize] = 0
  let flags = meta[m + Meta.Flags] & ~(Flag.CsumVerified | Flag.GsoEcn)
  if (meta[m + Meta.CsumStart] + meta[m + Meta.CsumOffset] + 2 > length) flags &= ~Flag.CsumPartial
  meta[m + Meta.Flags] = flags
}
