/**
 * The keys of VXLAN: `vteps`, whose mappings are tunnel endpoints, and `vxlan`, the device of a port. Read
 * RFC 7348. What must fit together between them is in vtep-cross.ts.
 */
import { z } from 'zod'
import { readGroup, readIp, readLocal, readRemote } from './address.ts'
import { deviceName, netns } from './devices.ts'
import { flag, list, mac, mapping, mtu } from './shape.ts'
import * as value from './value.ts'
import { integer, leaf, oneOf, Wrong } from './value.ts'

const UNDERLAY_MIN = 576

const ttl = leaf(
  (found): number => {
    if (found === 'inherit') return 0
    if (typeof found === 'number' && Number.isInteger(found) && found >= 1 && found <= 255) return found
    throw new Wrong("a TTL from 1 to 255, or 'inherit'")
  },
  { type: ['integer', 'string'] },
)

const tos = leaf(
  (found): number => {
    if (found === 'inherit') return -1
    const number = typeof found === 'string' && /^0x[0-9a-f]{1,2}$/i.test(found) ? Number(found) : found
    const right = typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 255
    if (right && (number & 3) === 0) return number
    const hint = right ? 'the two lowest bits are ECN, which follows RFC 6040' : undefined
    throw new Wrong("a TOS byte from 0 to 252 in steps of 4, or 'inherit'", hint)
  },
  { type: ['integer', 'string'] },
)

/** @param least seconds */
function seconds(least: number, most: number) {
  const expected = `a time from ${least}s to ${most}s, such as 10s`
  return leaf(
    (found): number => {
      const s = value.durationMs(found, 1000) / 1000
      if (s >= least && s <= most) return s
      throw new Wrong(expected)
    },
    { type: ['string', 'number'] },
  )
}

const probeKeys = mapping(
  {
    mtu: flag
      .default(true)
      .describe('Look for the longest packet the path takes, by echoes that must not be split'),
    liveness: flag.default(false).describe('Tell whether the remote answers; a dead one loses its addresses'),
    interval: seconds(0.1, 3600).default(10).describe('Time between two echoes'),
    misses: integer(1, 100, 'a number of echoes')
      .default(3)
      .describe('Echoes without answer that make it dead'),
  },
  'true, false or a mapping of mtu, liveness, interval and misses',
)
const probe = z
  .preprocess((found) => (typeof found === 'boolean' ? { mtu: found, liveness: found } : found), probeKeys)
  .meta({ type: ['boolean', 'object'] })
  .prefault({})
  .describe('ICMP echoes to remotes: what the path takes, and whether they are there')

export const vtepSchema = mapping({
  local: leaf(readLocal, { type: 'string' }).describe(
    'Our address in the underlay; 0.0.0.0 or :: for all of them. It says which family the tunnel has',
  ),
  port: integer(1, 65535, 'a UDP port').default(4789).describe("UDP port, ours and the remotes'"),
  netns,
  device: deviceName.optional().describe('The only device traffic may use; default: as the routes say'),
  mtu: mtu(65535, 'the longest IP packet', UNDERLAY_MIN)
    .optional()
    .describe('Longest packet the underlay takes; default: found out for each remote'),
  underlay: oneOf('socket', 'tap')
    .default('socket')
    .describe('How super-frames of TCP leave: cut to size by us, or whole through a TAP (Linux 6.17)'),
  df: oneOf('unset', 'set', 'inherit')
    .default('unset')
    .describe("Don't Fragment of the outer packet; we never fragment ourselves"),
  ttl: ttl.default(64).describe("TTL of outer packets, or 'inherit'"),
  groupTtl: integer(1, 255, 'a TTL').default(1).describe('TTL of what goes to a group'),
  tos: tos.default(0).describe("TOS byte of outer packets, or 'inherit'; ECN always follows RFC 6040"),
  udpChecksum: flag.default(true).describe('Send outer UDP checksums; zero ones are always taken'),
  strict: flag.default(false).describe('Drop datagrams with reserved bits set, as Linux does'),
  sourcePorts: integer(1, 64, 'a number of ports')
    .default(8)
    .describe('Source ports that flows are spread over'),
  limit: integer(1, 16_777_216, 'a number of addresses')
    .default(65_536)
    .describe('Most addresses learned in all'),
  maxRemotes: integer(1, 131_072, 'a number of remotes')
    .default(4096)
    .describe('Most remotes known at a time'),
  resolve: seconds(1, 86_400).default(60).describe('How often names of remotes are looked up again'),
  probe,
})

const remote = leaf(readRemote, { type: 'string' })

const staticEntry = mapping({
  mac,
  remote: remote.describe('Where it is: an address or a name'),
  addresses: list(leaf((found) => readIp(found), { type: 'string' }))
    .default([])
    .describe('Its IP addresses, which `suppress` answers for'),
})

export const vxlan = mapping({
  vtep: value.text(value.NAME_EXPECTED).describe('The tunnel endpoint, one of `vteps`'),
  vni: integer(1, 0xffffff, 'a VNI').describe('Network identifier, once on each VTEP'),
  remotes: list(remote, 'a list of addresses and names')
    .default([])
    .describe('Who gets a copy of every flood: addresses, or names that are looked up again and again'),
  group: leaf(readGroup, { type: 'string' }).optional().describe('Multicast group that floods go to'),
  device: deviceName.optional().describe("Where the group is joined; default the VTEP's device"),
  accept: oneOf('known', 'any')
    .optional()
    .describe('From whom datagrams are taken; default: known if there are remotes and no group'),
  learning: flag.default(true).describe('Remember which remote a source address is behind'),
  static: list(staticEntry).default([]).describe('Stations that are always behind one remote'),
  limit: integer(0, 16_777_216, 'a number of addresses')
    .default(0)
    .describe("Most addresses learned; 0 = the VTEP's limit"),
  aging: leaf(value.aging, { type: ['string', 'number'] })
    .default(300)
    .describe('Time after which a silent station is forgotten; what we send to it does not count'),
  suppress: flag.default(false).describe('Answer ARP and neighbour solicitations for known stations here'),
  clampMss: flag.default(true).describe('Lower the MSS of TCP connections to what the tunnel takes'),
  innerVlan: oneOf('discard', 'keep')
    .default('discard')
    .describe('Frames with a VLAN tag inside: discard them (RFC 7348, 6.1) or keep them'),
}).describe('A tunnel to other sites (VXLAN, RFC 7348)')

export type VtepKeys = z.output<typeof vtepSchema>
export type VxlanKeys = z.output<typeof vxlan>
