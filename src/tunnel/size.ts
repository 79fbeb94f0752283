// HOT
/**
 * How long a packet is for a tunnel, and what the tunnel carries.
 *
 *     underlay MTU  =  IP 20 | 40  +  UDP 8  +  VXLAN 8  +  inner frame: Ethernet 14 [+ tag 4] + inner MTU
 */
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'

const ABOVE_4 = 20 + 8 + 8
const ABOVE_6 = 40 + 8 + 8

/** Longest inner frame. */
export function frameRoom(mtu: number, family: number): number {
  return mtu - (family === 4 ? ABOVE_4 : ABOVE_6)
}

/** Bytes of the inner frame with its egress tag (`tag` 0 = none); of a super-frame, of its longest segment. */
export function frameLength(pool: Pool, slot: number, tag: number): number {
  const { bytes, meta } = pool
  const m = slot << META_SHIFT
  const shift = (tag !== 0 ? 4 : 0) - meta[m + Meta.Strip]
  const size = meta[m + Meta.GsoSize]
  if (size === 0) return meta[m + Meta.Len] + shift
  const l4 = meta[m + Meta.CsumStart]
  // The checksum's place tells UDP from TCP.
  const header =
    meta[m + Meta.CsumOffset] === 6 ? 8 : (bytes[slot * SLOT_SIZE + meta[m + Meta.Head] + l4 + 12] >> 4) * 4
  return l4 + header + size + shift
}
