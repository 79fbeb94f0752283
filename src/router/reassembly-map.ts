// HOT
/**
 * Which parts of a datagram have come: two bits per 8 bytes, because fragments lie on units of 8.
 *
 *     have     1 1 1 1 1 0 0 1 1 0 ...     the unit has come
 *     starts   1 0 0 1 0 0 0 1 0 0 ...     a fragment began with it
 *
 * So a fragment that comes twice (harmless) is told from one that overlaps others (an attack, RFC 5722)
 * without a list of fragments whose length a sender could choose.
 */
const WORDS = 256

export const enum Fit {
  Free = 0,
  /** The same fragment is there. */
  Duplicate = 1,
  Overlap = 2,
}

export class FragmentMap {
  private readonly have: Int32Array
  private readonly starts: Int32Array

  /** @param datagrams that are put together at a time */
  constructor(datagrams: number) {
    this.have = new Int32Array(datagrams * WORDS)
    this.starts = new Int32Array(datagrams * WORDS)
  }

  forgetAll(datagram: number): void {
    const base = datagram * WORDS
    this.have.fill(0, base, base + WORDS)
    this.starts.fill(0, base, base + WORDS)
  }

  /** How units `from` to `to`, exclusive, fit to what is there. */
  fit(datagram: number, from: number, to: number): Fit {
    const base = datagram * WORDS
    const { have, starts } = this
    let any = 0
    let all = true
    let begun = 0
    const lastWord = (to - 1) >> 5
    for (let w = from >> 5; w <= lastWord; w++) {
      const mask = maskOf(w, from, to)
      any |= have[base + w] & mask
      if ((have[base + w] & mask) !== mask) all = false
      // A fragment that begins behind our first unit makes it another one.
      begun |= starts[base + w] & maskOf(w, from + 1, to)
    }
    if (any === 0) return Fit.Free
    const alone = all && begun === 0 && bit(starts, base, from) !== 0
    return alone && (bit(have, base, to) === 0 || bit(starts, base, to) !== 0) ? Fit.Duplicate : Fit.Overlap
  }

  add(datagram: number, from: number, to: number): void {
    const base = datagram * WORDS
    const lastWord = (to - 1) >> 5
    for (let w = from >> 5; w <= lastWord; w++) this.have[base + w] |= maskOf(w, from, to)
    this.starts[base + (from >> 5)] |= 1 << (from & 31)
  }
}

/** Bits of word `w` that are units `from` to `to`, exclusive. */
function maskOf(w: number, from: number, to: number): number {
  const low = from - (w << 5)
  const high = to - (w << 5)
  if (low >= 32 || high <= 0 || low >= high) return 0
  const below = low <= 0 ? 0 : (1 << low) - 1
  return (high >= 32 ? -1 : (1 << high) - 1) & ~below
}

function bit(words: Int32Array, base: number, unit: number): number {
  return unit >> 5 < WORDS ? words[base + (unit >> 5)] & (1 << (unit & 31)) : 0
}
