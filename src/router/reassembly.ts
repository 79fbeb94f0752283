// HOT
/**
 * Puts fragments together, for stateful work (RFC 791 3.2, RFC 815, RFC 8200 4.5), and bounded:
 *
 *     a datagram   one slot, whatever the number of its fragments: the first to come is the buffer, the
 *                  others are copied in and consumed. Complete, the buffer goes on; 30 s (IPv4) or 60 s
 *                  (IPv6) after its first fragment it is dropped, and `expired` is told if it has a start
 *     a source     an eighth of the places: then its oldest goes
 *     in all       an eighth of the pool, at most MAX_DATAGRAMS: then the oldest goes
 *
 * The states are in reassembly-table.ts, the bytes in reassembly-buffer.ts. The whole has
 * Frag.Reassembled, the largest fragment's size in Ip.Scratch and, for IPv6, the identification in the word
 * behind: fragment.ts cuts it again on its way out.
 */
import { Drop } from '../packet/drop.ts'
import { Frag, IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta } from '../packet/layout.ts'
import { SIZE as HEADER6 } from '../wire/ipv6.ts'
import type { RouterHost } from './host.ts'
import type { Interfaces } from './interfaces.ts'
import { PARSED, parse } from './parse.ts'
import { adopt, complete, MAX_HEADERS, put } from './reassembly-buffer.ts'
import { describePiece, hashOf, Piece } from './reassembly-piece.ts'
import { Datagrams, State } from './reassembly-table.ts'

/** Linux's ipfrag_time; RFC 8200 4.5. */
export const TIMEOUT4_MS = 30_000
export const TIMEOUT6_MS = 60_000
const MAX_DATAGRAMS = 256
/** What the length field of a header can say. */
const MAX_LENGTH = 65535
const EXTENSION = 8
/** Offset of the IPv6 payload length; of a fragment's offset, from its header's end. */
const LENGTH_FIELD = 4
const OFFSET_FIELD = 6

/** What ICMP has to say; both only look at the packet. */
export interface FragmentEvents {
  /** Time exceeded in reassembly (11/1, 3/1): the packet is the first fragment. */
  expired(slot: number, nowMs: number): void
  /** Parameter problem (ICMPv6 4/0): `pointer` is the offset of the bad field. */
  problem(slot: number, pointer: number, nowMs: number): void
}

export class Reassembler {
  readonly datagrams: Datagrams
  private readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly events: FragmentEvents
  private readonly seed: number
  private readonly piece = new Int32Array(Piece.Words)

  constructor(host: RouterHost, interfaces: Interfaces, events: FragmentEvents, seed: number) {
    this.host = host
    this.interfaces = interfaces
    this.events = events
    this.seed = seed
    this.datagrams = new Datagrams(Math.max(1, Math.min(MAX_DATAGRAMS, host.pool.size >> 3)))
  }

  /**
   * Takes a parsed packet with Frag.Any. Returns the slot of the whole packet when it lacked no more: it is
   * parsed, and goes on in this round; else -1.
   */
  gather(slot: number, nowMs: number): number {
    const { datagrams, host, piece } = this
    if (!describePiece(host.pool, host.ip, slot, piece)) return slot
    const flaw = this.flaw(slot, nowMs)
    if (flaw >= 0) {
      this.lose(slot, flaw)
      return -1
    }
    const hash = hashOf(piece, this.seed)
    let d = datagrams.find(piece, hash)
    if (d < 0) {
      d = datagrams.place(piece)
      if (datagrams.state[d] !== State.None) this.close(d, Drop.FragmentLimit)
      datagrams.open(d, piece, hash, nowMs + (isSix(piece) ? TIMEOUT6_MS : TIMEOUT4_MS))
    }
    const misfit = datagrams.misfit(d, piece)
    if (misfit < 0) return this.take(d, slot)
    if (misfit !== Drop.FragmentDuplicate) this.kill(d, misfit)
    this.lose(slot, misfit)
    return -1
  }

  /** What is wrong with the fragment alone: a Drop, or -1. */
  private flaw(slot: number, nowMs: number): number {
    const { events, host, piece } = this
    const { ip, pool } = host
    const m = slot << META_SHIFT
    const header = piece[Piece.Headers] - ip[(slot << IP_SHIFT) + Ip.L3]
    const end = piece[Piece.Offset] + piece[Piece.Length]
    const six = isSix(piece)
    if (piece[Piece.More] !== 0 && (piece[Piece.Length] & 7) !== 0) {
      if (six) events.problem(slot, LENGTH_FIELD, nowMs)
      return Drop.FragmentInvalid
    }
    if (header - (six ? HEADER6 + EXTENSION : 0) + end > MAX_LENGTH) {
      if (six) events.problem(slot, header - OFFSET_FIELD, nowMs)
      return Drop.FragmentInvalid
    }
    const plain = pool.meta[m + Meta.GsoSize] === 0 && (pool.meta[m + Meta.Flags] & Flag.CsumPartial) === 0
    return plain && piece[Piece.Length] > 0 && piece[Piece.Headers] <= MAX_HEADERS ? -1 : Drop.FragmentInvalid
  }

  /** Takes a fragment that fits. */
  private take(d: number, slot: number): number {
    const { datagrams, host, piece } = this
    const { ip, pool } = host
    if (datagrams.buffer[d] >= 0) {
      put(pool, ip, datagrams.buffer[d], slot, piece)
      host.consume(this.portOf(slot), slot)
    } else if (host.hold(slot)) {
      datagrams.buffer[d] = slot
      adopt(pool, ip, slot, piece)
    } else {
      datagrams.forget(d)
      this.lose(slot, Drop.NoSlot)
      return -1
    }
    return datagrams.note(d, piece) ? this.finish(d) : -1
  }

  private finish(d: number): number {
    const { datagrams, host } = this
    const { ip, pool } = host
    const slot = datagrams.buffer[d]
    const r = slot << IP_SHIFT
    host.resume(slot)
    datagrams.forget(d)
    // DF stays when the largest had it: the sender wants to hear of a smaller MTU (as in Linux).
    const keep = datagrams.largestKept[d] === datagrams.largest[d]
    const good = complete(pool, ip, slot, datagrams.total[d], keep, datagrams.ecn[d])
    const reason = good ? parse(pool, ip, slot, ip[r + Ip.L3], ip[r + Ip.Family]) : Drop.FragmentInvalid
    if (reason !== PARSED) {
      this.lose(slot, reason)
      return -1
    }
    ip[r + Ip.Frag] |= Frag.Reassembled
    ip[r + Ip.Scratch] = datagrams.largest[d]
    ip[r + Ip.Scratch + 1] = datagrams.id(d)
    return slot
  }

  /** Its fragments, and those that come yet, are dropped. */
  private kill(d: number, reason: Drop): void {
    const { datagrams } = this
    const slot = datagrams.buffer[d]
    datagrams.state[d] = State.Dead
    datagrams.buffer[d] = -1
    if (slot < 0) return
    this.host.resume(slot)
    this.lose(slot, reason)
  }

  private close(d: number, reason: Drop): void {
    this.kill(d, reason)
    this.datagrams.forget(d)
  }

  private lose(slot: number, reason: Drop): void {
    this.host.lose(this.portOf(slot), slot, reason)
  }

  private portOf(slot: number): number {
    return this.interfaces.port[this.host.ip[(slot << IP_SHIFT) + Ip.InIf]]
  }

  /** When `tick` has something to do, monotonic ms. */
  due(): number {
    const { dueMs, limit, state } = this.datagrams
    let due = Number.POSITIVE_INFINITY
    for (let d = 0; d < limit && this.datagrams.count > 0; d++) {
      if (state[d] !== State.None && dueMs[d] < due) due = dueMs[d]
    }
    return due
  }

  tick(nowMs: number): void {
    const { datagrams } = this
    for (let d = 0; d < datagrams.limit && datagrams.count > 0; d++) {
      if (datagrams.state[d] === State.None || datagrams.dueMs[d] > nowMs) continue
      const slot = datagrams.buffer[d]
      datagrams.forget(d)
      if (slot < 0) continue
      this.host.resume(slot)
      if (datagrams.begun[d] !== 0) this.events.expired(slot, nowMs)
      this.lose(slot, Drop.FragmentTimeout)
    }
  }

  /** Gives up everything: the router, or an interface (-1 = all), goes away. */
  flush(iface: number): void {
    const { datagrams, host } = this
    for (let d = 0; d < datagrams.limit; d++) {
      if (datagrams.state[d] === State.None || (iface >= 0 && datagrams.interfaceOf(d) !== iface)) continue
      const slot = datagrams.buffer[d]
      datagrams.forget(d)
      if (slot < 0) continue
      host.resume(slot)
      this.lose(slot, Drop.PortRemoved)
    }
  }
}

function isSix(piece: Int32Array): boolean {
  return piece[Piece.Family] >>> 24 === 6
}
