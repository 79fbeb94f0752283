// HOT
/**
 * From a frame to a row of packet/ip.ts: validation as RFC 1812 5.2.2 and RFC 8200 ask, IPv6's martians
 * (IPv4's are martian.ts, behind PREROUTING, as in Linux), the way through options and extension headers to
 * the transport.
 */
import { Drop } from '../packet/drop.ts'
import { Frag, IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import * as icmp from '../wire/icmp.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as extension from '../wire/ipv6-extension.ts'
import * as l4 from '../wire/l4.ts'
import { FINE, fault6 } from './options.ts'

/** The packet is good. */
export const PARSED = -1
const LOOPBACK6_3 = 1

const found = new Int32Array(extension.Walk.Words)

/**
 * Fills the row of `slot`, whose IP header is `l3` bytes behind the head. Cuts padding off the frame.
 * PARSED, or the Drop it ends for; Ip.Scratch is not 0 then when its source is to be told (options.ts).
 * @param version 4 or 6, as the EtherType or the first nibble says
 */
export function parse(pool: Pool, ip: Int32Array, slot: number, l3: number, version: number): number {
  const row = slot << IP_SHIFT
  ip[row + Ip.L3] = l3
  ip[row + Ip.Family] = version
  ip[row + Ip.Mark] = 0
  ip[row + Ip.Ct] = -1
  ip[row + Ip.CtGuess] = 0
  ip[row + Ip.CtState] = 0
  ip[row + Ip.OutIf] = -1
  ip[row + Ip.Route] = -1
  ip[row + Ip.Ports] = 0
  ip[row + Ip.Frag] = Frag.None
  ip[row + Ip.Flags] = 0
  ip[row + Ip.Scratch] = 0
  return version === 4 ? parse4(pool, ip, slot, row, l3) : parse6(pool, ip, slot, row, l3)
}

function parse4(pool: Pool, ip: Int32Array, slot: number, row: number, l3: number): number {
  const { meta, view } = pool
  const m = slot << META_SHIFT
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const at = head + l3
  if (!ipv4.fits(view, at, head + meta[m + Meta.Len])) return Drop.IpMalformed
  if (!ipv4.verified(view, at)) return Drop.IpChecksum
  const length = ipv4.totalLength(view, at)
  const header = ipv4.headerLength(view, at)
  const src = ipv4.srcAddr(view, at)
  const dst = ipv4.dstAddr(view, at)
  meta[m + Meta.Len] = l3 + length
  const offset = ipv4.fragmentOffset(view, at)
  let frag: number = ipv4.dontFragment(view, at) ? Frag.DontFragment : Frag.None
  if (offset !== 0) frag |= Frag.Any | Frag.Later
  else if (ipv4.moreFragments(view, at)) frag |= Frag.Any
  ip[row + Ip.Frag] = frag
  ip[row + Ip.Length] = length
  ip[row + Ip.L4] = l3 + header
  ip[row + Ip.Proto] = ipv4.protocol(view, at)
  ip[row + Ip.Ttl] = ipv4.ttl(view, at)
  ip[row + Ip.Src0] = src
  ip[row + Ip.Dst0] = dst
  if (header > ipv4.SIZE) ip[row + Ip.Flags] |= IpFlag.Options
  if (offset === 0) transport(pool, ip, row, at + header, at + length)
  return PARSED
}

function parse6(pool: Pool, ip: Int32Array, slot: number, row: number, l3: number): number {
  const { meta, view } = pool
  const m = slot << META_SHIFT
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const at = head + l3
  if (!ipv6.fits(view, at, head + meta[m + Meta.Len])) return Drop.IpMalformed
  const length = ipv6.SIZE + ipv6.payloadLength(view, at)
  for (let i = 0; i < 4; i++) {
    ip[row + Ip.Src0 + i] = ipv6.srcAddr(view, at, i)
    ip[row + Ip.Dst0 + i] = ipv6.dstAddr(view, at, i)
  }
  if (martian6(ip, row)) return Drop.Martian
  const walked = extension.walk(view, at, at + length, found)
  if (walked !== extension.WalkResult.Ok) return Drop.IpMalformed
  meta[m + Meta.Len] = l3 + length
  ip[row + Ip.Length] = length
  ip[row + Ip.Proto] = found[extension.Walk.Protocol]
  ip[row + Ip.Ttl] = ipv6.ttl(view, at)
  const hopByHop = found[extension.Walk.HopByHop]
  if (hopByHop >= 0) {
    ip[row + Ip.Flags] |= IpFlag.Options
    const fault = fault6(view, at, hopByHop, ip[row + Ip.Dst0] >>> 24 === 0xff)
    if (fault > 0) ip[row + Ip.Scratch] = fault
    if (fault !== FINE) return Drop.IpMalformed
  }
  const fragment = found[extension.Walk.Fragment]
  // Nothing follows, whatever bytes there are.
  if (found[extension.Walk.Protocol] === extension.Extension.None) found[extension.Walk.L4] = -1
  const place = found[extension.Walk.L4]
  ip[row + Ip.L4] = place < 0 ? 0 : place - head
  if (fragment >= 0) {
    ip[row + Ip.Frag] = extension.fragmentOffset(view, fragment) !== 0 ? Frag.Any | Frag.Later : Frag.Any
  }
  if (place >= 0) transport(pool, ip, row, place, at + length)
  return PARSED
}

function martian6(ip: Int32Array, row: number): boolean {
  const s = row + Ip.Src0
  const d = row + Ip.Dst0
  if (ip[s] >>> 24 === 0xff) return true
  // Groups of scope 0, which is reserved, and 1, this node (RFC 4291 2.7).
  if (ip[d] >>> 24 === 0xff && ((ip[d] >>> 16) & 15) < 2) return true
  const dstEmpty = ip[d] === 0 && ip[d + 1] === 0 && ip[d + 2] === 0
  if (dstEmpty && (ip[d + 3] === 0 || ip[d + 3] === LOOPBACK6_3)) return true
  return ip[s] === 0 && ip[s + 1] === 0 && ip[s + 2] === 0 && ip[s + 3] === LOOPBACK6_3
}

/** Ports, or type, code and identifier. `place` and `end` are in the pool. */
function transport(pool: Pool, ip: Int32Array, row: number, place: number, end: number): void {
  const { view } = pool
  const proto = ip[row + Ip.Proto]
  if (l4.hasPorts(proto)) {
    if (!l4.fits(view, place, end)) return
    ip[row + Ip.Ports] = (l4.srcPort(view, place) << 16) | l4.dstPort(view, place)
  } else if (proto === ipv4.Protocol.Icmp || proto === ipv4.Protocol.Icmpv6) {
    if (!icmp.fits(view, place, end)) return
    const type = icmp.type(view, place)
    ip[row + Ip.Ports] = (type << 24) | (icmp.code(view, place) << 16) | icmp.ident(view, place)
    const error = proto === ipv4.Protocol.Icmp ? icmp.isError(type) : icmpv6.isError(type)
    if (error) ip[row + Ip.Flags] |= IpFlag.IcmpError
  } else return
  ip[row + Ip.Flags] |= IpFlag.HasL4
}
