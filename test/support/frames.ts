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
