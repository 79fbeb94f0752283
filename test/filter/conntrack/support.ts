/**
 * A router in miniature for conntrack and NAT: packets by name, a clock by hand, the hooks in netfilter's
 * order. No routing: whoever sends says by which interfaces a packet comes and goes.
 */
import { expect } from 'vitest'
import { Conntrack, PASS } from '../../../src/filter/conntrack/conntrack.ts'
import { conntrackMemory } from '../../../src/filter/conntrack/layout.ts'
import type { ConntrackOptions } from '../../../src/filter/conntrack/options.ts'
import { lineOf } from '../../../src/filter/conntrack/row.ts'
import { rows } from '../../../src/filter/conntrack/select.ts'
import { Mappings } from '../../../src/filter/nat/mappings.ts'
import { type Filtering, Nat } from '../../../src/filter/nat/nat.ts'
import { Manip, type NatRange } from '../../../src/filter/nat/range.ts'
import { DROPS } from '../../../src/packet/drop.ts'
import { CtState, IP_SHIFT, Ip, IpFlag } from '../../../src/packet/ip.ts'
import { Flag, META_SHIFT, Meta } from '../../../src/packet/layout.ts'
import { Pool } from '../../../src/packet/pool.ts'
import { PARSED, parse } from '../../../src/router/parse.ts'
import { pseudo4, pseudo6, verify } from '../../../src/wire/checksum.ts'
import * as icmp from '../../../src/wire/icmp.ts'
import * as icmpv6 from '../../../src/wire/icmpv6.ts'
import * as ipv4 from '../../../src/wire/ipv4.ts'
import * as ipv6 from '../../../src/wire/ipv6.ts'
import * as l4 from '../../../src/wire/l4.ts'
import * as tcp from '../../../src/wire/tcp.ts'
import * as udp from '../../../src/wire/udp.ts'

/** 10.0.0.1 or fd00::1 as words. */
export function addr(text: string): number[] {
  if (text.includes('.')) return [text.split('.').reduce((word, part) => (word << 8) | Number(part), 0)]
  const [left, right] = text.split('::')
  const words = (part: string | undefined): number[] =>
    part ? part.split(':').map((g) => Number.parseInt(g, 16)) : []
  const head = words(left)
  const tail = words(right)
  const groups = text.includes('::')
    ? [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail]
    : head
  return [0, 2, 4, 6].map((i) => (groups[i] << 16) | groups[i + 1])
}

export interface Packet {
  src: string
  dst: string
  /** tcp unless given. */
  proto?: 'tcp' | 'udp' | 'icmp' | 'icmpv6' | number
  sport?: number
  dport?: number
  /** TCP: letters of SAFRPU. */
  flags?: string
  seq?: number
  ack?: number
  win?: number
  /** TCP options, padded to words. */
  options?: number[]
  /** Payload bytes, or how many of them. */
  payload?: Uint8Array | number
  /** ICMP. */
  type?: number
  code?: number
  id?: number
  /** Of an ICMP error: the word behind the checksum. */
  rest?: number
  ttl?: number
  /** The checksum is left to whoever sends the packet. */
  partial?: boolean
  /** UDP without a checksum. */
  noChecksum?: boolean
  /** Segment size of a super-frame. */
  gso?: number
}

const BITS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 }
const PROTO = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 }
export const WSCALE7 = [3, 3, 7, 1, 4, 2, 1, 1]

export function protoOf(p: Packet): number {
  return typeof p.proto === 'number' ? p.proto : PROTO[p.proto ?? 'tcp']
}

/** The IP packet's bytes. */
export function build(p: Packet): Uint8Array {
  const src = addr(p.src)
  const v6 = src.length === 4
  const proto = protoOf(p)
  const payload =
    typeof p.payload === 'number' ? new Uint8Array(p.payload).fill(0x5a) : (p.payload ?? new Uint8Array())
  const options = p.options ?? []
  const header =
    proto === 6
      ? 20 + options.length
      : proto === 17 || proto === 1 || proto === 58
        ? 8
        : proto === 132
          ? 12
          : 0
  const l3 = v6 ? ipv6.SIZE : ipv4.SIZE
  const bytes = new Uint8Array(l3 + header + payload.length)
  const view = new DataView(bytes.buffer)
  const dst = addr(p.dst)
  if (v6) {
    ipv6.write(view, 0, header + payload.length, proto, p.ttl ?? 64, 0, 0)
    for (let i = 0; i < 4; i++) {
      view.setInt32(8 + 4 * i, src[i])
      view.setInt32(24 + 4 * i, dst[i])
    }
  } else ipv4.write(view, 0, bytes.length, proto, src[0], dst[0], p.ttl ?? 64, 0, 7, true)
  bytes.set(payload, l3 + header)
  const length = header + payload.length
  const sum = v6 ? pseudo6(view, 0, proto, length) : pseudo4(view, 0, proto, length)
  if (proto === 6) {
    const bits = [...(p.flags ?? 'A')].reduce((all, letter) => all | BITS[letter], 0)
    tcp.write(view, l3, p.sport ?? 40000, p.dport ?? 80, p.seq ?? 0, p.ack ?? 0, bits, p.win ?? 64000)
    view.setUint8(l3 + 12, ((20 + options.length) >> 2) << 4)
    bytes.set(options, l3 + 20)
    tcp.fillChecksum(view, l3, length, sum, p.partial ?? false)
  } else if (proto === 17) {
    udp.write(view, l3, p.sport ?? 40000, p.dport ?? 53, length)
    if (!p.noChecksum) udp.fillChecksum(view, l3, sum, p.partial ?? false)
  } else if (proto === 1) {
    icmp.write(view, l3, p.type ?? 8, p.code ?? 0, p.rest ?? ((p.id ?? 77) << 16) | 1)
    icmp.fillChecksum(view, l3, length)
  } else if (proto === 58) {
    icmpv6.write(view, l3, p.type ?? 128, p.code ?? 0, p.rest ?? ((p.id ?? 77) << 16) | 1)
    icmpv6.fillChecksum(view, l3, length, sum)
  } else if (proto === 132) {
    view.setUint16(l3, p.sport ?? 40000)
    view.setUint16(l3 + 2, p.dport ?? 80)
  }
  return bytes
}

/** What came out: the packet, taken apart again. */
export interface Sent {
  state: 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED' | 'none'
  reply: boolean
  /** Name of the Drop, when it was dropped. */
  drop: string | null
  src: string
  dst: string
  sport: number
  dport: number
  id: number
  /** The IP packet's bytes, checksums verified (see `checkSums`). */
  bytes: Uint8Array
  entry: number
}

const STATE_NAMES: Record<number, Sent['state']> = {
  [CtState.New]: 'NEW',
  [CtState.Established]: 'ESTABLISHED',
  [CtState.Related]: 'RELATED',
  [CtState.Invalid]: 'INVALID',
  [CtState.Untracked]: 'UNTRACKED',
}

export interface Way {
  inIf?: number
  outIf?: number
  /** Rules of table nat that match, if the flow is asked. */
  dnat?: NatRange | null
  snat?: NatRange | null
  /** Address of a Dynamic range. */
  address?: string
  /** A rule of the filter drops it before it is confirmed. */
  dropped?: boolean
  zone?: [zone: number, dirs: number]
  untracked?: boolean
  /** Made here. */
  local?: boolean
  /** Conntrack only. */
  noNat?: boolean
}

export interface BenchOptions extends ConntrackOptions {
  capacity?: number
  filtering?: Filtering
}

export class Bench {
  readonly pool = Pool.of(8)
  readonly ip = new Int32Array(8 * Ip.Words)
  readonly ct: Conntrack
  readonly nat: Nat
  readonly mappings: Mappings
  nowMs = 1_000_000

  constructor(options: BenchOptions = {}) {
    const memory = conntrackMemory(
      options.capacity ?? 1024,
      Int32Array.from({ length: 12 }, (_, i) => i * 0x9e3779b1 + 7),
    )
    this.ct = new Conntrack(this, memory, options)
    const contacts = options.filtering === 'address-dependent'
    this.mappings = new Mappings(Mappings.memory(options.capacity ?? 1024, 99, contacts), memory)
    this.nat = new Nat(this, this.ct, this.mappings, options.filtering)
  }

  /** Puts a packet into a slot, parsed. */
  load(slot: number, bytes: Uint8Array, p: Partial<Packet> = {}): number {
    this.pool.reset(slot, bytes.length)
    this.pool.bytes.set(bytes, this.pool.at(slot))
    const m = slot << META_SHIFT
    const result = parse(this.pool, this.ip, slot, 0, bytes[0] >> 4)
    if (p.partial) {
      this.pool.meta[m + Meta.Flags] |= Flag.CsumPartial
      this.pool.meta[m + Meta.CsumStart] = this.ip[(slot << IP_SHIFT) + Ip.L4]
      this.pool.meta[m + Meta.CsumOffset] = p.proto === 'udp' ? 6 : 16
    }
    if (p.gso !== undefined) {
      this.pool.meta[m + Meta.GsoType] = 1
      this.pool.meta[m + Meta.GsoSize] = p.gso
    }
    this.ip[(slot << IP_SHIFT) + Ip.InIf] = 0
    this.ip[(slot << IP_SHIFT) + Ip.PktType] = 3
    return result
  }

  send(p: Packet, way: Way = {}, slot = 1): Sent {
    return this.sendBytes(build(p), way, slot, p)
  }

  sendBytes(bytes: Uint8Array, way: Way = {}, slot = 1, p: Partial<Packet> = {}): Sent {
    const parsed = this.load(slot, bytes, p)
    if (parsed !== PARSED) return this.result(slot, parsed)
    const row = slot << IP_SHIFT
    this.ip[row + Ip.InIf] = way.local ? -1 : (way.inIf ?? 0)
    this.ip[row + Ip.OutIf] = way.outIf ?? 1
    if (way.local) this.ip[row + Ip.Flags] |= IpFlag.Local
    if (way.zone) this.ct.zone(slot, way.zone[0], way.zone[1])
    if (way.untracked) this.ct.untrack(slot)
    let drop = this.ct.in(slot, this.nowMs)
    if (drop === PASS && !way.noNat) drop = this.translate(slot, Manip.Destination, way.dnat ?? null, way)
    if (drop === PASS && way.dropped) drop = DROPS.findIndex(([name]) => name === 'filter')
    if (drop === PASS && !way.noNat) drop = this.translate(slot, Manip.Source, way.snat ?? null, way)
    if (drop === PASS) drop = this.ct.confirm(slot, this.nowMs)
    const sent = this.result(slot, drop)
    if (drop !== PASS) this.ct.drop(slot)
    return sent
  }

  private translate(slot: number, manip: Manip, range: NatRange | null, way: Way): number {
    if (way.address) this.nat.address.set(addr(way.address))
    if (this.nat.fresh(slot, manip)) {
      const drop = this.nat.setup(slot, manip, range, this.nowMs)
      if (drop !== PASS) return drop
    }
    return this.nat.apply(slot, manip)
  }

  private result(slot: number, drop: number): Sent {
    const row = slot << IP_SHIFT
    const { ip } = this
    const bytes = this.pool.frame(slot).slice()
    const text = (at: number): string =>
      ip[row + Ip.Family] === 6
        ? ipv6.addrText(ip[at], ip[at + 1], ip[at + 2], ip[at + 3])
        : ipv4.addrText(ip[at])
    const ct = ip[row + Ip.Ct]
    return {
      state: STATE_NAMES[ip[row + Ip.CtState]] ?? 'none',
      reply: ct >= 2 && (ct & 1) === 1,
      drop: drop === PASS ? null : DROPS[drop][0],
      src: text(row + Ip.Src0),
      dst: text(row + Ip.Dst0),
      sport: ip[row + Ip.Ports] >>> 16,
      dport: ip[row + Ip.Ports] & 0xffff,
      id: ip[row + Ip.Ports] & 0xffff,
      bytes,
      entry: ct >> 1,
    }
  }

  pass(seconds: number): void {
    this.nowMs += seconds * 1000
  }

  /** `conntrack -L`, without packets and bytes. */
  list(): string[] {
    return [...rows(this.ct.table.memory, this.nowMs)].map((row) => lineOf(row, false).replace(/ use=1$/, ''))
  }

  /** State of the only TCP entry. */
  tcpState(): string | null {
    const [row, more] = [...rows(this.ct.table.memory, this.nowMs)]
    expect(more).toBeUndefined()
    return row?.state ?? null
  }

  timeout(): number {
    const [row] = [...rows(this.ct.table.memory, this.nowMs)]
    return row ? row.timeoutS : -1
  }
}

/** All checksums of an IP packet are right: header, transport, and those of a quoted packet's IP header. */
export function checkSums(bytes: Uint8Array, what = ''): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const v6 = bytes[0] >> 4 === 6
  const l3 = v6 ? 40 : ipv4.headerLength(view, 0)
  const proto = v6 ? bytes[6] : bytes[9]
  const length = bytes.length - l3
  if (!v6) expect(ipv4.verified(view, 0), `${what} IPv4 header`).toBe(true)
  if (proto === 17 && view.getUint16(l3 + 6) === 0) return
  if (proto === 1) expect(verify(view, l3, length, 0), `${what} ICMP`).toBe(true)
  else if (l4.sumPlace(proto, l3, bytes.length) >= 0) {
    const sum = v6 ? pseudo6(view, 0, proto, length) : pseudo4(view, 0, proto, length)
    expect(verify(view, l3, length, sum), `${what} transport ${proto}`).toBe(true)
  }
}

/** An ICMP error that quotes (the first `bytes` of) a packet. */
export function errorAbout(
  quoted: Uint8Array,
  from: string,
  to: string,
  type: number,
  code: number,
  bytes = 548,
  rest = 0,
): Packet {
  const v6 = quoted[0] >> 4 === 6
  return {
    src: from,
    dst: to,
    proto: v6 ? 'icmpv6' : 'icmp',
    type,
    code,
    rest,
    payload: quoted.slice(0, bytes),
  }
}

/** What an ICMP error quotes. */
export function quoteIn(bytes: Uint8Array): {
  src: string
  dst: string
  sport: number
  dport: number
  bytes: Uint8Array
} {
  const v6 = bytes[0] >> 4 === 6
  const quote = bytes.slice((v6 ? 40 : 20) + 8)
  const view = new DataView(quote.buffer)
  const at = v6 ? 40 : ipv4.headerLength(view, 0)
  const text = (i: number): string => {
    if (!v6) return ipv4.addrText(view.getInt32(i === 0 ? 12 : 16))
    const words = [0, 1, 2, 3].map((w) => (i === 0 ? ipv6.srcAddr : ipv6.dstAddr)(view, 0, w))
    return ipv6.addrText(words[0], words[1], words[2], words[3])
  }
  return {
    src: text(0),
    dst: text(1),
    sport: view.getUint16(at),
    dport: view.getUint16(at + 2),
    bytes: quote,
  }
}
