/**
 * A fabric: everything one configuration describes, running. The control thread's side: it creates
 * namespaces and devices, starts the worker and tells it what to do, and reads its tables.
 *
 *     Fabric.open(config) -> namespaces -> worker -> switches -> devices -> ports     (or nothing at all)
 *     apply(next)         -> only the difference; a failure restores what was
 *     close()             -> ports, devices, worker, namespaces: exactly what it created
 *
 * Files beside it: resources.ts (what was created), view.ts (what the tables say), capture.ts.
 */
import { EventEmitter } from 'node:events'
import { type Change, diffConfig } from '../config/diff.ts'
import type { FabricConfig, PortConfig } from '../config/types.ts'
import type { Command } from '../engine/command.ts'
import { WorkerLink } from '../engine/worker-link.ts'
import { COUNTER_WORDS } from '../packet/counters.ts'
import { MAX_PORTS } from '../packet/layout.ts'
import { type PlaneMemory, planeMemory } from '../packet/memory.ts'
import { HashTable } from '../table/hash.ts'
import { Capture } from './capture.ts'
import { addNamespace, deleteNamespace } from './iproute.ts'
import type { CounterRow, DropRow, FdbRow, PortStatus, StatusReport, VlanRow } from './model.ts'
import { type LivePort, type LiveSwitch, openLive, portCommand, portSettings, readDevice } from './ports.ts'
import * as view from './view.ts'

export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
const silent: Log = { info() {}, warn() {}, error() {} }

export interface FabricOptions {
  log?: Log
  /** Shown by `status`. */
  configFile?: string
  /** Packets in flight at most; each is SLOT_SIZE bytes of address space. */
  poolSlots?: number
}

/** Workers started again after dying, at most, per minute. */
const RESTARTS_PER_MINUTE = 5

export interface FabricEvents {
  /** A port's device is gone or down. */
  'port-down': [{ switch: string; port: string; errno: number; reason: string }]
  'port-up': [{ switch: string; port: string }]
  'worker-restarted': [{ error: Error }]
  /** The worker died too often; nothing is forwarded any more. */
  failed: [Error]
}

export class Fabric extends EventEmitter<FabricEvents> {
  config: FabricConfig = { namespaces: [], poll: 'adaptive', switches: {} }
  readonly memory: PlaneMemory
  readonly switches = new Map<string, LiveSwitch>()
  /** By 'switch.port'. */
  readonly live = new Map<string, LivePort>()
  readonly startedAt = new Date()
  readonly options: FabricOptions
  /** Counters of ports that are gone, so that the totals stay whole. */
  readonly retired = new Float64Array(COUNTER_WORDS)
  restarts = 0
  private readonly log: Log
  private readonly link: WorkerLink
  private readonly created: string[] = []
  private readonly captures = new Map<number, Capture>()
  /** Indices of ports that are being added, or are the other end of a patch. */
  private readonly promised = new Map<string, number>()
  private recent: number[] = []
  /** Changes are applied one after the other. */
  private turn: Promise<unknown> = Promise.resolve()
  private closed = false

  private constructor(options: FabricOptions) {
    super()
    this.options = options
    this.log = options.log ?? silent
    this.memory = planeMemory(options.poolSlots)
    this.link = new WorkerLink(this.memory)
    this.link.on('port-down', (index: number, errno: number) => this.portDown(index, errno))
    this.link.on('port-doubt', (index: number, errno: number) => this.portDoubt(index, errno))
    this.link.on('frames', (index: number) => this.portAt(index)?.exchange?.drain())
    this.link.on('died', (error: Error) => void this.restart(error))
  }

  /**
   * Opens everything `config` describes (from loadConfig or checkConfigObject). Needs CAP_NET_ADMIN
   * for devices, CAP_SYS_ADMIN to enter or create namespaces.
   * @throws Error with a sentence; nothing is left behind then
   */
  static async open(config: FabricConfig, options: FabricOptions = {}): Promise<Fabric> {
    const fabric = new Fabric(options)
    fabric.link.start()
    try {
      await fabric.link.send({ op: 'poll', policy: config.poll })
      await fabric.apply(config)
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
      const changes = diffConfig(before, next)
      // A port whose device was lost is opened again by asking for the same once more.
      const lost = [...this.live.values()].filter((p) => p.down && next.switches[p.switch]?.ports[p.name])
      const done: string[] = []
      try {
        for (const port of lost) {
          if (changes.some((c) => c.op === 'remove-port' && c.switch === port.switch && c.port === port.name)) continue
          const config = port.config
          await this.removePortNow(port.switch, port.name)
          await this.addPortNow(port.switch, port.name, config)
          done.push(`port ${port.switch}.${port.name}: opened again`)
          this.emit('port-up', { switch: port.switch, port: port.name })
        }
        for (const change of changes) done.push(await this.step(change))
        this.config = next
      } catch (error) {
        this.config = this.current(next, before)
        for (const change of diffConfig(this.config, before)) {
          try {
            await this.step(change)
          } catch (undo) {
            this.log.error({ change, reason: (undo as Error).message }, 'could not restore what was before')
          }
        }
        this.config = this.current(before, before)
        throw error
      }
      return done
    })
  }

  /** What is really there, told from `a` where it has it and from `b` otherwise. */
  private current(a: FabricConfig, b: FabricConfig): FabricConfig {
    const switches: FabricConfig['switches'] = {}
    for (const name of this.switches.keys()) {
      const base = a.switches[name] ?? b.switches[name]
      switches[name] = { ...base, ports: {} }
    }
    for (const port of this.live.values()) switches[port.switch].ports[port.name] = port.config
    const namespaces = [...new Set([...a.namespaces, ...b.namespaces])].filter((n) => this.created.includes(n))
    return { ...a, namespaces, switches }
  }

  private async step(change: Change): Promise<string> {
    switch (change.op) {
      case 'add-namespace':
        return this.addNamespace(change.name)
      case 'remove-namespace':
        return this.removeNamespace(change.name)
      case 'set-poll':
        await this.link.send({ op: 'poll', policy: change.poll })
        return `poll: ${change.poll}`
      case 'add-switch':
        await this.addSwitch(change.name, change.config)
        return `switch ${change.name}: added`
      case 'set-switch':
        await this.setSwitch(change.name, change.config)
        return `switch ${change.name}: changed`
      case 'remove-switch': {
        const sw = this.switches.get(change.name)
        if (sw) await this.link.send({ op: 'switch-remove', id: sw.id })
        this.switches.delete(change.name)
        return `switch ${change.name}: removed`
      }
      case 'add-port':
        await this.addPortNow(change.switch, change.port, change.config)
        return `port ${change.switch}.${change.port}: added`
      case 'set-port':
        await this.setPort(change.switch, change.port, change.config)
        return `port ${change.switch}.${change.port}: changed`
      case 'remove-port':
        await this.removePortNow(change.switch, change.port)
        return `port ${change.switch}.${change.port}: removed`
    }
  }

  private async addNamespace(name: string): Promise<string> {
    if (view.namespaceExists(name)) return `namespace ${name}: was there`
    await addNamespace(name)
    this.created.push(name)
    return `namespace ${name}: created`
  }

  private async removeNamespace(name: string): Promise<string> {
    const at = this.created.indexOf(name)
    if (at < 0) return `namespace ${name}: left as it was`
    this.created.splice(at, 1)
    if (view.namespaceExists(name)) await deleteNamespace(name)
    return `namespace ${name}: removed`
  }

  private async addSwitch(name: string, config: FabricConfig['switches'][string]): Promise<void> {
    const used = new Set([...this.switches.values()].map((s) => s.id))
    let id = 0
    while (used.has(id)) id++
    const seed = (Math.random() * 0x100000000) | 0
    const sw: LiveSwitch = { id, name, config, fdb: HashTable.memory(config.limit, seed) }
    await this.link.send(this.switchCommand(sw))
    this.switches.set(name, sw)
  }

  private switchCommand(sw: LiveSwitch): Command {
    const { agingS, limit, reservedOpen } = sw.config
    return { op: 'switch-add', id: sw.id, name: sw.name, fdb: sw.fdb, settings: { agingS, limit, reservedOpen } }
  }

  private async setSwitch(name: string, config: FabricConfig['switches'][string]): Promise<void> {
    const sw = this.switches.get(name)
    if (!sw) throw new Error(`no switch ${name}`)
    if (config.limit > new HashTable(sw.fdb).limit) {
      throw new Error(`switch ${name}: limit ${config.limit} needs a larger table; it can grow only by a restart`)
    }
    const { agingS, limit, reservedOpen } = config
    await this.link.send({ op: 'switch-set', id: sw.id, settings: { agingS, limit, reservedOpen } })
    sw.config = config
  }

  /** Adds a port while the fabric runs. `config`: a port as checkConfigObject makes it. */
  addPort(switchName: string, name: string, config: PortConfig): Promise<void> {
    return this.exclusive(async () => {
      if (this.live.has(`${switchName}.${name}`)) throw new Error(`port ${switchName}.${name} exists already`)
      await this.addPortNow(switchName, name, config)
      this.config = structuredClone(this.config)
      this.config.switches[switchName].ports[name] = config
    })
  }

  removePort(switchName: string, name: string): Promise<void> {
    return this.exclusive(async () => {
      if (!this.live.has(`${switchName}.${name}`)) throw new Error(`no port ${switchName}.${name}`)
      await this.removePortNow(switchName, name)
      this.config = structuredClone(this.config)
      delete this.config.switches[switchName].ports[name]
    })
  }

  private async addPortNow(switchName: string, name: string, config: PortConfig): Promise<void> {
    const sw = this.switches.get(switchName)
    if (!sw) throw new Error(`no switch ${switchName}`)
    const index = this.indexOf(`${switchName}.${name}`)
    const { device } = config
    const peer = device.type === 'patch' ? this.indexOf(`${device.switch}.${device.port}`) : -1
    const port = await openLive(switchName, name, index, config, peer, this.link)
    try {
      this.memory.counters.fill(0, index * COUNTER_WORDS, (index + 1) * COUNTER_WORDS)
      await this.link.send(portCommand(port, sw.id))
    } catch (error) {
      port.close()
      throw new Error(`port ${switchName}.${name}: ${(error as Error).message}`)
    }
    this.live.set(`${switchName}.${name}`, port)
    this.promised.delete(`${switchName}.${name}`)
  }

  /** A port's index: the one it has, the one promised to it as the end of a patch, or a free one. */
  private indexOf(key: string): number {
    const known = this.live.get(key)?.index ?? this.promised.get(key)
    if (known !== undefined) return known
    const used = new Uint8Array(MAX_PORTS)
    for (const p of this.live.values()) used[p.index] = 1
    for (const index of this.promised.values()) used[index] = 1
    const index = used.indexOf(0)
    if (index < 0) throw new Error(`a fabric has at most ${MAX_PORTS} ports`)
    this.promised.set(key, index)
    return index
  }

  private async setPort(switchName: string, name: string, config: PortConfig): Promise<void> {
    const port = this.live.get(`${switchName}.${name}`)
    if (!port) throw new Error(`no port ${switchName}.${name}`)
    port.config = config
    if (!port.down) await this.link.send({ op: 'port-set', index: port.index, settings: portSettings(port) })
  }

  private async removePortNow(switchName: string, name: string): Promise<void> {
    const key = `${switchName}.${name}`
    const port = this.live.get(key)
    if (!port) return
    await this.captures.get(port.index)?.close()
    await this.link.send({ op: 'port-remove', index: port.index })
    const at = port.index * COUNTER_WORDS
    for (let i = 0; i < COUNTER_WORDS; i++) this.retired[i] += this.memory.counters[at + i]
    this.memory.counters.fill(0, at, at + COUNTER_WORDS)
    this.live.delete(key)
    port.close()
  }

  private portAt(index: number): LivePort | undefined {
    for (const port of this.live.values()) if (port.index === index) return port
    return undefined
  }

  private portDown(index: number, errno: number): void {
    const port = this.portAt(index)
    if (!port || port.down) return
    port.close()
    port.down = view.whyDown(port, errno)
    const where = { switch: port.switch, port: port.name }
    this.log.warn({ ...where, errno, reason: port.down }, `port ${port.switch}.${port.name} is down: ${port.down}`)
    this.emit('port-down', { ...where, errno, reason: port.down })
  }

  /** The kernel said "network is down": gone for good only if the device no longer exists. */
  private portDoubt(index: number, errno: number): void {
    const port = this.portAt(index)
    if (!port || port.down || readDevice(port) !== null) return
    this.link.send({ op: 'port-detach', index }).catch(() => {})
    this.portDown(index, errno)
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
      for (const sw of this.switches.values()) await this.link.send(this.switchCommand(sw))
      for (const port of this.live.values()) {
        if (!port.down) await this.link.send(portCommand(port, this.switches.get(port.switch)!.id))
      }
      for (const capture of this.captures.values()) await this.link.send(capture.command)
    })
    this.log.warn({ restarts: this.restarts }, 'a new worker took over')
    this.emit('worker-restarted', { error })
  }

  /** Copies the packets of a port, both directions, into a ring that the caller reads. */
  async capture(name: string, options: { snapLen?: number } = {}): Promise<Capture> {
    const port = this.findPort(name)
    if (port.down) throw new Error(`port ${name} is down: ${port.down}`)
    if (this.captures.has(port.index)) throw new Error(`port ${name} is being captured already`)
    const capture = new Capture(port, options.snapLen ?? 65535, this.memory.counters, async () => {
      this.captures.delete(port.index)
      if (this.live.get(`${port.switch}.${port.name}`) !== port || !this.link.running) return
      await this.link.send({ op: 'capture', index: port.index, ring: null, snapLen: 0 })
    })
    this.captures.set(port.index, capture)
    try {
      await this.link.send(capture.command)
    } catch (error) {
      this.captures.delete(port.index)
      throw error
    }
    return capture
  }

  /** A port by 'switch.port', or by its own name when only one switch has it. */
  findPort(name: string): LivePort {
    const exact = this.live.get(name)
    if (exact) return exact
    const found = [...this.live.values()].filter((p) => p.name === name)
    if (found.length === 1) return found[0]
    if (found.length === 0) throw new Error(`no port ${name}; there are ${[...this.live.keys()].join(', ') || 'none'}`)
    throw new Error(`port ${name} is in ${found.map((p) => p.switch).join(' and ')}: say ${found[0].switch}.${name}`)
  }

  ports(): PortStatus[] {
    return view.ports(this)
  }
  fdb(filter: view.FdbFilter = {}): FdbRow[] {
    return view.fdb(this, filter)
  }
  vlans(): VlanRow[] {
    return view.vlans(this)
  }
  counters(): CounterRow[] {
    return view.counters(this)
  }
  drops(): DropRow[] {
    return view.drops(this)
  }
  status(): StatusReport {
    return view.status(this, this.link.running)
  }

  /** Forgets learned addresses. Returns how many there were. */
  async flushFdb(filter: view.FdbFilter = {}): Promise<number> {
    const before = this.fdb(filter).filter((row) => row.type === 'dynamic').length
    const port = filter.port === undefined ? undefined : this.findPort(filter.port)
    for (const sw of this.switches.values()) {
      if (filter.switch !== undefined && sw.name !== filter.switch) continue
      if (port && port.switch !== sw.name) continue
      await this.link.send({ op: 'flush', switch: sw.id, port: port?.index ?? -1, vid: filter.vlan ?? -1 })
    }
    return before
  }

  private exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work)
    this.turn = result.catch(() => {})
    return result
  }

  /** Ends everything and removes exactly what this fabric created. Safe to call twice. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await this.turn
    for (const capture of this.captures.values()) await capture.close().catch(() => {})
    await this.link.stop()
    for (const port of this.live.values()) port.close()
    this.live.clear()
    for (const name of this.created.splice(0)) {
      if (view.namespaceExists(name)) await deleteNamespace(name).catch((e) => this.log.error({}, e.message))
    }
  }
}
