/** The table of tunnels for people. */
import type { TunnelRow } from './model.ts'
import { bytesText, dash, durationText, type Palette, PLAIN, table } from './render.ts'

const SHOWN = 4

/** '77', '1-8', '1-3,7,10 and 5 more'. */
export function vnisText(vnis: readonly number[]): string {
  const runs: string[] = []
  for (let i = 0; i < vnis.length; ) {
    let j = i
    while (j + 1 < vnis.length && vnis[j + 1] === vnis[j] + 1) j++
    runs.push(j === i ? `${vnis[i]}` : `${vnis[i]}-${vnis[j]}`)
    i = j + 1
  }
  if (runs.length <= SHOWN + 1) return runs.join(',')
  return `${runs.slice(0, SHOWN).join(',')} and ${runs.length - SHOWN} more`
}

function remoteOf({ remote, name, kind }: TunnelRow): string {
  if (remote === null) return name ?? '-'
  return `${remote}${name === null ? '' : ` (${name})`}${kind === 'listed' ? '' : ` ${kind}`}`
}

function stateOf(row: TunnelRow, p: Palette): string {
  if (row.state === 'up') return p.good('up')
  return row.state === 'unknown' ? '-' : p.bad(row.state)
}

export function tunnelsTable(rows: TunnelRow[], p: Palette = PLAIN): string {
  if (rows.length === 0) return 'no remotes'
  const shown = table(
    rows,
    [
      { head: 'VTEP', cell: (r) => r.vtep },
      { head: 'REMOTE', cell: remoteOf },
      { head: 'STATE', cell: stateOf },
      { head: 'VNI', cell: (r) => dash(vnisText(r.vnis)) },
      { head: 'MACS', right: true, cell: (r) => r.addresses },
      ...(rows.some((r) => r.underlay !== 'socket')
        ? [{ head: 'UNDERLAY', cell: (r: TunnelRow) => r.underlay }]
        : []),
      { head: 'MTU', right: true, cell: (r) => r.mtu },
      { head: 'PATH', right: true, cell: (r) => `${r.pathMtu} ${r.mtuFrom}` },
      { head: 'HEARD', right: true, cell: (r) => (r.heardS === null ? 'never' : durationText(r.heardS)) },
      { head: 'IN PKTS', right: true, cell: (r) => r.rxPackets },
      { head: 'IN', right: true, cell: (r) => bytesText(r.rxBytes) },
      { head: 'OUT PKTS', right: true, cell: (r) => r.txPackets },
      { head: 'OUT', right: true, cell: (r) => bytesText(r.txBytes) },
      { head: 'DROPS', right: true, cell: (r) => r.dropped },
    ],
    p,
  )
  const why = rows.filter((r) => r.dropped > 0).map(dropsText)
  return why.length === 0 ? shown : `${shown}\n\n${why.join('\n')}`
}

function dropsText({ vtep, remote, drops }: TunnelRow): string {
  const parts = Object.entries(drops).filter(([, n]) => n > 0)
  return `${vtep} ${remote}: ${parts.map(([reason, n]) => `${reason} ${n}`).join(', ')}`
}
