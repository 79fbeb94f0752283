// HOT
/**
 * Routing: policies choose tables, tables choose the route of the longest prefix (RFC 1812 5.2.4).
 *
 *     policies in order of priority (Linux: local 0, main 32766, default 32767)
 *       -> table: Lpm of each family -> chain of routes of that prefix, best metric first
 *       -> several with one metric: equal-cost paths, chosen by the flow's hash
 *
 * Routes lie in shared memory. The control thread writes them (route-writer.ts) while the worker looks
 * them up: a route's words never change once it can be found.
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Lpm } from '../table/lpm.ts'

export const enum RouteKind {
  Unicast = 0,
  /** To us. */
  Local = 1,
  Broadcast = 2,
  Blackhole = 3,
  /** ICMP host unreachable. */
  Unreachable = 4,
  /** ICMP administratively prohibited. */
  Prohibit = 5,
  /** As if this table had nothing. */
  Throw = 6,
}

/** Words of a route: `words[route * Route.Words + Route.OutIf]`. */
export const enum Route {
  Kind = 0,
  OutIf = 1,
  /** Family of the gateway, 0 = the destination itself is the next hop. */
  HopFamily = 2,
  Metric = 3,
  Hop0 = 4,
  /** Preferred source. */
  Src0 = 8,
  /** Equal-cost paths: routes that follow this one in the array, and their share of the hash. */
  Paths = 12,
  Weight = 13,
  /** Bytes, 0 = the interface's. */
  Mtu = 14,
  /** Table it is in. */
  Table = 15,
  Words = 16,
}

export interface RouteTableMemory {
  id: number
  v4: SharedArrayBuffer
  v6: SharedArrayBuffer
}

export interface RouteMemory {
  routes: SharedArrayBuffer
  tables: RouteTableMemory[]
}

/** `ip rule`: what is null matches everything. */
export interface Policy {
  priority: number
  table: number
  family: 4 | 6 | null
  /** Words and prefix length. */
  from: { address: number[]; length: number } | null
  to: { address: number[]; length: number } | null
  /** Interface index. */
  inIf: number | null
  mark: { value: number; mask: number } | null
}

export const TABLE_LOCAL = 255
export const TABLE_MAIN = 254
export const TABLE_DEFAULT = 253

export const DEFAULT_POLICIES: Policy[] = [
  { priority: 0, table: TABLE_LOCAL, family: null, from: null, to: null, inIf: null, mark: null },
  { priority: 32766, table: TABLE_MAIN, family: null, from: null, to: null, inIf: null, mark: null },
  { priority: 32767, table: TABLE_DEFAULT, family: null, from: null, to: null, inIf: null, mark: null },
]

export class Routes {
  readonly words: Int32Array
  private readonly policies: Policy[]
  /** By policy. */
  private readonly v4: Lpm[]
  private readonly v6: Lpm[]
  /** Policies without conditions are asked without looking. */
  private readonly plain: Uint8Array

  constructor(memory: RouteMemory, policies: Policy[]) {
    this.words = new Int32Array(memory.routes)
    this.policies = [...policies].sort((a, b) => a.priority - b.priority)
    const table = (id: number) => {
      const found = memory.tables.find((t) => t.id === id)
      if (!found) throw new Error(`no routing table ${id}`)
      return found
    }
    this.v4 = this.policies.map((p) => new Lpm(table(p.table).v4))
    this.v6 = this.policies.map((p) => new Lpm(table(p.table).v6))
    this.plain = Uint8Array.from(this.policies, (p) =>
      p.family === null && p.from === null && p.to === null && p.inIf === null && p.mark === null ? 1 : 0,
    )
  }

  /** The route of the row's destination, or -1. */
  lookup(ip: Int32Array, slot: number): number {
    const row = slot << IP_SHIFT
    const four = ip[row + Ip.Family] === 4
    for (let i = 0; i < this.plain.length; i++) {
      if (this.plain[i] === 0 && !matches(this.policies[i], ip, row)) continue
      const route = four ? this.v4[i].lookup4(ip[row + Ip.Dst0]) : this.lookup6(i, ip, row + Ip.Dst0)
      if (route >= 0 && this.words[route * Route.Words + Route.Kind] !== RouteKind.Throw) {
        return this.words[route * Route.Words + Route.Paths] > 1 ? this.choose(route, ip, row) : route
      }
    }
    return -1
  }

  /** The route back to the row's source, for reverse-path filtering; -1 = none. */
  reverse(ip: Int32Array, slot: number): number {
    const row = slot << IP_SHIFT
    return this.find(ip, row + Ip.Src0, ip[row + Ip.Family])
  }

  /** The route to the address at ip[at], by the policies that ask for nothing else; -1 = none. */
  find(ip: Int32Array, at: number, family: number): number {
    for (let i = 0; i < this.plain.length; i++) {
      if (this.plain[i] === 0) continue
      const route = family === 4 ? this.v4[i].lookup4(ip[at]) : this.lookup6(i, ip, at)
      if (route >= 0) return route
    }
    return -1
  }

  private lookup6(i: number, ip: Int32Array, at: number): number {
    return this.v6[i].lookup6(ip[at], ip[at + 1], ip[at + 2], ip[at + 3])
  }

  /** One of the equal-cost paths, the same for all packets of a flow (RFC 2992). */
  private choose(first: number, ip: Int32Array, row: number): number {
    const { words } = this
    const paths = words[first * Route.Words + Route.Paths]
    let total = 0
    for (let i = 0; i < paths; i++) total += words[(first + i) * Route.Words + Route.Weight]
    let h = Math.imul(ip[row + Ip.Src0] ^ ip[row + Ip.Src0 + 3], 0x9e3779b1)
    h = Math.imul(h ^ ip[row + Ip.Dst0] ^ ip[row + Ip.Dst0 + 3] ^ ip[row + Ip.Proto], 0x85ebca6b)
    // Fragments have no ports: all of a flow that may be fragmented must not go by them then.
    if (ip[row + Ip.Frag] === 0) h = Math.imul(h ^ ip[row + Ip.Ports], 0x2c1b3c6d)
    let point = ((h ^ (h >>> 15)) >>> 0) % total
    for (let i = 0; i < paths; i++) {
      point -= words[(first + i) * Route.Words + Route.Weight]
      if (point < 0) return first + i
    }
    return first
  }
}

function matches(p: Policy, ip: Int32Array, row: number): boolean {
  if (p.family !== null && p.family !== ip[row + Ip.Family]) return false
  if (p.inIf !== null && p.inIf !== ip[row + Ip.InIf]) return false
  if (p.mark !== null && (ip[row + Ip.Mark] & p.mark.mask) !== p.mark.value) return false
  if (p.from !== null && !covers(p.from.address, p.from.length, ip, row + Ip.Src0)) return false
  return p.to === null || covers(p.to.address, p.to.length, ip, row + Ip.Dst0)
}

function covers(address: number[], length: number, ip: Int32Array, at: number): boolean {
  for (let i = 0; i < address.length; i++) {
    const bits = length - 32 * i
    if (bits <= 0) return true
    const mask = bits >= 32 ? -1 : -1 << (32 - bits)
    if (((address[i] ^ ip[at + i]) & mask) !== 0) return false
  }
  return true
}
