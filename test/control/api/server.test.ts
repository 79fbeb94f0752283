/** The control API on a real socket, in front of a fabric that only remembers what it was asked. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError } from '../../../src/config/error.ts'
import { type CaptureFeed, captureFeed } from '../../../src/control/api/capture-stream.ts'
import { ControlClient } from '../../../src/control/api/client.ts'
import { ControlServer, type PortFilter, type Served } from '../../../src/control/api/server.ts'
import type { ConnectionRow, SetRow, TunnelRow } from '../../../src/control/show/model.ts'
import type { FlushFilter } from '../../../src/control/tunnel/tunnels.ts'
import { counterRow, dropRow, fdbRow, portStatus, statusReport, tunnelRow } from '../../support/model.ts'

const VLAN_ROW = { switch: 'lan', vlan: 10, tagged: ['up'], untagged: ['web'], addresses: 3 }

const ROUTE_ROW = {
  router: 'edge',
  table: 'main',
  to: 'default',
  kind: 'unicast' as const,
  hops: [{ via: '10.0.0.2', interface: 'wan', weight: 1 }],
  metric: 0,
  src: null,
}

const vtepStatus = {
  name: 'underlay',
  local: '198.51.100.1',
  port: 4789,
  netns: null,
  underlay: 'socket' as const,
  mtu: 1500,
  remotes: 1,
  addresses: 3,
  limit: 65536,
  lost: 0,
}

/** One row of everything; two switches that both have a port `up`. */
class FakeFabric implements Served {
  asked: unknown[] = []
  rows = [fdbRow()]
  ports = () => [
    portStatus(),
    portStatus({ name: 'up' }),
    portStatus({ name: 'up', switch: 'core', state: 'down', reason: 'its device is gone' }),
  ]
  vlans = () => [VLAN_ROW]
  routes = () => [ROUTE_ROW]
  neighbors = () => []
  leases = () => []
  rules = () => ['*filter', 'COMMIT']
  interfaces = () => []
  sets = (): SetRow[] => []
  conntrack(query?: object): ConnectionRow[] {
    this.asked.push(query)
    return []
  }
  async deleteConntrack(query: object) {
    this.asked.push(query)
    return 2
  }
  async flushConntrack(router?: string) {
    this.asked.push(router)
    return 3
  }
  tunnelRows = (filter: { vtep?: string } = {}) => {
    this.asked.push(filter)
    return [tunnelRow(), tunnelRow({ vtep: 'other', remote: null, name: 'b.example', state: 'unresolved' })]
  }
  async flushTunnels(filter: FlushFilter) {
    this.asked.push(filter)
    return 5
  }
  counters = () => [counterRow({ rxPackets: 5, txPackets: 7 })]
  drops = () => [dropRow({ packets: 2 }), dropRow({ reason: 'locked', packets: 0 })]
  status = () => {
    const [lan] = statusReport().switches
    return statusReport({ switches: [lan, { ...lan, name: 'core' }], vteps: [vtepStatus] })
  }
  fdb(filter?: PortFilter) {
    this.asked.push(filter)
    return this.rows
  }
  async flushFdb(filter: PortFilter) {
    this.asked.push(filter)
    return 4
  }
}

/** Frames are strings, and so is the file. */
class FakeCapture {
  waiting: string[] = []
  closed = false
  closes = 0
  read(fn: (frame: string) => void, max = 1): number {
    const frames = this.waiting.splice(0, max)
    for (const frame of frames) fn(frame)
    return frames.length
  }
  lost = () => 3
  async close() {
    this.closed = true
    this.closes++
  }
  feed(): CaptureFeed {
    const text = (s: string) => Buffer.from(s)
    const tail = ({ captured, lost }: { captured: number; lost: number }) => text(`end ${captured} ${lost}`)
    return captureFeed<string>(this, { head: () => text('head '), record: (f) => text(`${f} `), tail })
  }
}

let directory: string
let server: ControlServer
let client: ControlClient
let fabric: FakeFabric
let capture: FakeCapture
let captured: [string, number][]
let reload: (file?: string) => Promise<string[]>

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tl-server-'))
  server = new ControlServer(pino({ level: 'silent' }))
  await server.listen(join(directory, 'control.sock'))
  client = new ControlClient(join(directory, 'control.sock'))
  fabric = new FakeFabric()
  capture = new FakeCapture()
  captured = []
  reload = async (file) => [`reloaded ${file ?? 'the same'}`]
})
afterEach(async () => {
  await server.close()
  rmSync(directory, { recursive: true, force: true })
})

function serve(): void {
  server.serve({
    fabric,
    reload: (file) => reload(file),
    capture: async (port, snapLen) => {
      captured.push([port, snapLen])
      return capture.feed()
    },
  })
}

describe('before the fabric is open', () => {
  it('says so', async () => {
    await expect(client.get('/v1/ports')).rejects.toMatchObject({ status: 503, code: 'starting' })
    await expect(client.get('/v1/status')).rejects.toMatchObject({ status: 503 })
  })
})

describe('documents', () => {
  beforeEach(serve)

  it('are those of the model', async () => {
    expect(await client.get('/v1/ports')).toEqual(fabric.ports())
    expect(await client.get('/v1/fdb')).toEqual(fabric.rows)
    expect(await client.get('/v1/vlans')).toEqual([VLAN_ROW])
    expect(await client.get('/v1/counters')).toEqual(fabric.counters())
    expect(await client.get('/v1/status')).toEqual(fabric.status())
  })

  it('show drops that happened, or all reasons', async () => {
    expect(await client.get('/v1/drops')).toEqual([fabric.drops()[0]])
    expect(await client.get('/v1/drops', { all: true })).toEqual(fabric.drops())
  })

  it.each([0, 1, 1999, 2000, 2001, 4000])('give %i addresses whole', async (n) => {
    fabric.rows = Array.from({ length: n }, (_, i) => fdbRow({ ageS: i }))
    expect(await client.get('/v1/fdb')).toEqual(fabric.rows)
  })

  it('narrow the forwarding database by names that exist', async () => {
    await client.get('/v1/fdb', { port: 'web', vlan: 10 })
    await client.get('/v1/fdb', { port: 'up', switch: 'core' })
    await client.get('/v1/fdb', { port: 'core.up' })
    expect(fabric.asked).toEqual([
      { switch: 'lan', port: 'lan.web', vlan: 10 },
      { switch: 'core', port: 'core.up' },
      { switch: 'core', port: 'core.up' },
    ])
  })

  it('name what is unknown or ambiguous', async () => {
    await expect(client.get('/v1/fdb', { port: 'wbe' })).rejects.toMatchObject({
      status: 404,
      code: 'unknown-port',
      message: 'no port wbe; did you mean web?',
      details: { known: ['lan.web', 'lan.up', 'core.up'] },
    })
    await expect(client.get('/v1/fdb', { switch: 'x' })).rejects.toMatchObject({
      code: 'unknown-switch',
      message: 'no switch x; there is lan, core',
    })
    await expect(client.get('/v1/fdb', { port: 'up' })).rejects.toMatchObject({
      status: 400,
      code: 'ambiguous-port',
      message: 'port up is in several switches: say lan.up or core.up',
    })
  })

  it.each([
    '/v1/fdb?vlan=4095',
    '/v1/fdb?vlan=ten',
    '/v1/fdb?colour=red',
    '/v1/ports?switch=lan',
    '/v1/drops?all=perhaps',
    '/v1/capture',
    '/v1/capture?port=web&count=0',
    '/v1/capture?port=web&duration=-1',
    '/v1/capture?port=web&snaplen=1000000',
  ])('refuse %s', async (path) => {
    await expect(client.get(path)).rejects.toMatchObject({ status: 400, code: 'bad-request' })
  })

  it('answer what does not exist with 404', async () => {
    await expect(client.get('/v2/ports')).rejects.toMatchObject({ status: 404, code: 'not-found' })
    await expect(client.delete('/v1/capture/7')).rejects.toMatchObject({ code: 'unknown-capture' })
  })

  it('hide nothing when the fabric fails', async () => {
    fabric.vlans = () => {
      throw new Error('the table is gone')
    }
    const failed = { status: 500, code: 'failed', message: 'the table is gone' }
    await expect(client.get('/v1/vlans')).rejects.toMatchObject(failed)
  })
})

describe('changes', () => {
  beforeEach(serve)

  it('reload the file, or another', async () => {
    expect(await client.post('/v1/reload')).toEqual({ changes: ['reloaded the same'] })
    expect(await client.post('/v1/reload', { file: '/x.yaml' })).toEqual({ changes: ['reloaded /x.yaml'] })
  })

  it('tell every problem of a bad configuration', async () => {
    const problem = { file: 'x.yaml', line: 3, path: 'switches', found: 'a list', expected: 'a mapping' }
    reload = async () => {
      throw new ConfigError([problem])
    }
    await expect(client.post('/v1/reload')).rejects.toMatchObject({
      status: 422,
      code: 'config',
      message: new ConfigError([problem]).message,
      details: { problems: [problem] },
    })
  })

  it('flush', async () => {
    expect(await client.post('/v1/flush', { vlan: 10 })).toEqual({ flushed: 4 })
    expect(fabric.asked).toEqual([{ vlan: 10 }])
  })

  it('take no body that is too large or not as expected', async () => {
    expect(await client.post('/v1/flush/tunnels', { vtep: 'underlay', remote: '198.51.100.2' })).toEqual({
      flushed: 5,
    })
    expect(fabric.asked.at(-1)).toEqual({ vtep: 'underlay', remote: '198.51.100.2' })
    await expect(client.post('/v1/flush/tunnels', { vtep: 'undrlay' })).rejects.toMatchObject({
      code: 'unknown-vtep',
      message: 'no VTEP undrlay; did you mean underlay?',
    })
    await expect(client.post('/v1/flush', { port: 5, mac: 'x' })).rejects.toMatchObject({ status: 400 })
    await expect(client.post('/v1/reload', { file: 'x'.repeat(70_000) })).rejects.toMatchObject({
      status: 413,
    })
  })
})

describe('tunnels', () => {
  beforeEach(serve)

  it('are listed, all or those of one VTEP', async () => {
    const rows = await client.get<TunnelRow[]>('/v1/tunnels')
    expect(rows.map((r) => r.remote)).toEqual(['198.51.100.2', null])
    await client.get('/v1/tunnels', { vtep: 'underlay' })
    expect(fabric.asked.at(-1)).toEqual({ vtep: 'underlay' })
    await expect(client.get('/v1/tunnels', { vtep: 'x' })).rejects.toMatchObject({
      status: 404,
      code: 'unknown-vtep',
    })
  })

  it('are measured; a name without an address has nothing to measure', async () => {
    const text = await client.text('/metrics')
    expect(text).toContain('taploom_tunnel_mtu_bytes{vtep="underlay",remote="198.51.100.2"} 1450')
    expect(text).toContain(
      'taploom_tunnel_packets_total{vtep="underlay",remote="198.51.100.2",direction="in"} 6',
    )
    expect(text).not.toContain('vtep="other"')
  })
})

describe('metrics', () => {
  it('are Prometheus text made of the counters', async () => {
    serve()
    const text = await client.text('/metrics')
    expect(text).toContain('# TYPE taploom_port_packets_total counter')
    expect(text).toContain('taploom_port_packets_total{switch="lan",port="web",direction="in"} 5')
    expect(text).toContain('taploom_port_packets_total{switch="lan",port="web",direction="out"} 7')
    expect(text).toContain('taploom_drops_total{switch="lan",port="web",side="in",reason="runt"} 2')
    expect(text).toContain('taploom_port_up{switch="core",port="up"} 0')
    expect(text).toContain('taploom_fdb_entries{switch="lan"} 3')
    expect(text).toContain('process_resident_memory_bytes 90000000')
    expect(await client.text('/metrics')).toBe(text)
  })
})

describe('capture', () => {
  beforeEach(serve)

  it('streams until it is told to stop, and sends what is left', async () => {
    capture.waiting = ['a', 'b']
    const answer = await client.stream('/v1/capture', { port: 'web', snaplen: 96 })
    await sleep(60)
    capture.waiting.push('c')
    const whole = buffer(answer)
    expect(await client.delete(`/v1/capture/${answer.headers['taploom-capture']}`)).toEqual({
      captured: 3,
      lost: 3,
    })
    expect((await whole).toString()).toBe('head a b c end 3 3')
    expect(answer.trailers).toMatchObject({ 'taploom-captured': '3', 'taploom-lost': '3' })
    expect(captured).toEqual([['lan.web', 96]])
    expect(capture.closes).toBe(1)
  })

  it('ends by count, exactly', async () => {
    capture.waiting = ['a', 'b', 'c']
    const answer = await client.stream('/v1/capture', { port: 'lan.web', count: 2 })
    expect((await buffer(answer)).toString()).toBe('head a b end 2 3')
  })

  it('ends by time, with nothing captured', async () => {
    const answer = await client.stream('/v1/capture', { port: 'web', duration: 0.05 })
    expect((await buffer(answer)).toString()).toBe('head end 0 3')
  })

  it('ends when the port goes', async () => {
    const answer = await client.stream('/v1/capture', { port: 'web' })
    capture.closed = true
    expect((await buffer(answer)).toString()).toBe('head end 0 3')
  })

  it('is closed when the reader leaves', async () => {
    const answer = await client.stream('/v1/capture', { port: 'web' })
    answer.destroy()
    await expect.poll(() => capture.closes).toBe(1)
  })

  it('does not read the ring while the reader is slow', async () => {
    const answer = await client.stream('/v1/capture', { port: 'web' })
    answer.pause()
    const frames = 400
    capture.waiting = new Array<string>(frames).fill('x'.repeat(1 << 16))
    await sleep(200)
    // One piece fills the socket; the rest waits where it is bounded.
    expect(capture.waiting.length).toBe(frames - 256)
    answer.destroy()
  })

  it('ends with the server', async () => {
    const answer = await client.stream('/v1/capture', { port: 'web' })
    const whole = buffer(answer)
    await server.close()
    expect((await whole).toString()).toBe('head end 0 3')
    expect(capture.closes).toBe(1)
  })

  it('passes on why it cannot start', async () => {
    server.serve({
      fabric,
      reload,
      capture: () => Promise.reject(new Error('port lan.web is being captured already')),
    })
    await expect(client.stream('/v1/capture', { port: 'web' })).rejects.toMatchObject({
      message: 'port lan.web is being captured already',
    })
  })
})

describe('connections', () => {
  beforeEach(() => serve())

  it('are asked for in the words of conntrack(8)', async () => {
    expect(await client.get('/v1/conntrack', { proto: 'tcp', dport: 443, srcNat: true })).toEqual([])
    expect(fabric.asked).toEqual([{ proto: 'tcp', dport: '443', srcNat: true }])
    await expect(client.get('/v1/conntrack', { port: 1 })).rejects.toMatchObject({ status: 400 })
  })

  it('are deleted and flushed, and how many is told', async () => {
    expect(await client.post('/v1/conntrack/delete', { src: '10.0.0.1', router: 'edge' })).toEqual({
      deleted: 2,
    })
    expect(await client.post('/v1/conntrack/flush', {})).toEqual({ deleted: 3 })
    expect(fabric.asked).toEqual([{ src: '10.0.0.1', router: 'edge' }, undefined])
  })

  it("what cannot be meant is the asker's mistake", async () => {
    const refuse = (name: string, message: string) => () => {
      throw Object.assign(new Error(message), { name, kind: 'router' })
    }
    fabric.conntrack = refuse('BadFilter', "unknown state 'OPEN'")
    await expect(client.get('/v1/conntrack', { state: 'OPEN' })).rejects.toMatchObject({
      status: 400,
      code: 'bad-filter',
      message: "unknown state 'OPEN'",
    })
    fabric.sets = refuse('UnknownName', 'no router x')
    await expect(client.get('/v1/sets', { router: 'x' })).rejects.toMatchObject({
      status: 404,
      code: 'unknown-router',
    })
  })
})
