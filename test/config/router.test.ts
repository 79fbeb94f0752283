/** What a router's keys may say and how a mistake is told. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/error.ts'
import { checkConfigObject, parseConfig } from '../../src/config/load.ts'
import { systemProblems } from '../../src/config/system.ts'

/** What `parseConfig` objects to, without the file's name. */
function complaints(text: string): string {
  try {
    parseConfig(text, 'lab.yaml')
    return 'nothing'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.message.replaceAll(/^lab\.yaml:/gm, '').replaceAll('routers.r.', '~')
  }
}

const PLAIN = '{ p: { memory: {} } }'
const TAGGED = '{ p: { memory: {}, vlan: { access: 10 } }, q: { memory: {}, vlan: { trunk: [20, 21] } } }'
/** `body` from line 4 on. */
const router = (body: string, ports = PLAIN) =>
  `switches: { lan: { ports: ${ports} } }\nrouters:\n  r:\n${body.replace(/^/gm, '    ')}\n`
const a = (body: string, ports = PLAIN) => router(`interfaces: { a: { ${body} } }`, ports)
/** Lines 4 to 6. */
const TWO =
  "interfaces:\n  a: { switch: lan, addresses: [10.0.0.1/24, 'fd00::1/64'] }\n  b: { memory: {}, addresses: [192.0.2.1/30] }\n"
const routes = (list: string) => router(`${TWO}routes: [${list}]`)
const policies = (list: string) =>
  router(`${TWO}routes: [{ to: 10.9.0.0/16, via: 10.0.0.2, table: 7 }]\npolicies: [${list}]`)
const nat = (list: string) => router(`${TWO}nat: [${list}]`)

describe('interfaces that cannot be', () => {
  const table: [text: string, message: string][] = [
    [
      a(''),
      '4:22  ~interfaces.a: found none of them, expected exactly one of switch, tap, tun, packet or memory',
    ],
    [
      a('switch: lan, memory: {}'),
      '4:22  ~interfaces.a: found switch and memory, expected exactly one of switch, tap, tun, packet or memory',
    ],
    [
      a('switch: lna'),
      "4:32  ~interfaces.a.switch: found 'lna', expected a switch of this file: lan (did you mean lan?)",
    ],
    [
      a('memory: {}, vlan: 5'),
      '4:42  ~interfaces.a.vlan: found 5, expected vlan beside switch only (this is on a memory)',
    ],
    [
      a('switch: lan, vlan: 10'),
      '4:43  ~interfaces.a.vlan: found 10, expected no vlan (no port of switch lan has a vlan key: give one to those that are in a VLAN)',
    ],
    [
      a('switch: lan, vlan: 11', TAGGED),
      '4:43  ~interfaces.a.vlan: found 11, expected a VLAN of a port of switch lan: 10, 20 or 21',
    ],
    [
      a('switch: lan', TAGGED),
      '4:22  ~interfaces.a: found no vlan, which is VLAN 1, expected a VLAN of a port of switch lan: 10, 20 or 21',
    ],
    [a('switch: lan, vlan: 20', TAGGED), 'nothing'],
    [
      a('switch: lan, vlan: 4095', TAGGED),
      '4:43  ~interfaces.a.vlan: found 4095, expected a VLAN id from 1 to 4094 (4095 is reserved by 802.1Q)',
    ],
    [
      a('tun: { name: t }, mac: 02:00:00:00:00:01'),
      "4:47  ~interfaces.a.mac: found '02:00:00:00:00:01', expected no MAC address (a TUN carries IP packets without Ethernet)",
    ],
    [
      a("memory: {}, addresses: ['fd00::1/64'], mtu: 1279"),
      '4:68  ~interfaces.a.mtu: found 1279, expected at least 1280 (it has an IPv6 address, RFC 8200 section 5)',
    ],
    [
      a("tap: { name: x, mtu: 1000 }, addresses: ['fd00::1/64']"),
      '4:19  ~interfaces.a.mtu: found 1000, expected at least 1280 (it has an IPv6 address, RFC 8200 section 5)',
    ],
    [
      a('memory: {}, addresses: [127.0.0.1/8]'),
      "4:48  ~interfaces.a.addresses[0]: found '127.0.0.1/8', expected an address for others (no packet may carry this one)",
    ],
    [
      a('memory: {}, addresses: [10.0.0.0/24]'),
      "4:48  ~interfaces.a.addresses[0]: found '10.0.0.0/24', expected an address with its prefix, such as 10.0.0.2/24 or fd00::2/64 (that is the network's own address)",
    ],
    [
      a('memory: {}, addresses: [10.0.0.255/24]'),
      "4:48  ~interfaces.a.addresses[0]: found '10.0.0.255/24', expected an address with its prefix, such as 10.0.0.2/24 or fd00::2/64 (that is the network's broadcast address)",
    ],
    [
      a('memory: {}, rpFilter: on'),
      "4:46  ~interfaces.a.rpFilter: found 'on', expected off, strict or loose",
    ],
    [
      a('memory: {}, clampMss: yes'),
      "4:46  ~interfaces.a.clampMss: found 'yes', expected true or false (YAML 1.2 has no other words for it)",
    ],
    [
      a('memory: {}, dad: strickt'),
      "4:41  ~interfaces.a.dad: found 'strickt', expected true, false or strict",
    ],
    [
      a('wireguard: {}'),
      '4:24  ~interfaces.a.wireguard: found a key of a later version, expected no wireguard yet (this version does not have WireGuard)',
    ],
    [
      a('pcap: { file: x }'),
      '4:24  ~interfaces.a.pcap: found an unknown key, expected switch, vlan, tap, tun, packet, memory, addresses, mac, mtu, rpFilter, clampMss, dad, dhcp, advertise or fault (did you mean tap?)',
    ],
    [
      a(
        'memory: {}, addresses: [10.0.0.1/24,10.0.1.1/24,10.0.2.1/24,10.0.3.1/24,10.0.4.1/24,10.0.5.1/24,10.0.6.1/24,10.0.7.1/24,10.0.8.1/24,10.0.9.1/24,10.0.10.1/24,10.0.11.1/24,10.0.12.1/24,10.0.13.1/24,10.0.14.1/24,10.0.15.1/24,10.0.16.1/24]',
      ),
      '4:47  ~interfaces.a.addresses: found 17 IPv4 addresses, expected at most 16',
    ],
    [
      router('interfaces: { this-name-is-too-long: { memory: {} } }'),
      "4:19  ~interfaces.this-name-is-too-long: found the name 'this-name-is-too-long', expected a name of letters, digits, - and _, 15 at most (rules name it)",
    ],
    [
      router('interface: {}'),
      '4:5  ~interface: found an unknown key, expected interfaces, routes, policies, nat, rules, rules6, sets, setFiles, nflog, conntrack or profile (did you mean interfaces?)',
    ],
    [
      router("interfaces: { 'a.b': { memory: {} } }"),
      "4:19  ~interfaces.a.b: found the name 'a.b', expected a name of letters, digits, - and _, 15 at most (rules name it)",
    ],
    [
      router(
        'interfaces:\n  a: { memory: {}, addresses: [10.0.0.1/16] }\n  b: { memory: {}, addresses: [10.0.3.1/24] }',
      ),
      "6:36  ~interfaces.b.addresses[0]: found '10.0.3.1/24', expected a subnet that no other interface has (it overlaps 10.0.0.1/16 of a: ~interfaces.a.addresses[0], line 5)",
    ],
    [
      router(
        'interfaces:\n  a: { memory: {}, addresses: [10.0.3.1/24] }\n  b: { memory: {}, addresses: [172.16.0.1/12, 10.0.0.1/16] }',
      ),
      "6:51  ~interfaces.b.addresses[1]: found '10.0.0.1/16', expected a subnet that no other interface has (it overlaps 10.0.3.1/24 of a: ~interfaces.a.addresses[0], line 5)",
    ],
    [
      router(
        'interfaces:\n  a: { memory: {}, addresses: [10.0.0.1/24] }\n  b: { memory: {}, addresses: [10.0.0.1/24] }',
      ),
      '6:36  ~interfaces.b.addresses[0]: found 10.0.0.1 again, expected another address (also at ~interfaces.a.addresses[0], line 5)',
    ],
    [
      router(
        "interfaces:\n  a: { switch: lan, addresses: ['fe80::1/64'] }\n  b: { switch: lan, addresses: ['fe80::1/64'] }",
      ),
      '6:37  ~interfaces.b.addresses[0]: found fe80::1 again, expected another address (also at ~interfaces.a.addresses[0], line 5)',
    ],
    [
      router(
        'interfaces:\n  a: { tap: { name: x }, addresses: [10.0.0.1/24] }\n  b: { tap: { name: x, addresses: [10.0.0.1/24] } }',
      ),
      "6:25  ~interfaces.b.tap.name: found 'x' in the own namespace again, expected another name (also at ~interfaces.a.tap.name, line 5)\n6:40  ~interfaces.b.tap.addresses[0]: found 10.0.0.1 again, expected another address (also at ~interfaces.a.addresses[0], line 5)",
    ],
    [
      a('switch: lan, mac: 02:00:00:00:00:01', '{ p: { memory: {}, static: [02:00:00:00:00:01] } }'),
      '1:55  switches.lan.ports.p.static[0]: found 02:00:00:00:00:01, which a device of another port has, expected another MAC address (also at ~interfaces.a, line 4)',
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('routes that lead nowhere or are none', () => {
  const table: [text: string, message: string][] = [
    [
      routes('{ to: default, via: 10.5.0.1 }'),
      "7:34  ~routes[0].via: found '10.5.0.1', expected an address in a subnet of ours: 10.0.0.1/24 (a) or 192.0.2.1/30 (b) (a gateway must be reachable without one)",
    ],
    [
      routes("{ to: default, via: 'fd01::1' }"),
      "7:34  ~routes[0].via: found 'fd01::1', expected an address in a subnet of ours: fd00::1/64 (a) (a gateway must be reachable without one)",
    ],
    [
      routes('{ to: default, via: 10.0.0.1 }'),
      "7:34  ~routes[0].via: found '10.0.0.1', expected another host (it is our own address, of a)",
    ],
    [
      routes('{ to: default, via: 10.0.0.255 }'),
      "7:34  ~routes[0].via: found '10.0.0.255', expected another host (that is the network's broadcast address)",
    ],
    [
      routes('{ to: default, via: 192.0.2.2, interface: a }'),
      "7:34  ~routes[0].via: found '192.0.2.2', expected an address in a subnet of a: 10.0.0.1/24 (it is behind b)",
    ],
    [
      routes('{ to: default, via: 192.0.2.2, interface: c }'),
      "7:56  ~routes[0].interface: found 'c', expected an interface of this router: a or b (did you mean a?)",
    ],
    [
      routes("{ to: default, via: 'fe80::1' }"),
      "7:34  ~routes[0].via: found 'fe80::1', expected interface beside it (a link-local address is on every link)",
    ],
    [
      routes('{ to: default, interface: a }'),
      "7:20  ~routes[0].to: found 'default', expected 0.0.0.0/0 or ::/0 (only a gateway tells the family of `default`)",
    ],
    [routes('{ to: 10.1.0.0/16 }'), '7:14  ~routes[0]: found neither of them, expected via or interface'],
    [
      routes('{ to: 10.1.0.1/16, via: 10.0.0.2 }'),
      "7:20  ~routes[0].to: found '10.1.0.1/16', expected 'default', or a network such as 10.0.0.0/8 or fd00::/8 (that is a host; its network is 10.1.0.0/16)",
    ],
    [
      routes("{ to: 10.1.0.0/16, via: 'fd00::2' }"),
      "7:38  ~routes[0].via: found 'fd00::2', expected an IPv4 address (as to)",
    ],
    [
      routes("{ to: default, via: [10.0.0.2, 'fd00::2'] }"),
      "7:45  ~routes[0].via[1]: found 'fd00::2', expected an IPv4 address (as the first gateway)",
    ],
    [
      routes('{ to: 10.1.0.0/16, via: [] }'),
      '7:38  ~routes[0].via: found an empty list, expected at least one gateway',
    ],
    [
      routes('{ to: 10.1.0.0/16, via: [{ weight: 2 }] }'),
      '7:39  ~routes[0].via[0]: found neither of them, expected via or interface',
    ],
    [
      routes('{ to: 10.1.0.0/16, via: [10.0.0.2, 10.0.0.2] }'),
      '7:49  ~routes[0].via[1]: found 10.0.0.2 again, expected each gateway once (also at ~routes[0].via[0], line 7)',
    ],
    [
      routes('{ to: 10.1.0.0/16, via: [{ via: 10.0.0.2, weight: 0 }] }'),
      '7:64  ~routes[0].via[0].weight: found 0, expected a weight from 1 to 256',
    ],
    [
      routes('{ to: 10.1.0.0/16, via: [{ interface: c }] }'),
      "7:52  ~routes[0].via[0].interface: found 'c', expected an interface of this router: a or b (did you mean a?)",
    ],
    [
      routes('{ to: default, type: blackhole }'),
      "7:20  ~routes[0].to: found 'default', expected 0.0.0.0/0 or ::/0 (only a gateway tells the family of `default`)",
    ],
    [
      routes('{ to: 0.0.0.0/0, type: blackhole, via: 10.0.0.2 }'),
      "7:53  ~routes[0].via: found '10.0.0.2', expected no via (this is a blackhole route)",
    ],
    [
      routes('{ to: 10.1.0.0/16, type: local }'),
      "7:39  ~routes[0].type: found 'local', expected unicast, blackhole, unreachable, prohibit or throw",
    ],
    [
      routes('{ to: 10.1.0.0/16, via: 10.0.0.2 }, { to: 10.1.0.0/16, via: 10.0.0.3 }'),
      '7:56  ~routes[1].to: found 10.1.0.0/16 again, expected each destination once per table and metric (also at ~routes[0].to, line 7)',
    ],
    [
      routes('{ to: 10.1.0.0/16, via: 10.0.0.2, interface: a, dev: a }'),
      "7:67  ~routes[0].dev: found 'a', expected either interface or dev (they mean the same)",
    ],
    [
      routes('{ to: 10.1.0.0/16, via: 10.0.0.2, src: 10.0.0.7 }'),
      "7:53  ~routes[0].src: found '10.0.0.7', expected an address of ours: 10.0.0.1 or 192.0.2.1",
    ],
    [
      routes('{ to: 10.1.0.0/16, via: 10.0.0.2, table: mian }'),
      "7:55  ~routes[0].table: found 'mian', expected a table from 1 to 32767, or local, main or default",
    ],
    [
      routes('{ to: 10.1.0.0/16, via: 10.0.0.2, metric: -1 }'),
      '7:56  ~routes[0].metric: found -1, expected a metric from 0 to 2147483647',
    ],
    [
      routes('{ via: 10.0.0.2 }'),
      "7:14  ~routes[0].to: found nothing, expected 'default', or a network such as 10.0.0.0/8 or fd00::/8",
    ],
    [
      routes('{ to: 10.1.0.0/16, gateway: 10.0.0.2 }'),
      '7:33  ~routes[0].gateway: found an unknown key, expected to, via, interface, dev, metric, table, src or type',
    ],
    [
      routes('{ to: everywhere, via: 10.0.0.2 }'),
      "7:20  ~routes[0].to: found 'everywhere', expected 'default', or a network such as 10.0.0.0/8 or fd00::/8",
    ],
    [routes('{ to: 172.16.0.0/12, interface: b }, { to: default, via: 172.16.5.5 }'), 'nothing'],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('policies', () => {
  const table: [text: string, message: string][] = [
    [
      policies('{ priority: 5, table: 8 }'),
      '8:38  ~policies[0].table: found 8, expected a table with routes: local, main or 7',
    ],
    [policies('{ priority: 5, table: 7 }'), 'nothing'],
    [
      policies('{ table: 7 }'),
      '8:16  ~policies[0].priority: found nothing, expected a priority from 1 to 4294967295',
    ],
    [
      policies('{ priority: 0, table: 7 }'),
      '8:28  ~policies[0].priority: found 0, expected a priority from 1 to 4294967295 (0 is where table local is asked)',
    ],
    [
      policies('{ priority: 32766, table: 7 }'),
      '8:28  ~policies[0].priority: found 32766, expected a priority from 1 to 4294967295, not 32766 (table main is asked there)',
    ],
    [
      policies('{ priority: 5, table: 7, interface: c }'),
      "8:52  ~policies[0].interface: found 'c', expected an interface of this router: a or b (did you mean a?)",
    ],
    [
      policies('{ priority: 5, table: 7, mark: 0x1ff/0xff }'),
      "8:47  ~policies[0].mark: found '0x1ff/0xff', expected a mark such as 7 or '0x1/0xff' (the value has bits that the mask has not: it could never match)",
    ],
    [
      policies('{ priority: 5, table: 7, mark: x }'),
      "8:47  ~policies[0].mark: found 'x', expected a mark such as 7 or '0x1/0xff'",
    ],
    [
      policies("{ priority: 5, table: 7, from: 10.0.0.0/8, to: 'fd00::/8' }"),
      "8:63  ~policies[0].to: found 'fd00::/8', expected an IPv4 network (as from: a packet has one family)",
    ],
    [
      policies('{ priority: 5, table: 7, from: 10.0.0.1/8 }'),
      "8:47  ~policies[0].from: found '10.0.0.1/8', expected a network such as 10.0.0.0/8 or fd00::/8, or one address (that is a host; its network is 10.0.0.0/8)",
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('nat', () => {
  const table: [text: string, message: string][] = [
    [nat('{}'), '7:11  ~nat[0]: found none of them, expected exactly one of masquerade or publish'],
    [
      nat('{ masquerade: { from: 10.0.0.0/24, out: c } }'),
      "7:51  ~nat[0].masquerade.out: found 'c', expected an interface of this router: a or b (did you mean a?)",
    ],
    [
      nat("{ masquerade: { from: 'fd00::/64', out: b } }"),
      "7:51  ~nat[0].masquerade.out: found 'b', expected an interface with an IPv6 address (it is what others see instead)",
    ],
    [
      nat('{ masquerade: { from: 10.0.0.0/24 } }'),
      '7:13  ~nat[0].masquerade.out: found nothing, expected the name of an interface',
    ],
    [
      nat('{ masquerade: { from: 10.0.0.0/24, out: b } }, { masquerade: { from: 10.0.0.0/24, out: b } }'),
      '7:72  ~nat[1].masquerade: found 10.0.0.0/24 out of b again, expected each masquerade once (also at ~nat[0].masquerade, line 7)',
    ],
    [
      nat('{ masquerade: { from: 10.0.0.1/24, out: b } }'),
      "7:33  ~nat[0].masquerade.from: found '10.0.0.1/24', expected a network such as 10.0.0.0/8 or fd00::/8, or one address (that is a host; its network is 10.0.0.0/24)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:80', to: '172.16.0.1:80' } }"),
      "7:52  ~nat[0].publish.to: found '172.16.0.1:80', expected an address that a route leads to (our subnets are 10.0.0.1/24 and 192.0.2.1/30)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.9:80', to: '10.0.0.2:80' } }"),
      '7:32  ~nat[0].publish.listen: found 192.0.2.9, expected an address of ours: 10.0.0.1 or 192.0.2.1 (without an address, all of them)',
    ],
    [
      nat("{ publish: { listen: 80, to: '10.0.0.2:80' } }"),
      "7:32  ~nat[0].publish.listen: found 80, expected 'ADDRESS:PORT', 'ADDRESS:FIRST-LAST' or ':PORT' (':80' is this port of all our addresses)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1', to: '10.0.0.2:80' } }"),
      "7:32  ~nat[0].publish.listen: found '192.0.2.1', expected 'ADDRESS:PORT', 'ADDRESS:FIRST-LAST' or ':PORT' (the port is missing)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:0', to: '10.0.0.2:80' } }"),
      "7:32  ~nat[0].publish.listen: found '192.0.2.1:0', expected 'ADDRESS:PORT', 'ADDRESS:FIRST-LAST' or ':PORT' (a port is from 1 to 65535)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:90-80', to: '10.0.0.2:80' } }"),
      "7:32  ~nat[0].publish.listen: found '192.0.2.1:90-80', expected 'ADDRESS:PORT', 'ADDRESS:FIRST-LAST' or ':PORT' (the smaller port first)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:80-89', to: '10.0.0.2:80' } }"),
      "7:55  ~nat[0].publish.to: found '10.0.0.2:80', expected 10 ports, as listen (such as 10.0.0.2:80-89)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:80', to: '10.0.0.1:80' } }"),
      "7:52  ~nat[0].publish.to: found '10.0.0.1:80', expected another host (10.0.0.1 is our own address, of a)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:80', to: '10.0.0.255:80' } }"),
      "7:52  ~nat[0].publish.to: found '10.0.0.255:80', expected another host (10.0.0.255 is the network's broadcast address)",
    ],
    [
      nat("{ publish: { listen: '192.0.2.1:80', to: '[fd00::2]:80' } }"),
      '7:32  ~nat[0].publish.listen: found 192.0.2.1, expected an IPv6 address, as to (a translation stays in its family)',
    ],
    [
      nat("{ publish: { listen: ':80', to: 'fd00::2:80' } }"),
      "7:43  ~nat[0].publish.to: found 'fd00::2:80', expected 'ADDRESS:PORT' or 'ADDRESS:FIRST-LAST' (in brackets: [fd00::2]:80)",
    ],
    [
      nat("{ publish: { proto: sctp, listen: ':80', to: '10.0.0.2:80' } }"),
      "7:31  ~nat[0].publish.proto: found 'sctp', expected tcp or udp",
    ],
    [
      nat("{ publish: { listen: ':80', to: ':80' } }"),
      "7:43  ~nat[0].publish.to: found ':80', expected 'ADDRESS:PORT' or 'ADDRESS:FIRST-LAST'",
    ],
    [
      nat(
        "{ publish: { listen: '192.0.2.1:80-89', to: '10.0.0.2:80-89' } },\n    { publish: { listen: ':85', to: '10.0.0.3:80' } }",
      ),
      '8:30  ~nat[1].publish.listen: found tcp :85, which collides with another, expected ports that are not published yet (192.0.2.1:80-89 at ~nat[0].publish.listen, line 7)',
    ],
    [
      router(
        "interfaces:\n  a: { switch: lan, addresses: [10.0.0.1/24], dhcp: {} }\nnat: [{ publish: { proto: udp, listen: ':60-70', to: '10.0.0.2:60-70' } }]",
      ),
      "6:44  ~nat[0].publish.listen: found udp :60-70, expected ports that are free: 67 is the DHCP server's, on a",
    ],
    [
      router(
        "interfaces:\n  a: { switch: lan, addresses: [10.0.0.1/24], dhcp: {} }\nnat: [{ publish: { listen: ':67', to: '10.0.0.2:67' } }]",
      ),
      'nothing',
    ],
    [
      nat(
        "{ publish: { listen: '192.0.2.1:80', to: '10.0.0.2:80' } }, { publish: { listen: '10.0.0.1:80', to: '10.0.0.3:80' } }, { publish: { proto: udp, listen: '192.0.2.1:80', to: '10.0.0.2:80' } }, { publish: { listen: ':80', to: '[fd00::2]:80' } }",
      ),
      'nothing',
    ],
    [
      router(
        TWO +
          "routes: [{ to: 172.16.0.0/12, via: 10.0.0.2 }, { to: 172.17.0.0/16, type: blackhole }]\nnat: [{ publish: { listen: ':80', to: '172.16.0.1:80' } }, { publish: { listen: ':81', to: '172.17.0.1:80' } }]",
      ),
      "8:96  ~nat[1].publish.to: found '172.17.0.1:80', expected an address that a route leads to (our subnets are 10.0.0.1/24 and 192.0.2.1/30)",
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('everything else', () => {
  const table: [text: string, message: string][] = [
    [
      router('rules: no.rules'),
      "4:12  ~rules: found 'no.rules', expected a file in iptables-save format (there is no no.rules)",
    ],
    [
      router('rules: .'),
      "4:12  ~rules: found '.', expected a file in iptables-save format (. is a directory)",
    ],
    [router("rules: ''"), "4:12  ~rules: found '', expected the name of a file"],
    [router('profile: bsd'), "4:14  ~profile: found 'bsd', expected linux or rfc"],
    [
      router('interfaces: {}\nroutez: []'),
      '5:5  ~routez: found an unknown key, expected interfaces, routes, policies, nat, rules, rules6, sets, setFiles, nflog, conntrack or profile (did you mean routes?)',
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('a router and its switches', () => {
  it('a switch that is not there', () => {
    expect(complaints('routers: { r: { interfaces: { a: { switch: lan } } } }\n')).toBe(
      "1:44  ~interfaces.a.switch: found 'lan', expected a switch of this file",
    )
  })

  it('needs none: a file may have routers only', () => {
    const { switches, routers } = parseConfig('routers: { r: { interfaces: { a: { memory: {} } } } }', 'x')
    expect([switches, Object.keys(routers)]).toEqual([{}, ['r']])
  })

  it('a mistake in a switch, or in the word switches, says nothing of the router', () => {
    expect(complaints(a('switch: lan, vlan: 10').replace('memory: {}', 'memori: {}'))).toMatch(/^1:34 .*$/)
    expect(complaints(a('switch: lan').replace('switches', 'switchs'))).toMatch(/^1:1 .*switches\?\)$/)
    expect(complaints(`switches: 5\n${a('switch: lan').replace(/^.*\n/, '')}`)).toMatch(/^1:11 .*$/)
  })

  it('an interface with a VLAN makes an empty switch look at tags', () => {
    const { switches, routers } = parseConfig(a('switch: lan, vlan: 5', '{}'), 'x')
    expect(switches.lan.vlanAware).toBe(true)
    expect(routers.r.interfaces.a.on).toEqual({ type: 'switch', switch: 'lan', vlan: 5 })
  })

  it('without `vlan` it is where ports without `vlan` are', () => {
    const on = (text: string) => parseConfig(text, 'x').routers.r.interfaces.a.on
    expect(on(a('switch: lan'))).toEqual({ type: 'switch', switch: 'lan', vlan: null })
    const mixed = '{ p: { memory: {} }, q: { memory: {}, vlan: { access: 9 } } }'
    expect(on(a('switch: lan', mixed))).toEqual({ type: 'switch', switch: 'lan', vlan: 1 })
  })

  it('two interfaces may be on one switch and VLAN, and alone in it', () => {
    const two = (one: string, other: string) =>
      router(`interfaces: { a: { ${one} }, b: { ${other} } }`, TAGGED)
    expect(complaints(two('switch: lan, vlan: 10', 'switch: lan, vlan: 10'))).toBe('nothing')
    expect(complaints(two('switch: lan, vlan: 99', 'switch: lan, vlan: 99'))).toBe('nothing')
  })

  it('a link-local address is unique on its link only', () => {
    const LL = "addresses: ['fe80::1/64']"
    const stick = (one: number, other: number) =>
      router(
        `interfaces:\n  a: { switch: lan, vlan: ${one}, ${LL} }\n  b: { switch: lan, vlan: ${other}, ${LL} }`,
        TAGGED,
      )
    expect(complaints(stick(10, 20))).toBe('nothing')
    expect(complaints(stick(10, 10))).toContain('fe80::1 again')
    const host = `{ p: { tap: { name: x, ${LL} } } }`
    expect(complaints(a(`switch: lan, ${LL}`, host))).toContain('fe80::1 again')
    expect(complaints(a(`memory: {}, ${LL}`, host))).toBe('nothing')
  })

  it('an interface on a switch takes two of the ports of a fabric', () => {
    const interfaces = (n: number) =>
      Object.fromEntries(Array.from({ length: n }, (_, i) => [`i${i}`, { switch: 'lan' }]))
    const count = (n: number) => () =>
      checkConfigObject({
        switches: { lan: {} },
        routers: { a: { interfaces: interfaces(256) }, b: { interfaces: interfaces(n) } },
      })
    expect(count(256)).not.toThrow()
    expect(() =>
      checkConfigObject({ switches: { lan: {} }, routers: { a: { interfaces: interfaces(257) } } }),
    ).toThrow('routers.a.interfaces: found 257 interfaces, expected at most 256')
    const three = {
      a: { interfaces: interfaces(256) },
      b: { interfaces: interfaces(256) },
      c: { interfaces: interfaces(1) },
    }
    expect(() => checkConfigObject({ switches: { lan: {} }, routers: three })).toThrow(
      'found 1026 ports, expected at most 1024',
    )
  })
})

describe('a good router', () => {
  const r = (body: string) => parseConfig(router(body), 'lab.yaml').routers.r

  it('gets every default', () => {
    expect(r('interfaces: { a: { switch: lan } }')).toEqual({
      interfaces: {
        a: {
          on: { type: 'switch', switch: 'lan', vlan: null },
          addresses: [],
          mtu: 1500,
          rpFilter: 'off',
          clampMss: false,
          dad: 'on',
        },
      },
      routes: [],
      policies: [],
      nat: [],
      rules: [],
      profile: 'linux',
      sets: [],
      nflog: [],
      conntrack: {
        max: 1048576,
        perSource: 0,
        timeouts: {},
        loose: true,
        liberal: false,
        maxRetrans: 3,
        filtering: 'endpoint-independent',
      },
    })
  })

  it('has the MTU of its device', () => {
    const { interfaces } = r(
      'interfaces: { a: { tap: { name: x, mtu: 9000 } }, b: { tun: { name: y, mtu: 1400 } }, c: { packet: { name: z } }, d: { memory: {} }, e: { tap: { name: w, mtu: 9000 }, mtu: 1500 } }',
    )
    expect(Object.values(interfaces).map((i) => i.mtu)).toEqual([9000, 1400, 0, 1500, 1500])
  })

  it('finds the interface of a gateway: the longest prefix, of a subnet or of a route on a link', () => {
    const { routes } = r(
      `${TWO}routes:
  - { to: default, via: 10.0.0.2 }
  - { to: default, via: 'fd00:0::2' }
  - { to: 10.1.0.0/16, via: [192.0.2.2, { via: 10.0.0.3, weight: 4 }, { via: 10.0.0.4, interface: a }] }
  - { to: 10.0.0.128/25, interface: b }
  - { to: 10.2.0.1, via: 10.0.0.129 }
  - { to: 'fd02::/16', via: 'fe80::7', dev: b, metric: 5, table: 7, src: 'fd00::1' }
  - { to: 10.3.0.0/16, type: prohibit }`,
    )
    const plain = { kind: 'unicast', metric: 0, table: 254, src: '' }
    expect(routes).toEqual([
      { ...plain, to: '0.0.0.0/0', hops: [{ via: '10.0.0.2', interface: 'a', weight: 1 }] },
      { ...plain, to: '::/0', hops: [{ via: 'fd00::2', interface: 'a', weight: 1 }] },
      {
        ...plain,
        to: '10.1.0.0/16',
        hops: [
          { via: '192.0.2.2', interface: 'b', weight: 1 },
          { via: '10.0.0.3', interface: 'a', weight: 4 },
          { via: '10.0.0.4', interface: 'a', weight: 1 },
        ],
      },
      { ...plain, to: '10.0.0.128/25', hops: [{ via: '', interface: 'b', weight: 1 }] },
      { ...plain, to: '10.2.0.1/32', hops: [{ via: '10.0.0.129', interface: 'b', weight: 1 }] },
      {
        kind: 'unicast',
        to: 'fd02::/16',
        metric: 5,
        table: 7,
        src: 'fd00::1',
        hops: [{ via: 'fe80::7', interface: 'b', weight: 1 }],
      },
      { ...plain, kind: 'prohibit', to: '10.3.0.0/16', hops: [] },
    ])
  })

  it('names tables, and reads marks with their masks', () => {
    const { routes, policies } = r(
      `${TWO}routes: [{ to: default, via: 10.0.0.2, table: default }, { to: 'fd00::/8', type: throw, table: local }]
policies:
  - { priority: 5, table: default, mark: 7 }
  - { priority: 5, table: main, mark: '0x80000000/0xF0000000', from: 10.0.0.0/8, to: 0.0.0.0/0, interface: b }`,
    )
    expect(routes.map((route) => route.table)).toEqual([253, 255])
    expect(policies).toEqual([
      { priority: 5, table: 253, from: '', to: '', interface: '', mark: { value: 7, mask: 0xffffffff } },
      {
        priority: 5,
        table: 254,
        from: '10.0.0.0/8',
        to: '0.0.0.0/0',
        interface: 'b',
        mark: { value: 0x80000000, mask: 0xf0000000 },
      },
    ])
  })

  it('translates: ranges lead to ranges', () => {
    const { nat } = r(
      `${TWO}nat:
  - { masquerade: { from: 10.0.0.0/24, out: b } }
  - { publish: { listen: '192.0.2.1:8080', to: '10.0.0.9:80' } }
  - { publish: { proto: udp, listen: ':5000-5009', to: '10.0.0.9:6000-6009' } }
  - { publish: { listen: '[fd00::1]:443', to: '[fd00:0::9]:443' } }`,
    )
    expect(nat).toEqual([
      { type: 'masquerade', from: '10.0.0.0/24', out: 'b' },
      {
        type: 'publish',
        proto: 'tcp',
        listen: '192.0.2.1',
        listenPorts: [8080, 8080],
        to: '10.0.0.9',
        toPort: 80,
      },
      { type: 'publish', proto: 'udp', listen: '', listenPorts: [5000, 5009], to: '10.0.0.9', toPort: 6000 },
      {
        type: 'publish',
        proto: 'tcp',
        listen: 'fd00::1',
        listenPorts: [443, 443],
        to: 'fd00::9',
        toPort: 443,
      },
    ])
  })
})

describe('rules files', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tl-rules-'))
  const FILTER = '*filter\n:FORWARD DROP [0:0]\nCOMMIT\n'
  writeFileSync(join(dir, 'good.rules'), `${FILTER}*nat\nCOMMIT\n`)
  writeFileSync(join(dir, 'again.rules'), `# more\n${FILTER}`)
  writeFileSync(join(dir, 'good6.rules'), '*filter\n-A INPUT -s fe80::/10 -j ACCEPT\nCOMMIT\n')
  writeFileSync(
    join(dir, 'bad.rules'),
    '*filter\n-A INPUT -m u32 -j DROP\n-A NOWHERE -j DROP\n-A INPUT -j DORP\nCOMMIT\n',
  )
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  const load = (body: string) => parseConfig(router(body), join(dir, 'lab.yaml'))
  const problems = (body: string) => {
    try {
      load(body)
      return []
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      return error.problems
    }
  }

  it('are read with the configuration, from its directory on', () => {
    const { rules } = load('rules: good.rules\nrules6: [good6.rules]').routers.r
    expect(rules).toEqual([
      { file: join(dir, 'good.rules'), text: `${FILTER}*nat\nCOMMIT\n`, family: 4 },
      { file: join(dir, 'good6.rules'), text: expect.stringContaining('fe80::/10'), family: 6 },
    ])
    expect(load(`rules: ${join(dir, 'good.rules')}`).routers.r.rules).toHaveLength(1)
  })

  it('a mistake in one is told with its own line, after those of the configuration', () => {
    const found = problems('rules: bad.rules\nprofile: bsd')
    expect(found.map((p) => [p.file?.replace(`${dir}/`, ''), p.line, p.path])).toEqual([
      ['lab.yaml', 5, 'routers.r.profile'],
      ['bad.rules', 2, 'routers.r.rules'],
      ['bad.rules', 3, 'routers.r.rules'],
      ['bad.rules', 4, 'routers.r.rules'],
    ])
    expect(found[1]).toMatchObject({ found: "'-A INPUT -m u32 -j DROP'", hint: "unknown match 'u32'" })
    expect(found[1].expected).toMatch(/^addrtype, .* or /)
  })

  it('of the other family are not taken', () => {
    expect(problems('rules: good6.rules')).toMatchObject([{ line: 2, path: 'routers.r.rules' }])
  })

  it('a table is in one file', () => {
    expect(problems('rules: [good.rules, again.rules]')).toEqual([
      {
        file: join(dir, 'again.rules'),
        line: 2,
        path: 'routers.r.rules[1]',
        found: 'table filter again',
        expected: 'each table in one file',
        hint: `also in ${join(dir, 'good.rules')}`,
      },
    ])
  })

  it('that cannot be read are told where they are named', () => {
    expect(problems('rules: [good.rules, no.rules]')).toMatchObject([
      {
        line: 4,
        column: 25,
        path: 'routers.r.rules[1]',
        found: "'no.rules'",
        hint: `there is no ${dir}/no.rules`,
      },
    ])
    expect(problems('rules: good.rules/x')).toMatchObject([{ hint: `there is no ${dir}/good.rules/x` }])
    expect(problems('rules: /dev/null')).toMatchObject([{ hint: '/dev/null is no plain file' }])
    chmodSync(join(dir, 'again.rules'), 0)
    if (process.getuid?.() !== 0)
      expect(problems('rules: again.rules')).toMatchObject([{ hint: `${dir}/again.rules may not be read` }])
  })
})

it('devices of interfaces must be free, or there', () => {
  const { routers } = parseConfig(a('tap: { name: lo }'), 'lab.yaml')
  expect(Object.keys(routers)).toEqual(['r'])
  const told = (body: string) =>
    systemProblems(parseConfig(a(body), 'lab.yaml')).map(
      (p) => `${p.line}:${p.column} ${p.path}: ${p.expected}`,
    )
  expect(told('tap: { name: lo }')).toEqual(['4:37 routers.r.interfaces.a.tap.name: a name that is free'])
  expect(told('packet: { name: tl-no-such }')).toEqual([
    '4:40 routers.r.interfaces.a.packet.name: a device that exists',
  ])
  expect(told('switch: lan')).toEqual([])
})
