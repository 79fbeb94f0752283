// HOT
/**
 * Neighbour discovery for the router's interfaces: RFC 4861 7, RFC 4862 5.4 and, where they leave room, as
 * Linux does it. Who breaks a rule of RFC 4861 6.1 or 7.1 is dropped by name (hop limit 255, code, lengths,
 * options, checksum; RFC 6980: no fragments).
 *
 *     solicitation for ours, from ::        answered to all nodes, S=0
 *                            from x         x is learned when it says its MAC; answered, S=1
 *     solicitation from :: for tentative    somebody else wants it too: duplicate
 *     advertisement of tentative            somebody has it: duplicate
 *     advertisement of ours                 a conflict: told
 *     advertisement of a known neighbour    the table below
 *     router solicitation                   its sender is learned; `routerSolicited` answers
 *     router advertisement, redirect        not for a router
 *
 *     advertisement     its MAC is         entry's MAC    entry's state
 *     of an incomplete  told               taken          S: reachable, else stale
 *                       not told           -              -
 *     O=0               another one        kept           reachable becomes stale
 *     O=1               another one        taken          S: reachable, else stale
 *     O=0 or 1          the same, or not   kept           S: reachable, else as it was
 *                       told
 */
import { Drop } from '../packet/drop.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { pseudo6, verify } from '../wire/checksum.ts'
import * as ethernet from '../wire/ethernet.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import { Protocol } from '../wire/ipv4.ts'
import * as wire from '../wire/nd.ts'
import type { RouterHost } from './host.ts'
import { IfFlag, type Interfaces } from './interfaces.ts'
import { NdSender } from './nd-send.ts'
import type { Neighbours } from './neighbour.ts'
import { type AddressTold, DAD6, Dad, Fate } from './neighbour-dad.ts'
import { Random } from './neighbour-random.ts'
import { Update } from './neighbour-state.ts'
import { N, Nud } from './neighbour-table.ts'

const NO_MAC = -1
/** An option is there, and no station's MAC in it. */
const BAD_MAC = -2

export class Nd {
  /** Addresses being looked at before they are used. */
  readonly dad: Dad
  readonly sender: NdSender
  /** Messages from somebody else who uses an address of ours. */
  conflicts = 0
  private readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly neighbours: Neighbours
  private readonly told: AddressTold
  private readonly routerSolicited: (slot: number, iface: number, nowMs: number) => void

  /**
   * @param told about duplicates and conflicts, and tentative addresses that may be used now
   * @param routerSolicited told about valid router solicitations; it only looks at the packet
   */
  constructor(
    host: RouterHost,
    interfaces: Interfaces,
    neighbours: Neighbours,
    told: AddressTold,
    routerSolicited: (slot: number, iface: number, nowMs: number) => void,
    seed: number,
  ) {
    this.host = host
    this.interfaces = interfaces
    this.neighbours = neighbours
    this.told = told
    this.routerSolicited = routerSolicited
    this.sender = new NdSender(host, interfaces)
    this.dad = new Dad(DAD6, this, told, new Random(seed))
    neighbours.nd = this
  }

  /** Takes a parsed ICMPv6 packet of type 133 to 137: consumes it, or drops it by name. */
  receive(slot: number, iface: number, nowMs: number): void {
    const { host } = this
    const { ip, pool } = host
    const view = pool.view
    const r = slot << IP_SHIFT
    const m = slot << META_SHIFT
    const head = slot * SLOT_SIZE + pool.meta[m + Meta.Head]
    const at = head + ip[r + Ip.L3]
    const message = head + ip[r + Ip.L4]
    const end = at + ip[r + Ip.Length]
    const port = this.interfaces.port[iface]
    const good =
      ip[r + Ip.Frag] === 0 &&
      wire.fits(view, message, end) &&
      wire.valid(view, at, message, end) &&
      this.intact(m, at, message, end)
    const type = good ? icmpv6.type(view, message) : 0
    let taken = good
    if (type === icmpv6.Icmpv6Type.NeighborSolicitation)
      taken = this.solicitation(r, head, message, end, iface, nowMs)
    else if (type === icmpv6.Icmpv6Type.NeighborAdvertisement)
      taken = this.advertisement(head, message, end, iface, nowMs)
    else if (type === icmpv6.Icmpv6Type.RouterSolicitation) {
      taken = this.learn(r, message, end, iface, Update.Override | Update.Host, nowMs)
      if (taken) this.routerSolicited(slot, iface, nowMs)
    }
    if (taken) host.consume(port, slot)
    else host.lose(port, slot, Drop.NdInvalid)
  }

  private intact(m: number, at: number, message: number, end: number): boolean {
    const { meta, view } = this.host.pool
    if ((meta[m + Meta.Flags] & (Flag.CsumPartial | Flag.CsumVerified)) !== 0) return true
    return verify(view, message, end - message, pseudo6(view, at, Protocol.Icmpv6, end - message))
  }

  /** The first two bytes of the MAC the option tells, NO_MAC or BAD_MAC. The rest is at the option + 4. */
  private macHi(place: number): number {
    const view = this.host.pool.view
    if (place < 0) return NO_MAC
    const hi = wire.macHi(view, place)
    if (view.getUint8(place + 1) !== 1 || (hi & 0x100) !== 0) return BAD_MAC
    return hi === 0 && wire.macLo(view, place) === 0 ? BAD_MAC : hi
  }

  /** Learns who sent it, if it says its MAC. False when that cannot be. */
  private learn(
    r: number,
    message: number,
    end: number,
    iface: number,
    flags: number,
    nowMs: number,
  ): boolean {
    const { ip, pool } = this.host
    const place = wire.findOption(pool.view, message, end, wire.NdOption.SourceLink)
    const hi = this.macHi(place)
    if (hi < 0) return hi === NO_MAC
    if ((this.interfaces.flags[iface] & IfFlag.NoEthernet) !== 0) return true
    const s = r + Ip.Src0
    const lo = wire.macLo(pool.view, place)
    if (this.interfaces.find6(iface, ip[s], ip[s + 1], ip[s + 2], ip[s + 3]) >= 0) return true
    this.neighbours.learn(iface, 6, ip[s], ip[s + 1], ip[s + 2], ip[s + 3], hi, lo, flags, nowMs)
    return true
  }

  private solicitation(
    r: number,
    head: number,
    message: number,
    end: number,
    iface: number,
    nowMs: number,
  ): boolean {
    const { host, interfaces } = this
    const { ip, pool } = host
    const view = pool.view
    const w0 = wire.targetAddr(view, message, 0)
    const w1 = wire.targetAddr(view, message, 1)
    const w2 = wire.targetAddr(view, message, 2)
    const w3 = wire.targetAddr(view, message, 3)
    const s = r + Ip.Src0
    const anonymous = (ip[s] | ip[s + 1] | ip[s + 2] | ip[s + 3]) === 0
    if (anonymous && this.dad.tentative(iface, w0, w1, w2, w3)) {
      const hi = ethernet.srcMacHi(view, head)
      const lo = ethernet.srcMacLo(view, head)
      // Our own question may come back from a switch that loops.
      if (hi !== interfaces.macHi[iface] || lo !== interfaces.macLo[iface])
        this.dad.taken(iface, w0, w1, w2, w3, hi, lo, nowMs)
      return true
    }
    const ours = interfaces.find6(iface, w0, w1, w2, w3)
    if (ours < 0) return true
    if (anonymous) {
      this.sender.advertise(iface, ours)
      return true
    }
    if (interfaces.find6(iface, ip[s], ip[s + 1], ip[s + 2], ip[s + 3]) >= 0) {
      this.conflict(head, iface, ip[s], ip[s + 1], ip[s + 2], ip[s + 3])
      return true
    }
    if (!this.learn(r, message, end, iface, Update.Override, nowMs)) return false
    const made = this.sender.advertiseTo(iface, ours, ip[s], ip[s + 1], ip[s + 2], ip[s + 3])
    if (made >= 0) this.neighbours.output(made, iface, nowMs)
    return true
  }

  private advertisement(head: number, message: number, end: number, iface: number, nowMs: number): boolean {
    const view = this.host.pool.view
    const place = wire.findOption(view, message, end, wire.NdOption.TargetLink)
    const hi = this.macHi(place)
    if (hi === BAD_MAC) return false
    const w0 = wire.targetAddr(view, message, 0)
    const w1 = wire.targetAddr(view, message, 1)
    const w2 = wire.targetAddr(view, message, 2)
    const w3 = wire.targetAddr(view, message, 3)
    if (this.dad.tentative(iface, w0, w1, w2, w3)) {
      this.dad.taken(
        iface,
        w0,
        w1,
        w2,
        w3,
        ethernet.srcMacHi(view, head),
        ethernet.srcMacLo(view, head),
        nowMs,
      )
      return true
    }
    if (this.interfaces.find6(iface, w0, w1, w2, w3) >= 0) {
      this.conflict(head, iface, w0, w1, w2, w3)
      return true
    }
    const e = this.neighbours.find(iface, 6, w0, w1, w2, w3)
    // One that failed is as good as forgotten: its next packet asks again.
    if (e < 0 || this.neighbours.states.table.words[e + N.State] === Nud.Failed) return true
    const flags = wire.flags(view, message)
    let update = (flags & wire.NdFlag.Router) !== 0 ? Update.Router : Update.Host
    update |= Update.Weak | ((flags & wire.NdFlag.Override) !== 0 ? Update.Override : 0)
    const state = (flags & wire.NdFlag.Solicited) !== 0 ? Nud.Reachable : Nud.Stale
    this.neighbours.hear(e, hi, hi < 0 ? 0 : wire.macLo(view, place), state, update, nowMs)
    return true
  }

  private conflict(head: number, iface: number, w0: number, w1: number, w2: number, w3: number): void {
    const view = this.host.pool.view
    const hi = ethernet.srcMacHi(view, head)
    const lo = ethernet.srcMacLo(view, head)
    if (hi === this.interfaces.macHi[iface] && lo === this.interfaces.macLo[iface]) return
    this.conflicts++
    this.told(Fate.Conflict, iface, 6, w0, w1, w2, w3, hi, lo)
  }

  /** Asks for the target: its group, or (hi, lo) whether it is still there. Needs an address of ours. */
  solicit(iface: number, w0: number, w1: number, w2: number, w3: number, hi: number, lo: number): void {
    const source = this.sender.sourceOf(iface)
    if (source >= 0) this.sender.solicit(iface, source, w0, w1, w2, w3, hi, lo)
  }

  /** Asks whether somebody has an address that we would like to use. */
  probe(iface: number, w0: number, w1: number, w2: number, w3: number): void {
    this.sender.solicit(iface, -1, w0, w1, w2, w3, -1, -1)
  }

  /** Says that an address of the interface is ours. */
  announce(iface: number, w0: number, w1: number, w2: number, w3: number): void {
    const ours = this.interfaces.find6(iface, w0, w1, w2, w3)
    if (ours >= 0) this.sender.advertise(iface, ours)
  }

  due(): number {
    return this.dad.due()
  }

  tick(nowMs: number): void {
    this.dad.tick(nowMs)
  }
}
