import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Begin } from '../../src/router/neighbour-dad.ts'
import { station } from '../support/frames.ts'
import { arp, arpText, ethernet, ip4, ipv4 } from './packets.ts'
import { Bench, OWN } from './support.ts'

const texts = (sent: { bytes: Uint8Array }[]): string[] => sent.map((s) => arpText(s.bytes))

/** A neighbour that was asked for and answered. */
function known(bench: Bench, n: number, address: string): void {
  bench.output(ethernet(OWN + 1, 9, 0x0800, ipv4({ dst: address })), address)
  bench.host.round()
  bench.receive(arp({ op: 2, sha: n, spa: address, tha: OWN, tpa: '10.0.0.1' }))
}

const macs = (bench: Bench): string[] =>
  bench.list().map((n) => `${n.address} ${n.mac?.slice(12)} ${n.state}`)

describe('requests', () => {
  test('for an address of ours are answered to the asker alone, and it is learned', () => {
    const bench = new Bench()
    const sent = bench.receive(arp({ sha: 5, spa: '10.0.0.5', tpa: '10.0.0.1' }))
    expect(texts(sent)).toEqual(['is-at 10.0.0.5 tell 10.0.0.1, ee00 > 5, target 5'])
    expect(sent[0].bytes.length).toBe(42)
    expect(macs(bench)).toEqual(['10.0.0.5 00:05 STALE'])
  })

  test('with padding are answered as well', () => {
    const bench = new Bench()
    const frame = new Uint8Array(60)
    frame.set(arp({ sha: 5, spa: '10.0.0.5', tpa: '10.0.0.1' }))
    expect(bench.receive(frame)[0].bytes.length).toBe(42)
  })

  test('for somebody else make no entry and no answer', () => {
    const bench = new Bench()
    expect(bench.receive(arp({ sha: 5, spa: '10.0.0.5', tpa: '10.0.0.6' }))).toEqual([])
    expect(bench.receive(arp({ sha: 5, spa: '10.0.0.5', tpa: '10.1.0.1' }))).toEqual([])
    expect(bench.list()).toEqual([])
    expect(bench.host.consumed).toBe(2)
  })

  test('for somebody else update an entry that is there (RFC 826), a second after its last change', () => {
    const bench = new Bench()
    known(bench, 5, '10.0.0.5')
    bench.receive(arp({ sha: 6, spa: '10.0.0.5', tpa: '10.0.0.9' }))
    expect(macs(bench)).toEqual(['10.0.0.5 00:05 REACHABLE'])
    bench.nowMs += 1001
    bench.receive(arp({ sha: 6, spa: '10.0.0.5', tpa: '10.0.0.9' }))
    expect(macs(bench)).toEqual(['10.0.0.5 00:06 STALE'])
  })

  test('probes are answered, and nothing is learned from them', () => {
    const bench = new Bench()
    const sent = bench.receive(arp({ sha: 5, spa: '0.0.0.0', tpa: '10.0.0.1' }))
    expect(texts(sent)).toEqual(['is-at 0.0.0.0 tell 10.0.0.1, ee00 > 5, target 5'])
    expect(bench.list()).toEqual([])
  })

  test('a request from a neighbour that is being asked for ends the wait', () => {
    const bench = new Bench()
    bench.output(ethernet(OWN + 1, 9, 0x0800, ipv4({ id: 3 })), '10.0.0.2')
    bench.host.round()
    const sent = bench.receive(arp({ sha: 2, spa: '10.0.0.2', tpa: '10.0.0.1' }))
    expect(sent.length).toBe(2)
    expect(bench.states()).toEqual(['10.0.0.2 DELAY'])
  })

  test('ours that come back are nothing', () => {
    const bench = new Bench()
    expect(bench.receive(arp({ sha: OWN, spa: '10.0.0.1', tpa: '10.0.0.2' }))).toEqual([])
    expect(bench.told).toEqual([])
    expect(bench.arp.conflicts).toBe(0)
  })
})

describe('replies', () => {
  test('that nobody asked for make no entry', () => {
    const bench = new Bench()
    bench.receive(arp({ op: 2, sha: 5, spa: '10.0.0.5', tha: OWN, tpa: '10.0.0.1' }))
    expect(bench.list()).toEqual([])
  })

  test('a second answer within a second does not change the first (locktime)', () => {
    const bench = new Bench()
    known(bench, 5, '10.0.0.5')
    bench.receive(arp({ op: 2, sha: 6, spa: '10.0.0.5', tha: OWN, tpa: '10.0.0.1' }))
    expect(macs(bench)).toEqual(['10.0.0.5 00:05 REACHABLE'])
    bench.nowMs += 1001
    bench.receive(arp({ op: 2, sha: 6, spa: '10.0.0.5', tha: OWN, tpa: '10.0.0.1' }))
    expect(macs(bench)).toEqual(['10.0.0.5 00:06 REACHABLE'])
  })

  test('gratuitous: an entry that is there is updated at once, none is made', () => {
    const bench = new Bench()
    known(bench, 5, '10.0.0.5')
    bench.receive(arp({ sha: 6, spa: '10.0.0.5', tpa: '10.0.0.5' }))
    expect(macs(bench)).toEqual(['10.0.0.5 00:06 STALE'])
    bench.receive(arp({ op: 2, sha: 7, spa: '10.0.0.5', tpa: '10.0.0.5' }))
    expect(macs(bench)).toEqual(['10.0.0.5 00:07 STALE'])
    bench.receive(arp({ sha: 6, spa: '10.0.0.6', tpa: '10.0.0.6' }))
    expect(bench.list().length).toBe(1)
  })
})

describe('conflicts', () => {
  test('somebody uses our address: told, counted, defended once in 10 s, our entry stays none', () => {
    const bench = new Bench()
    const enemy = arp({ sha: 13, spa: '10.0.0.1', tpa: '10.0.0.1' })
    expect(texts(bench.receive(enemy))).toEqual(['who-has 10.0.0.1 tell 10.0.0.1, ee00 > *, target 0'])
    for (let i = 0; i < 9; i++) {
      bench.nowMs += 1000
      expect(bench.receive(enemy)).toEqual([])
    }
    bench.nowMs += 1000
    expect(bench.receive(enemy).length).toBe(1)
    expect(bench.arp.conflicts).toBe(11)
    expect(bench.told[0]).toEqual({ fate: 'conflict', iface: 0, address: '10.0.0.1', by: 13 })
    expect(bench.list()).toEqual([])
  })
})

describe('detection before an address is used (RFC 5227)', () => {
  const start = (bench: Bench): void => bench.arp.dad.start(0, ip4('10.0.0.77'), 0, 0, 0, bench.nowMs)

  test('three probes 1 to 2 s apart, 2 s of silence, then two announcements 2 s apart', () => {
    const bench = new Bench()
    start(bench)
    const times: [string, number][] = []
    const from = bench.nowMs
    while (bench.nowMs - from < 15_000) {
      for (const s of bench.wait(50, 50)) times.push([arpText(s.bytes), bench.nowMs])
    }
    const probe = 'who-has 10.0.0.77 tell 0.0.0.0, ee00 > *, target 0'
    const announcement = 'who-has 10.0.0.77 tell 10.0.0.77, ee00 > *, target 0'
    expect(times.map((t) => t[0])).toEqual([probe, probe, probe, announcement, announcement])
    const gaps = times.slice(1).map((t, i) => t[1] - times[i][1])
    expect(times[0][1] - from).toBeLessThanOrEqual(1050)
    for (const gap of gaps.slice(0, 2)) {
      expect(gap).toBeGreaterThanOrEqual(950)
      expect(gap).toBeLessThanOrEqual(2050)
    }
    for (const gap of gaps.slice(2)) expect(Math.abs(gap - 2000)).toBeLessThanOrEqual(50)
    expect(bench.told).toEqual([{ fate: 'unique', iface: 0, address: '10.0.0.77', by: 0 }])
    expect(bench.arp.dad.size).toBe(0)
  })

  test('nobody is answered while it is tentative; it is used then', () => {
    const bench = new Bench()
    start(bench)
    bench.wait(2000)
    expect(bench.receive(arp({ sha: 5, spa: '10.0.0.5', tpa: '10.0.0.77' }))).toEqual([])
    bench.wait(10_000)
    expect(bench.receive(arp({ sha: 5, spa: '10.0.0.5', tpa: '10.0.0.77' })).length).toBe(1)
  })

  test.each([
    ['an answer', arp({ op: 2, sha: 5, spa: '10.0.0.77', tha: OWN, tpa: '0.0.0.0' })],
    ['any use', arp({ sha: 5, spa: '10.0.0.77', tpa: '10.0.0.9' })],
    ["another's probe", arp({ sha: 5, spa: '0.0.0.0', tpa: '10.0.0.77' })],
  ])('%s: duplicate, tried again after a minute', (_, frame) => {
    const bench = new Bench()
    start(bench)
    bench.wait(1500)
    expect(bench.receive(frame)).toEqual([])
    expect(bench.receive(frame)).toEqual([])
    expect(bench.told).toEqual([{ fate: 'duplicate', iface: 0, address: '10.0.0.77', by: 5 }])
    expect(bench.wait(59_000)).toEqual([])
    expect(bench.wait(12_000).length).toBe(5)
    expect(bench.told[1].fate).toBe('unique')
  })

  test('heard before the first probe: duplicate at once', () => {
    const bench = new Bench()
    start(bench)
    bench.receive(arp({ sha: 5, spa: '10.0.0.77', tpa: '10.0.0.9' }))
    expect(bench.told.map((t) => t.fate)).toEqual(['duplicate'])
  })

  test("used while it is probed: another's probe is answered, another's use makes it a duplicate", () => {
    const bench = new Bench()
    const begin = (): void => bench.arp.dad.start(0, ip4('10.0.0.1'), 0, 0, 0, bench.nowMs, Begin.Use)
    begin()
    expect(texts(bench.wait(50, 50))).toEqual(['who-has 10.0.0.1 tell 0.0.0.0, ee00 > *, target 0'])
    const probe = arp({ sha: 5, spa: '0.0.0.0', tpa: '10.0.0.1' })
    expect(texts(bench.receive(probe))).toEqual(['is-at 0.0.0.0 tell 10.0.0.1, ee00 > 5, target 5'])
    expect(bench.told).toEqual([])
    bench.receive(arp({ op: 2, sha: 5, spa: '10.0.0.1', tha: OWN, tpa: '0.0.0.0' }))
    expect(bench.told[0]).toEqual({ fate: 'duplicate', iface: 0, address: '10.0.0.1', by: 5 })
  })

  test('not probed: two announcements; known to be taken: silent for a minute', () => {
    const bench = new Bench()
    bench.arp.dad.start(0, ip4('10.0.0.1'), 0, 0, 0, bench.nowMs, Begin.Announce)
    const announcement = 'who-has 10.0.0.1 tell 10.0.0.1, ee00 > *, target 0'
    expect(texts(bench.wait(10_000))).toEqual([announcement, announcement])
    expect(bench.told).toEqual([])
    bench.arp.dad.start(0, ip4('10.0.0.77'), 0, 0, 0, bench.nowMs, Begin.Taken)
    expect(bench.wait(59_000)).toEqual([])
    expect(bench.wait(10_000).length).toBe(5)
  })
})

describe('malformed', () => {
  const good = arp({ sha: 5, spa: '10.0.0.5', tpa: '10.0.0.1' })
  const change = (at: number, ...to: number[]): Uint8Array => {
    const frame = good.slice()
    frame.set(to, at)
    return frame
  }

  test.each([
    ['hardware type', change(14, 0, 6)],
    ['protocol type', change(16, 0x86, 0xdd)],
    ['address lengths', change(18, 8, 4)],
    ['operation', change(20, 0, 3)],
    ['sender MAC is a group', change(22, 1)],
    ['sender MAC is zero', change(22, 0, 0, 0, 0, 0, 0)],
    ['sender is a group', change(28, 224, 0, 0, 1)],
    ['sender is broadcast', change(28, 255, 255, 255, 255)],
    ['sender is the subnet broadcast', change(28, 10, 0, 0, 255)],
    ['sender is loopback', change(28, 127, 0, 0, 1)],
    ['reply from 0', arp({ op: 2, sha: 5, spa: '0.0.0.0', tha: OWN, tpa: '10.0.0.1' })],
    ['target is a group', change(38, 224, 0, 0, 1)],
  ])('%s', (_, frame) => {
    const bench = new Bench()
    expect(bench.receive(frame)).toEqual([])
    expect(bench.host.dropped('arp-invalid')).toBe(1)
    expect(bench.list()).toEqual([])
  })

  test('cut short, at every length', () => {
    const bench = new Bench()
    for (let n = 14; n < 42; n++) bench.receive(good.slice(0, n))
    expect(bench.host.dropped('arp-invalid')).toBe(28)
  })

  test('whatever comes has one fate, and the table stays bounded', () => {
    const bench = new Bench({ neighbours: 16 })
    known(bench, 5, '10.0.0.5')
    const mutation = fc.array(fc.tuple(fc.integer({ min: 14, max: 41 }), fc.integer({ min: 0, max: 255 })))
    fc.assert(
      fc.property(mutation, fc.boolean(), (changes, reply) => {
        const frame = arp({ op: reply ? 2 : 1, sha: 5, spa: '10.0.0.5', tpa: '10.0.0.1', dst: OWN })
        for (const [at, to] of changes) frame[at] = to
        bench.nowMs += 7
        for (const s of bench.receive(frame)) expect(s.bytes.subarray(6, 12)).toEqual(station(OWN))
        bench.tick()
        expect(bench.list().length).toBeLessThanOrEqual(16)
        expect(bench.list().some((n) => n.address === '10.0.0.1')).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })

  test('a flood of askers does not push out who is in use', () => {
    const bench = new Bench({ neighbours: 32 })
    known(bench, 5, '10.0.0.5')
    for (let i = 0; i < 5000; i++) {
      bench.nowMs += 1
      bench.receive(arp({ sha: 1000 + i, spa: `10.0.${i >> 8}.${(i & 127) + 20}`, tpa: '10.0.0.1' }))
    }
    expect(bench.list().length).toBe(32)
    expect(macs(bench)).toContain('10.0.0.5 00:05 REACHABLE')
  })
})
