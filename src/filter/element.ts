/**
 * One element of a set: its fields from text and back.
 *
 *     10.0.0.1   10.0.0.0/24   10.0.0.1-10.0.0.9   fd00::/64        ip, net
 *     80   tcp:80   udp:1000-1005   icmp:echo-request   icmp:3/4   gre:0    port
 *     02:00:00:00:00:01                                              mac
 *     NAME                                                           set
 *
 * A range or a network of addresses is written out into single fields, as ipset does.
 */
import { Wrong } from './error.ts'
import type { IpSet } from './ipset.ts'
import type { Words } from './model.ts'
import { ICMP, ICMP6, printProtocol, readIcmpType, readProtocol } from './names.ts'
import {
  maskWords,
  prefixMask,
  printAddress,
  printMac,
  readAddress,
  readMac,
  readNumber,
  readPort,
  width,
} from './value.ts'

export type SetField =
  /** A single address has the full prefix. */
  | { kind: 'net'; address: Words; prefix: number }
  /** protocol 0: any, in a bitmap:port. For ICMP, port is type * 256 + code. */
  | { kind: 'port'; protocol: number; port: number }
  | { kind: 'mac'; bytes: readonly number[] }
  | { kind: 'set'; name: string }

/** Most elements that one line may become. */
export const MAX_EXPANSION = 65536

/** All elements `text` stands for; `member` checks a name in a list:set. */
export function readElement(text: string, set: IpSet, member: (name: string) => string): SetField[][] {
  const kinds = set.type.split(':')[1].split(',')
  const parts = text.split(',')
  if (parts.length !== kinds.length)
    throw new Wrong(`'${text}' is not ${kinds.join(',')} as in a ${set.type}`)
  let all: SetField[][] = [[]]
  for (const [at, kind] of kinds.entries()) {
    const fields = readFields(parts[at], kind, set, member)
    if (all.length * fields.length > MAX_EXPANSION)
      throw new Wrong(`'${text}' makes more than ${MAX_EXPANSION} elements`)
    all = all.flatMap((before) => fields.map((field) => [...before, field]))
  }
  return all
}

function readFields(text: string, kind: string, set: IpSet, member: (name: string) => string): SetField[] {
  if (kind === 'ip') return readAddresses(text, set)
  if (kind === 'net') return readNetworks(text, set)
  if (kind === 'mac') return [{ kind: 'mac', bytes: readMac(text) }]
  if (kind === 'set') return [{ kind: 'set', name: member(text) }]
  return set.range ? readBitmapPorts(text, set.range) : readPorts(text)
}

function split(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

/** Addresses of IPv4 from a range or a network, inclusive. null: a single one, or IPv6. */
function readV4Range(text: string): { first: number; last: number } | null {
  const [from, to] = split(text, '-')
  if (to !== undefined) {
    const range = { first: readAddress(from, 4)[0], last: readAddress(to, 4)[0] }
    if (range.first > range.last) throw new Wrong(`the range '${text}' ends before it begins`)
    return range
  }
  const [address, prefixText] = split(text, '/')
  if (prefixText === undefined) return null
  const prefix = readNumber(prefixText, 1, 32, 'a prefix length')
  const [mask] = prefixMask(prefix, 4)
  const first = (readAddress(address, 4)[0] & mask) >>> 0
  return { first, last: (first | ~mask) >>> 0 }
}

function readAddresses(text: string, set: IpSet): SetField[] {
  const family = set.family!
  const netmask = set.netmask ?? width(family)
  const keep = prefixMask(netmask, family)
  const range = family === 4 ? readV4Range(text) : null
  if (!range) {
    const plain = family === 6 && text.endsWith('/128') ? text.slice(0, -4) : text
    return [{ kind: 'net', address: maskWords(readAddress(plain, family), keep), prefix: width(family) }]
  }
  const step = 2 ** (32 - netmask)
  const first = (range.first & keep[0]) >>> 0
  if ((range.last - first) / step >= MAX_EXPANSION)
    throw new Wrong(`'${text}' is more than ${MAX_EXPANSION} addresses`)
  const fields: SetField[] = []
  for (let address = first; address <= range.last; address += step)
    fields.push({ kind: 'net', address: [address], prefix: 32 })
  return fields
}

function readNetworks(text: string, set: IpSet): SetField[] {
  const family = set.family!
  if (family === 4 && text.includes('-')) return coverRange(readV4Range(text)!)
  const [address, prefixText] = split(text, '/')
  const prefix =
    prefixText === undefined ? width(family) : readNumber(prefixText, 1, width(family), 'a prefix length')
  return [
    { kind: 'net', address: maskWords(readAddress(address, family), prefixMask(prefix, family)), prefix },
  ]
}

/** The fewest prefixes that make up a range. */
function coverRange({ first, last }: { first: number; last: number }): SetField[] {
  const fields: SetField[] = []
  let at = first
  while (at <= last) {
    let size = 1
    while (size < 2 ** 31 && at % (size * 2) === 0 && at + size * 2 - 1 <= last) size *= 2
    fields.push({ kind: 'net', address: [at], prefix: 32 - Math.log2(size) })
    at += size
  }
  return fields
}

const ICMP_NAMES: Readonly<Record<number, typeof ICMP>> = { 1: ICMP, 58: ICMP6 }

/** Protocols whose element carries a port: TCP, UDP, SCTP, UDP-Lite. */
const WITH_PORT = [6, 17, 132, 136]

function readPorts(text: string): SetField[] {
  const colon = text.indexOf(':')
  const protocol = colon < 0 ? 6 : readProtocol(text.slice(0, colon))
  const rest = text.slice(colon + 1)
  if (protocol === 0) throw new Wrong(`'${text}' names no protocol`)
  const names = ICMP_NAMES[protocol]
  if (names) {
    const { type, code } = readIcmpType(rest, names)
    return [{ kind: 'port', protocol, port: type * 256 + (code.min === code.max ? code.min : 0) }]
  }
  if (!WITH_PORT.includes(protocol)) {
    if (rest !== '0')
      throw new Wrong(`${printProtocol(protocol)} has no ports: write ${printProtocol(protocol)}:0`)
    return [{ kind: 'port', protocol, port: 0 }]
  }
  return portsOf(rest, protocol)
}

function readBitmapPorts(text: string, range: { min: number; max: number }): SetField[] {
  const fields = portsOf(text.replace(/^(tcp|udp):/, ''), 0)
  for (const field of fields) {
    if (field.kind === 'port' && (field.port < range.min || field.port > range.max)) {
      throw new Wrong(`port ${field.port} is not in the set's range ${range.min}-${range.max}`)
    }
  }
  return fields
}

/** 'port' or 'first-last'; a service name may have a dash. */
function portsOf(text: string, protocol: number): SetField[] {
  const [from, to] = /^[0-9]/.test(text) ? split(text, '-') : [text, undefined]
  const first = readPort(from)
  const last = to === undefined ? first : readPort(to)
  if (first > last) throw new Wrong(`the range '${text}' ends before it begins`)
  return Array.from({ length: last - first + 1 }, (_, at) => ({ kind: 'port', protocol, port: first + at }))
}

export function printElement(fields: readonly SetField[], set: IpSet): string {
  return fields.map((field) => printField(field, set)).join(',')
}

function printField(field: SetField, set: IpSet): string {
  if (field.kind === 'mac') return printMac(field.bytes).toUpperCase()
  if (field.kind === 'set') return field.name
  if (field.kind === 'net') {
    const { address, prefix } = field
    return prefix === width(set.family!) ? printAddress(address) : `${printAddress(address)}/${prefix}`
  }
  const { protocol, port } = field
  if (protocol === 0) return String(port)
  const names = ICMP_NAMES[protocol]
  if (!names) return `${printProtocol(protocol)}:${port}`
  const [type, code] = [port >> 8, port & 255]
  const named =
    names.find(([, t, c]) => t === type && c === code) ??
    names.find(([, t, c]) => t === type && c === undefined && code === 0)
  return `${protocol === 1 ? 'icmp' : 'icmpv6'}:${named ? named[0] : `${type}/${code}`}`
}
