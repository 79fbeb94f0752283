// HOT
/** The hop that is taken off (RFC 1812 5.3.1, RFC 8200 3). */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import type { RouterHost } from './host.ts'

export function decrement({ ip, pool }: RouterHost, slot: number): void {
  const row = slot << IP_SHIFT
  const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
  const ttl = ip[row + Ip.Ttl] - 1
  ip[row + Ip.Ttl] = ttl
  if (ip[row + Ip.Family] === 4) ipv4.setTtl(pool.view, at, ttl)
  else ipv6.setTtl(pool.view, at, ttl)
}
