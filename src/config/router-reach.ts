/**
 * Where a router's packets can go: which interface a gateway is behind, and whether there is a way to an
 * address at all. Used to check (router-routes.ts, router-nat.ts) and to resolve (router-resolve.ts).
 *
 *     links     the subnets of the interfaces, and networks that a route puts on a link (no `via`)
 *     ways      links, and all other routes
 */
import { type Cidr, familyOf, ipBits, startOf } from './address.ts'
import type { InterfaceKeys, RouteKeys } from './router-schema.ts'
import type { RouteConfig } from './types.ts'

/** Things by network; what holds an address is found by its prefixes, not by looking at everything. */
class Networks<T> {
  /** Prefix length -> first address -> things, for each family. */
  private readonly lengths = {
    4: new Map<number, Map<bigint, T[]>>(),
    6: new Map<number, Map<bigint, T[]>>(),
  }

  add(network: Pick<Cidr, 'family' | 'prefix' | 'bits'>, thing: T): void {
    const lengths = this.lengths[network.family]
    const starts = lengths.get(network.prefix) ?? new Map<bigint, T[]>()
    const start = startOf(network)
    const things = starts.get(start)
    if (things) things.push(thing)
    else starts.set(start, [thing])
    lengths.set(network.prefix, starts)
  }

  /** Those whose network has `address`, the longest prefix first, then in the order they were added. */
  holding(address: string): T[] {
    const family = familyOf(address)
    const bits = ipBits(address)
    const lengths = [...this.lengths[family]].sort(([a], [b]) => b - a)
    return lengths.flatMap(([prefix, starts]) => starts.get(startOf({ bits, prefix, family })) ?? [])
  }
}

export interface Link {
  network: Cidr
  interface: string
}

export class Reach {
  /** In the order of the file. */
  readonly links: Link[] = []
  /** Interface of each address of ours. */
  readonly own = new Map<string, string>()
  private readonly linkIndex = new Networks<Link>()
  private readonly ways = new Networks<{ open: boolean }>()

  constructor(interfaces: Record<string, InterfaceKeys>, routes: readonly RouteKeys[]) {
    for (const [name, { addresses }] of Object.entries(interfaces)) {
      for (const network of addresses) {
        this.own.set(network.address, name)
        this.addLink({ network, interface: name })
      }
    }
    for (const route of routes) {
      const onLink = interfaceOf(route)
      if (route.to && !route.via && onLink !== undefined && route.type === 'unicast')
        this.addLink({ network: route.to, interface: onLink })
    }
    for (const route of routes) {
      const family = familyOfRoute(route)
      if (route.type === 'throw' || family === undefined) continue
      this.ways.add(route.to ?? { family, prefix: 0, bits: 0n }, { open: route.type === 'unicast' })
    }
  }

  private addLink(link: Link): void {
    this.links.push(link)
    this.linkIndex.add(link.network, link)
    this.ways.add(link.network, { open: true })
  }

  /** The links an address is on, the one with the longest prefix first. */
  linksTo(address: string): Link[] {
    return this.linkIndex.holding(address)
  }

  /** True when the best way to `address`, of all tables, is one that carries packets. */
  reaches(address: string): boolean {
    return this.ways.holding(address)[0]?.open ?? false
  }

  /** Next hops with their interfaces; '' where nothing tells the interface. */
  hopsOf(route: RouteKeys): RouteConfig['hops'] {
    if (route.type !== 'unicast') return []
    const whole = interfaceOf(route)
    if (!route.via) return [{ via: '', interface: whole ?? '', weight: 1 }]
    return route.via.map(({ via, interface: named, weight }) => ({
      via: via ?? '',
      interface: named ?? whole ?? (via === undefined ? '' : (this.linksTo(via)[0]?.interface ?? '')),
      weight,
    }))
  }
}

/** `interface` of the route as a whole, by either of its names. */
export function interfaceOf(route: RouteKeys): string | undefined {
  return route.interface ?? route.dev
}

/** Of its destination; for `default`, of its first gateway; undefined = nothing says. */
export function familyOfRoute(route: RouteKeys): 4 | 6 | undefined {
  if (route.to) return route.to.family
  const via = route.via?.find((hop) => hop.via !== undefined)?.via
  return via === undefined ? undefined : familyOf(via)
}
