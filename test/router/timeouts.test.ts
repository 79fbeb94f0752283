/**
 * Times of the router to the millisecond: a moment before it is still so, then no longer. Those with stories of
 * their own: probes and announcements of addresses (arp, nd), fragments (reassembly), a queue's answer (engine/queue).
 */
import { describe, expect, test } from 'vitest'
import { GC_STALE_MS } from '../../src/router/neighbour-state.ts'
import type { Router } from '../../src/router/router.ts'
import { ipv4 as ip, udp } from '../support/frames.ts'
import { Lab } from './lab.ts'
import { arp, ethernet, ipv4, pattern } from './packets.ts'
import { Bench, OWN } from './support.ts'

const packet = (): Uint8Array =>
  ethernet(OWN + 1, 9, 0x0800, ipv4({ src: '10.1.0.9', dst: '10.0.0.2', id: 1, payload: pattern(64) }))
const reply = (n: number, spa: string): Uint8Array => arp({ op: 2, sha: n, spa, tha: OWN, tpa: '10.0.0.1' })

describe('neighbours', () => {
  function known(bench: Bench, address = '10.0.0.2', n = 2): void {
    bench.output(packet(), address)
    bench.host.round()
    bench.receive(reply(n, address))
  }
  const state = (bench: Bench): string => bench.states()[0]
  /** The state just before, and just after. */
  const turns = (bench: Bench, ms: number): string[] => {
    bench.nowMs += ms - 1
    bench.tick()
    const before = state(bench)
    bench.nowMs += 1
    bench.tick()
    bench.host.round()
    return [before, state(bench)]
  }

  test('INCOMPLETE: three requests a second apart, then FAILED', () => {
    const bench = new Bench()
    bench.output(packet(), '10.0.0.2')
    expect(bench.host.round().length).toBe(1)
    for (let i = 0; i < 2; i++) {
      bench.nowMs += 999
      expect(bench.tick()).toEqual([])
      bench.nowMs += 1
      expect(bench.tick().length).toBe(1)
    }
    expect(turns(bench, 1000)).toEqual(['10.0.0.2 INCOMPLETE', '10.0.0.2 FAILED'])
  })

  test('REACHABLE, then STALE', () => {
    const bench = new Bench()
    known(bench)
    // The time is over when it was that long ago, not sooner.
    expect(turns(bench, bench.neighbours.states.reachableMs)).toEqual([
      '10.0.0.2 REACHABLE',
      '10.0.0.2 STALE',
    ])
  })

  test('STALE and used: DELAY for 5 s, then PROBE, a probe a second, then FAILED', () => {
    const bench = new Bench()
    known(bench)
    bench.nowMs += bench.neighbours.states.reachableMs
    bench.tick()
    bench.output(packet(), '10.0.0.2')
    bench.host.round()
    expect(turns(bench, 5000)).toEqual(['10.0.0.2 DELAY', '10.0.0.2 PROBE'])
    for (let i = 0; i < 2; i++) {
      bench.nowMs += 999
      expect(bench.tick()).toEqual([])
      bench.nowMs += 1
      expect(bench.tick().length).toBe(1)
    }
    expect(turns(bench, 1000)).toEqual(['10.0.0.2 PROBE', '10.0.0.2 FAILED'])
  })

  test('a MAC that changed is believed again a second later', () => {
    for (const [ms, mac] of [
      [1000, 2],
      [1001, 3],
    ]) {
      const bench = new Bench()
      known(bench)
      bench.nowMs += ms
      bench.receive(reply(3, '10.0.0.2'))
      bench.output(packet(), '10.0.0.2')
      expect(bench.host.round()[0].bytes[5]).toBe(mac)
    }
  })

  test('who was not used for a minute gives way in a full table, who was does not', () => {
    const bench = new Bench({ slots: 1024 })
    for (let i = 2; i < 200; i++) known(bench, `10.0.0.${i}`, i)
    bench.wait(GC_STALE_MS - 1000, 1000)
    expect(bench.states().length).toBe(198)
    bench.wait(20_000, 1000)
    expect(bench.states().length).toBeLessThan(198)
  })
})

describe('ICMP errors', () => {
  /** A TTL that ends here; does the source hear of it? */
  function told(lab: Lab, host: number, more: object = { ttl: 1 }): boolean {
    const { errors } = lab.engine.stages[0] as Router
    const before = errors.limited
    const ends = { src: `10.0.0.${host}`, dst: '10.0.1.2' }
    lab.inject(
      0,
      ip({ ...ends, payload: udp(ends, { srcPort: 1, dstPort: 2, payload: pattern(1400) }), ...more }),
    )
    lab.engine.service(lab.now)
    return errors.limited === before
  }
  const later = (lab: Lab, ms: number, host: number): boolean => {
    lab.now += ms
    return told(lab, host)
  }

  test('one host: six at once, then one a second', () => {
    const lab = new Lab(2, { slots: 1024 })
    expect(Array.from({ length: 8 }, () => told(lab, 2))).toEqual([
      ...Array.from({ length: 6 }, () => true),
      false,
      false,
    ])
    expect(later(lab, 999, 2)).toBe(false)
    expect(later(lab, 1, 2)).toBe(true)
    expect(later(lab, 0, 2)).toBe(false)
    // Six are saved, no more.
    lab.now += 60_000
    expect(Array.from({ length: 8 }, () => told(lab, 2)).filter(Boolean).length).toBe(6)
  })

  test('all hosts: fifty at once, then one a millisecond', () => {
    const lab = new Lab(2, { slots: 1024 })
    const first = Array.from({ length: 60 }, (_, i) => told(lab, 2 + i))
    expect(first.filter(Boolean).length).toBe(50)
    expect(told(lab, 100)).toBe(false)
    expect(later(lab, 1, 101)).toBe(true)
    expect(told(lab, 102)).toBe(false)
    expect(later(lab, 1, 103)).toBe(true)
  })

  test('what tells the size is not held back', () => {
    const lab = new Lab(2, { slots: 1024, mtus: [1500, 1280] })
    const big = { ttl: 9, dontFragment: true }
    expect(Array.from({ length: 100 }, () => told(lab, 2, big)).every(Boolean)).toBe(true)
    expect(lab.drops(1)['fragment-needed'] ?? lab.drops(0)['fragment-needed']).toBe(100)
  })
})
