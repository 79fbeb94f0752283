// HOT
/**
 * What rules want told: LOG and TRACE as records of one ring, NFLOG as records of another. The control thread
 * reads them and makes lines (log-line.ts) and files of them; no string is made here. A ring without room, or
 * more than `linesPerS`, is counted in `lost`: a packet never waits for its line.
 *
 *     record   LogRecord.Words int32 | the first bytes of the frame, LogRecord.Captured of them
 */
import { Hook } from '../../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../../packet/ip.ts'
import { Clock, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import type { PlaneMemory } from '../../packet/memory.ts'
import type { Pool } from '../../packet/pool.ts'
import { RingWriter } from '../../packet/ring.ts'
import type { Plane } from './plane.ts'

export const enum LogKind {
  Log = 0,
  Trace = 1,
  Nflog = 2,
}

export const enum LogRecord {
  Kind = 0,
  /** Hook | family << 8. */
  Hook = 1,
  /** Counter of the rule (counters.ts), which says which rule it is. */
  Rule = 2,
  /** Router interfaces, -1 = none. */
  InIf = 3,
  OutIf = 4,
  Mark = 5,
  Seconds = 6,
  Nanos = 7,
  /** Offsets in the bytes that follow. */
  L3 = 8,
  L4 = 9,
  Captured = 10,
  /** Of the IP packet. */
  Length = 11,
  /** Flag bits of the packet. */
  Flags = 12,
  Protocol = 13,
  /** Number of the rule set, as `load` was told. */
  Generation = 14,
  GsoSize = 15,
  Words = 16,
}

/** Headers, and what an ICMP error quotes. */
const SNAP = 192

export interface ReportMemory {
  log: SharedArrayBuffer
  nflog: SharedArrayBuffer
  /** One double: records there was no room for, or that were too many. */
  lost?: SharedArrayBuffer
}

export class Report {
  /** Lines per second that LOG may cause. */
  linesPerS = 1000
  generation = 0
  /** By slot: 1 = TRACE has marked the packet. */
  readonly traced: Uint8Array
  private readonly plane: PlaneMemory
  private readonly logRing: RingWriter | null
  private readonly nflogRing: RingWriter | null
  private readonly losses: Float64Array
  private credit = 0
  private filledMs = -1

  /** @param memory null: nobody reads, all is lost */
  constructor(plane: PlaneMemory, pool: Pool, memory: ReportMemory | null) {
    this.plane = plane
    this.traced = new Uint8Array(pool.size)
    this.logRing = memory ? new RingWriter(memory.log) : null
    this.nflogRing = memory ? new RingWriter(memory.nflog) : null
    this.losses = new Float64Array(memory?.lost ?? new SharedArrayBuffer(8))
  }

  /** Records that did not fit. */
  get lost(): number {
    return this.losses[0]
  }

  log(plane: Plane, slot: number, rule: number, nowMs: number): void {
    if (this.filledMs !== nowMs) {
      const grown =
        this.filledMs < 0 ? this.linesPerS : this.credit + ((nowMs - this.filledMs) * this.linesPerS) / 1000
      this.credit = grown < this.linesPerS ? grown : this.linesPerS
      this.filledMs = nowMs
    }
    if (this.credit < 1) {
      this.losses[0]++
      return
    }
    this.credit -= 1
    this.put(this.logRing, plane, slot, rule, LogKind.Log, SNAP)
  }

  /** A traced packet has come to this rule, or policy, and it fits. */
  trace(plane: Plane, slot: number, rule: number): void {
    this.put(this.logRing, plane, slot, rule, LogKind.Trace, SNAP)
  }

  /** @param size most bytes, from the IP header on */
  nflog(plane: Plane, slot: number, rule: number, size: number): void {
    const most = plane.ip[(slot << IP_SHIFT) + Ip.L3] + size
    this.put(this.nflogRing, plane, slot, rule, LogKind.Nflog, most)
  }

  private put(
    ring: RingWriter | null,
    plane: Plane,
    slot: number,
    rule: number,
    kind: LogKind,
    most: number,
  ): void {
    const { ip, meta, pool } = plane
    const row = slot << IP_SHIFT
    const m = slot << META_SHIFT
    const captured = meta[m + Meta.Len] < most ? meta[m + Meta.Len] : most
    const at = ring === null ? -1 : ring.reserve(LogRecord.Words * 4 + captured)
    if (ring === null || at < 0) {
      this.losses[0]++
      return
    }
    const { words } = ring
    const w = at >> 2
    words[w + LogRecord.Kind] = kind
    words[w + LogRecord.Hook] = plane.hook | (ip[row + Ip.Family] << 8)
    words[w + LogRecord.Rule] = rule
    words[w + LogRecord.InIf] = plane.hook === Hook.Output ? -1 : ip[row + Ip.InIf]
    words[w + LogRecord.OutIf] = plane.hook <= Hook.Input ? -1 : ip[row + Ip.OutIf]
    words[w + LogRecord.Mark] = ip[row + Ip.Mark]
    words[w + LogRecord.Seconds] = this.plane.clock[Clock.WallSeconds]
    words[w + LogRecord.Nanos] = this.plane.clock[Clock.WallNanos]
    words[w + LogRecord.L3] = ip[row + Ip.L3]
    words[w + LogRecord.L4] = ip[row + Ip.L4]
    words[w + LogRecord.Captured] = captured
    words[w + LogRecord.Length] = ip[row + Ip.Length]
    words[w + LogRecord.Flags] = meta[m + Meta.Flags]
    words[w + LogRecord.Protocol] = ip[row + Ip.Proto]
    words[w + LogRecord.Generation] = this.generation
    words[w + LogRecord.GsoSize] = meta[m + Meta.GsoSize]
    const from = slot * SLOT_SIZE + meta[m + Meta.Head]
    const to = at + LogRecord.Words * 4
    for (let i = 0; i < captured; i++) ring.bytes[to + i] = pool.bytes[from + i]
    ring.commit()
  }
}
