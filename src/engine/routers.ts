/**
 * Routers in the engine: built and changed by commands, from parts that do not know each other.
 */
import { Conntrack } from '../filter/conntrack/conntrack.ts'
import { adopt } from '../filter/conntrack/select.ts'
import { Mappings } from '../filter/nat/mappings.ts'
import { Nat } from '../filter/nat/nat.ts'
import { Netfilter } from '../filter/netfilter.ts'
import { Report } from '../filter/program/report.ts'
import { Tracker } from '../filter/program/tracker.ts'
import { native } from '../native.ts'
import { NO_HOOKS } from '../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { MAX_PORTS } from '../packet/layout.ts'
import { Arp } from '../router/arp.ts'
import { Fragmenter } from '../router/fragment.ts'
import { Icmp4Code, Icmp6Code } from '../router/icmp.ts'
import { type Interfaces, MAX_ADDRESSES } from '../router/interfaces.ts'
import { Nd } from '../router/nd.ts'
import { Neighbours } from '../router/neighbour.ts'
import { Reassembler } from '../router/reassembly.ts'
import { Router } from '../router/router.ts'
import { Routes } from '../router/routes.ts'
import type { FilterMemory, InterfaceSettings, RouterCommand } from './command.ts'
import type { Engine } from './engine.ts'
import { RouterFilterHost } from './filter-host.ts'
import { EngineRouterHost } from './router-host.ts'

export function applyRouter(engine: Engine, command: RouterCommand): void {
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
    case 'interface-set':
      setInterface(needRouter(engine, command.id).interfaces, command.index, command.settings)
      break
    case 'interface-remove':
      removeInterface(needRouter(engine, command.id), command.index)
      break
  }
}

function needRouter(engine: Engine, id: number): Router {
  const stage = engine.stages[id]
  if (!(stage instanceof Router)) throw new Error(`${id} is not a router`)
  return stage
}

function buildRouter(engine: Engine, command: Extract<RouterCommand, { op: 'router-add' }>): Router {
  const { memory, pool, ports, batch, pipeline } = engine
  const host = new EngineRouterHost(memory, pool, ports, batch, pipeline.loose, engine.ipRows, command.home)
  const router = new Router(host, new Routes(command.routes, command.policies), NO_HOOKS)
  router.open = !command.closed
  const { interfaces } = router
  const unreachable = (slot: number, nowMs: number): void =>
    router.errors.send(slot, Icmp4Code.HostUnreachable, Icmp6Code.AddressUnreachable, 0, nowMs)
  filters.set(router, { memory: command.filter, host: new RouterFilterHost(router, host, command.home) })
  const neighbours = new Neighbours(command.neighbours, host, interfaces, unreachable, command.seed)
  const told = (): void => {}
  const arp = new Arp(host, interfaces, neighbours, told, command.seed)
  const nd = new Nd(host, interfaces, neighbours, told, () => {}, command.seed)
  router.resolver = {
    output: (slot, iface, nowMs) => neighbours.output(slot, iface, nowMs),
    arp: (slot, iface, nowMs) => arp.receive(slot, iface, nowMs),
    nd: (slot, iface, nowMs) => nd.receive(slot, iface, nowMs),
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

interface FilterParts {
  memory: FilterMemory
  host: RouterFilterHost
}
/** What a router's filter is made of when its first rules come. */
const filters = new WeakMap<Router, FilterParts>()

function setRules(
  engine: Engine,
  { id, load, profile }: Extract<RouterCommand, { op: 'router-rules' }>,
): void {
  const router = needRouter(engine, id)
  const { host, memory } = filters.get(router)!
  if (!(router.hooks instanceof Netfilter)) {
    const parts = { pool: engine.pool, ip: engine.ipRows }
    const conntrack = new Conntrack(parts, memory.conntrack, { profile, checksum: native.checksum })
    adopt(conntrack.entries)
    const nat = new Nat(parts, conntrack, new Mappings(memory.mappings, memory.conntrack))
    const report = new Report(engine.memory, engine.pool, memory.report)
    const seed = (Math.random() * 0x100000000) | 0
    router.hooks = new Netfilter({ ...parts, host, conntrack: new Tracker(conntrack, nat), report, seed })
  }
  const filter = router.hooks as Netfilter
  filter.set(load)
  router.open = true
}

function setInterface(interfaces: Interfaces, index: number, s: InterfaceSettings): void {
  const four = s.addresses.filter((a) => a.family === 4)
  const six = s.addresses.filter((a) => a.family === 6)
  if (four.length > MAX_ADDRESSES || six.length > MAX_ADDRESSES)
    throw new RangeError(`interface ${s.name}: at most ${MAX_ADDRESSES} addresses of each family`)
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
  const base = index * MAX_ADDRESSES
  interfaces.count4[index] = four.length
  interfaces.count6[index] = six.length
  four.forEach((a, i) => {
    interfaces.address4[base + i] = a.address[0]
    interfaces.prefix4[base + i] = a.length
  })
  six.forEach((a, i) => {
    interfaces.address6.set(a.address, (base + i) * 4)
    interfaces.prefix6[base + i] = a.length
  })
}

function removeInterface(router: Router, index: number): void {
  const { interfaces } = router
  const port = interfaces.port[index]
  if (port >= 0 && port < MAX_PORTS) interfaces.ofPort[port] = -1
  interfaces.port[index] = -1
  interfaces.flags[index] = 0
  interfaces.count4[index] = 0
  interfaces.count6[index] = 0
}
