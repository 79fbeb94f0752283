import { expect, test } from 'vitest'
import { pseudo6, verify } from '../../src/wire/checksum.ts'
import * as icmp from '../../src/wire/icmp.ts'
import * as icmpv6 from '../../src/wire/icmpv6.ts'
import * as ipv4 from '../../src/wire/ipv4.ts'
import * as ipv6 from '../../src/wire/ipv6.ts'
import * as frames from '../support/frames.ts'
import { echo4, echo6, unreachable4, unreachable6 } from './captured.ts'
import { lay, mutations, truncations } from './lay.ts'

test('captured echo requests', () => {
  const v4 = lay(echo4.subarray(20))
  expect(icmp.text(v4.view, v4.at)).toBe('icmp echo request id 19247 seq 1')
  expect(icmp.checksum(v4.view, v4.at)).toBe(0x3632)
  expect(verify(v4.view, v4.at, 64, 0)).toBe(true)
  const v6 = lay(echo6.subarray(40))
  expect(icmpv6.text(v6.view, v6.at)).toBe('icmp6 echo request id 19249 seq 1')
  expect(icmpv6.checksum(v6.view, v6.at)).toBe(0x600e)
})

test('captured errors and the packets they quote', () => {
  const v4 = lay(unreachable4)
  expect(icmp.text(v4.view, v4.at + 20)).toBe('icmp type 3 code 3')
  const quote4 = v4.at + 20 + icmp.QUOTE
  expect(ipv4.fits(v4.view, quote4, v4.end)).toBe(true)
  expect(ipv4.addrText(ipv4.srcAddr(v4.view, quote4))).toBe('192.0.2.1')
  const v6 = lay(unreachable6)
  expect(icmpv6.text(v6.view, v6.at + 40)).toBe('icmp6 type 1 code 4')
  expect(ipv6.fits(v6.view, v6.at + 40 + icmpv6.QUOTE, v6.end)).toBe(true)
})

test('what is written is what Linux sends', () => {
  const v4 = lay(echo4.subarray(20))
  v4.bytes.fill(0xee, v4.at, v4.at + 8)
  icmp.write(v4.view, v4.at, icmp.IcmpType.Echo, 0, 0x4b2f0001)
  icmp.fillChecksum(v4.view, v4.at, 64)
  expect([...v4.bytes.subarray(v4.at)]).toEqual([...echo4.subarray(20)])
  const v6 = lay(echo6)
  v6.bytes.fill(0xee, v6.at + 40, v6.at + 48)
  icmpv6.write(v6.view, v6.at + 40, icmpv6.Icmpv6Type.Echo, 0, 0x4b310001)
  icmpv6.fillChecksum(v6.view, v6.at + 40, 64, pseudo6(v6.view, v6.at, 58, 64))
  expect([...v6.bytes.subarray(v6.at)]).toEqual([...echo6])
})

test('MTU, pointer, gateway', () => {
  const { view, at } = lay(frames.icmp({ type: 3, code: 4, rest: 1400 }))
  expect(icmp.mtu(view, at)).toBe(1400)
  expect(icmp.text(view, at)).toBe('icmp type 3 code 4 mtu 1400')
  icmp.write(view, at, icmp.IcmpType.ParameterProblem, 0, 21 << 24)
  expect(icmp.pointer(view, at)).toBe(21)
  icmp.write(view, at, icmp.IcmpType.Redirect, 1, frames.ip4('10.0.0.254'))
  expect(icmp.gateway(view, at)).toBe(frames.ip4('10.0.0.254'))
  icmpv6.write(view, at, icmpv6.Icmpv6Type.PacketTooBig, 0, 1280)
  expect(icmpv6.mtu(view, at)).toBe(1280)
  expect(icmpv6.text(view, at)).toBe('icmp6 type 2 code 0 mtu 1280')
  icmpv6.write(view, at, icmpv6.Icmpv6Type.ParameterProblem, 1, 0xffffffff | 0)
  expect(icmpv6.pointer(view, at)).toBe(0xffffffff)
})

test('which are errors, and what answers what', () => {
  const all = Array.from({ length: 256 }, (_, type) => type)
  expect(all.filter(icmp.isError)).toEqual([3, 4, 5, 11, 12])
  expect(all.filter((t) => icmp.counterpart(t) >= 0)).toEqual([0, 8, 13, 14, 15, 16, 17, 18])
  for (const t of [0, 8, 13, 14, 15, 16, 17, 18]) expect(icmp.counterpart(icmp.counterpart(t))).toBe(t)
  expect([8, 13, 15, 17].map(icmp.counterpart)).toEqual([0, 14, 16, 18])
  expect(all.filter(icmpv6.isError)).toEqual(all.slice(0, 128))
  expect(all.filter((t) => icmpv6.counterpart(t) >= 0)).toEqual([128, 129])
  expect(icmpv6.counterpart(128)).toBe(129)
})

test('every truncation', () => {
  truncations(icmp.fits, echo4.subarray(20, 28))
  truncations(icmpv6.fits, echo6.subarray(40, 48))
})

mutations('icmp', unreachable4.subarray(20), ({ view, at, end }) => {
  if (!icmp.fits(view, at, end)) return
  icmp.text(view, at)
  const quote = at + icmp.QUOTE
  if (icmp.isError(icmp.type(view, at)) && ipv4.fitsQuoted(view, quote, end)) ipv4.text(view, quote)
})

mutations('icmpv6', unreachable6.subarray(40), ({ view, at, end }) => {
  if (!icmpv6.fits(view, at, end)) return
  icmpv6.text(view, at)
  if (icmpv6.isError(icmpv6.type(view, at)) && ipv6.fitsQuoted(view, at + icmpv6.QUOTE, end))
    ipv6.text(view, at + icmpv6.QUOTE)
})
