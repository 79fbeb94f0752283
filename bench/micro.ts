/**
 * Micro-benchmarks: what one operation of the data plane costs, in nanoseconds. No kernel, no root.
 *
 *     node bench/run.mjs --micro [--quick]       bundles this file and runs each of its PARTS
 *
 * Every function measured does a few thousand operations a call, so that calling it costs nothing.
 * The order of look-ups is random but the same in every run. "spread" means that every look-up is of
 * another station: the cost of a cache miss belongs to it. The last line written to standard output is
 * the JSON document of the part, or without one the names of the parts.
 */
import Benchmark from 'benchmark'
import type { PortSettings } from '../src/engine/command.ts'
import { inlineFurther } from '../src/engine/compiler.ts'
import { Engine } from '../src/engine/engine.ts'
import { native } from '../src/native.ts'
import { COUNTER_WORDS, Counter } from '../src/packet/counters.ts'
import { BATCH, HEADROOM, MAX_PORTS, SLOT_SIZE } from '../src/packet/layout.ts'
import { planeMemory } from '../src/packet/memory.ts'
import { Pool } from '../src/packet/pool.ts'
import { Fdb } from '../src/switch/fdb.ts'
import type { PortVlan } from '../src/switch/vlan.ts'
import { HashTable } from '../src/table/hash.ts'
import { lpm } from './micro-lpm.ts'
import { connections, kind, rules } from './micro-router.ts'
import { SEED, shuffled } from './order.ts'
import { BROADCAST, STATION_HI, station, TrafficPort } from './traffic.ts'

inlineFurther()
const quick = process.argv.includes('--quick')
const OPS = 8192
const MILLION = 1_000_000
const NOW_MS = 1_000_000
const NOW_S = NOW_MS / 1000

interface Row {
  name: string
  nsPerOp: number
  /** Quartile deviation, percent of the median. */
  deviation: number
}
const rows: Row[] = []
/** Results end here, so that no measured loop is without effect. */
let witness = 0

/** Median ns of an operation, the least of all turns so far. @param briefly what is measured in many turns */
function measure(name: string, ops: number, call: () => number, briefly = quick): number {
  const limits = { maxTime: briefly ? 0.1 : 1, minSamples: briefly ? 5 : 20 }
  const run = () => {
    witness ^= call()
  }
  const bench = new Benchmark(name, run, limits)
  for (let i = 0; i < 3; i++) call()
  bench.run({ async: false })
  const failure = (bench as unknown as { error?: Error }).error
  if (failure) throw failure
  const seconds = [...bench.stats.sample].sort((a, b) => a - b)
  const quarter = (n: number): number => seconds[Math.floor(((seconds.length - 1) * n) / 4)]
  const deviation = ((quarter(3) - quarter(1)) / quarter(2)) * 50
  const row = { name, nsPerOp: (quarter(2) * 1e9) / ops, deviation }
  // What is measured in turns is told once, by its quietest turn.
  const told = rows.find((r) => r.name === name)
  if (!told) rows.push(row)
  else if (row.nsPerOp < told.nsPerOp) Object.assign(told, row)
  process.stderr.write(
    `${name.padEnd(58)} ${row.nsPerOp.toFixed(1).padStart(10)} ns  +-${row.deviation.toFixed(1)} %\n`,
  )
  return (told ?? row).nsPerOp
}

function headers(): void {
  const slots = 64
  const pool = new Pool(new Uint8Array(new SharedArrayBuffer(slots * SLOT_SIZE)), new Int32Array(slots * 16))
  for (let i = 0; i < pool.bytes.length; i += 61) pool.bytes[i] = i
  const rounds = OPS / slots
  const { bytes, view } = pool
  measure('five header fields, DataView', OPS, () => {
    let sum = 0
    for (let r = 0; r < rounds; r++) {
      for (let s = 0; s < slots; s++) {
        const at = s * SLOT_SIZE + HEADROOM
        sum += view.getUint16(at) ^ view.getInt32(at + 2)
        sum += view.getUint16(at + 6) ^ view.getInt32(at + 8)
        sum += view.getUint16(at + 12)
      }
    }
    return sum
  })
  measure('five header fields, bytes', OPS, () => {
    let sum = 0
    for (let r = 0; r < rounds; r++) {
      for (let s = 0; s < slots; s++) {
        const at = s * SLOT_SIZE + HEADROOM
        sum += ((bytes[at] << 8) | bytes[at + 1]) ^ word(bytes, at + 2)
        sum += ((bytes[at + 6] << 8) | bytes[at + 7]) ^ word(bytes, at + 8)
        sum += (bytes[at + 12] << 8) | bytes[at + 13]
      }
    }
    return sum
  })
}

const word = (b: Uint8Array, at: number): number =>
  (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]

function checksums(): void {
  const bytes = new Uint8Array(new SharedArrayBuffer(65536)).map((_, i) => (i * 7) & 255)
  for (const len of [64, 1400, 65536]) {
    const calls = len > 10000 ? 16 : 1024
    measure(`checksum of ${len} bytes (native)`, calls, () => {
      let sum = 0
      for (let i = 0; i < calls; i++) sum ^= native.checksum(bytes, 0, len)
      return sum
    })
  }
}

const KEY1 = Fdb.key1(STATION_HI, 0)

function hashTables(): void {
  for (const size of [10, 1000, MILLION]) {
    const table = new HashTable(HashTable.memory(size, SEED))
    for (let i = 0; i < size; i++) table.insert(station(i), KEY1, 0, 0)
    const keys = shuffled(size).map(station)
    let next = 0
    measure(`hash table, ${size} entries: find`, OPS, () => {
      let sum = 0
      for (let i = 0; i < OPS; i++) {
        sum += table.find(keys[next], KEY1)
        if (++next === size) next = 0
      }
      return sum
    })
    let absent = size
    measure(`hash table, ${size} entries: find nothing`, OPS, () => {
      let sum = 0
      for (let i = 0; i < OPS; i++) sum += table.find(station(absent++ | 0x40000000), KEY1)
      return sum
    })
    measure(`hash table, ${size} entries: find, remove, insert again`, OPS, () => {
      let sum = 0
      for (let i = 0; i < OPS; i++) {
        const key = keys[next]
        table.remove(table.find(key, KEY1))
        sum += table.insert(key, KEY1, 0, 0)
        if (++next === size) next = 0
      }
      return sum
    })
  }
}

function fdbs(): void {
  for (const size of [10, 1000, MILLION]) {
    const counters = new Float64Array(MAX_PORTS * COUNTER_WORDS)
    const fdb = new Fdb(HashTable.memory(size, SEED), counters, new Int32Array(MAX_PORTS), size, 300)
    for (let i = 0; i < size; i++) fdb.learn(station(i), KEY1, 0, NOW_S)
    const keys = shuffled(size).map(station)
    let from = 0
    let to = size >> 1
    measure(`fdb, ${size} addresses: learn one, look up another`, OPS, () => {
      let sum = 0
      for (let i = 0; i < OPS; i++) {
        sum += fdb.learn(keys[from], KEY1, 0, NOW_S) + fdb.find(keys[to], KEY1, NOW_S)
        if (++from === size) from = 0
        if (++to === size) to = 0
      }
      return sum
    })
  }
}

const UNAWARE: PortVlan = { mode: 'unaware' }

/** An engine stepped by hand: one switch, traffic ports 0..n-1. */
class Plane {
  readonly engine = new Engine(planeMemory(256), -1)
  readonly ports: TrafficPort[] = []

  constructor(vlans: PortVlan[], limit = 4096) {
    const fdb = HashTable.memory(limit, SEED)
    native.hugePages(new Uint8Array(fdb))
    const settings = { agingS: 300, limit, reservedOpen: 0 }
    this.engine.apply({ op: 'switch-add', id: 0, name: 'lan', fdb, settings })
    vlans.forEach((vlan, index) => {
      const port = new TrafficPort(this.engine, index)
      this.ports.push(port)
      this.engine.addPort(port, 0)
      this.engine.set(index, settingsOf(vlan))
    })
  }

  /** Lets port `index` send `packets`, in whole batches. */
  send(index: number, packets: number): void {
    for (let i = 0; i < packets; i += BATCH) {
      this.engine.ready(index)
      this.engine.service(NOW_MS)
    }
  }

  /** Stations of `list` become known behind port `index`, which goes on sending from them to everyone. */
  introduce(index: number, list: Int32Array): void {
    this.ports[index].talk(list, Int32Array.of(BROADCAST))
    this.send(index, list.length)
  }

  counter(index: number, which: Counter): number {
    return this.engine.memory.counters[index * COUNTER_WORDS + which]
  }

  close(): void {
    this.engine.close()
  }
}

function settingsOf(vlan: PortVlan): PortSettings {
  const storm = { stormUnknown: Infinity, stormMulticast: Infinity, stormBroadcast: Infinity }
  const flood = { floodUnknown: true, floodMulticast: true, floodBroadcast: true }
  const rest = { isolated: false, hairpin: false, locked: false, limit: 0, statics: [], own: null }
  return { vlan, mtu: 1500, up: true, learning: true, ...flood, ...storm, ...rest }
}

/** ns per packet of `senders` sending in turn; checks that `copies` of each packet came out. */
function pipeline(name: string, plane: Plane, senders: number[], copies: number): number {
  const before = total(plane)
  const ns = measure(name, OPS, () => {
    for (let i = 0; i < OPS / BATCH; i++) {
      plane.engine.ready(senders[i % senders.length])
      plane.engine.service(NOW_MS)
    }
    return 0
  })
  const after = total(plane)
  if (after.tx - before.tx !== copies * (after.rx - before.rx)) throw new Error(`${name}: packets were lost`)
  return ns
}

function total(plane: Plane): { rx: number; tx: number } {
  let rx = 0
  let tx = 0
  for (const port of plane.ports) {
    rx += plane.counter(port.index, Counter.RxPackets)
    tx += plane.counter(port.index, Counter.TxPackets)
  }
  return { rx, tx }
}

function pipelines(): void {
  const plane = new Plane([UNAWARE, UNAWARE])
  const [a, b] = plane.ports
  converse(
    plane,
    Int32Array.from({ length: 10 }, (_, i) => station(i)),
  )
  measure("the benchmark's own ports alone, per packet", OPS, () => {
    for (let i = 0; i < OPS / BATCH; i++) (i & 1 ? b : a).rx(plane.engine.batch)
    return 0
  })
  pipeline('pipeline: unicast between two ports', plane, [0, 1], 1)
  plane.close()

  const nine = new Plane(new Array<PortVlan>(9).fill(UNAWARE))
  pipeline('pipeline: broadcast to 8 ports', nine, [0], 8)
  nine.close()

  const vlans = new Plane([
    { mode: 'access', vid: 10 },
    { mode: 'trunk', allowed: [10, 20] },
  ])
  vlans.ports[1].tci = 10
  converse(
    vlans,
    Int32Array.from({ length: 10 }, (_, i) => station(i)),
  )
  pipeline('pipeline: unicast, access port to trunk and back', vlans, [0, 1], 1)
  vlans.close()
}

/** The first half of the stations lives behind port 0, the second behind port 1; each talks across. */
function converse(plane: Plane, stations: Int32Array): void {
  const half = stations.length >> 1
  const left = stations.slice(0, half)
  const right = stations.slice(half)
  plane.introduce(0, left)
  plane.introduce(1, right)
  plane.ports[0].talk(left, right)
  plane.ports[1].talk(right, left)
}

/** What a million learned addresses cost, among few hosts and when all of them talk. */
function million(): Record<string, number> {
  const few = Int32Array.from({ length: 10 }, (_, i) => station(i))
  const small = new Plane([UNAWARE, UNAWARE])
  converse(small, few)
  const ten = pipeline('pipeline: 10 addresses learned, 10 hosts talk', small, [0, 1], 1)
  small.close()

  const big = new Plane([UNAWARE, UNAWARE], MILLION)
  const all = shuffled(MILLION).map(station)
  converse(big, all)
  converse(big, few)
  const learned = big.counter(0, Counter.Learned) + big.counter(1, Counter.Learned)
  if (learned < MILLION) throw new Error(`only ${learned} addresses were learned`)
  const among = pipeline('pipeline: 1,000,000 addresses learned, 10 hosts talk', big, [0, 1], 1)
  converse(big, all)
  const spread = pipeline('pipeline: 1,000,000 addresses learned, all of them talk', big, [0, 1], 1)
  big.close()
  return { among: among / ten, spread: spread / ten, spreadExtraNs: spread - ten }
}

/** Each in a process of its own: what ran before decides how code is compiled, and a daemon does one of these. */
const PARTS: Record<string, () => object> = {
  operations: () => {
    headers()
    checksums()
    hashTables()
    return {}
  },
  lpm: () => ({ lpm: lpm(measure) }),
  plain: () => ({ router: kind(measure, 'plain') }),
  stateful: () => ({ router: kind(measure, 'stateful') }),
  masqueraded: () => ({ router: kind(measure, 'masqueraded') }),
  rules: () => ({ router: rules(measure) }),
  connections: () => ({ router: connections(measure) }),
  fdb: () => {
    fdbs()
    return {}
  },
  switch: () => {
    pipelines()
    return {}
  },
  million: () => ({ million: million() }),
}

const part = process.argv.slice(2).find((word) => !word.startsWith('--'))
const document = part === undefined ? Object.keys(PARTS) : { ...PARTS[part](), rows, witness: witness | 0 }
process.stdout.write(`${JSON.stringify(document)}\n`)
