/** What the fuzzer feeds: frames that are almost right, metadata that a port could hand over, settings. */
import type { PortSettings } from '../../src/engine/command.ts'
import { Flag, Gso, HEADROOM, MAX_FRAME, META_SHIFT, Meta, SLOT_SIZE } from '../../src/packet/layout.ts'
import type { Pool } from '../../src/packet/pool.ts'
import type { PortVlan } from '../../src/switch/vlan.ts'
import { settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame, group, reserved, station } from '../support/frames.ts'

type Random = () => number

function pick<T>(next: Random, list: readonly T[]): T {
  return list[next() % list.length]
}

function ip(v6: boolean, protocol: number, payload: number): Uint8Array {
  const header = v6 ? 40 : 20
  const l4 = protocol === 6 ? 20 : 8
  const p = new Uint8Array(header + l4 + payload)
  const total = v6 ? l4 + payload : p.length
  p[0] = v6 ? 0x60 : 0x45
  const at = v6 ? 4 : 2
  p[at] = total >> 8
  p[at + 1] = total
  p[v6 ? 6 : 9] = protocol
  p[v6 ? 7 : 8] = 64
  if (protocol === 6) p[header + 12] = 5 << 4
  else {
    p[header + 4] = (l4 + payload) >> 8
    p[header + 5] = l4 + payload
  }
  return p
}

/** One of everything. */
export function templatesOf(): Uint8Array[] {
  const stacks = [
    [],
    [{ vid: 10 }],
    [{ vid: 0, pcp: 5 }],
    [{ vid: 4095 }],
    [{ tpid: 0x88a8, vid: 1 }, { vid: 2 }],
  ]
  const bodies: [type: number, payload: Uint8Array][] = [
    [0x0800, ip(false, 6, 26)],
    [0x0800, ip(false, 17, 64)],
    [0x0800, ip(false, 6, 3000)],
    [0x0800, ip(false, 6, 20_000)],
    [0x86dd, ip(true, 6, 20)],
    [0x86dd, ip(true, 17, 5000)],
    [0x86dd, ip(true, 6, 9000)],
    [0x0806, Uint8Array.from([0, 1, 8, 0, 6, 4, 0, 1, ...new Array(38).fill(7)])],
    [38, Uint8Array.from([0x42, 0x42, 3, ...new Array(43).fill(0)])],
    [0x88b5, new Uint8Array(9200)],
    [0xffff, new Uint8Array(0)],
  ]
  return stacks.flatMap((tags) =>
    bodies.map(([type, payload]) =>
      frame({ src: 1, dst: 2, tags: tags.map((t) => ({ ...t })), type, payload }),
    ),
  )
}

const TYPES = [0x8100, 0x88a8, 0x9100, 0x0800, 0x86dd, 0x0806, 0x0026, 0x05ff, 0x0600, 0xffff, 0x0000]
const SIZES = [0, 1, 13, 14, 15, 17, 18, 59, 60, 1514, 1518, 1519, 9234, 65535, MAX_FRAME]
const ADDRESSES = [
  BROADCAST,
  new Uint8Array(6),
  ...Array.from({ length: 16 }, (_, i) => reserved(i)),
  ...Array.from({ length: 4 }, (_, i) => group(i)),
]

/** Writes one frame and its metadata into a slot. Returns its length. */
export function makeFrame(pool: Pool, slot: number, templates: readonly Uint8Array[], next: Random): number {
  const { bytes, meta } = pool
  const m = slot << META_SHIFT
  const template = pick(next, templates)
  let length = template.length
  const at = slot * SLOT_SIZE + HEADROOM
  if (length < 4096 || next() % 4 === 0) bytes.set(template, at)
  else bytes.set(template.subarray(0, 128), at)

  if (length >= 12) {
    for (const side of [0, 6]) {
      const choice = next() % 32
      if (choice < 24) bytes.set(station(next() % 40), at + side)
      else if (choice < (side === 0 ? 28 : 25)) bytes.set(pick(next, ADDRESSES), at + side)
      else if (choice < 30) bytes.set(station(next()), at + side)
    }
  }
  switch (next() % 8) {
    case 0:
      bytes[at + (next() % Math.min(length + 1, 64))] ^= 1 << (next() % 8)
      break
    case 1:
      for (let i = next() % 8; i >= 0; i--) bytes[at + (next() % 80)] = next()
      break
    case 2: {
      const type = pick(next, TYPES)
      const where = at + pick(next, [12, 16, 20])
      bytes[where] = type >> 8
      bytes[where + 1] = type
      break
    }
    case 3:
      bytes[at + 14] = next() & 0xf0
      bytes[at + 15] = next() % 6
      break
    case 4:
      length = next() % (Math.min(length, 200) + 1)
      break
    case 5:
      length = pick(next, SIZES)
  }
  length = Math.min(length, MAX_FRAME)

  // A restored tag starts four bytes earlier (native/receive.cc), and nothing else moves a head.
  const head = length < MAX_FRAME - 4 && next() % 8 === 0 ? HEADROOM - 4 : HEADROOM
  if (head !== HEADROOM) bytes.copyWithin(at - 4, at, at + Math.min(length, 256))
  meta[m + Meta.Head] = head
  meta[m + Meta.Len] = length
  meta[m + Meta.Flags] = 0
  meta[m + Meta.GsoType] = 0
  meta[m + Meta.GsoSize] = 0
  meta[m + Meta.HdrLen] = 0
  meta[m + Meta.Strip] = 0
  meta[m + Meta.Tci] = 0
  describe(meta, m, length, next)
  return length
}

/** Offloads: usually none, often right, sometimes anything that fits 16 bits, as the header has them. */
function describe(meta: Int32Array, m: number, length: number, next: Random): void {
  const choice = next() % 8
  if (choice < 4) return
  if (choice === 4) {
    meta[m + Meta.Flags] = next() & (Flag.CsumPartial | Flag.CsumVerified | Flag.GsoEcn)
    meta[m + Meta.GsoType] = next() & 0x7f
    meta[m + Meta.GsoSize] = next() & 0xffff
    meta[m + Meta.HdrLen] = next() & 0xffff
    meta[m + Meta.CsumStart] = next() & 0xffff
    meta[m + Meta.CsumOffset] = next() & 0xffff
    return
  }
  const tags = pick(next, [0, 0, 0, 4, 8])
  const v6 = next() % 2 === 0
  const tcp = next() % 3 !== 0
  const start = 14 + tags + (v6 ? 40 : 20)
  if (start + 18 > length) return
  meta[m + Meta.Flags] = Flag.CsumPartial | (next() % 8 === 0 ? Flag.GsoEcn : 0)
  meta[m + Meta.CsumStart] = start
  meta[m + Meta.CsumOffset] = tcp ? 16 : 6
  if (choice === 5) return
  meta[m + Meta.GsoType] = tcp ? (v6 ? Gso.Tcp6 : Gso.Tcp4) : Gso.Udp
  meta[m + Meta.GsoSize] = pick(next, [1, 48, 536, 1220, 1428, 1448, 1460, 1466, 8948, 65535])
  meta[m + Meta.HdrLen] = start + (tcp ? 20 : 8)
}

function vlanOf(next: Random): PortVlan {
  const vid = 1 + (next() % 4)
  const tpid = pick(next, [undefined, 0x8100, 0x88a8, 0x9100])
  switch (next() % 5) {
    case 0:
      return { mode: 'unaware' }
    case 1:
      return { mode: 'access', vid, tpid }
    case 2:
      return { mode: 'tunnel', vid }
    default: {
      const allowed = [1, 2, 3, 4].filter(() => next() % 3 !== 0)
      const native = next() % 2 === 0 ? vid : undefined
      const translate = pick<[number, number][] | undefined>(next, [
        undefined,
        undefined,
        [[5, 1]],
        [
          [1, 2],
          [2, 1],
        ],
      ])
      return { mode: 'trunk', allowed, native, tpid, translate }
    }
  }
}

export function randomSettings(next: Random, port: number): PortSettings {
  const usually = (): boolean => next() % 16 !== 0
  const seldom = (): boolean => next() % 16 === 0
  const rate = (): number => (next() % 4 !== 0 ? Number.POSITIVE_INFINITY : pick(next, [0, 1, 100, 10_000]))
  return settingsOf({
    vlan: vlanOf(next),
    mtu: pick(next, [1500, 1500, 1500, 68, 576, 9216, 65535]),
    up: usually(),
    learning: usually(),
    floodUnknown: usually(),
    floodMulticast: usually(),
    floodBroadcast: usually(),
    isolated: seldom(),
    hairpin: seldom(),
    locked: seldom(),
    limit: pick(next, [0, 0, 0, 1, 8]),
    stormUnknown: rate(),
    stormMulticast: rate(),
    stormBroadcast: rate(),
    statics: seldom() ? [[station(port), 1 + (next() % 4)]] : [],
  })
}
