/** What the machine must have. Namespaces of our own when we are root; else those tests are skipped. */
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/error.ts'
import { parseConfig } from '../../src/config/load.ts'
import { checkSystem, systemProblems } from '../../src/config/system.ts'

const dir = mkdtempSync(join(tmpdir(), 'tl-system-'))
const file = join(dir, 'lab.yaml')
const config = (body: string, top = '') =>
  parseConfig(`${top}\nswitches:\n  lan:\n    ports:\n      a: { ${body} }\n`, file)
/** Found, expected and place of each problem. */
const told = (body: string, top?: string) =>
  systemProblems(config(body, top)).map(
    (p) =>
      `${p.line}:${p.column} ${p.path.slice(19)}: ${p.found}; ${p.expected}${p.hint ? ` (${p.hint})` : ''}`,
  )

afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('without looking into other namespaces', () => {
  it('a namespace must exist', () => {
    expect(told('tap: { name: tl-x, netns: tl-no-such }')).toEqual([
      "5:38 a.tap.netns: 'tl-no-such'; a network namespace that exists, or that `namespaces` lists (there is no /run/netns/tl-no-such)",
    ])
    expect(told('tap: { name: tl-x, netns: /tl/no/such }')).toEqual([
      "5:38 a.tap.netns: '/tl/no/such', which does not exist; a network namespace that exists",
    ])
    expect(told('packet: { name: tl-x, netns: 4194304 }')).toEqual([
      '5:41 a.packet.netns: pid 4194304, which does not run; a network namespace that exists',
    ])
  })

  it('a namespace that will be made is new and empty', () => {
    const top = 'namespaces: [tl-no-such]'
    expect(told('tap: { name: lo2, netns: tl-no-such }', top)).toEqual([])
    expect(told('packet: { name: eth0, netns: tl-no-such }', top)).toEqual([
      "5:28 a.packet.name: 'eth0' in namespace tl-no-such, which will be new and empty; a device that exists",
    ])
  })

  it('a device that exists is in the way, unless it may persist or is ours', () => {
    const taken =
      "5:26 a.host.name: 'lo' in the own namespace; a name that is free (such a device exists already)"
    expect(told('host: { name: lo }')).toEqual([taken])
    expect(told('tap: { name: lo, persist: true }')).toEqual([])
    expect(told('packet: { name: lo }')).toEqual([])
    expect(told('packet: { name: tl-no-such }')).toEqual([
      "5:28 a.packet.name: 'tl-no-such' in the own namespace; a device that exists",
    ])
    expect(
      systemProblems(config('host: { name: lo }'), (netns, name) => netns === '' && name === 'lo'),
    ).toEqual([])
    expect(() => checkSystem(config('tap: { name: lo }'))).toThrow(ConfigError)
    expect(() => checkSystem(config('tap: { name: lo }'), config('host: { name: lo }'))).not.toThrow()
  })

  it("the devices of routers' interfaces are looked at as those of ports are", () => {
    const interfaces = (body: string) =>
      parseConfig(`routers:\n  r:\n    interfaces:\n      a: { ${body} }\n`, file)
    const told = (body: string) =>
      systemProblems(interfaces(body)).map(
        (p) => `${p.line}:${p.column} ${p.path}: ${p.found}; ${p.expected}`,
      )
    expect(told('tap: { name: lo }')).toEqual([
      "4:25 routers.r.interfaces.a.tap.name: 'lo' in the own namespace; a name that is free",
    ])
    expect(told('tun: { name: tl-x, netns: tl-no-such }')).toEqual([
      "4:38 routers.r.interfaces.a.tun.netns: 'tl-no-such'; a network namespace that exists, or that `namespaces` lists",
    ])
    expect(told('packet: { name: tl-no-such }')).toEqual([
      "4:28 routers.r.interfaces.a.packet.name: 'tl-no-such' in the own namespace; a device that exists",
    ])
    expect(() => checkSystem(interfaces('tap: { name: lo }'), interfaces('tap: { name: lo }'))).not.toThrow()
  })

  it('a capture file must be there', () => {
    expect(told('pcap: { file: no.pcap }')).toEqual([
      `5:26 a.pcap.file: '${dir}/no.pcap'; a capture file (there is no such file)`,
    ])
    expect(told('pcap: { file: . }')).toEqual([
      `5:26 a.pcap.file: '${dir}'; a capture file (it is a directory)`,
    ])
    writeFileSync(join(dir, 'yes.pcap'), '')
    expect(told('pcap: { file: yes.pcap }')).toEqual([])
  })
})

describe.skipIf(process.getuid?.() !== 0)('in a namespace of our own (needs root)', () => {
  const ns = `tl-sys-${process.pid}`
  beforeAll(() => {
    execFileSync('ip', ['netns', 'add', ns])
    execFileSync('ip', ['-n', ns, 'tuntap', 'add', 'busy0', 'mode', 'tap'])
  })
  afterAll(() => {
    execFileSync('ip', ['netns', 'delete', ns])
  })

  it('looks there', () => {
    expect(told(`tap: { name: busy0, netns: ${ns} }`)[0]).toContain(
      `'busy0' in namespace ${ns}; a name that is free`,
    )
    expect(told(`tap: { name: busy0, netns: /run/netns/${ns} }`)).toHaveLength(1)
    expect(told(`tap: { name: free0, netns: ${ns} }`)).toEqual([])
    expect(told(`packet: { name: busy0, netns: ${ns} }`)).toEqual([])
    expect(told(`packet: { name: free0, netns: ${ns} }`)).toHaveLength(1)
  })

  it('a file that is no namespace', () => {
    writeFileSync(join(dir, 'plain'), '')
    expect(told(`tap: { name: a, netns: ${join(dir, 'plain')} }`)[0]).toMatch(
      /expected|a network namespace \(/,
    )
  })

  it('a TAP takes the MTUs that the configuration takes, and no more', () => {
    const set = (mtu: number) =>
      execFileSync('ip', ['-n', ns, 'link', 'set', 'busy0', 'mtu', String(mtu)], { stdio: 'pipe' })
    for (const mtu of [68, 65521]) {
      expect(told(`tap: { name: free0, mtu: ${mtu} }`)).toEqual([])
      set(mtu)
    }
    for (const mtu of [67, 65522]) {
      expect(() => config(`tap: { name: free0, mtu: ${mtu} }`)).toThrow(ConfigError)
      expect(() => set(mtu)).toThrow()
    }
  })
})

describe('VTEPs', () => {
  const vtep = (keys: string, vxlan = '') => {
    const text = `switches: { lan: { ports: { t: { vxlan: { vtep: u, vni: 7, ${vxlan} } } } } }\nvteps:\n  u: { ${keys} }\n`
    return parseConfig(text, file)
  }
  const told = (config: ReturnType<typeof vtep>, running?: ReturnType<typeof vtep>) =>
    systemProblems(config, undefined, running).map(
      (p) => `${p.line}:${p.column} ${p.path}: ${p.found}; ${p.expected} (${p.hint})`,
    )

  it('need an address of this machine', () => {
    expect(told(vtep('local: 192.0.2.77'))).toEqual([
      "3:15 vteps.u.local: '192.0.2.77'; an address of a device in the own namespace (nothing there has it)",
    ])
    expect(told(vtep('local: 127.0.0.1, port: 47891'))).toEqual([])
    expect(told(vtep('local: 0.0.0.0, port: 47891'))).toEqual([])
  })

  it('or one that the file gives to a device', () => {
    const text = `switches: { lan: { ports: { h: { host: { addresses: [192.0.2.77/24] } } } } }\nvteps: { u: { local: 192.0.2.77 } }`
    expect(told(parseConfig(text, file))).toEqual([])
  })

  it('need a UDP port that nobody has, but their own', async () => {
    const socket = createSocket('udp4')
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    const { port } = socket.address()
    const config = vtep(`local: 127.0.0.1, port: ${port}`)
    const hint = 'another program or a kernel vxlan device has it: see `ss -uanp` and `ip -d link`'
    expect(told(config)).toEqual([
      `3:32 vteps.u.port: UDP port ${port} of 127.0.0.1 in the own namespace, which is taken; a UDP port that is free (${hint})`,
    ])
    expect(told(config, config)).toEqual([])
    await new Promise<void>((resolve) => socket.close(() => resolve()))
    expect(told(config)).toEqual([])
  })

  it('need devices that exist', () => {
    expect(told(vtep('local: 127.0.0.1, port: 47891, device: tl-none'))).toEqual([
      "3:47 vteps.u.device: 'tl-none' in the own namespace; a device that exists (undefined)",
    ])
    expect(told(vtep('local: 127.0.0.1, port: 47891', 'group: 239.1.1.1, device: tl-none'))).toEqual([
      "1:86 switches.lan.ports.t.vxlan.device: 'tl-none' in the own namespace; a device that exists (undefined)",
    ])
    expect(told(vtep('local: 127.0.0.1, port: 47891, device: lo'))).toEqual([])
  })

  it('need a namespace that exists or will', () => {
    expect(told(vtep('local: 127.0.0.1, netns: tl-no-such'))).toEqual([
      "3:33 vteps.u.netns: 'tl-no-such'; a network namespace that exists, or that `namespaces` lists (there is no /run/netns/tl-no-such)",
    ])
  })
})
