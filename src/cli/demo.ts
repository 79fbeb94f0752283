/**
 * The demo: runs a configuration as `up` does, then proves it from the inside of its namespaces.
 *
 *     every host pings every other, IPv4 and IPv6   ->   a TCP transfer between the first two
 *     ->   tables   ->   how to look further   ->   runs until Ctrl-C (or --once: ends)
 *
 * Who can reach whom follows from the configuration (demo-hosts.ts), so any can be proven, not only
 * config/lab.yaml.
 */
import { join } from 'node:path'
import { DEFAULT_SOCKET } from '../control/api/socket.ts'
import type { Daemon } from '../control/daemon.ts'
import { runDaemon } from '../control/daemon.ts'
import type { Logger } from '../control/log.ts'
import { countersTable, fdbTable, type Palette, paletteFor, portsTable } from '../control/show/render.ts'
import { packageRoot } from '../root.ts'
import { type Host, hostsOf, pairsOf } from './demo-hosts.ts'
import { ping, settled, transfer } from './demo-traffic.ts'
import { DONE, FAILED } from './exit.ts'

export interface DemoOptions {
  file?: string
  once: boolean
  socket: string
  log: Logger
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
  // In a checkout the command is known to npx only.
  const taploom = packageRoot.includes('/node_modules/') ? 'taploom' : 'npx taploom'
  const [one, other] = hosts
  say(`
${p.bold('It goes on running; look around from another terminal:')}
  ${taploom}${at} show fdb
  ${taploom}${at} show drops
  ${taploom}${at} capture ${one.port} -w - | tshark -r -
  ip netns exec ${one.netns} ping ${other.addresses[0].address}
Ctrl-C ends it and removes everything.`)
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)
