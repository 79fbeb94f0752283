/**
 * The network both routers are put into: interfaces, addresses, routes, and hosts behind each interface whose
 * MACs are known from the start (static neighbours), so that nobody asks for one.
 *
 *     lan  10.0.0.1/24     fd00:1::1/64   MTU 1500     hosts .2 to .9, :2 to :9
 *     wan  203.0.113.1/24  fd00:2::1/64   MTU 1500     hosts, and .254 / :fe, the way to everybody else
 *     dmz  10.0.2.1/24     fd00:3::1/64   MTU 1280     hosts
 *
 *     198.18.0.0/24 blackhole   198.18.1.0/24 unreachable   198.18.2.0/24 prohibit   (and fd00:b:1:: to 3::)
 */
import { station } from '../../support/frames.ts'

export interface Link {
  name: string
  mtu: number
  /** With prefix lengths; IPv4 and IPv6. */
  addresses: string[]
  /** Addresses of the hosts behind it. */
  hosts: string[]
}

export interface Way {
  to: string
  /** A gateway and the link's index, or what becomes of the packet. */
  via?: string
  link?: number
  /** Preferred source. */
  src?: string
  kind?: 'blackhole' | 'unreachable' | 'prohibit'
}

export interface World {
  links: Link[]
  ways: Way[]
  /** The kernel's interfaces have link-local addresses; without, it sends no ICMPv6 redirects, which cannot be turned off. */
  linkLocal?: boolean
}

const HOSTS = [2, 3, 4, 5, 6, 7, 8, 9]
const hosts4 = (net: string): string[] => HOSTS.map((n) => `${net}.${n}`)
const hosts6 = (net: string): string[] => HOSTS.map((n) => `${net}::${n}`)

/** @param names of the three interfaces, as a rule set calls them */
export function world(
  names = ['lan', 'wan', 'dmz'],
  nets = ['10.0.0', '203.0.113', '10.0.2'],
  bits = 24,
): World {
  const link = (i: number, mtu: number, more: string[] = []): Link => ({
    name: names[i],
    mtu,
    addresses: [`${nets[i]}.1/${bits}`, `fd00:${i + 1}::1/64`],
    hosts: [...hosts4(nets[i]), ...hosts6(`fd00:${i + 1}`), ...more],
  })
  return {
    links: [link(0, 1500), link(1, 1500, [`${nets[1]}.254`, 'fd00:2::fe']), link(2, 1280)],
    ways: [
      { to: '0.0.0.0/0', via: `${nets[1]}.254`, link: 1 },
      { to: '::/0', via: 'fd00:2::fe', link: 1 },
      { to: '198.18.0.0/24', kind: 'blackhole' },
      { to: '198.18.1.0/24', kind: 'unreachable' },
      { to: '198.18.2.0/24', kind: 'prohibit' },
      { to: 'fd00:b:1::/48', kind: 'blackhole' },
      { to: 'fd00:b:2::/48', kind: 'unreachable' },
      { to: 'fd00:b:3::/48', kind: 'prohibit' },
    ],
  }
}

/** The router's MAC on a link, and that of all hosts behind it. */
export const routerMac = (link: number): Uint8Array => station(0x100 + link)
export const hostMac = (link: number): Uint8Array => station(0x200 + link)

/** A frame from a host of `link` to the router. */
export function toRouter(link: number, packet: Uint8Array, dst = routerMac(link)): Uint8Array {
  const six = packet.length > 0 && packet[0] >> 4 === 6
  return Uint8Array.from([...dst, ...hostMac(link), ...(six ? [0x86, 0xdd] : [8, 0]), ...packet])
}

/** The same where link-local addresses are in use, and fe80::5 is on the first link. */
export function linkLocalWorld(): World {
  const { links, ways } = world()
  links[0].hosts.push('fe80::5')
  return { links, ways, linkLocal: true }
}

/** Several addresses on a link, and routes with a preferred source: what do errors come from? */
export function sourcesWorld(): World {
  const { links, ways } = world()
  links[0].addresses.push('10.0.9.1/24', 'fd00:9::1/64')
  links[0].hosts.push('10.0.9.7', 'fd00:9::7')
  return {
    links,
    ways: [
      ...ways,
      { to: '172.16.0.0/16', via: '10.0.9.7', link: 0 },
      { to: '172.17.0.0/16', via: '203.0.113.254', link: 1, src: '10.0.9.1' },
      { to: 'fd00:16::/32', via: 'fd00:9::7', link: 0 },
      { to: 'fd00:17::/32', via: 'fd00:2::fe', link: 1, src: 'fd00:9::1' },
    ],
  }
}
