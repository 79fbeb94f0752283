import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/error.ts'
import { checkConfigObject, loadConfig, parseConfig } from '../../src/config/load.ts'

/** What `parseConfig` objects to, without the file's name. */
function complaints(text: string): string {
  try {
    parseConfig(text, 'lab.yaml')
    return 'nothing'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.replaceAll(/^lab\.yaml:/gm, '').replaceAll('switches.lan.ports.', '~')
  }
}
/** Each port in a line of its own, from line 4 on. */
const ports = (...bodies: string[]) =>
  `switches:\n  lan:\n    ports:\n${bodies.map((b, i) => `      p${i}: { ${b} }\n`).join('')}`
const tap = (rest: string) => ports(`tap: { name: eth0, ${rest} }`)
const vlan = (rest: string) => ports(`memory: {}, vlan: { ${rest} }`)

const CIDR = 'an address with its prefix, such as 10.0.0.2/24 or fd00::2/64'
const MAC = 'a unicast MAC address such as 02:00:00:00:00:01'
const NAME = "a device name: 1 to 15 bytes without space, '/', ':' or '%'"
const DEVICES = 'tap, tun, host, packet, patch, vxlan, pcap or memory'
const PORT_KEYS =
  'tap, tun, host, packet, patch, vxlan, pcap, memory, vlan, mtu, learning, flood, isolated, hairpin, locked, limit, storm, static or fault'

describe('a file that is no configuration', () => {
  const table: [text: string, message: string][] = [
    ['', '1:1  found an empty file, expected a mapping with at least the key switches'],
    ['# only this\n', '1:1  found an empty file, expected a mapping with at least the key switches'],
    ['- a\n', '1:1  found a list, expected a mapping with at least the key switches'],
    ['switches:\n\tlan: {}\n', '2:1  found a tab as indentation, expected spaces'],
    [
      'switches: {}\nswitches: {}\n',
      '2:1  switches: found the key a second time, expected each key once; the first is in line 1',
    ],
    ['switches: *x\n', '1:11  switches: found the alias *x, expected an anchor before it'],
    [
      'switches: &x {lan: *x}\n',
      '1:20  switches.lan: found the alias *x inside of what it stands for, expected an anchor before it',
    ],
    ['switches: !foo {}\n', '1:11  found what is not YAML (Unresolved tag: !foo), expected YAML'],
    ['? [a]\n: 1\n', '1:3  found a list or a mapping as a key, expected a plain key'],
    [
      'switches: {__proto__: {}}\n',
      "1:12  switches.__proto__: found the key '__proto__', expected another name",
    ],
    ['namespaces: [a]\n', '1:1  switches: found nothing, expected a mapping of switches (or routers)'],
    [
      'switches: {a.b: {}}\n',
      "1:12  switches.a.b: found the name 'a.b', expected a name of letters, digits, - and _, 63 at most",
    ],
    ['switches: {lan: }\n', '1:17  switches.lan: found an empty value, expected a mapping'],
    ['switches: {}\npoll: fast\n', "2:7  poll: found 'fast', expected sleep, adaptive or busy"],
    ['switches: {}\nvteps: []\n', '2:8  vteps: found an empty list, expected a mapping of VTEPs'],
    ['switches: {}\nrouters: []\n', '2:10  routers: found an empty list, expected a mapping of routers'],
    [
      'switches: { lan: {} }\nrouters: { lan: {} }\n',
      '2:17  routers.lan: found the name lan again, expected another name than that of a switch (also at switches.lan, line 1)',
    ],
    [
      'swtches: {}\n',
      '1:1  swtches: found an unknown key, expected namespaces, poll, switches, routers or vteps (did you mean switches?)',
    ],
    [
      'namespaces: [web, web]\nswitches: {}\n',
      '1:19  namespaces[1]: found web again, expected each namespace once (also at namespaces[0], line 1)',
    ],
    [
      'namespaces: [5]\nswitches: {}\n',
      '1:14  namespaces[0]: found 5, expected the name of a network namespace (digits alone are a pid)',
    ],
    [
      'switches: {lan: {aging: 9}}',
      '1:25  switches.lan.aging: found 9, expected 0 (never) or a time from 10s to 1000000s, such as 300s or 5m (the range of 802.1Q clause 8.8.3)',
    ],
    [
      'switches: {lan: {limit: 0}}',
      '1:25  switches.lan.limit: found 0, expected a number of addresses from 1 to 16777216',
    ],
    [
      'switches: {lan: {reserved: [2]}}',
      '1:29  switches.lan.reserved[0]: found 2, expected a byte from 0x03 to 0x0f, the last of 01-80-C2-00-00-0x (0x02 is LACP, which a bridge never forwards)',
    ],
    [
      "switches: {lan: {reserved: ['10']}}",
      "1:29  switches.lan.reserved[0]: found '10', expected a byte from 0x03 to 0x0f, the last of 01-80-C2-00-00-0x",
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })

  it('one syntax error is told with its place', () => {
    expect(complaints('switches:\n  lan: [1\n')).toMatch(
      /^3:1 {2}found what is not YAML \(.*\), expected YAML$/,
    )
  })

  it('nesting and aliases are bounded', () => {
    const nine = (item: string) => `[${Array(9).fill(item).join(',')}]`
    const letters = [...'abcdefghij']
    const bomb = letters.map((c, i) => `${c}: &${c} ${nine(i ? `*${letters[i - 1]}` : 'x')}\n`).join('')
    expect(complaints(bomb)).toBe('1:1  found aliases that expand without end, expected a plainer file')
    for (const deep of ['[', '{a: ', '- '])
      expect(complaints(deep.repeat(100_000))).toContain('nesting too deep')
  })
})

describe('a device that cannot be', () => {
  const table: [text: string, message: string][] = [
    [ports('tap: {}'), `4:13  ~p0.tap.name: found nothing, expected ${NAME}`],
    [
      ports('tap: { name: this-name-is-too-long }'),
      `4:26  ~p0.tap.name: found 'this-name-is-too-long', expected ${NAME} (this is 21 bytes long)`,
    ],
    [ports('tap: { name: a/b }'), `4:26  ~p0.tap.name: found 'a/b', expected ${NAME}`],
    [ports("tap: { name: '..' }"), `4:26  ~p0.tap.name: found '..', expected ${NAME}`],
    [
      ports('tap: { nmae: a }'),
      '4:20  ~p0.tap.nmae: found an unknown key, expected name, netns, addresses, gateway, mac, mtu, offload, persist or queues (did you mean name?)',
    ],
    [ports('tap: x'), "4:18  ~p0.tap: found 'x', expected a mapping"],
    [
      ports('tapp: { name: x }'),
      `4:13  ~p0.tapp: found an unknown key, expected ${PORT_KEYS} (did you mean tap?)`,
    ],
    [ports(''), `4:11  ~p0: found none of them, expected exactly one of ${DEVICES}`],
    [
      ports('memory: {}, tap: { name: x }'),
      `4:11  ~p0: found tap and memory, expected exactly one of ${DEVICES}`,
    ],
    [
      ports('wireguard: {}'),
      '4:13  ~p0.wireguard: found a key of a later version, expected no wireguard yet (this version does not have WireGuard)',
    ],
    [
      tap('netns: 0'),
      '4:39  ~p0.tap.netns: found 0, expected a network namespace: a name, an absolute path or a pid',
    ],
    [
      tap('netns: ../x'),
      "4:39  ~p0.tap.netns: found '../x', expected a network namespace: a name, an absolute path or a pid",
    ],
    [
      tap('mtu: 67'),
      '4:37  ~p0.tap.mtu: found 67, expected an MTU from 68 to 65521 bytes (an IPv4 host takes 68, RFC 791)',
    ],
    [
      tap('mtu: 65522'),
      '4:37  ~p0.tap.mtu: found 65522, expected an MTU from 68 to 65521 bytes (at a TAP the 14 bytes of Ethernet header count too)',
    ],
    [
      ports('tun: { name: t, mtu: 65536 }'),
      '4:34  ~p0.tun.mtu: found 65536, expected an MTU from 68 to 65535 bytes (the longest IP packet)',
    ],
    [
      ports('memory: {}, mtu: 67'),
      '4:30  ~p0.mtu: found 67, expected an MTU from 68 to 65535 bytes (an IPv4 host takes 68, RFC 791)',
    ],
    [
      tap("addresses: ['fd00::1/64'], mtu: 1279"),
      '4:64  ~p0.tap.mtu: found 1279, expected at least 1280 (it has an IPv6 address, RFC 8200 section 5)',
    ],
    [
      tap('offload: off'),
      "4:41  ~p0.tap.offload: found 'off', expected true, false or a mapping of checksum, tso and uso",
    ],
    [
      tap('offload: { checksum: false, tso: true }'),
      '4:65  ~p0.tap.offload.tso: found true, expected false (a segment needs a new checksum: it takes checksum: true)',
    ],
    [tap('queues: 4'), '4:40  ~p0.tap.queues: found 4, expected 1 (this version serves one queue)'],
    [
      tap('mac: 01:00:5e:00:00:01'),
      `4:37  ~p0.tap.mac: found '01:00:5e:00:00:01', expected ${MAC} (the lowest bit of its first byte makes it a group)`,
    ],
    [
      tap('mac: 00:00:00:00:00:00'),
      `4:37  ~p0.tap.mac: found '00:00:00:00:00:00', expected ${MAC} (all zero is nobody)`,
    ],
    [
      ports('tun: { name: t, mac: 02:00:00:00:00:01 }'),
      "4:34  ~p0.tun.mac: found '02:00:00:00:00:01', expected no MAC address (a TUN carries IP packets without Ethernet)",
    ],
    [tap('addresses: 10.0.0.1/24'), "4:43  ~p0.tap.addresses: found '10.0.0.1/24', expected a list"],
    [
      tap('addresses: [10.0.0.1]'),
      `4:44  ~p0.tap.addresses[0]: found '10.0.0.1', expected ${CIDR} (the prefix is missing)`,
    ],
    [
      tap('addresses: [10.0.0.1/33]'),
      `4:44  ~p0.tap.addresses[0]: found '10.0.0.1/33', expected ${CIDR} (an IPv4 prefix is from 1 to 32)`,
    ],
    [
      tap("addresses: ['fd00::1/129']"),
      `4:44  ~p0.tap.addresses[0]: found 'fd00::1/129', expected ${CIDR} (an IPv6 prefix is from 1 to 128)`,
    ],
    [
      tap('addresses: [10.0.0.0/24]'),
      `4:44  ~p0.tap.addresses[0]: found '10.0.0.0/24', expected ${CIDR} (that is the network's own address)`,
    ],
    [
      tap('addresses: [10.0.0.255/24]'),
      `4:44  ~p0.tap.addresses[0]: found '10.0.0.255/24', expected ${CIDR} (that is the network's broadcast address)`,
    ],
    [
      tap('addresses: [010.0.0.1/24]'),
      `4:44  ~p0.tap.addresses[0]: found '010.0.0.1/24', expected ${CIDR} (a part with a leading zero could be octal)`,
    ],
    [
      tap('addresses: [224.0.0.1/4]'),
      `4:44  ~p0.tap.addresses[0]: found '224.0.0.1/4', expected ${CIDR} (that is a multicast address)`,
    ],
    [
      tap('gateway: 10.0.0.1'),
      "4:41  ~p0.tap.gateway: found '10.0.0.1', expected an IPv4 address of the device first (a gateway must be reachable without one)",
    ],
    [
      tap('addresses: [10.0.0.1/24], gateway: 10.0.1.1'),
      "4:67  ~p0.tap.gateway: found '10.0.1.1', expected an address in the subnet of 10.0.0.1/24 (a gateway must be reachable without one)",
    ],
    [
      tap('addresses: [10.0.0.1/24], gateway: 10.0.0.1'),
      "4:67  ~p0.tap.gateway: found '10.0.0.1', expected another host (it is the device's own address)",
    ],
    [
      tap('addresses: [10.0.0.1/24], gateway: [10.0.0.2, 10.0.0.3]'),
      "4:78  ~p0.tap.gateway[1]: found '10.0.0.3', expected one gateway for IPv4 (there are two)",
    ],
    [ports('pcap: {}'), '4:13  ~p0.pcap.file: found nothing, expected the name of a capture file'],
    [
      ports('pcap: { file: x, speed: -1 }'),
      '4:37  ~p0.pcap.speed: found -1, expected a factor from 0 to 1000000 (1 keeps the times of the file, 0 is as fast as possible)',
    ],
    [
      ports('host: {}').replace('p0', 'name-that-is-long'),
      "4:34  ~name-that-is-long.host: found no name, expected the key name (the port's own is longer than the 15 bytes of a device name)",
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('settings of a port that cannot be', () => {
  const ONE = 'exactly one of access, trunk or tunnel'
  const A = '02:00:00:00:00:01'
  const table: [text: string, message: string][] = [
    [
      vlan('access: 4095'),
      '4:41  ~p0.vlan.access: found 4095, expected a VLAN id from 1 to 4094 (4095 is reserved by 802.1Q)',
    ],
    [
      vlan('access: 0'),
      '4:41  ~p0.vlan.access: found 0, expected a VLAN id from 1 to 4094 (0 marks a priority tag, which names no VLAN)',
    ],
    [
      vlan('acces: 5'),
      '4:33  ~p0.vlan.acces: found an unknown key, expected access, trunk, native, protocol, translate or tunnel (did you mean access?)',
    ],
    [vlan(''), `4:31  ~p0.vlan: found none of them, expected ${ONE}`],
    [vlan('access: 1, trunk: [2]'), `4:31  ~p0.vlan: found access and trunk, expected ${ONE}`],
    [
      vlan('access: 3, native: 3'),
      '4:52  ~p0.vlan.native: found 3, expected native beside trunk only (this port is access)',
    ],
    [
      vlan('trunk: 10'),
      "4:40  ~p0.vlan.trunk: found 10, expected 'all', or a list of VLAN ids and ranges such as '20-30'",
    ],
    [vlan('trunk: []'), '4:40  ~p0.vlan.trunk: found an empty list, expected at least one VLAN (or native)'],
    [
      vlan('trunk: [20-10]'),
      "4:41  ~p0.vlan.trunk[0]: found '20-10', expected a VLAN id from 1 to 4094, or a range such as '20-30' (the smaller one first)",
    ],
    [
      vlan('trunk: all, native: 4095'),
      '4:53  ~p0.vlan.native: found 4095, expected a VLAN id from 1 to 4094 (4095 is reserved by 802.1Q)',
    ],
    [
      vlan('trunk: all, protocol: 802.1x'),
      "4:55  ~p0.vlan.protocol: found '802.1x', expected 802.1q, 802.1ad or 0x9100",
    ],
    [
      vlan('trunk: all, translate: { 10: 20, 11: 20 }'),
      '4:70  ~p0.vlan.translate.11: found VLAN 20 again, expected one number on the wire for each VLAN (also at ~p0.vlan.translate.10, line 4)',
    ],
    [
      vlan('trunk: [20], translate: { 4095: 20 }'),
      '4:59  ~p0.vlan.translate.4095: found the key 4095, expected a VLAN id from 1 to 4094 (4095 is reserved by 802.1Q)',
    ],
    [
      vlan('trunk: [20], translate: { 10: 21 }'),
      '4:63  ~p0.vlan.translate.10: found 21, expected a VLAN of the trunk (21 is not in its list)',
    ],
    [
      vlan('trunk: [10, 20], translate: { 10: 20 }'),
      '4:63  ~p0.vlan.translate.10: found VLAN 10 of the wire for VLAN 20, expected a trunk without VLAN 10, or a translation of it too (VLAN 10 would leave with the same number)',
    ],
    [
      ports(`memory: {}, static: [${A}, { mac: ${A} }]`),
      `4:53  ~p0.static[1]: found ${A} again, expected each static address once per VLAN (also at ~p0.static[0], line 4)`,
    ],
    [
      ports(`memory: {}, static: [{ mac: ${A}, vlan: 3 }]`),
      '4:66  ~p0.static[0].vlan: found 3, expected no vlan (no port of this switch has a vlan key)',
    ],
    [
      ports(`memory: {}, vlan: { trunk: [3] }, static: [${A}]`),
      `4:56  ~p0.static[0]: found '${A}', expected mac and vlan (this trunk has no native VLAN)`,
    ],
    [
      ports(`memory: {}, vlan: { access: 3 }, static: [{ mac: ${A}, vlan: 4 }]`),
      '4:87  ~p0.static[0].vlan: found 4, expected a VLAN of the port: 3',
    ],
    [ports('memory: {}, static: [nobody]'), `4:34  ~p0.static[0]: found 'nobody', expected ${MAC}`],
    [
      ports('memory: {}, learning: yes'),
      "4:35  ~p0.learning: found 'yes', expected true or false (YAML 1.2 has no other words for it)",
    ],
    [
      ports('memory: {}, flood: 3'),
      '4:32  ~p0.flood: found 3, expected true, false or a mapping of unknown, multicast and broadcast',
    ],
    [
      ports('memory: {}, limit: -1'),
      '4:32  ~p0.limit: found -1, expected a number of addresses from 0 to 16777216',
    ],
    [
      ports('memory: {}, storm: { unknown: 1.5 }'),
      '4:43  ~p0.storm.unknown: found 1.5, expected packets per second from 0 to 1000000000',
    ],
    [
      ports('memory: {}, fault: { rx: { loss: 101% } }'),
      "4:46  ~p0.fault.rx.loss: found '101%', expected a share of packets from 0 to 1, or from '0%' to '100%'",
    ],
    [
      ports('memory: {}, fault: { rx: { delay: 61s } }'),
      "4:47  ~p0.fault.rx.delay: found '61s', expected a time from 0 to 60s, such as 10ms",
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('ports that do not fit together', () => {
  const A = '02:00:00:00:00:01'
  const table: [text: string, message: string][] = [
    [
      ports('tap: { name: a }', 'tap: { name: a }'),
      "5:26  ~p1.tap.name: found 'a' in the own namespace again, expected another name (also at ~p0.tap.name, line 4)",
    ],
    [
      ports('tap: { name: a, netns: web }', 'tap: { name: a, netns: /run/netns/web }'),
      "5:26  ~p1.tap.name: found 'a' in namespace /run/netns/web again, expected another name (also at ~p0.tap.name, line 4)",
    ],
    [
      ports('tap: { name: p1 }', 'host: {}'),
      "5:19  ~p1.host: found 'p1' in the own namespace again, expected another name (also at ~p0.tap.name, line 4)",
    ],
    [
      ports("tap: { name: a, addresses: ['fd00::1/64'] }", "tap: { name: b, addresses: ['fd00:0::1/48'] }"),
      '5:41  ~p1.tap.addresses[0]: found fd00::1 again, expected another address (also at ~p0.tap.addresses[0], line 4)',
    ],
    [
      ports(`tap: { name: a, mac: ${A} }`, 'tap: { name: b, mac: 02-00-00-00-00-01 }'),
      `5:34  ~p1.tap.mac: found ${A} again, expected another MAC address (also at ~p0.tap.mac, line 4)`,
    ],
    [
      ports(`tap: { name: a, mac: ${A} }`, `memory: {}, static: [${A}]`),
      `5:34  ~p1.static[0]: found ${A}, which a device of another port has, expected another MAC address (also at ~p0, line 4)`,
    ],
    [
      ports('patch: lan'),
      "4:20  ~p0.patch: found 'lan', expected 'switch.port', or a mapping of switch and port",
    ],
    [
      ports('patch: lan.p0'),
      "4:20  ~p0.patch: found 'lan.p0', expected another port (a port cannot be its own other end)",
    ],
    [ports('patch: lan.p1'), "4:20  ~p0.patch: found 'lan.p1', expected a port of this file"],
    [ports('patch: wan.p1'), "4:20  ~p0.patch: found 'wan.p1', expected a switch of this file"],
    [
      ports('patch: lan.p1', 'memory: {}'),
      "4:20  ~p0.patch: found 'lan.p1', expected a port that is a patch (lan.p1 is a memory)",
    ],
    [
      ports('patch: lan.p1', 'patch: lan.p2', 'patch: lan.p1'),
      "4:20  ~p0.patch: found 'lan.p1', expected a port that names this one (it names lan.p2: ~p1.patch, line 5)",
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })

  it('a link-local address may be on two switches, not twice on one', () => {
    const port = (name: string) => `tap: { name: ${name}, addresses: ['fe80::1/64'] }`
    expect(complaints(ports(port('a'), port('b')))).toContain('fe80::1 again')
    expect(
      complaints(
        `switches: { a: { ports: { p: { ${port('a')} } } }, b: { ports: { p: { ${port('b')} } } } }`,
      ),
    ).toBe('nothing')
  })

  it('a fabric has at most 1024 ports', () => {
    const many = (n: number) => ports(...Array.from({ length: n }, () => 'memory: {}'))
    expect(complaints(many(1024))).toBe('nothing')
    expect(complaints(many(1025))).toBe('1:1  switches: found 1025 ports, expected at most 1024')
  })
})

it('tells all problems at once, in the order of the file', () => {
  const text = ports(
    'tap: { name: a, mtu: 5 }, limit: -1',
    'patch: lan.p9',
    'wireguard: {}',
    'memory: {}, vlan: { access: 4095 }',
  )
  expect(
    complaints(`poll: x\n${text}`)
      .split('\n')
      .map((line) => line.slice(0, line.indexOf(':'))),
  ).toEqual(['1', '5', '5', '6', '7', '8'])
})

describe('a good file', () => {
  const port = (body: string) => parseConfig(ports(body), '/etc/taploom/lab.yaml').switches.lan.ports.p0

  it('gets every default', () => {
    const config = parseConfig('switches: { lan: { ports: { a: { tap: { name: eth0 } } } } }', 'lab.yaml')
    expect(config).toEqual({
      namespaces: [],
      poll: 'adaptive',
      routers: {},
      vteps: {},
      switches: {
        lan: {
          agingS: 300,
          limit: 65536,
          reservedOpen: 0,
          vlanAware: false,
          ports: {
            a: {
              device: {
                type: 'tap',
                name: 'eth0',
                netns: '',
                addresses: [],
                gateways: [],
                mtu: 1500,
                offload: { checksum: true, tso: true, uso: true },
                persist: false,
                queues: 1,
              },
              vlan: { mode: 'unaware' },
              mtu: 1500,
              learning: true,
              flood: { unknown: true, multicast: true, broadcast: true },
              isolated: false,
              hairpin: false,
              locked: false,
              limit: 0,
              storm: { unknown: Infinity, multicast: Infinity, broadcast: Infinity },
              statics: [],
            },
          },
        },
      },
    })
  })

  it('is a mapping even when a key is null where {} is meant', () => {
    expect(port('memory: ').device).toEqual({ type: 'memory' })
  })

  it('has units', () => {
    const aging = (text: string) =>
      parseConfig(`switches: { lan: { aging: ${text} } }`, 'x').switches.lan.agingS
    expect(['300s', '5m', '0', '10', '12000ms', '1d'].map(aging)).toEqual([300, 300, 0, 10, 12, 86400])
    const rates = 'loss: 0.5%, duplicate: 0.25, delay: 10ms, jitter: 1s'
    expect(port(`memory: {}, fault: { seed: 3, tx: { ${rates} } }`).fault).toEqual({
      seed: 3,
      tx: { loss: 0.005, duplicate: 0.25, reorder: 0, truncate: 0, delayMs: 10, jitterMs: 1000 },
    })
  })

  it('opens reserved addresses, written as numbers or as hex', () => {
    const open = (text: string) =>
      parseConfig(`switches: { lan: { reserved: ${text} } }`, 'x').switches.lan.reservedOpen
    expect(open("[3, '0e', '0x0f', 0x0b]")).toBe(0x4000 | 0x8000 | 0x0800 | 8)
  })

  it('writes addresses one way', () => {
    const device = port(
      "tap: { name: a, mac: 02-AB-00-00-00-01, addresses: ['FD00:0:0::01/64', 10.1.2.3/8], gateway: 'fe80::1' }",
    ).device
    expect(device).toMatchObject({
      mac: '02:ab:00:00:00:01',
      addresses: ['fd00::1/64', '10.1.2.3/8'],
      gateways: ['fe80::1'],
    })
  })

  it('names a namespace by name, path or pid', () => {
    const netns = (text: string) => port(`packet: { name: a, netns: ${text} }`).device
    expect(['web', '/proc/1/ns/net', '1', "''"].map((t) => (netns(t) as { netns: string }).netns)).toEqual([
      'web',
      '/proc/1/ns/net',
      '1',
      '',
    ])
  })

  it('takes offloads as a whole or one by one', () => {
    const offload = (text: string) =>
      (port(`host: { name: h, offload: ${text} }`).device as { offload: object }).offload
    expect(offload('false')).toEqual({ checksum: false, tso: false, uso: false })
    expect(offload('{ uso: false }')).toEqual({ checksum: true, tso: true, uso: false })
    expect(offload('{ checksum: false }')).toEqual({ checksum: false, tso: false, uso: false })
  })

  it('has a VLAN for every port as soon as one has a vlan key', () => {
    const { lan } = parseConfig(
      ports(
        'memory: {}',
        'memory: {}, vlan: { tunnel: 5 }',
        'memory: {}, vlan: { trunk: [20, 22-23, 20], native: 7, protocol: 802.1ad }',
      ),
      'x',
    ).switches
    expect(lan.vlanAware).toBe(true)
    expect(Object.values(lan.ports).map((p) => p.vlan)).toEqual([
      { mode: 'access', vid: 1 },
      { mode: 'tunnel', vid: 5 },
      { mode: 'trunk', allowed: [20, 22, 23], native: 7, tpid: 0x88a8 },
    ])
  })

  it('translates; `all` leaves out a VLAN whose number another one has on the wire', () => {
    const { vlan } = port('memory: {}, vlan: { trunk: all, translate: { 100: 10, 11: 12, 12: 11 } }')
    if (vlan.mode !== 'trunk') throw new Error(vlan.mode)
    expect(vlan.translate).toEqual([
      [11, 12],
      [12, 11],
      [100, 10],
    ])
    expect([10, 11, 12, 100, 4094].map((v) => vlan.allowed.includes(v))).toEqual([
      true,
      true,
      true,
      false,
      true,
    ])
  })

  it('puts a static address into the VLAN of its port', () => {
    const statics = (body: string) => port(`memory: {}, static: [02:00:00:00:00:01]${body}`).statics[0].vid
    expect([
      statics(''),
      statics(', vlan: { access: 9 }'),
      statics(', vlan: { trunk: [4], native: 3 }'),
    ]).toEqual([0, 9, 3])
  })

  it('has an MTU of its own, of its device, or of whatever a packet port opens', () => {
    expect(
      [
        'tap: { name: a, mtu: 9000 }',
        'tap: { name: a, mtu: 9000 }, mtu: 1500',
        'packet: { name: a }',
        'memory: {}',
      ].map((b) => port(b).mtu),
    ).toEqual([9000, 1500, 0, 65535])
  })

  it('finds a capture file from its own directory on', () => {
    expect(port('pcap: { file: a.pcap }').device).toMatchObject({
      file: '/etc/taploom/a.pcap',
      loop: false,
      speed: 1,
    })
    expect(port('pcap: { file: /x/a.pcap }').device).toMatchObject({ file: '/x/a.pcap' })
  })

  it('may use anchors, aliases and merge keys', () => {
    const text =
      'switches: { lan: { ports: { a: &m { memory: {}, isolated: true }, b: *m, c: { <<: *m, limit: 5 } } } }'
    expect(parseConfig(text, 'x').switches.lan.ports.c).toMatchObject({ isolated: true, limit: 5 })
    expect(complaints(text.replace('limit: 5', 'limit: -5'))).toContain('1:94  ~c.limit')
    expect(complaints(text.replace('isolated: true', 'isolated: 1'))).toMatch(
      /^1:59 {2}~a\.isolated: .*\n1:59 .*\n1:\d+ .*/,
    )
  })
})

describe('where it comes from', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tl-config-'))
  const message = (path: string) => {
    try {
      loadConfig(path)
    } catch (error) {
      return (error as Error).message.replace(dir, '')
    }
    return 'nothing'
  }

  it('a file that cannot be read', () => {
    expect(message(join(dir, 'no.yaml'))).toBe('/no.yaml  found no such file, expected a configuration file')
    expect(message(dir)).toBe('  found a directory, expected a configuration file')
    rmSync(dir, { recursive: true })
  })

  it('JSON is YAML', () => {
    const path = join(mkdtempSync(join(tmpdir(), 'tl-config-')), 'a.json')
    writeFileSync(path, JSON.stringify({ switches: { lan: { ports: { a: { memory: {} } } } } }, null, 2))
    expect(Object.keys(loadConfig(path).switches.lan.ports)).toEqual(['a'])
  })

  it('an object has key paths and no lines', () => {
    expect(() => checkConfigObject({ switches: { lan: { ports: { a: { tap: { name: 3 } } } } } })).toThrow(
      `switches.lan.ports.a.tap.name: found 3, expected ${NAME}`,
    )
    expect(() => checkConfigObject(undefined)).toThrow(
      'found nothing, expected a mapping with at least the key switches',
    )
  })

  it('an error has its parts', () => {
    try {
      parseConfig(vlan('access: 4095'), 'lab.yaml')
      expect.unreachable()
    } catch (error) {
      expect((error as ConfigError).problems).toEqual([
        {
          file: 'lab.yaml',
          line: 4,
          column: 41,
          path: 'switches.lan.ports.p0.vlan.access',
          found: '4095',
          expected: 'a VLAN id from 1 to 4094',
          hint: '4095 is reserved by 802.1Q',
        },
      ])
    }
  })
})
