/** One of every packet that is not plain traffic between two hosts, for either family. */
import { icmp, ipv4, ipv6, onesSum, pseudoHeader, tcp, udp } from '../../support/frames.ts'
import type { Sent } from './duel.ts'
import {
  bytes,
  echoPacket,
  errorPacket,
  fragments,
  packet,
  spoiled,
  tcpPacket,
  udpPacket,
} from './traffic.ts'

const NETS4 = ['10.0.0', '203.0.113', '10.0.2']

/** Host n of a link; 1 is the router. */
export const host = (family: 4 | 6, link: number, n: number): string =>
  family === 4 ? `${NETS4[link]}.${n}` : `fd00:${link + 1}::${n.toString(16)}`
/** Somebody behind the default route. */
export const far = (family: 4 | 6, n: number): string => (family === 4 ? `192.0.2.${n}` : `2001:db8::${n}`)

/** Bytes whose Internet checksum is right, as that of a protocol which has one there; in IPv6 with the pseudo-header. */
export function summing(ends: { src: string; dst: string }, protocol: number, n: number): Uint8Array {
  const list = bytes(n)
  list.fill(0, 0, 2)
  const pseudo = ends.src.includes(':') ? pseudoHeader(ends.src, ends.dst, protocol, n) : []
  const sum = ~onesSum(list, pseudo) & 0xffff
  list.set([sum >> 8, sum & 255])
  return list
}

/** To the router itself: its address on the same link, and on another one. */
export function forUs(family: 4 | 6): Sent[] {
  return [0, 1].flatMap((link) => {
    const ends = { src: host(family, 0, 2), dst: host(family, link, 1), sport: 41000, dport: 9 }
    const six = family === 6
    return [
      { link: 0, packet: udpPacket(ends), what: 'closed UDP port' },
      { link: 0, packet: udpPacket(ends, 20, { tos: 0x28 }), what: 'closed UDP port, TOS' },
      { link: 0, packet: udpPacket(ends, 900, { dontFragment: false }), what: 'closed UDP port, quote cut' },
      { link: 0, packet: spoiled(udpPacket(ends)), what: 'closed UDP port, wrong checksum' },
      { link: 0, packet: tcpPacket(ends, { flags: 2, seq: 77 }), what: 'SYN to a closed port' },
      {
        link: 0,
        packet: tcpPacket(ends, { flags: 2, seq: 77, payload: bytes(9) }, { tos: 0x10 }),
        what: 'SYN with data',
      },
      { link: 0, packet: tcpPacket(ends, { flags: 16, seq: 77, ack: 99 }), what: 'ACK to a closed port' },
      { link: 0, packet: tcpPacket(ends, { flags: 4, seq: 77 }), what: 'RST to a closed port' },
      { link: 0, packet: tcpPacket(ends, { flags: 1 | 16, seq: 77, ack: 99 }), what: 'FIN to a closed port' },
      {
        link: 0,
        packet: spoiled(tcpPacket(ends, { flags: 2, payload: bytes(9) })),
        what: 'SYN, wrong checksum',
      },
      { link: 0, packet: echoPacket(ends, 5), what: 'ping' },
      {
        link: 0,
        packet: echoPacket(ends, 6, false, 1400, { tos: 0x20, dontFragment: false }),
        what: 'large ping, TOS',
      },
      { link: 0, packet: spoiled(echoPacket(ends, 7)), what: 'ping, wrong checksum' },
      { link: 0, packet: echoPacket(ends, 8, true), what: 'echo reply nobody asked for' },
      { link: 0, packet: packet(ends, 89, summing(ends, 89, 40)), what: 'OSPF to us' },
      { link: 0, packet: packet(ends, 99, summing(ends, 99, 40)), what: 'protocol 99 to us' },
      { link: 0, packet: packet(ends, 17, bytes(4)), what: 'UDP cut off' },
      { link: 0, packet: packet(ends, 6, bytes(12)), what: 'TCP cut off' },
      { link: 0, packet: packet(ends, six ? 58 : 1, bytes(4)), what: 'ICMP cut off' },
      {
        link: 0,
        packet: packet(ends, six ? 58 : 1, icmp({ type: six ? 200 : 41, rest: 5 }, six ? ends : undefined)),
        what: 'ICMP of an unknown type',
      },
      {
        link: 0,
        packet: errorPacket(
          ends.src,
          ends.dst,
          six ? 1 : 3,
          six ? 4 : 3,
          udpPacket({ ...ends, src: ends.dst, dst: ends.src }),
        ),
        what: 'an error to us',
      },
    ]
  })
}

let asked = 0

/** Another host each time: the kernel tells one source five times at most in a row that there is no way (ip_error). */
export const next = (family: 4 | 6): string => host(family, 0, 2 + (asked++ & 7))

/** Through the router: refused for its TTL, its size, its addresses, its route. */
export function refused(family: 4 | 6): Sent[] {
  const ends = { src: host(family, 0, 3), dst: host(family, 2, 3), sport: 42000, dport: 53 }
  const wan = { ...ends, dst: host(family, 1, 3) }
  const kinds =
    family === 4 ? ['198.18.0.7', '198.18.1.7', '198.18.2.7'] : ['fd00:b:1::7', 'fd00:b:2::7', 'fd00:b:3::7']
  const list: Sent[] = [
    { link: 0, packet: udpPacket(wan, 20, { ttl: 1 }), what: 'TTL 1' },
    { link: 0, packet: udpPacket(wan, 20, { ttl: 0 }), what: 'TTL 0' },
    { link: 0, packet: udpPacket(wan, 20, { ttl: 2, tos: 0x1c }), what: 'TTL 2' },
    { link: 0, packet: udpPacket(wan, 700, { ttl: 1, tos: 0xff }), what: 'TTL 1, TOS, quote cut' },
    { link: 0, packet: tcpPacket(wan, { flags: 2, seq: 3 }, { ttl: 1 }), what: 'SYN, TTL 1' },
    { link: 0, packet: udpPacket({ ...wan, dst: host(family, 0, 1) }, 20, { ttl: 1 }), what: 'to us, TTL 1' },
    {
      link: 0,
      packet: errorPacket(
        ends.src,
        wan.dst,
        family === 6 ? 3 : 11,
        0,
        udpPacket({ ...wan, src: wan.dst, dst: wan.src }),
      ),
      what: 'an error about nothing',
    },
    { link: 0, packet: udpPacket(ends, 1253), what: 'too big, DF' },
    { link: 0, packet: udpPacket(ends, 1252), what: 'as big as possible in IPv4' },
    { link: 0, packet: udpPacket(ends, 1232), what: 'as big as possible in IPv6' },
    { link: 0, packet: udpPacket(ends, 1233), what: 'one more than that' },
    {
      link: 0,
      packet: tcpPacket({ ...ends, dport: 80 }, { flags: 16, payload: bytes(1400) }),
      what: 'a segment too big',
    },
    { link: 0, packet: udpPacket({ ...ends, src: host(family, 2, 4) }), what: 'a source of another link' },
    { link: 0, packet: udpPacket({ ...ends, src: far(family, 5) }), what: 'a source from far away' },
    { link: 0, packet: udpPacket({ ...ends, src: host(family, 0, 1) }), what: 'our own source' },
    {
      link: 0,
      packet: udpPacket({ ...ends, src: host(family, 1, 1) }),
      what: 'our own source on another link',
    },
    { link: 0, packet: udpPacket({ ...ends, dst: host(family, 0, 4) }), what: 'out by where it came in' },
    { link: 0, packet: udpPacket({ ...ends, dst: far(family, 9) }), what: 'by the default route' },
    { link: 0, packet: spoiled(udpPacket(ends)), what: 'a wrong checksum passes' },
    {
      link: 0,
      packet: spoiled(tcpPacket(wan, { flags: 2, payload: bytes(3) })),
      what: 'a wrong checksum passes',
    },
    { link: 0, packet: packet(wan, 17, bytes(5)), what: 'UDP cut off' },
    { link: 0, packet: packet(wan, 6, bytes(13)), what: 'TCP cut off' },
    { link: 0, packet: packet(wan, 89, summing(wan, 89, 40)), what: 'OSPF' },
    { link: 0, packet: packet(wan, 47, Uint8Array.from([0, 0, 8, 0, ...bytes(36)])), what: 'GRE' },
    { link: 0, packet: packet(wan, 50, bytes(40)), what: 'ESP' },
    ...kinds.map((dst, i) => ({
      link: 0,
      packet: udpPacket({ ...ends, src: next(family), dst }),
      what: `route kind ${i}`,
    })),
  ]
  return list
}

/** From and to an address of the link alone. The kernel must have link-local addresses. */
export function linkLocals(): Sent[] {
  const flow = { src: 'fe80::5', dst: 'fd00:2::3', sport: 43500, dport: 53 }
  const own = { ...flow, dst: 'fd00:1::1' }
  return [
    { link: 0, packet: udpPacket(flow), what: 'link-local source' },
    { link: 0, packet: udpPacket(own), what: 'link-local source, to us' },
    { link: 0, packet: echoPacket(own, 3), what: 'ping of a link-local source' },
    { link: 0, packet: tcpPacket(own, { flags: 2 }), what: 'SYN of a link-local source' },
    { link: 0, packet: udpPacket(flow, 20, { ttl: 1 }), what: 'link-local source, hop limit 1' },
    {
      link: 0,
      packet: echoPacket({ src: 'fe80::5', dst: 'fe80::ff:fe00:100' }, 4),
      what: 'ping within the link',
    },
    { link: 0, packet: echoPacket({ src: 'fe80::5', dst: 'ff02::1' }, 5), what: 'ping of everybody' },
    {
      link: 0,
      packet: udpPacket({ ...flow, dst: 'fe80::ff:fe00:100' }),
      what: 'closed port within the link',
    },
  ]
}

export function martians(family: 4 | 6): Sent[] {
  const to = host(family, 1, 3)
  const from = host(family, 0, 3)
  const sources =
    family === 4
      ? ['127.0.0.1', '127.9.9.9', '0.0.0.0', '224.0.0.5', '239.1.1.1', '255.255.255.255']
      : ['::1', '::', 'ff02::1', 'ff0e::5', '100::1', 'fec0::1']
  const destinations =
    family === 4
      ? [
          '127.0.0.1',
          '0.0.0.0',
          '224.0.0.1',
          '224.0.0.5',
          '239.1.1.1',
          '255.255.255.255',
          '10.0.0.255',
          '10.0.2.255',
        ]
      : ['::1', 'ff02::1', 'ff02::2', 'ff02::5', 'ff05::2', 'ff0e::5', 'ff01::1', 'ff00::1', 'fec0::1']
  const flow = (src: string, dst: string) => ({ src, dst, sport: 43000, dport: 53 })
  return [
    ...sources.flatMap((src) => [
      { link: 0, packet: udpPacket(flow(src, to)), what: `from ${src}` },
      { link: 0, packet: udpPacket(flow(src, host(family, 0, 1))), what: `from ${src} to us` },
      { link: 0, packet: echoPacket(flow(src, host(family, 0, 1)), 3), what: `ping from ${src}` },
    ]),
    ...destinations.map((dst) => ({ link: 0, packet: udpPacket(flow(from, dst)), what: `to ${dst}` })),
    {
      link: 0,
      packet: udpPacket(flow(from, to)),
      dst: Uint8Array.from([255, 255, 255, 255, 255, 255]),
      what: 'unicast in a broadcast frame',
    },
    {
      link: 0,
      packet: udpPacket(flow(from, to)),
      dst: Uint8Array.from([1, 0, 0x5e, 0, 0, 5]),
      what: 'unicast in a multicast frame',
    },
    {
      link: 0,
      packet: udpPacket(flow(from, to)),
      dst: Uint8Array.from([2, 0, 0, 0, 9, 9]),
      what: 'a frame for somebody else',
    },
    {
      link: 0,
      packet: udpPacket(flow(from, host(family, 0, 1))),
      dst: Uint8Array.from([255, 255, 255, 255, 255, 255]),
      what: 'to us in a broadcast frame',
    },
  ]
}

/** Headers that do not add up. */
export function malformed(family: 4 | 6): Sent[] {
  const flow = { src: host(family, 0, 4), dst: host(family, 1, 4), sport: 44000, dport: 53 }
  const change = (at: number, value: number, repair = true): Uint8Array => {
    const p = udpPacket(flow)
    p[at] = value
    return repair && family === 4 ? summed(p) : p
  }
  const cut = (n: number): Uint8Array => udpPacket(flow).slice(0, n)
  const padded = Uint8Array.from([...udpPacket(flow), 1, 2, 3, 4, 5])
  const common = [
    { link: 0, packet: padded, what: 'padding behind the packet' },
    { link: 0, packet: cut(10), what: 'half a header' },
    { link: 0, packet: cut(family === 4 ? 25 : 45), what: 'the frame ends early' },
  ]
  if (family === 6) return [...common, { link: 0, packet: change(0, 0x50), what: 'version 5' }]
  return [
    ...common,
    { link: 0, packet: change(0, 0x44), what: 'IHL 4' },
    { link: 0, packet: change(0, 0x4f), what: 'IHL 15 into the payload' },
    { link: 0, packet: change(10, 1, false), what: 'wrong header checksum' },
    { link: 0, packet: change(3, 19), what: 'total length 19' },
    { link: 0, packet: change(2, 9), what: 'total length behind the end' },
  ]
}

/** An IPv4 packet's header checksum, set right. */
export function summed(p: Uint8Array): Uint8Array {
  const header = (p[0] & 15) * 4
  p[10] = 0
  p[11] = 0
  let sum = 0
  for (let i = 0; i < header; i += 2) sum += ((p[i] ?? 0) << 8) | (p[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  p[10] = (~sum >> 8) & 255
  p[11] = ~sum & 255
  return p
}

export function pieces(family: 4 | 6, dst = host(family, 1, 5)): Sent[] {
  let sport = 45000
  const flow = () => ({ src: host(family, 0, 5), dst, sport: sport++, dport: 53 })
  const three: [number, number][] = [
    [0, 512],
    [512, 512],
    [1024, 512],
  ]
  const send = (what: string, size: number, cuts: [number, number][]): Sent[] =>
    fragments(flow(), size, cuts).map((p, i) => ({ link: 0, packet: p, what: `${what}, piece ${i}` }))
  return [
    ...send('in order', 1200, three),
    ...send('last first', 1200, [three[2], three[1], three[0]]),
    ...send('middle last', 1200, [three[0], three[2], three[1]]),
    ...send('overlap', 1200, [
      [0, 512],
      [504, 520],
      [1024, 512],
    ]),
    ...send('twice the same', 1200, [three[0], three[0], three[1], three[2]]),
    ...send('never whole', 1200, [three[0], three[2]]),
    ...send('two', 900, [
      [0, 800],
      [800, 800],
    ]),
    ...send(
      'larger than the MTU when whole',
      3000,
      [
        [0, 1480],
        [1480, 1480],
        [2960, 1480],
      ].map(([a, b]) => [a, family === 6 ? Math.min(b, 1448) : b]) as [number, number][],
    ),
    ...(family === 6
      ? send('larger, of 1448', 3000, [
          [0, 1448],
          [1448, 1448],
          [2896, 1448],
        ])
      : []),
  ]
}

/** IPv4 options, and IPv6 extension headers. */
export function options(family: 4 | 6): Sent[] {
  return family === 4 ? options4() : extensions()
}

/** A datagram with these options, to another host or to us, with TTL 1, and a ping to us. */
export function withOptions(what: string, opts: number[]): Sent[] {
  const flow = { src: '10.0.0.6', dst: '203.0.113.6', sport: 46000, dport: 53 }
  const us = { ...flow, dst: '10.0.0.1' }
  const udpTo = (f: typeof flow, opts: number[], more = {}): Uint8Array =>
    ipv4({
      ...f,
      ttl: 63,
      id: 0x4321 + opts.length,
      options: opts,
      payload: udp(f, { srcPort: f.sport, dstPort: f.dport, payload: bytes(20) }),
      ...more,
    })
  return [
    { link: 0, packet: udpTo(flow, opts), what },
    { link: 0, packet: udpTo(us, opts), what: `${what}, to us` },
    { link: 0, packet: udpTo(flow, opts, { ttl: 1 }), what: `${what}, TTL 1` },
    {
      link: 0,
      packet: ipv4({
        ...us,
        ttl: 63,
        id: 9,
        protocol: 1,
        options: opts,
        payload: icmp({ type: 8, rest: 5 }),
      }),
      what: `${what}, ping`,
    },
  ]
}

function options4(): Sent[] {
  const cases: [string, number[]][] = [
    ['nothing', [1, 1, 1, 0]],
    ['record route, pointer 3', [7, 7, 3, 0, 0, 0, 0, 0]],
    ['loose route', [131, 7, 4, 10, 0, 2, 3, 0]],
    ['strict route', [137, 7, 4, 10, 0, 2, 3, 0]],
    ['loose route, used up', [131, 7, 8, 10, 0, 2, 3, 0]],
    ['router alert', [148, 4, 0, 0]],
    ['unknown', [222, 4, 9, 9]],
    ['length 1', [7, 1, 4, 0]],
    ['longer than the header', [7, 40, 4, 0]],
    ['length missing', [1, 1, 1, 7]],
    ['security', [130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ]
  return cases.flatMap(([what, opts]) => withOptions(what, opts))
}

function extensions(): Sent[] {
  const flow = { src: 'fd00:1::6', dst: 'fd00:2::6', sport: 46000, dport: 53 }
  const us = { ...flow, dst: 'fd00:1::1' }
  const datagram = (f: typeof flow): Uint8Array =>
    udp(f, { srcPort: f.sport, dstPort: f.dport, payload: bytes(20) })
  const with_ = (f: typeof flow, first: number, ...headers: number[][]): Uint8Array =>
    ipv6({ ...f, hopLimit: 63, next: first, payload: Uint8Array.from([...headers.flat(), ...datagram(f)]) })
  const pad = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0]
  const option = (next: number, type: number): number[] => [next, 0, type, 4, 0, 0, 0, 0]
  const route = (next: number, type: number, left: number): number[] => [
    next,
    2,
    type,
    left,
    0,
    0,
    0,
    0,
    0xfd,
    0,
    0,
    3,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    9,
  ]
  const cases: [string, number, ...number[][]][] = [
    ['hop by hop', 0, pad(17)],
    ['hop by hop, router alert', 0, [17, 0, 5, 2, 0, 0, 1, 0]],
    ['hop by hop, unknown, skip', 0, option(17, 0x1e)],
    ['hop by hop, unknown, discard', 0, option(17, 0x5e)],
    ['hop by hop, unknown, tell', 0, option(17, 0x9e)],
    ['hop by hop, unknown, tell unless group', 0, option(17, 0xde)],
    ['hop by hop, too long', 0, [17, 9, 1, 4, 0, 0, 0, 0]],
    ['destination options', 60, pad(17)],
    ['destination options, unknown, tell', 60, option(17, 0x9e)],
    ['routing 0, none left', 43, route(17, 0, 0)],
    ['routing 0, one left', 43, route(17, 0, 1)],
    ['routing 2', 43, route(17, 2, 1)],
    ['routing of an unknown type', 43, route(17, 200, 1)],
    ['routing of an unknown type, none left', 43, route(17, 200, 0)],
    ['hop by hop not first', 60, pad(0), pad(17)],
    ['no next header', 59],
    ['two destination options', 60, pad(60), pad(17)],
  ]
  return cases.flatMap(([what, first, ...headers]) => [
    { link: 0, packet: with_(flow, first, ...headers), what },
    { link: 0, packet: with_(us, first, ...headers), what: `${what}, to us` },
  ])
}

export function everything(family: 4 | 6): Sent[] {
  return [
    ...forUs(family),
    ...refused(family),
    ...martians(family),
    ...malformed(family),
    ...pieces(family),
    ...options(family),
  ]
}

export const syn = (flow: { src: string; dst: string; sport: number; dport: number }): Uint8Array =>
  packet(flow, 6, tcp(flow, { srcPort: flow.sport, dstPort: flow.dport, flags: 2 }))
