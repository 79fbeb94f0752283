/** Documents of the control API, for tests that only care about some of their fields. */
import type { CounterRow, DropRow, FdbRow, PortStatus, StatusReport } from '../../src/control/model.ts'

export const portStatus = (fields: Partial<PortStatus> = {}): PortStatus => ({
  name: 'web',
  switch: 'lan',
  type: 'tap',
  state: 'up',
  reason: null,
  device: 'eth0',
  netns: 'web',
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  vlan: '-',
  addresses: ['10.10.0.2/24'],
  offloads: ['checksum'],
  learned: 1,
  rxPackets: 2,
  rxBytes: 300,
  txPackets: 4,
  txBytes: 5_600_000,
  drops: 0,
  ...fields,
})

export const fdbRow = (fields: Partial<FdbRow> = {}): FdbRow => ({
  switch: 'lan',
  vlan: 0,
  mac: '02:00:00:00:00:01',
  port: 'web',
  type: 'dynamic',
  ageS: 7,
  ...fields,
})

export const counterRow = (fields: Partial<CounterRow> = {}): CounterRow => ({
  port: 'web',
  switch: 'lan',
  rxPackets: 0,
  rxBytes: 0,
  rxSuper: 0,
  txPackets: 0,
  txBytes: 0,
  made: 0,
  held: 0,
  learned: 0,
  moved: 0,
  learnRefused: 0,
  evicted: 0,
  captured: 0,
  captureLost: 0,
  drops: 0,
  ...fields,
})

export const dropRow = (fields: Partial<DropRow> = {}): DropRow => ({
  port: 'web',
  switch: 'lan',
  reason: 'runt',
  side: 'in',
  packets: 0,
  meaning: 'shorter than an Ethernet header',
  ...fields,
})

export const statusReport = (fields: Partial<StatusReport> = {}): StatusReport => ({
  version: '0.1.0',
  node: 'v20.0.0',
  pid: 42,
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeS: 3700,
  configFile: '/etc/taploom.yaml',
  poll: 'adaptive',
  workers: [{ state: 'running', restarts: 0 }],
  switches: [{ name: 'lan', ports: 2, up: 1, addresses: 3, limit: 65536, agingS: 300, vlanAware: true }],
  memory: { residentBytes: 90_000_000, poolSlots: 1024 },
  totals: { in: 10, made: 2, out: 11, dropped: 1, held: 0, consumed: 0 },
  ...fields,
})
