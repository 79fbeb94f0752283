/**
 * Reads capture files, to replay them: pcap (draft-ietf-opsawg-pcap; both byte orders, micro- and
 * nanoseconds) and pcapng (draft-ietf-opsawg-pcapng; SHB, IDB, EPB, SPB, both byte orders,
 * if_tsresol and if_tsoffset). Only Ethernet. The whole file is read and checked before anything is
 * replayed: every length before it is used, and the first thing wrong ends it with its place.
 *
 *     pcap     | magic, version, zone, sigfigs, snaplen, link type (24) |   then per frame
 *              | seconds, fraction, captured, length (16) | captured bytes |
 *     pcapng   blocks: | type | total length | body | total length |
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { PcapFrames } from '../../engine/command.ts'
import { MAX_FRAME } from '../../packet/layout.ts'

/** Largest file, bytes. */
export const MAX_FILE = 2 ** 30

const LINKTYPE_ETHERNET = 1
const LINKTYPES: Record<number, string> = {
  0: 'BSD loopback',
  9: 'PPP',
  101: 'raw IP',
  105: 'IEEE 802.11',
  108: 'OpenBSD loopback',
  113: 'Linux cooked capture',
  127: 'radiotap',
  228: 'raw IPv4',
  229: 'raw IPv6',
  276: 'Linux cooked capture v2',
}

/** What is wrong with a capture file, and where. */
export class CaptureFileError extends Error {
  readonly offset: number

  constructor(offset: number, message: string) {
    super(`at byte ${offset}: ${message}`)
    this.name = 'CaptureFileError'
    this.offset = offset
  }
}

/**
 * Reads a capture file.
 * @throws CaptureFileError for what it contains, or the Error of the file system
 */
export function readCaptureFile(path: string): PcapFrames {
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    if (size > MAX_FILE)
      throw new CaptureFileError(0, `the file has ${size} bytes, at most ${MAX_FILE} are read`)
    const file = Buffer.alloc(size)
    let at = 0
    while (at < size) {
      const n = readSync(fd, file, at, size - at, at)
      if (n === 0) break
      at += n
    }
    return parseCapture(file.subarray(0, at))
  } finally {
    closeSync(fd)
  }
}

/** @throws CaptureFileError */
export function parseCapture(bytes: Uint8Array): PcapFrames {
  const file = new File(bytes)
  if (bytes.length < 4) throw new CaptureFileError(0, 'too short for a capture file')
  const magic = file.u32(0)
  const swapped = file.view.getUint32(0, false)
  if (magic === 0x0a0d0d0a) readBlocks(file)
  else if (magic === 0xa1b2c3d4 || magic === 0xa1b23c4d) readRecords(file, magic === 0xa1b23c4d)
  else if (swapped === 0xa1b2c3d4 || swapped === 0xa1b23c4d) {
    file.little = false
    readRecords(file, swapped === 0xa1b23c4d)
  } else if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw new CaptureFileError(0, 'compressed with gzip: unpack it first')
  } else {
    const found = swapped.toString(16).padStart(8, '0')
    throw new CaptureFileError(
      0,
      `neither pcap nor pcapng: found ${found}, expected a1b2c3d4, a1b23c4d or 0a0d0d0a`,
    )
  }
  return file.frames()
}

/** The file's bytes and byte order, and what was found in them. */
class File {
  readonly bytes: Uint8Array
  readonly view: DataView
  little = true
  private readonly from: number[] = []
  private readonly lengths: number[] = []
  /** Since the first frame. */
  private readonly timesMs: number[] = []
  private firstNs: bigint | null = null

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u32(at: number): number {
    return this.view.getUint32(at, this.little)
  }

  u16(at: number): number {
    return this.view.getUint16(at, this.little)
  }

  /** Checks that `length` bytes are there. */
  need(at: number, length: number, what: string, end = this.bytes.length): void {
    if (length > end - at) {
      throw new CaptureFileError(at, `${what} needs ${length} bytes, ${Math.max(0, end - at)} are left`)
    }
  }

  /** @param timeNs null = that of the frame before */
  add(at: number, length: number, timeNs: bigint | null): void {
    if (length > MAX_FRAME) {
      throw new CaptureFileError(at, `a frame of ${length} bytes, at most ${MAX_FRAME} are taken`)
    }
    this.from.push(at)
    this.lengths.push(length)
    // Frames are replayed in the file's order: a clock that was set back does not stop them.
    const beforeMs = this.timesMs.at(-1) ?? 0
    if (timeNs !== null) this.firstNs ??= timeNs
    const sinceMs = timeNs === null || this.firstNs === null ? 0 : Number(timeNs - this.firstNs) / 1e6
    this.timesMs.push(Math.max(beforeMs, sinceMs))
  }

  frames(): PcapFrames {
    const count = this.from.length
    const total = this.lengths.reduce((sum, length) => sum + length, 0)
    const bytes = new Uint8Array(new SharedArrayBuffer(total))
    const starts = new Uint32Array(new SharedArrayBuffer(4 * (count + 1)))
    const timesMs = new Float64Array(new SharedArrayBuffer(8 * count))
    let at = 0
    for (let i = 0; i < count; i++) {
      const from = this.from[i]
      bytes.set(this.bytes.subarray(from, from + this.lengths[i]), at)
      at += this.lengths[i]
      starts[i + 1] = at
      timesMs[i] = this.timesMs[i]
    }
    return { bytes, starts, timesMs }
  }
}

function checkLink(at: number, type: number): void {
  if (type === LINKTYPE_ETHERNET) return
  const name = LINKTYPES[type]
  throw new CaptureFileError(
    at,
    `link type ${type}${name ? ` (${name})` : ''}, only 1 (Ethernet) can be replayed`,
  )
}

/** Classic pcap. */
function readRecords(file: File, nano: boolean): void {
  file.need(0, 24, 'the head of a pcap file')
  const link = file.u32(20)
  checkLink(20, link & 0xffff)
  // Bit 26: the upper four bits tell the length of a frame check sequence at the end of each frame.
  if ((link & 0x04000000) !== 0 && link >>> 28 !== 0) {
    throw new CaptureFileError(20, 'frames with their check sequence (FCS) cannot be replayed')
  }
  const unitNs = nano ? 1n : 1000n
  const end = file.bytes.length
  for (let at = 24; at < end; ) {
    file.need(at, 16, 'the head of a frame')
    const captured = file.u32(at + 8)
    file.need(at + 16, captured, 'a frame')
    file.add(at + 16, captured, BigInt(file.u32(at)) * 1_000_000_000n + BigInt(file.u32(at + 4)) * unitNs)
    at += 16 + captured
  }
}

interface Interface {
  snapLen: number
  /** Units per second, and seconds to add. */
  resolution: bigint
  offsetS: bigint
}

function readBlocks(file: File): void {
  let interfaces: Interface[] = []
  const end = file.bytes.length
  for (let at = 0; at < end; ) {
    file.need(at, 12, 'a block')
    const type = file.u32(at)
    // Reads the same in both byte orders; what follows says which one it is.
    if (type === 0x0a0d0d0a) {
      file.need(at, 28, 'a section header')
      file.little = file.view.getUint32(at + 8, true) === 0x1a2b3c4d
      if (file.u32(at + 8) !== 0x1a2b3c4d)
        throw new CaptureFileError(at + 8, 'not the byte order mark of pcapng')
      if (file.u16(at + 12) !== 1)
        throw new CaptureFileError(at + 12, `pcapng version ${file.u16(at + 12)}, expected 1`)
      interfaces = []
    }
    const length = file.u32(at + 4)
    if (length < 12 || length % 4 !== 0) {
      throw new CaptureFileError(at + 4, `a block of ${length} bytes, expected 12 or more, a multiple of 4`)
    }
    file.need(at, length, 'a block')
    if (file.u32(at + length - 4) !== length) {
      throw new CaptureFileError(at + length - 4, 'the length after the block is not the one before it')
    }
    const body = at + 8
    const bodyEnd = at + length - 4
    if (type === 1) interfaces.push(readInterface(file, body, bodyEnd))
    else if (type === 2) throw new CaptureFileError(at, 'the obsolete Packet Block is not supported')
    else if (type === 3) readSimple(file, interfaces, body, bodyEnd)
    else if (type === 6) readEnhanced(file, interfaces, body, bodyEnd)
    at += length
  }
}

function readInterface(file: File, at: number, end: number): Interface {
  file.need(at, 8, 'an interface description', end)
  checkLink(at, file.u16(at))
  const found: Interface = { snapLen: file.u32(at + 4), resolution: 1_000_000n, offsetS: 0n }
  for (let option = at + 8; option < end; ) {
    file.need(option, 4, 'an option', end)
    const code = file.u16(option)
    const length = file.u16(option + 2)
    if (code === 0) break
    file.need(option + 4, length, `option ${code}`, end)
    if (code === 9 && length === 1) {
      const value = file.bytes[option + 4]
      const exponent = value & 0x7f
      // Beyond, a 64-bit time would not last a second.
      if (exponent > 63) throw new CaptureFileError(option + 4, `if_tsresol ${value} is finer than 64 bits`)
      found.resolution = value >= 0x80 ? 2n ** BigInt(exponent) : 10n ** BigInt(exponent)
    } else if (code === 13 && length === 1 && file.bytes[option + 4] !== 0) {
      throw new CaptureFileError(option, 'frames with their check sequence (FCS) cannot be replayed')
    } else if (code === 14 && length === 8) {
      found.offsetS = file.view.getBigInt64(option + 4, file.little)
    }
    option += 4 + ((length + 3) & ~3)
  }
  return found
}

function readEnhanced(file: File, interfaces: Interface[], at: number, end: number): void {
  file.need(at, 20, 'an enhanced packet', end)
  const id = file.u32(at)
  if (id >= interfaces.length) throw new CaptureFileError(at, `interface ${id} was not described`)
  const { resolution, offsetS } = interfaces[id]
  const captured = file.u32(at + 12)
  file.need(at + 20, captured, 'a frame', end)
  const ticks = (BigInt(file.u32(at + 4)) << 32n) | BigInt(file.u32(at + 8))
  file.add(at + 20, captured, (ticks * 1_000_000_000n) / resolution + offsetS * 1_000_000_000n)
}

function readSimple(file: File, interfaces: Interface[], at: number, end: number): void {
  file.need(at, 4, 'a simple packet', end)
  if (interfaces.length === 0) throw new CaptureFileError(at, 'interface 0 was not described')
  const { snapLen } = interfaces[0]
  const length = file.u32(at)
  const captured = snapLen === 0 ? length : Math.min(length, snapLen)
  file.need(at + 4, captured, 'a frame', end)
  file.add(at + 4, captured, null)
}
