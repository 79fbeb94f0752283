/**
 * Numbers with names: protocols (as iptables-save prints them, from /etc/protocols), services, ICMP types
 * (as iptables -p icmp -h lists them), DiffServ classes (RFC 2474, 2597, 3246). Fixed here, so that a
 * file means the same on every machine.
 */
import { Wrong } from './error.ts'
import type { Range } from './model.ts'

export const PROTOCOL: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  icmp: 1,
  igmp: 2,
  ggp: 3,
  ipencap: 4,
  st: 5,
  tcp: 6,
  egp: 8,
  igp: 9,
  pup: 12,
  udp: 17,
  hmp: 20,
  'xns-idp': 22,
  rdp: 27,
  'iso-tp4': 29,
  dccp: 33,
  xtp: 36,
  ddp: 37,
  'idpr-cmtp': 38,
  ipv6: 41,
  'ipv6-route': 43,
  'ipv6-frag': 44,
  idrp: 45,
  rsvp: 46,
  gre: 47,
  esp: 50,
  ah: 51,
  skip: 57,
  'ipv6-icmp': 58,
  'ipv6-nonxt': 59,
  'ipv6-opts': 60,
  rspf: 73,
  vmtp: 81,
  eigrp: 88,
  ospf: 89,
  'ax.25': 93,
  ipip: 94,
  etherip: 97,
  encap: 98,
  pim: 103,
  ipcomp: 108,
  vrrp: 112,
  l2tp: 115,
  isis: 124,
  sctp: 132,
  fc: 133,
  'mobility-header': 135,
  udplite: 136,
  'mpls-in-ip': 137,
  manet: 138,
  hip: 139,
  shim6: 140,
  wesp: 141,
  rohc: 142,
  ethernet: 143,
})

const PROTOCOL_NAME = new Map(Object.entries(PROTOCOL).map(([name, number]) => [number, name]))

/** 0 is any protocol. */
export function readProtocol(text: string): number {
  const name = text.toLowerCase()
  if (name === 'all' || name === 'ip' || name === 'hopopt') return 0
  if (name === 'icmpv6') return 58
  const number = PROTOCOL[name] ?? (/^[0-9]{1,3}$/.test(name) ? Number(name) : -1)
  if (number < 0 || number > 255)
    throw new Wrong(`unknown protocol '${text}'`, ['0 to 255', 'all', ...Object.keys(PROTOCOL)])
  return number
}

export function printProtocol(number: number): string {
  return PROTOCOL_NAME.get(number) ?? String(number)
}

export const SERVICE: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  'ftp-data': 20,
  ftp: 21,
  ssh: 22,
  telnet: 23,
  smtp: 25,
  whois: 43,
  domain: 53,
  bootps: 67,
  bootpc: 68,
  tftp: 69,
  http: 80,
  kerberos: 88,
  pop3: 110,
  sunrpc: 111,
  auth: 113,
  nntp: 119,
  ntp: 123,
  'netbios-ns': 137,
  'netbios-dgm': 138,
  'netbios-ssn': 139,
  imap2: 143,
  snmp: 161,
  'snmp-trap': 162,
  bgp: 179,
  ldap: 389,
  https: 443,
  'microsoft-ds': 445,
  submissions: 465,
  isakmp: 500,
  syslog: 514,
  submission: 587,
  ldaps: 636,
  rsync: 873,
  imaps: 993,
  pop3s: 995,
  radius: 1812,
  nfs: 2049,
  mysql: 3306,
  'ipsec-nat-t': 4500,
  sip: 5060,
  'xmpp-client': 5222,
  mdns: 5353,
  postgresql: 5432,
  git: 9418,
})

/** Name, type, code; no code means any. */
type IcmpName = readonly [name: string, type: number, code?: number]

export const ICMP: readonly IcmpName[] = [
  ['echo-reply', 0],
  ['pong', 0],
  ['destination-unreachable', 3],
  ['network-unreachable', 3, 0],
  ['host-unreachable', 3, 1],
  ['protocol-unreachable', 3, 2],
  ['port-unreachable', 3, 3],
  ['fragmentation-needed', 3, 4],
  ['source-route-failed', 3, 5],
  ['network-unknown', 3, 6],
  ['host-unknown', 3, 7],
  ['network-prohibited', 3, 9],
  ['host-prohibited', 3, 10],
  ['TOS-network-unreachable', 3, 11],
  ['TOS-host-unreachable', 3, 12],
  ['communication-prohibited', 3, 13],
  ['host-precedence-violation', 3, 14],
  ['precedence-cutoff', 3, 15],
  ['source-quench', 4],
  ['redirect', 5],
  ['network-redirect', 5, 0],
  ['host-redirect', 5, 1],
  ['TOS-network-redirect', 5, 2],
  ['TOS-host-redirect', 5, 3],
  ['echo-request', 8],
  ['ping', 8],
  ['router-advertisement', 9],
  ['router-solicitation', 10],
  ['time-exceeded', 11],
  ['ttl-exceeded', 11],
  ['ttl-zero-during-transit', 11, 0],
  ['ttl-zero-during-reassembly', 11, 1],
  ['parameter-problem', 12],
  ['ip-header-bad', 12, 0],
  ['required-option-missing', 12, 1],
  ['timestamp-request', 13],
  ['timestamp-reply', 14],
  ['address-mask-request', 17],
  ['address-mask-reply', 18],
]

export const ICMP6: readonly IcmpName[] = [
  ['destination-unreachable', 1],
  ['no-route', 1, 0],
  ['communication-prohibited', 1, 1],
  ['beyond-scope', 1, 2],
  ['address-unreachable', 1, 3],
  ['port-unreachable', 1, 4],
  ['failed-policy', 1, 5],
  ['reject-route', 1, 6],
  ['packet-too-big', 2],
  ['time-exceeded', 3],
  ['ttl-exceeded', 3],
  ['ttl-zero-during-transit', 3, 0],
  ['ttl-zero-during-reassembly', 3, 1],
  ['parameter-problem', 4],
  ['bad-header', 4, 0],
  ['unknown-header-type', 4, 1],
  ['unknown-option', 4, 2],
  ['echo-request', 128],
  ['ping', 128],
  ['echo-reply', 129],
  ['pong', 129],
  ['router-solicitation', 133],
  ['router-advertisement', 134],
  ['neighbour-solicitation', 135],
  ['neighbor-solicitation', 135],
  ['neighbour-advertisement', 136],
  ['neighbor-advertisement', 136],
  ['redirect', 137],
]

export interface IcmpType {
  type: number
  code: Range
}

/** By name, unique beginning of a name, type or type/code. */
export function readIcmpType(text: string, names: readonly IcmpName[]): IcmpType {
  const numeric = /^([0-9]{1,3})(?:\/([0-9]{1,3}))?$/.exec(text)
  if (numeric) {
    const type = Number(numeric[1])
    const code = numeric[2] === undefined ? -1 : Number(numeric[2])
    if (type > 255 || code > 255) throw new Wrong(`'${text}' is not an ICMP type[/code], each up to 255`)
    return { type, code: code < 0 ? { min: 0, max: 255 } : { min: code, max: code } }
  }
  const wanted = text.toLowerCase()
  const exact = names.filter(([name]) => name.toLowerCase() === wanted)
  const near =
    exact.length > 0 || wanted === ''
      ? exact
      : names.filter(([name]) => name.toLowerCase().startsWith(wanted))
  if (near.length === 0)
    throw new Wrong(`unknown ICMP type '${text}'`, ['type', 'type/code', ...names.map(([name]) => name)])
  if (near.length > 1)
    throw new Wrong(`ICMP type '${text}' is ambiguous: ${near.map(([name]) => name).join(' or ')}`)
  const [, type, code] = near[0]
  return { type, code: code === undefined ? { min: 0, max: 255 } : { min: code, max: code } }
}

export const DSCP_CLASS: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  CS0: 0,
  CS1: 8,
  CS2: 16,
  CS3: 24,
  CS4: 32,
  CS5: 40,
  CS6: 48,
  CS7: 56,
  BE: 0,
  AF11: 10,
  AF12: 12,
  AF13: 14,
  AF21: 18,
  AF22: 20,
  AF23: 22,
  AF31: 26,
  AF32: 28,
  AF33: 30,
  AF41: 34,
  AF42: 36,
  AF43: 38,
  EF: 46,
})

export function readDscpClass(text: string): number {
  const value = DSCP_CLASS[text.toUpperCase()]
  if (value === undefined) throw new Wrong(`unknown DiffServ class '${text}'`, Object.keys(DSCP_CLASS))
  return value
}
