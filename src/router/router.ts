// HOT
/**
 * The router: a stage that forwards by IP address. RFC 1812 clause 5.2 and RFC 8200 are the process;
 * packet/hooks.ts shows where the filter is asked. One packet goes
 *
 *     receive.ts   to us or to somebody else (MAC); ARP aside; parse.ts validates and fills the row
 *     ingress      PREROUTING, then the route of its destination
 *     input        INPUT, then local.ts            | forward   TTL, size, FORWARD
 *     originate    OUTPUT, route (made here)       | egress    POSTROUTING, then the neighbour's MAC
 *
 * and ends in one of the four ways of host.ts, always.
 */
import type { Batch } from '../packet/batch.ts'
import { Drop } from '../packet/drop.ts'
import { Hook, type Hooks, Verdict } from '../packet/hooks.ts'
import { Frag, IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { BATCH, MAX_PORTS } from '../packet/layout.ts'
import type { RouterHost } from './host.ts'
import { Icmp4Code, Icmp6Code, IcmpErrors } from './icmp.ts'
import { IfFlag, Interfaces } from './interfaces.ts'
import { Local } from './local.ts'
import { joined } from './martian.ts'
import { clampMss } from './mss.ts'
import { decrement, setHop } from './next-hop.ts'
import { admit4, isGroup, mayLeave, refuse, routeOwn, whole } from './odd.ts'
import type { Fragments, Resolver, Services, Waiting } from './parts.ts'
import { receive, reject } from './receive.ts'
import { comesFromThere } from './reverse-path.ts'
import { Route, RouteKind, type Routes } from './routes.ts'
import { segmentSize } from './size.ts'

export class Router {
  readonly members = new Int32Array(MAX_PORTS)
  memberCount = 0
  /** False until its rules are in force: nothing passes a router before its filter. */
  open = true
  readonly interfaces = new Interfaces()
  readonly errors: IcmpErrors
  routes: Routes
  hooks: Hooks
  resolver!: Resolver
  fragments!: Fragments
  waiting: Waiting | null = null
  services!: Services
  readonly host: RouterHost
  /** Packets of the batch in hand that go on to PREROUTING. */
  private readonly entering = new Int32Array(BATCH)
  /** How many of them wait for POSTROUTING; -1 = nobody does, each goes on at once. */
  private leaving = -1
  private readonly local: Local
  /** Counts a packet that no port has received. */
  private get home(): number {
    return this.members[0]
  }

  constructor(host: RouterHost, routes: Routes, hooks: Hooks) {
    this.host = host
    this.routes = routes
    this.hooks = hooks
    this.errors = new IcmpErrors(this)
    this.local = new Local({
      host,
      interfaces: this.interfaces,
      errors: this.errors,
      originate: (slot, nowMs) => this.originate(slot, nowMs),
      nd: (slot, iface, nowMs) => this.resolver.nd(slot, iface, nowMs),
      punt: (slot, iface) => this.services.punt(slot, iface),
    })
  }

  process(batch: Batch, port: number, nowMs: number): void {
    const iface = this.interfaces.ofPort[port]
    const { entering } = this
    const lost = iface < 0 || !this.open
    // Replies may be sent while the batch goes on: its slots stay where they are.
    const { n, slots } = batch
    let count = 0
    for (let i = 0; i < n; i++) {
      const slot = slots[i]
      const enters = lost ? reject(this, port, slot, Drop.NoEgress) : receive(this, slot, iface, port, nowMs)
      if (enters >= 0) entering[count++] = enters
    }
    if (count > 1) this.enter(count, nowMs)
    else if (count > 0) this.ingress(entering[0], nowMs)
  }

  /**
   * Several packets. Those in a row that are settled go through PREROUTING one after the other, then through FORWARD,
   * then out: code and data of each part stay in the processor's caches. Who is not goes all the way by itself.
   */
  private enter(count: number, nowMs: number): void {
    const { entering, hooks } = this
    hooks.prefetch(entering, count)
    for (let end = 0; end < count; end++) {
      const begin = end
      while (end < count && hooks.settled(entering[end], nowMs)) end++
      let held = begin
      for (let i = begin; i < end; i++) {
        const slot = entering[i]
        if (hooks.run(Hook.Prerouting, slot, nowMs) === Verdict.Accept) entering[held++] = slot
      }
      this.leaving = begin
      for (let i = begin; i < held; i++) {
        const slot = entering[i]
        if (this.hasItsFlow(slot)) this.decide(slot, slot << IP_SHIFT, nowMs)
      }
      const left = this.leaving
      this.leaving = -1
      for (let i = begin; i < left; i++) if (this.hasItsFlow(entering[i])) this.egress(entering[i], nowMs)
      if (end < count) this.ingress(entering[end], nowMs)
    }
  }

  /** False when a packet has waited, and what it belonged to is gone: then it goes, too. */
  private hasItsFlow(slot: number): boolean {
    if (!this.hooks.orphaned(slot)) return true
    this.lose(this.interfaces.port[this.host.ip[(slot << IP_SHIFT) + Ip.InIf]], slot, Drop.NatMoved)
    return false
  }

  /** PREROUTING and the routing decision. */
  private ingress(slot: number, nowMs: number): void {
    const { hooks } = this
    const row = slot << IP_SHIFT
    if (!hooks.idle(Hook.Prerouting) && hooks.run(Hook.Prerouting, slot, nowMs) !== Verdict.Accept) return
    this.decide(slot, row, nowMs)
  }

  private decide(slot: number, row: number, nowMs: number): void {
    const { ip } = this.host
    const port = this.interfaces.port[ip[row + Ip.InIf]]
    if (ip[row + Ip.Family] === 4 && !admit4(this, slot, port, nowMs)) return
    if (isGroup(ip, row)) {
      if (!joined(this.interfaces, ip, slot)) return this.lose(port, slot, Drop.NotForUs)
      return this.input(slot, port, nowMs)
    }
    const route = this.routes.lookup(ip, slot)
    ip[row + Ip.Route] = route
    if (!comesFromThere(this.routes, this.interfaces, ip, slot))
      return this.lose(port, slot, Drop.ReversePath)
    const words = this.routes.words
    const kind = route < 0 ? RouteKind.Unreachable : words[route * Route.Words + Route.Kind]
    if (kind === RouteKind.Local || kind === RouteKind.Broadcast) {
      ip[row + Ip.Flags] |= kind === RouteKind.Local ? IpFlag.ToUs : IpFlag.Broadcast
      return this.input(slot, port, nowMs)
    }
    if (ip[row + Ip.PktType] !== 0) return this.lose(port, slot, Drop.NotForUs)
    if (kind !== RouteKind.Unicast) return refuse(this, slot, port, route < 0, kind, nowMs)
    this.forward(slot, row, port, route, nowMs)
  }

  private input(slot: number, port: number, nowMs: number): void {
    const { ip } = this.host
    const row = slot << IP_SHIFT
    const six = ip[row + Ip.Family] === 6
    // Linux asks INPUT about an IPv4 packet as a whole, about IPv6 fragments one by one.
    if (!six && (ip[row + Ip.Frag] & Frag.Any) !== 0) {
      slot = whole(this, slot, nowMs)
      if (slot < 0) return
    }
    const { hooks } = this
    if (!hooks.idle(Hook.Input) && hooks.run(Hook.Input, slot, nowMs) !== Verdict.Accept) return
    this.admitted(slot, port, nowMs)
  }

  private admitted(slot: number, port: number, nowMs: number): void {
    const { ip } = this.host
    const row = slot << IP_SHIFT
    if (ip[row + Ip.Family] === 6 && (ip[row + Ip.Frag] & Frag.Any) !== 0) {
      slot = whole(this, slot, nowMs)
      if (slot < 0) return
    }
    this.local.deliver(slot, port, nowMs)
  }

  private forward(slot: number, row: number, port: number, route: number, nowMs: number): void {
    const { host, hooks, interfaces } = this
    const { ip } = host
    if (ip[row + Ip.Ttl] <= 1) {
      this.errors.send(slot, Icmp4Code.TtlExceeded, Icmp6Code.HopLimitExceeded, 0, nowMs)
      return this.lose(port, slot, Drop.TtlExceeded)
    }
    setHop(this.routes, ip, row, route)
    const out = ip[row + Ip.OutIf]
    if (ip[row + Ip.Family] === 6 && out !== ip[row + Ip.InIf] && !mayLeave(ip, row)) {
      this.errors.send(slot, -1, Icmp6Code.BeyondScope, 0, nowMs)
      return this.lose(port, slot, Drop.Martian)
    }
    const mtu = interfaces.mtu[out]
    const size = segmentSize(host.pool, ip, slot)
    const mayCut = ip[row + Ip.Family] === 4 && (ip[row + Ip.Frag] & Frag.DontFragment) === 0
    // What came in pieces leaves in pieces as big as they were.
    const whole = (ip[row + Ip.Frag] & Frag.Reassembled) === 0
    if (!mayCut && (whole ? size : ip[row + Ip.Scratch]) > mtu) {
      this.errors.send(slot, Icmp4Code.FragmentationNeeded, Icmp6Code.TooBig, mtu, nowMs)
      return this.lose(interfaces.port[out], slot, Drop.FragmentNeeded)
    }
    decrement(host.pool, ip, slot)
    if (!hooks.idle(Hook.Forward) && hooks.run(Hook.Forward, slot, nowMs) !== Verdict.Accept) return
    this.forwarded(slot, out, nowMs)
  }

  private forwarded(slot: number, out: number, nowMs: number): void {
    const { flags, mtu } = this.interfaces
    if ((flags[out] & IfFlag.ClampMss) !== 0) clampMss(this.host.pool, this.host.ip, slot, mtu[out])
    if (this.leaving >= 0) this.entering[this.leaving++] = slot
    else this.egress(slot, nowMs)
  }

  /** Goes on behind a hook with a packet that the filter had taken there. */
  proceed(hook: Hook, slot: number, nowMs: number): void {
    const { ip } = this.host
    const row = slot << IP_SHIFT
    if (hook === Hook.Prerouting) return this.decide(slot, row, nowMs)
    if (hook === Hook.Input) return this.admitted(slot, this.interfaces.port[ip[row + Ip.InIf]], nowMs)
    if (hook === Hook.Forward) return this.forwarded(slot, ip[row + Ip.OutIf], nowMs)
    if (hook === Hook.Postrouting) return this.leave(slot, row, nowMs)
    // Somebody else may have given it another mark or destination.
    if (!routeOwn(this, slot, row)) return this.lose(this.home, slot, Drop.NoRoute)
    this.egress(slot, nowMs)
  }

  /**
   * Sends a packet that was made here. Ip.OutIf may name the interface for a link-local destination. A hook
   * that gives it another destination, or another mark, has it routed once more.
   */
  originate(slot: number, nowMs: number): void {
    const { hooks, host } = this
    const { ip } = host
    const row = slot << IP_SHIFT
    if (!routeOwn(this, slot, row)) return host.lose(this.home, slot, Drop.NoRoute)
    if (!hooks.idle(Hook.Output)) {
      const mark = ip[row + Ip.Mark]
      const dst = ip[row + Ip.Dst0]
      const dst3 = ip[row + Ip.Dst0 + 3]
      if (hooks.run(Hook.Output, slot, nowMs) !== Verdict.Accept) return
      const same = ip[row + Ip.Mark] === mark && ip[row + Ip.Dst0] === dst && ip[row + Ip.Dst0 + 3] === dst3
      if (!same && !routeOwn(this, slot, row)) return this.lose(this.home, slot, Drop.NoRoute)
    }
    this.egress(slot, nowMs)
  }

  /** Drops a packet that the filter may know by now. */
  lose(port: number, slot: number, reason: Drop): void {
    this.hooks.gone(slot)
    this.host.lose(port, slot, reason)
  }

  /** POSTROUTING, size, neighbour. */
  private egress(slot: number, nowMs: number): void {
    const { hooks } = this
    const row = slot << IP_SHIFT
    if (!hooks.idle(Hook.Postrouting) && hooks.run(Hook.Postrouting, slot, nowMs) !== Verdict.Accept) return
    this.leave(slot, row, nowMs)
  }

  private leave(slot: number, row: number, nowMs: number): void {
    const { host, interfaces } = this
    const { ip } = host
    const out = ip[row + Ip.OutIf]
    const mtu = interfaces.mtu[out]
    if (segmentSize(host.pool, ip, slot) > mtu || (ip[row + Ip.Frag] & Frag.Reassembled) !== 0) {
      const most = (ip[row + Ip.Frag] & Frag.Reassembled) !== 0 ? Math.min(mtu, ip[row + Ip.Scratch]) : mtu
      return this.fragments.cut(slot, most, nowMs)
    }
    this.resolver.output(slot, out, nowMs)
  }

  /** A port of ours is down, or goes. */
  forget(port: number, alsoStatic: boolean): void {
    const iface = this.interfaces.ofPort[port]
    if (iface < 0) return
    this.waiting?.flush(iface)
    this.resolver.flush(iface, alsoStatic)
    this.fragments.flush(iface)
  }

  tick(nowMs: number): void {
    this.resolver.tick(nowMs)
    this.fragments.tick(nowMs)
    this.hooks.tick(nowMs)
  }
}
