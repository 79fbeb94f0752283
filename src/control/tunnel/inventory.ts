/**
 * The VTEPs of a fabric, and what its tunnels (VXLAN ports) need of them: the single steps that change them.
 * inventory.ts owns the ports; this file is asked by it before one opens, and after it closed.
 */
import { isAddress } from '../../config/address.ts'
import type { VtepConfig, VxlanConfig } from '../../config/types.ts'
import type { Command, PortSpec } from '../../engine/command.ts'
import type { WorkerLink } from '../../engine/worker-link.ts'
import { native } from '../../native.ts'
import { type TunnelAddress, type VxlanSettings, vtepMemory } from '../../tunnel/tables.ts'
import { parseMac } from '../devices.ts'
import type { Inventory } from '../inventory.ts'
import { deviceOf } from '../iproute.ts'
import { wordsOfAddress } from '../router/addressing.ts'
import {
  anyLocal,
  closeGroup,
  deviceMtu,
  groupAddress,
  type LiveVtep,
  openGroup,
  openSockets,
  settingsOf,
  socketsOf,
  tunnelAddress,
  vtepCommand,
} from './live-vtep.ts'
import { type Lookup, RemoteNames, systemLookup } from './remote-names.ts'

/** (IP address, MAC) pairs that ARP and ND suppression remembers, for each VTEP. */
const BINDINGS = 16384
/** Where nothing tells better. */
const DEFAULT_MTU = 1500
/** Bytes of table from which huge pages pay. */
const HUGE_FROM = 2 << 20

export interface TunnelNews {
  /** The address of a name changed; `readdress` puts it in force. */
  address(vtep: LiveVtep, name: string, address: string, was: string | null): void
  unknown(vtep: LiveVtep, name: string, reason: string): void
}

export type TunnelSpec = Pick<Extract<PortSpec, { type: 'vxlan' }>, 'vtep' | 'vni' | 'settings'>

export class VtepInventory {
  readonly vteps = new Map<string, LiveVtep>()
  /** Who hears of names; set by the fabric. */
  news: TunnelNews = { address() {}, unknown() {} }
  private readonly inventory: Inventory
  private readonly link: WorkerLink
  private readonly lookup: Lookup

  constructor(inventory: Inventory, link: WorkerLink, lookup: Lookup = systemLookup) {
    this.lookup = lookup
    this.inventory = inventory
    this.link = link
  }

  async add(name: string, config: VtepConfig): Promise<void> {
    const { maxRemotes, limit, family, resolveS } = config
    const seed = (Math.random() * 0x100000000) | 0
    const names = new RemoteNames(
      family,
      resolveS * 1000,
      {
        changed: (host, address, was) => this.news.address(vtep, host, address, was),
        failed: (host, reason) => this.news.unknown(vtep, host, reason),
      },
      this.lookup,
    )
    const vtep: LiveVtep = {
      id: this.inventory.freeStage(),
      name,
      index: this.inventory.indices.of(`vtep ${name}`),
      config,
      memory: vtepMemory(maxRemotes, limit, BINDINGS, seed),
      ...this.sockets(name, config),
      groups: new Map(),
      device: anyLocal(config) ? '' : await deviceOf(config.netns, config.local),
      mtu: DEFAULT_MTU,
      names,
      tunnels: new Map(),
    }
    vtep.mtu = deviceMtu(vtep) || DEFAULT_MTU
    for (const table of [vtep.memory.remotes.buffer, vtep.memory.counters.buffer, vtep.memory.addresses])
      if (table.byteLength >= HUGE_FROM) native.hugePages(new Uint8Array(table))
    try {
      await this.link.send(vtepCommand(vtep))
    } catch (error) {
      this.close(vtep)
      this.inventory.indices.release(`vtep ${name}`)
      throw error
    }
    this.vteps.set(name, vtep)
  }

  private sockets(name: string, config: VtepConfig): ReturnType<typeof openSockets> {
    try {
      return openSockets(name, config)
    } catch (error) {
      this.inventory.indices.release(`vtep ${name}`)
      throw error
    }
  }

  /** Everything but what its sockets are made of. */
  async set(name: string, config: VtepConfig): Promise<void> {
    const vtep = this.need(name)
    vtep.config = config
    vtep.names.intervalMs = config.resolveS * 1000
    for (const { device } of vtep.groups.values())
      for (const sender of vtep.senders) native.groupSender(sender, device, config.groupTtl)
    await this.update(vtep)
  }

  async remove(name: string): Promise<void> {
    const vtep = this.vteps.get(name)
    if (!vtep) return
    await this.link.send({ op: 'vtep-remove', id: vtep.id })
    this.vteps.delete(name)
    this.inventory.indices.release(`vtep ${name}`)
    this.close(vtep)
  }

  private close(vtep: LiveVtep): void {
    vtep.names.close()
    for (const { fd } of vtep.groups.values()) if (fd !== null) native.close(fd)
    for (const fd of [vtep.unicast, ...vtep.senders]) native.close(fd)
    if (vtep.underlay) native.close(vtep.underlay.fd)
  }

  private update(vtep: LiveVtep): Promise<void> {
    return this.link.send({
      op: 'vtep-set',
      id: vtep.id,
      sockets: socketsOf(vtep),
      settings: settingsOf(vtep),
    })
  }

  /** From now on the sockets send everything. */
  async leaveUnderlay(vtep: LiveVtep): Promise<void> {
    const { underlay } = vtep
    if (underlay === null) return
    vtep.underlay = null
    await this.update(vtep)
    native.close(underlay.fd)
  }

  /** The underlay's device has another MTU now, or an address moved to another device. */
  async refreshMtu(vtep: LiveVtep): Promise<boolean> {
    if (!anyLocal(vtep.config) && deviceMtu(vtep) === 0)
      vtep.device = await deviceOf(vtep.config.netns, vtep.config.local)
    const mtu = deviceMtu(vtep) || DEFAULT_MTU
    if (mtu === vtep.mtu) return false
    vtep.mtu = mtu
    await this.update(vtep)
    return true
  }

  /** Makes ready what a tunnel needs before its port opens. @param key 'switch.port' */
  async enter(key: string, config: VxlanConfig): Promise<TunnelSpec> {
    const vtep = this.need(config.vtep)
    for (const [other, { vni }] of vtep.tunnels)
      if (vni === config.vni && other !== key) throw new Error(`VNI ${vni} is that of port ${other} already`)
    vtep.tunnels.set(key, config)
    try {
      if (config.group !== '') await this.join(vtep, key, config)
      await vtep.names.want(namesOf(vtep))
      return { vtep: vtep.id, vni: config.vni, settings: this.settings(vtep, config) }
    } catch (error) {
      await this.leave(key, config)
      throw error
    }
  }

  /** Its port is closed. */
  async leave(key: string, config: VxlanConfig): Promise<void> {
    const vtep = this.vteps.get(config.vtep)
    if (!vtep?.tunnels.delete(key)) return
    await vtep.names.want(namesOf(vtep))
    const socket = vtep.groups.get(config.group)
    if (!socket?.users.delete(key) || socket.users.size > 0) return
    vtep.groups.delete(config.group)
    await this.update(vtep)
    closeGroup(vtep, config.group, socket)
  }

  private async join(vtep: LiveVtep, key: string, { group, groupDevice }: VxlanConfig): Promise<void> {
    const device = groupDevice || vtep.config.device
    const known = vtep.groups.get(group)
    if (known && known.device !== device)
      throw new Error(
        `VTEP ${vtep.name}: group ${group} is joined on ${known.device} already, not on ${device}`,
      )
    const socket = known ?? openGroup(vtep, group, device)
    socket.users.add(key)
    if (known) return
    vtep.groups.set(group, socket)
    await this.update(vtep)
  }

  /** What changes while a tunnel is open. */
  async setTunnel(key: string, index: number, config: VxlanConfig): Promise<void> {
    const vtep = this.need(config.vtep)
    vtep.tunnels.set(key, config)
    await vtep.names.want(namesOf(vtep))
    await this.link.send({ op: 'vxlan-set', index, settings: this.settings(vtep, config) })
  }

  /** Tells the worker what the names stand for now. */
  async readdress(vtep: LiveVtep): Promise<void> {
    if (this.vteps.get(vtep.name) !== vtep) return
    for (const [key, config] of vtep.tunnels) {
      const port = this.inventory.ports.get(key)
      if (!port || port.down || namesIn(config).length === 0) continue
      await this.link.send({ op: 'vxlan-set', index: port.index, settings: this.settings(vtep, config) })
    }
  }

  /** Names that are not known (yet) are left out; so is one that leads back to us. */
  settings(vtep: LiveVtep, config: VxlanConfig): VxlanSettings {
    const { learning, limit, agingS, suppress, clampMss, innerVlan, accept } = config
    const addressOf = (remote: string): TunnelAddress | null => {
      const text = isAddress(remote) ? remote : vtep.names.address(remote)
      return text === null || text === vtep.config.local ? null : tunnelAddress(vtep, text)
    }
    const remotes = new Map<string, TunnelAddress>()
    for (const remote of config.remotes) {
      const address = addressOf(remote)
      // Two names may stand for one remote: it gets one copy of a flood.
      if (address) remotes.set(address.address.join(' '), address)
    }
    const statics = config.statics.flatMap(({ mac, remote, addresses }) => {
      const at = addressOf(remote)
      return at ? [{ mac: parseMac(mac), remote: at, addresses: addresses.map(wordsOfAddress) }] : []
    })
    const device = config.groupDevice || vtep.config.device
    const group = config.group === '' ? null : groupAddress(vtep, config.group, device)
    return {
      remotes: [...remotes.values()],
      group,
      statics,
      learning,
      limit,
      agingS,
      suppress,
      clampMss,
      innerVlan,
      accept,
    }
  }

  private need(name: string): LiveVtep {
    const vtep = this.vteps.get(name)
    if (!vtep) throw new Error(`no VTEP ${name}`)
    return vtep
  }

  /** All of them once more, for a worker that took over; their ports follow. */
  *commands(): Generator<Command> {
    for (const vtep of this.vteps.values()) yield vtepCommand(vtep)
  }

  /** The worker has stopped. */
  clear(): void {
    for (const vtep of this.vteps.values()) this.close(vtep)
    this.vteps.clear()
  }
}

function namesIn({ remotes, statics }: VxlanConfig): string[] {
  return [...remotes, ...statics.map((s) => s.remote)].filter((remote) => !isAddress(remote))
}

function namesOf(vtep: LiveVtep): Set<string> {
  return new Set([...vtep.tunnels.values()].flatMap(namesIn))
}
