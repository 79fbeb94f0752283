// HOT
/**
 * A VLAN tag (IEEE 802.1Q clause 9): it stands behind the MAC addresses, in front of the EtherType.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-----+-+-----------------------+
 *     |             TPID              | PCP |D|          VID          |
 *     +-------------------------------+-----+-+-----------------------+
 *     |   EtherType, or another TPID  |
 *     +-------------------------------+
 *
 * TPID  0x8100 customer tag, 0x88a8 service tag (802.1ad)
 * PCP   priority, 0 to 7
 * D     DEI: drop first when short of room
 * VID   1 to 4094; 0 = only a priority; 4095 is reserved
 *
 * `at` is the place of the TPID. Writing needs four bytes there; who makes room is packet/egress.ts.
 */
import { SIZE as ETHERNET, EtherType } from './ethernet.ts'

const TPID = 0
const TCI = 2
const TYPE = 4
/** Bytes that the tag adds to a frame. */
export const SIZE = 4
const TYPE_SIZE = 2
/** Tags that `typeAt` looks behind. */
const MAX_TAGS = 2

/** True when the tag and the EtherType behind it are there. */
export function fits(_view: DataView, at: number, end: number): boolean {
  return end - at >= SIZE + TYPE_SIZE
}

export function tpid(view: DataView, at: number): number {
  return view.getUint16(at + TPID)
}

/** PCP, DEI and VID in one. */
export function tci(view: DataView, at: number): number {
  return view.getUint16(at + TCI)
}

export function pcp(view: DataView, at: number): number {
  return view.getUint8(at + TCI) >> 5
}

export function dei(view: DataView, at: number): number {
  return (view.getUint8(at + TCI) >> 4) & 1
}

export function vid(view: DataView, at: number): number {
  return view.getUint16(at + TCI) & 0xfff
}

export function etherType(view: DataView, at: number): number {
  return view.getUint16(at + TYPE)
}

/**
 * Where the EtherType is that says what the frame at `at` carries, behind at most two tags; -1 when the
 * frame ends before. The payload is two bytes behind. Needs a whole Ethernet header.
 */
export function typeAt(view: DataView, at: number, end: number): number {
  let place = at + ETHERNET - TYPE_SIZE
  for (let tags = 0; tags < MAX_TAGS; tags++) {
    const type = view.getUint16(place)
    if (type !== EtherType.Vlan && type !== EtherType.ServiceVlan) return place
    if (!fits(view, place, end)) return -1
    place += SIZE
  }
  return place
}

export function setTci(view: DataView, at: number, value: number): void {
  view.setUint16(at + TCI, value)
}

export function setVid(view: DataView, at: number, value: number): void {
  view.setUint16(at + TCI, (view.getUint16(at + TCI) & 0xf000) | value)
}

export function write(view: DataView, at: number, protocol: number, value: number): void {
  view.setUint16(at + TPID, protocol)
  view.setUint16(at + TCI, value)
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  const kind = tpid(view, at) === EtherType.ServiceVlan ? 's-vlan' : 'vlan'
  return `${kind} ${vid(view, at)} pcp ${pcp(view, at)}${dei(view, at) ? ' dei' : ''}`
}
