/** The routers' tables for people. */
import { lineOf } from '../../filter/conntrack/row.ts'
import type {
  ConnectionRow,
  InterfaceRow,
  LeaseRow,
  NeighborRow,
  RouteRow,
  SetElementRow,
  SetRow,
} from './model.ts'
import { bytesText, dash, durationText, type Palette, PLAIN, table } from './render.ts'

function hopsText(row: RouteRow): string {
  if (row.kind !== 'unicast') return row.kind
  const weighted = row.hops.length > 1
  return row.hops
    .map((h) => `${h.via ? `via ${h.via} ` : ''}${h.interface}${weighted ? ` (${h.weight})` : ''}`)
    .join(', ')
}

/** 'switch lan vlan 10', 'tap eth0 in web'. */
function placeText(row: InterfaceRow): string {
  if (row.switch !== null) return `switch ${row.switch}${row.vlan === null ? '' : ` vlan ${row.vlan}`}`
  return [row.type, row.device, row.netns && `in ${row.netns}`].filter(Boolean).join(' ')
}

function ownText({ address, state }: InterfaceRow['addresses'][number]): string {
  return state === 'valid' ? address : `${address} (${state})`
}

export function interfacesTable(rows: InterfaceRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no interfaces'
  const shown = table(
    rows,
    [
      { head: 'ROUTER', cell: (r) => r.router },
      { head: 'INTERFACE', cell: (r) => r.name },
      { head: 'ON', cell: placeText },
      { head: 'STATE', cell: (r) => (r.state === 'up' ? p.good('up') : p.bad('down')) },
      { head: 'MAC', cell: (r) => dash(r.mac) },
      { head: 'MTU', right: true, cell: (r) => r.mtu },
      { head: 'IN', right: true, cell: (r) => bytesText(r.rxBytes) },
      { head: 'OUT', right: true, cell: (r) => bytesText(r.txBytes) },
      { head: 'DROPS', right: true, cell: (r) => r.drops },
      { head: 'ADDRESSES', cell: (r) => dash(r.addresses.map(ownText).join(' ')) },
    ],
    p,
  )
  const notes = rows.flatMap((r) => [
    ...(r.reason === null ? [] : [`${r.router}.${r.name}: ${r.reason}`]),
    ...r.addresses.flatMap((a) => (a.other === null ? [] : [`${r.router}.${r.name}: ${otherText(a)}`])),
  ])
  return notes.length === 0 ? shown : `${shown}\n\n${notes.join('\n')}`
}

function otherText({ address, used, other }: InterfaceRow['addresses'][number]): string {
  return used ? `${other} uses ${address}, too` : `${other} has ${address}; it is not used here`
}

export function routesTable(rows: RouteRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no routes'
  return table(
    rows,
    [
      { head: 'ROUTER', cell: (r) => r.router },
      { head: 'TABLE', cell: (r) => r.table },
      { head: 'TO', cell: (r) => r.to },
      { head: 'NEXT HOP', cell: (r) => hopsText(r) },
      { head: 'METRIC', right: true, cell: (r) => r.metric },
      { head: 'SRC', cell: (r) => dash(r.src ?? '') },
    ],
    p,
  )
}

export function neighborsTable(rows: NeighborRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no neighbours'
  return table(
    rows,
    [
      { head: 'ROUTER', cell: (r) => r.router },
      { head: 'INTERFACE', cell: (r) => r.interface },
      { head: 'ADDRESS', cell: (r) => r.address },
      { head: 'MAC', cell: (r) => dash(r.mac ?? '') },
      { head: 'STATE', cell: (r) => r.state },
      { head: 'WAITING', right: true, cell: (r) => r.waiting },
      { head: 'USED', right: true, cell: (r) => durationText(r.usedS) },
    ],
    p,
  )
}

export function leasesTable(rows: LeaseRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no leases'
  return table(
    rows,
    [
      { head: 'ROUTER', cell: (r) => r.router },
      { head: 'INTERFACE', cell: (r) => r.interface },
      { head: 'ADDRESS', cell: (r) => r.address },
      { head: 'MAC', cell: (r) => r.mac },
      { head: 'HOST', cell: (r) => dash(r.hostName ?? '') },
      { head: 'STATE', cell: (r) => r.state },
      { head: 'EXPIRES', cell: (r) => r.expires.replace('T', ' ').replace(/\..*/, '') },
      { head: 'LEFT', right: true, cell: (r) => durationText(r.leftS) },
    ],
    p,
  )
}

export function rulesText(lines: string[]): string {
  return lines.length === 0 ? 'no rules' : lines.join('\n')
}

export function conntrackText(rows: ConnectionRow[]): string {
  return rows.length === 0 ? 'no connections' : rows.map((row) => lineOf(row)).join('\n')
}

/** As `ipset save`, behind a line that names the router. */
export function setsText(rows: SetRow[]): string {
  if (rows.length === 0) return 'no sets'
  const lines: string[] = []
  let router = ''
  for (const row of rows) {
    if (row.router !== router) lines.push(`# router ${row.router}`)
    router = row.router
    lines.push(row.create, ...row.elements.map((element) => `add ${row.name} ${elementText(element)}`))
  }
  return lines.join('\n')
}

function elementText({ bytes, comment, element, nomatch, packets, timeoutS }: SetElementRow): string {
  return [
    element,
    timeoutS === null ? '' : `timeout ${timeoutS}`,
    nomatch ? 'nomatch' : '',
    packets === null ? '' : `packets ${packets} bytes ${bytes}`,
    comment === '' ? '' : `comment "${comment.replaceAll('\\', '\\\\')}"`,
  ]
    .filter((part) => part !== '')
    .join(' ')
}
