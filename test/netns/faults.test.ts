/** What goes wrong while traffic flows: the rest goes on. */
import { afterAll, describe, expect, it } from 'vitest'
import { checkConfigObject, type Fabric, openFabric } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  await lab.close()
})

const tap = (netns: string, host: number) => ({
  tap: { name: 'eth0', netns, addresses: [`10.9.0.${host}/24`] },
})
async function open(ports: Record<string, object>): Promise<Fabric> {
  const fabric = await openFabric({ switches: { lan: { ports } } })
  fabrics.push(fabric)
  return fabric
}
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Pings every 2 ms in the background, from the first answer on; answers lost are known at the end. */
async function steadyPing(from: string, address: string): Promise<{ lost: () => Promise<number> }> {
  const child = lab.start(from, 'ping', '-n', '-i', '0.002', address)
  let out = ''
  child.stdout?.on('data', (d) => {
    out += d
  })
  // Ended before it has begun, it says nothing.
  await expect.poll(() => out, { timeout: 10_000 }).toContain('bytes from')
  return {
    async lost() {
      // Not 'exit': the last lines may still be on their way then.
      const ended = new Promise((resolve) => child.once('close', resolve))
      child.kill('SIGINT')
      await ended
      const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(out) ?? []
      // The last one may still be on its way.
      return Math.max(0, Number(sent) - Number(received) - 1)
    },
  }
}

describe.skipIf(lacking)(`while traffic flows${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('a namespace is deleted: its port goes down, the others lose nothing', async () => {
    const [a, b, c] = lab.spaces(3)
    const fabric = await open({ a: tap(a, 1), b: tap(b, 2), c: tap(c, 3) })
    const down = new Promise<{ port: string; reason: string }>((resolve) => fabric.once('port-down', resolve))
    const flood = lab.start(a, 'ping', '-n', '-f', '10.9.0.3')
    const others = await steadyPing(a, '10.9.0.2')
    await sleep(300)
    lab.remove(c)
    const event = await down
    expect(event.port).toBe('c')
    expect(event.reason).toMatch(/namespace .* was deleted/)
    await sleep(300)
    flood.kill('SIGINT')
    expect(await others.lost()).toBe(0)
    expect(fabric.ports().find((p) => p.name === 'c')?.state).toBe('down')
    expect(fabric.status().workers[0].state).toBe('running')
  })

  it('a device is set down and up again: traffic comes back', async () => {
    const [a, b] = lab.spaces(2)
    const fabric = await open({ a: tap(a, 1), b: tap(b, 2) })
    expect(await lab.ping(a, '10.9.0.2', 2)).toBe(2)
    for (let i = 0; i < 3; i++) {
      lab.run(b, 'ip', 'link', 'set', 'eth0', 'down')
      expect(fabric.ports().find((p) => p.name === 'b')?.state).toBe('down')
      await lab.ping(a, '10.9.0.2', 1)
      lab.run(b, 'ip', 'link', 'set', 'eth0', 'up')
      expect(await lab.ping(a, '10.9.0.2', 5)).toBeGreaterThanOrEqual(3)
    }
    expect(fabric.ports().find((p) => p.name === 'b')?.state).toBe('up')
  })

  it('an existing device behind a packet port goes down and up, and then away', async () => {
    const [a, b, mid] = lab.spaces(3)
    lab.run(mid, 'ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', b)
    lab.run(b, 'ip', 'link', 'set', 'eth0', 'up')
    lab.run(b, 'ip', 'addr', 'add', '10.9.0.2/24', 'dev', 'eth0')
    const fabric = await open({ a: tap(a, 1), v: { packet: { name: 'v0', netns: mid } } })
    // A veth that has just come up takes a moment to carry frames.
    expect(await lab.ping(a, '10.9.0.2', 10)).toBeGreaterThanOrEqual(5)
    lab.run(mid, 'ip', 'link', 'set', 'v0', 'down')
    await sleep(200)
    expect(fabric.ports().find((p) => p.name === 'v')?.state).toBe('down')
    lab.run(mid, 'ip', 'link', 'set', 'v0', 'up')
    expect(await lab.ping(a, '10.9.0.2', 10)).toBeGreaterThanOrEqual(5)
    const down = new Promise<{ reason: string }>((resolve) => fabric.once('port-down', resolve))
    lab.run(mid, 'ip', 'link', 'delete', 'v0')
    expect((await down).reason).toMatch(/v0 was deleted/)
  })

  it('other ports come and go: the ones that did not change lose no packet', async () => {
    const [a, b, c] = lab.spaces(3)
    const ports = { a: tap(a, 1), b: tap(b, 2) }
    // A MAC of its own each time would be found only when the neighbour entry of before is given up.
    const again = { tap: { ...tap(c, 3).tap, mac: '02:00:00:00:00:03' } }
    const fabric = await open(ports)
    const others = await steadyPing(a, '10.9.0.2')
    for (let i = 0; i < 5; i++) {
      await fabric.apply(checkConfigObject({ switches: { lan: { ports: { ...ports, c: again } } } }))
      expect(await lab.ping(a, '10.9.0.3', 1)).toBe(1)
      await fabric.apply(checkConfigObject({ switches: { lan: { aging: 300 + i, ports } } }))
    }
    expect(await others.lost()).toBe(0)
  })

  it('a reload that fails leaves everything as it was', async () => {
    const [a, b] = lab.spaces(2)
    const ports = { a: tap(a, 1), b: tap(b, 2) }
    const fabric = await open(ports)
    const bad = { ...ports, c: tap('no-such-nowhere', 3) }
    const next = checkConfigObject({ switches: { lan: { ports: bad }, other: { ports: {} } } })
    await expect(fabric.apply(next)).rejects.toThrow(/nowhere/)
    expect(fabric.ports().map((p) => p.name)).toEqual(['a', 'b'])
    expect([...fabric.inventory.switches.keys()]).toEqual(['lan'])
    expect(await lab.ping(a, '10.9.0.2', 2)).toBe(2)
  })

  it('the worker dies: a new one takes over with the tables and devices that were', async () => {
    const [a, b] = lab.spaces(2)
    const fabric = await open({ a: tap(a, 1), b: tap(b, 2) })
    expect(await lab.ping(a, '10.9.0.2', 2)).toBe(2)
    const learned = fabric.fdb().map((r) => r.mac)
    const restarted = new Promise((resolve) => fabric.once('worker-restarted', resolve))
    fabric.killWorker()
    await restarted
    expect(fabric.fdb().map((r) => r.mac)).toEqual(learned)
    expect(await lab.ping(a, '10.9.0.2', 3)).toBe(3)
    expect(fabric.status().workers).toEqual([{ state: 'running', restarts: 1 }])
  })

  it('a namespace that comes back is taken up again by a reload', async () => {
    const a = lab.add('back-a')
    const b = lab.add('back-b')
    const fabric = await open({ a: tap(a, 1), b: tap(b, 2) })
    const down = new Promise((resolve) => fabric.once('port-down', resolve))
    lab.remove(b)
    await down
    lab.add('back-b')
    await fabric.apply(fabric.config)
    expect(await lab.ping(a, '10.9.0.2', 3)).toBe(3)
  })
})
