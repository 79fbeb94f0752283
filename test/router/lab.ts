/** A router in an engine of its own, on memory ports with a manual clock. */
import { expect } from 'vitest'
import { connectedRoutes, linkLocal, networkOf } from '../../src/control/router/addressing.ts'
import { Engine } from '../../src/engine/engine.ts'
import { conntrackMemory } from '../../src/filter/conntrack/layout.ts'
import { Mappings } from '../../src/filter/nat/mappings.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { ringMemory } from '../../src/packet/ring.ts'
import { MemoryPort } from '../../src/port/memory.ts'
import type { FrameMeta } from '../../src/port/on-wire.ts'
import { IfFlag } from '../../src/router/interfaces.ts'
import { NeighbourTable } from '../../src/router/neighbour-table.ts'
import { RouteWriter } from '../../src/router/route-writer.ts'
import { DEFAULT_POLICIES } from '../../src/router/routes.ts'
import { settingsOf } from '../support/fabric.ts'

export const HOME = 99
export const mac = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex')

/** A router with interfaces 10.0.<i>.1/24, a host .2 behind each. */
export interface LabOptions {
  flags?: number
  /** Packets in the pool. */
  slots?: number
  /** By interface; 1500 for those beyond. */
  mtus?: number[]
  /** Offload bits that the ports take. */
  offloads?: number
}

export class Lab {
  readonly engine: Engine
  private readonly slots: number
  readonly writer = new RouteWriter(1024)
  readonly ports: MemoryPort[] = []
  now = 1000

  constructor(count: number, { flags = 0, slots = 256, mtus = [], offloads = 0 }: LabOptions = {}) {
    this.slots = slots
    this.engine = new Engine(planeMemory(slots))
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
      punt: { ring: ringMemory(1024), signal: new SharedArrayBuffer(4) },
      neighbours,
      seed: 7,
    })
    for (let i = 0; i < count; i++) {
      const port = new MemoryPort(this.engine, i, `p${i}`, { offloads })
      this.engine.addPort(port, 0)
      this.engine.set(i, settingsOf({}))
      this.ports.push(port)
      const own = Uint8Array.from([2, 0, 0, 0, i, 1])
      const addresses = [linkLocal(own), networkOf(`10.0.${i}.1/24`)]
      const mtu = mtus[i] ?? 1500
      const settings = { name: `if${i}`, port: i, mac: own, mtu, flags: IfFlag.Up | flags, addresses }
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

  inject(i: number, packet: Uint8Array, meta: Partial<FrameMeta> = {}): void {
    const head = [mac(`02:00:00:00:0${i}:01`), mac(`02:00:00:00:0${i}:02`), Buffer.from('0800', 'hex')]
    this.ports[i].inject(Buffer.concat([...head, packet]), meta)
  }

  send(i: number, packet: Uint8Array): void {
    this.inject(i, packet)
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
    expect(this.engine.pool.available).toBe(this.slots - 64 - held)
  }
}
