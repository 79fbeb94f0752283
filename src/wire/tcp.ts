// HOT
/**
 * The TCP header (RFC 9293 3.1). Its options are in tcp-option.ts.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-------------------------------+
 *     |          Source Port          |       Destination Port        |
 *     +-------------------------------+-------------------------------+
 *     |                        Sequence Number                        |
 *     +---------------------------------------------------------------+
 *     |                    Acknowledgment Number                      |
 *     +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *     | Data  | Resvd |C|E|U|A|P|R|S|F|                               |
 *     | Offset|       |W|C|R|C|S|S|Y|I|            Window             |
 *     |       |       |R|E|G|K|H|T|N|N|                               |
 *     +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *     |            Checksum           |         Urgent Pointer        |
 *     +-------------------------------+-------------------------------+
 *     |                            Options                            |
 *
 * Sequence Number        of the first payload byte, or of SYN; int32, compared by differences
 * Acknowledgment Number  the next one expected, when ACK is set
 * Data Offset            length of this header in words, 5 to 15
 * Window                 bytes the receiver takes, to be shifted by its window scale, but not in a SYN
 * Checksum               of pseudo-header, header and payload
 * Urgent Pointer         end of urgent data, when URG is set
 */
import { fill, SumMode } from './checksum.ts'

const SRC_PORT = 0
const DST_PORT = 2
const SEQ = 4
const ACK = 8
const DATA_OFFSET = 12
const FLAGS = 13
const WINDOW = 14
const CHECKSUM = 16
const URGENT = 18
/** Without options. */
export const SIZE = 20

export const enum TcpFlag {
  Fin = 1,
  Syn = 2,
  Rst = 4,
  Psh = 8,
  Ack = 16,
  Urg = 32,
  Ece = 64,
  Cwr = 128,
}

/** The whole header is there, options and all. */
export function fits(view: DataView, at: number, end: number): boolean {
  const room = end - at
  if (room < SIZE) return false
  const size = headerLength(view, at)
  return size >= SIZE && size <= room
}

export { dstPort, setDstPort, setSrcPort, srcPort } from './l4.ts'

export function seq(view: DataView, at: number): number {
  return view.getInt32(at + SEQ)
}

export function ack(view: DataView, at: number): number {
  return view.getInt32(at + ACK)
}

/** Bytes. */
export function headerLength(view: DataView, at: number): number {
  return (view.getUint8(at + DATA_OFFSET) >> 4) << 2
}

/** TcpFlag bits. */
export function flags(view: DataView, at: number): number {
  return view.getUint8(at + FLAGS)
}

export function window(view: DataView, at: number): number {
  return view.getUint16(at + WINDOW)
}

export function checksum(view: DataView, at: number): number {
  return view.getUint16(at + CHECKSUM)
}

export function urgent(view: DataView, at: number): number {
  return view.getUint16(at + URGENT)
}

/** Sequence numbers a segment of `payload` bytes takes: SYN and FIN count one each. */
export function span(view: DataView, at: number, payload: number): number {
  const bits = flags(view, at)
  return payload + ((bits >> 1) & 1) + (bits & 1)
}

/** Writes a header without options and without a checksum. */
export function write(
  view: DataView,
  at: number,
  src: number,
  dst: number,
  sequence: number,
  acknowledged: number,
  bits: number,
  size: number,
): void {
  view.setUint16(at + SRC_PORT, src)
  view.setUint16(at + DST_PORT, dst)
  view.setInt32(at + SEQ, sequence)
  view.setInt32(at + ACK, acknowledged)
  view.setUint8(at + DATA_OFFSET, (SIZE >> 2) << 4)
  view.setUint8(at + FLAGS, bits)
  view.setUint16(at + WINDOW, size)
  view.setInt32(at + CHECKSUM, 0)
}

/** Computes the checksum whole, of `bytes` of header and payload. `pseudo` from pseudo4 or pseudo6. */
export function fillChecksum(
  view: DataView,
  at: number,
  bytes: number,
  pseudo: number,
  partial: boolean,
): void {
  fill(view, at, bytes, at + CHECKSUM, pseudo, partial ? SumMode.Partial : SumMode.Full)
}

// Text for people: not for the data plane.

const FLAG_NAMES = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR']

export function text(view: DataView, at: number): string {
  const names = FLAG_NAMES.filter((_, i) => flags(view, at) & (1 << i)).join(',') || 'none'
  const ports = `${view.getUint16(at + SRC_PORT)} > ${view.getUint16(at + DST_PORT)}`
  return `tcp ${ports} ${names} seq ${seq(view, at) >>> 0} ack ${ack(view, at) >>> 0} win ${window(view, at)}`
}
