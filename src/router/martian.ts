// HOT
/**
 * Packets that no router takes on, by their addresses: RFC 1812 5.3.7, and what Linux does besides. IPv4's are
 * looked at behind PREROUTING, where the kernel does it too: rules see and count them.
 */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { type Interfaces, MAX_ADDRESSES } from './interfaces.ts'
import { Route, RouteKind, type Routes } from './routes.ts'

const ALL_SYSTEMS = 0xe0000001 | 0
/** ff02::1 and ::2, ff05::2 (RFC 4291 2.7.1), and the first words of ff02::1:ff00:0/104. */
const LINK_GROUPS = 0xff020000 | 0
const SITE_GROUPS = 0xff050000 | 0
const SOLICITED = 0xff

/** A source nobody has, one of our own addresses from outside, a destination nobody may be asked for. */
export function martian4(routes: Routes, interfaces: Interfaces, ip: Int32Array, slot: number): boolean {
  const row = slot << IP_SHIFT
  const src = ip[row + Ip.Src0]
  const dst = ip[row + Ip.Dst0]
  const s = src >>> 24
  const d = dst >>> 24
  if (s === 127 || s >= 224 || d === 127 || d === 0 || (d >= 240 && dst !== -1)) return true
  // 0.0.0.0 asks for an address (DHCP), or speaks to its link alone (IGMP).
  if (s === 0) return src !== 0 || (dst !== -1 && dst >>> 8 !== 0xe00000)
  if (!interfaces.mayOwn4(src)) return false
  const route = routes.find(ip, row + Ip.Src0, 4)
  return route >= 0 && routes.words[route * Route.Words + Route.Kind] === RouteKind.Local
}

/** True when the packet's destination, which is a group, is one that this router listens to. */
export function joined(interfaces: Interfaces, ip: Int32Array, slot: number): boolean {
  const row = slot << IP_SHIFT
  const d = row + Ip.Dst0
  const first = ip[d]
  if (ip[row + Ip.Family] === 4) return first === -1 || first === ALL_SYSTEMS
  if (ip[d + 1] !== 0) return false
  const last = ip[d + 3]
  if (ip[d + 2] === 0)
    return first === LINK_GROUPS ? last === 1 || last === 2 : first === SITE_GROUPS && last === 2
  if (first !== LINK_GROUPS || ip[d + 2] !== 1 || last >>> 24 !== SOLICITED) return false
  const inIf = ip[row + Ip.InIf]
  const { address6, count6 } = interfaces
  for (let i = 0; i < count6[inIf]; i++) {
    if (((address6[(inIf * MAX_ADDRESSES + i) * 4 + 3] ^ last) & 0xffffff) === 0) return true
  }
  return false
}
