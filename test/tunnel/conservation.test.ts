/**
 * DESIGN.md rule 4 for tunnels: after every breath of any traffic, whatever fails, nothing is lost without a
 * name; and no table holds more than it says.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { FaultRates, FaultSpec } from '../../src/port/fault.ts'
import { Station } from '../../src/tunnel/tables.ts'
import { arp } from '../router/packets.ts'
import { BROADCAST, frame, ipv4, ipv6, tcp, udp } from '../support/frames.ts'
import type { Injected } from '../support/port.ts'
import { packet } from '../support/traffic.ts'
import { encapsulated, Internet, remote, type Site, TUNNEL, vxlanSettings } from './lab.ts'

const HERE = '192.0.2.1'
const REMOTES = ['192.0.2.2', '192.0.2.3', '192.0.2.4']

const [ENDS, ENDS6] = [
  { src: '10.0.0.1', dst: '10.0.0.2' },
  { src: 'fd00::1', dst: 'fd00::2' },
]
const special = fc
  .record({ src: fc.nat(5), dst: fc.nat(5), kind: fc.nat(6), bytes: fc.nat(1500) })
  .map((p) => {
    const payload = new Uint8Array(p.bytes)
    const at = (type: number, ip: Uint8Array): Uint8Array =>
      frame({ src: p.src, dst: p.dst, type, payload: ip })
    switch (p.kind) {
      case 0:
        return at(0x0800, ipv4({ ...ENDS, dontFragment: true, payload: udp(ENDS, { payload }) }))
      case 1:
        return at(
          0x0800,
          ipv4({ ...ENDS, protocol: 6, payload: tcp(ENDS, { flags: 2, options: [2, 4, 5, 180] }) }),
        )
      case 2:
        return at(0x86dd, ipv6({ ...ENDS6, payload: udp(ENDS6, { payload }) }))
      case 3:
        return arp({ sha: p.src, spa: `10.0.0.${p.src}`, tpa: `10.0.0.${p.dst}` })
      case 4:
        return arp({ op: 2, sha: p.src, spa: `10.0.0.${p.src}`, tha: p.dst, tpa: `10.0.0.${p.dst}` })
      case 5:
        return at(0x0800, ipv4({ ...ENDS, payload, moreFragments: true }))
      default:
        return frame({ src: p.src, dst: BROADCAST, payload })
    }
  })

const chance = fc.constantFrom(0, 0, 0.1, 0.5)
const rates: fc.Arbitrary<FaultRates> = fc.record({
  loss: chance,
  duplicate: chance,
  reorder: chance,
  truncate: chance,
  delayMs: fc.constantFrom(0, 3, 50),
  jitterMs: fc.constantFrom(0, 10),
})
const fault: fc.Arbitrary<FaultSpec | undefined> = fc.option(
  fc.record({
    seed: fc.integer(),
    rx: fc.option(rates, { nil: undefined }),
    tx: fc.option(rates, { nil: undefined }),
  }),
  { nil: undefined },
)

const segment = fc.record({
  remotes: fc.subarray(REMOTES),
  group: fc.constantFrom(undefined, undefined, '239.1.1.1'),
  limit: fc.constantFrom(0, 2),
  agingS: fc.constantFrom(0, 1, 300),
  learning: fc.boolean(),
  suppress: fc.boolean(),
  clampMss: fc.boolean(),
  innerVlan: fc.constantFrom('discard' as const, 'keep' as const),
  accept: fc.constantFrom('known' as const, 'any' as const),
})

type Step =
  | { frames: (Uint8Array | Injected)[] }
  | { from: string; vni: number; first: number; tos: number; inner: Uint8Array[] }
  | { ms: number }
  | { settings: ReturnType<typeof vxlanSettings> }
  | { errno: number; to: string }
  | { dead: boolean; of: string }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ frames: fc.array(fc.oneof(special, packet), { maxLength: 80 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      from: fc.constantFrom(...REMOTES, '198.51.100.7', HERE),
      vni: fc.constantFrom(7, 7, 7, 8),
      first: fc.constantFrom(0x08000000, 0x08000000, 0xffffffff, 0),
      tos: fc.nat(255),
      inner: fc.array(special, { maxLength: 80 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ ms: fc.nat(3000) }) },
  { weight: 1, arbitrary: fc.record({ settings: segment.map(vxlanSettings) }) },
  {
    weight: 1,
    arbitrary: fc.record({ errno: fc.constantFrom(0, 11, 90, 101), to: fc.constantFrom(...REMOTES) }),
  },
  { weight: 1, arbitrary: fc.record({ dead: fc.boolean(), of: fc.constantFrom(...REMOTES) }) },
)

function apply(site: Site, one: Step): void {
  const { engine } = site.fabric
  if ('frames' in one) {
    for (const f of one.frames) {
      if (f instanceof Uint8Array) site.fabric.inject('lan', f)
      else site.fabric.port('lan').inject(f.frame, f)
    }
  } else if ('from' in one) {
    for (const inner of one.inner)
      site.arrive({ from: one.from, bytes: encapsulated(one.vni, inner, one.first), tos: one.tos })
  } else if ('ms' in one) site.fabric.nowMs += one.ms
  else if ('settings' in one) engine.apply({ op: 'vxlan-set', index: TUNNEL, settings: one.settings })
  else if ('errno' in one) {
    if (one.errno === 0) site.errors.delete(one.to)
    else site.errors.set(one.to, one.errno)
  } else engine.apply({ op: 'remote-state', id: 10, remote: remote(one.of), dead: one.dead })
}

/** Counts that the tables keep, against the tables themselves. */
function tablesAgree(site: Site): void {
  const { remotes, stations } = site.vtep
  const perRemote = new Map<number, number>()
  const { words } = stations.table
  let size = 0
  for (let at = 0; at < words.length; at += 4) {
    if (words[at + 1] === 0) continue
    size++
    const value = words[at + 2]
    const row = value & Station.RowMask
    const generation = remotes.words[row * 16 + 12]
    if (((value >>> Station.GenerationShift) & Station.GenerationMask) === generation)
      perRemote.set(row, (perRemote.get(row) ?? 0) + 1)
  }
  expect(size).toBe(stations.table.size)
  expect(stations.perPort[TUNNEL]).toBe(size)
  let [holders, learned] = [0, 0]
  for (const { row, learned: n } of site.remoteRows()) {
    expect(n).toBe(perRemote.get(row) ?? 0)
    if (n > 0) holders++
    learned += n
  }
  expect([remotes.holders, remotes.learned]).toEqual([holders, learned])
}

test('a bad line gives more packets than it held', () => {
  const rx = { loss: 0, duplicate: 1, reorder: 0, truncate: 0, delayMs: 0, jitterMs: 0 }
  const site = new Internet().site(HERE, { lan: {} }, { vni: 7, remotes: REMOTES, fault: { seed: 1, rx } })
  const datagram = encapsulated(7, frame({ src: 1, dst: BROADCAST }), 0x08000000)
  for (const count of [9, 4, 1, 60]) {
    for (let i = 0; i < count; i++) site.arrive({ from: REMOTES[0], bytes: datagram, tos: 0 })
    while (site.fabric.breathe()) site.conserved()
    site.conserved()
  }
  site.everySlotOnce()
  site.fabric.close()
})

test('whatever comes, whatever goes wrong, every packet is accounted for after every breath', () => {
  fc.assert(
    fc.property(
      fc.record({
        first: segment,
        fault,
        slots: fc.constantFrom(65, 70, 130, 700),
        steps: fc.array(step, { minLength: 1, maxLength: 15 }),
      }),
      ({ first, fault: spec, slots, steps }) => {
        const net = new Internet()
        const site = net.site(
          HERE,
          { lan: {}, other: {} },
          { ...first, fault: spec },
          { slots, most: [6, 8, 4] },
        )
        for (const one of steps) {
          apply(site, one)
          for (let breaths = 0; breaths < 40; breaths++) {
            const moved = site.fabric.breathe()
            site.conserved()
            tablesAgree(site)
            if (!moved) break
          }
        }
        site.fabric.nowMs += 10_000
        for (let breaths = 0; breaths < 200 && site.fabric.breathe(); breaths++) site.conserved()
        site.fabric.engine.apply({ op: 'port-remove', index: TUNNEL })
        site.conserved()
        site.everySlotOnce()
        expect(site.vtep.stations.table.size).toBe(0)
        site.fabric.close()
      },
    ),
    { numRuns: 200 },
  )
}, 120_000)
