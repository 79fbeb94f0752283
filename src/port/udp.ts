// HOT
/**
 * The sockets of a tunnel endpoint. Nothing is queued on this port: what arrives goes to the tunnel's stage,
 * which sends by itself through `transmit`. So `rx` counts, and `tx` has nothing to do.
 */
import type { Io, UdpAttachment } from '../native.ts'
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, META_SHIFT, Meta } from '../packet/layout.ts'
import { countRx, dropAll, type Port, type PortHost, type TxQueue } from './port.ts'

/**
 * Bytes after which a receive hands over what it has: one merged super-frame. It is written to a TAP while
 * it is still in the cache; with 256 KiB the endpoint of bench/ took a tenth more CPU.
 */
const RX_BUDGET = 65536

export class UdpPort implements Port {
  readonly index: number
  readonly name: string
  mtu: number
  readonly timed = false
  private readonly host: PortHost
  private readonly io: Io
  private device: number

  constructor(host: PortHost, io: Io, index: number, name: string, mtu: number, sockets: UdpAttachment) {
    this.host = host
    this.io = io
    this.index = index
    this.name = name
    this.mtu = mtu
    this.device = io.attachUdp(sockets, index)
  }

  /** Hands over only what the addon holds back already: before `set`, which would lose it. */
  draining = false

  /** Other sockets from now on. */
  set(sockets: UdpAttachment): void {
    // In this order: a descriptor cannot be waited for twice.
    this.io.detach(this.device)
    this.device = this.io.attachUdp(sockets, this.index)
    // What came while nobody waited for it.
    this.host.ready(this.index)
  }

  rx(batch: Batch): number {
    const n = this.io.rx(this.device, 0, BATCH, this.draining ? 0 : RX_BUDGET)
    batch.n = n > 0 ? n : 0
    if (n <= 0) return n
    const { meta } = this.host.pool
    const { slots } = batch
    let bytes = 0
    let supers = 0
    for (let i = 0; i < n; i++) {
      const m = slots[i] << META_SHIFT
      bytes += meta[m + Meta.Len]
      if (meta[m + Meta.GsoSize] !== 0) supers++
    }
    if (supers > 0) {
      this.host.supers = (this.host.supers + supers) | 0
      this.host.memory.counters[this.index * COUNTER_WORDS + Counter.RxSuper] += supers
    }
    countRx(this.host, this.index, n, bytes)
    // Fewer than asked for: nothing is held back.
    if (n === BATCH) this.host.ready(this.index)
    return n
  }

  /** Sends `count` rows of the sockets' `sends`. The rows looked at, or -errno. */
  transmit(count: number): number {
    return this.io.tx(this.device, 0, count)
  }

  tx(queue: TxQueue): number {
    dropAll(this.host, this.index, Drop.Refused, queue.count)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    this.io.detach(this.device)
  }
}
