/**
 * Addresses as people write them: MAC (IEEE 802), IPv4 and IPv6 (RFC 4291, written as RFC 5952 says),
 * and CIDRs. Readers throw a Wrong with what was expected; they return one canonical spelling, so that
 * two ways of writing one address compare equal.
 */
import { isIPv4, isIPv6 } from 'node:net'
import { Wrong } from './value.ts'

export interface Cidr {
  /** Canonical: '10.0.0.1/24', 'fd00::1/64'. */
  text: string
  /** Without the prefix. */
  address: string
  family: 4 | 6
  bits: bigint
  prefix: number
}

const WIDTH = { 4: 32, 6: 128 } as const

const NETWORK = "the network's own address"
const ANYCAST = 'the subnet-router anycast address, RFC 4291 2.6.1'
const BROADCAST = "the network's broadcast address"

const MAC = 'a unicast MAC address such as 02:00:00:00:00:01'

/** A unicast MAC address, in lower case with colons. */
export function readMac(found: unknown): string {
  if (typeof found !== 'string' || !/^[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i.test(found)) {
    throw new Wrong(MAC)
  }
  const mac = found.toLowerCase().replaceAll('-', ':')
  if (mac === '00:00:00:00:00:00') throw new Wrong(MAC, 'all zero is nobody')
  if (Number.parseInt(mac.slice(0, 2), 16) & 1)
    throw new Wrong(MAC, 'the lowest bit of its first byte makes it a group')
  return mac
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

/** An address of a host: one that can be a source. Canonical spelling. */
export function readIp(found: unknown, expected = 'an IP address such as 10.0.0.1 or fd00::1'): string {
  const address = readAnyIp(found, expected)
  const why = whyNotHost(address)
  if (why) throw new Wrong(expected, why)
  return address
}

/** An address that a socket can be bound to: also 'all of this family'. */
export function readLocal(found: unknown): string {
  const expected = 'an IP address of this machine, or 0.0.0.0 or :: for all of them'
  const address = readAnyIp(found, expected)
  if (address === '0.0.0.0' || address === '::') return address
  return readIp(address, expected)
}

/** A multicast group. */
export function readGroup(found: unknown): string {
  const expected = 'a multicast address such as 239.1.1.1 or ff05::100'
  const address = readAnyIp(found, expected)
  if (!isMulticast(address)) throw new Wrong(expected)
  // RFC 5771 section 4, RFC 4291 section 2.7: these never leave the link or the node.
  if (address.startsWith('ff01:') || address.startsWith('ff00:'))
    throw new Wrong(expected, 'this one never leaves the host')
  return address
}

/** RFC 1123 section 2.1: a name whose last label is a number would be an address. */
const HOST_NAME =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.?$/i

/** An address, or the name of a host in lower case. */
export function readRemote(found: unknown): string {
  const expected = 'an IP address or the name of a host'
  if (typeof found !== 'string') throw new Wrong(expected)
  const name = HOST_NAME.test(found) && !/(?:^|\.)[0-9]+\.?$/.test(found)
  if (name) return found.toLowerCase()
  return readIp(found, expected)
}

/** True for an address, false for a name. */
export function isAddress(remote: string): boolean {
  return isIPv4(remote) || isIPv6(remote)
}

export function isMulticast(address: string): boolean {
  return familyOf(address) === 6 ? address.startsWith('ff') : (Number.parseInt(address, 10) & 0xf0) === 0xe0
}

/** Also one that no host can have. */
function readAnyIp(found: unknown, expected: string): string {
  if (typeof found !== 'string') throw new Wrong(expected)
  if (!isIPv4(found) && (!isIPv6(found) || found.includes('%'))) throw new Wrong(expected, whyNotIp(found))
  return isIPv4(found) ? found : canonical6(found)
}

/** The URL parser writes IPv6 addresses as RFC 5952 wants them. */
function canonical6(address: string): string {
  return new URL(`http://[${address}]`).hostname.slice(1, -1)
}

function whyNotIp(text: string): string | undefined {
  if (text.includes('%')) return 'without a zone'
  if (!/^[0-9.]+$/.test(text)) return undefined
  const parts = text.split('.')
  if (parts.length !== 4) return 'an IPv4 address has four parts'
  if (parts.some((p) => /^0[0-9]/.test(p))) return 'a part with a leading zero could be octal'
  if (parts.some((p) => Number(p) > 255)) return 'a part is above 255'
  return undefined
}

function whyNotHost(address: string): string | undefined {
  if (address === '0.0.0.0' || address === '::') return 'that is the unspecified address'
  if (address === '255.255.255.255') return 'that is the broadcast address'
  return isMulticast(address) ? 'that is a multicast address' : undefined
}

/** An interface's address with its prefix. */
export function readCidr(found: unknown): Cidr {
  const expected = 'an address with its prefix, such as 10.0.0.2/24 or fd00::2/64'
  if (typeof found !== 'string') throw new Wrong(expected)
  const slash = found.indexOf('/')
  if (slash < 0) throw new Wrong(expected, 'the prefix is missing')
  const address = readIp(found.slice(0, slash), expected)
  const family = familyOf(address)
  const prefix = readLength(found.slice(slash + 1), 1, family, expected)
  const cidr = { text: `${address}/${prefix}`, address, family, bits: ipBits(address), prefix }
  const reserved = reservedIn(address, cidr)
  if (reserved) throw new Wrong(expected, `that is ${reserved}`)
  return cidr
}

function readLength(text: string, min: number, family: 4 | 6, expected: string): number {
  const length = /^(0|[1-9][0-9]{0,2})$/.test(text) ? Number(text) : -1
  if (length >= min && length <= WIDTH[family]) return length
  throw new Wrong(expected, `an IPv${family} prefix is from ${min} to ${WIDTH[family]}`)
}

/** Addresses with a common beginning, as `to` of a route: '10.0.0.0/8', '::/0'; '10.0.0.1' is one host. */
export function readNetwork(
  found: unknown,
  expected = 'a network such as 10.0.0.0/8 or fd00::/8, or one address',
): Cidr {
  if (typeof found !== 'string') throw new Wrong(expected)
  const slash = found.indexOf('/')
  const address = readAnyIp(slash < 0 ? found : found.slice(0, slash), expected)
  const family = familyOf(address)
  const width = WIDTH[family]
  const prefix = slash < 0 ? width : readLength(found.slice(slash + 1), 0, family, expected)
  const bits = ipBits(address)
  const start = startOf({ bits, prefix, family })
  if (start !== bits)
    throw new Wrong(expected, `that is a host; its network is ${ipText(start, family)}/${prefix}`)
  return { text: `${address}/${prefix}`, address, family, bits, prefix }
}

/** The first address of its network. */
export function startOf({ bits, prefix, family }: Pick<Cidr, 'bits' | 'prefix' | 'family'>): bigint {
  const host = BigInt(WIDTH[family] - prefix)
  return (bits >> host) << host
}

/** True for a prefix that holds one address only. */
export function isHost({ prefix, family }: Cidr): boolean {
  return prefix === WIDTH[family]
}

/** What is special about an address in its network: "the network's own address", or undefined. */
export function reservedIn(address: string, network: Cidr): string | undefined {
  const host = BigInt(WIDTH[network.family] - network.prefix)
  if (host < 2n) return undefined
  const rest = ipBits(address) - startOf(network)
  if (rest === 0n) return network.family === 4 ? NETWORK : ANYCAST
  return network.family === 4 && rest === (1n << host) - 1n ? BROADCAST : undefined
}

export function ipText(bits: bigint, family: 4 | 6): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((at) => (bits >> at) & 255n).join('.')
  const hex = bits.toString(16).padStart(32, '0')
  return canonical6(hex.match(/.{4}/g)!.join(':'))
}

/** An address as a number. */
export function ipBits(address: string): bigint {
  if (familyOf(address) === 4)
    return BigInt(address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0))
  const [left, right] = address.split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = new Array<string>(8 - head.length - tail.length).fill('0')
  return [...head, ...zeros, ...tail].reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n)
}

/** True if `address` lies in the subnet of `cidr`. */
export function inSubnet(address: string, cidr: Cidr): boolean {
  if (familyOf(address) !== cidr.family) return false
  const shift = BigInt(WIDTH[cidr.family] - cidr.prefix)
  return ipBits(address) >> shift === cidr.bits >> shift
}

/** fe80::/10: valid on one link only, so it may be used on many. */
export function isLinkLocal(address: string): boolean {
  return familyOf(address) === 6 && ipBits(address) >> 118n === 0x3fan
}
