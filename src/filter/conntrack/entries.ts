// HOT
/**
 * The life of an entry:
 *
 *     create -> (unconfirmed: its packet alone knows it) -> confirm -> (found) -> kill
 *        \---- its packet is dropped, or refused ---------------------------------/
 *
 * Limits are looked at in `create`. `kill` is the only way out, whoever asks: age, pressure (ageing.ts), a
 * flow that ended (tcp.ts), the operator (select.ts).
 */
import { Drop } from '../../packet/drop.ts'
import { IP_SHIFT, Ip, IpFlag } from '../../packet/ip.ts'
import { Ageing } from './ageing.ts'
import { type ConntrackMemory, Dir, ENT_SHIFT, Ent, EntAlso, EXT_WORDS, Stat, Status, V6 } from './layout.ts'
import type { Settings } from './options.ts'
import { Sources } from './sources.ts'
import { EntryTable } from './table.ts'
import { Timeout } from './timeouts.ts'
import * as tuple from './tuple.ts'
import { T } from './tuple.ts'

/** An unconfirmed entry whose packet is never heard of again is reclaimed after this. */
const UNCONFIRMED_MS = 60_000

/** Told when an entry goes that NAT has noted something about. */
export interface Released {
  released(entry: number): void
}

export class Entries {
  readonly table: EntryTable
  readonly sources: Sources
  readonly stats: Float64Array
  readonly settings: Settings
  nat: Released | null = null
  readonly ageing: Ageing
  private readonly ip: Int32Array
  private readonly t = new Int32Array(T.Words)
  private readonly reply = new Int32Array(T.Words)

  constructor(ip: Int32Array, memory: ConntrackMemory, settings: Settings) {
    this.ip = ip
    this.table = new EntryTable(memory)
    this.sources = new Sources(memory)
    this.stats = memory.stats
    this.settings = settings
    this.ageing = new Ageing(this)
  }

  /** `node` if it is not over; then it is removed. */
  live(node: number, nowMs: number): number {
    if (node < 0) return -1
    if (((this.table.words[((node >> 1) << ENT_SHIFT) + Ent.ExpiresMs] - nowMs) | 0) > 0) return node
    this.stats[Stat.Expired]++
    this.kill(node >> 1)
    return -1
  }

  /** The entry `t` belongs to, or -1. For NAT: what is taken. */
  find(t: Int32Array, nowMs: number): number {
    return this.live(this.table.find(t, this.table.hash(t)), nowMs)
  }

  /** An unconfirmed entry for the tuple `t`, or ~Drop. */
  create(slot: number, t: Int32Array, zone: number, dirs: number, nowMs: number): number {
    const { settings, sources, table } = this
    const words = table.words
    if (!tuple.invert(t, this.reply)) return ~Drop.ConntrackClash
    this.ageing.create(nowMs)
    const second = (t[T.Key] & V6) !== 0 ? t[T.Src + 1] : 0
    const key = t[T.Key] & ~0xff
    if (settings.perSource !== 0 && sources.count(t[T.Src], second, key) >= settings.perSource) {
      this.stats[Stat.SourceLimited]++
      return ~Drop.ConntrackSource
    }
    if (table.count >= settings.limit && !this.ageing.evict(table.hash(t), nowMs)) {
      this.stats[Stat.Full]++
      return ~Drop.ConntrackFull
    }
    const entry = table.take((nowMs + UNCONFIRMED_MS) | 0)
    if (entry === 0) return ~Drop.ConntrackFull
    const e = entry << ENT_SHIFT
    let status: number = Status.Live | (dirs << Status.ZoneShift)
    if (sources.add(t[T.Src], second, key)) status |= Status.Counted
    if ((this.ip[(slot << IP_SHIFT) + Ip.Flags] & IpFlag.Local) !== 0) status |= Status.Local
    words[e + Ent.Key] = (t[T.Key] & 0xffff) | (zone << 16)
    words[e + Ent.Status] = status
    words[e + EntAlso.Owner] = slot
    words[e + EntAlso.BornMs] = nowMs
    table.store(entry << 1, t)
    table.store((entry << 1) | Dir.Reply, this.reply)
    this.stats[Stat.Created]++
    return entry
  }

  /** Makes the packet's entry findable. -1, or the Drop when another has come before. */
  confirm(slot: number, nowMs: number): number {
    const { ip, reply, t, table } = this
    const row = slot << IP_SHIFT
    const node = ip[row + Ip.Ct]
    if (node < 2) return -1
    const entry = node >> 1
    const words = table.words
    const e = entry << ENT_SHIFT
    if ((words[e + Ent.Status] & (Status.Confirmed | Status.Live)) !== Status.Live) return -1
    table.load(entry << 1, t)
    table.load((entry << 1) | Dir.Reply, reply)
    const first = this.find(t, nowMs)
    const second = this.find(reply, nowMs)
    if (first >= 0 || second >= 0) {
      this.stats[Stat.Clashed]++
      this.kill(entry)
      ip[row + Ip.Ct] = -1
      // The same flow in the same way: a packet behind it was faster. It joins.
      if (first < 0 || (first & 1) !== Dir.Original || !table.has(first | Dir.Reply, reply))
        return Drop.ConntrackClash
      ip[row + Ip.Ct] = first
      this.account(first, ip[row + Ip.Length])
      return -1
    }
    table.link(entry)
    words[e + Ent.Status] |= Status.Confirmed
    const waited = (nowMs - words[e + EntAlso.BornMs]) | 0
    for (let i = Ent.Counters; i < Ent.Words; i++) words[e + i] = 0
    if (waited > 0) this.expireAt(entry, words[e + Ent.ExpiresMs] + waited)
    this.account(entry << 1, ip[row + Ip.Length])
    this.stats[Stat.Confirmed]++
    return -1
  }

  /** The packet ends here. */
  drop(slot: number): void {
    const row = slot << IP_SHIFT
    const node = this.ip[row + Ip.Ct]
    this.ip[row + Ip.Ct] = -1
    if (node < 2) return
    const words = this.table.words
    const e = (node >> 1) << ENT_SHIFT
    const unconfirmed = (words[e + Ent.Status] & (Status.Confirmed | Status.Live)) === Status.Live
    if (unconfirmed && words[e + EntAlso.Owner] === slot) this.kill(node >> 1)
  }

  /** Forgets an entry. */
  kill(entry: number): void {
    const { table } = this
    const words = table.words
    const e = entry << ENT_SHIFT
    const status = words[e + Ent.Status]
    if ((status & Status.Confirmed) !== 0) table.unlink(entry)
    if ((status & Status.Counted) !== 0) {
      const second = (words[e + Ent.Key] & V6) !== 0 ? table.ext[entry * EXT_WORDS] : 0
      this.sources.remove(words[e + Ent.OrigSrc], second, table.key(e, Dir.Original) & ~0xff)
    }
    if (words[e + Ent.Nat] !== 0 && this.nat !== null) this.nat.released(entry)
    this.stats[Stat.Deleted]++
    table.release(entry)
  }

  expireAt(entry: number, atMs: number): void {
    const { due, words } = this.table
    const at = atMs | 0
    const place = (entry << ENT_SHIFT) + Ent.ExpiresMs
    const before = words[place]
    words[place] = at
    // `due` is never later than what was here: who lives on need not read it.
    if (((at - before) | 0) < 0 && ((due[entry] - at) | 0) > 0) due[entry] = at || 1
  }

  /** A flow that seems over need not wait for long. */
  shorten(entry: number, nowMs: number): void {
    const ms = this.settings.timeouts[Timeout.TcpUnacked]
    const left = (this.table.words[(entry << ENT_SHIFT) + Ent.ExpiresMs] - nowMs) | 0
    if (left > ms) this.expireAt(entry, nowMs + ms)
  }

  /** Counts a packet of direction `node & 1`. */
  account(node: number, bytes: number): void {
    const at = ((node >> 1) << (ENT_SHIFT - 1)) + (Ent.Counters >> 1) + ((node & 1) << 1)
    this.table.counters[at]++
    this.table.counters[at + 1] += bytes
  }
}
