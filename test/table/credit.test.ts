/** Whether a cache is worth asking. */
import { expect, test } from 'vitest'
import { Credit } from '../../src/table/credit.ts'

test('a cache is asked seldom when it seldom knows, and always again when it does', () => {
  const credit = new Credit(4)
  /** Of so many look-ups, those for which it is asked; one question in `hits` is answered. */
  const asked = (lookUps: number, hits: number): number => {
    let count = 0
    for (let i = 0; i < lookUps; i++) {
      if (!credit.ask()) continue
      if (++count % hits === 0) credit.answered()
      else credit.inVain()
    }
    return count
  }
  expect(asked(10_000, 3)).toBe(10_000)
  expect(credit.good).toBe(true)
  expect(asked(10_000, 20)).toBeLessThan(3000)
  expect(asked(16_000, 1e9)).toBeLessThan(1100)
  expect(credit.good).toBe(false)
  expect(asked(16_000, 1)).toBeGreaterThan(15_900)
  expect(asked(1000, 2)).toBe(1000)
})
