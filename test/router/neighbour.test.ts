import { describe, expect, test } from 'vitest'
import { IP_SHIFT, Ip } from '../../src/packet/ip.ts'
import { Flag, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import { listNeighbours } from '../../src/router/neighbour-list.ts'
import { MAX_BYTES, MAX_PACKETS } from '../../src/router/neighbour-queue.ts'
import { NeighbourTable } from '../../src/router/neighbour-table.ts'
import { station } from '../support/frames.ts'
import {
  a6,
  arp,
  arpText,
  bytes,
  ethernet,
  icmp6,
  ip4,
  ipv4,
  ipv6,
  macOfStation,
  pattern,
  u32,
} from './packets.ts'
import { Bench, OWN } from './support.ts'

/** A routed packet from the second interface, with its number in the id field. */
function packet(id = 1, size = 64, dst = '10.0.0.2'): Uint8Array {
  return ethernet(OWN + 1, 9, 0x0800, ipv4({ src: '10.1.0.9', dst, id, payload: pattern(size) }))
}

const idOf = (frame: Uint8Array): number => (frame[18] << 8) | frame[19]
const reply = (n: number, spa: string, tpa = '10.0.0.1'): Uint8Array =>
  arp({ op: 2, sha: n, spa, tha: OWN, tpa })

/** A neighbour that is known, and how. */
function known(bench: Bench, address = '10.0.0.2', n = 2): void {
  bench.output(packet(1, 64, address), address)
  bench.host.round()
  bench.receive(reply(n, address))
}

describe('resolution', () => {
  test('the first packet waits for an answer, and goes then, as it was', () => {
    const bench = new Bench()
    bench.output(packet(7), '10.0.0.2')
    const asked = bench.host.round()
    expect(asked.map((s) => arpText(s.bytes))).toEqual(['who-has 10.0.0.2 tell 10.0.0.1, ee00 > *, target 0'])
    expect(bench.states()).toEqual(['10.0.0.2 INCOMPLETE'])
    expect(bench.host.held.size).toBe(1)
    const [sent] = bench.receive(reply(2, '10.0.0.2'))
    expect(sent.port).toBe(1)
    expect(sent.bytes).toEqual(ethernet(2, OWN, 0x0800, packet(7).subarray(14)))
    expect(bench.states()).toEqual(['10.0.0.2 REACHABLE'])
  })

  test('nobody is asked more than once a second, and not more than three times', () => {
    const bench = new Bench()
    const times: number[] = []
    for (let i = 0; i < 2990; i += 10) {
      bench.output(packet(i & 0xff), '10.0.0.2')
      if (bench.host.round().length > 0) times.push(i)
      bench.nowMs += 10
      if (bench.tick().length > 0) times.push(i + 10)
    }
    expect(times).toEqual([0, 1000, 2000])
    expect(bench.states()).toEqual(['10.0.0.2 INCOMPLETE'])
    expect(bench.unreachable.length).toBe(0)
  })

  test('when nobody answers, every packet that waits is told of and dropped', () => {
    const bench = new Bench()
    for (let i = 1; i <= 5; i++) bench.output(packet(i), '10.0.0.2')
    bench.host.round()
    bench.wait(3000)
    expect(bench.states()).toEqual(['10.0.0.2 FAILED'])
    expect(bench.unreachable.map((p) => p[5])).toEqual([1, 2, 3, 4, 5])
    expect(bench.host.dropped('neighbour-failed')).toBe(5)
    expect(bench.host.held.size).toBe(0)
    bench.output(packet(6), '10.0.0.2')
    expect(bench.host.round().length).toBe(1)
    expect(bench.states()).toEqual(['10.0.0.2 INCOMPLETE'])
  })

  test('an error to the neighbour that just failed waits for it, and does not go round', () => {
    const bench = new Bench()
    const seen: number[] = []
    const inner = bench.neighbours
    const table = (bench.neighbours as unknown as { states: { unreachable: (slot: number) => void } }).states
    table.unreachable = (slot) => {
      seen.push(slot)
      bench.output(packet(99), '10.0.0.2')
    }
    bench.output(packet(1), '10.0.0.2')
    bench.output(packet(2), '10.0.0.2')
    bench.host.round()
    bench.wait(3000)
    expect(seen.length).toBe(2)
    expect(bench.host.dropped('neighbour-failed')).toBe(2)
    expect(inner.states.queue.count).toBe(2)
  })

  test('an entry that was pushed out and comes back within the second is not asked for again at once', () => {
    const bench = new Bench()
    bench.output(packet(1), '10.0.0.2')
    expect(bench.host.round().length).toBe(1)
    bench.neighbours.flush(0, false)
    bench.output(packet(2), '10.0.0.2')
    expect(bench.host.round().length).toBe(0)
    const again = bench.wait(1000, 50)
    expect(again.length).toBe(1)
  })

  test('IPv6: the solicited-node group is asked, from the link-local address', () => {
    const bench = new Bench()
    const data = ethernet(OWN + 1, 9, 0x86dd, ipv6({ src: 'fd00:1::9', dst: 'fd00::1234:5678' }))
    bench.output(data, 'fd00::1234:5678')
    const [asked] = bench.host.round()
    const ns = icmp6(
      { src: 'fe80::1', dst: 'ff02::1:ff34:5678' },
      bytes([135, 0, 0, 0], u32(0), a6('fd00::1234:5678'), [1, 1], station(OWN)),
    )
    expect(asked.bytes).toEqual(ethernet([0x33, 0x33, 0xff, 0x34, 0x56, 0x78], OWN, 0x86dd, ns))
  })
})

describe('states', () => {
  test('reachable, not used: stale', () => {
    const bench = new Bench()
    known(bench)
    bench.wait(46_000)
    expect(bench.states()).toEqual(['10.0.0.2 STALE'])
    expect(bench.wait(120_000, 1000)).toEqual([])
    expect(bench.states()).toEqual(['10.0.0.2 STALE'])
  })

  test('reachable for 15 to 45 seconds, as chance has it', () => {
    const times = new Set<number>()
    for (let i = 0; i < 4; i++) {
      const bench = new Bench()
      bench.tick()
      bench.wait(300_000 * i, 10_000)
      known(bench)
      times.add(bench.neighbours.states.reachableMs)
      const from = bench.nowMs
      while (bench.states()[0] === '10.0.0.2 REACHABLE') bench.wait(1000)
      expect(bench.nowMs - from).toBeGreaterThanOrEqual(15_000)
      expect(bench.nowMs - from).toBeLessThanOrEqual(46_000)
    }
    expect(times.size).toBeGreaterThan(2)
  })

  test('reachable, used: delay, a unicast probe after 5 s, reachable by its answer', () => {
    const bench = new Bench()
    known(bench)
    const until = bench.nowMs + bench.neighbours.states.reachableMs
    bench.nowMs = until - 1000
    bench.output(packet(), '10.0.0.2')
    bench.host.round()
    bench.nowMs = until
    expect(bench.tick()).toEqual([])
    expect(bench.states()).toEqual(['10.0.0.2 DELAY'])
    bench.nowMs += 4999
    expect(bench.tick()).toEqual([])
    bench.nowMs += 1
    expect(bench.tick().map((s) => arpText(s.bytes))).toEqual([
      'who-has 10.0.0.2 tell 10.0.0.1, ee00 > 2, target 0',
    ])
    expect(bench.states()).toEqual(['10.0.0.2 PROBE'])
    bench.receive(reply(2, '10.0.0.2'))
    expect(bench.states()).toEqual(['10.0.0.2 REACHABLE'])
  })

  test('three unicast probes without an answer: failed; packets go until then', () => {
    const bench = new Bench()
    known(bench)
    bench.wait(46_000)
    bench.output(packet(), '10.0.0.2')
    expect(bench.host.round().length).toBe(1)
    expect(bench.states()).toEqual(['10.0.0.2 DELAY'])
    const probes = bench.wait(5000 + 2500)
    expect(probes.map((s) => s.bytes[5])).toEqual([2, 2, 2])
    bench.output(packet(), '10.0.0.2')
    expect(bench.host.round().length).toBe(1)
    expect(bench.wait(500)).toEqual([])
    expect(bench.states()).toEqual(['10.0.0.2 FAILED'])
    bench.output(packet(), '10.0.0.2')
    expect(arpText(bench.host.round()[0].bytes)).toBe('who-has 10.0.0.2 tell 10.0.0.1, ee00 > *, target 0')
  })

  test.each(['STALE', 'DELAY', 'PROBE'])('a confirmation from above makes %s reachable', (state) => {
    const bench = new Bench()
    known(bench)
    bench.wait(46_000)
    if (state !== 'STALE') bench.output(packet(), '10.0.0.2')
    bench.host.round()
    if (state === 'PROBE') bench.wait(5000)
    expect(bench.states()).toEqual([`10.0.0.2 ${state}`])
    bench.neighbours.confirm(0, 4, ip4('10.0.0.2'), 0, 0, 0, bench.nowMs)
    expect(bench.states()).toEqual(['10.0.0.2 REACHABLE'])
  })

  test('confirmed again and again: no probe is ever sent', () => {
    const bench = new Bench()
    known(bench)
    for (let i = 0; i < 300; i++) {
      bench.output(packet(), '10.0.0.2')
      bench.neighbours.confirm(0, 4, ip4('10.0.0.2'), 0, 0, 0, bench.nowMs)
      bench.nowMs += 1000
      expect(bench.tick().length).toBe(1)
    }
    expect(bench.states()).toEqual(['10.0.0.2 REACHABLE'])
  })

  test('a confirmation does not invent a neighbour, nor a MAC', () => {
    const bench = new Bench()
    bench.neighbours.confirm(0, 4, ip4('10.0.0.2'), 0, 0, 0, bench.nowMs)
    bench.output(packet(), '10.0.0.2')
    bench.neighbours.confirm(0, 4, ip4('10.0.0.2'), 0, 0, 0, bench.nowMs)
    bench.host.round()
    expect(bench.states()).toEqual(['10.0.0.2 INCOMPLETE'])
  })

  test('permanent: never asked, changed, aged or collected', () => {
    const bench = new Bench()
    const [hi, lo] = macOfStation(77)
    expect(bench.neighbours.pin(0, 4, ip4('10.0.0.2'), 0, 0, 0, hi, lo, bench.nowMs)).toBe(true)
    bench.receive(reply(2, '10.0.0.2'))
    bench.receive(arp({ sha: 2, spa: '10.0.0.2', tpa: '10.0.0.1' }))
    bench.wait(600_000, 5000)
    bench.output(packet(), '10.0.0.2')
    expect(bench.host.round()[0].bytes.subarray(0, 6)).toEqual(station(77))
    expect(bench.list()[0]).toMatchObject({ state: 'PERMANENT', mac: '02:00:00:00:00:4d' })
  })
})

describe('the queue', () => {
  test('keeps 101 packets of a neighbour, the youngest, in order', () => {
    const bench = new Bench({ slots: 1024 })
    for (let i = 0; i < 150; i++) bench.output(packet(i), '10.0.0.2')
    expect(bench.host.round().length).toBe(1)
    expect(bench.host.dropped('neighbour-queue')).toBe(49)
    expect(bench.list()[0].waiting).toBe(101)
    const sent = bench.receive(reply(2, '10.0.0.2'))
    expect(sent.map((s) => idOf(s.bytes))).toEqual(Array.from({ length: MAX_PACKETS }, (_, i) => 49 + i))
  })

  test('keeps 212992 bytes of a neighbour', () => {
    const bench = new Bench({ slots: 256 })
    for (let i = 0; i < 10; i++) bench.output(packet(i, 60_000), '10.0.0.2')
    bench.host.round()
    expect(bench.list()[0].waiting).toBe(Math.floor(MAX_BYTES / 60_034))
    expect(bench.host.dropped('neighbour-queue')).toBe(7)
    bench.wait(3000)
    expect(bench.host.held.size).toBe(0)
  })

  test('a scan holds a quarter of the pool, and loses its own oldest', () => {
    const bench = new Bench({ slots: 256 })
    for (let i = 0; i < 2000; i++) {
      bench.output(packet(i), `10.0.${i >> 8}.${i & 255}`)
      bench.host.round()
      bench.nowMs += 1
    }
    expect(bench.host.held.size).toBeLessThanOrEqual(64)
    bench.output(packet(1, 64, '10.0.9.2'), '10.0.9.2')
    bench.host.round()
    expect(bench.receive(reply(2, '10.0.9.2')).length).toBe(1)
    bench.wait(10_000)
    expect(bench.host.held.size).toBe(0)
  })

  test('no slot to keep it in: dropped by name', () => {
    const bench = new Bench()
    bench.host.exhausted = true
    bench.output(packet(), '10.0.0.2')
    expect(bench.host.round()).toEqual([])
    expect(bench.host.dropped('no-slot')).toBe(1)
  })
})

describe('the table', () => {
  test('a scan pushes out neither who is in use nor who is permanent', () => {
    const bench = new Bench({ neighbours: 32, slots: 512 })
    bench.neighbours.pin(0, 4, ip4('10.0.0.200'), 0, 0, 0, 0x200, 1, bench.nowMs)
    for (let i = 2; i < 12; i++) known(bench, `10.0.0.${i}`, i)
    for (let i = 0; i < 3000; i++) {
      bench.output(packet(i), `10.0.${1 + (i >> 8)}.${i & 255}`)
      bench.nowMs += 1
      bench.host.round()
    }
    const states = bench.states()
    expect(states.filter((s) => s.endsWith('REACHABLE')).length).toBe(10)
    expect(states).toContain('10.0.0.200 PERMANENT')
    expect(states.length).toBe(32)
  })

  test('a scan of IPv6 does not touch IPv4, nor one interface the other', () => {
    const bench = new Bench({ neighbours: 16, slots: 512 })
    bench.output(ethernet(OWN, 9, 0x0800, ipv4({ dst: '10.1.0.7' })), '10.1.0.7', 1, 0)
    bench.host.round()
    bench.receive(arp({ op: 2, sha: 7, spa: '10.1.0.7', tha: OWN + 1, tpa: '10.1.0.1' }), 1)
    bench.wait(50_000, 1000)
    expect(bench.states()).toEqual(['10.1.0.7 STALE'])
    for (let i = 0; i < 500; i++) {
      bench.output(packet(i), `10.0.3.${i & 255}`)
      const data = ethernet(OWN + 1, 9, 0x86dd, ipv6({ dst: `fd00::${i.toString(16)}` }))
      bench.output(data, `fd00::${i.toString(16)}`)
      bench.nowMs += 1
      bench.host.round()
    }
    expect(bench.states()).toContain('10.1.0.7 STALE')
    expect(bench.list().filter((n) => n.family === 6).length).toBe(16)
    expect(bench.list().filter((n) => n.family === 4).length).toBe(16)
  })

  test('full of neighbours in use: the next one is refused by name', () => {
    const bench = new Bench({ neighbours: 16 })
    for (let i = 2; i < 18; i++) known(bench, `10.0.0.${i}`, i)
    bench.output(packet(), '10.0.0.99')
    expect(bench.host.round()).toEqual([])
    expect(bench.host.dropped('neighbour-table')).toBe(1)
    // Another interface, which has none, gets one all the same.
    bench.output(ethernet(OWN, 9, 0x0800, ipv4({ dst: '10.1.0.7' })), '10.1.0.7', 1, 0)
    expect(bench.host.round().length).toBe(1)
  })

  test('below the threshold nothing is collected; above, what failed or was not used for a minute', () => {
    const bench = new Bench({ slots: 1024 })
    for (let i = 2; i < 102; i++) known(bench, `10.0.0.${i}`, i)
    bench.wait(200_000, 1000)
    expect(bench.states().length).toBe(100)
    for (let i = 2; i < 102; i++) known(bench, `10.0.1.${i}`, i)
    bench.wait(120_000, 1000)
    expect(bench.states().length).toBeLessThan(128)
  })

  test('another thread reads it, another worker adopts it', () => {
    const bench = new Bench()
    known(bench)
    bench.output(packet(), '10.0.0.3')
    bench.host.round()
    expect(listNeighbours(bench.memory, bench.nowMs + 5).length).toBe(2)
    const table = new NeighbourTable(bench.memory)
    expect([...table.count]).toEqual([1, 0])
    expect(table.find((4 << 8) | 0, ip4('10.0.0.2'), 0, 0, 0)).toBeGreaterThanOrEqual(0)
    expect(table.find((4 << 8) | 0, ip4('10.0.0.3'), 0, 0, 0)).toBe(-1)
  })

  test('find, add and remove agree with a Map', () => {
    const table = new NeighbourTable(NeighbourTable.memory(64, 3))
    const model = new Map<string, number>()
    let x = 1
    for (let step = 0; step < 20_000; step++) {
      x = (Math.imul(x, 1103515245) + 12345) >>> 0
      const family = (x >>> 16) & 1 ? 6 : 4
      const key = (family << 8) | ((x >>> 8) & 3)
      const w = family === 6 ? [1, 2, (x >>> 20) & 3, (x >>> 24) & 31] : [(x >>> 22) & 63, 0, 0, 0]
      const name = `${key} ${w}`
      const found = table.find(key, w[0], w[1], w[2], w[3])
      expect(found).toBe(model.get(name) ?? -1)
      if (found < 0) {
        const e = table.add(key, w[0], w[1], w[2], w[3], step)
        if (model.size === 128) expect(e).toBe(-1)
        else model.set(name, e)
      } else if (x & 0x80) {
        table.remove(found)
        model.delete(name)
      }
      expect(table.count[0] + table.count[1]).toBe(model.size)
    }
  })

  test('flush of an interface drops what waits for its neighbours', () => {
    const bench = new Bench()
    known(bench)
    bench.output(packet(), '10.0.0.9')
    bench.host.round()
    bench.neighbours.flush(0, false)
    expect(bench.states()).toEqual([])
    expect(bench.host.dropped('port-removed')).toBe(1)
    bench.output(packet(), '10.0.0.2')
    bench.host.round()
    expect(bench.states()).toEqual(['10.0.0.2 INCOMPLETE'])
  })
})

describe('addresses that nobody has to be asked for', () => {
  test.each([
    ['224.0.0.5', [1, 0, 0x5e, 0, 0, 5]],
    ['239.255.1.2', [1, 0, 0x5e, 0x7f, 1, 2]],
    ['255.255.255.255', [255, 255, 255, 255, 255, 255]],
    ['10.0.0.255', [255, 255, 255, 255, 255, 255]],
  ])('%s', (hop, mac) => {
    const bench = new Bench()
    bench.output(packet(), hop)
    const [sent] = bench.host.round()
    expect([...sent.bytes.subarray(0, 6)]).toEqual(mac)
    expect(bench.states()).toEqual([])
  })

  test('ff02::1:ff00:2', () => {
    const bench = new Bench()
    bench.output(ethernet(OWN + 1, 9, 0x86dd, ipv6()), 'ff02::1:ff00:2')
    expect([...bench.host.round()[0].bytes.subarray(0, 6)]).toEqual([0x33, 0x33, 0xff, 0, 0, 2])
  })

  test('the broadcast of another subnet is an address like any', () => {
    const bench = new Bench()
    bench.output(packet(), '10.0.1.255')
    bench.host.round()
    expect(bench.states()).toEqual(['10.0.1.255 INCOMPLETE'])
  })
})

describe('frames', () => {
  test('from a TUN: the Ethernet header goes into the headroom, a partial checksum moves along', () => {
    const bench = new Bench()
    known(bench)
    const bare = ipv4({ src: '10.2.0.9', dst: '10.0.0.2', payload: pattern(100) })
    const offloads = { flags: Flag.CsumPartial, csumStart: 20, csumOffset: 6 }
    const slot = bench.put(bare, 2, offloads)
    bench.route(slot, '10.0.0.2', 0)
    bench.neighbours.output(slot, 0, bench.nowMs)
    const m = slot << META_SHIFT
    expect(bench.host.pool.meta[m + Meta.CsumStart]).toBe(34)
    expect(bench.row(slot, Ip.L3)).toBe(14)
    expect(bench.row(slot, Ip.L4)).toBe(34)
    const [sent] = bench.host.round()
    expect(sent).toMatchObject({ port: 1, bare: false })
    expect(sent.bytes).toEqual(ethernet(2, OWN, 0x0800, bare))
  })

  test('to a TUN: it starts with the IP header', () => {
    const bench = new Bench()
    bench.output(packet(5), '10.2.0.7', 2)
    const [sent] = bench.host.round()
    expect(sent).toMatchObject({ port: 3, bare: true })
    expect(sent.bytes).toEqual(packet(5).subarray(14))
    expect(bench.states()).toEqual([])
  })

  test('without headroom left the packet moves', () => {
    const bench = new Bench()
    known(bench)
    const bare = ipv4({ src: '10.2.0.9', dst: '10.0.0.2', payload: pattern(1000) })
    const slot = bench.put(bare, 2)
    const { bytes: pool, meta } = bench.host.pool
    const at = bench.host.pool.at(slot)
    pool.copyWithin(at - 168, at, at + bare.length)
    meta[(slot << META_SHIFT) + Meta.Head] -= 168
    bench.route(slot, '10.0.0.2', 0)
    bench.neighbours.output(slot, 0, bench.nowMs)
    expect(bench.host.round()[0].bytes).toEqual(ethernet(2, OWN, 0x0800, bare))
  })

  test('from and to Ethernet nothing but the header changes', () => {
    const bench = new Bench()
    known(bench)
    const slot = bench.put(packet(3), 1)
    bench.route(slot, '10.0.0.2', 0)
    const head = bench.host.pool.meta[(slot << META_SHIFT) + Meta.Head]
    bench.neighbours.output(slot, 0, bench.nowMs)
    expect(bench.host.pool.meta[(slot << META_SHIFT) + Meta.Head]).toBe(head)
    expect(bench.host.ip[(slot << IP_SHIFT) + Ip.L3]).toBe(14)
    expect(bench.host.round()[0].bytes).toEqual(ethernet(2, OWN, 0x0800, packet(3).subarray(14)))
  })
})
