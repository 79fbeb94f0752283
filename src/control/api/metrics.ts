/**
 * The counters as Prometheus reads them (GET /metrics). Nothing is kept here: every scrape reads the
 * fabric's counters anew, so a metric can never disagree with `show`. A port that goes takes its
 * series with it; counts restart at zero with the daemon, which is what a Prometheus counter may do.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import type { CounterRow, DropRow, PortStatus, StatusReport, TunnelRow } from '../show/model.ts'

/** What the metrics are made of. */
export interface Measured {
  ports(): PortStatus[]
  counters(): CounterRow[]
  drops(): DropRow[]
  status(): StatusReport
  tunnelRows(filter?: { vtep?: string }): TunnelRow[]
}

type Labels = Record<string, string>
type Sample = [labels: Labels, value: number]

/** [name, kind, help, label names, samples]. */
type Metric = [string, 'counter' | 'gauge', string, string[], (f: Measured) => Sample[]]

const PORT = ['switch', 'port']
const of = (row: { switch: string; port: string }): Labels => ({ switch: row.switch, port: row.port })
const perPort = (value: (row: CounterRow) => number) => (f: Measured) =>
  f.counters().map((row): Sample => [of(row), value(row)])
const bothWays = (rx: (row: CounterRow) => number, tx: (row: CounterRow) => number) => (f: Measured) =>
  f.counters().flatMap((row): Sample[] => [
    [{ ...of(row), direction: 'in' }, rx(row)],
    [{ ...of(row), direction: 'out' }, tx(row)],
  ])

/** Names without an address have nothing to measure. */
const remotes = (f: Measured) => f.tunnelRows().filter((r) => r.remote !== null)
const REMOTE = ['vtep', 'remote']
const at = (row: TunnelRow): Labels => ({ vtep: row.vtep, remote: row.remote ?? '' })
const perRemote = (value: (row: TunnelRow) => number) => (f: Measured) =>
  remotes(f).map((row): Sample => [at(row), value(row)])
const toAndFro = (rx: (row: TunnelRow) => number, tx: (row: TunnelRow) => number) => (f: Measured) =>
  remotes(f).flatMap((row): Sample[] => [
    [{ ...at(row), direction: 'in' }, rx(row)],
    [{ ...at(row), direction: 'out' }, tx(row)],
  ])

const METRICS: Metric[] = [
  [
    'taploom_port_packets_total',
    'counter',
    'Packets received (in) and sent (out); a super-frame counts as one',
    [...PORT, 'direction'],
    bothWays(
      (r) => r.rxPackets,
      (r) => r.txPackets,
    ),
  ],
  [
    'taploom_port_bytes_total',
    'counter',
    'Bytes of frames received (in) and sent (out)',
    [...PORT, 'direction'],
    bothWays(
      (r) => r.rxBytes,
      (r) => r.txBytes,
    ),
  ],
  [
    'taploom_port_super_frames_total',
    'counter',
    'Super-frames (GSO) among the packets received',
    PORT,
    perPort((r) => r.rxSuper),
  ],
  [
    'taploom_drops_total',
    'counter',
    'Packets dropped, by reason',
    [...PORT, 'side', 'reason'],
    (f) => f.drops().map((r): Sample => [{ ...of(r), side: r.side, reason: r.reason }, r.packets]),
  ],
  [
    'taploom_port_up',
    'gauge',
    '1 when traffic flows through the port',
    PORT,
    (f) => f.ports().map((p): Sample => [{ switch: p.switch, port: p.name }, p.state === 'up' ? 1 : 0]),
  ],
  ['taploom_port_held_packets', 'gauge', 'Packets the port keeps for later', PORT, perPort((r) => r.held)],
  ['taploom_fdb_moved_total', 'counter', 'Stations that moved to the port', PORT, perPort((r) => r.moved)],
  [
    'taploom_fdb_refused_total',
    'counter',
    'Addresses not learned because a limit was reached',
    PORT,
    perPort((r) => r.learnRefused),
  ],
  ['taploom_fdb_evicted_total', 'counter', 'Addresses evicted to make room', PORT, perPort((r) => r.evicted)],
  [
    'taploom_capture_lost_total',
    'counter',
    'Packets a capture had no room for',
    PORT,
    perPort((r) => r.captureLost),
  ],
  [
    'taploom_fdb_entries',
    'gauge',
    'Addresses in the forwarding database',
    ['switch'],
    (f) => f.status().switches.map((s): Sample => [{ switch: s.name }, s.addresses]),
  ],
  [
    'taploom_fdb_limit',
    'gauge',
    'Most addresses the forwarding database takes',
    ['switch'],
    (f) => f.status().switches.map((s): Sample => [{ switch: s.name }, s.limit]),
  ],
  [
    'taploom_tunnel_packets_total',
    'counter',
    'Packets from (in) and to (out) a remote; a super-frame counts as one',
    [...REMOTE, 'direction'],
    toAndFro(
      (r) => r.rxPackets,
      (r) => r.txPackets,
    ),
  ],
  [
    'taploom_tunnel_bytes_total',
    'counter',
    'UDP payload from (in) and to (out) a remote',
    [...REMOTE, 'direction'],
    toAndFro(
      (r) => r.rxBytes,
      (r) => r.txBytes,
    ),
  ],
  [
    'taploom_tunnel_drops_total',
    'counter',
    'Packets dropped at a remote, by reason',
    [...REMOTE, 'reason'],
    (f) =>
      remotes(f).flatMap((r) =>
        Object.entries(r.drops).map(([reason, n]): Sample => [{ ...at(r), reason }, n]),
      ),
  ],
  [
    'taploom_tunnel_mtu_bytes',
    'gauge',
    'Longest inner packet the path takes',
    REMOTE,
    perRemote((r) => r.mtu),
  ],
  ['taploom_tunnel_addresses', 'gauge', 'Addresses behind a remote', REMOTE, perRemote((r) => r.addresses)],
  [
    'taploom_tunnel_up',
    'gauge',
    '1 unless the remote was given up (probe: liveness)',
    REMOTE,
    perRemote((r) => (r.state === 'down' ? 0 : 1)),
  ],
  [
    'taploom_worker_restarts_total',
    'counter',
    'Workers of the data plane that died and were replaced',
    [],
    (f) => [[{}, f.status().workers.reduce((sum, w) => sum + w.restarts, 0)]],
  ],
  [
    'taploom_info',
    'gauge',
    'Always 1; the versions are its labels',
    ['version', 'node'],
    (f) => [[{ version: f.status().version, node: f.status().node }, 1]],
  ],
  [
    'process_resident_memory_bytes',
    'gauge',
    'Resident memory of the daemon',
    [],
    (f) => [[{}, f.status().memory.residentBytes]],
  ],
  [
    'process_start_time_seconds',
    'gauge',
    'When the daemon started, seconds since 1970',
    [],
    (f) => [[{}, Date.parse(f.status().startedAt) / 1000]],
  ],
]

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

/** The text of one scrape. */
export function metricsText(fabric: Measured): Promise<string> {
  const registry = new Registry()
  const registers = [registry]
  for (const [name, kind, help, labelNames, samples] of METRICS) {
    if (kind === 'counter') {
      const counter = new Counter({ name, help, labelNames, registers })
      for (const [labels, value] of samples(fabric)) counter.inc(labels, value)
    } else {
      const gauge = new Gauge({ name, help, labelNames, registers })
      for (const [labels, value] of samples(fabric)) gauge.set(labels, value)
    }
  }
  return registry.metrics()
}
