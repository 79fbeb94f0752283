/**
 * Run by no-gc.test.ts in a process of its own: two million packets through `engine.service`, the second
 * million watched. Prints one line of JSON: what was collected, and the memory before and after.
 *
 * The ports refill the same slots with the same bytes, so that every allocation there is must be the
 * engine's.
 */
import { PerformanceObserver } from 'node:perf_hooks'
import { Engine } from '../../src/engine/engine.ts'
import type { Batch } from '../../src/packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../../src/packet/counters.ts'
import { BATCH, HEADROOM, META_SHIFT, Meta, SLOT_SIZE } from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from '../../src/port/port.ts'
import { HashTable } from '../../src/table/hash.ts'
import { settingsOf } from '../support/fabric.ts'

const PORTS = 4
const PACKETS = 1_000_000
const FRAME = 64

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

const engine = new Engine(planeMemory(256))
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

let nowMs = 1
let seen = 0
/** The clock moves 0.25 ms a breath: the tick, ageing and the sweep happen in the run, too. */
function run(packets: number): void {
  for (const until = seen + packets; seen < until; seen += PORTS * (BATCH / 2)) {
    for (let i = 0; i < PORTS; i++) engine.ready(i)
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

run(PACKETS)
if (!globalThis.gc) throw new Error('run with --expose-gc')
globalThis.gc()
globalThis.gc()
observer.observe({ entryTypes: ['gc'] })
await new Promise((done) => setTimeout(done, 50))
collections.length = 0
const before = process.memoryUsage()
run(PACKETS)
const after = process.memoryUsage()
// Collections are reported by a task of their own.
await new Promise((done) => setTimeout(done, 50))
observer.disconnect()
const collected = collections.slice()

let rx = 0
for (let i = 0; i < PORTS; i++) rx += engine.memory.counters[i * COUNTER_WORDS + Counter.RxPackets]
engine.close()
console.log(
  JSON.stringify({
    packets: rx,
    collections: collected,
    heapGrown: after.heapUsed - before.heapUsed,
    residentGrown: after.rss - before.rss,
  }),
)
