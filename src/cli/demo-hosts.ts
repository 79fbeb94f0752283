/**
 * The hosts of a configuration, as the demo sees them: the TAPs that it puts into namespaces. Two of
 * them shall reach each other when they are in one switch, one access VLAN and one subnet.
 */
import type { FabricConfig, Netns } from '../config/types.ts'

export interface Host {
  /** 'switch.port'. */
  port: string
  netns: Netns
  addresses: Subnet[]
  /** Hosts of different switches or access VLANs do not hear each other. */
  segment: string
}

interface Subnet {
  address: string
  family: 4 | 6
  /** What the address has in common with its neighbours, as text. */
  subnet: string
}

/** The TAPs that live in namespaces and have addresses. */
export function hostsOf(config: FabricConfig): Host[] {
  const hosts: Host[] = []
  for (const [name, sw] of Object.entries(config.switches)) {
    for (const [port, { device, vlan }] of Object.entries(sw.ports)) {
      if (device.type !== 'tap' || device.netns === '' || device.addresses.length === 0) continue
      const vid = vlan.mode === 'access' ? vlan.vid : vlan.mode === 'trunk' ? (vlan.native ?? 'none') : 0
      const addresses = device.addresses.map(subnetOf)
      hosts.push({ port: `${name}.${port}`, netns: device.netns, addresses, segment: `${name}/${vid}` })
    }
  }
  return hosts
}

/** Every ordered pair that shares a segment and a subnet, per address of the target. */
export function pairsOf(hosts: Host[]): { from: Host; to: Host; address: string }[] {
  return hosts.flatMap((from) =>
    hosts
      .filter((to) => to !== from && to.segment === from.segment)
      .flatMap((to) =>
        to.addresses
          .filter((a) => from.addresses.some((b) => b.subnet === a.subnet))
          .map(({ address }) => ({ from, to, address })),
      ),
  )
}

/** '10.0.0.2/24' and '10.0.0.9/24' have the same `subnet`. */
export function subnetOf(cidr: string): Subnet {
  const [address, length] = cidr.split('/')
  const family = address.includes(':') ? 6 : 4
  const bits = family === 4 ? bits4(address) : bits6(address)
  return { address, family, subnet: `${family}/${length}/${bits.slice(0, Number(length))}` }
}

const binary = (n: number, width: number): string => n.toString(2).padStart(width, '0')

function bits4(address: string): string {
  return address
    .split('.')
    .map((part) => binary(Number(part), 8))
    .join('')
}

function bits6(address: string): string {
  const [left, right] = address.split('::').map((side) => (side === '' ? [] : side.split(':')))
  const tail = right ?? []
  const zeros = right === undefined ? 0 : 8 - left.length - tail.length
  const groups = [...left, ...new Array<string>(zeros).fill('0'), ...tail]
  return groups.map((group) => binary(Number.parseInt(group, 16), 16)).join('')
}
