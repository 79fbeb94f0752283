// HOT
/** Whether the transport checksum of a packet is right: asked before anything is answered. */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import { pseudo4, pseudo6, verify } from '../wire/checksum.ts'
import * as icmp from '../wire/icmp.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as tcp from '../wire/tcp.ts'
import * as udp from '../wire/udp.ts'

const KNOWN = Flag.CsumPartial | Flag.CsumVerified

/** False also for a header that is cut off. True for protocols whose sum is not known. The packet is no later fragment. */
export function sumHolds(pool: Pool, ip: Int32Array, slot: number): boolean {
  const { meta, view } = pool
  const row = slot << IP_SHIFT
  const m = slot << META_SHIFT
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const l3 = head + ip[row + Ip.L3]
  const at = head + ip[row + Ip.L4]
  const end = l3 + ip[row + Ip.Length]
  const proto = ip[row + Ip.Proto]
  const four = ip[row + Ip.Family] === 4
  let length = end - at
  if (proto === ipv4.Protocol.Tcp) {
    if (!tcp.fits(view, at, end)) return false
  } else if (proto === ipv4.Protocol.Udp) {
    if (!udp.fits(view, at, end)) return false
    if (udp.checksum(view, at) === 0) return four
    length = udp.length(view, at)
  } else if (proto === (four ? ipv4.Protocol.Icmp : ipv4.Protocol.Icmpv6)) {
    if (!icmp.fits(view, at, end)) return false
  } else return true
  // A super-frame's is its device's; so is one that is not there yet.
  if ((meta[m + Meta.Flags] & KNOWN) !== 0 || meta[m + Meta.GsoSize] !== 0) return true
  let pseudo = 0
  if (!four) pseudo = pseudo6(view, l3, proto, length)
  else if (proto !== ipv4.Protocol.Icmp) pseudo = pseudo4(view, l3, proto, length)
  return verify(view, at, length, pseudo)
}
