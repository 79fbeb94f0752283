import { describe, expect, test } from 'vitest'
import { pseudo6 } from '../../src/wire/checksum.ts'
import { macText } from '../../src/wire/ethernet.ts'
import * as icmpv6 from '../../src/wire/icmpv6.ts'
import { Icmpv6Type } from '../../src/wire/icmpv6.ts'
import { addrText } from '../../src/wire/ipv6.ts'
import * as nd from '../../src/wire/nd.ts'
import { NdFlag, NdOption } from '../../src/wire/nd.ts'
import * as frames from '../support/frames.ts'
import { ip6 } from '../support/frames.ts'
import {
  dadSolicitation,
  neighborAdvertisement,
  neighborSolicitation,
  routerSolicitation,
} from './captured.ts'
import { hex, lay, mutations, truncations } from './lay.ts'

const target = (view: DataView, at: number): string =>
  addrText(
    nd.targetAddr(view, at, 0),
    nd.targetAddr(view, at, 1),
    nd.targetAddr(view, at, 2),
    nd.targetAddr(view, at, 3),
  )

test('a captured solicitation and its advertisement', () => {
  const ns = lay(neighborSolicitation)
  const at = ns.at + 40
  expect(nd.fits(ns.view, at, ns.end)).toBe(true)
  expect(nd.valid(ns.view, ns.at, at, ns.end)).toBe(true)
  expect(nd.text(ns.view, at)).toBe('icmp6 neighbor solicitation')
  expect(target(ns.view, at)).toBe('2001:db8::2')
  const link = nd.findOption(ns.view, at, ns.end, NdOption.SourceLink)
  expect(macText(nd.macHi(ns.view, link), nd.macLo(ns.view, link))).toBe('02:00:00:00:00:01')
  expect(nd.findOption(ns.view, at, ns.end, NdOption.TargetLink)).toBe(-1)
  const na = lay(neighborAdvertisement)
  expect(nd.valid(na.view, na.at, na.at + 40, na.end)).toBe(true)
  expect(nd.flags(na.view, na.at + 40)).toBe(NdFlag.Solicited | NdFlag.Override)
})

test('captured probes for a duplicate and a router solicitation are valid', () => {
  for (const packet of [dadSolicitation, routerSolicitation]) {
    const { view, at, end } = lay(packet)
    expect(nd.fits(view, at + 40, end)).toBe(true)
    expect(nd.valid(view, at, at + 40, end)).toBe(true)
  }
})

test('what is written is what Linux sends', () => {
  for (const [packet, type, bits, option] of [
    [neighborSolicitation, Icmpv6Type.NeighborSolicitation, 0, NdOption.SourceLink],
    [
      neighborAdvertisement,
      Icmpv6Type.NeighborAdvertisement,
      NdFlag.Solicited | NdFlag.Override,
      NdOption.TargetLink,
    ],
  ] as const) {
    const { view, at, end, bytes } = lay(packet)
    bytes.fill(0xee, at + 40)
    nd.writeNeighbor(view, at + 40, type, bits, ...ip6('2001:db8::2'))
    expect(nd.writeLink(view, at + 64, option, 0x0200, packet === neighborSolicitation ? 1 : 2)).toBe(end)
    icmpv6.fillChecksum(view, at + 40, 32, pseudo6(view, at, 58, 32))
    expect([...bytes.subarray(at)]).toEqual([...packet])
  }
  const { view, at, bytes } = lay(routerSolicitation)
  bytes.fill(0xee, at + 40)
  nd.writeRs(view, at + 40)
  nd.writeLink(view, at + 48, NdOption.SourceLink, 0x0200, 1)
  icmpv6.fillChecksum(view, at + 40, 16, pseudo6(view, at, 58, 16))
  expect([...bytes.subarray(at)]).toEqual([...routerSolicitation])
})

test('a router advertisement with all its options, byte by byte', () => {
  const { view, at, end, bytes } = lay(new Uint8Array(88).fill(0xee))
  nd.writeRa(view, at, 64, 0x40, 1800)
  let place = nd.writeLink(view, at + 16, NdOption.SourceLink, 0x0200, 1)
  place = nd.writeMtu(view, place, 1450)
  place = nd.writePrefix(view, place, 64, 0xc0, 86400, 14400, ...ip6('fd00:10::'))
  place = nd.writeDns(view, place, 1, 600)
  for (const [i, w] of ip6('fd00:10::53').entries()) view.setInt32(place + 4 * i, w)
  expect(place + 16).toBe(end)
  expect([...bytes.subarray(at)]).toEqual([
    ...hex(`86000000 40400708 00000000 00000000 0101020000000001 05010000000005aa
      030440c0 00015180 00003840 00000000 fd000010000000000000000000000000
      19030000 00000258 fd000010000000000000000000000053`),
  ])
  expect(nd.fits(view, at, end)).toBe(true)
  expect([nd.curHopLimit(view, at), nd.lifetime(view, at)]).toEqual([64, 1800])
  expect(nd.findOption(view, at, end, NdOption.Prefix)).toBe(at + 32)
  expect(nd.findOption(view, at, end, NdOption.Dns)).toBe(at + 64)
})

test('the solicited-node group', () => {
  expect(addrText(nd.SOLICITED0, 0, 1, nd.solicited3(0x12345678))).toBe('ff02::1:ff34:5678')
})

describe('what is dropped', () => {
  const validIn = (packet: Uint8Array, change: (b: Uint8Array) => void): boolean => {
    const { view, at, end, bytes } = lay(packet)
    change(bytes.subarray(at))
    return nd.fits(view, at + 40, end) && nd.valid(view, at, at + 40, end)
  }
  const src = (b: Uint8Array, text: string): void => {
    for (const [i, w] of ip6(text).entries()) new DataView(b.buffer, b.byteOffset).setInt32(8 + 4 * i, w)
  }
  const dst = (b: Uint8Array, text: string): void => {
    for (const [i, w] of ip6(text).entries()) new DataView(b.buffer, b.byteOffset).setInt32(24 + 4 * i, w)
  }

  test('came over a router, or has a code', () => {
    for (const packet of [neighborSolicitation, neighborAdvertisement, routerSolicitation]) {
      expect(validIn(packet, () => {})).toBe(true)
      expect(validIn(packet, (b) => (b[7] = 254))).toBe(false)
      expect(validIn(packet, (b) => (b[41] = 1))).toBe(false)
    }
  })

  test('options that do not add up', () => {
    expect(validIn(neighborSolicitation, (b) => (b[65] = 0))).toBe(false)
    expect(validIn(neighborSolicitation, (b) => (b[65] = 2))).toBe(false)
  })

  test('solicitations: a multicast target; from :: not to the group, or with a link address', () => {
    expect(validIn(neighborSolicitation, (b) => (b[48] = 0xff))).toBe(false)
    expect(validIn(dadSolicitation, (b) => dst(b, 'fd00::1'))).toBe(false)
    expect(validIn(dadSolicitation, (b) => dst(b, 'ff02::1:fe00:1'))).toBe(false)
    expect(validIn(neighborSolicitation, (b) => src(b, '::'))).toBe(false)
    expect(validIn(routerSolicitation, (b) => src(b, '::'))).toBe(false)
  })

  test('advertisements: a multicast target; solicited but to a group; of a router not link-local', () => {
    expect(validIn(neighborAdvertisement, (b) => (b[48] = 0xff))).toBe(false)
    expect(validIn(neighborAdvertisement, (b) => dst(b, 'ff02::1'))).toBe(false)
    const { view, at } = lay(new Uint8Array(16))
    nd.writeRa(view, at, 64, 0, 1800)
    const ra = frames.ipv6({
      src: 'fe80::1',
      dst: 'ff02::1',
      next: 58,
      hopLimit: 255,
      payload: new Uint8Array(view.buffer, at),
    })
    expect(validIn(ra, () => {})).toBe(true)
    expect(validIn(ra, (b) => src(b, 'fd00::1'))).toBe(false)
  })
})

test('every truncation', () => {
  // At 24 bytes the solicitation is whole: without its option.
  for (let n = 0; n < 32; n++) {
    const { view, at, end } = lay(neighborSolicitation.subarray(40, 40 + n))
    expect(nd.fits(view, at, end)).toBe(n === 24)
  }
  truncations(nd.fits, neighborSolicitation.subarray(40, 64))
  const redirect = new Uint8Array(40)
  redirect[0] = Icmpv6Type.Redirect
  truncations(nd.fits, redirect)
  const { view, at } = lay(redirect)
  expect(nd.text(view, at)).toBe('icmp6 redirect')
  expect(nd.dstAddr(view, at, 3)).toBe(0)
})

mutations('nd', dadSolicitation, ({ view, at, end }) => {
  if (end - at < 40 || !nd.fits(view, at + 40, end)) return
  nd.valid(view, at, at + 40, end)
  nd.text(view, at + 40)
  for (let option = 0; option < 30; option++) nd.findOption(view, at + 40, end, option)
})
