/**
 * Opening what a port stands on. The control thread opens and closes devices; the worker only uses
 * their descriptors. Whatever fails here leaves nothing behind.
 */
import { existsSync } from 'node:fs'
import { netnsPath } from '../config/netns.ts'
import type { DeviceConfig, OffloadConfig } from '../config/types.ts'
import { DeviceKind, native, type TapDevice } from '../native.ts'
import { Offload } from '../packet/layout.ts'
import { addressLines } from './iproute.ts'

export interface OpenDevice {
  fd: number
  kind: DeviceKind
  vnetSize: number
  offloads: number
  name: string
  /** Path of the namespace's file, '' = our own. */
  netns: string
  /** Identity of that namespace: inode of its file, so that one made anew under the name differs. */
  netnsInode: number
  mac: Uint8Array | null
  mtu: number
  /** What `ip` is still to do in its namespace (device-addresses.ts). */
  lines: string[]
}

type KernelDevice = Extract<DeviceConfig, { type: 'tap' | 'tun' | 'host' | 'packet' }>

export const OFFLOAD_NAMES: readonly (readonly [Offload, string])[] = [
  [Offload.Csum, 'checksum'],
  [Offload.Tso4, 'tso4'],
  [Offload.Tso6, 'tso6'],
  [Offload.Ecn, 'ecn'],
  [Offload.Uso, 'uso'],
]

export function offloadBits(o: OffloadConfig): number {
  if (!o.checksum) return 0
  let bits: number = Offload.Csum
  if (o.tso) bits |= Offload.Tso4 | Offload.Tso6 | Offload.Ecn
  if (o.uso) bits |= Offload.Uso
  return bits
}

/** A packet socket's kernel finishes and segments whatever the device cannot. */
const ALL_OFFLOADS = Offload.Csum | Offload.Tso4 | Offload.Tso6 | Offload.Ecn | Offload.Uso

export function openDevice(config: KernelDevice): OpenDevice {
  if (config.type === 'packet') return openPacketDevice(config.name, config.netns)
  const netns = netnsPath(config.netns)
  const tun = config.type === 'tun'
  if (netns !== '' && !existsSync(netns)) throw new Error(`no network namespace ${config.netns} (${netns})`)
  const persist = config.type !== 'host' && config.persist
  const tap: TapDevice = native.openTap({
    netns,
    name: config.name,
    tun,
    offloads: offloadBits(config.offload),
    persist,
    exclusive: !persist,
  })
  const fd = tap.fds[0]
  try {
    const mac = config.mac ? parseMac(config.mac) : undefined
    native.changeLink(netns, tap.name, { mac, mtu: config.mtu, up: true })
    const wanted = addressLines(tap.name, config.addresses, config.gateways)
    const lines = persist ? wanted.map((l) => l.replace(/ add /, ' replace ')) : wanted
    const link = native.readLink(netns, tap.name)
    const kind = tun ? DeviceKind.Tun : DeviceKind.Tap
    const { vnetSize, offloads, name } = tap
    return {
      fd,
      kind,
      vnetSize,
      offloads,
      name,
      netns,
      netnsInode: netnsInode(netns),
      mac: link?.mac ?? null,
      mtu: config.mtu,
      lines,
    }
  } catch (error) {
    native.close(fd)
    throw error
  }
}

function openPacketDevice(name: string, netnsName: string): OpenDevice {
  const netns = netnsPath(netnsName)
  const link = native.readLink(netns, name)
  if (!link) throw new Error(`no device ${name}${netnsName ? ` in namespace ${netnsName}` : ''}`)
  if (!link.up) native.changeLink(netns, name, { up: true })
  const { fd, vnetSize } = native.openPacket({ netns, name })
  const { mac, mtu } = link
  const kind = DeviceKind.Packet
  const at = { name, netns, netnsInode: netnsInode(netns) }
  return { fd, kind, vnetSize, offloads: ALL_OFFLOADS, ...at, mac, mtu, lines: [] }
}

/** Inode of a namespace's file; 0 for our own, -1 when it is gone. */
export function netnsInode(netns: string): number {
  if (netns === '') return 0
  return native.inode(netns)
}

export function parseMac(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16))
}

export function formatMac(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':')
}
