// HOT
/**
 * A port on a device of the kernel: TAP, TUN or an existing device behind a packet socket. The
 * descriptors come opened (src/control/devices.ts); this side only moves batches through the addon.
 *
 * A receive stops after RX_BUDGET bytes, so that a port with super-frames does not keep the others
 * waiting for 4 MB. From 64 KiB to 1 MiB no difference in throughput could be measured.
 */
import type { DeviceKind, Io } from '../native.ts'
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, META_SHIFT, Meta, TxResult } from '../packet/layout.ts'
import { countRx, countTx, dropAll, type Port, type PortHost, type TxQueue } from './port.ts'

/** Bytes after which a receive hands over what it has. */
export const RX_BUDGET = 262144

export interface DeviceSpec {
  index: number
  name: string
  kind: DeviceKind
  fd: number
  vnetSize: number
  /** Offload bits the device takes. */
  offloads: number
  mtu: number
}

export class DevicePort implements Port {
  readonly index: number
  readonly name: string
  mtu: number
  readonly timed = false
  private readonly host: PortHost
  private readonly io: Io
  private readonly device: number

  constructor(host: PortHost, io: Io, spec: DeviceSpec) {
    this.host = host
    this.io = io
    this.index = spec.index
    this.name = spec.name
    this.mtu = spec.mtu
    this.device = io.attach(spec.fd, spec.kind, spec.vnetSize, spec.offloads, spec.index)
  }

  rx(batch: Batch): number {
    const n = this.io.rx(this.device, 0, BATCH, RX_BUDGET)
    batch.n = n > 0 ? n : 0
    if (n <= 0) return n
    const meta = this.host.pool.meta
    const slots = batch.slots
    let bytes = 0
    let supers = 0
    for (let i = 0; i < n; i++) {
      const m = slots[i] << META_SHIFT
      bytes += meta[m + Meta.Len]
      if (meta[m + Meta.GsoSize] !== 0) supers++
    }
    countRx(this.host, this.index, n, bytes)
    if (supers > 0) {
      this.host.supers = (this.host.supers + supers) | 0
      this.host.memory.counters[this.index * COUNTER_WORDS + Counter.RxSuper] += supers
    }
    return n
  }

  tx(queue: TxQueue): number {
    const sent = this.io.tx(this.device, queue.at, queue.count)
    const result = this.host.memory.txResult
    countTx(this.host, this.index, result[TxResult.Sent], result[TxResult.SentBytes])
    if (sent !== queue.count) {
      dropAll(this.host, this.index, Drop.NoRoom, result[TxResult.NoRoom])
      dropAll(this.host, this.index, Drop.Refused, result[TxResult.Refused])
      dropAll(this.host, this.index, Drop.PortDown, result[TxResult.Down])
      dropAll(this.host, this.index, Drop.Malformed, result[TxResult.Malformed])
    }
    return sent < 0 ? sent : 0
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
