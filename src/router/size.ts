// HOT
/**
 * How big a packet is on a link: a super-frame is as big as its segments, never as itself (rule 3 of the
 * data plane).
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as ipv4 from '../wire/ipv4.ts'

/** Bytes from the IP header on. */
export function segmentSize(pool: Pool, ip: Int32Array, slot: number): number {
  const { meta, view } = pool
  const m = slot << META_SHIFT
  const row = slot << IP_SHIFT
  const size = meta[m + Meta.GsoSize]
  if (size === 0) return ip[row + Ip.Length]
  const l4 = ip[row + Ip.L4]
  const at = slot * SLOT_SIZE + meta[m + Meta.Head] + l4
  const header = ip[row + Ip.Proto] === ipv4.Protocol.Tcp ? (view.getUint8(at + 12) >> 4) * 4 : 8
  return l4 - ip[row + Ip.L3] + header + size
}
