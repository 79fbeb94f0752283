/**
 * A fabric: everything one configuration describes, running. The control thread's side: it applies
 * configurations, watches over devices and the worker, and answers what the tables say.
 *
 *     Fabric.open(config)   namespaces -> switches -> devices -> ports, or nothing at all
 *     apply(next)           only the difference; a failure restores what was
 *     close()               ports, devices, worker, namespaces: exactly what it created
 *
 * Files beside it: inventory.ts (what is there, and single steps), view.ts (the tables as documents),
 * capture.ts, ports.ts and devices.ts.
 */
import type { EventEmitter } from 'node:events'
import { constants } from 'node:os'
import { diffConfig } from '../config/diff.ts'
import type { FabricConfig, PortConfig } from '../config/types.ts'
import type { AddressNews } from '../engine/command.ts'
import { WorkerLink } from '../engine/worker-link.ts'
import { planeMemory } from '../packet/memory.ts'
import type { Capture } from './capture/capture.ts'
import { Captures } from './capture/captures.ts'
import { type FabricOptions, type Log, silent } from './fabric-options.ts'
import { Inventory } from './inventory.ts'
import { namespaceExists } from './iproute.ts'
import { type LivePort, namespaceGone, readDevice } from './ports.ts'
import { hear, settled } from './router/detection.ts'
import { RouterTables } from './router/tables.ts'
import type {
  CounterRow,
  DropRow,
  FdbRow,
  InterfaceRow,
  PortStatus,
  StatusReport,
  TunnelRow,
  VlanRow,
} from './show/model.ts'
import * as view from './show/view.ts'
import * as viewRouter from './show/view-router.ts'
import * as viewTunnel from './show/view-tunnel.ts'
import { takeStep } from './step.ts'
import { takeSteps } from './steps.ts'
import { type FlushFilter, Tunnels } from './tunnel/tunnels.ts'

/** Workers started again after dying, at most, per minute. */
const RESTARTS_PER_MINUTE = 5

/** How often namespaces and logs are looked at: next to nothing is allocated then, so memory stays flat. */
const WATCH_MS = 500
/** Every how many of these looks the devices behind packet sockets are read, which costs a thread each. */
const DEVICES_EVERY = 4

export class Fabric extends RouterTables {
  config: FabricConfig = { namespaces: [], poll: 'adaptive', switches: {}, routers: {}, vteps: {} }
  /** What is there now. */
  readonly inventory: Inventory
  readonly startedAt = new Date()
  readonly options: FabricOptions
  restarts = 0
  private readonly log: Log
  protected readonly link: WorkerLink
  private readonly watch: NodeJS.Timeout
  private readonly captures: Captures
  readonly tunnels: Tunnels
  /** When the worker died, of late. */
  private recent: number[] = []
  /** Changes are applied one after the other. */
  private turn: Promise<unknown> = Promise.resolve()
  private closed = false
  private looks = 0

  private constructor(options: FabricOptions) {
    super()
    this.options = options
    this.log = options.log ?? silent
    const memory = planeMemory(options.poolSlots)
    this.link = new WorkerLink(memory)
    this.inventory = new Inventory(memory, this.link, this.log, options)
    this.inventory.routing.queueFailed = (router, queue, error) =>
      this.log.error({ router, queue, reason: error.message }, 'the function of a queue failed')
    this.captures = new Captures(this.inventory, this.link)
    this.tunnels = new Tunnels({
      inventory: this.inventory,
      link: this.link,
      log: this.log,
      exclusive: (work) => this.exclusive(work),
      emit: (event, ...args) => void (this as EventEmitter).emit(event, ...args),
    })
    this.link.on('port-down', (index: number, errno: number) => this.portDown(index, errno))
    this.link.on('port-doubt', (index: number, errno: number) => this.portDoubt(index, errno))
    this.link.on('address', (news: AddressNews) => hear(this, news))
    this.link.on('frames', (index: number) => {
      this.inventory.frames(index)
      this.tunnels.poke(index)
    })
    this.link.on('punt', (id: number) => this.inventory.routing.punted(id))
    this.link.on('died', (error: Error) => void this.restart(error))
    this.watch = setInterval(() => this.lookAround(), WATCH_MS)
    this.watch.unref()
  }

  /**
   * Opens everything `config` describes (from loadConfig or checkConfigObject), and waits until addresses of
   * routers are known to be free (detection.ts). Needs CAP_NET_ADMIN for devices, CAP_SYS_ADMIN for namespaces.
   * @throws Error with a sentence; nothing is left behind then
   */
  static async open(config: FabricConfig, options: FabricOptions = {}): Promise<Fabric> {
    const fabric = new Fabric(options)
    fabric.link.start()
    try {
      await fabric.link.send({ op: 'poll', policy: config.poll })
      await fabric.apply(config)
      await settled(fabric)
    } catch (error) {
      await fabric.close()
      throw error
    }
    return fabric
  }

  /**
   * Makes the running fabric be what `next` says, touching only what differs. Returns a line per change.
   * @throws Error when a step fails; the steps before it are undone
   */
  apply(next: FabricConfig): Promise<string[]> {
    return this.exclusive(async () => {
      const before = this.config
      const { inventory } = this
      const done: string[] = []
      try {
        // Namespaces that somebody deleted meanwhile come back before the ports that were in them.
        const gone = next.namespaces.filter((n) => before.namespaces.includes(n) && !namespaceExists(n))
        done.push(...(await inventory.namespaces.add(gone)))
        for (const port of inventory.lost(next)) {
          await (inventory.routing.routers.has(port.switch) ? inventory.routing : inventory).reopen(port)
          done.push(`port ${port.switch}.${port.name}: opened again`)
          this.emit('port-up', { switch: port.switch, port: port.name })
        }
        done.push(...(await takeSteps(inventory, diffConfig(before, next), this.options.signal)))
        await this.tunnels.settle()
        this.config = next
      } catch (error) {
        const failed = (undo: Error, change?: object) =>
          this.log.error({ change, reason: undo.message }, 'could not restore what was before')
        for (const change of diffConfig(inventory.config(before), before))
          await takeStep(inventory, change).catch((undo) => failed(undo, change))
        await inventory.addresses.flush().catch(failed)
        throw error
      }
      return done
    })
  }

  /** Adds a port while the fabric runs. `config`: a port as checkConfigObject makes it. */
  addPort(switchName: string, name: string, config: PortConfig): Promise<void> {
    return this.exclusive(async () => {
      if (this.inventory.port(switchName, name)) throw new Error(`port ${switchName}.${name} exists already`)
      await this.inventory.addPort(switchName, name, config)
      await this.inventory.addresses.flush().catch(async (error) => {
        await this.inventory.removePort(switchName, name)
        throw error
      })
      await this.tunnels.settle()
      this.config = structuredClone(this.config)
      this.config.switches[switchName].ports[name] = config
    })
  }

  removePort(switchName: string, name: string): Promise<void> {
    return this.exclusive(async () => {
      if (!this.inventory.port(switchName, name)) throw new Error(`no port ${switchName}.${name}`)
      await this.inventory.removePort(switchName, name)
      this.config = structuredClone(this.config)
      delete this.config.switches[switchName].ports[name]
    })
  }

  private portDown(index: number, errno: number): void {
    const port = this.inventory.portAt(index)
    if (!port || port.down) return
    port.down = view.whyDown(port, errno)
    port.close()
    this.inventory.routing.portDown(port)
    const where = { switch: port.switch, port: port.name }
    this.emit('port-down', { ...where, errno, reason: port.down })
  }

  /** The kernel said "network is down": gone for good only if the device no longer exists. */
  private portDoubt(index: number, errno: number): void {
    const port = this.inventory.portAt(index)
    if (port && !port.down && readDevice(port) === null) void this.giveUp(port, errno)
  }

  private lookAround(): void {
    for (const { ruleLog } of this.inventory.routing.routers.values()) ruleLog.read()
    const readDevices = this.looks++ % DEVICES_EVERY === 0
    for (const port of this.inventory.ports.values()) {
      if (port.down) continue
      // A packet socket's kernel tells of a lost device once, and a transmit may have heard it.
      const lost = readDevices && port.config.device.type === 'packet' && readDevice(port) === null
      if (lost || namespaceGone(port)) void this.giveUp(port, -constants.errno.ENODEV)
    }
  }

  /** Takes a port down whose device is gone without the worker having noticed. */
  private giveUp(port: LivePort, errno: number): Promise<void> {
    return this.exclusive(async () => {
      if (port.down || this.inventory.portAt(port.index) !== port) return
      await this.link.send({ op: 'port-detach', index: port.index })
      this.portDown(port.index, errno)
    }).catch((error: Error) => this.log.error({ port: port.name }, error.message))
  }

  /** The worker died: a new one goes on with the same tables, counters and devices. */
  private async restart(error: Error): Promise<void> {
    const now = Date.now()
    this.recent = [...this.recent.filter((t) => now - t < 60_000), now]
    this.log.error({ error: error.message, stack: error.stack }, 'the worker died')
    if (this.closed || this.recent.length > RESTARTS_PER_MINUTE) {
      if (!this.closed) this.emit('failed', error)
      return
    }
    this.restarts++
    this.link.start()
    await this.exclusive(async () => {
      await this.link.send({ op: 'poll', policy: this.config.poll })
      for (const command of this.inventory.commands()) await this.link.send(command)
      for (const command of this.captures.commands()) await this.link.send(command)
      this.inventory.routing.resume()
    })
    this.log.warn({ restarts: this.restarts }, 'a new worker took over')
    this.emit('worker-restarted', { error })
  }

  /** Ends the worker as if it had crashed: to see that nothing is lost. */
  killWorker(): void {
    this.link.kill()
  }

  /** Copies the packets of a port, both directions, into a ring that the caller reads. */
  capture(name: string, options: { snapLen?: number } = {}): Promise<Capture> {
    return this.captures.start(name, options.snapLen)
  }

  /** A port by 'switch.port', or by its own name when only one switch has it. */
  findPort = (name: string): LivePort => this.inventory.find(name)

  ports = (): PortStatus[] => view.ports(this)
  fdb = (filter: view.FdbFilter = {}): FdbRow[] => view.fdb(this, filter)
  vlans = (): VlanRow[] => view.vlans(this)
  counters = (): CounterRow[] => view.counters(this)
  drops = (): DropRow[] => view.drops(this)
  interfaces = (router?: string): InterfaceRow[] => viewRouter.interfaces(this, router)
  /** Every remote of every VTEP, or of one. */
  tunnelRows = (filter?: viewTunnel.TunnelFilter): TunnelRow[] => viewTunnel.tunnels(this, filter)
  status = (): StatusReport => view.status(this, this.link.running)

  /** Forgets learned addresses. Returns how many there were. */
  async flushFdb(filter: view.FdbFilter = {}): Promise<number> {
    const before = this.fdb(filter).filter((row) => row.type === 'dynamic').length
    await this.inventory.flush(filter)
    return before
  }

  /** Forgets what tunnels learned: of one VTEP or remote (an address), or of all. Returns how much. */
  flushTunnels(filter: FlushFilter = {}): Promise<number> {
    return this.tunnels.flush(filter)
  }

  protected exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work).finally(() => this.captures.endLost())
    this.turn = result.catch(() => {})
    return result
  }

  /** Ends everything and removes exactly what this fabric created. Safe to call twice. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    clearInterval(this.watch)
    this.tunnels.close()
    await this.turn
    await this.captures.close()
    await this.inventory.routing.farewell()
    await this.link.stop()
    await this.inventory.clear((error) => this.log.error({}, error.message))
  }
}
