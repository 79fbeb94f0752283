/** Tables for people. */

import { describe, expect, it } from 'vitest'
import type { InterfaceRow } from '../../../src/control/show/model.ts'
import {
  bytesText,
  dropsTable,
  durationText,
  fdbTable,
  paletteFor,
  portsTable,
  statusText,
  vlansTable,
} from '../../../src/control/show/render.ts'
import { interfacesTable } from '../../../src/control/show/render-router.ts'
import { tunnelsTable } from '../../../src/control/show/render-tunnel.ts'
import { dropRow, fdbRow, portStatus, statusReport, tunnelRow } from '../../support/model.ts'

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

  it('name the remote only where there are tunnels', () => {
    const rows = [fdbRow(), fdbRow({ port: 'b', remote: '198.51.100.2' })]
    expect(fdbTable(rows).split('\n')).toEqual([
      'SWITCH  VLAN  MAC                PORT  TYPE     AGE  REMOTE',
      'lan        -  02:00:00:00:00:01  web   dynamic  7 s  -',
      'lan        -  02:00:00:00:00:01  b     dynamic  7 s  198.51.100.2',
    ])
  })

  it('of tunnels say what was dropped, and which names are not known', () => {
    const drops = { ...tunnelRow().drops, 'tunnel-too-big': 3, refused: 1 }
    const rows = [
      tunnelRow({
        name: 'b.example',
        vnis: [1, 2, 3, 9],
        drops,
        dropped: 4,
        mtu: 1350,
        pathMtu: 1400,
        mtuFrom: 'probe',
      }),
      tunnelRow({ remote: null, name: 'c.example', state: 'unresolved', heardS: null }),
      tunnelRow({ remote: '239.1.1.1', kind: 'group', state: 'unknown' }),
    ]
    const lines = tunnelsTable(rows).split('\n')
    expect(lines[1]).toMatch(
      /^underlay +198\.51\.100\.2 \(b\.example\) +up +1-3,9 +3 +1350 +1400 probe +2 s /,
    )
    expect(lines[2]).toMatch(/^underlay +c\.example +unresolved .* never /)
    expect(lines[3]).toMatch(/^underlay +239\.1\.1\.1 group +- /)
    expect(lines.at(-1)).toBe('underlay 198.51.100.2: tunnel-too-big 3, refused 1')
    expect(tunnelsTable([])).toBe('no remotes')
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

  it('show a range of VLANs that has the same ports as one line', () => {
    const vlan = (id: number, more: object = {}) => ({
      switch: 'lan',
      vlan: id,
      tagged: ['up'],
      untagged: [],
      addresses: 0,
      ...more,
    })
    const rows = Array.from({ length: 4094 }, (_, i) =>
      vlan(i + 1, i === 9 ? { untagged: ['web'], addresses: 2 } : {}),
    )
    rows.push(vlan(7, { switch: 'other', addresses: 1 }), vlan(9, { switch: 'other' }))
    rows.push(vlan(0, { switch: 'plain', tagged: [], untagged: ['a'] }))
    const cells = vlansTable(rows)
      .split('\n')
      .map((line) => line.trim().split(/ +/))
    expect(cells).toEqual([
      ['SWITCH', 'VLAN', 'MACS', 'UNTAGGED', 'TAGGED'],
      ['lan', '1-9', '0', '-', 'up'],
      ['lan', '10', '2', 'web', 'up'],
      ['lan', '11-4094', '0', '-', 'up'],
      ['other', '7', '1', '-', 'up'],
      ['other', '9', '0', '-', 'up'],
      ['plain', '-', '0', 'a', '-'],
    ])
  })

  it('say something when there is nothing', () => {
    expect(fdbTable([])).toBe('no addresses')
    expect(portsTable([])).toBe('no ports')
    expect(vlansTable([])).toBe('no VLANs')
    expect(dropsTable([])).toContain('no packet was dropped')
  })

  it("show a router's interfaces, and who else has an address", () => {
    const row: InterfaceRow = {
      router: 'edge',
      name: 'lan',
      type: 'switch',
      switch: 'office',
      vlan: 10,
      port: 'office.edge.lan',
      device: null,
      netns: null,
      state: 'up',
      reason: null,
      mac: '02:00:00:00:00:01',
      mtu: 1500,
      addresses: [
        { address: '10.0.0.1/24', state: 'valid', used: true, other: null },
        { address: 'fd00::1/64', state: 'duplicate', used: false, other: '02:00:00:00:00:09' },
      ],
      rxPackets: 1,
      rxBytes: 1500,
      txPackets: 0,
      txBytes: 0,
      drops: 3,
    }
    const tap: InterfaceRow = {
      ...row,
      name: 'wan',
      type: 'tun',
      switch: null,
      vlan: null,
      device: 'tun0',
      netns: 'far',
      mac: null,
      addresses: [],
    }
    expect(interfacesTable([row, tap])).toBe(
      [
        'ROUTER  INTERFACE  ON                     STATE  MAC                 MTU       IN  OUT  DROPS  ADDRESSES',
        'edge    lan        switch office vlan 10  up     02:00:00:00:00:01  1500  1.50 kB  0 B      3  10.0.0.1/24 fd00::1/64 (duplicate)',
        'edge    wan        tun tun0 in far        up     -                  1500  1.50 kB  0 B      3  -',
        '',
        'edge.lan: 02:00:00:00:00:09 has fd00::1/64; it is not used here',
      ].join('\n'),
    )
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
