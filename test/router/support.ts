/**
 * A router's parts on a bench: neighbours, ARP, ND, fragments, with a host that holds them to the contract
 * of src/router/host.ts. Every packet has exactly one fate a round; what was sent is read when the round
 * is over, as a port would; slots come back then, filled with rubbish.
 */
import { COUNTER_WORDS } from '../../src/packet/counters.ts'
import { DROPS, type Drop } from '../../src/packet/drop.ts'
import { Frag, IP_SHIFT, Ip } from '../../src/packet/ip.ts'
import { Flag, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import type { PlaneMemory } from '../../src/packet/memory.ts'
import { Pool } from '../../src/packet/pool.ts'
import { Arp } from '../../src/router/arp.ts'
import { Fragmenter } from '../../src/router/fragment.ts'
import type { RouterHost } from '../../src/router/host.ts'
import { IfFlag, Interfaces, MAX_ADDRESSES } from '../../src/router/interfaces.ts'
import { Nd } from '../../src/router/nd.ts'
import { Neighbours } from '../../src/router/neighbour.ts'
import { Fate } from '../../src/router/neighbour-dad.ts'
import { listNeighbours, type NeighbourRow } from '../../src/router/neighbour-list.ts'
import { NeighbourTable } from '../../src/router/neighbour-table.ts'
import { PARSED, parse } from '../../src/router/parse.ts'
import { Reassembler } from '../../src/router/reassembly.ts'
import { fill, type Injected } from '../support/port.ts'
import { ip4, ip6, macOfStation } from './packets.ts'

export interface Sent {
  port: number
  bytes: Uint8Array
  bare: boolean
  gsoSize: number
}

export class BenchHost implements RouterHost {
  readonly pool: Pool
  readonly ip: Int32Array
  readonly counters = new Float64Array(8 * COUNTER_WORDS)
  readonly memory = null as unknown as PlaneMemory
  received = 0
  made = 0
  consumed = 0
  readonly drops = new Map<string, number>()
  /** Slots of this round whose fate is open. */
  readonly open = new Set<number>()
  readonly held = new Set<number>()
  private readonly ended = new Set<number>()
  private queued: { port: number; slot: number }[] = []
  private sentCount = 0
  /** Makes `hold` and `make` fail. */
  exhausted = false

  constructor(slots: number) {
    this.pool = Pool.of(slots)
    this.ip = new Int32Array(slots << IP_SHIFT)
  }

  /** A packet of this round, as a port hands it over. */
  inject(packet: Injected, port: number): number {
    const slot = this.pool.alloc()
    if (slot < 0) throw new Error('the pool is empty')
    this.ip.fill(0x5a5a5a5a, slot << IP_SHIFT, (slot + 1) << IP_SHIFT)
    fill(this.pool, slot, packet, port)
    this.received++
    this.open.add(slot)
    return slot
  }

  private end(slot: number): void {
    if (!this.open.delete(slot)) throw new Error(`slot ${slot} has no open fate`)
    this.ended.add(slot)
  }

  send(port: number, slot: number): void {
    if (!(port >= 0)) throw new Error(`sent on port ${port}`)
    this.end(slot)
    this.queued.push({ port, slot })
  }

  hold(slot: number): boolean {
    if (this.exhausted) return false
    if (!this.open.delete(slot)) throw new Error(`slot ${slot} is held, and was not open`)
    this.held.add(slot)
    return true
  }

  resume(slot: number): void {
    if (!this.held.delete(slot)) throw new Error(`slot ${slot} was not held`)
    this.open.add(slot)
  }

  lose(port: number, slot: number, reason: Drop): void {
    if (!(port >= 0)) throw new Error(`lost on port ${port}`)
    this.end(slot)
    const name = DROPS[reason][0]
    this.drops.set(name, (this.drops.get(name) ?? 0) + 1)
  }

  consume(_port: number, slot: number): void {
    this.end(slot)
    this.consumed++
  }

  make(len: number): number {
    const slot = this.exhausted ? -1 : this.pool.alloc()
    if (slot < 0) return -1
    this.pool.reset(slot, len)
    this.pool.meta[(slot << META_SHIFT) + Meta.Flags] = Flag.NoEthernet | Flag.Loose
    this.made++
    this.open.add(slot)
    return slot
  }

  /** Ends the round: everything had a fate. Returns what left. */
  round(): Sent[] {
    if (this.open.size > 0) throw new Error(`no fate: slots ${[...this.open]}`)
    const { meta } = this.pool
    const sent = this.queued.map(({ port, slot }) => ({
      port,
      bytes: this.pool.frame(slot).slice(),
      bare: (meta[(slot << META_SHIFT) + Meta.Flags] & Flag.NoEthernet) !== 0,
      gsoSize: meta[(slot << META_SHIFT) + Meta.GsoSize],
    }))
    this.sentCount += sent.length
    this.queued = []
    for (const slot of this.ended) {
      this.pool.frame(slot).fill(0xdb)
      this.pool.release(slot)
    }
    this.ended.clear()
    const drops = [...this.drops.values()].reduce((a, b) => a + b, 0)
    const here = this.received + this.made
    const gone = this.sentCount + drops + this.consumed
    if (here !== gone + this.held.size)
      throw new Error(`${here} packets, ${gone} gone, ${this.held.size} held`)
    if (this.pool.available !== this.pool.size - this.held.size) throw new Error('a slot is lost')
    return sent
  }

  dropped(name: string): number {
    return this.drops.get(name) ?? 0
  }
}

export interface BenchOptions {
  slots?: number
  /** Most neighbours of a family. */
  neighbours?: number
}

/** Interface 0: 10.0.0.1/24 and fe80::1, fd00::1 on port 1; 1: 10.1.0.1/24, fe80::2 on port 2; 2: a TUN, port 3. */
export class Bench {
  nowMs = 1_000_000
  readonly host: BenchHost
  readonly interfaces = new Interfaces()
  readonly memory: SharedArrayBuffer
  readonly neighbours: Neighbours
  readonly arp: Arp
  readonly nd: Nd
  readonly fragments: Fragmenter
  readonly reassembler: Reassembler
  /** First bytes of the packets that could not be delivered, were not whole in time, ... */
  readonly unreachable: Uint8Array[] = []
  readonly expired: Uint8Array[] = []
  readonly problems: { bytes: Uint8Array; pointer: number }[] = []
  readonly routerSolicitations: number[] = []
  readonly told: { fate: string; iface: number; address: string; by: number }[] = []
  /** Slots the fragmenter or the reassembler gave back, as packets from the IP header on. */
  readonly emitted: Uint8Array[] = []
  /** What sends the pieces of a cut packet. */
  emit: (slot: number) => void = (slot) => this.neighbours.output(slot, this.row(slot, Ip.OutIf), this.nowMs)

  constructor(options: BenchOptions = {}) {
    this.host = new BenchHost(options.slots ?? 256)
    const { host, interfaces } = this
    this.setInterface(0, 1, '10.0.0.1', ['fe80::1', 'fd00::1'])
    this.setInterface(1, 2, '10.1.0.1', ['fe80::2'])
    this.setInterface(2, 3, '10.2.0.1', [])
    interfaces.flags[2] |= IfFlag.NoEthernet
    this.memory = NeighbourTable.memory(options.neighbours ?? 1024, 7)
    const unreachable = (slot: number): void => void this.unreachable.push(this.packet(slot))
    this.neighbours = new Neighbours(this.memory, host, interfaces, unreachable, 1)
    const told = (fate: Fate, iface: number, family: 4 | 6, ...w: number[]): void => {
      const address = family === 4 ? text4(w[0]) : w.slice(0, 4).map(groups).join(':')
      this.told.push({ fate: ['unique', 'duplicate', 'conflict'][fate], iface, address, by: w[5] & 0xffff })
      if (fate === Fate.Unique) this.addAddress(iface, family, w)
    }
    this.arp = new Arp(host, interfaces, this.neighbours, told, 2)
    const solicited = (_slot: number, iface: number): void => void this.routerSolicitations.push(iface)
    this.nd = new Nd(host, interfaces, this.neighbours, told, solicited, 3)
    this.fragments = new Fragmenter(host, interfaces, (slot) => this.emit(slot))
    this.reassembler = new Reassembler(
      host,
      interfaces,
      {
        expired: (slot) => void this.expired.push(this.packet(slot)),
        problem: (slot, pointer) => void this.problems.push({ bytes: this.packet(slot), pointer }),
      },
      4,
    )
  }

  private setInterface(iface: number, port: number, four: string, six: string[]): void {
    const { interfaces } = this
    interfaces.count = Math.max(interfaces.count, iface + 1)
    interfaces.flags[iface] = IfFlag.Up
    interfaces.port[iface] = port
    interfaces.ofPort[port] = iface
    interfaces.mtu[iface] = 1500
    const [hi, lo] = macOfStation(OWN + iface)
    interfaces.macHi[iface] = hi
    interfaces.macLo[iface] = lo
    this.addAddress(iface, 4, [ip4(four)])
    for (const address of six) this.addAddress(iface, 6, ip6(address))
  }

  private addAddress(iface: number, family: 4 | 6, w: number[]): void {
    const { interfaces } = this
    if (family === 4) {
      const at = iface * MAX_ADDRESSES + interfaces.count4[iface]++
      interfaces.address4[at] = w[0]
      interfaces.prefix4[at] = 24
    } else {
      const at = iface * MAX_ADDRESSES + interfaces.count6[iface]++
      interfaces.address6.set(w.slice(0, 4), at * 4)
      interfaces.prefix6[at] = 64
    }
  }

  row(slot: number, word: Ip): number {
    return this.host.ip[(slot << IP_SHIFT) + word]
  }

  /** The packet from its IP header on. */
  packet(slot: number): Uint8Array {
    return this.host.pool.frame(slot).slice(this.row(slot, Ip.L3))
  }

  /** A frame comes in by an interface, and goes where the router would bring it. Whole packets stay open. */
  put(frame: Uint8Array, iface = 0, offloads: Omit<Injected, 'frame'> = {}): number {
    const { host, interfaces } = this
    const port = interfaces.port[iface]
    const slot = host.inject({ frame, ...offloads }, port)
    const bare = (interfaces.flags[iface] & IfFlag.NoEthernet) !== 0
    const m = slot << META_SHIFT
    if (bare) host.pool.meta[m + Meta.Flags] |= Flag.NoEthernet
    const type = bare ? (frame[0] >> 4 === 6 ? 0x86dd : 0x0800) : (frame[12] << 8) | frame[13]
    if (type === 0x0806) {
      this.arp.receive(slot, iface, this.nowMs)
      return -1
    }
    const result = parse(host.pool, host.ip, slot, bare ? 0 : 14, type === 0x86dd ? 6 : 4)
    if (result !== PARSED) {
      host.lose(port, slot, result)
      return -1
    }
    host.ip[(slot << IP_SHIFT) + Ip.InIf] = iface
    host.ip[(slot << IP_SHIFT) + Ip.PktType] = 0
    if (this.row(slot, Ip.Proto) === 58 && (this.row(slot, Ip.Ports) >>> 24) - 133 < 5 && type === 0x86dd) {
      this.nd.receive(slot, iface, this.nowMs)
      return -1
    }
    if ((this.row(slot, Ip.Frag) & Frag.Any) !== 0) return this.reassembler.gather(slot, this.nowMs)
    return slot
  }

  /** Receives a frame and ends the round. */
  receive(frame: Uint8Array, iface = 0): Sent[] {
    const slot = this.put(frame, iface)
    if (slot >= 0) {
      this.emitted.push(this.packet(slot))
      this.host.consume(0, slot)
    }
    return this.host.round()
  }

  /** Sends an IP packet that came by interface `from` to `hop`. The slot's fate is `output`'s. */
  output(frame: Uint8Array, hop: string, iface = 0, from = 1): void {
    const slot = this.put(frame, from)
    this.route(slot, hop, iface)
    this.neighbours.output(slot, iface, this.nowMs)
  }

  route(slot: number, hop: string, iface: number): void {
    const r = slot << IP_SHIFT
    this.host.ip[r + Ip.OutIf] = iface
    if (hop.includes(':')) this.host.ip.set(ip6(hop), r + Ip.Hop0)
    else this.host.ip[r + Ip.Hop0] = ip4(hop)
  }

  /** Time passes, in steps of at most `stepMs`; what is sent meanwhile. */
  wait(ms: number, stepMs = 100): Sent[] {
    const sent: Sent[] = []
    const end = this.nowMs + ms
    while (this.nowMs < end) {
      this.nowMs = Math.min(end, this.nowMs + stepMs)
      sent.push(...this.tick())
    }
    return sent
  }

  tick(): Sent[] {
    this.neighbours.tick(this.nowMs)
    this.arp.tick(this.nowMs)
    this.nd.tick(this.nowMs)
    this.reassembler.tick(this.nowMs)
    return this.host.round()
  }

  list(): NeighbourRow[] {
    return listNeighbours(this.memory, this.nowMs)
  }

  /** '10.0.0.2 REACHABLE' */
  states(): string[] {
    return this.list()
      .map((n) => `${n.address} ${n.state}`)
      .sort()
  }
}

/** Stations OWN to OWN + 2 are the interfaces of the bench. */
export const OWN = 0xee00

function text4(w: number): string {
  return [24, 16, 8, 0].map((shift) => (w >>> shift) & 255).join('.')
}

function groups(w: number): string {
  return `${(w >>> 16).toString(16)}:${(w & 0xffff).toString(16)}`
}
