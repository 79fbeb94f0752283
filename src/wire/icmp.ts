// HOT
/**
 * ICMP (RFC 792; RFC 1191 for the MTU; RFC 4884 4.1 for the length).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |     Type      |     Code      |          Checksum             |
 *     +---------------+---------------+-------------------------------+
 *     |          Identifier           |        Sequence Number        |   echo, timestamp
 *     |            unused             |         Next-Hop MTU          |   3/4 fragmentation needed
 *     |    Pointer    |                    unused                     |   12 parameter problem
 *     |                        Gateway Address                        |   5 redirect
 *     +---------------------------------------------------------------+
 *     |     data; in an error, the packet it is about: header and     |
 *     |     at least 8 bytes of payload                               |
 *
 * Checksum    of the ICMP message alone: no pseudo-header, so addresses do not change it
 * Identifier  what a port is to UDP: NAT rewrites it
 * MTU         of the link the packet did not fit into; 0 from a router older than RFC 1191
 */
import { adjust, diff16, fill, SumMode } from './checksum.ts'

const TYPE = 0
const CODE = 1
const CHECKSUM = 2
const IDENT = 4
const SEQUENCE = 6
const MTU = 6
const POINTER = 4
const GATEWAY = 4
export const SIZE = 8
/** Where an error quotes the packet it is about. */
export const QUOTE = 8

export const enum IcmpType {
  EchoReply = 0,
  Unreachable = 3,
  SourceQuench = 4,
  Redirect = 5,
  Echo = 8,
  RouterAdvertisement = 9,
  RouterSolicitation = 10,
  TimeExceeded = 11,
  ParameterProblem = 12,
  Timestamp = 13,
  TimestampReply = 14,
  InformationRequest = 15,
  InformationReply = 16,
  MaskRequest = 17,
  MaskReply = 18,
}

/** Codes of Unreachable. */
export const enum Unreachable {
  Net = 0,
  Host = 1,
  Protocol = 2,
  Port = 3,
  FragmentationNeeded = 4,
  NetProhibited = 9,
  HostProhibited = 10,
  AdminProhibited = 13,
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
  return view.getUint16(at + MTU)
}

export function pointer(view: DataView, at: number): number {
  return view.getUint8(at + POINTER)
}

export function gateway(view: DataView, at: number): number {
  return view.getInt32(at + GATEWAY)
}

/** An error quotes a packet, and is never answered by another (RFC 1122 3.2.2). */
export function isError(icmpType: number): boolean {
  return (
    icmpType === IcmpType.Unreachable ||
    icmpType === IcmpType.SourceQuench ||
    icmpType === IcmpType.Redirect ||
    icmpType === IcmpType.TimeExceeded ||
    icmpType === IcmpType.ParameterProblem
  )
}

/** The type of the answer to a query, of the query to an answer; -1 for all else. */
export function counterpart(icmpType: number): number {
  if (icmpType === IcmpType.Echo) return IcmpType.EchoReply
  if (icmpType === IcmpType.EchoReply) return IcmpType.Echo
  if (icmpType < IcmpType.Timestamp || icmpType > IcmpType.MaskReply) return -1
  return ((icmpType - 1) ^ 1) + 1
}

/** Rewrites the identifier and the checksum (never partial: no device finishes ICMP). */
export function setIdent(view: DataView, at: number, value: number): number {
  const diff = diff16(view.getUint16(at + IDENT), value)
  view.setUint16(at + IDENT, value)
  return diff + correct(view, at, diff)
}

/** Makes a request the answer, and back. */
export function setType(view: DataView, at: number, value: number): number {
  const rest = view.getUint8(at + CODE)
  const diff = diff16((view.getUint8(at + TYPE) << 8) | rest, (value << 8) | rest)
  view.setUint8(at + TYPE, value)
  return diff + correct(view, at, diff)
}

/** Takes a change of the quoted packet (the diff its setters returned) into the checksum. */
export function correct(view: DataView, at: number, diff: number): number {
  return adjust(view, at + CHECKSUM, 0, diff, SumMode.Full)
}

/** Writes type, code and the word behind the checksum, which stays 0 until `fillChecksum`. */
export function write(view: DataView, at: number, icmpType: number, icmpCode: number, rest: number): void {
  view.setUint8(at + TYPE, icmpType)
  view.setUint8(at + CODE, icmpCode)
  view.setUint16(at + CHECKSUM, 0)
  view.setInt32(at + IDENT, rest)
}

/** Computes the checksum of a message of `bytes`. */
export function fillChecksum(view: DataView, at: number, bytes: number): void {
  fill(view, at, bytes, at + CHECKSUM, 0, SumMode.Full)
}

// Text for people: not for the data plane.

export function text(view: DataView, at: number): string {
  const kind = type(view, at)
  if (kind === IcmpType.Echo || kind === IcmpType.EchoReply) {
    return `icmp echo ${kind === IcmpType.Echo ? 'request' : 'reply'} id ${ident(view, at)} seq ${sequence(view, at)}`
  }
  const needed = kind === IcmpType.Unreachable && code(view, at) === Unreachable.FragmentationNeeded
  return `icmp type ${kind} code ${code(view, at)}${needed ? ` mtu ${mtu(view, at)}` : ''}`
}
