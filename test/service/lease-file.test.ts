/** Leases on disk: what a crash, another hand or a full disk may do to them. */
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type DhcpHost, DhcpService } from '../../src/service/dhcp-service.ts'
import { LeaseFile, parseLeases, startOf } from '../../src/service/lease-file.ts'
import type { Lease } from '../../src/service/lease-table.ts'
import { readUdp4, udp4 } from '../../src/service/made.ts'
import { DhcpMessage, messageType } from '../../src/wire/dhcp.ts'
import { ip4 } from '../support/frames.ts'
import { addr, message, SETTINGS } from './support.ts'

const directory = mkdtempSync(join(tmpdir(), 'tl-leases-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let count = 0
const fresh = () => join(directory, `d${count++}`, 'leases.jsonl')

const lease = (last: number, more: Partial<Lease> = {}): Lease => ({
  address: addr(`10.0.0.${last}`),
  state: 'bound',
  mac: '02:00:00:00:00:0a',
  clientId: 'ff01',
  hostName: 'web',
  expiresMs: 1_900_000_000_000,
  ...more,
})

/** Opens, and closes again. */
function read(path: string): { leases: Lease[]; warnings: string[] } {
  const warnings: string[] = []
  const { file, leases } = LeaseFile.open(path, (text) => warnings.push(text))
  file.close()
  return { leases, warnings }
}

describe('a journal', () => {
  it('what was appended is there after the next start, the last word of an address', () => {
    const path = fresh()
    const { file, leases } = LeaseFile.open(path, () => {})
    expect(leases).toEqual([])
    file.append([lease(5), lease(6)])
    file.append([lease(5, { state: 'released', hostName: '' })])
    file.close()
    expect(read(path)).toEqual({
      leases: [lease(5, { state: 'released', hostName: '' }), lease(6)],
      warnings: [],
    })
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(1 + 2 + 1)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(existsSync(`${path}.lock`)).toBe(false)
    expect(existsSync(`${path}.new`)).toBe(false)
  })

  it('a last line that is cut short is no lease, and no trouble', () => {
    const path = fresh()
    const { file } = LeaseFile.open(path, () => {})
    file.append([lease(5), lease(6)])
    file.close()
    const text = readFileSync(path, 'utf8')
    const last = text.indexOf('\n', text.indexOf('"10.0.0.5"')) + 1
    for (let cut = last; cut < text.length; cut++) {
      expect(parseLeases(text.slice(0, cut))).toEqual({ leases: [lease(5)], wrong: 0 })
    }
    writeFileSync(path, text.slice(0, -4))
    expect(read(path)).toEqual({ leases: [lease(5)], warnings: [] })
  })

  it('a line of somebody else: the file is set aside, with a warning, and the rest is used', () => {
    const path = fresh()
    const { file } = LeaseFile.open(path, () => {})
    file.append([lease(5)])
    file.close()
    appendFileSync(path, 'hello\n')
    const before = readFileSync(path, 'utf8')
    const { leases, warnings } = read(path)
    expect(leases).toEqual([lease(5)])
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/line 3 is no lease; the file is kept as .*\.corrupt, and its 1 good/)
    expect(readFileSync(`${path}.corrupt`, 'utf8')).toBe(before)
    expect(read(path)).toEqual({ leases: [lease(5)], warnings: [] })
  })

  it('any bytes: nothing is thrown, and what is no journal is told', () => {
    const wrong = ['x', '{}\n', '\n', '[]\n', '{"taploom":"leases","version":2}\n', 'null\nnull\n']
    for (const text of wrong) expect(parseLeases(text).wrong, text).toBe(1)
    const head = '{"taploom":"leases","version":1}\n'
    const good = JSON.stringify({
      address: '10.0.0.5',
      state: 'bound',
      mac: '02:00:00:00:00:0a',
      clientId: '',
      hostName: '',
      expires: '2030-01-01T00:00:00.000Z',
    })
    expect(parseLeases(`${head}${good}\n`).wrong).toBe(0)
    for (const key of ['address', 'state', 'mac', 'clientId', 'hostName', 'expires']) {
      for (const value of [7, null, 'x y', '10.0.0.256'])
        if (key !== 'hostName' || typeof value !== 'string')
          expect(
            parseLeases(`${head}${JSON.stringify({ ...JSON.parse(good), [key]: value })}\n`).wrong,
            `${key} ${value}`,
          ).toBe(2)
    }
  })

  it('is compacted when it is long', () => {
    const path = fresh()
    const { file } = LeaseFile.open(path, () => {})
    for (let i = 0; i < 1100 && !file.long; i++) file.append([lease(5, { expiresMs: i * 1000 })])
    expect(file.long).toBe(true)
    file.compact([lease(5)])
    expect(file.long).toBe(false)
    file.append([lease(6)])
    file.close()
    expect(read(path).leases).toEqual([lease(5), lease(6)])
  })

  it('has one owner; a lock of a process that is gone is nobody’s', () => {
    const path = fresh()
    const { file } = LeaseFile.open(path, () => {})
    expect(() => LeaseFile.open(path, () => {})).toThrow(/in use by another interface/)
    file.close()
    writeFileSync(`${path}.lock`, `1 ${startOf(1)}\n`)
    expect(() => LeaseFile.open(path, () => {})).toThrow(/in use by process 1$/)
    // Gone, the pid of somebody else by now, cut short.
    for (const lock of ['4194305 7\n', `1 ${startOf(1)}1\n`, '1', '']) {
      writeFileSync(`${path}.lock`, lock)
      expect(read(path).warnings).toEqual([])
    }
  })

  it('that cannot be made is an error with its path', () => {
    const path = fresh()
    writeFileSync(join(directory, 'plain'), '')
    expect(() => LeaseFile.open(join(directory, 'plain', 'x'), () => {})).toThrow(/leases file .*plain\/x: /)
    expect(existsSync(path)).toBe(false)
  })
})

/** A service whose packets are kept. */
class Bench {
  readonly sent: { type: number; mac: Uint8Array | null; ask: boolean }[] = []
  readonly warnings: string[] = []
  readonly path: string
  user: string | null = null
  now = Date.parse('2030-01-01')
  service: DhcpService
  private readonly host: DhcpHost = {
    send: (packet, mac, ask) => {
      const datagram = readUdp4(packet, false)
      const { payload } = datagram ?? { payload: new Uint8Array() }
      const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
      const type = datagram ? messageType(view, 0, payload.length) : 0
      this.sent.push({ type, mac, ask })
    },
    userOf: () => this.user,
    warn: (text) => this.warnings.push(text),
  }

  constructor(path = fresh(), probeMs = 0) {
    this.path = path
    this.service = new DhcpService({ ...SETTINGS, probeMs }, path, this.host, this.now)
  }

  ask(type: number, asked: Parameters<typeof message>[1] = {}): number[] {
    const ends = { src: 0, dst: -1, srcPort: 68, dstPort: 67 }
    this.service.receive(udp4(ends, message(type, asked)), false, this.now)
    this.service.flush(this.now)
    return this.sent.splice(0).map((s) => s.type)
  }
}

describe('a service', () => {
  const { Ack, Discover, Offer, Request } = {
    Ack: DhcpMessage.Ack,
    Discover: DhcpMessage.Discover,
    Offer: DhcpMessage.Offer,
    Request: DhcpMessage.Request,
  }
  const select = { requested: '10.0.0.101', serverId: '10.0.0.1' }

  it('an ACK is sent when the lease is in the file, and a restart knows it', () => {
    const bench = new Bench()
    expect(bench.ask(Discover, { requested: '10.0.0.101' })).toEqual([Offer])
    expect(parseLeases(readFileSync(bench.path, 'utf8')).leases).toEqual([])
    expect(bench.ask(Request, select)).toEqual([Ack])
    expect(parseLeases(readFileSync(bench.path, 'utf8')).leases).toMatchObject([
      { address: addr('10.0.0.101') },
    ])
    bench.service.close()
    const again = new Bench(bench.path)
    expect(again.ask(Request, { requested: '10.0.0.101' })).toEqual([Ack])
    again.service.close()
  })

  it('what cannot be saved is not granted; when it can be again, the file is whole', () => {
    const bench = new Bench()
    bench.ask(Discover, { requested: '10.0.0.101' })
    const file = (bench.service as unknown as { file: LeaseFile }).file
    const broken = () => {
      throw new Error('ENOSPC: no space left on device')
    }
    const whole = { append: file.append.bind(file), compact: file.compact.bind(file) }
    Object.assign(file, { append: broken, compact: broken })
    expect(bench.ask(Request, select)).toEqual([])
    expect(bench.ask(Request, select)).toEqual([])
    // An offer promises nothing.
    expect(bench.ask(Discover, { mac: 11 })).toEqual([Offer])
    expect(bench.warnings).toHaveLength(1)
    expect(bench.warnings[0]).toMatch(/ENOSPC.*no lease is given/)
    Object.assign(file, whole)
    expect(bench.ask(Request, select)).toEqual([Ack])
    expect(parseLeases(readFileSync(bench.path, 'utf8'))).toMatchObject({
      wrong: 0,
      leases: [{ state: 'bound' }],
    })
    bench.service.close()
  })

  it('probes by asking the link, waits, and offers', () => {
    const bench = new Bench(fresh(), 500)
    expect(bench.ask(Discover)).toEqual([0])
    bench.service.tick(bench.now + 499)
    expect(bench.sent).toEqual([])
    expect(bench.service.due()).toBe(bench.now + 500)
    bench.service.tick(bench.now + 500)
    expect(bench.sent.map((s) => s.type)).toEqual([Offer])
    expect([...bench.sent[0].mac!]).toEqual([2, 0, 0, 0, 0, 10])
    bench.service.close()
  })

  it('bad lengths and checksums are counted, not answered', () => {
    const bench = new Bench()
    const ends = { src: 0, dst: ip4('10.0.0.1'), srcPort: 68, dstPort: 67 }
    const packet = udp4(ends, message(Discover))
    for (let cut = 0; cut < 268; cut++) bench.service.receive(packet.slice(0, cut), false, bench.now)
    const bad = packet.slice()
    bad[60] ^= 1
    bench.service.receive(bad, false, bench.now)
    bench.service.flush(bench.now)
    expect(bench.sent).toEqual([])
    expect(bench.service.server.counters.malformed).toBe(269)
    bench.service.receive(bad, true, bench.now)
    bench.service.flush(bench.now)
    expect(bench.sent).toHaveLength(1)
    bench.service.close()
  })
})
