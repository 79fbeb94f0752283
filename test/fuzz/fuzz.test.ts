/** A short run of the fuzzers; the long ones are `node test/fuzz/switch.mjs [--tunnel]`. */
import { expect, test } from 'vitest'
import { DROPS } from '../../src/packet/drop.ts'
import { fuzz } from './switch.ts'
import { fuzz as fuzzTunnel } from './tunnel.ts'

test.each([1, 2, 3, 4])(
  'fifty thousand mutated frames leave the plane whole, seed %i',
  (seed) => {
    const report = fuzz({ frames: 50_000, seed })
    expect(report.rx).toBe(report.frames)
    expect(report.rx + report.made).toBe(report.tx + report.dropped)
  },
  60_000,
)

test('the same seed is the same run', () => {
  const { seconds: _, ...first } = fuzz({ frames: 5000, seed: 77 })
  const { seconds: __, ...second } = fuzz({ frames: 5000, seed: 77 })
  expect(second).toEqual(first)
})

test('it comes by every reason that a switch has to drop a packet', () => {
  const reasons = new Set(fuzz({ frames: 50_000, seed: 5 }).reasons.map(([name]) => name))
  // Own addresses, empty pools, faults, patches, TUNs and removed ports are not in it.
  const others = [
    'source-own',
    'refused',
    'no-slot',
    'fault-loss',
    'queue-full',
    'no-ethernet',
    'port-removed',
  ]
  // Behind 'locked' come the reasons of routers.
  const all = DROPS.map(([name]) => name)
  const switches = all.slice(0, all.indexOf('locked') + 1)
  expect(switches.filter((name) => !reasons.has(name) && !others.includes(name))).toEqual([])
})

test.each([1, 2, 3])(
  'fifty thousand mutated datagrams leave the plane whole, seed %i',
  (seed) => {
    const { reasons } = fuzzTunnel({ frames: 50_000, seed })
    const found = new Set(reasons.map(([name]) => name))
    // And it comes by every reason that a tunnel has.
    const tunnel = DROPS.map(([name]) => name).filter((name) => name.startsWith('tunnel-'))
    expect(tunnel.filter((name) => !found.has(name))).toEqual([])
  },
  60_000,
)
