// HOT
/** Reverse-path filter (RFC 3704): is the source reached by the interface the packet came from? */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { IfFlag, type Interfaces } from './interfaces.ts'
import { Route, RouteKind, type Routes } from './routes.ts'

/** Strict: the way back is the way it came. Loose: there is a way back. Off: true. */
export function comesFromThere(
  routes: Routes,
  interfaces: Interfaces,
  ip: Int32Array,
  slot: number,
): boolean {
  const row = slot << IP_SHIFT
  const inIf = ip[row + Ip.InIf]
  const mode = interfaces.flags[inIf] & (IfFlag.RpStrict | IfFlag.RpLoose)
  if (mode === 0 || isUnspecified(ip, row)) return true
  const back = routes.reverse(ip, slot)
  if (back < 0 || routes.words[back * Route.Words + Route.Kind] !== RouteKind.Unicast) return false
  return (mode & IfFlag.RpLoose) !== 0 || routes.words[back * Route.Words + Route.OutIf] === inIf
}

/** Who has no address yet: DHCP, duplicate address detection. */
function isUnspecified(ip: Int32Array, row: number): boolean {
  const src = row + Ip.Src0
  if (ip[row + Ip.Family] === 4) return ip[src] === 0
  return (ip[src] | ip[src + 1] | ip[src + 2] | ip[src + 3]) === 0
}
