/**
 * The rules that Docker writes, loaded as they are: containers are namespaces here, bridges are switches
 * with an interface of the router on them.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type Fabric, openFabric } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
const folder = mkdtempSync(join(tmpdir(), 'tl-docker-'))
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  lab.close()
  rmSync(folder, { recursive: true })
})

const fixture = (name: string) => readFileSync(new URL(`../filter/fixtures/${name}`, import.meta.url), 'utf8')
/** The other network's bridge, as a rule set names it. */
const bridgeOf = (rules: string) => /br-[0-9a-f]{12}/.exec(rules)![0]

interface Containers {
  fabric: Fabric
  /** Two on docker0, one on the other network, and a machine outside. */
  web: string
  peer: string
  stranger: string
  outside: string
}

async function containers(rules: string): Promise<Containers> {
  const [web, peer, stranger, outside] = lab.spaces(4)
  const file = join(folder, `${web}.rules`)
  writeFileSync(file, rules)
  const on = (netns: string, address: string) => ({
    tap: { name: 'eth0', netns, addresses: [`${address}/16`], gateway: address.replace(/\.\d+$/, '.1') },
  })
  const fabric = await openFabric({
    switches: {
      docker0: { ports: { web: on(web, '172.17.0.2'), peer: on(peer, '172.17.0.3') } },
      other: { ports: { stranger: on(stranger, '172.18.0.2') } },
    },
    routers: {
      host: {
        interfaces: {
          docker0: { switch: 'docker0', addresses: ['172.17.0.1/16'] },
          [bridgeOf(rules)]: { switch: 'other', addresses: ['172.18.0.1/16'] },
          eth0: {
            tap: { name: 'eth0', netns: outside, addresses: ['192.0.2.2/24'] },
            addresses: ['192.0.2.1/24'],
          },
        },
        rules: file,
      },
    },
  })
  fabrics.push(fabric)
  await serve(web, 80)
  return { fabric, web, peer, stranger, outside }
}

/** Answers every TCP connection with the address it came from. */
async function serve(netns: string, port: number): Promise<void> {
  const script = `require('net').createServer((s) => s.end(s.remoteAddress)).listen(${port}, () => console.log('up'))`
  const child = lab.start(netns, process.execPath, '-e', script)
  await new Promise((resolve) => child.stdout?.once('data', resolve))
}

async function ask(netns: string, address: string, port: number): Promise<string> {
  const script = `const s = require('net').connect(${port}, '${address}');
    s.setTimeout(1500, () => { console.log('timeout'); process.exit() });
    s.on('data', (d) => console.log(String(d))); s.on('error', (e) => console.log(e.code))`
  return (await lab.in(netns, process.execPath, '-e', script)).stdout.trim()
}

// Up to 27, what comes from a bridge is left to the proxy process on the host, which is not here.
const FROM_BRIDGE = { 'docker-20.rules': /ECONNREFUSED/, 'docker-28.rules': /172\.17\.0\.1$/ }

describe.skipIf(lacking).each(Object.entries(FROM_BRIDGE))(
  `%s, unchanged${lacking ? ` (skipped: ${lacking})` : ''}`,
  (name, fromBridge) => {
    it('gives the behaviour that Docker means', { timeout: 40_000 }, async () => {
      const { fabric, web, peer, stranger, outside } = await containers(fixture(name))
      // The same network talks, different ones do not.
      expect(await lab.ping(peer, '172.17.0.2', 2)).toBe(2)
      expect(await lab.ping(stranger, '172.17.0.2', 1)).toBe(0)
      expect(await lab.ping(peer, '172.18.0.2', 1)).toBe(0)
      // Published: from outside, where the client keeps its address, and from another network by our address.
      expect(await ask(outside, '192.0.2.1', 8080)).toMatch(/192\.0\.2\.2$/)
      expect(await ask(stranger, '192.0.2.1', 8080)).toMatch(fromBridge)
      expect(await ask(stranger, '172.17.0.2', 80)).toBe('timeout')
      // Out by masquerade.
      await serve(outside, 8000)
      expect(await ask(web, '192.0.2.2', 8000)).toMatch(/192\.0\.2\.1$/)
      expect(fabric.rules().some((line) => /\[[1-9]\d*:\d+\] -A POSTROUTING .*MASQUERADE/.test(line))).toBe(
        true,
      )
    })
  },
)

describe.skipIf(lacking)('DOCKER-USER', () => {
  it('an ACCEPT that is put there opens the way between networks', async () => {
    const rules = fixture('docker-20.rules').replace(
      /(-A DOCKER-USER -j RETURN)/,
      '-A DOCKER-USER -s 172.18.0.0/16 -d 172.17.0.0/16 -j ACCEPT\n-A DOCKER-USER -s 172.17.0.0/16 -d 172.18.0.0/16 -j ACCEPT\n$1',
    )
    const { stranger } = await containers(rules.replaceAll('[0:0] -A DOCKER-USER -s', '-A DOCKER-USER -s'))
    expect(await lab.ping(stranger, '172.17.0.2', 2)).toBe(2)
  })
})
