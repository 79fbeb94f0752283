// HOT
/**
 * Packets that a router meets seldom, and what becomes of them: those it does not take on, those it has no way
 * for, fragments to itself. router.ts is the way of all others.
 */
import { Drop } from '../packet/drop.ts'
import { IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { Icmp4Code, Icmp6Code } from './icmp.ts'
import { martian4 } from './martian.ts'
import { setHop } from './next-hop.ts'
import { fault4, sourceRouted } from './options.ts'
import type { Router } from './router.ts'
import { Route, RouteKind } from './routes.ts'

/** A packet that does not parse. */
export function flawed(router: Router, slot: number, port: number, reason: Drop, nowMs: number): void {
  const fault = router.host.ip[(slot << IP_SHIFT) + Ip.Scratch]
  if (reason === Drop.IpMalformed && fault > 0)
    router.errors.send(slot, -1, Icmp6Code.ParameterProblem | (fault >> 16), fault & 0xffff, nowMs)
  router.host.lose(port, slot, reason)
}

/** False: the IPv4 packet ended for its addresses or its options. */
export function admit4(router: Router, slot: number, port: number, nowMs: number): boolean {
  const { ip, pool } = router.host
  const row = slot << IP_SHIFT
  if (martian4(router.routes, router.interfaces, ip, slot)) {
    router.lose(port, slot, Drop.Martian)
    return false
  }
  if ((ip[row + Ip.Flags] & IpFlag.Options) === 0) return true
  const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
  const fault = fault4(pool.view, at)
  if (fault !== 0) router.errors.send(slot, Icmp4Code.ParameterProblem, -1, fault << 24, nowMs)
  else if (!sourceRouted(pool.view, at)) return true
  router.lose(port, slot, fault !== 0 ? Drop.IpMalformed : Drop.SourceRoute)
  return false
}

/** A packet whose route leads nowhere. @param none there is no route at all */
export function refuse(
  router: Router,
  slot: number,
  port: number,
  none: boolean,
  kind: RouteKind,
  nowMs: number,
): void {
  if (kind === RouteKind.Blackhole) return router.lose(port, slot, Drop.Blackhole)
  if (kind === RouteKind.Prohibit) {
    router.errors.send(slot, Icmp4Code.Prohibited, Icmp6Code.Prohibited, 0, nowMs)
    return router.lose(port, slot, Drop.Prohibited)
  }
  const four = none ? Icmp4Code.NetUnreachable : Icmp4Code.HostUnreachable
  router.errors.send(slot, four, Icmp6Code.NoRoute, 0, nowMs)
  router.lose(port, slot, Drop.NoRoute)
}

/** Takes a fragment to us. The packet, when it is whole, is marked as the fragment was; else -1. */
export function whole(router: Router, slot: number, nowMs: number): number {
  const { ip } = router.host
  const row = slot << IP_SHIFT
  const mark = ip[row + Ip.Mark]
  const flags = ip[row + Ip.Flags] & (IpFlag.ToUs | IpFlag.Broadcast)
  const made = router.fragments.gather(slot, nowMs)
  if (made < 0) return -1
  ip[(made << IP_SHIFT) + Ip.Mark] = mark
  ip[(made << IP_SHIFT) + Ip.Flags] |= flags
  return made
}

/** False for an IPv6 source that is link-local, or none: it is for its own link. */
export function mayLeave(ip: Int32Array, row: number): boolean {
  const s = row + Ip.Src0
  return ip[s] >>> 22 !== 0x3fa && (ip[s] | ip[s + 1] | ip[s + 2] | ip[s + 3]) !== 0
}

export function isGroup(ip: Int32Array, row: number): boolean {
  const dst = ip[row + Ip.Dst0]
  return ip[row + Ip.Family] === 4 ? dst === -1 || dst >>> 28 === 14 : dst >>> 24 === 0xff
}

/** False: there is no way, or it leads to ourselves (an error about our own packet has no reader). */
export function routeOwn(router: Router, slot: number, row: number): boolean {
  const { ip } = router.host
  const dst = ip[row + Ip.Dst0]
  const linkLocal = ip[row + Ip.Family] === 6 && (dst >>> 22 === 0x3fa || dst >>> 24 === 0xff)
  if (linkLocal && ip[row + Ip.OutIf] >= 0) {
    for (let i = 0; i < 4; i++) ip[row + Ip.Hop0 + i] = ip[row + Ip.Dst0 + i]
    return true
  }
  const route = router.routes.lookup(ip, slot)
  if (route < 0 || router.routes.words[route * Route.Words + Route.Kind] !== RouteKind.Unicast) return false
  setHop(router.routes, ip, row, route)
  return true
}
