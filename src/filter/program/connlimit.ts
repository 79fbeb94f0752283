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
   * @param side Tuple.Source or Tuple.Destination of the original direction
   */
  count(plane: Plane, row: number, side: number, _nowMs: number): number {
    const { entry, next, serial, serials, table } = this
    const node = plane.ip[row + Ip.Ct]
    this.fill(plane, row, side, node)
    let place = table.find(this.key)
    if (place < 0) {
      if (table.count === ADDRESSES) this.sweep(plane)
      place = table.add(this.key)
      if (place < 0) return -1
      this.first[place] = -1
    }
    table.touch(place)
    const mine = node >> 1
    let count = 0
    let known = false
    let before = -1
    for (let at = this.first[place]; at >= 0; ) {
      const following = next[at]
      const e = entry[at]
      if (node >= 0 && e === mine && serial[at] === serials[e]) known = true
      else if (serial[at] !== serials[e] || plane.conntrack.closed(e)) {
        if (before < 0) this.first[place] = following
        else next[before] = following
        next[at] = this.free
        this.free = at
        at = following
        continue
      }
      count++
      before = at
      at = following
    }
    if (known || node < 0) return count
    const at = this.free
    if (at < 0) return -1
    this.free = next[at]
    entry[at] = mine
    serial[at] = serials[mine]
    next[at] = this.first[place]
    this.first[place] = at
    return count + 1
  }

  /** Takes the place of an address that nobody asked for longest. */
  private sweep(_plane: Plane): void {
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

  private fill(plane: Plane, row: number, side: number, node: number): void {
    const { key, mask } = this
    const { ip } = plane
    const words = ip[row + Ip.Family] === 4 ? 1 : 4
    if (node >= 0) plane.conntrack.tuple(node & ~1, plane.tuple)
    for (let i = 0; i < 4; i++) {
      const word = node >= 0 ? plane.tuple[side + i] : ip[row + (side === 0 ? Ip.Src0 : Ip.Dst0) + i]
      key[i] = i < words ? word & mask[i] : 0
    }
  }
}
