/** From the keys of `dhcp` and `advertise`, checked, to what the services are given. */
import { ipText } from './address.ts'
import type { InterfaceKeys } from './router-schema.ts'
import { hostsOf, servedBy } from './service-fit.ts'
import type { AdvertiseKeys, DhcpKeys } from './service-schema.ts'
import type { AdvertiseConfig, DhcpConfig, InterfaceConfig } from './types.ts'

/** @param leases absolute path of the file, from what the key says */
export function resolveServices(
  keys: InterfaceKeys,
  leases: (file: string | undefined) => string,
): Pick<InterfaceConfig, 'dhcp' | 'advertise'> {
  const services: Pick<InterfaceConfig, 'dhcp' | 'advertise'> = {}
  if (keys.dhcp) services.dhcp = resolveDhcp(keys, keys.dhcp, leases(keys.dhcp.leases))
  if (keys.advertise) services.advertise = resolveAdvertise(keys.advertise)
  return services
}

function resolveDhcp({ addresses }: InterfaceKeys, keys: DhcpKeys, leases: string): DhcpConfig {
  const own = servedBy(addresses, keys)!
  const { dns, domain = '', leaseTime, mtu = 0, probe, router = own.address } = keys
  return {
    address: own.text,
    pool: (keys.pool ?? [hostsOf(own)]).map(({ first, last }) => [ipText(first, 4), ipText(last, 4)]),
    reservations: keys.reservations.map(({ address, clientId = '', hostName = '', mac = '' }) => ({
      mac,
      clientId,
      address,
      hostName,
    })),
    router,
    dns,
    domain,
    mtu,
    routes: keys.routes.map(({ to, via }) => ({ to: to.text, via })),
    leaseS: leaseTime,
    leases,
    probeMs: probe,
  }
}

function resolveAdvertise(keys: AdvertiseKeys): AdvertiseConfig {
  const { dns, hopLimit, managed, maxInterval, mtu = 0, other, search } = keys
  // RFC 4861 6.2.1.
  const usual = maxInterval >= 9 ? Math.floor(maxInterval / 3) : maxInterval
  return {
    prefixes: (keys.prefixes ?? []).map(({ autonomous, onLink, preferred, prefix, valid }) => ({
      prefix: prefix.text,
      onLink,
      autonomous,
      validS: valid,
      preferredS: preferred,
    })),
    mtu,
    hopLimit,
    lifetimeS: keys.lifetime ?? 3 * maxInterval,
    managed,
    other,
    dns,
    search,
    minIntervalS: keys.minInterval ?? usual,
    maxIntervalS: maxInterval,
  }
}
