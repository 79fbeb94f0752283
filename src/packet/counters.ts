/**
 * Counters per port: doubles in shared memory (exact to 2^53), written by the worker alone, read by
 * anyone. `counters[port * COUNTER_WORDS + Counter.RxPackets]`.
 *
 * The conservation law, over all ports of a plane at rest (test/engine/conservation.test.ts):
 *
 *     rx + made = tx + drops + held + consumed
 *
 * where `made` counts the copies a flood adds (k ports: k - 1) and duplicates from a fault decorator,
 * and `held` is what ports keep for later. A super-frame counts as one packet.
 */
import { DROP_COUNT, type Drop } from './drop.ts'

export const enum Counter {
  RxPackets = 0,
  RxBytes = 1,
  TxPackets = 2,
  TxBytes = 3,
  /** Copies made of packets this port received. */
  Made = 4,
  /** Packets the port keeps now (a gauge). */
  Held = 5,
  /** Super-frames among RxPackets. */
  RxSuper = 6,
  /** Addresses learned. */
  Learned = 7,
  /** Stations that moved to this port. */
  Moved = 8,
  /** Addresses not learned: a limit was reached. */
  LearnRefused = 9,
  /** Addresses evicted to make room. */
  Evicted = 10,
  /** Packets copied to a capture, and those it had no room for. */
  Captured = 11,
  CaptureLost = 12,
  /** Packets that were for the router itself, or for the VTEP (datagrams that a VXLAN port got). */
  Consumed = 13,
  /** First of the drop counters, one per Drop. */
  Drops = 16,
}
export const COUNTER_WORDS = 96

export function drop(counters: Float64Array, port: number, reason: Drop, packets = 1): void {
  counters[port * COUNTER_WORDS + Counter.Drops + reason] += packets
}

/** All drops of a port. */
export function dropsOf(counters: Float64Array, port: number): number {
  let sum = 0
  for (let i = 0; i < DROP_COUNT; i++) sum += counters[port * COUNTER_WORDS + Counter.Drops + i]
  return sum
}
