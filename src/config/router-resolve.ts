/** From the keys of a router, checked, to its RouterConfig. */
import type { FilterConfig } from './diff-router.ts'
import { SYSCTL_TIMEOUTS } from './filter-schema.ts'
import { resolveNflog } from './nflog.ts'
import { resolveDevice } from './resolve-device.ts'
import { familyOfRoute, Reach } from './router-reach.ts'
import {
  type InterfaceKeys,
  type NatKeys,
  type PolicyKeys,
  type RouteKeys,
  type RouterKeys,
  routerSchema,
} from './router-schema.ts'
import { resolveServices } from './service-resolve.ts'
import type {
  InterfaceConfig,
  NatConfig,
  PolicyConfig,
  RouteConfig,
  RouterConfig,
  RulesConfig,
  SetsConfig,
  SwitchConfig,
  TrackingConfig,
} from './types.ts'

/** Absolute path of an interface's leases, from the path that the file says, if it does. */
export type LeasesPath = (name: string, file: string | undefined) => string

const MTU = 1500
/** Of ports without `vlan` on a switch that looks at tags. */
const DEFAULT_VID = 1

/** What the files of a router say. */
export interface RouterFiles {
  /** That names of files start from. */
  directory: string
  rules: RulesConfig[]
  sets: SetsConfig[]
}

/**
 * @param switchOf a switch, by name
 * @param leases where the leases of an interface are
 */
export function resolveRouter(
  keys: RouterKeys,
  { directory, rules, sets }: RouterFiles,
  switchOf: (name: string) => SwitchConfig,
  leases: LeasesPath,
): RouterConfig {
  const reach = new Reach(keys.interfaces, keys.routes)
  const interfaces: Record<string, InterfaceConfig> = {}
  for (const [name, one] of Object.entries(keys.interfaces))
    interfaces[name] = {
      ...resolveInterface(name, one, switchOf),
      ...resolveServices(one, (file) => leases(name, file)),
    }
  return {
    interfaces,
    routes: keys.routes.map((route) => resolveRoute(route, reach)),
    policies: keys.policies.map(resolvePolicy),
    nat: keys.nat.map(resolveNat),
    rules,
    profile: keys.profile,
    sets,
    nflog: resolveNflog(keys.nflog, directory),
    conntrack: resolveTracking(keys.conntrack),
  }
}

const { profile, conntrack } = routerSchema.parse({})
/** Of a router whose configuration says nothing about rules. */
export const NO_FILTER: FilterConfig = {
  nat: [],
  rules: [],
  profile,
  sets: [],
  nflog: [],
  conntrack: resolveTracking(conntrack),
}

function resolveInterface(
  name: string,
  keys: InterfaceKeys,
  switchOf: (name: string) => SwitchConfig,
): InterfaceConfig {
  const on = standsOn(name, keys, switchOf)
  const own = 'mtu' in on ? on.mtu : on.type === 'packet' ? 0 : MTU
  const { mac, mtu = own, rpFilter, clampMss, dad, fault } = keys
  const config: InterfaceConfig = {
    on,
    addresses: keys.addresses.map((a) => a.text),
    mtu,
    rpFilter,
    clampMss,
    dad,
  }
  if (mac !== undefined) config.mac = mac
  if (fault) config.fault = fault
  if (on.type === 'switch' && keys.mtu === undefined && tunnelled(switchOf(on.switch)))
    config.tunnelMtu = true
  return config
}

function tunnelled({ ports }: SwitchConfig): boolean {
  return Object.values(ports).some(({ device }) => device.type === 'vxlan')
}

function standsOn(
  name: string,
  keys: InterfaceKeys,
  switchOf: (name: string) => SwitchConfig,
): InterfaceConfig['on'] {
  if (keys.switch === undefined) {
    const { tap, tun, packet, memory } = keys
    return resolveDevice(name, { tap, tun, packet, memory }) as InterfaceConfig['on']
  }
  const untagged = switchOf(keys.switch).vlanAware ? DEFAULT_VID : null
  return { type: 'switch', switch: keys.switch, vlan: keys.vlan ?? untagged }
}

function resolveRoute(route: RouteKeys, reach: Reach): RouteConfig {
  const everything = familyOfRoute(route) === 6 ? '::/0' : '0.0.0.0/0'
  return {
    to: route.to?.text ?? everything,
    kind: route.type,
    hops: reach.hopsOf(route),
    metric: route.metric,
    table: route.table,
    src: route.src ?? '',
  }
}

function resolvePolicy(keys: PolicyKeys): PolicyConfig {
  const { priority, table, from, to, interface: name, mark } = keys
  return {
    priority,
    table,
    from: from?.text ?? '',
    to: to?.text ?? '',
    interface: name ?? '',
    mark: mark ?? null,
  }
}

function resolveNat({ masquerade, publish }: NatKeys): NatConfig {
  if (masquerade) return { type: 'masquerade', from: masquerade.from.text, out: masquerade.out }
  const { proto, listen, to } = publish!
  return {
    type: 'publish',
    proto,
    listen: listen.address,
    listenPorts: listen.ports,
    to: to.address,
    toPort: to.ports[0],
  }
}

function resolveTracking({ timeouts, ...keys }: RouterKeys['conntrack']): TrackingConfig {
  const named = Object.entries(timeouts as Record<string, number | undefined>).flatMap(([name, seconds]) =>
    seconds === undefined ? [] : [[SYSCTL_TIMEOUTS[name], seconds]],
  )
  return { ...keys, timeouts: Object.fromEntries(named) }
}
