/**
 * Run by no-gc.test.ts in a process of its own: two million packets through `engine.service`, the second
 * million watched. Prints one line of JSON: what was collected, and the memory before and after.
 *
 * The ports refill the same slots with the same bytes, so that every allocation there is must be the
 * engine's. One port is a tunnel, whose sockets are not there: datagrams come in, packets of all kinds go out.
 */
import { PerformanceObserver } from 'node:perf_hooks'
import { Engine } from '../../src/engine/engine.ts'
import type { Batch } from '../../src/packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../../src/packet/counters.ts'
import {
  BATCH,
  Clock,
  HEADROOM,
  INFO_SHIFT,
  Info,
  META_SHIFT,
  Meta,
  SEND_SHIFT,
  Send,
  SLOT_SIZE,
} from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from '../../src/port/port.ts'
import { HashTable } from '../../src/table/hash.ts'
import { vtepMemory } from '../../src/tunnel/tables.ts'
import { arp } from '../router/packets.ts'
import { settingsOf } from '../support/fabric.ts'
import { frame, ipv4, ipv6, tcp, udp } from '../support/frames.ts'
import { FakeSockets } from '../support/sockets.ts'

const PORTS = 4
const PACKETS = 1_000_000
const FRAME = 64
const UNDERLAY = PORTS
const TUNNEL = PORTS + 1

/** What a tunnel looks at twice: too long, a SYN, questions and answers of ARP, IPv6. */
const SPECIALS = [
  frame({
    src: 3,
    dst: 0x02020204,
    type: 0x0800,
    payload: ipv4({ src: '10.0.0.1', dst: '10.0.0.2', dontFragment: true, payload: new Uint8Array(1480) }),
  }),
  frame({
    src: 3,
    dst: 0x02020205,
    type: 0x0800,
    payload: ipv4({
      src: '10.0.0.1',
      dst: '10.0.0.2',
      protocol: 6,
      payload: tcp({ src: '10.0.0.1', dst: '10.0.0.2' }, { flags: 2, options: [2, 4, 5, 180] }),
    }),
  }),
  arp({ sha: 3, spa: '10.0.0.3', tpa: '10.0.0.4' }),
  arp({ op: 2, sha: 4, spa: '10.0.0.4', tha: 3, tpa: '10.0.0.3' }),
  frame({
    src: 3,
    dst: 4,
    type: 0x86dd,
    payload: ipv6({
      src: 'fd00::1',
      dst: 'fd00::2',
      tos: 2,
      payload: udp({ src: 'fd00::1', dst: 'fd00::2' }),
    }),
  }),
]

class Source implements Port {
  readonly index: number
  readonly name: string
  mtu = 1500
  readonly timed = false
  private readonly host: PortHost
  private turn = 0

  constructor(host: PortHost, index: number) {
    this.host = host
    this.index = index
    this.name = `p${index}`
  }

  /** A batch of everything: known and unknown stations, new ones, groups, broadcasts, tags, runts. */
  rx(batch: Batch): number {
    const { bytes, meta } = this.host.pool
    const n = 1 + (this.turn & (BATCH - 1))
    for (let i = 0; i < n; i++) {
      const turn = this.turn++
      const slot = batch.slots[i]
      const m = slot << META_SHIFT
      meta[m + Meta.Head] = HEADROOM
      meta[m + Meta.Len] = turn % 97 === 0 ? 10 : FRAME
      meta[m + Meta.Flags] = 0
      meta[m + Meta.GsoSize] = 0
      meta[m + Meta.Strip] = 0
      const at = slot * SLOT_SIZE + HEADROOM
      const group = turn % 13 === 0
      for (let b = 0; b < 6; b++) bytes[at + b] = group ? 255 : 2
      bytes[at + 5] = group ? 255 : turn & 63
      bytes[at + 6] = 2
      for (let b = 7; b < 10; b++) bytes[at + b] = 2
      bytes[at + 10] = turn % 11 === 0 ? turn >> 8 : 2
      bytes[at + 11] = turn % 11 === 0 ? turn : (turn & 15) | (this.index << 4)
      bytes[at + 12] = turn % 5 === 0 ? 0x81 : 0x08
      bytes[at + 13] = 0
      bytes[at + 14] = (turn & 7) << 5
      bytes[at + 15] = turn % 3 === 0 ? 10 : 20
      if (turn % 7 === 0) {
        const special = SPECIALS[turn % SPECIALS.length]
        bytes.set(special, at)
        meta[m + Meta.Len] = special.length
      }
      meta[m + Meta.Port] = this.index
    }
    batch.n = n
    countRx(this.host, this.index, n, n * FRAME)
    return n
  }

  tx(queue: TxQueue): number {
    countTx(this.host, this.index, queue.count, queue.count * FRAME)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {}
}

const engine = new Engine(planeMemory(1024))
const settings = { agingS: 2, limit: 1000, reservedOpen: 0 }
engine.apply({ op: 'switch-add', id: 0, name: 'lan', fdb: HashTable.memory(1000, 1), settings })
for (let i = 0; i < PORTS; i++) {
  engine.addPort(new Source(engine, i), 0)
  const vlan =
    i === 0 ? { mode: 'access' as const, vid: 10 } : { mode: 'trunk' as const, allowed: [10, 20], native: 1 }
  engine.set(
    i,
    settingsOf({ vlan, limit: i === 1 ? 50 : 0, stormBroadcast: i === 2 ? 1000 : Number.POSITIVE_INFINITY }),
  )
}

/** Datagrams: a header in front of what a Source makes, from 16 remotes; and a kernel that takes all there is. */
const source = new Source(engine, UNDERLAY)
let datagrams = 0
const sockets = new FakeSockets(
  engine,
  () => {
    const { batch, pool } = engine
    source.rx(batch)
    engine.memory.counters[UNDERLAY * COUNTER_WORDS + Counter.RxPackets] -= batch.n
    for (let i = 0; i < batch.n; i++) {
      const at = batch.slots[i] * SLOT_SIZE + HEADROOM - 8
      const turn = datagrams++
      pool.view.setInt32(at, turn % 101 === 0 ? 0 : 0x08000000)
      pool.view.setInt32(at + 4, (turn % 103 === 0 ? 8 : 7) << 8)
      const m = batch.slots[i] << META_SHIFT
      pool.meta[m + Meta.Head] -= 8
      pool.meta[m + Meta.Len] += 8
      const { info } = sockets.attached
      info[(i << INFO_SHIFT) + Info.Family] = 4
      info[(i << INFO_SHIFT) + Info.Address0] = 0x0a000000 | (turn % 997 === 0 ? turn : turn & 15)
      info[(i << INFO_SHIFT) + Info.Tos] = turn & 3
    }
    return batch.n
  },
  (at, count) => {
    for (let i = at; i < at + count; i++)
      sockets.attached.sends[(i << SEND_SHIFT) + Send.Result] = i % 41 === 0 ? -11 : 100
    return count
  },
)
const remotes = Array.from({ length: 4 }, (_, i) => ({ address: [0x0a000000 | i], scope: 0 }))
engine.apply({
  op: 'vtep-add',
  id: 1,
  name: 'vtep',
  index: UNDERLAY,
  sockets: { fds: [], receivers: 1, senders: 4 },
  settings: { local: [1], port: 4789, mtu: 1500, df: 'inherit', ttl: 0, groupTtl: 1, tos: -1, strict: false },
  memory: vtepMemory(64, 256, 64, 3),
})
engine.apply({
  op: 'port-add',
  switch: 0,
  spec: {
    type: 'vxlan',
    index: TUNNEL,
    name: 'tunnel',
    mtu: 65535,
    vtep: 1,
    vni: 7,
    settings: {
      remotes,
      group: { address: [0xef010101 | 0], scope: 2 },
      statics: [],
      learning: true,
      limit: 0,
      agingS: 2,
      suppress: true,
      clampMss: true,
      innerVlan: 'keep',
      accept: 'any',
    },
  },
  settings: settingsOf({ mtu: 65535, vlan: { mode: 'trunk', allowed: [10, 20], native: 1 } }),
})

let nowMs = 1
let seen = 0
/** The clock moves 0.25 ms a breath: the tick, ageing and the sweep happen in the run, too. */
function run(packets: number): void {
  for (const until = seen + packets; seen < until; seen += PORTS * (BATCH / 2)) {
    for (let i = 0; i < PORTS; i++) engine.ready(i)
    engine.ready(UNDERLAY)
    engine.memory.clock[Clock.MonotonicMs] = nowMs
    engine.service(nowMs)
    nowMs += 0.25
  }
}

const collections: { kind: number; ms: number }[] = []
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { kind } = (entry as unknown as { detail: { kind: number } }).detail
    collections.push({ kind, ms: entry.duration })
  }
})

interface Measured {
  collections: { kind: number; ms: number }[]
  heapGrown: number
  residentGrown: number
}

async function measure(): Promise<Measured> {
  globalThis.gc!()
  globalThis.gc!()
  observer.observe({ entryTypes: ['gc'] })
  await new Promise((done) => setTimeout(done, 50))
  collections.length = 0
  const before = process.memoryUsage()
  run(PACKETS)
  const after = process.memoryUsage()
  // Collections are reported by a task of their own.
  await new Promise((done) => setTimeout(done, 50))
  observer.disconnect()
  return {
    collections: collections.slice(),
    heapGrown: after.heapUsed - before.heapUsed,
    residentGrown: after.rss - before.rss,
  }
}

if (!globalThis.gc) throw new Error('run with --expose-gc')
run(PACKETS)
// On a busy machine the optimiser's threads end late, and what they leave is collected. What packets cost comes again.
let measured = await measure()
for (let again = 0; again < 3 && measured.collections.length > 0; again++) measured = await measure()

let rx = 0
for (let i = 0; i < PORTS; i++) rx += engine.memory.counters[i * COUNTER_WORDS + Counter.RxPackets]
const of = (port: number, which: Counter): number => engine.memory.counters[port * COUNTER_WORDS + which]
const tunnel = {
  rx: of(TUNNEL, Counter.RxPackets),
  tx: of(TUNNEL, Counter.TxPackets),
  made: of(TUNNEL, Counter.Made),
}
engine.close()
console.log(
  JSON.stringify({
    packets: rx,
    tunnel,
    ...measured,
  }),
)
