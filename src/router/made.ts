// HOT
/** The row of a packet that the router makes itself; addresses are the maker's to fill in. */
import { IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'

export const MADE_TTL = 64

/** @param l4 bytes of IP header, which starts at the frame's head */
export function describeMade(
  ip: Int32Array,
  slot: number,
  family: number,
  proto: number,
  l4: number,
  length: number,
  ports: number,
  flags: number,
): void {
  const row = slot << IP_SHIFT
  ip[row + Ip.Family] = family
  ip[row + Ip.L3] = 0
  ip[row + Ip.L4] = l4
  ip[row + Ip.Proto] = proto
  ip[row + Ip.Length] = length
  ip[row + Ip.Frag] = 0
  ip[row + Ip.Ports] = ports
  ip[row + Ip.Ttl] = MADE_TTL
  ip[row + Ip.Flags] = IpFlag.Local | IpFlag.HasL4 | flags
  ip[row + Ip.OutIf] = -1
  forget(ip, row)
}

/** Makes a row that of a packet which starts here: no interface, no connection, no route. */
export function forget(ip: Int32Array, row: number): void {
  ip[row + Ip.Mark] = 0
  ip[row + Ip.Ct] = -1
  ip[row + Ip.CtGuess] = 0
  ip[row + Ip.CtState] = 0
  ip[row + Ip.InIf] = -1
  ip[row + Ip.Route] = -1
  ip[row + Ip.PktType] = 0
}
