// HOT
/**
 * DHCP for IPv4 (RFC 2131 2), between UDP ports 67 (server) and 68 (client).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+---------------+---------------+
 *     |      op       |   htype = 1   |   hlen = 6    |     hops      |
 *     +---------------+---------------+---------------+---------------+
 *     |                              xid                              |
 *     +-------------------------------+-+-----------------------------+
 *     |             secs              |B|        must be zero         |
 *     +-------------------------------+-+-----------------------------+
 *     |  ciaddr, yiaddr, siaddr, giaddr (4 bytes each)                |
 *     +---------------------------------------------------------------+
 *     |  chaddr (16), sname (64), file (128)                          |
 *     +---------------------------------------------------------------+
 *     |                      cookie 63 82 53 63                       |
 *     +---------------------------------------------------------------+
 *     |  options: code (1), length (1), value; 0 = pad, 255 = end     |
 *
 * op      1 from a client, 2 from a server
 * xid     chosen by the client, the same in the answer
 * B       the client cannot take unicast yet: answer by broadcast
 * ciaddr  the address the client has (renewing); yiaddr the one it gets; siaddr the next server
 * giaddr  the relay that forwarded this, 0 = none
 * chaddr  the client's MAC, in the first six bytes
 * sname, file  hold more options when option 52 says so
 */
const OP = 0
const HTYPE = 1
const HLEN = 2
const HOPS = 3
const XID = 4
const SECS = 8
const FLAGS = 10
const CIADDR = 12
const YIADDR = 16
const SIADDR = 20
const GIADDR = 24
const CHADDR = 28
const SNAME = 44
const FILE = 108
const COOKIE = 236
const MAGIC = 0x63825363
/** Where the options start. */
export const SIZE = 240
export const SERVER_PORT = 67
export const CLIENT_PORT = 68
/** RFC 2131 2: a client takes at least this many bytes of DHCP message; BOOTP clients want no fewer than 300. */
export const MIN_MESSAGE = 300

export const enum DhcpOp {
  Request = 1,
  Reply = 2,
}

/** Values of option 53. */
export const enum DhcpMessage {
  Discover = 1,
  Offer = 2,
  Request = 3,
  Decline = 4,
  Ack = 5,
  Nak = 6,
  Release = 7,
  Inform = 8,
}

export const enum DhcpOption {
  Pad = 0,
  SubnetMask = 1,
  Router = 3,
  DnsServer = 6,
  HostName = 12,
  DomainName = 15,
  Mtu = 26,
  BroadcastAddress = 28,
  RequestedAddress = 50,
  LeaseTime = 51,
  Overload = 52,
  MessageType = 53,
  ServerId = 54,
  ParameterList = 55,
  Message = 56,
  MaxSize = 57,
  RenewalTime = 58,
  RebindingTime = 59,
  ClientId = 61,
  RelayInfo = 82,
  ClasslessRoutes = 121,
  End = 255,
}

/** The fixed part is there, from an Ethernet client, with the cookie: DHCP and not old BOOTP. */
export function fits(view: DataView, at: number, end: number): boolean {
  return (
    end - at >= SIZE &&
    view.getUint8(at + HTYPE) === 1 &&
    view.getUint8(at + HLEN) === 6 &&
    view.getInt32(at + COOKIE) === MAGIC
  )
}

export function op(view: DataView, at: number): number {
  return view.getUint8(at + OP)
}

export function hops(view: DataView, at: number): number {
  return view.getUint8(at + HOPS)
}

export function xid(view: DataView, at: number): number {
  return view.getInt32(at + XID)
}

export function secs(view: DataView, at: number): number {
  return view.getUint16(at + SECS)
}

/** The whole word: an answer repeats it. */
export function flags(view: DataView, at: number): number {
  return view.getUint16(at + FLAGS)
}

export function wantsBroadcast(view: DataView, at: number): boolean {
  return (view.getUint8(at + FLAGS) & 0x80) !== 0
}

export function clientAddr(view: DataView, at: number): number {
  return view.getInt32(at + CIADDR)
}

export function yourAddr(view: DataView, at: number): number {
  return view.getInt32(at + YIADDR)
}

export function serverAddr(view: DataView, at: number): number {
  return view.getInt32(at + SIADDR)
}

export function relayAddr(view: DataView, at: number): number {
  return view.getInt32(at + GIADDR)
}

export function srcMacHi(view: DataView, at: number): number {
  return view.getUint16(at + CHADDR)
}

export function srcMacLo(view: DataView, at: number): number {
  return view.getInt32(at + CHADDR + 2)
}

/** Place of the option's code in [from, end), or -1; the value is 2 bytes behind and wholly inside. */
function findIn(view: DataView, from: number, end: number, code: number): number {
  let place = from
  while (place < end) {
    const found = view.getUint8(place)
    if (found === DhcpOption.End) return -1
    if (found === DhcpOption.Pad) {
      place++
      continue
    }
    if (end - place < 2) return -1
    const length = view.getUint8(place + 1)
    if (length > end - place - 2) return -1
    if (found === code) return place
    place += 2 + length
  }
  return -1
}

/**
 * Place of the first option of this code, or -1: length at +1, value from +2 on. Looks into file and sname
 * too when they hold options (RFC 2132 9.3). Options split in pieces (RFC 3396) are not joined.
 */
export function findOption(view: DataView, at: number, end: number, code: number): number {
  const place = findIn(view, at + SIZE, end, code)
  if (place >= 0) return place
  const overload = findIn(view, at + SIZE, end, DhcpOption.Overload)
  if (overload < 0 || view.getUint8(overload + 1) !== 1) return -1
  const where = view.getUint8(overload + 2)
  const inFile = (where & 1) !== 0 ? findIn(view, at + FILE, at + COOKIE, code) : -1
  return inFile >= 0 || (where & 2) === 0 ? inFile : findIn(view, at + SNAME, at + FILE, code)
}

/** Option 53, or 0. */
export function messageType(view: DataView, at: number, end: number): number {
  const place = findOption(view, at, end, DhcpOption.MessageType)
  return place >= 0 && view.getUint8(place + 1) === 1 ? view.getUint8(place + 2) : 0
}

/** Value of an option of four bytes; `otherwise` when there is none. */
export function option32(view: DataView, at: number, end: number, code: number, otherwise: number): number {
  const place = findOption(view, at, end, code)
  return place >= 0 && view.getUint8(place + 1) === 4 ? view.getInt32(place + 2) : otherwise
}

/** Writes the fixed part, with the cookie and no addresses. Options go behind, from `at + SIZE` on. */
export function write(
  view: DataView,
  at: number,
  operation: number,
  id: number,
  flagWord: number,
  macHi: number,
  macLo: number,
): void {
  for (let i = 0; i < SIZE; i += 4) view.setInt32(at + i, 0)
  view.setUint8(at + OP, operation)
  view.setUint8(at + HTYPE, 1)
  view.setUint8(at + HLEN, 6)
  view.setInt32(at + XID, id)
  view.setUint16(at + FLAGS, flagWord)
  view.setUint16(at + CHADDR, macHi)
  view.setInt32(at + CHADDR + 2, macLo)
  view.setInt32(at + COOKIE, MAGIC)
}

export function setAddrs(
  view: DataView,
  at: number,
  client: number,
  your: number,
  server: number,
  relay: number,
): void {
  view.setInt32(at + CIADDR, client)
  view.setInt32(at + YIADDR, your)
  view.setInt32(at + SIADDR, server)
  view.setInt32(at + GIADDR, relay)
}

/** The writers of options return the place behind; `place` is where it goes. */
export function writeOption8(view: DataView, place: number, code: number, value: number): number {
  view.setUint8(place, code)
  view.setUint8(place + 1, 1)
  view.setUint8(place + 2, value)
  return place + 3
}

export function writeOption16(view: DataView, place: number, code: number, value: number): number {
  view.setUint8(place, code)
  view.setUint8(place + 1, 2)
  view.setUint16(place + 2, value)
  return place + 4
}

export function writeOption32(view: DataView, place: number, code: number, value: number): number {
  view.setUint8(place, code)
  view.setUint8(place + 1, 4)
  view.setInt32(place + 2, value)
  return place + 6
}

/** Bytes `from` .. `from + length` of the same memory: an option to be echoed (82, 61). */
export function copyOption(view: DataView, place: number, from: number): number {
  const length = 2 + view.getUint8(from + 1)
  for (let i = 0; i < length; i++) view.setUint8(place + i, view.getUint8(from + i))
  return place + length
}

/** An entry of option 121 (RFC 3442): the prefix's length, as few of its bytes as it needs, the router. */
export function writeRoute(
  view: DataView,
  place: number,
  len: number,
  prefix: number,
  router: number,
): number {
  view.setUint8(place++, len)
  for (let bits = 0; bits < len; bits += 8) view.setUint8(place++, prefix >>> (24 - bits))
  view.setInt32(place, router)
  return place + 4
}

/** Ends the options, padded to MIN_MESSAGE. Returns the message's length. */
export function writeEnd(view: DataView, at: number, place: number): number {
  view.setUint8(place++, DhcpOption.End)
  while (place - at < MIN_MESSAGE) view.setUint8(place++, DhcpOption.Pad)
  return place - at
}

// Text for people: not for the data plane.

const MESSAGES = ['bootp', 'discover', 'offer', 'request', 'decline', 'ack', 'nak', 'release', 'inform']

export function text(view: DataView, at: number, end: number): string {
  return `dhcp ${MESSAGES[messageType(view, at, end)] ?? 'unknown'} xid 0x${(xid(view, at) >>> 0).toString(16)}`
}
