/** What the micro-benchmarks have in common: chance that is the same in every run. */
export const SEED = 20240229

/** Every number below `n` once, in disorder (xorshift32, Fisher-Yates). */
export function shuffled(n: number, seed = SEED): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i)
  let x = seed
  for (let i = n - 1; i > 0; i--) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    const j = (x >>> 0) % (i + 1)
    const kept = order[i]
    order[i] = order[j]
    order[j] = kept
  }
  return order
}
