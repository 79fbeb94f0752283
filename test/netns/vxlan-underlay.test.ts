/**
 * `underlay: tap`: super-frames leave whole by a TAP in the host's namespace and are forwarded by its kernel. The
 * bytes on the wire, headers and checksums, are compared with an oracle in native/test/underlay_test.cc.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { systemProblems } from '../../src/config/system.ts'
import { native } from '../../src/native.ts'
import { has } from '../support/lab.ts'
import { type Site, Sites } from '../support/sites.ts'
import { noUnderlay } from '../support/underlay.ts'

const missing =
  noUnderlay() ?? (['iperf3', 'iptables', 'ethtool'].every(has) ? null : 'needs iperf3, iptables, ethtool')
const SLOW = { timeout: 20_000, interval: 100 }
const TAP = { underlay: 'tap', df: 'set' }
const FAMILIES: [string, string, string][] = [
  ['IPv4', '192.0.2.1', '192.0.2.2'],
  ['IPv6', '2001:db8::1', '2001:db8::2'],
]

describe.skipIf(missing)(
  `an underlay TAP${missing ? ` (skipped: ${missing})` : ''}`,
  { timeout: 60_000 },
  () => {
    let lab: Sites
    beforeEach(() => {
      lab = new Sites()
    })
    afterEach(() => lab.end())

    const devices = (host: string): string[] =>
      [...lab.ip(host, '-o link').matchAll(/^\d+: (underlay\d+)/gm)].map((found) => found[1])
    /** Packets that the TAP of a host handed to the kernel. */
    const handed = (host: string, family: string): number =>
      native.underlayCounts(lab.path(host), family === 'IPv4' ? 4 : 6, devices(host)[0]).handed

    function kernel(host: string, local: string, remote: string, vni = 7): void {
      lab.ip(host, `link add vx0 type vxlan id ${vni} local ${local} remote ${remote} dstport 4789 dev u0`)
      lab.ip(host, 'link set vx0 up')
      lab.ip(host, 'addr add 10.9.0.2/24 dev vx0')
    }

    for (const [family, here, there] of FAMILIES) {
      it.each([
        ['as it is', []],
        ['without tunnel offloads', ['tx-udp_tnl-segmentation', 'tx-udp_tnl-csum-segmentation']],
        ['without any offload', ['tx', 'tso', 'gso', 'sg']],
      ])(`${family}: the kernel's vxlan at the other end, each way, on a device %s`, async (_, off) => {
        const [left, right] = lab.hosts(2)
        for (const host of [left, right])
          for (const offload of off) lab.run(host, 'ethtool', '-K', 'u0', offload, 'off')
        const a = await lab.open(lab.site(left, 1, here, { vxlan: { remotes: [there] }, vtep: TAP }))
        kernel(right, there, here)
        expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
        // Small packets need no TAP.
        expect(handed(left, family)).toBe(0)
        expect(await lab.transfer(a.inside, right, '10.9.0.2')).toBeGreaterThanOrEqual(8 << 20)
        expect(handed(left, family)).toBeGreaterThan(50)
        expect(await lab.transfer(right, a.inside, '10.9.0.1')).toBeGreaterThanOrEqual(8 << 20)
        expect(a.tunnel(there)).toMatchObject({ underlay: 'tap', dropped: 0 })
        // iperf3 ends with its last bytes unsent.
        expect(a.tunnel(there).txBytes).toBeGreaterThan(4 << 20)
        expect(a.fabric.status().vteps[0].underlay).toBe('tap')
      })

      it(`${family}: two of ours, and a third that hears what is flooded`, async () => {
        const hosts = lab.hosts(3)
        const locals = [1, 2, 3].map((n) => here.replace(/1$/, `${n}`))
        const sites: Site[] = []
        for (const [i, host] of hosts.entries()) {
          // Nothing is learned by the first: super-frames go to every remote.
          const vxlan = { remotes: locals.filter((_, j) => j !== i), learning: i !== 0 }
          sites.push(
            await lab.open(lab.site(host, i + 1, locals[i], { vxlan, vtep: TAP, tap: { v6: true } })),
          )
        }
        const [a, b, c] = sites
        for (const target of ['10.9.0.2', 'fd09::2'])
          expect(await lab.transfer(a.inside, b.inside, target)).toBeGreaterThanOrEqual(8 << 20)
        expect(await lab.transfer(b.inside, a.inside, '10.9.0.1')).toBeGreaterThanOrEqual(8 << 20)
        expect(handed(hosts[0], family)).toBeGreaterThan(200)
        for (const site of [b, c]) expect(site.tunnel(locals[0]).rxBytes).toBeGreaterThan(8 << 20)
        expect(sites.map((s) => s.dropped('tunnel-too-big'))).toEqual([0, 0, 0])
      })
    }

    it('a path that narrows in the middle of a transfer: ICMP tells, TCP goes on', async () => {
      const { hosts, narrow } = lab.routed()
      const [A, B] = ['192.0.2.1', '198.51.100.1']
      const a = await lab.open(lab.site(hosts[0], 1, A, { vxlan: { remotes: [B] }, vtep: TAP }))
      const b = await lab.open(lab.site(hosts[1], 2, B, { vxlan: { remotes: [A] }, vtep: TAP }))
      expect(await lab.ping(a.inside, '10.9.0.2', 1)).toBe(1)
      const moved = lab.transfer(a.inside, b.inside, '10.9.0.2', '256M', () =>
        setTimeout(() => narrow(1300), 100),
      )
      expect(await moved).toBeGreaterThanOrEqual(256 << 20)
      expect(a.tunnel(B)).toMatchObject({ pathMtu: 1300, mtuFrom: 'icmp', underlay: 'tap' })
      expect(handed(hosts[0], 'IPv4')).toBeGreaterThan(100)
    })

    it('a firewall that forwards nothing: the sockets take over, and it is said', async () => {
      const [left, right] = lab.hosts(2)
      lab.run(left, 'iptables', '-P', 'FORWARD', 'DROP')
      const site = lab.site(left, 1, '192.0.2.1', { vxlan: { remotes: ['192.0.2.2'] }, vtep: TAP })
      const warnings: string[] = []
      const log = { info() {}, warn: (_: object, text: string) => warnings.push(text), error() {} }
      const a = await lab.open(site, { log })
      kernel(right, '192.0.2.2', '192.0.2.1')
      expect(devices(left)).toHaveLength(1)
      const moved = lab.transfer(a.inside, right, '10.9.0.2', '32M')
      await expect.poll(() => a.tunnel('192.0.2.2').underlay, SLOW).toBe('tap-failed')
      expect(warnings).toEqual([
        'VTEP u: the kernel does not forward what underlay0 hands over (FORWARD rules, reverse path filter?): its sockets send everything now',
      ])
      expect(devices(left)).toEqual([])
      expect(await moved).toBeGreaterThanOrEqual(32 << 20)
    })

    it('nothing stays when the VTEP or the fabric goes', async () => {
      const [left] = lab.hosts(1)
      const site = lab.site(left, 1, '192.0.2.1', { vxlan: { remotes: ['192.0.2.2'] }, vtep: TAP })
      const a = await lab.open(site)
      expect(devices(left)).toHaveLength(1)
      const config = a.fabric.config
      await a.fabric.apply({ ...config, vteps: { u: { ...config.vteps.u, underlay: 'socket' } } })
      expect(devices(left)).toEqual([])
      expect(a.tunnel('192.0.2.2').underlay).toBe('socket')
      await a.fabric.apply(config)
      expect(a.tunnel('192.0.2.2').underlay).toBe('tap')
      await a.fabric.close()
      expect(devices(left)).toEqual([])
    })

    it.each([1, 2])(
      'a reverse path filter of all devices (%i) is an error before anything starts',
      async (filter) => {
        const [left] = lab.hosts(1)
        lab.run(left, 'sysctl', '-q', '-w', `net.ipv4.conf.all.rp_filter=${filter}`)
        const site = lab.site(left, 1, '192.0.2.1', { vtep: TAP })
        const found = `net.ipv4.conf.all.rp_filter = ${filter} in namespace ${left}`
        await expect(lab.open(site)).rejects.toThrow(
          `VTEP u: underlay: tap needs net.ipv4.conf.all.rp_filter = 0: ${found}`,
        )
        const text = `switches: {}\nvteps:\n  u: { local: 192.0.2.1, netns: ${left}, underlay: tap, df: set }\n`
        const [problem, ...others] = systemProblems(parseConfig(text, 'lab.yaml'))
        expect(others).toEqual([])
        expect(problem).toMatchObject({
          line: 3,
          path: 'vteps.u.underlay',
          found,
          expected: 'net.ipv4.conf.all.rp_filter = 0',
        })
        expect(devices(left)).toEqual([])
      },
    )
  },
)
