// HOT
/**
 * A super-frame whose segments are longer than the MTU of its way out, and may be made smaller (IPv4, DF
 * clear; all else was refused before).
 *
 *     TCP   the same bytes in smaller segments: the super-frame only says so, the port cuts it
 *     UDP   a datagram stays a datagram: each becomes a packet of its own, and that is fragmented
 */
import { Drop } from '../packet/drop.ts'
import { Frag, IP_SHIFT, Ip } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { pseudo4 } from '../wire/checksum.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as udp from '../wire/udp.ts'
import type { Fragmenter } from './fragment.ts'
import { segmentSize } from './size.ts'

/** Payload that a segment has at least, or it is not worth its headers. */
const LEAST_SEGMENT = 8

export function cutSuper(fragmenter: Fragmenter, slot: number, mtu: number, nowMs: number): void {
  const { ip, pool } = fragmenter.host
  const m = slot << META_SHIFT
  const r = slot << IP_SHIFT
  const over = segmentSize(pool, ip, slot) - mtu
  if (over <= 0) {
    fragmenter.pass(slot, nowMs)
    return
  }
  const may = ip[r + Ip.Family] === 4 && (ip[r + Ip.Frag] & Frag.DontFragment) === 0
  if (may && ip[r + Ip.Proto] === ipv4.Protocol.Udp) {
    cutDatagrams(fragmenter, slot, r, mtu, nowMs)
    return
  }
  const smaller = pool.meta[m + Meta.GsoSize] - over
  if (!may || smaller < LEAST_SEGMENT) {
    fragmenter.lose(slot, Drop.FragmentNeeded)
    return
  }
  pool.meta[m + Meta.GsoSize] = smaller
  fragmenter.pass(slot, nowMs)
}

function cutDatagrams(fragmenter: Fragmenter, slot: number, r: number, mtu: number, nowMs: number): void {
  const { host } = fragmenter
  const { ip, pool } = host
  const { bytes, meta, view } = pool
  const m = slot << META_SHIFT
  const at = slot * SLOT_SIZE + meta[m + Meta.Head] + ip[r + Ip.L3]
  const header = ip[r + Ip.L4] - ip[r + Ip.L3]
  const size = meta[m + Meta.GsoSize]
  const length = ip[r + Ip.Length] - header - udp.SIZE
  if (length <= 0) {
    fragmenter.lose(slot, Drop.Malformed)
    return
  }
  const payload = at + header + udp.SIZE
  let id = ipv4.id(view, at)
  for (let done = 0; done < length; done += size, id++) {
    const chunk = length - done < size ? length - done : size
    const made = host.make(header + udp.SIZE + chunk)
    if (made < 0) {
      fragmenter.lose(slot, Drop.NoSlot)
      return
    }
    const to = made * SLOT_SIZE + meta[(made << META_SHIFT) + Meta.Head]
    bytes.copyWithin(to, at, at + header + udp.SIZE)
    bytes.copyWithin(to + header + udp.SIZE, payload + done, payload + done + chunk)
    view.setUint16(to + 2, header + udp.SIZE + chunk)
    view.setUint16(to + 4, id & 0xffff)
    ipv4.fillChecksum(view, to)
    udp.setLength(view, to + header, udp.SIZE + chunk, false)
    udp.fillChecksum(view, to + header, pseudo4(view, to, ipv4.Protocol.Udp, udp.SIZE + chunk), false)
    meta[(made << META_SHIFT) + Meta.Port] = meta[m + Meta.Port]
    const row = made << IP_SHIFT
    ip.copyWithin(row, r, r + Ip.Words)
    ip[row + Ip.L3] = 0
    ip[row + Ip.L4] = header
    ip[row + Ip.Length] = header + udp.SIZE + chunk
    fragmenter.cut(made, mtu, nowMs)
  }
  host.consume(meta[m + Meta.Port], slot)
}
