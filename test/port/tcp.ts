/** A TCP segment from station 1 to station 2 with an unfinished checksum, as a device with offloads gives it. */
import { native } from '../../src/native.ts'
import { frame } from '../support/frames.ts'

export function tcp4(payload: number): { bytes: Uint8Array; csumStart: number } {
  const ip = new Uint8Array(40 + payload)
  const view = new DataView(ip.buffer)
  ip.set([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
  view.setUint16(2, ip.length)
  view.setUint16(10, ~native.checksum(ip, 0, 20) & 0xffff)
  ip.set([0x30, 0x39, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff], 20)
  for (let i = 40; i < ip.length; i++) ip[i] = i
  // The pseudo-header: addresses, protocol, length.
  view.setUint16(36, native.checksum(ip, 12, 8, 6 + 20 + payload))
  return { bytes: frame({ dst: 2, src: 1, type: 0x0800, payload: ip }), csumStart: 34 }
}
