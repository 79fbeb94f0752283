/** From what `dhcp` and `advertise` say to what the services work with: words, and the interface's own values. */
import type { AdvertiseConfig, DhcpConfig, InterfaceConfig } from '../../config/types.ts'
import { ipv4Bits } from '../../service/address.ts'
import type { AdvertiseSettings, Prefix } from '../../service/advertisement.ts'
import type { DhcpSettings } from '../../service/dhcp-settings.ts'
import { addressesOf, linkLocal, masked, networkOf, wordsOfAddress } from './addressing.ts'

export function dhcpSettings(dhcp: DhcpConfig, config: InterfaceConfig, mtu: number): DhcpSettings {
  const [own, length] = dhcp.address.split('/')
  const bits = (address: string): number => (address === '' ? 0 : ipv4Bits(address))
  const ours = config.addresses.filter((a) => !a.includes(':')).map((a) => bits(a.split('/')[0]))
  return {
    serverId: bits(own),
    length: Number(length),
    pool: dhcp.pool.map(([first, last]) => [bits(first), bits(last)]),
    reservations: dhcp.reservations.map((r) => ({ ...r, address: bits(r.address) })),
    excluded: [...ours, bits(dhcp.router)],
    router: bits(dhcp.router),
    dns: dhcp.dns.map(bits),
    domain: dhcp.domain,
    mtu: dhcp.mtu || mtu,
    linkMtu: mtu,
    routes: dhcp.routes.map(({ to, via }) => {
      const [prefix, size] = to.split('/')
      return { prefix: bits(prefix), length: Number(size), router: bits(via) }
    }),
    leaseS: dhcp.leaseS,
    probeMs: dhcp.probeMs,
  }
}

/** Of RFC 4861 6.2.1: AdvValidLifetime, AdvPreferredLifetime. */
const VALID_S = 2_592_000
const PREFERRED_S = 604_800
const AUTONOMOUS_LENGTH = 64

export function advertiseSettings(
  advertise: AdvertiseConfig,
  config: InterfaceConfig,
  mac: Uint8Array,
  mtu: number,
): AdvertiseSettings {
  const given = advertise.prefixes.map(({ prefix, ...rest }): Prefix => {
    const { address, length } = networkOf(prefix)
    return { address, length, ...rest }
  })
  return {
    source: linkLocal(mac).address,
    mac: config.on.type === 'tun' ? null : mac,
    hopLimit: advertise.hopLimit,
    managed: advertise.managed,
    other: advertise.other,
    lifetimeS: advertise.lifetimeS,
    mtu: advertise.mtu || mtu,
    prefixes: given.length > 0 ? given : ownPrefixes(config, mac),
    dns: advertise.dns.map(wordsOfAddress),
    search: advertise.search,
    dnsLifetimeS: 3 * advertise.maxIntervalS,
    minIntervalMs: advertise.minIntervalS * 1000,
    maxIntervalMs: advertise.maxIntervalS * 1000,
  }
}

/** The subnets of the interface, each once. */
function ownPrefixes(config: InterfaceConfig, mac: Uint8Array): Prefix[] {
  const prefixes = new Map<string, Prefix>()
  for (const { family, address, length } of addressesOf(config, mac)) {
    if (family !== 6 || length === 128 || address[0] >>> 22 === 0x3fa) continue
    const network = masked(address, length)
    const autonomous = length === AUTONOMOUS_LENGTH
    const times = { validS: VALID_S, preferredS: PREFERRED_S }
    prefixes.set(`${network}/${length}`, { address: network, length, onLink: true, autonomous, ...times })
  }
  return [...prefixes.values()]
}
