/**
 * Ports as the control thread holds them: the configuration, the device behind, and the command that
 * makes the worker's side.
 */
import { untaggedVid } from '../config/resolve.ts'
import type { PortConfig, SwitchConfig } from '../config/types.ts'
import type { Command, PortSettings, PortSpec } from '../engine/command.ts'
import type { WorkerLink } from '../engine/worker-link.ts'
import { type Link, native } from '../native.ts'
import { readCaptureFile } from './capture/pcapfile.ts'
import { netnsInode, type OpenDevice, openDevice, parseMac } from './devices.ts'
import { Exchange } from './exchange.ts'
import type { TunnelSpec } from './tunnel/inventory.ts'

export interface LiveSwitch {
  id: number
  name: string
  config: SwitchConfig
  fdb: SharedArrayBuffer
}

export interface LivePort {
  switch: string
  name: string
  index: number
  config: PortConfig
  /** Largest payload of a frame, bytes: the configuration's, or the device's own. */
  mtu: number
  /** What the tunnels of its switch made of it; null = nothing. */
  chosenMtu: number | null
  device: OpenDevice | null
  spec: PortSpec
  /** Why it is down; null = up. */
  down: string | null
  /** The library's end of a memory port. */
  exchange: Exchange | null
  /** Closes the device; safe to call twice. */
  close(): void
}

/** What a port may need beside its configuration. */
export interface PortNeeds {
  /** Index of the other end of a patch port. */
  peer: number
  tunnel: TunnelSpec | null
  link: WorkerLink
}

/** Opens what the port stands on. */
export function openLive(
  switchName: string,
  name: string,
  index: number,
  config: PortConfig,
  { peer, tunnel, link }: PortNeeds,
): LivePort {
  let { mtu } = config
  const full = `${switchName}.${name}`
  const port: LivePort = {
    switch: switchName,
    name,
    index,
    config,
    mtu,
    chosenMtu: null,
    device: null,
    spec: { type: 'patch', index, name: full, peer, mtu },
    down: null,
    exchange: null,
    close() {
      if (this.device) native.close(this.device.fd)
      this.device = null
    },
  }
  const wanted = config.device
  switch (wanted.type) {
    case 'tap':
    case 'tun':
    case 'host':
    case 'packet': {
      const device = openDevice(wanted)
      const { fd, kind, vnetSize, offloads } = device
      port.device = device
      mtu ||= device.mtu
      port.mtu = mtu
      port.spec = { type: 'device', index, name: full, kind, fd, vnetSize, offloads, mtu }
      break
    }
    case 'pcap': {
      const frames = readCaptureFile(wanted.file)
      port.spec = { type: 'pcap', index, name: full, mtu, frames, loop: wanted.loop, speed: wanted.speed }
      break
    }
    case 'memory': {
      const exchange = new Exchange(() => link.wake())
      port.exchange = exchange
      const { toPlane, fromPlane, signal } = exchange
      port.spec = { type: 'memory', index, name: full, mtu, toPlane, fromPlane, signal, noEthernet: false }
      break
    }
    case 'vxlan':
      if (tunnel) port.spec = { type: 'vxlan', index, name: full, mtu, ...tunnel }
      break
    case 'patch':
      break
  }
  return port
}

/** The command that makes the worker's side of a port. */
export function portCommand(port: LivePort, switchId: number): Command {
  return {
    op: 'port-add',
    switch: switchId,
    spec: port.spec,
    settings: portSettings(port),
    fault: port.config.fault,
  }
}

/** The largest payload in force. */
export function mtuOf({ chosenMtu, config, mtu }: LivePort): number {
  return chosenMtu ?? (config.mtu || mtu)
}

/** The switch knows too which tunnel a station is behind. */
function tunnelStatics({ device, vlan }: PortConfig): PortConfig['statics'] {
  const vid = untaggedVid(vlan)
  if (device.type !== 'vxlan' || vid === undefined) return []
  return device.statics.map(({ mac }) => ({ mac, vid }))
}

export function portSettings(port: LivePort): PortSettings {
  const { config } = port
  return {
    vlan: config.vlan,
    mtu: mtuOf(port),
    up: true,
    learning: config.learning,
    floodUnknown: config.flood.unknown,
    floodMulticast: config.flood.multicast,
    floodBroadcast: config.flood.broadcast,
    isolated: config.isolated,
    hairpin: config.hairpin,
    locked: config.locked,
    limit: config.limit,
    stormUnknown: config.storm.unknown,
    stormMulticast: config.storm.multicast,
    stormBroadcast: config.storm.broadcast,
    statics: [...config.statics, ...tunnelStatics(config)].map(({ mac, vid }) => [parseMac(mac), vid]),
    own: config.device.type === 'host' ? (port.device?.mac ?? null) : null,
  }
}

/** What the kernel says of the device now; null when it no longer exists or has none. */
export function readDevice(port: LivePort): Link | null {
  if (!port.device || namespaceGone(port)) return null
  try {
    return native.readLink(port.device.netns, port.device.name)
  } catch {
    // The namespace's file is gone, and the device with it.
    return null
  }
}

/**
 * True when the namespace a port's device is in was deleted, or made anew under the same name. Our
 * descriptor keeps the old one alive, invisible, until the port is closed: the kernel tells nobody.
 */
export function namespaceGone(port: LivePort): boolean {
  return port.device !== null && netnsInode(port.device.netns) !== port.device.netnsInode
}
