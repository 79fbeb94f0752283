/** What the routers' tables say, as the documents of model.ts. Reads shared memory, as view.ts does. */
import { type ConntrackFilter, rows } from '../../filter/conntrack/select.ts'
import { printElement } from '../../filter/element.ts'
import { type IpSet, printCreate } from '../../filter/ipset.ts'
import { printRules } from '../../filter/print.ts'
import { readCounters } from '../../filter/program/counters.ts'
import { liveSet } from '../../filter/program/set-live.ts'
import { listNeighbours } from '../../router/neighbour-list.ts'
import type { RouteEntry } from '../../router/route-writer.ts'
import { RouteKind, TABLE_LOCAL, TABLE_MAIN } from '../../router/routes.ts'
import { formatMac } from '../devices.ts'
import type { Fabric } from '../fabric.ts'
import { addressText } from '../router/addressing.ts'
import { type LiveInterface, type LiveRouter, nameOf, UnknownName } from '../router/live-router.ts'
import type { RouterTables } from '../router/tables.ts'
import type {
  ConnectionRow,
  InterfaceRow,
  LeaseRow,
  NeighborRow,
  PortStatus,
  RouteRow,
  SetRow,
} from './model.ts'
import * as view from './view.ts'

const KINDS: Record<RouteKind, RouteRow['kind']> = {
  [RouteKind.Unicast]: 'unicast',
  [RouteKind.Local]: 'local',
  [RouteKind.Broadcast]: 'broadcast',
  [RouteKind.Blackhole]: 'blackhole',
  [RouteKind.Unreachable]: 'unreachable',
  [RouteKind.Prohibit]: 'prohibit',
  [RouteKind.Throw]: 'throw',
}

const TABLES: Record<number, string> = { [TABLE_LOCAL]: 'local', [TABLE_MAIN]: 'main', 253: 'default' }

function routeRow(router: LiveRouter, e: RouteEntry): RouteRow {
  return {
    router: router.name,
    table: TABLES[e.table] ?? String(e.table),
    to: e.length === 0 ? 'default' : `${addressText(e.address)}/${e.length}`,
    kind: KINDS[e.kind],
    hops: e.hops.map((h) => ({
      via: h.gateway ? addressText(h.gateway) : null,
      interface: nameOf(router, h.outIf),
      weight: h.weight,
    })),
    metric: e.metric,
    src: e.src ? addressText(e.src) : null,
  }
}

export function interfaces(fabric: Fabric, router?: string): InterfaceRow[] {
  const ports = new Map(view.ports(fabric).map((p) => [`${p.switch}.${p.name}`, p]))
  return routersOf(fabric, router).flatMap((r) =>
    [...r.interfaces.values()].map((live) => interfaceRow(r, live, ports.get(`${r.name}.${live.name}`)!)),
  )
}

function interfaceRow(router: LiveRouter, live: LiveInterface, port: PortStatus): InterfaceRow {
  const { on } = live.config
  const { type, state, reason, device, netns, mtu, rxPackets, rxBytes, txPackets, txBytes, drops } = port
  return {
    router: router.name,
    name: live.name,
    type: on.type === 'switch' ? 'switch' : type,
    switch: on.type === 'switch' ? on.switch : null,
    vlan: on.type === 'switch' ? on.vlan : null,
    port: on.type === 'switch' ? `${on.switch}.${router.name}.${live.name}` : `${router.name}.${live.name}`,
    device,
    netns,
    state,
    reason,
    mac: on.type === 'tun' ? null : formatMac(live.mac),
    mtu,
    addresses: live.addresses.map((a) => ({
      address: `${addressText(a.address)}/${a.length}`,
      state: a.state,
      used: a.used,
      other: a.other && formatMac(a.other),
    })),
    rxPackets,
    rxBytes,
    txPackets,
    txBytes,
    drops,
  }
}

/** Routes of all tables; of one router when named. */
export function routes(fabric: RouterTables, router?: string): RouteRow[] {
  return routersOf(fabric, router).flatMap((r) => [...r.writer.entries()].map((e) => routeRow(r, e)))
}

export function neighbors(fabric: RouterTables, router?: string): NeighborRow[] {
  const nowMs = monotonicMs()
  return routersOf(fabric, router).flatMap((r) =>
    listNeighbours(r.neighbours, nowMs).map((n) => ({
      router: r.name,
      interface: nameOf(r, n.interface),
      address: n.address,
      mac: n.mac,
      state: n.state,
      isRouter: n.router,
      waiting: n.waiting,
      usedS: n.usedMs / 1000,
      confirmedS: n.confirmedMs / 1000,
    })),
  )
}

/** Rules with live counters, a router and family after the other. */
export function rules(fabric: RouterTables, router?: string): string[] {
  return routersOf(fabric, router).flatMap((r) => {
    const { memory4, memory6, v4, v6 } = r.rules
    const families = [
      [v4, memory4],
      [v6, memory6],
    ] as const
    return families.flatMap(([set, memory]) => {
      if (!set || !memory) return []
      readCounters(set, memory)
      const title = `# router ${r.name}, IPv${set.family}`
      return [title, ...printRules(set, { counters: true }).trimEnd().split('\n')]
    })
  })
}

export function conntrack(
  fabric: RouterTables,
  router: string | undefined,
  filter: ConntrackFilter,
): ConnectionRow[] {
  const nowMs = monotonicMs()
  return routersOf(fabric, router).flatMap((r) =>
    Array.from(rows(r.filter.conntrack, nowMs, filter), (row) => ({ router: r.name, ...row })),
  )
}

/** What DHCP servers have given, and addresses that were found to be somebody else's. */
export function leases(fabric: RouterTables, router?: string): LeaseRow[] {
  const nowMs = Date.now()
  return routersOf(fabric, router).flatMap((r) =>
    [...r.services.leases()].flatMap(({ interface: name, lease }): LeaseRow[] => {
      const { address, clientId, expiresMs, hostName, mac, state } = lease
      if (state === 'released' || expiresMs <= nowMs) return []
      return [
        {
          router: r.name,
          interface: name,
          address: addressText([address | 0]),
          mac,
          clientId: clientId === '' ? null : clientId,
          hostName: hostName === '' ? null : hostName,
          state,
          expires: new Date(expiresMs).toISOString(),
          leftS: Math.round((expiresMs - nowMs) / 1000),
        },
      ]
    }),
  )
}

/** All of them, or the one that is named. @throws UnknownName */
export function routersOf(fabric: RouterTables, name?: string): LiveRouter[] {
  const { routers } = fabric.inventory.routing
  if (name === undefined) return [...routers.values()]
  const router = routers.get(name)
  if (router) return [router]
  throw new UnknownName('router', name, [...routers.keys()])
}

/** The worker's clock, in whole milliseconds. */
function monotonicMs(): number {
  const [seconds, nanos] = process.hrtime()
  return seconds * 1000 + Math.floor(nanos / 1e6)
}

export function sets(fabric: RouterTables, router?: string): SetRow[] {
  const nowMs = monotonicMs()
  return routersOf(fabric, router).flatMap((r) =>
    [...r.rules.sets.values()].map((one) => {
      const memory = r.rules.setMemories.get(one.name)
      return setRow(r.name, memory ? liveSet(one, memory, nowMs) : one)
    }),
  )
}

function setRow(router: string, set: IpSet): SetRow {
  const { counters, elements, family, name, type } = set
  return {
    router,
    name,
    type,
    family,
    create: printCreate(set),
    elements: elements.map((one) => ({
      element: printElement(one.fields, set),
      timeoutS: one.timeoutS,
      nomatch: one.nomatch,
      packets: counters ? Number(one.packets) : null,
      bytes: counters ? Number(one.bytes) : null,
      comment: one.comment,
    })),
  }
}
