/**
 * From what a router's configuration says to words: interface settings for the worker, routes for the
 * tables. What Linux adds by itself is added here: local and broadcast routes of each address, the
 * connected subnet, a link-local address (RFC 4291 appendix A).
 */
import { ipBits } from '../../config/address.ts'
import type { InterfaceConfig, PolicyConfig, RouteConfig } from '../../config/types.ts'
import type { InterfaceSettings } from '../../engine/command.ts'
import { IfFlag } from '../../router/interfaces.ts'
import type { RouteEntry } from '../../router/route-writer.ts'
import { DEFAULT_POLICIES, type Policy, RouteKind, TABLE_LOCAL, TABLE_MAIN } from '../../router/routes.ts'
import { addrText as text4 } from '../../wire/ipv4.ts'
import { addrText as text6 } from '../../wire/ipv6.ts'

/** One word, or four, most significant first. */
export function wordsOfAddress(address: string): number[] {
  const bits = ipBits(address)
  if (!address.includes(':')) return [Number(bits) | 0]
  return [96n, 64n, 32n, 0n].map((shift) => Number((bits >> shift) & 0xffffffffn) | 0)
}

export function addressText(words: readonly number[]): string {
  return words.length === 1 ? text4(words[0]) : text6(words[0], words[1], words[2], words[3])
}

export interface Network {
  family: 4 | 6
  /** As written, with host bits. */
  address: number[]
  length: number
}

export function networkOf(cidr: string): Network {
  const [address, length] = cidr.split('/')
  return { family: address.includes(':') ? 6 : 4, address: wordsOfAddress(address), length: Number(length) }
}

/** The network's own address: host bits cleared, or set for the broadcast address. */
export function masked(words: number[], length: number, ones = false): number[] {
  return words.map((word, i) => {
    const bits = Math.max(0, Math.min(32, length - 32 * i))
    const mask = bits === 0 ? 0 : -1 << (32 - bits)
    return ones ? word | ~mask : word & mask
  })
}

/** fe80::/64 and the modified EUI-64 of the MAC. */
export function linkLocal(mac: Uint8Array): Network {
  const hi = ((mac[0] ^ 2) << 24) | (mac[1] << 16) | (mac[2] << 8) | 0xff
  const lo = (0xfe << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]
  return { family: 6, address: [0xfe800000 | 0, 0, hi, lo], length: 64 }
}

/** All addresses of an interface; the link-local one first, when there is IPv6. */
export function addressesOf(config: InterfaceConfig, mac: Uint8Array): Network[] {
  const own = config.addresses.map(networkOf)
  return own.some((a) => a.family === 6) ? [linkLocal(mac), ...own] : own
}

export function interfaceSettings(
  name: string,
  config: InterfaceConfig,
  port: number,
  mac: Uint8Array,
  mtu: number,
  addresses: InterfaceSettings['addresses'],
): InterfaceSettings {
  let flags: number = IfFlag.Up
  if (config.on.type === 'tun') flags |= IfFlag.NoEthernet
  if (config.rpFilter === 'strict') flags |= IfFlag.RpStrict
  if (config.rpFilter === 'loose') flags |= IfFlag.RpLoose
  if (config.clampMss) flags |= IfFlag.ClampMss
  if (config.dhcp) flags |= IfFlag.Dhcp
  if (config.advertise) flags |= IfFlag.Advertise
  return { name, port, mac, mtu, flags, addresses }
}

/** What an interface's addresses put into the tables. */
export function connectedRoutes(outIf: number, addresses: Network[]): RouteEntry[] {
  const hops = [{ outIf, gateway: null, weight: 1 }]
  const routes: RouteEntry[] = []
  for (const { family, address, length } of addresses) {
    const width = family === 4 ? 32 : 128
    // Of IPv6 the subnet's route prefers none, as in Linux: router/source.ts.
    const base = { family, metric: 0, hops, src: family === 4 ? address : null }
    routes.push({ ...base, table: TABLE_LOCAL, kind: RouteKind.Local, address, length: width })
    if (length < width) {
      const network = masked(address, length)
      routes.push({ ...base, table: TABLE_MAIN, kind: RouteKind.Unicast, address: network, length })
      if (family === 4 && length < 31) {
        const last = masked(address, length, true)
        routes.push({ ...base, table: TABLE_LOCAL, kind: RouteKind.Broadcast, address: last, length: 32 })
      }
    }
  }
  return routes
}

const KINDS: Record<RouteConfig['kind'], RouteKind> = {
  unicast: RouteKind.Unicast,
  blackhole: RouteKind.Blackhole,
  unreachable: RouteKind.Unreachable,
  prohibit: RouteKind.Prohibit,
  throw: RouteKind.Throw,
}

/** @param indexOf interface index by name */
export function configuredRoute(route: RouteConfig, indexOf: (name: string) => number): RouteEntry {
  const to = networkOf(route.to)
  return {
    family: to.family,
    address: masked(to.address, to.length),
    length: to.length,
    table: route.table,
    kind: KINDS[route.kind],
    metric: route.metric,
    src: route.src === '' ? null : wordsOfAddress(route.src),
    hops: route.hops.map((hop) => ({
      outIf: indexOf(hop.interface),
      gateway: hop.via === '' ? null : wordsOfAddress(hop.via),
      weight: hop.weight,
    })),
  }
}

export function policiesOf(configs: PolicyConfig[], indexOf: (name: string) => number): Policy[] {
  const own = configs.map((p): Policy => {
    const from = p.from === '' ? null : networkOf(p.from)
    const to = p.to === '' ? null : networkOf(p.to)
    return {
      priority: p.priority,
      table: p.table,
      family: from?.family ?? to?.family ?? null,
      from: from && { address: masked(from.address, from.length), length: from.length },
      to: to && { address: masked(to.address, to.length), length: to.length },
      inIf: p.interface === '' ? null : indexOf(p.interface),
      // Marks are 32 bits; the rows hold them signed.
      mark: p.mark && { value: p.mark.value | 0, mask: p.mark.mask | 0 },
    }
  })
  return [...DEFAULT_POLICIES, ...own]
}

/** A random address of our own (locally administered, unicast). */
export function randomMac(): Uint8Array {
  const mac = crypto.getRandomValues(new Uint8Array(6))
  mac[0] = (mac[0] & 0xfc) | 2
  return mac
}
