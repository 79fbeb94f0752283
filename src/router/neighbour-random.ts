// HOT
/** Numbers for timers that shall not beat together: xorshift32 (Marsaglia 2003), seeded, so repeatable. */
export class Random {
  private state: number

  /** @param seed any int32 */
  constructor(seed: number) {
    this.state = seed | 0 || 0x9e3779b9 | 0
  }

  /** A whole number from `low` to `high`, both below 2^31. */
  between(low: number, high: number): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x
    return low + ((x >>> 0) % (high - low + 1))
  }
}
