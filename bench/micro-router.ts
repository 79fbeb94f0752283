/**
 * The router without a kernel: what a packet costs with connection tracking, NAT and rules, among few flows and
 * many, and what the first packet of a flow costs.
 *
 *     port 0, inside, 10.1.0.1 (clients in 10.0.0.0/8 behind 10.1.0.2)      router
 *     port 1, outside, 203.0.113.1 (everybody else behind 203.0.113.2)
 */
import { Engine } from '../src/engine/engine.ts'
import { bytesPerEntry, conntrackMemory, Header } from '../src/filter/conntrack/layout.ts'
import { EntryTable } from '../src/filter/conntrack/table.ts'
import { Mappings } from '../src/filter/nat/mappings.ts'
import { parseRules } from '../src/filter/parse.ts'
import { compile } from '../src/filter/program/compile.ts'
import { native } from '../src/native.ts'
import { COUNTER_WORDS, Counter } from '../src/packet/counters.ts'
import { DROPS } from '../src/packet/drop.ts'
import { BATCH } from '../src/packet/layout.ts'
import { planeMemory } from '../src/packet/memory.ts'
import { ringMemory } from '../src/packet/ring.ts'
import { NeighbourTable } from '../src/router/neighbour-table.ts'
import { type RouteEntry, RouteWriter } from '../src/router/route-writer.ts'
import { DEFAULT_POLICIES, RouteKind, TABLE_LOCAL, TABLE_MAIN } from '../src/router/routes.ts'
import { FlowPort } from './flow-port.ts'
import { SEED, shuffled } from './order.ts'

const OPS = 8192
const MILLION = 1_000_000
const NOW_MS = 1_000_000
/** Seed of the order in which flows speak; SEED is that in which they come. */
const SPOKEN = 16127
const INSIDE = 0x0a010001
const OUTSIDE = 0xcb007101 | 0
/** Flow i is of client 10.16.0.0 + i. */
const CLIENTS = 0x0a100000
const SERVERS = 0xc6120000 | 0
/** MAC addresses, behind 02:00. */
const ROUTER_MAC = 0x11110000
const PEER_MAC = 0x22220000

const RULE_COUNTS = [10, 10_000]
const TURNS = 16

type Measure = (name: string, ops: number, call: () => number, briefly?: boolean) => number

/** A rule file: `filter` are lines of its FORWARD chain. */
export function rulesText(filter: string[], masquerade: boolean): string {
  const nat = masquerade ? ['*nat', '-A POSTROUTING -s 10.0.0.0/8 -o wan -j MASQUERADE', 'COMMIT'] : []
  return [...nat, '*filter', ...filter.map((f) => `-A FORWARD ${f}`), 'COMMIT', ''].join('\n')
}

/** `n` rules that none of the flows matches; the last one lets everything through. */
export function manyRules(n: number): string[] {
  const rules: string[] = []
  for (let i = 0; i < n - 1; i++) {
    const source = `172.${16 + ((i >> 16) & 15)}.${(i >> 8) & 255}.${i & 255}/32`
    rules.push(`-s ${source} -p udp -m udp --dport ${1024 + (i % 60000)} -j DROP`)
  }
  return [...rules, '-j ACCEPT']
}

/** The same, but no two in a row ask for the same: each has to be tried. */
export function scatteredRules(n: number): string[] {
  const rules: string[] = []
  for (let i = 0; i < n - 1; i++) rules.push(`-${i & 1 ? 's' : 'd'} 172.16.${i >> 8}.${i & 255}/32 -j DROP`)
  return [...rules, '-j ACCEPT']
}

export const STATEFUL = [
  '-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-i lan -j ACCEPT',
  '-j DROP',
]

class RoutedPlane {
  readonly engine = new Engine(planeMemory(256), -1)
  readonly conntrack
  readonly ports: FlowPort[]
  nowMs = NOW_MS

  /** @param rules null: no filter at all */
  constructor(rules: string | null, connections = 65536) {
    const { engine } = this
    const conntrack = conntrackMemory(connections)
    native.hugePages(new Uint8Array(conntrack.entries.buffer as ArrayBuffer))
    native.hugePages(new Uint8Array(conntrack.index.buffer as ArrayBuffer))
    this.conntrack = conntrack
    const mappings = Mappings.memory(connections, SEED, true)
    const report = { log: ringMemory(4096), nflog: ringMemory(4096) }
    const routes = new RouteWriter(1024)
    routes.replace([
      to([10, 1, 0, 0], 24, 0, null),
      to([10, 0, 0, 0], 8, 0, 0x0a010002),
      to([203, 0, 113, 0], 24, 1, null),
      to([0, 0, 0, 0], 0, 1, 0xcb007102 | 0),
      { ...to([10, 1, 0, 1], 32, 0, null), kind: RouteKind.Local, table: TABLE_LOCAL },
      { ...to([203, 0, 113, 1], 32, 1, null), kind: RouteKind.Local, table: TABLE_LOCAL },
    ])
    engine.apply({
      op: 'router-add',
      id: 0,
      name: 'edge',
      home: 2,
      routes: routes.memory,
      policies: DEFAULT_POLICIES,
      neighbours: NeighbourTable.memory(64, SEED),
      filter: { conntrack, mappings, report },
      punt: { ring: ringMemory(1024), signal: new SharedArrayBuffer(4) },
      closed: rules !== null,
      seed: SEED,
    })
    this.ports = [0, 1].map((index) => {
      const port = new FlowPort(engine, index, ROUTER_MAC | index, PEER_MAC | index)
      engine.addPort(port, 0)
      const address = [index === 0 ? INSIDE : OUTSIDE]
      engine.apply({
        op: 'interface-set',
        id: 0,
        index,
        settings: {
          name: index === 0 ? 'lan' : 'wan',
          port: index,
          mac: Uint8Array.of(2, 0, 0x11, 0x11, 0, index),
          mtu: 1500,
          flags: 0,
          addresses: [{ family: 4, address, length: 24 }],
        },
      })
      return port
    })
    if (rules !== null) {
      const set = parseRules(rules, { family: 4, file: 'bench' })
      const v4 = compile(set, { interfaces: ['lan', 'wan'], nowMs: NOW_MS })
      engine.apply({ op: 'router-rules', id: 0, load: { v4, v6: null }, profile: 'linux' })
    }
    this.meet()
  }

  /** Makes the router's neighbours known: a packet to each asks for them, and they answer. */
  private meet(): void {
    const one = Int32Array.of(0)
    for (const [index, far] of [
      [1, 0],
      [0, 1],
    ]) {
      this.ports[far].talk(CLIENTS, SERVERS, one, far === 1)
      this.step(far)
      this.ports[index].first = arpReply(index)
      this.step(index)
    }
  }

  step(index: number): void {
    this.engine.ready(index)
    this.engine.service(this.nowMs)
  }

  /** The flows of `order` speak once and are answered once. */
  introduce(order: Int32Array): void {
    for (const index of [0, 1]) {
      this.ports[index].talk(CLIENTS, SERVERS, order, index === 1)
      for (let i = 0; i < order.length; i += BATCH) this.step(index)
    }
  }

  /** The flows of `order` go on speaking, on both sides. */
  converse(order: Int32Array): void {
    for (const index of [0, 1]) this.ports[index].talk(CLIENTS, SERVERS, order, index === 1)
  }

  counter(which: Counter): number {
    const { counters } = this.engine.memory
    return counters[which] + counters[COUNTER_WORDS + which]
  }

  get count(): number {
    return this.conntrack.header[Header.Count]
  }

  dropped(): string {
    const { counters } = this.engine.memory
    const found = DROPS.map(([name], i) => {
      const at = Counter.Drops + i
      return [name, counters[at] + counters[COUNTER_WORDS + at]] as const
    })
    return found.filter(([, n]) => n > 0).join(' ')
  }

  close(): void {
    this.engine.close()
  }
}

function to(bytes: number[], length: number, outIf: number, gateway: number | null): RouteEntry {
  const address = [(bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]]
  const hops = [{ outIf, gateway: gateway === null ? null : [gateway], weight: 1 }]
  return {
    family: 4,
    address,
    length,
    table: TABLE_MAIN,
    kind: RouteKind.Unicast,
    metric: 0,
    hops,
    src: null,
  }
}

/** "10.1.0.2 (203.0.113.2) is at PEER_MAC", to the router. */
function arpReply(index: number): Uint8Array {
  const frame = new Uint8Array(60)
  const view = new DataView(frame.buffer)
  const mac = (at: number, tail: number): void => {
    view.setUint16(at, 0x0200)
    view.setUint32(at + 2, tail)
  }
  mac(0, ROUTER_MAC | index)
  mac(6, PEER_MAC | index)
  frame.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 2], 12)
  mac(22, PEER_MAC | index)
  view.setInt32(28, (index === 0 ? INSIDE : OUTSIDE) + 1)
  mac(32, ROUTER_MAC | index)
  view.setInt32(38, index === 0 ? INSIDE : OUTSIDE)
  return frame
}

const numbers = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i)

/** ns per packet of flows that all go on; checks that every packet came out. */
function established(
  measure: Measure,
  name: string,
  plane: RoutedPlane,
  senders: number[],
  briefly?: boolean,
): number {
  const rx = plane.counter(Counter.RxPackets)
  const tx = plane.counter(Counter.TxPackets)
  const call = (): number => {
    for (let i = 0; i < OPS / BATCH; i++) plane.step(senders[i % senders.length])
    return 0
  }
  const ns = measure(name, OPS, call, briefly)
  const lost = plane.counter(Counter.RxPackets) - rx - (plane.counter(Counter.TxPackets) - tx)
  if (lost !== 0) throw new Error(`${name}: ${lost} packets were lost: ${plane.dropped()}`)
  return ns
}

/** ns per packet of which each begins a flow, in a table that is emptied by time in between. */
function fresh(measure: Measure, name: string, rules: string): number {
  const plane = new RoutedPlane(rules, MILLION)
  plane.ports[0].talk(CLIENTS, SERVERS, numbers(1 << 22))
  const ns = measure(name, OPS, () => {
    for (let i = 0; i < OPS / BATCH; i++) plane.step(0)
    // A quarter of a minute for each call: what is unanswered is over in thirty seconds.
    plane.nowMs += 15_000
    plane.engine.stages[0]?.tick(plane.nowMs)
    return 0
  })
  plane.close()
  return ns
}

export interface RouterTimes {
  /** ns per packet of an established flow. */
  plain: number
  stateful: number
  masqueraded: number
  /** Established flows under 10,000 rules by that under 10. */
  rules: number
  /** ns that a rule costs the first packet of a flow. */
  nsPerRule: number
  /** The same of rules that have nothing in common. */
  nsPerScatteredRule: number
  /** ns of the first packet of a flow under 10 rules. */
  newFlowNs: number
  /** Look-ups among a million by that among a thousand: of a thousand flows, and of all. */
  findAmong: number
  findAll: number
  /** The same per packet of the pipeline. */
  packetAmong: number
  packetAll: number
  packetExtraNs: number
  bytesPerEntry: { v4: number; v6: number }
}

const KINDS = {
  plain: { rules: null, senders: [0, 1] },
  stateful: { rules: rulesText(STATEFUL, false), senders: [0, 1] },
  masqueraded: { rules: rulesText(STATEFUL, true), senders: [0] },
}

/** What a packet of a thousand established flows costs. */
export function kind(measure: Measure, name: keyof typeof KINDS): Partial<RouterTimes> {
  const few = numbers(1000)
  const { rules, senders } = KINDS[name]
  const plane = new RoutedPlane(rules)
  plane.introduce(few)
  if (name === 'masqueraded') answerMasqueraded(plane, few)
  else plane.converse(few)
  const ns = established(measure, `router, ${name}: 1000 flows`, plane, senders)
  plane.close()
  return { [name]: ns }
}

/** Answers that go to the router's own address; ports are kept, as no two flows share one. */
function answerMasqueraded(plane: RoutedPlane, order: Int32Array): void {
  for (const flow of order) {
    plane.ports[1].talk(OUTSIDE - flow, SERVERS, Int32Array.of(flow), true)
    plane.step(1)
  }
  plane.ports[0].talk(CLIENTS, SERVERS, order)
}

export function rules(measure: Measure): Partial<RouterTimes> {
  const few = numbers(1000)
  const planes = RULE_COUNTS.map((count) => {
    const plane = new RoutedPlane(rulesText(manyRules(count), true))
    plane.introduce(few)
    answerMasqueraded(plane, few)
    return plane
  })
  const ns = inTurns(
    planes.map((plane, i) => {
      const name = `router, ${RULE_COUNTS[i]} rules: established flows`
      return () => established(measure, name, plane, [0], true)
    }),
  )
  for (const plane of planes) plane.close()
  const [ten, many] = RULE_COUNTS.map((count) =>
    fresh(measure, `router, ${count} rules: each packet a new flow`, rulesText(manyRules(count), true)),
  )
  const scattered = rulesText(scatteredRules(10_000), true)
  const walked = fresh(measure, 'router, 10000 scattered rules: each packet a new flow', scattered)
  const each = (ns: number): number => (ns - ten) / (10_000 - 10)
  return { rules: ns[1] / ns[0], newFlowNs: ten, nsPerRule: each(many), nsPerScatteredRule: each(walked) }
}

/**
 * The least of many short medians of each, taken in turns: a ratio of two moments would say more about the machine,
 * whose other guests may double a time for seconds. `measure` keeps the least.
 */
function inTurns(measures: (() => number)[]): number[] {
  let least: number[] = []
  for (let turn = 0; turn < TURNS; turn++) least = measures.map((one) => one())
  return least
}

export function connections(measure: Measure): Partial<RouterTimes> {
  // Flows do not speak in the order in which they came: their entries are read here and there, in each case.
  const few = shuffled(1000, SPOKEN)
  const all = shuffled(MILLION, SPOKEN)
  const text = rulesText(STATEFUL, false)
  const small = new RoutedPlane(text, MILLION + 65536)
  const big = new RoutedPlane(text, MILLION + 65536)
  small.introduce(numbers(1000))
  big.introduce(shuffled(MILLION))
  if (big.count < MILLION) throw new Error(`only ${big.count} connections`)
  const cases = [
    ['1,000 connections: all talk', small, few],
    ['1,000,000 connections: 1000 talk', big, few],
    ['1,000,000 connections: all talk', big, all],
  ] as const
  // Whichever comes first would be measured with code compiled for it alone.
  const [packet, packetAmong, packetAll] = inTurns(
    cases.map(([name, plane, order]) => () => {
      plane.converse(order)
      return established(measure, `router, ${name}`, plane, [0, 1], true)
    }),
  )
  const [find, findAmong, findAll] = inTurns(
    cases.map(([name, plane, order]) => finds(measure, name, plane, order)),
  )
  const v4 = bytesPerEntry(big.conntrack, 4)
  const v6 = bytesPerEntry(big.conntrack, 6)
  small.close()
  big.close()
  return {
    findAmong: findAmong / find,
    findAll: findAll / find,
    packetAmong: packetAmong / packet,
    packetAll: packetAll / packet,
    packetExtraNs: packetAll - packet,
    bytesPerEntry: { v4, v6 },
  }
}

/** Measures ns to find the entry of a flow in the table, 64 of a batch at once as the router does. */
function finds(measure: Measure, name: string, plane: RoutedPlane, order: Int32Array): () => number {
  const table = new EntryTable(plane.conntrack)
  const tuples = Array.from({ length: BATCH }, () => new Int32Array(10))
  const hashes = new Int32Array(BATCH)
  let next = 0
  const call = (): number => {
    let sum = 0
    for (let i = 0; i < OPS; i += BATCH) {
      for (let j = 0; j < BATCH; j++) {
        const flow = order[next]
        if (++next === order.length) next = 0
        const t = tuples[j]
        t[0] = CLIENTS + flow
        t[4] = SERVERS + (flow >>> 15)
        t[8] = ((1024 + (flow & 0x7fff)) << 16) | 9
        t[9] = 17
        hashes[j] = table.hash(t)
      }
      sum ^= table.guess(hashes, BATCH)
      for (let j = 0; j < BATCH; j++) {
        let node = hashes[j]
        if (!table.guessed(node, tuples[j])) node = table.find(tuples[j], table.hash(tuples[j]))
        if (node < 0) throw new Error('a flow was not found')
        sum += node
      }
    }
    return sum
  }
  return () => measure(`conntrack, ${name}`, OPS, call, true)
}
