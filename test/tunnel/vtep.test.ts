/** Stories of tunnel endpoints: sites, stations, and what the VTEP remembers of them. */
import { describe, expect, test } from 'vitest'
import { Counter } from '../../src/packet/counters.ts'
import { META_SHIFT, Meta } from '../../src/packet/layout.ts'
import { RemoteCount } from '../../src/tunnel/tables.ts'
import { BROADCAST, frame, group, numbered, numberIn, station } from '../support/frames.ts'
import { encapsulated, Internet, remote, type Site, TUNNEL, UNDERLAY, vxlanSettings } from './lab.ts'

const [A, B, C] = [1, 2, 3]
const [HERE, THERE, YONDER] = ['192.0.2.1', '192.0.2.2', '192.0.2.3']

function pair(): { net: Internet; here: Site; there: Site } {
  const net = new Internet()
  const here = net.site(HERE, { web: {} }, { remotes: [THERE] })
  const there = net.site(THERE, { db: {} }, { remotes: [HERE] })
  return { net, here, there }
}

function mesh(): { net: Internet; sites: Site[] } {
  const net = new Internet()
  const all = [HERE, THERE, YONDER]
  const sites = all.map((one) =>
    net.site(one, { lan: {} }, { remotes: all.filter((other) => other !== one) }),
  )
  return { net, sites }
}

describe('two sites', () => {
  test('a frame arrives at the other with every byte it was sent with', () => {
    const { here, there } = pair()
    const sent = frame({ src: A, dst: B, payload: Uint8Array.from({ length: 1400 }, (_, i) => i) })
    here.send('web', sent)
    expect(there.out('db')).toEqual([sent])
    here.conserved()
    there.conserved()
  })

  test('the header has the I flag, the VNI, and nothing else', () => {
    const { here } = pair()
    here.send('web', frame({ src: A, dst: B }))
    const [sent] = here.datagrams()
    expect([...sent.header]).toEqual([8, 0, 0, 0, 0, 0, 7, 0])
    expect(sent).toMatchObject({ to: THERE, port: 4789, ttl: 64, tos: 0 })
  })

  test('batches of 1, 2, 64 and 65 arrive whole and in order', () => {
    for (const n of [1, 2, 64, 65, 200]) {
      const { here, there } = pair()
      const frames = Array.from({ length: n }, (_, i) => frame({ src: A, dst: B, payload: numbered(i) }))
      here.send('web', ...frames)
      expect(there.out('db').map((f) => numberIn(f))).toEqual(frames.map((_, i) => i))
      expect(there.count(TUNNEL, Counter.RxPackets)).toBe(n)
      expect(here.count(TUNNEL, Counter.TxPackets)).toBe(n)
      here.conserved()
      there.conserved()
    }
  })

  test('the counters of the remote tell what went and came', () => {
    const { here, there } = pair()
    here.send('web', frame({ src: A, dst: B, size: 100 }))
    const sum = (site: Site, which: RemoteCount): number => site.memory.counters[which]
    expect(sum(here, RemoteCount.TxPackets)).toBe(1)
    expect(sum(here, RemoteCount.TxBytes)).toBe(8 + 114)
    expect(sum(there, RemoteCount.RxPackets)).toBe(1)
    expect(sum(there, RemoteCount.RxBytes)).toBe(8 + 114)
  })
})

describe('learning', () => {
  test('an answer goes to the remote it came from, and only there', () => {
    const { sites } = mesh()
    sites[0].send('lan', frame({ src: A, dst: BROADCAST }))
    for (const site of sites) site.datagrams()
    sites[1].send('lan', frame({ src: B, dst: A }))
    expect(sites[1].datagrams().map((d) => d.to)).toEqual([HERE])
  })

  test('a station that moves is found at its new site', () => {
    const { sites } = mesh()
    sites[0].send('lan', frame({ src: A, dst: BROADCAST }))
    sites[2].send('lan', frame({ src: A, dst: BROADCAST }))
    for (const site of sites) site.datagrams()
    sites[1].send('lan', frame({ src: B, dst: A }))
    expect(sites[1].datagrams().map((d) => d.to)).toEqual([YONDER])
    expect(sites[1].count(TUNNEL, Counter.Moved)).toBe(1)
    expect(sites[1].known()).toEqual({ [HERE]: 0, [YONDER]: 1 })
  })

  test('a silent station is forgotten after 300 seconds, even when only our side talks', () => {
    const { net, sites } = mesh()
    sites[0].send('lan', frame({ src: A, dst: BROADCAST }))
    net.dark.add(HERE)
    for (let s = 0; s < 300; s += 50) {
      net.seconds(50)
      sites[1].datagrams()
      sites[1].send('lan', frame({ src: B, dst: A }))
      expect(sites[1].datagrams().map((d) => d.to)).toEqual([HERE])
    }
    net.seconds(1)
    sites[1].send('lan', frame({ src: B, dst: A }))
    expect(sites[1].datagrams().map((d) => d.to)).toEqual([HERE, YONDER])
  })

  test('a static station needs no frame, does not age and does not move', () => {
    const net = new Internet()
    const statics = [{ mac: station(B), remote: THERE }]
    const here = net.site(HERE, { web: {} }, { remotes: [THERE, YONDER], statics })
    net.seconds(100_000)
    here.receive(YONDER, 7, frame({ src: B, dst: BROADCAST }))
    expect(here.out('web')).toEqual([])
    expect(here.drops(UNDERLAY)).toEqual({ 'tunnel-remote': 1 })
    here.send('web', frame({ src: A, dst: B }))
    expect(here.datagrams().map((d) => d.to)).toEqual([THERE])
    here.conserved()
  })

  test('with learning off everything floods', () => {
    const net = new Internet()
    const here = net.site(HERE, { web: {} }, { remotes: [THERE, YONDER], learning: false })
    here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    here.send('web', frame({ src: A, dst: B }))
    expect(here.datagrams()).toHaveLength(2)
  })

  test('a port learns no more than its limit', () => {
    const net = new Internet()
    const here = net.site(HERE, { web: {} }, { remotes: [THERE], limit: 3 })
    for (let i = 10; i < 20; i++) here.receive(THERE, 7, frame({ src: i, dst: BROADCAST }))
    expect(here.known()).toEqual({ [THERE]: 3 })
    expect(here.count(TUNNEL, Counter.LearnRefused)).toBe(7)
  })

  test('a flood of addresses from one remote pushes out its own', () => {
    const net = new Internet()
    const here = net.site(HERE, { web: {} }, { remotes: [THERE, YONDER] }, { most: [8, 32, 8] })
    for (let i = 1; i <= 8; i++) here.receive(YONDER, 7, frame({ src: i, dst: BROADCAST }))
    for (let i = 1000; i < 6000; i++) here.receive(THERE, 7, frame({ src: i, dst: BROADCAST }))
    expect(here.known()).toEqual({ [THERE]: 24, [YONDER]: 8 })
  })

  test('remotes come and go within their limit, and the named ones stay', () => {
    const net = new Internet()
    const here = net.site(HERE, { web: {} }, { remotes: [THERE], accept: 'any' }, { most: [8, 64, 8] })
    for (let i = 0; i < 100; i++) here.receive(`198.51.100.${i}`, 7, frame({ src: 100 + i, dst: BROADCAST }))
    const known = Object.keys(here.known())
    expect(known).toHaveLength(8)
    expect(known).toContain(THERE)
    const learned = Object.values(here.known()).reduce((a, b) => a + b)
    expect(here.vtep.remotes.learned).toBe(learned)
    here.conserved()
  })

  test('a learned remote that is silent and has no addresses is forgotten', () => {
    const net = new Internet()
    const here = net.site(HERE, { web: {} }, { accept: 'any' })
    here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    expect(here.known()).toEqual({ [THERE]: 1 })
    net.seconds(601)
    here.fabric.engine.service(here.fabric.nowMs)
    here.fabric.engine.service(here.fabric.nowMs + 1000)
    expect(here.known()).toEqual({})
  })
})

describe('floods', () => {
  test('three sites in a full mesh get a broadcast exactly once each', () => {
    const { sites } = mesh()
    sites[0].send('lan', frame({ src: A, dst: BROADCAST }))
    expect(sites.map((s) => s.out('lan').length)).toEqual([0, 1, 1])
    for (const site of sites) site.conserved()
    expect(sites[0].count(TUNNEL, Counter.Made)).toBe(1)
  })

  test('nothing goes from tunnel to tunnel in one VNI', () => {
    const { sites } = mesh()
    sites[0].send('lan', frame({ src: A, dst: BROADCAST }), frame({ src: A, dst: group(1) }))
    sites[0].send('lan', frame({ src: A, dst: C }))
    expect(sites[1].datagrams()).toEqual([])
    expect(sites[2].datagrams()).toEqual([])
  })

  test('a hub sends to all but whom it came from', () => {
    const net = new Internet()
    const hub = net.site(HERE, { lan: {} }, { remotes: [THERE, YONDER], port: { hairpin: true } })
    hub.receive(THERE, 7, frame({ src: A, dst: BROADCAST }))
    expect(hub.datagrams().map((d) => d.to)).toEqual([YONDER])
    hub.receive(YONDER, 7, frame({ src: B, dst: A }))
    expect(hub.datagrams().map((d) => d.to)).toEqual([THERE])
    hub.receive(THERE, 7, frame({ src: C, dst: A }))
    expect(hub.datagrams()).toEqual([])
    expect(hub.drops(TUNNEL)).toEqual({ 'same-port': 1 })
    hub.conserved()
  })

  test('a group gets one copy, with its own TTL, beside the list', () => {
    const net = new Internet()
    const here = net.site(HERE, { web: {} }, { remotes: [THERE], group: '239.1.1.1' })
    here.send('web', frame({ src: A, dst: BROADCAST }))
    expect(here.datagrams().map(({ to, ttl }) => [to, ttl])).toEqual([
      [THERE, 64],
      ['239.1.1.1', 1],
    ])
    here.conserved()
  })

  test('without a remote the packet is dropped by name', () => {
    const here = new Internet().site(HERE, { web: {} }, {})
    here.send('web', frame({ src: A, dst: BROADCAST }))
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-no-remote': 1 })
    here.conserved()
  })

  test('a flood to more remotes than the outbox has rows reaches every one', () => {
    const net = new Internet()
    const remotes = Array.from({ length: 600 }, (_, i) => `198.51.${i >> 8}.${i & 255}`)
    const here = net.site(HERE, { web: {} }, { remotes }, { most: [1024, 64, 8] })
    here.send('web', frame({ src: A, dst: BROADCAST }), frame({ src: A, dst: C }))
    const to = here.datagrams().map((d) => d.to)
    expect(to).toEqual([...remotes, ...remotes])
    expect(here.count(TUNNEL, Counter.TxPackets)).toBe(1200)
    here.conserved()
  })

  test('a dead remote gets nothing, and what was learned of it is forgotten', () => {
    const { sites } = mesh()
    sites[0].send('lan', frame({ src: A, dst: BROADCAST }))
    const { engine } = sites[1].fabric
    engine.apply({ op: 'remote-state', id: 10, remote: remote(HERE), dead: true })
    sites[1].send('lan', frame({ src: B, dst: A }))
    expect(sites[1].datagrams().map((d) => d.to)).toEqual([YONDER])
    expect(sites[1].known()[HERE]).toBe(0)
    engine.apply({ op: 'remote-state', id: 10, remote: remote(HERE), dead: false })
    sites[1].send('lan', frame({ src: B, dst: BROADCAST }))
    expect(sites[1].datagrams().map((d) => d.to)).toEqual([HERE, YONDER])
  })
})

describe('many VNIs', () => {
  test('share the sockets and nothing else', () => {
    const net = new Internet()
    const vlan = (vid: number): { vlan: { mode: 'access'; vid: number } } => ({
      vlan: { mode: 'access', vid },
    })
    const segments = [
      { vni: 1, remotes: [THERE], port: vlan(1) },
      { vni: 0xffffff, remotes: [THERE], port: vlan(2) },
    ]
    const here = net.site(HERE, { one: vlan(1), two: vlan(2) }, segments)
    here.receive(THERE, 1, frame({ src: B, dst: BROADCAST, payload: numbered(1) }))
    here.receive(THERE, 0xffffff, frame({ src: B, dst: BROADCAST, payload: numbered(2) }))
    expect(here.out('one').map((f) => numberIn(f))).toEqual([1])
    expect(here.out('two').map((f) => numberIn(f))).toEqual([2])
    here.send('one', frame({ src: A, dst: B }))
    here.send('two', frame({ src: A, dst: B }))
    expect(here.datagrams().map((d) => d.vni)).toEqual([1, 0xffffff])
    here.conserved()
  })

  test('one batch of many VNIs is one call of the kernel', () => {
    const net = new Internet()
    const here = net.site(HERE, {}, [], { slots: 600 })
    for (let i = 0; i < 40; i++) {
      const vlan = { mode: 'access' as const, vid: i + 1 }
      here.addSegment({ vni: 1000 + i, remotes: [THERE], port: { vlan } })
    }
    here.fabric.add('trunk', {
      vlan: { mode: 'trunk', allowed: Array.from({ length: 40 }, (_, i) => i + 1) },
    })
    let calls = 0
    const { transmit } = here.vtep.outbox
    here.vtep.outbox.transmit = (count) => {
      calls++
      return transmit(count)
    }
    const tagged = (vid: number): Uint8Array => frame({ src: A, dst: B, tags: [{ vid }] })
    here.send('trunk', ...Array.from({ length: 40 }, (_, i) => tagged(i + 1)))
    expect(here.datagrams().map((d) => d.vni)).toEqual(Array.from({ length: 40 }, (_, i) => 1000 + i))
    expect(calls).toBe(1)
    here.conserved()
  })

  test('one VNI twice is an error, and nothing is left behind', () => {
    const here = new Internet().site(HERE, {}, { vni: 5, remotes: [THERE] })
    expect(() => here.addSegment({ vni: 5, remotes: [YONDER] })).toThrow('VNI 5 is in use')
    expect(Object.keys(here.known())).toEqual([THERE])
  })
})

describe('what comes in', () => {
  const story = (options: Parameters<Internet['site']>[2], bytes: Uint8Array, from = THERE) => {
    const here = new Internet().site(HERE, { web: {} }, options)
    here.arrive({ from, bytes })
    here.run()
    here.conserved()
    return { got: here.out('web').length, drops: here.drops(UNDERLAY) }
  }
  const inner = frame({ src: B, dst: A })
  const good = encapsulated(7, inner)

  test('reserved bits are ignored', () => {
    expect(story({}, encapsulated(7, inner, 0xffffffff)).got).toBe(1)
    const last = good.slice()
    last[7] = 255
    expect(story({}, last).got).toBe(1)
  })

  test.each([
    ['no I flag', encapsulated(7, inner, 0xf7ffffff)],
    ['nothing at all', new Uint8Array(0)],
    ['seven bytes', good.slice(0, 7)],
  ])('dropped as tunnel-header: %s', (_, bytes) => {
    expect(story({}, bytes)).toEqual({ got: 0, drops: { 'tunnel-header': 1 } })
  })

  test.each([8, 9, 21])('a datagram of %i bytes is a runt', (n) => {
    expect(story({}, good.slice(0, n))).toEqual({ got: 0, drops: { runt: 1 } })
  })

  test('strict drops any reserved bit', () => {
    for (const bit of [0x80000000, 0x00800000, 1]) {
      const here = new Internet().site(HERE, { web: {} }, {}, { strict: true })
      here.arrive({ from: THERE, bytes: encapsulated(7, inner, (0x08000000 | bit) >>> 0) })
      here.run()
      expect(here.drops(UNDERLAY)).toEqual({ 'tunnel-header': 1 })
      here.receive(THERE, 7, inner)
      expect(here.out('web')).toHaveLength(1)
    }
  })

  test('a VNI that is none of ours', () => {
    expect(story({}, encapsulated(8, inner))).toEqual({ got: 0, drops: { 'tunnel-no-vni': 1 } })
  })

  test('a stranger is let in only when anybody is', () => {
    expect(story({ remotes: [YONDER], accept: 'any' }, good).got).toBe(1)
    expect(story({ remotes: [YONDER], accept: 'known' }, good)).toEqual({
      got: 0,
      drops: { 'tunnel-remote': 1 },
    })
    expect(story({ remotes: [THERE], accept: 'known' }, good).got).toBe(1)
  })

  test('a stranger teaches nothing and leaves no trace', () => {
    const here = new Internet().site(HERE, { web: {} }, { remotes: [YONDER], accept: 'known' })
    here.receive(THERE, 7, inner)
    expect(here.known()).toEqual({ [YONDER]: 0 })
  })

  test('who is known in one VNI is a stranger in another', () => {
    const segments = [
      { vni: 7, remotes: [THERE], accept: 'known' as const },
      { vni: 8, remotes: [YONDER], accept: 'known' as const },
    ]
    const here = new Internet().site(HERE, { web: {} }, segments)
    here.receive(THERE, 8, inner)
    expect(here.drops(UNDERLAY)).toEqual({ 'tunnel-remote': 1 })
  })

  test('our own datagrams come back: a loop', () => {
    expect(story({ accept: 'any' }, good, HERE)).toEqual({ got: 0, drops: { 'tunnel-remote': 1 } })
  })

  test("a frame with our own host's address is a loop too", () => {
    const here = new Internet().site(HERE, { host: { own: station(A) } }, {})
    here.receive(THERE, 7, frame({ src: A, dst: BROADCAST }))
    expect(here.drops(TUNNEL)).toEqual({ 'source-own': 1 })
    here.conserved()
  })
})

describe('inner VLAN tags', () => {
  const tagged = frame({ src: B, dst: A, tags: [{ vid: 5 }] })

  test('are dropped on the way out of the tunnel and into it, by name', () => {
    const here = new Internet().site(HERE, { web: {} }, { remotes: [THERE] })
    here.receive(THERE, 7, tagged)
    expect(here.drops(UNDERLAY)).toEqual({ 'tunnel-tagged': 1 })
    here.send('web', tagged)
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-tagged': 1 })
    here.conserved()
  })

  test('are let through both ways with innerVlan keep', () => {
    const here = new Internet().site(HERE, { web: {} }, { remotes: [THERE], innerVlan: 'keep' })
    here.receive(THERE, 7, tagged)
    expect(here.out('web')).toEqual([tagged])
    here.send('web', frame({ src: A, dst: BROADCAST, tags: [{ vid: 5 }] }))
    expect(here.datagrams()[0].inner).toEqual(frame({ src: A, dst: BROADCAST, tags: [{ vid: 5 }] }))
  })

  test('of a trunk are taken off, or kept', () => {
    for (const innerVlan of ['discard', 'keep'] as const) {
      const trunk = { vlan: { mode: 'trunk' as const, allowed: [5] } }
      const here = new Internet().site(
        HERE,
        { web: { vlan: { mode: 'access', vid: 5 } } },
        { remotes: [THERE], innerVlan, port: trunk },
      )
      here.send('web', frame({ src: A, dst: BROADCAST }))
      const tags = innerVlan === 'keep' ? [{ vid: 5 }] : []
      expect(here.datagrams()[0].inner).toEqual(frame({ src: A, dst: BROADCAST, tags }))
    }
  })
})

describe('settings while traffic flows', () => {
  test('what was learned of remotes that stay is kept, of others forgotten', () => {
    const here = new Internet().site(HERE, { web: {} }, { remotes: [THERE, YONDER] })
    here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    here.receive(YONDER, 7, frame({ src: C, dst: BROADCAST }))
    const settings = vxlanSettings({ remotes: [THERE, '192.0.2.4'] })
    here.fabric.engine.apply({ op: 'vxlan-set', index: TUNNEL, settings })
    expect(here.known()).toEqual({ [THERE]: 1, '192.0.2.4': 0 })
    here.send('web', frame({ src: A, dst: B }), frame({ src: A, dst: C }))
    expect(here.datagrams().map((d) => d.to)).toEqual([THERE, THERE, '192.0.2.4'])
  })

  test('a remote that two ports name stays for the one that keeps it', () => {
    const segments = [
      { vni: 7, remotes: [THERE] },
      { vni: 8, remotes: [THERE] },
    ]
    const here = new Internet().site(HERE, { web: {} }, segments)
    here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    here.receive(THERE, 8, frame({ src: C, dst: BROADCAST }))
    const settings = vxlanSettings({ remotes: [YONDER] })
    here.fabric.engine.apply({ op: 'vxlan-set', index: TUNNEL, settings })
    expect(here.known()).toEqual({ [THERE]: 1, [YONDER]: 0 })
  })

  test('a removed port takes its stations and remotes along', () => {
    const segments = [{ vni: 7, remotes: [THERE], statics: [{ mac: station(C), remote: YONDER }] }]
    const here = new Internet().site(HERE, { web: {} }, segments)
    here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    here.fabric.engine.apply({ op: 'port-remove', index: TUNNEL })
    expect(here.known()).toEqual({})
    expect(here.vtep.stations.table.size).toBe(0)
    here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    expect(here.drops(UNDERLAY)).toEqual({ 'tunnel-no-vni': 1 })
    here.fabric.engine.apply({ op: 'vtep-remove', id: 10 })
    expect(here.fabric.engine.stages[10]).toBe(null)
  })

  test('a VTEP with ports is not removed', () => {
    const here = new Internet().site(HERE, { web: {} }, {})
    expect(() => here.fabric.engine.apply({ op: 'vtep-remove', id: 10 })).toThrow('has VXLAN ports')
  })

  test('a flush forgets what was learned, of all or of one remote', () => {
    const here = new Internet().site(HERE, { web: {} }, { remotes: [THERE, YONDER] })
    const learn = (): void => {
      here.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
      here.receive(YONDER, 7, frame({ src: C, dst: BROADCAST }))
    }
    learn()
    here.fabric.engine.apply({ op: 'vxlan-flush', id: 10, index: -1, remote: remote(THERE) })
    expect(here.known()).toEqual({ [THERE]: 0, [YONDER]: 1 })
    learn()
    here.fabric.engine.apply({ op: 'vxlan-flush', id: 10, index: TUNNEL, remote: null })
    expect(here.known()).toEqual({ [THERE]: 0, [YONDER]: 0 })
  })

  test('a successor goes on with what was learned', () => {
    const net = new Internet()
    const statics = [{ mac: station(9), remote: YONDER }]
    const first = net.site(HERE, { web: {} }, { remotes: [THERE], statics })
    first.receive(THERE, 7, frame({ src: B, dst: BROADCAST }))
    const { memory } = first
    const second = net.site(HERE, {}, [], {})
    second.fabric.engine.apply({ op: 'vtep-remove', id: 10 })
    Object.assign(second, { memory })
    second.addVtep()
    second.addSegment({ remotes: [THERE], statics })
    second.fabric.add('web')
    expect(second.known()).toEqual({ [THERE]: 1, [YONDER]: 0 })
    second.send('web', frame({ src: A, dst: B }), frame({ src: A, dst: 9 }))
    expect(second.datagrams().map((d) => d.to)).toEqual([THERE, YONDER])
    expect(second.vtep.stations.table.size).toBe(2)
  })
})

describe('packets made in a round', () => {
  test('are sent before their slots are used again in the same round', () => {
    const here = new Internet().site(HERE, {}, { remotes: [THERE] }, { slots: 64 + 66 })
    const { pool, pipeline, ports, batch } = here.fabric.engine
    for (let i = 0; i < 300; i++) {
      const slot = pool.alloc()
      const bytes = frame({ src: A, dst: B, payload: numbered(i) })
      pool.reset(slot, bytes.length)
      pool.bytes.set(bytes, pool.at(slot))
      pool.meta[(slot << META_SHIFT) + Meta.Port] = 0
      pipeline.loose.add(pool, slot)
      ports.push(TUNNEL, slot, 0)
    }
    pipeline.settle(batch)
    expect(here.datagrams().map((d) => numberIn(d.inner))).toEqual(Array.from({ length: 300 }, (_, i) => i))
  })
})

describe('what the kernel says', () => {
  test.each([
    [101, 'tunnel-unreachable', RemoteCount.Unreachable],
    [113, 'tunnel-unreachable', RemoteCount.Unreachable],
    [11, 'no-room', RemoteCount.NoRoom],
    [105, 'no-room', RemoteCount.NoRoom],
    [90, 'tunnel-too-big', RemoteCount.TooBig],
    [74, 'malformed', RemoteCount.Refused],
    [22, 'refused', RemoteCount.Refused],
  ])('errno %i is counted as %s, for the remote too', (errno, name, which) => {
    const { here } = pair()
    here.errors.set(THERE, errno)
    const told: number[] = []
    here.fabric.engine.notify = (port) => told.push(port)
    here.send('web', frame({ src: A, dst: B }))
    expect(here.drops(TUNNEL)).toEqual({ [name]: 1 })
    expect(here.memory.counters[which]).toBe(1)
    expect(told).toEqual(errno === 90 ? [UNDERLAY] : [])
    here.conserved()
  })
})
