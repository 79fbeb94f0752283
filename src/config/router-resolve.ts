/** From the keys of a router, checked, to its RouterConfig. */
import { resolveDevice } from './resolve-device.ts'
import { familyOfRoute, Reach } from './router-reach.ts'
import type { InterfaceKeys, NatKeys, PolicyKeys, RouteKeys, RouterKeys } from './router-schema.ts'
import { resolveServices } from './service-resolve.ts'
import type {
  InterfaceConfig,
  NatConfig,
  PolicyConfig,
  RouteConfig,
  RouterConfig,
  RulesConfig,
  SwitchConfig,
} from './types.ts'

/** Absolute path of an interface's leases, from the path that the file says, if it does. */
export type LeasesPath = (name: string, file: string | undefined) => string

const MTU = 1500
/** Of ports without `vlan` on a switch that looks at tags. */
const DEFAULT_VID = 1

/**
 * @param rules what its files say
 * @param leases where the leases of an interface are
 */
export function resolveRouter(
  keys: RouterKeys,
  rules: RulesConfig[],
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
  }
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
