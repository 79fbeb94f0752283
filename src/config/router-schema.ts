/**
 * The keys of a router. Words and defaults are those of Linux (`ip route`, `ip rule`, sysctl) where it
 * has them.
 *
 *     interfaces    on a switch (and VLAN), or on a device of their own; our addresses
 *     routes        `ip route`        router-reach.ts finds the interface of a gateway
 *     policies      `ip rule`
 *     nat           masquerade and publish: short for rules
 *     rules         files in iptables-save format; rules6: ip6tables-save
 *     sets, setFiles, nflog, conntrack   what rules stand on: filter-schema.ts
 *
 * What must fit together is in router-cross.ts (interfaces), router-routes.ts and router-nat.ts.
 */
import { z } from 'zod'
import { MAX_ADDRESSES } from '../router/interfaces.ts'
import { type Cidr, readNetwork } from './address.ts'
import { cidr, ip, memory, packet, tap, tun } from './devices.ts'
import { orList } from './error.ts'
import { fault } from './fault.ts'
import * as filter from './filter-schema.ts'
import * as own from './router-value.ts'
import { advertiseFits, dhcpFits } from './service-fit.ts'
import { advertiseSchema, dhcpSchema } from './service-schema.ts'
import { anyMtu, fits, flag, list, mac, mapping, named, type Refuse, vid } from './shape.ts'
import { integer, leaf, oneOf, text } from './value.ts'

const STANDS_ON = ['switch', 'tap', 'tun', 'packet', 'memory'] as const
const interfaceName = text('the name of an interface')
const network = leaf((found) => readNetwork(found), { type: 'string' })
const table = leaf(own.table, { type: ['integer', 'string'] })

export const interfaceSchema = fits(
  mapping({
    switch: text('the name of a switch').optional().describe('A switch of this file that it is on'),
    vlan: vid.optional().describe('VLAN of that switch; default: that of its ports without `vlan`'),
    tap: tap.optional().describe('Or a device of its own: the other side of it, in a namespace'),
    tun: tun.optional(),
    packet: packet.optional(),
    memory: memory.optional(),
    addresses: list(cidr).default([]).describe('Ours, with prefix: as many subnets as you like'),
    mac: mac.optional().describe('Default: we choose one'),
    mtu: anyMtu.optional().describe("Default: the device's, or 1500"),
    rpFilter: oneOf('off', 'strict', 'loose')
      .default('off')
      .describe('Reverse-path filter (RFC 3704); off as the kernel has it, many distributions set loose'),
    clampMss: flag.default(false).describe("Lower the MSS of TCP to the path's MTU"),
    dad: leaf(own.dad, { type: ['boolean', 'string'] })
      .default('on')
      .describe(
        'Ask whether somebody else has our addresses: IPv6 before they are used (RFC 4862), IPv4 while they are; strict: IPv4 before, too (RFC 5227)',
      ),
    dhcp: dhcpSchema.optional().describe('A DHCPv4 server for its subnet; {} takes all defaults'),
    advertise: advertiseSchema.optional().describe('IPv6 router advertisements; {} takes all defaults'),
    fault: fault.optional(),
  }),
  (found, refuse) => {
    const stands = STANDS_ON.filter((key) => found[key] !== undefined)
    if (stands.length !== 1) {
      refuse([], {
        found: stands.length ? stands.join(' and ') : 'none of them',
        expected: `exactly one of ${orList(STANDS_ON)}`,
      })
    } else if (found.vlan !== undefined && found.switch === undefined) {
      refuse(['vlan'], { expected: 'vlan beside switch only', hint: `this is on a ${stands[0]}` })
    }
    if (found.tun && found.mac !== undefined)
      refuse(['mac'], { expected: 'no MAC address', hint: 'a TUN carries IP packets without Ethernet' })
    const mtu = found.mtu ?? found.tap?.mtu ?? found.tun?.mtu ?? 1500
    ownAddressesFit(found.addresses, mtu, refuse)
    if (found.dhcp) dhcpFits(found, found.dhcp, mtu, refuse)
    if (found.advertise) advertiseFits(found.addresses, found.advertise, mtu, refuse)
  },
)

function ownAddressesFit(addresses: Cidr[], mtu: number, refuse: Refuse): void {
  // A value that was refused has been told about already.
  if (!Array.isArray(addresses) || addresses.some((a) => typeof a?.bits !== 'bigint')) return
  for (const [i, a] of addresses.entries()) {
    if (a.address === '::1' || /^(127|0)\./.test(a.address))
      refuse(['addresses', i], { expected: 'an address for others', hint: 'no packet may carry this one' })
  }
  for (const family of [4, 6] as const) {
    const room = family === 6 ? MAX_ADDRESSES - 1 : MAX_ADDRESSES
    const count = addresses.filter((a) => a.family === family).length
    if (count > room)
      refuse(['addresses'], { found: `${count} IPv${family} addresses`, expected: `at most ${room}` })
  }
  if (typeof mtu === 'number' && mtu < 1280 && addresses.some((a) => a.family === 6))
    refuse(['mtu'], {
      found: mtu,
      expected: 'at least 1280',
      hint: 'it has an IPv6 address, RFC 8200 section 5',
    })
}

const hop = fits(
  mapping(
    {
      via: ip.optional(),
      interface: interfaceName.optional(),
      weight: integer(1, 256, 'a weight').default(1).describe('Share of the flows, beside the others'),
    },
    'an address, or a mapping of via, interface and weight',
  ),
  (found, refuse) => {
    if (found.via === undefined && found.interface === undefined)
      refuse([], { found: 'neither of them', expected: 'via or interface' })
  },
)
const hops = z
  .preprocess(
    (found) => {
      const all = typeof found === 'string' ? [found] : found
      return Array.isArray(all) ? all.map((one) => (typeof one === 'string' ? { via: one } : one)) : all
    },
    list(hop, 'an address, or a list of gateways').min(1, { error: 'at least one gateway' }),
  )
  .meta({ type: ['string', 'array'] })
  .describe('Gateway; several share the flows: [10.0.0.1, { via: 10.0.0.2, weight: 2 }]')

export const routeSchema = mapping({
  to: leaf(own.destination, { type: 'string' }).describe("'default', a network, or one address"),
  via: hops.optional(),
  interface: interfaceName
    .optional()
    .describe('Needed without a gateway, or for a link-local one; else that of its subnet'),
  dev: interfaceName.optional().describe('The same as interface'),
  metric: integer(0, 0x7fffffff, 'a metric').default(0).describe('The lowest is used'),
  table: table.default(own.TABLES.main).describe('A number, or local, main (254) or default'),
  src: ip.optional().describe('Our address in packets that we send there ourselves'),
  type: oneOf('unicast', 'blackhole', 'unreachable', 'prohibit', 'throw')
    .default('unicast')
    .describe(
      'Or: drop silently, answer unreachable, answer prohibited, go on as if the table had no such route',
    ),
})

export const policySchema = mapping({
  priority: leaf(own.priority, { type: 'integer' }).describe('The lowest is asked first; main is at 32766'),
  from: network.optional().describe('Source'),
  to: network.optional().describe('Destination'),
  interface: interfaceName.optional().describe('Where it came in'),
  mark: leaf(own.mark, { type: ['integer', 'string'] })
    .optional()
    .describe("As rules set it: 7 or '0x1/0xff'"),
  table: table.describe('The table to ask'),
})

const masquerade = mapping({
  from: network.describe('Sources that are hidden'),
  out: interfaceName.describe('Where they leave, with the address of this interface'),
})
const publish = mapping({
  proto: oneOf('tcp', 'udp').default('tcp').describe('tcp or udp'),
  listen: leaf(own.listen, { type: 'string' }).describe(
    "'ADDRESS:PORT' or 'ADDRESS:FIRST-LAST'; without address: all of ours",
  ),
  to: leaf(own.target, { type: 'string' }).describe('Where it leads; a range to one of the same size'),
})
const NAT = ['masquerade', 'publish'] as const
export const natSchema = fits(
  mapping({ masquerade: masquerade.optional(), publish: publish.optional() }),
  (found, refuse) => {
    const kinds = NAT.filter((k) => found[k] !== undefined)
    if (kinds.length === 1) return
    refuse([], {
      found: kinds.length ? kinds.join(' and ') : 'none of them',
      expected: `exactly one of ${orList(NAT)}`,
    })
  },
)

const files = (format: string) =>
  z
    .preprocess(
      (found) => (typeof found === 'string' ? [found] : found),
      list(text('the name of a file'), 'the name of a file, or a list of them'),
    )
    .meta({ type: ['string', 'array'] })
    .default([])
    .describe(`Files in ${format} format, from the directory of this file on`)

export const routerSchema = mapping({
  interfaces: named(interfaceSchema, 'a mapping of interfaces', own.INTERFACE)
    .default({})
    .describe('By name, as rules use it'),
  routes: list(routeSchema).default([]).describe('Beside those to the subnets of the interfaces'),
  policies: list(policySchema).default([]).describe('Which table is asked; main always is'),
  nat: list(natSchema).default([]).describe('Short for rules, and shown among them'),
  rules: files('iptables-save'),
  rules6: files('ip6tables-save'),
  sets: filter.sets,
  setFiles: files('ipset save'),
  nflog: filter.nflog,
  conntrack: filter.conntrack,
  profile: oneOf('linux', 'rfc')
    .default('linux')
    .describe('How connections are tracked and translated: as the kernel does, or as BCP 127 asks'),
})

export type RouterKeys = z.output<typeof routerSchema>
export type InterfaceKeys = z.output<typeof interfaceSchema>
export type RouteKeys = z.output<typeof routeSchema>
export type PolicyKeys = z.output<typeof policySchema>
export type NatKeys = z.output<typeof natSchema>
