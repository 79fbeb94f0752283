/**
 * What a tunnel port knows of the tunnel behind it (tunnel/vtep.ts), and what the tunnel needs of its engine.
 */
import type { Batch } from './batch.ts'
import type { PlaneMemory } from './memory.ts'
import type { Pool } from './pool.ts'

export interface Tunnel {
  /** Takes over pairs (slot, tag) in words[at .. at + 2 * count) until `flush`: the slots must stay as they are. */
  queue(port: number, words: Int32Array, at: number, count: number): void
  /** Sends everything queued, of all ports. */
  flush(): void
  /** The port is gone. */
  remove(port: number): void
}

export interface TunnelHost {
  readonly memory: PlaneMemory
  readonly pool: Pool
  readonly counters: Float64Array
  /** The batch in hand. */
  readonly batch: Batch
  /** A slot for a packet made here, empty and plain; -1 = there is none. */
  make(len: number): number
  /** A copy of a packet that lives as long as this round; -1 = no slot. */
  copy(slot: number): number
  /** Tells the stage of a port what comes (Stage.foresee). */
  foresee(port: number, slots: Int32Array, n: number): void
  /** Asks for the turn of a port right after this round. */
  follow(port: number): void
  /** Asks for the turn of a port in the next breath. */
  ready(port: number): void
  /** Tells the control thread that there is something for it. */
  notify(port: number): void
}
