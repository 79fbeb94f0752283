/**
 * Routers in the engine: built and changed by commands, from parts that do not know each other.
 */
import { Conntrack } from '../filter/conntrack/conntrack.ts'
import { settingsOf } from '../filter/conntrack/options.ts'
import { adopt, remove } from '../filter/conntrack/select.ts'
import { Mappings } from '../filter/nat/mappings.ts'
import { Nat } from '../filter/nat/nat.ts'
import { Netfilter } from '../filter/netfilter.ts'
import { Report } from '../filter/program/report.ts'
import { Tracker } from '../filter/program/tracker.ts'
import { native } from '../native.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { NO_HOOKS } from '../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Clock, MAX_PORTS } from '../packet/layout.ts'
import { Punt } from '../packet/punt.ts'
import { Arp } from '../router/arp.ts'
import { Fragmenter } from '../router/fragment.ts'
import { Icmp4Code, Icmp6Code } from '../router/icmp.ts'
import { IfFlag } from '../router/interfaces.ts'
import { Nd } from '../router/nd.ts'
import { Neighbours } from '../router/neighbour.ts'
import type { AddressTold } from '../router/neighbour-dad.ts'
import { Reassembler } from '../router/reassembly.ts'
import { Router } from '../router/router.ts'
import { Routes } from '../router/routes.ts'
import { Addresses } from './addresses.ts'
import type { FilterMemory, InterfaceSettings, RouterCommand } from './command.ts'
import type { Engine } from './engine.ts'
import { RouterFilterHost } from './filter-host.ts'
import { PacketQueues } from './queue.ts'
import { EngineRouterHost } from './router-host.ts'
import { remember, sendMade } from './router-send.ts'

export function applyRouter(engine: Engine, command: RouterCommand): number {
  switch (command.op) {
    case 'router-add':
      engine.stages[command.id] = buildRouter(engine, command)
      break
    case 'router-routes':
      needRouter(engine, command.id).routes = new Routes(command.routes, command.policies)
      break
    case 'router-rules':
      setRules(engine, command)
      break
    case 'router-queues':
      setQueues(engine, command)
      break
    case 'router-remove':
      removeRouter(engine, command.id)
      break
    case 'router-send':
      sendMade(engine, needRouter(engine, command.id), command)
      break
    case 'interface-set':
      setInterface(needRouter(engine, command.id), command.index, command.settings)
      break
    case 'interface-remove':
      removeInterface(needRouter(engine, command.id), command.index)
      break
    case 'conntrack-remove': {
      const { conntrack } = parts.get(needRouter(engine, command.id))!
      const nowMs = Math.floor(engine.memory.clock[Clock.MonotonicMs])
      return conntrack ? remove(conntrack.entries, nowMs, command.filter) : 0
    }
  }
  return 0
}

function needRouter(engine: Engine, id: number): Router {
  const stage = engine.stages[id]
  if (!(stage instanceof Router)) throw new Error(`${id} is not a router`)
  return stage
}

function buildRouter(engine: Engine, command: Extract<RouterCommand, { op: 'router-add' }>): Router {
  const { memory, pool, ports, batch, pipeline } = engine
  // What a worker before this one held is gone.
  const held = command.home * COUNTER_WORDS + Counter.Held
  if (memory.counters[held] > 0) drop(memory.counters, command.home, Drop.PortRemoved, memory.counters[held])
  memory.counters[held] = 0
  const host = new EngineRouterHost(memory, pool, ports, batch, pipeline, engine.ipRows, command.home)
  const router = new Router(host, new Routes(command.routes, command.policies), NO_HOOKS)
  router.open = !command.closed
  remember(router, host)
  const { interfaces } = router
  const unreachable = (slot: number, nowMs: number): void =>
    router.errors.send(slot, Icmp4Code.HostUnreachable, Icmp6Code.AddressUnreachable, 0, nowMs)
  const addresses = new Addresses(memory, interfaces, (news) => engine.onAddress({ id: command.id, ...news }))
  const told: AddressTold = (...news) => addresses.told(...news)
  const filterHost = new RouterFilterHost(router, host, command.home)
  parts.set(router, { home: command.home, memory: command.filter, host: filterHost, addresses })
  const neighbours = new Neighbours(command.neighbours, host, interfaces, unreachable, command.seed)
  const arp = new Arp(host, interfaces, neighbours, told, command.seed)
  const punt = new Punt(engine.pool, engine.ipRows, command.punt, () => engine.notifyPunt(command.id))
  router.services = { punt: (slot, iface) => punt.put(slot, iface) }
  const solicited = (slot: number, iface: number): void => {
    if ((interfaces.flags[iface] & IfFlag.Advertise) !== 0) punt.put(slot, iface)
  }
  const nd = new Nd(host, interfaces, neighbours, told, solicited, command.seed)
  addresses.arp = arp
  addresses.nd = nd
  router.resolver = {
    output: (slot, iface, nowMs) => neighbours.output(slot, iface, nowMs),
    arp: (slot, iface, nowMs) => arp.receive(slot, iface, nowMs),
    nd: (slot, iface, nowMs) => nd.receive(slot, iface, nowMs),
    ask: (iface, address) => arp.solicit(iface, address, 0, 0, 0, -1, -1),
    flush: (iface, alsoPermanent) => neighbours.flush(iface, alsoPermanent),
    tick: (nowMs) => {
      neighbours.tick(nowMs)
      arp.tick(nowMs)
      nd.tick(nowMs)
    },
  }
  const fragmenter = new Fragmenter(host, interfaces, (slot, nowMs) =>
    neighbours.output(slot, host.ip[(slot << IP_SHIFT) + Ip.OutIf], nowMs),
  )
  const reassembler = new Reassembler(
    host,
    interfaces,
    {
      expired: (slot, nowMs) =>
        router.errors.send(slot, Icmp4Code.ReassemblyExceeded, Icmp6Code.ReassemblyExceeded, 0, nowMs),
      problem: (slot, pointer, nowMs) =>
        router.errors.send(slot, -1, Icmp6Code.ParameterProblem, pointer, nowMs),
    },
    command.seed,
  )
  router.fragments = {
    flush: (iface) => reassembler.flush(iface),
    gather: (slot, nowMs) => reassembler.gather(slot, nowMs),
    cut: (slot, mtu, nowMs) => fragmenter.cut(slot, mtu, nowMs),
    tick: (nowMs) => reassembler.tick(nowMs),
  }
  return router
}

interface Parts {
  /** Port index that counts what no port has received. */
  home: number
  /** What the filter is made of when the first rules come. */
  memory: FilterMemory
  host: RouterFilterHost
  addresses: Addresses
  conntrack?: Conntrack
  nat?: Nat
}
const parts = new WeakMap<Router, Parts>()

function setRules(
  engine: Engine,
  { conntrack: tracking = {}, id, load, profile }: Extract<RouterCommand, { op: 'router-rules' }>,
): void {
  const router = needRouter(engine, id)
  const filter = parts.get(router)!
  const { memory } = filter
  const options = { ...tracking, profile, checksum: native.checksum }
  if (!filter.conntrack) {
    const plane = { pool: engine.pool, ip: engine.ipRows }
    const conntrack = new Conntrack(plane, memory.conntrack, options)
    adopt(conntrack.entries)
    filter.conntrack = conntrack
    filter.nat = new Nat(plane, conntrack, new Mappings(memory.mappings, memory.conntrack))
    const report = new Report(engine.memory, engine.pool, memory.report)
    const seed = (Math.random() * 0x100000000) | 0
    const tracker = new Tracker(conntrack, filter.nat)
    router.hooks = new Netfilter({ ...plane, host: filter.host, conntrack: tracker, report, seed })
  } else Object.assign(filter.conntrack.settings, settingsOf(options, memory.conntrack))
  filter.nat!.filtering = tracking.filtering ?? 'endpoint-independent'
  const netfilter = router.hooks as Netfilter
  netfilter.set({ ...load, explain: profile === 'rfc' })
  router.open = true
}

function setQueues(
  engine: Engine,
  { id, memory, epoch, queues }: Extract<RouterCommand, { op: 'router-queues' }>,
): void {
  const router = needRouter(engine, id)
  const { host } = parts.get(router)!
  const { hooks } = router
  if (!(hooks instanceof Netfilter)) throw new Error(`router ${id} has no rules yet`)
  if (host.queues === null) {
    const home = parts.get(router)!.home
    host.queues = new PacketQueues({ router, netfilter: hooks, host: host.host, memory, home }, () =>
      engine.notify(home),
    )
    router.waiting = host.queues
    engine.waiters.push(host.queues)
  }
  host.queues.set(queues, epoch)
}

function removeRouter(engine: Engine, id: number): void {
  const router = needRouter(engine, id)
  for (let iface = 0; iface < router.interfaces.count; iface++) removeInterface(router, iface)
  engine.waiters = engine.waiters.filter((waiter) => waiter !== parts.get(router)?.host.queues)
  engine.stages[id] = null
}

function setInterface(router: Router, index: number, s: InterfaceSettings): void {
  const { interfaces } = router
  parts.get(router)!.addresses.set(index, s)
  const old = interfaces.port[index]
  if (old >= 0) interfaces.ofPort[old] = -1
  interfaces.count = Math.max(interfaces.count, index + 1)
  interfaces.names[index] = s.name
  interfaces.flags[index] = s.flags
  interfaces.port[index] = s.port
  interfaces.ofPort[s.port] = index
  interfaces.mtu[index] = s.mtu
  interfaces.macHi[index] = (s.mac[0] << 8) | s.mac[1]
  interfaces.macLo[index] = (s.mac[2] << 24) | (s.mac[3] << 16) | (s.mac[4] << 8) | s.mac[5]
}

function removeInterface(router: Router, index: number): void {
  const { interfaces } = router
  const port = interfaces.port[index]
  // While the interface is known: what is held for it is dropped in its name.
  if (port >= 0) router.forget(port, true)
  if (port >= 0 && port < MAX_PORTS) interfaces.ofPort[port] = -1
  interfaces.port[index] = -1
  interfaces.flags[index] = 0
  parts.get(router)!.addresses.remove(index)
}
