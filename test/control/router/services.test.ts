/** The services of a router between a real engine and this thread: what is handed over, and what comes back. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { checkConfigObject } from '../../../src/config/load.ts'
import { addressesOf, connectedRoutes, interfaceSettings } from '../../../src/control/router/addressing.ts'
import type { LiveInterface } from '../../../src/control/router/live-router.ts'
import { addressSettings, type OwnAddress, ownAddresses } from '../../../src/control/router/own-addresses.ts'
import { RouterServices } from '../../../src/control/router/services.ts'
import { Engine } from '../../../src/engine/engine.ts'
import { conntrackMemory } from '../../../src/filter/conntrack/layout.ts'
import { Mappings } from '../../../src/filter/nat/mappings.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../../src/packet/counters.ts'
import { Drop } from '../../../src/packet/drop.ts'
import { planeMemory } from '../../../src/packet/memory.ts'
import { ringMemory } from '../../../src/packet/ring.ts'
import { MemoryPort } from '../../../src/port/memory.ts'
import { NeighbourTable } from '../../../src/router/neighbour-table.ts'
import { RouteWriter } from '../../../src/router/route-writer.ts'
import { DEFAULT_POLICIES } from '../../../src/router/routes.ts'
import { icmp6, readUdp4, udp4 } from '../../../src/service/made.ts'
import * as dhcp from '../../../src/wire/dhcp.ts'
import { DhcpMessage } from '../../../src/wire/dhcp.ts'
import * as ipv4 from '../../../src/wire/ipv4.ts'
import * as nd from '../../../src/wire/nd.ts'
import { message } from '../../service/support.ts'
import { settingsOf } from '../../support/fabric.ts'
import { ip4 } from '../../support/frames.ts'

const HOME = 900
const directory = mkdtempSync(join(tmpdir(), 'tl-services-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
let files = 0
const CLIENT = Uint8Array.of(2, 0, 0, 0, 0, 10)
const ROUTER = Uint8Array.of(2, 0, 0, 0, 0, 1)

class Lab {
  readonly engine = new Engine(planeMemory(256))
  readonly port = new MemoryPort(this.engine, 0, 'p')
  readonly services: RouterServices
  readonly warnings: string[] = []
  notified = 0
  /** The engine's clock is the machine's: neighbours are read by it. */
  private now = this.monotonicMs()

  monotonicMs(): number {
    return Math.floor(Number(process.hrtime.bigint()) / 1e6)
  }

  readonly addresses: OwnAddress[]
  readonly live: LiveInterface

  /** @param dad nobody knows yet whether the addresses are ours */
  constructor(keys: object, dad = false) {
    const neighbours = NeighbourTable.memory(64, 7)
    const writer = new RouteWriter(1024)
    const apply = async (command: Parameters<Engine['apply']>[0]) => void this.engine.apply(command)
    const log = { info() {}, error() {}, warn: (_: object, text: string) => this.warnings.push(text) }
    this.services = new RouterServices({ id: 0, name: 'r', neighbours }, apply, log)
    this.engine.notifyPunt = () => this.notified++
    this.engine.apply({
      op: 'router-add',
      id: 0,
      name: 'r',
      home: HOME,
      routes: writer.memory,
      policies: DEFAULT_POLICIES,
      closed: false,
      filter: {
        conntrack: conntrackMemory(64),
        mappings: Mappings.memory(64, 1, true),
        report: { log: ringMemory(1024), nflog: ringMemory(1024) },
      },
      punt: this.services.memory,
      neighbours,
      seed: 7,
    })
    this.engine.addPort(this.port, 0)
    this.engine.set(0, settingsOf({}))
    const config = checkConfigObject({
      routers: {
        r: {
          interfaces: { a: { memory: {}, addresses: ['10.0.0.1/24', 'fd00::1/64'], dad: false, ...keys } },
        },
      },
    }).routers.r.interfaces.a
    this.addresses = ownAddresses(config, ROUTER, [])
    const { addresses } = this
    // Nothing to announce: the tests look at what the services say.
    for (const own of addresses) own.fresh = false
    const settings = interfaceSettings('a', config, 0, ROUTER, 1500, addressSettings(addresses))
    this.engine.apply({ op: 'interface-set', id: 0, index: 0, settings })
    for (const route of connectedRoutes(0, addressesOf(config, ROUTER))) writer.add(route)
    this.live = { index: 0, name: 'a', config, mac: ROUTER, port: 0, addresses }
    if (dad) for (const own of addresses) own.used = false
    this.services.set(this.live, 1500)
  }

  /** Frames from the client, serviced. */
  feed(packets: Uint8Array[], to: Uint8Array): void {
    for (const packet of packets) {
      const type = packet[0] >> 4 === 6 ? [0x86, 0xdd] : [8, 0]
      this.port.inject(Buffer.concat([to, CLIENT, Buffer.from(type), packet]))
    }
    for (let i = 0; i < 4 + packets.length / 64; i++) this.engine.service(this.now++)
  }

  /** What left, as [destination MAC, IP packet]; the router's own questions (ARP) aside. */
  out(): [string, Uint8Array][] {
    const frames = this.port.sent.splice(0).map((f) => f.bytes)
    const ip = frames.filter((f) => f[12] !== 8 || f[13] !== 6)
    return ip.map((f) => [Buffer.from(f.subarray(0, 6)).toString('hex'), f.subarray(14)])
  }

  count(which: number, port = 0): number {
    return this.engine.memory.counters[port * COUNTER_WORDS + which]
  }

  conserved(): void {
    const c = this.engine.memory.counters
    const sum = (which: number) => this.count(which) + this.count(which, HOME)
    const drops = dropsOf(c, 0) + dropsOf(c, HOME)
    const left = sum(Counter.TxPackets) + sum(Counter.Held) + sum(Counter.Consumed) + drops
    expect(sum(Counter.RxPackets) + sum(Counter.Made)).toBe(left)
    expect(this.engine.pool.available).toBe(256 - 64 - this.count(Counter.Held, HOME))
  }
}

const EVERYBODY = Uint8Array.of(255, 255, 255, 255, 255, 255)
const ends = { src: 0, dst: -1, srcPort: 68, dstPort: 67 }
const serve = (more: object = {}) => ({
  dhcp: { probe: 0, leases: join(directory, `${files++}`), ...more },
})
const typeOf = (packet: Uint8Array): number => {
  const { payload } = readUdp4(packet, false)!
  return dhcp.messageType(new DataView(payload.buffer, payload.byteOffset), 0, payload.length)
}

describe('DHCP', () => {
  it('a request goes to this thread, its answer out by the interface; every packet is counted', async () => {
    const lab = new Lab(serve({ pool: '10.0.0.9' }))
    lab.feed([udp4(ends, message(DhcpMessage.Discover))], EVERYBODY)
    expect(lab.notified).toBe(1)
    expect(lab.out()).toEqual([])
    lab.services.drain()
    const [[to, offer]] = lab.out()
    expect([to, typeOf(offer)]).toEqual(['02000000000a', DhcpMessage.Offer])
    expect(readUdp4(offer, false)).toMatchObject({
      src: ip4('10.0.0.1'),
      dst: ip4('10.0.0.9'),
      srcPort: 67,
      dstPort: 68,
    })
    const select = { requested: '10.0.0.9', serverId: '10.0.0.1', broadcast: true }
    lab.feed([udp4(ends, message(DhcpMessage.Request, select))], EVERYBODY)
    lab.services.drain()
    const [[all, ack]] = lab.out()
    expect([all, typeOf(ack)]).toEqual(['ffffffffffff', DhcpMessage.Ack])
    expect([...lab.services.leases()]).toMatchObject([{ interface: 'a', lease: { state: 'bound' } }])
    lab.conserved()
    await lab.services.close()
  })

  it('without a server, or cut in pieces, it is refused as before', async () => {
    const lab = new Lab({})
    const discover = udp4(
      { ...ends, src: ip4('10.0.0.7'), dst: ip4('10.0.0.1') },
      message(DhcpMessage.Discover),
    )
    lab.feed([discover], ROUTER)
    expect(lab.notified).toBe(0)
    expect(lab.count(Counter.Drops + Drop.NoListener)).toBe(1)
    const served = new Lab(serve())
    const first = udp4(ends, message(DhcpMessage.Discover))
    const view = new DataView(first.buffer)
    view.setUint16(6, 0x2000)
    ipv4.fillChecksum(view, 0)
    served.feed([first], EVERYBODY)
    expect(served.notified).toBe(0)
    for (const one of [lab, served]) {
      one.conserved()
      await one.services.close()
    }
  })

  it('more than this thread takes: the ring overflows in the worker, by name, and is emptied later', async () => {
    const lab = new Lab(serve())
    const flood = Array.from({ length: 1000 }, (_, i) =>
      udp4(ends, message(DhcpMessage.Discover, { mac: 1000 + i })),
    )
    lab.feed(flood, EVERYBODY)
    expect(lab.notified).toBe(1)
    const lost = lab.count(Counter.Drops + Drop.QueueFull)
    expect(lost).toBeGreaterThan(700)
    expect(lab.count(Counter.Consumed)).toBe(1000 - lost)
    lab.services.drain()
    expect(lab.out()).toHaveLength(64)
    await expect.poll(() => lab.out().length, { interval: 5 }).toBeGreaterThan(0)
    lab.conserved()
    await lab.services.close()
  })

  it('an address is looked for on the link first: by ARP, also when a neighbour is known', async () => {
    const lab = new Lab(serve({ pool: '10.0.0.9', probe: 50 }))
    lab.feed([udp4(ends, message(DhcpMessage.Discover))], EVERYBODY)
    lab.services.drain()
    const asked = lab.port.sent.splice(0).map((f) => Buffer.from(f.bytes).toString('hex'))
    const request = /^ffffffffffff0200000000010806.*0a000001000000000000(0a000009)/
    expect(asked.length).toBeGreaterThanOrEqual(1)
    for (const one of asked) expect(one).toMatch(request)
    // Somebody says that it has it.
    const arp = '0001080006040002 020000000099 0a000009 020000000001 0a000001'.replaceAll(' ', '')
    lab.port.inject(Buffer.from(`020000000001${'020000000099'}0806${arp}`, 'hex'))
    lab.engine.service(lab.monotonicMs())
    await expect.poll(() => [...lab.services.leases()].map((l) => l.lease.state)).toEqual(['declined'])
    expect(lab.warnings[0]).toContain('10.0.0.9 is used by 02:00:00:00:00:99')
    lab.conserved()
    await lab.services.close()
  })
})

describe('router advertisements', () => {
  const FROM = [0xfe800000 | 0, 0, 0, 9]
  const solicitation = (hopLimit = 255) => {
    const body = new Uint8Array(16)
    nd.writeRs(new DataView(body.buffer), 0)
    nd.writeLink(new DataView(body.buffer), 8, nd.NdOption.SourceLink, 0x0200, 10)
    const packet = icmp6(FROM, [0xff020000 | 0, 0, 0, 2], body)
    packet[7] = hopLimit
    return packet
  }
  const ROUTERS = Uint8Array.of(0x33, 0x33, 0, 0, 0, 2)

  it('one at once; a solicitation is answered; the last one says that there is no router', async () => {
    const lab = new Lab({ advertise: {} })
    const [[to, first]] = lab.out()
    expect([to, first[40], first[7]]).toEqual(['333300000001', 134, 255])
    lab.feed([solicitation()], ROUTERS)
    expect(lab.notified).toBe(1)
    lab.services.drain()
    // Within 3 s of the one to all: to who asked, whose MAC is known from its question.
    await expect.poll(() => lab.port.sent.length, { timeout: 2000 }).toBe(1)
    const [[alone, answer]] = lab.out()
    expect([alone, answer[40]]).toEqual(['02000000000a', 134])
    await lab.services.close()
    const [[, last]] = lab.out()
    expect(new DataView(last.buffer, last.byteOffset).getUint16(46)).toBe(0)
    lab.conserved()
  })

  it('a solicitation that was forwarded is dropped by name; without `advertise` it is not for us', async () => {
    const lab = new Lab({ advertise: {} })
    lab.feed([solicitation(254)], ROUTERS)
    expect(lab.notified).toBe(0)
    expect(lab.count(Counter.Drops + Drop.NdInvalid)).toBe(1)
    const silent = new Lab({})
    silent.feed([solicitation()], ROUTERS)
    expect(silent.notified).toBe(0)
    expect(silent.out()).toEqual([])
    for (const one of [lab, silent]) {
      one.conserved()
      await one.services.close()
    }
  })
})

it('nothing is said from an address that might be somebody else’s', async () => {
  const lab = new Lab({ ...serve(), advertise: {} }, true)
  const discover = udp4(ends, message(DhcpMessage.Discover))
  lab.feed([discover], EVERYBODY)
  lab.services.drain()
  expect(lab.out()).toEqual([])
  for (const own of lab.addresses) own.used = true
  lab.services.set(lab.live, 1500)
  expect(lab.out().map(([, packet]) => packet[40])).toEqual([134])
  lab.feed([discover], EVERYBODY)
  lab.services.drain()
  expect(lab.out().map(([, packet]) => typeOf(packet))).toEqual([DhcpMessage.Offer])
  await lab.services.close()
})
