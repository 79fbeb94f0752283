/**
 * The control thread's side of the routing tables (routes.ts is the worker's). Keeps every route that
 * was asked for; what the worker finds for a prefix is the one with the lowest metric.
 *
 * A route's words are written before the table refers to them and left alone afterwards: a change is a
 * new route and one word in the table. Words nobody refers to any more are used again after GRACE_MS,
 * when no look-up can still hold them.
 */
import { Lpm } from '../table/lpm.ts'
import { LpmWriter } from '../table/lpm-writer.ts'
import { Route, type RouteKind, type RouteMemory, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN } from './routes.ts'

export interface Prefix {
  family: 4 | 6
  /** One word, or four. */
  address: readonly number[]
  length: number
}

export interface Hop {
  outIf: number
  /** Words of the gateway, null = the destination is on the link. */
  gateway: readonly number[] | null
  weight: number
}

export interface RouteEntry extends Prefix {
  table: number
  kind: RouteKind
  metric: number
  /** At least one; several are equal-cost paths. */
  hops: Hop[]
  src: readonly number[] | null
}

const GRACE_MS = 1000
const MAX_PATHS = 64

interface Placed {
  entry: RouteEntry
  /** First route in the words, -1 = not the best of its prefix. */
  at: number
}

export class RouteWriter {
  readonly memory: RouteMemory
  private readonly words: Int32Array
  private readonly limit: number
  private readonly writers = new Map<number, { v4: LpmWriter; v6: LpmWriter }>()
  private readonly placed = new Map<number | string, Placed[]>()
  private fresh = 0
  /** Places to use again, by number of paths, with the time they were left. */
  private readonly left: { at: number; paths: number; sinceMs: number }[] = []

  /** @param limit most routes, 1 to 16 million; address space is reserved for them, memory is not */
  constructor(limit = 65536) {
    this.limit = limit
    const routes = new SharedArrayBuffer(limit * Route.Words * 4)
    this.words = new Int32Array(routes)
    this.memory = { routes, tables: [] }
    this.ensure(TABLE_LOCAL)
    this.ensure(TABLE_MAIN)
    this.ensure(TABLE_DEFAULT)
  }

  /** Makes a table if it is missing. True when it was: the worker must be told. */
  ensure(id: number): boolean {
    if (this.writers.has(id)) return false
    const v4 = Lpm.memory(32, this.limit)
    const v6 = Lpm.memory(128, this.limit)
    this.memory.tables.push({ id, v4, v6 })
    this.writers.set(id, { v4: new LpmWriter(v4), v6: new LpmWriter(v6) })
    return true
  }

  /** @throws Error when the tables are full */
  add(entry: RouteEntry): void {
    if (entry.hops.length > MAX_PATHS) throw new RangeError(`a route has at most ${MAX_PATHS} paths`)
    this.ensure(entry.table)
    const key = keyOf(entry)
    const list = this.placed.get(key)
    const mine: Placed = { entry, at: -1 }
    if (!list) this.placed.set(key, [mine])
    else list.push(mine)
    this.publish(key)
  }

  /** Removes the routes of a prefix that `which` names. Returns how many. */
  remove(prefix: Prefix & { table: number }, which: (entry: RouteEntry) => boolean): number {
    const key = keyOf(prefix)
    const list = this.placed.get(key)
    if (!list) return 0
    const kept = list.filter((p) => !which(p.entry))
    const gone = list.filter((p) => which(p.entry))
    if (kept.length > 0) this.placed.set(key, kept)
    if (kept.length === 0) {
      this.placed.delete(key)
      this.writer(prefix).remove(prefix.length, ...words4(prefix.address))
    } else this.publish(key)
    for (const p of gone) this.leave(p)
    return gone.length
  }

  /** Makes the tables hold exactly `entries`, touching only what differs. */
  replace(entries: RouteEntry[]): void {
    const wanted = new Map<string, RouteEntry>()
    for (const e of entries) wanted.set(identity(e), e)
    for (const entry of [...this.entries()]) {
      const id = identity(entry)
      if (!wanted.delete(id)) this.remove(entry, (e) => identity(e) === id)
    }
    for (const entry of wanted.values()) this.add(entry)
  }

  *entries(): Generator<RouteEntry> {
    for (const list of this.placed.values()) for (const p of list) yield p.entry
  }

  private writer(prefix: Prefix & { table: number }): LpmWriter {
    const { v4, v6 } = this.writers.get(prefix.table)!
    return prefix.family === 4 ? v4 : v6
  }

  /** Makes the best route of a prefix the one that is found. */
  private publish(key: number | string): void {
    const list = this.placed.get(key)!
    const best = list.reduce((a, b) => (b.entry.metric < a.entry.metric ? b : a))
    if (best.at < 0) best.at = this.place(best.entry)
    const { entry } = best
    this.writer(entry).add(entry.length, best.at, ...words4(entry.address))
    for (const p of list) if (p !== best) this.leave(p)
  }

  private place(entry: RouteEntry): number {
    const paths = Math.max(1, entry.hops.length)
    const at = this.allocate(paths)
    for (let i = 0; i < paths; i++) {
      const hop = entry.hops[i]
      const w = (at + i) * Route.Words
      this.words.fill(0, w, w + Route.Words)
      this.words[w + Route.Kind] = entry.kind
      this.words[w + Route.OutIf] = hop?.outIf ?? -1
      this.words[w + Route.Metric] = entry.metric
      this.words[w + Route.Table] = entry.table
      this.words[w + Route.Paths] = i === 0 ? paths : 1
      this.words[w + Route.Weight] = hop?.weight ?? 1
      if (hop?.gateway) {
        this.words[w + Route.HopFamily] = entry.family
        this.words.set(hop.gateway, w + Route.Hop0)
      }
      if (entry.src) this.words.set(entry.src, w + Route.Src0)
    }
    return at
  }

  private allocate(paths: number): number {
    const now = performance.now()
    const again = this.left.findIndex((l) => l.paths === paths && now - l.sinceMs >= GRACE_MS)
    if (again >= 0) return this.left.splice(again, 1)[0].at
    if (this.fresh + paths > this.limit) throw new Error(`more than ${this.limit} routes`)
    const at = this.fresh
    this.fresh += paths
    return at
  }

  private leave(p: Placed): void {
    if (p.at < 0) return
    this.left.push({ at: p.at, paths: Math.max(1, p.entry.hops.length), sinceMs: performance.now() })
    p.at = -1
  }
}

function words4(address: readonly number[]): [number, number, number, number] {
  return [address[0], address[1] ?? 0, address[2] ?? 0, address[3] ?? 0]
}

/** A number for IPv4, which may be a million. */
function keyOf(p: Prefix & { table: number }): number | string {
  if (p.family === 4) return (p.table * 64 + p.length) * 0x100000000 + (p.address[0] >>> 0)
  return `${p.table}/${p.length}/${p.address.join(',')}`
}

function identity(e: RouteEntry): string {
  const hops = e.hops.map((h) => `${h.outIf}:${h.gateway?.join(',') ?? ''}:${h.weight}`).join(' ')
  return `${keyOf(e)} ${e.family} ${e.kind} ${e.metric} ${hops} ${e.src?.join(',') ?? ''}`
}
