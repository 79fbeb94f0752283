// HOT
/**
 * MACs that follow from the address (RFC 1112 6.4, RFC 2464 7, RFC 919): no neighbour has to be asked.
 *
 *     224.0.0.0/4                      01:00:5e and the low 23 bits
 *     ff00::/8                         33:33 and the last four bytes
 *     255.255.255.255, or all ones in
 *     a subnet of the interface        ff:ff:ff:ff:ff:ff
 */
import { GROUP4_HI, GROUP6_HI, group4Lo } from '../wire/ethernet.ts'
import { isMulticast } from '../wire/ipv6.ts'
import { type Interfaces, MAX_ADDRESSES } from './interfaces.ts'
import { KEY6 } from './neighbour-table.ts'

/** The first two bytes of the MAC, or -1: somebody has to be asked. `key` as in the neighbour table. */
export function groupHi(interfaces: Interfaces, key: number, w0: number): number {
  if (key >= KEY6) return isMulticast(w0) ? GROUP6_HI : -1
  if (w0 >>> 28 === 14) return GROUP4_HI
  return w0 === -1 || isDirectedBroadcast(interfaces, key & 255, w0) ? 0xffff : -1
}

/** The other four. */
export function groupLo(hi: number, w0: number, w3: number): number {
  if (hi === GROUP6_HI) return w3
  return hi === GROUP4_HI ? group4Lo(w0) : -1
}

function isDirectedBroadcast(interfaces: Interfaces, iface: number, address: number): boolean {
  const base = iface * MAX_ADDRESSES
  for (let i = 0; i < interfaces.count4[iface]; i++) {
    const bits = interfaces.prefix4[base + i]
    // A /31 and a /32 have none (RFC 3021).
    if (bits >= 31) continue
    const host = bits === 0 ? -1 : ~(-1 << (32 - bits))
    if (address === (interfaces.address4[base + i] | host)) return true
  }
  return false
}
