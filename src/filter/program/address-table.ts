// HOT
/**
 * Fixed places that are found by a key of a few words: for matches that remember addresses (hashlimit, recent,
 * connlimit). Chained hashing over int32 arrays; places come from a free list and are kept in order of use,
 * oldest first.
 *
 *     place   | key ... (KEY words) | next in the chain | older | newer |
 */
export const KEY = 10

export class AddressTable {
  readonly capacity: number
  count = 0
  readonly keys: Int32Array
  /** The place used longest ago, or -1. */
  oldest = -1
  private newest = -1
  private readonly heads: Int32Array
  private readonly next: Int32Array
  private readonly older: Int32Array
  private readonly newer: Int32Array
  private free = 0
  private readonly mask: number
  private readonly seed: number

  constructor(capacity: number, seed: number) {
    this.capacity = capacity
    this.seed = seed
    let heads = 16
    while (heads < capacity) heads *= 2
    this.mask = heads - 1
    this.heads = new Int32Array(heads).fill(-1)
    this.keys = new Int32Array(capacity * KEY)
    this.next = new Int32Array(capacity)
    this.older = new Int32Array(capacity)
    this.newer = new Int32Array(capacity)
    for (let i = 0; i < capacity; i++) this.next[i] = i + 1 < capacity ? i + 1 : -1
  }

  private home(key: Int32Array, at: number): number {
    let h = this.seed
    for (let i = 0; i < KEY; i++) h = Math.imul(h ^ (h >>> 15) ^ key[at + i], 0x9e3779b1)
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    return (h ^ (h >>> 13)) & this.mask
  }

  /** The place of a key, or -1. */
  find(key: Int32Array): number {
    const { keys } = this
    let place = this.heads[this.home(key, 0)]
    while (place >= 0) {
      const at = place * KEY
      let i = 0
      while (i < KEY && keys[at + i] === key[i]) i++
      if (i === KEY) return place
      place = this.next[place]
    }
    return -1
  }

  /** A place for a key that has none; -1 = all are taken. */
  add(key: Int32Array): number {
    const place = this.free
    if (place < 0) return -1
    this.free = this.next[place]
    for (let i = 0; i < KEY; i++) this.keys[place * KEY + i] = key[i]
    const home = this.home(key, 0)
    this.next[place] = this.heads[home]
    this.heads[home] = place
    this.append(place)
    this.count++
    return place
  }

  /** Used just now. */
  touch(place: number): void {
    if (this.newest === place) return
    this.detach(place)
    this.append(place)
  }

  remove(place: number): void {
    const { heads, next } = this
    const home = this.home(this.keys, place * KEY)
    let at = heads[home]
    if (at === place) heads[home] = next[place]
    else {
      while (next[at] !== place) at = next[at]
      next[at] = next[place]
    }
    this.detach(place)
    next[place] = this.free
    this.free = place
    this.count--
  }

  private append(place: number): void {
    this.older[place] = this.newest
    this.newer[place] = -1
    if (this.newest >= 0) this.newer[this.newest] = place
    else this.oldest = place
    this.newest = place
  }

  private detach(place: number): void {
    const older = this.older[place]
    const newer = this.newer[place]
    if (older >= 0) this.newer[older] = newer
    else this.oldest = newer
    if (newer >= 0) this.older[newer] = older
    else this.newest = older
  }
}
