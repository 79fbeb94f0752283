// HOT
/**
 * How many entries every source has: for the limit per source, and to let a flood pay for itself when the
 * table is full. A source is an IPv4 address or an IPv6 /64 (one host may use all of it), in a zone.
 *
 *     place   | address word 0 | address word 1 | zone << 16 | entries (up to 2^31) |     entries 0 = free
 *                                                  V6
 *
 * Open addressing as in table.ts. It has a place for every eighth entry of the conntrack table. When it is
 * full, a source with one entry is forgotten for a new one (Misra and Gries' way to find who has most), so
 * the counts are exact as long as the sources fit, and never too high.
 */
import { type ConntrackMemory, Header } from './layout.ts'

const enum Place {
  Addr0 = 0,
  Addr1 = 1,
  Key = 2,
  Entries = 3,
}

/** Places looked at to find a source to forget. */
const REACH = 64

export class Sources {
  private readonly words: Int32Array
  private readonly header: Int32Array
  private readonly mask: number
  private readonly most: number
  private readonly seed0: number
  private readonly seed1: number

  constructor(memory: ConntrackMemory) {
    this.words = memory.sources
    this.header = memory.header
    const places = memory.sources.length >> 2
    this.mask = places - 1
    this.most = (places * 3) >> 2
    this.seed0 = memory.header[Header.Seeds + 5]
    this.seed1 = memory.header[Header.Seeds + 6] | 1
  }

  private home(a: number, b: number, key: number): number {
    let h = Math.imul(a ^ this.seed0, this.seed1)
    h = Math.imul(h ^ (h >>> 15) ^ b, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13) ^ key, 0x2c1b3c6d)
    return (h ^ (h >>> 16)) & this.mask
  }

  /** Index of the source's place, or ~index of the free one where it belongs. */
  private find(a: number, b: number, key: number): number {
    const { mask, words } = this
    let i = this.home(a, b, key)
    for (;;) {
      const at = i << 2
      if (words[at + Place.Entries] === 0) return ~i
      if (words[at] === a && words[at + Place.Addr1] === b && words[at + Place.Key] === key) return i
      i = (i + 1) & mask
    }
  }

  /** Entries of this source. */
  count(a: number, b: number, key: number): number {
    const i = this.find(a, b, key)
    return i < 0 ? 0 : this.words[(i << 2) + Place.Entries]
  }

  /** One more. False when it is not counted. */
  add(a: number, b: number, key: number): boolean {
    const words = this.words
    const i = this.find(a, b, key)
    if (i >= 0) {
      words[(i << 2) + Place.Entries]++
      return true
    }
    let free = ~i
    if (this.header[Header.Sources] >= this.most) {
      if (!this.forget(free)) return false
      free = ~this.find(a, b, key)
    }
    const at = free << 2
    words[at] = a
    words[at + Place.Addr1] = b
    words[at + Place.Key] = key
    words[at + Place.Entries] = 1
    this.header[Header.Sources]++
    return true
  }

  /** Makes room around a place: of a source with one entry, which loses little by not being counted. */
  private forget(near: number): boolean {
    const { mask, words } = this
    for (let step = 0; step < REACH; step++) {
      const i = (near + step) & mask
      if (words[(i << 2) + Place.Entries] !== 1) continue
      words[(i << 2) + Place.Entries] = 0
      this.close(i)
      return true
    }
    return false
  }

  /** One less, of a source that `add` counted. */
  remove(a: number, b: number, key: number): void {
    const i = this.find(a, b, key)
    if (i >= 0 && --this.words[(i << 2) + Place.Entries] === 0) this.close(i)
  }

  /** Shifts back what lies behind a place that became free. */
  private close(hole: number): void {
    const { mask, words } = this
    this.header[Header.Sources]--
    for (let i = (hole + 1) & mask; words[(i << 2) + Place.Entries] !== 0; i = (i + 1) & mask) {
      const from = i << 2
      const home = this.home(words[from], words[from + Place.Addr1], words[from + Place.Key])
      if (((i - home) & mask) < ((i - hole) & mask)) continue
      words.copyWithin(hole << 2, from, from + 4)
      words[from + Place.Entries] = 0
      hole = i
    }
  }
}
