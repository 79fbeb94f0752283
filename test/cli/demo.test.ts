/** `taploom demo --once`, with namespaces of its own. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostsOf, pairsOf, subnetOf } from '../../src/cli/demo-hosts.ts'
import { parseConfig } from '../../src/config/load.ts'
import { Running } from '../support/cli.ts'

const tag = `tl-demo${process.pid}`
const lab = (vlan = '') => `
namespaces: [${tag}-a, ${tag}-b]
switches:
  lan:
    ports:
      a: { tap: { name: eth0, netns: ${tag}-a, addresses: [10.10.0.2/24, 'fd00:10::2/64'] } }
      b: { tap: { name: eth0, netns: ${tag}-b, addresses: [10.10.0.3/24, 'fd00:10::3/64'] }${vlan} }
`
const pairs = (text: string) => pairsOf(hostsOf(parseConfig(text, 'lab.yaml'))).map((p) => p.address)

describe('who pings whom', () => {
  it('is every host every other, by each address of the target', () => {
    expect(pairs(lab())).toEqual(['10.10.0.3', 'fd00:10::3', '10.10.0.2', 'fd00:10::2'])
  })

  it('is nobody across VLANs or subnets', () => {
    expect(pairs(lab(', vlan: { access: 10 }'))).toEqual([])
    expect(pairs(lab().replace('10.10.0.3/24', '10.10.1.3/24'))).toEqual(['fd00:10::3', 'fd00:10::2'])
  })

  it.each([
    ['10.0.0.1/24', '10.0.0.200/24', true],
    ['10.0.0.1/25', '10.0.0.200/25', false],
    ['10.0.0.1/24', '10.0.0.2/16', false],
    ['fd00::1/64', 'fd00:0:0:0:5::2/64', true],
    ['fd00::1/64', 'fd00:0:0:1::1/64', false],
    ['::1/128', '::2/128', false],
  ])('%s and %s share a subnet: %s', (a, b, same) => {
    expect(subnetOf(a).subnet === subnetOf(b).subnet).toBe(same)
  })
})

const root = process.getuid?.() === 0
describe.skipIf(!root)(`the demo itself${root ? '' : ' (skipped: needs root)'}`, () => {
  let directory: string
  let demo: Running

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tl-demo-'))
    writeFileSync(join(directory, 'lab.yaml'), lab())
  })
  afterEach(async () => {
    await demo.kill()
    rmSync(directory, { recursive: true, force: true })
  })
  const start = (...argv: string[]) => {
    const socket = join(directory, 'control.sock')
    demo = new Running('demo', '--file', join(directory, 'lab.yaml'), '--socket', socket, ...argv)
  }
  const gone = () => !existsSync(`/run/netns/${tag}-a`) && !existsSync(`/run/netns/${tag}-b`)

  it('proves the lab, shows the tables, and cleans up', { timeout: 60_000 }, async () => {
    start('--once')
    expect(await demo.exit).toBe(0)
    for (const word of ['ready', 'fd00:10::3', 'Gb/s', 'show ports', 'show fdb', 'show counters']) {
      expect(demo.stdout).toContain(word)
    }
    expect(demo.stdout).not.toContain('answered')
    expect(demo.stderr).toBe('')
    expect(gone()).toBe(true)
  })

  it('goes on until Ctrl-C', { timeout: 60_000 }, async () => {
    start()
    await demo.says('Ctrl-C ends it')
    expect(gone()).toBe(false)
    expect(await demo.end('SIGINT')).toBe(0)
    expect(gone()).toBe(true)
  })

  it('ends in the middle of the proof', { timeout: 60_000 }, async () => {
    start()
    await demo.says('ready')
    expect(await demo.end('SIGINT')).toBe(0)
    expect(demo.stdout).not.toContain('failed')
    expect(gone()).toBe(true)
  })
})
