/**
 * The keys of what a router's interface does for its hosts: `dhcp` (RFC 2131) and `advertise` (RFC 4861
 * 6.2.1, whose defaults these are). What must fit together is in service-fit.ts.
 */
import { z } from 'zod'
import { type Cidr, ipBits, ipText, isLinkLocal, readIp, readNetwork } from './address.ts'
import { orList } from './error.ts'
import { anyMtu, fits, flag, list, mac, mapping } from './shape.ts'
import { delay, integer, leaf, span, text, Wrong } from './value.ts'

const ip4 = leaf(readIp4, { type: 'string' })
const ip6 = leaf(readIp6, { type: 'string' })

function readIp4(found: unknown): string {
  const expected = 'an IPv4 address such as 10.0.0.1'
  const address = readIp(found, expected)
  if (address.includes(':')) throw new Wrong(expected)
  return address
}

function readIp6(found: unknown): string {
  const expected = 'an IPv6 address such as fd00::1'
  const address = readIp(found, expected)
  if (!address.includes(':')) throw new Wrong(expected)
  return address
}

export interface Range {
  text: string
  first: bigint
  last: bigint
}

/** 'FIRST-LAST', or one address. */
function range(found: unknown): Range {
  const expected = "addresses such as '10.0.0.100-10.0.0.199', or one"
  const parts = typeof found === 'string' ? found.split('-').map((p) => p.trim()) : []
  if (parts.length < 1 || parts.length > 2) throw new Wrong(expected)
  const [first, last] = [parts[0], parts.at(-1)].map((p) => readIp(p, expected))
  if (first.includes(':') || last.includes(':')) throw new Wrong(expected, 'DHCP is for IPv4')
  const [from, to] = [ipBits(first), ipBits(last)]
  if (to < from) throw new Wrong(expected, 'the smaller address first')
  return { text: first === last ? first : `${ipText(from, 4)}-${ipText(to, 4)}`, first: from, last: to }
}

const pool = z
  .preprocess(
    (found) => (Array.isArray(found) || found === undefined ? found : [found]),
    list(leaf(range, { type: 'string' }), 'a range of addresses, or a list of them'),
  )
  .meta({ type: ['string', 'array'] })

/** Two bytes at least, in hexadecimal; without colons afterwards. */
function clientId(found: unknown): string {
  const expected = "a client identifier in hexadecimal such as '01:02:00:00:00:00:01'"
  if (typeof found !== 'string' || !/^[0-9a-f]{2}(:?[0-9a-f]{2}){1,254}$/i.test(found))
    throw new Wrong(expected)
  return found.replaceAll(':', '').toLowerCase()
}

const LABEL = '[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?'
const DOMAIN = new RegExp(`^${LABEL}(\\.${LABEL})*\\.?$`)

function domain(found: unknown): string {
  if (typeof found === 'string' && found.length <= 253 && DOMAIN.test(found)) return found.replace(/\.$/, '')
  throw new Wrong('a domain name such as lab.example')
}

const reservation = fits(
  mapping({
    mac: mac.optional().describe('Who it is for: its MAC'),
    clientId: leaf(clientId, { type: 'string' })
      .optional()
      .describe('Or its client identifier (option 61) in hexadecimal; beside mac, either will do'),
    address: ip4.describe('In the subnet; may be in the pool, nobody else gets it'),
    hostName: leaf(domain, { type: 'string' }).optional().describe('Told to the client'),
  }),
  (found, refuse) => {
    if (found.mac === undefined && found.clientId === undefined)
      refuse([], { found: 'neither of them', expected: orList(['mac', 'clientId']) })
  },
)

function network4(found: unknown): Cidr {
  const expected = "a network such as 10.0.0.0/8, or 'default'"
  const cidr = found === 'default' ? readNetwork('0.0.0.0/0') : readNetwork(found, expected)
  if (cidr.family !== 4) throw new Wrong(expected, 'DHCP is for IPv4')
  return cidr
}

/** `none` is ''. */
function router(found: unknown): string {
  if (found === 'none') return ''
  try {
    return readIp4(found)
  } catch (wrong) {
    throw wrong instanceof Wrong ? new Wrong(`${wrong.expected}, or none`, wrong.hint) : wrong
  }
}

export const dhcpSchema = mapping({
  pool: pool.optional().describe('Addresses to give; default: the whole subnet but our own'),
  reservations: list(reservation).default([]).describe('Addresses that one client always gets'),
  router: leaf(router, { type: 'string' })
    .optional()
    .describe('Default route of the clients; default: us; or none'),
  dns: list(ip4).default([]).describe('Name servers'),
  domain: leaf(domain, { type: 'string' }).optional().describe('Domain of the clients'),
  mtu: anyMtu.optional().describe("Default: the interface's"),
  routes: list(
    mapping({
      to: leaf(network4, { type: 'string' }).describe("A network, or 'default'"),
      via: ip4.describe('Its gateway, in the subnet'),
    }),
  )
    .default([])
    .describe('Classless routes (RFC 3442); the default route is told with them'),
  leaseTime: span(60, 31_536_000, '1h')
    .default(3600)
    .describe('How long a client may keep its address unasked'),
  leases: text('the path of a file')
    .optional()
    .describe('Where leases are kept; default: /var/lib/taploom/leases/ROUTER.INTERFACE.jsonl'),
  probe: leaf(delay, { type: ['integer', 'string'] })
    .default(500)
    .describe(
      'How long to wait for somebody who has an address already, before it is offered; 0 does not ask',
    ),
})

function prefix(found: unknown): Cidr {
  const expected = 'an IPv6 network such as fd00:10::/64'
  const cidr = readNetwork(found, expected)
  if (cidr.family !== 6) throw new Wrong(expected)
  if (isLinkLocal(cidr.address)) throw new Wrong(expected, 'link-local addresses are on every link anyway')
  return cidr
}

/** RFC 4861 6.2.1: 4 to 1800 s. */
const MAX_INTERVAL = [4, 1800] as const

export const advertiseSchema = mapping({
  prefixes: list(
    mapping({
      prefix: leaf(prefix, { type: 'string' }),
      onLink: flag.default(true).describe('Its addresses are reached without a router'),
      autonomous: flag.default(true).describe('Hosts make themselves addresses of it (SLAAC); needs a /64'),
      valid: span(0, 0xfffffffe, '30d').default(2_592_000),
      preferred: span(0, 0xfffffffe, '7d').default(604_800).describe('Then it is for old connections only'),
    }),
  )
    .optional()
    .describe("Default: the interface's own subnets; those that are a /64 autonomous"),
  mtu: anyMtu.optional().describe("Default: the interface's"),
  lifetime: span(0, 9000, '30m')
    .optional()
    .describe('As a default router; 0 is none; default: 3 maxInterval'),
  managed: flag.default(false).describe('Addresses are to be had by DHCPv6'),
  other: flag.default(false).describe('Other things are to be had by DHCPv6'),
  hopLimit: integer(0, 255, 'a hop limit').default(64).describe('Of the packets hosts send; 0 says nothing'),
  dns: list(ip6).default([]).describe('Name servers (RFC 8106)'),
  search: list(leaf(domain, { type: 'string' }))
    .default([])
    .describe('Domains to search in (RFC 8106)'),
  maxInterval: span(...MAX_INTERVAL, '10m')
    .default(600)
    .describe('Longest time between advertisements'),
  minInterval: span(1, 1350, '200s').optional().describe('Shortest; default: a third of that'),
})

export type DhcpKeys = z.output<typeof dhcpSchema>
export type AdvertiseKeys = z.output<typeof advertiseSchema>
