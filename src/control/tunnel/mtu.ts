/**
 * Which MTU the devices of a switch get that has tunnels: what the worst path of a tunnel takes, less its
 * overhead. It holds for devices and interfaces of routers whose MTU nobody said (`tunnelMtu`), in a VLAN
 * that a tunnel carries.
 *
 *     never more than      the MTU that somebody did say for another device of the switch, if above 1500
 *     never less than      1280 where there may be IPv6 (RFC 8200 section 5), 576 elsewhere (RFC 1122 3.3.3)
 *
 * Below that, packets that do not fit are answered one by one; see tunnel/.
 */
import type { PortVlan } from '../../switch/vlan.ts'
import { REMOTE_SHIFT, Remote, RemoteFlag } from '../../tunnel/tables.ts'
import type { Inventory } from '../inventory.ts'
import type { LivePort } from '../ports.ts'
import { innerMtu, type LiveVtep } from './live-vtep.ts'
import { addressOf } from './remote-rows.ts'

const ETHERNET = 1500
const LEAST_V6 = 1280
const LEAST_V4 = 576

/** What the paths of a VTEP take now: read once for all its tunnels, of which there may be a thousand. */
interface Paths {
  /** By address, in words. */
  mtus: Map<string, number>
  /** The least of those that were only learned. */
  learned: number
}

export class PathTable {
  private readonly vteps = new Map<LiveVtep, Paths>()

  of(vtep: LiveVtep): Paths {
    const known = this.vteps.get(vtep)
    if (known) return known
    const paths: Paths = { mtus: new Map(), learned: Number.POSITIVE_INFINITY }
    const words = vtep.memory.remotes
    for (let row = 0; row << REMOTE_SHIFT < words.length; row++) {
      const at = row << REMOTE_SHIFT
      if (words[at + Remote.Family] === 0 || (words[at + Remote.Flags] & RemoteFlag.Dead) !== 0) continue
      const mtu = words[at + Remote.Mtu] || defaultMtu(vtep)
      if ((words[at + Remote.Flags] & RemoteFlag.Named) === 0) paths.learned = Math.min(paths.learned, mtu)
      else paths.mtus.set(addressOf(words, row).join(' '), mtu)
    }
    this.vteps.set(vtep, paths)
    return paths
  }
}

/** Longest inner packet that every path of the tunnel takes. */
export function usableMtu(inventory: Inventory, port: LivePort, table = new PathTable()): number {
  const { device } = port.config
  if (device.type !== 'vxlan') return port.config.mtu
  const vtep = inventory.tunnels.vteps.get(device.vtep)
  if (!vtep) return ETHERNET
  const { remotes, statics, group } = inventory.tunnels.settings(vtep, device)
  const paths = table.of(vtep)
  let outer = device.accept === 'any' ? paths.learned : Number.POSITIVE_INFINITY
  for (const { address } of [...remotes, ...statics.map((s) => s.remote), ...(group ? [group] : [])])
    outer = Math.min(outer, paths.mtus.get(address.join(' ')) ?? outer)
  if (outer === Number.POSITIVE_INFINITY) outer = defaultMtu(vtep)
  return Math.min(port.config.mtu, innerMtu(outer, vtep.config.family, device.innerVlan))
}

export const defaultMtu = ({ config, mtu }: LiveVtep): number => config.mtu || mtu

export interface Choice {
  port: LivePort
  /** null: none; what it was opened with. */
  mtu: number | null
}

/** The MTU of each port of the switch that a tunnel may choose it for. */
export function chooseMtus(inventory: Inventory, switchName: string, table = new PathTable()): Choice[] {
  const own = [...inventory.ports.values()].filter((p) => p.switch === switchName)
  if (!own.some((p) => isChosen(inventory, p))) return []
  const tunnels = own.filter((p) => p.config.device.type === 'vxlan' && !p.down)
  const usable = new Map(tunnels.map((p) => [p, usableMtu(inventory, p, table)]))
  const fixed = own.filter((p) => !isChosen(inventory, p)).flatMap((p) => fixedMtu(inventory, p))
  const bound = Math.max(ETHERNET, Math.min(...fixed))
  return own
    .filter((p) => isChosen(inventory, p))
    .map((port) => {
      const reached = tunnels.filter((t) => meet(port.config.vlan, t.config.vlan))
      if (reached.length === 0) return { port, mtu: null }
      const least = mayHaveV6(inventory, port) ? LEAST_V6 : LEAST_V4
      const mtu = Math.min(bound, ...reached.map((t) => usable.get(t)!))
      return { port, mtu: Math.max(least, mtu) }
    })
}

function interfaceOf(inventory: Inventory, port: LivePort) {
  const { device } = port.config
  if (device.type !== 'patch') return undefined
  return inventory.routing.routers.get(device.switch)?.interfaces.get(device.port)
}

function isChosen(inventory: Inventory, port: LivePort): boolean {
  return port.config.tunnelMtu === true || interfaceOf(inventory, port)?.config.tunnelMtu === true
}

/** What bounds the others. Behind a patch to another switch nobody knows. */
function fixedMtu(inventory: Inventory, port: LivePort): number[] {
  const { device, mtu } = port.config
  if (device.type === 'vxlan' || device.type === 'memory' || device.type === 'pcap') return []
  if (device.type === 'patch' && !inventory.routing.routers.has(device.switch)) return [ETHERNET]
  return [mtu || port.mtu]
}

function mayHaveV6(inventory: Inventory, port: LivePort): boolean {
  const { device } = port.config
  const ours = interfaceOf(inventory, port)?.config.addresses
  const addresses = ours ?? ('addresses' in device ? device.addresses : [])
  return addresses.length === 0 || addresses.some((a) => a.includes(':'))
}

/** Whether a frame can be in a VLAN of both. */
export function meet(a: PortVlan, b: PortVlan): boolean {
  if (a.mode === 'unaware' || b.mode === 'unaware') return true
  const vids = new Set(vidsOf(a))
  return vidsOf(b).some((vid) => vids.has(vid))
}

function vidsOf(vlan: PortVlan): number[] {
  if (vlan.mode === 'unaware') return []
  if (vlan.mode !== 'trunk') return [vlan.vid]
  return vlan.native === undefined ? vlan.allowed : [...vlan.allowed, vlan.native]
}
