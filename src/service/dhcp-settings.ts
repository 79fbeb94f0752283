/** What a DHCP server is told to give, and the options it makes of that (RFC 2132, RFC 3442). */
import { DhcpMessage, DhcpOption } from '../wire/dhcp.ts'
import { maskOf } from './address.ts'
import { ascii, byte, long, type Option, type Request, short } from './dhcp-message.ts'
import type { Reservation } from './pool.ts'

/** Addresses are unsigned, 0 = none. */
export interface DhcpSettings {
  /** Our address in the subnet: the server identifier. */
  serverId: number
  /** Prefix length of the subnet. */
  length: number
  pool: [first: number, last: number][]
  reservations: Reservation[]
  /** Never given: addresses of ours, the router told. */
  excluded: number[]
  router: number
  dns: number[]
  domain: string
  /** 0 = not told. */
  mtu: number
  /** Longest IP packet of the link. */
  linkMtu: number
  routes: ClasslessRoute[]
  leaseS: number
  /** How long somebody who has an address already may take to say so; 0 = nobody is asked. */
  probeMs: number
}

export interface ClasslessRoute {
  prefix: number
  length: number
  router: number
}

const STANDARD_MTU = 1500

/** Option 121: a route's length, as few bytes of its prefix as that needs, its router. */
function classless(routes: readonly ClasslessRoute[]): Uint8Array {
  return Uint8Array.from(
    routes.flatMap(({ prefix, length, router }) => [
      length,
      ...long(prefix).subarray(0, Math.ceil(length / 8)),
      ...long(router),
    ]),
  )
}

/**
 * The parameters of an answer: those the client asks for, in its order (RFC 2132 9.8), and the mask and
 * an unusual MTU in any case, for a client that sends longer packets than the link takes is cut off. A
 * client that takes classless routes ignores option 3, so the default route is among them (RFC 3442).
 */
function parameters(s: DhcpSettings, request: Request, hostName: string): Option[] {
  const options = new Map<number, Uint8Array>()
  const mask = maskOf(s.length)
  options.set(DhcpOption.SubnetMask, long(mask))
  if (s.routes.length > 0) {
    const none = s.router === 0 || s.routes.some((r) => r.length === 0)
    const all = none ? s.routes : [...s.routes, { prefix: 0, length: 0, router: s.router }]
    options.set(DhcpOption.ClasslessRoutes, classless(all))
  }
  if (s.router !== 0) options.set(DhcpOption.Router, long(s.router))
  if (s.dns.length > 0) options.set(DhcpOption.DnsServer, long(...s.dns))
  if (hostName !== '') options.set(DhcpOption.HostName, ascii(hostName))
  if (s.domain !== '') options.set(DhcpOption.DomainName, ascii(s.domain))
  if (s.mtu !== 0) options.set(DhcpOption.Mtu, short(s.mtu))
  options.set(DhcpOption.BroadcastAddress, long((s.serverId | ~mask) >>> 0))
  const wants = request.wants ?? [...options.keys()]
  if (wants.includes(DhcpOption.ClasslessRoutes) && options.has(DhcpOption.ClasslessRoutes))
    options.delete(DhcpOption.Router)
  const always = [DhcpOption.SubnetMask, ...(s.mtu === STANDARD_MTU ? [] : [DhcpOption.Mtu])]
  return [...new Set([...wants, ...always])].flatMap((code): Option[] => {
    const value = options.get(code)
    return value === undefined ? [] : [[code, value]]
  })
}

/** @param leaseS 0 = the answer is about no lease */
export function optionsOf(
  s: DhcpSettings,
  type: DhcpMessage,
  request: Request,
  leaseS: number,
  hostName: string,
): Option[] {
  const times: Option[] = [
    [DhcpOption.LeaseTime, long(leaseS)],
    [DhcpOption.RenewalTime, long(Math.floor(leaseS / 2))],
    [DhcpOption.RebindingTime, long(Math.floor((leaseS * 7) / 8))],
  ]
  return [
    [DhcpOption.MessageType, byte(type)],
    [DhcpOption.ServerId, long(s.serverId)],
    ...(leaseS > 0 ? times : []),
    ...echoed(request),
    ...parameters(s, request, hostName),
    ...relayed(request),
  ]
}

export function nakOptions(s: DhcpSettings, request: Request, message: string): Option[] {
  return [
    [DhcpOption.MessageType, byte(DhcpMessage.Nak)],
    [DhcpOption.ServerId, long(s.serverId)],
    [DhcpOption.Message, ascii(message)],
    ...echoed(request),
    ...relayed(request),
  ]
}

/** The client's identifier (RFC 6842). */
function echoed({ clientId }: Request): Option[] {
  return clientId === '' ? [] : [[DhcpOption.ClientId, Buffer.from(clientId, 'hex')]]
}

/** The last one, as it came (RFC 3046). */
function relayed({ relayInfo }: Request): Option[] {
  return relayInfo === null ? [] : [[DhcpOption.RelayInfo, relayInfo]]
}
