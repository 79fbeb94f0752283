// HOT
/**
 * How many connections an address or network has: those that came past the rule and are alive still, as
 * nf_conncount counts them. A TCP connection that has ended counts no more.
 *
 *     address -> its list of nodes: | entry | serial | next |      serial tells an entry from one that
 *                                                                  lived in its place before
 */
import { Ip } from '../../packet/ip.ts'
import { AddressTable, KEY } from './address-table.ts'
import type { ConnlimitSpec } from './memory.ts'
import type { Plane } from './plane.ts'

const ADDRESSES = 16384
const NODES = 65536

export class Connlimit {
  private readonly table: AddressTable
  private readonly key = new Int32Array(KEY)
  private readonly mask: Int32Array
  private readonly serials: Int32Array
  /** First node of an address. */
  private readonly first = new Int32Array(ADDRESSES)
  private readonly entry = new Int32Array(NODES)
  private readonly serial = new Int32Array(NODES)
  private readonly next = new Int32Array(NODES)
  private free = 0

  /** @param serials by conntrack entry, see netfilter.ts */
  constructor(spec: ConnlimitSpec, serials: Int32Array, seed: number) {
    this.table = new AddressTable(ADDRESSES, seed)
    this.mask = Int32Array.from(spec.mask)
    this.serials = serials
    for (let i = 0; i < NODES; i++) this.next[i] = i + 1 < NODES ? i + 1 : -1
  }

  /**
   * Connections with this packet's; -1 = it cannot be counted, drop it.
   * @param at Ip.Src0 or Ip.Dst0
   */
  count(plane: Plane, row: number, at: number): number {
    const { entry, next, serial, serials, table } = this
    const node = plane.ip[row + Ip.Ct]
    this.fill(plane.ip, row, at)
    let place = table.find(this.key)
    if (place < 0) {
      if (table.count === ADDRESSES) this.forgetOldest()
      place = table.add(this.key)
      if (place < 0) return -1
      this.first[place] = -1
    }
    table.touch(place)
    const mine = node >> 1
    let count = 0
    let known = false
    let before = -1
    for (let item = this.first[place]; item >= 0; ) {
      const following = next[item]
      const e = entry[item]
      if (node >= 0 && e === mine && serial[item] === serials[e]) known = true
      else if (serial[item] !== serials[e] || plane.conntrack.closed(e)) {
        if (before < 0) this.first[place] = following
        else next[before] = following
        next[item] = this.free
        this.free = item
        item = following
        continue
      }
      count++
      before = item
      item = following
    }
    if (known || node < 0) return count
    const item = this.free
    if (item < 0) return -1
    this.free = next[item]
    entry[item] = mine
    serial[item] = serials[mine]
    next[item] = this.first[place]
    this.first[place] = item
    return count + 1
  }

  private forgetOldest(): void {
    const { next, table } = this
    const place = table.oldest
    for (let at = this.first[place]; at >= 0; ) {
      const following = next[at]
      next[at] = this.free
      this.free = at
      at = following
    }
    table.remove(place)
  }

  private fill(ip: Int32Array, row: number, at: number): void {
    const { key, mask } = this
    const words = ip[row + Ip.Family] === 4 ? 1 : 4
    for (let i = 0; i < 4; i++) key[i] = i < words ? ip[row + at + i] & mask[i] : 0
  }
}
