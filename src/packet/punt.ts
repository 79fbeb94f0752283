// HOT
/**
 * Packets that the worker hands to the control thread: what a router's services (DHCP, router
 * advertisements) answer. Each router has one ring (ring.ts), read by control/router/services.ts:
 *
 *     PuntRec.Words int32 of what is known about it | the IP packet, without Ethernet
 *
 * A full ring means that the services have more to do than they can: what comes then is dropped here, at
 * no cost to them. `signal` is 1 while the reader knows that there is something.
 */
import { IP_SHIFT, Ip } from './ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from './layout.ts'
import type { Pool } from './pool.ts'
import { RingWriter } from './ring.ts'

export const enum PuntRec {
  /** Index of the router's interface it came in by. */
  Interface = 0,
  /** 1 = the transport checksum needs no look: verified, or never filled in (a local sender's offload). */
  Checked = 1,
  Words = 2,
}
export const PUNT_BYTES = PuntRec.Words * 4

export interface PuntMemory {
  ring: SharedArrayBuffer
  signal: SharedArrayBuffer
}

export class Punt {
  private readonly writer: RingWriter
  private readonly signal: Int32Array
  private readonly pool: Pool
  private readonly ip: Int32Array
  private readonly notify: () => void

  /** @param notify tells the reader that there is something */
  constructor(pool: Pool, ip: Int32Array, memory: PuntMemory, notify: () => void) {
    this.pool = pool
    this.ip = ip
    this.writer = new RingWriter(memory.ring)
    this.signal = new Int32Array(memory.signal)
    this.notify = notify
  }

  /** Copies a parsed packet into the ring. False when there is no room. */
  put(slot: number, iface: number): boolean {
    const { ip, pool, writer } = this
    const m = slot << META_SHIFT
    const row = slot << IP_SHIFT
    const length = ip[row + Ip.Length]
    const at = writer.reserve(PUNT_BYTES + length)
    if (at < 0) return false
    const w = at >> 2
    const checked = (pool.meta[m + Meta.Flags] & (Flag.CsumPartial | Flag.CsumVerified)) !== 0
    writer.words[w + PuntRec.Interface] = iface
    writer.words[w + PuntRec.Checked] = checked ? 1 : 0
    const from = slot * SLOT_SIZE + pool.meta[m + Meta.Head] + ip[row + Ip.L3]
    const to = at + PUNT_BYTES
    for (let i = 0; i < length; i++) writer.bytes[to + i] = pool.bytes[from + i]
    writer.commit()
    if (Atomics.exchange(this.signal, 0, 1) === 0) this.notify()
    return true
  }
}
