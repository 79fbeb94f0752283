// HOT
/**
 * Cuts a packet into fragments on its way out (RFC 791 3.2, RFC 8200 4.5).
 *
 *     in      | header, options |      0 .. n      |    n .. 2n    | 2n .. end |
 *     made    | header, options |      0 .. n      |
 *             | header, copied options | n .. 2n   |
 *     in place                      | header, copied options | 2n .. end |
 *
 * The last fragment is the packet itself: its head moves forward, and its header is written over payload
 * that the others have already. So one comes in, and as many go out as were made and it.
 *
 *     IPv4              without DF, to the MTU of the way out
 *     Reassembled       of either family, to the size of the largest fragment that came (Ip.Scratch);
 *                       IPv4 keeps DF, IPv6 its identification (the word behind Scratch)
 *     other             IPv6 and DF: never here (fragment-needed)
 *     super-frame       becomes one of smaller segments, or of datagrams that are cut (fragment-super.ts)
 *
 * A checksum that was left to the device is finished first: no fragment has all it covers.
 */
import { Drop } from '../packet/drop.ts'
import { Frag, IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import * as ipv4 from '../wire/ipv4.ts'
import { copyOptions } from '../wire/ipv4-option.ts'
import * as ipv6 from '../wire/ipv6.ts'
import * as extension from '../wire/ipv6-extension.ts'
import { namedAt, unfragmentable } from './fragment-chain.ts'
import { finishChecksum } from './fragment-checksum.ts'
import { cutSuper } from './fragment-super.ts'
import type { RouterHost } from './host.ts'
import type { Interfaces } from './interfaces.ts'

/** Room for one header: IPv4's 60 bytes; IPv6's with extension headers. */
const ROOM = 1024
const MORE = 0x2000
const DF = 0x4000
const EXTENSION = 8

/** Emits what is cut; owns a scratch for headers: the first fragment's at 0, the others' at ROOM. */
export class Fragmenter {
  readonly host: RouterHost
  private readonly interfaces: Interfaces
  private readonly emit: (slot: number, nowMs: number) => void
  private readonly scratch = new Uint8Array(2 * ROOM)
  private readonly header = new DataView(this.scratch.buffer)

  /** @param emit takes every piece, in order; Ip.OutIf and Ip.Hop0 are as in the packet */
  constructor(host: RouterHost, interfaces: Interfaces, emit: (slot: number, nowMs: number) => void) {
    this.host = host
    this.interfaces = interfaces
    this.emit = emit
  }

  /** Sends the packet in pieces of at most `mtu` bytes from the IP header on, as it is if it fits. */
  cut(slot: number, mtu: number, nowMs: number): void {
    const { host } = this
    const { ip, pool } = host
    const r = slot << IP_SHIFT
    const whole = (ip[r + Ip.Frag] & Frag.Reassembled) !== 0
    if (pool.meta[(slot << META_SHIFT) + Meta.GsoSize] !== 0) cutSuper(this, slot, mtu, nowMs)
    else if (ip[r + Ip.Length] <= mtu) this.emit(slot, nowMs)
    else if (!whole && (ip[r + Ip.Family] !== 4 || (ip[r + Ip.Frag] & Frag.DontFragment) !== 0))
      this.lose(slot, Drop.FragmentNeeded)
    else if (!finishChecksum(pool, ip, slot)) this.lose(slot, Drop.Malformed)
    else if (ip[r + Ip.Family] === 4) this.cut4(slot, r, mtu, nowMs)
    else this.cut6(slot, r, mtu, nowMs)
  }

  lose(slot: number, reason: Drop): void {
    this.host.lose(this.interfaces.port[this.host.ip[(slot << IP_SHIFT) + Ip.OutIf]], slot, reason)
  }

  /** Sends a piece as it is. */
  pass(slot: number, nowMs: number): void {
    this.emit(slot, nowMs)
  }

  private cut4(slot: number, r: number, mtu: number, nowMs: number): void {
    const { header, host, scratch } = this
    const { ip, pool } = host
    const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[r + Ip.L3]
    const size = ipv4.headerLength(pool.view, at)
    for (let i = 0; i < size; i++) scratch[i] = pool.bytes[at + i]
    for (let i = 0; i < ipv4.SIZE; i++) scratch[ROOM + i] = scratch[i]
    const laterSize = copyOptions(header, 0, ROOM)
    const length = ip[r + Ip.Length] - size
    const keep = header.getUint16(6) & DF
    // It may be a fragment already: its place is added, and only its last piece can be the last.
    const origin = ipv4.fragmentOffset(header, 0)
    const last = header.getUint16(6) & MORE
    let head = 0
    let bytes = size
    let chunk = (mtu - size) & ~7
    let done = 0
    while (chunk > 0 && length - done > mtu - bytes) {
      this.describe4(head, bytes, chunk, keep | MORE | ((origin + done) >> 3))
      if (!this.piece(slot, r, at + size + done, head, bytes, chunk, origin + done, nowMs)) return
      done += chunk
      head = ROOM
      bytes = laterSize
      chunk = (mtu - laterSize) & ~7
    }
    if (chunk <= 0) {
      this.lose(slot, Drop.FragmentNeeded)
      return
    }
    this.describe4(ROOM, laterSize, length - done, keep | last | ((origin + done) >> 3))
    this.rest(slot, r, at + size + done, laterSize, length - done, nowMs)
  }

  private describe4(head: number, bytes: number, chunk: number, fragment: number): void {
    this.header.setUint16(head + 2, bytes + chunk)
    this.header.setUint16(head + 6, fragment)
    ipv4.fillChecksum(this.header, head)
  }

  private cut6(slot: number, r: number, mtu: number, nowMs: number): void {
    const { header, host, scratch } = this
    const { ip, pool } = host
    const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[r + Ip.L3]
    const size = unfragmentable(pool.view, at, at + ip[r + Ip.Length])
    const bytes = size + EXTENSION
    const chunk = (mtu - bytes) & ~7
    if (chunk <= 0 || bytes > ROOM) {
      this.lose(slot, Drop.FragmentNeeded)
      return
    }
    for (let i = 0; i < size; i++) scratch[ROOM + i] = pool.bytes[at + i]
    const named = namedAt(header, ROOM, ROOM + size)
    const next = scratch[named]
    scratch[named] = extension.Extension.Fragment
    const id = ip[r + Ip.Scratch + 1]
    const length = ip[r + Ip.Length] - size
    let done = 0
    for (; length - done > mtu - bytes; done += chunk) {
      header.setUint16(ROOM + 4, bytes - ipv6.SIZE + chunk)
      extension.writeFragment(header, ROOM + size, next, done, true, id)
      if (!this.piece(slot, r, at + size + done, ROOM, bytes, chunk, done, nowMs)) return
    }
    header.setUint16(ROOM + 4, bytes - ipv6.SIZE + length - done)
    extension.writeFragment(header, ROOM + size, next, done, false, id)
    this.rest(slot, r, at + size + done, bytes, length - done, nowMs)
  }

  /** Makes a fragment of `bytes` header at `head` in the scratch and `chunk` payload from the pool, and emits it. */
  private piece(
    slot: number,
    r: number,
    from: number,
    head: number,
    bytes: number,
    chunk: number,
    offset: number,
    nowMs: number,
  ): boolean {
    const { host } = this
    const { ip, pool } = host
    const made = host.make(bytes + chunk)
    if (made < 0) {
      this.lose(slot, Drop.NoSlot)
      return false
    }
    const to = made * SLOT_SIZE + pool.meta[(made << META_SHIFT) + Meta.Head]
    this.putHeader(to, head, bytes)
    pool.bytes.copyWithin(to + bytes, from, from + chunk)
    pool.meta[(made << META_SHIFT) + Meta.Port] = pool.meta[(slot << META_SHIFT) + Meta.Port]
    const row = made << IP_SHIFT
    ip.copyWithin(row, r, r + Ip.Words)
    this.describeRow(row, bytes, chunk, offset)
    this.emit(made, nowMs)
    return true
  }

  /** The packet becomes its last fragment, whose payload is at `from`. */
  private rest(slot: number, r: number, from: number, bytes: number, chunk: number, nowMs: number): void {
    const { pool } = this.host
    const m = slot << META_SHIFT
    this.putHeader(from - bytes, ROOM, bytes)
    pool.meta[m + Meta.Head] = from - bytes - slot * SLOT_SIZE
    pool.meta[m + Meta.Len] = bytes + chunk
    pool.meta[m + Meta.Strip] = 0
    pool.meta[m + Meta.Flags] = (pool.meta[m + Meta.Flags] & ~Flag.CsumVerified) | Flag.NoEthernet
    this.describeRow(r, bytes, chunk, 8)
    this.emit(slot, nowMs)
  }

  private putHeader(to: number, head: number, bytes: number): void {
    const { scratch } = this
    const pool = this.host.pool.bytes
    for (let i = 0; i < bytes; i++) pool[to + i] = scratch[head + i]
  }

  /** What is left of the row: a frame that starts with the IP header. */
  private describeRow(r: number, bytes: number, chunk: number, offset: number): void {
    const ip = this.host.ip
    ip[r + Ip.L3] = 0
    ip[r + Ip.L4] = bytes
    ip[r + Ip.Length] = bytes + chunk
    ip[r + Ip.Frag] = (ip[r + Ip.Frag] & Frag.DontFragment) | Frag.Any | (offset === 0 ? 0 : Frag.Later)
    if (offset !== 0) ip[r + Ip.Flags] &= ~IpFlag.HasL4
  }
}
