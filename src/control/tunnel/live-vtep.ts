/**
 * A VTEP as the control thread holds it: its sockets, its tables in shared memory, the names of its remotes,
 * and the commands that make the worker's side.
 *
 *     socket             bound to                          for
 *     unicast            local address, VXLAN port         what comes; nothing is sent by it
 *     one per group      the group's address, same port    what comes to a group; with local 0.0.0.0 or :: the
 *                                                          unicast socket joins the groups itself
 *     senders            local address, a source port      what leaves; twice as many with df: inherit
 *     underlay TAP       nothing                           with underlay: tap, super-frames of TCP that leave
 */
import { isLinkLocal } from '../../config/address.ts'
import { netnsPath, netnsText } from '../../config/netns.ts'
import type { VtepConfig, VxlanConfig } from '../../config/types.ts'
import type { Command } from '../../engine/command.ts'
import { native } from '../../native.ts'
import type { TunnelAddress, VtepMemory, VtepSettings, VtepSockets } from '../../tunnel/tables.ts'
import { wordsOfAddress } from '../router/addressing.ts'
import type { RemoteNames } from './remote-names.ts'
import { type LiveUnderlay, underlayOf } from './underlay.ts'

/** Bytes of outer headers around an inner IP packet: IP, UDP, VXLAN, inner Ethernet. RFC 7348 section 5. */
export const OVERHEAD = { 4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14 } as const
const TAG = 4

/** Longest inner IP packet of a tunnel, from the longest packet of the underlay. */
export function innerMtu(outer: number, family: 4 | 6, innerVlan: VxlanConfig['innerVlan']): number {
  return outer - OVERHEAD[family] - (innerVlan === 'keep' ? TAG : 0)
}

export interface GroupSocket {
  /** null: the unicast socket is a member. */
  fd: number | null
  device: string
  /** Ports that use it, by 'switch.port'. */
  users: Set<string>
}

export interface LiveVtep {
  id: number
  name: string
  /** Port index that counts its datagrams. */
  index: number
  config: VtepConfig
  memory: VtepMemory
  unicast: number
  senders: number[]
  /** null: sockets send everything. */
  underlay: LiveUnderlay | null
  groups: Map<string, GroupSocket>
  /** The device that has the local address; '' = not known. */
  device: string
  /** Longest packet of the underlay where a remote's own is not known. */
  mtu: number
  names: RemoteNames
  /** Ports that stand on it, by 'switch.port'. */
  tunnels: Map<string, VxlanConfig>
}

/** RFC 7348 section 5 recommends the dynamic range for source ports. */
const FIRST_SOURCE = 49152
const SOURCES = 65536 - FIRST_SOURCE
/** Ports tried before the kernel may choose one. */
const ATTEMPTS = 32

export const anyLocal = ({ local }: VtepConfig): boolean => local === '0.0.0.0' || local === '::'
export const localText = (config: VtepConfig): string => (anyLocal(config) ? '' : config.local)

/** Opens what receives and what sends. Nothing stays open when one of them fails. */
export function openSockets(
  name: string,
  config: VtepConfig,
): Pick<LiveVtep, 'unicast' | 'senders' | 'underlay'> {
  const { family, port, device, df, udpChecksum, ttl, tos, sourcePorts } = config
  const netns = netnsPath(config.netns)
  const base = { netns, family, local: localText(config), device: device || undefined }
  const open: number[] = []
  try {
    const unicast = native.openUdp({ ...base, port, acceptZero: true }).fd
    open.push(unicast)
    const senders: number[] = []
    for (const set of df === 'inherit' ? (['unset', 'set'] as const) : [df]) {
      const look = { df: set, zeroChecksum: !udpChecksum, ttl: ttl || undefined, tos: Math.max(0, tos) }
      for (let i = 0; i < sourcePorts; i++) {
        const fd = openSender({ ...base, ...look, receive: false })
        open.push(fd)
        senders.push(fd)
      }
    }
    return { unicast, senders, underlay: underlayOf(config) }
  } catch (error) {
    for (const fd of open) native.close(fd)
    throw new Error(`VTEP ${name}: ${whyNot(config, error as NodeJS.ErrnoException)}`)
  }
}

function openSender(request: Parameters<typeof native.openUdp>[0]): number {
  for (let i = 0; i < ATTEMPTS; i++) {
    try {
      const port = FIRST_SOURCE + Math.floor(Math.random() * SOURCES)
      return native.openUdp({ ...request, port }).fd
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    }
  }
  return native.openUdp({ ...request, port: 0 }).fd
}

function whyNot(config: VtepConfig, { code, message }: NodeJS.ErrnoException): string {
  const where = netnsText(config.netns)
  if (code === 'EADDRINUSE') return `UDP port ${config.port} of ${config.local} in ${where} is taken`
  if (code === 'EADDRNOTAVAIL') return `nothing in ${where} has the address ${config.local}`
  if (code === 'ENODEV') return `there is no device ${config.device} in ${where}`
  return message
}

/** A member of a group: a socket of its own, bound to the group, or the unicast one. */
export function openGroup(vtep: LiveVtep, group: string, device: string): GroupSocket {
  const { config, unicast } = vtep
  const own = !anyLocal(config)
  const netns = netnsPath(config.netns)
  const { family, port } = config
  const fd = own ? native.openUdp({ netns, family, local: group, port, device, acceptZero: true }).fd : null
  try {
    native.joinGroup(fd ?? unicast, group, device)
    for (const sender of vtep.senders) native.groupSender(sender, device, config.groupTtl)
  } catch (error) {
    if (fd !== null) native.close(fd)
    throw new Error(`VTEP ${vtep.name}: group ${group} on ${device}: ${(error as Error).message}`)
  }
  return { fd, device, users: new Set() }
}

export function closeGroup(vtep: LiveVtep, group: string, socket: GroupSocket): void {
  if (socket.fd !== null) native.close(socket.fd)
  else native.leaveGroup(vtep.unicast, group, socket.device)
}

export function socketsOf(vtep: LiveVtep): VtepSockets {
  const members = [...vtep.groups.values()].flatMap(({ fd }) => (fd === null ? [] : [fd]))
  const receivers = [vtep.unicast, ...members]
  return {
    fds: [...receivers, ...vtep.senders],
    receivers: receivers.length,
    senders: vtep.config.sourcePorts,
    underlay: vtep.underlay?.fd,
  }
}

export function settingsOf({ config, mtu }: LiveVtep): VtepSettings {
  const { local, port, df, ttl, groupTtl, tos, strict } = config
  return { local: wordsOfAddress(local), port, mtu: config.mtu || mtu, df, ttl, groupTtl, tos, strict }
}

export function vtepCommand(vtep: LiveVtep): Command {
  const { id, name, index, memory } = vtep
  return { op: 'vtep-add', id, name, index, sockets: socketsOf(vtep), settings: settingsOf(vtep), memory }
}

/** @param device for an address that needs one */
export function tunnelAddress(vtep: LiveVtep, text: string, device = vtep.config.device): TunnelAddress {
  const scoped = isLinkLocal(text) || device !== vtep.config.device
  return { address: wordsOfAddress(text), scope: scoped ? deviceIndex(vtep, device) : 0 }
}

export function groupAddress(vtep: LiveVtep, group: string, device: string): TunnelAddress {
  return { address: wordsOfAddress(group), scope: deviceIndex(vtep, device) }
}

function deviceIndex(vtep: LiveVtep, device: string): number {
  const link = native.readLink(netnsPath(vtep.config.netns), device)
  if (!link) throw new Error(`VTEP ${vtep.name}: no device ${device} in ${netnsText(vtep.config.netns)}`)
  return link.index
}

/** What the underlay's device takes now. */
export function deviceMtu(vtep: LiveVtep, device = vtep.config.device || vtep.device): number {
  if (device === '') return 0
  try {
    return native.readLink(netnsPath(vtep.config.netns), device)?.mtu ?? 0
  } catch {
    // The namespace is gone.
    return 0
  }
}
