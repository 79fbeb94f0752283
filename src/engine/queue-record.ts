/**
 * What crosses between a router's queues and the control thread (queue.ts), as words and bytes of two rings.
 * Not hot: a packet that a function is asked about takes its time, and views copy long ones fastest.
 */

import { Drop } from '../packet/drop.ts'
import type { Hook } from '../packet/hooks.ts'
import { Frag, IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { Clock, Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { RingWriter } from '../packet/ring.ts'
import { PARSED, parse } from '../router/parse.ts'
import type { EngineRouterHost } from './router-host.ts'

/** Packets of all queues of a router that wait, and at most a quarter of the pool. */
export const MAX_WAITING = 256

export const enum QueueRecord {
  Id = 0,
  Epoch = 1,
  /** Of the queue. */
  Number = 2,
  /** Hook | family << 8. */
  Hook = 3,
  /** Router interfaces, -1 = none. */
  InIf = 4,
  OutIf = 5,
  Mark = 6,
  Seconds = 7,
  Nanos = 8,
  /** Of the IP packet, which the bytes that follow begin. */
  Length = 9,
  /** Flag bits. */
  Flags = 10,
  GsoSize = 11,
  /** From the IP header on. */
  CsumStart = 12,
  CsumOffset = 13,
  /** CtState bit. */
  State = 14,
  Words = 16,
}

export const enum QueueAnswer {
  Id = 0,
  Epoch = 1,
  Verdict = 2,
  /** AnswerFlag bits. */
  Flags = 3,
  Mark = 4,
  /** Of the bytes that follow. */
  Length = 5,
  Words = 6,
}

export const enum AnswerFlag {
  Mark = 1,
  Bytes = 2,
}

export const enum QueueVerdict {
  Drop = 0,
  Accept = 1,
  /** Once more through the table it was queued in. */
  Repeat = 2,
}

export const enum QueueStat {
  Queued = 0,
  Answered = 1,
  TimedOut = 2,
  /** There was no room for. */
  Full = 3,
  Words = 4,
}

/** Bytes of a packet that a function is shown, from the IP header on. */
export function bytesOf({ ip, pool }: EngineRouterHost, slot: number, most: number): number {
  const length = pool.meta[(slot << META_SHIFT) + Meta.Len] - ip[(slot << IP_SHIFT) + Ip.L3]
  return length < most ? length : most
}

/** All of a record but Id, Epoch and Number. */
export function putPacket(
  { words, bytes }: RingWriter,
  at: number,
  { ip, memory, pool }: EngineRouterHost,
  slot: number,
  hook: Hook,
  copied: number,
): void {
  const { meta } = pool
  const row = slot << IP_SHIFT
  const m = slot << META_SHIFT
  const w = at >> 2
  const l3 = ip[row + Ip.L3]
  words[w + QueueRecord.Hook] = hook | (ip[row + Ip.Family] << 8)
  words[w + QueueRecord.InIf] = ip[row + Ip.InIf]
  words[w + QueueRecord.OutIf] = ip[row + Ip.OutIf]
  words[w + QueueRecord.Mark] = ip[row + Ip.Mark]
  words[w + QueueRecord.Seconds] = memory.clock[Clock.WallSeconds]
  words[w + QueueRecord.Nanos] = memory.clock[Clock.WallNanos]
  words[w + QueueRecord.Length] = meta[m + Meta.Len] - l3
  words[w + QueueRecord.Flags] = meta[m + Meta.Flags]
  words[w + QueueRecord.GsoSize] = meta[m + Meta.GsoSize]
  words[w + QueueRecord.CsumStart] = meta[m + Meta.CsumStart] - l3
  words[w + QueueRecord.CsumOffset] = meta[m + Meta.CsumOffset]
  words[w + QueueRecord.State] = ip[row + Ip.CtState]
  const from = slot * SLOT_SIZE + meta[m + Meta.Head] + l3
  bytes.set(pool.bytes.subarray(from, from + copied), at + QueueRecord.Words * 4)
}

const kept = new Int32Array(Ip.Words)

/** Puts `length` bytes at `source[from]` in place of the packet's, from the IP header on. PARSED, or a Drop. */
export function replaceBytes(
  { ip, pool }: EngineRouterHost,
  slot: number,
  source: Uint8Array,
  from: number,
  length: number,
): number {
  const { bytes, meta } = pool
  const row = slot << IP_SHIFT
  const m = slot << META_SHIFT
  const l3 = ip[row + Ip.L3]
  if (meta[m + Meta.Head] + l3 + length > SLOT_SIZE) return Drop.Malformed
  if (length < 1 || source[from] >> 4 !== ip[row + Ip.Family]) return Drop.IpMalformed
  for (let i = 0; i < Ip.Words; i++) kept[i] = ip[row + i]
  bytes.set(source.subarray(from, from + length), slot * SLOT_SIZE + meta[m + Meta.Head] + l3)
  meta[m + Meta.Len] = l3 + length
  const result = parse(pool, ip, slot, l3, ip[row + Ip.Family])
  ip[row + Ip.Mark] = kept[Ip.Mark]
  ip[row + Ip.Ct] = kept[Ip.Ct]
  ip[row + Ip.CtState] = kept[Ip.CtState]
  ip[row + Ip.OutIf] = kept[Ip.OutIf]
  ip[row + Ip.Route] = kept[Ip.Route]
  ip[row + Ip.Flags] |= kept[Ip.Flags] & (IpFlag.Local | IpFlag.Translated)
  ip[row + Ip.Frag] |= kept[Ip.Frag] & Frag.Reassembled
  if (result !== PARSED) return result
  if (meta[m + Meta.GsoSize] !== 0) {
    // Its checksums are made when it is cut up: where, its metadata say.
    const same = ip[row + Ip.L4] === kept[Ip.L4] && ip[row + Ip.Proto] === kept[Ip.Proto]
    return same ? PARSED : Drop.Malformed
  }
  meta[m + Meta.Flags] = (meta[m + Meta.Flags] & ~Flag.CsumPartial) | Flag.CsumVerified
  return PARSED
}
