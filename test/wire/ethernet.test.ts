import { expect, test } from 'vitest'
import * as ethernet from '../../src/wire/ethernet.ts'
import * as vlan from '../../src/wire/vlan.ts'
import { frame } from '../support/frames.ts'
import { arpRequest } from './captured.ts'
import { hex, lay, mutations, truncations } from './lay.ts'

test('a captured frame', () => {
  const { view, at } = lay(arpRequest)
  expect(ethernet.text(view, at)).toBe('02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff type 0x0806')
  expect(ethernet.isBroadcast(view, at)).toBe(true)
  expect(ethernet.isGroup(view, at)).toBe(true)
  expect([ethernet.srcMacHi(view, at), ethernet.srcMacLo(view, at)]).toEqual([0x0200, 1])
  expect([ethernet.dstMacHi(view, at), ethernet.dstMacLo(view, at)]).toEqual([0xffff, -1])
})

test('what is written is read, and only 14 bytes are touched', () => {
  const { view, at, bytes } = lay(new Uint8Array(16).fill(0xee))
  ethernet.write(view, at, 0x0102, 0x03040506, 0xa0b0, 0xc0d0e0f0 | 0, 0x86dd)
  expect([...bytes.subarray(at)]).toEqual([...hex('010203040506 a0b0c0d0e0f0 86dd eeee')])
  expect(ethernet.isGroup(view, at)).toBe(true)
  expect(ethernet.isBroadcast(view, at)).toBe(false)
  ethernet.setDstMac(view, at, 0x0200, -2)
  ethernet.setSrcMac(view, at, 0x0a00, 5)
  ethernet.setEtherType(view, at, 0x0800)
  expect(ethernet.text(view, at)).toBe('0a:00:00:00:00:05 > 02:00:ff:ff:ff:fe type 0x0800')
})

test('addresses of groups', () => {
  expect(ethernet.macText(ethernet.GROUP4_HI, ethernet.group4Lo(0xe18000fb | 0))).toBe('01:00:5e:00:00:fb')
  expect(ethernet.macText(ethernet.GROUP6_HI, 0xff000001 | 0)).toBe('33:33:ff:00:00:01')
})

test('tags: read, written, and looked behind', () => {
  const tags = [{ vid: 100, pcp: 5, dei: 1, tpid: 0x88a8 }, { vid: 7 }]
  const { view, at, end } = lay(frame({ dst: 1, src: 2, tags, type: 0x0800 }))
  expect(vlan.text(view, at + 12)).toBe('s-vlan 100 pcp 5 dei')
  expect(vlan.text(view, at + 16)).toBe('vlan 7 pcp 0')
  expect(vlan.tpid(view, at + 12)).toBe(0x88a8)
  expect(vlan.tci(view, at + 12)).toBe(0xb064)
  expect(vlan.etherType(view, at + 16)).toBe(0x0800)
  expect(vlan.typeAt(view, at, end)).toBe(at + 20)
  vlan.setVid(view, at + 12, 4094)
  expect([vlan.vid(view, at + 12), vlan.pcp(view, at + 12), vlan.dei(view, at + 12)]).toEqual([4094, 5, 1])
  vlan.setTci(view, at + 12, 1)
  expect(vlan.text(view, at + 12)).toBe('s-vlan 1 pcp 0')
  vlan.write(view, at + 12, 0x8100, 0x2003)
  expect(vlan.text(view, at + 12)).toBe('vlan 3 pcp 1')
})

test('a third tag is payload; a tag cut short has no type', () => {
  const three = lay(frame({ dst: 1, src: 2, tags: [{ vid: 1 }, { vid: 2 }, { vid: 3 }] }))
  expect(vlan.typeAt(three.view, three.at, three.end)).toBe(three.at + 20)
  for (let n = 14; n < 22; n++) {
    const { view, at, end } = lay(
      frame({ dst: 1, src: 2, tags: [{ vid: 1 }, { vid: 2 }], size: 0 }).subarray(0, n),
    )
    expect(vlan.typeAt(view, at, end)).toBe(-1)
  }
})

test('every truncation', () => {
  truncations(ethernet.fits, arpRequest.subarray(0, 14))
  truncations(vlan.fits, new Uint8Array(6))
})

mutations(
  'ethernet',
  frame({ dst: 1, src: 2, tags: [{ vid: 1 }, { vid: 2 }], size: 0 }),
  ({ view, at, end }) => {
    if (!ethernet.fits(view, at, end)) return
    ethernet.text(view, at)
    const type = vlan.typeAt(view, at, end)
    if (type >= 0) view.getUint16(type)
  },
)
