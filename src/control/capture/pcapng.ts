/**
 * Writes capture files in pcapng (draft-ietf-opsawg-pcapng), little-endian, times in nanoseconds:
 *
 *     SHB                        what wrote it
 *     IDB   one per interface    name, link type, snap length, resolution
 *     EPB   one per frame        time, both lengths, bytes; comment, direction and state of the checksum
 *     ISB   one per interface    at the end: how many frames were seen, how many had no room
 *
 *     block:   | type | total length | body, padded to 4 | total length |
 *     option:  | code (2) | length (2) | value, padded to 4 |            0, 0 ends them
 */
import { Flag, MAX_FRAME } from '../../packet/layout.ts'
import type { Encoder } from '../api/capture-stream.ts'
import type { Capture, CapturedFrame } from './capture.ts'

const SECTION = 0x0a0d0d0a
const INTERFACE = 1
const STATISTICS = 5
const PACKET = 6
const BYTE_ORDER = 0x1a2b3c4d
const LINKTYPE_ETHERNET = 1
const LINKTYPE_RAW = 101
/** Powers of ten: if_tsresol. */
const NANOSECONDS = 9

/** epb_flags: bits 0..1 direction, 9 to 11 what was left to the device. */
const INBOUND = 1
const OUTBOUND = 2
const CHECKSUM_NOT_READY = 1 << 9
const CHECKSUM_VALID = 1 << 10
const SEGMENTATION_LEFT = 1 << 11

export interface PcapngInterface {
  name: string
  description?: string
  /** Frames start with the IP header: link type 101 (raw) instead of 1 (Ethernet). */
  noEthernet?: boolean
  /** Most bytes kept of a frame, 0 = all. */
  snapLen?: number
}

export interface PcapngStats {
  /** Frames seen, those that were lost included. */
  received: number
  /** Frames the capture had no room for. */
  dropped: number
}

export class PcapngWriter {
  private readonly write: (block: Buffer) => void
  private interfaces = 0
  private lastNs = 0n

  /** Writes the section's head at once. Each block is handed over whole, in a Buffer of its own. */
  constructor(write: (block: Buffer) => void) {
    this.write = write
    const body = Buffer.alloc(16)
    body.writeUInt32LE(BYTE_ORDER, 0)
    body.writeUInt16LE(1, 4)
    // Length of the section: -1, not known.
    body.fill(0xff, 8, 16)
    this.block(SECTION, [body, text(4, 'taploom'), END])
  }

  /** Returns the interface's id, for `packet` and `end`. */
  interface(about: PcapngInterface): number {
    const body = Buffer.alloc(8)
    body.writeUInt16LE(about.noEthernet ? LINKTYPE_RAW : LINKTYPE_ETHERNET, 0)
    body.writeUInt32LE(about.snapLen && about.snapLen < MAX_FRAME ? about.snapLen : MAX_FRAME, 4)
    const options = [text(2, about.name)]
    if (about.description) options.push(text(3, about.description))
    this.block(INTERFACE, [body, ...options, option(9, Buffer.of(NANOSECONDS)), END])
    return this.interfaces++
  }

  /** @param comment said of this packet, '' = nothing */
  packet(id: number, frame: CapturedFrame, comment = ''): void {
    const { bytes, flags } = frame
    const ns = BigInt(frame.seconds) * 1_000_000_000n + BigInt(frame.nanos)
    this.lastNs = ns
    const body = Buffer.alloc(20)
    body.writeUInt32LE(id, 0)
    time(body, 4, ns)
    body.writeUInt32LE(bytes.length, 12)
    body.writeUInt32LE(frame.length, 16)
    let word = frame.direction === 'in' ? INBOUND : OUTBOUND
    if ((flags & Flag.CsumPartial) !== 0) word |= CHECKSUM_NOT_READY
    if ((flags & Flag.CsumVerified) !== 0) word |= CHECKSUM_VALID
    if (frame.gsoSize !== 0) word |= SEGMENTATION_LEFT
    const value = Buffer.alloc(4)
    value.writeUInt32LE(word)
    const options = comment === '' ? [option(2, value)] : [text(1, comment), option(2, value)]
    this.block(PACKET, [body, bytes, PADDING.subarray(0, -bytes.length & 3), ...options, END])
  }

  /** Statistics, by interface id; timed by the last packet. */
  end(stats: PcapngStats[]): void {
    stats.forEach(({ received, dropped }, id) => {
      const body = Buffer.alloc(12)
      body.writeUInt32LE(id, 0)
      time(body, 4, this.lastNs)
      this.block(STATISTICS, [body, option(4, count(received)), option(5, count(dropped)), END])
    })
  }

  /** The parts come padded. */
  private block(type: number, parts: Uint8Array[]): void {
    let length = 12
    for (const part of parts) length += part.length
    const block = Buffer.alloc(length)
    block.writeUInt32LE(type, 0)
    block.writeUInt32LE(length, 4)
    let at = 8
    for (const part of parts) {
      block.set(part, at)
      at += part.length
    }
    block.writeUInt32LE(length, at)
    this.write(block)
  }
}

/** The file of a running capture of one port, piece by piece, for the control API's answer. */
export function captureEncoder(
  source: Pick<Capture, 'port' | 'noEthernet'>,
  snapLen: number,
): Encoder<CapturedFrame> {
  let made: Buffer[] = []
  const take = (): Buffer => {
    const bytes = Buffer.concat(made)
    made = []
    return bytes
  }
  const writer = new PcapngWriter((block) => made.push(block))
  const id = writer.interface({ name: source.port, noEthernet: source.noEthernet, snapLen })
  return {
    head: take,
    record(frame) {
      writer.packet(id, frame)
      return take()
    },
    tail({ captured, lost }) {
      writer.end([{ received: captured + lost, dropped: lost }])
      return take()
    },
  }
}

const PADDING = Buffer.alloc(3)
const END = Buffer.alloc(4)

function option(code: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 + ((value.length + 3) & ~3))
  bytes.writeUInt16LE(code, 0)
  bytes.writeUInt16LE(value.length, 2)
  bytes.set(value, 4)
  return bytes
}

/** An option's length is 16 bits: what is longer is cut. */
function text(code: number, value: string): Buffer {
  return option(code, Buffer.from(value).subarray(0, 0xffff))
}

function count(packets: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(packets))
  return bytes
}

/** 64 bits, the upper half first. */
function time(body: Buffer, at: number, ns: bigint): void {
  body.writeUInt32LE(Number(ns >> 32n), at)
  body.writeUInt32LE(Number(ns & 0xffffffffn), at + 4)
}
