/** Addresses of routers that somebody else has: real hosts that have them, seen from the kernel's side. */
import { afterEach, describe, expect, it } from 'vitest'
import type { AddressEvent } from '../../src/control/fabric-options.ts'
import { checkConfigObject, type Fabric, type InterfaceRow, openFabric } from '../../src/index.ts'
import { has, Lab, lacking } from '../support/lab.ts'

let lab = new Lab()
const fabrics: Fabric[] = []
afterEach(async () => {
  for (const fabric of fabrics.splice(0)) await fabric.close()
  lab.close()
  lab = new Lab()
})

interface Heard {
  fabric: Fabric
  lines: string[]
  events: AddressEvent[]
}

async function open(config: object): Promise<Heard> {
  const lines: string[] = []
  const note = (_: object, line: string): void => void lines.push(line)
  const fabric = await openFabric(config, { log: { info: note, warn: note, error: note } })
  fabrics.push(fabric)
  const events: AddressEvent[] = []
  fabric.on('address', (event) => events.push(event))
  return { fabric, lines, events }
}

const states = (fabric: Fabric): Record<string, string> =>
  Object.fromEntries(
    fabric
      .interfaces()
      .flatMap((i: InterfaceRow) => i.addresses)
      .map((a) => [a.address, `${a.state}${a.used ? '' : ', not used'}`]),
  )

async function until(what: () => boolean, ms = 12_000): Promise<void> {
  const end = Date.now() + ms
  while (!what()) {
    if (Date.now() > end) throw new Error('it did not happen')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const tap = (netns: string, addresses: string[]) => ({ tap: { name: 'eth0', netns, addresses } })
const macOf = (netns: string): string =>
  JSON.parse(lab.ip(netns, '-json link show eth0'))[0].address as string

describe.skipIf(lacking)(`addresses${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('IPv4 at once, IPv6 when ready; both valid when nobody answers', async () => {
    const [a] = lab.spaces(1, { ipv6: true })
    const { fabric, lines } = await open({
      switches: { lan: { ports: { a: tap(a, ['10.1.0.2/24', 'fd01::2/64']) } } },
      routers: { r: { interfaces: { lan: { switch: 'lan', addresses: ['10.1.0.1/24', 'fd01::1/64'] } } } },
    })
    expect(await lab.ping(a, '10.1.0.1', 2)).toBe(2)
    expect(await lab.ping(a, 'fd01::1', 2)).toBe(2)
    const [row] = fabric.interfaces()
    expect(row).toMatchObject({
      router: 'r',
      name: 'lan',
      type: 'switch',
      switch: 'lan',
      state: 'up',
      mtu: 1500,
    })
    expect(row.rxPackets).toBeGreaterThan(3)
    expect(row.mac).toMatch(/^[0-9a-f:]{17}$/)
    expect(states(fabric)['10.1.0.1/24']).toBe('tentative')
    expect(states(fabric)['fd01::1/64']).toBe('valid')
    await until(() => states(fabric)['10.1.0.1/24'] === 'valid')
    expect(lines).toEqual([])
  })

  it('a device that was opened again: whoever is there now hears of our addresses', async () => {
    const [a] = lab.spaces(1)
    const config = {
      switches: {},
      routers: {
        r: { interfaces: { wan: { ...tap(a, ['10.1.0.2/24']), addresses: ['10.1.0.1/24'], dad: false } } },
      },
    }
    const { fabric } = await open(config)
    // Those of the beginning are two, 2 s apart.
    await new Promise((resolve) => setTimeout(resolve, 2500))
    const down = new Promise((resolve) => fabric.once('port-down', resolve))
    lab.remove(a)
    await down
    expect(lab.add(a.slice(a.lastIndexOf('-') + 1))).toBe(a)
    // An entry for whoever announces himself, though nobody was asked for.
    lab.run(a, 'sysctl', '-q', '-w', 'net.ipv4.conf.all.arp_accept=1', 'net.ipv4.conf.default.arp_accept=1')
    expect(await fabric.apply(checkConfigObject(config))).toEqual(['port r.wan: opened again'])
    await until(() =>
      lab.ip(a, 'neigh show').includes(`10.1.0.1 dev eth0 lladdr ${fabric.interfaces()[0].mac}`),
    )
  })

  it('a duplicate is told and not used; a worker that takes over knows of it', async () => {
    const [a, b] = lab.spaces(2, { ipv6: true })
    const { fabric, lines, events } = await open({
      switches: {
        lan: {
          ports: {
            a: tap(a, ['10.1.0.2/24', '10.1.0.1/24', 'fd01::1/64', 'fd01::2/64']),
            b: tap(b, ['10.1.0.3/24', 'fd01::3/64']),
          },
        },
      },
      routers: {
        r: {
          interfaces: {
            // A configuration cannot have an address twice, so the host gets its own behind our back.
            lan: { switch: 'lan', addresses: ['10.1.0.9/24', 'fd01::9/64'] },
          },
        },
      },
    })
    const mac = macOf(a)
    lab.ip(a, 'addr add 10.1.0.7/24 dev eth0')
    lab.ip(a, 'addr add fd01::7/64 dev eth0 nodad')
    const next = structuredClone(fabric.config)
    next.routers.r.interfaces.lan.addresses.push('10.1.0.7/24', 'fd01::7/64')
    await fabric.apply(next)
    await until(() => Object.values(states(fabric)).filter((s) => s === 'duplicate, not used').length === 2)
    expect(lines).toEqual(
      expect.arrayContaining([
        `address 10.1.0.7 of interface r.lan is a duplicate: ${mac} has it too; we do not use it`,
        `address fd01::7 of interface r.lan is a duplicate: ${mac} has it too; we do not use it`,
      ]),
    )
    expect(events).toContainEqual({
      router: 'r',
      interface: 'lan',
      address: 'fd01::7',
      state: 'duplicate',
      mac,
    })
    // It is the other's: also for who asks now.
    expect(await lab.ping(b, '10.1.0.7', 2)).toBe(2)
    expect(lab.ip(b, 'neigh show 10.1.0.7')).toContain(mac)
    expect(await lab.ping(b, 'fd01::7', 2)).toBe(2)
    expect(lab.ip(b, 'neigh show fd01::7')).toContain(mac)
    const local = fabric.routes().filter((r) => r.table === 'local' && /\.7\/32|::7\//.test(r.to))
    expect(local).toEqual([])
    expect(fabric.interfaces()[0].addresses.find((x) => x.address === '10.1.0.7/24')?.other).toBe(mac)

    const told = lines.length
    fabric.killWorker()
    await until(() => lines.some((l) => l === 'a new worker took over'))
    expect(await lab.ping(b, '10.1.0.9', 2)).toBe(2)
    expect(await lab.ping(b, 'fd01::9', 2)).toBe(2)
    expect(states(fabric)['10.1.0.7/24']).toBe('duplicate, not used')
    expect(lines.slice(told).filter((l) => l.includes('address'))).toEqual([])
  })

  it('one that is in use stays in use when another comes, and that is told', async () => {
    const [a] = lab.spaces(1)
    const { fabric, lines } = await open({
      switches: { lan: { ports: { a: tap(a, ['10.1.0.2/24']) } } },
      routers: { r: { interfaces: { lan: { switch: 'lan', addresses: ['10.1.0.1/24'] } } } },
    })
    await until(() => states(fabric)['10.1.0.1/24'] === 'valid')
    const ours = fabric.interfaces()[0].mac!
    lab.ip(a, 'addr add 10.1.0.1/24 dev eth0')
    // What the kernel does when somebody announces the address anew.
    lab.run(a, 'sysctl', '-q', '-w', 'net.ipv4.conf.eth0.arp_notify=1')
    lab.ip(a, 'link set eth0 address 02:00:00:00:00:99')
    lab.ip(a, 'link set eth0 down')
    lab.ip(a, 'link set eth0 up')
    await until(() => lines.some((l) => l.includes('we go on using it')))
    expect(lines.find((l) => l.includes('10.1.0.1'))).toBe(
      'address 10.1.0.1 of interface r.lan is used by 02:00:00:00:00:99, too; we go on using it',
    )
    expect(states(fabric)['10.1.0.1/24']).toBe('valid')
    expect(fabric.interfaces()[0].mac).toBe(ours)
  })

  it.skipIf(!has('tcpdump'))(
    'on the wire: strict asks three times before it says anything; false only announces',
    async () => {
      const [a, b] = lab.spaces(2)
      for (const ns of [a, b]) lab.ip(ns, 'link add eth0 type veth peer name ours')
      for (const ns of [a, b]) for (const name of ['eth0', 'ours']) lab.ip(ns, `link set ${name} up`)
      const texts = ['', '']
      const dumps = [a, b].map((ns) => lab.start(ns, 'tcpdump', '-lnni', 'eth0', 'arp'))
      dumps.forEach((dump, i) => {
        dump.stdout?.on('data', (data) => {
          texts[i] += data
        })
      })
      await new Promise((resolve) => setTimeout(resolve, 1000))
      const on = (netns: string, n: number, dad: unknown) => ({
        packet: { name: 'ours', netns },
        addresses: [`10.${n}.0.1/24`],
        dad,
      })
      const { fabric } = await open({
        routers: { r: { interfaces: { a: on(a, 1, 'strict'), b: on(b, 2, false) } } },
      })
      // `open` has waited.
      expect(states(fabric)).toEqual({ '10.1.0.1/24': 'valid', '10.2.0.1/24': 'valid' })
      await new Promise((resolve) => setTimeout(resolve, 3000))
      for (const dump of dumps) dump.kill('SIGTERM')
      await new Promise((resolve) => setTimeout(resolve, 300))
      const [strict, off] = texts.map((text) =>
        text
          .split('\n')
          .map((line) => /who-has (\S+) tell ([0-9.]+)/.exec(line))
          .filter((m) => m !== null)
          .map((m) => m[2]),
      )
      expect(strict).toEqual(['0.0.0.0', '0.0.0.0', '0.0.0.0', '10.1.0.1', '10.1.0.1'])
      expect(off).toEqual(['10.2.0.1', '10.2.0.1'])
    },
  )
})
