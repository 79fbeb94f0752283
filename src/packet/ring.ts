// HOT
/**
 * A ring of records between two threads: one writes, one reads, nobody ever waits. It lies in a
 * SharedArrayBuffer, so it outlives either of them; a new writer or reader goes on where the last stopped.
 *
 *     state   HEAD (bytes written, mod 2^32) | ended | ... | TAIL (bytes read) | ...    a cache line each
 *     data    | length, 0 | payload, padded to 8 | length, 0 | payload ... | SKIP | (rest unused) |
 *
 * A record never wraps: one that does not fit before the end is written at the start, behind a SKIP.
 * So both sides see a payload as one piece, 8-byte aligned, and nothing is copied twice:
 *
 *     writer   at = reserve(n)   < 0: full, count it     reader   at = next()   < 0: empty
 *              write bytes[at .. at + n)                           read bytes[at .. at + length)
 *              commit()                                            release()
 *
 * Only the writer stores HEAD and only the reader TAIL. The order of memory is that of Atomics: a record
 * is seen whole or not at all, and its place is not written again before it was released.
 */
const HEAD = 0
const ENDED = 1
const TAIL = 16
const STATE_WORDS = 32
const STATE_BYTES = STATE_WORDS * 4
const RECORD_HEADER = 8
const SKIP = -1

/**
 * Memory of a ring.
 * @param bytes room for records, 1 KiB to 1 GiB, rounded up to a power of two; the longest record is half
 */
export function ringMemory(bytes: number): SharedArrayBuffer {
  if (!(bytes >= 1024 && bytes <= 2 ** 30))
    throw new RangeError(`a ring of ${bytes} bytes: 1024 to 2^30 expected`)
  let capacity = 1024
  while (capacity < bytes) capacity *= 2
  return new SharedArrayBuffer(STATE_BYTES + capacity)
}

/** Checks that `memory` is a ring, and tells the bytes of its data area. */
function capacityOf(memory: SharedArrayBuffer): number {
  const capacity = memory.byteLength - STATE_BYTES
  if (capacity < 1024 || (capacity & (capacity - 1)) !== 0) throw new RangeError('not the memory of a ring')
  return capacity
}

export class RingWriter {
  /** The data area. Offsets of records are into this and, divided by 4, into `words`. */
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly capacity: number
  private readonly state: Int32Array
  private head: number
  /** Where HEAD goes with `commit`. */
  private reserved: number

  constructor(memory: SharedArrayBuffer) {
    this.capacity = capacityOf(memory)
    this.state = new Int32Array(memory, 0, STATE_WORDS)
    this.bytes = new Uint8Array(memory, STATE_BYTES)
    this.words = new Int32Array(memory, STATE_BYTES)
    // A new writer after an end: the ring goes on.
    Atomics.store(this.state, ENDED, 0)
    this.head = Atomics.load(this.state, HEAD)
    this.reserved = this.head
  }

  /** Longest payload a record can have, bytes. */
  get longest(): number {
    return this.capacity / 2 - RECORD_HEADER
  }

  /** True when everything was read. */
  get empty(): boolean {
    return Atomics.load(this.state, TAIL) === this.head
  }

  /** Offset of `length` bytes to write, or -1 when there is no room. */
  reserve(length: number): number {
    const need = RECORD_HEADER + ((length + 7) & ~7)
    if (length < 0 || need > this.capacity / 2) return -1
    const used = (this.head - Atomics.load(this.state, TAIL)) | 0
    const at = this.head & (this.capacity - 1)
    const skip = at + need > this.capacity ? this.capacity - at : 0
    if (used + skip + need > this.capacity) return -1
    if (skip > 0) this.words[at >> 2] = SKIP
    const record = skip > 0 ? 0 : at
    this.words[record >> 2] = length
    this.words[(record >> 2) + 1] = 0
    this.reserved = (this.head + skip + need) | 0
    return record + RECORD_HEADER
  }

  /** The record reserved last can be read now. */
  commit(): void {
    this.head = this.reserved
    Atomics.store(this.state, HEAD, this.head)
  }

  /** Nothing more will come: the reader's `ended` is true once it has read all. */
  end(): void {
    Atomics.store(this.state, ENDED, 1)
  }
}

export class RingReader {
  /** The data area. Offsets of records are into this and, divided by 4, into `words`. */
  readonly bytes: Uint8Array
  readonly words: Int32Array
  readonly capacity: number
  private readonly state: Int32Array
  /** Bytes of the record `next` found. */
  length = 0
  private tail: number
  private after: number

  constructor(memory: SharedArrayBuffer) {
    this.capacity = capacityOf(memory)
    this.state = new Int32Array(memory, 0, STATE_WORDS)
    this.bytes = new Uint8Array(memory, STATE_BYTES)
    this.words = new Int32Array(memory, STATE_BYTES)
    this.tail = Atomics.load(this.state, TAIL)
    this.after = this.tail
  }

  /** True when there is nothing to read. */
  get empty(): boolean {
    return Atomics.load(this.state, HEAD) === this.tail
  }

  /** True when all was read and the writer said that it was the end. */
  get ended(): boolean {
    // In this order: what was written before the end is seen by the second load.
    return Atomics.load(this.state, ENDED) === 1 && this.empty
  }

  /** Offset of the oldest record's payload, `length` bytes; -1 when there is none. */
  next(): number {
    if (this.empty) return -1
    let tail = this.tail
    let at = tail & (this.capacity - 1)
    let length = this.words[at >> 2]
    if (length === SKIP) {
      tail = (tail + this.capacity - at) | 0
      at = 0
      length = this.words[0]
    }
    this.length = length
    this.after = (tail + RECORD_HEADER + ((length + 7) & ~7)) | 0
    return at + RECORD_HEADER
  }

  /** Gives back the place of the record `next` found; its bytes must not be read any more. */
  release(): void {
    this.tail = this.after
    Atomics.store(this.state, TAIL, this.tail)
  }
}
