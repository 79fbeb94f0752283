/**
 * A router with rules in an engine stepped by hand: memory ports, a manual clock, and the control thread's end
 * of its queues. Interface N is `ifN`, 10.0.N.1/24, with a host .2 behind it whose MAC is known.
 */
import { expect } from 'vitest'
import { connectedRoutes, linkLocal, networkOf } from '../../src/control/router/addressing.ts'
import { QueueDesk } from '../../src/control/router/queue-desk.ts'
import type { RouterCommand } from '../../src/engine/command.ts'
import { Engine } from '../../src/engine/engine.ts'
import { conntrackMemory } from '../../src/filter/conntrack/layout.ts'
import { Mappings } from '../../src/filter/nat/mappings.ts'
import { parseRules } from '../../src/filter/parse.ts'
import { compile } from '../../src/filter/program/compile.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import { Clock } from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { ringMemory } from '../../src/packet/ring.ts'
import { MemoryPort } from '../../src/port/memory.ts'
import { IfFlag } from '../../src/router/interfaces.ts'
import { NeighbourTable } from '../../src/router/neighbour-table.ts'
import { RouteWriter } from '../../src/router/route-writer.ts'
import { DEFAULT_POLICIES } from '../../src/router/routes.ts'
import { settingsOf } from '../support/fabric.ts'

const HOME = 99
const SLOTS = 256
const BATCHED = 64
const hex = (text: string): Buffer => Buffer.from(text, 'hex')

export interface RouterLabOptions {
  profile?: 'linux' | 'rfc'
  conntrack?: Extract<RouterCommand, { op: 'router-rules' }>['conntrack']
  connections?: number
}

export class RouterLab {
  readonly engine = new Engine(planeMemory(SLOTS))
  readonly ports: MemoryPort[] = []
  readonly desk: QueueDesk
  readonly errors: string[] = []
  readonly conntrack
  now = 1000
  private readonly writer = new RouteWriter(1024)
  private readonly options: RouterLabOptions

  constructor(count: number, rules: string, options: RouterLabOptions = {}) {
    this.options = options
    const { engine } = this
    const connections = options.connections ?? 64
    this.conntrack = conntrackMemory(connections)
    engine.apply({
      op: 'router-add',
      id: 0,
      name: 'r',
      home: HOME,
      routes: this.writer.memory,
      policies: DEFAULT_POLICIES,
      closed: false,
      filter: {
        conntrack: this.conntrack,
        mappings: Mappings.memory(connections, 1, true),
        report: { log: ringMemory(1 << 16), nflog: ringMemory(1 << 16) },
      },
      neighbours: NeighbourTable.memory(64, 7),
      punt: { ring: ringMemory(1 << 16), signal: new SharedArrayBuffer(4) },
      seed: 7,
    })
    for (let i = 0; i < count; i++) this.addInterface(i)
    this.load(rules)
    this.desk = new QueueDesk({
      router: 'r',
      id: 0,
      link: { send: async (command) => void engine.apply(command), wake() {} },
      interfaceName: (index) => (index < 0 ? '-' : `if${index}`),
      failed: (_, error) => this.errors.push(error.message),
    })
    engine.notify = () => queueMicrotask(() => this.desk.drain())
    for (let i = 0; i < count; i++) this.meet(i)
  }

  private addInterface(i: number): void {
    const port = new MemoryPort(this.engine, i, `p${i}`)
    this.engine.addPort(port, 0)
    this.engine.set(i, settingsOf({}))
    this.ports.push(port)
    const mac = Uint8Array.from([2, 0, 0, 0, i, 1])
    const addresses = [linkLocal(mac), networkOf(`10.0.${i}.1/24`)]
    const settings = { name: `if${i}`, port: i, mac, mtu: 1500, flags: IfFlag.Up, addresses }
    this.engine.apply({ op: 'interface-set', id: 0, index: i, settings })
    for (const route of connectedRoutes(i, addresses)) this.writer.add(route)
  }

  load(rules: string): void {
    const interfaces = this.ports.map((_, i) => `if${i}`)
    const v4 = compile(parseRules(rules, { family: 4 }), { interfaces })
    const { conntrack, profile = 'linux' } = this.options
    this.engine.apply({ op: 'router-rules', id: 0, load: { v4, v6: null }, profile, conntrack })
  }

  /** The host says who it is. */
  private meet(i: number): void {
    const arp = hex(`0001080006040001020000000${i}020a000${i}020000000000000a000${i}01`)
    this.ports[i].inject(Buffer.concat([hex(`ffffffffffff020000000${i}020806`), arp]))
    this.run()
    this.out(i)
  }

  /** Time goes on, and everything that is due happens. */
  run(ms = 1): void {
    for (let i = 0; i < 4; i++) this.engine.service(this.now)
    this.now += ms
    this.engine.memory.clock[Clock.MonotonicMs] = this.now
    this.engine.service(this.now)
  }

  /** An IP packet of the host behind interface `i`. */
  send(i: number, packet: Uint8Array): void {
    this.ports[i].inject(Buffer.concat([hex(`020000000${i}01020000000${i}020800`), packet]))
    this.run()
  }

  /** The functions of the control thread have their turn, then the engine. */
  async turn(ms = 1): Promise<void> {
    for (let i = 0; i < 8; i++) await Promise.resolve()
    this.run(ms)
  }

  /** IP packets that left by an interface since the last call. */
  out(i: number): Buffer[] {
    return this.ports[i].sent.splice(0).map((f) => Buffer.from(f.bytes.subarray(14)))
  }

  drops(): Record<string, number> {
    const c = this.engine.memory.counters
    const sum: Record<string, number> = {}
    for (const index of this.indices) {
      DROPS.forEach(([name], i) => {
        const n = c[index * COUNTER_WORDS + Counter.Drops + i]
        if (n > 0) sum[name] = (sum[name] ?? 0) + n
      })
    }
    return sum
  }

  private get indices(): number[] {
    return [...this.ports.map((p) => p.index), HOME]
  }

  get held(): number {
    return this.engine.memory.counters[HOME * COUNTER_WORDS + Counter.Held]
  }

  /** rx + made = tx + drops + held + consumed, and no slot is lost. */
  conserved(): void {
    const c = this.engine.memory.counters
    let left = 0
    let right = 0
    for (const i of this.indices) {
      const at = i * COUNTER_WORDS
      left += c[at + Counter.RxPackets] + c[at + Counter.Made]
      right += c[at + Counter.TxPackets] + c[at + Counter.Held] + c[at + Counter.Consumed] + dropsOf(c, i)
    }
    expect(left).toBe(right)
    expect(this.engine.pool.available).toBe(SLOTS - BATCHED - this.held)
  }
}
