/** Many devices at once: opened together, and taken back together when one of them fails. */
import { existsSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { checkConfigObject, type Fabric, openFabric } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  lab.close()
})

const SPACES = 3
/** Port i of 10.9.0.0/16, in namespace i modulo SPACES; `more` of its device. */
const port = (spaces: string[], i: number, more: string[] = []) => ({
  tap: { name: `e${i}`, netns: spaces[i % SPACES], addresses: [`10.9.${i}.1/16`, ...more] },
})
const ports = (spaces: string[], n: number, from = 0) =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${from + i}`, port(spaces, from + i)]))
const devices = (netns: string): string[] =>
  (JSON.parse(lab.ip(netns, '-json link show')) as { ifname: string }[]).map((l) => l.ifname)
const addresses = (netns: string, device: string): string[] =>
  (
    JSON.parse(lab.ip(netns, `-json -4 addr show dev ${device}`)) as { addr_info: { local: string }[] }[]
  ).flatMap((l) => l.addr_info.map((a) => a.local))

describe.skipIf(lacking)(`many devices${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('each has its address; when one fails, all that came with it go, and what was there is there', async () => {
    const spaces = lab.spaces(SPACES)
    const fabric = await openFabric({ switches: { lan: { ports: ports(spaces, 30) } } })
    fabrics.push(fabric)
    for (let i = 0; i < 30; i++) expect(addresses(spaces[i % SPACES], `e${i}`)).toEqual([`10.9.${i}.1`])
    expect(await lab.ping(spaces[0], '10.9.1.1', 2, '-I', 'e0')).toBe(2)

    // IPv6 is off in these namespaces, so the kernel refuses the address of port 35. Port 4 is opened anew.
    const next = checkConfigObject({
      switches: {
        lan: {
          ports: {
            ...ports(spaces, 40),
            p4: port(spaces, 4, ['10.9.200.4/16']),
            p35: port(spaces, 35, ['fd09::35/64']),
          },
        },
      },
    })
    const before = fabric.config
    await expect(fabric.apply(next)).rejects.toThrow(
      `ip addr add fd09::35/64 dev e35 nodad (in namespace ${spaces[35 % SPACES]}): `,
    )
    expect(fabric.config).toEqual(before)
    expect(fabric.ports().map((p) => p.name)).toHaveLength(30)
    for (const [i, space] of spaces.entries()) {
      const own = Array.from({ length: 10 }, (_, k) => `e${SPACES * k + i}`)
      expect(devices(space).sort()).toEqual(['lo', ...own].sort())
    }
    expect(addresses(spaces[4 % SPACES], 'e4')).toEqual(['10.9.4.1'])
    expect(fabric.ports().every((p) => p.state === 'up')).toBe(true)
    expect(await lab.ping(spaces[1], '10.9.2.1', 2, '-I', 'e4')).toBe(2)
  })

  it('a device that is there already fails in the middle: those before it go, those after it never come', async () => {
    const spaces = lab.spaces(SPACES)
    lab.ip(spaces[1], 'link add e10 type veth peer name x10')
    await expect(openFabric({ switches: { lan: { ports: ports(spaces, 20) } } })).rejects.toThrow(/e10/)
    expect(spaces.map(devices)).toEqual([['lo'], ['lo', 'x10', 'e10'], ['lo']])
  })

  it('namespaces that it makes are there together and gone together', async () => {
    const names = Array.from({ length: 70 }, (_, i) => `tl-many-${process.pid}-${i}`)
    const fabric = await openFabric({
      namespaces: names,
      switches: { lan: { ports: { a: { memory: {} } } } },
    })
    expect(names.every((name) => existsSync(`/run/netns/${name}`))).toBe(true)
    for (const name of [names[0], names[69]]) expect(lab.ip(name, 'link show lo')).toContain('UP')
    await fabric.close()
    expect(names.some((name) => existsSync(`/run/netns/${name}`))).toBe(false)
  })

  it('a port that the library adds is whole or not there', async () => {
    const [space] = lab.spaces(1)
    const fabric = await openFabric({ switches: { lan: { ports: { a: { memory: {} } } } } })
    fabrics.push(fabric)
    const of = (extra: string[]) =>
      checkConfigObject({
        switches: {
          lan: { ports: { b: { tap: { name: 'e0', netns: space, addresses: ['10.9.0.1/16', ...extra] } } } },
        },
      }).switches.lan.ports.b
    await expect(fabric.addPort('lan', 'b', of(['fd09::1/64']))).rejects.toThrow('fd09::1/64')
    expect(devices(space)).toEqual(['lo'])
    await fabric.addPort('lan', 'b', of([]))
    expect(addresses(space, 'e0')).toEqual(['10.9.0.1'])
  })
})
