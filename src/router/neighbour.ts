// HOT
/**
 * Neighbours: who has the MAC of a packet's next hop, for IPv4 and IPv6 alike.
 *
 *     output --> entry known (usually the one of the packet before): header, send
 *            --> known, but not its MAC: the packet waits (neighbour-queue.ts)
 *            --> no entry: a TUN needs none, a group's MAC follows from the address
 *                          (neighbour-group.ts); else one is made, and everybody asked
 *
 * What an entry's states and timers are is told in neighbour-state.ts; how the table is kept and who goes
 * when it is full, in neighbour-table.ts. Who has the MAC says arp.ts or nd.ts, by `learn` and `hear`.
 */
import { Drop } from '../packet/drop.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import type { RouterHost } from './host.ts'
import { IfFlag, type Interfaces } from './interfaces.ts'
import { groupHi, groupLo } from './neighbour-group.ts'
import { putEthernet, putNothing } from './neighbour-link.ts'
import { NeighbourStates, type Solicitor } from './neighbour-state.ts'
import { KEY4, KEY6, N, Nud, T, TIME_SHIFT } from './neighbour-table.ts'

export class Neighbours {
  readonly states: NeighbourStates
  private readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly words: Int32Array
  private readonly times: Float64Array
  /** The entry looked up last. */
  private last = 0

  /**
   * @param memory from NeighbourTable.memory; that of a worker that died is adopted
   * @param unreachable told about each packet whose neighbour does not answer; it only looks at it
   * @param seed of the random times
   */
  constructor(
    memory: SharedArrayBuffer,
    host: RouterHost,
    interfaces: Interfaces,
    unreachable: (slot: number, nowMs: number) => void,
    seed: number,
  ) {
    this.states = new NeighbourStates(memory, host, interfaces, unreachable, seed)
    this.host = host
    this.interfaces = interfaces
    this.words = this.states.table.words
    this.times = this.states.table.times
  }

  set arp(solicitor: Solicitor) {
    this.states.arp = solicitor
  }

  set nd(solicitor: Solicitor) {
    this.states.nd = solicitor
  }

  /** Sends the packet to its next hop, Ip.Hop0, or keeps it until that is known. */
  output(slot: number, iface: number, nowMs: number): void {
    const ip = this.host.ip
    const r = slot << IP_SHIFT
    const six = ip[r + Ip.Family] === 6
    const key = (six ? KEY6 : KEY4) | iface
    const w0 = ip[r + Ip.Hop0]
    const w1 = six ? ip[r + Ip.Hop0 + 1] : 0
    const w2 = six ? ip[r + Ip.Hop0 + 2] : 0
    const w3 = six ? ip[r + Ip.Hop0 + 3] : 0
    const words = this.words
    let e = this.last
    if (
      words[e + N.Key] !== key ||
      words[e + N.Addr] !== w0 ||
      words[e + N.Addr + 3] !== w3 ||
      words[e + N.Addr + 2] !== w2 ||
      words[e + N.Addr + 1] !== w1
    ) {
      e = this.states.table.find(key, w0, w1, w2, w3)
      if (e < 0) {
        this.unknown(slot, key, w0, w1, w2, w3, nowMs)
        return
      }
      this.last = e
    }
    this.times[(e >> TIME_SHIFT) + T.Used] = nowMs
    const state = words[e + N.State]
    if (state < Nud.Permanent) {
      if (state === Nud.Failed) this.states.ask(e, nowMs)
      this.states.queue.put(e, slot)
      return
    }
    if (state === Nud.Stale) this.states.delay(e, nowMs)
    this.emit(slot, iface, words[e + N.MacHi], words[e + N.MacLo])
  }

  private emit(slot: number, iface: number, hi: number, lo: number): void {
    const { host, interfaces } = this
    putEthernet(host.pool, host.ip, slot, hi, lo, interfaces.macHi[iface], interfaces.macLo[iface])
    host.send(interfaces.port[iface], slot)
  }

  private unknown(
    slot: number,
    key: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    nowMs: number,
  ): void {
    const { host, interfaces, states } = this
    const iface = key & 255
    if ((interfaces.flags[iface] & IfFlag.NoEthernet) !== 0) {
      putNothing(host.pool, host.ip, slot)
      host.send(interfaces.port[iface], slot)
      return
    }
    const hi = groupHi(interfaces, key, w0)
    if (hi >= 0) {
      this.emit(slot, iface, hi, groupLo(hi, w0, w3))
      return
    }
    const e = states.create(key, w0, w1, w2, w3, nowMs)
    if (e < 0) {
      host.lose(interfaces.port[iface], slot, Drop.NeighbourTable)
      return
    }
    states.ask(e, nowMs)
    states.queue.put(e, slot)
  }

  /** The entry of an address, or -1. IPv4: w0 alone, the others 0. */
  find(iface: number, family: number, w0: number, w1: number, w2: number, w3: number): number {
    return this.states.table.find((family << 8) | iface, w0, w1, w2, w3)
  }

  /** Takes in what a message said about a known neighbour, see NeighbourStates.update. */
  hear(e: number, hi: number, lo: number, state: Nud, flags: number, nowMs: number): void {
    if (this.states.update(e, hi, lo, state, flags, nowMs)) this.flushQueue(e, nowMs)
  }

  /** The same, of an address that may be new. */
  learn(
    iface: number,
    family: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    hi: number,
    lo: number,
    flags: number,
    nowMs: number,
  ): void {
    let e = this.find(iface, family, w0, w1, w2, w3)
    if (e < 0) e = this.states.create((family << 8) | iface, w0, w1, w2, w3, nowMs)
    if (e >= 0) this.hear(e, hi, lo, Nud.Stale, flags, nowMs)
  }

  private flushQueue(e: number, nowMs: number): void {
    const { queue } = this.states
    const words = this.words
    const iface = words[e + N.Key] & 255
    if (words[e + N.Waiting] === 0) return
    this.times[(e >> TIME_SHIFT) + T.Used] = nowMs
    if (words[e + N.State] === Nud.Stale) this.states.delay(e, nowMs)
    for (let slot = queue.take(e); slot >= 0; slot = queue.take(e)) {
      this.emit(slot, iface, words[e + N.MacHi], words[e + N.MacLo])
    }
  }

  /** An upper layer heard from this neighbour in answer to what we sent (RFC 4861 7.3.1). IPv4: w0 alone. */
  confirm(
    iface: number,
    family: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    nowMs: number,
  ): void {
    const e = this.find(iface, family, w0, w1, w2, w3)
    if (e >= 0) this.states.confirm(e, nowMs)
  }

  /** An entry of the operator's: never asked for, never changed. False when the table is full. */
  pin(
    iface: number,
    family: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    hi: number,
    lo: number,
    nowMs: number,
  ): boolean {
    const { states, words } = this
    let e = this.find(iface, family, w0, w1, w2, w3)
    if (e < 0) e = states.create((family << 8) | iface, w0, w1, w2, w3, nowMs)
    if (e < 0) return false
    words[e + N.MacHi] = hi
    words[e + N.MacLo] = lo
    states.enter(e, Nud.Permanent, Number.POSITIVE_INFINITY, nowMs)
    this.flushQueue(e, nowMs)
    return true
  }

  /** Forgets the neighbours of an interface (-1 = of all); what waits is dropped by name. */
  flush(iface: number, alsoPermanent: boolean): void {
    const words = this.words
    for (let e = 0; e < words.length; e += N.Words) {
      if (words[e + N.State] === Nud.Free || (iface >= 0 && (words[e + N.Key] & 255) !== iface)) continue
      if (alsoPermanent || words[e + N.State] !== Nud.Permanent) this.states.remove(e, Drop.PortRemoved)
    }
  }

  /** When `tick` has something to do, monotonic ms. */
  due(): number {
    return this.states.due()
  }

  tick(nowMs: number): void {
    this.states.tick(nowMs)
  }
}
