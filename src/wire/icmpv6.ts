// HOT
/**
 * ICMPv6 (RFC 4443). Neighbour discovery is in nd.ts.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |          Checksum             |
 *     +---------------+---------------+-------------------------------+
 *     |          Identifier           |        Sequence Number        |   echo
 *     |                              MTU                              |   2 packet too big
 *     |                            Pointer                            |   4 parameter problem
 *     +---------------------------------------------------------------+
 *     |     data; in an error, as much of the packet it is about as   |
 *     |     fits into 1280 bytes                                      |
 *
 * Type        below 128 an error
 * Checksum    of the pseudo-header (next header 58) and the message: addresses change it
 * Identifier  what a port is to UDP: NAT rewrites it
 * Pointer     offset of the bad byte in the quoted packet
 */
import { adjust, diff16, fill, SumMode } from './checksum.ts'

const TYPE = 0
const CODE = 1
const CHECKSUM = 2
const IDENT = 4
const SEQUENCE = 6
const MTU = 4
const POINTER = 4
export const SIZE = 8
/** Where an error quotes the packet it is about. */
export const QUOTE = 8

export const enum Icmpv6Type {
  Unreachable = 1,
  PacketTooBig = 2,
  TimeExceeded = 3,
  ParameterProblem = 4,
  Echo = 128,
  EchoReply = 129,
  RouterSolicitation = 133,
  RouterAdvertisement = 134,
  NeighborSolicitation = 135,
  NeighborAdvertisement = 136,
  Redirect = 137,
}

/** Codes of Unreachable. */
export const enum Unreachable6 {
  NoRoute = 0,
  AdminProhibited = 1,
  BeyondScope = 2,
  Address = 3,
  Port = 4,
  SourcePolicy = 5,
  RejectRoute = 6,
}

export function fits(_view: DataView, at: number, end: number): boolean {
  return end - at >= SIZE
}

export function type(view: DataView, at: number): number {
  return view.getUint8(at + TYPE)
}

export function code(view: DataView, at: number): number {
  return view.getUint8(at + CODE)
}

export function checksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM)
}

export function ident(view: DataView, at: number): number {
  return view.getUint16(at + IDENT)
}

export function sequence(view: DataView, at: number): number {
  return view.getUint16(at + SEQUENCE)
}

export function mtu(view: DataView, at: number): number {
  return view.getUint32(at + MTU)
}

export function pointer(view: DataView, at: number): number {
  return view.getUint32(at + POINTER)
}

/** An error quotes a packet, and is never answered by another (RFC 4443 2.4 e). */
export function isError(icmpType: number): boolean {
  return icmpType < 128
}

/** The type of the answer to a query, of the query to an answer; -1 for all else. */
export function counterpart(icmpType: number): number {
  return icmpType === Icmpv6Type.Echo || icmpType === Icmpv6Type.EchoReply ? icmpType ^ 1 : -1
}

/** Rewrites the identifier and the checksum. */
export function setIdent(view: DataView, at: number, value: number, partial: boolean): number {
  const diff = diff16(view.getUint16(at + IDENT), value)
  view.setUint16(at + IDENT, value)
  return diff + correct(view, at, diff, partial)
}

/** Makes a request the answer, and back. */
export function setType(view: DataView, at: number, value: number, partial: boolean): number {
  const rest = view.getUint8(at + CODE)
  const diff = diff16((view.getUint8(at + TYPE) << 8) | rest, (value << 8) | rest)
  view.setUint8(at + TYPE, value)
  return diff + correct(view, at, diff, partial)
}

/** Takes a change of the message or of the quoted packet (the diff its setters returned) into the checksum. */
export function correct(view: DataView, at: number, diff: number, partial: boolean): number {
  return adjust(view, at + CHECKSUM, 0, diff, partial ? SumMode.Partial : SumMode.Full)
}

/** Writes type, code and the word behind the checksum, which stays 0 until `fillChecksum`. */
export function write(view: DataView, at: number, icmpType: number, icmpCode: number, rest: number): void {
  view.setUint8(at + TYPE, icmpType)
  view.setUint8(at + CODE, icmpCode)
  view.setUint16(at + CHECKSUM, 0)
  view.setInt32(at + IDENT, rest)
}

/** Computes the checksum of a message of `bytes`. `pseudo` from pseudo6. */
export function fillChecksum(view: DataView, at: number, bytes: number, pseudo: number): void {
  fill(view, at, bytes, at + CHECKSUM, pseudo, SumMode.Full)
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  const kind = type(view, at)
  if (kind === Icmpv6Type.Echo || kind === Icmpv6Type.EchoReply) {
    return `icmp6 echo ${kind === Icmpv6Type.Echo ? 'request' : 'reply'} id ${ident(view, at)} seq ${sequence(view, at)}`
  }
  return `icmp6 type ${kind} code ${code(view, at)}${kind === Icmpv6Type.PacketTooBig ? ` mtu ${mtu(view, at)}` : ''}`
}
