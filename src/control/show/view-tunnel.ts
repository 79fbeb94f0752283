/** What the tables of the VTEPs say, as the documents of model.ts. Reads shared memory, as view.ts does. */
import { isAddress } from '../../config/address.ts'
import { native } from '../../native.ts'
import { HashTable } from '../../table/hash.ts'
import {
  COUNT_SHIFT,
  isLive,
  REMOTE_SHIFT,
  Remote,
  RemoteCount,
  RemoteFlag,
  Station,
} from '../../tunnel/tables.ts'
import type { Fabric } from '../fabric.ts'
import type { LivePort } from '../ports.ts'
import { innerMtu, type LiveVtep } from '../tunnel/live-vtep.ts'
import { defaultMtu } from '../tunnel/mtu.ts'
import { addressOf, remoteText } from '../tunnel/remote-rows.ts'
import type { StatusReport, TunnelDrops, TunnelRow } from './model.ts'

export interface TunnelFilter {
  vtep?: string
}

/** A row per remote; names that are not known have one too. */
export function tunnels(fabric: Fabric, filter: TunnelFilter = {}): TunnelRow[] {
  const all = [...fabric.inventory.tunnels.vteps.values()]
  return all
    .filter((vtep) => filter.vtep === undefined || vtep.name === filter.vtep)
    .flatMap((vtep) => [...remotesOf(fabric, vtep), ...unresolved(vtep)])
}

function remotesOf(fabric: Fabric, vtep: LiveVtep): TunnelRow[] {
  const words = vtep.memory.remotes
  const counts = vtep.memory.counters
  const users = usersOf(fabric, vtep, words)
  const learned = learnedBy(vtep, words)
  const watch = fabric.tunnels.watchOf(vtep)
  const byIndex = new Map([...fabric.inventory.ports.values()].map((p) => [p.index, p]))
  const nowS = process.hrtime()[0]
  const rows: TunnelRow[] = []
  for (let row = 0; row << REMOTE_SHIFT < words.length; row++) {
    const at = row << REMOTE_SHIFT
    if (words[at + Remote.Family] === 0) continue
    const flags = words[at + Remote.Flags]
    const at8 = row << COUNT_SHIFT
    const known = watch?.remotes.get(row)
    const ports = new Set(users.get(row) ?? [])
    for (const index of learned.get(row) ?? []) {
      const port = byIndex.get(index)
      if (port) ports.add(port)
    }
    const pathMtu = words[at + Remote.Mtu] || defaultMtu(vtep)
    const kept = [...ports].some(
      (p) => p.config.device.type === 'vxlan' && p.config.device.innerVlan === 'keep',
    )
    const drops = dropsOf(counts, at8)
    rows.push({
      vtep: vtep.name,
      remote: remoteText(words, row, vtep.config.device),
      name: nameOf(vtep, remoteText(words, row)),
      kind:
        (flags & RemoteFlag.Group) !== 0 ? 'group' : (flags & RemoteFlag.Named) !== 0 ? 'listed' : 'learned',
      state: (flags & RemoteFlag.Dead) !== 0 ? 'down' : (known?.state ?? 'unknown'),
      vnis: [...new Set([...ports].flatMap(vniOf))].sort((a, b) => a - b),
      ports: [...ports].map((p) => `${p.switch}.${p.name}`),
      addresses: words[at + Remote.Addresses],
      underlay: underlayOf(vtep),
      mtu: innerMtu(pathMtu, vtep.config.family, kept ? 'keep' : 'discard'),
      pathMtu,
      mtuFrom: known?.probe.source ?? 'device',
      heardS: words[at + Remote.HeardS] === 0 ? null : Math.max(0, nowS - words[at + Remote.HeardS]),
      txPackets: counts[at8 + RemoteCount.TxPackets],
      txBytes: counts[at8 + RemoteCount.TxBytes],
      rxPackets: counts[at8 + RemoteCount.RxPackets],
      rxBytes: counts[at8 + RemoteCount.RxBytes],
      drops,
      dropped: Object.values(drops).reduce((sum, n) => sum + n, 0),
      learned: counts[at8 + RemoteCount.Learned],
      moved: counts[at8 + RemoteCount.Moved],
      evicted: counts[at8 + RemoteCount.Evicted],
    })
  }
  return rows
}

function dropsOf(counts: Float64Array, at: number): TunnelDrops {
  return {
    'tunnel-too-big': counts[at + RemoteCount.TooBig],
    'tunnel-unreachable': counts[at + RemoteCount.Unreachable],
    'no-room': counts[at + RemoteCount.NoRoom],
    refused: counts[at + RemoteCount.Refused],
    'tunnel-remote': counts[at + RemoteCount.NotAccepted],
    'tunnel-tagged': counts[at + RemoteCount.Tagged],
    'tunnel-ecn': counts[at + RemoteCount.Ecn],
  }
}

function underlayOf({ config, underlay }: LiveVtep): TunnelRow['underlay'] {
  if (underlay !== null) return 'tap'
  return config.underlay === 'tap' ? 'tap-failed' : 'socket'
}

const vniOf = ({ config }: LivePort): number[] => (config.device.type === 'vxlan' ? [config.device.vni] : [])

/** Names that lead to the address; '' = none. */
function nameOf(vtep: LiveVtep, address: string): string | null {
  const names = new Set(
    [...vtep.tunnels.values()].flatMap(({ remotes, statics }) => [
      ...remotes,
      ...statics.map((s) => s.remote),
    ]),
  )
  return [...names].find((name) => !isAddress(name) && vtep.names.address(name) === address) ?? null
}

/** Ports whose configuration names each remote, by row. */
function usersOf(fabric: Fabric, vtep: LiveVtep, words: Int32Array): Map<number, LivePort[]> {
  const { inventory } = fabric
  const rowOf = new Map<string, number>()
  for (let row = 0; row << REMOTE_SHIFT < words.length; row++)
    if (words[row << REMOTE_SHIFT] !== 0) rowOf.set(addressOf(words, row).join(' '), row)
  const users = new Map<number, LivePort[]>()
  for (const [key, config] of vtep.tunnels) {
    const port = inventory.ports.get(key)
    if (!port) continue
    const { remotes, statics, group } = inventory.tunnels.settings(vtep, config)
    const named = [...remotes, ...statics.map((s) => s.remote), ...(group ? [group] : [])]
    for (const row of new Set(named.map(({ address }) => rowOf.get(address.join(' '))))) {
      if (row === undefined) continue
      const found = users.get(row)
      if (found) found.push(port)
      else users.set(row, [port])
    }
  }
  return users
}

/** Indices of ports that learned something from each remote, by row. */
function learnedBy(vtep: LiveVtep, remotes: Int32Array): Map<number, Set<number>> {
  const { words } = new HashTable(vtep.memory.addresses)
  const ports = new Map<number, Set<number>>()
  for (let at = 0; at < words.length; at += 4) {
    const value = words[at + 2]
    if (words[at + 1] === 0 || !isLive(remotes, value)) continue
    const row = value & Station.RowMask
    const found = ports.get(row)
    if (found) found.add((words[at + 1] >>> 16) & 0x7fff)
    else ports.set(row, new Set([(words[at + 1] >>> 16) & 0x7fff]))
  }
  return ports
}

function unresolved(vtep: LiveVtep): TunnelRow[] {
  const rows = new Map<string, TunnelRow>()
  for (const [key, { vni, remotes, statics }] of vtep.tunnels) {
    for (const name of new Set([...remotes, ...statics.map((s) => s.remote)])) {
      if (isAddress(name) || vtep.names.address(name) !== null) continue
      const row = rows.get(name) ?? emptyRow(vtep, name)
      row.vnis.push(vni)
      row.ports.push(key)
      rows.set(name, row)
    }
  }
  return [...rows.values()]
}

function emptyRow(vtep: LiveVtep, name: string): TunnelRow {
  const none = { txPackets: 0, txBytes: 0, rxPackets: 0, rxBytes: 0, learned: 0, moved: 0, evicted: 0 }
  const pathMtu = defaultMtu(vtep)
  return {
    vtep: vtep.name,
    remote: null,
    name,
    kind: 'listed',
    state: 'unresolved',
    vnis: [],
    ports: [],
    addresses: 0,
    underlay: underlayOf(vtep),
    mtu: innerMtu(pathMtu, vtep.config.family, 'discard'),
    pathMtu,
    mtuFrom: 'device',
    heardS: null,
    ...none,
    drops: dropsOf(new Float64Array(RemoteCount.Words), 0),
    dropped: 0,
  }
}

export function vtepsOf(fabric: Fabric): StatusReport['vteps'] {
  return [...fabric.inventory.tunnels.vteps.values()].map((vtep) => {
    const { name, config, memory, unicast } = vtep
    const words = memory.remotes
    let remotes = 0
    for (let at = 0; at < words.length; at += 1 << REMOTE_SHIFT) if (words[at] !== 0) remotes++
    return {
      name,
      local: config.local,
      port: config.port,
      netns: config.netns || null,
      underlay: underlayOf(vtep),
      mtu: defaultMtu(vtep),
      remotes,
      addresses: new HashTable(memory.addresses).size,
      limit: config.limit,
      lost: native.socketDrops(unicast),
    }
  })
}

/** The remote that an address of a VXLAN port is behind; null = none is known (any more). */
export function remoteOf(fabric: Fabric, port: LivePort, macHi: number, macLo: number): string | null {
  const { device } = port.config
  const vtep = device.type === 'vxlan' ? fabric.inventory.tunnels.vteps.get(device.vtep) : undefined
  if (!vtep) return null
  const table = new HashTable(vtep.memory.addresses)
  const at = table.find(macLo, 0x80000000 | (port.index << 16) | macHi | 0)
  const remotes = vtep.memory.remotes
  if (at < 0 || !isLive(remotes, table.words[at + 2])) return null
  return remoteText(remotes, table.words[at + 2] & Station.RowMask, vtep.config.device)
}
