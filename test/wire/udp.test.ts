import { expect, test } from 'vitest'
import { pseudo4 } from '../../src/wire/checksum.ts'
import * as l4 from '../../src/wire/l4.ts'
import * as udp from '../../src/wire/udp.ts'
import { udp4 } from './captured.ts'
import { lay, mutations, truncations } from './lay.ts'

const datagram = udp4.subarray(20)

test('a captured datagram', () => {
  const { view, at } = lay(datagram)
  expect(udp.text(view, at)).toBe('udp 41039 > 9999 length 13')
  expect([udp.srcPort(view, at), udp.dstPort(view, at), udp.length(view, at)]).toEqual([41039, 9999, 13])
  expect(udp.checksum(view, at)).toBe(0x709f)
  expect(l4.text(view, at)).toBe('41039 > 9999')
})

test('what is written is what Linux sends', () => {
  const { view, at, bytes } = lay(udp4)
  bytes.fill(0xee, at + 20, at + 28)
  udp.write(view, at + 20, 41039, 9999, 13)
  expect(udp.checksum(view, at + 20)).toBe(0)
  udp.fillChecksum(view, at + 20, pseudo4(view, at, 17, 13), false)
  expect([...bytes.subarray(at)]).toEqual([...udp4])
})

test('every truncation, and lengths that cannot be', () => {
  truncations(udp.fits, datagram)
  const { view, at, end } = lay(datagram)
  for (const [length, fits] of [
    [7, false],
    [8, true],
    [13, true],
    [14, false],
    [0, false],
  ] as const) {
    view.setUint16(at + 4, length)
    expect(udp.fits(view, at, end)).toBe(fits)
  }
})

test('where a checksum that covers addresses is', () => {
  expect([6, 17, 33, 136, 58, 1, 132, 50].map((p) => l4.sumPlace(p, 100, 200))).toEqual([
    116, 106, 106, 106, 102, -1, -1, -1,
  ])
  expect(l4.sumPlace(6, 100, 117)).toBe(-1)
  expect(l4.sumPlace(6, 100, 118)).toBe(116)
  expect(l4.sumPlace(6, -1, 200)).toBe(-1)
  expect([6, 17, 33, 136, 132, 1, 58].map(l4.hasPorts)).toEqual([true, true, true, true, true, false, false])
  truncations(l4.fits, datagram.subarray(0, 4))
})

mutations('udp', datagram, ({ view, at, end }) => {
  if (!udp.fits(view, at, end)) return
  udp.text(view, at)
  expect(at + udp.length(view, at)).toBeLessThanOrEqual(end)
})
