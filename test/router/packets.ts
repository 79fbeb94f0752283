/** Packets for the router's tests, written field by field, apart from what src/wire knows. */
import { station } from '../support/frames.ts'

export function ip4(text: string): number {
  return text.split('.').reduce((word, byte) => (word << 8) | Number(byte), 0)
}

/** Four words. Takes one `::`. */
export function ip6(text: string): number[] {
  const [left, right = ''] = text.split('::')
  const parse = (part: string): number[] =>
    part
      .split(':')
      .filter(Boolean)
      .map((g) => Number.parseInt(g, 16))
  const [a, b] = [parse(left), text.includes('::') ? parse(right) : []]
  const groups = [...a, ...new Array(8 - a.length - b.length).fill(0), ...b]
  return [0, 2, 4, 6].map((i) => (groups[i] << 16) | groups[i + 1])
}

/** First two bytes and the other four of station n's MAC. */
export function macOfStation(n: number): [hi: number, lo: number] {
  const view = new DataView(station(n).buffer)
  return [view.getUint16(0), view.getInt32(2)]
}

export function bytes(...parts: (number | Uint8Array | number[])[]): Uint8Array {
  const length = parts.reduce<number>((n, p) => n + (typeof p === 'number' ? 1 : p.length), 0)
  const all = new Uint8Array(length)
  let at = 0
  for (const p of parts) {
    if (typeof p === 'number') all[at++] = p
    else {
      all.set(p, at)
      at += p.length
    }
  }
  return all
}

/** Hex, for comparisons of long packets: `toEqual` walks them byte by byte. */
export const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')

export const u16 = (n: number): number[] => [(n >> 8) & 255, n & 255]
export const u32 = (n: number): number[] => [n >>> 24, (n >> 16) & 255, (n >> 8) & 255, n & 255]
export const a4 = (text: string): number[] => u32(ip4(text))
export const a6 = (text: string): number[] => ip6(text).flatMap(u32)

/** The Internet checksum, the plain way. */
export function internetChecksum(data: Uint8Array | number[]): number {
  let sum = 0
  for (let i = 0; i < data.length; i += 2) sum += (data[i] << 8) | (data[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** Station `src` to `dst`; BROADCAST_STATION is everybody. */
export function ethernet(dst: number | number[], src: number, type: number, payload: Uint8Array): Uint8Array {
  return bytes(typeof dst === 'number' ? station(dst) : dst, station(src), u16(type), payload)
}

export const EVERYBODY = [255, 255, 255, 255, 255, 255]

export interface ArpParts {
  op?: number
  /** Stations; the frame's source is `sha` too. */
  sha: number
  spa: string
  tha?: number
  tpa: string
  dst?: number | number[]
}

export function arp(p: ArpParts): Uint8Array {
  const tha = p.tha === undefined ? new Uint8Array(6) : station(p.tha)
  const body = bytes(u16(1), u16(0x800), 6, 4, u16(p.op ?? 1), station(p.sha), a4(p.spa), tha, a4(p.tpa))
  return ethernet(p.dst ?? (p.op === 2 ? (p.tha ?? EVERYBODY) : EVERYBODY), p.sha, 0x0806, body)
}

/** What an ARP frame says: 'ask 10.0.0.2 for 10.0.0.1, 1 > *'. Checks the fixed fields. */
export function arpText(frame: Uint8Array): string {
  const view = new DataView(frame.buffer, frame.byteOffset)
  if (frame.length < 42 || view.getUint16(12) !== 0x0806) return 'not arp'
  if (view.getUint32(14) !== 0x00010800 || view.getUint16(18) !== 0x0604) return 'malformed'
  const name = (at: number): string => {
    if (view.getUint16(at) === 0xffff) return '*'
    return view.getUint32(at + 2).toString(16)
  }
  const addr = (at: number): string => [...frame.subarray(at, at + 4)].join('.')
  const what = view.getUint16(20) === 1 ? 'who-has' : 'is-at'
  return `${what} ${addr(38)} tell ${addr(28)}, ${name(6)} > ${name(0)}, target ${name(32)}`
}

export interface Ip4Parts {
  src?: string
  dst?: string
  id?: number
  proto?: number
  ttl?: number
  tos?: number
  df?: boolean
  mf?: boolean
  /** Bytes. */
  offset?: number
  options?: number[]
  payload?: Uint8Array
}

export function ipv4(p: Ip4Parts = {}): Uint8Array {
  const options = p.options ?? []
  const payload = p.payload ?? new Uint8Array(8)
  const size = 20 + options.length
  const fragment = (p.df ? 0x4000 : 0) | (p.mf ? 0x2000 : 0) | ((p.offset ?? 0) >> 3)
  const header = bytes(
    [0x40 | (size >> 2), p.tos ?? 0],
    u16(size + payload.length),
    u16(p.id ?? 1),
    u16(fragment),
    [p.ttl ?? 64, p.proto ?? 17],
    [0, 0],
    a4(p.src ?? '10.1.0.9'),
    a4(p.dst ?? '10.0.0.2'),
    options,
  )
  header.set(u16(internetChecksum(header)), 10)
  return bytes(header, payload)
}

export interface Ip6Parts {
  src?: string
  dst?: string
  next?: number
  hopLimit?: number
  tos?: number
  payload?: Uint8Array
}

export function ipv6(p: Ip6Parts = {}): Uint8Array {
  const payload = p.payload ?? new Uint8Array(8)
  return bytes(
    u32((6 << 28) | ((p.tos ?? 0) << 20)),
    u16(payload.length),
    [p.next ?? 17, p.hopLimit ?? 64],
    a6(p.src ?? 'fd00:1::9'),
    a6(p.dst ?? 'fd00::2'),
    payload,
  )
}

/** A fragment header and what follows. */
export function fragment6(
  next: number,
  offset: number,
  more: boolean,
  id: number,
  rest: Uint8Array,
): Uint8Array {
  return bytes([next, 0], u16(offset | (more ? 1 : 0)), u32(id), rest)
}

/** ICMPv6 with its checksum. */
export function icmp6(p: Ip6Parts, message: Uint8Array): Uint8Array {
  const [src, dst] = [p.src ?? 'fe80::9', p.dst ?? 'ff02::1']
  const pseudo = bytes(a6(src), a6(dst), u32(message.length), u32(58))
  const whole = message.slice()
  whole.set([0, 0], 2)
  whole.set(u16(internetChecksum(bytes(pseudo, whole))), 2)
  return ipv6({ hopLimit: 255, ...p, src, dst, next: 58, payload: whole })
}

export function udp(src: number, dst: number, data: Uint8Array): Uint8Array {
  return bytes(u16(src), u16(dst), u16(8 + data.length), [0, 0], data)
}

/** Bytes 0, 1, 2, ... that tell where they belong. */
export function pattern(n: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 255)
}
