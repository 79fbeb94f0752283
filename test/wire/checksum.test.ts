/** The checksum: RFC examples, and a million rewrites held against sums made anew, byte by byte. */
import { describe, expect, test } from 'vitest'
import * as checksum from '../../src/wire/checksum.ts'
import { SumMode } from '../../src/wire/checksum.ts'
import * as icmp from '../../src/wire/icmp.ts'
import * as icmpv6 from '../../src/wire/icmpv6.ts'
import * as ipv4 from '../../src/wire/ipv4.ts'
import * as ipv6 from '../../src/wire/ipv6.ts'
import * as l4 from '../../src/wire/l4.ts'
import * as tcpOption from '../../src/wire/tcp-option.ts'
import * as udpHeader from '../../src/wire/udp.ts'
import * as frames from '../support/frames.ts'
import { onesSum, random } from '../support/frames.ts'
import * as captured from './captured.ts'
import { lay } from './lay.ts'

test('RFC 1071 section 3', () => {
  const { view, at } = lay(Uint8Array.from([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]))
  expect(checksum.sum(view, at, 8, 0)).toBe(0xddf2)
  expect(checksum.checksumOf(view, at, 8, 0)).toBe(0x220d)
})

test('RFC 1624 section 4: where equation 2 goes wrong', () => {
  expect(checksum.apply(0xdd2f, checksum.diff16(0x5555, 0x3285))).toBe(0x0000)
})

test('sums of every length and place, the largest too', () => {
  const r = random(1)
  const bytes = Uint8Array.from({ length: 200 }, r)
  for (let len = 0; len < 150; len++) {
    for (const before of [0, 1, 2, 3]) {
      const { view, at } = lay(bytes.subarray(0, len), before)
      expect(checksum.sum(view, at, len, 0)).toBe(onesSum(bytes.subarray(0, len)))
    }
  }
  const ones = lay(new Uint8Array(65535).fill(255))
  expect(checksum.sum(ones.view, ones.at, 65535, 0xffff)).toBe(
    onesSum(new Uint8Array(65535).fill(255), [255, 255]),
  )
})

test('captured packets verify', () => {
  for (const packet of [captured.tcp4Syn, captured.tcp4Rst, captured.udp4]) {
    const { view, at, end } = lay(packet)
    const proto = ipv4.protocol(view, at)
    expect(ipv4.verified(view, at)).toBe(true)
    expect(
      checksum.verify(view, at + 20, end - at - 20, checksum.pseudo4(view, at, proto, end - at - 20)),
    ).toBe(true)
  }
  for (const packet of [captured.tcp6Syn, captured.udp6, captured.echo6, captured.neighborSolicitation]) {
    const { view, at, end } = lay(packet)
    const pseudo = checksum.pseudo6(view, at, ipv6.nextHeader(view, at), end - at - 40)
    expect(checksum.verify(view, at + 40, end - at - 40, pseudo)).toBe(true)
  }
})

/** What must be in the checksum field of a transport packet. */
function expected(packet: Uint8Array, l3: number, proto: number, sumAt: number, partial: boolean): number {
  const src = l3 === 20 ? packet.subarray(12, 16) : packet.subarray(8, 24)
  const dst = l3 === 20 ? packet.subarray(16, 20) : packet.subarray(24, 40)
  const length = packet.length - l3
  const pseudo = [...src, ...dst, 0, proto, length >> 8, length & 255]
  if (partial) return onesSum(pseudo)
  const copy = packet.slice(l3)
  copy[sumAt - l3] = 0
  copy[sumAt - l3 + 1] = 0
  const sum = ~onesSum(pseudo, copy) & 0xffff
  return sum === 0 && proto === 17 ? 0xffff : sum
}

interface Case {
  name: string
  family: 4 | 6
  proto: number
  partial: boolean
  size: number
  rounds: number
}

const SMALL = 150_000
const cases: Case[] = [
  { name: 'tcp', proto: 6, size: 37 },
  { name: 'udp', proto: 17, size: 18 },
].flatMap(({ name, proto, size }) =>
  ([4, 6] as const).flatMap((family) => [
    { name, family, proto, partial: false, size, rounds: SMALL },
    { name, family, proto, partial: true, size, rounds: SMALL },
    { name: `${name} super-frame`, family, proto, partial: true, size: 65000, rounds: 400 },
    { name: `${name} super-frame`, family, proto, partial: false, size: 65001, rounds: 400 },
  ]),
)

describe('a million rewrites of addresses, ports, TTL, TOS and identification', () => {
  test.each(cases)('$name over IPv$family, partial $partial, $size bytes', { timeout: 120_000 }, (c) => {
    const r = random(c.size + c.proto + c.family)
    const payload = Uint8Array.from({ length: c.size }, r)
    const ends = {
      ...(c.family === 4 ? { src: '10.0.0.1', dst: '10.0.0.2' } : { src: 'fd00::1', dst: 'fd00::2' }),
      partial: c.partial,
    }
    const segment = c.proto === 6 ? frames.tcp(ends, { payload }) : frames.udp(ends, { payload })
    const packet =
      c.family === 4
        ? frames.ipv4({ ...ends, protocol: c.proto, payload: segment })
        : frames.ipv6({ ...ends, next: c.proto, payload: segment })
    const { view, at, end } = lay(packet)
    const bytes = new Uint8Array(view.buffer, at)
    const l3 = c.family === 4 ? 20 : 40
    const l4At = at + l3
    const sumAt = l4.sumPlace(c.proto, l4At, end)
    const mode = l4.sumMode(c.proto, c.partial)
    // Addresses of few bits too: their words are 0 and 0xffff, where ones' complement has its corners.
    const word = (): number => [r() | 0, 0, -1, r() & 0xffff, r() & 1][r() % 5]
    const port = (): number => [r() & 0xffff, 0, 0xffff][r() % 3]
    for (let i = 0; i < c.rounds; i++) {
      switch (r() % 5) {
        case 0:
          if (c.family === 4) ipv4.setSrcAddr(view, at, word(), sumAt, mode)
          else ipv6.setSrcAddr(view, at, word(), word(), word(), word(), sumAt, mode)
          break
        case 1:
          if (c.family === 4) ipv4.setDstAddr(view, at, word(), sumAt, mode)
          else ipv6.setDstAddr(view, at, word(), word(), word(), word(), sumAt, mode)
          break
        case 2:
          l4.setSrcPort(view, l4At, port(), sumAt, mode)
          break
        case 3:
          l4.setDstPort(view, l4At, port(), sumAt, mode)
          break
        default:
          if (c.family === 4) {
            ipv4.setTtl(view, at, r() & 255)
            ipv4.setTos(view, at, r() & 255)
            ipv4.setId(view, at, port())
          } else {
            ipv6.setTtl(view, at, r() & 255)
            ipv6.setTos(view, at, r() & 255)
          }
      }
      const want = expected(bytes, l3, c.proto, sumAt - at, c.partial)
      if (view.getUint16(sumAt) !== want) throw new Error(`round ${i}: ${view.getUint16(sumAt)}, not ${want}`)
      if (c.family === 4 && onesSum(bytes.subarray(0, 20)) !== 0xffff) throw new Error(`round ${i}: header`)
    }
  })
})

test('a UDP checksum of 0 stays 0 whatever changes, over both families', () => {
  const r = random(4)
  const ends = { src: '10.0.0.1', dst: '10.0.0.2' }
  const { view, at, end } = lay(frames.ipv4({ ...ends, payload: frames.udp(ends, { unsummed: true }) }))
  const sumAt = l4.sumPlace(17, at + 20, end)
  for (let i = 0; i < 1000; i++) {
    ipv4.setSrcAddr(view, at, r() | 0, sumAt, SumMode.Udp)
    l4.setDstPort(view, at + 20, r() & 0xffff, sumAt, SumMode.Udp)
    udpHeader.setLength(view, at + 20, 8 + (i & 7), false)
    expect(view.getUint16(sumAt)).toBe(0)
  }
})

test('a UDP checksum that would become 0 becomes 0xffff, and TCP has 0', () => {
  for (const [proto, want] of [
    [17, 0xffff],
    [6, 0],
  ] as const) {
    const ends = { src: '10.0.0.1', dst: '10.0.0.2' }
    const payload = proto === 17 ? frames.udp(ends) : frames.tcp(ends)
    const { view, at, end } = lay(frames.ipv4({ ...ends, protocol: proto, payload }))
    const sumAt = l4.sumPlace(proto, at + 20, end)
    // Adding the checksum to the port makes the rest sum up to 0xffff.
    const port = checksum.fold(l4.srcPort(view, at + 20) + view.getUint16(sumAt))
    l4.setSrcPort(view, at + 20, port, sumAt, l4.sumMode(proto, false))
    expect(view.getUint16(sumAt)).toBe(want)
    // And back again.
    l4.setSrcPort(view, at + 20, 1000, sumAt, l4.sumMode(proto, false))
    expect(view.getUint16(sumAt)).toBe(
      expected(new Uint8Array(view.buffer, at), 20, proto, sumAt - at, false),
    )
  }
})

test.each([false, true])(
  'a length that changes, partial %s: header, pseudo-header and UDP length',
  (partial) => {
    for (const family of [4, 6] as const) {
      const ends = {
        ...(family === 4 ? { src: '10.0.0.1', dst: '10.0.0.2' } : { src: 'fd00::1', dst: 'fd00::2' }),
        partial,
      }
      const payload = frames.udp(ends, { payload: new Uint8Array(20).fill(7) })
      const l3 = family === 4 ? 20 : 40
      const { view, at, end } = lay(
        family === 4 ? frames.ipv4({ ...ends, payload }) : frames.ipv6({ ...ends, payload }),
      )
      // Six zero bytes less of payload: only lengths differ. The first makes room for the second.
      new Uint8Array(view.buffer).fill(0, end - 6)
      udpHeader.fillChecksum(view, at + l3, pseudoOf(view, at, family, 28), partial)
      const sumAt = at + l3 + 6
      const mode = l4.sumMode(17, partial)
      if (family === 4) ipv4.setTotalLength(view, at, 42, sumAt, mode)
      else ipv6.setPayloadLength(view, at, 22, sumAt, mode)
      // The header's own length, once more: it is data, and not in a partial sum.
      view.setUint16(at + l3 + 4, 22)
      if (!partial) view.setUint16(sumAt, checksum.apply(view.getUint16(sumAt), checksum.diff16(28, 22)))
      const packet = new Uint8Array(view.buffer, at, l3 + 22)
      expect(view.getUint16(sumAt)).toBe(expected(packet, l3, 17, sumAt - at, partial))
      if (family === 4) expect(ipv4.verified(view, at)).toBe(true)
    }
  },
)

function pseudoOf(view: DataView, at: number, family: 4 | 6, length: number): number {
  return family === 4 ? checksum.pseudo4(view, at, 17, length) : checksum.pseudo6(view, at, 17, length)
}

test('udp.setLength takes both places the length is in', () => {
  for (const partial of [false, true]) {
    const ends = { src: '10.0.0.1', dst: '10.0.0.2', partial }
    const { view, at } = lay(frames.udp(ends, { payload: new Uint8Array(8) }))
    udpHeader.setLength(view, at, 12, partial)
    const want = frames.udp(ends, { payload: new Uint8Array(4) })
    expect([...new Uint8Array(view.buffer, at, 12)]).toEqual([...want])
  }
})

describe('an ICMP error whose quoted packet is translated', () => {
  const r = random(9)

  test('IPv4: addresses and ports in the quote, the error valid after each', () => {
    const { view, at, end } = lay(captured.unreachable4)
    const inner = at + 20 + icmp.QUOTE
    for (let i = 0; i < 20_000; i++) {
      const quoted = inner + ipv4.headerLength(view, inner)
      // Without its checksum every other time, as a quote of TCP's first 8 bytes has none.
      const sumAt = i & 1 ? l4.sumPlace(17, quoted, end) : -1
      let diff = ipv4.setSrcAddr(view, inner, r() | 0, sumAt, SumMode.Udp)
      diff += ipv4.setDstAddr(view, inner, r() | 0, sumAt, SumMode.Udp)
      diff += l4.setSrcPort(view, quoted, r() & 0xffff, sumAt, SumMode.Udp)
      diff += ipv4.setTtl(view, inner, r() & 255)
      icmp.correct(view, at + 20, diff)
      expect(checksum.verify(view, at + 20, end - at - 20, 0)).toBe(true)
      expect(ipv4.verified(view, inner)).toBe(true)
    }
  })

  test('IPv6: the same, and the outer addresses', () => {
    const { view, at, end } = lay(captured.unreachable6)
    const inner = at + 40 + icmpv6.QUOTE
    const outerSum = l4.sumPlace(58, at + 40, end)
    for (let i = 0; i < 20_000; i++) {
      const quoted = inner + 40
      const sumAt = i & 1 ? l4.sumPlace(17, quoted, end) : -1
      let diff = ipv6.setSrcAddr(view, inner, r() | 0, 0, 0, r() | 0, sumAt, SumMode.Udp)
      diff += l4.setDstPort(view, quoted, r() & 0xffff, sumAt, SumMode.Udp)
      diff += ipv6.setTtl(view, inner, r() & 255)
      diff += ipv6.setPayloadLength(view, inner, r() & 0xffff, -1, 0)
      icmpv6.correct(view, at + 40, diff, false)
      ipv6.setDstAddr(view, at, r() | 0, 0, 0, r() | 0, outerSum, SumMode.Full)
      expect(
        checksum.verify(view, at + 40, end - at - 40, checksum.pseudo6(view, at, 58, end - at - 40)),
      ).toBe(true)
    }
  })

  test('identifiers and types of echo', () => {
    const v4 = lay(captured.echo4)
    const v6 = lay(captured.echo6)
    for (let i = 0; i < 1000; i++) {
      icmp.setIdent(v4.view, v4.at + 20, r() & 0xffff)
      icmp.setType(v4.view, v4.at + 20, r() & 8)
      expect(checksum.verify(v4.view, v4.at + 20, v4.end - v4.at - 20, 0)).toBe(true)
      icmpv6.setIdent(v6.view, v6.at + 40, r() & 0xffff, false)
      icmpv6.setType(v6.view, v6.at + 40, 128 + (r() & 1), false)
      const pseudo = checksum.pseudo6(v6.view, v6.at, 58, v6.end - v6.at - 40)
      expect(checksum.verify(v6.view, v6.at + 40, v6.end - v6.at - 40, pseudo)).toBe(true)
    }
  })
})

test('an MSS that is clamped, at even and odd places, partial or not', () => {
  for (const partial of [false, true]) {
    for (let nops = 0; nops < 4; nops++) {
      const ends = { src: '10.0.0.1', dst: '10.0.0.2', partial }
      const options = (mss: number): number[] => [...new Array(nops).fill(1), 2, 4, mss >> 8, mss & 255]
      const { view, at } = lay(frames.tcp(ends, { flags: 2, options: options(1460) }))
      expect(tcpOption.clampMss(view, at, 1500, partial)).toBe(false)
      expect(tcpOption.clampMss(view, at, 1337, partial)).toBe(true)
      expect([...new Uint8Array(view.buffer, at)]).toEqual([
        ...frames.tcp(ends, { flags: 2, options: options(1337) }),
      ])
    }
  }
})

test('fill: whole, partial, and UDP without zero', () => {
  for (const partial of [false, true]) {
    const ends = { src: 'fd00::1', dst: 'fd00::2', partial }
    const want = frames.ipv6({
      ...ends,
      next: 6,
      payload: frames.tcp(ends, { payload: new Uint8Array(5).fill(3) }),
    })
    const { view, at } = lay(want)
    view.setUint16(at + 56, 0x1234)
    checksum.fill(view, at + 40, 25, at + 56, checksum.pseudo6(view, at, 6, 25), l4.sumMode(6, partial))
    expect([...new Uint8Array(view.buffer, at)]).toEqual([...want])
  }
})
