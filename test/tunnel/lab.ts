/**
 * VTEPs to tell stories about: a Fabric (test/support) whose addon is asked for everything but its UDP sockets.
 * Those are arrays here: what a site sends is recorded, and delivered when the internet knows the address.
 *
 *     const net = new Internet()
 *     const a = net.site('192.0.2.1', { web: {} }, { vni: 7, remotes: ['192.0.2.2'] })
 *     a.send('web', frame(...))           in at a's port web, all the way through
 *     a.datagrams()                       what a sent since the last look
 *     a.receive('192.0.2.2', 7, frame)    a datagram comes in
 */

import { expect } from 'vitest'
import type { PortSettings } from '../../src/engine/command.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import {
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
import type { FaultSpec } from '../../src/port/fault.ts'
import {
  type TunnelAddress,
  type VtepMemory,
  type VtepSettings,
  type VxlanSettings,
  vtepMemory,
} from '../../src/tunnel/tables.ts'
import type { Vtep } from '../../src/tunnel/vtep.ts'
import { Fabric, settingsOf } from '../support/fabric.ts'
import { ip4, ip6 } from '../support/frames.ts'
import { type Offloads, onWire } from '../support/port.ts'
import { FakeSockets } from '../support/sockets.ts'

/** Words of an address as text. */
export const words = (text: string): number[] => (text.includes(':') ? ip6(text) : [ip4(text)])
export const remote = (text: string): TunnelAddress => ({ address: words(text), scope: 0 })

export interface Datagram extends Offloads {
  to: string
  port: number
  socket: number
  tos: number
  ttl: number
  /** The first eight bytes. */
  header: Uint8Array
  vni: number
  inner: Uint8Array
}

export interface Arrival extends Offloads {
  from: string
  bytes: Uint8Array
  tos?: number
}

export interface SegmentOptions extends Partial<Omit<VxlanSettings, 'remotes' | 'group' | 'statics'>> {
  vni?: number
  remotes?: string[]
  group?: string
  statics?: { mac: Uint8Array; remote: string; addresses?: string[] }[]
  /** Of its port in the switch. */
  port?: Partial<PortSettings>
  fault?: FaultSpec
}

export function vxlanSettings(o: SegmentOptions): VxlanSettings {
  return {
    remotes: (o.remotes ?? []).map(remote),
    group: o.group ? remote(o.group) : null,
    statics: (o.statics ?? []).map((s) => ({
      mac: s.mac,
      remote: remote(s.remote),
      addresses: (s.addresses ?? []).map(words),
    })),
    learning: o.learning ?? true,
    limit: o.limit ?? 0,
    agingS: o.agingS ?? 300,
    suppress: o.suppress ?? false,
    clampMss: o.clampMss ?? true,
    innerVlan: o.innerVlan ?? 'discard',
    accept: o.accept ?? 'any',
  }
}

export interface SiteOptions extends Partial<VtepSettings> {
  slots?: number
  /** Most remotes, addresses, bindings. */
  most?: [number, number, number]
  senders?: number
}

/** Index of the underlay's port and of the first VXLAN port. */
export const UNDERLAY = 100
export const TUNNEL = 101

export class Internet {
  readonly sites = new Map<string, Site>()
  /** Longer packets are EMSGSIZE. */
  mtu = 1500
  /** Addresses that nothing reaches. */
  readonly dark = new Set<string>()

  site(
    address: string,
    ports: Record<string, Partial<PortSettings>>,
    segments: SegmentOptions | SegmentOptions[],
    options: SiteOptions = {},
  ): Site {
    const site = new Site(this, address, options)
    for (const [name, settings] of Object.entries(ports)) site.fabric.add(name, settings)
    for (const one of [segments].flat()) site.addSegment(one)
    this.sites.set(address, site)
    return site
  }

  /** Everything that moves, until nothing does. */
  run(): void {
    for (let moved = true; moved; ) {
      moved = false
      for (const site of this.sites.values()) while (site.fabric.breathe()) moved = true
    }
  }

  seconds(s: number): void {
    for (const site of this.sites.values()) site.fabric.seconds(s)
  }
}

export class Site {
  readonly fabric: Fabric
  readonly address: string
  readonly memory: VtepMemory
  readonly net: Internet
  readonly options: SiteOptions
  /** Answers of the kernel to what is sent: errno by address. */
  readonly errors = new Map<string, number>()
  segments = 0
  private readonly arrivals: Arrival[] = []
  private sent: Datagram[] = []
  private readonly sockets: FakeSockets

  constructor(net: Internet, address: string, options: SiteOptions) {
    this.net = net
    this.address = address
    this.options = options
    this.fabric = new Fabric({ slots: options.slots ?? 400 })
    this.sockets = new FakeSockets(
      this.fabric.engine,
      (from, max) => this.rx(from, max),
      (at, count) => this.tx(at, count),
    )
    this.memory = vtepMemory(...(options.most ?? [64, 256, 64]), 7)
    this.addVtep()
  }

  addVtep(): void {
    this.fabric.engine.apply({
      op: 'vtep-add',
      id: 10,
      name: 'vtep',
      index: UNDERLAY,
      sockets: { fds: [], receivers: 1, senders: this.options.senders ?? 4 },
      settings: this.settings(),
      memory: this.memory,
    })
  }

  settings(): VtepSettings {
    const { slots: _, most: __, senders: ___, ...given } = this.options
    return {
      local: words(this.address),
      port: 4789,
      mtu: 1500,
      df: 'unset',
      ttl: 64,
      groupTtl: 1,
      tos: -1,
      strict: false,
      ...given,
    }
  }

  get vtep(): Vtep {
    return this.fabric.engine.stages[10] as Vtep
  }

  /** Adds a VXLAN port to the switch; index TUNNEL, TUNNEL + 1, ... */
  addSegment(o: SegmentOptions): number {
    const index = TUNNEL + this.segments++
    this.fabric.engine.apply({
      op: 'port-add',
      switch: 0,
      spec: {
        type: 'vxlan',
        index,
        name: `vxlan${index}`,
        mtu: 65535,
        vtep: 10,
        vni: o.vni ?? 7,
        settings: vxlanSettings(o),
      },
      settings: settingsOf({ mtu: 65535, ...o.port }),
      fault: o.fault,
    })
    return index
  }

  send(port: string, ...frames: Uint8Array[]): void {
    this.fabric.inject(port, ...frames)
    this.run()
  }

  /** A datagram as it comes off the wire. */
  arrive(arrival: Arrival): void {
    this.arrivals.push(arrival)
    this.fabric.engine.ready(UNDERLAY)
  }

  /** An inner frame with a right header, all the way through. Offsets of `offloads` are the inner frame's. */
  receive(from: string, vni: number, inner: Uint8Array, offloads: Offloads & { tos?: number } = {}): void {
    const { csumStart, ...rest } = offloads
    const start = csumStart === undefined ? {} : { csumStart: csumStart + 8 }
    this.arrive({ from, bytes: encapsulated(vni, inner), ...rest, ...start })
    this.run()
  }

  run(): void {
    this.net.run()
  }

  datagrams(): Datagram[] {
    const sent = this.sent
    this.sent = []
    return sent
  }

  out(port: string): Uint8Array[] {
    return this.fabric.out(port)
  }

  /** Addresses of the remotes, with what they have learned. */
  known(): Record<string, number> {
    return Object.fromEntries(this.remoteRows().map(({ address, learned }) => [address, learned]))
  }

  remoteRows(): { row: number; address: string; learned: number }[] {
    const table = this.memory.remotes
    const rows = []
    for (let at = 0; at < table.length; at += 16) {
      if (table[at] === 0) continue
      rows.push({ row: at / 16, address: textOf(table[at], table, at + 1), learned: table[at + 11] })
    }
    return rows
  }

  count(port: number, which: Counter): number {
    return this.fabric.counters[port * COUNTER_WORDS + which]
  }

  drops(port: number): Record<string, number> {
    const result: Record<string, number> = {}
    DROPS.forEach(([reason], i) => {
      const n = this.count(port, (Counter.Drops + i) as Counter)
      if (n > 0) result[reason] = n
    })
    return result
  }

  /** The conservation law, over all ports; and every slot is in the batch, held or free. */
  conserved(): void {
    const { counters, engine } = this.fabric
    let [came, went] = [0, 0]
    for (let p = 0; p < TUNNEL + 64; p++) {
      came += this.count(p, Counter.RxPackets) + this.count(p, Counter.Made)
      went += this.count(p, Counter.TxPackets) + dropsOf(counters, p)
      went += this.count(p, Counter.Held) + this.count(p, Counter.Consumed)
    }
    expect(came).toBe(went)
    const held = engine.pipeline.portOf.reduce((sum, port) => sum + (port?.held() ?? 0), 0)
    expect(engine.pool.available + engine.batch.slots.length + held).toBe(engine.pool.size)
  }

  /** Of the last breath, with nothing held: every slot is in the batch or free, once. Takes the free ones. */
  everySlotOnce(): void {
    const { batch, pool } = this.fabric.engine
    const slots = [...batch.slots]
    while (pool.available > 0) slots.push(pool.alloc())
    expect(slots.toSorted((a, b) => a - b)).toEqual(Array.from({ length: pool.size }, (_, i) => i))
  }

  private rx(from: number, max: number): number {
    const { pool, batch } = this.fabric.engine
    const { info } = this.sockets.attached
    const arrived = this.arrivals.splice(0, max)
    arrived.forEach((one, i) => {
      const slot = batch.slots[from + i]
      pool.reset(slot, one.bytes.length)
      pool.bytes.set(one.bytes, slot * SLOT_SIZE + HEADROOM)
      const m = slot << META_SHIFT
      pool.meta[m + Meta.Port] = UNDERLAY
      pool.meta[m + Meta.Flags] = one.flags ?? 0
      pool.meta[m + Meta.GsoType] = one.gsoType ?? 0
      pool.meta[m + Meta.GsoSize] = one.gsoSize ?? 0
      pool.meta[m + Meta.CsumStart] = one.csumStart ?? 0
      pool.meta[m + Meta.CsumOffset] = one.csumOffset ?? 0
      const row = i << INFO_SHIFT
      const address = words(one.from)
      info.fill(0, row, row + Info.Words)
      info[row + Info.Family] = address.length === 1 ? 4 : 6
      info.set(address, row + Info.Address0)
      info[row + Info.Tos] = one.tos ?? 0
    })
    return arrived.length
  }

  private tx(at: number, count: number): number {
    const { pool } = this.fabric.engine
    const { sends, paths } = this.sockets.attached
    for (let i = at; i < at + count; i++) {
      const row = i << SEND_SHIFT
      const slot = sends[row + Send.Slot]
      const m = slot << META_SHIFT
      const inner = onWire(pool, slot, sends[row + Send.Tag])
      const path = sends[row + Send.Path] << PATH_SHIFT
      const to = textOf(paths[path + Path.Family], paths, path + Path.Address0)
      const head = new DataView(new ArrayBuffer(8))
      head.setInt32(0, sends[row + Send.Header0])
      head.setInt32(4, sends[row + Send.Header1])
      const shift = inner.length - pool.meta[m + Meta.Len]
      const datagram: Datagram = {
        to,
        port: paths[path + Path.Port],
        socket: sends[row + Send.Socket],
        tos: sends[row + Send.TosTtl] & 255,
        ttl: sends[row + Send.TosTtl] >> 8,
        header: new Uint8Array(head.buffer),
        vni: head.getUint32(4) >>> 8,
        inner,
        gsoType: pool.meta[m + Meta.GsoType],
        gsoSize: pool.meta[m + Meta.GsoSize],
        csumStart: pool.meta[m + Meta.CsumStart] + shift,
        csumOffset: pool.meta[m + Meta.CsumOffset],
        flags: pool.meta[m + Meta.Flags] & 7,
      }
      sends[row + Send.Result] = this.deliver(datagram)
    }
    return count
  }

  /** What the kernel would say. */
  private deliver(datagram: Datagram): number {
    const errno = this.errors.get(datagram.to)
    if (errno !== undefined) return -errno
    const { inner, gsoSize = 0, csumStart = 0 } = datagram
    const segment = gsoSize === 0 ? inner.length : csumStart + 20 + gsoSize
    if (segment + 8 + 8 + (datagram.to.includes(':') ? 40 : 20) > this.net.mtu) return -90
    this.sent.push(datagram)
    const there = this.net.dark.has(datagram.to) ? undefined : this.net.sites.get(datagram.to)
    const { gsoType, csumOffset, flags, tos } = datagram
    const bytes = Uint8Array.from([...datagram.header, ...inner])
    there?.arrive({
      from: this.address,
      bytes,
      gsoType,
      gsoSize,
      csumStart: csumStart + 8,
      csumOffset,
      flags,
      tos,
    })
    return bytes.length
  }

  setClock(): void {
    this.fabric.engine.memory.clock[Clock.MonotonicMs] = this.fabric.nowMs
  }
}

export function encapsulated(vni: number, inner: Uint8Array, first = 0x08000000): Uint8Array {
  const bytes = new Uint8Array(8 + inner.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, first)
  view.setUint32(4, vni << 8)
  bytes.set(inner, 8)
  return bytes
}

export function textOf(family: number, from: ArrayLike<number>, at: number): string {
  const all = [0, 1, 2, 3].map((i) => from[at + i] >>> 0)
  if (family === 4) return [24, 16, 8, 0].map((s) => (all[0] >>> s) & 255).join('.')
  const groups = all.flatMap((w) => [w >>> 16, w & 0xffff]).map((g) => g.toString(16))
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')
}
