/**
 * The routers of a fabric: their stages, interfaces and tables, and the single steps that change them.
 * inventory.ts owns the ports; this file asks it for them.
 *
 *     interface on a device    a port that belongs to the router's stage
 *     interface on a switch    two patch ports: `ROUTER.IF` in the switch, `IF` in the router
 */
import type { InterfaceConfig, PolicyConfig, RouteConfig, RouterConfig } from '../../config/types.ts'
import type { AddressNews, Command } from '../../engine/command.ts'
import type { WorkerLink } from '../../engine/worker-link.ts'
import { MAX_INTERFACES } from '../../router/interfaces.ts'
import { parseMac } from '../devices.ts'
import type { Log } from '../fabric-options.ts'
import type { Inventory } from '../inventory.ts'
import { type LivePort, mtuOf } from '../ports.ts'
import { interfaceSettings, randomMac } from './addressing.ts'
import { putRules, rulesAgain } from './filter.ts'
import { addCommand, type LiveInterface, type LiveRouter, policyList } from './live-router.ts'
import { type Heard, hearAddress, refreshRoutes } from './live-routes.ts'
import { makeRouter } from './make.ts'
import { addressSettings, ownAddresses } from './own-addresses.ts'
import { openPorts } from './ports.ts'
import type { FilterConfig } from './rules.ts'

export class RouterInventory {
  readonly routers = new Map<string, LiveRouter>()
  /** Told when a function of a queue fails. */
  queueFailed: (router: string, queue: number, error: Error) => void = () => {}
  private readonly inventory: Inventory
  private readonly link: WorkerLink
  private readonly log: Log

  constructor(inventory: Inventory, link: WorkerLink, log: Log) {
    this.inventory = inventory
    this.link = link
    this.log = log
  }

  async add(name: string, { conntrack }: Pick<RouterConfig, 'conntrack'>): Promise<void> {
    if (this.inventory.switches.has(name)) throw new Error(`router ${name}: a switch has this name`)
    const id = this.inventory.freeStage()
    const home = this.inventory.indices.of(`router ${name}`)
    const { link, log } = this
    const failed = (queue: number, error: Error): void => this.queueFailed(name, queue, error)
    const router = makeRouter({ id, name, home, connections: conntrack.max, link, log, failed })
    await this.link.send(addCommand(router))
    this.routers.set(name, router)
  }

  /** The worker has stopped. */
  close(): void {
    for (const { queues, ruleLog } of this.routers.values()) {
      queues.close()
      ruleLog.close()
    }
    this.routers.clear()
  }

  /** A worker has something for the control thread. */
  frames(index: number): void {
    for (const { home, queues } of this.routers.values()) if (home === index) queues.drain()
  }

  async remove(name: string): Promise<void> {
    const router = this.routers.get(name)
    if (!router) return
    await router.services.close()
    await this.link.send({ op: 'router-remove', id: router.id })
    this.routers.delete(name)
    router.queues.close()
    router.ruleLog.close()
    this.inventory.indices.release(`router ${name}`)
  }

  async addInterface(routerName: string, name: string, config: InterfaceConfig): Promise<void> {
    const router = this.need(routerName)
    const used = new Set([...router.interfaces.values()].map((i) => i.index))
    let index = 0
    while (used.has(index)) index++
    if (index >= MAX_INTERFACES) throw new Error(`router ${routerName}: at most ${MAX_INTERFACES} interfaces`)
    const mac = config.mac ? parseMac(config.mac) : randomMac()
    await openPorts(this.inventory, routerName, name, config, mac)
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
    await putRules(this.link, this.need(routerName), config)
  }

  /** Rules name interfaces, which have another index or are new now. */
  private async refreshRules(router: LiveRouter): Promise<void> {
    if (router.rules.v4 || router.rules.v6) await this.setRules(router.name, router.rules.config)
  }

  private refreshRoutes(router: LiveRouter): void {
    refreshRoutes(router, (name) => !this.inventory.port(router.name, name)?.down)
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
    // Whoever is there now has not heard of us.
    for (const own of live.addresses) own.fresh = true
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
    if (!router) return null
    return hearAddress(router, news, (live) => router.services.set(live, this.mtuOf(router, live)))
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
      yield rulesAgain(router)
      yield* router.queues.commands()
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
