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
export interface CaptureSource<Record> {
  /** Hands over what has come since the last call; a record is only valid inside `fn`. */
  read(fn: (record: Record) => void): number
  lost(): number
  close(): Promise<void>
  /** True once its port is gone. */
  readonly closed?: boolean
}

/** Makes the file's bytes. Whatever is made is in `bytes` order: head, records, tail. */
export interface Encoder<Record> {
  head(): Uint8Array
  record(record: Record): Uint8Array
  /** Statistics at the end; may be empty. */
  tail(result: CaptureResult): Uint8Array
}

export interface CaptureResult {
  captured: number
  lost: number
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

export class CaptureStream<Record> {
  /** Settles when the capture is closed and the answer ended. */
  readonly done: Promise<CaptureResult>
  private readonly source: CaptureSource<Record>
  private readonly encoder: Encoder<Record>
  private readonly res: ServerResponse
  private readonly limit: number
  private readonly timers: NodeJS.Timeout[] = []
  private captured = 0
  private ending = false
  private settle!: (result: CaptureResult) => void

  constructor(
    id: number,
    source: CaptureSource<Record>,
    encoder: Encoder<Record>,
    res: ServerResponse,
    limits: CaptureLimits,
  ) {
    this.source = source
    this.encoder = encoder
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
    res.write(encoder.head())
    this.timers.push(setInterval(() => this.poll(), POLL_MS))
    if (limits.durationMs !== undefined) this.timers.push(setTimeout(() => void this.stop(), limits.durationMs))
  }

  /** Ends it; what the ring still has is sent first. */
  async stop(): Promise<CaptureResult> {
    if (this.ending) return this.done
    this.ending = true
    for (const timer of this.timers) clearTimeout(timer)
    this.drain()
    const result = { captured: this.captured, lost: this.source.lost() }
    try {
      await this.source.close()
    } finally {
      if (!this.res.destroyed) {
        this.res.write(this.encoder.tail(result))
        this.res.addTrailers({ [CAPTURED_TRAILER]: `${result.captured}`, [LOST_TRAILER]: `${result.lost}` })
        this.res.end()
      }
      this.settle(result)
    }
    return result
  }

  private poll(): void {
    // While the socket is full the ring takes the burden, and after it the count of lost packets.
    if (!this.res.writableNeedDrain) this.drain()
    if (this.captured >= this.limit || this.source.closed === true) void this.stop()
  }

  private drain(): void {
    if (this.res.destroyed) return
    const chunks: Uint8Array[] = []
    this.source.read((record) => {
      if (this.captured >= this.limit) return
      this.captured++
      chunks.push(this.encoder.record(record))
    })
    if (chunks.length > 0) this.res.write(Buffer.concat(chunks))
  }
}
