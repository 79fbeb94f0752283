/**
 * A capture as an HTTP answer: pcapng that starts at once and goes on until somebody ends it.
 *
 *     worker -> ring (shared memory) -> here, every POLL_MS -> socket -> the command that writes the file
 *
 * A reader too slow for the traffic makes the ring fill up: the packets that find no room are counted
 * as lost, memory stays bounded and the port itself never waits. It ends by `count`, by `durationMs`,
 * by `stop` (what the ring still has is sent first), or because the other end went away.
 */
import type { ServerResponse } from 'node:http'

/** A running capture, as Fabric.capture makes it. */
export interface CaptureSource<Frame> {
  /** Hands over what has come since the last call; a frame is only valid inside `fn`. */
  read(fn: (frame: Frame) => void, max?: number): number
  lost(): number
  close(): Promise<void>
  /** True once its port is gone. */
  readonly closed?: boolean
}

/** Makes the file's bytes: head, records, tail, in this order. */
export interface Encoder<Frame> {
  head(): Uint8Array
  record(frame: Frame): Uint8Array
  /** Statistics at the end; may be empty. */
  tail(result: CaptureResult): Uint8Array
}

export interface CaptureResult {
  captured: number
  lost: number
}

/** A source and its encoder: bytes, whatever the frames are. */
export interface CaptureFeed {
  head(): Uint8Array
  /** At most `max` packets that have come since the last call, each as a block of the file. */
  read(max: number): Uint8Array[]
  tail(result: CaptureResult): Uint8Array
  lost(): number
  close(): Promise<void>
  readonly closed: boolean
}

export function captureFeed<Frame>(source: CaptureSource<Frame>, encoder: Encoder<Frame>): CaptureFeed {
  /** What a source that knows no `max` gave beyond it. */
  const waiting: Uint8Array[] = []
  return {
    head: () => encoder.head(),
    read(max) {
      if (waiting.length === 0) source.read((frame) => waiting.push(encoder.record(frame)), max)
      return waiting.splice(0, max)
    },
    tail: (result) => encoder.tail(result),
    lost: () => source.lost(),
    close: () => source.close(),
    get closed() {
      return source.closed === true
    },
  }
}

export interface CaptureLimits {
  /** Packets; undefined = no limit. */
  count?: number
  durationMs?: number
}

const POLL_MS = 20
export const CAPTURE_TYPE = 'application/x-pcapng'
export const CAPTURE_ID_HEADER = 'taploom-capture'
/** Trailers of the answer. */
export const CAPTURED_TRAILER = 'taploom-captured'
export const LOST_TRAILER = 'taploom-lost'

/** Packets taken from the ring at once: 16 MiB of super-frames at most. */
const MOST_AT_ONCE = 256
/** Other requests get their turn between two polls. */
const TURNS_PER_POLL = 16

export class CaptureStream {
  /** Settles when the capture is closed and the answer ended. */
  readonly done: Promise<CaptureResult>
  private readonly feed: CaptureFeed
  private readonly res: ServerResponse
  private readonly limit: number
  private readonly poller: NodeJS.Timeout
  private readonly timeout: NodeJS.Timeout | undefined
  private captured = 0
  private ending = false
  private settle!: (result: CaptureResult) => void

  constructor(id: number, feed: CaptureFeed, res: ServerResponse, limits: CaptureLimits) {
    this.feed = feed
    this.res = res
    this.limit = limits.count ?? Number.POSITIVE_INFINITY
    this.done = new Promise((resolve) => {
      this.settle = resolve
    })
    res.on('error', () => {})
    res.on('close', () => void this.stop())
    res.writeHead(200, {
      'content-type': CAPTURE_TYPE,
      [CAPTURE_ID_HEADER]: id,
      trailer: `${CAPTURED_TRAILER}, ${LOST_TRAILER}`,
    })
    res.write(feed.head())
    this.poller = setInterval(() => this.poll(), POLL_MS)
    if (limits.durationMs !== undefined) this.timeout = setTimeout(() => void this.stop(), limits.durationMs)
    // It left while the capture was being started: there was nobody to hear it close.
    if (res.destroyed) void this.stop()
  }

  /** Ends it; what the ring still has is sent first. */
  async stop(): Promise<CaptureResult> {
    if (this.ending) return this.done
    this.ending = true
    clearInterval(this.poller)
    clearTimeout(this.timeout)
    try {
      await this.feed.close()
    } catch {
      // The worker is gone: there is nothing left to close.
    }
    // Nothing is added any more, so what is left is at most a ring.
    while (this.take()) {}
    const result = { captured: this.captured, lost: this.feed.lost() }
    if (!this.res.destroyed) {
      this.res.write(this.feed.tail(result))
      this.res.addTrailers({ [CAPTURED_TRAILER]: `${result.captured}`, [LOST_TRAILER]: `${result.lost}` })
      this.res.end()
    }
    this.settle(result)
    return result
  }

  private poll(): void {
    // While the socket is full the ring takes the burden, and after it the count of lost packets.
    for (let turn = 0; turn < TURNS_PER_POLL && !this.res.writableNeedDrain && this.take(); turn++) {}
    if (this.captured >= this.limit || this.feed.closed) void this.stop()
  }

  /** False when there was nothing to take. */
  private take(): boolean {
    const room = Math.min(this.limit - this.captured, MOST_AT_ONCE)
    if (this.res.destroyed || room <= 0) return false
    const blocks = this.feed.read(room)
    if (blocks.length === 0) return false
    this.captured += blocks.length
    this.res.write(Buffer.concat(blocks))
    return true
  }
}
