/**
 * The demo: runs a configuration as `up` does, then proves it from the inside of its namespaces.
 *
 *     every host pings every other, IPv4 and IPv6   ->   a TCP transfer between the first two
 *     ->   tables   ->   how to look further   ->   runs until Ctrl-C (or --once: ends)
 *
 * Hosts are the TAPs that the configuration puts into namespaces; who can reach whom follows from
 * their subnets and access VLANs, so any configuration can be proven, not only config/lab.yaml.
 */
import { join } from 'node:path'
import type { FabricConfig, Netns } from '../config/types.ts'
import type { Daemon } from '../control/daemon.ts'
import { runDaemon } from '../control/daemon.ts'
import type { Logger } from '../control/log.ts'
import { countersTable, fdbTable, type Palette, paletteFor, portsTable } from '../control/render.ts'
import { DEFAULT_SOCKET } from '../control/socket.ts'
import { packageRoot } from '../root.ts'
import { ping, settled, transfer } from './demo-traffic.ts'
import { DONE, FAILED } from './exit.ts'

export interface DemoOptions {
  file?: string
  once: boolean
  socket: string
  log: Logger
}

export interface Host {
  /** 'switch.port'. */
  port: string
  netns: Netns
  addresses: Subnet[]
  /** Hosts of different switches or access VLANs do not hear each other. */
  segment: string
}

interface Subnet {
  address: string
  family: 4 | 6
  /** What the address has in common with its neighbours, as text. */
  subnet: string
}

const PINGS = 3

/** Exit code: 0, or 1 when the proof failed with `once`. */
export function runDemo(options: DemoOptions): Promise<number> {
  const file = options.file ?? join(packageRoot, 'config', 'lab.yaml')
  return runDaemon({
    file,
    socket: options.socket,
    log: options.log,
    ready: (daemon, ended) => prove(daemon, ended, options),
  })
}

async function prove(daemon: Daemon, ended: AbortSignal, options: DemoOptions): Promise<number | undefined> {
  const p = paletteFor(process.stdout)
  const hosts = hostsOf(daemon.fabric.config)
  say(p.bold(`taploom is ready: ${hosts.length} namespaces, one process between them`))
  for (const h of hosts) say(`  ${h.netns.padEnd(14)}${h.addresses.map((a) => a.address).join('  ')}`)
  let good = false
  try {
    good = await proof(hosts, ended, p)
  } catch (error) {
    if (ended.aborted) return DONE
    say(p.bad(`the proof failed: ${(error as Error).message}`))
  }
  if (ended.aborted) return DONE
  const { fabric } = daemon
  say(`\n${p.bold('$ taploom show ports')}\n${portsTable(fabric.ports(), p)}`)
  say(`\n${p.bold('$ taploom show fdb')}\n${fdbTable(fabric.fdb(), p)}`)
  say(`\n${p.bold('$ taploom show counters')}\n${countersTable(fabric.counters(), p)}`)
  if (options.once) return good ? DONE : FAILED
  further(hosts, options.socket, p)
  return undefined
}

async function proof(hosts: Host[], ended: AbortSignal, p: Palette): Promise<boolean> {
  const pairs = pairsOf(hosts)
  if (pairs.length === 0) throw new Error('no two hosts of this configuration share a subnet')
  await settled(hosts, ended)
  say(`\n${p.bold('every host pings every other')}`)
  let good = true
  for (const { from, to, address } of pairs) {
    const { received, averageMs } = await ping(from.netns, address, PINGS, ended)
    const fine = received === PINGS
    good &&= fine
    const verdict = fine ? p.good(`${averageMs.toFixed(2)} ms`) : p.bad(`${received} of ${PINGS} answered`)
    say(`  ${from.netns.padEnd(14)}-> ${to.netns.padEnd(14)}${address.padEnd(18)}${verdict}`)
  }
  const { from, to, address } = pairs[0]
  const { gbps, seconds, tool } = await transfer(from.netns, to.netns, address, ended)
  say(`\n${p.bold('one TCP stream')}`)
  say(
    `  ${from.netns} -> ${to.netns}: ${p.good(`${gbps.toFixed(2)} Gb/s`)} for ${seconds.toFixed(1)} s (${tool})`,
  )
  return good && gbps > 0
}

function further(hosts: Host[], socket: string, p: Palette): void {
  const at = socket === DEFAULT_SOCKET ? '' : ` --socket ${socket}`
  const [one, other] = hosts
  say(`
${p.bold('It goes on running; look around from another terminal:')}
  taploom${at} show fdb
  taploom${at} show drops
  taploom${at} capture ${one.port} -w - | tshark -r -
  ip netns exec ${one.netns} ping ${other.addresses[0].address}
Ctrl-C ends it and removes everything.`)
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** The TAPs that live in namespaces and have addresses. */
export function hostsOf(config: FabricConfig): Host[] {
  const hosts: Host[] = []
  for (const [name, sw] of Object.entries(config.switches)) {
    for (const [port, { device, vlan }] of Object.entries(sw.ports)) {
      if (device.type !== 'tap' || device.netns === '' || device.addresses.length === 0) continue
      const vid = vlan.mode === 'access' ? vlan.vid : vlan.mode === 'trunk' ? (vlan.native ?? 'none') : 0
      const addresses = device.addresses.map(subnetOf)
      hosts.push({ port: `${name}.${port}`, netns: device.netns, addresses, segment: `${name}/${vid}` })
    }
  }
  return hosts
}

/** Every ordered pair that shares a segment and a subnet, per address of the target. */
export function pairsOf(hosts: Host[]): { from: Host; to: Host; address: string }[] {
  return hosts.flatMap((from) =>
    hosts
      .filter((to) => to !== from && to.segment === from.segment)
      .flatMap((to) =>
        to.addresses
          .filter((a) => from.addresses.some((b) => b.subnet === a.subnet))
          .map(({ address }) => ({ from, to, address })),
      ),
  )
}

/** '10.0.0.2/24' and '10.0.0.9/24' have the same `subnet`. */
export function subnetOf(cidr: string): Subnet {
  const [address, length] = cidr.split('/')
  const family = address.includes(':') ? 6 : 4
  const bits = family === 4 ? bits4(address) : bits6(address)
  return { address, family, subnet: `${family}/${length}/${bits.slice(0, Number(length))}` }
}

const binary = (n: number, width: number): string => n.toString(2).padStart(width, '0')

function bits4(address: string): string {
  return address
    .split('.')
    .map((part) => binary(Number(part), 8))
    .join('')
}

function bits6(address: string): string {
  const [left, right] = address.split('::').map((side) => (side === '' ? [] : side.split(':')))
  const tail = right ?? []
  const zeros = right === undefined ? 0 : 8 - left.length - tail.length
  const groups = [...left, ...new Array<string>(zeros).fill('0'), ...tail]
  return groups.map((group) => binary(Number.parseInt(group, 16), 16)).join('')
}
