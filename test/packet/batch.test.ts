import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Batch } from '../../src/packet/batch.ts'
import { Flag, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { Pool } from '../../src/packet/pool.ts'
import { type PortHost, take } from '../../src/port/port.ts'

function filled(places: number, slots: number): { batch: Batch; pool: Pool } {
  const batch = new Batch(new Int32Array(places))
  const pool = Pool.of(slots)
  if (!batch.fill(pool)) throw new Error('the pool is too small for this test')
  return { batch, pool }
}

test('a pool that is too small is noticed', () => {
  expect(new Batch(new Int32Array(4)).fill(Pool.of(3))).toBe(false)
})

test('survivors keep their order, and no slot is lost', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 64 }), (good) => {
      const { batch } = filled(64, 64)
      const before = [...batch.slots]
      batch.n = good.length
      let kept = 0
      for (let i = 0; i < good.length; i++) if (good[i]) batch.keep(i, kept++)
      batch.n = kept
      expect([...batch.slots.subarray(0, kept)]).toEqual(before.filter((_, i) => good[i]))
      expect([...batch.slots].sort((a, b) => a - b)).toEqual(before)
    }),
  )
})

/** Every slot is at exactly one place: in the batch, in the pool, or with a port. */
function everySlotOnce(batch: Batch, pool: Pool, held: number[]): void {
  const free: number[] = []
  for (let slot = pool.alloc(); slot >= 0; slot = pool.alloc()) free.push(slot)
  expect([...batch.slots, ...free, ...held].sort((a, b) => a - b)).toEqual(
    Array.from({ length: pool.size }, (_, i) => i),
  )
  for (const slot of free.reverse()) pool.release(slot)
}

test('what ports take is replaced, each slot stays somewhere exactly once', () => {
  const steps = fc.array(fc.array(fc.tuple(fc.nat(7), fc.boolean()), { maxLength: 12 }), { maxLength: 20 })
  fc.assert(
    fc.property(steps, (rounds) => {
      const { batch, pool } = filled(8, 20)
      const host: PortHost = {
        memory: planeMemory(1),
        pool,
        batch,
        ready: () => {},
        notify: () => {},
        supers: 0,
      }
      const held: number[] = []
      for (const round of rounds) {
        batch.n = 8
        const inHand = [...batch.slots]
        for (const [i, giveBack] of round) {
          const slot = inHand[i]
          const got = take(host, slot)
          if (got >= 0) held.push(got)
          if (giveBack && held.length > 0 && !inHand.includes(held[0])) pool.release(held.shift()!)
        }
        batch.refill(pool)
        expect(batch.taken).toBe(0)
        for (const slot of batch.slots) {
          expect(slot).toBeGreaterThanOrEqual(0)
          expect(pool.meta[(slot << META_SHIFT) + Meta.Flags] & Flag.Taken).toBe(0)
        }
        everySlotOnce(batch, pool, held)
      }
    }),
  )
})

test('the first taker gets the packet itself, the second a copy, and an empty pool says no', () => {
  const { batch, pool } = filled(2, 4)
  const host: PortHost = { memory: planeMemory(1), pool, batch, ready: () => {}, notify: () => {}, supers: 0 }
  const slot = batch.slots[0]
  pool.reset(slot, 3)
  pool.bytes.set([7, 8, 9], pool.at(slot))
  expect(take(host, slot)).toBe(slot)
  const copy = take(host, slot)
  expect(copy).not.toBe(slot)
  expect([...pool.frame(copy)]).toEqual([7, 8, 9])
  expect(pool.meta[(copy << META_SHIFT) + Meta.Flags] & Flag.Taken).toBe(0)
  expect(take(host, slot)).toBe(-1)
  expect(take(host, batch.slots[1])).toBe(-1)
  batch.refill(pool)
  everySlotOnce(batch, pool, [slot, copy])
})
