// HOT
/**
 * ARP for IPv4 over Ethernet (RFC 826), with probes and announcements (RFC 5227).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |      hardware type = 1        |    protocol type = 0x0800     |
 *     +---------------+---------------+-------------------------------+
 *     |  hw length 6  | proto len. 4  |           operation           |
 *     +---------------+---------------+-------------------------------+
 *     |                   sender MAC, bytes 0 to 3                    |
 *     +-------------------------------+-------------------------------+
 *     |    sender MAC, bytes 4, 5     |     sender IP, bytes 0, 1     |
 *     +-------------------------------+-------------------------------+
 *     |     sender IP, bytes 2, 3     |     target MAC, bytes 0, 1    |
 *     +-------------------------------+-------------------------------+
 *     |                   target MAC, bytes 2 to 5                    |
 *     +---------------------------------------------------------------+
 *     |                           target IP                           |
 *     +---------------------------------------------------------------+
 *
 * operation   1 request, 2 reply; who merges an entry does so before looking at it
 * sender IP   0 in a probe: "is somebody there?", nothing to learn from it
 * target MAC  0 in a request
 * target IP   the address asked for; the sender's own in an announcement
 */
import { macText } from './ethernet.ts'
import { addrText } from './ipv4.ts'

const HARDWARE = 0
const PROTOCOL = 2
const LENGTHS = 4
const OP = 6
const SRC_MAC = 8
const SRC_ADDR = 14
const DST_MAC = 18
const DST_ADDR = 24
export const SIZE = 28

export const enum ArpOp {
  Request = 1,
  Reply = 2,
}

/** True when the message is whole, and about IPv4 over Ethernet. */
export function fits(view: DataView, at: number, end: number): boolean {
  return (
    end - at >= SIZE && view.getInt32(at + HARDWARE) === 0x00010800 && view.getUint16(at + LENGTHS) === 0x0604
  )
}

export function op(view: DataView, at: number): number {
  return view.getUint16(at + OP)
}

export function srcMacHi(view: DataView, at: number): number {
  return view.getUint16(at + SRC_MAC)
}

export function srcMacLo(view: DataView, at: number): number {
  return view.getInt32(at + SRC_MAC + 2)
}

export function srcAddr(view: DataView, at: number): number {
  return view.getInt32(at + SRC_ADDR)
}

export function dstMacHi(view: DataView, at: number): number {
  return view.getUint16(at + DST_MAC)
}

export function dstMacLo(view: DataView, at: number): number {
  return view.getInt32(at + DST_MAC + 2)
}

export function dstAddr(view: DataView, at: number): number {
  return view.getInt32(at + DST_ADDR)
}

/** RFC 5227 1.1: somebody who has no address yet asks whether one is free. */
export function isProbe(view: DataView, at: number): boolean {
  return op(view, at) === ArpOp.Request && srcAddr(view, at) === 0
}

/** An announcement: request or reply about the sender's own address. */
export function isGratuitous(view: DataView, at: number): boolean {
  return srcAddr(view, at) === dstAddr(view, at)
}

export function write(
  view: DataView,
  at: number,
  operation: number,
  srcHi: number,
  srcLo: number,
  src: number,
  dstHi: number,
  dstLo: number,
  dst: number,
): void {
  view.setUint16(at + HARDWARE, 1)
  view.setUint16(at + PROTOCOL, 0x0800)
  view.setUint16(at + LENGTHS, 0x0604)
  view.setUint16(at + OP, operation)
  view.setUint16(at + SRC_MAC, srcHi)
  view.setInt32(at + SRC_MAC + 2, srcLo)
  view.setInt32(at + SRC_ADDR, src)
  view.setUint16(at + DST_MAC, dstHi)
  view.setInt32(at + DST_MAC + 2, dstLo)
  view.setInt32(at + DST_ADDR, dst)
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  const sender = addrText(srcAddr(view, at))
  const target = addrText(dstAddr(view, at))
  const mac = macText(srcMacHi(view, at), srcMacLo(view, at))
  switch (op(view, at)) {
    case ArpOp.Request:
      return isProbe(view, at)
        ? `arp probe ${target} from ${mac}`
        : `arp who-has ${target} tell ${sender} (${mac})`
    case ArpOp.Reply:
      return `arp ${sender} is-at ${mac}`
    default:
      return `arp op ${op(view, at)}`
  }
}
