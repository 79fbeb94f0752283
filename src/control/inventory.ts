/**
 * What a fabric has made, and the single steps that change it. A step is done when it is in force; one
 * that fails changes nothing. Which steps, in which order, and what to do when one fails is fabric.ts's.
 *
 *     namespace    created with iproute2, removed if we created it
 *     switch       a table in shared memory, told to the worker
 *     port         a device opened here, told to the worker; a patch's two ends know each other's index
 */

import { close } from 'node:fs'
import { isDeepStrictEqual, promisify } from 'node:util'
import type { FabricConfig, PortConfig, SwitchConfig } from '../config/types.ts'
import type { Command } from '../engine/command.ts'
import type { WorkerLink } from '../engine/worker-link.ts'
import { native } from '../native.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import { HashTable } from '../table/hash.ts'
import { DeviceAddresses } from './device-addresses.ts'
import { type FabricOptions, type Log, silent } from './fabric-options.ts'
import { Namespaces } from './namespaces.ts'
import { PortIndices } from './port-indices.ts'
import { type LivePort, type LiveSwitch, openLive, portCommand, portSettings } from './ports.ts'
import { RouterInventory } from './router/inventory.ts'
import type { FdbFilter } from './show/view.ts'
import { VtepInventory } from './tunnel/inventory.ts'

const closeDevice = promisify(close)

/** Bytes of table from which huge pages pay: below, it is in the cache anyway, and they cost memory. */
const HUGE_FROM = 8 << 20

export class Inventory {
  readonly memory: PlaneMemory
  readonly switches = new Map<string, LiveSwitch>()
  /** By 'switch.port'. */
  readonly ports = new Map<string, LivePort>()
  readonly namespaces: Namespaces
  readonly routing: RouterInventory
  readonly tunnels: VtepInventory
  /** What devices are still to get: flush it when all steps are done. */
  readonly addresses = new DeviceAddresses()
  private readonly link: WorkerLink
  readonly indices: PortIndices

  constructor(memory: PlaneMemory, link: WorkerLink, log: Log = silent, options: FabricOptions = {}) {
    this.namespaces = new Namespaces(options.created)
    this.memory = memory
    this.link = link
    this.indices = new PortIndices(memory.counters)
    this.routing = new RouterInventory(this, link, log)
    this.tunnels = new VtepInventory(this, link, options.lookup)
  }

  port(switchName: string, name: string): LivePort | undefined {
    return this.ports.get(`${switchName}.${name}`)
  }

  /** A port by 'switch.port', or by its own name when only one switch has it. */
  find(name: string): LivePort {
    const { ports } = this
    const exact = ports.get(name)
    if (exact) return exact
    const found = [...ports.values()].filter((p) => p.name === name)
    if (found.length === 1) return found[0]
    if (found.length === 0)
      throw new Error(`no port ${name}; there are ${[...ports.keys()].join(', ') || 'none'}`)
    throw new Error(
      `port ${name} is in ${found.map((p) => p.switch).join(' and ')}: say ${found[0].switch}.${name}`,
    )
  }

  portAt(index: number): LivePort | undefined {
    for (const port of this.ports.values()) if (port.index === index) return port
    return undefined
  }

  /** The worker has something: for a memory port, or for a router's queues. */
  frames(index: number): void {
    const port = this.portAt(index)
    if (port) port.exchange?.drain()
    else this.routing.frames(index)
  }

  async setPoll(policy: FabricConfig['poll']): Promise<void> {
    await this.link.send({ op: 'poll', policy })
  }

  async removeSwitch(name: string): Promise<void> {
    const sw = this.switches.get(name)
    if (sw) await this.link.send({ op: 'switch-remove', id: sw.id })
    this.switches.delete(name)
  }

  async addSwitch(name: string, config: SwitchConfig): Promise<void> {
    if (this.routing.routers.has(name)) throw new Error(`switch ${name}: a router has this name`)
    const id = this.freeStage()
    const seed = (Math.random() * 0x100000000) | 0
    const sw: LiveSwitch = { id, name, config, fdb: HashTable.memory(config.limit, seed) }
    if (sw.fdb.byteLength >= HUGE_FROM) native.hugePages(new Uint8Array(sw.fdb))
    await this.link.send(switchCommand(sw))
    this.switches.set(name, sw)
  }

  async setSwitch(name: string, config: SwitchConfig): Promise<void> {
    const sw = this.switches.get(name)
    if (!sw) throw new Error(`no switch ${name}`)
    if (config.limit > new HashTable(sw.fdb).limit) {
      throw new Error(
        `switch ${name}: limit ${config.limit} needs a larger table; it can grow only by a restart`,
      )
    }
    const { agingS, limit, reservedOpen } = config
    await this.link.send({ op: 'switch-set', id: sw.id, settings: { agingS, limit, reservedOpen } })
    // Addresses learned without VLANs are of no use with them, nor the other way round.
    if (config.vlanAware !== sw.config.vlanAware) {
      await this.link.send({ op: 'flush', switch: sw.id, port: -1, vid: -1 })
    }
    sw.config = config
  }

  /** Switches forget what they learned. */
  async flush(filter: FdbFilter): Promise<void> {
    const port = filter.port === undefined ? undefined : this.find(filter.port)
    for (const sw of this.switches.values()) {
      if (filter.switch !== undefined && sw.name !== filter.switch) continue
      if (port && port.switch !== sw.name) continue
      await this.link.send({ op: 'flush', switch: sw.id, port: port?.index ?? -1, vid: filter.vlan ?? -1 })
    }
  }

  /** An id no switch, router or VTEP has. */
  freeStage(): number {
    const { routing, tunnels } = this
    const all = [...this.switches.values(), ...routing.routers.values(), ...tunnels.vteps.values()]
    const used = new Set(all.map((stage) => stage.id))
    let id = 0
    while (used.has(id)) id++
    return id
  }

  private stageId(name: string): number {
    const stage = this.switches.get(name) ?? this.routing.routers.get(name)
    if (!stage) throw new Error(`no switch ${name}`)
    return stage.id
  }

  async addPort(switchName: string, name: string, config: PortConfig): Promise<void> {
    const stage = this.stageId(switchName)
    const key = `${switchName}.${name}`
    const index = this.indices.of(key)
    const { device } = config
    const peer = device.type === 'patch' ? this.indices.of(`${device.switch}.${device.port}`) : -1
    let port: LivePort
    try {
      const tunnel = device.type === 'vxlan' ? await this.tunnels.enter(key, device) : null
      port = openLive(switchName, name, index, config, { peer, tunnel, link: this.link })
    } catch (error) {
      this.indices.release(key)
      throw error
    }
    try {
      await this.link.send(portCommand(port, stage))
    } catch (error) {
      port.close()
      if (device.type === 'vxlan') await this.tunnels.leave(key, device)
      throw new Error(`port ${key}: ${(error as Error).message}`)
    }
    this.ports.set(key, port)
    if (port.device) {
      const { netns } = device as { netns: string }
      this.addresses.add(key, netns, port.device.lines)
    }
  }

  /** Opens a port once more whose device was lost. It stays there, down, when that fails. */
  async reopen(port: LivePort): Promise<void> {
    await this.removePort(port.switch, port.name)
    try {
      await this.addPort(port.switch, port.name, port.config)
    } catch (error) {
      this.ports.set(`${port.switch}.${port.name}`, port)
      this.indices.keep(`${port.switch}.${port.name}`, port.index)
      throw error
    }
  }

  /** @param mtu bytes, 0 = the device's own */
  async setMtu(switchName: string, name: string, mtu: number): Promise<void> {
    const port = this.port(switchName, name)
    if (port && port.config.mtu !== mtu) await this.setPort(switchName, name, { ...port.config, mtu })
  }

  /** The tunnels of its switch make something else of a port's MTU. @param mtu null = as it was opened */
  async chooseMtu(port: LivePort, mtu: number | null): Promise<void> {
    if (port.chosenMtu === mtu || port.down) return
    const { device } = port.config
    port.chosenMtu = mtu
    if (device.type === 'tap' || device.type === 'host')
      native.changeLink(port.device!.netns, port.device!.name, { mtu: mtu ?? device.mtu })
    await this.link.send({ op: 'port-set', index: port.index, settings: portSettings(port) })
    if (device.type === 'patch') await this.routing.chooseMtu(device.switch, device.port, mtu)
  }

  async setPort(switchName: string, name: string, config: PortConfig): Promise<void> {
    const port = this.ports.get(`${switchName}.${name}`)
    if (!port) throw new Error(`no port ${switchName}.${name}`)
    if (!config.tunnelMtu && port.config.tunnelMtu) await this.chooseMtu(port, null)
    port.config = config
    const { device } = config
    if (device.type === 'vxlan') await this.tunnels.setTunnel(`${switchName}.${name}`, port.index, device)
    if (!port.down) await this.link.send({ op: 'port-set', index: port.index, settings: portSettings(port) })
  }

  async removePort(switchName: string, name: string): Promise<void> {
    const key = `${switchName}.${name}`
    const port = this.ports.get(key)
    if (!port) return
    await this.link.send({ op: 'port-remove', index: port.index })
    this.indices.release(key)
    this.ports.delete(key)
    this.addresses.forget(key)
    port.close()
    if (port.config.device.type === 'vxlan') await this.tunnels.leave(key, port.config.device)
  }

  /** All of it once more, for a worker that took over. */
  *commands(): Generator<Command> {
    for (const sw of this.switches.values()) yield switchCommand(sw)
    yield* this.routing.commands()
    yield* this.tunnels.commands()
    for (const port of this.ports.values()) {
      if (!port.down) yield portCommand(port, this.stageId(port.switch))
    }
    yield* this.routing.interfaceCommands()
  }

  /** What is really there, told as `base` tells it where both have it. */
  config(base: FabricConfig): FabricConfig {
    const switches: FabricConfig['switches'] = {}
    for (const sw of this.switches.values()) switches[sw.name] = { ...sw.config, ports: {} }
    for (const port of this.ports.values()) {
      // A router's ports belong to its interfaces, on either side.
      const own = port.config.device.type === 'patch' && this.routing.routers.has(port.config.device.switch)
      if (port.switch in switches && !own) switches[port.switch].ports[port.name] = port.config
    }
    const routers = this.routing.config(base.routers)
    const vteps = Object.fromEntries([...this.tunnels.vteps.values()].map((v) => [v.name, v.config]))
    return { ...base, namespaces: [...this.namespaces.created], switches, routers, vteps }
  }

  /** Ports whose device was lost and is asked for once more. */
  lost(next: FabricConfig): LivePort[] {
    const wanted = (p: LivePort) =>
      next.switches[p.switch]?.ports[p.name]?.device ?? next.routers[p.switch]?.interfaces[p.name]?.on
    return [...this.ports.values()].filter(
      (p) => p.down !== null && isDeepStrictEqual(wanted(p), p.config.device),
    )
  }

  /** Closes every device and removes the namespaces; the worker has stopped. */
  async clear(failed: (error: Error) => void): Promise<void> {
    const devices = [...this.ports.values()].flatMap((port) => port.device ?? [])
    for (const port of this.ports.values()) port.device = null
    this.ports.clear()
    this.routing.close()
    // The kernel takes some 20 ms to let go of a device, and does it for several at once.
    await Promise.all(devices.map(({ fd }) => closeDevice(fd).catch(failed)))
    this.tunnels.clear()
    await this.namespaces.clear().catch(failed)
  }
}

function switchCommand(sw: LiveSwitch): Command {
  const { agingS, limit, reservedOpen } = sw.config
  return {
    op: 'switch-add',
    id: sw.id,
    name: sw.name,
    fdb: sw.fdb,
    settings: { agingS, limit, reservedOpen },
  }
}
