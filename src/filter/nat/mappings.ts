// HOT
/**
 * NAT mappings: the external address and port that stands for an internal one, whoever is spoken to
 * (endpoint-independent mapping, RFC 4787 REQ-1).
 *
 *     internal  10.0.0.5:4000  <->  203.0.113.1:4000  external      for one protocol, in one zone
 *
 * In the `rfc` profile every masqueraded endpoint has one, it is nobody else's, and it admits packets from
 * outside (nat.ts). In `linux` there are only those that the flow's own numbers do not tell: where the port
 * had to change, or a pool has several addresses; later flows of the endpoint try it first. A mapping lives
 * as long as an entry uses it.
 *
 * Both ends are found by a hash of 63 secret bits, and compared.
 */
import { HashTable } from '../../table/hash.ts'
import { type ConntrackMemory, Header, V6 } from '../conntrack/layout.ts'
import { isIcmp, T } from '../conntrack/tuple.ts'

export const enum Mapping {
  IntAddr = 0,
  ExtAddr = 4,
  /** internal << 16 | external. */
  Ports = 8,
  /** protocol | V6 | zone << 16, as in a tuple. */
  Key = 9,
  /** Entries that use it. */
  Refs = 10,
  /** Interface it is for, whose other side is outside. */
  OutIf = 11,
  Words = 12,
}

/** Ent.Nat has room for so many. */
const MOST = (1 << 23) - 1

export interface MappingMemory {
  words: Int32Array
  /** [highest used, first free] */
  state: Int32Array
  table: SharedArrayBuffer
  contacts: SharedArrayBuffer | null
}

/** Port or identifier of the source (T.Src) or destination (T.Dst) of a tuple. */
export function portOf(t: Int32Array, side: T): number {
  return side === T.Src || isIcmp(t[T.Key] & 0xff) ? t[T.Ports] >>> 16 : t[T.Ports] & 0xffff
}

export class Mappings {
  readonly words: Int32Array
  private readonly state: Int32Array
  private readonly table: HashTable
  /** (mapping, remote address) -> entries, for address-dependent filtering. */
  private readonly contacts: HashTable | null
  private readonly seeds: Int32Array
  private readonly most: number
  private key0 = 0
  private key1 = 0

  constructor(memory: MappingMemory, conntrack: ConntrackMemory) {
    this.words = memory.words
    this.state = memory.state
    this.table = new HashTable(memory.table)
    this.contacts = memory.contacts === null ? null : new HashTable(memory.contacts)
    this.seeds = conntrack.header.subarray(Header.Seeds, Header.Words)
    this.most = memory.words.length / Mapping.Words - 1
  }

  /** @param contacts with address-dependent filtering, which must remember who was spoken to */
  static memory(capacity: number, seed: number, contacts: boolean): MappingMemory {
    const most = Math.min(capacity, MOST)
    return {
      words: new Int32Array(new SharedArrayBuffer((most + 1) * Mapping.Words * 4)),
      state: new Int32Array(new SharedArrayBuffer(16)),
      table: HashTable.memory(2 * most, seed),
      contacts: contacts ? HashTable.memory(capacity, seed) : null,
    }
  }

  /** Sets key0 and key1. `side`: of words[at ..]. */
  private hash(words: Int32Array, at: number, key: number, port: number, external: boolean): void {
    const k = this.seeds
    const last = (port << 1) | (external ? 1 : 0)
    let a = Math.imul(words[at] ^ k[7], k[8] | 1)
    let b = Math.imul(words[at] ^ k[9], k[10] | 1)
    if ((key & V6) !== 0) {
      for (let i = 1; i < 4; i++) {
        a = Math.imul(a ^ (a >>> 15) ^ words[at + i], k[i] | 1)
        b = Math.imul(b ^ (b >>> 16) ^ words[at + i], k[i + 3] | 1)
      }
    }
    a = Math.imul(a ^ (a >>> 15) ^ key, k[1] | 1)
    b = Math.imul(b ^ (b >>> 16) ^ key, k[2] | 1)
    a = Math.imul(a ^ (a >>> 15) ^ last, k[3] | 1)
    b = Math.imul(b ^ (b >>> 16) ^ last, k[4] | 1)
    this.key0 = a ^ (a >>> 15)
    this.key1 = (b ^ (b >>> 16)) | 0x80000000
  }

  private find(t: Int32Array, side: T, external: boolean): number {
    const port = portOf(t, side)
    this.hash(t, side, t[T.Key], port, external)
    const at = this.table.find(this.key0, this.key1)
    if (at < 0) return 0
    const id = this.table.words[at + 2]
    const m = id * Mapping.Words
    const words = this.words
    const own = external ? words[m + Mapping.Ports] & 0xffff : words[m + Mapping.Ports] >>> 16
    if (own !== port || words[m + Mapping.Key] !== t[T.Key]) return 0
    const address = m + (external ? Mapping.ExtAddr : Mapping.IntAddr)
    for (let i = 0; i < ((t[T.Key] & V6) !== 0 ? 4 : 1); i++) if (words[address + i] !== t[side + i]) return 0
    return id
  }

  /** The mapping of the tuple's source; 0 = none. */
  internal(t: Int32Array): number {
    return this.find(t, T.Src, false)
  }

  /** The mapping whose external end is the tuple's source or destination; 0 = none. */
  external(t: Int32Array, side: T): number {
    return this.find(t, side, true)
  }

  /** A mapping from the source of `from` to the source of `to`, used by nobody yet; 0 = there is no room. */
  add(from: Int32Array, to: Int32Array, outIf: number): number {
    const { state, table, words } = this
    let id = state[1]
    if (id !== 0) state[1] = words[id * Mapping.Words]
    else if (state[0] < this.most) id = ++state[0]
    else return 0
    const m = id * Mapping.Words
    const v6 = (from[T.Key] & V6) !== 0
    for (let i = 0; i < 4; i++) {
      words[m + Mapping.IntAddr + i] = i === 0 || v6 ? from[T.Src + i] : 0
      words[m + Mapping.ExtAddr + i] = i === 0 || v6 ? to[T.Src + i] : 0
    }
    words[m + Mapping.Ports] = (portOf(from, T.Src) << 16) | portOf(to, T.Src)
    words[m + Mapping.Key] = from[T.Key]
    words[m + Mapping.Refs] = 0
    words[m + Mapping.OutIf] = outIf
    this.hash(from, T.Src, from[T.Key], portOf(from, T.Src), false)
    table.insert(this.key0, this.key1, id, 0)
    this.hash(to, T.Src, from[T.Key], portOf(to, T.Src), true)
    table.insert(this.key0, this.key1, id, 0)
    return id
  }

  hold(id: number): void {
    this.words[id * Mapping.Words + Mapping.Refs]++
  }

  release(id: number): void {
    const { state, words } = this
    const m = id * Mapping.Words
    if (--words[m + Mapping.Refs] > 0) return
    const key = words[m + Mapping.Key]
    this.unlink(m + Mapping.IntAddr, key, words[m + Mapping.Ports] >>> 16, false)
    this.unlink(m + Mapping.ExtAddr, key, words[m + Mapping.Ports] & 0xffff, true)
    words[m] = state[1]
    state[1] = id
  }

  private unlink(at: number, key: number, port: number, external: boolean): void {
    this.hash(this.words, at, key, port, external)
    const place = this.table.find(this.key0, this.key1)
    if (place >= 0) this.table.remove(place)
  }

  /** Writes the external end into the source of `t`. */
  toExternal(id: number, t: Int32Array): void {
    this.write(id, t, T.Src, Mapping.ExtAddr, this.words[id * Mapping.Words + Mapping.Ports] & 0xffff)
  }

  /** Writes the internal end into the destination of `t`. */
  toInternal(id: number, t: Int32Array): void {
    this.write(id, t, T.Dst, Mapping.IntAddr, this.words[id * Mapping.Words + Mapping.Ports] >>> 16)
  }

  private write(id: number, t: Int32Array, side: T, from: Mapping, port: number): void {
    const m = id * Mapping.Words
    for (let i = 0; i < 4; i++) t[side + i] = this.words[m + from + i]
    const high = side === T.Src || isIcmp(t[T.Key] & 0xff)
    t[T.Ports] = high ? (port << 16) | (t[T.Ports] & 0xffff) : (t[T.Ports] & 0xffff0000) | port
  }

  outIf(id: number): number {
    return this.words[id * Mapping.Words + Mapping.OutIf]
  }

  // Address-dependent filtering: whom the user of a mapping has spoken to. `words[at ..]` is the remote address.

  private contactKey(words: Int32Array, at: number, v6: boolean): void {
    this.hash(words, at, v6 ? V6 : 0, 0, true)
  }

  spokeTo(id: number, words: Int32Array, at: number, v6: boolean): boolean {
    if (this.contacts === null) return false
    this.contactKey(words, at, v6)
    return this.contacts.find(this.key0 ^ id, this.key1) >= 0
  }

  speak(id: number, words: Int32Array, at: number, v6: boolean): void {
    if (this.contacts === null) return
    this.contactKey(words, at, v6)
    const place = this.contacts.find(this.key0 ^ id, this.key1)
    if (place >= 0) this.contacts.words[place + 2]++
    else this.contacts.insert(this.key0 ^ id, this.key1, 1, 0)
  }

  unspeak(id: number, words: Int32Array, at: number, v6: boolean): void {
    if (this.contacts === null) return
    this.contactKey(words, at, v6)
    const place = this.contacts.find(this.key0 ^ id, this.key1)
    if (place >= 0 && --this.contacts.words[place + 2] === 0) this.contacts.remove(place)
  }

  /** Mappings in use. */
  get size(): number {
    return this.table.size >> 1
  }
}
