/**
 * DHCP messages as values (RFC 2131 2, RFC 2132): what a client said, and the bytes of an answer. The fixed
 * part is wire/dhcp.ts; this file is about options:
 *
 *     read    from the options field, then `file`, then `sname`, as option 52 says; pieces of one option are
 *             joined in that order (RFC 3396)
 *     write   in the order given, in pieces of 255 bytes; what finds no room in the options field goes to
 *             `file`, then `sname` (option 52). What does not fit even then is left out, the last first.
 */
import * as wire from '../wire/dhcp.ts'
import { macText } from '../wire/ethernet.ts'
import { viewOf } from './made.ts'

const SNAME = 44
const FILE = 108
const COOKIE = 236
/** What every client takes: an IP packet of 576 bytes (RFC 2131 2). */
const MIN_PACKET = 576
const IP_AND_UDP = 28
/** Room kept in the options field for option 52 and the end. */
const OVERLOAD = 3

export interface Request {
  type: wire.DhcpMessage
  xid: number
  /** The word, as it is repeated in answers. */
  flags: number
  broadcast: boolean
  /** Addresses are unsigned here and in all of this directory; 0 = none. */
  ciaddr: number
  giaddr: number
  mac: string
  macHi: number
  macLo: number
  /** Option 61 in hexadecimal, '' = none. */
  clientId: string
  requested: number
  serverId: number
  /** Option 55; null = the client does not say. */
  wants: number[] | null
  /** Longest IP packet that the client takes. */
  maxPacket: number
  /** Seconds; 0 = not said. */
  leaseS: number
  hostName: string
  /** Option 82, to be repeated. */
  relayInfo: Uint8Array | null
}

type Options = Map<number, Uint8Array>

/** What a client sent; null when it is no DHCP request, or not whole. */
export function readRequest(bytes: Uint8Array): Request | null {
  const view = viewOf(bytes)
  if (!wire.fits(view, 0, bytes.length) || wire.op(view, 0) !== wire.DhcpOp.Request) return null
  const options = readOptions(bytes)
  const type = options?.get(wire.DhcpOption.MessageType)
  if (!options || type?.length !== 1) return null
  const macHi = wire.srcMacHi(view, 0)
  const macLo = wire.srcMacLo(view, 0)
  if ((macHi & 0x100) !== 0 || (macHi === 0 && macLo === 0)) return null
  const clientId = options.get(wire.DhcpOption.ClientId)
  // RFC 2132 9.14: two bytes at least. What is shorter names nobody.
  const named = clientId !== undefined && clientId.length >= 2 && clientId.length <= 255
  return {
    type: type[0],
    xid: wire.xid(view, 0),
    flags: wire.flags(view, 0),
    broadcast: wire.wantsBroadcast(view, 0),
    ciaddr: wire.clientAddr(view, 0) >>> 0,
    giaddr: wire.relayAddr(view, 0) >>> 0,
    mac: macText(macHi, macLo),
    macHi,
    macLo,
    clientId: named ? Buffer.from(clientId).toString('hex') : '',
    requested: word(options, wire.DhcpOption.RequestedAddress),
    serverId: word(options, wire.DhcpOption.ServerId),
    wants: listed(options.get(wire.DhcpOption.ParameterList)),
    maxPacket: longest(options.get(wire.DhcpOption.MaxSize)),
    leaseS: word(options, wire.DhcpOption.LeaseTime),
    hostName: printable(options.get(wire.DhcpOption.HostName)),
    relayInfo: options.get(wire.DhcpOption.RelayInfo) ?? null,
  }
}

function listed(value: Uint8Array | undefined): number[] | null {
  return value === undefined ? null : [...value]
}

function longest(value: Uint8Array | undefined): number {
  return Math.max(MIN_PACKET, value?.length === 2 ? (value[0] << 8) | value[1] : 0)
}

/** A name as it may stand in a table or a file: what cannot be in a host name is left out. */
function printable(bytes: Uint8Array | undefined): string {
  if (!bytes) return ''
  return Buffer.from(bytes.subarray(0, 253))
    .toString('latin1')
    .replace(/[^A-Za-z0-9._-]/g, '')
}

function word(options: Options, code: number): number {
  const value = options.get(code)
  return value?.length === 4 ? viewOf(value).getUint32(0) : 0
}

/** All options by code; null when one is cut short. */
export function readOptions(bytes: Uint8Array): Options | null {
  const options: Options = new Map()
  if (!collect(bytes.subarray(wire.SIZE), options)) return null
  const overload = options.get(wire.DhcpOption.Overload)
  if (overload === undefined) return options
  if (overload.length !== 1 || overload[0] < 1 || overload[0] > 3) return null
  if ((overload[0] & 1) !== 0 && !collect(bytes.subarray(FILE, COOKIE), options)) return null
  if ((overload[0] & 2) !== 0 && !collect(bytes.subarray(SNAME, FILE), options)) return null
  return options
}

/** A field may also end without an end option: many clients leave it out. */
function collect(field: Uint8Array, options: Options): boolean {
  let at = 0
  while (at < field.length) {
    const code = field[at]
    if (code === wire.DhcpOption.End) return true
    if (code === wire.DhcpOption.Pad) {
      at++
      continue
    }
    if (field.length - at < 2) return false
    const length = field[at + 1]
    if (length > field.length - at - 2) return false
    const value = field.subarray(at + 2, at + 2 + length)
    const before = options.get(code)
    options.set(code, before === undefined ? value : Buffer.concat([before, value]))
    at += 2 + length
  }
  return true
}

export type Option = readonly [code: number, value: Uint8Array]

export const byte = (value: number): Uint8Array => Uint8Array.of(value)
export const short = (value: number): Uint8Array => Uint8Array.of(value >> 8, value)
export function long(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  values.forEach((value, i) => {
    viewOf(bytes).setUint32(4 * i, value)
  })
  return bytes
}
export const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1')

export interface Answer {
  ciaddr: number
  yiaddr: number
  options: Option[]
}

/** @param maxPacket longest IP packet: what the client takes, and the link */
export function writeAnswer(request: Request, answer: Answer, maxPacket: number): Uint8Array {
  const room = Math.max(MIN_PACKET, maxPacket) - IP_AND_UDP
  const bytes = new Uint8Array(room)
  const view = viewOf(bytes)
  const { xid, flags, macHi, macLo } = request
  wire.write(view, 0, wire.DhcpOp.Reply, xid, flags, macHi, macLo)
  wire.setAddrs(view, 0, answer.ciaddr, answer.yiaddr, 0, request.giaddr)
  const pieces = answer.options.flatMap(([code, value]) => inPieces(code, value))
  const main = { at: wire.SIZE, end: room - 1 }
  const whole = pieces.reduce((sum, p) => sum + p.length, 0) <= main.end - main.at
  if (!whole) main.end -= OVERLOAD
  const file = { at: FILE, end: COOKIE - 1 }
  const sname = { at: SNAME, end: FILE - 1 }
  const fields = whole ? [main] : [main, file, sname]
  // Pieces of one option are joined in the order of the fields, so none goes back to an earlier one.
  let from = 0
  for (const piece of pieces) {
    const next = fields.findIndex((f, i) => i >= from && f.end - f.at >= piece.length)
    if (next < 0) break
    from = next
    bytes.set(piece, fields[next].at)
    fields[next].at += piece.length
  }
  const used = (file.at > FILE ? 1 : 0) | (sname.at > SNAME ? 2 : 0)
  if (used & 1) bytes[file.at] = wire.DhcpOption.End
  if (used & 2) bytes[sname.at] = wire.DhcpOption.End
  if (used !== 0) main.at = wire.writeOption8(view, main.at, wire.DhcpOption.Overload, used)
  return bytes.subarray(0, wire.writeEnd(view, 0, main.at))
}

function inPieces(code: number, value: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < value.length || at === 0; at += 255) {
    const part = value.subarray(at, at + 255)
    pieces.push(Uint8Array.of(code, part.length, ...part))
  }
  return pieces
}
