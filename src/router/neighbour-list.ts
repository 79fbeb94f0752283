/**
 * The neighbour table as a list for people, read from its shared memory: `show neighbors`, as
 * `ip neighbour` prints it. May run in another thread; an entry that is changing meanwhile is left out or
 * shown as it was.
 */
import { macText } from '../wire/ethernet.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { N, NeighbourTable, Nud, T, TIME_SHIFT } from './neighbour-table.ts'

export interface NeighbourRow {
  /** Index of the router's interface. */
  interface: number
  family: 4 | 6
  address: string
  /** null while it is not known. */
  mac: string | null
  /** As `ip neighbour` prints it. */
  state: 'INCOMPLETE' | 'FAILED' | 'PERMANENT' | 'REACHABLE' | 'STALE' | 'DELAY' | 'PROBE'
  router: boolean
  /** Requests sent in this state. */
  probes: number
  /** Packets that wait for it. */
  waiting: number
  /** Ms since it was used, confirmed, changed. */
  usedMs: number
  confirmedMs: number
  updatedMs: number
}

const STATES = ['INCOMPLETE', 'FAILED', 'PERMANENT', 'REACHABLE', 'STALE', 'DELAY', 'PROBE'] as const

/** @param nowMs the worker's monotonic clock */
export function listNeighbours(memory: SharedArrayBuffer, nowMs: number): NeighbourRow[] {
  const { words, times } = NeighbourTable.view(memory)
  const rows: NeighbourRow[] = []
  for (let e = 0; e < words.length; e += N.Words) {
    const key = words[e + N.Key]
    const state = STATES[words[e + N.State] - 1]
    if (key === 0 || state === undefined) continue
    const [w0, w1, w2, w3] = words.subarray(e + N.Addr, e + N.Addr + 4)
    const known = words[e + N.State] >= Nud.Permanent
    const ago = (which: T): number => Math.max(0, nowMs - times[(e >> TIME_SHIFT) + which])
    rows.push({
      interface: key & 255,
      family: key >> 8 === 4 ? 4 : 6,
      address: key >> 8 === 4 ? ipv4.addrText(w0) : ipv6.addrText(w0, w1, w2, w3),
      mac: known ? macText(words[e + N.MacHi], words[e + N.MacLo]) : null,
      state,
      router: words[e + N.Router] === 1,
      probes: words[e + N.Probes],
      waiting: words[e + N.Waiting],
      usedMs: ago(T.Used),
      confirmedMs: ago(T.Confirmed),
      updatedMs: ago(T.Updated),
    })
  }
  return rows
}

/**
 * The MAC of who has an IPv4 address, if the neighbour said so itself in the last `withinMs`; else null.
 * @param nowMs the worker's monotonic clock
 */
export function confirmedMac(
  memory: SharedArrayBuffer,
  iface: number,
  address: number,
  withinMs: number,
  nowMs: number,
): string | null {
  const { words, times } = NeighbourTable.view(memory)
  for (let e = 0; e < words.length; e += N.Words) {
    if (words[e + N.Key] !== ((4 << 8) | iface) || words[e + N.Addr] !== address) continue
    const heard =
      words[e + N.State] >= Nud.Permanent && nowMs - times[(e >> TIME_SHIFT) + T.Confirmed] <= withinMs
    return heard ? macText(words[e + N.MacHi], words[e + N.MacLo]) : null
  }
  return null
}
