/**
 * The contract of a port: it turns kernel I/O (or a file, or memory) into batches and back.
 *
 *     worker                     port                            outside
 *     batch of free slots  -->   rx fills them             <--   frames in
 *     queue of (slot, tag) -->   tx sends, counts              -->   frames out
 *
 * Everything is called once per batch, never per packet.
 *
 * - `rx` fills `batch.slots[0..n)` and their metadata, and sets `batch.n`. The batch owns the slots.
 * - `tx` only borrows the packets: when it returns, they may be reused. A port that needs a packet
 *   longer asks `take` for it.
 * - Counting is the port's: what it received and sent, and every packet it could not send, by name.
 * - Errors of the kernel are numbers (negative errno) or drop reasons. Nothing throws after opening.
 *
 * To add a kind of port: implement this interface in a file of its own, open it in
 * src/engine/open.ts, and give it a place in src/config/schema.ts and src/control/devices.ts.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import type { Drop } from '../packet/drop.ts'
import { Flag, META_SHIFT, Meta } from '../packet/layout.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Pool } from '../packet/pool.ts'

/** What a port gets from the plane it belongs to. */
export interface PortHost {
  readonly memory: PlaneMemory
  readonly pool: Pool
  /** The batch in hand: `take` needs it. */
  readonly batch: Batch
  /** Super-frames received so far: their sender is in the middle of a stream. */
  supers: number
  /** Asks the loop to call `rx` of this port in the same or the next round. */
  ready(port: number): void
  /** Tells the control thread that a port has something for it. */
  notify(port: number): void
}

/** What one port shall send: pairs (slot, tag) in words[at .. at + 2 * count). */
export interface TxQueue {
  readonly words: Int32Array
  readonly at: number
  count: number
}

export interface Port {
  /** Index in the plane: counters, VLAN tables and forwarding entries refer to it. */
  readonly index: number
  readonly name: string
  /** Largest payload of a frame, bytes. */
  mtu: number
  /** Packets received, or a negative errno when the port is gone. */
  rx(batch: Batch): number
  /** 0, or a negative errno when the port is gone. Accounts for every packet of the queue. */
  tx(queue: TxQueue): number
  /** Sends what `tx` put off until the round is over; for those who cannot wait that long. */
  flush?(): void
  /** True when `due` can be earlier than never: the loop then asks. */
  readonly timed: boolean
  /** Packets kept inside, for the conservation law. */
  held(): number
  /** Monotonic ms at which `rx` has something again; Infinity = only when the kernel says so. */
  due(): number
  /** Stops using the device; the descriptor stays open. Packets held are dropped by name. */
  close(): void
}

/**
 * Keeps `slot` beyond `tx`, giving the caller a slot of its own: the packet itself when it is in the
 * batch in hand and nobody took it, else a copy. -1 when the pool is empty (counted by the caller).
 * The taker must not change the packet before the round is over, and gives it back with `release`.
 */
export function take(host: PortHost, slot: number): number {
  const { pool, batch } = host
  const flags = (slot << META_SHIFT) + Meta.Flags
  if ((pool.meta[flags] & Flag.Loose) !== 0) {
    pool.meta[flags] &= ~Flag.Loose
    return slot
  }
  if (pool.available <= batch.taken) return -1
  if ((pool.meta[flags] & Flag.Taken) === 0) {
    pool.meta[flags] |= Flag.Taken
    batch.taken++
    return slot
  }
  const copy = pool.alloc()
  pool.copy(slot, copy)
  pool.meta[(copy << META_SHIFT) + Meta.Flags] &= ~Flag.Taken
  return copy
}

export function countRx(host: PortHost, port: number, packets: number, bytes: number): void {
  const c = host.memory.counters
  const at = port * COUNTER_WORDS
  c[at + Counter.RxPackets] += packets
  c[at + Counter.RxBytes] += bytes
}

export function countTx(host: PortHost, port: number, packets: number, bytes: number): void {
  const c = host.memory.counters
  const at = port * COUNTER_WORDS
  c[at + Counter.TxPackets] += packets
  c[at + Counter.TxBytes] += bytes
}

export function dropAll(host: PortHost, port: number, reason: Drop, packets: number): void {
  if (packets > 0) drop(host.memory.counters, port, reason, packets)
}
