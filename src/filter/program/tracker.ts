// HOT
/** ConntrackLike of conntrack/ and nat/: the engine makes one for each router and hands it to Netfilter. */
import type { Conntrack } from '../conntrack/conntrack.ts'
import { ENT_SHIFT, Ent, Header, Status } from '../conntrack/layout.ts'
import { TcpState } from '../conntrack/tcp-state.ts'
import { stateOf, withState } from '../conntrack/tcp-word.ts'
import { Timeout } from '../conntrack/timeouts.ts'
import type { Nat } from '../nat/nat.ts'
import type { Manip, NatRange } from '../nat/range.ts'
import type { ConntrackLike } from './host.ts'

const TCP = 6
const PROTOCOL = 0xff
/** The kernel's part of the status. */
const PUBLIC = 0xffff

export class Tracker implements ConntrackLike {
  readonly capacity: number
  readonly natAddress: Int32Array
  private readonly conntrack: Conntrack
  private readonly nat: Nat
  private readonly words: Int32Array

  constructor(conntrack: Conntrack, nat: Nat) {
    this.conntrack = conntrack
    this.nat = nat
    this.words = conntrack.table.words
    this.natAddress = nat.address
    // Entry 0 is not used, the last one is.
    this.capacity = conntrack.table.header[Header.Capacity] + 1
  }

  in(slot: number, nowMs: number): number {
    return this.conntrack.in(slot, nowMs)
  }

  prefetch(slots: Int32Array, n: number): void {
    this.conntrack.prefetch(slots, n)
  }

  settled(slot: number, nowMs: number): boolean {
    return this.conntrack.settled(slot, nowMs)
  }

  untrack(slot: number): void {
    this.conntrack.untrack(slot)
  }

  zone(slot: number, zone: number, dirs: number): void {
    this.conntrack.zone(slot, zone, dirs)
  }

  confirm(slot: number, nowMs: number): number {
    return this.conntrack.confirm(slot, nowMs)
  }

  drop(slot: number): void {
    this.conntrack.drop(slot)
  }

  natFresh(slot: number, manip: Manip): boolean {
    return this.nat.fresh(slot, manip)
  }

  natSetup(slot: number, manip: Manip, range: NatRange | null, nowMs: number): number {
    return this.nat.setup(slot, manip, range, nowMs)
  }

  natApply(slot: number, manip: Manip): number {
    return this.nat.apply(slot, manip)
  }

  status(entry: number): number {
    return this.words[(entry << ENT_SHIFT) + Ent.Status] & PUBLIC
  }

  mark(entry: number): number {
    return this.words[(entry << ENT_SHIFT) + Ent.Mark]
  }

  setMark(entry: number, mark: number): void {
    this.words[(entry << ENT_SHIFT) + Ent.Mark] = mark
  }

  expiresMs(entry: number, nowMs: number): number {
    const left = (this.words[(entry << ENT_SHIFT) + Ent.ExpiresMs] - nowMs) | 0
    return left < 0 ? 0 : left
  }

  tuple(node: number, into: Int32Array): void {
    this.conntrack.table.load(node, into)
  }

  closed(entry: number): boolean {
    const e = entry << ENT_SHIFT
    if ((this.words[e + Ent.Status] & Status.Live) === 0) return true
    if ((this.words[e + Ent.Key] & PROTOCOL) !== TCP) return false
    const state = stateOf(this.words, e)
    return state === TcpState.TimeWait || state === TcpState.Close
  }

  ended(entry: number): boolean {
    return (this.words[(entry << ENT_SHIFT) + Ent.Status] & Status.Live) === 0
  }

  close(entry: number, nowMs: number): void {
    const e = entry << ENT_SHIFT
    const { words } = this
    const confirmed = Status.Live | Status.Confirmed
    if ((words[e + Ent.Status] & confirmed) !== confirmed || (words[e + Ent.Key] & PROTOCOL) !== TCP) return
    if (stateOf(words, e) === TcpState.Close) return
    words[e + Ent.Tcp] = withState(words[e + Ent.Tcp], TcpState.Close)
    this.conntrack.entries.expireAt(entry, nowMs + this.conntrack.settings.timeouts[Timeout.TcpClose])
  }

  tick(nowMs: number): void {
    this.conntrack.tick(nowMs)
  }
}
