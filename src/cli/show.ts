/** `taploom show WHAT`: the tables of a running daemon, for people or (`--json`) for programs. */
import type { Command } from 'commander'
import type { Query } from '../control/api/client.ts'
import type { Palette } from '../control/show/render.ts'
import { conntrackOptions, conntrackQuery } from './conntrack-options.ts'
import { clientOf, whole } from './options.ts'

type Render = typeof import('../control/show/render.ts') &
  typeof import('../control/show/render-router.ts') &
  typeof import('../control/show/render-tunnel.ts')

interface Subject {
  name: string
  description: string
  options?(command: Command): void
  query?(options: Record<string, unknown>): Query
  render(document: never, p: Palette, render: Render): string
}

const asFilter = ({ switch: name, port, vlan }: Record<string, unknown>): Query =>
  ({ switch: name, port, vlan }) as Query

/** Options that narrow a request to a part of the forwarding database. */
export function filterOptions(command: Command): void {
  command
    .option('--switch <name>', 'only this switch')
    .option('--port <name>', 'only this port: switch.port, or port when only one switch has it')
    .option('--vlan <id>', 'only this VLAN (0: without VLAN)', whole(0, 4094))
}

function routerOption(command: Command): void {
  command.option('--router <name>', 'only this router')
}

const SUBJECTS: Subject[] = [
  {
    name: 'ports',
    description: 'ports: device, state, VLANs, bytes',
    render: (rows, p, r) => r.portsTable(rows, p),
  },
  {
    name: 'fdb',
    description: 'forwarding database: which address is behind which port',
    options: filterOptions,
    query: asFilter,
    render: (rows, p, r) => r.fdbTable(rows, p),
  },
  {
    name: 'vlans',
    description: 'VLANs and their ports',
    render: (rows, p, r) => r.vlansTable(rows, p),
  },
  {
    name: 'interfaces',
    description: "routers' interfaces: MAC, MTU, bytes, addresses and whether somebody else has one",
    options: routerOption,
    query: ({ router }) => ({ router }) as Query,
    render: (rows, p, r) => r.interfacesTable(rows, p),
  },
  {
    name: 'routes',
    description: 'routing tables, connected routes included',
    options: routerOption,
    query: ({ router }) => ({ router }) as Query,
    render: (rows, p, r) => r.routesTable(rows, p),
  },
  {
    name: 'neighbors',
    description: 'neighbours: which MAC address an IP address has',
    options: routerOption,
    query: ({ router }) => ({ router }) as Query,
    render: (rows, p, r) => r.neighborsTable(rows, p),
  },
  {
    name: 'rules',
    description: 'filter and NAT rules with their counters, as iptables-save -c prints them',
    options: routerOption,
    query: ({ router }) => ({ router }) as Query,
    render: (lines, _p, r) => r.rulesText(lines),
  },
  {
    name: 'conntrack',
    description: 'tracked connections, as conntrack -L prints them',
    options: conntrackOptions,
    query: conntrackQuery,
    render: (rows, _p, r) => r.conntrackText(rows),
  },
  {
    name: 'sets',
    description: 'sets of addresses that rules look into, as ipset save prints them',
    options: routerOption,
    query: ({ router }) => ({ router }) as Query,
    render: (rows, _p, r) => r.setsText(rows),
  },
  {
    name: 'leases',
    description: 'addresses that DHCP servers have given',
    options: routerOption,
    query: ({ router }) => ({ router }) as Query,
    render: (rows, p, r) => r.leasesTable(rows, p),
  },
  {
    name: 'tunnels',
    description: 'remotes of VTEPs: state, VNIs, MTU and how it was found, packets, drops',
    options: (command) => command.option('--vtep <name>', 'only this VTEP'),
    query: ({ vtep }) => ({ vtep }) as Query,
    render: (rows, p, r) => r.tunnelsTable(rows, p),
  },
  {
    name: 'counters',
    description: 'packets, bytes and learning per port',
    render: (rows, p, r) => r.countersTable(rows, p),
  },
  {
    name: 'drops',
    description: 'packets dropped, by reason',
    options: (command) => command.option('--all', 'reasons that never happened, too'),
    query: ({ all }) => ({ all: all === true }),
    render: (rows, p, r) => r.dropsTable(rows, p),
  },
  {
    name: 'status',
    description: 'version, worker, memory, switches, totals',
    render: (report, p, r) => r.statusText(report, p),
  },
]

const EXAMPLES = `
Examples:
  taploom show ports
  taploom show fdb --switch lan --vlan 10
  taploom show counters --json | jq '.[] | {port, rxPackets}'`

export function show(program: Command): void {
  const parent = program
    .command('show')
    .description('print tables of the running daemon')
    .addHelpText('after', EXAMPLES)
  for (const subject of SUBJECTS) {
    const command = parent.command(subject.name).description(subject.description)
    subject.options?.(command)
    command.option('--json', 'a stable JSON document instead of a table')
    command.action(async (options: Record<string, unknown>) => {
      const document = await clientOf(command).get(`/v1/${subject.name}`, subject.query?.(options))
      if (options.json) {
        process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
        return
      }
      const render = {
        ...(await import('../control/show/render.ts')),
        ...(await import('../control/show/render-router.ts')),
        ...(await import('../control/show/render-tunnel.ts')),
      }
      const text = subject.render(document as never, render.paletteFor(process.stdout), render)
      process.stdout.write(`${text}\n`)
    })
  }
}
