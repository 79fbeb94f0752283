/** What `dhcp` and `advertise` of a router's interface may say, what they mean, and how a mistake is told. */
import { describe, expect, it } from 'vitest'
import { ConfigError } from '../../src/config/error.ts'
import { checkConfigObject, parseConfig } from '../../src/config/load.ts'

const lan = (keys: string, addresses = "10.0.0.1/24, 'fd00::1/64'", more = '') =>
  `switches: { lan: { ports: { p: { memory: {} } } } }
routers:
  r:
    interfaces:
      a:
        switch: lan
        addresses: [${addresses}]${more && `\n        ${more}`}
        ${keys}
`

function complaints(text: string): string {
  try {
    parseConfig(text, 'lab.yaml')
    return 'nothing'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const plain = error.message
      .replaceAll(/^lab\.yaml:\d+:\d+ +/gm, '')
      .replace(/found '([^']*)'/, 'found $1')
    return plain.replaceAll('routers.r.interfaces.a.', '~')
  }
}

describe('dhcp that cannot be', () => {
  const dhcp = (keys: string, addresses?: string, more?: string) => lan(`dhcp: { ${keys} }`, addresses, more)
  const table: [text: string, message: string][] = [
    [
      dhcp('', "'fd00::1/64'"),
      '~dhcp: found no IPv4 address, expected an IPv4 address of ours, in the subnet to serve, in addresses',
    ],
    [
      dhcp('', '10.0.0.0/31'),
      '~dhcp: found no IPv4 subnet of /30 or larger, expected an IPv4 address of ours, in the subnet to serve, in addresses',
    ],
    [
      dhcp('pool: 10.0.1.1-10.0.1.9'),
      '~dhcp.pool: found 10.0.1.1-10.0.1.9, expected addresses in 10.0.0.1-10.0.0.254 (the hosts of 10.0.0.0/24, our subnet)',
    ],
    [
      dhcp('pool: [10.0.0.200-10.0.0.255]'),
      '~dhcp.pool[0]: found 10.0.0.200-10.0.0.255, expected addresses in 10.0.0.1-10.0.0.254 (the hosts of 10.0.0.0/24, our subnet)',
    ],
    [
      dhcp('pool: [10.0.0.1-10.0.0.9]'),
      '~dhcp.pool[0]: found 10.0.0.1-10.0.0.9, expected a range without 10.0.0.1 (that is our own address)',
    ],
    [
      dhcp('pool: [10.0.0.5-10.0.0.9], router: 10.0.0.7'),
      '~dhcp.pool[0]: found 10.0.0.5-10.0.0.9, expected a range without 10.0.0.7 (that is the router that clients are told)',
    ],
    [
      dhcp('pool: [10.0.0.5-10.0.0.9, 10.0.0.9]'),
      '~dhcp.pool[1]: found 10.0.0.9, expected addresses that are in one range only (10.0.0.5-10.0.0.9 has some of them)',
    ],
    [
      dhcp('pool: 10.0.0.9-10.0.0.5'),
      "~dhcp.pool: found 10.0.0.9-10.0.0.5, expected addresses such as '10.0.0.100-10.0.0.199', or one (the smaller address first)",
    ],
    [
      dhcp("pool: 'fd00::1-fd00::9'"),
      "~dhcp.pool: found fd00::1-fd00::9, expected addresses such as '10.0.0.100-10.0.0.199', or one (DHCP is for IPv4)",
    ],
    [dhcp('', '10.0.0.1/8'), '~dhcp: found 16777214 addresses, expected a pool of at most 65536'],
    [
      dhcp('reservations: [{ mac: 02:00:00:00:00:09, address: 10.0.1.9 }]'),
      '~dhcp.reservations[0].address: found 10.0.1.9, expected an address in 10.0.0.0/24, our subnet',
    ],
    [
      dhcp('reservations: [{ mac: 02:00:00:00:00:09, address: 10.0.0.1 }]'),
      '~dhcp.reservations[0].address: found 10.0.0.1, expected an address in 10.0.0.0/24, our subnet (that is our own address)',
    ],
    [
      dhcp('reservations: [{ mac: 02:00:00:00:00:09, address: 10.0.0.255 }]'),
      "~dhcp.reservations[0].address: found 10.0.0.255, expected an address in 10.0.0.0/24, our subnet (that is the network's broadcast address)",
    ],
    [
      dhcp('reservations: [{ address: 10.0.0.9 }]'),
      '~dhcp.reservations[0]: found neither of them, expected mac or clientId',
    ],
    [
      dhcp(
        'reservations: [{ mac: 02:00:00:00:00:09, address: 10.0.0.9 }, { mac: 02:00:00:00:00:09, address: 10.0.0.8 }]',
      ),
      '~dhcp.reservations[1].mac: found 02:00:00:00:00:09 again, expected one reservation for each mac (reservation 1 has it)',
    ],
    [
      dhcp(
        'reservations: [{ mac: 02:00:00:00:00:09, address: 10.0.0.9 }, { mac: 02:00:00:00:00:08, address: 10.0.0.9 }]',
      ),
      '~dhcp.reservations[1].address: found 10.0.0.9 again, expected one reservation for each address (reservation 1 has it)',
    ],
    [
      dhcp("reservations: [{ clientId: 'x', address: 10.0.0.9 }]"),
      "~dhcp.reservations[0].clientId: found x, expected a client identifier in hexadecimal such as '01:02:00:00:00:00:01'",
    ],
    [
      dhcp('mtu: 67'),
      '~dhcp.mtu: found 67, expected an MTU from 68 to 65535 bytes (an IPv4 host takes 68, RFC 791)',
    ],
    [
      dhcp('mtu: 1000'),
      '~dhcp.mtu: found 1000, expected at least 1280 (the link has IPv6, RFC 8200 section 5)',
    ],
    [
      dhcp('mtu: 1500', undefined, 'mtu: 1400'),
      '~dhcp.mtu: found 1500, expected at most 1400, the MTU of the interface (what is longer would be lost)',
    ],
    [
      dhcp('router: 10.1.0.1'),
      '~dhcp.router: found 10.1.0.1, expected a router in 10.0.0.0/24, where the clients are',
    ],
    [
      dhcp('routes: [{ to: 10.9.0.0/16, via: 10.9.0.1 }]'),
      '~dhcp.routes[0].via: found 10.9.0.1, expected a gateway in 10.0.0.0/24, where the clients are',
    ],
    [dhcp("dns: ['fd00::1']"), '~dhcp.dns[0]: found fd00::1, expected an IPv4 address such as 10.0.0.1'],
    [dhcp('domain: a..b'), '~dhcp.domain: found a..b, expected a domain name such as lab.example'],
    [dhcp('leaseTime: 5s'), '~dhcp.leaseTime: found 5s, expected a time from 60s to 31536000s, such as 1h'],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })

  it.each([
    'pool: 7',
    'pool: [x]',
    'router: 10.0.0.300',
    'reservations: [{ mac: x, address: y }]',
    'routes: [{ to: x, via: y }]',
    'mtu: x, leaseTime: x, probe: x',
  ])('what is refused by itself is told once: %s', (keys) => {
    expect(complaints(dhcp(keys))).toMatch(/expected/)
    expect(complaints(dhcp(keys)).split('\n')).toHaveLength(
      keys.split(': ').length - (keys.includes('[{') ? 2 : 1),
    )
  })

  it('on a TUN', () => {
    const text =
      'routers: { r: { interfaces: { a: { tun: { name: x }, addresses: [10.0.0.1/24], dhcp: {} } } } }'
    expect(complaints(text)).toBe(
      '~dhcp: found dhcp on a tun, expected a link with Ethernet (MAC addresses tell clients apart)',
    )
  })

  it('two interfaces with one leases file', () => {
    const one = (net: number) => ({
      memory: {},
      addresses: [`10.0.${net}.1/24`],
      dhcp: { leases: 'x.jsonl' },
    })
    const text = JSON.stringify({ routers: { r: { interfaces: { a: one(0), b: one(1) } } } })
    expect(complaints(text)).toMatch(
      /interfaces\.b\.dhcp\.leases: found x\.jsonl again, expected a file of its own/,
    )
  })
})

describe('advertise that cannot be', () => {
  const ra = (keys: string, addresses?: string, more?: string) =>
    lan(`advertise: { ${keys} }`, addresses, more)
  const table: [text: string, message: string][] = [
    [
      ra('', '10.0.0.1/24'),
      '~advertise: found no IPv6 address, expected an IPv6 address of ours in addresses',
    ],
    [
      ra("prefixes: [{ prefix: 'fd00::/56' }]"),
      '~advertise.prefixes[0].prefix: found fd00::/56, expected a /64, or autonomous: false (hosts make 64 bits themselves, RFC 4862 5.5.3)',
    ],
    [
      ra("prefixes: [{ prefix: 'fe80::/64' }]"),
      '~advertise.prefixes[0].prefix: found fe80::/64, expected an IPv6 network such as fd00:10::/64 (link-local addresses are on every link anyway)',
    ],
    [
      ra("prefixes: [{ prefix: 'fd00::/64' }, { prefix: 'fd00:0::/64' }]"),
      '~advertise.prefixes[1].prefix: found fd00::/64 again, expected each prefix once',
    ],
    [
      ra("prefixes: [{ prefix: 'fd00::/64', valid: 1h, preferred: 2h }]"),
      '~advertise.prefixes[0].preferred: found 7200s, expected at most 3600s, the valid time (RFC 4861 4.6.2)',
    ],
    [
      ra('mtu: 1279'),
      '~advertise.mtu: found 1279, expected at least 1280 (the link has IPv6, RFC 8200 section 5)',
    ],
    [
      ra('mtu: 9000'),
      '~advertise.mtu: found 9000, expected at most 1500, the MTU of the interface (what is longer would be lost)',
    ],
    [
      ra('maxInterval: 20s, minInterval: 16s'),
      '~advertise.minInterval: found 16s, expected from 3s to 15s (three quarters of maxInterval, RFC 4861 6.2.1)',
    ],
    [
      ra('maxInterval: 100s, lifetime: 99s'),
      '~advertise.lifetime: found 99s, expected 0, or from 100s on (or it would be over before the next advertisement)',
    ],
    [
      ra('maxInterval: 3s'),
      '~advertise.maxInterval: found 3s, expected a time from 4s to 1800s, such as 10m',
    ],
  ]
  it.each(table)('%j', (text, message) => {
    expect(complaints(text)).toBe(message)
  })
})

describe('what they mean', () => {
  const interfaceOf = (keys: object) =>
    checkConfigObject({
      routers: {
        r: { interfaces: { a: { memory: {}, addresses: ['10.0.0.1/29', 'fd00::1/64'], ...keys } } },
      },
    }).routers.r.interfaces.a

  it('all defaults', () => {
    expect(interfaceOf({ dhcp: {}, advertise: {} })).toMatchObject({
      dhcp: {
        address: '10.0.0.1/29',
        pool: [['10.0.0.1', '10.0.0.6']],
        reservations: [],
        router: '10.0.0.1',
        dns: [],
        domain: '',
        mtu: 0,
        leaseS: 3600,
        leases: '/var/lib/taploom/leases/r.a.jsonl',
        probeMs: 500,
      },
      advertise: {
        prefixes: [],
        mtu: 0,
        lifetimeS: 1800,
        minIntervalS: 200,
        maxIntervalS: 600,
        hopLimit: 64,
      },
    })
    expect(interfaceOf({}).dhcp).toBeUndefined()
  })

  it('of several subnets, the one that the pool is in', () => {
    const addresses = ['10.0.0.1/24', '10.1.0.1/24']
    expect(interfaceOf({ addresses, dhcp: { pool: '10.1.0.5-10.1.0.9' } }).dhcp?.address).toBe('10.1.0.1/24')
    expect(interfaceOf({ addresses, dhcp: {} }).dhcp?.address).toBe('10.0.0.1/24')
  })

  it('no router, and a path from the directory of the file', () => {
    const { dhcp } = interfaceOf({ dhcp: { router: 'none', leases: 'x/y' } })
    expect(dhcp).toMatchObject({ router: '', leases: `${process.cwd()}/x/y` })
  })
})
