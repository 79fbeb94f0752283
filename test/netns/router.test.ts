/** Namespaces on different networks, joined by a router: IPv4 and IPv6 against the kernel's own stacks. */
import { afterAll, describe, expect, it } from 'vitest'
import { type Fabric, openFabric } from '../../src/index.ts'
import { has, Lab, lacking, PACED } from '../support/lab.ts'

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

/** A host in 10.<net>.0.0/24 and fd<net>::/64, its gateway the .1 and ::1 there. */
const host = (netns: string, net: number, n: number, more: object = {}) => ({
  tap: {
    name: 'eth0',
    netns,
    addresses: [`10.${net}.0.${n}/24`, `fd${net}::${n}/64`],
    gateway: [`10.${net}.0.1`, `fd${net}::1`],
    ...more,
  },
})
const edge = (net: number) => ({ addresses: [`10.${net}.0.1/24`, `fd${net}::1/64`] })

/** What must hold at rest. */
function conserved(fabric: Fabric): void {
  const t = fabric.status().totals
  expect(t.in + t.made).toBe(t.out + t.dropped + t.held + t.consumed)
}

describe.skipIf(lacking)(`a router between switches${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('forwards IPv4 and IPv6, answers for itself, and counts every packet', async () => {
    const [a, b] = lab.spaces(2, { ipv6: true })
    const fabric = await open({
      switches: { left: { ports: { a: host(a, 10, 2) } }, right: { ports: { b: host(b, 20, 2) } } },
      routers: {
        edge: { interfaces: { l: { switch: 'left', ...edge(10) }, r: { switch: 'right', ...edge(20) } } },
      },
    })
    expect(await lab.ping(a, '10.10.0.1', 3)).toBe(3)
    expect(await lab.ping(a, '10.20.0.2', 3)).toBe(3)
    expect(await lab.ping(a, '10.20.0.1', 2)).toBe(2)
    expect(await lab.ping(b, 'fd10::2', 3)).toBe(3)
    expect(await lab.ping(a, 'fd20::1', 2)).toBe(2)
    const { stdout } = await lab.in(a, 'ping', '-n', '-c', '1', '10.20.0.2')
    expect(stdout).toContain('ttl=63')
    expect(fabric.routes().some((r) => r.to === '10.20.0.0/24' && r.hops[0].interface === 'r')).toBe(true)
    expect(fabric.neighbors().some((n) => n.address === '10.20.0.2' && n.mac !== null)).toBe(true)
    conserved(fabric)
  })

  it('says time exceeded, net unreachable and host unreachable', async () => {
    const [a, b] = lab.spaces(2)
    const only4 = (netns: string, net: number) =>
      host(netns, net, 2, { addresses: [`10.${net}.0.2/24`], gateway: `10.${net}.0.1` })
    await open({
      switches: { left: { ports: { a: only4(a, 10) } }, right: { ports: { b: only4(b, 20) } } },
      routers: {
        edge: { interfaces: { l: { switch: 'left', ...edge(10) }, r: { switch: 'right', ...edge(20) } } },
      },
    })
    expect(await lab.ping(a, '10.20.0.2', 1)).toBe(1)
    expect((await lab.in(a, 'ping', '-n', '-c', '1', '-t', '1', '-W', '2', '10.20.0.2')).stdout).toMatch(
      /From 10\.10\.0\.1 .*Time to live exceeded/,
    )
    expect((await lab.in(a, 'ping', '-n', '-c', '1', '-W', '2', '192.0.2.1')).stdout).toMatch(
      /From 10\.10\.0\.1 .*Destination Net Unreachable/,
    )
    expect((await lab.in(a, 'ping', '-n', '-c', '1', '-W', '6', '10.20.0.99')).stdout).toMatch(
      /From 10\.10\.0\.1 .*Destination Host Unreachable/,
    )
  })

  it('a smaller MTU behind it: path MTU discovery works, and what may be cut is cut', async () => {
    const [a, b] = lab.spaces(2, { ipv6: true })
    await open({
      switches: {
        left: { ports: { a: host(a, 10, 2) } },
        right: { ports: { b: host(b, 20, 2, { mtu: 1300 }) } },
      },
      routers: {
        edge: {
          interfaces: { l: { switch: 'left', ...edge(10) }, r: { switch: 'right', ...edge(20), mtu: 1300 } },
        },
      },
    })
    const probe = await lab.in(a, 'ping', '-n', '-c', '1', '-W', '2', '-M', 'do', '-s', '1400', '10.20.0.2')
    expect(probe.stdout).toMatch(/From 10\.10\.0\.1 .*[Ff]rag needed.*mtu = 1300/)
    expect(await lab.ping(a, '10.20.0.2', 2, '-M', 'dont', '-s', '1400')).toBe(2)
    expect(await lab.ping(a, 'fd20::2', 3, '-s', '1400', ...PACED)).toBeGreaterThanOrEqual(2)
  })

  it.skipIf(!has('iperf3'))('carries TCP in super-frames, over IPv4 and IPv6', async () => {
    const [a, b] = lab.spaces(2, { ipv6: true })
    const fabric = await open({
      switches: { left: { ports: { a: host(a, 10, 2) } } },
      routers: {
        edge: { interfaces: { l: { switch: 'left', ...edge(10) }, r: { ...host(b, 20, 2), ...edge(20) } } },
      },
    })
    for (const [at, address] of [
      ['5301', '10.20.0.2'],
      ['5302', 'fd20::2'],
    ]) {
      const server = lab.start(b, 'iperf3', '-s', '-1', '--forceflush', '-p', at)
      await new Promise((resolve) => server.stdout?.once('data', resolve))
      const { stdout } = await lab.in(a, 'iperf3', '-c', address, '-p', at, '-n', '16M', '-C', 'cubic', '-J')
      expect(JSON.parse(stdout).end?.sum_sent?.bytes ?? 0).toBeGreaterThanOrEqual(16 << 20)
    }
    expect(fabric.counters().find((c) => c.port === 'a')?.rxSuper).toBeGreaterThan(50)
    conserved(fabric)
  })

  it('on a stick: two VLANs of one switch meet only at the router', async () => {
    const [a, b] = lab.spaces(2)
    const in4 = (netns: string, net: number, vid: number) => ({
      ...host(netns, net, 2, { addresses: [`10.${net}.0.2/24`], gateway: `10.${net}.0.1` }),
      vlan: { access: vid },
    })
    await open({
      switches: { lan: { ports: { a: in4(a, 10, 10), b: in4(b, 20, 20) } } },
      routers: {
        edge: {
          interfaces: {
            ten: { switch: 'lan', vlan: 10, ...edge(10) },
            twenty: { switch: 'lan', vlan: 20, ...edge(20) },
          },
        },
      },
    })
    expect(await lab.ping(a, '10.20.0.2', 3)).toBe(3)
  })

  it('a blackhole, a prohibit and a host route, changed while it runs', async () => {
    const [a, b] = lab.spaces(2)
    const in4 = (netns: string, net: number) =>
      host(netns, net, 2, { addresses: [`10.${net}.0.2/24`], gateway: `10.${net}.0.1` })
    const config = (routes: object[]) => ({
      switches: { left: { ports: { a: in4(a, 10) } }, right: { ports: { b: in4(b, 20) } } },
      routers: {
        edge: {
          interfaces: { l: { switch: 'left', ...edge(10) }, r: { switch: 'right', ...edge(20) } },
          routes,
        },
      },
    })
    const { checkConfigObject } = await import('../../src/index.ts')
    const fabric = await open(config([{ to: '10.20.0.2/32', type: 'blackhole' }]))
    expect(await lab.ping(a, '10.20.0.2', 1)).toBe(0)
    await fabric.apply(checkConfigObject(config([{ to: '10.20.0.2/32', type: 'prohibit' }])))
    expect((await lab.in(a, 'ping', '-n', '-c', '1', '-W', '2', '10.20.0.2')).stdout).toMatch(
      /Packet filtered/,
    )
    await fabric.apply(checkConfigObject(config([])))
    expect(await lab.ping(a, '10.20.0.2', 2)).toBe(2)
  })
})
