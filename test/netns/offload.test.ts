/** TCP through the switch with checksum and segmentation offload on and off at each side. */
import { afterAll, describe, expect, it } from 'vitest'
import { type Fabric, openFabric } from '../../src/index.ts'
import { has, Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  await lab.close()
})

const missing = lacking ?? (has('iperf3') ? null : 'needs iperf3')
let port = 5201

/** Moves 8 MB from `from` to `to` over TCP; bytes that arrived. */
async function transfer(from: string, to: string, address: string): Promise<number> {
  const at = `${++port}`
  const server = lab.start(to, 'iperf3', '-s', '-1', '--forceflush', '-p', at)
  await new Promise((resolve) => server.stdout?.once('data', resolve))
  const { stdout } = await lab.in(from, 'iperf3', '-c', address, '-p', at, '-n', '8M', '-C', 'cubic', '-J')
  return JSON.parse(stdout).end?.sum_sent?.bytes ?? 0
}

describe.skipIf(missing)(`TCP with every mix of offloads${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const kinds = {
    all: true,
    'no segmentation': { checksum: true, tso: false, uso: false },
    none: false,
  }
  for (const [left, a] of Object.entries(kinds)) {
    for (const [right, b] of Object.entries(kinds)) {
      it(`left ${left}, right ${right}`, async () => {
        const [one, two] = lab.spaces(2, { ipv6: true })
        const tap = (netns: string, host: number, offload: unknown) => ({
          tap: { name: 'eth0', netns, addresses: [`10.9.0.${host}/24`, `fd09::${host}/64`], offload },
        })
        const fabric = await openFabric({
          switches: { lan: { ports: { one: tap(one, 1, a), two: tap(two, 2, b) } } },
        })
        fabrics.push(fabric)
        expect(await transfer(one, two, '10.9.0.2')).toBeGreaterThanOrEqual(8 << 20)
        expect(await transfer(two, one, '10.9.0.1')).toBeGreaterThanOrEqual(8 << 20)
        expect(await transfer(one, two, 'fd09::2')).toBeGreaterThanOrEqual(8 << 20)
        const supers = Object.fromEntries(fabric.counters().map((c) => [c.port, c.rxSuper]))
        expect(supers.one > 0, 'super-frames from the left').toBe(left === 'all')
        expect(supers.two > 0, 'super-frames from the right').toBe(right === 'all')
        expect(fabric.drops().filter((d) => d.packets > 0 && d.reason !== 'no-egress')).toEqual([])
      })
    }
  }

  it('to and from an existing veth behind a packet port', async () => {
    const [one, two, mid] = lab.spaces(3)
    const peer = 'v0'
    lab.run(mid, 'ip', 'link', 'add', peer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', two)
    lab.run(mid, 'ip', 'link', 'set', peer, 'up')
    lab.run(two, 'ip', 'link', 'set', 'eth0', 'up')
    lab.run(two, 'ip', 'addr', 'add', '10.9.0.2/24', 'dev', 'eth0')
    const fabric = await openFabric({
      switches: {
        lan: {
          ports: {
            one: { tap: { name: 'eth0', netns: one, addresses: ['10.9.0.1/24'] } },
            two: { packet: { name: peer, netns: mid } },
          },
        },
      },
    })
    fabrics.push(fabric)
    // A veth that has just come up takes a moment to carry frames.
    expect(await lab.ping(one, '10.9.0.2', 10)).toBeGreaterThanOrEqual(5)
    expect(await transfer(one, two, '10.9.0.2')).toBeGreaterThanOrEqual(8 << 20)
    expect(await transfer(two, one, '10.9.0.1')).toBeGreaterThanOrEqual(8 << 20)
    expect(fabric.counters().find((c) => c.port === 'two')?.rxSuper).toBeGreaterThan(0)
  })
})
