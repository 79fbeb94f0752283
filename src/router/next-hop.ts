// HOT
/** What forwarding writes into a packet and its row: where it goes next, and one hop less to live. */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { Route, type Routes } from './routes.ts'

/** The next hop: the route's gateway, or the destination itself. */
export function setHop({ words }: Routes, ip: Int32Array, row: number, route: number): void {
  const w = route * Route.Words
  ip[row + Ip.Route] = route
  ip[row + Ip.OutIf] = words[w + Route.OutIf]
  const direct = words[w + Route.HopFamily] === 0
  ip[row + Ip.Hop0] = direct ? ip[row + Ip.Dst0] : words[w + Route.Hop0]
  if (ip[row + Ip.Family] === 4) return
  for (let i = 1; i < 4; i++)
    ip[row + Ip.Hop0 + i] = direct ? ip[row + Ip.Dst0 + i] : words[w + Route.Hop0 + i]
}

export function decrement(pool: Pool, ip: Int32Array, slot: number): void {
  const row = slot << IP_SHIFT
  const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
  const ttl = ip[row + Ip.Ttl] - 1
  ip[row + Ip.Ttl] = ttl
  if (ip[row + Ip.Family] === 4) ipv4.setTtl(pool.view, at, ttl)
  else ipv6.setTtl(pool.view, at, ttl)
}
