// HOT
/**
 * What the transport headers have in common, so that NAT need not know which one it rewrites.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source Port          |       Destination Port        |   TCP, UDP, UDP-Lite, DCCP, SCTP
 *     +-------------------------------+-------------------------------+
 *
 *     protocol    checksum at   covers the pseudo-header
 *     TCP         16            yes
 *     UDP         6             yes; 0 = none
 *     DCCP        6             yes
 *     ICMPv6      2             yes
 *     ICMP        2             no: an address does not change it (so `sumAt` is -1 here)
 *     SCTP        8, a CRC      no: but a port does, and a CRC cannot be corrected; do not rewrite its ports
 */
import { adjust, diff16, SumMode } from './checksum.ts'
import { Protocol } from './ipv4.ts'

const SRC_PORT = 0
const DST_PORT = 2
/** Both ports. */
export const PORTS_SIZE = 4

/** True when both ports are there. */
export function fits(_view: DataView, at: number, end: number): boolean {
  return end - at >= PORTS_SIZE
}

/** The protocol starts with two ports. */
export function hasPorts(protocol: number): boolean {
  return (
    protocol === Protocol.Tcp ||
    protocol === Protocol.Udp ||
    protocol === Protocol.UdpLite ||
    protocol === Protocol.Dccp ||
    protocol === Protocol.Sctp
  )
}

/**
 * Place of the checksum that covers addresses, of the transport header at `at`; -1 when there is none, or
 * when the packet (or the quote) ends before. `at` -1 = a later fragment.
 */
export function sumPlace(protocol: number, at: number, end: number): number {
  if (at < 0) return -1
  let place: number
  if (protocol === Protocol.Tcp) place = at + 16
  else if (protocol === Protocol.Udp || protocol === Protocol.Dccp || protocol === Protocol.UdpLite)
    place = at + 6
  else if (protocol === Protocol.Icmpv6) place = at + 2
  else return -1
  return place + 2 <= end ? place : -1
}

/** The SumMode of a transport header. */
export function sumMode(protocol: number, partial: boolean): number {
  return (partial ? SumMode.Partial : 0) | (protocol === Protocol.Udp ? SumMode.Udp : 0)
}

export function srcPort(view: DataView, at: number): number {
  return view.getUint16(at + SRC_PORT)
}

export function dstPort(view: DataView, at: number): number {
  return view.getUint16(at + DST_PORT)
}

function setPort(view: DataView, place: number, port: number, sumAt: number, mode: number): number {
  const diff = diff16(view.getUint16(place), port)
  view.setUint16(place, port)
  return diff + adjust(view, sumAt, 0, diff, mode)
}

/**
 * Rewrites the port and the checksum at `sumAt` (-1 = none). Returns the diff of both.
 * @param mode a SumMode
 */
export function setSrcPort(view: DataView, at: number, port: number, sumAt: number, mode: number): number {
  return setPort(view, at + SRC_PORT, port, sumAt, mode)
}

/** @param mode a SumMode */
export function setDstPort(view: DataView, at: number, port: number, sumAt: number, mode: number): number {
  return setPort(view, at + DST_PORT, port, sumAt, mode)
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  return `${srcPort(view, at)} > ${dstPort(view, at)}`
}
