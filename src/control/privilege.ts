/**
 * Which capabilities a configuration needs, and what to say when one is missing. Read capabilities(7).
 *
 *     CAP_NET_ADMIN   a TAP or TUN, addresses and routes
 *     CAP_SYS_ADMIN   setns into a network namespace, and making one
 *     CAP_NET_RAW     a packet socket on an existing device
 */
import { readFileSync } from 'node:fs'
import type { FabricConfig } from '../config/types.ts'

export interface Capability {
  bit: number
  name: string
  purpose: string
}

const NET_ADMIN: Capability = {
  bit: 12,
  name: 'CAP_NET_ADMIN',
  purpose: 'to create devices and give them addresses',
}
const NET_RAW: Capability = {
  bit: 13,
  name: 'CAP_NET_RAW',
  purpose: 'to open packet sockets on existing devices',
}
const SYS_ADMIN: Capability = {
  bit: 21,
  name: 'CAP_SYS_ADMIN',
  purpose: 'to create and enter network namespaces',
}

export class PrivilegeError extends Error {
  override name = 'PrivilegeError'
}

export function neededCapabilities(config: FabricConfig): Capability[] {
  const devices = [
    ...Object.values(config.switches).flatMap((sw) => Object.values(sw.ports).map((port) => port.device)),
    ...Object.values(config.routers).flatMap((router) =>
      Object.values(router.interfaces).flatMap(({ on }) => (on.type === 'switch' ? [] : [on])),
    ),
  ]
  const needed: Capability[] = []
  if (devices.some((d) => d.type === 'tap' || d.type === 'tun' || d.type === 'host')) needed.push(NET_ADMIN)
  const placed = [...devices, ...Object.values(config.vteps)]
  const namespaces = config.namespaces.length > 0 || placed.some((d) => 'netns' in d && d.netns !== '')
  if (namespaces) needed.push(SYS_ADMIN)
  if (devices.some((d) => d.type === 'packet')) needed.push(NET_RAW)
  return needed
}

/** The effective set of this process, as the kernel prints it. */
export function effectiveCapabilities(): bigint {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return BigInt(`0x${line?.[1] ?? '0'}`)
}

/** @throws PrivilegeError that says what is missing, what for, and how to get it */
export function requireCapabilities(config: FabricConfig, effective = effectiveCapabilities()): void {
  const missing = neededCapabilities(config).filter(({ bit }) => ((effective >> BigInt(bit)) & 1n) === 0n)
  if (missing.length > 0) throw new PrivilegeError(explain(missing))
}

/** Ambient, because `ip` runs as a child and must have them too; file capabilities on node would not reach it. */
export function explain(missing: Capability[]): string {
  const list = missing.map(({ name, purpose }) => `  ${name}  ${purpose}`)
  const sets = missing.map(({ name }) => `+${name.slice('CAP_'.length).toLowerCase()}`).join(',')
  const unit = missing.map(({ name }) => name).join(' ')
  return [
    'this process lacks',
    ...list,
    'Run it with sudo, or hand it just these:',
    `  sudo setpriv --reuid $USER --regid $(id -g) --init-groups --inh-caps ${sets} --ambient-caps ${sets} taploom ...`,
    `  or in a systemd unit: AmbientCapabilities=${unit}`,
  ].join('\n')
}
