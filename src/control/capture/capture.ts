/**
 * A running capture of one port: the ring its worker writes (port/capture.ts), read here.
 */
import type { Command } from '../../engine/command.ts'
import { COUNTER_WORDS, Counter } from '../../packet/counters.ts'
import { RECORD_BYTES, Rec } from '../../packet/record.ts'
import { RingReader, ringMemory } from '../../packet/ring.ts'
import type { LivePort } from '../ports.ts'

export interface CapturedFrame {
  /** in = received by the switch, out = sent by it. */
  direction: 'in' | 'out'
  /** Wall clock. */
  seconds: number
  nanos: number
  /** Bytes on the wire; a super-frame is one frame. */
  length: number
  /** Flag bits (packet/layout.ts): the checksum's state. */
  flags: number
  gsoSize: number
  /** As much of the frame as the snap length allows; only valid inside the callback. */
  bytes: Uint8Array
}

/** Room for about a tenth of a second of super-frames at 20 Gb/s. */
const RING_BYTES = 32 << 20
/** Most frames a call hands over: a fast port must not keep the control thread. */
const READ_FRAMES = 4096

export class Capture {
  readonly livePort: LivePort
  /** 'switch.port'. */
  readonly port: string
  /** A TUN's packets start with the IP header: link type 101 instead of 1. */
  readonly noEthernet: boolean
  readonly snapLen: number
  /** What makes the worker write into the ring. */
  readonly command: Command
  /** True once the capture was closed, by its reader or because the port is gone. */
  closed = false
  private readonly reader: RingReader
  private readonly counters: Float64Array
  private readonly at: number
  private readonly lostBefore: number
  private lostTotal = 0
  private readonly end: () => Promise<void>

  /** @param end tells the worker to stop */
  constructor(port: LivePort, snapLen: number, counters: Float64Array, end: () => Promise<void>) {
    const ring = ringMemory(RING_BYTES)
    this.livePort = port
    this.port = `${port.switch}.${port.name}`
    this.noEthernet = port.config.device.type === 'tun'
    this.snapLen = snapLen
    this.reader = new RingReader(ring)
    this.command = { op: 'capture', index: port.index, ring, snapLen }
    this.counters = counters
    this.at = port.index * COUNTER_WORDS + Counter.CaptureLost
    this.lostBefore = counters[this.at]
    this.end = end
  }

  /** Hands over what has come, READ_FRAMES at most. Returns how many frames. */
  read(fn: (frame: CapturedFrame) => void): number {
    const { reader } = this
    let count = 0
    for (let at = reader.next(); at >= 0 && count < READ_FRAMES; at = reader.next()) {
      const w = at >> 2
      const words = reader.words
      const captured = words[w + Rec.Captured]
      fn({
        direction: words[w + Rec.Direction] === 0 ? 'in' : 'out',
        seconds: words[w + Rec.Seconds] >>> 0,
        nanos: words[w + Rec.Nanos],
        length: words[w + Rec.Length],
        flags: words[w + Rec.Flags],
        gsoSize: words[w + Rec.GsoSize],
        bytes: reader.bytes.subarray(at + RECORD_BYTES, at + RECORD_BYTES + captured),
      })
      reader.release()
      count++
    }
    return count
  }

  /** Frames there was no room for. */
  lost(): number {
    if (!this.closed) this.lostTotal = this.counters[this.at] - this.lostBefore
    return this.lostTotal
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.lost()
    this.closed = true
    await this.end()
  }
}
