/**
 * A router as the control thread holds it: its interfaces, tables in shared memory, and the commands that
 * make the worker's side.
 */
import { inSubnet, readCidr } from '../../config/address.ts'
import type { InterfaceConfig, PolicyConfig, PortConfig, RouteConfig } from '../../config/types.ts'
import type { Command, FilterMemory } from '../../engine/command.ts'
import { conntrackMemory } from '../../filter/conntrack/layout.ts'
import { Mappings } from '../../filter/nat/mappings.ts'
import type { ReportMemory } from '../../filter/program/report.ts'
import { native } from '../../native.ts'
import { ringMemory } from '../../packet/ring.ts'
import type { RouteWriter } from '../../router/route-writer.ts'
import type { Policy } from '../../router/routes.ts'
import { policiesOf } from './addressing.ts'
import type { OwnAddress } from './own-addresses.ts'
import type { QueueDesk } from './queue-desk.ts'
import type { RuleLog } from './rule-log.ts'
import type { LiveRules, Subnet } from './rules.ts'
import type { RouterServices } from './services.ts'

/** Connections there is room for at least; memory is touched as they come. */
const CONNECTIONS = 1 << 20
/** Of records that nobody has read yet: headers, and whole packets. */
const LOG_BYTES = 1 << 18
const NFLOG_BYTES = 1 << 22

export interface LiveInterface {
  index: number
  name: string
  config: InterfaceConfig
  mac: Uint8Array
  /** Port index of the router's end. */
  port: number
  addresses: OwnAddress[]
}

export interface LiveRouter {
  id: number
  name: string
  /** Port index that counts what the router itself makes and holds. */
  home: number
  interfaces: Map<string, LiveInterface>
  routes: RouteConfig[]
  policies: PolicyConfig[]
  writer: RouteWriter
  neighbours: SharedArrayBuffer
  filter: FilterMemory
  rules: LiveRules
  ruleLog: RuleLog
  queues: QueueDesk
  services: RouterServices
  seed: number
}

export function addCommand(router: LiveRouter): Command {
  const { id, name, home, neighbours, filter, seed } = router
  return {
    op: 'router-add',
    id,
    name,
    home,
    routes: router.writer.memory,
    policies: policyList(router),
    neighbours,
    filter,
    punt: router.services.memory,
    closed: true,
    seed,
  }
}

/** @param most connections that the configuration allows */
export function filterMemory(seed: number, most: number): FilterMemory {
  const connections = Math.max(CONNECTIONS, most)
  const conntrack = conntrackMemory(connections)
  // Read at random places, and big as soon as there are many connections.
  native.hugePages(new Uint8Array(conntrack.entries.buffer))
  native.hugePages(new Uint8Array(conntrack.index.buffer))
  const mappings = Mappings.memory(connections, seed, true)
  return { conntrack, mappings, report: reportMemory() }
}

function reportMemory(): ReportMemory {
  return {
    log: ringMemory(LOG_BYTES),
    nflog: ringMemory(NFLOG_BYTES),
    lost: new SharedArrayBuffer(8),
  }
}

/** By index; '' where there is none. */
export function interfaceNames(router: LiveRouter): string[] {
  const names: string[] = []
  for (const { index, name } of router.interfaces.values()) names[index] = name
  return Array.from(names, (name) => name ?? '')
}

/** Something was named that is not there. */
export class UnknownName extends Error {
  override name = 'UnknownName'
  readonly kind: string

  constructor(kind: string, name: string, known: string[]) {
    super(`no ${kind} ${name}; there are ${known.join(', ') || 'none'}`)
    this.kind = kind
  }
}

/** '-' when there is none with this index. */
export function nameOf(router: LiveRouter, index: number): string {
  for (const live of router.interfaces.values()) if (live.index === index) return live.name
  return '-'
}

export function subnetOf(text: string): Subnet {
  const cidr = readCidr(text)
  return { cidr: text, contains: (address) => inSubnet(address, cidr) }
}

export function policyList(router: LiveRouter): Policy[] {
  return policiesOf(router.policies, (name) => indexIn(router, name))
}

export function indexIn(router: LiveRouter, name: string): number {
  const live = router.interfaces.get(name)
  if (!live) throw new Error(`router ${router.name}: no interface ${name}`)
  return live.index
}

/** A port with nothing special about it. */
export function plainPort(
  device: PortConfig['device'],
  mtu: number,
  fault?: PortConfig['fault'],
): PortConfig {
  const none = Number.POSITIVE_INFINITY
  return {
    device,
    vlan: { mode: 'unaware' },
    mtu,
    learning: true,
    flood: { unknown: true, multicast: true, broadcast: true },
    isolated: false,
    hairpin: false,
    locked: false,
    limit: 0,
    storm: { unknown: none, multicast: none, broadcast: none },
    statics: [],
    fault,
  }
}
