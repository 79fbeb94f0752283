/** The router as a whole, on memory ports with a manual clock. */
import { describe, expect, it } from 'vitest'
import { connectedRoutes, linkLocal, networkOf } from '../../src/control/addressing.ts'
import { Engine } from '../../src/engine/engine.ts'
import { conntrackMemory } from '../../src/filter/conntrack/layout.ts'
import { Mappings } from '../../src/filter/nat/mappings.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { ringMemory } from '../../src/packet/ring.ts'
import { MemoryPort } from '../../src/port/memory.ts'
import { IfFlag } from '../../src/router/interfaces.ts'
import { NeighbourTable } from '../../src/router/neighbour-table.ts'
import { RouteWriter } from '../../src/router/route-writer.ts'
import { DEFAULT_POLICIES, RouteKind, TABLE_MAIN } from '../../src/router/routes.ts'
import { settingsOf } from '../support/fabric.ts'
import { icmp, ipv4, udp } from '../support/frames.ts'

const HOME = 99
const mac = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex')

/** A router with interfaces 10.0.<i>.1/24, a host .2 behind each. */
class Lab {
  readonly engine = new Engine(planeMemory(256))
  readonly writer = new RouteWriter(1024)
  readonly ports: MemoryPort[] = []
  now = 1000

  constructor(count: number, flags = 0) {
    const neighbours = NeighbourTable.memory(64, 7)
    const routes = this.writer.memory
    this.engine.apply({
      op: 'router-add',
      id: 0,
      name: 'r',
      home: HOME,
      routes,
      policies: DEFAULT_POLICIES,
      closed: false,
      filter: {
        conntrack: conntrackMemory(64),
        mappings: Mappings.memory(64, 1, true),
        report: { log: ringMemory(1024), nflog: ringMemory(1024) },
      },
      neighbours,
      seed: 7,
    })
    for (let i = 0; i < count; i++) {
      const port = new MemoryPort(this.engine, i, `p${i}`)
      this.engine.addPort(port, 0)
      this.engine.set(i, settingsOf({}))
      this.ports.push(port)
      const own = Uint8Array.from([2, 0, 0, 0, i, 1])
      const addresses = [linkLocal(own), networkOf(`10.0.${i}.1/24`)]
      const settings = { name: `if${i}`, port: i, mac: own, mtu: 1500, flags: IfFlag.Up | flags, addresses }
      this.engine.apply({ op: 'interface-set', id: 0, index: i, settings })
      for (const route of connectedRoutes(i, addresses)) this.writer.add(route)
    }
  }

  /** The frames that left by a port since the last call. */
  out(port: number): Uint8Array[] {
    return this.ports[port].sent.splice(0).map((f) => f.bytes)
  }

  run(ms = 1): void {
    for (let i = 0; i < 4; i++) this.engine.service(this.now)
    this.now += ms
    this.engine.service(this.now)
  }

  /** The host answers the router's ARP request, so that its neighbour is known. */
  meet(i: number): void {
    const host = `02:00:00:00:0${i}:02`
    const arp = Buffer.from('0001080006040001', 'hex')
    const sender = Buffer.concat([mac(host), Buffer.from([10, 0, i, 2])])
    const target = Buffer.concat([Buffer.alloc(6), Buffer.from([10, 0, i, 1])])
    this.ports[i].inject(
      Buffer.concat([mac('ff:ff:ff:ff:ff:ff'), mac(host), Buffer.from('0806', 'hex'), arp, sender, target]),
    )
    this.run()
    this.out(i)
  }

  send(i: number, packet: Uint8Array): void {
    const head = [mac(`02:00:00:00:0${i}:01`), mac(`02:00:00:00:0${i}:02`), Buffer.from('0800', 'hex')]
    this.ports[i].inject(Buffer.concat([...head, packet]))
    this.run()
  }

  drops(i: number): Record<string, number> {
    const c = this.engine.memory.counters
    const at = i * COUNTER_WORDS + Counter.Drops
    return Object.fromEntries(DROPS.map(([name], k) => [name, c[at + k]]).filter(([, n]) => n !== 0))
  }

  /** rx + made = tx + drops + held + consumed. */
  conserved(): void {
    const c = this.engine.memory.counters
    let left = 0
    let right = 0
    for (const i of [...this.ports.map((p) => p.index), HOME]) {
      const at = i * COUNTER_WORDS
      left += c[at + Counter.RxPackets] + c[at + Counter.Made]
      right += c[at + Counter.TxPackets] + c[at + Counter.Held] + c[at + Counter.Consumed] + dropsOf(c, i)
    }
    expect(left).toBe(right)
    const held = c[HOME * COUNTER_WORDS + Counter.Held]
    expect(this.engine.pool.available).toBe(256 - 64 - held)
  }
}

const packet = (dst: string, ttl = 64, src = '10.0.0.2') =>
  ipv4({ src, dst, ttl, protocol: 17, payload: udp({ src, dst }, { payload: Buffer.alloc(20) }) })

describe('a router', () => {
  it('asks for the next hop, keeps the packet, and sends it when the answer comes', () => {
    const lab = new Lab(2)
    lab.meet(0)
    lab.send(0, packet('10.0.1.2'))
    const [request, ...more] = lab.out(1)
    expect(more).toEqual([])
    expect(Buffer.from(request).readUInt16BE(12)).toBe(0x0806)
    lab.conserved()
    lab.meet(1)
    lab.conserved()
    lab.send(0, packet('10.0.1.2'))
    const [frame] = lab.out(1)
    expect(Buffer.from(frame.subarray(0, 6)).toString('hex')).toBe('020000000102')
    expect(frame[22]).toBe(63)
    lab.conserved()
  })

  it('answers an echo request', () => {
    const lab = new Lab(1)
    lab.meet(0)
    lab.send(
      0,
      ipv4({
        src: '10.0.0.2',
        dst: '10.0.0.1',
        protocol: 1,
        payload: icmp({ type: 8, payload: Buffer.alloc(8) }),
      }),
    )
    const [reply] = lab.out(0)
    expect(reply[34]).toBe(0)
    expect([...reply.subarray(26, 34)]).toEqual([10, 0, 0, 1, 10, 0, 0, 2])
    lab.conserved()
  })

  it.each([
    ['a time to live that ends', packet('10.0.1.2', 1), 11, 0, 'ttl-exceeded'],
    ['no route', packet('192.0.2.1'), 3, 0, 'no-route'],
    ['a closed port of its own', packet('10.0.1.1'), 3, 3, 'no-listener'],
  ])('tells the sender of %s', (_what, bytes, type, code, reason) => {
    const lab = new Lab(2)
    lab.meet(0)
    lab.send(0, bytes)
    const [error] = lab.out(0)
    expect([error[34], error[35]]).toEqual([type, code])
    expect([...error.subarray(42, 62)]).toEqual([...bytes.subarray(0, 20)])
    expect(lab.drops(0)[reason]).toBe(1)
    lab.conserved()
  })

  it('drops martians and broken headers, silently and by name', () => {
    const lab = new Lab(2)
    lab.meet(0)
    lab.send(0, packet('10.0.1.2', 64, '127.0.0.1'))
    const broken = packet('10.0.1.2')
    broken[10] ^= 0xff
    lab.send(0, broken)
    lab.send(0, packet('10.0.1.2').subarray(0, 24))
    expect(lab.drops(0)).toMatchObject({ martian: 1, 'ip-checksum': 1, 'ip-malformed': 1 })
    expect(lab.out(0)).toEqual([])
    lab.conserved()
  })

  it('strict reverse-path filtering refuses a source from elsewhere', () => {
    const lab = new Lab(2, IfFlag.RpStrict)
    lab.meet(0)
    lab.send(0, packet('10.0.1.2', 64, '10.0.1.7'))
    expect(lab.drops(0)['reverse-path']).toBe(1)
    lab.conserved()
  })

  it('spreads flows over equal-cost paths, each flow on one', () => {
    const lab = new Lab(3)
    for (const i of [0, 1, 2]) lab.meet(i)
    const hop = (i: number) => ({ outIf: i, gateway: [(10 << 24) | (i << 8) | 2], weight: 1 })
    const base = {
      family: 4 as const,
      address: [0],
      length: 0,
      table: TABLE_MAIN,
      kind: RouteKind.Unicast,
      metric: 0,
      src: null,
    }
    lab.writer.add({ ...base, hops: [hop(1), hop(2)] })
    for (let i = 0; i < 200; i++) lab.send(0, packet(`198.51.${i}.7`))
    const [one, two] = [lab.out(1).length, lab.out(2).length]
    expect(one + two).toBe(200)
    expect(Math.min(one, two)).toBeGreaterThan(50)
    for (let i = 0; i < 10; i++) lab.send(0, packet('198.51.100.7'))
    expect([0, 10]).toContain(lab.out(1).length)
    lab.conserved()
  })

  it('changes a route while packets flow: the metric decides', () => {
    const lab = new Lab(3)
    for (const i of [0, 1, 2]) lab.meet(i)
    const base = {
      family: 4 as const,
      address: [(203 << 24) | (0 << 16) | (113 << 8)],
      length: 24,
      table: TABLE_MAIN,
      kind: RouteKind.Unicast,
      src: null,
    }
    const via = (i: number) => [{ outIf: i, gateway: [(10 << 24) | (i << 8) | 2], weight: 1 }]
    lab.writer.add({ ...base, metric: 20, hops: via(1) })
    lab.send(0, packet('203.0.113.5'))
    lab.writer.add({ ...base, metric: 10, hops: via(2) })
    lab.send(0, packet('203.0.113.5'))
    lab.writer.remove(base, (e) => e.metric === 10)
    lab.send(0, packet('203.0.113.5'))
    expect([lab.out(1).length, lab.out(2).length]).toEqual([2, 1])
    lab.conserved()
  })
})
