/** From the keys of a device, checked, to its DeviceConfig. */
import { resolve as resolvePath } from 'node:path'
import type { PortKeys } from './schema.ts'
import type { DeviceConfig } from './types.ts'
import { resolveVxlan } from './vtep-resolve.ts'

const DEFAULT_MTU = 1500

export type DeviceKeys = Partial<
  Pick<PortKeys, 'tap' | 'tun' | 'host' | 'packet' | 'patch' | 'vxlan' | 'pcap' | 'memory'>
>

/**
 * @param owner the port's name: a host device may take its name from it
 * @param directory that relative paths start from
 */
export function resolveDevice(owner: string, keys: DeviceKeys, directory = '/'): DeviceConfig {
  const { tap, tun, host, packet, patch, vxlan, pcap } = keys
  const kernel = tap ?? tun
  if (kernel) {
    const { offload, persist, queues } = kernel
    return { type: tap ? 'tap' : 'tun', ...link(kernel.name, kernel.netns, kernel), offload, persist, queues }
  }
  if (host) return { type: 'host', ...link(host.name ?? owner, '', host), offload: host.offload }
  if (packet) return { type: 'packet', name: packet.name, netns: packet.netns }
  if (patch) return { type: 'patch', switch: patch.switch, port: patch.port }
  if (vxlan) return resolveVxlan(vxlan)
  if (pcap)
    return { type: 'pcap', file: resolvePath(directory, pcap.file), loop: pcap.loop, speed: pcap.speed }
  return { type: 'memory' }
}

function link(name: string, netns: string, keys: NonNullable<PortKeys['host']>) {
  const addresses = keys.addresses.map((a) => a.text)
  const { gateway: gateways, mac, mtu = DEFAULT_MTU } = keys
  return { name, netns, addresses, gateways, ...(mac === undefined ? {} : { mac }), mtu }
}
