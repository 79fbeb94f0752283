/** Namespaces joined by a switch of real TAPs: what a user does first. */
import { afterAll, describe, expect, it } from 'vitest'
import { type Fabric, openFabric } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  await lab.close()
})

async function lan(ports: Record<string, object>, more: object = {}): Promise<Fabric> {
  const fabric = await openFabric({ switches: { lan: { ports, ...more } } })
  fabrics.push(fabric)
  return fabric
}
const tap = (netns: string, host: number, more: object = {}) => ({
  tap: { name: 'eth0', netns, addresses: [`10.9.0.${host}/24`], ...more },
})
const dual = (netns: string, host: number) =>
  tap(netns, host, { addresses: [`10.9.0.${host}/24`, `fd09::${host}/64`] })

describe.skipIf(lacking)(`three namespaces on one switch${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('talk over IPv4 and IPv6, and are learned where they are', async () => {
    const [a, b, c] = lab.spaces(3, { ipv6: true })
    const fabric = await lan({ a: dual(a, 1), b: dual(b, 2), c: dual(c, 3) })
    expect(await lab.ping(a, '10.9.0.2', 5)).toBe(5)
    expect(await lab.ping(a, '10.9.0.3', 5)).toBe(5)
    expect(await lab.ping(b, 'fd09::3', 5)).toBe(5)
    const ports = Object.fromEntries(fabric.ports().map((p) => [p.name, p]))
    for (const row of fabric.fdb()) expect(row.mac).toBe(ports[row.port].mac)
    expect(fabric.fdb()).toHaveLength(3)
    const { in: received, made, out, dropped, held } = fabric.status().totals
    expect(received + made).toBe(out + dropped + held)
  })

  it('answer a broadcast ping, all of them', async () => {
    const spaces = lab.spaces(4)
    await lan(Object.fromEntries(spaces.map((s, i) => [`p${i}`, tap(s, i + 1)])))
    for (const s of spaces) lab.run(s, 'sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_broadcasts=0')
    const { stdout } = await lab.in(
      spaces[0],
      'ping',
      '-n',
      '-b',
      '-c',
      '2',
      '-i',
      '0.3',
      '-W',
      '1',
      '10.9.0.255',
    )
    for (const host of [2, 3, 4]) expect(stdout).toContain(`from 10.9.0.${host}`)
  })

  it('are separated by VLANs', async () => {
    const [a, b, c, d] = lab.spaces(4)
    const access = (vid: number) => ({ vlan: { access: vid } })
    await lan({
      a: { ...tap(a, 1), ...access(10) },
      b: { ...tap(b, 2), ...access(10) },
      c: { ...tap(c, 3), ...access(20) },
      d: { ...tap(d, 4), ...access(20) },
    })
    expect(await lab.ping(a, '10.9.0.2', 2)).toBe(2)
    expect(await lab.ping(c, '10.9.0.4', 2)).toBe(2)
    expect(await lab.ping(a, '10.9.0.3', 2)).toBe(0)
    expect(await lab.ping(d, '10.9.0.2', 2)).toBe(0)
  })

  it('carry what their MTU allows, and jumbo frames where it is 9216', async () => {
    const [a, b] = lab.spaces(2)
    await lan({ a: tap(a, 1), b: tap(b, 2) })
    expect(await lab.ping(a, '10.9.0.2', 2, '-s', '1472', '-M', 'do')).toBe(2)
    expect(await lab.ping(a, '10.9.0.2', 2, '-s', '1473', '-M', 'do')).toBe(0)
    expect(await lab.ping(a, '10.9.0.2', 2, '-s', '20000')).toBe(2)
    const [c, d] = lab.spaces(2)
    await lan({ c: tap(c, 1, { mtu: 9216 }), d: tap(d, 2, { mtu: 9216 }) })
    expect(await lab.ping(c, '10.9.0.2', 2, '-s', '9188', '-M', 'do')).toBe(2)
  })

  it('drop by name what is too big for the port it would leave by', async () => {
    const [a, b] = lab.spaces(2)
    const fabric = await lan({ a: tap(a, 1, { mtu: 9000 }), b: tap(b, 2) })
    expect(await lab.ping(a, '10.9.0.2', 2, '-s', '8000', '-M', 'do')).toBe(0)
    const row = fabric.drops().find((d) => d.port === 'b' && d.reason === 'too-big')
    expect(row?.packets).toBe(2)
  })

  it('a port that is isolated reaches only those that are not', async () => {
    const [a, b, c] = lab.spaces(3)
    await lan({ a: { ...tap(a, 1), isolated: true }, b: { ...tap(b, 2), isolated: true }, c: tap(c, 3) })
    expect(await lab.ping(a, '10.9.0.3', 2)).toBe(2)
    expect(await lab.ping(b, '10.9.0.3', 2)).toBe(2)
    expect(await lab.ping(a, '10.9.0.2', 2)).toBe(0)
  })

  it('64 of them, each reached from the first', { timeout: 60_000 }, async () => {
    const spaces = lab.spaces(64)
    const fabric = await lan(Object.fromEntries(spaces.map((s, i) => [`p${i}`, tap(s, i + 1)])))
    const answers = await Promise.all(
      spaces.slice(1).map((_, i) => lab.ping(spaces[0], `10.9.0.${i + 2}`, 1)),
    )
    expect(answers.filter((n) => n === 1)).toHaveLength(63)
    expect(fabric.fdb()).toHaveLength(64)
  })
})
