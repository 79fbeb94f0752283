/**
 * A million random rewrites: the checksums that came about by difference are those of the whole packet.
 * Full and partial, IPv4 and IPv6, every transport, and ICMP errors around them.
 */
import { expect, test } from 'vitest'
import { V6 } from '../../../src/filter/conntrack/layout.ts'
import { T } from '../../../src/filter/conntrack/tuple.ts'
import { sctpChecksum } from '../../../src/filter/nat/crc32c.ts'
import { Manip } from '../../../src/filter/nat/range.ts'
import { rewrite } from '../../../src/filter/nat/rewrite.ts'
import { SLOT_SIZE } from '../../../src/packet/layout.ts'
import { pseudo4, pseudo6, sum } from '../../../src/wire/checksum.ts'
import * as ipv4 from '../../../src/wire/ipv4.ts'
import { random } from '../../support/frames.ts'
import { Bench, build, type Packet } from '../conntrack/support.ts'

const ROUNDS = 250_000
/** Addresses and ports that make sums of 0 and 0xffff likely. */
const EDGES = [0, -1, 0xffff, -65536, 1, 0x7fffffff]

const KINDS: Packet[] = [
  { src: '10.0.0.2', dst: '192.0.2.1', flags: 'PA', payload: 33 },
  { src: '10.0.0.2', dst: '192.0.2.1', proto: 'udp', payload: 8 },
  { src: '10.0.0.2', dst: '192.0.2.1', proto: 'icmp', payload: 12 },
  { src: 'fd00::2', dst: '2001:db8::1', flags: 'PA', payload: 33 },
  { src: 'fd00::2', dst: '2001:db8::1', proto: 'udp', payload: 8 },
  { src: 'fd00::2', dst: '2001:db8::1', proto: 'icmpv6', payload: 12 },
  { src: '10.0.0.2', dst: '192.0.2.1', flags: 'PA', payload: 33, partial: true },
  { src: 'fd00::2', dst: '2001:db8::1', proto: 'udp', payload: 8, partial: true },
]

test.each(KINDS.map((k) => [`${k.src} ${k.proto ?? 'tcp'}${k.partial ? ' partial' : ''}`, k] as const))(
  'incremental is full: %s',
  (_, packet) => {
    const b = new Bench({ capacity: 4 })
    const slot = 1
    b.load(slot, build(packet), packet)
    const { ip, pool } = b
    const view = pool.view
    const at = pool.at(slot)
    const v6 = packet.src.includes(':')
    const l4 = at + (v6 ? 40 : 20)
    const end = at + pool.frame(slot).length
    const proto = v6 ? pool.bytes[at + 6] : pool.bytes[at + 9]
    const next = random(proto * 7 + (v6 ? 1 : 0))
    const word = (): number => (next() % 5 === 0 ? EDGES[next() % EDGES.length] : next() | 0)
    const to = new Int32Array(T.Words)
    const rounds = ROUNDS / 2
    let wrong = 0
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 8; i++) to[i] = word()
      to[T.Ports] = word()
      to[T.Key] = proto | (v6 ? V6 : 0)
      rewrite(pool, ip, slot, round & 1 ? Manip.Source : Manip.Destination, to)
      const pseudo =
        proto === 1 ? 0 : v6 ? pseudo6(view, at, proto, end - l4) : pseudo4(view, at, proto, end - l4)
      const field = proto === 6 ? 16 : proto === 17 ? 6 : 2
      const right = packet.partial
        ? same(view.getUint16(l4 + field), pseudo)
        : sum(view, l4, end - l4, pseudo) === 0xffff && !(proto === 17 && view.getUint16(l4 + field) === 0)
      if (!right || (!v6 && !ipv4.verified(view, at))) wrong++
    }
    expect(wrong).toBe(0)
    expect(at).toBeGreaterThan(SLOT_SIZE)
  },
)

/** Two ways to write zero in ones' complement. */
function same(a: number, b: number): boolean {
  return a === b || (a % 0xffff === 0 && b % 0xffff === 0)
}

test('CRC-32C: the check value of the standard', () => {
  // "123456789" with the field's four bytes as zeros, computed bit by bit.
  const bytes = Uint8Array.from('12345678....9', (c) => c.charCodeAt(0))
  let crc = 0xffffffff
  bytes.forEach((byte, i) => {
    crc ^= i >= 8 && i < 12 ? 0 : byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  })
  expect(sctpChecksum(bytes, 0, bytes.length)).toBe(~crc >>> 0)
  expect(
    sctpChecksum(
      Uint8Array.from('12345678', (c) => c.charCodeAt(0)),
      0,
      8,
    ),
  ).toBe(0x6087809a)
})
