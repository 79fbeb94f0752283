/**
 * DESIGN.md rule 4: nothing gets lost without a name. After every breath of any traffic, over all ports
 *
 *     rx + made = tx + drops + held
 *
 * and every slot of the pool is at exactly one place: in the batch, free, or held by a port.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PortSettings } from '../../src/engine/command.ts'
import { Counter, dropsOf } from '../../src/packet/counters.ts'
import { FaultPort, type FaultRates, type FaultSpec } from '../../src/port/fault.ts'
import { PatchPort } from '../../src/port/patch.ts'
import { Fabric, settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame } from '../support/frames.ts'
import { counter, type Injected, TestPort } from '../support/port.ts'
import { packet, settings } from '../support/traffic.ts'

const OUTER = 4
const [PATCH_A, PATCH_B] = [OUTER, OUTER + 1]

interface Plane {
  lab: Fabric
  outside: TestPort[]
}

/** Two switches, patched together, two ports each, faults on any of them. */
function planeOf(all: PortSettings[], faults: (FaultSpec | null)[], slots: number): Plane {
  const lab = new Fabric({ slots, limit: 16, agingS: 3 })
  lab.addSwitch(1, { limit: 16 })
  const { engine } = lab
  const outside = all.slice(0, OUTER).map((_, i) => new TestPort(engine, i, `p${i}`))
  const ends = [PATCH_A, PATCH_B].map((i) => new PatchPort(engine, i, `patch${i}`, 1500))
  ends[0].join(ends[1])
  for (const port of [...outside, ...ends]) {
    const fault = faults[port.index]
    engine.addPort(fault ? new FaultPort(engine, port, fault) : port, port.index % 2)
    engine.set(port.index, all[port.index])
  }
  return { lab, outside }
}

function lawHolds({ lab: { engine } }: Plane): void {
  const { counters } = engine.memory
  let [rx, made, tx, drops, held] = [0, 0, 0, 0, 0]
  for (let i = 0; i < OUTER + 2; i++) {
    rx += counter(counters, i, Counter.RxPackets)
    made += counter(counters, i, Counter.Made)
    tx += counter(counters, i, Counter.TxPackets)
    drops += dropsOf(counters, i)
    held += counter(counters, i, Counter.Held)
  }
  const inside = engine.pipeline.portOf.reduce((sum, port) => sum + (port?.held() ?? 0), 0)
  expect({ in: rx + made, held }).toEqual({ in: tx + drops + held, held: inside })

  const free: number[] = []
  for (let slot = engine.pool.alloc(); slot >= 0; slot = engine.pool.alloc()) free.push(slot)
  const known = [...engine.batch.slots, ...free]
  expect(new Set(known).size).toBe(known.length)
  expect(known.length + inside).toBe(engine.pool.size)
  for (const slot of free.reverse()) engine.pool.release(slot)
}

const chance = fc.constantFrom(0, 0, 0.1, 0.5, 1)
const rates: fc.Arbitrary<FaultRates> = fc.record({
  loss: fc.constantFrom(0, 0, 0.2),
  duplicate: chance,
  reorder: chance,
  truncate: chance,
  delayMs: fc.constantFrom(0, 0, 3, 50),
  jitterMs: fc.constantFrom(0, 10),
})
const fault = fc.option(
  fc.record({
    seed: fc.integer(),
    rx: fc.option(rates, { nil: undefined }),
    tx: fc.option(rates, { nil: undefined }),
  }),
)

type Step =
  | { port: number; packets: Injected[] }
  | { ms: number }
  | { port: number; settings: PortSettings }
  | { fail: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ port: fc.nat(OUTER - 1), packets: fc.array(packet, { maxLength: 100 }) }),
  },
  { weight: 4, arbitrary: fc.record({ ms: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ port: fc.nat(OUTER + 1), settings: settings(true) }) },
  { weight: 1, arbitrary: fc.record({ fail: fc.nat(OUTER * 4) }) },
)

const plane = fc.record({
  all: fc.array(settings(true), { minLength: OUTER + 2, maxLength: OUTER + 2 }),
  faults: fc.array(fault, { minLength: OUTER + 2, maxLength: OUTER + 2 }),
  slots: fc.constantFrom(65, 70, 128, 700),
  steps: fc.array(step, { minLength: 1, maxLength: 15 }),
})

test('whatever comes, whatever goes wrong, every packet is accounted for after every breath', () => {
  fc.assert(
    fc.property(plane, ({ all, faults, slots, steps }) => {
      const made = planeOf(all, faults, slots)
      const { lab, outside } = made
      for (const one of steps) {
        if ('ms' in one) lab.nowMs += one.ms
        else if ('fail' in one) {
          // A device that goes away in the middle of a batch; most of the time, none does.
          if (one.fail < OUTER) outside[one.fail].failWith = -77
        } else if ('settings' in one) {
          if (lab.engine.pipeline.portOf[one.port]) lab.engine.set(one.port, one.settings)
        } else {
          for (const { frame: bytes, ...offloads } of one.packets) outside[one.port].inject(bytes, offloads)
        }
        for (let breaths = 0; lab.breathe() && breaths < 50; breaths++) lawHolds(made)
        lawHolds(made)
      }
      // What waits comes out in the end.
      lab.nowMs += 10_000
      for (let breaths = 0; lab.breathe() && breaths < 200; breaths++) lawHolds(made)
      lawHolds(made)
      lab.close()
    }),
    { numRuns: 200 },
  )
})

test('a port removed while it holds packets drops them by name and gives the slots back', () => {
  const slow: FaultSpec = {
    seed: 1,
    rx: { loss: 0, duplicate: 0, reorder: 0, truncate: 0, delayMs: 1000, jitterMs: 0 },
  }
  const made = planeOf(
    Array.from({ length: OUTER + 2 }, () => settingsOf()),
    [slow],
    200,
  )
  for (let i = 0; i < 40; i++) made.outside[0].inject(frame({ src: 1, dst: BROADCAST }))
  made.lab.run()
  expect(made.lab.engine.pipeline.portOf[0]!.held()).toBe(40)
  lawHolds(made)
  made.lab.engine.removePort(0)
  expect(dropsOf(made.lab.counters, 0)).toBe(40)
  lawHolds(made)
  made.lab.close()
})
