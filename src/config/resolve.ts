/**
 * From the keys of a file, checked, to the FabricConfig the fabric builds: the defaults that depend on
 * another key, and one spelling for everything.
 */
import { resolve } from 'node:path'
import type { PortVlan } from '../switch/vlan.ts'
import { resolveDevice } from './resolve-device.ts'
import { resolveRouter } from './router-resolve.ts'
import type { FileKeys, PortKeys, SwitchKeys } from './schema.ts'
import type { SetsFound } from './sets.ts'
import type {
  DeviceConfig,
  FabricConfig,
  PortConfig,
  RouterConfig,
  RulesConfig,
  SwitchConfig,
  VtepConfig,
} from './types.ts'
import { resolveVtep } from './vtep-resolve.ts'

/** What has to outlive the daemon. */
const STATE = '/var/lib/taploom'
const TPID_C = 0x8100
const DEFAULT_VID = 1
/** Longest IP packet: what a port without a device of its own may carry. */
const MTU_MAX = 65535

/**
 * @param directory that relative paths start from
 * @param rules and sets: what the files of each router say, by its name
 */
export function resolveFile(
  keys: FileKeys,
  directory: string,
  rules: ReadonlyMap<string, RulesConfig[]>,
  sets: ReadonlyMap<string, SetsFound>,
): FabricConfig {
  const routerKeys = keys.routers ?? {}
  const tagged = new Set(
    Object.values(routerKeys).flatMap(({ interfaces }) =>
      Object.values(interfaces).flatMap((i) => (i.vlan === undefined ? [] : [i.switch])),
    ),
  )
  const switches: Record<string, SwitchConfig> = {}
  for (const [name, sw] of Object.entries(keys.switches ?? {}))
    switches[name] = resolveSwitch(sw, tagged.has(name), directory)
  const routers: Record<string, RouterConfig> = {}
  for (const [name, router] of Object.entries(routerKeys))
    routers[name] = resolveRouter(
      router,
      { directory, rules: rules.get(name) ?? [], sets: sets.get(name)?.config ?? [] },
      (sw) => switches[sw],
      (one, file) => resolve(directory, file ?? `${STATE}/leases/${name}.${one}.jsonl`),
    )
  const vteps: Record<string, VtepConfig> = {}
  for (const [name, vtep] of Object.entries(keys.vteps ?? {})) vteps[name] = resolveVtep(vtep)
  return { namespaces: keys.namespaces, poll: keys.poll, switches, routers, vteps }
}

/** @param tagged a router's interface on it names a VLAN */
function resolveSwitch(keys: SwitchKeys, tagged: boolean, directory: string): SwitchConfig {
  const vlanAware = tagged || Object.values(keys.ports).some((port) => port.vlan !== undefined)
  const tunnelled = Object.values(keys.ports).some((port) => port.vxlan !== undefined)
  const ports: Record<string, PortConfig> = {}
  for (const [name, port] of Object.entries(keys.ports)) {
    ports[name] = resolvePort(name, port, vlanAware, directory)
    if (tunnelled && !saysMtu(port)) ports[name].tunnelMtu = true
  }
  const reservedOpen = keys.reserved.reduce((mask, byte) => mask | (1 << byte), 0)
  return { agingS: keys.aging, limit: keys.limit, reservedOpen, vlanAware, ports }
}

function resolvePort(name: string, keys: PortKeys, vlanAware: boolean, directory: string): PortConfig {
  const device = resolveDevice(name, keys, directory)
  const vlan = resolveVlan(keys.vlan, vlanAware)
  const { learning, isolated, hairpin, locked, limit, flood, fault } = keys
  const { unknown = Infinity, multicast = Infinity, broadcast = Infinity } = keys.storm
  const statics = keys.static.map((s) => ({ mac: s.mac, vid: s.vlan ?? untaggedVid(vlan) ?? 0 }))
  const port: PortConfig = {
    device,
    vlan,
    mtu: keys.mtu ?? defaultMtu(device),
    learning,
    flood,
    isolated,
    hairpin,
    locked,
    limit,
    storm: { unknown, multicast, broadcast },
    statics,
  }
  if (fault) port.fault = fault
  return port
}

/** Whether its MTU is not for a tunnel to choose. */
function saysMtu({ tap, host, mtu }: PortKeys): boolean {
  const device = tap ?? host
  return device === undefined || device.mtu !== undefined || mtu !== undefined
}

function defaultMtu(device: DeviceConfig): number {
  if (device.type === 'packet') return 0
  return 'mtu' in device ? device.mtu : MTU_MAX
}

export function resolveVlan(keys: PortKeys['vlan'], vlanAware: boolean): PortVlan {
  if (!vlanAware) return { mode: 'unaware' }
  if (!keys) return { mode: 'access', vid: DEFAULT_VID }
  if (keys.access !== undefined) return { mode: 'access', vid: keys.access }
  if (keys.tunnel !== undefined) return { mode: 'tunnel', vid: keys.tunnel }
  const translate = pairsOf(keys.translate)
  const vlan: PortVlan = {
    mode: 'trunk',
    allowed: allowedVids(keys.trunk ?? [], translate),
    tpid: keys.protocol ?? TPID_C,
  }
  if (keys.native !== undefined) vlan.native = keys.native
  if (translate.length > 0) vlan.translate = translate
  return vlan
}

/** [on the wire, inside], in order. */
export function pairsOf(translate: Record<string, number> = {}): [wire: number, inside: number][] {
  return Object.entries(translate).map(([wire, inside]) => [Number(wire), inside])
}

/** Whether the list says `all`. */
export function isAll(ranges: [number, number][]): boolean {
  return ranges.some(([first, last]) => first === 1 && last === 4094)
}

/**
 * The VLANs of a trunk. `all` leaves out those that would need a number on the wire which `translate`
 * gave to another VLAN.
 */
function allowedVids(ranges: [number, number][], translate: [number, number][]): number[] {
  const vids = new Set<number>()
  for (const [first, last] of ranges) for (let vid = first; vid <= last; vid++) vids.add(vid)
  if (isAll(ranges)) {
    const insides = new Set(translate.map(([, inside]) => inside))
    for (const [wire] of translate) if (!insides.has(wire)) vids.delete(wire)
  }
  return [...vids].sort((a, b) => a - b)
}

/** The VLAN of untagged frames; undefined = there is none. */
export function untaggedVid(vlan: PortVlan): number | undefined {
  if (vlan.mode === 'unaware') return 0
  return vlan.mode === 'trunk' ? vlan.native : vlan.vid
}

/** The same from the keys, if the switch looks at tags. */
export function untaggedIn(keys: PortKeys['vlan']): number | undefined {
  return keys ? (keys.access ?? keys.tunnel ?? keys.native) : DEFAULT_VID
}

export function carries(vlan: PortVlan, vid: number): boolean {
  return untaggedVid(vlan) === vid || (vlan.mode === 'trunk' && vlan.allowed.includes(vid))
}
