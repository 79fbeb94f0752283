import { describe, expect, test } from 'vitest'
import * as ipv4 from '../../src/wire/ipv4.ts'
import * as option from '../../src/wire/ipv4-option.ts'
import * as frames from '../support/frames.ts'
import { ip4, random } from '../support/frames.ts'
import { echo4, tcp4Syn, udp4 } from './captured.ts'
import { hex, lay, mutations, truncations } from './lay.ts'

const EMPTY = { src: '10.0.0.1', dst: '10.0.0.2' }

test('captured headers', () => {
  const { view, at } = lay(tcp4Syn)
  expect(ipv4.text(view, at)).toBe('192.0.2.1 > 192.0.2.2 proto 6 ttl 64 tos 0 id 55726 DF length 60')
  expect(ipv4.checksum(view, at)).toBe(0xdd09)
  expect(ipv4.verified(view, at)).toBe(true)
  expect([ipv4.srcAddr(view, at), ipv4.dstAddr(view, at)]).toEqual([ip4('192.0.2.1'), ip4('192.0.2.2')])
})

test('what is written is what Linux sends', () => {
  const { view, at, bytes } = lay(new Uint8Array(20).fill(0xee))
  ipv4.write(view, at, 84, 1, ip4('192.0.2.1'), ip4('192.0.2.2'), 64, 0, 0xc172, true)
  expect([...bytes.subarray(at)]).toEqual([...echo4.subarray(0, 20)])
})

test('setters: the field, the checksum, nothing else; and the diff tells all of it', () => {
  const r = random(2)
  const { view, at, bytes } = lay(frames.ipv4({ ...EMPTY, options: [1, 1, 1, 0], dontFragment: true }))
  for (let i = 0; i < 20_000; i++) {
    const before = bytes.slice(at)
    let diff = 0
    switch (r() % 7) {
      case 0:
        diff = ipv4.setSrcAddr(view, at, r() | 0, -1, 0)
        break
      case 1:
        diff = ipv4.setDstAddr(view, at, r() | 0, -1, 0)
        break
      case 2:
        diff = ipv4.setTotalLength(view, at, r() & 0xffff, -1, 0)
        break
      case 3:
        diff = ipv4.setTos(view, at, r() & 255)
        break
      case 4:
        diff = ipv4.setId(view, at, r() & 0xffff)
        break
      case 5: {
        const offset = (r() & 0x1fff) << 3
        diff = ipv4.setFragment(view, at, offset, (r() & 1) === 1)
        expect(ipv4.fragmentOffset(view, at)).toBe(offset)
        expect(ipv4.dontFragment(view, at)).toBe(true)
        break
      }
      default:
        diff = ipv4.setTtl(view, at, r() & 255)
    }
    expect(frames.onesSum(bytes.subarray(at))).toBe(0xffff)
    // ~sum(before) + diff = ~sum(after), modulo 0xffff.
    expect((frames.onesSum(before) + diff) % 0xffff).toBe(frames.onesSum(bytes.subarray(at)) % 0xffff)
  }
})

test('fragments', () => {
  const parts = { ...EMPTY, fragmentOffset: 1480, moreFragments: true, id: 7 }
  const { view, at } = lay(frames.ipv4(parts))
  expect(ipv4.isFragment(view, at)).toBe(true)
  expect(ipv4.text(view, at)).toContain(' id 7 MF offset 1480')
  ipv4.setFragment(view, at, 0, false)
  expect(ipv4.isFragment(view, at)).toBe(false)
  ipv4.setFragment(view, at, 0, true)
  expect([ipv4.isFragment(view, at), ipv4.moreFragments(view, at)]).toEqual([true, true])
})

test('fits: every truncation, the version, IHL, and total length', () => {
  truncations(ipv4.fits, udp4)
  truncations(ipv4.fitsQuoted, udp4.subarray(0, 20))
  const broken = (change: (bytes: Uint8Array) => void): boolean => {
    const { view, at, end, bytes } = lay(udp4)
    change(bytes.subarray(at))
    return ipv4.fits(view, at, end)
  }
  expect(broken((b) => (b[0] = 0x65))).toBe(false)
  expect(broken((b) => (b[0] = 0x44))).toBe(false)
  expect(broken((b) => (b[0] = 0x4f))).toBe(false)
  expect(broken((b) => (b[3] = 19))).toBe(false)
  expect(broken((b) => (b[3] = 34))).toBe(false)
  // Shorter than the frame is padding.
  expect(broken((b) => (b[3] = 20))).toBe(true)
})

describe('options', () => {
  const at0 = (options: number[]) => lay(frames.ipv4({ ...EMPTY, options }))

  test('found in their order, after padding, not after the end', () => {
    const { view, at } = at0([1, 148, 4, 0, 0, 7, 7, 4, 1, 2, 3, 4, 0, 131, 3, 4])
    expect(option.findOption(view, at, option.Option.RouterAlert)).toBe(at + 21)
    expect(option.findOption(view, at, option.Option.RecordRoute)).toBe(at + 25)
    expect(option.findOption(view, at, option.Option.LooseRoute)).toBe(-1)
    expect(option.badOption(view, at)).toBe(0)
    expect(option.text(view, at)).toBe('option 148 option 7')
  })

  test('malformed ones are pointed at', () => {
    for (const [options, pointer] of [
      [[7], 0],
      [[1, 1, 1, 7], 23],
      [[7, 0, 0, 0], 20],
      [[7, 1, 0, 0], 20],
      [[1, 7, 4, 0], 21],
      [[148, 4, 0, 0, 7, 255, 0, 0], 24],
    ] as const) {
      const { view, at } = at0([...options])
      // A lone type at the end of the list is padded here with an end: length 0 is the error then.
      expect(option.badOption(view, at)).toBe(options.length === 1 ? 20 : pointer)
      expect(option.findOption(view, at, 99)).toBe(-1)
    }
    const { view, at } = at0([7, 0, 0, 0])
    expect(option.text(view, at)).toBe('malformed')
  })

  test('only copied ones go into later fragments', () => {
    const { view, at } = at0([148, 4, 1, 2, 7, 7, 4, 9, 9, 9, 9, 1, 131, 3, 4, 0])
    const memory = new Uint8Array(200)
    memory.set(new Uint8Array(view.buffer, at), 0)
    const both = new DataView(memory.buffer)
    expect(option.copyOptions(both, 0, 100)).toBe(28)
    expect([...memory.subarray(120, 128)]).toEqual([...hex('94040102 83030400')])
    expect(memory[100]).toBe(0x47)
  })
})

mutations(
  'ipv4',
  frames.ipv4({ ...EMPTY, options: [148, 4, 0, 0, 1, 7, 7, 4, 1, 2, 3, 4, 131, 7, 4, 1, 2, 3, 4, 0] }),
  ({ view, at, end }) => {
    if (!ipv4.fits(view, at, end)) return
    ipv4.text(view, at)
    ipv4.verified(view, at)
    option.text(view, at)
    option.badOption(view, at)
    for (const type of [7, 68, 131, 137, 148]) option.findOption(view, at, type)
    const copy = new Uint8Array(200)
    copy.set(new Uint8Array(view.buffer, at, end - at))
    expect(option.copyOptions(new DataView(copy.buffer, 0, 160), 0, 100)).toBeLessThanOrEqual(60)
    expect(copy.subarray(160).every((b) => b === 0)).toBe(true)
  },
)
