/** Tables for people. */
import { describe, expect, it } from 'vitest'
import {
  bytesText,
  dropsTable,
  durationText,
  fdbTable,
  paletteFor,
  portsTable,
  statusText,
  vlansTable,
} from '../../src/control/render.ts'
import { dropRow, fdbRow, portStatus, statusReport } from '../support/model.ts'

describe('numbers', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [9994, '9.99 kB'],
    [9995, '10.0 kB'],
    [99_949, '99.9 kB'],
    [99_950, '100 kB'],
    [999_499, '999 kB'],
    [999_500, '1.00 MB'],
    [1.5e15, '1.50 PB'],
    [9.9e18, '9900 PB'],
  ])('%d bytes are %s', (bytes, text) => expect(bytesText(bytes)).toBe(text))

  it.each([
    [0.9, '0 s'],
    [59, '59 s'],
    [60, '1 min'],
    [7500, '2 h 5 min'],
    [90_000, '1 d 1 h'],
  ])('%d seconds are %s', (s, text) => expect(durationText(s)).toBe(text))
})

describe('tables', () => {
  it('align numbers right, and end no line with blanks', () => {
    const rows = [fdbRow({ ageS: 7 }), fdbRow({ vlan: 4094, port: 'a-long-name', type: 'static', ageS: 0 })]
    expect(fdbTable(rows).split('\n')).toEqual([
      'SWITCH  VLAN  MAC                PORT         TYPE     AGE',
      'lan        -  02:00:00:00:00:01  web          dynamic  7 s',
      'lan     4094  02:00:00:00:00:01  a-long-name  static     -',
    ])
  })

  it('say why a port is down below the table', () => {
    const down = portStatus({ state: 'down', reason: 'its network namespace was deleted', netns: null })
    const lines = portsTable([portStatus(), down]).split('\n')
    expect(lines.at(-1)).toBe('lan.web: its network namespace was deleted')
    expect(lines[1]).toContain('5.60 MB')
  })

  it('stay one table however long', () => {
    const rows = Array.from({ length: 2500 }, (_, i) => fdbRow({ vlan: i + 1, port: `port${i}` }))
    const lines = fdbTable(rows).split('\n')
    expect(lines.length).toBe(2501)
    expect(new Set(lines.map((line) => line.length)).size).toBe(1)
    expect(lines.filter((line) => line.startsWith('SWITCH')).length).toBe(1)
  })

  it('say something when there is nothing', () => {
    expect(fdbTable([])).toBe('no addresses')
    expect(portsTable([])).toBe('no ports')
    expect(vlansTable([])).toBe('no VLANs')
    expect(dropsTable([])).toContain('no packet was dropped')
  })

  it('explain a drop', () => {
    expect(dropsTable([dropRow({ packets: 12 })])).toContain(
      'runt         12  shorter than an Ethernet header',
    )
  })

  it('show the conservation law', () => {
    expect(statusText(statusReport())).toContain('in 10 + made 2 = out 11 + dropped 1 + held 0 + consumed 0')
  })
})

describe('colours', () => {
  const rows = [portStatus(), portStatus({ name: 'x', state: 'down', reason: 'gone' })]
  const widths = (text: string) =>
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour is made of
    text.replace(/\x1b\[\d+m/g, '')

  it('are for terminals only, and change no column', () => {
    const plain = portsTable(rows, paletteFor({ isTTY: false }))
    const before = process.env.NO_COLOR
    const term = process.env.TERM
    delete process.env.NO_COLOR
    process.env.TERM = 'xterm'
    try {
      const colour = portsTable(rows, paletteFor({ isTTY: true }))
      expect(colour).not.toBe(plain)
      expect(widths(colour)).toBe(plain)
      process.env.NO_COLOR = '1'
      expect(portsTable(rows, paletteFor({ isTTY: true }))).toBe(plain)
    } finally {
      if (before === undefined) delete process.env.NO_COLOR
      else process.env.NO_COLOR = before
      if (term === undefined) delete process.env.TERM
      else process.env.TERM = term
    }
  })
})
