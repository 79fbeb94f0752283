/**
 * The examples under config/ do what their comments say. Each runs as it stands, but for the names of its
 * namespaces, in a namespace that plays the daemon's machine: `taploom up`, ready, a look at what it is
 * an example of, Ctrl-C, and nothing left.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import type { FdbRow, LeaseRow, TunnelRow } from '../../src/control/show/model.ts'
import type { Running } from '../support/cli.ts'
import { Place } from '../support/daemon.ts'
import { BROADCAST, frame, reserved } from '../support/frames.ts'
import { has, Lab, lacking } from '../support/lab.ts'
import { noUnderlay } from '../support/underlay.ts'
import { begun, sendFrames, tshark, writePcap } from '../support/wire.ts'

const directory = fileURLToPath(new URL('../../config/', import.meta.url))
const files = readdirSync(directory).filter((f) => f.endsWith('.yaml'))
const NO_UNDERLAY = noUnderlay() ?? (has('iperf3') ? null : 'needs iperf3')

/** One example, running. */
class Example extends Place {
  readonly lab = new Lab()
  /** The namespace in which the daemon runs: its own devices are there. */
  readonly machine = this.lab.add('machine', { ipv6: true })
  readonly spaces: string[]
  readonly file: string
  daemon!: Running

  constructor(name: string) {
    super()
    const text = readFileSync(directory + name, 'utf8')
    const names = parse(text).namespaces as string[]
    const own = new RegExp(`(?<![\\w-])(${names.join('|')})(?![\\w-])`, 'g')
    this.spaces = names.map((n) => this.space(n))
    this.file = this.write(
      text.replace(own, (n) => this.space(n)),
      name,
    )
  }

  /** A namespace of the example under the name it has here. */
  space(name: string): string {
    return `${this.machine}-${name}`
  }

  async run(): Promise<void> {
    this.daemon = await this.up(this.file, 'nsenter', `--net=${this.lab.path(this.machine)}`)
  }

  ping(from: string, address: string, count = 2): Promise<number> {
    return this.lab.ping(this.space(from), address, count)
  }

  /** Puts frames on the wire of a host. */
  send(from: string, ...frames: Uint8Array[]): void {
    sendFrames(this.lab.path(this.space(from)), 'eth0', frames)
  }

  devices(): string[] {
    const links = JSON.parse(execFileSync('ip', ['-json', '-n', this.machine, 'link'], { encoding: 'utf8' }))
    return links.map((l: { ifname: string }) => l.ifname)
  }

  override async close(): Promise<void> {
    await super.close()
    for (const space of this.spaces)
      if (existsSync(this.lab.path(space))) execFileSync('ip', ['netns', 'del', space])
    this.lab.close()
  }
}

/** Captures a port meanwhile: the `fields` of the frames that `sendFrames` made, all `count` of them. */
async function captured(
  example: Example,
  port: string,
  count: number,
  during: () => void,
  ...fields: string[]
) {
  const path = example.path(`${Math.random()}.pcapng`)
  const capture = example.start('capture', port, '-w', path)
  await begun(path)
  during()
  const ours = () => tshark(path, 'eth.src', ...fields).filter((row) => row.startsWith('02:00:00:00:00:9'))
  await expect.poll(() => ours().length, { timeout: 10_000, interval: 200 }).toBe(count)
  expect(await capture.end('SIGINT')).toBe(0)
  return ours()
}

/** Whether this machine has tshark, to look into captures. */
const eyes = has('tshark')

const STORIES: Record<string, (example: Example) => Promise<void>> = {
  async 'lab.yaml'(example) {
    for (const address of ['10.10.0.3', 'fd00:10::3']) expect(await example.ping('lab-web', address)).toBe(2)
    for (const address of ['10.10.0.2', 'fd00:10::2'])
      expect(await example.ping('lab-client', address)).toBe(2)
  },

  async 'vlans.yaml'(example) {
    expect(await example.ping('vl-sales1', '10.20.10.2')).toBe(2)
    // The same subnet, but another VLAN.
    example.lab.ip(example.space('vl-lab1'), 'addr add 10.20.10.9/24 dev eth0')
    expect(await example.ping('vl-lab1', '10.20.10.2', 1)).toBe(0)
    // The same VLAN, but isolated.
    expect(await example.ping('vl-guest1', '10.20.30.2', 1)).toBe(0)
    if (!eyes) return
    const tags = async (from: string) => {
      const send = () => example.send(from, frame({ dst: BROADCAST, src: 0x99 }))
      return captured(example, 'uplink', 1, send, 'vlan.id')
    }
    expect(await tags('vl-sales1')).toEqual(['02:00:00:00:00:99\t10'])
    expect(await tags('vl-guest1')).toEqual(['02:00:00:00:00:99\t30'])
  },

  async 'qinq.yaml'(example) {
    expect(await example.ping('qq-a1', '10.30.0.2')).toBe(2)
    expect(await example.ping('qq-b1', '10.30.0.12')).toBe(2)
    // Another customer, in the same subnet.
    expect(await example.ping('qq-a1', '10.30.0.12', 1)).toBe(0)
    if (!eyes) return
    // Inside a customer's own VLAN 77: as it was at the other end, and under the provider's tag between.
    const tagged = frame({ dst: BROADCAST, src: 0x99, tags: [{ vid: 77 }] })
    const lldp = frame({ dst: reserved(14), src: 0x98, type: 0x88cc })
    const send = () => example.send('qq-a1', tagged, lldp)
    expect(await captured(example, 'east.a2', 2, send, 'vlan.id')).toEqual([
      '02:00:00:00:00:99\t77',
      '02:00:00:00:00:98\t',
    ])
    const between = await captured(example, 'west.core', 2, send, 'eth.type', 'ieee8021ad.id', 'vlan.id')
    expect(between[0]).toBe('02:00:00:00:00:99\t0x88a8\t100\t77')
  },

  async 'router.yaml'(example) {
    // Between VLANs, to the servers, by the default route and by the guests' own.
    for (const address of ['10.90.20.2', '10.90.1.2', 'fd00:90:1::2', '198.51.100.1', '2001:db8:90::1'])
      expect(await example.ping('ro-staff', address), address).toBe(2)
    expect(await example.ping('ro-guest', '10.90.1.2')).toBe(2)
    expect(await example.ping('ro-web', 'fd00:90:20::2')).toBe(2)
  },

  async 'nat.yaml'(example) {
    // Out by masquerade; in only by what is published.
    expect(await example.ping('na-client', '203.0.113.2')).toBe(2)
    expect(await example.ping('na-client', '2001:db8:91::2')).toBe(2)
    expect(await example.ping('na-internet', '10.91.0.2', 1)).toBe(0)
  },

  async 'filter.yaml'(example) {
    expect(await example.ping('fi-lan', '203.0.113.2')).toBe(2)
    // Blocked: told so, and kept in the file of its group.
    expect(await example.ping('fi-lan', '192.0.2.7', 1)).toBe(0)
    await expect.poll(() => statSync(example.path('filter.pcapng')).size).toBeGreaterThan(200)
    const { stdout } = await example.ask('show', 'sets')
    expect(stdout).toMatch(/\nadd services 203\.0\.113\.2,udp:53 timeout 0 packets 0 bytes 0\n/)
    expect(stdout).toMatch(/\ncreate office hash:ip .*\nadd office 10\.92\.0\.2\n/)
    const listed = await example.ask('show', 'conntrack', '-p', 'icmp', '--src', '10.92.0.0/24', '--json')
    expect(JSON.parse(listed.stdout).length).toBeGreaterThan(0)
    const none = await example.ask('conntrack', 'delete', '-p', 'tcp', '--dport', '22')
    expect([none.code, none.stdout]).toEqual([1, '0 connections deleted\n'])
    const deleted = await example.ask('conntrack', 'delete', '-s', '10.92.0.2')
    expect([deleted.code, deleted.stdout]).toEqual([0, '1 connection deleted\n'])
    expect((await example.ask('flush', 'conntrack', '--json')).stdout).toBe('{\n  "deleted": 0\n}\n')
    const bad = await example.ask('conntrack', 'delete', '--state', 'OPEN')
    expect([bad.code, bad.stderr]).toEqual([
      2,
      expect.stringContaining("unknown state 'OPEN'; supported: NONE,"),
    ])
    expect((await example.ask('conntrack', 'delete')).code).toBe(2)
  },

  async 'hosts.yaml'(example) {
    // The machine of a test may have forwarding on, and would then not listen.
    const [web, far] = [example.space('hs-web'), example.space('hs-far')]
    const six = (space: string) => example.lab.ip(space, '-6 addr show dev eth0 -tentative')
    await expect.poll(() => six(web), { timeout: 15_000 }).toContain('inet6 fd00:96:')
    await expect.poll(() => six(far), { timeout: 15_000 }).toContain('inet6 fd00:96:1:')
    expect(await example.ping('hs-web', 'fd00:96:1::1')).toBe(2)
    if (!has('udhcpc')) return
    const script = example.write(
      '#!/bin/sh\n[ "$1" != bound ] || ip addr add $ip/$mask dev $interface\n',
      'udhcpc.sh',
    )
    execFileSync('chmod', ['+x', script])
    for (const space of [web, far])
      await example.lab.in(space, 'udhcpc', '-i', 'eth0', '-s', script, '-n', '-q', '-f')
    expect(await example.ping('hs-web', '10.96.0.1')).toBe(2)
    expect(await example.ping('hs-far', '10.96.1.1')).toBe(2)
    const rows = await example.json<LeaseRow[]>('show', 'leases')
    expect(rows.map((r) => r.interface).sort()).toEqual(['lab', 'lan'])
    expect(rows.find((r) => r.interface === 'lan')).toMatchObject({ address: '10.96.0.10', state: 'bound' })
    expect((await example.ask('show', 'leases')).stdout).toMatch(/edge +lan +10\.96\.0\.10 /)
  },

  async 'vxlan.yaml'(example) {
    for (const address of ['10.95.0.3', 'fd00:95::3']) expect(await example.ping('vx-a1', address)).toBe(2)
    expect(await example.ping('vx-b1', '10.95.0.2')).toBe(2)
    expect(example.lab.ip(example.space('vx-a1'), 'link show eth0')).toContain(' mtu 1450 ')
    const rows = await example.json<TunnelRow[]>('show', 'tunnels', '--vtep', 'site-a')
    expect(rows).toMatchObject([
      {
        remote: '198.51.100.2',
        kind: 'listed',
        state: 'up',
        vnis: [77],
        addresses: 1,
        mtu: 1450,
        mtuFrom: 'device',
      },
    ])
    const [far] = await example.json<FdbRow[]>('show', 'fdb', '--port', 'to-b')
    expect(far.remote).toBe('198.51.100.2')
  },

  async 'vxlan-tap.yaml'(example) {
    expect(await example.ping('vt-a', '10.97.0.2')).toBe(2)
    expect(await example.ping('vt-b', '10.97.0.1')).toBe(2)
    const rows = await example.json<TunnelRow[]>('show', 'tunnels')
    expect(rows.map((r) => [r.remote, r.underlay, r.mtu])).toEqual([
      ['198.51.100.2', 'tap', 1450],
      ['198.51.100.1', 'tap', 1450],
    ])
    expect((await example.ask('show', 'tunnels')).stdout).toMatch(/ MACS +UNDERLAY +MTU .*\n.* tap /)
    const { lab } = example
    const server = lab.start(example.space('vt-b'), 'iperf3', '-s', '-1', '--forceflush')
    await new Promise((resolve) => server.stdout?.once('data', resolve))
    await lab.in(example.space('vt-a'), 'iperf3', '-c', '10.97.0.2', '-n', '4M')
    const shown = lab.ip(example.space('vt-site-a'), '-s link show underlay0')
    expect(Number(/RX:.*\n +(\d+)/.exec(shown)?.[1])).toBeGreaterThan(1 << 20)
  },

  async 'vxlan-vlans.yaml'(example) {
    expect(await example.ping('vy-red-1', '10.96.10.2')).toBe(2)
    expect(await example.ping('vy-blue-1', '10.96.20.2')).toBe(2)
    // The same subnet, but another VNI.
    example.lab.ip(example.space('vy-blue-1'), 'addr add 10.96.10.9/24 dev eth0')
    expect(await example.ping('vy-blue-1', '10.96.10.2', 1)).toBe(0)
    const rows = await example.json<TunnelRow[]>('show', 'tunnels', '--vtep', 'one')
    expect(rows.map((r) => [r.remote, r.kind, r.vnis, r.mtu, r.mtuFrom])).toEqual([
      ['2001:db8:96::2', 'listed', [10010, 10020], 1530, 'config'],
      ['ff05::1:20', 'group', [10020], 1530, 'config'],
    ])
    const { stdout } = await example.ask('show', 'tunnels')
    expect(stdout).toMatch(/^VTEP +REMOTE +STATE +VNI +MACS +MTU +PATH +HEARD /)
    expect((await example.ask('flush', 'tunnels', '--vtep', 'one')).stdout).toMatch(
      /^[1-9] address(es)? forgotten/,
    )
  },

  async 'storm.yaml'(example) {
    expect(await example.ping('st-guest', '10.70.0.1')).toBe(2)
    expect(await example.ping('st-camera', '10.70.0.1')).toBe(2)
    const broadcast = frame({ dst: BROADCAST, src: 0x99 })
    const burst = new Array<Uint8Array>(400).fill(broadcast)
    example.send('st-guest', ...burst)
    // A second's worth passes at once; what more passes has grown meanwhile.
    await expect.poll(() => example.dropped('guest', 'storm-broadcast')).toBeGreaterThan(200)
    example.send('st-camera', broadcast)
    await expect.poll(() => example.dropped('camera', 'locked')).toBeGreaterThanOrEqual(1)
    const many = Array.from({ length: 64 }, (_, i) => frame({ dst: 0x99, src: 0x100 + i }))
    example.send('st-guest', ...many)
    await expect.poll(async () => (await example.counters('guest')).learnRefused).toBeGreaterThanOrEqual(48)
    expect((await example.port('guest')).learned).toBeLessThanOrEqual(16)
    const rows = await example.json<FdbRow[]>('show', 'fdb', '--port', 'server')
    expect(rows).toMatchObject([{ mac: '02:00:0a:46:00:01', type: 'static', port: 'server' }])
  },

  async 'faults.yaml'(example) {
    const { stdout } = await example.lab.in(
      example.space('fa-near'),
      'ping',
      '-n',
      '-c',
      '1500',
      '-i',
      '0.003',
      '-q',
      '10.60.0.2',
    )
    const [received, least] = [/(\d+) received/.exec(stdout)?.[1], /= ([\d.]+)\//.exec(stdout)?.[1]]
    // 20 ms there and 20 ms back; 0.5 % lost of 1500 is 7.5.
    expect(Number(least)).toBeGreaterThanOrEqual(40)
    const lost = await example.dropped('far', 'fault-loss')
    expect(lost).toBeGreaterThan(0)
    expect(lost).toBeLessThan(40)
    expect(Number(received)).toBeLessThan(1500)
    expect(Number(received)).toBeGreaterThan(1400)
  },

  async 'host.yaml'(example) {
    for (const address of ['10.50.0.1', 'fd00:50::1']) expect(await example.ping('ho-guest', address)).toBe(2)
    expect(await example.lab.ping(example.machine, '10.50.0.2', 2)).toBe(2)
    expect(example.devices()).toContain('tap-lan')
    const routes = example.lab.ip(example.space('ho-guest'), 'route')
    expect(routes).toContain('default via 10.50.0.1')
    expect((await example.port('guest')).offloads).toEqual(['checksum', 'tso4', 'tso6', 'ecn'])
    const own = await example.json<FdbRow[]>('show', 'fdb', '--port', 'tap-lan')
    expect(own).toMatchObject([{ mac: '02:00:0a:32:00:01', type: 'own' }])
  },

  async 'bridge-existing.yaml'(example) {
    expect(await example.ping('be-host', '10.40.0.2', 3)).toBeGreaterThanOrEqual(2)
    expect(await example.port('up')).toMatchObject({
      type: 'packet',
      device: 'be-port',
      mtu: 1500,
      state: 'up',
    })
  },

  async 'replay.yaml'(example) {
    await expect.poll(async () => (await example.counters('recorded')).rxPackets, { timeout: 10_000 }).toBe(3)
    expect((await example.counters('target')).txPackets).toBeGreaterThanOrEqual(3)
    const rows = await example.json<FdbRow[]>('show', 'fdb', '--port', 'recorded')
    expect(rows).toMatchObject([{ mac: '02:00:00:00:00:99' }])
  },
}

/** What must be there before: the files and devices that the comments say to make first. */
const BEFORE: Record<string, (example: Example) => void> = {
  'bridge-existing.yaml'(example) {
    const host = example.space('be-host')
    execFileSync('ip', ['netns', 'add', host])
    example.spaces.push(host)
    example.lab.ip(example.machine, `link add be-port type veth peer name eth0 netns ${host}`)
    example.lab.ip(example.machine, 'link set be-port up')
    example.lab.ip(host, 'addr add 10.40.0.1/24 dev eth0')
    example.lab.ip(host, 'link set eth0 up')
  },
  'nat.yaml'(example) {
    for (const rules of ['edge.rules', 'edge6.rules']) {
      example.write(readFileSync(directory + rules, 'utf8'), rules)
    }
  },
  'filter.yaml'(example) {
    for (const file of ['filter.rules', 'filter.ipset'])
      example.write(readFileSync(directory + file, 'utf8'), file)
  },
  'replay.yaml'(example) {
    const one = frame({ dst: BROADCAST, src: 0x99 })
    writePcap(example.path('replay.pcap'), [one, one, one])
  },
}

describe.skipIf(lacking)(`the examples${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  let example: Example

  beforeEach((context) => {
    example = new Example(context.task.name.split(' ')[0])
  })
  afterEach(() => example.close())

  it.for(files)('%s', { timeout: 60_000 }, async (name, { skip }) => {
    if (name === 'vxlan-tap.yaml' && NO_UNDERLAY) skip(NO_UNDERLAY)
    expect(STORIES[name], `a story for ${name}`).toBeDefined()
    BEFORE[name]?.(example)
    const made = example.spaces.filter((s) => !existsSync(example.lab.path(s)))
    const before = example.devices()
    await example.run()
    await STORIES[name](example)
    expect(await example.daemon.end('SIGINT')).toBe(0)
    expect(made.filter((s) => existsSync(example.lab.path(s)))).toEqual([])
    expect(example.devices()).toEqual(before)
    expect(existsSync(example.socket)).toBe(false)
  })
})
