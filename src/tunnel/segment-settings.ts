/** A VXLAN port's settings, written into the tables that the stage reads. Cold: commands of the control thread. */
import { HashTable } from '../table/hash.ts'
import type { Bindings } from './bindings.ts'
import type { Remotes } from './remotes.ts'
import { NOBODY, SEED, SegmentFlag, type Segments } from './segments.ts'
import { Stations } from './stations.ts'
import { REMOTE_SHIFT, Remote, RemoteFlag, type TunnelAddress, type VxlanSettings } from './tables.ts'

export interface SegmentTables {
  segments: Segments
  remotes: Remotes
  stations: Stations
  bindings: Bindings
}

/** Rows each port has pinned, for taking them back. */
const pinned = new WeakMap<Segments, Map<number, number[]>>()

/** @throws Error with a sentence; nothing changed then */
export function addSegment(
  tables: SegmentTables,
  port: number,
  vni: number,
  settings: VxlanSettings,
  nowS: number,
): void {
  const { segments } = tables
  if (segments.present[port] !== 0) throw new Error(`port ${port} is a VXLAN port already`)
  if (segments.portOf(vni) >= 0) throw new Error(`VNI ${vni} is in use on this VTEP`)
  segments.vnis.insert(vni, 1, port, 0)
  segments.header[port] = vni << 8
  segments.present[port] = 1
  try {
    setSegment(tables, port, settings, nowS)
  } catch (error) {
    removeSegment(tables, port)
    throw error
  }
}

/** @throws Error with a sentence when a table has no room for what is named; all else is in force then */
export function setSegment(tables: SegmentTables, port: number, settings: VxlanSettings, nowS: number): void {
  const { segments, remotes, stations, bindings } = tables
  const rowsOf = pinned.get(segments) ?? new Map<number, number[]>()
  pinned.set(segments, rowsOf)
  const before = rowsOf.get(port) ?? []
  const rows: number[] = []
  let full = ''
  const pin = (remote: TunnelAddress, flags: RemoteFlag): number => {
    const row = remotes.pin(remote, flags, nowS)
    if (row < 0) full = 'remotes'
    else {
      rows.push(row)
      name(segments, port, row)
    }
    return row
  }
  segments.flags[port] = flagsOf(settings)
  stations.limits[port] = settings.limit
  stations.agingS[port] = settings.agingS
  const list = settings.remotes.map((remote) => pin(remote, RemoteFlag.Named)).filter((row) => row >= 0)
  segments.lists[port] = Int32Array.from(new Set(list))
  segments.group[port] = settings.group ? pin(settings.group, RemoteFlag.Group) : -1
  stations.unpin(port)
  bindings.unpin(port)
  for (const { mac, remote, addresses } of settings.statics) {
    const row = pin(remote, RemoteFlag.Named)
    if (row < 0) continue
    const hi = (mac[0] << 8) | mac[1]
    const lo = (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]
    if (!stations.pin(lo, Stations.key1(hi, port), port, row, nowS)) full = 'addresses'
    for (const address of addresses) if (!bindings.pin(port, address, hi, lo)) full = 'bindings'
  }
  rowsOf.set(port, rows)
  for (const row of before) leave(tables, port, row)
  if (full !== '') throw new Error(`port ${port}: no room for all the ${full} it names`)
}

function flagsOf(settings: VxlanSettings): number {
  let flags = 0
  if (settings.learning) flags |= SegmentFlag.Learning
  if (settings.accept === 'known') flags |= SegmentFlag.Known
  if (settings.suppress) flags |= SegmentFlag.Suppress
  if (settings.clampMss) flags |= SegmentFlag.ClampMss
  if (settings.innerVlan === 'keep') flags |= SegmentFlag.KeepTags
  return flags
}

function name(segments: Segments, port: number, row: number): void {
  const { named } = segments
  const at = named.find(row, port + 1)
  if (at >= 0) {
    named.words[at + 2]++
    return
  }
  if (named.insert(row, port + 1, 1, 0) >= 0) return
  const larger = new HashTable(HashTable.memory(2 * named.limit, SEED))
  for (let i = 0; i < named.words.length; i += 4) {
    const { words } = named
    if (words[i + 1] !== 0) larger.insert(words[i], words[i + 1], words[i + 2], 0)
  }
  larger.insert(row, port + 1, 1, 0)
  segments.named = larger
}

/** The port names a remote once less. With the last time goes what the port learned of it. */
function leave({ segments, remotes, stations }: SegmentTables, port: number, row: number): void {
  const { named } = segments
  const at = named.find(row, port + 1)
  if (--named.words[at + 2] === 0) {
    named.remove(at)
    // The last user of all takes the row along, which voids everything at once.
    if (remotes.words[(row << REMOTE_SHIFT) + Remote.Users] > 1) stations.flush(port, row, false)
  }
  remotes.unpin(row)
}

export function removeSegment(tables: SegmentTables, port: number): void {
  const { segments, stations, bindings } = tables
  if (segments.present[port] === 0) return
  stations.flush(port, -1, true)
  bindings.flush(port)
  for (const row of pinned.get(segments)?.get(port) ?? []) leave(tables, port, row)
  pinned.get(segments)?.delete(port)
  segments.vnis.remove(segments.vnis.find(segments.header[port] >>> 8, 1))
  segments.lists[port] = NOBODY
  segments.group[port] = -1
  segments.present[port] = 0
}
