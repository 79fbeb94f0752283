/** The bytes of a router advertisement (RFC 4861 4.2), with the options of RFC 8106 for DNS. */
import { Protocol } from '../wire/ipv4.ts'
import * as wire from '../wire/nd.ts'
import { icmp6, viewOf } from './made.ts'

export interface Prefix {
  /** Four words, host bits clear. */
  address: number[]
  length: number
  onLink: boolean
  autonomous: boolean
  validS: number
  preferredS: number
}

export interface AdvertiseSettings {
  /** Our link-local address, four words. */
  source: number[]
  /** null = the link has no MAC addresses. */
  mac: Uint8Array | null
  hopLimit: number
  managed: boolean
  other: boolean
  /** As a default router; 0 = is none. */
  lifetimeS: number
  mtu: number
  prefixes: Prefix[]
  /** Four words each. */
  dns: number[][]
  search: string[]
  dnsLifetimeS: number
  minIntervalMs: number
  maxIntervalMs: number
}

export const ALL_NODES = [0xff020000 | 0, 0, 0, 1]
const MESSAGE = 16
const MANAGED = 0x80
const OTHER = 0x40
const ON_LINK = 0x80
const AUTONOMOUS = 0x40
/** Longest RA: what any IPv6 link carries, without the IP header. */
const ROOM = 1280 - 40

/**
 * A whole IPv6 packet.
 * @param retired prefixes that hosts shall stop to use
 * @param last true = we stop being a router
 */
export function advertisement(
  s: AdvertiseSettings,
  to: readonly number[],
  retired: readonly Prefix[] = [],
  last = false,
): Uint8Array {
  const message = new Uint8Array(ROOM)
  const view = viewOf(message)
  const bits = (s.managed ? MANAGED : 0) | (s.other ? OTHER : 0)
  wire.writeRa(view, 0, s.hopLimit, bits, last ? 0 : s.lifetimeS)
  let at = MESSAGE
  if (s.mac) {
    const mac = viewOf(s.mac)
    at = wire.writeLink(view, at, wire.NdOption.SourceLink, mac.getUint16(0), mac.getInt32(2))
  }
  at = wire.writeMtu(view, at, s.mtu)
  const gone = retired.map((p) => ({ ...p, validS: 0, preferredS: 0 }))
  for (const { address, length, onLink, autonomous, validS, preferredS } of [...s.prefixes, ...gone]) {
    const flags = (onLink ? ON_LINK : 0) | (autonomous ? AUTONOMOUS : 0)
    const [w0, w1, w2, w3] = address
    if (at + 32 > ROOM) break
    at = wire.writePrefix(view, at, length, flags, validS, preferredS, w0, w1, w2, w3)
  }
  const dnsS = last ? 0 : s.dnsLifetimeS
  if (s.dns.length > 0 && at + 8 + 16 * s.dns.length <= ROOM) {
    at = wire.writeDns(view, at, s.dns.length, dnsS)
    for (const word of s.dns.flat()) {
      view.setInt32(at, word)
      at += 4
    }
  }
  const names = s.search.length > 0 ? domainNames(s.search) : new Uint8Array()
  if (names.length > 0 && at + 8 + names.length <= ROOM) {
    at = wire.writeSearch(view, at, names.length, dnsS)
    message.set(names, at)
    at += names.length
  }
  return icmp6(s.source, to, message.subarray(0, at))
}

/** Names as DNS writes them (RFC 1035 3.1, without pointers), padded to a multiple of 8 bytes. */
function domainNames(names: readonly string[]): Uint8Array {
  const bytes = names.flatMap((name) => {
    const labels = name.split('.').filter((label) => label !== '')
    return [...labels.flatMap((label) => [label.length, ...Buffer.from(label, 'latin1')]), 0]
  })
  while (bytes.length % 8 !== 0) bytes.push(0)
  return Uint8Array.from(bytes)
}

/** Who sent a router solicitation: four words; all 0 = it has no address yet. */
export function solicitorOf(packet: Uint8Array): number[] | null {
  if (packet.length < 48 || packet[0] >> 4 !== 6 || packet[6] !== Protocol.Icmpv6) return null
  const view = viewOf(packet)
  return [8, 12, 16, 20].map((at) => view.getInt32(at))
}
