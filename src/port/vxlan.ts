// HOT
/**
 * One VNI of a VTEP as a port of a switch. It has no device: what came out of the tunnel waits in its inbox
 * (put there and counted by the tunnel), what shall go into it is queued with the tunnel, which counts it.
 *
 *     rx   inbox -> batch         tx   queue -> tunnel.queue ... tunnel.flush when the round is over
 *
 * The packets of a `tx` must stay as they are until the flush; who reuses them before the round is over (a
 * decorator that sends what it held) calls `flush` itself.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter } from '../packet/counters.ts'
import type { Inboxes } from '../packet/inbox.ts'
import { BATCH, META_SHIFT, Meta } from '../packet/layout.ts'
import type { Tunnel } from '../packet/tunnel.ts'
import type { Port, PortHost, TxQueue } from './port.ts'

export class VxlanPort implements Port {
  readonly index: number
  readonly name: string
  mtu: number
  readonly timed = false
  private readonly host: PortHost
  private readonly tunnel: Tunnel
  private readonly inboxes: Inboxes

  constructor(host: PortHost, tunnel: Tunnel, inboxes: Inboxes, index: number, name: string, mtu: number) {
    this.host = host
    this.tunnel = tunnel
    this.inboxes = inboxes
    this.index = index
    this.name = name
    this.mtu = mtu
  }

  rx(batch: Batch): number {
    const { host, inboxes, index } = this
    const { pool } = host
    const { slots } = batch
    const waiting = inboxes.count[index]
    const n = waiting < BATCH ? waiting : BATCH
    let supers = 0
    for (let i = 0; i < n; i++) {
      pool.release(slots[i])
      const slot = inboxes.take(index)
      slots[i] = slot
      if (pool.meta[(slot << META_SHIFT) + Meta.GsoSize] !== 0) supers++
    }
    batch.n = n
    host.supers = (host.supers + supers) | 0
    host.memory.counters[index * COUNTER_WORDS + Counter.Held] -= n
    if (waiting > n) host.ready(index)
    return n
  }

  tx(queue: TxQueue): number {
    this.tunnel.queue(this.index, queue.words, queue.at, queue.count)
    return 0
  }

  flush(): void {
    this.tunnel.flush()
  }

  held(): number {
    return this.inboxes.count[this.index]
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {
    const { host, inboxes, index } = this
    while (inboxes.count[index] > 0) host.pool.release(inboxes.take(index))
    this.tunnel.remove(this.index)
  }
}
