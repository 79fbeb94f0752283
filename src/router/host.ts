/**
 * What the parts of a router share: the plane's memory, the Ip rows, and the ways a packet can leave
 * the hands of a part. Exactly one of them is called for every packet a part was given:
 *
 *     send      queued on a port; the bytes must stay as they are until the round is over
 *     hold      kept by the part (neighbour queue, reassembly); given back later with `resume` or `lose`
 *     lose      dropped by name; its bytes may be another packet's with the next `make`
 *     consume   it was for us, and was dealt with
 */
import type { Drop } from '../packet/drop.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Pool } from '../packet/pool.ts'

export interface RouterHost {
  readonly memory: PlaneMemory
  readonly pool: Pool
  readonly counters: Float64Array
  /** Rows of packet/ip.ts: `ip[(slot << IP_SHIFT) + Ip.Src0]`. */
  readonly ip: Int32Array
  /** Queues the packet on a port as an Ethernet frame, or without for a TUN. MTU was checked. */
  send(port: number, slot: number): void
  /** The caller keeps the packet beyond this round. False when the pool is empty: lose it then. */
  hold(slot: number): boolean
  /** A held packet goes on: the caller may `send` or `lose` it in this round, and no longer owns it. */
  resume(slot: number): void
  /** Drops it, counted on `port`. */
  lose(port: number, slot: number, reason: Drop): void
  /** It was for us. Counted on `port`. */
  consume(port: number, slot: number): void
  /** A slot for a packet made here, `len` bytes without Ethernet; -1 when the pool is empty. Sent or lost in this round. */
  make(len: number): number
}
