/** Capture files: what the writer writes, tshark and the reader read; what is broken is refused by its place. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { CapturedFrame } from '../../../src/control/capture/capture.ts'
import { CaptureFileError, parseCapture, readCaptureFile } from '../../../src/control/capture/pcapfile.ts'
import { captureEncoder, PcapngWriter } from '../../../src/control/capture/pcapng.ts'
import type { PcapFrames } from '../../../src/engine/command.ts'
import { Flag, MAX_FRAME } from '../../../src/packet/layout.ts'
import { frame, numbered } from '../../support/frames.ts'

const noTshark = spawnSync('tshark', ['--version'], { stdio: 'ignore' }).error !== undefined
const dir = mkdtempSync(join(tmpdir(), 'taploom-pcap-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const PLAIN = { direction: 'in' as const, seconds: 1_700_000_000, nanos: 0, flags: 0, gsoSize: 0 }

function captured(bytes: Uint8Array, about: Partial<CapturedFrame> = {}): CapturedFrame {
  return { ...PLAIN, length: bytes.length, bytes, ...about }
}

function pcapng(frames: CapturedFrame[]): Buffer {
  const blocks: Buffer[] = []
  const writer = new PcapngWriter((block) => blocks.push(block))
  const id = writer.interface({ name: 'lan.web' })
  for (const f of frames) writer.packet(id, f)
  writer.end([{ received: frames.length + 3, dropped: 3 }])
  return Buffer.concat(blocks)
}

interface Classic {
  little?: boolean
  nano?: boolean
  link?: number
}

function pcap(
  frames: { s: number; frac: number; bytes: Uint8Array }[],
  { little = true, nano = false, link = 1 }: Classic = {},
): Buffer {
  const u32 = (...values: number[]): Buffer => {
    const out = Buffer.alloc(4 * values.length)
    values.forEach((value, i) => {
      if (little) out.writeUInt32LE(value, 4 * i)
      else out.writeUInt32BE(value, 4 * i)
    })
    return out
  }
  const version = little ? 0x00040002 : 0x00020004
  const head = u32(nano ? 0xa1b23c4d : 0xa1b2c3d4, version, 0, 0, 65535, link)
  return Buffer.concat([
    head,
    ...frames.flatMap(({ s, frac, bytes }) => [u32(s, frac, bytes.length, bytes.length + 9), bytes]),
  ])
}

/** A pcapng block in either byte order. */
function block(little: boolean, type: number, ...body: Uint8Array[]): Buffer {
  const content = Buffer.concat(body)
  const padded = (content.length + 3) & ~3
  const out = Buffer.alloc(12 + padded)
  const put = (value: number, at: number): number =>
    little ? out.writeUInt32LE(value, at) : out.writeUInt32BE(value, at)
  put(type, 0)
  put(out.length, 4)
  out.set(content, 8)
  put(out.length, out.length - 4)
  return out
}

const numbersOf = (little: boolean, size: 2 | 4, ...values: number[]): Buffer => {
  const out = Buffer.alloc(size * values.length)
  values.forEach((value, i) => {
    if (little) out.writeUIntLE(value, size * i, size)
    else out.writeUIntBE(value, size * i, size)
  })
  return out
}

const framesOf = ({ bytes, starts }: PcapFrames): Uint8Array[] =>
  Array.from({ length: starts.length - 1 }, (_, i) => bytes.slice(starts[i], starts[i + 1]))

function refusal(bytes: Uint8Array): CaptureFileError {
  try {
    parseCapture(bytes)
  } catch (error) {
    if (error instanceof CaptureFileError) return error
    throw error
  }
  throw new Error('it was read')
}

const anyFrame = fc.uint8Array({ minLength: 0, maxLength: 200 })

describe('a capture file written', () => {
  it('is read back, whatever the frames and times', () => {
    const item = fc.record({ bytes: anyFrame, ns: fc.nat(2_000_000_000), out: fc.boolean() })
    fc.assert(
      fc.property(fc.array(item, { maxLength: 20 }), (items) => {
        let ns = 0
        const times: number[] = []
        const frames = items.map(({ bytes, ns: gap, out }) => {
          ns += gap
          times.push(ns)
          return captured(bytes, {
            seconds: PLAIN.seconds + Math.floor(ns / 1e9),
            nanos: ns % 1e9,
            direction: out ? 'out' : 'in',
          })
        })
        const read = parseCapture(pcapng(frames))
        expect(framesOf(read)).toEqual(items.map((f) => new Uint8Array(f.bytes)))
        expect([...read.timesMs]).toEqual(times.map((t) => (t - times[0]) / 1e6))
        expect(read.bytes.buffer).toBeInstanceOf(SharedArrayBuffer)
      }),
      { numRuns: 50 },
    )
  })

  it.skipIf(noTshark)(
    'is read by tshark: times, lengths, direction, checksum state, statistics (needs tshark)',
    () => {
      const file = join(dir, 'written.pcapng')
      const whole = frame({ dst: 2, src: 1, payload: numbered(1) })
      const blocks: Buffer[] = []
      const writer = new PcapngWriter((b) => blocks.push(b))
      const eth = writer.interface({ name: 'lan.web', description: 'tap eth0 in web', snapLen: 128 })
      const raw = writer.interface({ name: 'lan.ünï', noEthernet: true })
      writer.packet(eth, captured(whole, { nanos: 123_456_789 }))
      writer.packet(
        eth,
        captured(whole.slice(0, 33), { length: 60, direction: 'out', flags: Flag.CsumPartial, gsoSize: 9 }),
      )
      const ip = Uint8Array.from([0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
      writer.packet(
        raw,
        captured(ip, { seconds: 3_000_000_000, nanos: 999_999_999, flags: Flag.CsumVerified }),
      )
      writer.end([
        { received: 5, dropped: 3 },
        { received: 1, dropped: 0 },
      ])
      writeFileSync(file, Buffer.concat(blocks))
      const tshark = (...args: string[]): string =>
        execFileSync('tshark', ['-r', file, ...args], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
        })
      const fields = [
        'frame.time_epoch',
        'frame.len',
        'frame.cap_len',
        'frame.interface_name',
        'frame.interface_description',
        'frame.packet_flags',
        'frame.encap_type',
        'eth.src',
        'ip.dst',
      ]
      const rows = tshark('-T', 'fields', ...fields.flatMap((f) => ['-e', f]))
        .trimEnd()
        .split('\n')
      expect(rows.map((row) => row.split('\t'))).toEqual([
        [
          '1700000000.123456789',
          '60',
          '60',
          'lan.web',
          'tap eth0 in web',
          '0x00000001',
          '1',
          '02:00:00:00:00:01',
          '',
        ],
        [
          '1700000000.000000000',
          '60',
          '33',
          'lan.web',
          'tap eth0 in web',
          '0x00000a02',
          '1',
          '02:00:00:00:00:01',
          '',
        ],
        ['3000000000.999999999', '20', '20', 'lan.ünï', '', '0x00000401', '7', '', '10.0.0.2'],
      ])
    },
  )

  it('may come piece by piece', () => {
    const encoder = captureEncoder({ port: 'lan.web', noEthernet: false }, 0)
    const frames = [60, 61, 62].map((length) => new Uint8Array(length).fill(length))
    const pieces = [encoder.head(), ...frames.map((bytes) => encoder.record(captured(bytes)))]
    const file = Buffer.concat([...pieces, encoder.tail({ captured: 3, lost: 3 })])
    expect(framesOf(parseCapture(file))).toEqual(frames)
    expect(file.readBigUInt64LE(file.length - 16)).toBe(3n)
  })

  it('ends with the statistics of each interface', () => {
    const bytes = pcapng([captured(new Uint8Array(60))])
    const last = bytes.subarray(bytes.length - bytes.readUInt32LE(bytes.length - 4))
    expect([last.readUInt32LE(0), last.readUInt32LE(8)]).toEqual([5, 0])
    expect([last.readUInt16LE(20), last.readBigUInt64LE(24)]).toEqual([4, 4n])
    expect([last.readUInt16LE(32), last.readBigUInt64LE(36)]).toEqual([5, 3n])
  })
})

describe('a capture file read', () => {
  it('may be pcap of either byte order and resolution', () => {
    const frames = [
      { s: 1000, frac: 999_999, bytes: Uint8Array.of(1, 2, 3) },
      { s: 1001, frac: 1, bytes: new Uint8Array(100).fill(7) },
    ]
    for (const little of [true, false]) {
      for (const nano of [true, false]) {
        const read = parseCapture(pcap(frames, { little, nano }))
        expect(framesOf(read)).toEqual(frames.map((f) => f.bytes))
        expect([...read.timesMs]).toEqual([0, nano ? 999.000002 : 0.002])
      }
    }
  })

  it('may be pcapng of either byte order, with simple packets, any resolution and several sections', () => {
    const section = (little: boolean): Buffer[] => {
      const n4 = (...v: number[]): Buffer => numbersOf(little, 4, ...v)
      const n2 = (...v: number[]): Buffer => numbersOf(little, 2, ...v)
      const head = block(little, 0x0a0d0d0a, n4(0x1a2b3c4d), n2(1, 0), n4(0xffffffff, 0xffffffff))
      // 2^-10 s, and 5 s to add.
      const offset = little ? [5, 0] : [0, 5]
      const binary = block(
        little,
        1,
        n2(1, 0),
        n4(4),
        n2(9, 1),
        Buffer.of(0x8a, 0, 0, 0),
        n2(14, 8),
        n4(...offset),
        n4(0),
      )
      const micro = block(little, 1, n2(1, 0), n4(0))
      const unknown = block(little, 0x0bad, n4(1, 2, 3))
      const simple = block(little, 3, n4(6), Buffer.of(1, 2, 3, 4))
      const a = block(little, 6, n4(0, 0, 1024, 2, 2), Buffer.of(5, 6, 0, 0))
      const b = block(little, 6, n4(1, 0, 6_500_000, 3, 3), Buffer.of(7, 8, 9, 0))
      return [head, binary, micro, unknown, a, simple, b]
    }
    for (const little of [true, false]) {
      const read = parseCapture(Buffer.concat([...section(little), ...section(!little)]))
      const once = [Uint8Array.of(5, 6), Uint8Array.of(1, 2, 3, 4), Uint8Array.of(7, 8, 9)]
      expect(framesOf(read)).toEqual([...once, ...once])
      // The second section's clock starts again: replayed in the file's order.
      expect([...read.timesMs]).toEqual([0, 0, 500, 500, 500, 500])
    }
  })

  it('may be empty of frames', () => {
    expect(parseCapture(pcap([])).starts).toHaveLength(1)
    expect(parseCapture(pcapng([])).timesMs).toHaveLength(0)
  })

  it('comes from a file', () => {
    const file = join(dir, 'a.pcap')
    writeFileSync(file, pcap([{ s: 1, frac: 0, bytes: new Uint8Array(60) }]))
    expect(readCaptureFile(file).starts[1]).toBe(60)
    expect(() => readCaptureFile(join(dir, 'none.pcap'))).toThrow(/ENOENT/)
  })

  it('is refused by what it is and where', () => {
    const one = { s: 1, frac: 0, bytes: new Uint8Array(60) }
    expect(refusal(Buffer.from('x')).message).toBe('at byte 0: too short for a capture file')
    expect(refusal(Buffer.from('hello world')).message).toMatch(
      /^at byte 0: neither pcap nor pcapng: found 68656c6c/,
    )
    expect(refusal(Buffer.of(0x1f, 0x8b, 8, 0)).message).toMatch(/gzip/)
    expect(refusal(pcap([one], { link: 113 })).message).toBe(
      'at byte 20: link type 113 (Linux cooked capture), only 1 (Ethernet) can be replayed',
    )
    expect(refusal(pcap([one], { link: 0x24000001 })).message).toMatch(/FCS/)
    const cut = pcap([one, one])
    expect(refusal(cut.subarray(0, cut.length - 1)).message).toBe(
      'at byte 116: a frame needs 60 bytes, 59 are left',
    )
    const big = pcap([{ ...one, bytes: new Uint8Array(MAX_FRAME + 1) }])
    expect(refusal(big).message).toMatch(/^at byte 40: a frame of \d+ bytes, at most/)
    const ng = pcapng([captured(new Uint8Array(60))])
    const wrongEnd = Buffer.from(ng)
    wrongEnd.writeUInt32LE(1, wrongEnd.length - 4)
    expect(refusal(wrongEnd).message).toMatch(/not the one before it/)
    const raw: Buffer[] = []
    new PcapngWriter((b) => raw.push(b)).interface({ name: 'tun', noEthernet: true })
    expect(refusal(Buffer.concat(raw)).message).toMatch(/link type 101 \(raw IP\)/)
    const orphan = Buffer.concat([
      block(true, 0x0a0d0d0a, numbersOf(true, 4, 0x1a2b3c4d, 1, 0, 0)),
      block(true, 6, Buffer.alloc(20)),
    ])
    expect(refusal(orphan).message).toBe('at byte 36: interface 0 was not described')
  })

  it('cut anywhere never does more than be refused, with a place inside of it', () => {
    const frames = [1, 2].map((n) => ({ s: n, frac: 0, bytes: new Uint8Array(20).fill(n) }))
    for (const file of [
      pcap(frames),
      pcap(frames, { little: false }),
      pcapng(frames.map((f) => captured(f.bytes))),
    ]) {
      for (let length = 0; length < file.length; length++) {
        try {
          expect(parseCapture(file.subarray(0, length)).starts.length).toBeLessThanOrEqual(3)
        } catch (error) {
          expect(error).toBeInstanceOf(CaptureFileError)
          expect((error as CaptureFileError).offset).toBeLessThanOrEqual(length)
        }
      }
    }
  })

  it('corrupted anyhow never does more than be refused', () => {
    const frames = [1, 2, 3].map((n) => ({ s: n, frac: 0, bytes: new Uint8Array(20).fill(n) }))
    const files = [
      pcap(frames),
      pcap(frames, { little: false }),
      pcapng(frames.map((f) => captured(f.bytes))),
    ]
    const change = fc.record({ at: fc.nat(), value: fc.constantFrom(0, 1, 4, 12, 0x7f, 0x80, 0xff) })
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(change, { minLength: 1, maxLength: 6 }),
        (file, changes) => {
          const broken = Buffer.from(file)
          for (const { at, value } of changes) broken[at % broken.length] = value
          try {
            const { bytes, starts, timesMs } = parseCapture(broken)
            expect(starts.at(-1)).toBe(bytes.length)
            expect(timesMs.every((t, i) => t >= (i === 0 ? 0 : timesMs[i - 1]))).toBe(true)
          } catch (error) {
            expect(error).toBeInstanceOf(CaptureFileError)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })
})
