/** The routers' tables for people. */
import { lineOf } from '../filter/conntrack/row.ts'
import type { ConnectionRow, NeighborRow, RouteRow } from './model.ts'
import { dash, durationText, type Palette, PLAIN, table } from './render.ts'

function hopsText(row: RouteRow): string {
  if (row.kind !== 'unicast') return row.kind
  const weighted = row.hops.length > 1
  return row.hops
    .map((h) => `${h.via ? `via ${h.via} ` : ''}${h.interface}${weighted ? ` (${h.weight})` : ''}`)
    .join(', ')
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

export function rulesText(lines: string[]): string {
  return lines.length === 0 ? 'no rules' : lines.join('\n')
}

export function conntrackText(rows: ConnectionRow[]): string {
  return rows.length === 0 ? 'no connections' : rows.map((row) => lineOf(row)).join('\n')
}
