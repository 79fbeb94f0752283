import { expect, test } from 'vitest'
import { COUNTER_WORDS, Counter, drop, dropsOf } from '../../src/packet/counters.ts'
import { DROP_COUNT, Drop } from '../../src/packet/drop.ts'

test('drops are counted by port and reason, and add up', () => {
  const counters = new Float64Array(3 * COUNTER_WORDS)
  drop(counters, 1, Drop.Runt)
  drop(counters, 1, Drop.Locked, 5)
  drop(counters, 2, Drop.TooBig)
  expect(counters[COUNTER_WORDS + Counter.Drops + Drop.Runt]).toBe(1)
  expect(dropsOf(counters, 0)).toBe(0)
  expect(dropsOf(counters, 1)).toBe(6)
  expect(dropsOf(counters, 2)).toBe(1)
})

test('the drops of all reasons are summed, and nothing of the neighbours', () => {
  const counters = new Float64Array(3 * COUNTER_WORDS).fill(1000)
  counters.fill(1, COUNTER_WORDS + Counter.Drops, COUNTER_WORDS + Counter.Drops + DROP_COUNT)
  expect(dropsOf(counters, 1)).toBe(DROP_COUNT)
})

test('counters are exact far beyond 32 bits', () => {
  const counters = new Float64Array(COUNTER_WORDS)
  drop(counters, 0, Drop.NoRoom, 2 ** 52)
  drop(counters, 0, Drop.NoRoom)
  expect(dropsOf(counters, 0)).toBe(2 ** 52 + 1)
})
