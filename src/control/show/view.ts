/**
 * What the tables say, as the documents of model.ts. Reads shared memory: the worker is never asked,
 * so a busy or dead worker can still be looked at. A row that changes meanwhile may be seen twice or
 * not at all.
 */
import { constants } from 'node:os'
import type { PortConfig } from '../../config/types.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../packet/counters.ts'
import { DROPS } from '../../packet/drop.ts'
import { SLOT_SIZE } from '../../packet/layout.ts'
import { version } from '../../root.ts'
import { Entry } from '../../switch/fdb.ts'
import { Member, VIDS } from '../../switch/ports.ts'
import type { PortVlan } from '../../switch/vlan.ts'
import { HashTable } from '../../table/hash.ts'
import { formatMac, OFFLOAD_NAMES } from '../devices.ts'
import type { Fabric } from '../fabric.ts'
import { type LivePort, mtuOf, namespaceGone, readDevice } from '../ports.ts'
import { PathTable, usableMtu } from '../tunnel/mtu.ts'
import type { CounterRow, DropRow, FdbRow, PortStatus, StatusReport, VlanRow } from './model.ts'
import { remoteOf, vtepsOf } from './view-tunnel.ts'

export interface FdbFilter {
  switch?: string
  /** 'port' or 'switch.port'. */
  port?: string
  vlan?: number
}

/** Why a port's device is not usable any more, for people. */
export function whyDown(port: LivePort, errno: number): string {
  const netns = port.device?.netns ?? ''
  if (namespaceGone(port)) return `its network namespace ${netns} was deleted`
  if (!readDevice(port)) return `device ${port.device?.name ?? port.name} was deleted`
  const name = Object.entries(constants.errno).find(([, n]) => n === -errno)?.[0] ?? `errno ${-errno}`
  return `the kernel refused its descriptor (${name})`
}

function deviceNetns(config: PortConfig): string | null {
  return 'netns' in config.device ? config.device.netns || null : null
}

function stateOf(port: LivePort): { state: 'up' | 'down'; reason: string | null; mac: Uint8Array | null } {
  if (port.down) return { state: 'down', reason: port.down, mac: null }
  if (!port.device) return { state: 'up', reason: null, mac: null }
  const link = readDevice(port)
  if (!link) return { state: 'down', reason: 'its device is gone', mac: null }
  return link.up
    ? { state: 'up', reason: null, mac: link.mac }
    : { state: 'down', reason: `device ${port.device.name} is not set up`, mac: link.mac }
}

/** 'access 10', 'trunk 1,10-20 native 1', 'tunnel 100', '-'. */
export function vlanText(vlan: PortVlan): string {
  switch (vlan.mode) {
    case 'unaware':
      return '-'
    case 'access':
    case 'tunnel':
      return `${vlan.mode} ${vlan.vid}`
    case 'trunk': {
      const native = vlan.native === undefined ? '' : ` native ${vlan.native}`
      const tpid = vlan.tpid && vlan.tpid !== 0x8100 ? ` 0x${vlan.tpid.toString(16)}` : ''
      return `trunk ${ranges(vlan.allowed)}${native}${tpid}`
    }
  }
}

function ranges(vids: number[]): string {
  const sorted = [...vids].sort((a, b) => a - b)
  if (sorted.length >= 4094) return 'all'
  const out: string[] = []
  for (let i = 0; i < sorted.length; ) {
    let j = i
    while (j + 1 < sorted.length && sorted[j + 1] === sorted[j] + 1) j++
    out.push(j === i ? `${sorted[i]}` : `${sorted[i]}-${sorted[j]}`)
    i = j + 1
  }
  return out.join(',')
}

export function ports(fabric: Fabric): PortStatus[] {
  const paths = new PathTable()
  const learned = new Map<number, number>()
  for (const { port } of entries(fabric, {})) learned.set(port.index, (learned.get(port.index) ?? 0) + 1)
  return [...fabric.inventory.ports.values()].map((port) => {
    const c = fabric.inventory.memory.counters
    const at = port.index * COUNTER_WORDS
    const { state, reason, mac } = stateOf(port)
    const { device } = port.config
    return {
      name: port.name,
      switch: port.switch,
      type: device.type,
      state,
      reason,
      device: port.device?.name ?? ('name' in device ? device.name : null),
      netns: deviceNetns(port.config),
      mac: mac ? formatMac(mac) : null,
      mtu: device.type === 'vxlan' ? usableMtu(fabric.inventory, port, paths) : mtuOf(port),
      vlan: vlanText(port.config.vlan),
      addresses: 'addresses' in device ? device.addresses : [],
      offloads: OFFLOAD_NAMES.filter(([bit]) => (port.device?.offloads ?? 0) & bit).map(([, name]) => name),
      learned: learned.get(port.index) ?? 0,
      rxPackets: c[at + Counter.RxPackets],
      rxBytes: c[at + Counter.RxBytes],
      txPackets: c[at + Counter.TxPackets],
      txBytes: c[at + Counter.TxBytes],
      drops: dropsOf(c, port.index),
    }
  })
}

/** Every live address, with the port it is behind. */
function* entries(fabric: Fabric, filter: FdbFilter): Generator<{ row: FdbRow; port: LivePort }> {
  const nowS = process.hrtime()[0]
  const byIndex = new Map([...fabric.inventory.ports.values()].map((p) => [p.index, p]))
  const only = filter.port === undefined ? undefined : fabric.findPort(filter.port)
  for (const sw of fabric.inventory.switches.values()) {
    if (filter.switch !== undefined && sw.name !== filter.switch) continue
    const table = new HashTable(sw.fdb)
    if (table.size === 0) continue
    const words = table.words
    const mac = new Uint8Array(6)
    for (let at = 0; at < words.length; at += 4) {
      const key1 = words[at + 1]
      if (key1 === 0) continue
      const key0 = words[at]
      const value = words[at + 2]
      const port = byIndex.get(value & Entry.PortMask)
      const vlan = (key1 >>> 16) & 0xfff
      if (!port || (only && port !== only) || (filter.vlan !== undefined && vlan !== filter.vlan)) continue
      const isStatic = (value & Entry.Static) !== 0
      const ageS = isStatic ? 0 : Math.max(0, nowS - words[at + 3])
      if (!isStatic && sw.config.agingS !== 0 && ageS > sw.config.agingS) continue
      mac.set([
        (key1 >> 8) & 0xff,
        key1 & 0xff,
        key0 >>> 24,
        (key0 >> 16) & 0xff,
        (key0 >> 8) & 0xff,
        key0 & 0xff,
      ])
      const type = (value & Entry.Own) !== 0 ? 'own' : isStatic ? 'static' : 'dynamic'
      const remote = port.config.device.type === 'vxlan' ? remoteOf(fabric, port, key1 & 0xffff, key0) : null
      yield { row: { switch: sw.name, vlan, mac: formatMac(mac), port: port.name, type, ageS, remote }, port }
    }
  }
}

export function fdb(fabric: Fabric, filter: FdbFilter): FdbRow[] {
  const rows = [...entries(fabric, filter)].map(({ row }) => row)
  const order = (r: FdbRow) => `${r.switch} ${String(r.vlan).padStart(4)} ${r.mac}`
  return rows.sort((a, b) => (order(a) < order(b) ? -1 : 1))
}

/** Which ports a VLAN leaves by, and how: read from the configuration's modes. */
function membership(vlan: PortVlan): Uint8Array {
  const row = new Uint8Array(VIDS)
  if (vlan.mode === 'trunk') {
    for (const vid of vlan.allowed) row[vid] = Member.Tagged
    if (vlan.native !== undefined) row[vlan.native] = Member.Untagged
  } else if (vlan.mode === 'unaware') row[0] = Member.Untagged
  else row[vlan.vid] = Member.Untagged
  return row
}

export function vlans(fabric: Fabric): VlanRow[] {
  const rows: VlanRow[] = []
  for (const sw of fabric.inventory.switches.values()) {
    const members = [...fabric.inventory.ports.values()]
      .filter((p) => p.switch === sw.name)
      .map((p) => ({ name: p.name, row: membership(p.config.vlan) }))
    const addresses = new Map<number, number>()
    for (const { row } of entries(fabric, { switch: sw.name })) {
      addresses.set(row.vlan, (addresses.get(row.vlan) ?? 0) + 1)
    }
    // Trunks that allow everything do not make 4094 rows: a VLAN is shown when a port has it by name.
    const named = new Set<number>(addresses.keys())
    for (const p of fabric.inventory.ports.values()) {
      if (p.switch !== sw.name) continue
      const { vlan } = p.config
      if (vlan.mode === 'trunk') {
        if (vlan.allowed.length < 4094) for (const vid of vlan.allowed) named.add(vid)
        if (vlan.native !== undefined) named.add(vlan.native)
      } else named.add(vlan.mode === 'unaware' ? 0 : vlan.vid)
    }
    for (const vid of [...named].sort((a, b) => a - b)) {
      const tagged = members.filter((m) => m.row[vid] === Member.Tagged).map((m) => m.name)
      const untagged = members.filter((m) => m.row[vid] === Member.Untagged).map((m) => m.name)
      rows.push({ switch: sw.name, vlan: vid, tagged, untagged, addresses: addresses.get(vid) ?? 0 })
    }
  }
  return rows
}

/** Who counts packets: ports, and the sockets of VTEPs, whose place no switch can have as a name. */
function counting(fabric: Fabric): { port: string; switch: string; index: number }[] {
  const { ports, tunnels } = fabric.inventory
  const ofPorts = [...ports.values()].map((p) => ({ port: p.name, switch: p.switch, index: p.index }))
  const ofVteps = [...tunnels.vteps.values()].map((v) => ({ port: v.name, switch: '(vtep)', index: v.index }))
  return [...ofPorts, ...ofVteps]
}

export function counters(fabric: Fabric): CounterRow[] {
  const c = fabric.inventory.memory.counters
  return counting(fabric).map(({ index, ...where }) => {
    const at = index * COUNTER_WORDS
    return {
      ...where,
      rxPackets: c[at + Counter.RxPackets],
      rxBytes: c[at + Counter.RxBytes],
      rxSuper: c[at + Counter.RxSuper],
      txPackets: c[at + Counter.TxPackets],
      txBytes: c[at + Counter.TxBytes],
      made: c[at + Counter.Made],
      held: c[at + Counter.Held],
      learned: c[at + Counter.Learned],
      moved: c[at + Counter.Moved],
      learnRefused: c[at + Counter.LearnRefused],
      evicted: c[at + Counter.Evicted],
      captured: c[at + Counter.Captured],
      captureLost: c[at + Counter.CaptureLost],
      drops: dropsOf(c, index),
    }
  })
}

export function drops(fabric: Fabric): DropRow[] {
  const c = fabric.inventory.memory.counters
  // What a router itself made, or kept for later, came by no port.
  const own = [...fabric.inventory.routing.routers.values()].map(({ name, home }) => ({
    port: '-',
    switch: name,
    index: home,
  }))
  return [...counting(fabric), ...own].flatMap(({ index, ...where }) =>
    DROPS.map(([reason, side, meaning], i) => ({
      ...where,
      reason,
      side,
      packets: c[index * COUNTER_WORDS + Counter.Drops + i],
      meaning,
    })),
  )
}

function totals(fabric: Fabric): StatusReport['totals'] {
  const sum = { in: 0, made: 0, out: 0, dropped: 0, held: 0, consumed: 0 }
  const add = (words: Float64Array, port: number): void => {
    const at = port * COUNTER_WORDS
    sum.in += words[at + Counter.RxPackets]
    sum.made += words[at + Counter.Made]
    sum.out += words[at + Counter.TxPackets]
    sum.dropped += dropsOf(words, port)
    sum.held += words[at + Counter.Held]
    sum.consumed += words[at + Counter.Consumed]
  }
  add(fabric.inventory.indices.retired, 0)
  for (const index of fabric.inventory.indices.all()) add(fabric.inventory.memory.counters, index)
  return sum
}

export function status(fabric: Fabric, running: boolean): StatusReport {
  const live = [...fabric.inventory.ports.values()]
  return {
    version,
    node: process.version,
    pid: process.pid,
    startedAt: fabric.startedAt.toISOString(),
    uptimeS: (Date.now() - fabric.startedAt.getTime()) / 1000,
    configFile: fabric.options.configFile ?? null,
    poll: fabric.config.poll,
    workers: [{ state: running ? 'running' : 'stopped', restarts: fabric.restarts }],
    switches: [...fabric.inventory.switches.values()].map((sw) => {
      const own = live.filter((p) => p.switch === sw.name)
      return {
        name: sw.name,
        ports: own.length,
        up: own.filter((p) => stateOf(p).state === 'up').length,
        addresses: new HashTable(sw.fdb).size,
        limit: sw.config.limit,
        agingS: sw.config.agingS,
        vlanAware: sw.config.vlanAware,
      }
    }),
    vteps: vtepsOf(fabric),
    memory: {
      residentBytes: process.memoryUsage.rss(),
      poolSlots: fabric.inventory.memory.pool.length / SLOT_SIZE,
    },
    totals: totals(fabric),
  }
}
