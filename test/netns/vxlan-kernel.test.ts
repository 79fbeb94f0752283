/**
 * Interop with the kernel's vxlan driver through whole configurations: groups, many VNIs, other ports, jumbo
 * frames; and what our datagrams look like to somebody else (tshark). Offloads: tunnel.test.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { has, lacking } from '../support/lab.ts'
import { Sites } from '../support/sites.ts'
import { tshark } from '../support/wire.ts'

const missing = lacking ?? (has('iperf3') ? null : 'needs iperf3')
const FAMILIES: [string, string, string, string][] = [
  ['IPv4', '192.0.2.1', '192.0.2.2', '239.1.1.7'],
  ['IPv6', '2001:db8::1', '2001:db8::2', 'ff05::1:7'],
]

describe.skipIf(missing)(
  `the kernel's vxlan at the other end${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let lab: Sites
    beforeEach(() => {
      lab = new Sites()
    })
    afterEach(() => lab.end())
    const directory = mkdtempSync(join(tmpdir(), 'tl-vxlan-'))
    afterAll(() => rmSync(directory, { recursive: true, force: true }))

    /** A vxlan device of the kernel with 10.9.0.2 and fd09::2. */
    function kernel(
      host: string,
      local: string,
      how: string,
      name = 'vx0',
      vni = 7,
      addresses = ['10.9.0.2/24'],
    ): void {
      lab.ip(host, `link add ${name} type vxlan id ${vni} local ${local} ${how}`)
      lab.ip(host, `link set ${name} up`)
      for (const address of addresses) lab.ip(host, `addr add ${address} dev ${name}`)
    }

    for (const [family, here, there, group] of FAMILIES) {
      it(`${family}: a list of remotes, each way, on a port of choice`, async () => {
        const [left, right] = lab.hosts(2)
        const a = lab.site(left, 1, here, { vxlan: { remotes: [there] }, vtep: { port: 8472 } })
        await lab.open(a)
        kernel(right, there, `dstport 8472 remote ${here} dev u0`)
        expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
        expect(await lab.ping(right, '10.9.0.1', 3)).toBe(3)
        expect([lab.mtu(a.inside), lab.mtu(right, 'vx0')]).toEqual(
          family === 'IPv4' ? [1450, 1450] : [1430, 1430],
        )
        expect(await lab.transfer(a.inside, right, '10.9.0.2')).toBeGreaterThanOrEqual(8 << 20)
        expect(await lab.transfer(right, a.inside, '10.9.0.1')).toBeGreaterThanOrEqual(8 << 20)
      })

      it(`${family}: a group, three members, two of them the kernel's`, async () => {
        const [left, right, third] = lab.hosts(3)
        const a = lab.site(left, 1, here, { vxlan: { group, device: 'u0' } })
        await lab.open(a)
        kernel(right, there, `dstport 4789 group ${group} dev u0`)
        kernel(third, there.replace(/2$/, '3'), `dstport 4789 group ${group} dev u0`, 'vx0', 7, [
          '10.9.0.3/24',
        ])
        for (const n of [2, 3]) expect(await lab.ping(a.inside, `10.9.0.${n}`, 3), `to ${n}`).toBe(3)
        for (const host of [right, third]) expect(await lab.ping(host, '10.9.0.1', 3)).toBe(3)
        expect(await lab.ping(right, '10.9.0.3', 3)).toBe(3)
        expect(
          a.fabric
            .tunnelRows()
            .map((r) => r.kind)
            .sort(),
        ).toEqual(['group', 'learned', 'learned'])
        expect(await lab.transfer(a.inside, right, '10.9.0.2', '4M')).toBeGreaterThanOrEqual(4 << 20)
      })
    }

    it('a datagram without a UDP checksum is taken, and sent when asked', async () => {
      for (const [, here, there] of FAMILIES) {
        const [left, right] = lab.hosts(2)
        const a = lab.site(left, 1, here, { vxlan: { remotes: [there] }, vtep: { udpChecksum: false } })
        await lab.open(a)
        const v6 = here.includes(':') ? 'udp6zerocsumtx udp6zerocsumrx' : 'noudpcsum'
        kernel(right, there, `dstport 4789 remote ${here} dev u0 ${v6}`)
        expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
        expect(await lab.transfer(a.inside, right, '10.9.0.2', '2M')).toBeGreaterThanOrEqual(2 << 20)
        expect(await lab.transfer(right, a.inside, '10.9.0.1', '2M')).toBeGreaterThanOrEqual(2 << 20)
      }
    })

    it('jumbo frames', async () => {
      const [left, right] = lab.hosts(2, 9000)
      const a = lab.site(left, 1, '192.0.2.1', { vxlan: { remotes: ['192.0.2.2'] } })
      await lab.open(a)
      kernel(right, '192.0.2.2', 'dstport 4789 remote 192.0.2.1 dev u0')
      expect([lab.mtu(a.inside), lab.mtu(right, 'vx0')]).toEqual([8950, 8950])
      for (const [from, to] of [
        [a.inside, '10.9.0.2'],
        [right, '10.9.0.1'],
      ])
        expect(await lab.ping(from, to, 2, '-M', 'do', '-s', `${8950 - 28}`)).toBe(2)
      expect(await lab.transfer(a.inside, right, '10.9.0.2', '32M')).toBeGreaterThanOrEqual(32 << 20)
      expect(await lab.transfer(right, a.inside, '10.9.0.1', '32M')).toBeGreaterThanOrEqual(32 << 20)
    })

    it('many VNIs on one socket, VLAN to VNI, do not mix', async () => {
      const many = Array.from({ length: 12 }, (_, i) => i + 1)
      const [left, right] = lab.hosts(2)
      const [inside] = lab.spaces(1)
      const ports = Object.fromEntries(
        many.flatMap((n) => [
          [
            `h${n}`,
            { tap: { name: `eth${n}`, netns: inside, addresses: [`10.8.${n}.1/24`] }, vlan: { access: n } },
          ],
          [`t${n}`, { vxlan: { vtep: 'u', vni: 1000 + n, remotes: ['192.0.2.2'] }, vlan: { access: n } }],
        ]),
      )
      const a = lab.site(left, 1, '192.0.2.1', { vxlan: { remotes: ['192.0.2.2'] }, ports })
      await lab.open(a)
      for (const n of many)
        kernel(right, '192.0.2.2', 'dstport 4789 remote 192.0.2.1 dev u0', `vx${n}`, 1000 + n, [
          `10.8.${n}.2/24`,
        ])
      for (const n of many) expect(await lab.ping(inside, `10.8.${n}.2`, 1), `VNI ${1000 + n}`).toBe(1)
      const rows = a.fabric.fdb().filter((row) => row.remote !== null)
      expect(new Set(rows.map((row) => row.vlan)).size).toBe(many.length)
      expect(a.tunnel('192.0.2.2').vnis).toEqual([7, ...many.map((n) => 1000 + n)])
      // A VNI that is nobody's.
      kernel(right, '192.0.2.2', 'dstport 4789 remote 192.0.2.1 dev u0', 'vx99', 99, ['10.8.1.9/32'])
      await lab.in(right, 'ping', '-c', '1', '-W', '1', '-I', 'vx99', '10.8.1.1')
      const unknown = a.fabric.drops().find((d) => d.switch === '(vtep)' && d.reason === 'tunnel-no-vni')
      expect(unknown!.packets).toBeGreaterThan(0)
    })

    it('a known station is answered for here, without asking through the tunnel', async () => {
      const [left, right] = lab.hosts(2)
      const station = { mac: '02:00:00:00:09:02', remote: '192.0.2.2', addresses: ['10.9.0.2'] }
      const vxlan = { remotes: ['192.0.2.2'], suppress: true, static: [station] }
      const a = await lab.open(lab.site(left, 1, '192.0.2.1', { vxlan }))
      expect(a.behind(station.mac)).toBe('192.0.2.2')
      const { stdout } = await lab.in(a.inside, 'sh', '-c', 'ping -c 1 -W 1 10.9.0.2; ip neigh show 10.9.0.2')
      expect(stdout).toContain(`lladdr ${station.mac}`)
      // Nobody is there to answer the ping, but it left; no ARP did.
      expect(a.tunnel('192.0.2.2').txPackets).toBe(1)
      kernel(right, '192.0.2.2', 'dstport 4789 remote 192.0.2.1 dev u0')
      lab.ip(right, `link set vx0 address ${station.mac}`)
      expect(await lab.ping(a.inside, '10.9.0.2', 2)).toBe(2)
    })

    it.skipIf(!has('tshark'))('tshark understands what we send', async () => {
      for (const [family, here, there] of FAMILIES) {
        const [left, right] = lab.hosts(2)
        const vtep = { ttl: 33, tos: 0xb8, df: 'set' }
        const a = lab.site(left, 1, here, { vxlan: { remotes: [there], vni: 0xabcdef }, vtep })
        await lab.open(a)
        kernel(right, there, `dstport 4789 remote ${here} dev u0`, 'vx0', 0xabcdef)
        const file = join(directory, `${family}.pcapng`)
        const dump = lab.start(right, 'tshark', '-q', '-i', 'u0', '-w', file, '-f', 'udp port 4789')
        await new Promise((resolve) =>
          dump.stderr?.on('data', (text) => `${text}`.includes('Capturing') && resolve(0)),
        )
        expect(await lab.ping(a.inside, '10.9.0.2', 4)).toBe(4)
        // Two connections each: flows enough for more than one source port.
        for (let i = 0; i < 3; i++)
          expect(await lab.transfer(a.inside, right, '10.9.0.2', '128K')).toBeGreaterThan(0)
        await new Promise((resolve) => setTimeout(resolve, 500))
        dump.kill('SIGINT')
        await new Promise((resolve) => dump.once('exit', resolve))
        const ip = family === 'IPv4' ? 'ip' : 'ipv6'
        const ours = ip === 'ip' ? ['ip.ttl', 'ip.dsfield', 'ip.flags.df'] : ['ipv6.hlim', 'ipv6.tclass']
        const all = tshark(
          file,
          `${ip}.src`,
          'vxlan.vni',
          'vxlan.flags',
          'udp.dstport',
          'udp.srcport',
          ...ours,
        )
        const rows = all.map((row) => row.split('\t')).filter((row) => row[0].split(',')[0] === here)
        expect(rows.length).toBeGreaterThan(10)
        for (const [, vni, flags, dst, src, ttl, tos] of rows) {
          expect([vni, flags, dst.split(',')[0]]).toEqual(['11259375', '0x0800', '4789'])
          expect(Number(src.split(',')[0])).toBeGreaterThanOrEqual(49152)
          expect(ttl.split(',')[0]).toBe('33')
          expect(Number.parseInt(tos.split(',')[0], 16) & 0xfc).toBe(0xb8)
        }
        expect(new Set(rows.map((row) => row[4].split(',')[0])).size).toBeGreaterThan(1)
        // Nothing that tshark would call malformed.
        const wrong = lab.run(
          right,
          'tshark',
          '-r',
          file,
          '-Y',
          '_ws.malformed',
          '-T',
          'fields',
          '-e',
          'frame.number',
        )
        expect(wrong.trim()).toBe('')
      }
    })
  },
)
