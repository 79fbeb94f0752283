/** VXLAN in a configuration: what is refused, with its place, and what becomes of the keys. */
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/error.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { VxlanConfig } from '../../src/config/types.ts'

/** Line 4 is the port, line 5 `vteps:`, the VTEPs from line 6 on. */
const file = (vxlan: string, ...vteps: string[]) =>
  `switches:\n  lan:\n    ports:\n      t: { vxlan: { ${vxlan} } }\nvteps:\n${vteps.map((v, i) => `  u${i}: { ${v} }\n`).join('')}`

function complaints(text: string): string {
  try {
    parseConfig(text, 'lab.yaml')
    return 'nothing'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.replaceAll(/^lab\.yaml:/gm, '').replaceAll('switches.lan.ports.t.vxlan', '~')
  }
}
/** A tunnel with one more key, on a right VTEP. */
const tunnel = (rest: string, vtep = 'local: 192.0.2.1') => file(`vtep: u0, vni: 7, ${rest}`, vtep)
const vtep = (rest: string) => file('vtep: u0, vni: 7', `local: 192.0.2.1, ${rest}`)

const GROUP = 'a multicast address such as 239.1.1.1 or ff05::100'
const REMOTE = 'an IP address or the name of a host'

describe('what is refused', () => {
  const table: [text: string, message: string][] = [
    // VNI
    [file('vtep: u0, vni: 0', 'local: 192.0.2.1'), '4:36  ~.vni: found 0, expected a VNI from 1 to 16777215'],
    [
      file('vtep: u0, vni: 16777216', 'local: 192.0.2.1'),
      '4:36  ~.vni: found 16777216, expected a VNI from 1 to 16777215',
    ],
    [
      file("vtep: u0, vni: '7'", 'local: 192.0.2.1'),
      "4:36  ~.vni: found '7', expected a VNI from 1 to 16777215",
    ],
    [file('vtep: u0', 'local: 192.0.2.1'), '4:12  ~.vni: found nothing, expected a VNI from 1 to 16777215'],
    [
      `switches: { lan: { ports: { a: { vxlan: { vtep: u, vni: 7 } },\n b: { vxlan: { vtep: u, vni: 7 } } } } }\nvteps: { u: { local: 192.0.2.1 } }`,
      '2:30  switches.lan.ports.b.vxlan.vni: found VNI 7 again, expected each VNI once on a VTEP (also at switches.lan.ports.a.vxlan.vni, line 1)',
    ],
    // VTEPs
    [
      'switches: { lan: { ports: { t: { vxlan: { vtep: u0, vni: 7 } } } } }\nvteps:\n',
      '2:7  vteps: found an empty value, expected a mapping of VTEPs',
    ],
    [
      file('vtep: u9, vni: 7', 'local: 192.0.2.1'),
      "4:27  ~.vtep: found 'u9', expected a VTEP of this file: u0 (did you mean u0?)",
    ],
    [
      'switches: { lan: { ports: { t: { vxlan: { vtep: u, vni: 7 } } } } }',
      "1:49  ~.vtep: found 'u', expected a VTEP of this file",
    ],
    [
      file('vni: 7', 'local: 192.0.2.1'),
      `4:12  ~.vtep: found nothing, expected a name of letters, digits, - and _, 63 at most`,
    ],
    [
      file('vtep: u0, vni: 7', 'local: 192.0.2.1', 'local: 192.0.2.1, sourcePorts: 2'),
      '7:16  vteps.u1.local: found 192.0.2.1 port 4789 in the own namespace again, expected an address and port that no other VTEP has (also at vteps.u0.local, line 6)',
    ],
    [
      file('vtep: u0, vni: 7', 'local: 192.0.2.1', 'local: 0.0.0.0'),
      '7:16  vteps.u1.local: found 0.0.0.0 port 4789 in the own namespace again, expected an address and port that no other VTEP has (also at vteps.u0.local, line 6)',
    ],
    [file('vtep: u0, vni: 7', 'local: 192.0.2.1', 'local: 192.0.2.1, port: 8472'), 'nothing'],
    [file('vtep: u0, vni: 7', 'local: 192.0.2.1', 'local: 192.0.2.1, netns: b'), 'nothing'],
    [file('vtep: u0, vni: 7', "local: '0.0.0.0'", "local: '::'"), 'nothing'],
    [
      file('vtep: u0, vni: 7', 'port: 4789'),
      '6:3  vteps.u0.local: found nothing, expected an IP address of this machine, or 0.0.0.0 or :: for all of them',
    ],
    [
      file('vtep: u0, vni: 7', 'local: 239.1.1.1'),
      "6:16  vteps.u0.local: found '239.1.1.1', expected an IP address of this machine, or 0.0.0.0 or :: for all of them (that is a multicast address)",
    ],
    [
      file('vtep: u0, vni: 7', "local: 'fe80::1'"),
      "6:16  vteps.u0.local: found 'fe80::1', expected the key device beside a link-local address (the same address can be on every link)",
    ],
    [vtep('port: 0'), '6:33  vteps.u0.port: found 0, expected a UDP port from 1 to 65535'],
    [vtep('port: 65536'), '6:33  vteps.u0.port: found 65536, expected a UDP port from 1 to 65535'],
    [vtep('mtu: 500'), '6:32  vteps.u0.mtu: found 500, expected an MTU from 576 to 65535 bytes'],
    [vtep('df: yes'), "6:31  vteps.u0.df: found 'yes', expected unset, set or inherit"],
    [vtep('underlay: raw'), "6:37  vteps.u0.underlay: found 'raw', expected socket or tap"],
    [vtep('underlay: tap, df: set'), 'nothing'],
    [vtep('underlay: tap, df: inherit, ttl: inherit'), 'nothing'],
    [file('vtep: u0, vni: 7', "local: 'fd00::1', underlay: tap"), 'nothing'],
    [
      vtep('underlay: tap'),
      "6:37  vteps.u0.underlay: found 'tap', expected the key df beside it, set or inherit (what is forwarded without DF the kernel may fragment, which RFC 7348 forbids)",
    ],
    [
      vtep('underlay: tap, df: set, device: eth0'),
      "6:37  vteps.u0.underlay: found 'tap', expected socket, or no key device (the kernel routes what the TAP hands over)",
    ],
    [
      vtep('underlay: tap, df: set, ttl: 255'),
      "6:37  vteps.u0.underlay: found 'tap', expected a TTL up to 254 beside it (forwarding takes one off)",
    ],
    [
      file('vtep: u0, vni: 7', "local: '::', underlay: tap"),
      "6:32  vteps.u0.underlay: found 'tap', expected socket, or a local address that others can reach (the VTEP has ::)",
    ],
    [
      file('vtep: u0, vni: 7', 'local: 127.0.0.2, underlay: tap, df: set'),
      "6:37  vteps.u0.underlay: found 'tap', expected socket, or a local address that others can reach (the VTEP has 127.0.0.2)",
    ],
    [vtep('ttl: 0'), "6:32  vteps.u0.ttl: found 0, expected a TTL from 1 to 255, or 'inherit'"],
    [
      vtep('tos: 3'),
      "6:32  vteps.u0.tos: found 3, expected a TOS byte from 0 to 252 in steps of 4, or 'inherit' (the two lowest bits are ECN, which follows RFC 6040)",
    ],
    [
      vtep('probe: { interval: 0 }'),
      '6:46  vteps.u0.probe.interval: found 0, expected a time from 0.1s to 3600s, such as 10s',
    ],
    [
      vtep('probe: { mut: true }'),
      '6:36  vteps.u0.probe.mut: found an unknown key, expected mtu, liveness, interval or misses (did you mean mtu?)',
    ],
    [
      vtep('remote: 1'),
      '6:27  vteps.u0.remote: found an unknown key, expected local, port, netns, device, mtu, underlay, df, ttl, groupTtl, tos, udpChecksum, strict, sourcePorts, limit, maxRemotes, resolve or probe (did you mean resolve?)',
    ],
    // Remotes
    [
      tunnel('remotes: [192.0.2.1]'),
      "4:49  ~.remotes[0]: found '192.0.2.1', expected the address of another machine (it is the local address of the VTEP)",
    ],
    [
      tunnel("remotes: [site-b.example, 'fd00::2']"),
      "4:65  ~.remotes[1]: found 'fd00::2', expected an IPv4 address (the VTEP u0 has 192.0.2.1)",
    ],
    [
      tunnel('remotes: [192.0.2.2]', "local: 'fd00::1'"),
      "4:49  ~.remotes[0]: found '192.0.2.2', expected an IPv6 address (the VTEP u0 has fd00::1)",
    ],
    [
      tunnel('remotes: [239.1.1.1]'),
      `4:49  ~.remotes[0]: found '239.1.1.1', expected ${REMOTE} (that is a multicast address)`,
    ],
    [
      tunnel('remotes: [192.0.2]'),
      `4:49  ~.remotes[0]: found '192.0.2', expected ${REMOTE} (an IPv4 address has four parts)`,
    ],
    [
      tunnel('remotes: [300.0.2.1]'),
      `4:49  ~.remotes[0]: found '300.0.2.1', expected ${REMOTE} (a part is above 255)`,
    ],
    [tunnel("remotes: ['a b']"), `4:49  ~.remotes[0]: found 'a b', expected ${REMOTE}`],
    [tunnel("remotes: ['192.0.2.2:4789']"), `4:49  ~.remotes[0]: found '192.0.2.2:4789', expected ${REMOTE}`],
    [
      tunnel('remotes: 192.0.2.2'),
      "4:48  ~.remotes: found '192.0.2.2', expected a list of addresses and names",
    ],
    [
      tunnel("remotes: ['fe80::2']", "local: 'fd00::1'"),
      "4:49  ~.remotes[0]: found 'fe80::2', expected an address that is not link-local (or a VTEP with the key device)",
    ],
    [
      tunnel('remotes: [192.0.2.2, B.example, 192.0.2.2, b.example]'),
      '4:71  ~.remotes[2]: found 192.0.2.2 again, expected each remote once (also at switches.lan.ports.t.vxlan.remotes[0], line 4)\n4:82  ~.remotes[3]: found b.example again, expected each remote once (also at switches.lan.ports.t.vxlan.remotes[1], line 4)'.replaceAll(
        'switches.lan.ports.t.vxlan',
        '~',
      ),
    ],
    // Groups
    [tunnel('group: 192.0.2.9, device: eth0'), `4:46  ~.group: found '192.0.2.9', expected ${GROUP}`],
    [
      tunnel('group: 239.1.1.1'),
      "4:46  ~.group: found '239.1.1.1', expected the key device beside a group (a group is joined on one device: here, or as the device of the VTEP)",
    ],
    [tunnel('group: 239.1.1.1, device: eth0'), 'nothing'],
    [tunnel('group: 239.1.1.1', 'local: 192.0.2.1, device: eth0'), 'nothing'],
    [
      tunnel("group: 'ff05::7', device: eth0"),
      "4:46  ~.group: found 'ff05::7', expected a multicast address of IPv4 (the VTEP u0 has 192.0.2.1)",
    ],
    [
      tunnel('device: eth0'),
      "4:47  ~.device: found 'eth0', expected no device without a group (it is where the group is joined)",
    ],
    // Stations
    [
      tunnel("static: [{ mac: '02:00:00:00:00', remote: 192.0.2.2 }]"),
      "4:55  ~.static[0].mac: found '02:00:00:00:00', expected a unicast MAC address such as 02:00:00:00:00:01",
    ],
    [
      tunnel("static: [{ mac: '01:00:5e:00:00:01', remote: 192.0.2.2 }]"),
      "4:55  ~.static[0].mac: found '01:00:5e:00:00:01', expected a unicast MAC address such as 02:00:00:00:00:01 (the lowest bit of its first byte makes it a group)",
    ],
    [
      tunnel("static: [{ mac: '02:00:00:00:00:01' }]"),
      `4:48  ~.static[0].remote: found nothing, expected ${REMOTE}`,
    ],
    [
      tunnel("static: [{ mac: '02:00:00:00:00:01', remote: 'fd00::2' }]"),
      "4:84  ~.static[0].remote: found 'fd00::2', expected an IPv4 address (the VTEP u0 has 192.0.2.1)",
    ],
    [
      tunnel("static: [{ mac: '02:00:00:00:00:01', remote: b }, { mac: '02-00-00-00-00-01', remote: c }]"),
      '4:96  ~.static[1].mac: found 02:00:00:00:00:01 again, expected each MAC address once (also at ~.static[0].mac, line 4)',
    ],
    [tunnel('innerVlan: drop'), "4:50  ~.innerVlan: found 'drop', expected discard or keep"],
    [tunnel('accept: all'), "4:47  ~.accept: found 'all', expected known or any"],
    [
      tunnel('memory: {}'),
      '4:39  ~.memory: found an unknown key, expected vtep, vni, remotes, group, device, accept, learning, static, limit, aging, suppress, clampMss or innerVlan',
    ],
  ]
  it.each(table)('%s', (text, message) => expect(complaints(text)).toBe(message))

  it('a mistake in a VTEP is told once, not by its tunnels too', () => {
    expect(complaints(tunnel('remotes: [192.0.2.2]', 'local: 192.0.2')).split('\n')).toHaveLength(1)
  })
})

describe('what becomes of the keys', () => {
  const device = (text: string) => parseConfig(text, 'lab.yaml').switches.lan.ports.t.device as VxlanConfig

  it('defaults', () => {
    const { vteps, switches } = parseConfig(tunnel('remotes: [192.0.2.2]'), 'lab.yaml')
    expect(vteps.u0).toEqual({
      netns: '',
      local: '192.0.2.1',
      family: 4,
      port: 4789,
      device: '',
      mtu: 0,
      df: 'unset',
      ttl: 64,
      groupTtl: 1,
      tos: 0,
      underlay: 'socket',
      udpChecksum: true,
      strict: false,
      sourcePorts: 8,
      limit: 65536,
      maxRemotes: 4096,
      resolveS: 60,
      probe: { mtu: true, liveness: false, intervalS: 10, misses: 3 },
    })
    expect(switches.lan.ports.t.device).toEqual({
      type: 'vxlan',
      vtep: 'u0',
      vni: 7,
      remotes: ['192.0.2.2'],
      group: '',
      groupDevice: '',
      learning: true,
      statics: [],
      limit: 0,
      agingS: 300,
      suppress: false,
      clampMss: true,
      innerVlan: 'discard',
      accept: 'known',
    })
    expect(switches.lan.ports.t.mtu).toBe(65535)
  })

  it('one spelling for everything', () => {
    const vxlan = device(
      tunnel(
        "remotes: [B.Example, 'FD00:0::2'], static: [{ mac: '02-00-00-00-00-0A', remote: 'fd00:0::3', addresses: ['FD01::0:5'] }]",
        "local: 'FD00::0:1'",
      ),
    )
    expect(vxlan.remotes).toEqual(['b.example', 'fd00::2'])
    expect(vxlan.statics).toEqual([{ mac: '02:00:00:00:00:0a', remote: 'fd00::3', addresses: ['fd01::5'] }])
  })

  it('everybody is heard where there is a group or nobody listed, unless told otherwise', () => {
    expect(device(tunnel('remotes: []')).accept).toBe('any')
    expect(device(tunnel('remotes: [b], group: 239.1.1.1, device: e')).accept).toBe('any')
    expect(device(tunnel('remotes: [b], accept: any')).accept).toBe('any')
    expect(device(tunnel('accept: known')).accept).toBe('known')
  })

  it('words, units and short forms', () => {
    const of = (rest: string) => parseConfig(vtep(rest), 'lab.yaml').vteps.u0
    expect(of("ttl: inherit, tos: '0xb8', df: inherit")).toMatchObject({ ttl: 0, tos: 0xb8, df: 'inherit' })
    expect(of('tos: inherit').tos).toBe(-1)
    expect(of('probe: false').probe).toEqual({ mtu: false, liveness: false, intervalS: 10, misses: 3 })
    expect(of('probe: true').probe).toMatchObject({ mtu: true, liveness: true })
    expect(of('probe: { liveness: true, interval: 500ms, misses: 5 }, resolve: 5m')).toMatchObject({
      probe: { mtu: true, liveness: true, intervalS: 0.5, misses: 5 },
      resolveS: 300,
    })
  })

  it('a tunnel chooses the MTU of ports and interfaces that have none', () => {
    const text = `
switches:
  lan:
    ports:
      a: { tap: { name: a } }
      b: { tap: { name: b, mtu: 1500 } }
      c: { tap: { name: c }, mtu: 1400 }
      d: { host: {} }
      e: { packet: { name: e } }
      t: { vxlan: { vtep: u, vni: 7 } }
  other: { ports: { f: { tap: { name: f } } } }
routers:
  r: { interfaces: { lan: { switch: lan, addresses: [10.0.0.1/24] }, o: { switch: other, addresses: [10.0.1.1/24] }, m: { switch: lan, mtu: 1400, addresses: [10.0.2.1/24] } } }
vteps: { u: { local: 192.0.2.1 } }`
    const { switches, routers } = parseConfig(text, 'lab.yaml')
    const chosen = Object.entries(switches.lan.ports).filter(([, p]) => p.tunnelMtu)
    expect(chosen.map(([name]) => name)).toEqual(['a', 'd'])
    expect(switches.other.ports.f.tunnelMtu).toBeUndefined()
    expect(switches.lan.ports.a).toMatchObject({ mtu: 1500, device: { mtu: 1500 } })
    const { lan, o, m } = routers.r.interfaces
    expect([lan.tunnelMtu, o.tunnelMtu, m.tunnelMtu]).toEqual([true, undefined, undefined])
  })
})
