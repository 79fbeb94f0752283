/** When a router advertises itself (RFC 4861 6.2) and with which bytes; clock and chance are the test's. */
import { describe, expect, it, test } from 'vitest'
import {
  type AdvertiseSettings,
  ALL_NODES,
  advertisement,
  solicitorOf,
} from '../../src/service/advertisement.ts'
import { Advertiser } from '../../src/service/advertiser.ts'
import { pseudo6, verify } from '../../src/wire/checksum.ts'
import * as nd from '../../src/wire/nd.ts'
import { hex } from '../wire/lay.ts'

const SETTINGS: AdvertiseSettings = {
  source: [0xfe800000 | 0, 0, 0x000000ff, 0xfe000001 | 0],
  mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
  hopLimit: 64,
  managed: false,
  other: true,
  lifetimeS: 1800,
  mtu: 1400,
  prefixes: [
    {
      address: [0xfd000010 | 0, 0, 0, 0],
      length: 64,
      onLink: true,
      autonomous: true,
      validS: 7200,
      preferredS: 3600,
    },
  ],
  dns: [[0xfd000010 | 0, 0, 0, 1]],
  search: ['lab.example', 'x.y'],
  dnsLifetimeS: 1800,
  minIntervalMs: 200_000,
  maxIntervalMs: 600_000,
}
const HOST = [0xfe800000 | 0, 0, 0, 9]
const NOBODY = [0, 0, 0, 0]

test('an advertisement, byte by byte', () => {
  const packet = advertisement(SETTINGS, ALL_NODES)
  const message = packet.slice(40)
  message.fill(0, 2, 4)
  expect([...message]).toEqual([
    ...hex(`86000000 40400708 00000000 00000000
      0101020000000001 0501000000000578
      030440c0 00001c20 00000e10 00000000 fd000010000000000000000000000000
      19030000 00000708 fd000010000000000000000000000001
      1f040000 00000708 036c6162076578616d706c6500 0178 0179 00 000000000000`),
  ])
  expect([...packet.slice(0, 8)]).toEqual([...hex(`60000000 00${(packet.length - 40).toString(16)} 3a ff`)])
  const view = new DataView(packet.buffer)
  expect(verify(view, 40, packet.length - 40, pseudo6(view, 0, 58, packet.length - 40))).toBe(true)
  expect(nd.fits(view, 40, packet.length)).toBe(true)
  expect(nd.valid(view, 0, 40, packet.length)).toBe(true)
})

test('the last one: no router any more; prefixes that went have no lifetime', () => {
  const view = new DataView(advertisement(SETTINGS, ALL_NODES, [], true).buffer)
  expect(nd.lifetime(view, 40)).toBe(0)
  const gone = advertisement({ ...SETTINGS, prefixes: [] }, ALL_NODES, SETTINGS.prefixes)
  const place = nd.findOption(new DataView(gone.buffer), 40, gone.length, nd.NdOption.Prefix)
  expect([...gone.slice(place, place + 12)]).toEqual([...hex('030440c0 00000000 00000000')])
})

test('more than fits into 1280 bytes is left out', () => {
  const prefixes = Array.from({ length: 64 }, (_, i) => ({
    ...SETTINGS.prefixes[0],
    address: [0xfd000010 | 0, i, 0, 0],
  }))
  const packet = advertisement({ ...SETTINGS, prefixes }, ALL_NODES)
  expect(packet.length).toBeLessThanOrEqual(1280)
  expect(nd.fits(new DataView(packet.buffer), 40, packet.length)).toBe(true)
})

class Story {
  now = 1000
  chance = 0
  readonly sent: { ms: number; to: 'all' | 'one'; lifetime: number }[] = []
  readonly timer = new Advertiser(
    SETTINGS,
    (packet, to) => {
      const lifetime = nd.lifetime(new DataView(packet.buffer, packet.byteOffset), 40)
      this.sent.push({ ms: this.now, to: to === null ? 'all' : 'one', lifetime })
    },
    () => this.chance,
  )

  /** Lets time pass, and everything happen that is due. */
  pass(ms: number): this {
    const end = this.now + ms
    for (let due = this.timer.due(); due <= end; due = this.timer.due()) {
      this.now = Math.max(this.now, due)
      this.timer.tick(this.now)
    }
    this.now = end
    return this
  }

  times = (): number[] => this.sent.map((s) => s.ms)
}

describe('on its own', () => {
  it('at once, three times soon, then rarely', () => {
    const story = new Story()
    story.timer.start(story.now)
    story.pass(1_000_000)
    expect(story.times()).toEqual([1000, 17_000, 33_000, 233_000, 433_000, 633_000, 833_000])
    story.chance = 0.999
    story.pass(1_200_000)
    const [a, b] = story.times().slice(-2)
    expect(b - a).toBeCloseTo(599_600, -1)
  })

  it('stops with one that says so', () => {
    const story = new Story()
    story.timer.start(story.now)
    story.pass(50_000)
    story.timer.stop()
    story.pass(10_000_000)
    expect(story.sent.map((s) => s.lifetime)).toEqual([1800, 1800, 1800, 0])
  })

  it('a change is told soon, three times, but not within 3 s of the one before', () => {
    const story = new Story()
    story.timer.start(story.now)
    story.pass(100)
    story.timer.change({ ...SETTINGS, prefixes: [] }, story.now)
    story.pass(40_000)
    expect(story.times()).toEqual([1000, 4000, 20_000, 36_000])
  })
})

describe('asked', () => {
  const quiet = () => {
    const story = new Story()
    story.timer.start(story.now)
    return story.pass(100_000)
  }

  it('answers all after up to half a second; who asks meanwhile gets the same', () => {
    const story = quiet()
    const before = story.sent.length
    story.chance = 0.8
    story.timer.solicited(HOST, story.now)
    story.timer.solicited(NOBODY, story.now)
    story.pass(2000)
    expect(story.sent.slice(before)).toEqual([{ ms: 101_400, to: 'all', lifetime: 1800 }])
  })

  it('again within 3 s: who asks alone, once; who has no address waits for the next to all', () => {
    const story = quiet()
    story.timer.solicited(HOST, story.now)
    story.pass(500)
    const before = story.sent.length
    story.chance = 0.5
    story.timer.solicited(HOST, story.now)
    story.timer.solicited(HOST, story.now)
    story.timer.solicited(NOBODY, story.now)
    story.pass(10_000)
    expect(story.sent.slice(before).map(({ ms, to }) => [ms, to])).toEqual([
      [101_750, 'one'],
      [104_250, 'all'],
    ])
  })

  it('a flood of questions: a few a second to single hosts, one in 3 s to all', () => {
    const story = quiet()
    const before = story.sent.length
    for (let i = 0; i < 10_000; i++) {
      story.timer.solicited([0xfe800000 | 0, 0, 0, i + 1], story.now)
      story.timer.solicited(NOBODY, story.now)
      story.pass(1)
    }
    const sent = story.sent.slice(before)
    expect(sent.filter((s) => s.to === 'all').length).toBeLessThanOrEqual(5)
    expect(sent.filter((s) => s.to === 'one').length).toBeLessThanOrEqual(50 + 10 * 20 + 1)
  })
})

test('who asked', () => {
  const packet = new Uint8Array(48)
  packet.set(hex('60000000 0008 3a ff fe80000000000000 0000000000000009'))
  expect(solicitorOf(packet)).toEqual(HOST)
  expect(solicitorOf(packet.subarray(0, 47))).toBeNull()
})
