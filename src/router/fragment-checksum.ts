// HOT
/**
 * Finishes the transport checksum that a sender left to the device (Flag.CsumPartial), before a packet is
 * cut: the field holds the pseudo-header's sum, so the sum of all from CsumStart on is the whole sum.
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import { checksumOf } from '../wire/checksum.ts'
import { Protocol } from '../wire/ipv4.ts'

/** False when the checksum lies outside of the packet. */
export function finishChecksum(pool: Pool, ip: Int32Array, slot: number): boolean {
  const { meta, view } = pool
  const m = slot << META_SHIFT
  const r = slot << IP_SHIFT
  if ((meta[m + Meta.Flags] & Flag.CsumPartial) === 0) return true
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const start = head + meta[m + Meta.CsumStart]
  const field = start + meta[m + Meta.CsumOffset]
  const end = head + ip[r + Ip.L3] + ip[r + Ip.Length]
  if (meta[m + Meta.CsumStart] < ip[r + Ip.L3] || field < start || field + 2 > end) return false
  const checksum = checksumOf(view, start, end - start, 0)
  view.setUint16(field, checksum === 0 && ip[r + Ip.Proto] === Protocol.Udp ? 0xffff : checksum)
  meta[m + Meta.Flags] &= ~Flag.CsumPartial
  return true
}
