/**
 * What `show` prints for people: columns without borders, one header line, numbers to the right.
 * Only bytes get a unit (SI, powers of 1000); counts stay whole, so that two readings can be compared.
 */
import Table from 'cli-table3'
import type { CounterRow, DropRow, FdbRow, PortStatus, StatusReport, VlanRow } from './model.ts'

/** How the table looks: colours are for terminals only. */
export interface Palette {
  bold(text: string): string
  good(text: string): string
  bad(text: string): string
  dim(text: string): string
}

const ansi = (open: number, close: number) => (text: string) => `\x1b[${open}m${text}\x1b[${close}m`
const same = (text: string): string => text
export const PLAIN: Palette = { bold: same, good: same, bad: same, dim: same }
const COLOUR: Palette = { bold: ansi(1, 22), good: ansi(32, 39), bad: ansi(31, 39), dim: ansi(2, 22) }

/** Colour on a terminal, unless NO_COLOR (no-color.org) or a terminal without any. */
export function paletteFor(stream: { isTTY?: boolean }): Palette {
  const wanted = stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'
  return wanted ? COLOUR : PLAIN
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** 999 B, 1.50 kB, 15.0 MB: three digits. */
export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999.5 would be shown as 1000 of the smaller unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

/** 59 s, 3 min, 2 h 5 min, 4 d 1 h. */
export function durationText(seconds: number): string {
  const s = Math.floor(seconds)
  if (s < 60) return `${s} s`
  const min = Math.floor(s / 60)
  if (min < 60) return `${min} min`
  const h = Math.floor(min / 60)
  return h < 24 ? `${h} h ${min % 60} min` : `${Math.floor(h / 24)} d ${h % 24} h`
}

interface Column<Row> {
  head: string
  right?: boolean
  cell(row: Row, p: Palette): string | number
}

/** cli-table3 lays a whole table out at once; a large one is cut into pieces of equal widths. */
const PIECE = 1000
const GAP = 2
const NO_BORDER = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
}
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what a colour is made of
const COLOUR_CODES = /\x1b\[\d+m/g
const widthOf = (text: string): number => text.replace(COLOUR_CODES, '').length

export function table<Row>(rows: Row[], columns: Column<Row>[], p: Palette = PLAIN): string {
  const cells = rows.map((row) => columns.map((c) => String(c.cell(row, p))))
  const widths = columns.map((c) => c.head.length)
  for (const line of cells)
    line.forEach((text, i) => {
      widths[i] = Math.max(widths[i], widthOf(text))
    })
  const lines: string[] = []
  cells.unshift(columns.map((c) => p.bold(c.head)))
  for (let from = 0; from < cells.length; from += PIECE) {
    const piece = new Table({
      chars: NO_BORDER,
      style: { 'padding-left': 0, 'padding-right': GAP, head: [], border: [], compact: true },
      colAligns: columns.map((c) => (c.right ? 'right' : 'left')),
      colWidths: widths.map((width) => width + GAP),
    })
    piece.push(...cells.slice(from, from + PIECE))
    for (const line of piece.toString().split('\n')) lines.push(line.trimEnd())
  }
  return lines.join('\n')
}

export const dash = (text: string | null): string => (text === null || text === '' ? '-' : text)

export function portsTable(rows: PortStatus[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no ports'
  const shown = table(
    rows,
    [
      { head: 'SWITCH', cell: (r) => r.switch },
      { head: 'PORT', cell: (r) => r.name },
      { head: 'TYPE', cell: (r) => r.type },
      { head: 'STATE', cell: (r) => (r.state === 'up' ? p.good('up') : p.bad('down')) },
      { head: 'DEVICE', cell: (r) => dash(r.device) },
      { head: 'NETNS', cell: (r) => dash(r.netns) },
      { head: 'VLAN', cell: (r) => dash(r.vlan) },
      { head: 'MTU', right: true, cell: (r) => r.mtu },
      { head: 'MACS', right: true, cell: (r) => r.learned },
      { head: 'IN', right: true, cell: (r) => bytesText(r.rxBytes) },
      { head: 'OUT', right: true, cell: (r) => bytesText(r.txBytes) },
      { head: 'DROPS', right: true, cell: (r) => r.drops },
      { head: 'ADDRESSES', cell: (r) => dash(r.addresses.join(' ')) },
    ],
    p,
  )
  const why = rows.filter((r) => r.reason !== null).map((r) => `${r.switch}.${r.name}: ${r.reason}`)
  return why.length === 0 ? shown : `${shown}\n\n${why.join('\n')}`
}

export function fdbTable(rows: FdbRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no addresses'
  const remote = { head: 'REMOTE', cell: (r: FdbRow) => dash(r.remote) }
  return table(
    rows,
    [
      { head: 'SWITCH', cell: (r) => r.switch },
      { head: 'VLAN', right: true, cell: (r) => (r.vlan === 0 ? '-' : r.vlan) },
      { head: 'MAC', cell: (r) => r.mac },
      { head: 'PORT', cell: (r) => r.port },
      { head: 'TYPE', cell: (r) => r.type },
      { head: 'AGE', right: true, cell: (r) => (r.type === 'dynamic' ? durationText(r.ageS) : '-') },
      // Only where there are tunnels.
      ...(rows.some((r) => r.remote !== null) ? [remote] : []),
    ],
    p,
  )
}

interface VlanRange extends VlanRow {
  last: number
}

/** Neighbouring VLANs with the same ports are one line. */
function vlanRanges(rows: VlanRow[]): VlanRange[] {
  const ranges: VlanRange[] = []
  const same = (a: string[], b: string[]) => a.join(' ') === b.join(' ')
  for (const row of rows) {
    const range = ranges.at(-1)
    const goesOn = range && range.switch === row.switch && range.last + 1 === row.vlan && range.vlan > 0
    if (goesOn && same(range.tagged, row.tagged) && same(range.untagged, row.untagged)) {
      range.last = row.vlan
      range.addresses += row.addresses
    } else ranges.push({ ...row, last: row.vlan })
  }
  return ranges
}

export function vlansTable(rows: VlanRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no VLANs'
  const vlanText = (r: VlanRange) =>
    r.last > r.vlan ? `${r.vlan}-${r.last}` : dash(r.vlan === 0 ? '' : `${r.vlan}`)
  return table(
    vlanRanges(rows),
    [
      { head: 'SWITCH', cell: (r) => r.switch },
      { head: 'VLAN', right: true, cell: vlanText },
      { head: 'MACS', right: true, cell: (r) => r.addresses },
      { head: 'UNTAGGED', cell: (r) => dash(r.untagged.join(' ')) },
      { head: 'TAGGED', cell: (r) => dash(r.tagged.join(' ')) },
    ],
    p,
  )
}

export function countersTable(rows: CounterRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no ports'
  return table(
    rows,
    [
      { head: 'SWITCH', cell: (r) => r.switch },
      { head: 'PORT', cell: (r) => r.port },
      { head: 'IN PKTS', right: true, cell: (r) => r.rxPackets },
      { head: 'IN BYTES', right: true, cell: (r) => bytesText(r.rxBytes) },
      { head: 'SUPER', right: true, cell: (r) => r.rxSuper },
      { head: 'OUT PKTS', right: true, cell: (r) => r.txPackets },
      { head: 'OUT BYTES', right: true, cell: (r) => bytesText(r.txBytes) },
      { head: 'MADE', right: true, cell: (r) => r.made },
      { head: 'HELD', right: true, cell: (r) => r.held },
      { head: 'LEARNED', right: true, cell: (r) => r.learned },
      { head: 'MOVED', right: true, cell: (r) => r.moved },
      { head: 'REFUSED', right: true, cell: (r) => r.learnRefused },
      { head: 'EVICTED', right: true, cell: (r) => r.evicted },
      { head: 'DROPS', right: true, cell: (r) => r.drops },
    ],
    p,
  )
}

export function dropsTable(rows: DropRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no packet was dropped (--all lists the reasons there are)'
  return table(
    rows,
    [
      { head: 'SWITCH', cell: (r) => r.switch },
      { head: 'PORT', cell: (r) => r.port },
      { head: 'SIDE', cell: (r) => r.side },
      { head: 'REASON', cell: (r) => r.reason },
      { head: 'PACKETS', right: true, cell: (r) => r.packets },
      { head: 'MEANING', cell: (r) => p.dim(r.meaning) },
    ],
    p,
  )
}

export function statusText(s: StatusReport, p: Palette = PLAIN): string {
  const { totals: t } = s
  const worker = s.workers.map((w) => (w.state === 'running' ? p.good(w.state) : p.bad(w.state))).join(' ')
  const restarts = s.workers.reduce((sum, w) => sum + w.restarts, 0)
  const lines: [string, string][] = [
    ['taploom', `${s.version} on Node ${s.node.replace(/^v/, '')}, pid ${s.pid}`],
    ['up', `${durationText(s.uptimeS)}, since ${s.startedAt}`],
    ['configuration', s.configFile ?? '-'],
    ['worker', `${worker}, poll ${s.poll}, restarts ${restarts}`],
    ['memory', `${bytesText(s.memory.residentBytes)} resident, ${s.memory.poolSlots} packet slots`],
    [
      'packets',
      `in ${t.in} + made ${t.made} = out ${t.out} + dropped ${t.dropped} + held ${t.held} + consumed ${t.consumed}`,
    ],
  ]
  const head = lines.map(([name, value]) => `${p.bold(name.padEnd(15))}${value}`).join('\n')
  const switches = table(
    s.switches,
    [
      { head: 'SWITCH', cell: (r) => r.name },
      { head: 'PORTS', right: true, cell: (r) => r.ports },
      { head: 'UP', right: true, cell: (r) => r.up },
      { head: 'MACS', right: true, cell: (r) => r.addresses },
      { head: 'LIMIT', right: true, cell: (r) => r.limit },
      { head: 'AGING', right: true, cell: (r) => (r.agingS === 0 ? 'never' : `${r.agingS} s`) },
      { head: 'VLANS', cell: (r) => (r.vlanAware ? 'yes' : 'no') },
    ],
    p,
  )
  const vteps = table(
    s.vteps,
    [
      { head: 'VTEP', cell: (r) => r.name },
      { head: 'LOCAL', cell: (r) => r.local },
      { head: 'UDP', right: true, cell: (r) => r.port },
      { head: 'NETNS', cell: (r) => dash(r.netns) },
      { head: 'MTU', right: true, cell: (r) => r.mtu },
      { head: 'REMOTES', right: true, cell: (r) => r.remotes },
      { head: 'MACS', right: true, cell: (r) => r.addresses },
      { head: 'LIMIT', right: true, cell: (r) => r.limit },
      { head: 'LOST', right: true, cell: (r) => r.lost },
    ],
    p,
  )
  return s.vteps.length === 0 ? `${head}\n\n${switches}` : `${head}\n\n${switches}\n\n${vteps}`
}
