/** Random settings and frames for the properties: few stations and few VLANs, so that they meet. */
import fc from 'fast-check'
import type { PortSettings } from '../../src/engine/command.ts'
import { Flag, Gso } from '../../src/packet/layout.ts'
import type { PortVlan } from '../../src/switch/vlan.ts'
import { settingsOf } from './fabric.ts'
import { BROADCAST, frame, group, reserved, station } from './frames.ts'
import type { Injected } from './port.ts'

const vid = fc.integer({ min: 1, max: 4 })
const tpid = fc.constantFrom(undefined, undefined, 0x8100, 0x88a8, 0x9100)

const vlan: fc.Arbitrary<PortVlan> = fc.oneof(
  fc.record({ mode: fc.constant('access' as const), vid, tpid }),
  fc.record({ mode: fc.constant('tunnel' as const), vid }),
  fc.record({
    mode: fc.constant('trunk' as const),
    allowed: fc.uniqueArray(vid, { maxLength: 4 }),
    native: fc.option(vid, { nil: undefined }),
    tpid,
    translate: fc.constantFrom<[number, number][] | undefined>(
      undefined,
      [[11, 1]],
      [
        [11, 1],
        [12, 2],
      ],
      [
        [1, 2],
        [2, 1],
      ],
    ),
  }),
)

/** Mostly true. */
const usually = fc.nat(5).map((n) => n !== 0)
const seldom = fc.nat(5).map((n) => n === 0)
const rate = fc.constantFrom(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 0, 1, 4)

export function settings(aware: boolean): fc.Arbitrary<PortSettings> {
  return fc
    .record({
      vlan: aware ? vlan : fc.constant({ mode: 'unaware' as const }),
      mtu: fc.constantFrom(1500, 1500, 68, 9216),
      up: usually,
      learning: usually,
      floodUnknown: usually,
      floodMulticast: usually,
      floodBroadcast: usually,
      isolated: seldom,
      hairpin: seldom,
      locked: seldom,
      limit: fc.constantFrom(0, 0, 1, 3),
      stormUnknown: rate,
      stormMulticast: rate,
      stormBroadcast: rate,
    })
    .map(settingsOf)
}

/** Static addresses are the port's own: two ports never claim the same one. */
export function withStatics(all: PortSettings[], aware: boolean, which: number[]): PortSettings[] {
  return all.map((s, i) => ({
    ...s,
    statics: which[i] === 0 ? [[station(20 + i), aware ? 1 : 0]] : [],
  }))
}

const destination = fc.oneof(
  { weight: 6, arbitrary: fc.nat(7).map(station) },
  { weight: 1, arbitrary: fc.integer({ min: 20, max: 24 }).map(station) },
  { weight: 2, arbitrary: fc.constant(BROADCAST) },
  { weight: 2, arbitrary: fc.nat(3).map(group) },
  { weight: 1, arbitrary: fc.nat(20).map(reserved) },
)
const source = fc.oneof(
  { weight: 12, arbitrary: fc.nat(7).map(station) },
  { weight: 2, arbitrary: fc.integer({ min: 20, max: 24 }).map(station) },
  { weight: 1, arbitrary: fc.constantFrom(group(1), BROADCAST, new Uint8Array(6)) },
)
const tag = fc.record({
  vid: fc.oneof({ weight: 6, arbitrary: vid }, { weight: 3, arbitrary: fc.constantFrom(0, 11, 12, 4095) }),
  pcp: fc.nat(7),
  dei: fc.nat(1),
  tpid: fc.constantFrom(0x8100, 0x8100, 0x8100, 0x88a8, 0x9100),
})

const ordinary: fc.Arbitrary<Injected> = fc
  .record({
    dst: destination,
    src: source,
    tags: fc.array(tag, { maxLength: 2 }),
    size: fc.constantFrom(0, 46, 100, 1500, 1504, 1505, 1508, 9216),
    cut: fc.oneof({ weight: 9, arbitrary: fc.constant(70000) }, { weight: 1, arbitrary: fc.nat(20) }),
  })
  .map(({ cut, ...parts }) => ({ frame: frame(parts).slice(0, cut) }))

const superFrame: fc.Arbitrary<Injected> = fc
  .record({ dst: destination, src: source, tags: fc.array(tag, { maxLength: 1 }), tcp: fc.boolean() })
  .chain((parts) =>
    fc.record({ parts: fc.constant(parts), gsoSize: fc.constantFrom(20, 1448, 1460, 1464, 1480, 9000) }),
  )
  .map(({ parts, gsoSize }) => {
    const bytes = frame({ ...parts, type: 0x0800, size: 20_000 })
    const l3 = 14 + 4 * parts.tags.length
    bytes[l3] = 0x45
    bytes[l3 + 32] = 5 << 4
    return {
      frame: bytes,
      gsoType: parts.tcp ? Gso.Tcp4 : Gso.Udp,
      gsoSize,
      csumStart: l3 + 20,
      csumOffset: parts.tcp ? 16 : 6,
      flags: Flag.CsumPartial,
    }
  })

export const packet = fc.oneof({ weight: 12, arbitrary: ordinary }, { weight: 1, arbitrary: superFrame })
