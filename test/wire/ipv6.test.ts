import { describe, expect, test } from 'vitest'
import * as ipv6 from '../../src/wire/ipv6.ts'
import * as extension from '../../src/wire/ipv6-extension.ts'
import { Walk, WalkResult } from '../../src/wire/ipv6-extension.ts'
import * as frames from '../support/frames.ts'
import { ip6 } from '../support/frames.ts'
import { echo6, mldReport, tcp6Syn, udp6 } from './captured.ts'
import { hex, lay, mutations, truncations } from './lay.ts'

test('captured headers', () => {
  const { view, at } = lay(tcp6Syn)
  expect(ipv6.text(view, at)).toBe('2001:db8::1 > 2001:db8::2 next 6 hlim 64 tos 0 flow 93615 length 40')
  expect([0, 1, 2, 3].map((w) => ipv6.dstAddr(view, at, w))).toEqual(ip6('2001:db8::2'))
})

test('what is written is what Linux sends', () => {
  const { view, at, bytes } = lay(new Uint8Array(40).fill(0xee))
  ipv6.write(view, at, 64, 58, 64, 0, 0x6d1e8)
  ipv6.setSrcAddr(view, at, ...ip6('2001:db8::1'), -1, 0)
  ipv6.setDstAddr(view, at, ...ip6('2001:db8::2'), -1, 0)
  expect([...bytes.subarray(at)]).toEqual([...echo6.subarray(0, 40)])
  ipv6.setTos(view, at, 0xab)
  ipv6.setTtl(view, at, 3)
  ipv6.setNextHeader(view, at, 17)
  ipv6.setPayloadLength(view, at, 9, -1, 0)
  expect(ipv6.text(view, at)).toBe('2001:db8::1 > 2001:db8::2 next 17 hlim 3 tos 171 flow 446952 length 9')
  expect(ipv6.tos(view, at)).toBe(0xab)
})

test('addresses as RFC 5952 writes them', () => {
  const texts = [
    '::',
    '::1',
    '1::',
    'fd00::1',
    '2001:db8::1:0:0:1',
    '2001:db8:0:1:1:1:1:1',
    'fe80::ff:fe00:1',
    '0:0:1::2',
  ]
  for (const text of texts) {
    const expected = text === '0:0:1::2' ? '0:0:1::2' : text
    expect(ipv6.addrText(...ip6(text))).toBe(expected)
  }
  expect(ipv6.addrText(...ip6('2001:db8:1:2:3:4:5:6'))).toBe('2001:db8:1:2:3:4:5:6')
})

test('kinds of address', () => {
  expect(ipv6.isMulticast(ip6('ff02::1')[0])).toBe(true)
  expect(ipv6.isMulticast(ip6('fe80::1')[0])).toBe(false)
  for (const a of ['fe80::1', 'febf::1']) expect(ipv6.isLinkLocal(ip6(a)[0])).toBe(true)
  for (const a of ['fec0::1', 'fd00::1', 'ff02::1']) expect(ipv6.isLinkLocal(ip6(a)[0])).toBe(false)
  const { view, at } = lay(frames.ipv6({ src: '::', dst: 'ff02::1' }))
  expect(ipv6.srcUnspecified(view, at)).toBe(true)
})

test('fits: every truncation, and the version', () => {
  truncations(ipv6.fits, udp6)
  truncations(ipv6.fitsQuoted, udp6.subarray(0, 40))
  const { view, at, end, bytes } = lay(udp6)
  bytes[at] = 0x45
  expect(ipv6.fits(view, at, end)).toBe(false)
})

describe('extension headers', () => {
  const found = new Int32Array(Walk.Words)

  function walkOf(next: number, chain: Uint8Array, cut = 0) {
    const packet = frames.ipv6({ src: 'fd00::1', dst: 'fd00::2', next, payload: chain })
    const laid = lay(packet.subarray(0, packet.length - cut))
    const result = extension.walk(laid.view, laid.at, laid.end, found)
    const place = (w: Walk): number => (found[w] < 0 ? -1 : found[w] - laid.at)
    return {
      result,
      l4: place(Walk.L4),
      protocol: found[Walk.Protocol],
      fragment: place(Walk.Fragment),
      routing: place(Walk.Routing),
      hopByHop: place(Walk.HopByHop),
      namedAt: place(Walk.NamedAt),
      laid,
    }
  }

  test('a captured MLD report: hop-by-hop with router alert', () => {
    const { view, at, end } = lay(mldReport)
    expect(extension.walk(view, at, end, found)).toBe(WalkResult.Ok)
    expect([found[Walk.L4] - at, found[Walk.Protocol], found[Walk.HopByHop] - at]).toEqual([48, 58, 40])
  })

  test('none', () => {
    expect(walkOf(6, new Uint8Array(20))).toMatchObject({
      result: 0,
      l4: 40,
      protocol: 6,
      fragment: -1,
      namedAt: 6,
    })
  })

  test('all of them, in the order of RFC 8200 4.1', () => {
    const chain = hex(`
      3c 00 0104000000 00
      2b 01 010400000000 0000000000000000
      2c 02 0201 00000000 00000000000000000000000000000000
      33 00 0001 0000abcd
      3c 04 0000 00000001 00000002 000000000000000000000000
      11 00 010400000000`)
    const walked = walkOf(0, chain)
    expect(walked).toMatchObject({
      result: 0,
      protocol: 17,
      hopByHop: 40,
      routing: 64,
      fragment: 88,
      l4: 128,
    })
    expect(walked.namedAt).toBe(120)
    expect(extension.routingType(walked.laid.view, walked.laid.at + 64)).toBe(2)
    expect(extension.segmentsLeft(walked.laid.view, walked.laid.at + 64)).toBe(1)
    expect(extension.text(walked.laid.view, walked.laid.at + 88)).toBe('frag id 43981 offset 0 MF next 51')
  })

  test('fragments: the first goes on, a later one has no transport, an atomic one is whole', () => {
    const fragment = new Uint8Array(16)
    const view = new DataView(fragment.buffer)
    extension.writeFragment(view, 0, 17, 0, true, 9)
    expect(walkOf(44, fragment)).toMatchObject({ l4: 48, protocol: 17, fragment: 40 })
    extension.writeFragment(view, 0, 17, 1448, true, 0xdeadbeef | 0)
    const later = walkOf(44, fragment)
    expect(later).toMatchObject({ result: 0, l4: -1, protocol: 17, fragment: 40 })
    expect(extension.fragmentOffset(later.laid.view, later.laid.at + 40)).toBe(1448)
    expect(extension.moreFragments(later.laid.view, later.laid.at + 40)).toBe(true)
    expect(extension.id(later.laid.view, later.laid.at + 40) >>> 0).toBe(0xdeadbeef)
    extension.writeFragment(view, 0, 58, 0, false, 1)
    expect(walkOf(44, fragment)).toMatchObject({ l4: 48, protocol: 58 })
  })

  test('what is wrong, and where it was named', () => {
    expect(walkOf(60, hex('1101 0104 00000000'))).toMatchObject({
      result: WalkResult.Truncated,
      l4: -1,
      namedAt: 6,
    })
    expect(walkOf(60, hex('1100 01'))).toMatchObject({ result: WalkResult.Truncated })
    expect(walkOf(60, hex('0000 010400000000 1100 010400000000'))).toMatchObject({
      result: WalkResult.Ok,
      protocol: 17,
      hopByHop: -1,
    })
    const many = new Uint8Array(100 * 8)
    for (let i = 0; i < many.length; i += 8) many[i] = 60
    expect(walkOf(60, many)).toMatchObject({ result: WalkResult.TooMany, l4: -1 })
    expect(walkOf(51, hex('3a04 0000 00000000'))).toMatchObject({ result: WalkResult.Truncated })
  })

  test('eight headers are walked, the ninth is too many', () => {
    const chain = (n: number): Uint8Array => {
      const bytes = new Uint8Array(n * 8)
      for (let i = 0; i < n; i++) bytes[i * 8] = i === n - 1 ? 17 : 60
      return bytes
    }
    expect(walkOf(60, chain(8))).toMatchObject({ result: WalkResult.Ok, l4: 104 })
    expect(walkOf(60, chain(9))).toMatchObject({ result: WalkResult.TooMany })
  })

  test('every truncation of the chain', () => {
    const chain = hex('3c00010400000000 1100010400000000 0000000000000000')
    for (let cut = 0; cut <= chain.length; cut++) {
      const { result, l4 } = walkOf(0, chain, cut)
      expect(result).toBe(chain.length - cut >= 16 ? WalkResult.Ok : WalkResult.Truncated)
      expect(l4).toBe(result === WalkResult.Ok ? 56 : -1)
    }
  })
})

const chained = frames.ipv6({
  src: 'fd00::1',
  dst: 'fd00::2',
  next: 0,
  payload: hex(
    '2b00010400000000 2c00000000000000 33000001000000aa 3c04000000000001000000020000000000000000 0000 1100010400000000',
  ),
})
mutations('ipv6', chained, ({ view, at, end }) => {
  const found = new Int32Array(Walk.Words)
  if (!ipv6.fitsQuoted(view, at, end)) return
  ipv6.text(view, at)
  if (extension.walk(view, at, end, found) === WalkResult.Ok && found[Walk.L4] >= 0) {
    expect(found[Walk.L4]).toBeLessThanOrEqual(end)
  }
  if (found[Walk.Fragment] >= 0) extension.text(view, found[Walk.Fragment])
  if (found[Walk.Routing] >= 0) extension.segmentsLeft(view, found[Walk.Routing])
})
