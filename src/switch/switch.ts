// HOT
/**
 * The learning switch: one batch from one port, every packet to the transmit queues of the ports it
 * goes to. 802.1Q clause 8.6 is the forwarding process; the order here is its order:
 *
 *     admit    runts, bad source addresses, reserved destinations; the packet's VLAN
 *     learn    (VLAN, source) -> this port
 *     forward  (VLAN, destination) -> one port; unknown and group addresses -> every port of the VLAN
 *
 * A unicast packet is queued once; a flood queues the same slot on every port. Sending copies nothing:
 * the batch keeps the slots until all queues are written (engine/pipeline.ts).
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import type { Stage } from '../packet/stage.ts'
import { Entry, Fdb, Learned } from './fdb.ts'
import { Member, PortFlag, type PortTable, VIDS } from './ports.ts'
import { segmentLength } from './size.ts'
import { Flood, type StormControl } from './storm.ts'
import { classify, egressTag } from './vlan.ts'

const ETHERNET_HEADER = 14
/** Addresses from which on the table no longer fits the L2 cache. */
const PREFETCH_FROM = 8192
/** 01-80-C2-00-00-00, the block a bridge keeps to itself: bytes 0..1 and 2..5 (last nibble free). */
const RESERVED_HI = 0x0180
const RESERVED_LO = 0xc2000000 | 0

export class Switch implements Stage {
  readonly name: string
  readonly fdb: Fdb
  /** Port indices that are members now. */
  readonly members: Int32Array
  memberCount = 0
  /** Bit n: frames to 01-80-C2-00-00-0n are forwarded like any multicast. */
  reservedOpen = 0
  private readonly pool: Pool
  private readonly ports: PortTable
  private readonly storm: StormControl
  private readonly counters: Float64Array
  /** Keeps the loads of `prefetch` from being optimised away. */
  fetched = 0
  private readonly places = new Int32Array(2 * BATCH)

  constructor(
    name: string,
    fdb: Fdb,
    pool: Pool,
    ports: PortTable,
    storm: StormControl,
    counters: Float64Array,
    capacity: number,
  ) {
    this.name = name
    this.fdb = fdb
    this.pool = pool
    this.ports = ports
    this.storm = storm
    this.counters = counters
    this.members = new Int32Array(capacity)
  }

  /** Takes every packet of the batch a step on: queued, or dropped by name. */
  process(batch: Batch, port: number, nowMs: number): void {
    const nowS = (nowMs / 1000) | 0
    const flags = this.ports.flags[port]
    if ((flags & PortFlag.Up) === 0) {
      drop(this.counters, port, Drop.PortDown, batch.n)
      batch.n = 0
      return
    }
    this.admit(batch, port)
    if (this.fdb.table.size > PREFETCH_FROM && batch.n > 1) this.prefetch(batch)
    if ((flags & (PortFlag.Learning | PortFlag.Locked)) !== 0) this.learn(batch, port, nowS)
    this.forward(batch, port, nowMs, nowS)
  }

  private admit(batch: Batch, port: number): void {
    const { bytes, meta, view } = this.pool
    const { counters, ports } = this
    const slots = batch.slots
    const n = batch.n
    let kept = 0
    for (let i = 0; i < n; i++) {
      const slot = slots[i]
      const m = slot << META_SHIFT
      if (meta[m + Meta.Len] < ETHERNET_HEADER) {
        drop(counters, port, Drop.Runt)
        continue
      }
      if ((meta[m + Meta.Flags] & Flag.NoEthernet) !== 0) {
        drop(counters, port, Drop.NoEthernet)
        continue
      }
      const at = slot * SLOT_SIZE + meta[m + Meta.Head]
      if ((bytes[at + 6] & 1) !== 0) {
        drop(counters, port, Drop.SourceGroup)
        continue
      }
      if (view.getInt32(at + 8) === 0 && view.getUint16(at + 6) === 0) {
        drop(counters, port, Drop.SourceZero)
        continue
      }
      if (bytes[at] === RESERVED_HI >> 8 && this.isReserved(at)) {
        drop(counters, port, Drop.Reserved)
        continue
      }
      const type = (bytes[at + 12] << 8) | bytes[at + 13]
      if (classify(this.pool, ports, counters, port, slot, at, type) < 0) continue
      batch.keep(i, kept++)
    }
    batch.n = kept
  }

  private isReserved(at: number): boolean {
    const view = this.pool.view
    if (view.getUint16(at) !== RESERVED_HI) return false
    const lo = view.getInt32(at + 2)
    return (lo & 0xfffffff0) === RESERVED_LO && ((this.reservedOpen >> (lo & 15)) & 1) === 0
  }

  /**
   * Reads the places where the addresses of the batch will be looked up. First where they are, then nothing but
   * loads: they do not depend on each other, and many fit into the processor's window, so the cache misses of a
   * big table overlap. The look-ups that follow find the lines there.
   */
  private prefetch(batch: Batch): void {
    const { meta, view } = this.pool
    const { places } = this
    const { table } = this.fdb
    const words = table.words
    const slots = batch.slots
    const n = batch.n
    for (let i = 0; i < n; i++) {
      const slot = slots[i]
      const m = slot << META_SHIFT
      const at = slot * SLOT_SIZE + meta[m + Meta.Head]
      const vid = meta[m + Meta.Tci] & 0xfff
      places[2 * i] = (table.home(view.getInt32(at + 2), Fdb.key1(view.getUint16(at), vid)) << 2) + 1
      places[2 * i + 1] = (table.home(view.getInt32(at + 8), Fdb.key1(view.getUint16(at + 6), vid)) << 2) + 1
    }
    let sum = 0
    for (let i = 0; i < 2 * n; i++) sum ^= words[places[i]]
    this.fetched = sum
  }

  /** As `prefetch`, in the VLAN that untagged packets of their port are in. */
  foresee(slots: Int32Array, n: number): void {
    const { table } = this.fdb
    if (table.size <= PREFETCH_FROM) return
    const { meta, view } = this.pool
    const { places, ports } = this
    const words = table.words
    for (let i = 0; i < n; i++) {
      const m = slots[i] << META_SHIFT
      const at = slots[i] * SLOT_SIZE + meta[m + Meta.Head]
      const port = meta[m + Meta.Port]
      const vid = ports.tpid[port] === 0 ? 0 : ports.pvid[port] & 0xfff
      places[2 * i] = (table.home(view.getInt32(at + 2), Fdb.key1(view.getUint16(at), vid)) << 2) + 1
      places[2 * i + 1] = (table.home(view.getInt32(at + 8), Fdb.key1(view.getUint16(at + 6), vid)) << 2) + 1
    }
    let sum = 0
    for (let i = 0; i < 2 * n; i++) sum ^= words[places[i]]
    this.fetched = sum
  }

  private learn(batch: Batch, port: number, nowS: number): void {
    const { meta, view } = this.pool
    const { counters, fdb } = this
    const slots = batch.slots
    const n = batch.n
    const learning = (this.ports.flags[port] & PortFlag.Learning) !== 0
    const locked = (this.ports.flags[port] & PortFlag.Locked) !== 0
    let kept = 0
    for (let i = 0; i < n; i++) {
      const slot = slots[i]
      const m = slot << META_SHIFT
      const at = slot * SLOT_SIZE + meta[m + Meta.Head]
      const macHi = view.getUint16(at + 6)
      const key0 = view.getInt32(at + 8)
      const key1 = Fdb.key1(macHi, meta[m + Meta.Tci] & 0xfff)
      if (locked) {
        const entry = fdb.find(key0, key1, nowS)
        if (
          entry < 0 ||
          (fdb.table.words[entry + 2] & (Entry.PortMask | Entry.Static)) !== (port | Entry.Static)
        ) {
          drop(counters, port, Drop.Locked)
          continue
        }
      }
      if (learning && fdb.learn(key0, key1, port, nowS) === Learned.Own) {
        drop(counters, port, Drop.SourceOwn)
        continue
      }
      batch.keep(i, kept++)
    }
    batch.n = kept
  }

  private forward(batch: Batch, port: number, nowMs: number, nowS: number): void {
    const { meta, view } = this.pool
    const { counters, fdb, ports } = this
    const words = fdb.table.words
    const slots = batch.slots
    const n = batch.n
    for (let i = 0; i < n; i++) {
      const slot = slots[i]
      const m = slot << META_SHIFT
      const at = slot * SLOT_SIZE + meta[m + Meta.Head]
      const macHi = view.getUint16(at)
      const macLo = view.getInt32(at + 2)
      const vid = meta[m + Meta.Tci] & 0xfff
      if ((macHi & 0x100) !== 0) {
        const kind = macHi === 0xffff && macLo === -1 ? Flood.Broadcast : Flood.Multicast
        this.flood(slot, m, port, vid, kind, nowMs)
        continue
      }
      const entry = fdb.find(macLo, Fdb.key1(macHi, vid), nowS)
      if (entry < 0) {
        this.flood(slot, m, port, vid, Flood.Unknown, nowMs)
        continue
      }
      const out = words[entry + 2] & Entry.PortMask
      const flags = ports.flags[port]
      if (out === port && (flags & PortFlag.Hairpin) === 0) {
        drop(counters, port, Drop.SamePort)
        continue
      }
      const member = ports.member[out * VIDS + vid]
      const outFlags = ports.flags[out]
      if (
        (outFlags & PortFlag.Up) === 0 ||
        member === Member.No ||
        (flags & outFlags & PortFlag.Isolated) !== 0
      ) {
        drop(counters, port, Drop.NoEgress)
        continue
      }
      this.send(slot, m, out, member)
    }
  }

  /** Queues the packet on `out`, unless it is too big for it. */
  private send(slot: number, m: number, out: number, member: number): void {
    const meta = this.pool.meta
    const ports = this.ports
    if (meta[m + Meta.Len] - meta[m + Meta.Strip] > ports.maxFrame[out] && this.tooBig(slot, m, out)) {
      drop(this.counters, out, Drop.TooBig)
      return
    }
    ports.push(out, slot, egressTag(ports, out, meta[m + Meta.Tci], member))
  }

  /** A super-frame is as big as its segments are. */
  private tooBig(slot: number, m: number, out: number): boolean {
    const { meta } = this.pool
    if (meta[m + Meta.GsoSize] === 0) return true
    return segmentLength(this.pool, slot) - meta[m + Meta.Strip] > this.ports.maxFrame[out]
  }

  private flood(slot: number, m: number, port: number, vid: number, kind: Flood, nowMs: number): void {
    const { counters, ports } = this
    const flags = ports.flags[port]
    if ((flags & PortFlag.Storm) !== 0 && !this.storm.admits(port, kind, nowMs)) {
      drop(counters, port, Drop.StormUnknown + kind)
      return
    }
    const wanted = PortFlag.Up | (PortFlag.FloodUnknown << kind)
    let copies = 0
    for (let i = 0; i < this.memberCount; i++) {
      const out = this.members[i]
      const outFlags = ports.flags[out]
      if ((outFlags & wanted) !== wanted) continue
      if (out === port && (flags & PortFlag.Hairpin) === 0) continue
      if ((flags & outFlags & PortFlag.Isolated) !== 0) continue
      const member = ports.member[out * VIDS + vid]
      if (member === Member.No) continue
      this.send(slot, m, out, member)
      copies++
    }
    if (copies === 0) drop(counters, port, Drop.NoEgress)
    else if (copies > 1) counters[port * COUNTER_WORDS + Counter.Made] += copies - 1
  }

  forget(port: number, alsoStatic: boolean): void {
    this.fdb.flush(port, -1, alsoStatic)
  }

  tick(nowMs: number): void {
    this.fdb.sweep((nowMs / 1000) | 0)
  }
}
