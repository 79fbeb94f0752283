// HOT
/**
 * Puts an Ethernet header in front of an IP header, whatever was there: another one, one with tags, or
 * nothing (a TUN). The IP header stays where it is in the slot and the frame's head moves, so everything
 * that is told from the head moves with it:
 *
 *     before   head | dst src tag type | IP ...            or  head | IP ...
 *     after          head | dst src type | IP ...    head | dst src type | IP ...
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, HEADROOM, MAX_VNET_HEADER, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import { SIZE as ETHERNET } from '../wire/ethernet.ts'

export function putEthernet(
  pool: Pool,
  ip: Int32Array,
  slot: number,
  dstHi: number,
  dstLo: number,
  srcHi: number,
  srcLo: number,
): void {
  const r = slot << IP_SHIFT
  if (ip[r + Ip.L3] !== ETHERNET) moveHead(pool, ip, slot, ETHERNET)
  const view = pool.view
  const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
  view.setUint16(at, dstHi)
  view.setInt32(at + 2, dstLo)
  view.setUint16(at + 6, srcHi)
  view.setInt32(at + 8, srcLo)
  view.setUint16(at + 12, ip[r + Ip.Family] === 6 ? 0x86dd : 0x0800)
}

/** For a TUN: the frame starts with the IP header. */
export function putNothing(pool: Pool, ip: Int32Array, slot: number): void {
  if (ip[(slot << IP_SHIFT) + Ip.L3] !== 0) moveHead(pool, ip, slot, 0)
}

/** Makes `room` bytes the distance from the head to the IP header. */
function moveHead(pool: Pool, ip: Int32Array, slot: number, room: number): void {
  const meta = pool.meta
  const m = slot << META_SHIFT
  const r = slot << IP_SHIFT
  const shift = ip[r + Ip.L3] - room
  const length = meta[m + Meta.Len] - shift
  if (meta[m + Meta.Head] + shift < MAX_VNET_HEADER) {
    // The headroom is used up; the packet moves to where one starts.
    const from = slot * SLOT_SIZE + meta[m + Meta.Head] + ip[r + Ip.L3]
    const to = slot * SLOT_SIZE + HEADROOM
    pool.bytes.copyWithin(to + room, from, from + length - room)
    meta[m + Meta.Head] = HEADROOM
  } else meta[m + Meta.Head] += shift
  meta[m + Meta.Len] = length
  meta[m + Meta.CsumStart] -= shift
  meta[m + Meta.HdrLen] -= shift
  meta[m + Meta.Strip] = 0
  meta[m + Meta.Tci] = 0
  if (room === 0) meta[m + Meta.Flags] |= Flag.NoEthernet
  else meta[m + Meta.Flags] &= ~Flag.NoEthernet
  ip[r + Ip.L3] = room
  if (ip[r + Ip.L4] > 0) ip[r + Ip.L4] -= shift
}
