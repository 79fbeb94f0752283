/**
 * The keys of a configuration file: names, values, defaults, in the order in which a reader meets them.
 * The description of each key is its documentation (also in the JSON Schema: toJSONSchema(fileSchema)).
 *
 *     file      namespaces, poll, switches
 *     switch    aging, limit, reserved, ports
 *     port      one device (tap, tun, host, packet, patch, pcap, memory), and our side of it
 *
 * What a single value may be is in value.ts and address.ts; what must fit together across ports is in
 * cross.ts; resolve.ts makes the FabricConfig of it. To add a key: here, in resolve.ts, and in an
 * example under config/.
 */
import { z } from 'zod'
import { familyOf, inSubnet, isLinkLocal, readCidr, readIp, readMac } from './address.ts'
import { orList } from './error.ts'
import * as value from './value.ts'
import { integer, leaf, type WrongParams } from './value.ts'

/** An issue's message is the text of what was expected; see problems.ts. */
const kind = (expected: string) => ({
  error: (issue: { code?: string }) => (issue.code === 'invalid_type' ? expected : undefined),
})

const mapping = <S extends z.ZodRawShape>(shape: S, expected = 'a mapping') => z.strictObject(shape, kind(expected))
const list = <S extends z.ZodType>(item: S, expected = 'a list') => z.array(item, kind(expected))
const named = <S extends z.ZodType>(item: S, expected: string) =>
  z.record(z.string().regex(value.NAME, { error: value.NAME_EXPECTED }), item, kind(expected))

/** Words for `found` that takes more than one line of a file: which key is it about. */
type Refuse = (path: (string | number)[], params: WrongParams) => void

/** Checks that need several keys; also run when one of them is wrong, unless a key is unknown. */
function fits<S extends z.ZodObject>(schema: S, check: (found: z.output<S>, refuse: Refuse) => void): S {
  return schema.superRefine(
    (found, ctx) => {
      const refuse: Refuse = (path, params) =>
        ctx.issues.push({ code: 'custom', path, params: { ...params }, message: params.expected, input: found })
      check(found as z.output<S>, refuse)
    },
    { when: (payload) => !payload.issues.some((i) => i.code === 'unrecognized_keys' || i.code === 'invalid_type') },
  )
}

const flag = leaf(value.flag, { type: 'boolean' })
const vid = leaf(value.vid, { type: 'integer', minimum: 1, maximum: 4094 })
const mac = leaf(readMac, { type: 'string' })
const cidr = leaf((found) => readCidr(found), { type: 'string' })
const ip = leaf((found) => readIp(found), { type: 'string' })
const deviceName = leaf(value.deviceName, { type: 'string' })
const netns = leaf(value.netns, { type: ['string', 'integer'] })
  .default('')
  .describe("Network namespace of the device: a name, an absolute path or a pid; default the daemon's own")

/** 65535 less the Ethernet header, which counts at a TAP (drivers/net/tun.c). */
const TAP_MTU_MAX = 65521
function mtu(max: number, hint: string) {
  return leaf(
    (found): number => {
      if (typeof found === 'number' && Number.isInteger(found) && found >= 68 && found <= max) return found
      const low = typeof found === 'number' && found < 68
      throw new value.Wrong(`an MTU from 68 to ${max} bytes`, low ? 'an IPv4 host takes 68, RFC 791' : hint)
    },
    { type: 'integer', minimum: 68, maximum: max },
  )
}
const tapMtu = mtu(TAP_MTU_MAX, 'at a TAP the 14 bytes of Ethernet header count too')
const anyMtu = mtu(65535, 'the longest IP packet')

const ALL = { checksum: true, tso: true, uso: true }
const NONE = { checksum: false, tso: false, uso: false }
const offload = z
  .preprocess(
    (found) => (found === true ? ALL : found === false ? NONE : found),
    fits(
      mapping(
        {
          checksum: flag.default(true).describe('Leave L4 checksums unfinished where nobody needs them'),
          tso: flag.optional().describe('Let TCP cross as super-frames of up to 64 KiB; default as checksum'),
          uso: flag.optional().describe('Let UDP cross as super-frames; default as checksum'),
        },
        'true, false or a mapping of checksum, tso and uso',
      ),
      ({ checksum, tso, uso }, refuse) => {
        for (const [key, on] of Object.entries({ tso, uso })) {
          if (on === true && checksum === false) {
            refuse([key], { expected: 'false', hint: 'a segment needs a new checksum: it takes checksum: true' })
          }
        }
      },
    ),
  )
  .meta({ type: ['boolean', 'object'] })
  .transform(({ checksum, tso = checksum, uso = checksum }) => ({ checksum, tso, uso }))
  .default(ALL)
  .describe('Work left to whoever can do it cheapest; false makes every frame small and finished')

const addresses = list(cidr).default([]).describe('Addresses with prefix, IPv4 and IPv6')
const gateway = z
  .preprocess((found) => (typeof found === 'string' ? [found] : found), list(ip, 'an IP address, or a list of two'))
  .meta({ type: ['string', 'array'] })
  .default([])
  .describe('Default gateway: one, or a list of one IPv4 and one IPv6')

interface LinkKeys {
  addresses: z.output<typeof addresses>
  gateway: string[]
  mtu: number
}

/** The addresses, gateways and MTU of one device agree. */
function linkFits(link: LinkKeys, refuse: Refuse): void {
  const { addresses, gateway, mtu } = link
  // A value that was refused has been told about already.
  if (![addresses, gateway].every(Array.isArray) || addresses.some((a) => typeof a?.bits !== 'bigint')) return
  const families = new Set<number>()
  for (const [i, gw] of gateway.entries()) {
    if (typeof gw !== 'string') continue
    const path = ['gateway', i]
    const family = familyOf(gw)
    const here = addresses.filter((a) => a.family === family)
    if (families.has(family)) refuse(path, { found: gw, expected: `one gateway for IPv${family}`, hint: 'there are two' })
    else if (here.some((a) => a.address === gw)) refuse(path, { found: gw, expected: 'another host', hint: "it is the device's own address" })
    else if (!isLinkLocal(gw) && !here.some((a) => inSubnet(gw, a))) {
      const subnets = here.map((a) => a.text)
      const expected = subnets.length ? `an address in the subnet of ${orList(subnets)}` : `an IPv${family} address of the device first`
      refuse(path, { found: gw, expected, hint: 'a gateway must be reachable without one' })
    }
    families.add(family)
  }
  if (typeof mtu === 'number' && mtu < 1280 && addresses.some((a) => a.family === 6)) {
    refuse(['mtu'], { found: mtu, expected: 'at least 1280', hint: 'it has an IPv6 address, RFC 8200 section 5' })
  }
}

const persist = flag.default(false).describe('The device outlives us, and is taken up again when it exists')
const queues = leaf(
  (found): number => {
    if (found === 1) return found
    const later = typeof found === 'number' && Number.isInteger(found) && found > 1 && found <= 256
    throw new value.Wrong('1', later ? 'this version serves one queue' : 'the number of queues')
  },
  { type: 'integer', minimum: 1, maximum: 1 },
)
  .default(1)
  .describe('Queues of the device; this version serves 1')

const tap = fits(
  mapping({
    name: deviceName.describe('Name inside its namespace, 1 to 15 bytes'),
    netns,
    addresses,
    gateway,
    mac: mac.optional().describe('Default: the kernel chooses'),
    mtu: tapMtu.default(1500).describe('68 to 65521'),
    offload,
    persist,
    queues,
  }),
  linkFits,
).describe('An Ethernet device of our making (a TAP), as its namespace sees it')

const noMac = leaf(
  (found): undefined => {
    if (found !== undefined) throw new value.Wrong('no MAC address', 'a TUN carries IP packets without Ethernet')
  },
  { not: {} },
).optional()

const tun = fits(
  mapping({
    name: deviceName,
    netns,
    addresses,
    gateway,
    mac: noMac,
    mtu: anyMtu.default(1500),
    offload,
    persist,
    queues,
  }),
  linkFits,
).describe('Like tap, for IP packets without Ethernet (a TUN)')

const host = fits(
  mapping({
    name: deviceName.optional().describe("Default: the port's name"),
    addresses,
    gateway,
    mac: mac.optional(),
    mtu: tapMtu.default(1500),
    offload,
  }),
  linkFits,
).describe("The switch's own interface, in the daemon's namespace")

const packet = mapping({ name: deviceName, netns }).describe('A device that exists already, through a packet socket')

const endOfPatch = value.text(value.NAME_EXPECTED)
const patch = z
  .preprocess(
    (found) => {
      const end = typeof found === 'string' ? /^([^.]+)\.([^.]+)$/.exec(found) : null
      return end ? { switch: end[1], port: end[2] } : found
    },
    mapping({ switch: endOfPatch, port: endOfPatch }, "'switch.port', or a mapping of switch and port"),
  )
  .meta({ type: ['string', 'object'] })
  .describe('The other end, a port of a switch of this file; both ends name each other')

const pcap = mapping({
  file: value.text('the name of a capture file').describe('Path, from the directory of this file on'),
  loop: flag.default(false).describe('Start again at its end'),
  speed: leaf(
    (found): number => {
      if (typeof found === 'number' && found >= 0 && Number.isFinite(found)) return found
      throw new value.Wrong('a factor from 0 on', '1 keeps the times of the file, 0 is as fast as possible')
    },
    { type: 'number', minimum: 0 },
  )
    .default(1)
    .describe('1 keeps the times of the file, 2 is twice as fast, 0 as fast as possible'),
}).describe('Frames from a capture file; what goes out here is only counted')

const memory = z
  .preprocess((found) => found ?? {}, mapping({}, '{}'))
  .meta({ type: ['object', 'null'] })
  .describe('Frames come and go through the library')

const VLAN_KINDS = ['access', 'trunk', 'tunnel'] as const
const trunk = z
  .preprocess(
    (found) => (found === 'all' ? ['1-4094'] : found),
    list(leaf(value.vidRange, { type: ['integer', 'string'] }), "'all', or a list of VLAN ids and ranges such as '20-30'"),
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
    if (kinds.length !== 1) refuse([], { found: kinds.length ? kinds.join(' and ') : 'none of them', expected })
    if (kinds.length !== 1 || found.trunk !== undefined) return
    for (const key of ['native', 'protocol', 'translate'] as const) {
      if (found[key] !== undefined) refuse([key], { expected: 'it beside trunk only', hint: `this port is ${kinds[0]}` })
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
  .preprocess((found) => (typeof found === 'string' ? { mac: found } : found), mapping({
    mac,
    vlan: vid.optional().describe("Default: the port's untagged VLAN"),
  }, 'a MAC address, or a mapping of mac and vlan'))
  .meta({ type: ['string', 'object'] })

const share = leaf(value.share, { type: ['number', 'string'] }).default(0)
const delay = leaf(value.delay, { type: ['number', 'string'] }).default(0)
const rates = mapping({
  loss: share.describe('Share of packets lost: 0.005 or 0.5%'),
  duplicate: share.describe('Share sent twice'),
  reorder: share.describe('Share that overtakes'),
  truncate: share.describe('Share cut short'),
  delay: delay.describe('Time every packet is held: 10ms'),
  jitter: delay.describe('Random time on top'),
}).transform(({ delay: delayMs, jitter: jitterMs, ...shares }) => ({ ...shares, delayMs, jitterMs }))
const fault = mapping({
  seed: integer(0, 0xffffffff, 'a number').default(1).describe('The same seed makes the same faults'),
  rx: rates.optional().describe('To packets that come in by this port'),
  tx: rates.optional().describe('To packets that leave by it'),
}).describe('A bad line, for tests')

export const DEVICES = ['tap', 'tun', 'host', 'packet', 'patch', 'pcap', 'memory'] as const

export const portSchema = fits(
  mapping({
    tap: tap.optional(),
    tun: tun.optional(),
    host: host.optional(),
    packet: packet.optional(),
    patch: patch.optional(),
    pcap: pcap.optional(),
    memory: memory.optional(),
    vlan: vlan.optional(),
    mtu: anyMtu.optional().describe("Largest payload we send; default the device's"),
    learning: flag.default(true).describe('Remember where source addresses are'),
    flood,
    isolated: flag.default(false).describe('No traffic between isolated ports'),
    hairpin: flag.default(false).describe('A frame may leave by the port it came from'),
    locked: flag.default(false).describe('Only sources in `static` are let in'),
    limit: integer(0, 16_777_216, 'a number of addresses').default(0).describe("Most addresses; 0 = the switch's limit"),
    storm,
    static: list(staticAddress).default([]).describe('Addresses that are always here'),
    fault: fault.optional(),
  }),
  (found, refuse) => {
    const devices = DEVICES.filter((d) => found[d] !== undefined)
    if (devices.length === 1) return
    refuse([], { found: devices.length ? devices.join(' and ') : 'none of them', expected: `exactly one of ${orList(DEVICES)}` })
  },
)

const switchSchema = mapping({
  aging: leaf(value.aging, { type: ['string', 'number'] })
    .default(300)
    .describe('Time after which a silent address is forgotten: 300s, 5m, 0 = never'),
  limit: integer(1, 16_777_216, 'a number of addresses').default(65_536).describe('Most addresses in all'),
  reserved: list(leaf(value.reservedByte, { type: ['integer', 'string'] }))
    .default([])
    .describe('Last bytes of 01-80-C2-00-00-0x to forward nevertheless; 00, 01 and 02 never are'),
  ports: named(portSchema, 'a mapping of ports').default({}).describe('By name'),
})

export const fileSchema = mapping(
  {
    namespaces: list(leaf(value.netnsName, { type: 'string' }))
      .default([])
      .describe('Network namespaces, created when missing and removed at exit if we created them'),
    poll: leaf(
      (found): 'sleep' | 'adaptive' | 'busy' => {
        if (found === 'sleep' || found === 'adaptive' || found === 'busy') return found
        throw new value.Wrong('sleep, adaptive or busy')
      },
      { enum: ['sleep', 'adaptive', 'busy'] },
    )
      .default('adaptive')
      .describe('How the worker waits: sleep at once; adaptive spins a little under traffic; busy never sleeps'),
    switches: named(switchSchema, 'a mapping of switches').describe('By name'),
  },
  'a mapping with at least the key switches',
)

export type FileKeys = z.output<typeof fileSchema>
export type SwitchKeys = z.output<typeof switchSchema>
export type PortKeys = z.output<typeof portSchema>

/** Keys of later versions, and what they belong to. */
export const LATER: Record<string, string> = {
  vteps: 'VXLAN',
  vxlan: 'VXLAN',
  routers: 'the router',
}
