// HOT
/**
 * The packet pool. A packet is a small integer: a slot here. Its bytes lie in `bytes` (and `view`,
 * the same memory for multi-byte reads), what is known about it in `meta`; see layout.ts.
 *
 * Who owns a slot: a batch owns the slots it was filled into and reuses them for the next receive,
 * so on the usual way nothing is ever allocated or freed. A port that must keep a packet (patch,
 * delay) marks it Taken; the batch then draws a fresh slot from here, and the port gives its own
 * back with `release`. The free list is a stack, so that the slot used last is used next and only
 * as much memory is touched as there are packets in flight.
 */
import { HEADROOM, META_SHIFT, Meta, SLOT_SIZE } from './layout.ts'

export class Pool {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly meta: Int32Array
  private readonly free: Int32Array
  private top: number

  constructor(bytes: Uint8Array, meta: Int32Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.meta = meta
    const slots = (bytes.byteLength / SLOT_SIZE) | 0
    this.free = new Int32Array(slots)
    for (let i = 0; i < slots; i++) this.free[i] = slots - 1 - i
    this.top = slots
  }

  /** A pool of its own memory: tests, tools. */
  static of(slots: number): Pool {
    return new Pool(new Uint8Array(slots * SLOT_SIZE), new Int32Array(slots * Meta.Words))
  }

  get size(): number {
    return this.free.length
  }

  /** Slots nobody holds. */
  get available(): number {
    return this.top
  }

  /** A slot, or -1 when all are in use. Its metadata is whatever it was. */
  alloc(): number {
    return this.top === 0 ? -1 : this.free[--this.top]
  }

  release(slot: number): void {
    this.free[this.top++] = slot
  }

  /** Where the frame starts in `bytes`. */
  at(slot: number): number {
    return slot * SLOT_SIZE + this.meta[(slot << META_SHIFT) + Meta.Head]
  }

  /** Makes `slot` an empty plain frame of `len` bytes. */
  reset(slot: number, len: number): void {
    const m = slot << META_SHIFT
    const meta = this.meta
    meta[m + Meta.Head] = HEADROOM
    meta[m + Meta.Len] = len
    meta[m + Meta.Flags] = 0
    meta[m + Meta.GsoType] = 0
    meta[m + Meta.GsoSize] = 0
    meta[m + Meta.HdrLen] = 0
    meta[m + Meta.Strip] = 0
    meta[m + Meta.Tci] = 0
  }

  /** Copies packet and metadata into `to`. */
  copy(from: number, to: number): void {
    const meta = this.meta
    const a = from << META_SHIFT
    meta.copyWithin(to << META_SHIFT, a, a + Meta.Words)
    const start = from * SLOT_SIZE + meta[a + Meta.Head]
    this.bytes.copyWithin(to * SLOT_SIZE + meta[a + Meta.Head], start, start + meta[a + Meta.Len])
  }

  /** The frame's bytes as a view into the pool: tests and cold paths. */
  frame(slot: number): Uint8Array {
    const at = this.at(slot)
    return this.bytes.subarray(at, at + this.meta[(slot << META_SHIFT) + Meta.Len])
  }
}
