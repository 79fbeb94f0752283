/**
 * Rule sets as people write them, and the traffic that tries them. Tables that a set does not name are empty
 * then. `-c` counters are left out: they begin at 0.
 */
import { readFileSync } from 'node:fs'
import type { Sent } from './duel.ts'
import { everything, far, forUs, host, linkLocals, martians, options, pieces, refused } from './odd.ts'
import {
  back,
  bytes,
  conversation,
  echoPacket,
  errorPacket,
  packet,
  ping,
  question,
  spoiled,
  tcpPacket,
  udpPacket,
} from './traffic.ts'
import { linkLocalWorld, sourcesWorld, type World } from './world.ts'

export interface Case {
  name: string
  family: 4 | 6
  rules: string
  /** As ipset save prints it. */
  sets?: string
  packets: () => Sent[]
  /** Names of the links, if the rules call them otherwise, and their networks. */
  names?: string[]
  nets?: string[]
  bits?: number
  /** Of its own. */
  world?: () => World
}

const A = '10.0.0.2'
const B = '203.0.113.2'
const C = '10.0.2.2'
const flow = (src: string, dst: string, sport: number, dport: number) => ({ src, dst, sport, dport })
const out = { from: 0, to: 1 }
const toDmz = { from: 0, to: 2 }
const inward = { from: 1, to: 0 }

const table = (name: string, lines: string): string =>
  `*${name}\n${lines.trim().replaceAll(/^ +/gm, '')}\nCOMMIT\n`

/** Some of everything between the three links. */
export function mixed(family: 4 | 6): Sent[] {
  const at = (link: number, n: number): string => host(family, link, n)
  const list: Sent[] = []
  let port = 30000
  for (const [from, to] of [
    [0, 1],
    [1, 0],
    [0, 2],
    [2, 1],
    [1, 2],
  ]) {
    const [src, dst] = [at(from, 2), at(to, 2)]
    const places = { from, to }
    list.push(
      ...conversation(flow(src, dst, port++, 80), places),
      ...conversation(flow(src, dst, port++, 22), places, 'reset'),
      ...conversation(flow(src, dst, port++, 443), places, 'stray'),
      ...question(flow(src, dst, port++, 53), places),
      ...question(flow(at(from, 3), dst, port++, 4000), places),
      ...ping({ src, dst }, places, port++),
      { link: from, packet: packet({ src, dst }, 50, bytes(40)), what: 'ESP' },
      { link: to, packet: udpPacket(flow(dst, src, 9, port++)), what: 'unasked' },
    )
    const asked = udpPacket(flow(src, dst, port, 5353))
    list.push(
      { link: from, packet: asked, what: 'question' },
      {
        link: to,
        packet: errorPacket(dst, src, family === 4 ? 3 : 1, family === 4 ? 3 : 4, asked),
        what: 'port unreachable',
      },
      {
        link: to,
        packet: errorPacket(at(to, 4), src, family === 4 ? 11 : 3, 0, asked),
        what: 'time exceeded',
      },
      {
        link: to,
        packet: errorPacket(at(to, 4), at(from, 5), family === 4 ? 11 : 3, 0, asked),
        what: 'an error to somebody else',
      },
    )
    port++
  }
  return list
}

const STATEFUL = (icmp: string, reject: string): string =>
  table(
    'filter',
    `
    :INPUT DROP [0:0]
    :FORWARD DROP [0:0]
    :OUTPUT ACCEPT [0:0]
    :LOGDROP - [0:0]
    :SERVICES - [0:0]
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A INPUT -m conntrack --ctstate INVALID -j LOGDROP
    -A INPUT -p ${icmp} -j ACCEPT
    -A INPUT -i lan -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
    -A INPUT -j ${reject}
    -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A FORWARD -m conntrack --ctstate INVALID -j LOGDROP
    -A FORWARD -i lan ! -o dmz -m conntrack --ctstate NEW -j ACCEPT
    -A FORWARD -o dmz -g SERVICES
    -A FORWARD -m comment --comment "the rest" -j ${reject}
    -A SERVICES -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
    -A SERVICES -p udp -m udp --dport 53 -j ACCEPT
    -A SERVICES -p tcp -j REJECT --reject-with tcp-reset
    -A LOGDROP -j DROP
    `,
  )

const REJECTS4 = [
  'icmp-net-unreachable',
  'icmp-host-unreachable',
  'icmp-port-unreachable',
  'icmp-proto-unreachable',
  'icmp-net-prohibited',
  'icmp-host-prohibited',
  'icmp-admin-prohibited',
]
const REJECTS6 = [
  'icmp6-no-route',
  'icmp6-adm-prohibited',
  'icmp6-addr-unreachable',
  'icmp6-port-unreachable',
  'icmp6-policy-fail',
  'icmp6-reject-route',
]

function rejects(family: 4 | 6): Sent[] {
  return [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((i) => {
    const ends = flow(host(family, 0, 2), host(family, 1, 2), 33000, 7000 + i)
    const us = { ...ends, dst: host(family, 0, 1) }
    return [ends, us].flatMap((f) => [
      { link: 0, packet: udpPacket(f, 33, { tos: 0x10 }) },
      { link: 0, packet: tcpPacket(f, { flags: 2, seq: 9 }) },
      { link: 0, packet: tcpPacket(f, { flags: 16, seq: 9, ack: 44, payload: bytes(700) }) },
      { link: 0, packet: tcpPacket(f, { flags: 4, seq: 9 }) },
      { link: 0, packet: spoiled(udpPacket(f)), what: 'wrong checksum' },
      { link: 0, packet: spoiled(tcpPacket(f, { flags: 2, payload: bytes(3) })), what: 'wrong checksum' },
    ])
  })
}

const rejectRules = (kinds: string[]): string =>
  table(
    'filter',
    ['INPUT', 'FORWARD']
      .flatMap((chain) =>
        kinds.map(
          (kind, i) => `-A ${chain} -p udp -m udp --dport ${7000 + i} -j REJECT --reject-with ${kind}`,
        ),
      )
      .concat([
        '-A FORWARD -p tcp -j REJECT --reject-with tcp-reset',
        '-A INPUT -p tcp -m tcp --dport 7000:7004 -j REJECT --reject-with tcp-reset',
        `-A INPUT -p tcp -j REJECT --reject-with ${kinds[2]}`,
      ])
      .join('\n'),
  )

const MATCHES4 = table(
  'filter',
  `
  -A FORWARD -p tcp -m multiport --dports 22,80:90,443 -m conntrack --ctdir ORIGINAL
  -A FORWARD -p udp -m multiport ! --ports 53,4000
  -A FORWARD -p tcp -m multiport --sports 22,80,443
  -A FORWARD -m iprange --src-range 10.0.0.2-10.0.0.4
  -A FORWARD -m iprange ! --dst-range 203.0.113.0-203.0.113.9
  -A FORWARD -m ttl --ttl-eq 62
  -A FORWARD -m ttl --ttl-lt 62
  -A FORWARD -m ttl --ttl-gt 100
  -A FORWARD -m length --length 40:60
  -A FORWARD -m length ! --length 0:128
  -A FORWARD -m dscp --dscp 0x0a
  -A FORWARD -m dscp ! --dscp 0x00
  -A FORWARD -m statistic --mode nth --every 3 --packet 0
  -A FORWARD -m statistic --mode nth --every 4 --packet 2
  -A FORWARD -m limit --limit 1/hour --limit-burst 5
  -A FORWARD -p tcp -m tcp --tcp-flags SYN,ACK,FIN,RST SYN
  -A FORWARD -p tcp -m tcp --syn
  -A FORWARD -p tcp -m tcp ! --syn
  -A FORWARD -p tcp -m tcp --tcp-option 2
  -A FORWARD -p tcp -m tcp ! --tcp-option 4
  -A FORWARD -p tcp -m tcpmss --mss 1400:1500 -m tcp --tcp-flags SYN,RST SYN
  -A FORWARD -p icmp -m icmp --icmp-type 8
  -A FORWARD -p icmp -m icmp --icmp-type 3/3
  -A FORWARD -p icmp -m icmp ! --icmp-type 0
  -A FORWARD ! -p tcp
  -A FORWARD -p udp -m udp --sport 1024:65535 ! --dport 53
  -A FORWARD ! -i lan -o wan
  -A FORWARD ! -s 10.0.0.0/24 -d 10.0.2.0/24
  -A FORWARD -i l+
  -A FORWARD -f
  -A FORWARD ! -f
  -A FORWARD -m conntrack --ctstate NEW,INVALID
  -A FORWARD -m conntrack ! --ctstate ESTABLISHED
  -A FORWARD -m conntrack --ctproto 6
  -A FORWARD -m conntrack --ctorigsrc 10.0.0.2/32
  -A FORWARD -m conntrack --ctreplsrc 203.0.113.2
  -A FORWARD -m conntrack --ctorigdstport 80
  -A FORWARD -m conntrack --ctstatus ASSURED
  -A FORWARD -m conntrack --ctstatus SEEN_REPLY
  -A FORWARD -m conntrack ! --ctstatus SEEN_REPLY
  -A FORWARD -m conntrack --ctstatus CONFIRMED
  -A FORWARD -m conntrack --ctstatus NONE
  -A FORWARD -m conntrack ! --ctstatus NONE
  -A FORWARD -m conntrack --ctstatus NONE,ASSURED
  -A FORWARD -m state --state RELATED
  -A FORWARD -m addrtype --dst-type UNICAST
  -A FORWARD -m addrtype ! --src-type LOCAL
  -A INPUT -m addrtype --dst-type LOCAL
  -A INPUT -m addrtype --dst-type BROADCAST
  -A INPUT -m addrtype --dst-type MULTICAST
  -A INPUT -m addrtype --dst-type LOCAL --limit-iface-in
  -A INPUT -m pkttype --pkt-type unicast
  -A INPUT -m pkttype --pkt-type broadcast
  -A FORWARD -m mac --mac-source 02:00:00:00:02:00
  -A FORWARD -m mark --mark 0x0
  -A OUTPUT -m conntrack --ctstate RELATED
  -A OUTPUT -m conntrack --ctstate NEW,ESTABLISHED
  -A OUTPUT -m addrtype --src-type LOCAL
  -A OUTPUT -p icmp -m icmp --icmp-type 3
  `,
)

const MATCHES6 = table(
  'filter',
  `
  -A FORWARD -p tcp -m multiport --dports 22,80:90,443
  -A FORWARD -m iprange --src-range fd00:1::2-fd00:1::4
  -A FORWARD -m hl --hl-eq 62
  -A FORWARD -m hl --hl-lt 62
  -A FORWARD -m length --length 60:80
  -A FORWARD -m dscp --dscp 0x0a
  -A FORWARD -m statistic --mode nth --every 3 --packet 0
  -A FORWARD -m limit --limit 1/hour --limit-burst 5
  -A FORWARD -p tcp -m tcp --syn
  -A FORWARD -p tcp -m tcp --tcp-option 2
  -A FORWARD -p tcp -m tcpmss --mss 1400:1500 -m tcp --tcp-flags SYN,RST SYN
  -A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 128
  -A FORWARD -p ipv6-icmp -m icmp6 --icmpv6-type 1/4
  -A FORWARD ! -p tcp
  -A FORWARD -p udp -m udp --sport 1024:65535 ! --dport 53
  -A FORWARD ! -i lan -o wan
  -A FORWARD ! -s fd00:1::/64 -d fd00:3::/64
  -A FORWARD -m conntrack --ctstate NEW,INVALID
  -A FORWARD -m conntrack ! --ctstate ESTABLISHED
  -A FORWARD -m conntrack --ctorigsrc fd00:1::2/128
  -A FORWARD -m conntrack --ctstatus ASSURED
  -A FORWARD -m state --state RELATED
  -A FORWARD -m addrtype --dst-type UNICAST
  -A INPUT -m addrtype --dst-type LOCAL
  -A INPUT -m addrtype --dst-type MULTICAST
  -A FORWARD -m mac --mac-source 02:00:00:00:02:00
  -A OUTPUT -m conntrack --ctstate RELATED
  -A OUTPUT -p ipv6-icmp -m icmp6 --icmpv6-type 1
  `,
)

const MANGLE = (six: boolean): string =>
  table(
    'mangle',
    `
    -A PREROUTING -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x10/0xff
    -A PREROUTING -p udp -j MARK --set-xmark 0x200/0xffffffff
    -A PREROUTING -m mark --mark 0x200/0x200 -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
    -A PREROUTING -p tcp -j CONNMARK --restore-mark --nfmask 0xff00 --ctmask 0xff00
    -A PREROUTING -p tcp -m conntrack --ctstate NEW -j CONNMARK --set-xmark 0x7700/0xff00
    -A PREROUTING -p tcp -m connmark --mark 0x7700/0xff00 -j DSCP --set-dscp 0x0a
    -A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1200
    -A FORWARD -o dmz -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
    -A FORWARD -m mark --mark 0x10/0xff -j TOS --set-tos 0x08/0x3f
    -A FORWARD -p udp -m udp --dport 53 -j ${six ? 'HL --hl-set 200' : 'TTL --ttl-set 200'}
    -A FORWARD -p udp -m udp --dport 4000 -j ${six ? 'HL --hl-dec 5' : 'TTL --ttl-dec 5'}
    -A FORWARD -p udp -m udp --sport 4000 -j ${six ? 'HL --hl-inc 3' : 'TTL --ttl-inc 3'}
    -A POSTROUTING -m mark ! --mark 0x0/0xffffffff
    -A POSTROUTING -p tcp -j MARK --set-xmark 0x0/0xf
    -A OUTPUT -p ${six ? 'ipv6-icmp' : 'icmp'} -j DSCP --set-dscp 0x06
    -A INPUT -p udp -j MARK --set-xmark 0x55/0xffffffff
    `,
  ) +
  table(
    'filter',
    `
    -A FORWARD -m mark --mark 0x10/0x10
    -A FORWARD -m connmark --mark 0x200/0x200
    -A FORWARD -m connmark ! --mark 0x7700/0xff00
    -A INPUT -m mark --mark 0x55
    `,
  )

const NAT4 = table(
  'nat',
  `
  -A PREROUTING -i wan -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
  -A PREROUTING -i wan -p udp -m udp --dport 5300 -j DNAT --to-destination 10.0.2.2:53
  -A PREROUTING -i lan -p tcp -m tcp --dport 3128 -j REDIRECT --to-ports 3129
  -A PREROUTING -d 198.51.100.0/28 -j NETMAP --to 10.0.2.0/28
  -A PREROUTING -d 203.0.113.1/32 -p icmp -m icmp --icmp-type 8 -j DNAT --to-destination 10.0.0.4
  -A POSTROUTING -s 10.0.0.0/24 -o wan -p tcp -j SNAT --to-source 203.0.113.1
  -A POSTROUTING -s 10.0.0.0/24 -o wan -j MASQUERADE
  -A POSTROUTING -s 10.0.2.0/28 -o wan -j NETMAP --to 198.51.100.0/28
  -A POSTROUTING -s 10.0.0.0/24 -d 10.0.0.0/24 -j SNAT --to-source 10.0.0.1
  -A OUTPUT -p udp -j ACCEPT
  -A INPUT -p udp -j ACCEPT
  `,
)

function natTraffic(): Sent[] {
  const us = '203.0.113.1'
  const list: Sent[] = []
  const a = flow(A, B, 20000, 80)
  list.push(...translated(a, 0, 1, us))
  list.push({ link: 1, packet: tcpPacket(flow(B, us, 20001, 8080), { flags: 2, seq: 1 }), what: 'published' })
  list.push({
    link: 0,
    packet: tcpPacket(flow(A, B, 80, 20001), { flags: 18, seq: 5, ack: 2 }),
    what: 'its answer',
  })
  list.push({
    link: 1,
    packet: tcpPacket(flow(B, us, 20001, 8080), { flags: 16, seq: 2, ack: 6, payload: bytes(60) }),
    what: 'data',
  })
  list.push({ link: 1, packet: udpPacket(flow(B, us, 20002, 5300)), what: 'published, UDP' })
  list.push({ link: 2, packet: udpPacket(flow(C, B, 53, 20002), 99), what: 'its answer' })
  list.push({ link: 0, packet: tcpPacket(flow(A, B, 20003, 3128), { flags: 2 }), what: 'redirected' })
  list.push({ link: 0, packet: udpPacket(flow(A, '198.51.100.3', 20004, 53)), what: 'mapped net' })
  list.push({ link: 2, packet: udpPacket(flow('10.0.2.3', A, 53, 20004)), what: 'back' })
  list.push({ link: 2, packet: udpPacket(flow('10.0.2.3', B, 20005, 53)), what: 'mapped out' })
  list.push({ link: 1, packet: udpPacket(flow(B, '198.51.100.3', 53, 20005)), what: 'back' })
  list.push({ link: 0, packet: echoPacket({ src: A, dst: B }, 3000), what: 'masqueraded ping' })
  list.push({ link: 1, packet: echoPacket({ src: B, dst: us }, 3000, true), what: 'its reply' })
  list.push({ link: 1, packet: echoPacket({ src: B, dst: us }, 3001), what: 'ping, sent on' })
  list.push({ link: 0, packet: echoPacket({ src: '10.0.0.4', dst: B }, 3001, true), what: 'its reply' })
  // Errors about translated flows, both ways.
  const seen = udpPacket(flow(us, B, 20010, 99))
  list.push({ link: 0, packet: udpPacket(flow(A, B, 20010, 99)), what: 'masqueraded' })
  list.push({ link: 1, packet: errorPacket(B, us, 3, 3, seen), what: 'an error about it' })
  list.push({ link: 1, packet: errorPacket('203.0.113.9', us, 11, 0, seen), what: 'from a third' })
  list.push({ link: 1, packet: errorPacket('203.0.113.9', us, 3, 4, seen, 1400), what: 'too big' })
  const inside = tcpPacket(flow(B, A, 20001, 80), { flags: 16, seq: 2, ack: 6 })
  list.push({
    link: 0,
    packet: errorPacket(A, B, 3, 3, inside),
    what: 'an error from inside about a published flow',
  })
  list.push({ link: 0, packet: udpPacket(flow(A, B, 20011, 99), 20, { ttl: 1 }), what: 'TTL 1 under NAT' })
  list.push({
    link: 1,
    packet: tcpPacket(flow(B, us, 20001, 8080), { flags: 16, seq: 62, ack: 6 }, { ttl: 1 }),
    what: 'TTL 1 of a published flow',
  })
  return list
}

function translated(
  f: { src: string; dst: string; sport: number; dport: number },
  from: number,
  to: number,
  as: string,
): Sent[] {
  return conversation(f, { from, to }).map((p) => {
    if (p.link === from) return p
    const answer = p.packet.slice()
    return { ...p, packet: redirected(answer, as) }
  })
}

/** The packet to another destination: an IPv4 TCP packet, its checksums right again. */
function redirected(p: Uint8Array, dst: string): Uint8Array {
  const view = new DataView(p.buffer)
  const next = dst.split('.').map(Number)
  for (const sumAt of [10, 36]) {
    let sum = ~view.getUint16(sumAt) & 0xffff
    for (const i of [0, 2]) sum += (~view.getUint16(16 + i) & 0xffff) + ((next[i] << 8) | next[i + 1])
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
    view.setUint16(sumAt, ~sum & 0xffff)
  }
  p.set(next, 16)
  return p
}

const NAT6 = table(
  'nat',
  `
  -A PREROUTING -i wan -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00:1::2]:80
  -A PREROUTING -i lan -p tcp -m tcp --dport 3128 -j REDIRECT --to-ports 3129
  -A PREROUTING -d fd00:9::/64 -j NETMAP --to fd00:3::/64
  -A POSTROUTING -s fd00:1::/64 -o wan -j MASQUERADE
  `,
)

function natTraffic6(): Sent[] {
  const [a, b, us] = ['fd00:1::2', 'fd00:2::2', 'fd00:2::1']
  return [
    { link: 1, packet: tcpPacket(flow(b, us, 20001, 8080), { flags: 2, seq: 1 }), what: 'published' },
    { link: 0, packet: tcpPacket(flow(a, b, 80, 20001), { flags: 18, seq: 5, ack: 2 }), what: 'its answer' },
    { link: 0, packet: udpPacket(flow(a, b, 20002, 53)), what: 'masqueraded' },
    { link: 1, packet: udpPacket(flow(b, us, 53, 20002)), what: 'its answer' },
    {
      link: 1,
      packet: errorPacket(b, us, 1, 4, udpPacket(flow(us, b, 20002, 53))),
      what: 'an error about it',
    },
    { link: 0, packet: tcpPacket(flow(a, b, 20003, 3128), { flags: 2 }), what: 'redirected' },
    { link: 0, packet: udpPacket(flow(a, 'fd00:9::3', 20004, 53)), what: 'mapped net' },
    { link: 2, packet: udpPacket(flow('fd00:3::3', a, 53, 20004)), what: 'back' },
    { link: 0, packet: echoPacket({ src: a, dst: b }, 300), what: 'masqueraded ping' },
    { link: 1, packet: echoPacket({ src: b, dst: us }, 300, true), what: 'its reply' },
  ]
}

/** What is cut off is dropped by the first condition that looks for what is missing, and by none before. */
const cutRules = (family: 4 | 6): string => {
  const icmp = family === 4 ? '-p icmp -m icmp --icmp-type 8' : '-p ipv6-icmp -m icmp6 --icmpv6-type 128'
  const conditions = ['-m mark --mark 1', '-m conntrack --ctstate NEW', '-m limit --limit 1/hour']
  const headers = ['-p tcp -m tcp --dport 80', '-p udp -m udp --sport 53:60', icmp]
  const rules = (chain: string): string =>
    conditions
      .flatMap((c) => headers.flatMap((h) => [`${h.replace(/ -m.*/, '')} ${c}${h.replace(/^-p \S+/, '')}`]))
      .map((rule) => `-A ${chain} ${rule}`)
      .join('\n')
  const last = headers
    .flatMap((h) => conditions.map((c) => `-A FORWARD -i lan ! -d ${host(family, 2, 9)} ${h} ${c}`))
    .join('\n')
  return (
    table('mangle', `${rules('PREROUTING')}\n-A FORWARD -p tcp -m tcp --tcp-option 3 -m mark --mark 1`) +
    table('filter', `${rules('INPUT')}\n${last}`) +
    table('security', `-A FORWARD ${icmp} -m pkttype --pkt-type multicast`)
  )
}

function cutOff(family: 4 | 6): Sent[] {
  const icmp = family === 4 ? 1 : 58
  return [host(family, 0, 1), host(family, 2, 3)].flatMap((dst) => {
    const ends = { src: host(family, 0, 3), dst }
    const short = [6, 17, icmp].flatMap((protocol) =>
      [0, 2, 4, 7, 8, 13, 19].map((size) => ({
        link: 0,
        packet: packet(ends, protocol, bytes(size, 8)),
        what: `${size} bytes of ${protocol}`,
      })),
    )
    const long = tcpPacket({ ...ends, sport: 1, dport: 80 }, { flags: 2 })
    long[(family === 4 ? 20 : 40) + 12] = 0xf0
    return [...short, { link: 0, packet: long, what: 'a TCP header longer than the packet' }]
  })
}

/** TTL 1, from near and far, by the way that leads back and by another. */
function dying(family: 4 | 6): Sent[] {
  const from =
    family === 4 ? ['172.16.3.3', '172.17.3.3', '10.0.9.7'] : ['fd00:16::3', 'fd00:17::3', 'fd00:9::7']
  return [...from, host(family, 0, 3), host(family, 1, 3), far(family, 3)].flatMap((src) =>
    [0, 1].map((link) => ({
      link,
      packet: udpPacket(flow(src, host(family, 2, 3), 41000, 53), 20, { ttl: 1 }),
      what: `TTL 1 from ${src}`,
    })),
  )
}

const CHAINS =
  table(
    'raw',
    `
  :EARLY - [0:0]
  -A PREROUTING -p udp -m udp --dport 4000 -j CT --notrack
  -A PREROUTING -p udp -m udp --sport 4000 -j NOTRACK
  -A PREROUTING -i lan -j EARLY
  -A EARLY -s 10.0.0.3/32 -j RETURN
  -A EARLY -p tcp -m tcp --dport 23 -j DROP
  -A OUTPUT -p icmp -j EARLY
  `,
  ) +
  table(
    'filter',
    `
    :FORWARD DROP [0:0]
    :ONE - [0:0]
    :TWO - [0:0]
    :THREE - [0:0]
    -A FORWARD -m conntrack --ctstate UNTRACKED -j ACCEPT
    -A FORWARD -p tcp -g ONE
    -A FORWARD -j THREE
    -A FORWARD -p udp -j ACCEPT
    -A ONE -m tcp -p tcp --dport 22 -j RETURN
    -A ONE -j TWO
    -A ONE -p tcp -m tcp --dport 443 -j REJECT --reject-with icmp-admin-prohibited
    -A TWO -p tcp -m tcp --dport 80 -j ACCEPT
    -A TWO -p tcp -m tcp --sport 80 -g THREE
    -A TWO -p tcp -m tcp --sport 443 -j RETURN
    -A THREE -p icmp -j ACCEPT
    -A THREE -p tcp -j ACCEPT
    `,
  ) +
  table(
    'security',
    `
    :OUTPUT DROP [0:0]
    -A INPUT -p udp -m udp --dport 9 -j DROP
    -A FORWARD -d 10.0.2.0/24 -p icmp -j DROP
    -A OUTPUT -p icmp -m icmp --icmp-type 0 -j ACCEPT
    -A OUTPUT -p icmp -m icmp --icmp-type 3/3 -j RETURN
    -A OUTPUT -p tcp -j ACCEPT
    `,
  )

const SETS = `create hosts hash:ip family inet hashsize 1024 maxelem 65536
add hosts 10.0.0.2
add hosts 10.0.2.2
create nets hash:net family inet hashsize 1024 maxelem 65536
add nets 203.0.113.0/28
add nets 203.0.113.3 nomatch
create services hash:ip,port family inet hashsize 1024 maxelem 65536
add services 203.0.113.2,tcp:80
add services 203.0.113.2,udp:53
create ports bitmap:port range 0-65535
add ports 22
add ports 4000-4100
`

const SET_RULES = table(
  'filter',
  `
  -A FORWARD -m set --match-set hosts src
  -A FORWARD -m set ! --match-set hosts dst
  -A FORWARD -m set --match-set nets dst
  -A FORWARD -m set --match-set nets src
  -A FORWARD -m set --match-set services dst,dst
  -A FORWARD -m set --match-set services src,src -j ACCEPT
  -A FORWARD -m set --match-set ports dst -j DROP
  -A FORWARD -m set ! --match-set ports src -m set --match-set hosts src,dst
  `,
)

const MEMORY = table(
  'filter',
  `
  -A FORWARD -p tcp -m tcp --syn -m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset
  -A FORWARD -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --set --name ssh --mask 255.255.255.255 --rsource
  -A FORWARD -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --seconds 600 --hitcount 4 --name ssh --mask 255.255.255.255 --rsource -j DROP
  -A FORWARD -m recent --rcheck --name ssh --mask 255.255.255.255 --rdest
  -A FORWARD -p udp -m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 3 --hashlimit-mode srcip,dstport --hashlimit-name a -j ACCEPT
  -A FORWARD -p udp -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 4 --hashlimit-mode dstip --hashlimit-name b -j DROP
  -A FORWARD -m hashlimit --hashlimit-upto 4/hour --hashlimit-burst 2 --hashlimit-mode srcip,dstport --hashlimit-name c --hashlimit-rate-match
  -A FORWARD -m hashlimit --hashlimit-above 4/hour --hashlimit-burst 2 --hashlimit-mode srcip,dstport --hashlimit-name c --hashlimit-rate-match
  -A FORWARD -m hashlimit --hashlimit-upto 400b/s --hashlimit-burst 800b --hashlimit-mode srcip --hashlimit-name d --hashlimit-rate-match --hashlimit-rate-interval 3600 --hashlimit-htable-expire 3600000
  -A FORWARD -m hashlimit --hashlimit-above 3/sec --hashlimit-mode dstip --hashlimit-name e --hashlimit-rate-match --hashlimit-rate-interval 1000 --hashlimit-htable-expire 3600000
  -A FORWARD -p icmp -m limit --limit 1/hour --limit-burst 3 -j ACCEPT
  -A FORWARD -p icmp -j DROP
  -A FORWARD -m statistic --mode nth --every 5 --packet 4 -j DROP
  `,
)

/** The kernel's connlimit looks for connections that ended once a jiffy: with a pause it sees them all. */
function repeated(): Sent[] {
  const pauseMs = 12
  const list: Sent[] = []
  for (let i = 0; i < 12; i++) {
    list.push({
      link: 0,
      pauseMs,
      packet: tcpPacket(flow(`10.0.0.${2 + (i & 1)}`, B, 50000 + i, 22), { flags: 2, seq: i }),
    })
    list.push({ pauseMs, link: 0, packet: tcpPacket(flow(A, B, 51000 + i, 80), { flags: 2, seq: i }) })
    list.push({ link: 0, packet: udpPacket(flow(`10.0.0.${2 + (i % 3)}`, B, 52000 + i, 53 + (i & 1))) })
    list.push({ link: 0, packet: echoPacket({ src: A, dst: B }, 100 + i) })
    list.push({ link: 1, packet: tcpPacket(flow(B, A, 22, 50000 + i), { flags: 4, seq: 0, ack: i + 1 }) })
  }
  return list
}

const fixture = (name: string): string =>
  readFileSync(new URL(`../../filter/fixtures/${name}.rules`, import.meta.url), 'utf8').replaceAll(
    /\[\d+:\d+\]( -A)?/g,
    (all) => (all.endsWith('-A') ? '-A' : '[0:0]'),
  )

function dockerTraffic(): Sent[] {
  const [web, peer, stranger, outside] = ['172.17.0.2', '172.17.0.3', '172.18.0.2', '192.168.0.2']
  const us = '192.168.0.1'
  return [
    ...translated(flow(web, outside, 4000, 80), 0, 1, us),
    { link: 1, packet: tcpPacket(flow(outside, us, 4001, 8080), { flags: 2, seq: 1 }), what: 'published' },
    {
      link: 0,
      packet: tcpPacket(flow(web, outside, 80, 4001), { flags: 18, seq: 5, ack: 2 }),
      what: 'its answer',
    },
    {
      link: 0,
      packet: tcpPacket(flow(peer, us, 4002, 8080), { flags: 2, seq: 1 }),
      what: 'published, from inside',
    },
    {
      link: 2,
      packet: tcpPacket(flow(stranger, us, 4003, 8080), { flags: 2, seq: 1 }),
      what: 'published, from the other network',
    },
    {
      link: 2,
      packet: tcpPacket(flow(stranger, web, 4004, 80), { flags: 2, seq: 1 }),
      what: 'networks apart',
    },
    { link: 0, packet: udpPacket(flow(web, stranger, 4005, 53)), what: 'networks apart' },
    {
      link: 1,
      packet: tcpPacket(flow(outside, web, 4006, 80), { flags: 2, seq: 1 }),
      what: 'past the publish',
    },
    {
      link: 1,
      packet: tcpPacket(flow(outside, us, 4007, 22), { flags: 2, seq: 1 }),
      what: 'to the machine itself',
    },
    { link: 0, packet: udpPacket(flow(web, '172.17.0.1', 4008, 53)), what: 'to the machine itself' },
    { link: 0, packet: echoPacket({ src: web, dst: outside }, 40), what: 'ping out' },
    { link: 1, packet: echoPacket({ src: outside, dst: us }, 40, true), what: 'its reply' },
    { link: 2, packet: udpPacket(flow(stranger, outside, 4009, 53)), what: 'masqueraded' },
    {
      link: 1,
      packet: errorPacket(outside, us, 3, 3, udpPacket(flow(us, outside, 4009, 53))),
      what: 'an error about it',
    },
  ]
}
const docker = {
  family: 4 as const,
  nets: ['172.17.0', '192.168.0', '172.18.0'],
  bits: 16,
  packets: dockerTraffic,
}
const all = (family: 4 | 6) => () => [...mixed(family), ...everything(family)]

/** One of every kind of target, to be seen by marks alone. */
const NEGATED =
  table(
    'filter',
    `
  -A FORWARD ! -s 10.0.0.2/32 ! -d 203.0.113.2/32 ! -p udp
  -A FORWARD ! -i lan ! -o wan
  -A FORWARD -p tcp -m tcp ! --sport 80 ! --dport 80:90
  -A FORWARD -p tcp -m tcp ! --tcp-flags SYN,ACK SYN
  -A FORWARD -p udp -m udp ! --sport 0:1023
  -A FORWARD -m mark ! --mark 0x1/0xff
  -A FORWARD -m conntrack ! --ctstate NEW,RELATED --ctdir ORIGINAL
  -A FORWARD -m mac ! --mac-source 02:00:00:00:02:01
  -A FORWARD -m iprange ! --src-range 10.0.0.3-10.0.0.9
  -A FORWARD -m ttl ! --ttl-eq 62
  -A FORWARD -m pkttype ! --pkt-type unicast
  -A FORWARD -s 10.0.0.0/24,203.0.113.0/24 -d 10.0.2.0/24 -p tcp -m tcp --dport 80 -j ACCEPT
  -A FORWARD -m rpfilter --invert
  `.replace(/ +-A FORWARD -m rpfilter --invert\n/, ''),
  ) +
  table(
    'raw',
    '-A PREROUTING -m rpfilter --invert\n-A PREROUTING -m rpfilter\n-A PREROUTING -m rpfilter --loose --accept-local',
  )

export const CASES: Case[] = [
  {
    name: 'link-local addresses',
    family: 6,
    rules: STATEFUL('ipv6-icmp', 'REJECT --reject-with icmp6-port-unreachable'),
    packets: linkLocals,
    world: linkLocalWorld,
  },
  { name: 'no rules', family: 4, rules: '', packets: all(4) },
  { name: 'no rules, IPv6', family: 6, rules: '', packets: all(6) },
  {
    name: 'stateful firewall',
    family: 4,
    rules: STATEFUL('icmp', 'REJECT --reject-with icmp-port-unreachable'),
    packets: all(4),
  },
  {
    name: 'stateful firewall, IPv6',
    family: 6,
    rules: STATEFUL('ipv6-icmp', 'REJECT --reject-with icmp6-port-unreachable'),
    packets: all(6),
  },
  {
    name: 'Docker 20',
    ...docker,
    rules: fixture('docker-20'),
    names: ['docker0', 'eth0', 'br-0a1b2c3d4e5f'],
  },
  {
    name: 'Docker 28',
    ...docker,
    rules: fixture('docker-28'),
    names: ['docker0', 'eth0', 'br-6f0e1d2c3b4a'],
  },
  {
    name: 'REJECT',
    family: 4,
    rules: rejectRules(REJECTS4),
    packets: () => [...rejects(4), ...mixed(4), ...martians(4), ...refused(4), ...options(4)],
  },
  {
    name: 'REJECT, IPv6',
    family: 6,
    rules: rejectRules(REJECTS6),
    packets: () => [...rejects(6), ...mixed(6), ...martians(6), ...refused(6), ...options(6)],
  },
  { name: 'matches', family: 4, rules: MATCHES4, packets: all(4) },
  { name: 'matches, IPv6', family: 6, rules: MATCHES6, packets: all(6) },
  { name: 'negations', family: 4, rules: NEGATED, packets: () => [...mixed(4), ...refused(4)] },
  {
    name: 'mangle',
    family: 4,
    rules: MANGLE(false),
    packets: () => [...mixed(4), ...forUs(4), ...refused(4)],
  },
  {
    name: 'mangle, IPv6',
    family: 6,
    rules: MANGLE(true),
    packets: () => [...mixed(6), ...forUs(6), ...refused(6)],
  },
  { name: 'NAT', family: 4, rules: NAT4, packets: () => [...natTraffic(), ...forUs(4), ...pieces(4)] },
  { name: 'NAT, IPv6', family: 6, rules: NAT6, packets: () => [...natTraffic6(), ...forUs(6), ...pieces(6)] },
  { name: 'chains, raw and security', family: 4, rules: CHAINS, packets: all(4) },
  ...([4, 6] as const).map((family) => ({
    name: `packets cut off, IPv${family}`,
    family,
    rules: cutRules(family),
    packets: () => [...cutOff(family), ...mixed(family)],
  })),
  {
    name: 'rules that ask for no connections',
    family: 4,
    rules:
      table('raw', '-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack') +
      table('nat', '-A PREROUTING -p udp\n-A POSTROUTING -p tcp -j ACCEPT'),
    packets: () => [...mixed(4), ...pieces(4)],
  },
  ...([4, 6] as const).map((family) => ({
    name: `whom errors come from, IPv${family}`,
    family,
    rules: '',
    world: sourcesWorld,
    packets: () => dying(family),
  })),
  { name: 'sets', family: 4, rules: SET_RULES, sets: SETS, packets: () => mixed(4) },
  { name: 'rules that remember', family: 4, rules: MEMORY, packets: repeated },
  {
    name: 'nothing is tracked',
    family: 4,
    rules: table(
      'filter',
      '-A FORWARD -p udp -m udp --dport 53 -j DROP\n-A FORWARD -f -j DROP\n-A INPUT -f\n-A INPUT -p icmp',
    ),
    packets: () => [...all(4)(), ...pieces(4, '10.0.0.1'), ...options(4)],
  },
  {
    name: 'nothing is tracked, IPv6',
    family: 6,
    rules: table(
      'filter',
      '-A FORWARD -p udp -m udp --dport 53 -j DROP\n-A INPUT -p udp -m udp --dport 53\n-A INPUT -p ipv6-icmp',
    ),
    packets: () => [...all(6)(), ...pieces(6, 'fd00:1::1')],
  },
]

export { A, B, back, C, far, inward, out, toDmz }
