// HOT
/**
 * Which of our addresses an error comes from, when the packet was not sent to one. As Linux chooses:
 *
 *     IPv4   the `src` of the route back; else of the interface there, the address in the subnet of its next hop,
 *            else its first (RFC 1812 4.3.2.4)
 *     IPv6   the `src` of the route back; else an address of the interface the packet came in by; else of any:
 *            what has most bits in common with who is told (RFC 6724). Link-local for link-local.
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { type Interfaces, MAX_ADDRESSES } from './interfaces.ts'
import type { Router } from './router.ts'
import { Route, RouteKind } from './routes.ts'

/** 0 = none. */
export function errorSource4(router: Router, slot: number): number {
  const { interfaces, routes } = router
  const { ip } = router.host
  const w = wayBack(router, slot)
  if (w < 0) return 0
  if (routes.words[w + Route.Src0] !== 0) return routes.words[w + Route.Src0]
  const hop = routes.words[w + Route.HopFamily] === 4 ? routes.words[w + Route.Hop0] : 0
  return interfaces.source4(routes.words[w + Route.OutIf], hop !== 0 ? hop : ip[(slot << IP_SHIFT) + Ip.Src0])
}

/** Writes four words to `to[at]`. False: there is none. */
export function errorSource6(router: Router, slot: number, to: Int32Array, at: number): boolean {
  const { interfaces, routes } = router
  const { ip } = router.host
  const row = slot << IP_SHIFT
  const local = isLinkLocal(ip[row + Ip.Src0])
  const w = local ? -1 : wayBack(router, slot)
  if (!local && w < 0) return false
  let from = routes.words
  let found = w + Route.Src0
  if (local || (from[found] | from[found + 1] | from[found + 2] | from[found + 3]) === 0) {
    from = interfaces.address6
    const inIf = ip[row + Ip.InIf] >= 0 || local ? ip[row + Ip.InIf] : routes.words[w + Route.OutIf]
    if (inIf < 0) return false
    found = best6(interfaces, inIf, inIf + 1, ip, row + Ip.Src0, local)
    if (found < 0 && !local) found = best6(interfaces, 0, interfaces.count, ip, row + Ip.Src0, false)
    // Better than none: one of the other scope.
    if (found < 0) found = best6(interfaces, inIf, inIf + 1, ip, row + Ip.Src0, !local)
    if (found < 0) return false
  }
  for (let i = 0; i < 4; i++) to[at + i] = from[found + i]
  return true
}

/** The route to the packet's source: where its words are; -1 = none. */
function wayBack({ host, routes }: Router, slot: number): number {
  const back = routes.reverse(host.ip, slot)
  const w = back * Route.Words
  return back >= 0 && routes.words[w + Route.Kind] === RouteKind.Unicast ? w : -1
}

/** Where in address6 the best address of interfaces [first, behind) is, link-local or not; -1 = none. */
function best6(
  { address6, count6, prefix6 }: Interfaces,
  first: number,
  behind: number,
  ip: Int32Array,
  peer: number,
  local: boolean,
): number {
  let best = -1
  let most = -1
  for (let iface = first; iface < behind; iface++) {
    // Of equals the newest, as Linux keeps them.
    for (let i = count6[iface] - 1; i >= 0; i--) {
      const n = iface * MAX_ADDRESSES + i
      if (isLinkLocal(address6[4 * n]) !== local) continue
      let same = 0
      while (same < prefix6[n] && bitOf(address6, 4 * n, same) === bitOf(ip, peer, same)) same++
      if (same <= most) continue
      most = same
      best = 4 * n
    }
  }
  return best
}

function bitOf(words: Int32Array, at: number, bit: number): number {
  return (words[at + (bit >> 5)] >>> (31 - (bit & 31))) & 1
}

function isLinkLocal(first: number): boolean {
  return first >>> 22 === 0x3fa
}
