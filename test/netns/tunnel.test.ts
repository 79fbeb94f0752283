/**
 * VTEPs on real sockets, without a control plane: the worker is told by commands. Hosts are namespaces joined by
 * a veth; behind each of ours is a TAP in a namespace of its own. The other end is ours, or the kernel's.
 */
import { afterAll, describe, expect, it } from 'vitest'
import { WorkerLink } from '../../src/engine/worker-link.ts'
import { DeviceKind, native } from '../../src/native.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import { type PlaneMemory, planeMemory } from '../../src/packet/memory.ts'
import { HashTable } from '../../src/table/hash.ts'
import { vtepMemory } from '../../src/tunnel/tables.ts'
import { settingsOf } from '../support/fabric.ts'
import { has, Lab, lacking } from '../support/lab.ts'
import { type SegmentOptions, vxlanSettings, words } from '../tunnel/lab.ts'

const lab = new Lab()
const ends: Endpoint[] = []
afterAll(async () => {
  for (const end of ends) await end.close()
  lab.close()
})

const missing = lacking ?? (has('iperf3') ? null : 'needs iperf3')
const TAP = 0
const UNDERLAY = 1
const TUNNEL = 2
const SENDERS = 4
const ALL_OFFLOADS = 31

/** A worker with one switch: a TAP and a VXLAN port. */
class Endpoint {
  readonly memory: PlaneMemory = planeMemory()
  readonly vtep = vtepMemory(1024, 4096, 256, 5)
  readonly link = new WorkerLink(this.memory)
  private readonly fds: number[] = []
  private tap: { fd: number; vnetSize: number; offloads: number } | null = null

  async open(
    host: string,
    local: string,
    inside: string,
    inner: string[],
    segment: SegmentOptions,
  ): Promise<void> {
    const family = local.includes(':') ? 6 : 4
    const netns = lab.path(host)
    this.fds.push(native.openUdp({ netns, family, local, port: 4789 }).fd)
    for (let i = 0; i < SENDERS; i++)
      this.fds.push(native.openUdp({ netns, family, local, port: 0, receive: false }).fd)
    const tap = native.openTap({ netns: lab.path(inside), name: 'eth0', offloads: ALL_OFFLOADS })
    this.tap = { ...tap, fd: tap.fds[0] }
    lab.ip(inside, `link set eth0 mtu ${family === 4 ? 1450 : 1430} up`)
    for (const address of inner)
      lab.ip(inside, `addr add ${address} dev eth0${address.includes(':') ? ' nodad' : ''}`)
    ends.push(this)
    this.link.start()
    await this.tell(local, segment)
  }

  /** Everything a worker has to know. */
  async tell(local: string, segment: SegmentOptions): Promise<void> {
    const { fd, vnetSize, offloads } = this.tap!
    await this.link.send({
      op: 'switch-add',
      id: 0,
      name: 'lan',
      fdb: HashTable.memory(1024, 1),
      settings: { agingS: 300, limit: 1024, reservedOpen: 0 },
    })
    await this.link.send({
      op: 'vtep-add',
      id: 1,
      name: 'underlay',
      index: UNDERLAY,
      sockets: { fds: this.fds, receivers: 1, senders: SENDERS },
      settings: {
        local: words(local),
        port: 4789,
        mtu: 1500,
        df: 'unset',
        ttl: 64,
        groupTtl: 1,
        tos: -1,
        strict: false,
      },
      memory: this.vtep,
    })
    await this.link.send({
      op: 'port-add',
      switch: 0,
      spec: {
        type: 'device',
        index: TAP,
        name: 'tap',
        kind: DeviceKind.Tap,
        fd,
        vnetSize,
        offloads,
        mtu: 1500,
      },
      settings: settingsOf(),
    })
    await this.link.send({
      op: 'port-add',
      switch: 0,
      spec: {
        type: 'vxlan',
        index: TUNNEL,
        name: 'tunnel',
        mtu: 65535,
        vtep: 1,
        vni: segment.vni ?? 7,
        settings: vxlanSettings(segment),
      },
      settings: settingsOf({ mtu: 65535 }),
    })
  }

  count(port: number, which: Counter): number {
    return this.memory.counters[port * COUNTER_WORDS + which]
  }

  /** Drops but those of a network that has just come up: one of the two is there before the other. */
  drops(): Record<string, number> {
    const result: Record<string, number> = {}
    for (const port of [TAP, UNDERLAY, TUNNEL]) {
      if (dropsOf(this.memory.counters, port) === 0) continue
      DROPS.forEach(([name], i) => {
        const n = this.count(port, (Counter.Drops + i) as Counter)
        if (n > 0 && name !== 'no-egress' && name !== 'tunnel-no-vni') result[`${port} ${name}`] = n
      })
    }
    return result
  }

  async close(): Promise<void> {
    await this.link.stop()
    for (const fd of this.fds) native.close(fd)
    if (this.tap) native.close(this.tap.fd)
  }
}

/** Two hosts on one wire. */
function hosts(): { left: string; right: string } {
  const [left, right] = lab.spaces(2, { ipv6: true })
  lab.run(left, 'ip', 'link', 'add', 'u0', 'type', 'veth', 'peer', 'name', 'u0', 'netns', right)
  for (const [i, host] of [left, right].entries()) {
    lab.ip(host, 'link set u0 up')
    lab.ip(host, `addr add 192.0.2.${i + 1}/24 dev u0`)
    lab.ip(host, `addr add 2001:db8::${i + 1}/64 dev u0 nodad`)
  }
  return { left, right }
}

let port = 5301
/** Moves 16 MB from `from` to `to` over TCP; bytes that were taken. */
async function transfer(from: string, to: string, address: string): Promise<number> {
  const at = `${++port}`
  const server = lab.start(to, 'iperf3', '-s', '-1', '--forceflush', '-p', at)
  await new Promise((resolve) => server.stdout?.once('data', resolve))
  const { stdout } = await lab.in(from, 'iperf3', '-c', address, '-p', at, '-n', '16M', '-C', 'cubic', '-J')
  return JSON.parse(stdout).end?.sum_sent?.bytes ?? 0
}

async function works(one: string, two: string): Promise<void> {
  expect(await lab.ping(one, '10.9.0.2', 10)).toBeGreaterThanOrEqual(9)
  expect(await transfer(one, two, '10.9.0.2')).toBeGreaterThanOrEqual(16 << 20)
  expect(await transfer(two, one, '10.9.0.1')).toBeGreaterThanOrEqual(16 << 20)
  expect(await transfer(one, two, 'fd09::2')).toBeGreaterThanOrEqual(16 << 20)
  expect(await transfer(two, one, 'fd09::1')).toBeGreaterThanOrEqual(16 << 20)
}

const A = ['192.0.2.1', '192.0.2.2']
const B = ['2001:db8::1', '2001:db8::2']

describe.skipIf(missing)(`tunnels on real sockets${missing ? ` (skipped: ${missing})` : ''}`, () => {
  for (const [name, [here, there]] of Object.entries({ IPv4: A, IPv6: B })) {
    it(`ours and ours over ${name}: ping, TCP both ways, a worker that dies`, async () => {
      const { left, right } = hosts()
      const [one, two] = lab.spaces(2, { ipv6: true })
      const [a, b] = [new Endpoint(), new Endpoint()]
      await a.open(left, here, one, ['10.9.0.1/24', 'fd09::1/64'], { remotes: [there], accept: 'known' })
      await b.open(right, there, two, ['10.9.0.2/24', 'fd09::2/64'], { remotes: [here], accept: 'known' })
      await works(one, two)
      expect(a.count(TUNNEL, Counter.RxSuper)).toBeGreaterThan(0)
      expect(a.drops()).toEqual({})
      expect(b.drops()).toEqual({})
      const died = new Promise((resolve) => a.link.once('died', resolve))
      a.link.kill()
      await died
      a.link.start()
      await a.tell(here, { remotes: [there], accept: 'known' })
      expect(await lab.ping(one, '10.9.0.2', 10)).toBeGreaterThanOrEqual(9)
    })

    for (const offload of ['on', 'off']) {
      it(`ours and the kernel's over ${name}, its offloads ${offload}`, async () => {
        const { left, right } = hosts()
        const [one] = lab.spaces(1, { ipv6: true })
        const end = new Endpoint()
        await end.open(left, here, one, ['10.9.0.1/24', 'fd09::1/64'], { remotes: [there] })
        lab.ip(right, `link add vx0 type vxlan id 7 dstport 4789 local ${there} remote ${here} dev u0`)
        lab.ip(right, 'link set vx0 up')
        lab.ip(right, 'addr add 10.9.0.2/24 dev vx0')
        lab.ip(right, 'addr add fd09::2/64 dev vx0 nodad')
        if (offload === 'off')
          for (const device of ['u0', 'vx0'])
            await lab.in(
              right,
              'ethtool',
              '-K',
              device,
              'tx',
              'off',
              'tso',
              'off',
              'gso',
              'off',
              'gro',
              'off',
            )
        await works(one, right)
        expect(end.count(TUNNEL, Counter.RxSuper)).toBeGreaterThan(0)
        expect(end.drops()).toEqual({})
      })
    }
  }
})
