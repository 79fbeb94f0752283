/**
 * What many tunnels cost: the pipeline from a client's port to a VTEP and back, in ns per packet, with one VNI
 * and ten remote addresses, and with 1000 VNIs and 100,000. No kernel: the sockets are arrays. "All
 * talk" means that every packet is of another station, in random order: 100,000 stations behind 100 remotes, or
 * one behind each of 100,000.
 *
 *     client 0, a trunk --- switch --- VXLAN port k, VLAN k --- VTEP --- VNI k, its remotes
 *
 * Run by bench/vxlan.mjs; the last line written to standard output is the JSON document.
 */
import type { PortSettings } from '../src/engine/command.ts'
import { inlineFurther } from '../src/engine/compiler.ts'
import { Engine } from '../src/engine/engine.ts'
import { type Io, native, type UdpAttachment } from '../src/native.ts'
import type { Batch } from '../src/packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../src/packet/counters.ts'
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
} from '../src/packet/layout.ts'
import { planeMemory } from '../src/packet/memory.ts'
import { countRx, countTx, type Port, type TxQueue } from '../src/port/port.ts'
import type { PortVlan } from '../src/switch/vlan.ts'
import { HashTable } from '../src/table/hash.ts'
import { vtepMemory } from '../src/tunnel/tables.ts'
import { SEED, shuffled } from './order.ts'
import { STATION_HI, station } from './traffic.ts'

inlineFurther()
const quick = process.argv.includes('--quick')
const NOW_MS = 1_000_000
const VNIS = 1000
const STATIONS = 100_000
const REMOTES = 100
const FEW = 10
const FRAME = 60
const VNI_FLAG = 0x08000000
const FIRST_VNI = 5000
const UNDERLAY = VNIS + 1
/** The client's own station, in every VLAN. */
const HOME = 7
const OUTER = 0x0a000000
const ROUNDS = quick ? 5 : 15
const PACKETS = quick ? 1 << 17 : 1 << 19

function settingsOf(vlan: PortVlan): PortSettings {
  const free = Number.POSITIVE_INFINITY
  return {
    vlan,
    mtu: 65535,
    up: true,
    learning: true,
    floodUnknown: true,
    floodMulticast: true,
    floodBroadcast: true,
    isolated: false,
    hairpin: false,
    locked: false,
    limit: 0,
    stormUnknown: free,
    stormMulticast: free,
    stormBroadcast: free,
    statics: [],
    own: null,
  }
}

/** Who talks: station i is in segment i % segments, behind remote i % remotes. */
class Site implements Port {
  readonly index = 0
  readonly name = 'client'
  mtu = 65535
  readonly timed = false
  readonly engine = new Engine(planeMemory(512), -1)
  private readonly segments: number
  private readonly remotes: number
  private talkers: Int32Array = new Int32Array(1)
  private at = 0
  private sockets!: UdpAttachment
  /** Datagrams in the kernel's hands. */
  private waiting = false
  sent = 0
  received = 0

  constructor(segments: number, stations: number, remotes: number) {
    this.segments = segments
    this.remotes = remotes
    const { engine } = this
    engine.memory.clock[Clock.MonotonicMs] = NOW_MS
    ;(engine as { io: Io }).io = this.io(engine.io)
    const limit = stations + segments + 64
    const fdb = HashTable.memory(limit, SEED)
    native.hugePages(new Uint8Array(fdb))
    engine.apply({
      op: 'switch-add',
      id: 0,
      name: 'lan',
      fdb,
      settings: { agingS: 300, limit, reservedOpen: 0 },
    })
    engine.addPort(this, 0)
    const allowed = Array.from({ length: segments }, (_, k) => k + 1)
    engine.set(0, settingsOf({ mode: 'trunk', allowed }))
    const memory = vtepMemory(remotes + 16, limit, 16, SEED)
    for (const table of Object.values(memory)) {
      const buffer = ArrayBuffer.isView(table) ? table.buffer : table
      if (buffer.byteLength > 1 << 21) native.hugePages(new Uint8Array(buffer))
    }
    engine.apply({
      op: 'vtep-add',
      id: 10,
      name: 'vtep',
      index: UNDERLAY,
      sockets: { fds: [], receivers: 1, senders: 8 },
      settings: {
        local: [OUTER],
        port: 4789,
        mtu: 1500,
        df: 'unset',
        ttl: 64,
        groupTtl: 1,
        tos: 0,
        strict: false,
      },
      memory,
    })
    for (let k = 0; k < segments; k++)
      engine.apply({
        op: 'port-add',
        switch: 0,
        spec: {
          type: 'vxlan',
          index: k + 1,
          name: `far${k}`,
          mtu: 65535,
          vtep: 10,
          vni: FIRST_VNI + k,
          settings: {
            remotes: [],
            group: null,
            statics: [],
            learning: true,
            limit: 0,
            agingS: 300,
            suppress: false,
            clampMss: true,
            innerVlan: 'discard',
            accept: 'any',
          },
        },
        settings: settingsOf({ mode: 'access', vid: k + 1 }),
      })
    // The client is heard in every segment, then every station is.
    this.talk(Int32Array.from({ length: segments }, (_, k) => k))
    this.send(segments)
    this.talk(Int32Array.from({ length: stations }, (_, i) => i))
    this.receive(stations)
  }

  talk(talkers: Int32Array): void {
    this.talkers = talkers
    this.at = 0
  }

  /** `packets` from the client to the talkers, in whole batches. */
  send(packets: number): void {
    for (let i = 0; i < packets; i += BATCH) {
      this.engine.ready(0)
      this.engine.service(NOW_MS)
    }
  }

  /** ... from the talkers to the client. */
  receive(packets: number): void {
    for (let i = 0; i < packets; i += BATCH) {
      this.waiting = true
      this.engine.ready(UNDERLAY)
      this.engine.service(NOW_MS)
    }
  }

  count(port: number, which: Counter): number {
    return this.engine.memory.counters[port * COUNTER_WORDS + which]
  }

  private next(): number {
    const who = this.talkers[this.at]
    if (++this.at === this.talkers.length) this.at = 0
    return who
  }

  private frame(slot: number, at: number, len: number): void {
    const { meta } = this.engine.pool
    const m = slot << META_SHIFT
    meta[m + Meta.Head] = at - slot * SLOT_SIZE
    meta[m + Meta.Len] = len
    meta[m + Meta.Flags] = 0
    meta[m + Meta.GsoSize] = 0
    meta[m + Meta.Strip] = 0
  }

  rx(batch: Batch): number {
    const { view, meta } = this.engine.pool
    for (let i = 0; i < BATCH; i++) {
      const slot = batch.slots[i]
      const at = slot * SLOT_SIZE + HEADROOM
      const who = this.next()
      this.frame(slot, at, FRAME)
      meta[(slot << META_SHIFT) + Meta.Port] = 0
      view.setUint16(at, STATION_HI)
      view.setInt32(at + 2, station(who))
      view.setUint16(at + 6, STATION_HI)
      view.setInt32(at + 8, HOME)
      view.setUint32(at + 12, 0x81000000 + (who % this.segments) + 1)
      view.setUint16(at + 16, 0x0800)
    }
    batch.n = BATCH
    countRx(this.engine, 0, BATCH, BATCH * FRAME)
    return BATCH
  }

  tx(queue: TxQueue): number {
    this.received += queue.count
    countTx(this.engine, 0, queue.count, queue.count * FRAME)
    return 0
  }

  private io(real: Io): Io {
    return {
      attach: real.attach.bind(real),
      attachUdp: (sockets) => {
        this.sockets = sockets
        return 1000
      },
      detach: () => {},
      update: () => {},
      rx: (_device, from) => this.datagrams(from),
      tx: (_device, at, count) => {
        const { sends } = this.sockets
        for (let row = at; row < at + count; row++) sends[(row << SEND_SHIFT) + Send.Result] = FRAME + 8
        this.sent += count
        return count
      },
      wait: () => 0,
      tick: () => {},
      close: () => real.close(),
    }
  }

  private datagrams(from: number): number {
    const { pool, batch } = this.engine
    const { view, meta } = pool
    const { info } = this.sockets
    if (!this.waiting) return 0
    this.waiting = false
    for (let i = 0; i < BATCH; i++) {
      const slot = batch.slots[from + i]
      const at = slot * SLOT_SIZE + HEADROOM
      const who = this.next()
      this.frame(slot, at, FRAME + 8)
      meta[(slot << META_SHIFT) + Meta.Port] = UNDERLAY
      view.setUint32(at, VNI_FLAG)
      view.setUint32(at + 4, (FIRST_VNI + (who % this.segments)) << 8)
      view.setUint16(at + 8, STATION_HI)
      view.setInt32(at + 10, HOME)
      view.setUint16(at + 14, STATION_HI)
      view.setInt32(at + 16, station(who))
      view.setUint16(at + 20, 0x0800)
      const row = (from + i) << INFO_SHIFT
      info[row + Info.Family] = 4
      info[row + Info.Address0] = OUTER + 1 + (who % this.remotes)
      info[row + Info.Tos] = 0
      info[row + Info.Flags] = 0
    }
    return BATCH
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    this.engine.io.close()
  }
}

/** The cases, measured in turns: the least of the rounds is what the code costs. */
function compare(): Record<string, number> {
  const small = new Site(1, FEW, FEW)
  const big = new Site(VNIS, STATIONS, REMOTES)
  const wide = new Site(VNIS, STATIONS, STATIONS)
  const known = Math.min(...[big, wide].map((site) => site.count(UNDERLAY, Counter.Consumed)))
  if (known < STATIONS) throw new Error(`only ${known} datagrams found their port`)
  const few = shuffled(FEW)
  const all = shuffled(STATIONS)
  const cases: [string, Site, Int32Array][] = [
    ['few', small, few],
    ['among', big, few],
    ['spread', big, all],
    ['wide', wide, all],
  ]
  const best: Record<string, number> = {}
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, site, talkers] of cases) {
      site.talk(talkers)
      for (const way of ['In', 'Out'] as const) {
        const before = way === 'In' ? site.received : site.sent
        const start = performance.now()
        if (way === 'In') site.receive(PACKETS)
        else site.send(PACKETS)
        const ns = ((performance.now() - start) * 1e6) / PACKETS
        const crossed = (way === 'In' ? site.received : site.sent) - before
        // The VXLAN port hands on what came in the round after; a batch can be on its way.
        if (Math.abs(crossed - PACKETS) > 2 * BATCH)
          throw new Error(`${name} ${way}: ${crossed} of ${PACKETS} crossed`)
        best[name + way] = Math.min(best[name + way] ?? Number.POSITIVE_INFINITY, ns)
      }
    }
  }
  return best
}

process.stdout.write(`${JSON.stringify(compare())}\n`)
process.exit(0)
