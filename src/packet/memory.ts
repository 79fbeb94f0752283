/**
 * All memory of one data plane, made once by the control thread and handed to the worker as it is.
 * It holds everything a successor of a dead worker needs but the packets in flight. SharedArrayBuffers
 * are zero pages until touched: the sizes here are limits, not what is resident.
 */
import type { IoArrays } from '../native.ts'
import { COUNTER_WORDS } from './counters.ts'
import { BATCH, Clock, MAX_PORTS, Meta, SLOT_SIZE, TxResult } from './layout.ts'

export interface PlaneMemory extends IoArrays {
  /** COUNTER_WORDS doubles per port, see counters.ts. */
  counters: Float64Array
}

const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)

/** @param slots packets that can be in flight at once (each port's batch is drawn from it) */
export function planeMemory(slots = 1024): PlaneMemory {
  return {
    pool: new Uint8Array(shared(slots * SLOT_SIZE)),
    meta: new Int32Array(shared(slots * Meta.Words * 4)),
    rx: new Int32Array(shared(BATCH * 4)),
    txq: new Int32Array(shared(MAX_PORTS * QUEUE_WORDS * 4)),
    events: new Int32Array(shared(256 * 4)),
    clock: new Float64Array(shared(Clock.Words * 8)),
    txResult: new Int32Array(shared(TxResult.Words * 4)),
    counters: new Float64Array(shared(MAX_PORTS * COUNTER_WORDS * 8)),
  }
}

/** Words of one port's transmit queue: a packet of a batch appears in it at most once. */
export const QUEUE_WORDS = 2 * BATCH
