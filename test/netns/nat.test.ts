/** NAT and filter rules between namespaces: what the kernel's own stacks see of a router of ours. */
import { afterAll, describe, expect, it } from 'vitest'
import { checkConfigObject, type Fabric, openFabric } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  lab.close()
})

/** An inside network, an outside host that knows no way back, and the router between. */
async function edge(
  more: object,
): Promise<{ fabric: Fabric; inside: string; other: string; outside: string }> {
  const [inside, other, outside] = lab.spaces(3)
  const host = (netns: string, n: number) => ({
    tap: { name: 'eth0', netns, addresses: [`10.10.0.${n}/24`], gateway: '10.10.0.1' },
  })
  const fabric = await openFabric({
    switches: { lan: { ports: { one: host(inside, 2), two: host(other, 3) } } },
    routers: {
      edge: {
        interfaces: {
          lan: { switch: 'lan', addresses: ['10.10.0.1/24'] },
          wan: {
            tap: { name: 'eth0', netns: outside, addresses: ['203.0.113.2/24'] },
            addresses: ['203.0.113.1/24'],
          },
        },
        ...more,
      },
    },
  })
  fabrics.push(fabric)
  return { fabric, inside, other, outside }
}

/** Serves one line over TCP in a namespace: the address it was asked from. */
async function whoAsks(netns: string, port: number): Promise<void> {
  const script = `require('net').createServer((s) => s.end(s.remoteAddress)).listen(${port}, () => console.log('up'))`
  const child = lab.start(netns, process.execPath, '-e', script)
  await new Promise((resolve) => child.stdout?.once('data', resolve))
}

async function ask(netns: string, address: string, port: number): Promise<string> {
  const script = `const s = require('net').connect(${port}, '${address}');
    s.setTimeout(2000, () => { console.log('timeout'); process.exit() });
    s.on('data', (d) => console.log(String(d))); s.on('error', (e) => console.log(e.code))`
  return (await lab.in(netns, process.execPath, '-e', script)).stdout.trim()
}

describe.skipIf(lacking)(`NAT${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('masquerade: the outside sees the router, and answers find the way back', async () => {
    const { fabric, inside, outside } = await edge({
      nat: [{ masquerade: { from: '10.10.0.0/24', out: 'wan' } }],
    })
    await whoAsks(outside, 8000)
    expect(await lab.ping(inside, '203.0.113.2', 3)).toBe(3)
    expect(await ask(inside, '203.0.113.2', 8000)).toMatch(/203\.0\.113\.1$/)
    expect(fabric.conntrack().some((c) => c.protocolName === 'tcp' && c.original.dport === 8000)).toBe(true)
    expect(fabric.rules().join('\n')).toMatch(
      /\[\d+:\d+\] -A POSTROUTING -s 10\.10\.0\.0\/24 -o wan -j MASQUERADE/,
    )
    const t = fabric.status().totals
    expect(t.in + t.made).toBe(t.out + t.dropped + t.held + t.consumed)
  })

  it('publish: reached from outside, by hairpin from inside, and the client keeps its address', async () => {
    const { inside, other, outside } = await edge({
      nat: [{ publish: { proto: 'tcp', listen: '203.0.113.1:8080', to: '10.10.0.2:80' } }],
    })
    await whoAsks(inside, 80)
    expect(await ask(outside, '203.0.113.1', 8080)).toMatch(/203\.0\.113\.2$/)
    expect(await ask(other, '203.0.113.1', 8080)).toMatch(/10\.10\.0\.1$/)
    expect(await ask(outside, '203.0.113.1', 8081)).toBe('ECONNREFUSED')
  })

  it('rules from a file: stateful, with a reject, and counted', async () => {
    const { mkdtempSync, writeFileSync, rmSync } = await import('node:fs')
    const { join } = await import('node:path')
    const { tmpdir } = await import('node:os')
    const folder = mkdtempSync(join(tmpdir(), 'tl-rules-'))
    const file = join(folder, 'edge.rules')
    writeFileSync(
      file,
      `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i lan -o wan -p tcp -m tcp --dport 8000 -j ACCEPT
-A FORWARD -i lan -o wan -p tcp -m tcp --dport 8001 -j REJECT --reject-with tcp-reset
-A FORWARD -i lan -p icmp -j REJECT --reject-with icmp-admin-prohibited
COMMIT
`,
    )
    try {
      const { fabric, inside, outside } = await edge({ rules: file })
      lab.ip(outside, 'route add 10.10.0.0/24 via 203.0.113.1')
      await whoAsks(outside, 8000)
      await whoAsks(outside, 8001)
      expect(await ask(inside, '203.0.113.2', 8000)).toMatch(/10\.10\.0\.2$/)
      expect(await ask(inside, '203.0.113.2', 8001)).toBe('ECONNREFUSED')
      expect(await ask(inside, '203.0.113.2', 8002)).toBe('timeout')
      const { stdout } = await lab.in(inside, 'ping', '-n', '-c', '1', '-W', '1', '203.0.113.2')
      expect(stdout).toMatch(/Packet filtered/)
      const lines = fabric.rules().join('\n')
      expect(lines).toMatch(/\[[1-9]\d*:\d+\] -A FORWARD -i lan -p icmp/)
      expect(fabric.drops().find((d) => d.reason === 'filter' && d.packets > 0)).toBeDefined()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('a reload that fails, for a rule or for something else, leaves the old rules and their counters', async () => {
    const { mkdtempSync, rmSync, writeFileSync } = await import('node:fs')
    const { join } = await import('node:path')
    const { tmpdir } = await import('node:os')
    const folder = mkdtempSync(join(tmpdir(), 'tl-reload-'))
    const file = join(folder, 'edge.rules')
    const refusing = '*filter\n-A INPUT -p icmp -j REJECT --reject-with icmp-admin-prohibited\nCOMMIT\n'
    const [inside] = lab.spaces(1)
    const config = (more: object) => ({
      switches: {
        lan: {
          ports: { one: { tap: { name: 'eth0', netns: inside, addresses: ['10.10.0.2/24'] } }, ...more },
        },
      },
      routers: { edge: { interfaces: { lan: { switch: 'lan', addresses: ['10.10.0.1/24'] } }, rules: file } },
    })
    const refused = async () =>
      (await lab.in(inside, 'ping', '-n', '-c', '1', '-W', '1', '10.10.0.1')).stdout.includes(
        'Packet filtered',
      )
    try {
      writeFileSync(file, refusing)
      const fabric = await openFabric(config({}))
      fabrics.push(fabric)
      expect(await refused()).toBe(true)
      const before = fabric.rules().join('\n')
      expect(before).toMatch(/\[1:84\] -A INPUT/)
      // Rules with a mistake: the configuration is refused.
      writeFileSync(file, '*filter\n-A INPUT -j ACCEPT\n-A INPUT -j NOWHERE\nCOMMIT\n')
      expect(() => checkConfigObject(config({}))).toThrow(/NOWHERE/)
      // Good rules, and a device that cannot be had: nothing of it is done.
      writeFileSync(file, '*filter\n-A INPUT -j ACCEPT\nCOMMIT\n')
      const next = checkConfigObject(config({ two: { tap: { name: 'eth1', netns: 'no-such-nowhere' } } }))
      await expect(fabric.apply(next)).rejects.toThrow(/nowhere/)
      expect(fabric.rules().join('\n')).toBe(before)
      expect(await refused()).toBe(true)
      await fabric.apply(checkConfigObject(config({})))
      expect(await refused()).toBe(false)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe.skipIf(lacking)('LOG', () => {
  it('a rule that logs makes a line of the log, as the kernel writes it', async () => {
    const { mkdtempSync, rmSync, writeFileSync } = await import('node:fs')
    const { join } = await import('node:path')
    const { tmpdir } = await import('node:os')
    const folder = mkdtempSync(join(tmpdir(), 'tl-rules-'))
    writeFileSync(
      join(folder, 'log.rules'),
      '*filter\n-A INPUT -p icmp -j LOG --log-prefix "ping: "\nCOMMIT\n',
    )
    const lines: string[] = []
    const [inside] = lab.spaces(1)
    const log = { info: (_: object, text: string) => lines.push(text), warn() {}, error() {} }
    const fabric = await openFabric(
      {
        switches: {
          lan: { ports: { one: { tap: { name: 'eth0', netns: inside, addresses: ['10.10.0.2/24'] } } } },
        },
        routers: {
          edge: {
            interfaces: { lan: { switch: 'lan', addresses: ['10.10.0.1/24'] } },
            rules: join(folder, 'log.rules'),
          },
        },
      },
      { log },
    )
    fabrics.push(fabric)
    rmSync(folder, { recursive: true })
    expect(await lab.ping(inside, '10.10.0.1', 1)).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 1200))
    expect(lines.join('\n')).toMatch(/ping: IN=lan .*SRC=10\.10\.0\.2 DST=10\.10\.0\.1 .*PROTO=ICMP/)
  })
})
