// HOT
/**
 * A table of recent: addresses with the times they were seen, as xt_recent keeps them. At most 100 addresses
 * (its ip_list_tot); a new one takes the place of the one seen longest ago.
 */
import { Hook } from '../../packet/hooks.ts'
import { Ip } from '../../packet/ip.ts'
import { AddressTable, KEY } from './address-table.ts'
import { Answer } from './layout.ts'
import type { RecentSpec } from './memory.ts'
import type { Plane } from './plane.ts'

export const MOST_ADDRESSES = 100

const enum Action {
  Set = 0,
  Check = 1,
  Update = 2,
  Remove = 3,
}

const enum RecentFlag {
  Reap = 1,
  SameTtl = 2,
  Destination = 4,
}

export class Recent {
  readonly spec: RecentSpec
  private readonly table: AddressTable
  private readonly key = new Int32Array(KEY)
  private readonly mask: Int32Array
  /** Times, a ring of spec.stamps for each place. */
  private readonly stamps: Float64Array
  /** By place: where the next time goes, times there are, TTL. */
  private readonly index = new Int32Array(MOST_ADDRESSES)
  private readonly used = new Int32Array(MOST_ADDRESSES)
  private readonly ttl = new Int32Array(MOST_ADDRESSES)

  constructor(spec: RecentSpec, seed: number) {
    this.spec = spec
    this.table = new AddressTable(MOST_ADDRESSES, seed)
    this.mask = Int32Array.from(spec.mask)
    this.stamps = new Float64Array(MOST_ADDRESSES * spec.stamps)
  }

  get count(): number {
    return this.table.count
  }

  match(
    plane: Plane,
    row: number,
    action: Action,
    flags: number,
    seconds: number,
    hitCount: number,
    invert: boolean,
    nowMs: number,
  ): Answer {
    const { table } = this
    // The TTL before forwarding took one off.
    const ttl =
      plane.ip[row + Ip.Ttl] + (plane.hook === Hook.Forward || plane.hook === Hook.Postrouting ? 1 : 0)
    this.fill(plane.ip, row, (flags & RecentFlag.Destination) !== 0)
    let place = table.find(this.key)
    if (place >= 0 && (flags & RecentFlag.SameTtl) !== 0 && this.ttl[place] !== 0 && this.ttl[place] !== ttl)
      place = -1
    if (place < 0) {
      if (action !== Action.Set) return invert ? Answer.Yes : Answer.No
      if (table.count === MOST_ADDRESSES) table.remove(table.oldest)
      place = table.add(this.key)
      this.used[place] = 0
      this.index[place] = 0
      this.stamp(place, ttl, nowMs)
      return invert ? Answer.No : Answer.Yes
    }
    let hit = true
    if (action === Action.Remove) table.remove(place)
    else if (action !== Action.Set) {
      hit = this.seen(place, seconds, hitCount, nowMs)
      if ((flags & RecentFlag.Reap) !== 0) this.reap(seconds, nowMs)
    }
    const result = hit !== invert
    if (action === Action.Set || (action === Action.Update && result)) {
      // Reaped meanwhile: then it is old, and there is nothing to note.
      if (table.find(this.key) === place) {
        this.stamp(place, ttl, nowMs)
        table.touch(place)
      }
    }
    return result ? Answer.Yes : Answer.No
  }

  private fill(ip: Int32Array, row: number, destination: boolean): void {
    const { key, mask } = this
    const from = row + (destination ? Ip.Dst0 : Ip.Src0)
    const words = ip[row + Ip.Family] === 4 ? 1 : 4
    for (let i = 0; i < 4; i++) key[i] = i < words ? ip[from + i] & mask[i] : 0
  }

  private stamp(place: number, ttl: number, nowMs: number): void {
    const { stamps } = this.spec
    const i = this.index[place] & (stamps - 1)
    this.stamps[place * stamps + i] = nowMs
    this.index[place] = i + 1
    if (this.index[place] > this.used[place]) this.used[place] = this.index[place]
    this.ttl[place] = ttl
  }

  /** Seen often enough within the last `seconds` (0 = ever). */
  private seen(place: number, seconds: number, hitCount: number, nowMs: number): boolean {
    const { stamps } = this.spec
    const since = nowMs - seconds * 1000
    let hits = 0
    for (let i = 0; i < this.used[place]; i++) {
      if (seconds !== 0 && this.stamps[place * stamps + i] < since) continue
      hits++
      if (hitCount === 0 || hits >= hitCount) return true
    }
    return false
  }

  private reap(seconds: number, nowMs: number): void {
    const { stamps } = this.spec
    const place = this.table.oldest
    const last = this.stamps[place * stamps + ((this.index[place] - 1) & (stamps - 1))]
    if (last < nowMs - seconds * 1000) this.table.remove(place)
  }
}
