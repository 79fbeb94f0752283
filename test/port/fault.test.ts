import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Counter } from '../../src/packet/counters.ts'
import { Drop } from '../../src/packet/drop.ts'
import { Flag, Gso, Offload } from '../../src/packet/layout.ts'
import { DelayQueue } from '../../src/port/delay.ts'
import { REORDER_MS, WAITING } from '../../src/port/fate.ts'
import type { FaultRates, FaultSpec } from '../../src/port/fault.ts'
import type { MemoryPort } from '../../src/port/memory.ts'
import { settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame, numbered, numberIn } from '../support/frames.ts'
import { Plane } from './plane.ts'
import { tcp4 } from './tcp.ts'

const GOOD: FaultRates = { loss: 0, duplicate: 0, reorder: 0, truncate: 0, delayMs: 0, jitterMs: 0 }
const numbers = (port: MemoryPort): number[] =>
  port.sent.map((f) => (f.bytes.length < 18 ? -1 : numberIn(f.bytes)))
const upTo = (n: number): number[] => [...Array(n).keys()]

/** `count` numbered frames over a bad line, one or more in each millisecond; what arrived and when. */
function run(
  fault: FaultSpec,
  direction: 'rx' | 'tx',
  count = 300,
  perMs = 5,
): { got: number[]; plane: Plane } {
  const plane = new Plane(1, 1024)
  const bad = plane.faulty(0, fault)
  const good = plane.memory(1)
  const [from, to] = direction === 'rx' ? [bad, good] : [good, bad]
  for (let i = 0; i < count; i++) {
    from.inject(frame({ dst: 2, src: 1, payload: numbered(i) }))
    if (i % perMs === perMs - 1) plane.pass(1)
    plane.conserved()
  }
  plane.pass(200)
  plane.conserved()
  expect(plane.count(0, Counter.Held)).toBe(0)
  return { got: numbers(to), plane }
}

describe.each(['rx', 'tx'] as const)('a bad line, %s', (direction) => {
  const spec = (rates: Partial<FaultRates>, seed = 7): FaultSpec => ({
    seed,
    [direction]: { ...GOOD, ...rates },
  })

  it('without faults changes nothing', () => {
    expect(run(spec({}), direction).got).toEqual(upTo(300))
  })

  it('loses by name, as many as it shall', () => {
    const { got, plane } = run(spec({ loss: 0.2 }), direction)
    expect(plane.drops(0, Drop.FaultLoss)).toBe(300 - got.length)
    expect(got.length).toBeGreaterThan(200)
    expect(got.length).toBeLessThan(270)
    expect(run(spec({ loss: 1 }), direction).got).toEqual([])
  })

  it('makes duplicates that follow their original, and counts them as made', () => {
    const { got, plane } = run(spec({ duplicate: 0.3 }), direction)
    expect(got).toEqual([...got].sort((a, b) => a - b))
    expect(new Set(got).size).toBe(300)
    expect(plane.count(0, Counter.Made)).toBe(got.length - 300)
    expect(got.length).toBeGreaterThan(340)
    expect(run(spec({ duplicate: 1 }), direction).got).toEqual(upTo(300).flatMap((n) => [n, n]))
  })

  it('delays', () => {
    const plane = new Plane()
    const bad = plane.faulty(0, spec({ delayMs: 20 }))
    const good = plane.memory(1)
    const [from, to] = direction === 'rx' ? [bad, good] : [good, bad]
    from.inject(frame({ dst: 2, src: 1 }))
    plane.pass(19)
    expect(to.sent).toHaveLength(0)
    expect(plane.count(0, Counter.Held)).toBe(1)
    plane.conserved()
    plane.pass(2)
    expect(to.sent).toHaveLength(1)
    plane.conserved()
  })

  it('keeps the order whatever the jitter', () => {
    expect(run(spec({ delayMs: 5, jitterMs: 30 }), direction).got).toEqual(upTo(300))
  })

  it('reorders: every packet arrives, some late', () => {
    const { got } = run(spec({ reorder: 0.1 }), direction)
    expect([...got].sort((a, b) => a - b)).toEqual(upTo(300))
    const late = got.filter((n, i) => i > 0 && got.slice(0, i).some((m) => m > n))
    expect(late.length).toBeGreaterThan(10)
    expect(late.length).toBeLessThan(60)
    // Overtaken by those of REORDER_MS at most.
    for (const n of late) expect(got.indexOf(n) - n).toBeLessThanOrEqual(5 * (REORDER_MS + 1))
  })

  it('gives the same for the same seed, and something else for another', () => {
    const rates = { loss: 0.1, duplicate: 0.1, reorder: 0.1, truncate: 0.1, delayMs: 3, jitterMs: 4 }
    const one = run(spec(rates), direction).got
    expect(run(spec(rates), direction).got).toEqual(one)
    expect(run(spec(rates, 8), direction).got).not.toEqual(one)
  })

  it('loses the same packets whatever else happens to them', () => {
    const lost = (rates: Partial<FaultRates>): number[] => {
      const got = new Set(run(spec({ loss: 0.2, ...rates }), direction).got)
      return upTo(300).filter((n) => !got.has(n))
    }
    expect(lost({ duplicate: 0.5, reorder: 0.3, delayMs: 2, jitterMs: 3 })).toEqual(lost({}))
  })

  it('cuts, to 14 bytes at least and never longer', () => {
    const plane = new Plane(1, 1024)
    const bad = plane.faulty(0, spec({ truncate: 1 }))
    const good = plane.memory(1)
    const [from, to] = direction === 'rx' ? [bad, good] : [good, bad]
    for (let i = 0; i < 200; i++) from.inject(frame({ dst: BROADCAST, src: 1, size: 100 }))
    plane.settle()
    const lengths = to.sent.map((f) => f.bytes.length)
    expect(lengths).toHaveLength(200)
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(14)
    expect(Math.max(...lengths)).toBeLessThan(114)
    expect(new Set(lengths).size).toBeGreaterThan(30)
    plane.conserved()
  })

  it('cuts super-frames to single ones, and drops a checksum whose field is gone', () => {
    const plane = new Plane(1, 1024)
    const options = { offloads: Offload.Csum | Offload.Tso4 }
    const bad = plane.faulty(0, spec({ truncate: 1 }), options)
    const good = plane.memory(1, 0, { mtu: 9000 }, options)
    const [from, to] = direction === 'rx' ? [bad, good] : [good, bad]
    const { bytes, csumStart } = tcp4(3000)
    const about = {
      flags: Flag.CsumPartial,
      csumStart,
      csumOffset: 16,
      gsoType: Gso.Tcp4,
      gsoSize: 100,
      hdrLen: 54,
    }
    for (let i = 0; i < 200; i++) from.inject(bytes, about)
    plane.settle()
    expect(to.sent).toHaveLength(200)
    for (const f of to.sent) {
      expect(f.gsoSize).toBe(0)
      expect(f.bytes.length).toBeLessThan(csumStart + 20 + 100)
      expect((f.flags & Flag.CsumPartial) !== 0).toBe(f.bytes.length >= csumStart + 18)
    }
    expect(to.sent.some((f) => f.flags === 0)).toBe(true)
    plane.conserved()
  })

  it('holds WAITING packets at most, and drops the rest by name', () => {
    const plane = new Plane(1, 1024)
    const bad = plane.faulty(0, spec({ delayMs: 1000 }))
    const good = plane.memory(1)
    const from = direction === 'rx' ? bad : good
    for (let i = 0; i < 400; i++) from.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(plane.count(0, Counter.Held)).toBe(WAITING)
    expect(plane.drops(0, Drop.QueueFull)).toBe(400 - WAITING)
    plane.conserved()
    plane.engine.removePort(0)
    expect(plane.drops(0, Drop.PortRemoved)).toBe(WAITING)
    plane.conserved()
  })

  it('drops by name when the pool is empty', () => {
    const plane = new Plane(1, 100)
    const bad = plane.faulty(0, spec({ delayMs: 10, duplicate: 0.5 }))
    const good = plane.memory(1)
    const [from, to] = direction === 'rx' ? [bad, good] : [good, bad]
    for (let i = 0; i < 200; i++) from.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(plane.count(0, Counter.Held)).toBe(36)
    expect(plane.drops(0, Drop.NoSlot)).toBe(200 + plane.count(0, Counter.Made) - 36)
    plane.conserved()
    plane.pass(20)
    expect(to.sent).toHaveLength(36)
    plane.conserved()
  })
})

it('a packet cut on one port leaves the others whole', () => {
  const plane = new Plane()
  const a = plane.memory(0)
  const cut = plane.faulty(1, { seed: 1, tx: { ...GOOD, truncate: 1, duplicate: 1 } })
  const whole = plane.memory(2)
  const sent = frame({ dst: BROADCAST, src: 1, payload: numbered(3, 200) })
  a.inject(sent)
  plane.settle()
  expect(whole.sent[0].bytes).toEqual(sent)
  expect(cut.sent).toHaveLength(2)
  expect(cut.sent[0].bytes.length).toBeLessThan(sent.length)
  expect(cut.sent[1].bytes).toEqual(cut.sent[0].bytes)
  plane.conserved()
})

it('a patch may be a bad line on both ends', () => {
  const plane = new Plane(2, 1024)
  const [a, b] = [plane.memory(0), plane.memory(1, 1)]
  const rates = { ...GOOD, duplicate: 0.2, truncate: 0.1, delayMs: 3, jitterMs: 2 }
  for (const [index, peer, id] of [
    [10, 11, 0],
    [11, 10, 1],
  ]) {
    plane.engine.apply({
      op: 'port-add',
      switch: id,
      spec: { type: 'patch', index, name: `p${index}`, peer, mtu: 1500 },
      settings: settingsOf(),
      fault: { seed: 5, rx: rates, tx: rates },
    })
  }
  for (let i = 0; i < 200; i++) {
    a.inject(frame({ dst: BROADCAST, src: 1, payload: numbered(i) }))
    b.inject(frame({ dst: BROADCAST, src: 2, payload: numbered(i) }))
    if (i % 3 === 0) plane.pass(1)
    plane.conserved()
  }
  plane.pass(50)
  expect(b.sent.length).toBeGreaterThan(230)
  expect(a.sent.length).toBeGreaterThan(230)
  const order = b.sent.filter((f) => f.bytes.length >= 18).map((f) => numberIn(f.bytes))
  expect(order).toEqual([...order].sort((x, y) => x - y))
  plane.conserved()
  plane.engine.close()
  plane.conserved()
})

it('property: whatever the rates, nothing is lost without a name', () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  const rates = fc.record({
    loss: share,
    duplicate: share,
    reorder: share,
    truncate: share,
    delayMs: fc.nat(20),
    jitterMs: fc.nat(20),
  })
  const spec = fc.record({ seed: fc.integer(), rx: rates, tx: rates }, { requiredKeys: ['seed'] })
  fc.assert(
    fc.property(
      spec,
      fc.array(fc.nat(70), { maxLength: 20 }),
      fc.integer({ min: 80, max: 1024 }),
      (fault, bursts, slots) => {
        const plane = new Plane(1, slots)
        const bad = plane.faulty(0, fault)
        const good = plane.memory(1)
        for (const burst of bursts) {
          for (let i = 0; i < burst; i++) {
            bad.inject(frame({ dst: BROADCAST, src: 1, size: 46 + i }))
            good.inject(frame({ dst: BROADCAST, src: 2, size: 46 + i }))
          }
          plane.step()
          plane.pass(1)
          plane.conserved()
        }
        plane.pass(60)
        expect(plane.count(0, Counter.Held)).toBe(0)
        plane.conserved()
      },
    ),
    { numRuns: 40 },
  )
})

it('a delay queue is a stable sort by time', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(20), { freq: 3 }), { maxLength: 200 }), (operations) => {
      const queue = new DelayQueue(200)
      let model: { slot: number; due: number }[] = []
      operations.forEach((due, slot) => {
        if (due !== null) {
          queue.push(slot, -slot, due)
          model = [...model, { slot, due }].sort((a, b) => a.due - b.due)
        } else if (model.length > 0) {
          const first = model.shift()!
          expect(queue.dueMs()).toBe(first.due)
          expect(queue.pop()).toBe(first.slot)
          expect(queue.tag).toBe(0 - first.slot)
        }
        expect(queue.count).toBe(model.length)
      })
      for (const { slot } of model) expect(queue.pop()).toBe(slot)
      expect(queue.dueMs()).toBe(Number.POSITIVE_INFINITY)
    }),
  )
})
