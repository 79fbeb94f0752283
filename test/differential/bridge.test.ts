/**
 * The same frames through the Linux bridge and through our switch; what comes out where must be the same.
 *
 *     test --AF_PACKET--> in0 === out0 \                     / the bridge (namespace K)
 *     test --AF_PACKET--> in1 === out1  > veth pairs into   <
 *     test --AF_PACKET--> in2 === out2 /                     \ our engine, packet ports (namespace T)
 *
 * Both get one frame at a time, so that order and learning are the same on both sides; what came out of
 * the other ports is compared as a multiset. The kernel's settings: STP and multicast snooping off (it
 * then forwards 01-80-C2-00-00-00, which we do not: not tested here), no VLAN filtering, as in our
 * unaware switch.
 *
 * One known difference: the bridge learns the source of a frame to a reserved address, unless its option
 * no_linklocal_learn is set; we do not. So those frames come from stations that nobody talks to.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Engine } from '../../src/engine/engine.ts'
import { DeviceKind, type Io, native } from '../../src/native.ts'
import { Counter, dropsOf } from '../../src/packet/counters.ts'
import { BATCH, Clock } from '../../src/packet/layout.ts'
import { type PlaneMemory, planeMemory } from '../../src/packet/memory.ts'
import { Pool } from '../../src/packet/pool.ts'
import { DevicePort, RX_BUDGET } from '../../src/port/device.ts'
import { HashTable } from '../../src/table/hash.ts'
import { settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame, group, random, reserved, station } from '../support/frames.ts'
import { lacking, NetLab } from '../support/netlab.ts'
import { counter, fill, onWire } from '../support/port.ts'

const PORTS = 4
const MTU = 9216
/** How long both sides must say nothing new before a difference is believed. */
const QUIET_MS = 200

/** The test's own ends of the wires: raw sockets, no switch behind them. */
class Probe {
  private readonly memory: PlaneMemory = planeMemory(2 * BATCH)
  private readonly pool = new Pool(this.memory.pool, this.memory.meta)
  private readonly io: Io
  private readonly fds: number[] = []

  constructor(netns: string, names: string[]) {
    for (let i = 0; i < BATCH; i++) this.memory.rx[i] = this.pool.alloc()
    const { pool, meta, rx, txq, events, clock, txResult } = this.memory
    this.io = new native.Io({ pool, meta, rx, txq, events, clock, txResult })
    for (const name of names) {
      const { fd } = native.openPacket({ netns, name, vnetHdr: false })
      this.fds.push(fd)
      this.io.attach(fd, DeviceKind.Packet, 0, 0, this.fds.length - 1)
    }
  }

  send(port: number, bytes: Uint8Array): boolean {
    const slot = BATCH
    fill(this.pool, slot, { frame: bytes }, port)
    this.memory.txq[0] = slot
    this.memory.txq[1] = 0
    return this.io.tx(port, 0, 1) === 1
  }

  /** What has arrived by now, by port, as hex. */
  collect(into: string[][]): number {
    let n = 0
    for (let port = 0; port < PORTS; port++) {
      const got = this.io.rx(port, 0, BATCH, RX_BUDGET)
      for (let i = 0; i < got; i++) {
        into[port].push(Buffer.from(onWire(this.pool, this.memory.rx[i], 0)).toString('hex'))
        n++
      }
    }
    return n
  }

  now(): number {
    this.io.tick()
    return this.memory.clock[Clock.MonotonicMs]
  }

  close(): void {
    this.io.close()
    for (const fd of this.fds) native.close(fd)
  }
}

/** Our switch, stepped here. */
class Ours {
  readonly engine = new Engine(planeMemory(2 * BATCH))
  private readonly fds: number[] = []

  constructor(netns: string, names: string[]) {
    const settings = { agingS: 300, limit: 65536, reservedOpen: 0 }
    this.engine.apply({ op: 'switch-add', id: 0, name: 'ours', fdb: HashTable.memory(65536, 3), settings })
    names.forEach((name, index) => {
      const { fd, vnetSize } = native.openPacket({ netns, name })
      this.fds.push(fd)
      const spec = { index, name, kind: DeviceKind.Packet, fd, vnetSize, offloads: 0, mtu: MTU }
      this.engine.addPort(new DevicePort(this.engine, this.engine.io, spec), 0)
      this.engine.set(index, settingsOf({ mtu: MTU }))
    })
  }

  step(): void {
    const { memory, io } = this.engine
    const n = io.wait(0, 0)
    for (let i = 0; i < n; i++) this.engine.ready(memory.events[2 * i])
    this.engine.service(memory.clock[Clock.MonotonicMs])
  }

  close(): void {
    this.engine.close()
    for (const fd of this.fds) native.close(fd)
  }
}

describe.skipIf(lacking)(`against the Linux bridge${lacking ? ` (${lacking})` : ''}`, () => {
  let lab: NetLab
  let kernel: Probe
  let theirs: Probe
  let ours: Ours
  const inside = Array.from({ length: PORTS }, (_, i) => `out${i}`)
  const outside = Array.from({ length: PORTS }, (_, i) => `in${i}`)

  /** Veth pairs of one namespace: in0 === out0 and so on, without offloads. */
  function wires(name: string): string {
    const ns = lab.add(name)
    for (let i = 0; i < PORTS; i++) {
      lab.ip(ns, `link add in${i} mtu ${MTU} type veth peer name out${i} mtu ${MTU}`)
      for (const end of ['in', 'out']) lab.ip(ns, `link set ${end}${i} up`)
    }
    return ns
  }

  beforeAll(() => {
    lab = new NetLab()
    const k = wires('kernel')
    lab.ip(
      k,
      `link add br0 mtu ${MTU} type bridge stp_state 0 mcast_snooping 0 ageing_time 30000 forward_delay 0`,
    )
    for (let i = 0; i < PORTS; i++) lab.ip(k, `link set out${i} master br0`)
    lab.ip(k, 'link set br0 up')
    const t = wires('ours')
    kernel = new Probe(lab.path(k), outside)
    theirs = new Probe(lab.path(t), outside)
    ours = new Ours(lab.path(t), inside)
  }, 60_000)

  afterAll(() => {
    kernel?.close()
    theirs?.close()
    ours?.close()
    lab?.close()
  })

  /** Sends from one port into both; what came out of each, sorted. Ends when both said the same. */
  function both(port: number, frames: Uint8Array[]): { bridge: string[][]; switched: string[][] } {
    const bridge: string[][] = outside.map(() => [])
    const switched: string[][] = outside.map(() => [])
    for (const bytes of frames) {
      expect(theirs.send(port, bytes)).toBe(kernel.send(port, bytes))
      ours.step()
      kernel.collect(bridge)
      theirs.collect(switched)
    }
    const same = (): boolean => JSON.stringify(sorted(bridge)) === JSON.stringify(sorted(switched))
    // Wait for stragglers: twice nothing new and the same on both sides, or a while of nothing new.
    let quietSince = kernel.now()
    let calm = 0
    while (!(calm >= 2 && same()) && kernel.now() - quietSince < QUIET_MS) {
      ours.step()
      const n = kernel.collect(bridge) + theirs.collect(switched)
      calm = n === 0 ? calm + 1 : 0
      if (n > 0) quietSince = kernel.now()
    }
    return { bridge: sorted(bridge), switched: sorted(switched) }
  }

  const sorted = (ports: string[][]): string[][] => ports.map((frames) => [...frames].sort())

  function compare(port: number, ...frames: Uint8Array[]): string[][] {
    const { bridge, switched } = both(port, frames)
    expect(switched).toEqual(bridge)
    return switched
  }

  test('the wires are quiet', () => {
    expect(compare(0).flat()).toEqual([])
  })

  const [A, B, C] = [0x101, 0x102, 0x103]
  const counts = (ports: string[][]): number[] => ports.map((frames) => frames.length)

  test('broadcast, unknown, learned, moved', () => {
    expect(counts(compare(0, frame({ src: A, dst: BROADCAST })))).toEqual([0, 1, 1, 1])
    expect(counts(compare(1, frame({ src: B, dst: C })))).toEqual([1, 0, 1, 1])
    expect(counts(compare(1, frame({ src: B, dst: A })))).toEqual([1, 0, 0, 0])
    expect(counts(compare(2, frame({ src: A, dst: BROADCAST })))).toEqual([1, 1, 0, 1])
    expect(counts(compare(1, frame({ src: B, dst: A })))).toEqual([0, 0, 1, 0])
  })

  test('a station behind the port the frame came from', () => {
    expect(counts(compare(1, frame({ src: C, dst: B })))).toEqual([0, 0, 0, 0])
  })

  test('groups of IPv4 and IPv6', () => {
    compare(
      0,
      frame({ src: A, dst: group(1) }),
      frame({ src: A, dst: Uint8Array.from([0x33, 0x33, 0, 0, 0, 1]) }),
    )
  })

  test('reserved addresses 01 to 03 and 0e stay, those behind the block are forwarded', () => {
    for (const n of [1, 2, 3, 0xe]) expect(compare(0, frame({ src: A, dst: reserved(n) })).flat()).toEqual([])
    expect(counts(compare(0, frame({ src: A, dst: reserved(0x10) })))).toEqual([0, 1, 1, 1])
  })

  test('802.2 frames, tagged frames, double tags, service tags, 4095', () => {
    const llc = Uint8Array.from([0xaa, 0xaa, 3, ...new Array(60).fill(5)])
    compare(0, frame({ src: A, dst: B, type: llc.length, payload: llc }))
    for (const tags of [
      [{ vid: 10, pcp: 5 }],
      [{ vid: 0, pcp: 7 }],
      [{ vid: 4095 }],
      [{ tpid: 0x88a8, vid: 3 }, { vid: 4 }],
    ]) {
      const out = compare(0, frame({ src: A, dst: BROADCAST, tags }))
      expect(counts(out)).toEqual([0, 1, 1, 1])
    }
    expect(
      compare(0, frame({ src: A, dst: BROADCAST, tags: [{ vid: 9, pcp: 3, dei: 1 }] }))[1][0].slice(24, 32),
    ).toBe('81007009')
  })

  test('jumbo frames up to the MTU', () => {
    for (const size of [1500, 1501, 9000, MTU])
      expect(counts(compare(1, frame({ src: B, dst: BROADCAST, size })))).toEqual([1, 0, 1, 1])
  })

  test('a group address as source, and none at all', () => {
    expect(compare(0, frame({ src: group(2), dst: BROADCAST })).flat()).toEqual([])
    expect(compare(0, frame({ src: new Uint8Array(6), dst: BROADCAST })).flat()).toEqual([])
    expect(compare(0, frame({ src: BROADCAST, dst: B })).flat()).toEqual([])
  })

  test('three thousand random frames, seed 42', () => {
    const next = random(42)
    const pick = <T>(list: T[]): T => list[next() % list.length]
    const make = (): Uint8Array => {
      const sender =
        next() % 24 === 0 ? pick([group(1), BROADCAST, new Uint8Array(6)]) : station(0x200 + (next() % 24))
      const dst = pick([
        ...Array.from({ length: 12 }, () => station(0x200 + (next() % 26))),
        BROADCAST,
        group(next() % 4),
        reserved(1 + (next() % 3)),
        reserved(0x10 + (next() % 16)),
      ])
      const isReserved = dst[0] === 1 && dst[1] === 0x80 && dst[5] < 0x10
      const src = isReserved ? station(0x300) : sender
      const tags =
        next() % 4 === 0
          ? [{ vid: next() % 4096, pcp: next() % 8, tpid: pick([0x8100, 0x8100, 0x88a8]) }]
          : []
      const type = pick([0x88b5, 0x0806, 0x9000, 46, 200])
      const payload = Uint8Array.from({ length: pick([46, 60, 200, 1500, 4000]) }, () => next())
      return frame({ src, dst, tags, type, payload })
    }
    for (let round = 0; round < 300; round++) {
      const frames = Array.from({ length: 10 }, make)
      compare(next() % PORTS, ...frames)
    }
  }, 120_000)

  test('every packet is accounted for in the end', () => {
    const { counters } = ours.engine.memory
    let balance = 0
    for (let i = 0; i < PORTS; i++) {
      balance += counter(counters, i, Counter.RxPackets) + counter(counters, i, Counter.Made)
      balance -= counter(counters, i, Counter.TxPackets) + dropsOf(counters, i)
    }
    expect(counter(counters, 0, Counter.RxPackets)).toBeGreaterThan(100)
    expect(balance).toBe(0)
    expect(ours.engine.pool.available).toBe(BATCH)
  })
})
