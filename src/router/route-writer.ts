/**
 * The control thread's side of the routing tables (routes.ts is the worker's). Keeps every route that
 * was asked for; what the worker finds for a prefix is the one with the lowest metric.
 *
 * A route's words are written before the table refers to them and left alone afterwards: a change is a
 * new route and one word in the table. Words nobody refers to any more are used again after GRACE_MS,
 * when no look-up can still hold them.
 */
import { native } from '../native.ts'
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
/** Routes of a router. */
const LIMIT = 1 << 20
/** Of the tables for our own addresses and for what nobody asked for. */
const SMALL_LIMIT = 65536
/** Routes from which huge pages pay behind the tables. */
const HUGE_FROM = 50_000

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
  /** Places to use again, by number of paths, in the order in which they were left. */
  private readonly left = new Map<number, { at: number[]; sinceMs: number[]; used: number }>()

  /** @param limit most routes, 1 to 16 million; address space is reserved for them, memory is not */
  constructor(limit = LIMIT) {
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
    const small = id === TABLE_LOCAL || id === TABLE_DEFAULT
    const limit = small ? Math.min(SMALL_LIMIT, this.limit) : this.limit
    const v4 = Lpm.memory(32, limit)
    const v6 = Lpm.memory(128, limit)
    this.memory.tables.push({ id, v4, v6 })
    this.writers.set(id, { v4: new LpmWriter(v4), v6: new LpmWriter(v6) })
    return true
  }

  /** @throws Error when the tables are full */
  add(entry: RouteEntry): void {
    const key = keyOf(entry)
    this.insert(entry, key, this.placed.get(key))
  }

  /** @param list what is there of the key already */
  private insert(entry: RouteEntry, key: number | string, list: Placed[] | undefined): void {
    if (entry.hops.length > MAX_PATHS) throw new RangeError(`a route has at most ${MAX_PATHS} paths`)
    this.ensure(entry.table)
    const mine: Placed = { entry, at: -1 }
    const all = list ?? [mine]
    if (list) list.push(mine)
    else this.placed.set(key, all)
    this.publish(all)
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
    } else this.publish(kept)
    for (const p of gone) this.leave(p)
    return gone.length
  }

  /** Makes the tables hold exactly `entries`, touching only what differs. */
  replace(entries: RouteEntry[]): void {
    if (entries.length >= HUGE_FROM) this.expectMany()
    if (this.placed.size > 0) this.removeOthers(entries)
    for (const e of entries) {
      const key = keyOf(e)
      const list = this.placed.get(key)
      if (!list?.some((p) => same(p.entry, e))) this.insert(e, key, list)
    }
  }

  private removeOthers(entries: RouteEntry[]): void {
    const wanted = new Map<number | string, RouteEntry[]>()
    for (const e of entries) {
      const key = keyOf(e)
      const list = wanted.get(key)
      if (list) list.push(e)
      else wanted.set(key, [e])
    }
    for (const [key, list] of [...this.placed]) {
      const stays = wanted.get(key)
      const goes = (e: RouteEntry): boolean => !stays?.some((w) => same(w, e))
      if (list.some((p) => goes(p.entry))) this.remove(list[0].entry, goes)
    }
  }

  /** A table that is looked up at random places wants huge pages; a small one is in the cache anyway. */
  private expectMany(): void {
    native.hugePages(new Uint8Array(this.memory.routes))
    for (const { id, v4, v6 } of this.memory.tables) {
      if (id === TABLE_LOCAL || id === TABLE_DEFAULT) continue
      native.hugePages(new Uint8Array(v4))
      native.hugePages(new Uint8Array(v6))
    }
  }

  *entries(): Generator<RouteEntry> {
    for (const list of this.placed.values()) for (const p of list) yield p.entry
  }

  private writer(prefix: Prefix & { table: number }): LpmWriter {
    const { v4, v6 } = this.writers.get(prefix.table)!
    return prefix.family === 4 ? v4 : v6
  }

  /** Makes the best of a prefix's routes the one that is found. */
  private publish(list: Placed[]): void {
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
    const left = this.left.get(paths)
    if (left && left.used < left.at.length && performance.now() - left.sinceMs[left.used] >= GRACE_MS) {
      const again = left.at[left.used++]
      if (left.used === left.at.length) this.left.delete(paths)
      return again
    }
    if (this.fresh + paths > this.limit) throw new Error(`more than ${this.limit} routes`)
    const at = this.fresh
    this.fresh += paths
    return at
  }

  private leave(p: Placed): void {
    if (p.at < 0) return
    const paths = Math.max(1, p.entry.hops.length)
    const left = this.left.get(paths) ?? { at: [], sinceMs: [], used: 0 }
    this.left.set(paths, left)
    left.at.push(p.at)
    left.sinceMs.push(performance.now())
    p.at = -1
  }
}

function words4(address: readonly number[]): [number, number, number, number] {
  return [address[0], address[1] ?? 0, address[2] ?? 0, address[3] ?? 0]
}

/** A number, or the same in a string of eleven characters: there may be a million of them. */
function keyOf(p: Prefix & { table: number }): number | string {
  const [a, b, c, d] = p.address
  if (p.family === 4) return (p.table * 64 + p.length) * 0x100000000 + (a >>> 0)
  const head = String.fromCharCode(p.table & 0xffff, p.table >>> 16, p.length)
  return (
    head +
    String.fromCharCode(
      a >>> 16,
      a & 0xffff,
      b >>> 16,
      b & 0xffff,
      c >>> 16,
      c & 0xffff,
      d >>> 16,
      d & 0xffff,
    )
  )
}

/** Two routes of one prefix do the same. */
function same(a: RouteEntry, b: RouteEntry): boolean {
  if (a === b) return true
  if (a.kind !== b.kind || a.metric !== b.metric || a.hops.length !== b.hops.length) return false
  const hop = (h: Hop, i: number): boolean =>
    h.outIf === b.hops[i].outIf && h.weight === b.hops[i].weight && sameWords(h.gateway, b.hops[i].gateway)
  return sameWords(a.src, b.src) && a.hops.every(hop)
}

function sameWords(a: readonly number[] | null, b: readonly number[] | null): boolean {
  if (a === null || b === null) return a === b
  return a.length === b.length && a.every((word, i) => word === b[i])
}
