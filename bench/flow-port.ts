// HOT
/**
 * A port without a kernel behind it that speaks IPv4: `rx` makes a batch of UDP datagrams (frames of 60 bytes, their
 * checksum left to the device, as a TAP hands them over), packet i of flow i; `tx` takes everything.
 *
 *     flow i     base.src + i -> base.dst + (i >>> 15), source port 1024 + (i & 0x7fff), destination port 9
 *     answers    the other way around, as the flow is seen from the far side
 */
import type { Batch } from '../src/packet/batch.ts'
import { BATCH, Flag, HEADROOM, META_SHIFT, Meta, SLOT_SIZE } from '../src/packet/layout.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from '../src/port/port.ts'

const FRAME = 60
const LENGTH = 46
const ETHERNET = 14
const UDP = 17
const UDP_AT = 34
const TTL = 64
export const FIRST_PORT = 1024
export const SERVICE = 9

export class FlowPort implements Port {
  readonly index: number
  readonly name: string
  mtu = 1500
  readonly timed = false
  /** Whom the frames are for, and who they are from: MAC addresses 02:00 and four bytes. */
  readonly to: number
  readonly from: number
  /** A frame that is sent before all others, once. */
  first: Uint8Array | null = null
  private src = 0
  private dst = 0
  private order: Int32Array = new Int32Array(1)
  private next = 0
  private answers = false
  private readonly host: PortHost

  constructor(host: PortHost, index: number, to: number, from: number) {
    this.host = host
    this.index = index
    this.name = `port${index}`
    this.to = to
    this.from = from
  }

  /** From now on packet i is of flow order[i % length]; of its answers if `answers`. */
  talk(src: number, dst: number, order: Int32Array, answers = false): void {
    this.src = src
    this.dst = dst
    this.order = order
    this.answers = answers
    this.next = 0
  }

  rx(batch: Batch): number {
    if (this.first !== null) return this.announce(batch, this.first)
    const { pool } = this.host
    const { answers, order } = this
    const { meta, view } = pool
    for (let i = 0; i < BATCH; i++) {
      const slot = batch.slots[i]
      const flow = order[this.next]
      if (++this.next === order.length) this.next = 0
      const m = slot << META_SHIFT
      meta[m + Meta.Head] = HEADROOM
      meta[m + Meta.Len] = FRAME
      meta[m + Meta.Port] = this.index
      meta[m + Meta.Flags] = Flag.CsumPartial
      meta[m + Meta.GsoSize] = 0
      meta[m + Meta.CsumStart] = UDP_AT
      meta[m + Meta.CsumOffset] = 6
      meta[m + Meta.Strip] = 0
      const at = slot * SLOT_SIZE + HEADROOM
      view.setUint16(at, 0x0200)
      view.setInt32(at + 2, this.to)
      view.setUint16(at + 6, 0x0200)
      view.setInt32(at + 8, this.from)
      view.setUint16(at + 12, 0x0800)
      const inside = (this.src + flow) | 0
      const outside = (this.dst + (flow >>> 15)) | 0
      const source = answers ? outside : inside
      const destination = answers ? inside : outside
      const ip = at + ETHERNET
      view.setInt32(ip, 0x45000000 | LENGTH)
      view.setInt32(ip + 4, 0)
      view.setInt32(ip + 12, source)
      view.setInt32(ip + 16, destination)
      let sum = 0x4500 + LENGTH + ((TTL << 8) | UDP)
      sum += (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff)
      sum = (sum & 0xffff) + (sum >>> 16)
      view.setInt32(ip + 8, (((TTL << 8) | UDP) << 16) | (~((sum & 0xffff) + (sum >>> 16)) & 0xffff))
      const port = FIRST_PORT + (flow & 0x7fff)
      view.setInt32(at + UDP_AT, answers ? (SERVICE << 16) | port : (port << 16) | SERVICE)
      view.setInt32(at + UDP_AT + 4, ((LENGTH - 20) << 16) | 0x1234)
    }
    batch.n = BATCH
    countRx(this.host, this.index, BATCH, BATCH * FRAME)
    return BATCH
  }

  private announce(batch: Batch, frame: Uint8Array): number {
    const { pool } = this.host
    const slot = batch.slots[0]
    pool.reset(slot, frame.length)
    pool.meta[(slot << META_SHIFT) + Meta.Port] = this.index
    pool.bytes.set(frame, slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head])
    this.first = null
    batch.n = 1
    countRx(this.host, this.index, 1, frame.length)
    return 1
  }

  tx(queue: TxQueue): number {
    countTx(this.host, this.index, queue.count, queue.count * FRAME)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {}
}
