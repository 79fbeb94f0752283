/**
 * What the filter of one router asks of it (filter/program/host.ts): where addresses lead, whose they are,
 * and to answer what a rule refuses.
 */
import { type FilterHost, Queued } from '../filter/program/host.ts'
import type { Drop } from '../packet/drop.ts'
import type { Hook } from '../packet/hooks.ts'
import { Frag, IP_SHIFT, Ip } from '../packet/ip.ts'
import { MAX_ADDRESSES } from '../router/interfaces.ts'
import { resetFor } from '../router/reset.ts'
import type { Router } from '../router/router.ts'
import { Route, RouteKind } from '../router/routes.ts'
import { sumHolds } from '../router/sum.ts'
import type { PacketQueues } from './queue.ts'
import type { EngineRouterHost } from './router-host.ts'

/** ADDRESS_TYPE bits of filter/matches/model.ts, by RouteKind. */
const TYPE_OF_KIND = [2, 4, 8, 64, 128, 256, 512]
const UNSPEC = 1
const UNICAST = 2
const LOCAL = 4
const BROADCAST = 8
const MULTICAST = 32
const UNREACHABLE = 128
const LOOSE = 1
/** RFC 8200 4.7. */
const NO_NEXT_HEADER = 59
const ACCEPT_LOCAL = 4
/** TCP reset instead of an ICMP error. */
const RESET = -1

export class RouterFilterHost implements FilterHost {
  /** Null until a function is registered. */
  queues: PacketQueues | null = null
  readonly host: EngineRouterHost
  private readonly router: Router
  private readonly home: number

  constructor(router: Router, host: EngineRouterHost, home: number) {
    this.router = router
    this.host = host
    this.home = home
  }

  lose(iface: number, slot: number, reason: Drop): void {
    this.host.lose(iface < 0 ? this.home : this.router.interfaces.port[iface], slot, reason)
  }

  reject(slot: number, how: number, nowMs: number): boolean {
    const { router } = this
    // Nobody is told of a packet that may not have been his (nf_reject_verify_csum).
    const later = (this.host.ip[(slot << IP_SHIFT) + Ip.Frag] & Frag.Later) !== 0
    const row = slot << IP_SHIFT
    const { ip } = this.host
    // Linux does not refuse an IPv6 packet that ends with its headers, or says so (reject6_csum_ok).
    if (ip[row + Ip.Family] === 6) {
      const ends = ip[row + Ip.L4] - ip[row + Ip.L3] >= ip[row + Ip.Length]
      if (ends || ip[row + Ip.Proto] === NO_NEXT_HEADER) return false
    }
    if (later || !sumHolds(this.host.pool, this.host.ip, slot)) return false
    if (how !== RESET) {
      router.errors.send(slot, how, how, 0, nowMs)
      return true
    }
    const made = resetFor(this.host, slot, 0)
    if (made >= 0) router.originate(made, nowMs)
    return made >= 0
  }

  addressType(ip: Int32Array, at: number, family: number, iface: number): number {
    const { interfaces, routes } = this.router
    const first = ip[at]
    if (family === 4) {
      // As in the kernel's local table, and its inet_addr_type.
      if (first === -1 || first === 0) return BROADCAST
      if (first >>> 28 === 14) return MULTICAST
      if (first >>> 24 === 127) return LOCAL
    } else {
      if (first >>> 24 === 0xff) return MULTICAST
      if ((first | ip[at + 1] | ip[at + 2] | ip[at + 3]) === 0) return UNSPEC
    }
    const route = routes.find(ip, at, family)
    // Of IPv6, every address that is not a group's is unicast, ours too (xt_addrtype, match_type6).
    const also = family === 4 ? 0 : UNICAST
    if (route < 0) return UNREACHABLE | also
    const type = TYPE_OF_KIND[routes.words[route * Route.Words + Route.Kind]] | also
    if ((type & LOCAL) === 0 || iface < 0) return type
    const own =
      family === 4
        ? interfaces.has4(iface, first)
        : interfaces.find6(iface, first, ip[at + 1], ip[at + 2], ip[at + 3]) >= 0
    return own ? LOCAL | also : UNICAST
  }

  reversePath(slot: number, flags: number): boolean {
    const { routes } = this.router
    const { ip } = this.host
    const back = routes.reverse(ip, slot)
    if (back < 0) return false
    const kind = routes.words[back * Route.Words + Route.Kind]
    if (kind !== RouteKind.Unicast && !(kind === RouteKind.Local && (flags & ACCEPT_LOCAL) !== 0))
      return false
    const inIf = ip[(slot << IP_SHIFT) + Ip.InIf]
    return (flags & LOOSE) !== 0 || routes.words[back * Route.Words + Route.OutIf] === inIf
  }

  addressOf(slot: number, iface: number, toHop: boolean, words: Int32Array): boolean {
    const { interfaces } = this.router
    const { ip } = this.host
    const row = slot << IP_SHIFT
    if (iface < 0) return false
    if (ip[row + Ip.Family] === 4) {
      if (interfaces.count4[iface] === 0) return false
      words[0] = toHop
        ? interfaces.source4(iface, ip[row + Ip.Hop0])
        : interfaces.address4[iface * MAX_ADDRESSES]
      return true
    }
    // A link-local address is of no use to anybody further away.
    const base = iface * MAX_ADDRESSES
    let n = 0
    while (n < interfaces.count6[iface] && interfaces.address6[(base + n) * 4] >>> 22 === 0x3fa) n++
    if (n === interfaces.count6[iface]) return false
    for (let i = 0; i < 4; i++) words[i] = interfaces.address6[(base + n) * 4 + i]
    return true
  }

  pathMtu(slot: number): number {
    const { mtu } = this.router.interfaces
    const { ip } = this.host
    const out = ip[(slot << IP_SHIFT) + Ip.OutIf]
    const back = ip[(slot << IP_SHIFT) + Ip.InIf]
    const there = out < 0 ? 65535 : mtu[out]
    return back < 0 || mtu[back] > there ? there : mtu[back]
  }

  queue(slot: number, queue: number, hook: Hook, step: number, nowMs: number): Queued {
    return this.queues === null ? Queued.Nobody : this.queues.put(slot, queue, hook, step, nowMs)
  }
}
