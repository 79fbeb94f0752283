/**
 * Where a router's packets can go: which interface a gateway is behind, and whether there is a way to an
 * address at all. Used to check (router-routes.ts, router-nat.ts) and to resolve (router-resolve.ts).
 *
 *     links     the subnets of the interfaces, and networks that a route puts on a link (no `via`)
 *     ways      links, and all other routes
 */
import { type Cidr, familyOf, inSubnet } from './address.ts'
import type { InterfaceKeys, RouteKeys } from './router-schema.ts'
import type { RouteConfig } from './types.ts'

export interface Link {
  network: Cidr
  interface: string
}

export function linksOf(interfaces: Record<string, InterfaceKeys>, routes: readonly RouteKeys[]): Link[] {
  const links: Link[] = Object.entries(interfaces).flatMap(([name, { addresses }]) =>
    addresses.map((network) => ({ network, interface: name })),
  )
  for (const route of routes) {
    const onLink = interfaceOf(route)
    if (route.to && !route.via && onLink !== undefined && route.type === 'unicast')
      links.push({ network: route.to, interface: onLink })
  }
  return links
}

/** `interface` of the route as a whole, by either of its names. */
export function interfaceOf(route: RouteKeys): string | undefined {
  return route.interface ?? route.dev
}

/** The link an address is on: that of the longest prefix. */
export function linkTo(links: readonly Link[], address: string): Link | undefined {
  return longest(links, address, (link) => link.network)
}

/** True when the best route to `address`, of all tables, is one that carries packets. */
export function reaches(links: readonly Link[], routes: readonly RouteKeys[], address: string): boolean {
  const ways = [
    ...links.map((link) => ({ network: link.network, open: true })),
    ...routes
      .filter((r) => r.type !== 'throw' && familyOfRoute(r) === familyOf(address))
      .map((r) => ({ network: r.to, open: r.type === 'unicast' })),
  ]
  return longest(ways, address, (way) => way.network)?.open ?? false
}

/** The longest prefix that has `address`; the first of several. null stands for everything. */
function longest<T>(
  items: readonly T[],
  address: string,
  networkOf: (item: T) => Cidr | null,
): T | undefined {
  let best: T | undefined
  let bestLength = -1
  for (const item of items) {
    const network = networkOf(item)
    const length = network?.prefix ?? 0
    if (length > bestLength && (network === null || inSubnet(address, network))) {
      best = item
      bestLength = length
    }
  }
  return best
}

/** Of its destination; for `default`, of its first gateway; undefined = nothing says. */
export function familyOfRoute(route: RouteKeys): 4 | 6 | undefined {
  if (route.to) return route.to.family
  const via = route.via?.find((hop) => hop.via !== undefined)?.via
  return via === undefined ? undefined : familyOf(via)
}

/** Next hops with their interfaces; '' where nothing tells the interface. */
export function hopsOf(route: RouteKeys, links: readonly Link[]): RouteConfig['hops'] {
  if (route.type !== 'unicast') return []
  const whole = interfaceOf(route)
  if (!route.via) return [{ via: '', interface: whole ?? '', weight: 1 }]
  return route.via.map(({ via, interface: named, weight }) => ({
    via: via ?? '',
    interface: named ?? whole ?? (via === undefined ? '' : (linkTo(links, via)?.interface ?? '')),
    weight,
  }))
}
