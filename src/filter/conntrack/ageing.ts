// HOT
/**
 * How entries go: by age, and by pressure.
 *
 * Age. An entry is over from the millisecond in ExpiresMs on: every look-up sees that. Its place is reclaimed
 * by `sweep`, which reads one word per entry, in order: due, a time before which it need not look closer. A
 * packet that keeps an entry alive only writes ExpiresMs; `due` follows when the sweep comes by. So a sweep
 * of half a million entries reads 2 MB, some 1 to 2 ms, and a packet touches no list and no timer.
 *
 *     tick     each tick: up to PLACES_PER_TICK, reclaims no more than REAP at a time
 *     create   every new entry pays for CREATE_PLACES places: a flood reclaims as fast as it fills
 *
 * Pressure. When the table is full, a place is looked for where the new flow would lie, in REACH places of
 * the index (bounded, and no sender can choose them). Among CANDIDATES that may go, the one leaves
 *
 *     whose time is over; else not assured before closing, then of the source that has most,
 *     then without reply, then the one that would expire first
 *
 * so a flood or a scan from one source pushes out its own. If none may go the new flow is refused.
 */
import type { Entries } from './entries.ts'
import { ENT_SHIFT, Ent, EXT_WORDS, Header, Stat, Status, V6 } from './layout.ts'
import type { Sources } from './sources.ts'
import type { EntryTable } from './table.ts'
import { closing } from './tcp-state.ts'
import { stateOf } from './tcp-word.ts'

const PLACES_PER_TICK = 1 << 19
const REAP = 8192
const CREATE_PLACES = 8
const REACH = 128
const CANDIDATES = 8
const PROTO_TCP = 6

export class Ageing {
  private readonly entries: Entries
  private readonly table: EntryTable
  private readonly sources: Sources
  private readonly stats: Float64Array
  private hand = 1

  constructor(entries: Entries) {
    this.entries = entries
    this.table = entries.table
    this.sources = entries.sources
    this.stats = entries.stats
  }

  tick(nowMs: number): void {
    const high = this.table.header[Header.High]
    this.sweep(high < PLACES_PER_TICK ? high : PLACES_PER_TICK, REAP, nowMs)
  }

  create(nowMs: number): void {
    this.sweep(CREATE_PLACES, CREATE_PLACES, nowMs)
  }

  /** Looks at `places` entries from where it stopped, and reclaims at most `reap`. */
  private sweep(places: number, reap: number, nowMs: number): void {
    const { due, header, words } = this.table
    const high = header[Header.High]
    const now = nowMs | 0
    let entry = this.hand
    for (let i = 0; i < places; i++, entry++) {
      if (entry > high) entry = 1
      const at = due[entry]
      if (at === 0 || ((at - now) | 0) > 0) continue
      const e = entry << ENT_SHIFT
      const expires = words[e + Ent.ExpiresMs]
      if (((expires - now) | 0) > 0) {
        due[entry] = expires || 1
        continue
      }
      this.stats[Stat.Expired]++
      this.entries.kill(entry)
      if (--reap === 0) break
    }
    this.hand = entry
  }

  /** Makes room near the hash `h`. False when nobody may go. */
  evict(h: number, nowMs: number): boolean {
    const { table } = this
    const words = table.words
    let victim = 0
    let best = 0
    let candidates = 0
    for (let step = 0; step < REACH && candidates < CANDIDATES; step++) {
      const node = table.neighbour(h, step)
      if (node < 0) continue
      const entry = node >> 1
      const e = entry << ENT_SHIFT
      if (((words[e + Ent.ExpiresMs] - nowMs) | 0) <= 0) {
        this.stats[Stat.Expired]++
        this.entries.kill(entry)
        return true
      }
      const worth = this.dispensable(entry, e, nowMs)
      if (worth < 0) continue
      candidates++
      if (victim !== 0 && worth <= best) continue
      victim = entry
      best = worth
    }
    if (victim === 0) return false
    this.stats[Stat.EarlyDropped]++
    this.entries.kill(victim)
    return true
  }

  /** How gladly an entry is given up; -1 = never. */
  private dispensable(entry: number, e: number, nowMs: number): number {
    const words = this.table.words
    const status = words[e + Ent.Status]
    const tcp = (words[e + Ent.Key] & 0xff) === PROTO_TCP
    const assured = (status & Status.Assured) !== 0
    if (assured && !(tcp && closing(stateOf(words, e)))) return -1
    const second = (words[e + Ent.Key] & V6) !== 0 ? this.table.ext[entry * EXT_WORDS] : 0
    const has = this.sources.count(words[e + Ent.OrigSrc], second, this.table.key(e, 0) & ~0xff)
    const left = (words[e + Ent.ExpiresMs] - nowMs) | 0
    const soon = 1 / (1 + left)
    return (assured ? 0 : 2 ** 40) + 4 * has + ((status & Status.SeenReply) !== 0 ? 0 : 2) + soon
  }
}
