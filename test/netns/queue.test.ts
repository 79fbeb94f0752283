/** QUEUE and NFQUEUE: functions of this process decide about real packets on their way through a router. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { type Fabric, openFabric, type QueuedPacket } from '../../src/index.ts'
import { Lab, lacking, PACED } from '../support/lab.ts'

const lab = new Lab()
const folder = mkdtempSync(join(tmpdir(), 'tl-queue-'))
let open: Fabric | null = null
const errors: string[] = []
const log = { info() {}, warn() {}, error: (_: object, text: string) => errors.push(text) }

afterEach(async () => {
  if (!open) return
  // What a function had when the test ended goes on first.
  await until(() => open!.status().totals.held === 0)
  const t = open.status().totals
  expect(t.in + t.made).toBe(t.out + t.dropped + t.held + t.consumed)
  await open.close()
  open = null
  errors.length = 0
})
afterAll(() => {
  lab.close()
  rmSync(folder, { recursive: true })
})

async function until(true_: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !true_(); i++) await new Promise((resolve) => setTimeout(resolve, 20))
  expect(true_()).toBe(true)
}

/** Two hosts, a router between them, and rules. */
async function router(
  rules: string,
  rules6 = '',
): Promise<{ fabric: Fabric; inside: string; outside: string }> {
  const [inside, outside] = lab.spaces(2, { ipv6: true })
  const file = join(folder, `${inside}.rules`)
  writeFileSync(file, rules)
  const file6 = join(folder, `${inside}.rules6`)
  writeFileSync(file6, rules6)
  const host = (netns: string, n: number) => ({
    name: 'eth0',
    netns,
    addresses: [`10.${n}.0.2/24`, `fd00:${n}::2/64`],
    gateway: [`10.${n}.0.1`, `fd00:${n}::1`],
  })
  open = await openFabric(
    {
      switches: {},
      routers: {
        edge: {
          interfaces: {
            lan: { tap: host(inside, 1), addresses: ['10.1.0.1/24', 'fd00:1::1/64'] },
            wan: { tap: host(outside, 2), addresses: ['10.2.0.1/24', 'fd00:2::1/64'] },
          },
          rules: file,
          ...(rules6 === '' ? {} : { rules6: file6 }),
        },
      },
    },
    { log },
  )
  return { fabric: open, inside, outside }
}

const ECHO = '-p icmp -m icmp --icmp-type 8'
const table = (...rules: string[]): string => `*filter\n${rules.join('\n')}\nCOMMIT\n`
const drops = (fabric: Fabric, reason: string): number =>
  fabric.drops().reduce((sum, row) => sum + (row.reason === reason ? row.packets : 0), 0)

describe.skipIf(lacking)(`queues${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('a function drops every second ping', async () => {
    const { fabric, inside } = await router(table(`-A FORWARD ${ECHO} -j NFQUEUE --queue-num 5`))
    const seen: QueuedPacket[] = []
    const queue = await fabric.queue('edge', 5, (packet) => {
      seen.push(packet)
      return seen.length % 2 === 1 ? 'accept' : 'drop'
    })
    expect(await lab.ping(inside, '10.2.0.2', 6)).toBe(3)
    expect(seen.length).toBe(6)
    expect(seen[0]).toMatchObject({ router: 'edge', queue: 5, hook: 'FORWARD', in: 'lan', out: 'wan' })
    expect([...seen[0].packet.subarray(12, 20)]).toEqual([10, 1, 0, 2, 10, 2, 0, 2])
    expect(queue.stats()).toEqual({ queued: 6, answered: 6, timedOut: 0, full: 0 })
    expect(drops(fabric, 'queue-verdict')).toBe(3)
  })

  it('a function changes the payload, and the other end sees the change with right checksums', async () => {
    const { fabric, inside, outside } = await router(
      table('-A FORWARD -i lan -p udp -j NFQUEUE --queue-num 0 --queue-bypass'),
    )
    await fabric.queue('edge', 0, async ({ packet }) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      // One byte more: lengths are put right, too.
      const text = Buffer.from(packet.subarray(28).toString().toUpperCase())
      return { verdict: 'accept', packet: Buffer.concat([packet.subarray(0, 28), text, Buffer.from('!')]) }
    })
    const script = `const s = require('dgram').createSocket('udp4')
      s.on('message', (m) => { console.log(String(m)); process.exit() }).bind(9000, () => console.log('up'))`
    const server = lab.start(outside, process.execPath, '-e', script)
    const said: string[] = []
    server.stdout?.on('data', (d) => said.push(String(d).trim()))
    await until(() => said.includes('up'))
    await lab.in(
      inside,
      process.execPath,
      '-e',
      `require('dgram').createSocket('udp4').send('hello', 9000, '10.2.0.2', () => process.exit())`,
    )
    await until(() => said.includes('HELLO!'))
  })

  it('marks with repeat; IPv6; INPUT and OUTPUT of the router itself', async () => {
    const { fabric, inside } = await router(
      table(
        `-A INPUT ${ECHO} -j NFQUEUE --queue-num 1`,
        '-A OUTPUT -p icmp -j NFQUEUE --queue-num 2',
        `-A FORWARD -m mark --mark 0x7 -j ACCEPT`,
        `-A FORWARD ${ECHO} -j NFQUEUE --queue-num 3`,
      ),
      table('-A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j NFQUEUE --queue-num 4'),
    )
    const hooks: string[] = []
    for (const number of [1, 2, 4]) {
      await fabric.queue('edge', number, ({ family, hook }) => {
        hooks.push(`${hook}${family}`)
        return 'accept'
      })
    }
    await fabric.queue('edge', 3, ({ mark }) => ({ verdict: 'repeat', mark: mark | 7 }))
    expect(await lab.ping(inside, '10.1.0.1', 2, ...PACED)).toBe(2)
    expect(hooks).toEqual(['INPUT4', 'OUTPUT4', 'INPUT4', 'OUTPUT4'])
    expect(await lab.ping(inside, '10.2.0.2', 2)).toBe(2)
    await until(() => true)
    expect(await lab.ping(inside, 'fd00:2::2', 2, '-6')).toBeGreaterThan(0)
    expect(hooks).toContain('FORWARD6')
    expect(fabric.rules().join('\n')).toMatch(/\[2:168\] -A FORWARD -m mark --mark 0x7 -j ACCEPT/)
  })

  it('no answer, no function, a function that throws: the verdict of the queue, by name', async () => {
    const { fabric, inside } = await router(
      table(
        `-A FORWARD ${ECHO} -m mark --mark 0/0 -s 10.1.0.2 -d 10.2.0.2 -m ttl --ttl-eq 63 -m length --length 84 -j NFQUEUE --queue-num 1`,
        `-A FORWARD ${ECHO} -m length --length 128 -j NFQUEUE --queue-num 2 --queue-bypass`,
        `-A FORWARD ${ECHO} -m length --length 228 -j NFQUEUE --queue-num 3`,
        `-A FORWARD ${ECHO} -m length --length 328 -j NFQUEUE --queue-num 4`,
        `-A FORWARD ${ECHO} -m length --length 428 -j NFQUEUE --queue-num 5`,
      ),
    )
    await fabric.queue('edge', 1, () => new Promise(() => {}), { timeoutMs: 100 })
    await fabric.queue('edge', 4, () => new Promise(() => {}), { timeoutMs: 100, verdict: 'accept' })
    const failing = () => {
      throw new Error('not today')
    }
    await fabric.queue('edge', 5, failing, { verdict: 'accept' })
    expect(await lab.ping(inside, '10.2.0.2', 2)).toBe(0)
    await until(() => drops(fabric, 'queue-timeout') === 2)
    expect(await lab.ping(inside, '10.2.0.2', 1, '-s', '100')).toBe(1)
    expect(await lab.ping(inside, '10.2.0.2', 1, '-s', '200')).toBe(0)
    expect(drops(fabric, 'queue-nobody')).toBe(1)
    expect(await lab.ping(inside, '10.2.0.2', 1, '-s', '300')).toBe(1)
    expect(await lab.ping(inside, '10.2.0.2', 1, '-s', '400')).toBe(1)
    expect(errors).toEqual(['the function of a queue failed'])
  })

  it('a worker that dies takes what it held with it; its successor asks the same functions', async () => {
    const { fabric, inside } = await router(table(`-A FORWARD ${ECHO} -j NFQUEUE --queue-num 5`))
    let hang = true
    const waiting: (() => void)[] = []
    const queue = await fabric.queue('edge', 5, () =>
      hang ? new Promise<'accept'>((resolve) => waiting.push(() => resolve('accept'))) : 'accept',
    )
    const pinged = lab.ping(inside, '10.2.0.2', 1)
    await until(() => waiting.length === 1)
    const restarted = new Promise((resolve) => fabric.once('worker-restarted', resolve))
    fabric.killWorker()
    await restarted
    hang = false
    waiting[0]()
    expect(await pinged).toBe(0)
    expect(drops(fabric, 'port-removed')).toBe(1)
    expect(await lab.ping(inside, '10.2.0.2', 2)).toBe(2)
    await queue.close()
    expect(queue.closed).toBe(true)
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(0)
    expect(drops(fabric, 'queue-nobody')).toBe(1)
  })

  it('a reload takes an interface, then the router away while packets wait', async () => {
    const { fabric, inside } = await router(table(`-A FORWARD ${ECHO} -j NFQUEUE --queue-num 5`))
    const queue = await fabric.queue('edge', 5, () => new Promise(() => {}), { timeoutMs: 30_000 })
    void lab.ping(inside, '10.2.0.2', 1)
    await until(() => fabric.status().totals.held === 1)
    const without = structuredClone(fabric.config)
    delete without.routers.edge.interfaces.wan
    without.routers.edge.routes = []
    await fabric.apply(without)
    expect([fabric.status().totals.held, drops(fabric, 'port-removed')]).toEqual([0, 1])
    const none = structuredClone(without)
    none.routers = {}
    await fabric.apply(none)
    expect(queue.closed).toBe(true)
    await queue.close()
    await expect(fabric.queue('edge', 5, () => 'accept')).rejects.toThrow('no router edge; there are none')
  })

  it('a stream of TCP through a function that looks at every super-frame', async () => {
    const { fabric, inside, outside } = await router(
      table('-A FORWARD -p tcp -j NFQUEUE --queue-balance 0:3'),
    )
    let bytes = 0
    for (const number of [0, 1, 2, 3]) {
      await fabric.queue(
        'edge',
        number,
        ({ packet, segmentSize }) => {
          bytes += packet.length
          return segmentSize > 0 ? { verdict: 'accept', packet } : 'accept'
        },
        { length: 256 },
      )
    }
    const size = 2_000_000
    const server = lab.start(
      outside,
      process.execPath,
      '-e',
      `let n = 0; require('net').createServer((s) => s.on('data', (d) => { n += d.length }).on('end', () => console.log(n)))
        .listen(9000, () => console.log('up'))`,
    )
    const said: string[] = []
    server.stdout?.on('data', (d) => said.push(String(d).trim()))
    await until(() => said.includes('up'))
    await lab.in(
      inside,
      process.execPath,
      '-e',
      `require('net').connect(9000, '10.2.0.2').end(Buffer.alloc(${size}, 7))`,
    )
    await until(() => said.includes(String(size)))
    expect(bytes).toBeGreaterThan(size)
  })
})
