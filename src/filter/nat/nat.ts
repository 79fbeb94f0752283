// HOT
/**
 * NAT: chosen once for a flow, by its first packet, and applied to every packet of both directions.
 *
 *     hook          manip          who calls
 *     PREROUTING    Destination    fresh? -> rules of table nat -> setup(range), none: setup(null); apply
 *     OUTPUT        Destination      the same; if the destination changed, routed again
 *     INPUT         Source
 *     POSTROUTING   Source           before confirm
 *
 * The choice is kept as the reply tuple: what the flow's answers look like. A packet is rewritten to be the
 * inverse of the other direction's tuple. `setup(null)` (no rule) changes nothing, unless the replies would
 * be another flow's.
 *
 * Profiles. `linux`: as the kernel; the outside may only answer. `rfc` (BCP 127): a masqueraded endpoint has
 * one external port for all it speaks to (mappings.ts), and packets from outside to that port begin flows to
 * the endpoint, if the filtering lets them:
 *
 *     endpoint-independent         from anybody: most transparent (default)
 *     address-dependent            from an address that it has spoken to
 *     address-and-port-dependent   only answers, as in linux
 *
 * One thing is safer than the kernel: a client's service port is not kept (`shadows` in ports.ts), unless
 * `choice.shadowSafe` is false.
 *
 * A packet from inside to an external port (hairpin) gets its own external source (RFC 4787 REQ-9).
 */
import { Drop } from '../../packet/drop.ts'
import { CtState, IP_SHIFT, Ip, IpFlag } from '../../packet/ip.ts'
import type { Pool } from '../../packet/pool.ts'
import * as icmp from '../../wire/icmp.ts'
import * as icmpv6 from '../../wire/icmpv6.ts'
import { Protocol } from '../../wire/ipv4.ts'
import { type Conntrack, type ConntrackHost, PASS } from '../conntrack/conntrack.ts'
import type { Released } from '../conntrack/entries.ts'
import { Dir, ENT_SHIFT, Ent, NAT_IF_SHIFT, NAT_MAPPING, Stat, Status, V6 } from '../conntrack/layout.ts'
import * as tuple from '../conntrack/tuple.ts'
import { T } from '../conntrack/tuple.ts'
import { Choice } from './choose.ts'
import type { Mappings } from './mappings.ts'
import { Manip, type NatRange, RangeFlag, RangeWord } from './range.ts'
import { rewrite, rewriteError } from './rewrite.ts'

export type Filtering = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent'

export class Nat implements Released {
  /** The address that a Dynamic range stands for: set before `setup`. */
  readonly address = new Int32Array(4)
  filtering: Filtering
  private readonly ct: Conntrack
  private readonly mappings: Mappings
  readonly choice: Choice
  private readonly pool: Pool
  private readonly ip: Int32Array
  private readonly work: NatRange = new Int32Array(RangeWord.Words)
  private readonly current = new Int32Array(T.Words)
  private readonly chosen = new Int32Array(T.Words)
  private readonly remote = new Int32Array(T.Words)

  constructor(
    host: ConntrackHost,
    ct: Conntrack,
    mappings: Mappings,
    filtering: Filtering = 'endpoint-independent',
  ) {
    this.pool = host.pool
    this.ip = host.ip
    this.ct = ct
    this.mappings = mappings
    this.filtering = filtering
    this.choice = new Choice(ct.entries, mappings)
    ct.entries.nat = this
  }

  /** The rules of table nat are to be asked about this packet: its flow has no answer for `manip` yet. */
  fresh(slot: number, manip: Manip): boolean {
    const row = slot << IP_SHIFT
    const node = this.ip[row + Ip.Ct]
    if (node < 2 || this.ip[row + Ip.CtState] === CtState.Related) return false
    const done = manip === Manip.Source ? Status.SrcNatDone : Status.DstNatDone
    return (this.ct.table.words[((node >> 1) << ENT_SHIFT) + Ent.Status] & (done | Status.Confirmed)) === 0
  }

  /** Chooses for a `fresh` packet. `range` null: no rule matched. PASS, or the Drop it ends for. */
  setup(slot: number, manip: Manip, range: NatRange | null, nowMs: number): number {
    if (!this.fresh(slot, manip)) return PASS
    const { chosen, current, ct } = this
    const row = slot << IP_SHIFT
    const entry = this.ip[row + Ip.Ct] >> 1
    const e = entry << ENT_SHIFT
    const table = ct.table
    const words = table.words
    table.load((entry << 1) | Dir.Reply, current)
    tuple.invert(current, current)
    if (range !== null && (range[RangeWord.Flags] & RangeFlag.Dynamic) !== 0) range = this.resolved(range)
    let drop: number = PASS
    if (ct.settings.profile === 'rfc') drop = this.independent(row, entry, range, manip, nowMs)
    else if (!this.choice.choose(entry, current, chosen, range, manip, nowMs)) drop = Drop.NatExhausted
    else if (manip === Manip.Source && range !== null) this.note(entry, range)
    if (drop !== PASS) {
      ct.stats[drop === Drop.NatExhausted ? Stat.NatExhausted : Stat.NatFiltered]++
      return drop
    }
    let status = manip === Manip.Source ? Status.SrcNatDone : Status.DstNatDone
    if (!tuple.same(current, chosen)) {
      status |= manip === Manip.Source ? Status.SrcNat : Status.DstNat
      tuple.invert(chosen, chosen)
      table.store((entry << 1) | Dir.Reply, chosen)
    }
    words[e + Ent.Status] |= status
    if (range !== null && (range[RangeWord.Flags] & RangeFlag.Bound) !== 0)
      words[e + Ent.Nat] |= (this.ip[row + Ip.OutIf] + 1) << NAT_IF_SHIFT
    return PASS
  }

  private resolved(range: NatRange): NatRange {
    const { address, work } = this
    for (let i = 0; i < RangeWord.Words; i++) work[i] = range[i]
    for (let i = 0; i < 4; i++) {
      work[RangeWord.MinAddr + i] = address[i]
      work[RangeWord.MaxAddr + i] = address[i]
    }
    return work
  }

  /** linux: notes a mapping that the next flow of the endpoint could not find out by itself. */
  private note(entry: number, range: NatRange): void {
    const { chosen, current, mappings } = this
    const moved = chosen[T.Ports] >>> 16 !== current[T.Ports] >>> 16
    const pool =
      range[RangeWord.MinAddr] !== range[RangeWord.MaxAddr] ||
      range[RangeWord.MinAddr + 3] !== range[RangeWord.MaxAddr + 3]
    if (!moved && !pool) return
    let id = mappings.internal(current)
    if (id === 0 && mappings.external(chosen, T.Src) === 0) id = mappings.add(current, chosen, -1)
    if (id > 0) this.attach(entry, id)
  }

  /** rfc. Makes `chosen`; PASS or a Drop. */
  private independent(
    row: number,
    entry: number,
    range: NatRange | null,
    manip: Manip,
    nowMs: number,
  ): number {
    const { choice, chosen, current, ip } = this
    if (manip === Manip.Destination) {
      if (range === null) return this.inbound(row, entry)
      choice.choose(entry, current, chosen, range, manip, nowMs)
      return PASS
    }
    let outIf = ip[row + Ip.OutIf]
    const words = this.ct.table.words
    const status = words[(entry << ENT_SHIFT) + Ent.Status]
    if (range === null && (status & Status.Inbound) !== 0) {
      const id = words[(entry << ENT_SHIFT) + Ent.Nat] & NAT_MAPPING
      outIf = this.mappings.outIf(id)
      if (ip[row + Ip.InIf] !== outIf) range = this.hairpin(id)
    }
    if (
      range === null ||
      (range[RangeWord.Flags] & (RangeFlag.Addresses | RangeFlag.Netmap)) !== RangeFlag.Addresses
    )
      return choice.choose(entry, current, chosen, range, manip, nowMs) ? PASS : Drop.NatExhausted
    const id = choice.mapSource(entry, current, chosen, range, outIf, nowMs)
    if (id === 0) return Drop.NatExhausted
    if (id > 0) this.attach(entry, id)
    return PASS
  }

  /** The range of a flow from inside to a mapping: the mapping's own external address. */
  private hairpin(id: number): NatRange {
    const { mappings, remote, work } = this
    work.fill(0)
    work[RangeWord.Flags] = RangeFlag.Addresses
    mappings.toExternal(id, remote)
    for (let i = 0; i < 4; i++) {
      work[RangeWord.MinAddr + i] = remote[T.Src + i]
      work[RangeWord.MaxAddr + i] = remote[T.Src + i]
    }
    return work
  }

  /** A new flow to a mapping goes to its internal end, if the filtering admits it. */
  private inbound(row: number, entry: number): number {
    const { chosen, current, mappings } = this
    tuple.copy(current, chosen)
    const id = mappings.external(current, T.Dst)
    if (id === 0 || (this.ip[row + Ip.Flags] & IpFlag.Local) !== 0) return PASS
    if (this.filtering !== 'endpoint-independent' && !this.spoken(row, id)) return Drop.NatFiltered
    mappings.toInternal(id, chosen)
    const words = this.ct.table.words
    words[(entry << ENT_SHIFT) + Ent.Status] |= Status.Inbound
    mappings.hold(id)
    words[(entry << ENT_SHIFT) + Ent.Nat] = id
    return PASS
  }

  private spoken(row: number, id: number): boolean {
    const { current, mappings, remote } = this
    if (this.filtering !== 'address-dependent') return false
    const v6 = (current[T.Key] & V6) !== 0
    if (this.ip[row + Ip.InIf] === mappings.outIf(id)) return mappings.spokeTo(id, current, T.Src, v6)
    // Hairpin: from outside the packet would come from the external address.
    remote[T.Key] = current[T.Key]
    mappings.toExternal(id, remote)
    return mappings.spokeTo(id, remote, T.Src, v6)
  }

  /** The entry has room for one mapping: in the end it is that of its source. */
  private attach(entry: number, id: number): void {
    const { current, mappings } = this
    const words = this.ct.table.words
    mappings.hold(id)
    this.detach(entry)
    words[(entry << ENT_SHIFT) + Ent.Nat] |= id
    words[(entry << ENT_SHIFT) + Ent.Status] |= Status.Spoken
    mappings.speak(id, current, T.Dst, (current[T.Key] & V6) !== 0)
  }

  private detach(entry: number): void {
    const words = this.ct.table.words
    const at = (entry << ENT_SHIFT) + Ent.Nat
    const id = words[at] & NAT_MAPPING
    words[at] &= ~NAT_MAPPING
    if (id !== 0) this.mappings.release(id)
  }

  /** Conntrack forgets an entry. */
  released(entry: number): void {
    const { ct, mappings, remote } = this
    const words = ct.table.words
    const e = entry << ENT_SHIFT
    const id = words[e + Ent.Nat] & NAT_MAPPING
    if (id === 0) return
    if ((words[e + Ent.Status] & Status.Spoken) !== 0) {
      ct.table.load((entry << 1) | Dir.Reply, remote)
      mappings.unspeak(id, remote, T.Src, (remote[T.Key] & V6) !== 0)
    }
    mappings.release(id)
  }

  /** Rewrites the packet as its flow wants it. PASS, or the Drop it ends for. */
  apply(slot: number, manip: Manip): number {
    const { chosen, ct, ip } = this
    const row = slot << IP_SHIFT
    const node = ip[row + Ip.Ct]
    if (node < 2) return PASS
    const dir = node & 1
    const words = ct.table.words
    const e = (node >> 1) << ENT_SHIFT
    const status = words[e + Ent.Status]
    if (ip[row + Ip.CtState] === CtState.Related && (ip[row + Ip.Flags] & IpFlag.IcmpError) !== 0)
      return this.applyError(slot, manip, node, status)
    if (manip === Manip.Source && dir === Dir.Original) {
      const bound = words[e + Ent.Nat] >>> NAT_IF_SHIFT
      if (bound !== 0 && bound !== ip[row + Ip.OutIf] + 1) return this.moved(row, node)
    }
    if ((status & bitOf(manip, dir)) === 0) return PASS
    ct.table.load(node ^ 1, chosen)
    tuple.invert(chosen, chosen)
    rewrite(this.pool, ip, slot, manip, chosen)
    return PASS
  }

  /** The address it was masqueraded with is not that of where it goes now: the flow cannot go on. */
  private moved(row: number, node: number): number {
    this.ct.entries.kill(node >> 1)
    this.ip[row + Ip.Ct] = -1
    return Drop.NatMoved
  }

  private applyError(slot: number, manip: Manip, node: number, status: number): number {
    const { chosen, current, ct, ip } = this
    const row = slot << IP_SHIFT
    const type = ip[row + Ip.Ports] >>> 24
    const redirect =
      ip[row + Ip.Proto] === Protocol.Icmp
        ? type === icmp.IcmpType.Redirect
        : type === icmpv6.Icmpv6Type.Redirect
    if (redirect && (status & Status.NatMask) !== 0) return Drop.NatUntranslatable
    if ((status & bitOf(manip, node & 1)) === 0) return PASS
    ct.table.load(node ^ 1, current)
    tuple.invert(current, chosen)
    return rewriteError(this.pool, ip, slot, manip, chosen, current) ? PASS : Drop.NatUntranslatable
  }
}

/** The status bit that says whether `manip` changes packets of a direction: replies are changed back. */
function bitOf(manip: Manip, dir: number): number {
  return (manip === Manip.Source) === (dir === Dir.Original) ? Status.SrcNat : Status.DstNat
}
