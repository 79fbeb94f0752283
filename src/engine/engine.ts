/**
 * The data plane of one worker: its ports, switches and tables, and the loop (Snabb's "breath": all
 * that is ready in, decide, all out, then the clock's work). Runs in a worker thread (worker.ts), or
 * inline, stepped by a test with a clock of its own.
 *
 *     loop()   wait in the kernel -> service(now), for ever
 *     service  every ready port one batch; then, every TICK_MS, tick
 */
import { constants } from 'node:os'
import { type Io, type IoArrays, native } from '../native.ts'
import { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { IP_SHIFT } from '../packet/ip.ts'
import { Clock, MAX_PORTS } from '../packet/layout.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import { Pool } from '../packet/pool.ts'
import type { Stage } from '../packet/stage.ts'
import type { Port, PortHost } from '../port/port.ts'
import { PortFlag, PortTable } from '../switch/ports.ts'
import { StormControl } from '../switch/storm.ts'
import { Switch } from '../switch/switch.ts'
import { Wire } from '../switch/wire.ts'
import { lineWords } from '../table/line.ts'
import type { AddressNews, Command, PollPolicy, PortSettings } from './command.ts'
import { openPort, setCapture } from './open.ts'
import { Pipeline } from './pipeline.ts'
import { applyRouter } from './routers.ts'
import { applySettings } from './settings.ts'
import { Spinner } from './spin.ts'
import { buildSwitch, setSwitch } from './switches.ts'
import { applyTunnel } from './tunnels.ts'
import type { Waiter } from './waiter.ts'

/** Resolution of the plane's timers; what a tick may do is bounded. */
const TICK_MS = 200

export class Engine implements PortHost {
  readonly memory: PlaneMemory
  readonly pool: Pool
  readonly batch: Batch
  readonly io: Io
  readonly ports: PortTable
  readonly storm = new StormControl()
  readonly pipeline: Pipeline
  /** Switches and wires by the id the control thread gave them. */
  readonly stages: (Stage | null)[] = []
  /** Rows of packet/ip.ts by slot, for the routers. */
  readonly ipRows: Int32Array
  /** Told about ports whose device is gone. */
  onPortDown: (index: number, errno: number) => void = () => {}
  /** Told about ports whose device is down, and may be gone. */
  onPortDoubt: (index: number, errno: number) => void = () => {}
  /** Told what becomes of addresses of routers. */
  onAddress: (news: AddressNews) => void = () => {}
  /** Told about ports that have frames for the control thread. */
  notify: (index: number) => void = () => {}
  /** Parts that wait for the control thread, or for a time of their own. */
  waiters: Waiter[] = []
  /** Told about routers that have packets for the control thread. */
  notifyPunt: (id: number) => void = () => {}
  supers = 0
  private readonly spinner = new Spinner()
  private policy: PollPolicy = 'adaptive'
  private running = false
  private nextTickMs = 0
  /** Ports that asked to be serviced (each at most once for this breath and once for the next). */
  private readonly readyList = new Int32Array(2 * MAX_PORTS)
  private readonly isReady = new Uint8Array(MAX_PORTS)
  private readyCount = 0
  /** Ports with a time of their own. */
  private timed: Port[] = []

  /** @param wakeFd an eventfd that ends a wait, or -1 */
  constructor(memory: PlaneMemory, wakeFd = -1) {
    this.memory = memory
    this.pool = new Pool(memory.pool, memory.meta)
    this.batch = new Batch(memory.rx)
    this.ipRows = lineWords(this.pool.size << IP_SHIFT)
    if (!this.batch.fill(this.pool)) throw new RangeError('the packet pool is smaller than a batch')
    const { pool, meta, rx, txq, events, clock, txResult } = memory
    const arrays: IoArrays = { pool, meta, rx, txq, events, clock, txResult }
    this.io = new native.Io(arrays, wakeFd)
    this.ports = new PortTable(memory.txq)
    this.pipeline = new Pipeline(this.pool, this.ports, memory.counters, MAX_PORTS, (index, errno) => {
      if (errno === -constants.errno.ENETDOWN) return this.onPortDoubt(index, errno)
      this.detach(index)
      this.onPortDown(index, errno)
    })
  }

  ready(port: number): void {
    if (this.isReady[port] === 1) return
    this.isReady[port] = 1
    this.readyList[this.readyCount++] = port
  }

  /** Runs until a stop command. `between` is called when `wait` was woken, and may apply commands. */
  loop(between: () => void): void {
    this.running = true
    const { events, clock } = this.memory
    const { spinner } = this
    let packets = 0
    while (this.running) {
      const beforeMs = clock[Clock.MonotonicMs]
      const spin = this.policy === 'adaptive' ? spinner.next(packets, this.supers, beforeMs) : 0
      const n = this.io.wait(this.policy === 'busy' ? 0 : this.timeout(beforeMs), spin)
      if (spin > 0) spinner.done(clock[Clock.MonotonicMs] - beforeMs)
      for (let i = 0; i < n; i++) {
        const token = events[2 * i]
        if (token < 0) between()
        else this.ready(token)
      }
      // Whole milliseconds are small integers; a fraction would be boxed at every call it is passed to.
      packets = this.service(Math.floor(clock[Clock.MonotonicMs]))
    }
  }

  private timeout(nowMs: number): number {
    if (this.readyCount > 0) return 0
    let until = this.nextTickMs
    for (let i = 0; i < this.timed.length; i++) {
      const due = this.timed[i].due()
      if (due < until) until = due
    }
    for (let i = 0; i < this.waiters.length; i++) {
      const due = this.waiters[i].due()
      if (due < until) until = due
    }
    return until <= nowMs ? 0 : Math.ceil(until - nowMs)
  }

  /** One breath: every port that was ready when it began gets one batch. Packets received. */
  service(nowMs: number): number {
    const { batch, pipeline, readyList } = this
    for (let i = 0; i < this.timed.length; i++) {
      if (this.timed[i].due() <= nowMs) this.ready(this.timed[i].index)
    }
    const n = this.readyCount
    let packets = 0
    for (let i = 0; i < n; i++) {
      const index = readyList[i]
      this.isReady[index] = 0
      const port = pipeline.portOf[index]
      if (port !== null) packets += pipeline.run(batch, port, nowMs)
    }
    // What became ready meanwhile is the next breath's.
    readyList.copyWithin(0, n, this.readyCount)
    this.readyCount -= n
    for (let i = 0; i < this.waiters.length; i++) {
      if (this.waiters[i].due() > nowMs) continue
      this.waiters[i].run(nowMs)
      pipeline.settle(batch)
    }
    if (nowMs >= this.nextTickMs) this.tick(nowMs)
    return packets
  }

  /** Work that belongs to the clock. */
  private tick(nowMs: number): void {
    this.nextTickMs = nowMs + TICK_MS
    for (let i = 0; i < this.stages.length; i++) this.stages[i]?.tick(nowMs)
    this.pipeline.settle(this.batch)
  }

  /** Applies one command; what it answers. Throws an Error with a sentence; the plane is then as it was. */
  apply(command: Command): number {
    switch (command.op) {
      case 'switch-add':
        this.stages[command.id] = buildSwitch(this, command)
        break
      case 'wire-add':
        this.stages[command.id] = new Wire(this.pool, this.ports, this.memory.counters)
        break
      case 'switch-set':
        setSwitch(this.needSwitch(command.id), command.settings)
        break
      case 'switch-remove':
        this.needStage(command.id)
        this.stages[command.id] = null
        break
      case 'port-add': {
        const port = openPort(this, this.io, command.spec, command.fault)
        try {
          this.addPort(port, command.switch)
          this.set(port.index, command.settings)
        } catch (error) {
          if (this.pipeline.portOf[port.index] === port) this.removePort(port.index)
          else port.close()
          throw error
        }
        break
      }
      case 'port-set':
        this.set(command.index, command.settings)
        break
      case 'port-remove':
        this.removePort(command.index)
        break
      case 'port-detach':
        this.detach(command.index)
        break
      case 'flush':
        this.needSwitch(command.switch).fdb.flush(command.port, command.vid, false)
        break
      case 'capture':
        setCapture(this, command.index, command.ring, command.snapLen)
        break
      case 'vtep-add':
      case 'vtep-set':
      case 'vtep-remove':
      case 'vxlan-set':
      case 'remote-state':
      case 'vxlan-flush':
        applyTunnel(this, command)
        break
      case 'poll':
        this.policy = command.policy
        break
      case 'stop':
        this.running = false
        break
      default:
        return applyRouter(this, command)
    }
    return 0
  }

  /** Puts an opened port into a switch. */
  addPort(port: Port, stageId: number): void {
    const stage = this.needStage(stageId)
    if (stage.memberCount === stage.members.length)
      throw new Error(`stage ${stageId} has all the ports it can have`)
    if (this.pipeline.portOf[port.index] !== null) throw new Error(`port ${port.index} exists`)
    this.replacePort(port)
    this.pipeline.stageOf[port.index] = stage
    stage.members[stage.memberCount++] = port.index
  }

  /** Swaps the object behind an index: a decorator put on or taken off. */
  replacePort(port: Port): void {
    this.pipeline.portOf[port.index] = port
    this.timed = this.pipeline.portOf.filter((p): p is Port => p?.timed === true)
  }

  removePort(index: number): void {
    const stage = this.pipeline.stageOf[index]
    if (stage === null) return
    stage.forget(index, true)
    const left = [...stage.members.subarray(0, stage.memberCount)].filter((p) => p !== index)
    stage.members.set(left)
    stage.memberCount = left.length
    this.detach(index)
    this.pipeline.stageOf[index] = null
    this.ports.flags[index] = 0
  }

  /** Stops using a port's device; what the port held is dropped by name. */
  private detach(index: number): void {
    const port = this.pipeline.portOf[index]
    if (port === null) return
    const held = port.held()
    if (held > 0) drop(this.memory.counters, index, Drop.PortRemoved, held)
    this.memory.counters[index * COUNTER_WORDS + Counter.Held] = 0
    port.close()
    this.pipeline.portOf[index] = null
    this.timed = this.timed.filter((p) => p !== port)
    this.ports.flags[index] &= ~PortFlag.Up
    this.pipeline.stageOf[index]?.forget(index, false)
  }

  /** Applies settings to a port that was added with `addPort`. */
  set(index: number, settings: PortSettings): void {
    const port = this.pipeline.portOf[index]
    const stage = this.pipeline.stageOf[index]
    if (port === null || stage === null) throw new Error(`no port ${index}`)
    port.mtu = settings.mtu
    const nowS = (this.memory.clock[Clock.MonotonicMs] / 1000) | 0
    applySettings(this.ports, this.storm, stage, index, settings, nowS)
  }

  private needStage(id: number): Stage {
    const stage = this.stages[id]
    if (!stage) throw new Error(`no switch ${id}`)
    return stage
  }

  private needSwitch(id: number): Switch {
    const stage = this.needStage(id)
    if (!(stage instanceof Switch)) throw new Error(`${id} is not a switch`)
    return stage
  }

  close(): void {
    for (let i = 0; i < MAX_PORTS; i++) this.detach(i)
    this.io.close()
  }
}
