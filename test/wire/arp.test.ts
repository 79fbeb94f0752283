import { expect, test } from 'vitest'
import * as arp from '../../src/wire/arp.ts'
import { ip4 } from '../support/frames.ts'
import { arpReply, arpRequest } from './captured.ts'
import { lay, mutations, truncations } from './lay.ts'

test('a captured request and its reply', () => {
  const request = lay(arpRequest.subarray(14))
  expect(arp.text(request.view, request.at)).toBe('arp who-has 192.0.2.2 tell 192.0.2.1 (02:00:00:00:00:01)')
  const reply = lay(arpReply.subarray(14))
  expect(arp.text(reply.view, reply.at)).toBe('arp 192.0.2.2 is-at 02:00:00:00:00:02')
  expect([arp.dstMacHi(reply.view, reply.at), arp.dstMacLo(reply.view, reply.at)]).toEqual([0x0200, 1])
})

test('what is written is what Linux sends', () => {
  const { view, at, bytes } = lay(new Uint8Array(28).fill(0xee))
  arp.write(view, at, arp.ArpOp.Reply, 0x0200, 2, ip4('192.0.2.2'), 0x0200, 1, ip4('192.0.2.1'))
  expect([...bytes.subarray(at)]).toEqual([...arpReply.subarray(14)])
})

test('probes and announcements', () => {
  const { view, at } = lay(new Uint8Array(28))
  arp.write(view, at, arp.ArpOp.Request, 0x0200, 1, 0, 0, 0, ip4('10.0.0.1'))
  expect([arp.isProbe(view, at), arp.isGratuitous(view, at)]).toEqual([true, false])
  expect(arp.text(view, at)).toBe('arp probe 10.0.0.1 from 02:00:00:00:00:01')
  arp.write(view, at, arp.ArpOp.Request, 0x0200, 1, ip4('10.0.0.1'), 0, 0, ip4('10.0.0.1'))
  expect([arp.isProbe(view, at), arp.isGratuitous(view, at)]).toEqual([false, true])
})

test('every truncation, and other hardware, protocols and lengths', () => {
  truncations(arp.fits, arpRequest.subarray(14))
  for (let i = 0; i < 6; i++) {
    const { view, at, end, bytes } = lay(arpRequest.subarray(14))
    bytes[at + i] ^= 2
    expect(arp.fits(view, at, end)).toBe(false)
  }
})

mutations('arp', arpRequest.subarray(14), ({ view, at, end }) => {
  if (arp.fits(view, at, end)) arp.text(view, at)
})
