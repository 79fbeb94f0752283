/**
 * Rule sets and packets from a seed: everything the parser knows and a packet between three links can tell
 * apart, but for what depends on chance (random, ports drawn by NAT) or on the second hand (limits that fill).
 *
 *     set    := for each table: policies, two to four chains, rules
 *     rule   := protocol? addresses? interfaces? matches* target
 *     jump   := only to chains further down, so that there are no loops
 */
import { random } from '../../support/frames.ts'
import type { Sent } from './duel.ts'
import { far, forUs, host, malformed, martians, options, pieces, refused } from './odd.ts'
import {
  back,
  bytes,
  conversation,
  echoPacket,
  errorPacket,
  isSix,
  packet,
  ping,
  question,
  spoiled,
  tcpPacket,
  udpPacket,
} from './traffic.ts'

type Family = 4 | 6

class Dice {
  private readonly next: () => number

  constructor(seed: number) {
    this.next = random(seed)
  }

  /** 0 to n - 1. */
  roll(n: number): number {
    return this.next() % n
  }

  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)]
  }

  /** True in one of n. */
  one(n: number): boolean {
    return this.roll(n) === 0
  }

  not(n = 4): string {
    return this.one(n) ? '! ' : ''
  }
}

const LINKS = ['lan', 'wan', 'dmz']
const PORTS = [22, 53, 80, 443, 4000, 5353]

interface Place {
  family: Family
  table: string
  /** Built-in chain, or '' in one of our own. */
  chain: string
}

function network(d: Dice, family: Family): string {
  const link = d.roll(3)
  const one = host(family, link, 2 + d.roll(3))
  const nets4 = ['10.0.0.0/24', '203.0.113.0/24', '10.0.2.0/24', '10.0.0.0/8', '10.0.0.2/31', '0.0.0.0/1']
  const nets6 = ['fd00:1::/64', 'fd00:2::/64', 'fd00:3::/64', 'fd00::/16', 'fd00:1::2/127', '8000::/1']
  return d.one(2) ? `${one}/${family === 4 ? 32 : 128}` : d.pick(family === 4 ? nets4 : nets6)
}

function ports(d: Dice): string {
  return d.one(3) ? `${d.pick([0, 50, 80])}:${d.pick([80, 1024, 65534])}` : String(d.pick(PORTS))
}

/** The protocol, and what is asked of it. */
function protocol(d: Dice, { family }: Place): { text: string; name: string } {
  const icmp = family === 4 ? 'icmp' : 'ipv6-icmp'
  const name = d.pick(['tcp', 'tcp', 'udp', 'udp', icmp])
  if (d.one(6)) return { text: `! -p ${name}`, name: '' }
  const parts = [`-p ${name}`]
  if (name === icmp) {
    const types =
      family === 4 ? ['8', '0', '3', '3/3', '11', '11/0', '255'] : ['128', '129', '1', '1/4', '3', '2']
    if (d.one(2))
      parts.push(
        `-m ${family === 4 ? 'icmp' : 'icmp6'} ${d.not()}--${family === 4 ? 'icmp-type' : 'icmpv6-type'} ${d.pick(types)}`,
      )
  } else if (d.one(3))
    parts.push(
      `-m multiport ${d.not()}--${d.pick(['ports', 'dports', 'sports'])} ${d.pick(['22,80', '53:443', '22,53,80:90,4000'])}`,
    )
  else {
    const inner = []
    if (d.one(3)) inner.push(`${d.not()}--sport ${ports(d)}`)
    if (d.one(2)) inner.push(`${d.not()}--dport ${ports(d)}`)
    if (name === 'tcp' && d.one(3))
      inner.push(
        `${d.not()}--tcp-flags ${d.pick(['SYN,ACK,FIN,RST SYN', 'SYN,ACK SYN,ACK', 'RST RST', 'FIN,PSH FIN', 'ALL NONE'])}`,
      )
    if (name === 'tcp' && d.one(6)) inner.push(`${d.not()}--tcp-option ${d.pick([2, 3, 4])}`)
    if (inner.length > 0) parts.push(`-m ${name} ${inner.join(' ')}`)
    if (name === 'tcp' && d.one(8))
      parts.push(
        `-m tcpmss ${d.not()}--mss ${d.pick(['1460', '1400:1500', '0:1300'])} -m tcp --tcp-flags SYN,RST SYN`,
      )
  }
  return { text: parts.join(' '), name }
}

/** By a table of its own; where a flow is measured, in an interval longer than any test. */
function hashlimit(d: Dice): string {
  const way = `${d.not()}--hashlimit-${d.pick(['upto', 'above'])}`
  const name = `--hashlimit-mode ${d.pick(['srcip', 'dstip', 'srcip,dstip', 'dstport', 'srcip,dstport'])} --hashlimit-name h${d.roll(1e9)}`
  const measured = `--hashlimit-rate-match --hashlimit-rate-interval ${600 + d.roll(600)} --hashlimit-htable-expire 600000`
  switch (d.roll(5)) {
    case 0:
      return `-m hashlimit ${way} 1/hour --hashlimit-burst ${1 + d.roll(9)} ${name}`
    case 1:
      return `-m hashlimit ${way} ${1 + d.roll(5)}/hour --hashlimit-burst ${1 + d.roll(5)} ${name} --hashlimit-rate-match`
    case 2:
      return `-m hashlimit ${way} ${1 + d.roll(12)}/${d.pick(['sec', 'min', 'day'])} ${name} ${measured}`
    case 3:
      return `-m hashlimit ${way} ${100 + d.roll(900)}b/s ${name} ${measured}`
    default:
      return `-m hashlimit ${way} ${d.pick([256, 512])}b/s --hashlimit-burst ${1 + d.roll(3)}kb ${name} ${measured}`
  }
}

const RARE = (d: Dice, p: Place): string[] => {
  const six = p.family === 6
  const list = [
    `-m length ${d.not()}--length ${d.pick(['0:60', '48', '61:2000', '28:40'])}`,
    `-m ${six ? 'hl' : 'ttl'} --${six ? 'hl' : 'ttl'}-${d.pick(['eq', 'lt', 'gt'])} ${d.pick([1, 62, 63, 64])}`,
    `-m dscp ${d.not()}--dscp 0x${d.pick(['00', '0a', '30', '04'])}`,
    `-m statistic --mode nth --every ${2 + d.roll(4)} --packet ${d.roll(2)}`,
    `-m limit --limit 1/hour --limit-burst ${1 + d.roll(9)}`,
    hashlimit(d),
    `-m mark ${d.not()}--mark 0x${d.roll(4)}/0x${d.pick(['3', 'ff', '1'])}`,
    `-m pkttype ${d.not()}--pkt-type ${d.pick(['unicast', 'broadcast', 'multicast'])}`,
    `-m addrtype ${d.not()}--dst-type ${d.pick(['LOCAL', 'UNICAST', 'MULTICAST', ...(six ? [] : ['BROADCAST'])])}`,
    `-m addrtype ${d.not()}--src-type ${d.pick(['LOCAL', 'UNICAST'])}`,
    `-m iprange ${d.not()}--${d.pick(['src', 'dst'])}-range ${host(p.family, d.roll(3), 2)}-${host(p.family, 2, 5)}`.replace(
      /(\S+)-(\S+)$/,
      (all, a, b) =>
        p.family === 4 && Number(a.split('.')[0]) > Number(b.split('.')[0]) ? `10.0.0.2-${a}` : all,
    ),
    '-m comment --comment "anything at all"',
  ]
  if (p.table !== 'raw') {
    list.push(
      `-m conntrack ${d.not()}--ctstate ${d.pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,INVALID', 'UNTRACKED', 'DNAT', 'SNAT,NEW'])}`,
      `-m conntrack ${d.not()}--ctstate NEW,ESTABLISHED --ctdir ${d.pick(['ORIGINAL', 'REPLY'])}`,
      `-m conntrack ${d.not()}--ctstatus ${d.pick(['NONE', 'SEEN_REPLY', 'ASSURED', 'CONFIRMED', 'SEEN_REPLY,ASSURED'])}`,
      `-m conntrack ${d.not()}--ctorigdst ${network(d, p.family)}`,
      `-m conntrack --ctproto ${d.pick([6, 17])} ${d.not()}--ctorigdstport ${d.pick(PORTS)}`,
      `-m conntrack ${d.not()}--ctreplsrc ${network(d, p.family)}`,
      `-m state ${d.not()}--state ${d.pick(['NEW', 'ESTABLISHED', 'INVALID,NEW'])}`,
      `-m connmark ${d.not()}--mark 0x${d.roll(4)}/0x${d.pick(['3', 'ff'])}`,
    )
  }
  if (p.chain === 'PREROUTING' || p.chain === 'INPUT' || p.chain === 'FORWARD')
    list.push(`-m mac ${d.not()}--mac-source 02:00:00:00:02:0${d.roll(3)}`)
  return list
}

function target(d: Dice, p: Place, proto: string, below: string[]): string {
  const { chain, family, table } = p
  const six = family === 6
  if (below.length > 0 && d.one(3)) return `-${d.one(3) ? 'g' : 'j'} ${d.pick(below)}`
  if (d.one(4)) return d.one(3) ? '' : '-j RETURN'
  if (table === 'mangle') {
    const list = [
      `-j MARK --set-xmark 0x${d.roll(4)}/0x${d.pick(['3', 'ff', 'ffffffff'])}`,
      '-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff',
      '-j CONNMARK --restore-mark --nfmask 0x3 --ctmask 0x3',
      `-j CONNMARK --set-xmark 0x${d.roll(4)}/0xff`,
    ]
    // Of IPv6 only where nobody sums afterwards: differs.ts.
    if (!six || chain === 'POSTROUTING' || chain === 'OUTPUT') {
      list.push(
        `-j DSCP --set-dscp 0x${d.pick(['0a', '30', '00'])}`,
        `-j TOS --set-tos 0x${d.pick(['08', '10', 'fc'])}/0x${d.pick(['3f', 'ff', '1c'])}`,
        `-j ${six ? 'HL --hl' : 'TTL --ttl'}-${d.pick(['set 100', 'inc 2', 'dec 1'])}`,
      )
    }
    if (proto === 'tcp' && chain === 'FORWARD')
      return `-m tcp --tcp-flags SYN,RST SYN -j TCPMSS --${d.pick(['set-mss 1200', 'clamp-mss-to-pmtu'])}`
    return d.one(8) ? '-j ACCEPT' : d.one(12) ? '-j DROP' : d.pick(list)
  }
  if (table === 'raw')
    // In OUTPUT (whose rules may be in a chain of ours) only where nothing refuses what is not tracked: differs.ts.
    return chain === 'PREROUTING'
      ? d.pick(['-j CT --notrack', '-j ACCEPT', '', '-j NOTRACK', d.one(4) ? '-j DROP' : ''])
      : d.pick(['-j ACCEPT', '', d.one(4) ? '-j DROP' : ''])
  if (table === 'nat') {
    const to = host(family, d.roll(3), 2 + d.roll(4))
    const withPort = proto === 'tcp' || proto === 'udp'
    const address = withPort && d.one(2) ? `${six ? `[${to}]` : to}:${d.pick(PORTS)}` : to
    if (chain === 'PREROUTING')
      return withPort && d.one(3)
        ? `-j REDIRECT --to-ports ${d.pick(PORTS)}`
        : `-j DNAT --to-destination ${address}`
    if (chain === 'POSTROUTING')
      return d.one(2) ? '-j MASQUERADE' : `-j SNAT --to-source ${host(family, d.roll(3), 1)}`
    return '-j ACCEPT'
  }
  if (table === 'filter' && chain !== 'OUTPUT' && d.one(3)) {
    if (proto === 'tcp' && d.one(2)) return '-j REJECT --reject-with tcp-reset'
    const kinds = six
      ? [
          'icmp6-no-route',
          'icmp6-adm-prohibited',
          'icmp6-addr-unreachable',
          'icmp6-port-unreachable',
          'icmp6-policy-fail',
        ]
      : [
          'icmp-net-unreachable',
          'icmp-host-unreachable',
          'icmp-port-unreachable',
          'icmp-admin-prohibited',
          'icmp-host-prohibited',
        ]
    return `-j REJECT --reject-with ${d.pick(kinds)}`
  }
  return d.pick(['-j ACCEPT', '-j ACCEPT', '-j ACCEPT', '-j DROP'])
}

function rule(d: Dice, p: Place, below: string[]): string {
  const parts: string[] = []
  if (d.one(3)) parts.push(`${d.not()}-s ${network(d, p.family)}`)
  if (d.one(3)) parts.push(`${d.not()}-d ${network(d, p.family)}`)
  const mayIn = ['PREROUTING', 'INPUT', 'FORWARD'].includes(p.chain)
  const mayOut = ['POSTROUTING', 'OUTPUT', 'FORWARD'].includes(p.chain)
  if (mayIn && d.one(3)) parts.push(`${d.not()}-i ${d.pick([...LINKS, 'l+', 'eth7'])}`)
  if (mayOut && d.one(3)) parts.push(`${d.not()}-o ${d.pick([...LINKS, 'd+'])}`)
  const { name, text } = d.one(2) ? protocol(d, p) : { name: '', text: '' }
  if (text !== '') parts.push(text)
  const rare = RARE(d, p)
  for (let n = d.roll(3); n > 0; n--) {
    const match = d.pick(rare)
    if (!parts.includes(match)) parts.push(match)
  }
  const to = target(d, p, name, below)
  if (to !== '') parts.push(to)
  return parts.join(' ')
}

const BUILT_IN: Record<string, string[]> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
}
const HOW_OFTEN: Record<string, number> = { raw: 3, mangle: 2, nat: 3, filter: 1, security: 4 }

export function randomRules(seed: number, family: Family): string {
  const d = new Dice(seed)
  let text = ''
  for (const [table, chains] of Object.entries(BUILT_IN)) {
    if (!d.one(HOW_OFTEN[table])) continue
    const own = Array.from({ length: d.roll(4) }, (_, i) => `${table.toUpperCase()}-${i}`)
    const lines = chains.map(
      (chain) =>
        `:${chain} ${(table === 'filter' || table === 'security') && d.one(4) ? 'DROP' : 'ACCEPT'} [0:0]`,
    )
    lines.push(...own.map((chain) => `:${chain} - [0:0]`))
    for (const chain of chains) {
      // REJECT of what the router made itself: differs.ts.
      const below = table === 'filter' && chain === 'OUTPUT' ? [] : own
      for (let n = d.roll(7); n > 0; n--)
        lines.push(`-A ${chain} ${rule(d, { family, table, chain }, below)}`)
    }
    own.forEach((chain, i) => {
      for (let n = d.roll(5); n > 0; n--)
        lines.push(`-A ${chain} ${rule(d, { family, table, chain: '' }, own.slice(i + 1))}`)
    })
    text += `*${table}\n${lines.map((line) => line.trimEnd()).join('\n')}\nCOMMIT\n`
  }
  return text
}

/** @param most packets, about */
export function randomPackets(seed: number, family: Family, most: number): Sent[] {
  const d = new Dice(seed ^ 0x5eed)
  const list: Sent[] = []
  let port = 10_000 + d.roll(20_000)
  const odd = [
    // Protocols whose sum Linux finds wrong when NAT has changed the addresses, and then refuses nothing: differs.ts.
    forUs(family).filter((p) => family === 4 || !/^(OSPF|protocol 99) /.test(p.what!)),
    refused(family).filter((p) => !/route kind|our own source/.test(p.what!)),
    martians(family),
    malformed(family),
    options(family),
  ]
  while (list.length < most) {
    const from = d.roll(3)
    const to = (from + 1 + d.roll(2)) % 3
    const ends = {
      src: host(family, from, 2 + d.roll(4)),
      dst: d.one(9) ? host(family, d.roll(3), 1) : host(family, to, 2 + d.roll(4)),
    }
    const flow = { ...ends, sport: port++, dport: d.pick(PORTS) }
    const places = { from, to }
    const before = list.length
    switch (d.roll(12)) {
      case 0:
      case 1:
        list.push(...conversation(flow, places, d.pick(['close', 'reset', 'stray'])))
        break
      case 2:
      case 3:
        list.push(...question(flow, places))
        break
      case 4:
        list.push(...ping(ends, places, port++))
        break
      case 5: {
        const asked = udpPacket(flow, d.roll(60))
        const types = isSix(ends.src)
          ? [
              [1, 4],
              [3, 0],
              [1, 0],
              [4, 0],
            ]
          : [
              [3, 3],
              [11, 0],
              [3, 1],
              [3, 13],
              [12, 0],
            ]
        const [type, code] = d.pick(types)
        list.push(
          { link: from, packet: asked },
          {
            link: to,
            packet: errorPacket(d.one(2) ? ends.dst : host(family, to, 6), ends.src, type, code, asked),
            what: 'an error',
          },
        )
        break
      }
      case 6:
        list.push({
          link: from,
          packet: tcpPacket(flow, {
            flags: d.roll(64),
            seq: d.roll(1e6),
            ack: d.roll(1e6),
            payload: bytes(d.roll(50)),
          }),
          what: 'any flags',
        })
        break
      case 7:
        list.push(
          ...d
            .pick(odd)
            .slice(0)
            .sort(() => d.roll(3) - 1)
            .slice(0, 3),
        )
        break
      case 8:
        list.push({
          link: from,
          packet: udpPacket(flow, d.roll(1400), {
            ttl: 1 + d.roll(3),
            tos: d.roll(256),
            dontFragment: d.one(2),
          }),
          what: 'TTL, TOS, size',
        })
        break
      case 9:
        list.push({
          link: from,
          packet: spoiled(d.one(2) ? udpPacket(flow) : tcpPacket(flow, { flags: 2, payload: bytes(4) })),
          what: 'wrong checksum',
        })
        break
      case 10:
        if (d.one(3))
          list.push(
            ...pieces(family, ends.dst)
              .slice(0, 12)
              .map((p) => ({ ...p, link: 0 })),
          )
        else list.push({ link: from, packet: packet(ends, 50, bytes(d.roll(60))), what: 'another protocol' })
        break
      default:
        list.push({
          link: from,
          packet: echoPacket(
            { src: ends.src, dst: d.one(3) ? far(family, 9) : ends.dst },
            port++,
            d.one(4),
            d.roll(1200),
            { dontFragment: d.one(2) },
          ),
          what: 'echo',
        })
        list.push({ link: to, packet: udpPacket(back(flow)), what: 'unasked' })
    }
    // Nobody else answers for the router.
    const ours = [0, 1, 2].some((link) => ends.dst === host(family, link, 1))
    if (ours) list.splice(before, list.length, ...list.slice(before).filter((p) => p.link === from))
  }
  return list
}
