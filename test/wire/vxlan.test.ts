import { expect, test } from 'vitest'
import * as arp from '../../src/wire/arp.ts'
import * as vxlan from '../../src/wire/vxlan.ts'
import { vxlanArp } from './captured.ts'
import { hex, lay, mutations, truncations } from './lay.ts'

const inner = vxlanArp.subarray(28)

test('a captured packet of the Linux driver', () => {
  const { view, at, end } = lay(inner)
  expect(vxlan.fits(view, at, end)).toBe(true)
  expect(vxlan.text(view, at)).toBe('vxlan vni 77')
  expect(vxlan.flags(view, at)).toBe(0x08000000)
  expect(arp.text(view, at + 8 + 14)).toBe('arp who-has 10.7.7.2 tell 10.7.7.1 (02:00:00:00:00:77)')
})

test('what is written is what Linux sends; all 24 bits', () => {
  const { view, at, bytes } = lay(new Uint8Array(8).fill(0xee))
  vxlan.write(view, at, 77)
  expect([...bytes.subarray(at)]).toEqual([...inner.subarray(0, 8)])
  vxlan.write(view, at, 0xffffff)
  expect(vxlan.vni(view, at)).toBe(0xffffff)
  expect([...bytes.subarray(at)]).toEqual([...hex('08000000 ffffff00')])
})

test('without I it is nothing; reserved bits are seen', () => {
  const { view, at, end, bytes } = lay(inner)
  bytes[at] = 0xf7
  expect(vxlan.fits(view, at, end)).toBe(false)
  for (const [i, bit] of [
    [0, 0x80],
    [1, 1],
    [3, 1],
    [7, 1],
  ]) {
    const other = lay(inner)
    other.bytes[other.at + i] |= bit
    expect(vxlan.fits(other.view, other.at, other.end)).toBe(true)
    expect(vxlan.isPlain(other.view, other.at)).toBe(false)
    expect(vxlan.text(other.view, other.at)).toBe('vxlan vni 77 (reserved bits set)')
  }
})

test('every truncation', () => truncations(vxlan.fits, inner.subarray(0, 8)))

mutations('vxlan', inner.subarray(0, 8), ({ view, at, end }) => {
  if (vxlan.fits(view, at, end)) vxlan.text(view, at)
})
