/** What rules stand on, with real packets: sets, NFLOG files, and connections that an operator ends. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { setsText } from '../../src/control/show/render-router.ts'
import { checkConfigObject, type Fabric, openFabric } from '../../src/index.ts'
import { has, Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
const folder = mkdtempSync(join(tmpdir(), 'tl-filter-'))
const open: Fabric[] = []
afterEach(async () => {
  for (const fabric of open.splice(0)) await fabric.close()
})
afterAll(() => {
  lab.close()
  rmSync(folder, { recursive: true })
})

async function until(true_: () => boolean): Promise<void> {
  for (let i = 0; i < 150 && !true_(); i++) await new Promise((resolve) => setTimeout(resolve, 20))
  expect(true_()).toBe(true)
}

interface Site {
  fabric: Fabric
  inside: string
  outside: string
  lines: string[]
  /** Reloads with other keys of the router. */
  change(more: object): Promise<string[]>
}

let count = 0
function rules(text: string): string {
  const file = join(folder, `${count++}.rules`)
  writeFileSync(file, text)
  return file
}

async function site(more: object): Promise<Site> {
  const [inside, outside] = lab.spaces(2)
  const config = (keys: object) => ({
    switches: {},
    routers: {
      edge: {
        interfaces: {
          lan: {
            tap: { name: 'eth0', netns: inside, addresses: ['10.1.0.2/24'], gateway: '10.1.0.1' },
            addresses: ['10.1.0.1/24'],
          },
          wan: {
            tap: {
              name: 'eth0',
              netns: outside,
              addresses: ['10.2.0.2/24', '10.2.0.3/24'],
              gateway: '10.2.0.1',
            },
            addresses: ['10.2.0.1/24'],
          },
        },
        ...keys,
      },
    },
  })
  const lines: string[] = []
  const log = { info: (_: object, text: string) => lines.push(text), warn() {}, error() {} }
  const fabric = await openFabric(config(more), { log })
  open.push(fabric)
  const change = (keys: object): Promise<string[]> => fabric.apply(checkConfigObject(config(keys)))
  return { fabric, inside, outside, lines, change }
}

describe.skipIf(lacking)(`sets${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  const drop = '*filter\n-A FORWARD -m set --match-set blocked dst -j DROP\nCOMMIT\n'

  it('a reload changes what is blocked, at once; a mistake leaves the old sets in force', async () => {
    const file = rules(drop)
    const { change, fabric, inside } = await site({ rules: file, sets: { blocked: ['10.2.0.2'] } })
    expect(await lab.ping(inside, '10.2.0.3', 1)).toBe(1)
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(0)
    expect(await change({ rules: file, sets: { blocked: ['10.2.0.3/32'] } })).toEqual([
      'router edge: rules changed',
    ])
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
    expect(await lab.ping(inside, '10.2.0.3', 1)).toBe(0)
    expect(() => change({ rules: file, sets: { blocked: ['10.2.0.300'] } })).toThrow("'10.2.0.300'")
    expect(await lab.ping(inside, '10.2.0.3', 1)).toBe(0)
    expect(fabric.sets()[0].elements.map((e) => e.element)).toEqual(['10.2.0.3'])
  })

  it('a file of ipset save: timeouts run out, counters count, and both go on across a reload', async () => {
    const ipset = join(folder, 'a.ipset')
    writeFileSync(
      ipset,
      'create blocked hash:ip family inet hashsize 1024 maxelem 65536 timeout 0 counters\nadd blocked 10.2.0.2 timeout 3\nadd blocked 10.2.0.3\n',
    )
    const file = rules(drop)
    const { change, fabric, inside } = await site({ rules: file, setFiles: ipset })
    expect(await lab.ping(inside, '10.2.0.2', 1, '-W', '1')).toBe(0)
    expect(await lab.ping(inside, '10.2.0.3', 1, '-W', '1')).toBe(0)
    await change({ rules: file, setFiles: ipset, sets: { another: ['192.0.2.0/24'] } })
    const row = fabric.sets().find((r) => r.name === 'blocked')!
    expect(row.elements.map((e) => [e.element, e.packets, e.bytes])).toContainEqual(['10.2.0.3', 1, 84])
    const text = setsText(fabric.sets('edge'))
    expect(text).toMatch(/^# router edge\ncreate another hash:net family inet hashsize 1024 maxelem 65536\n/)
    expect(text).toMatch(/\nadd blocked 10\.2\.0\.3 timeout 0 packets 1 bytes 84$/)
    await until(() => fabric.sets().find((r) => r.name === 'blocked')!.elements.length === 1)
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
  })
})

describe.skipIf(lacking)('NFLOG', () => {
  it('a group that has a file: tshark reads times, interfaces and the prefix', async (context) => {
    if (!has('tshark')) context.skip('needs tshark')
    const path = join(folder, 'x.pcapng')
    const file = rules(
      '*filter\n-A FORWARD -i lan -p icmp -j NFLOG --nflog-group 5 --nflog-prefix "echo: " --nflog-size 40\n-A FORWARD -i wan -p icmp -j NFLOG --nflog-group 6 --nflog-prefix "back: "\n-A OUTPUT -p icmp -j NFLOG --nflog-group 5\nCOMMIT\n',
    )
    const keys = { rules: file, nflog: { 5: { file: path } } }
    const { change, inside, lines } = await site(keys)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const before = Date.now() / 1000
    expect(await lab.ping(inside, '10.2.0.2', 2)).toBe(2)
    expect(await lab.ping(inside, '10.1.0.1', 1)).toBe(1)
    await until(() => statSync(path).size > 440 && lines.length >= 2)
    // Another line for the same rules, and the same file after a reload.
    await change({ ...keys, sets: { a: ['10.0.0.0/8'] } })
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
    await open.splice(0)[0].close()
    const fields = [
      'frame.time_epoch',
      'frame.interface_name',
      'frame.comment',
      'frame.len',
      'frame.cap_len',
      'icmp.type',
      'ip.src',
    ]
    const told = execFileSync('tshark', ['-r', path, '-T', 'fields', ...fields.flatMap((f) => ['-e', f])], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'))
    expect(told.map(([, ...rest]) => rest)).toEqual([
      ['lan', 'echo: ', '98', '54', '8', '10.1.0.2'],
      ['lan', 'echo: ', '98', '54', '8', '10.1.0.2'],
      ['lan', '', '98', '98', '0', '10.1.0.1'],
      ['lan', 'echo: ', '98', '54', '8', '10.1.0.2'],
    ])
    for (const [time] of told) {
      expect(time).toMatch(/^\d+\.\d{9}$/)
      expect(Math.abs(Number(time) - before)).toBeLessThan(60)
    }
    expect(lines[0]).toMatch(
      /^back: IN=wan OUT=lan MAC=\S+ SRC=10\.2\.0\.2 DST=10\.1\.0\.2 LEN=84 .*PROTO=ICMP TYPE=0/,
    )
  })

  it('a file that is something else is refused, and nothing changes', async () => {
    const path = join(folder, 'notes.txt')
    writeFileSync(path, 'do not touch\n')
    const { change, fabric, inside } = await site({})
    await expect(change({ nflog: { 5: { file: path } } })).rejects.toThrow(
      `cannot write the NFLOG file: ${path} is there and no pcapng file`,
    )
    expect(fabric.config.routers.edge.nflog).toEqual([])
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
  })

  it('what was logged last is told when the router goes, in order', async () => {
    const file = rules(
      '*filter\n-A FORWARD -i lan -p icmp -j LOG --log-prefix "there: "\n-A FORWARD -i wan -p icmp -j NFLOG --nflog-prefix "back: "\nCOMMIT\n',
    )
    const { inside, lines } = await site({ rules: file })
    lines.length = 0
    const ping = lab.ping(inside, '10.2.0.2', 12, '-i', '0.02')
    expect(await ping).toBe(12)
    await open.splice(0)[0].close()
    const ids = lines.flatMap((line) => /^(there|back): .*SEQ=(\d+)/.exec(line)?.slice(1, 3).join(' ') ?? [])
    const all = Array.from({ length: 12 }, (_, i) => String(i + 1))
    expect(ids.filter((id) => id.startsWith('there'))).toEqual(all.map((n) => `there ${n}`))
    expect(ids.filter((id) => id.startsWith('back'))).toEqual(all.map((n) => `back ${n}`))
  })

  it('TRACE makes the lines of the kernel', async () => {
    const file = rules(
      '*raw\n-A PREROUTING -i lan -p icmp -j TRACE\nCOMMIT\n*filter\n-A FORWARD -p tcp -j DROP\n-A FORWARD -p icmp -j ACCEPT\nCOMMIT\n',
    )
    const { inside, lines } = await site({ rules: file })
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
    await until(() => lines.length >= 2)
    // Not of the rule that begins it, as in the kernel.
    expect(lines.map((line) => line.split(' ').slice(0, 4).join(' '))).toEqual([
      'TRACE: raw:PREROUTING:policy:2 IN=lan OUT=',
      'TRACE: filter:FORWARD:rule:2 IN=lan OUT=wan',
    ])
  })
})

describe.skipIf(lacking)('connections', () => {
  it('are listed by filter; deleting one ends its NAT, and nothing of it is left', async () => {
    const { fabric, inside, outside } = await site({
      nat: [{ masquerade: { from: '10.1.0.0/24', out: 'wan' } }],
    })
    lab.ip(outside, 'route del default')
    const server = `let n = 0; require('dgram').createSocket('udp4').on('message', function (m, from) {
      console.log(from.port); this.send('x', from.port, from.address) }).bind(9000, () => console.log('up'))`
    const listening = lab.start(outside, process.execPath, '-e', server)
    const said: string[] = []
    listening.stdout?.on('data', (d) => said.push(...String(d).trim().split('\n')))
    await until(() => said.includes('up'))
    const client = `const s = require('dgram').createSocket('udp4').bind(5000, () => {
      s.send('a', 9000, '10.2.0.2'); s.on('message', () => process.exit()) })`
    await lab.in(inside, process.execPath, '-e', client)
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
    const udp = { proto: 'udp', dport: 9000 }
    expect(fabric.conntrack(udp).map((c) => c.reply.dst)).toEqual(['10.2.0.1'])
    expect(fabric.conntrack({ src: '10.1.0.0/24', srcNat: true }).length).toBe(2)
    expect(fabric.conntrack({ family: 'ipv6' })).toEqual([])
    expect(() => fabric.conntrack({ state: 'OPEN' })).toThrow(
      "unknown state 'OPEN'; supported: NONE, SYN_SENT",
    )
    expect(() => fabric.conntrack({ router: 'egde' })).toThrow('no router egde; there are edge')
    expect(await fabric.deleteConntrack(udp)).toBe(1)
    expect(await fabric.deleteConntrack(udp)).toBe(0)
    expect(() => fabric.deleteConntrack({})).toThrow('say which connections')
    // What the outside still says to the port leads nowhere.
    const late = `require('dgram').createSocket('udp4').bind(9001, function () {
      this.send('late', ${said[1]}, '10.2.0.1', () => process.exit()) })`
    const heard = lab.start(
      inside,
      process.execPath,
      '-e',
      `require('dgram').createSocket('udp4').on('message', () => console.log('heard')).bind(5000, () => console.log('up'))`,
    )
    const inner: string[] = []
    heard.stdout?.on('data', (d) => inner.push(String(d).trim()))
    await until(() => inner.includes('up'))
    await lab.in(outside, process.execPath, '-e', late)
    expect(fabric.conntrack({ srcNat: true }).map((c) => c.protocolName)).toEqual(['icmp'])
    // The other is the late packet, to the router itself.
    expect(await fabric.flushConntrack('edge')).toBe(2)
    expect(fabric.conntrack()).toEqual([])
    expect(inner).toEqual(['up'])
  })

  it('limits and timeouts are those of the configuration, and change with it', async () => {
    const nat = [{ masquerade: { from: '10.1.0.0/24', out: 'wan' } }]
    const { change, fabric, inside } = await site({
      nat,
      conntrack: { max: 100, perSource: 2, timeouts: { nf_conntrack_icmp_timeout: 500 } },
    })
    for (let i = 0; i < 3; i++) await lab.ping(inside, '10.2.0.2', 1, '-W', '1')
    expect(fabric.conntrack().length).toBe(2)
    expect(fabric.conntrack().every((c) => c.timeoutS > 400)).toBe(true)
    expect(fabric.drops().some((d) => d.reason === 'conntrack-source' && d.packets === 1)).toBe(true)
    await change({ nat, conntrack: { perSource: 3, timeouts: { nf_conntrack_icmp_timeout: 7 } } })
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
    expect(fabric.conntrack().some((c) => c.timeoutS <= 7)).toBe(true)
    await expect(change({ nat, conntrack: { max: 2_000_000 } })).rejects.toThrow(
      'conntrack.max 2000000 needs a larger table; it can grow only by a restart',
    )
  })

  it('profile rfc: who may speak to a mapping, and what keeps it alive, are keys', async () => {
    const base = { nat: [{ masquerade: { from: '10.1.0.0/24', out: 'wan' } }], profile: 'rfc' }
    const { change, fabric, inside, outside } = await site(base)
    const send = (netns: string, from: string, port: number, to: string, dport: number) =>
      lab.in(
        netns,
        process.execPath,
        '-e',
        `require('dgram').createSocket('udp4').bind(${port}, '${from}', function () {
          this.send('x', ${dport}, '${to}', () => process.exit()) })`,
      )
    // Inside port 5000 has spoken to 10.2.0.2:9000. Who may answer?
    const admitted = async (): Promise<boolean[]> => {
      await fabric.flushConntrack('edge')
      await send(inside, '10.1.0.2', 5000, '10.2.0.2', 9000)
      const found: boolean[] = []
      for (const [from, port] of [
        ['10.2.0.2', 9000],
        ['10.2.0.2', 9001],
        ['10.2.0.3', 9000],
      ] as const) {
        const refused = () =>
          fabric.drops().reduce((n, d) => n + (d.reason === 'nat-filtered' ? d.packets : 0), 0)
        const before = refused()
        const passed = () => {
          const answer = from === '10.2.0.2' && port === 9000
          return fabric
            .conntrack({ proto: 'udp' })
            .some(({ original: o, reply }) =>
              answer ? reply.packets > 0 : o.src === from && o.sport === port,
            )
        }
        await send(outside, from, port, '10.2.0.1', 5000)
        await until(() => passed() || refused() > before)
        found.push(refused() === before)
      }
      return found
    }
    const filtering = (value: string) => change({ ...base, conntrack: { filtering: value } })
    expect(await admitted()).toEqual([true, true, true])
    await filtering('address-dependent')
    expect(await admitted()).toEqual([true, true, false])
    await filtering('address-and-port-dependent')
    expect(await admitted()).toEqual([true, false, false])

    const left = async (inboundRefresh?: boolean): Promise<number> => {
      const timeouts = { nf_conntrack_udp_timeout: 100, nf_conntrack_udp_timeout_stream: 100 }
      await change({
        ...base,
        conntrack: { timeouts, ...(inboundRefresh !== undefined && { inboundRefresh }) },
      })
      await fabric.flushConntrack('edge')
      await send(inside, '10.1.0.2', 5000, '10.2.0.2', 9000)
      await send(outside, '10.2.0.2', 9000, '10.2.0.1', 5000)
      await change({
        ...base,
        conntrack: { timeouts: {}, ...(inboundRefresh !== undefined && { inboundRefresh }) },
      })
      // By now the profile's 300 s would count.
      await send(outside, '10.2.0.2', 9000, '10.2.0.1', 5000)
      const flow = () => fabric.conntrack({ proto: 'udp', dport: 9000 })[0]
      await until(() => flow().reply.packets === 2)
      return flow().timeoutS
    }
    expect(await left()).toBeLessThanOrEqual(100)
    expect(await left(true)).toBeGreaterThan(100)
    expect(await left(false)).toBeLessThanOrEqual(100)
  })

  it('profile rfc: who is refused for want of room is told (RFC 5508 REQ-8)', async () => {
    const { inside } = await site({
      nat: [{ masquerade: { from: '10.1.0.0/24', out: 'wan' } }],
      profile: 'rfc',
      conntrack: { perSource: 1 },
    })
    expect(await lab.ping(inside, '10.2.0.2', 1)).toBe(1)
    const { stdout } = await lab.in(inside, 'ping', '-n', '-c', '1', '-W', '1', '10.2.0.2')
    expect(stdout).toMatch(/From 10\.1\.0\.1 icmp_seq=1 Packet filtered/)
  })
})
