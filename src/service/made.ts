/** Whole IP packets as the services send them, with their checksums. */
import { pseudo4, pseudo6, verify } from '../wire/checksum.ts'
import * as icmp from '../wire/icmp.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as udp from '../wire/udp.ts'

const TTL = 64

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export interface Ends {
  /** IPv4 addresses, 32 bits. */
  src: number
  dst: number
  srcPort: number
  dstPort: number
}

export function udp4({ src, dst, srcPort, dstPort }: Ends, payload: Uint8Array): Uint8Array {
  const bytes = udp.SIZE + payload.length
  const packet = new Uint8Array(ipv4.SIZE + bytes)
  const view = viewOf(packet)
  ipv4.write(view, 0, packet.length, ipv4.Protocol.Udp, src, dst, TTL, 0, 0, true)
  udp.write(view, ipv4.SIZE, srcPort, dstPort, bytes)
  packet.set(payload, ipv4.SIZE + udp.SIZE)
  udp.fillChecksum(view, ipv4.SIZE, pseudo4(view, 0, ipv4.Protocol.Udp, bytes), false)
  return packet
}

/** An echo request: something for a neighbour to be looked for. */
export function echo4(src: number, dst: number): Uint8Array {
  const packet = new Uint8Array(ipv4.SIZE + icmp.SIZE)
  const view = viewOf(packet)
  ipv4.write(view, 0, packet.length, ipv4.Protocol.Icmp, src, dst, TTL, 0, 0, true)
  icmp.write(view, ipv4.SIZE, icmp.IcmpType.Echo, 0, 0)
  icmp.fillChecksum(view, ipv4.SIZE, icmp.SIZE)
  return packet
}

/** @param message with room for its checksum; src and dst are four words each */
export function icmp6(src: readonly number[], dst: readonly number[], message: Uint8Array): Uint8Array {
  const packet = new Uint8Array(ipv6.SIZE + message.length)
  const view = viewOf(packet)
  ipv6.write(view, 0, message.length, ipv4.Protocol.Icmpv6, 255, 0, 0)
  for (let i = 0; i < 4; i++) {
    view.setInt32(8 + 4 * i, src[i])
    view.setInt32(24 + 4 * i, dst[i])
  }
  packet.set(message, ipv6.SIZE)
  const pseudo = pseudo6(view, 0, ipv4.Protocol.Icmpv6, message.length)
  icmpv6.fillChecksum(view, ipv6.SIZE, message.length, pseudo)
  return packet
}

export interface Datagram extends Ends {
  payload: Uint8Array
}

/**
 * Takes a UDP packet apart; null when its lengths or its checksum are wrong.
 * @param checked the checksum needs no look
 */
export function readUdp4(packet: Uint8Array, checked: boolean): Datagram | null {
  const view = viewOf(packet)
  if (!ipv4.fits(view, 0, packet.length) || ipv4.protocol(view, 0) !== ipv4.Protocol.Udp) return null
  const at = ipv4.headerLength(view, 0)
  const end = ipv4.totalLength(view, 0)
  if (!udp.fits(view, at, end)) return null
  const length = udp.length(view, at)
  if (length < udp.SIZE || length > end - at) return null
  const summed = !checked && udp.checksum(view, at) !== 0
  if (summed && !verify(view, at, length, pseudo4(view, 0, ipv4.Protocol.Udp, length))) return null
  return {
    src: ipv4.srcAddr(view, 0),
    dst: ipv4.dstAddr(view, 0),
    srcPort: udp.srcPort(view, at),
    dstPort: udp.dstPort(view, at),
    payload: packet.subarray(at + udp.SIZE, at + length),
  }
}
