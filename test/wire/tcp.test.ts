import { describe, expect, test } from 'vitest'
import { pseudo4 } from '../../src/wire/checksum.ts'
import * as tcp from '../../src/wire/tcp.ts'
import * as option from '../../src/wire/tcp-option.ts'
import * as frames from '../support/frames.ts'
import { tcp4Rst, tcp4Syn } from './captured.ts'
import { lay, mutations, truncations } from './lay.ts'

const ENDS = { src: '10.0.0.1', dst: '10.0.0.2' }
const syn = tcp4Syn.subarray(20)

test('captured segments', () => {
  const { view, at } = lay(syn)
  expect(tcp.text(view, at)).toBe('tcp 51640 > 8080 SYN seq 986731308 ack 0 win 64240')
  expect(option.text(view, at)).toBe('mss 1460 wscale 10 sackOK TS val 175432156 ecr 0')
  expect([tcp.headerLength(view, at), tcp.flags(view, at), tcp.urgent(view, at)]).toEqual([
    40,
    tcp.TcpFlag.Syn,
    0,
  ])
  expect(tcp.checksum(view, at)).toBe(0x6572)
  expect(tcp.span(view, at, 0)).toBe(1)
  const rst = lay(tcp4Rst.subarray(20))
  expect(tcp.text(rst.view, rst.at)).toBe('tcp 8080 > 51640 RST,ACK seq 0 ack 986731309 win 0')
  expect(option.text(rst.view, rst.at)).toBe('')
})

test('what is written is what Linux sends', () => {
  const { view, at, bytes } = lay(tcp4Rst)
  bytes.fill(0xee, at + 20)
  tcp.write(view, at + 20, 8080, 51640, 0, 986731309, tcp.TcpFlag.Rst | tcp.TcpFlag.Ack, 0)
  tcp.fillChecksum(view, at + 20, 20, pseudo4(view, at, 6, 20), false)
  expect([...bytes.subarray(at)]).toEqual([...tcp4Rst])
})

test('every truncation, and data offsets that cannot be', () => {
  truncations(tcp.fits, syn)
  const { view, at, end } = lay(syn)
  for (const [words, fits] of [
    [0, false],
    [4, false],
    [5, true],
    [10, true],
    [11, false],
    [15, false],
  ] as const) {
    view.setUint8(at + 12, words << 4)
    expect(tcp.fits(view, at, end)).toBe(fits)
  }
})

test('FIN and SYN take a number each', () => {
  for (const [flags, span] of [
    [16, 10],
    [17, 11],
    [18, 11],
    [19, 12],
  ] as const) {
    const { view, at } = lay(frames.tcp(ENDS, { flags }))
    expect(tcp.span(view, at, 10)).toBe(span)
  }
})

describe('options', () => {
  const laid = (...options: number[]) => lay(frames.tcp(ENDS, { options }))

  test('none, and only padding', () => {
    for (const { view, at } of [laid(), laid(1, 1, 1, 1), laid(0, 2, 4, 5, 6)]) {
      expect(option.mss(view, at)).toBe(-1)
      expect(option.windowScale(view, at)).toBe(-1)
      expect(option.sackPermitted(view, at)).toBe(false)
      expect(option.timestampsAt(view, at)).toBe(-1)
      expect(option.clampMss(view, at, 1, false)).toBe(false)
    }
  })

  test('a window scale above 14 is 14', () => {
    const { view, at } = laid(3, 3, 15)
    expect(option.windowScale(view, at)).toBe(14)
  })

  test('malformed ones end the list', () => {
    for (const bad of [[9, 0], [9, 1], [9, 255], [9]]) {
      const { view, at } = laid(...new Array(bad.length === 1 ? 3 : 0).fill(1), ...bad, 2, 4, 5, 180)
      const only = bad.length === 1 ? laid(1, 1, 1, 9) : { view, at }
      expect(option.mss(only.view, only.at)).toBe(-1)
    }
    // The right kind with a wrong length is not it.
    const { view, at } = laid(2, 6, 5, 180, 0, 0)
    expect(option.mss(view, at)).toBe(-1)
  })

  test('the highest edge of SACK blocks, over the wrap of sequence numbers', () => {
    const block = (right: number): number[] => [
      0,
      0,
      0,
      0,
      right >>> 24,
      (right >> 16) & 255,
      (right >> 8) & 255,
      right & 255,
    ]
    const { view, at } = laid(1, 1, 5, 26, ...block(1000), ...block(5), ...block(0xfffffff0))
    expect(option.sackEdge(view, at, 500)).toBe(1000)
    expect(option.sackEdge(view, at, 2000)).toBe(2000)
    expect(option.sackEdge(view, at, 0xffffff00 | 0)).toBe(1000)
    const none = laid()
    expect(option.sackEdge(none.view, none.at, 7)).toBe(7)
  })
})

const full = frames.tcp(ENDS, {
  options: [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8],
})
mutations('tcp', full, ({ view, at, end }) => {
  if (!tcp.fits(view, at, end)) return
  tcp.text(view, at)
  option.text(view, at)
  option.sackEdge(view, at, 0)
  option.clampMss(view, at, 100, false)
  for (let kind = 0; kind < 256; kind += 5) {
    const place = option.findOption(view, at, kind)
    if (place >= 0)
      expect(place + view.getUint8(place + 1)).toBeLessThanOrEqual(at + tcp.headerLength(view, at))
  }
})
