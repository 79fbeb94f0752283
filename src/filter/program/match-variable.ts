// HOT
/** Ops that look at what differs between the packets of a flow: size, TTL, TCP options, timers, the frame. */
import { Ip, IpFlag } from '../../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import * as ethernet from '../../wire/ethernet.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as tcp from '../../wire/tcp.ts'
import { compare } from './compare.ts'
import { Answer, Op } from './layout.ts'
import type { Plane } from './plane.ts'

const MSS_KIND = 2
const MSS_LENGTH = 4

export function matchVariable(
  plane: Plane,
  w: Int32Array,
  op: Op,
  at: number,
  slot: number,
  row: number,
  nowMs: number,
): Answer {
  const { conntrack, host, ip } = plane
  switch (op) {
    case Op.CtStatus:
      return ((conntrack.status(ip[row + Ip.Ct] >> 1) & w[at + 2]) !== 0) !== (w[at + 3] === 1) ? 1 : 0
    case Op.CtExpire: {
      const seconds = Math.floor(conntrack.expiresMs(ip[row + Ip.Ct] >> 1, nowMs) / 1000)
      return (seconds >= w[at + 2] >>> 0 && seconds <= w[at + 3] >>> 0) !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.Length: {
      // Of a super-frame its own: the kernel sees the whole packet too.
      const length = ip[row + Ip.Length]
      return (length >= w[at + 2] && length <= w[at + 3]) !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.Ttl:
      return compare(w[at + 2], ip[row + Ip.Ttl], w[at + 3]) ? 1 : 0
    case Op.TcpOption:
      return tcpOption(plane, slot, row, w[at + 2], w[at + 3] === 1)
    case Op.Tcpmss:
      return tcpMss(plane, slot, row, w[at + 2], w[at + 3], w[at + 4] === 1)
    case Op.Dscp:
      return (tosOf(plane, slot, row) >> 2 === w[at + 2]) !== (w[at + 3] === 1) ? 1 : 0
    case Op.Mac: {
      const m = slot << META_SHIFT
      if ((plane.meta[m + Meta.Flags] & Flag.NoEthernet) !== 0) return Answer.No
      if ((ip[row + Ip.Flags] & IpFlag.Local) !== 0) return Answer.No
      const head = slot * SLOT_SIZE + plane.meta[m + Meta.Head]
      const same =
        ethernet.srcMacHi(plane.view, head) === w[at + 2] && ethernet.srcMacLo(plane.view, head) === w[at + 3]
      return same !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.Addrtype: {
      const limit = w[at + 5]
      const iface = limit === 0 ? -1 : limit === 1 ? ip[row + Ip.InIf] : ip[row + Ip.OutIf]
      const type = host.addressType(ip, row + w[at + 2], ip[row + Ip.Family], iface)
      return ((type & w[at + 3]) !== 0) !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.Rpfilter:
      return host.reversePath(slot, w[at + 2]) !== (w[at + 3] === 1) ? 1 : 0
    default:
      return Answer.No
  }
}

/** Type of service, or traffic class. */
export function tosOf(plane: Plane, slot: number, row: number): number {
  const at = slot * SLOT_SIZE + plane.meta[(slot << META_SHIFT) + Meta.Head] + plane.ip[row + Ip.L3]
  return plane.ip[row + Ip.Family] === 4 ? ipv4.tos(plane.view, at) : ipv6.tos(plane.view, at)
}

/** xt_tcpudp's search: an option of kind 0 does not end the list. */
function tcpOption(plane: Plane, slot: number, row: number, kind: number, invert: boolean): Answer {
  const { view } = plane
  const at = tcpAt(plane, slot, row)
  if (plane.l4Length < tcp.SIZE) return Answer.HotDrop
  const header = tcp.headerLength(view, at)
  if (header < tcp.SIZE || header > plane.l4Length) return Answer.HotDrop
  const end = at + header
  let place = at + tcp.SIZE
  while (place < end) {
    const found = view.getUint8(place)
    if (found === kind) return invert ? Answer.No : Answer.Yes
    place += found < 2 || place + 1 >= end ? 1 : view.getUint8(place + 1) || 1
  }
  return invert ? Answer.Yes : Answer.No
}

function tcpMss(plane: Plane, slot: number, row: number, min: number, max: number, invert: boolean): Answer {
  const { view } = plane
  const at = tcpAt(plane, slot, row)
  if (plane.l4Length < tcp.SIZE) return Answer.HotDrop
  const header = tcp.headerLength(view, at)
  if (header < tcp.SIZE || header > plane.l4Length) return Answer.HotDrop
  const end = at + header
  let place = at + tcp.SIZE
  while (place < end) {
    const kind = view.getUint8(place)
    if (kind === MSS_KIND && end - place >= MSS_LENGTH && view.getUint8(place + 1) === MSS_LENGTH) {
      const mss = view.getUint16(place + 2)
      return (mss >= min && mss <= max) !== invert ? Answer.Yes : Answer.No
    }
    place += kind < 2 || place + 1 >= end ? 1 : view.getUint8(place + 1) || 1
  }
  return invert ? Answer.Yes : Answer.No
}

function tcpAt(plane: Plane, slot: number, row: number): number {
  return slot * SLOT_SIZE + plane.meta[(slot << META_SHIFT) + Meta.Head] + plane.ip[row + Ip.L4]
}
