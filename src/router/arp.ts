// HOT
/**
 * ARP for the router's interfaces: RFC 826, RFC 5227, and where they leave room, as Linux does it.
 *
 *     sender          target        what happens
 *     ours, our MAC   any           our own message came back: nothing
 *     ours            any           a conflict: told, defended by an announcement once in 10 s; while it is
 *                                   being probed: duplicate
 *     tentative       any           somebody has it: duplicate
 *     0 (a probe)     ours          answered, not learned; also while it is being probed
 *     0               tentative     somebody else wants it too: duplicate
 *     a neighbour     ours, asked   learned, answered
 *     a neighbour     any           if it is known: its MAC is updated (RFC 826's merge), but not twice
 *                                   in a second, unless it announces itself (is gratuitous)
 *
 * An answer to us makes it reachable, all else stale. What is not asked for makes no entry, so a stranger
 * cannot fill the table by announcements (Linux: arp_accept 0). Our own addresses never have one.
 */
import { Drop } from '../packet/drop.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import * as wire from '../wire/arp.ts'
import * as ethernet from '../wire/ethernet.ts'
import type { RouterHost } from './host.ts'
import { type Interfaces, MAX_ADDRESSES, MAX_INTERFACES } from './interfaces.ts'
import type { Neighbours } from './neighbour.ts'
import { type AddressTold, DAD4, Dad, Fate } from './neighbour-dad.ts'
import { groupHi } from './neighbour-group.ts'
import { Random } from './neighbour-random.ts'
import { LOCK_MS, Update } from './neighbour-state.ts'
import { KEY4, Nud, T, TIME_SHIFT } from './neighbour-table.ts'

/** RFC 5227 1.1. */
export const DEFEND_INTERVAL_MS = 10_000
const FRAME = ethernet.SIZE + wire.SIZE

export class Arp {
  /** Addresses being looked at before they are used. */
  readonly dad: Dad
  /** Messages from somebody else who uses an address of ours. */
  conflicts = 0
  private readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly neighbours: Neighbours
  private readonly told: AddressTold
  /** When an address was defended last, by its place in Interfaces. */
  private readonly defendedMs = new Float64Array(MAX_INTERFACES * MAX_ADDRESSES).fill(
    Number.NEGATIVE_INFINITY,
  )

  /** @param told about duplicates and conflicts, and tentative addresses that may be used now */
  constructor(
    host: RouterHost,
    interfaces: Interfaces,
    neighbours: Neighbours,
    told: AddressTold,
    seed: number,
  ) {
    this.host = host
    this.interfaces = interfaces
    this.neighbours = neighbours
    this.told = told
    this.dad = new Dad(DAD4, this, told, new Random(seed))
    neighbours.arp = this
  }

  /** Takes an untagged Ethernet frame with an ARP message: answers it, consumes it, or drops it by name. */
  receive(slot: number, iface: number, nowMs: number): void {
    const { host, interfaces } = this
    const { meta, view } = host.pool
    const m = slot << META_SHIFT
    const head = slot * SLOT_SIZE + meta[m + Meta.Head]
    const at = head + ethernet.SIZE
    const port = interfaces.port[iface]
    if (!wire.fits(view, at, head + meta[m + Meta.Len]) || !this.sane(view, at, iface)) {
      host.lose(port, slot, Drop.ArpInvalid)
      return
    }
    const hi = wire.srcMacHi(view, at)
    const lo = wire.srcMacLo(view, at)
    const src = wire.srcAddr(view, at)
    const dst = wire.dstAddr(view, at)
    if (hi === interfaces.macHi[iface] && lo === interfaces.macLo[iface]) {
      host.consume(port, slot)
      return
    }
    if (this.dad.size > 0) {
      if (this.dad.tentative(iface, src, 0, 0, 0)) this.dad.taken(iface, src, 0, 0, 0, hi, lo, nowMs)
      else if (src === 0 && !interfaces.has4(iface, dst) && this.dad.tentative(iface, dst, 0, 0, 0))
        this.dad.taken(iface, dst, 0, 0, 0, hi, lo, nowMs)
    }
    if (interfaces.has4(iface, src)) {
      this.conflict(iface, src, hi, lo, nowMs)
      host.consume(port, slot)
      return
    }
    const request = wire.op(view, at) === wire.ArpOp.Request
    if (request && interfaces.has4(iface, dst)) {
      if (src !== 0) this.neighbours.learn(iface, 4, src, 0, 0, 0, hi, lo, Update.Override, nowMs)
      this.answer(slot, iface, at, dst, hi, lo, src)
      return
    }
    if (src !== 0) this.merge(iface, at, head, src, hi, lo, request, nowMs)
    host.consume(port, slot)
  }

  /** A message of a station that can be, about an address that can be asked for. */
  private sane(view: DataView, at: number, iface: number): boolean {
    const op = wire.op(view, at)
    if (op !== wire.ArpOp.Request && op !== wire.ArpOp.Reply) return false
    const hi = wire.srcMacHi(view, at)
    if ((hi & 0x100) !== 0 || (hi === 0 && wire.srcMacLo(view, at) === 0)) return false
    const src = wire.srcAddr(view, at)
    const dst = wire.dstAddr(view, at)
    if (src === 0 && op === wire.ArpOp.Reply) return false
    if (src >>> 24 === 127 || dst >>> 24 === 127) return false
    return groupHi(this.interfaces, KEY4 | iface, src) < 0 && dst >>> 28 !== 14
  }

  private merge(
    iface: number,
    at: number,
    head: number,
    src: number,
    hi: number,
    lo: number,
    request: boolean,
    nowMs: number,
  ): void {
    const e = this.neighbours.find(iface, 4, src, 0, 0, 0)
    if (e < 0) return
    const view = this.host.pool.view
    const toUs = !ethernet.isGroup(view, head)
    const updatedMs = this.neighbours.states.table.times[(e >> TIME_SHIFT) + T.Updated]
    const override = nowMs > updatedMs + LOCK_MS || wire.isGratuitous(view, at)
    const state = !request && toUs ? Nud.Reachable : Nud.Stale
    this.neighbours.hear(e, hi, lo, state, override ? Update.Override : 0, nowMs)
  }

  private conflict(iface: number, address: number, hi: number, lo: number, nowMs: number): void {
    this.conflicts++
    const base = iface * MAX_ADDRESSES
    let i = base
    while (this.interfaces.address4[i] !== address) i++
    if (nowMs >= this.defendedMs[i] + DEFEND_INTERVAL_MS) {
      this.defendedMs[i] = nowMs
      this.announce(iface, address)
    }
    this.told(Fate.Conflict, iface, 4, address, 0, 0, 0, hi, lo)
  }

  /** The request becomes the reply, to its sender alone. */
  private answer(
    slot: number,
    iface: number,
    at: number,
    ours: number,
    hi: number,
    lo: number,
    src: number,
  ): void {
    const { macHi, macLo, port } = this.interfaces
    const { meta, view } = this.host.pool
    const m = slot << META_SHIFT
    ethernet.write(view, at - ethernet.SIZE, hi, lo, macHi[iface], macLo[iface], ethernet.EtherType.Arp)
    wire.write(view, at, wire.ArpOp.Reply, macHi[iface], macLo[iface], ours, hi, lo, src)
    meta[m + Meta.Len] = FRAME
    meta[m + Meta.GsoType] = 0
    meta[m + Meta.GsoSize] = 0
    meta[m + Meta.Flags] &= ~(Flag.CsumPartial | Flag.CsumVerified)
    this.host.send(port[iface], slot)
  }

  /** Asks for `target`: everybody, or (hi, lo) whether it is still there. */
  solicit(
    iface: number,
    target: number,
    _w1: number,
    _w2: number,
    _w3: number,
    hi: number,
    lo: number,
  ): void {
    this.send(iface, this.interfaces.source4(iface, target), target, hi, lo)
  }

  /** Asks whether somebody has an address that we would like to use. */
  probe(iface: number, address: number): void {
    this.send(iface, 0, address, -1, -1)
  }

  /** Says that an address is ours (a gratuitous request): neighbours who know it update their MAC. */
  announce(iface: number, address: number): void {
    this.send(iface, address, address, -1, -1)
  }

  private send(iface: number, src: number, target: number, hi: number, lo: number): void {
    const { host, interfaces } = this
    const slot = host.make(FRAME)
    if (slot < 0) return
    const { meta, view } = host.pool
    const m = slot << META_SHIFT
    const at = slot * SLOT_SIZE + meta[m + Meta.Head]
    const ownHi = interfaces.macHi[iface]
    const ownLo = interfaces.macLo[iface]
    const everybody = hi < 0
    meta[m + Meta.Flags] &= ~Flag.NoEthernet
    host.ip[(slot << IP_SHIFT) + Ip.Family] = 0
    ethernet.write(
      view,
      at,
      everybody ? 0xffff : hi,
      everybody ? -1 : lo,
      ownHi,
      ownLo,
      ethernet.EtherType.Arp,
    )
    wire.write(view, at + ethernet.SIZE, wire.ArpOp.Request, ownHi, ownLo, src, 0, 0, target)
    host.send(interfaces.port[iface], slot)
  }

  due(): number {
    return this.dad.due()
  }

  tick(nowMs: number): void {
    this.dad.tick(nowMs)
  }
}
