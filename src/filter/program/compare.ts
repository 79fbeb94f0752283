// HOT
/** Comparisons that rules ask for: eq, ne, lt, gt. */
export const enum Compare {
  Eq = 0,
  Ne = 1,
  Lt = 2,
  Gt = 3,
}

export function compare(how: Compare, a: number, b: number): boolean {
  if (how === Compare.Eq) return a === b
  if (how === Compare.Ne) return a !== b
  return how === Compare.Lt ? a < b : a > b
}

const LOW = 4294967296

/** Counters that an element of a set must have; loaded from six operands: how (-1 = any), low and high word, twice. */
export class CounterTest {
  private packetsHow = -1
  private packets = 0
  private bytesHow = -1
  private bytes = 0

  load(words: Int32Array, at: number): void {
    this.packetsHow = words[at]
    this.packets = (words[at + 1] >>> 0) + (words[at + 2] >>> 0) * LOW
    this.bytesHow = words[at + 3]
    this.bytes = (words[at + 4] >>> 0) + (words[at + 5] >>> 0) * LOW
  }

  holds(packets: number, bytes: number): boolean {
    if (this.packetsHow >= 0 && !compare(this.packetsHow, packets, this.packets)) return false
    return this.bytesHow < 0 || compare(this.bytesHow, bytes, this.bytes)
  }
}
