/**
 * The fuzzer of a VTEP: datagrams that are almost right, and frames that go into the tunnel, while settings
 * change and remotes come and go. After every breath the question whether the plane is still whole.
 *
 *     frames of mutate.ts, and IP, ARP and ND that a tunnel looks into -> mutate -> header, right and wrong
 *        -> Vtep -> switch -> ports that look at every packet
 *        -> a kernel that looks at every row, and sometimes refuses
 *
 * Invariants: nothing throws; rx + made = tx + drops + held + consumed; every slot is once in the batch, held or
 * free; the tables' counts are true; what is to be sent lies inside its slot and goes to a remote there is.
 */
import { Engine } from '../../src/engine/engine.ts'
import { Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import {
  BATCH,
  Clock,
  HEADROOM,
  INFO_SHIFT,
  Info,
  META_SHIFT,
  Meta,
  PATH_SHIFT,
  Path,
  SEND_SHIFT,
  Send,
  SLOT_SIZE,
} from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { HashTable } from '../../src/table/hash.ts'
import { Remote, Station, type VxlanSettings, vtepMemory } from '../../src/tunnel/tables.ts'
import type { Vtep } from '../../src/tunnel/vtep.ts'
import { arp } from '../router/packets.ts'
import { settingsOf } from '../support/fabric.ts'
import { frame, icmp, ipv4, ipv6, random, station, tcp, udp } from '../support/frames.ts'
import { counter } from '../support/port.ts'
import { FakeSockets } from '../support/sockets.ts'
import { makeFrame, randomSettings, templatesOf } from './mutate.ts'
import { FuzzPort, type FuzzReport } from './switch.ts'

const PORTS = 3
const UNDERLAY = PORTS
const TUNNEL = PORTS + 1
const TUNNELS = 2
const LAST = TUNNEL + TUNNELS
const SLOTS = 300
const REMOTES = 8
const STATIONS = 32
const BINDINGS = 8
const VTEP = 1

const [E4, E6] = [
  { src: '10.0.0.1', dst: '10.0.0.2' },
  { src: 'fd00::1', dst: 'fd00::2' },
]
const nd = (type: number, option: number): Uint8Array => {
  const target = ipv6({ src: E6.dst, dst: E6.dst }).slice(8, 24)
  const payload = icmp({ type, payload: Uint8Array.from([...target, option, 1, ...station(1)]) }, E6)
  return ipv6({ ...E6, next: 58, hopLimit: 255, payload })
}

/** What a tunnel looks into. */
function specials(): Uint8Array[] {
  const big = new Uint8Array(1600)
  const bodies: [number, Uint8Array][] = [
    [0x0800, ipv4({ ...E4, dontFragment: true, payload: udp(E4, { payload: big }) })],
    [0x0800, ipv4({ ...E4, tos: 2, protocol: 6, payload: tcp(E4, { flags: 2, options: [2, 4, 5, 180] }) })],
    [
      0x0800,
      ipv4({ ...E4, tos: 1, protocol: 6, payload: tcp(E4, { flags: 18, options: [1, 2, 4, 5, 180] }) }),
    ],
    [0x0800, ipv4({ ...E4, protocol: 1, dontFragment: true, payload: icmp({ type: 8, payload: big }) })],
    [0x0800, ipv4({ ...E4, payload: new Uint8Array(64), moreFragments: true })],
    [
      0x0800,
      ipv4({ ...E4, protocol: 6, payload: tcp({ ...E4, partial: true }, { payload: new Uint8Array(9000) }) }),
    ],
    [0x86dd, ipv6({ ...E6, tos: 3, payload: udp(E6, { payload: big }) })],
    [0x86dd, ipv6({ ...E6, next: 6, payload: tcp(E6, { flags: 2, options: [2, 4, 5, 180] }) })],
    [0x86dd, ipv6({ ...E6, next: 0, payload: Uint8Array.from([58, 0, 5, 2, 0, 0, 0, 0, 135, 0, 0, 0]) })],
    [0x86dd, nd(135, 1)],
    [0x86dd, nd(136, 2)],
  ]
  const frames = bodies.map(([type, payload]) => frame({ src: 1, dst: 2, type, payload }))
  return [
    ...frames,
    arp({ sha: 1, spa: E4.src, tpa: E4.dst }),
    arp({ op: 2, sha: 1, spa: E4.dst, tpa: E4.src }),
  ]
}

const remoteOf = (n: number): { address: number[]; scope: number } => ({
  address: [0xc0000200 | (n + 1) | 0],
  scope: 0,
})

function randomVxlan(next: () => number): VxlanSettings {
  const some = <T>(all: T[]): T[] => all.filter(() => next() % 2 === 0)
  return {
    remotes: some([0, 1, 2].map(remoteOf)),
    group: next() % 4 === 0 ? { address: [0xef010101 | 0], scope: 3 } : null,
    statics: some([{ mac: station(30), remote: remoteOf(next() % 3), addresses: [[0x0a000002]] }]),
    learning: next() % 8 !== 0,
    limit: next() % 4 === 0 ? 3 : 0,
    agingS: next() % 4,
    suppress: next() % 2 === 0,
    clampMss: next() % 4 !== 0,
    innerVlan: next() % 2 === 0 ? 'keep' : 'discard',
    accept: next() % 4 === 0 ? 'known' : 'any',
  }
}

export function fuzz({ frames, seed }: { frames: number; seed: number }): FuzzReport {
  const next = random(seed)
  const templates = [...templatesOf(), ...specials(), ...specials(), ...specials()]
  const engine = new Engine(planeMemory(SLOTS))
  const { pool, batch } = engine
  let datagrams = 0
  const sockets = new FakeSockets(
    engine,
    () => {
      const n = next() % 4 === 0 ? BATCH : 1 + (next() % BATCH)
      for (let i = 0; i < n; i++) makeDatagram(batch.slots[i], i)
      datagrams += n
      return n
    },
    (at, count) => {
      for (let i = at; i < at + count; i++)
        sockets.attached.sends[(i << SEND_SHIFT) + Send.Result] = sendRow(i)
      return next() % 256 === 0 ? -14 : count
    },
  )

  function makeDatagram(slot: number, i: number): void {
    const length = makeFrame(pool, slot, templates, next)
    const m = slot << META_SHIFT
    const { meta } = pool
    meta[m + Meta.Port] = UNDERLAY
    // As the addon hands it over: the header in front, and offsets that count from there.
    if (length <= SLOT_SIZE - HEADROOM - 8) {
      meta[m + Meta.Head] -= 8
      meta[m + Meta.Len] += 8
      meta[m + Meta.CsumStart] += 8
      const at = slot * SLOT_SIZE + meta[m + Meta.Head]
      pool.view.setInt32(at, next() % 16 === 0 ? next() : 0x08000000)
      pool.view.setInt32(at + 4, next() % 16 === 0 ? next() : (1 + (next() % TUNNELS)) << 8)
      if (next() % 16 === 0) meta[m + Meta.Len] = Math.min(meta[m + Meta.Len], next() % 40)
    }
    const row = i << INFO_SHIFT
    const { info } = sockets.attached
    info[row + Info.Family] = 4
    info[row + Info.Address0] = next() % 16 === 0 ? next() | 0 : remoteOf(next() % 6).address[0]
    info[row + Info.Tos] = next() & 255
  }

  function sendRow(i: number): number {
    const { sends, paths } = sockets.attached
    const row = i << SEND_SHIFT
    const [slot, path, tag] = [sends[row + Send.Slot], sends[row + Send.Path], sends[row + Send.Tag]]
    const m = slot << META_SHIFT
    const { meta } = pool
    const [head, len, strip] = [meta[m + Meta.Head], meta[m + Meta.Len], meta[m + Meta.Strip]]
    const whole = slot >= 0 && slot < SLOTS && head >= 24 && head + len <= SLOT_SIZE && len - strip >= 14
    const there = path >= 0 && path < 256 && paths[(path << PATH_SHIFT) + Path.Family] === 4
    const socket = sends[row + Send.Socket]
    const right = sends[row + Send.Header0] === 0x08000000 && (sends[row + Send.Header1] & 255) === 0
    if (!whole || !there || socket < 1 || socket > 8 || !right || (tag & 0xfff) === 0xfff)
      throw new Error(
        `row ${i}: slot ${slot} head ${head} len ${len} path ${path} socket ${socket} tag ${tag}`,
      )
    return next() % 64 === 0 ? -[11, 90, 101, 74, 22][next() % 5] : 8 + len
  }

  const settings = { agingS: 3, limit: 64, reservedOpen: 0 }
  engine.apply({ op: 'switch-add', id: 0, name: 'fuzz', fdb: HashTable.memory(64, seed), settings })
  const vtepSettings = (): Parameters<Vtep['set']>[0] => ({
    local: [0xc0000201 | 0],
    port: 4789,
    mtu: [1500, 1500, 600, 9000][next() % 4],
    df: next() % 2 === 0 ? 'inherit' : 'unset',
    ttl: next() % 2 === 0 ? 0 : 64,
    groupTtl: 1,
    tos: next() % 2 === 0 ? -1 : next() & 255,
    strict: next() % 8 === 0,
  })
  const given = { fds: [], receivers: 1, senders: 4 }
  engine.apply({
    op: 'vtep-add',
    id: VTEP,
    name: 'vtep',
    index: UNDERLAY,
    sockets: given,
    settings: vtepSettings(),
    memory: vtepMemory(REMOTES, STATIONS, BINDINGS, seed),
  })
  const vtep = engine.stages[VTEP] as Vtep
  const ports = Array.from({ length: PORTS }, (_, i) => {
    const port = new FuzzPort(engine, i, next, (slot) => makeFrame(pool, slot, templates, next))
    engine.addPort(port, 0)
    return port
  })
  for (let i = 0; i < TUNNELS; i++)
    engine.apply({
      op: 'port-add',
      switch: 0,
      spec: {
        type: 'vxlan',
        index: TUNNEL + i,
        name: `t${i}`,
        mtu: 65535,
        vtep: VTEP,
        vni: 1 + i,
        settings: randomVxlan(next),
      },
      settings: settingsOf({ mtu: 65535 }),
    })
  for (let i = 0; i < LAST; i++) if (i !== UNDERLAY) engine.set(i, randomSettings(next, i))

  const started = performance.now()
  let done = 0
  let nowMs = 1
  try {
    while (done < frames) {
      if (next() % 16 === 0) {
        const i = next() % LAST
        if (i !== UNDERLAY) engine.set(i, randomSettings(next, i))
      }
      if (next() % 32 === 0)
        engine.apply({ op: 'vxlan-set', index: TUNNEL + (next() % TUNNELS), settings: randomVxlan(next) })
      if (next() % 64 === 0)
        engine.apply({ op: 'vtep-set', id: VTEP, sockets: given, settings: vtepSettings() })
      if (next() % 64 === 0)
        engine.apply({ op: 'remote-state', id: VTEP, remote: remoteOf(next() % 6), dead: next() % 2 === 0 })
      if (next() % 512 === 0) engine.apply({ op: 'vxlan-flush', id: VTEP, index: -1, remote: null })
      for (let at = 0; at < vtep.remotes.words.length; at += Remote.Words)
        if (next() % 64 === 0)
          vtep.remotes.words[at + Remote.Mtu] = [0, 68, 576, 1280, 1400, 9000][next() % 6]
      const before = datagrams
      engine.ready(UNDERLAY)
      if (next() % 4 === 0) engine.ready(ports[next() % PORTS].index)
      engine.memory.clock[Clock.MonotonicMs] = nowMs
      engine.service(nowMs)
      nowMs += next() % 100
      done += datagrams - before
      check(engine, vtep)
    }
    return report(engine, done, (performance.now() - started) / 1000)
  } catch (error) {
    throw new Error(`seed ${seed}, after ${done} datagrams: ${String(error)}`, { cause: error })
  } finally {
    engine.close()
  }
}

const seen = new Uint8Array(SLOTS)

function check(engine: Engine, vtep: Vtep): void {
  const { counters } = engine.memory
  let balance = 0
  let held = 0
  for (let i = 0; i < LAST; i++) {
    balance += counter(counters, i, Counter.RxPackets) + counter(counters, i, Counter.Made)
    balance -= counter(counters, i, Counter.TxPackets) + dropsOf(counters, i)
    balance -= counter(counters, i, Counter.Held) + counter(counters, i, Counter.Consumed)
    held += engine.pipeline.portOf[i]!.held()
  }
  if (balance !== 0) throw new Error(`${balance} packets are not accounted for`)
  seen.fill(0)
  for (let i = 0; i < BATCH; i++) seen[engine.batch.slots[i]]++
  for (let i = 0; i < SLOTS; i++) if (seen[i] > 1) throw new Error(`slot ${i} is twice in the batch`)
  if (engine.pool.available + held !== SLOTS - BATCH)
    throw new Error(`${engine.pool.available} slots are free and ${held} held, of ${SLOTS - BATCH}`)

  const { remotes, stations } = vtep
  const { words } = stations.table
  let size = 0
  let learned = 0
  for (let at = 0; at < words.length; at += 4) {
    if (words[at + 1] === 0) continue
    size++
    const value = words[at + 2]
    const row = value & Station.RowMask
    if (row >= REMOTES) throw new Error(`a station behind remote ${row}`)
    const stamp = value & ~Station.Static
    if ((value & Station.Static) === 0 && stamp === remotes.stamp(row)) learned++
  }
  if (size !== stations.table.size || size > STATIONS) throw new Error(`${size} stations`)
  let counted = 0
  for (let at = 0; at < remotes.words.length; at += Remote.Words)
    counted += remotes.words[at + Remote.Addresses]
  if (learned !== remotes.learned || counted !== learned)
    throw new Error(`${learned} stations learned, ${remotes.learned} and ${counted} counted`)
}

function report(engine: Engine, frames: number, seconds: number): FuzzReport {
  const { counters } = engine.memory
  const result: FuzzReport = { frames, seconds, rx: 0, made: 0, tx: 0, dropped: 0, reasons: [] }
  for (let i = 0; i < LAST; i++) {
    result.rx += counter(counters, i, Counter.RxPackets)
    result.made += counter(counters, i, Counter.Made)
    result.tx += counter(counters, i, Counter.TxPackets)
    result.dropped += dropsOf(counters, i)
  }
  DROPS.forEach(([name], reason) => {
    let n = 0
    for (let i = 0; i < LAST; i++) n += counter(counters, i, (Counter.Drops + reason) as Counter)
    if (n > 0) result.reasons.push([name, n])
  })
  return result
}
