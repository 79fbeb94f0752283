/** `show` and `flush` against a daemon with real hosts: tables for people, documents for programs. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type {
  CounterRow,
  DropRow,
  FdbRow,
  PortStatus,
  StatusReport,
  VlanRow,
} from '../../src/control/show/model.ts'
import { CLI } from '../support/cli.ts'
import { Place } from '../support/daemon.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const place = new Place()
let web: string
let db: string
let far: string
const MACS = { web: '02:00:00:00:07:01', db: '02:00:00:00:07:02', far: '02:00:00:00:07:03' }

const tap = (netns: string, host: number, mac: string) => ({
  name: 'eth0',
  netns,
  addresses: [`10.7.0.${host}/24`],
  mac,
})

/** The fields of model.ts; a field that is missing here does not compile. */
const FIELDS = {
  ports: fields<PortStatus>({
    name: 'string',
    switch: 'string',
    type: 'string',
    state: 'string',
    reason: 'null',
    device: 'string',
    netns: 'string',
    mac: 'string',
    mtu: 'number',
    vlan: 'string',
    addresses: 'array',
    offloads: 'array',
    learned: 'number',
    rxPackets: 'number',
    rxBytes: 'number',
    txPackets: 'number',
    txBytes: 'number',
    drops: 'number',
  }),
  fdb: fields<FdbRow>({
    switch: 'string',
    vlan: 'number',
    mac: 'string',
    port: 'string',
    type: 'string',
    ageS: 'number',
    remote: 'null',
  }),
  vlans: fields<VlanRow>({
    switch: 'string',
    vlan: 'number',
    tagged: 'array',
    untagged: 'array',
    addresses: 'number',
  }),
  counters: fields<CounterRow>({
    port: 'string',
    switch: 'string',
    rxPackets: 'number',
    rxBytes: 'number',
    rxSuper: 'number',
    txPackets: 'number',
    txBytes: 'number',
    made: 'number',
    held: 'number',
    learned: 'number',
    moved: 'number',
    learnRefused: 'number',
    evicted: 'number',
    captured: 'number',
    captureLost: 'number',
    drops: 'number',
  }),
  drops: fields<DropRow>({
    port: 'string',
    switch: 'string',
    reason: 'string',
    side: 'string',
    packets: 'number',
    meaning: 'string',
  }),
  status: fields<StatusReport>({
    version: 'string',
    node: 'string',
    pid: 'number',
    startedAt: 'string',
    uptimeS: 'number',
    configFile: 'string',
    poll: 'string',
    workers: 'array',
    switches: 'array',
    vteps: 'array',
    memory: 'object',
    totals: 'object',
  }),
}
function fields<T>(kinds: Record<keyof T, string>): Record<string, string> {
  return kinds
}
const kindOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
const kindsOf = (row: object) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, kindOf(v)]))

describe.skipIf(lacking)(`the tables${lacking ? ` (skipped: ${lacking})` : ''}`, { timeout: 30_000 }, () => {
  beforeAll(async () => {
    web = lab.add('web')
    db = lab.add('db')
    far = lab.add('far')
    const config = {
      switches: {
        lan: {
          ports: {
            web: { tap: tap(web, 1, MACS.web), vlan: { access: 10 } },
            db: { tap: tap(db, 2, MACS.db), vlan: { access: 10 } },
            core: { patch: 'wan.core', vlan: { trunk: [10, 20] } },
          },
        },
        wan: {
          ports: {
            far: { tap: tap(far, 3, MACS.far), vlan: { access: 10 }, storm: { broadcast: 0 } },
            core: { patch: 'lan.core', vlan: { trunk: [10, 20] } },
          },
        },
      },
    }
    // JSON is YAML.
    await place.up(place.write(JSON.stringify(config)))
    expect(await lab.ping(web, '10.7.0.2', 2)).toBe(2)
    expect(await lab.ping(web, '10.7.0.3', 2)).toBe(2)
    // It may not broadcast, so it finds nobody it does not know.
    expect(await lab.ping(far, '10.7.0.9', 1, '-W', '1')).toBe(0)
  }, 60_000)
  afterAll(async () => {
    await place.close()
    lab.close()
  })

  it.each(['ports', 'fdb', 'vlans', 'counters', 'drops'] as const)('%s', async (what) => {
    const rows = await place.json<object[]>('show', what)
    expect(rows.length).toBeGreaterThan(0)
    for (const row of rows) {
      const expected = { ...FIELDS[what] }
      // A patch has no device.
      if (what === 'ports' && (row as PortStatus).type === 'patch')
        Object.assign(expected, { device: 'null', netns: 'null', mac: 'null' })
      expect(kindsOf(row)).toEqual(expected)
    }
    const { code, stdout, stderr } = await place.ask('show', what)
    expect([code, stderr]).toEqual([0, ''])
    // A head in capitals, and a line per row.
    const [head, ...lines] = stdout.trimEnd().split('\n')
    expect(head).toMatch(/^SWITCH +[A-Z ]+$/)
    expect(lines.length).toBe(rows.length)
  })

  it('status', async () => {
    const status = await place.json<StatusReport>('show', 'status')
    expect(kindsOf(status)).toEqual(FIELDS.status)
    expect(status.switches.map((s) => [s.name, s.ports, s.up, s.vlanAware])).toEqual([
      ['lan', 3, 3, true],
      ['wan', 2, 2, true],
    ])
    expect(status.workers).toEqual([{ state: 'running', restarts: 0 }])
    const { in: rx, made, out, dropped, held } = status.totals
    expect(rx + made).toBe(out + dropped + held)
    const { stdout } = await place.ask('show', 'status')
    for (const word of ['running', 'poll adaptive', 'fabric.yaml', '65536', '300 s'])
      expect(stdout).toContain(word)
  })

  it('say the same for people and for programs', async () => {
    expect((await place.ask('show', 'fdb', '--switch', 'lan', '--port', 'db')).stdout).toMatch(
      new RegExp(`\\nlan +10 +${MACS.db} +db +dynamic `),
    )
    expect(await place.port('web')).toMatchObject({
      device: 'eth0',
      netns: web,
      mac: MACS.web,
      vlan: 'access 10',
      mtu: 1500,
    })
    expect(await place.json<VlanRow[]>('show', 'vlans')).toMatchObject([
      { switch: 'lan', vlan: 10, untagged: ['web', 'db'], tagged: ['core'], addresses: 3 },
      { switch: 'lan', vlan: 20, untagged: [], tagged: ['core'], addresses: 0 },
      { switch: 'wan', vlan: 10, untagged: ['far'], tagged: ['core'] },
      { switch: 'wan', vlan: 20 },
    ])
    expect(await place.dropped('far', 'storm-broadcast')).toBeGreaterThan(0)
    const meaning = 'more broadcast per second than the port is allowed'
    expect((await place.ask('show', 'drops')).stdout).toContain(meaning)
  })

  it('can be narrowed', async () => {
    const macs = async (...filter: string[]) =>
      (await place.json<FdbRow[]>('show', 'fdb', ...filter)).map((r) => `${r.switch}.${r.port} ${r.mac}`)
    expect(await macs('--switch', 'wan')).toContain(`wan.far ${MACS.far}`)
    expect((await macs('--switch', 'wan')).filter((r) => r.startsWith('lan'))).toEqual([])
    expect(await macs('--port', 'lan.web')).toEqual([`lan.web ${MACS.web}`])
    expect(await macs('--port', 'web', '--vlan', '10')).toEqual([`lan.web ${MACS.web}`])
    expect(await macs('--vlan', '20')).toEqual([])
    const all = await place.json<DropRow[]>('show', 'drops', '--all')
    const some = await place.json<DropRow[]>('show', 'drops')
    expect(all.length % 5).toBe(0)
    expect(all.filter((r) => r.packets > 0).map((r) => r.reason)).toEqual(some.map((r) => r.reason))
  })

  it.each([
    [['show', 'fdb', '--port', 'core'], 'port core is in several switches: say lan.core or wan.core'],
    [['show', 'fdb', '--port', 'lan.wbe'], 'no port lan.wbe; did you mean lan.web?'],
    [['show', 'fdb', '--switch', 'lam'], 'no switch lam; did you mean lan?'],
    [['show', 'fdb', '--vlan', '4095'], 'whole number from 0 to 4094'],
    [['show', 'tables'], "unknown command 'tables'"],
    [['capture', 'nobody', '-w', '/dev/null'], 'no port nobody'],
  ])('%j is bad usage', async (words, said) => {
    const { code, stdout, stderr } = await place.ask(...words)
    expect(stderr).toContain(said)
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  it('flush fdb forgets what was learned, where it was told to', async () => {
    const learned = async () =>
      (await place.json<FdbRow[]>('show', 'fdb', '--switch', 'lan')).map((r) => r.mac)
    // Linux asks for a neighbour again some seconds after it was last heard: not here.
    lab.ip(web, `neigh replace 10.7.0.2 lladdr ${MACS.db} dev eth0 nud permanent`)
    lab.ip(db, `neigh replace 10.7.0.1 lladdr ${MACS.web} dev eth0 nud permanent`)
    expect(await lab.ping(web, '10.7.0.2', 1)).toBe(1)
    expect(await learned()).toContain(MACS.db)
    expect((await place.ask('flush', 'fdb', '--port', 'db')).stdout).toBe('1 address forgotten\n')
    expect(await learned()).not.toContain(MACS.db)
    expect(await learned()).toContain(MACS.web)
    expect((await place.ask('flush', 'fdb', '--vlan', '20')).stdout).toBe('0 addresses forgotten\n')
    expect((await place.ask('flush', 'fdb')).stdout).toMatch(/^[2-9] addresses forgotten\n$/)
    expect(await lab.ping(web, '10.7.0.2', 1)).toBe(1)
    expect(await learned()).toContain(MACS.db)
  })

  it('tells a full disk, and lets a reader leave early', async () => {
    const cli = `"${process.execPath}" "${CLI}" --socket "${place.socket}" show ports`
    const run = (tail: string) =>
      execFileSync('bash', ['-c', `set -o pipefail; ${cli} ${tail}`], { encoding: 'utf8', stdio: 'pipe' })
    expect(run('| head -1')).toMatch(/^SWITCH/)
    expect(() => run('> /dev/full')).toThrow(/cannot write the output: ENOSPC/)
    expect(existsSync(place.socket)).toBe(true)
  })
})
