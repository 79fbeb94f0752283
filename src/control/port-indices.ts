/**
 * Port indices: who has which, by name. Counters, tables and forwarding entries refer to ports by index,
 * so one is only given again when its counters were put aside.
 */
import { COUNTER_WORDS } from '../packet/counters.ts'
import { MAX_PORTS } from '../packet/layout.ts'

export class PortIndices {
  /** Counters of indices that were given back, so that the totals stay whole. */
  readonly retired = new Float64Array(COUNTER_WORDS)
  private readonly counters: Float64Array
  private readonly byKey = new Map<string, number>()

  constructor(counters: Float64Array) {
    this.counters = counters
  }

  /** The index of a name: the one it has (the other end of a patch may have asked first), or a free one. */
  of(key: string): number {
    const known = this.byKey.get(key)
    if (known !== undefined) return known
    const used = new Uint8Array(MAX_PORTS)
    for (const index of this.byKey.values()) used[index] = 1
    const index = used.indexOf(0)
    if (index < 0) throw new Error(`a fabric has at most ${MAX_PORTS} ports`)
    this.byKey.set(key, index)
    return index
  }

  /** Takes an index back that a name had before, unless somebody else has it by now. */
  keep(key: string, index: number): void {
    for (const used of this.byKey.values()) if (used === index) return
    this.byKey.set(key, index)
  }

  release(key: string): void {
    const index = this.byKey.get(key)
    if (index === undefined) return
    const at = index * COUNTER_WORDS
    for (let i = 0; i < COUNTER_WORDS; i++) this.retired[i] += this.counters[at + i]
    this.counters.fill(0, at, at + COUNTER_WORDS)
    this.byKey.delete(key)
  }

  /** Every index that counts. */
  all(): Iterable<number> {
    return this.byKey.values()
  }
}
