/**
 * The keys of a configuration file: names, values, defaults, in the order in which a reader meets them.
 * The description of each key is its documentation (also in the JSON Schema: toJSONSchema(fileSchema)).
 *
 *     file      namespaces, poll, switches, routers, vteps
 *     switch    aging, limit, reserved, ports
 *     port      one device (tap, tun, host, packet, patch, vxlan, pcap, memory), and our side of it
 *     router    interfaces, routes, policies, nat, rules, rules6, profile: router-schema.ts
 *     vtep      local, port and how packets leave: vtep-schema.ts
 *
 * The devices are in devices.ts; what a single value may be, in value.ts and address.ts; what must fit
 * together across ports, in cross.ts. resolve.ts makes the FabricConfig of it. To add a key: here, in
 * resolve.ts, and in an example under config/.
 */
import { z } from 'zod'
import { host, memory, packet, patch, pcap, tap, tun } from './devices.ts'
import { orList } from './error.ts'
import { fault } from './fault.ts'
import { routerSchema } from './router-schema.ts'
import { anyMtu, fits, flag, kind, list, mac, mapping, named, vid } from './shape.ts'
import * as value from './value.ts'
import { integer, leaf, oneOf } from './value.ts'
import { vtepSchema, vxlan } from './vtep-schema.ts'

const VLAN_KINDS = ['access', 'trunk', 'tunnel'] as const
const trunk = z
  .preprocess(
    (found) => (found === 'all' ? ['1-4094'] : found),
    list(
      leaf(value.vidRange, { type: ['integer', 'string'] }),
      "'all', or a list of VLAN ids and ranges such as '20-30'",
    ),
  )
  .meta({ type: ['array', 'string'] })

const vlan = fits(
  mapping({
    access: vid.optional().describe('The one VLAN of the port, untagged'),
    trunk: trunk.optional().describe("VLANs that cross tagged: 'all', or a list of ids and ranges"),
    native: vid.optional().describe('VLAN of untagged frames on a trunk; default: they are refused'),
    protocol: leaf(value.tpid, { type: ['string', 'integer'] })
      .optional()
      .describe('Which tag a trunk reads and writes: 802.1q (default), 802.1ad or 0x9100'),
    translate: z
      .record(z.string(), vid, kind('a mapping of VLAN ids on the wire to VLAN ids inside'))
      .optional()
      .describe('Other VLAN ids on the wire than inside: {wire: inside}'),
    tunnel: vid.optional().describe('Everything, tags too, crosses inside this VLAN (802.1ad customer port)'),
  }),
  (found, refuse) => {
    const kinds = VLAN_KINDS.filter((k) => found[k] !== undefined)
    const expected = 'exactly one of access, trunk or tunnel'
    if (kinds.length !== 1)
      refuse([], { found: kinds.length ? kinds.join(' and ') : 'none of them', expected })
    if (kinds.length !== 1 || found.trunk !== undefined) return
    for (const key of ['native', 'protocol', 'translate'] as const) {
      if (found[key] !== undefined)
        refuse([key], { expected: `${key} beside trunk only`, hint: `this port is ${kinds[0]}` })
    }
  },
).describe('What tags mean here. A switch none of whose ports has this key is unaware of VLANs')

const floods = ['unknown', 'multicast', 'broadcast'] as const
const all3 = (found: boolean) => Object.fromEntries(floods.map((k) => [k, found]))
const flood = z
  .preprocess(
    (found) => (typeof found === 'boolean' ? all3(found) : found),
    mapping(
      { unknown: flag.default(true), multicast: flag.default(true), broadcast: flag.default(true) },
      'true, false or a mapping of unknown, multicast and broadcast',
    ),
  )
  .meta({ type: ['boolean', 'object'] })
  .prefault({})
  .describe('Which floods leave by this port')

const rate = integer(0, 1_000_000_000, 'packets per second').optional()
const storm = mapping({ unknown: rate, multicast: rate, broadcast: rate })
  .prefault({})
  .describe('Packets per second of each flood that are let in; default: no limit')

const staticAddress = z
  .preprocess(
    (found) => (typeof found === 'string' ? { mac: found } : found),
    mapping(
      {
        mac,
        vlan: vid.optional().describe("Default: the port's untagged VLAN"),
      },
      'a MAC address, or a mapping of mac and vlan',
    ),
  )
  .meta({ type: ['string', 'object'] })

export const DEVICES = ['tap', 'tun', 'host', 'packet', 'patch', 'vxlan', 'pcap', 'memory'] as const

export const portSchema = fits(
  mapping({
    tap: tap.optional(),
    tun: tun.optional(),
    host: host.optional(),
    packet: packet.optional(),
    patch: patch.optional(),
    vxlan: vxlan.optional(),
    pcap: pcap.optional(),
    memory: memory.optional(),
    vlan: vlan.optional(),
    mtu: anyMtu.optional().describe("Largest payload we send; default the device's"),
    learning: flag.default(true).describe('Remember where source addresses are'),
    flood,
    isolated: flag.default(false).describe('No traffic between isolated ports'),
    hairpin: flag.default(false).describe('A frame may leave by the port it came from'),
    locked: flag.default(false).describe('Only sources in `static` are let in'),
    limit: integer(0, 16_777_216, 'a number of addresses')
      .default(0)
      .describe("Most addresses; 0 = the switch's limit"),
    storm,
    static: list(staticAddress).default([]).describe('Addresses that are always here'),
    fault: fault.optional(),
  }),
  (found, refuse) => {
    const devices = DEVICES.filter((d) => found[d] !== undefined)
    if (devices.length === 1) return
    refuse([], {
      found: devices.length ? devices.join(' and ') : 'none of them',
      expected: `exactly one of ${orList(DEVICES)}`,
    })
  },
)

export const switchSchema = mapping({
  aging: leaf(value.aging, { type: ['string', 'number'] })
    .default(300)
    .describe('Time after which a silent address is forgotten: 300s, 5m, 0 = never'),
  limit: integer(1, 16_777_216, 'a number of addresses').default(65_536).describe('Most addresses in all'),
  reserved: list(leaf(value.reservedByte, { type: ['integer', 'string'] }))
    .default([])
    .describe('Last bytes of 01-80-C2-00-00-0x to forward nevertheless; 00, 01 and 02 never are'),
  ports: named(portSchema, 'a mapping of ports').default({}).describe('By name'),
})

export const fileSchema = fits(
  mapping(
    {
      namespaces: list(leaf(value.netnsName, { type: 'string' }))
        .default([])
        .describe('Network namespaces, created when missing and removed at exit if we created them'),
      poll: oneOf('sleep', 'adaptive', 'busy')
        .default('adaptive')
        .describe(
          'How the worker waits: sleep at once; adaptive spins a little under traffic; busy never sleeps',
        ),
      switches: named(switchSchema, 'a mapping of switches').optional().describe('By name'),
      routers: named(routerSchema, 'a mapping of routers').optional().describe('By name'),
      vteps: named(vtepSchema, 'a mapping of VTEPs')
        .optional()
        .describe('Tunnel endpoints (VXLAN), by name; ports with `vxlan` stand on them'),
    },
    'a mapping with at least the key switches',
  ),
  (found, refuse) => {
    if (found.switches === undefined && found.routers === undefined)
      refuse(['switches'], { expected: 'a mapping of switches', hint: 'or routers' })
  },
)

export type FileKeys = z.output<typeof fileSchema>
export type SwitchKeys = z.output<typeof switchSchema>
export type PortKeys = z.output<typeof portSchema>

/** Keys of later versions, and what they belong to. */
export const LATER: Record<string, string> = {
  wireguard: 'WireGuard',
}
