/** Where packets go: kinds of routes, policies, equal-cost paths, filters of sources, with the kernel's stacks around. */
import { afterAll, describe, expect, it } from 'vitest'
import { checkConfigObject, type Fabric, openFabric } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  lab.close()
})

async function open(config: object): Promise<Fabric> {
  const fabric = await openFabric(config)
  fabrics.push(fabric)
  return fabric
}

/** An interface with a host 10.<n>.0.2 of its own. */
const leg = (netns: string, n: number, more: object = {}) => ({
  tap: { name: 'eth0', netns, addresses: [`10.${n}.0.2/24`], gateway: `10.${n}.0.1` },
  addresses: [`10.${n}.0.1/24`],
  ...more,
})
/** What `ping` says when there is no answer. */
const told = async (netns: string, address: string, ...options: string[]): Promise<string> =>
  (await lab.in(netns, 'ping', '-n', '-c', '1', '-W', '1', ...options, address)).stdout
const drops = (fabric: Fabric, port: string): Record<string, number> =>
  Object.fromEntries(
    fabric.drops().flatMap((d) => (d.port === port && d.packets > 0 ? [[d.reason, d.packets]] : [])),
  )
/** Frames that a namespace's device has received. */
const received = (netns: string): number =>
  JSON.parse(lab.ip(netns, '-json -s link show eth0'))[0].stats64.rx.packets
const until = async (what: () => boolean): Promise<void> => {
  for (let i = 0; i < 100 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 50))
  expect(what()).toBe(true)
}

describe.skipIf(lacking)(`routing${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('blackhole, unreachable, prohibit and throw do what `ip route` says', async () => {
    const [a, b] = lab.spaces(2)
    lab.ip(b, 'addr add 192.0.2.1/32 dev lo')
    const fabric = await open({
      routers: {
        r: {
          interfaces: { a: leg(a, 1), b: leg(b, 2) },
          routes: [
            { to: '198.51.100.0/26', type: 'blackhole' },
            { to: '198.51.100.64/26', type: 'unreachable' },
            { to: '198.51.100.128/26', type: 'prohibit' },
            { to: '192.0.2.0/24', via: '10.2.0.2' },
            { to: '192.0.2.0/24', type: 'throw', table: 7 },
            { to: '0.0.0.0/0', type: 'blackhole', table: 7 },
          ],
          policies: [{ priority: 10, from: '10.1.0.0/24', to: '192.0.2.0/24', table: 7 }],
        },
      },
    })
    expect(await lab.ping(a, '192.0.2.1', 2)).toBe(2)
    expect(await told(a, '198.51.100.1')).not.toContain('From')
    expect(drops(fabric, 'a').blackhole).toBe(1)
    expect(await told(a, '198.51.100.65')).toMatch(/From 10\.1\.0\.1 .*Destination Host Unreachable/)
    expect(await told(a, '198.51.100.129')).toMatch(/From 10\.1\.0\.1 .*Packet filtered/)
    expect(await told(a, '203.0.113.1')).toMatch(/From 10\.1\.0\.1 .*Destination Net Unreachable/)
  })

  it('equal-cost paths: each flow stays on one, all are used; when a device goes, the other has all', async () => {
    const [a, b, c] = lab.spaces(3)
    for (const ns of [b, c]) lab.ip(ns, 'addr add 192.0.2.1/32 dev lo')
    const config = {
      routers: {
        r: {
          interfaces: { a: leg(a, 1), b: leg(b, 2), c: leg(c, 3) },
          routes: [{ to: '192.0.2.0/24', via: ['10.2.0.2', '10.3.0.2'] }],
        },
      },
    }
    const fabric = await open(config)
    for (let i = 0; i < 20; i++) lab.ip(a, `addr add 10.1.0.${100 + i}/24 dev eth0`)
    const reach = async (): Promise<number> => {
      let n = 0
      for (let i = 0; i < 20; i++) n += await lab.ping(a, '192.0.2.1', 1, '-I', `10.1.0.${100 + i}`)
      return n
    }
    const before = [received(b), received(c)]
    expect(await reach()).toBe(20)
    const after = [received(b), received(c)]
    expect(after[0] - before[0]).toBeGreaterThanOrEqual(4)
    expect(after[1] - before[1]).toBeGreaterThanOrEqual(4)

    lab.ip(b, 'link del eth0')
    await until(() => !fabric.routes().some((r) => r.hops.some((h) => h.interface === 'b')))
    expect(fabric.interfaces().find((i) => i.name === 'b')?.state).toBe('down')
    expect(await reach()).toBe(20)
    expect(await told(a, '10.2.0.2')).toMatch(/Destination Net Unreachable/)

    // A reload takes it up again.
    expect(await fabric.apply(checkConfigObject(config))).toEqual(['port r.b: opened again'])
    expect(await lab.ping(a, '10.2.0.2', 2)).toBe(2)
    const again = received(b)
    expect(await reach()).toBe(20)
    expect(received(b) - again).toBeGreaterThanOrEqual(4)
  })

  it('a policy by mark, set by a rule; by source; by interface', async () => {
    const [a, b, c] = lab.spaces(3)
    for (const ns of [b, c]) lab.ip(ns, 'addr add 192.0.2.1/32 dev lo')
    const rules = '*mangle\n-A PREROUTING -p icmp -m ttl --ttl-eq 33 -j MARK --set-mark 0x5\nCOMMIT\n'
    const base = checkConfigObject({
      routers: {
        r: {
          interfaces: { a: leg(a, 1), b: leg(b, 2), c: leg(c, 3) },
          routes: [
            { to: 'default', via: '10.2.0.2' },
            { to: 'default', via: '10.3.0.2', table: 9 },
          ],
          policies: [
            { priority: 5, mark: '0x5/0xf', table: 9 },
            { priority: 6, from: '10.1.0.77/32', table: 9 },
          ],
        },
      },
    })
    base.routers.r.rules = [{ file: 'mark.rules', text: rules, family: 4 }]
    const { Fabric } = await import('../../src/index.ts')
    const fabric = await Fabric.open(base)
    fabrics.push(fabric)
    const way = async (...options: string[]): Promise<string> => {
      const before = [received(b), received(c)]
      expect(await lab.ping(a, '192.0.2.1', 4, ...options)).toBe(4)
      const [toB, toC] = [received(b) - before[0], received(c) - before[1]]
      return toB >= 4 && toC < 4 ? 'b' : toC >= 4 && toB < 4 ? 'c' : `b ${toB}, c ${toC}`
    }
    lab.ip(a, 'addr add 10.1.0.77/24 dev eth0')
    expect(await way()).toBe('b')
    expect(await way('-t', '33')).toBe('c')
    expect(await way('-I', '10.1.0.77')).toBe('c')
  })

  it('reverse-path filter: strict takes a source from its side alone, loose from any that has a way back', async () => {
    const [a, b] = lab.spaces(2)
    for (const mode of ['strict', 'loose'] as const) {
      const fabric = await openFabric({
        routers: { r: { interfaces: { a: leg(a, 1, { rpFilter: mode }), b: leg(b, 2) } } },
      })
      lab.ip(a, 'addr add 10.2.0.9/32 dev lo')
      lab.ip(a, 'addr add 203.0.113.9/32 dev lo')
      expect(await lab.ping(a, '10.2.0.2', 1)).toBe(1)
      await told(a, '10.2.0.2', '-I', '10.2.0.9')
      const once = drops(fabric, 'a')['reverse-path'] ?? 0
      expect(once).toBe(mode === 'strict' ? 1 : 0)
      await told(a, '10.2.0.2', '-I', '203.0.113.9')
      expect((drops(fabric, 'a')['reverse-path'] ?? 0) - once).toBe(1)
      await fabric.close()
      for (const address of ['10.2.0.9', '203.0.113.9']) lab.ip(a, `addr del ${address}/32 dev lo`)
    }
  })

  it('options pass unharmed, no redirects, and martians are dropped', async () => {
    const [a, b] = lab.spaces(2)
    const fabric = await open({ routers: { r: { interfaces: { a: leg(a, 1), b: leg(b, 2) } } } })
    expect(await lab.ping(a, '10.2.0.2', 1)).toBe(1)
    const record = await told(a, '10.2.0.2', '-R')
    expect(record).toContain('1 received')
    const stamps = await told(a, '10.2.0.2', '-T', 'tsandaddr')
    expect(stamps).toContain('1 received')
    // The way to 10.1.0.9 leads back where it came from: a redirect would be due.
    lab.run(a, 'ip', 'route', 'add', '10.1.0.9/32', 'via', '10.1.0.1')
    expect(await told(a, '10.1.0.9')).not.toContain('Redirect')
    lab.ip(a, 'addr add 127.9.9.9/32 dev eth0')
    expect(drops(fabric, 'a').martian ?? 0).toBe(0)
    lab.run(
      a,
      'sysctl',
      '-q',
      '-w',
      'net.ipv4.conf.eth0.route_localnet=1',
      'net.ipv4.conf.all.route_localnet=1',
    )
    await told(a, '10.2.0.2', '-I', '127.9.9.9')
    expect(drops(fabric, 'a').martian ?? 0).toBeGreaterThan(0)
  })

  it('a neighbour that does not answer: the queue is bounded, the sender hears of it', async () => {
    const [a, b] = lab.spaces(2)
    const fabric = await open({ routers: { r: { interfaces: { a: leg(a, 1), b: leg(b, 2) } } } })
    const { stdout } = await lab.in(a, 'ping', '-n', '-c', '200', '-i', '0.002', '-W', '4', '10.2.0.99')
    expect(stdout).toMatch(/From 10\.1\.0\.1 .*Destination Host Unreachable/)
    const lost = drops(fabric, 'b')
    expect(lost['neighbour-queue'] + lost['neighbour-failed']).toBe(200)
    expect(lost['neighbour-failed']).toBeLessThanOrEqual(101)
    expect(fabric.status().totals.held).toBe(0)
  })
})
