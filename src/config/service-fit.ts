/** What must fit together in `dhcp` and `advertise`, and with the interface they are of. */
import { MAX_ADDRESSES } from '../service/lease-table.ts'
import { type Cidr, inSubnet, ipBits, ipText, reservedIn, startOf } from './address.ts'
import type { AdvertiseKeys, DhcpKeys, Range } from './service-schema.ts'
import type { Refuse } from './shape.ts'

/** RFC 8200 section 5. */
const MIN_MTU6 = 1280
/** A subnet with room for hosts beside us. */
const LONGEST = 30

/** The address of ours whose subnet is served: the one that holds what is to be given, else the first. */
export function servedBy(addresses: readonly Cidr[], keys: DhcpKeys): Cidr | undefined {
  const fit = addresses.filter((a) => a.family === 4 && a.prefix <= LONGEST)
  const given = keys.pool?.map((r) => ipText(r.first, 4)) ?? keys.reservations.map((r) => r.address)
  return fit.find((a) => given.some((g) => inSubnet(g, a))) ?? fit[0]
}

export function networkText(cidr: Cidr): string {
  return `${ipText(startOf(cidr), cidr.family)}/${cidr.prefix}`
}

/** First and last address of hosts. */
export function hostsOf(cidr: Cidr): Range {
  const start = startOf(cidr)
  const last = start + (1n << BigInt(32 - cidr.prefix)) - 2n
  return { text: `${ipText(start + 1n, 4)}-${ipText(last, 4)}`, first: start + 1n, last }
}

/** What was refused has been told about already, and is not checked again. */
const right = (addresses: readonly Cidr[]): boolean =>
  Array.isArray(addresses) && addresses.every((a) => typeof a?.bits === 'bigint')

export function dhcpFits(
  found: { addresses: Cidr[]; tun?: unknown },
  keys: DhcpKeys,
  mtu: number,
  refuse: Refuse,
): void {
  const { addresses } = found
  if (!right(addresses)) return
  if (found.tun !== undefined)
    return refuse(['dhcp'], {
      found: 'dhcp on a tun',
      expected: 'a link with Ethernet',
      hint: 'MAC addresses tell clients apart',
    })
  if (keys.pool?.some((r) => typeof r.first !== 'bigint') || typeof (keys.router ?? '') !== 'string') return
  if (keys.reservations.some((r) => typeof r?.address !== 'string')) return
  const own = servedBy(addresses, keys)
  if (!own) {
    const some = addresses.some((a) => a.family === 4)
    return refuse(['dhcp'], {
      found: some ? `no IPv4 subnet of /${LONGEST} or larger` : 'no IPv4 address',
      expected: 'an IPv4 address of ours, in the subnet to serve, in addresses',
    })
  }
  const ours = addresses.filter((a) => a.family === 4).map((a) => a.address)
  const kept = new Map<string, string>(ours.map((a) => [a, 'our own address']))
  if (keys.router && !kept.has(keys.router)) kept.set(keys.router, 'the router that clients are told')
  if (keys.router && !inSubnet(keys.router, own))
    refuse(['dhcp', 'router'], {
      found: keys.router,
      expected: `a router in ${networkText(own)}, where the clients are`,
    })
  poolFits(own, keys.pool ?? [], kept, keys.pool === undefined, refuse)
  reservationsFit(own, keys, kept, refuse)
  for (const [i, { via }] of keys.routes.entries())
    if (typeof via === 'string' && !inSubnet(via, own))
      refuse(['dhcp', 'routes', i, 'via'], {
        found: via,
        expected: `a gateway in ${networkText(own)}, where the clients are`,
      })
  mtuFits(
    'dhcp',
    keys.mtu,
    mtu,
    addresses.some((a) => a.family === 6),
    refuse,
  )
}

function poolFits(
  own: Cidr,
  ranges: readonly Range[],
  kept: ReadonlyMap<string, string>,
  all: boolean,
  refuse: Refuse,
): void {
  const hosts = hostsOf(own)
  const sizeOf = ({ first, last }: Range) => last - first + 1n
  for (const [i, range] of ranges.entries()) {
    const at = ['dhcp', 'pool', i]
    if (range.first < hosts.first || range.last > hosts.last) {
      refuse(at, {
        found: range.text,
        expected: `addresses in ${hosts.text}`,
        hint: `the hosts of ${networkText(own)}, our subnet`,
      })
      continue
    }
    const mine = [...kept].find(([a]) => ipBits(a) >= range.first && ipBits(a) <= range.last)
    if (mine)
      refuse(at, { found: range.text, expected: `a range without ${mine[0]}`, hint: `that is ${mine[1]}` })
    const other = ranges.slice(0, i).find((r) => r.first <= range.last && range.first <= r.last)
    if (other)
      refuse(at, {
        found: range.text,
        expected: 'addresses that are in one range only',
        hint: `${other.text} has some of them`,
      })
  }
  const total = all ? sizeOf(hosts) : ranges.reduce((sum, r) => sum + sizeOf(r), 0n)
  if (total > BigInt(MAX_ADDRESSES))
    refuse(all ? ['dhcp'] : ['dhcp', 'pool'], {
      found: `${total} addresses`,
      expected: `a pool of at most ${MAX_ADDRESSES}`,
    })
}

function reservationsFit(own: Cidr, keys: DhcpKeys, kept: ReadonlyMap<string, string>, refuse: Refuse): void {
  const seen = new Map<string, number>()
  for (const [i, { address, clientId, mac }] of keys.reservations.entries()) {
    const at = ['dhcp', 'reservations', i]
    const expected = `an address in ${networkText(own)}, our subnet`
    const hint = kept.get(address) ?? (inSubnet(address, own) ? reservedIn(address, own) : undefined)
    if (hint) refuse([...at, 'address'], { found: address, expected, hint: `that is ${hint}` })
    else if (!inSubnet(address, own)) refuse([...at, 'address'], { found: address, expected })
    for (const [key, value] of Object.entries({ address, mac, clientId })) {
      if (typeof value !== 'string') continue
      const first = seen.get(`${key} ${value}`)
      if (first === undefined) seen.set(`${key} ${value}`, i)
      else
        refuse([...at, key], {
          found: `${value} again`,
          expected: `one reservation for each ${key}`,
          hint: `reservation ${first + 1} has it`,
        })
    }
  }
}

function mtuFits(service: string, told: number | undefined, mtu: number, six: boolean, refuse: Refuse): void {
  if (typeof told !== 'number' || typeof mtu !== 'number') return
  if (told > mtu)
    refuse([service, 'mtu'], {
      found: told,
      expected: `at most ${mtu}, the MTU of the interface`,
      hint: 'what is longer would be lost',
    })
  else if (six && told < MIN_MTU6)
    refuse([service, 'mtu'], {
      found: told,
      expected: `at least ${MIN_MTU6}`,
      hint: 'the link has IPv6, RFC 8200 section 5',
    })
}

export function advertiseFits(addresses: Cidr[], keys: AdvertiseKeys, mtu: number, refuse: Refuse): void {
  if (!right(addresses)) return
  if (!addresses.some((a) => a.family === 6))
    return refuse(['advertise'], {
      found: 'no IPv6 address',
      expected: 'an IPv6 address of ours in addresses',
    })
  mtuFits('advertise', keys.mtu, mtu, true, refuse)
  const seen = new Set<string>()
  for (const [i, one] of (keys.prefixes ?? []).entries()) {
    const at = ['advertise', 'prefixes', i]
    const { autonomous, preferred, prefix, valid } = one
    if (typeof prefix?.bits !== 'bigint') continue
    if (autonomous === true && prefix.prefix !== 64)
      refuse([...at, 'prefix'], {
        found: prefix.text,
        expected: 'a /64, or autonomous: false',
        hint: 'hosts make 64 bits themselves, RFC 4862 5.5.3',
      })
    if (seen.has(prefix.text))
      refuse([...at, 'prefix'], { found: `${prefix.text} again`, expected: 'each prefix once' })
    seen.add(prefix.text)
    if (preferred > valid)
      refuse([...at, 'preferred'], {
        found: `${preferred}s`,
        expected: `at most ${valid}s, the valid time`,
        hint: 'RFC 4861 4.6.2',
      })
  }
  const { lifetime, maxInterval, minInterval } = keys
  const most = Math.max(3, Math.floor(0.75 * maxInterval))
  if (minInterval !== undefined && (minInterval < 3 || minInterval > most))
    refuse(['advertise', 'minInterval'], {
      found: `${minInterval}s`,
      expected: `from 3s to ${most}s`,
      hint: 'three quarters of maxInterval, RFC 4861 6.2.1',
    })
  if (lifetime !== undefined && lifetime !== 0 && lifetime < maxInterval)
    refuse(['advertise', 'lifetime'], {
      found: `${lifetime}s`,
      expected: `0, or from ${maxInterval}s on`,
      hint: 'or it would be over before the next advertisement',
    })
}
