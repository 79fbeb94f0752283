// HOT
/**
 * A hashlimit table: an entry for every combination of addresses and ports that the mode asks for. An entry is
 * a bucket that fills with time:
 *
 *     packets   room for the burst; a packet takes `cost`
 *     bytes     room for one second; a packet takes `cost` for every 16 bytes, rounded up as xt_hashlimit does.
 *               When that is too much, one of `refills` fills the bucket (the burst)
 *
 * or, with --hashlimit-rate-match, a measure that nothing is taken from:
 *
 *     packet    1 or its bytes are added; the flow is above when the sum is more than `most`
 *     interval  the first packet after it judges it: more than `rate` on average, and the flow is above until
 *               the next is over. The sum begins anew, with this packet
 *
 * An entry that was not used for `expireMs` is forgotten. A full table drops what it has no bucket for.
 */
import { Frag, IP_SHIFT, Ip } from '../../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import { Protocol } from '../../wire/ipv4.ts'
import * as l4 from '../../wire/l4.ts'
import { AddressTable, KEY } from './address-table.ts'
import { Answer } from './layout.ts'
import type { HashlimitSpec } from './memory.ts'
import type { Plane } from './plane.ts'

const DEFAULT_MAX = 65536
const MOST = 1 << 20
const SRC_IP = 1
const SRC_PORT = 2
const DST_IP = 4
const DST_PORT = 8

const NO_PORTS = -1
const CUT = -2
/** Of an authentication header: its SPI. */
const AH_SPI = 4

export class Hashlimit {
  readonly spec: HashlimitSpec
  private readonly table: AddressTable
  private readonly key = new Int32Array(KEY)
  private readonly masks: Int32Array
  /** By place: credit or sum, used last (ms), refills left. */
  private readonly buckets: Float64Array
  /** By place, of what is measured: begin of the interval (ms), 1 = above in the one before. */
  private readonly intervals: Float64Array

  constructor(spec: HashlimitSpec, seed: number) {
    this.spec = spec
    this.table = new AddressTable(Math.min(spec.max || DEFAULT_MAX, MOST), seed)
    this.masks = Int32Array.from([...spec.sourceMask, ...spec.destinationMask])
    this.buckets = new Float64Array(this.table.capacity * 3)
    this.intervals = new Float64Array(spec.intervalMs > 0 ? this.table.capacity * 2 : 0)
  }

  get count(): number {
    return this.table.count
  }

  match(plane: Plane, row: number, above: boolean, nowMs: number): Answer {
    const { buckets, spec, table } = this
    if (!this.fill(plane, row)) return Answer.HotDrop
    let place = table.find(this.key)
    if (place >= 0 && nowMs - buckets[place * 3 + 1] >= spec.expireMs) {
      table.remove(place)
      place = -1
    }
    if (place < 0) {
      this.expire(nowMs)
      place = table.add(this.key)
      if (place < 0) return Answer.HotDrop
      this.begin(place, nowMs)
    } else {
      table.touch(place)
      if (spec.intervalMs > 0) this.judge(place, nowMs)
      else this.refresh(place, nowMs)
    }
    buckets[place * 3 + 1] = nowMs
    const length = plane.ip[row + Ip.Length]
    const within = spec.intervalMs > 0 ? this.measure(place, length) : this.take(place, length)
    return within !== above ? Answer.Yes : Answer.No
  }

  private begin(place: number, nowMs: number): void {
    const { buckets, intervals, spec } = this
    if (spec.intervalMs > 0) {
      buckets[place * 3] = 0
      intervals[place * 2] = nowMs
      intervals[place * 2 + 1] = 0
      return
    }
    buckets[place * 3] = spec.cap
    buckets[place * 3 + 2] = spec.refills
  }

  private refresh(place: number, nowMs: number): void {
    const { buckets, spec } = this
    const credit = buckets[place * 3] + (nowMs - buckets[place * 3 + 1]) * spec.perMs
    buckets[place * 3] = credit < spec.cap ? credit : spec.cap
  }

  private take(place: number, length: number): boolean {
    const { buckets, spec } = this
    let { cost } = spec
    if (spec.byBytes) {
      cost *= (length >> 4) + 1
      if (cost > spec.cap) cost = spec.cap
      if (buckets[place * 3] < cost && buckets[place * 3 + 2] > 0) {
        buckets[place * 3 + 2]--
        buckets[place * 3] = spec.cap
      }
    }
    if (buckets[place * 3] < cost) return false
    buckets[place * 3] -= cost
    return true
  }

  /** Is the interval over? Without a packet it went on: the rate is that of the whole time. */
  private judge(place: number, nowMs: number): void {
    const { buckets, intervals, spec } = this
    const elapsedMs = nowMs - intervals[place * 2]
    if (elapsedMs < spec.intervalMs) return
    intervals[place * 2] = nowMs
    intervals[place * 2 + 1] = buckets[place * 3] * spec.intervalMs > elapsedMs * spec.rate ? 1 : 0
    buckets[place * 3] = 0
  }

  private measure(place: number, length: number): boolean {
    const { buckets, intervals, spec } = this
    buckets[place * 3] += spec.byBytes ? length : 1
    return intervals[place * 2 + 1] === 0 && buckets[place * 3] <= spec.most
  }

  /** Makes room: a few of the oldest, if they have expired. */
  expire(nowMs: number): void {
    const { buckets, spec, table } = this
    for (let i = 0; i < 8; i++) {
      const place = table.oldest
      if (place < 0 || nowMs - buckets[place * 3 + 1] < spec.expireMs) return
      table.remove(place)
    }
  }

  /** False: ports are asked for and not there. */
  private fill(plane: Plane, row: number): boolean {
    const { key, masks, spec } = this
    const { ip } = plane
    const { mode } = spec
    for (let i = 0; i < 4; i++) {
      const used = i === 0 || ip[row + Ip.Family] === 6
      key[i] = used && (mode & SRC_IP) !== 0 ? ip[row + Ip.Src0 + i] & masks[i] : 0
      key[4 + i] = used && (mode & DST_IP) !== 0 ? ip[row + Ip.Dst0 + i] & masks[4 + i] : 0
    }
    key[8] = 0
    if ((mode & (SRC_PORT | DST_PORT)) === 0) return true
    const place = portsPlace(ip, row)
    if (place === NO_PORTS) return true
    if (place < 0 || place + l4.PORTS_SIZE > ip[row + Ip.L3] + ip[row + Ip.Length]) return false
    const slot = row >> IP_SHIFT
    const at = slot * SLOT_SIZE + plane.meta[(slot << META_SHIFT) + Meta.Head] + place
    const src = (mode & SRC_PORT) !== 0 ? l4.srcPort(plane.view, at) : 0
    const dst = (mode & DST_PORT) !== 0 ? l4.dstPort(plane.view, at) : 0
    key[8] = (src << 16) | dst
    return true
  }
}

/**
 * Where xt_hashlimit looks for ports, or for the SPI that ESP and AH have instead. In IPv4 also in later fragments,
 * where others' bytes are; not in those of IPv6.
 * @returns behind the head, NO_PORTS, or CUT where IPv6 ends without a transport header
 */
function portsPlace(ip: Int32Array, row: number): number {
  const protocol = ip[row + Ip.Proto]
  const place = ip[row + Ip.L4]
  if (ip[row + Ip.Family] === 6) {
    if ((ip[row + Ip.Frag] & Frag.Later) !== 0) return NO_PORTS
    if (place === 0) return CUT
  } else if (protocol === Protocol.Ah) return place + AH_SPI
  return l4.hasPorts(protocol) || protocol === Protocol.Esp ? place : NO_PORTS
}
