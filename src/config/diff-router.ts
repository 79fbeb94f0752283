/**
 * The steps for routers, in two parts: what goes stands before everything else of a difference, what comes
 * after everything else.
 *
 *     changed in a router                       step
 *     interface: device or switch, mac, fault   remove-interface, add-interface
 *     interface: anything else                  set-interface
 *     nat, rules, profile, sets, nflog,         set-rules, with all of them
 *       conntrack
 *     routes, policies                          set-routes, with all of them
 *
 * Nothing ever refers to an interface that is not there: the routes through one that goes are taken away
 * before it, those through one that comes are set after it. Rules name interfaces by pattern, so they
 * stay in force meanwhile; new rules are set before new routes. A router that is added gets set-rules and
 * set-routes in any case: it is complete with the last of them.
 */
import { isDeepStrictEqual } from 'node:util'
import { TABLES } from './router-value.ts'
import type { InterfaceConfig, PolicyConfig, RouteConfig, RouterConfig } from './types.ts'

type Routers = Record<string, RouterConfig>

export type RouterChange =
  /** Its interfaces, rules and routes follow. */
  | { op: 'add-router'; name: string; config: RouterConfig }
  /** It has no interfaces any more. */
  | { op: 'remove-router'; name: string }
  | { op: 'add-interface'; router: string; name: string; config: InterfaceConfig }
  | { op: 'remove-interface'; router: string; name: string }
  /** Addresses, mtu, rpFilter, clampMss, dhcp, advertise: nothing that needs opening again. */
  | { op: 'set-interface'; router: string; name: string; config: InterfaceConfig }
  | ({ op: 'set-rules'; router: string } & FilterConfig)
  | ({ op: 'set-routes'; router: string } & RouteSet)

/** What a router's filter is made of. */
export type FilterConfig = Pick<RouterConfig, 'nat' | 'rules' | 'profile' | 'sets' | 'nflog' | 'conntrack'>

export function filterOf({ nat, rules, profile, sets, nflog, conntrack }: FilterConfig): FilterConfig {
  return { nat, rules, profile, sets, nflog, conntrack }
}

interface RouteSet {
  routes: RouteConfig[]
  policies: PolicyConfig[]
}

export function routersGoing(old: Routers, next: Routers): RouterChange[] {
  const changes: RouterChange[] = []
  for (const [router, was] of Object.entries(old)) {
    const left = without(was, leaving(was, routerOf(next, router)))
    if (!isDeepStrictEqual(left, routesOf(was))) changes.push({ op: 'set-routes', router, ...left })
  }
  for (const [router, was] of Object.entries(old)) {
    for (const name of leaving(was, routerOf(next, router)))
      changes.push({ op: 'remove-interface', router, name })
  }
  for (const name of Object.keys(old))
    if (!Object.hasOwn(next, name)) changes.push({ op: 'remove-router', name })
  return changes
}

export function routersComing(old: Routers, next: Routers): RouterChange[] {
  const changes: RouterChange[] = []
  for (const [name, config] of Object.entries(next))
    if (!Object.hasOwn(old, name)) changes.push({ op: 'add-router', name, config })

  for (const [router, { interfaces }] of Object.entries(next)) {
    const kept = staying(routerOf(old, router), interfaces)
    for (const [name, config] of Object.entries(interfaces))
      if (!kept.has(name)) changes.push({ op: 'add-interface', router, name, config })
  }
  for (const [router, { interfaces }] of Object.entries(next)) {
    for (const [name, was] of staying(routerOf(old, router), interfaces)) {
      const config = interfaces[name]
      if (!isDeepStrictEqual(was, config)) changes.push({ op: 'set-interface', router, name, config })
    }
  }
  for (const [router, config] of Object.entries(next)) {
    const was = routerOf(old, router)
    if (!isDeepStrictEqual(was && filterOf(was), filterOf(config)))
      changes.push({ op: 'set-rules', router, ...filterOf(config) })
  }
  for (const [router, config] of Object.entries(next)) {
    const was = routerOf(old, router)
    const before = was && without(was, leaving(was, config))
    if (!isDeepStrictEqual(before, routesOf(config)))
      changes.push({ op: 'set-routes', router, ...routesOf(config) })
  }
  return changes
}

function routerOf(routers: Routers, name: string): RouterConfig | undefined {
  return Object.hasOwn(routers, name) ? routers[name] : undefined
}

function routesOf({ routes, policies }: RouterConfig): RouteSet {
  return { routes, policies }
}

/** Interfaces of `was` that keep what they stand on, as they were, by name. */
function staying(
  was: RouterConfig | undefined,
  interfaces: Record<string, InterfaceConfig>,
): Map<string, InterfaceConfig> {
  const opened = ({ on, mac, fault }: InterfaceConfig) => ({ on, mac, fault })
  return new Map(
    Object.entries(was?.interfaces ?? {}).filter(
      ([name, one]) =>
        Object.hasOwn(interfaces, name) && isDeepStrictEqual(opened(one), opened(interfaces[name])),
    ),
  )
}

/** Interfaces of `was` that go, or are opened again. */
function leaving(was: RouterConfig, config: RouterConfig | undefined): string[] {
  const kept = staying(was, config?.interfaces ?? {})
  return Object.keys(was.interfaces).filter((name) => !kept.has(name))
}

/** What is left of the routes when `gone` are not there; and of the policies, whose tables must have some. */
function without(was: RouterConfig, gone: readonly string[]): RouteSet {
  if (gone.length === 0) return routesOf(was)
  const lost = new Set(gone)
  const routes = was.routes.flatMap((route) => {
    const hops = route.hops.filter((hop) => !lost.has(hop.interface))
    if (hops.length === route.hops.length) return [route]
    return hops.length > 0 ? [{ ...route, hops }] : []
  })
  const tables = new Set([TABLES.local, TABLES.main, ...routes.map((route) => route.table)])
  const policies = was.policies.filter((p) => !lost.has(p.interface) && tables.has(p.table))
  return { routes, policies }
}
