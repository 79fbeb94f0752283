/**
 * The routers of a fabric: their stages, interfaces and tables, and the single steps that change them.
 * inventory.ts owns the ports; this file asks it for them.
 *
 *     interface on a device    a port that belongs to the router's stage
 *     interface on a switch    two patch ports: `ROUTER.IF` in the switch, `IF` in the router
 */
import { isDeepStrictEqual } from 'node:util'
import type { InterfaceConfig, PolicyConfig, PortConfig, RouteConfig, RouterConfig } from '../config/types.ts'
import type { AddressNews, Command } from '../engine/command.ts'
import type { WorkerLink } from '../engine/worker-link.ts'
import { MAX_INTERFACES } from '../router/interfaces.ts'
import { NeighbourTable } from '../router/neighbour-table.ts'
import { RouteWriter } from '../router/route-writer.ts'
import { configuredRoute, connectedRoutes, interfaceSettings, randomMac } from './addressing.ts'
import { formatMac, parseMac } from './devices.ts'
import type { Log } from './fabric-options.ts'
import type { Inventory } from './inventory.ts'
import {
  addCommand,
  filterMemory,
  indexIn,
  interfaceNames,
  type LiveInterface,
  type LiveRouter,
  plainPort,
  policyList,
  subnetOf,
} from './live-router.ts'
import { addressSettings, isAddress, learn, type OwnAddress, ownAddresses } from './own-addresses.ts'
import { type LivePort, mtuOf } from './ports.ts'
import { RuleLog } from './rule-log.ts'
import { buildRules, type FilterConfig, loadOf, NO_RULES } from './rules.ts'
import { RouterServices } from './services.ts'

/** Neighbours of each family. */
const NEIGHBOURS = 4096

interface Heard {
  router: string
  interface: string
  own: OwnAddress
  was: OwnAddress['state']
}

export class RouterInventory {
  readonly routers = new Map<string, LiveRouter>()
  private readonly inventory: Inventory
  private readonly link: WorkerLink
  private readonly log: Log

  constructor(inventory: Inventory, link: WorkerLink, log: Log) {
    this.inventory = inventory
    this.link = link
    this.log = log
  }

  async add(name: string): Promise<void> {
    if (this.inventory.switches.has(name)) throw new Error(`router ${name}: a switch has this name`)
    const seed = (Math.random() * 0x100000000) | 0
    const filter = filterMemory(seed)
    const id = this.inventory.freeStage()
    const neighbours = NeighbourTable.memory(NEIGHBOURS, seed)
    const router: LiveRouter = {
      id,
      name,
      home: this.inventory.indices.of(`router ${name}`),
      interfaces: new Map(),
      routes: [],
      policies: [],
      writer: new RouteWriter(),
      neighbours,
      filter,
      rules: NO_RULES,
      ruleLog: new RuleLog(filter.report.log),
      services: new RouterServices({ id, name, neighbours }, (c) => this.link.send(c), this.log),
      seed,
    }
    await this.link.send(addCommand(router))
    this.routers.set(name, router)
  }

  async remove(name: string): Promise<void> {
    const router = this.routers.get(name)
    if (!router) return
    await router.services.close()
    await this.link.send({ op: 'switch-remove', id: router.id })
    this.routers.delete(name)
    this.inventory.indices.release(`router ${name}`)
  }

  async addInterface(routerName: string, name: string, config: InterfaceConfig): Promise<void> {
    const router = this.need(routerName)
    const used = new Set([...router.interfaces.values()].map((i) => i.index))
    let index = 0
    while (used.has(index)) index++
    if (index >= MAX_INTERFACES) throw new Error(`router ${routerName}: at most ${MAX_INTERFACES} interfaces`)
    const mac = config.mac ? parseMac(config.mac) : randomMac()
    await this.openPorts(routerName, name, config, mac)
    const port = this.inventory.port(routerName, name)!.index
    const addresses = ownAddresses(config, mac, [])
    router.interfaces.set(name, { index, name, config, mac, port, addresses })
    try {
      await this.sendInterface(router, name)
      this.refreshRoutes(router)
      await this.refreshRules(router)
    } catch (error) {
      await this.removeInterface(routerName, name)
      throw error
    }
  }

  private async openPorts(
    routerName: string,
    name: string,
    config: InterfaceConfig,
    mac: Uint8Array,
  ): Promise<void> {
    const { on, mtu, fault } = config
    if (on.type !== 'switch') {
      await this.inventory.addPort(routerName, name, plainPort(on, mtu, fault))
      return
    }
    const sw = this.inventory.switches.get(on.switch)
    if (!sw) throw new Error(`router ${routerName}: no switch ${on.switch}`)
    const vid = on.vlan ?? 1
    const vlan: PortConfig['vlan'] = sw.config.vlanAware ? { mode: 'access', vid } : { mode: 'unaware' }
    const end = `${routerName}.${name}`
    const inside = { type: 'patch' as const, switch: routerName, port: name }
    // The switch knows where the router is before it has said a word.
    const statics = [{ mac: formatMac(mac), vid: sw.config.vlanAware ? vid : 0 }]
    await this.inventory.addPort(on.switch, end, { ...plainPort(inside, mtu), vlan, statics })
    try {
      const outside = { type: 'patch' as const, switch: on.switch, port: end }
      await this.inventory.addPort(routerName, name, plainPort(outside, mtu, fault))
    } catch (error) {
      await this.inventory.removePort(on.switch, end)
      throw error
    }
  }

  async setInterface(routerName: string, name: string, config: InterfaceConfig): Promise<void> {
    const router = this.need(routerName)
    const live = router.interfaces.get(name)
    if (!live) throw new Error(`router ${routerName}: no interface ${name}`)
    live.config = config
    if (config.mac) live.mac = parseMac(config.mac)
    live.addresses = ownAddresses(config, live.mac, live.addresses)
    const { on, mtu } = config
    await this.inventory.setMtu(routerName, name, mtu)
    if (on.type === 'switch') await this.inventory.setMtu(on.switch, `${routerName}.${name}`, mtu)
    await this.sendInterface(router, name)
    this.refreshRoutes(router)
  }

  /** As Inventory.chooseMtu, for the router's end of a patch. */
  async chooseMtu(routerName: string, name: string, mtu: number | null): Promise<void> {
    const router = this.routers.get(routerName)
    const port = this.inventory.port(routerName, name)
    if (!router?.interfaces.has(name) || !port) return
    port.chosenMtu = mtu
    await this.sendInterface(router, name)
  }

  async removeInterface(routerName: string, name: string): Promise<void> {
    const router = this.need(routerName)
    const live = router.interfaces.get(name)
    if (!live) return
    await router.services.remove(name)
    router.interfaces.delete(name)
    this.refreshRoutes(router)
    await this.link.send({ op: 'interface-remove', id: router.id, index: live.index })
    await this.inventory.removePort(routerName, name)
    if (live.config.on.type === 'switch')
      await this.inventory.removePort(live.config.on.switch, `${routerName}.${name}`)
  }

  async setRoutes(routerName: string, routes: RouteConfig[], policies: PolicyConfig[]): Promise<void> {
    const router = this.need(routerName)
    router.routes = routes
    router.policies = policies
    for (const p of policies) router.writer.ensure(p.table)
    this.refreshRoutes(router)
    await this.link.send({
      op: 'router-routes',
      id: router.id,
      routes: router.writer.memory,
      policies: policyList(router),
    })
  }

  /** Puts rules in force; the first time they also open the router. */
  async setRules(routerName: string, config: FilterConfig): Promise<void> {
    const router = this.need(routerName)
    const subnets = [...router.interfaces.values()].flatMap((i) => i.config.addresses.map(subnetOf))
    const rules = buildRules(config, router.rules, interfaceNames(router), subnets)
    const load = loadOf(rules, router.rules)
    await this.link.send({ op: 'router-rules', id: router.id, load, profile: config.profile })
    router.rules = rules
    router.ruleLog.use([rules.v4, rules.v6], interfaceNames(router))
  }

  /** Rules name interfaces, which have another index or are new now. */
  private async refreshRules(router: LiveRouter): Promise<void> {
    if (router.rules.v4 || router.rules.v6) await this.setRules(router.name, router.rules.config)
  }

  /**
   * Makes the tables hold what interfaces and configuration say; the worker sees it at once. An interface whose
   * device is gone has no routes, and of equal-cost paths the others stay, as in Linux.
   */
  private refreshRoutes(router: LiveRouter): void {
    const up = (name: string) => router.interfaces.has(name) && !this.inventory.port(router.name, name)?.down
    const connected = [...router.interfaces.values()]
      .filter((i) => up(i.name))
      .flatMap((i) =>
        connectedRoutes(
          i.index,
          i.addresses.filter((a) => a.used),
        ),
      )
    const own = router.routes.flatMap((route) => {
      const hops = route.hops.filter((hop) => up(hop.interface))
      if (hops.length === 0 && route.hops.length > 0) return []
      return [configuredRoute({ ...route, hops }, (name) => indexIn(router, name))]
    })
    router.writer.replace([...connected, ...own])
  }

  /** A port went down: the routes by it go, if it is an interface of a router. */
  portDown(port: LivePort): void {
    const router = this.routers.get(port.switch)
    if (router) this.refreshRoutes(router)
  }

  /** Takes up an interface whose device was lost. */
  async reopen(port: LivePort): Promise<void> {
    const router = this.need(port.switch)
    await this.inventory.reopen(port)
    const live = router.interfaces.get(port.name)!
    live.port = this.inventory.port(port.switch, port.name)!.index
    await this.sendInterface(router, port.name)
    this.refreshRoutes(router)
  }

  private async sendInterface(router: LiveRouter, name: string): Promise<void> {
    const live = router.interfaces.get(name)!
    await this.link.send(this.interfaceCommand(router, live))
    for (const own of live.addresses) own.fresh = false
    router.services.set(live, this.mtuOf(router, live))
  }

  /** What a worker found out about an address; null when that is not there any more. */
  hear(news: AddressNews): Heard | null {
    const router = [...this.routers.values()].find((r) => r.id === news.id)
    const live = router && [...router.interfaces.values()].find((i) => i.index === news.interface)
    const own = live?.addresses.find((a) => isAddress(a, news))
    if (!own) return null
    const was = own.state
    if (learn(own, news)) {
      router!.services.set(live!, this.mtuOf(router!, live!))
      // Only its own routes: there may be a million others.
      for (const route of connectedRoutes(live!.index, [own])) {
        if (own.used) router!.writer.add(route)
        else router!.writer.remove(route, (r) => r.kind === route.kind && isDeepStrictEqual(r, route))
      }
    }
    return { router: router!.name, interface: live!.name, own, was }
  }

  /** Some address is not used because it might be somebody else's. */
  get holdsBack(): boolean {
    return [...this.routers.values()].some((r) =>
      [...r.interfaces.values()].some((i) => i.addresses.some((a) => a.state === 'tentative' && !a.used)),
    )
  }

  private mtuOf(router: LiveRouter, { name }: LiveInterface): number {
    const port = this.inventory.port(router.name, name)
    return (port && mtuOf(port)) || 1500
  }

  private interfaceCommand(router: LiveRouter, live: LiveInterface): Command {
    const { config, index, mac, name, port } = live
    const mtu = this.mtuOf(router, live)
    const settings = interfaceSettings(name, config, port, mac, mtu, addressSettings(live.addresses))
    return { op: 'interface-set', id: router.id, index, settings }
  }

  /** A router has packets for this thread. */
  punted(id: number): void {
    for (const router of this.routers.values()) if (router.id === id) router.services.drain()
  }

  /** A worker took over: what the one before it has punted, and told nobody. */
  resume(): void {
    for (const router of this.routers.values()) router.services.drain()
  }

  /** The last words on every link, while there is a worker to send them; leases files are closed. */
  async farewell(): Promise<void> {
    for (const router of this.routers.values()) await router.services.close()
  }

  private need(name: string): LiveRouter {
    const router = this.routers.get(name)
    if (!router) throw new Error(`no router ${name}`)
    return router
  }

  /** All routers once more, for a worker that took over; their ports follow with `interfaces`. */
  *commands(): Generator<Command> {
    for (const router of this.routers.values()) yield addCommand(router)
  }

  *interfaceCommands(): Generator<Command> {
    for (const router of this.routers.values()) {
      for (const live of router.interfaces.values()) yield this.interfaceCommand(router, live)
      const { rules } = router
      const load = { v4: rules.memory4, v6: rules.memory6, generation: rules.generation }
      yield { op: 'router-rules', id: router.id, load, profile: rules.config.profile }
    }
  }

  /** What is really there, told as `base` tells the rest. */
  config(base: Record<string, RouterConfig>): Record<string, RouterConfig> {
    const found: Record<string, RouterConfig> = {}
    for (const router of this.routers.values()) {
      const interfaces = Object.fromEntries([...router.interfaces.values()].map((i) => [i.name, i.config]))
      const { routes, policies } = router
      found[router.name] = { ...base[router.name], ...router.rules.config, interfaces, routes, policies }
    }
    return found
  }
}
