// HOT
/** How long the longest segment of a super-frame is on the wire: what "too big" asks for. */
import { Flag, Gso, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as ethernet from '../wire/ethernet.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as extension from '../wire/ipv6-extension.ts'

const UDP_HEADER = 8
/** A VLAN tag, and its type behind the addresses. */
const TAG = 4
const TYPE = 12
const MOST_TAGS = 2

const found = new Int32Array(extension.Walk.Words)

/**
 * Bytes from the Ethernet header on, tags included. The packet is a super-frame. A frame whose headers do not
 * add up is as long as it is.
 */
export function segmentLength(pool: Pool, slot: number): number {
  const { meta, view } = pool
  const m = slot << META_SHIFT
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  // Only an unfinished checksum says where the transport begins: without one the word is some other packet's.
  const partial = (meta[m + Meta.Flags] & Flag.CsumPartial) !== 0
  const l4 = partial ? meta[m + Meta.CsumStart] : transportAt(view, head, head + meta[m + Meta.Len])
  if (l4 < 0) return meta[m + Meta.Len]
  if (meta[m + Meta.GsoType] === Gso.Udp) return l4 + UDP_HEADER + meta[m + Meta.GsoSize]
  if (l4 + 20 > meta[m + Meta.Len]) return meta[m + Meta.Len]
  return l4 + (view.getUint8(head + l4 + 12) >> 4) * 4 + meta[m + Meta.GsoSize]
}

/** Offset of the transport header in the frame at `head`, or -1. */
function transportAt(view: DataView, head: number, end: number): number {
  let l3 = head + ethernet.SIZE
  if (l3 > end) return -1
  let type = view.getUint16(head + TYPE)
  for (let i = 0; i < MOST_TAGS && (type === 0x8100 || type === 0x88a8) && l3 + TAG <= end; i++) {
    type = view.getUint16(l3 + 2)
    l3 += TAG
  }
  if (type === ethernet.EtherType.Ipv4)
    return ipv4.fitsQuoted(view, l3, end) ? l3 - head + ipv4.headerLength(view, l3) : -1
  if (type !== ethernet.EtherType.Ipv6 || !ipv6.fitsQuoted(view, l3, end)) return -1
  if (extension.walk(view, l3, end, found) !== extension.WalkResult.Ok) return -1
  return found[extension.Walk.L4] - head
}
