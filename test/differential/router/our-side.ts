/**
 * taploom as the router: the engine with memory ports, stepped here. The clock is the machine's, as the
 * kernel's is.
 */
import {
  connectedRoutes,
  linkLocal,
  networkOf,
  wordsOfAddress,
} from '../../../src/control/router/addressing.ts'
import { Engine } from '../../../src/engine/engine.ts'
import { conntrackMemory } from '../../../src/filter/conntrack/layout.ts'
import { lineOf } from '../../../src/filter/conntrack/row.ts'
import { rows } from '../../../src/filter/conntrack/select.ts'
import { parseSets } from '../../../src/filter/ipset.ts'
import type { RuleSet } from '../../../src/filter/model.ts'
import { Mappings } from '../../../src/filter/nat/mappings.ts'
import { parseRules } from '../../../src/filter/parse.ts'
import { printRules } from '../../../src/filter/print.ts'
import { compile } from '../../../src/filter/program/compile.ts'
import { readCounters } from '../../../src/filter/program/counters.ts'
import type { ProgramMemory } from '../../../src/filter/program/memory.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../../src/packet/counters.ts'
import { DROPS } from '../../../src/packet/drop.ts'
import { planeMemory } from '../../../src/packet/memory.ts'
import { ringMemory } from '../../../src/packet/ring.ts'
import { MemoryPort } from '../../../src/port/memory.ts'
import { IfFlag } from '../../../src/router/interfaces.ts'
import { KEY4, KEY6, N, NeighbourTable, Nud } from '../../../src/router/neighbour-table.ts'
import { RouteWriter } from '../../../src/router/route-writer.ts'
import type { Router } from '../../../src/router/router.ts'
import { DEFAULT_POLICIES, RouteKind, TABLE_MAIN } from '../../../src/router/routes.ts'
import { settingsOf } from '../../support/fabric.ts'
import { hostMac, routerMac, type World } from './world.ts'

const HOME = 99
const KINDS = {
  blackhole: RouteKind.Blackhole,
  unreachable: RouteKind.Unreachable,
  prohibit: RouteKind.Prohibit,
}

export class OurSide {
  readonly engine = new Engine(planeMemory(192))
  private readonly world: World
  private readonly ports: MemoryPort[] = []
  private readonly conntrack = conntrackMemory(16384)
  readonly writer = new RouteWriter(1024)
  private readonly loaded: Partial<Record<4 | 6, { rules: RuleSet; memory: ProgramMemory }>> = {}

  constructor(world: World) {
    this.world = world
    const { writer } = this
    world.links.forEach((_, i) => {
      for (const route of connectedRoutes(i, this.addresses(i))) writer.add(route)
    })
    for (const { kind, link, src, to, via } of world.ways) {
      const gateway = via === undefined ? null : wordsOfAddress(via)
      const hops = [{ outIf: link ?? 0, gateway, weight: 1 }]
      const network = networkOf(to)
      writer.add({
        ...network,
        table: TABLE_MAIN,
        metric: 0,
        src: src === undefined ? null : wordsOfAddress(src),
        hops,
        kind: kind ? KINDS[kind] : RouteKind.Unicast,
      })
    }
    this.start()
  }

  private addresses(link: number): ReturnType<typeof networkOf>[] {
    return [linkLocal(routerMac(link)), ...this.world.links[link].addresses.map(networkOf)]
  }

  private start(): void {
    const { engine, world } = this
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
        mappings: Mappings.memory(1024, 1, true),
        report: { log: ringMemory(4096), nflog: ringMemory(4096) },
      },
      punt: { ring: ringMemory(1024), signal: new SharedArrayBuffer(4) },
      neighbours: staticNeighbours(world),
      seed: 7,
    })
    world.links.forEach(({ mtu, name }, i) => {
      const port = new MemoryPort(engine, i, name, { mtu: 65535 })
      this.ports.push(port)
      engine.addPort(port, 0)
      engine.set(i, settingsOf({}))
      const settings = {
        name,
        port: i,
        mac: routerMac(i),
        mtu,
        flags: IfFlag.Up,
        addresses: this.addresses(i),
      }
      engine.apply({ op: 'interface-set', id: 0, index: i, settings })
    })
    this.router.errors.intervalMs = 0
  }

  get router(): Router {
    return this.engine.stages[0] as Router
  }

  load(texts: { 4?: string; 6?: string }, sets = ''): void {
    const named = parseSets(sets)
    const options = {
      interfaces: this.world.links.map((l) => l.name),
      sets: named,
      counters: true,
      nowMs: now(),
    }
    for (const family of [4, 6] as const) {
      const text = texts[family]
      if (text === undefined) continue
      const rules = parseRules(text, { family, sets: named })
      this.loaded[family] = { rules, memory: compile(rules, options) }
    }
    const load = { v4: this.loaded[4]?.memory ?? null, v6: this.loaded[6]?.memory ?? null }
    this.engine.apply({ op: 'router-rules', id: 0, load, profile: 'linux' })
  }

  rules(family: 4 | 6): string {
    const { memory, rules } = this.loaded[family]!
    readCounters(rules, memory)
    return printRules(rules, { counters: true })
  }

  connections(): string[] {
    return [...rows(this.conntrack, now())].map((row) => lineOf(row))
  }

  /** Sends one frame; what came out, by link. */
  send(link: number, frame: Uint8Array): Uint8Array[][] {
    return this.sendAll(link, [frame])
  }

  /** Sends several at once. */
  sendAll(link: number, frames: Uint8Array[]): Uint8Array[][] {
    // The limit for all destinations (1000 a second) is lifted too.
    Object.assign(this.router.errors, { allFilledMs: -1e9 })
    for (const frame of frames) this.ports[link].inject(frame)
    for (let i = 0; i < 100 && this.engine.service(now()) > 0; i++);
    return this.ports.map((port) => port.sent.splice(0).map((f) => f.bytes))
  }

  /** Drops by name, for the story of a difference. */
  drops(): Record<string, number> {
    const { counters } = this.engine.memory
    const all: Record<string, number> = {}
    for (const port of [...this.ports.keys(), HOME]) {
      DROPS.forEach(([name], i) => {
        const n = counters[port * COUNTER_WORDS + Counter.Drops + i]
        if (n > 0) all[name] = (all[name] ?? 0) + n
      })
    }
    return all
  }

  /** in + made - out - dropped - consumed - held; 0, or a packet is lost. */
  balance(): number {
    const { counters } = this.engine.memory
    let sum = 0
    for (const port of [...this.ports.keys(), HOME]) {
      const at = port * COUNTER_WORDS
      sum += counters[at + Counter.RxPackets] + counters[at + Counter.Made]
      sum -=
        counters[at + Counter.TxPackets] +
        dropsOf(counters, port) +
        counters[at + Counter.Consumed] +
        counters[at + Counter.Held]
    }
    return sum
  }

  close(): void {
    this.engine.close()
  }
}

function now(): number {
  return Math.floor(performance.now()) + 1_000_000
}

function staticNeighbours(world: World): SharedArrayBuffer {
  const memory = NeighbourTable.memory(256, 7)
  const table = new NeighbourTable(memory)
  world.links.forEach(({ hosts }, link) => {
    const mac = hostMac(link)
    for (const host of hosts) {
      const [w0, w1 = 0, w2 = 0, w3 = 0] = wordsOfAddress(host)
      const e = table.add((host.includes(':') ? KEY6 : KEY4) | link, w0, w1, w2, w3, 0)
      table.words[e + N.State] = Nud.Permanent
      table.words[e + N.MacHi] = (mac[0] << 8) | mac[1]
      table.words[e + N.MacLo] = (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]
    }
  })
  return memory
}
