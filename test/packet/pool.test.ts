import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Flag, HEADROOM, META_SHIFT, Meta, SLOT_SIZE } from '../../src/packet/layout.ts'
import { Pool } from '../../src/packet/pool.ts'

test('a new pool hands out each of its slots once, then says it is empty', () => {
  const pool = Pool.of(5)
  const slots = [0, 1, 2, 3, 4].map(() => pool.alloc())
  expect(slots).toEqual([0, 1, 2, 3, 4])
  expect(pool.available).toBe(0)
  expect(pool.alloc()).toBe(-1)
  expect(pool.available).toBe(0)
})

test('the slot given back last is used next, so that little memory is touched', () => {
  const pool = Pool.of(8)
  const [a, b] = [pool.alloc(), pool.alloc()]
  pool.release(a)
  pool.release(b)
  expect(pool.alloc()).toBe(b)
  expect(pool.alloc()).toBe(a)
})

test('no slot is ever out twice, whatever the order of taking and giving back', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (steps) => {
      const pool = Pool.of(8)
      const out: number[] = []
      for (const step of steps) {
        if (step < 12) {
          const slot = pool.alloc()
          if (slot < 0) expect(out.length).toBe(8)
          else out.push(slot)
        } else if (out.length > 0) {
          pool.release(out.splice(step % out.length, 1)[0])
        }
        expect(new Set(out).size).toBe(out.length)
        expect(pool.available + out.length).toBe(pool.size)
      }
    }),
  )
})

test('reset forgets what was known about the packet before', () => {
  const pool = Pool.of(2)
  pool.meta.fill(77)
  pool.reset(1, 60)
  const m = 1 << META_SHIFT
  expect(pool.meta[m + Meta.Head]).toBe(HEADROOM)
  expect(pool.meta[m + Meta.Len]).toBe(60)
  for (const word of [Meta.Flags, Meta.GsoType, Meta.GsoSize, Meta.HdrLen, Meta.Strip, Meta.Tci]) {
    expect(pool.meta[m + word]).toBe(0)
  }
  expect(pool.at(1)).toBe(SLOT_SIZE + HEADROOM)
  expect(pool.meta[Meta.Head]).toBe(77)
})

test('a copy has the bytes and the metadata, and a life of its own', () => {
  const pool = Pool.of(3)
  pool.reset(0, 4)
  pool.bytes.set([1, 2, 3, 4], pool.at(0))
  pool.meta[Meta.Flags] = Flag.CsumPartial
  pool.meta[Meta.Head] += 20
  pool.bytes.set([5, 6, 7, 8], pool.at(0))
  pool.copy(0, 2)
  expect([...pool.frame(2)]).toEqual([5, 6, 7, 8])
  expect(pool.meta[(2 << META_SHIFT) + Meta.Flags]).toBe(Flag.CsumPartial)
  pool.bytes[pool.at(2)] = 99
  expect(pool.bytes[pool.at(0)]).toBe(5)
})
