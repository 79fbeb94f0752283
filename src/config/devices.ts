/**
 * The devices a port can stand on: what stands inside `tap:`, `tun:`, `host:`, `packet:`, `patch:`, `pcap:`
 * and `memory:`. For a device of our making that is the device as its namespace sees it.
 */
import { z } from 'zod'
import { familyOf, inSubnet, isLinkLocal, readCidr, readIp } from './address.ts'
import { orList } from './error.ts'
import { anyMtu, fits, flag, list, mac, mapping, mtu, type Refuse } from './shape.ts'
import * as value from './value.ts'
import { leaf } from './value.ts'

export const cidr = leaf((found) => readCidr(found), { type: 'string' })
export const ip = leaf((found) => readIp(found), { type: 'string' })
export const deviceName = leaf(value.deviceName, { type: 'string' })
export const netns = leaf(value.netns, { type: ['string', 'integer'] })
  .default('')
  .describe("Network namespace of the device: a name, an absolute path or a pid; default the daemon's own")

/** 65535 less the Ethernet header, which counts at a TAP (drivers/net/tun.c). */
const TAP_MTU_MAX = 65521
const tapMtu = mtu(TAP_MTU_MAX, 'at a TAP the 14 bytes of Ethernet header count too')

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
            refuse([key], {
              expected: 'false',
              hint: 'a segment needs a new checksum: it takes checksum: true',
            })
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
  .preprocess(
    (found) => (typeof found === 'string' ? [found] : found),
    list(ip, 'an IP address, or a list of two'),
  )
  .meta({ type: ['string', 'array'] })
  .default([])
  .describe('Default gateway: one, or a list of one IPv4 and one IPv6')

interface LinkKeys {
  addresses: z.output<typeof addresses>
  gateway: string[]
  mtu?: number
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
    if (families.has(family))
      refuse(path, { found: gw, expected: `one gateway for IPv${family}`, hint: 'there are two' })
    else if (here.some((a) => a.address === gw))
      refuse(path, { found: gw, expected: 'another host', hint: "it is the device's own address" })
    else if (!isLinkLocal(gw) && !here.some((a) => inSubnet(gw, a))) {
      const subnets = here.map((a) => a.text)
      const expected = subnets.length
        ? `an address in the subnet of ${orList(subnets)}`
        : `an IPv${family} address of the device first`
      refuse(path, { found: gw, expected, hint: 'a gateway must be reachable without one' })
    }
    families.add(family)
  }
  if (typeof mtu === 'number' && mtu < 1280 && addresses.some((a) => a.family === 6)) {
    refuse(['mtu'], {
      found: mtu,
      expected: 'at least 1280',
      hint: 'it has an IPv6 address, RFC 8200 section 5',
    })
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

export const tap = fits(
  mapping({
    name: deviceName.describe('Name inside its namespace, 1 to 15 bytes'),
    netns,
    addresses,
    gateway,
    mac: mac.optional().describe('Default: the kernel chooses'),
    mtu: tapMtu.optional().describe('68 to 65521; default 1500, or what the tunnels of the switch take'),
    offload,
    persist,
    queues,
  }),
  linkFits,
).describe('An Ethernet device of our making (a TAP), as its namespace sees it')

const noMac = leaf(
  (found): undefined => {
    if (found !== undefined)
      throw new value.Wrong('no MAC address', 'a TUN carries IP packets without Ethernet')
  },
  { not: {} },
).optional()

export const tun = fits(
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

export const host = fits(
  mapping({
    name: deviceName.optional().describe("Default: the port's name"),
    addresses,
    gateway,
    mac: mac.optional(),
    mtu: tapMtu.optional(),
    offload,
  }),
  linkFits,
).describe("The switch's own interface, in the daemon's namespace")

export const packet = mapping({ name: deviceName, netns }).describe(
  'A device that exists already, through a packet socket',
)

const endOfPatch = value.text(value.NAME_EXPECTED)
export const patch = z
  .preprocess(
    (found) => {
      const end = typeof found === 'string' ? /^([^.]+)\.([^.]+)$/.exec(found) : null
      return end ? { switch: end[1], port: end[2] } : found
    },
    mapping({ switch: endOfPatch, port: endOfPatch }, "'switch.port', or a mapping of switch and port"),
  )
  .meta({ type: ['string', 'object'] })
  .describe('The other end, a port of a switch of this file; both ends name each other')

export const pcap = mapping({
  file: value.text('the name of a capture file').describe('Path, from the directory of this file on'),
  loop: flag.default(false).describe('Start again at its end'),
  speed: leaf(
    (found): number => {
      if (typeof found === 'number' && found >= 0 && found <= 1_000_000) return found
      throw new value.Wrong(
        'a factor from 0 to 1000000',
        '1 keeps the times of the file, 0 is as fast as possible',
      )
    },
    { type: 'number', minimum: 0, maximum: 1_000_000 },
  )
    .default(1)
    .describe('1 keeps the times of the file, 2 is twice as fast, 0 as fast as possible'),
}).describe('Frames from a capture file; what goes out here is only counted')

export const memory = z
  .preprocess((found) => found ?? {}, mapping({}, '{}'))
  .meta({ type: ['object', 'null'] })
  .describe('Frames come and go through the library')
