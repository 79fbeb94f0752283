/**
 * The difference of two configurations, as the steps that make the one of the other, in the order in
 * which they can be done: first what goes, then what comes, then what only changes its settings; what
 * stands on something goes before it and comes after it. What is equal is not mentioned, so its traffic
 * is not touched. Routers are in diff-router.ts.
 *
 *     goes      tunnels, VTEPs, routes by an interface that goes, interfaces, routers, ports, switches, namespaces
 *     comes     namespaces, switches, ports
 *     then      routers, interfaces, rules, routes
 *     at last   VTEPs, whose address may be one that a device of ours just got, and tunnels
 *
 *     changed in a port                            step
 *     device, fault                                remove-port, add-port
 *     a tunnel's remotes, statics, options         set-port
 *     anything else (vlan, mtu, flags, limits)     set-port
 *     changed in a VTEP
 *     what its sockets are made of                 remove-vtep, add-vtep, and its tunnels with it
 *     anything else (ttl, tos, strict, probe)      set-vtep
 *
 * The two ends of a patch are opened again together: each knows the other.
 */
import { isDeepStrictEqual } from 'node:util'
import { type RouterChange, routersComing, routersGoing } from './diff-router.ts'
import type { DeviceConfig, FabricConfig, PortConfig, SwitchConfig, VtepConfig } from './types.ts'

export type Change =
  | { op: 'remove-port'; switch: string; port: string }
  | { op: 'remove-switch'; name: string }
  | { op: 'remove-namespace'; name: string }
  | { op: 'add-namespace'; name: string }
  | { op: 'set-poll'; poll: FabricConfig['poll'] }
  /** `config.ports` is not part of it: its ports follow as add-port. */
  | { op: 'add-switch'; name: string; config: SwitchConfig }
  | { op: 'set-switch'; name: string; config: SwitchConfig }
  | { op: 'add-port'; switch: string; port: string; config: PortConfig }
  | { op: 'set-port'; switch: string; port: string; config: PortConfig }
  | { op: 'add-vtep'; name: string; config: VtepConfig }
  | { op: 'set-vtep'; name: string; config: VtepConfig }
  | { op: 'remove-vtep'; name: string }
  | RouterChange

interface PortAt {
  switch: string
  port: string
  config: PortConfig
}

export function diffConfig(old: FabricConfig, next: FabricConfig): Change[] {
  const before = portsOf(old)
  const after = portsOf(next)
  const sockets = keptSockets(old.vteps, next.vteps)
  const again = reopened(before, after, sockets)
  const changes: Change[] = []

  const gone = [...before].filter(([key]) => !after.has(key) || again.has(key)).map(([, at]) => at)
  const remove = (at: PortAt) => changes.push({ op: 'remove-port', switch: at.switch, port: at.port })
  gone.filter(isTunnel).forEach(remove)
  for (const name of Object.keys(old.vteps)) if (!sockets.has(name)) changes.push({ op: 'remove-vtep', name })
  changes.push(...routersGoing(old.routers, next.routers))
  gone.filter((at) => !isTunnel(at)).forEach(remove)
  for (const name of Object.keys(old.switches)) {
    if (!Object.hasOwn(next.switches, name)) changes.push({ op: 'remove-switch', name })
  }
  for (const name of old.namespaces)
    if (!next.namespaces.includes(name)) changes.push({ op: 'remove-namespace', name })

  for (const name of next.namespaces)
    if (!old.namespaces.includes(name)) changes.push({ op: 'add-namespace', name })
  if (old.poll !== next.poll) changes.push({ op: 'set-poll', poll: next.poll })
  for (const [name, config] of Object.entries(next.switches)) {
    if (!Object.hasOwn(old.switches, name)) changes.push({ op: 'add-switch', name, config })
  }
  for (const [name, config] of Object.entries(next.switches)) {
    if (!Object.hasOwn(old.switches, name)) continue
    const { ports: _, ...settings } = config
    const { ports: __, ...was } = old.switches[name]
    if (!isDeepStrictEqual(was, settings)) changes.push({ op: 'set-switch', name, config })
  }
  const added = [...after].filter(([key]) => !before.has(key) || again.has(key)).map(([, at]) => at)
  const add = (at: PortAt) => changes.push({ op: 'add-port', ...at })
  added.filter((at) => !isTunnel(at) && !isReplay(at)).forEach(add)
  for (const [key, at] of after) {
    const was = before.get(key)
    if (was && !again.has(key) && !isDeepStrictEqual(was.config, at.config))
      changes.push({ op: 'set-port', ...at })
  }
  changes.push(...routersComing(old.routers, next.routers))
  for (const [name, config] of Object.entries(next.vteps)) {
    if (!sockets.has(name)) changes.push({ op: 'add-vtep', name, config })
    else if (!isDeepStrictEqual(old.vteps[name], config)) changes.push({ op: 'set-vtep', name, config })
  }
  added.filter(isTunnel).forEach(add)
  added.filter(isReplay).forEach(add)
  return changes
}

/** Comes after the others: what is replayed shall find the ports it is for. */
const isReplay = ({ config }: PortAt): boolean => config.device.type === 'pcap'

const isTunnel = ({ config }: PortAt): boolean => config.device.type === 'vxlan'

/** By 'switch.port'. */
function portsOf(config: FabricConfig): Map<string, PortAt> {
  const ports = new Map<string, PortAt>()
  for (const [name, sw] of Object.entries(config.switches)) {
    for (const [port, portConfig] of Object.entries(sw.ports)) {
      ports.set(`${name}.${port}`, { switch: name, port, config: portConfig })
    }
  }
  return ports
}

/** What the sockets and tables of a VTEP are made of. */
const FOOTING = [
  'netns',
  'local',
  'port',
  'device',
  'underlay',
  'df',
  'udpChecksum',
  'sourcePorts',
  'maxRemotes',
  'limit',
] as const satisfies (keyof VtepConfig)[]

/** VTEPs of both whose sockets stay open. */
function keptSockets(old: Record<string, VtepConfig>, next: Record<string, VtepConfig>): Set<string> {
  const names = Object.keys(old).filter((name) => Object.hasOwn(next, name))
  return new Set(
    names.filter((name) => FOOTING.every((key) => isDeepStrictEqual(old[name][key], next[name][key]))),
  )
}

/** What a port stands on: of a tunnel, what cannot change while it is open. */
function footing(device: DeviceConfig): object {
  if (device.type !== 'vxlan') return device
  const { type, vtep, vni, group, groupDevice } = device
  return { type, vtep, vni, group, groupDevice }
}

/** Ports of both whose device must be closed and opened. */
function reopened(
  before: Map<string, PortAt>,
  after: Map<string, PortAt>,
  sockets: ReadonlySet<string>,
): Set<string> {
  const again = new Set<string>()
  for (const [key, { config }] of after) {
    const was = before.get(key)?.config
    if (!was) continue
    const same =
      isDeepStrictEqual(footing(was.device), footing(config.device)) &&
      isDeepStrictEqual(was.fault, config.fault)
    if (!same || (config.device.type === 'vxlan' && !sockets.has(config.device.vtep))) again.add(key)
  }
  for (const key of [...again]) {
    const device = after.get(key)!.config.device
    const peer = device.type === 'patch' ? `${device.switch}.${device.port}` : ''
    if (before.has(peer) && after.has(peer)) again.add(peer)
  }
  return again
}
