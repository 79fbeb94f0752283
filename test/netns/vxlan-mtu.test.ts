/** How long a packet may be: found, shown, given to devices, and followed when the path changes. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { has, lacking } from '../support/lab.ts'
import { type Site, type SiteOptions, Sites } from '../support/sites.ts'

const missing = lacking ?? (['iperf3', 'iptables'].every(has) ? null : 'needs iperf3 and iptables')
const SLOW = { timeout: 30_000, interval: 100 }
const A = '192.0.2.1'
const B = '198.51.100.1'

describe.skipIf(missing)(
  `the MTU of tunnels${missing ? ` (skipped: ${missing})` : ''}`,
  { timeout: 60_000 },
  () => {
    let lab: Sites
    beforeEach(() => {
      lab = new Sites()
    })
    afterEach(() => lab.end())

    async function pair(hosts: string[], locals: string[], options: SiteOptions = {}): Promise<[Site, Site]> {
      const sites = hosts.map((host, i) =>
        lab.site(host, i + 1, locals[i], {
          ...options,
          vxlan: { remotes: [locals[1 - i]], ...options.vxlan },
        }),
      )
      for (const site of sites) await lab.open(site)
      return sites as [Site, Site]
    }
    /** The longest ping that gets through whole: its IP packet. */
    const whole = async (site: Site, address: string, mtu: number) => {
      const echo = (size: number) =>
        lab.ping(site.inside, address, 1, '-M', 'do', '-s', `${size - 28}`, '-W', '1')
      return [await echo(mtu), await echo(mtu + 1)]
    }

    it.each([
      ['IPv4', ['192.0.2.1', '192.0.2.2'], 1500, 1450],
      ['IPv6', ['2001:db8::1', '2001:db8::2'], 1500, 1430],
      ['jumbo frames', ['192.0.2.1', '192.0.2.2'], 9000, 8950],
      ['jumbo frames and IPv6', ['2001:db8::1', '2001:db8::2'], 9000, 8930],
    ])("over %s is the device's less the headers, from the start", async (_, locals, underlay, mtu) => {
      const [a, b] = await pair(lab.hosts(2, underlay), locals)
      expect([lab.mtu(a.inside), lab.mtu(b.inside)]).toEqual([mtu, mtu])
      expect(a.tunnel(locals[1])).toMatchObject({ mtu, pathMtu: underlay, mtuFrom: 'device' })
      expect(a.fabric.ports().map((p) => p.mtu)).toEqual([mtu, mtu])
      expect(await lab.ping(a.inside, '10.9.0.2', 1)).toBe(1)
      expect(await whole(a, '10.9.0.2', mtu)).toEqual([1, 0])
      expect(await lab.transfer(a.inside, b.inside, '10.9.0.2')).toBeGreaterThanOrEqual(8 << 20)
      expect(a.dropped('tunnel-too-big')).toBe(0)
    })

    it('follows the device of the underlay', async () => {
      const hosts = lab.hosts(2)
      const [a] = await pair(hosts, ['192.0.2.1', '192.0.2.2'])
      const told: number[] = []
      a.fabric.on('remote-mtu', ({ mtu }) => told.push(mtu))
      lab.ip(hosts[0], 'link set u0 mtu 1400')
      await expect.poll(() => lab.mtu(a.inside), SLOW).toBe(1350)
      lab.ip(hosts[0], 'link set u0 mtu 1500')
      await expect.poll(() => lab.mtu(a.inside), SLOW).toBe(1450)
      expect(told).toEqual([1350, 1450])
    })

    it('is what somebody said, who knows better', async () => {
      const hosts = lab.hosts(2)
      const ports = { fixed: { tap: { name: 'eth1', netns: hosts[0], mtu: 1500 } } }
      const vxlan = { remotes: ['192.0.2.2'] }
      const a = await lab.open(lab.site(hosts[0], 1, '192.0.2.1', { vxlan, vtep: { mtu: 1400 }, ports }))
      expect(a.tunnel('192.0.2.2')).toMatchObject({ mtu: 1350, pathMtu: 1400, mtuFrom: 'config' })
      expect([lab.mtu(a.inside), lab.mtu(hosts[0], 'eth1')]).toEqual([1350, 1500])
    })

    it('a path that narrows in the middle of a transfer: ICMP tells, TCP goes on', async () => {
      const { hosts, narrow } = lab.routed()
      const [a, b] = await pair(hosts, [A, B], { vtep: { df: 'set' } })
      expect(await lab.ping(a.inside, '10.9.0.2', 1)).toBe(1)
      const moved = lab.transfer(a.inside, b.inside, '10.9.0.2', '256M', () =>
        setTimeout(() => narrow(1300), 100),
      )
      await expect.poll(() => a.tunnel(B), SLOW).toMatchObject({ pathMtu: 1300, mtu: 1250, mtuFrom: 'icmp' })
      await expect.poll(() => lab.mtu(a.inside), SLOW).toBe(1250)
      expect(await moved).toBeGreaterThanOrEqual(256 << 20)
      expect(await whole(a, '10.9.0.2', 1250)).toEqual([1, 0])
    })

    it('below the 1280 that IPv6 needs, the device stays and its senders are told one by one', async () => {
      const { hosts, narrow } = lab.routed()
      narrow(1300)
      const [a, b] = await pair(hosts, [A, B], { vtep: { df: 'set' }, tap: { v6: true } })
      const big = ['-M', 'do', '-s', '1240', '-W', '1']
      await lab.ping(a.inside, '10.9.0.2', 2, ...big)
      await expect.poll(() => a.tunnel(B), SLOW).toMatchObject({ pathMtu: 1300, mtu: 1250, mtuFrom: 'icmp' })
      await expect.poll(() => lab.mtu(a.inside), SLOW).toBe(1280)
      expect(await lab.transfer(a.inside, b.inside, '10.9.0.2', '4M')).toBeGreaterThanOrEqual(4 << 20)
      // No IPv6 path may be that short: with DF unset it would be the underlay that splits.
      expect(await lab.ping(a.inside, 'fd09::2', 2, '-s', '1000')).toBe(2)
    })

    it('a path that swallows what is too long: echoes find out, in both directions and back up', async () => {
      const { hosts, router, narrow, mute } = lab.routed()
      const probe = { mtu: true, interval: '1s' }
      const [a, b] = await pair(hosts, [A, B], { vtep: { df: 'set', probe } })
      expect(lab.mtu(a.inside)).toBe(1450)
      mute()
      narrow(1400)
      lab.ip(hosts[1], 'link set u0 mtu 1400')
      await expect
        .poll(() => a.tunnel(B), { timeout: 60_000, interval: 200 })
        .toMatchObject({
          pathMtu: 1400,
          mtuFrom: 'probe',
        })
      await expect.poll(() => lab.mtu(a.inside), SLOW).toBe(1350)
      expect(b.tunnel(A)).toMatchObject({ pathMtu: 1400, mtuFrom: 'device' })
      expect(await lab.transfer(a.inside, b.inside, '10.9.0.2', '4M')).toBeGreaterThanOrEqual(4 << 20)
      expect(await whole(a, '10.9.0.2', 1350)).toEqual([1, 0])
      expect(lab.run(router, 'iptables', '-vnL', 'OUTPUT')).toMatch(/[1-9]\d* +\S+ +DROP/)
    }, 120_000)

    it('over IPv6: packet too big', async () => {
      const { hosts, narrow } = lab.routed()
      const [a, b] = await pair(hosts, ['2001:db8:1::1', '2001:db8:2::1'], { tap: { v6: true } })
      expect(lab.mtu(a.inside)).toBe(1430)
      const moved = lab.transfer(a.inside, b.inside, 'fd09::2', '256M', () =>
        setTimeout(() => narrow(1380), 100),
      )
      await expect
        .poll(() => a.tunnel('2001:db8:2::1'), SLOW)
        .toMatchObject({ pathMtu: 1380, mtu: 1310, mtuFrom: 'icmp' })
      await expect.poll(() => lab.mtu(a.inside), SLOW).toBe(1310)
      expect(await moved).toBeGreaterThanOrEqual(256 << 20)
      expect(await lab.transfer(b.inside, a.inside, 'fd09::1', '4M')).toBeGreaterThanOrEqual(4 << 20)
    })

    it('a sender whose device is longer than the tunnel is told', async () => {
      const hosts = lab.hosts(2)
      const [a, b] = await pair(hosts, ['192.0.2.1', '192.0.2.2'], { tap: { mtu: 1500, v6: true } })
      expect([lab.mtu(a.inside), lab.mtu(b.inside)]).toEqual([1500, 1500])
      const ping = (...args: string[]) =>
        lab.in(a.inside, 'ping', '-n', '-c', '2', '-i', '0.3', '-W', '1', ...args)
      expect((await ping('-M', 'do', '-s', '1472', '10.9.0.2')).stdout).toMatch(
        /Frag needed and DF set \(mtu = 1450\)/,
      )
      expect((await ping('-M', 'do', '-s', '1452', 'fd09::2')).stdout).toMatch(/Packet too big: mtu=1450/)
      for (const address of ['10.9.0.2', 'fd09::2'])
        expect(await lab.transfer(a.inside, b.inside, address, '4M')).toBeGreaterThanOrEqual(4 << 20)
      expect(a.dropped('tunnel-too-big')).toBeGreaterThan(0)
    })

    it("a router's interface on the switch has it too", async () => {
      const hosts = lab.hosts(2)
      const [far] = lab.spaces(1)
      const routers = {
        edge: {
          interfaces: {
            lan: { switch: 'lan', addresses: ['10.9.0.254/24'] },
            out: {
              tap: { name: 'eth0', netns: far, addresses: ['10.8.0.2/24'], gateway: '10.8.0.1' },
              addresses: ['10.8.0.1/24'],
            },
          },
        },
      }
      const a = lab.site(hosts[0], 1, '192.0.2.1', { vxlan: { remotes: ['192.0.2.2'] }, more: { routers } })
      await lab.open(a)
      const b = await lab.open(
        lab.site(hosts[1], 2, '192.0.2.2', {
          vxlan: { remotes: ['192.0.2.1'] },
          tap: { gateway: '10.9.0.254' },
        }),
      )
      const patch = a.fabric.ports().filter((p) => p.type === 'patch')
      expect(patch.map((p) => p.mtu)).toEqual([1450, 1450])
      // Without DF the router splits what it sends into the tunnel; with DF it says how long it may be.
      expect(await lab.ping(far, '10.9.0.2', 2, '-M', 'dont', '-s', '1472')).toBe(2)
      const { stdout } = await lab.in(
        far,
        'ping',
        '-n',
        '-c',
        '1',
        '-W',
        '1',
        '-M',
        'do',
        '-s',
        '1472',
        '10.9.0.2',
      )
      expect(stdout).toMatch(/From 10.8.0.1 .*Frag needed and DF set \(mtu = 1450\)/)
      expect(await lab.transfer(far, b.inside, '10.9.0.2')).toBeGreaterThanOrEqual(8 << 20)
    })
  },
)
