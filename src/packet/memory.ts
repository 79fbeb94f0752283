/**
 * All memory of one data plane, made once by the control thread and handed to the worker as it is.
 * It holds everything a successor of a dead worker needs but the packets in flight. SharedArrayBuffers
 * are zero pages until touched: the sizes here are limits, not what is resident.
 */
import type { IoArrays } from '../native.ts'
import { lineBytes, lineDoubles, lineWords } from '../table/line.ts'
import { COUNTER_WORDS } from './counters.ts'
import { BATCH, Clock, MAX_PORTS, Meta, SLOT_SIZE, TxResult } from './layout.ts'

export interface PlaneMemory extends IoArrays {
  /** COUNTER_WORDS doubles per port, see counters.ts. */
  counters: Float64Array
}

/** @param slots packets that can be in flight at once (each port's batch is drawn from it) */
export function planeMemory(slots = 1024): PlaneMemory {
  return {
    pool: lineBytes(slots * SLOT_SIZE),
    meta: lineWords(slots * Meta.Words),
    rx: lineWords(BATCH),
    txq: lineWords(MAX_PORTS * QUEUE_WORDS),
    events: lineWords(256),
    clock: lineDoubles(Clock.Words),
    txResult: lineWords(TxResult.Words),
    counters: lineDoubles(MAX_PORTS * COUNTER_WORDS),
  }
}

/** Words of one port's transmit queue: a packet of a batch appears in it at most once. */
export const QUEUE_WORDS = 2 * BATCH
