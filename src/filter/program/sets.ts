// HOT
/**
 * Looks packets up in a set (set-memory.ts). Semantics are those of ipset's kernel side: an element that has
 * timed out is not there, an element with `nomatch` ends the search.
 */
import { Frag, Ip, IpFlag } from '../../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import * as ethernet from '../../wire/ethernet.ts'
import * as l4 from '../../wire/l4.ts'
import type { CounterTest } from './compare.ts'
import type { Plane } from './plane.ts'
import { Field, hashWords, SetEntry, SetFlag, type SetMemory } from './set-memory.ts'

export const enum Found {
  No = 0,
  Yes = 1,
  /** An exception. */
  Nomatch = 2,
}

const ICMP = 1
const ICMPV6 = 58

export class RuntimeSet {
  readonly isNet: boolean
  private readonly set: SetMemory
  private readonly words: Int32Array
  private readonly counters: Float64Array
  private readonly fields: Int32Array
  private readonly prefixes: Int32Array
  private readonly members: RuntimeSet[]
  private readonly key = new Int32Array(12)
  /** Where the network's address is in the key. */
  private netAt = -1
  private keyWords = 0

  constructor(set: SetMemory) {
    this.set = set
    this.words = new Int32Array(set.words)
    this.counters = new Float64Array(set.counters ?? new SharedArrayBuffer(0))
    this.fields = Int32Array.from(set.fields)
    this.prefixes = Int32Array.from(set.prefixes)
    this.members = set.members.map((member) => new RuntimeSet(member))
    this.isNet = set.fields.includes(Field.Net)
  }

  /**
   * @param sides bit i: field i is of the destination
   * @param count counters go up. @param subcount those of a list's members too
   * @param test counters that an element must have, or null
   */
  find(
    plane: Plane,
    slot: number,
    row: number,
    sides: number,
    count: boolean,
    subcount: boolean,
    test: CounterTest,
    nowMs: number,
  ): Found {
    const { members } = this
    if (members.length > 0) {
      for (let i = 0; i < members.length; i++) {
        const found = members[i].find(plane, slot, row, sides, subcount, subcount, test, nowMs)
        if (found === Found.Yes) return found
      }
      return Found.No
    }
    if (this.fields.length === 0 || !this.fill(plane, slot, row, sides)) return Found.No
    const length = plane.ip[row + Ip.Length]
    if (this.netAt < 0) return this.lookUp(length, count, test, nowMs)
    return this.lookUpNet(plane.ip, row, sides, length, count, test, nowMs)
  }

  /** Builds the key; the network's prefix length is still to be put in. False: the packet has no such field. */
  private fill(plane: Plane, slot: number, row: number, sides: number): boolean {
    const { fields, key, set } = this
    const { ip } = plane
    let at = 0
    this.netAt = -1
    for (let i = 0; i < fields.length; i++) {
      const dst = (sides >> i) & 1
      const field = fields[i]
      if (field === Field.Ip || field === Field.Net) {
        const from = row + (dst === 1 ? Ip.Dst0 : Ip.Src0)
        for (let w = 0; w < set.addressWords; w++) key[at + w] = ip[from + w]
        if (field === Field.Net) this.netAt = at
        else maskAddress(key, at, set.addressWords, set.netmask)
        at += set.addressWords
        if (field === Field.Net) at++
      } else if (field === Field.Port) {
        const port = portOf(ip, row, dst, set.anyProtocol)
        if (port < 0) return false
        key[at++] = port
      } else {
        if (!macOf(plane, slot, row, dst, key, at)) return false
        at += 2
      }
    }
    this.keyWords = at
    return true
  }

  private lookUpNet(
    ip: Int32Array,
    row: number,
    sides: number,
    length: number,
    count: boolean,
    test: CounterTest,
    nowMs: number,
  ): Found {
    const { fields, key, netAt, prefixes, set } = this
    let field = 0
    while (fields[field] !== Field.Net) field++
    const from = row + (((sides >> field) & 1) === 1 ? Ip.Dst0 : Ip.Src0)
    for (let i = 0; i < prefixes.length; i++) {
      for (let w = 0; w < set.addressWords; w++) key[netAt + w] = ip[from + w]
      maskAddress(key, netAt, set.addressWords, prefixes[i])
      key[netAt + set.addressWords] = prefixes[i]
      const found = this.lookUp(length, count, test, nowMs)
      if (found !== Found.No) return found
    }
    return Found.No
  }

  private lookUp(length: number, count: boolean, test: CounterTest, nowMs: number): Found {
    const { counters, key, keyWords, words } = this
    const { entryWords, slots } = this.set
    let slot = hashWords(key, keyWords) & (slots - 1)
    for (;;) {
      const at = slot * entryWords
      const flags = words[at + SetEntry.Flags]
      if (flags === 0) return Found.No
      let i = 0
      while (i < keyWords && words[at + SetEntry.Key + i] === key[i]) i++
      if (i === keyWords) {
        const expires = words[at + SetEntry.ExpiresS]
        if (expires !== 0 && nowMs >= expires * 1000) return Found.No
        if ((flags & SetFlag.Nomatch) !== 0) return Found.Nomatch
        if (counters.length > 0) {
          if (count) {
            counters[2 * slot]++
            counters[2 * slot + 1] += length
          }
          if (!test.holds(counters[2 * slot], counters[2 * slot + 1])) return Found.No
        }
        return Found.Yes
      }
      slot = (slot + 1) & (slots - 1)
    }
  }
}

function maskAddress(key: Int32Array, at: number, words: number, prefix: number): void {
  for (let w = 0, left = prefix; w < words; w++, left -= 32) {
    if (left <= 0) key[at + w] = 0
    else if (left < 32) key[at + w] &= -1 << (32 - left)
  }
}

/** protocol << 16 | port, of ICMP the type and code; -1 = none. */
function portOf(ip: Int32Array, row: number, dst: number, anyProtocol: boolean): number {
  const protocol = ip[row + Ip.Proto]
  const ports = ip[row + Ip.Ports]
  const has = (ip[row + Ip.Flags] & IpFlag.HasL4) !== 0 && (ip[row + Ip.Frag] & Frag.Later) === 0
  if (l4.hasPorts(protocol)) {
    if (!has) return -1
    const port = dst === 1 ? ports & 0xffff : ports >>> 16
    return anyProtocol ? port : (protocol << 16) | port
  }
  if (anyProtocol) return -1
  if (protocol === ICMP || protocol === ICMPV6) return has ? (protocol << 16) | (ports >>> 16) : -1
  return protocol << 16
}

function macOf(plane: Plane, slot: number, row: number, dst: number, key: Int32Array, at: number): boolean {
  const { ip, meta, view } = plane
  const m = slot << META_SHIFT
  if ((meta[m + Meta.Flags] & Flag.NoEthernet) !== 0 || (ip[row + Ip.Flags] & IpFlag.Local) !== 0)
    return false
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  key[at] = dst === 1 ? ethernet.dstMacHi(view, head) : ethernet.srcMacHi(view, head)
  key[at + 1] = dst === 1 ? ethernet.dstMacLo(view, head) : ethernet.srcMacLo(view, head)
  return true
}

/** --return-nomatch turns the two kinds of elements around. */
export function setAnswer(found: Found, returnNomatch: boolean): boolean {
  return found === (returnNomatch ? Found.Nomatch : Found.Yes)
}
