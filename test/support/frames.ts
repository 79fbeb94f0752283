/** Frames written by hand: small numbers stand for stations, bytes for everything else. */

export const BROADCAST = Uint8Array.from([255, 255, 255, 255, 255, 255])

/** Station n: 02-00-00-00-hi-lo, locally administered. */
export function station(n: number): Uint8Array {
  return Uint8Array.from([2, 0, (n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255])
}

/** An IPv4 multicast group's address. */
export function group(n: number): Uint8Array {
  return Uint8Array.from([1, 0, 0x5e, 0, 0, n & 255])
}

/** 01-80-C2-00-00-0n. */
export function reserved(n: number): Uint8Array {
  return Uint8Array.from([1, 0x80, 0xc2, 0, 0, n])
}

/** Text form of an address from the two keys of the forwarding database. */
export function macOf(hi: number, lo: number): string {
  const bytes = [hi >> 8, hi & 255, lo >>> 24, (lo >> 16) & 255, (lo >> 8) & 255, lo & 255]
  return bytes.map((b) => b.toString(16).padStart(2, '0')).join(':')
}

export function mac(address: Uint8Array): string {
  return [...address].map((b) => b.toString(16).padStart(2, '0')).join(':')
}

export interface Tag {
  vid: number
  pcp?: number
  dei?: number
  tpid?: number
}

export interface FrameParts {
  /** A number is a station. */
  dst: number | Uint8Array
  src: number | Uint8Array
  /** Outermost first. */
  tags?: Tag[]
  /** EtherType, or a length for 802.2. */
  type?: number
  payload?: Uint8Array
  /** Payload bytes, zeros, when there is no `payload`; default 46. */
  size?: number
}

const address = (a: number | Uint8Array): Uint8Array => (typeof a === 'number' ? station(a) : a)

export function frame(parts: FrameParts): Uint8Array {
  const tags = (parts.tags ?? []).flatMap(({ tpid = 0x8100, pcp = 0, dei = 0, vid }) => [
    tpid >> 8,
    tpid & 255,
    (pcp << 5) | (dei << 4) | (vid >> 8),
    vid & 255,
  ])
  const type = parts.type ?? 0x88b5
  const payload = parts.payload ?? new Uint8Array(parts.size ?? 46)
  const head = [...address(parts.dst), ...address(parts.src), ...tags, type >> 8, type & 255]
  const bytes = new Uint8Array(head.length + payload.length)
  bytes.set(head)
  bytes.set(payload, head.length)
  return bytes
}

/** A number as a payload, to tell frames apart and check their order. */
export function numbered(n: number, size = 46): Uint8Array {
  const payload = new Uint8Array(size)
  new DataView(payload.buffer).setUint32(0, n)
  return payload
}

/** The number back, at `offset` of the frame. */
export function numberIn(bytes: Uint8Array, offset = 14): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset)
}

/** The same pseudo-random numbers for the same seed, in [0, 2^32) (mulberry32, a public-domain design). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
}

// Packets above Ethernet. Checksums are computed here from scratch and byte by byte, so that they can be
// held against src/wire.

/** '10.0.0.1' as an int32. */
export function ip4(text: string): number {
  return text.split('.').reduce((sum, part) => (sum << 8) | Number(part), 0)
}

/** 'fd00::1' as four int32 words. */
export function ip6(text: string): [number, number, number, number] {
  const [left, right] = text.split('::').map((part) => (part === '' ? [] : part.split(':')))
  const zeros: string[] = new Array(8 - left.length - (right?.length ?? 0)).fill('0')
  const groups = (right === undefined ? left : [...left, ...zeros, ...right]).map((g) =>
    Number.parseInt(g, 16),
  )
  return [0, 2, 4, 6].map((i) => (groups[i] << 16) | groups[i + 1]) as [number, number, number, number]
}

/** The ones' complement sum of all bytes as 16-bit words, one by one. */
export function onesSum(...parts: ArrayLike<number>[]): number {
  let sum = 0
  for (const bytes of parts) {
    for (let i = 0; i < bytes.length; i++) {
      sum += i & 1 ? bytes[i] : bytes[i] << 8
      if (sum > 0xffff) sum -= 0xffff
    }
  }
  return sum
}

const be16 = (n: number): number[] => [(n >> 8) & 255, n & 255]
const be32 = (n: number): number[] => [(n >>> 24) & 255, (n >> 16) & 255, (n >> 8) & 255, n & 255]
const addr4 = (a: string | number): number[] => be32(typeof a === 'number' ? a : ip4(a))
const addr6 = (a: string | readonly number[]): number[] => (typeof a === 'string' ? ip6(a) : a).flatMap(be32)

export interface Ipv4Parts {
  src: string | number
  dst: string | number
  protocol?: number
  payload?: Uint8Array
  /** Bytes, padded with zeros to whole words. */
  options?: number[]
  ttl?: number
  tos?: number
  id?: number
  dontFragment?: boolean
  moreFragments?: boolean
  /** Bytes. */
  fragmentOffset?: number
}

export function ipv4(parts: Ipv4Parts): Uint8Array {
  const { protocol = 17, payload = new Uint8Array(0), options = [], ttl = 64, tos = 0, id = 0 } = parts
  const padded = [...options, ...new Array((4 - (options.length & 3)) & 3).fill(0)]
  const length = 20 + padded.length
  const fragment =
    (parts.dontFragment ? 0x4000 : 0) |
    (parts.moreFragments ? 0x2000 : 0) |
    ((parts.fragmentOffset ?? 0) >> 3)
  const first = [
    0x40 | (length >> 2),
    tos,
    ...be16(length + payload.length),
    ...be16(id),
    ...be16(fragment),
    ttl,
    protocol,
  ]
  const last = [...addr4(parts.src), ...addr4(parts.dst), ...padded]
  const bytes = new Uint8Array(length + payload.length)
  bytes.set([...first, ...be16(~onesSum(first, last)), ...last])
  bytes.set(payload, length)
  return bytes
}

export interface Ipv6Parts {
  src: string | readonly number[]
  dst: string | readonly number[]
  next?: number
  payload?: Uint8Array
  hopLimit?: number
  tos?: number
  flowLabel?: number
}

export function ipv6(parts: Ipv6Parts): Uint8Array {
  const { next = 17, payload = new Uint8Array(0), hopLimit = 64, tos = 0, flowLabel = 0 } = parts
  const first = [...be32((6 << 28) | (tos << 20) | flowLabel), ...be16(payload.length), next, hopLimit]
  const bytes = new Uint8Array(40 + payload.length)
  bytes.set([...first, ...addr6(parts.src), ...addr6(parts.dst)])
  bytes.set(payload, 40)
  return bytes
}

/** The pseudo-header of IPv4 or IPv6, as bytes. */
export function pseudoHeader(src: string, dst: string, protocol: number, length: number): number[] {
  if (src.includes(':')) return [...addr6(src), ...addr6(dst), ...be32(length), ...be32(protocol)]
  return [...addr4(src), ...addr4(dst), 0, protocol, ...be16(length)]
}

/** Between whom: for the pseudo-header. `partial`: only its sum is in the checksum field. */
export interface Ends {
  src: string
  dst: string
  partial?: boolean
}

function summed(bytes: Uint8Array, at: number, pseudo: number[], ends: Ends, zero: number): Uint8Array {
  const sum = ends.partial ? onesSum(pseudo) : ~onesSum(pseudo, bytes) & 0xffff
  bytes.set(be16(sum === 0 ? zero : sum), at)
  return bytes
}

export interface UdpParts {
  srcPort?: number
  dstPort?: number
  payload?: Uint8Array
  /** Leaves the checksum 0. */
  unsummed?: boolean
}

export function udp(ends: Ends, parts: UdpParts = {}): Uint8Array {
  const { srcPort = 1000, dstPort = 2000, payload = new Uint8Array(0) } = parts
  const bytes = new Uint8Array(8 + payload.length)
  bytes.set([...be16(srcPort), ...be16(dstPort), ...be16(bytes.length)])
  bytes.set(payload, 8)
  return parts.unsummed
    ? bytes
    : summed(bytes, 6, pseudoHeader(ends.src, ends.dst, 17, bytes.length), ends, 0xffff)
}

export interface TcpParts {
  srcPort?: number
  dstPort?: number
  seq?: number
  ack?: number
  /** FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128. */
  flags?: number
  window?: number
  /** Bytes, padded with zeros to whole words. */
  options?: number[]
  payload?: Uint8Array
}

export function tcp(ends: Ends, parts: TcpParts = {}): Uint8Array {
  const { srcPort = 1000, dstPort = 80, seq = 0, ack = 0, flags = 16, window = 65535, options = [] } = parts
  const payload = parts.payload ?? new Uint8Array(0)
  const padded = [...options, ...new Array((4 - (options.length & 3)) & 3).fill(0)]
  const length = 20 + padded.length
  const head = [...be16(srcPort), ...be16(dstPort), ...be32(seq), ...be32(ack), (length >> 2) << 4, flags]
  const bytes = new Uint8Array(length + payload.length)
  bytes.set([...head, ...be16(window), 0, 0, 0, 0, ...padded])
  bytes.set(payload, length)
  return summed(bytes, 16, pseudoHeader(ends.src, ends.dst, 6, bytes.length), ends, 0)
}

export interface IcmpParts {
  type: number
  code?: number
  /** The word behind the checksum: identifier and sequence, or MTU, or pointer. */
  rest?: number
  payload?: Uint8Array
}

/** ICMP, or with `ends` ICMPv6. */
export function icmp(parts: IcmpParts, ends?: Ends): Uint8Array {
  const payload = parts.payload ?? new Uint8Array(0)
  const bytes = new Uint8Array(8 + payload.length)
  bytes.set([parts.type, parts.code ?? 0, 0, 0, ...be32(parts.rest ?? 0)])
  bytes.set(payload, 8)
  const pseudo = ends ? pseudoHeader(ends.src, ends.dst, 58, bytes.length) : []
  return summed(bytes, 2, pseudo, { src: '', dst: '' }, 0)
}
