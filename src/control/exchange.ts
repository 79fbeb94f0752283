/**
 * The control thread's end of a memory port (port/channel.ts is the worker's): frames as Buffers, in
 * and out.
 */
import { EventEmitter } from 'node:events'
import { MAX_FRAME } from '../packet/layout.ts'
import { RingReader, RingWriter, ringMemory } from '../packet/ring.ts'

/** Bytes of frames waiting in each direction. */
const RING_BYTES = 1 << 20

/** Events: 'frame' (Buffer), a copy of its own. */
export class Exchange extends EventEmitter<{ frame: [Buffer] }> {
  readonly toPlane = ringMemory(RING_BYTES)
  readonly fromPlane = ringMemory(RING_BYTES)
  readonly signal = new SharedArrayBuffer(4)
  private readonly writer = new RingWriter(this.toPlane)
  private readonly reader = new RingReader(this.fromPlane)
  private readonly flag = new Int32Array(this.signal)
  private readonly wake: () => void

  constructor(wake: () => void) {
    super()
    this.wake = wake
  }

  /** Hands a frame to the plane. False when the queue is full: wait, and try again. */
  send(frame: Uint8Array): boolean {
    if (frame.length === 0 || frame.length > MAX_FRAME) {
      throw new RangeError(`a frame of ${frame.length} bytes: 1 to ${MAX_FRAME} expected`)
    }
    const at = this.writer.reserve(frame.length)
    if (at < 0) {
      this.wake()
      return false
    }
    this.writer.bytes.set(frame, at)
    this.writer.commit()
    this.wake()
    return true
  }

  /** Emits what has come. The worker tells when; see 'frames' in worker-link.ts. */
  drain(): void {
    Atomics.store(this.flag, 0, 0)
    for (let at = this.reader.next(); at >= 0; at = this.reader.next()) {
      const frame = Buffer.from(this.reader.bytes.subarray(at, at + this.reader.length))
      this.reader.release()
      this.emit('frame', frame)
    }
  }
}
