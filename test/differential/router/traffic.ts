/** Packets for the two routers: whole conversations, and one of everything that is odd. */
import { type Ipv4Parts, icmp, ipv4, ipv6, type TcpParts, tcp, udp } from '../../support/frames.ts'
import type { Sent } from './duel.ts'

const FIN = 1
const SYN = 2
const RST = 4
const PSH = 8
const ACK = 16

let nextId = 0x5000

/** A new identification for every packet; never 0. */
const id = (): number => {
  nextId = nextId >= 0xfff0 ? 0x100 : nextId + 1
  return nextId
}

export const bytes = (n: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (i * 7 + seed) & 255)

export const isSix = (address: string): boolean => address.includes(':')

export interface Flow {
  src: string
  dst: string
  sport: number
  dport: number
}

export const back = ({ src, dst, sport, dport }: Flow): Flow => ({
  src: dst,
  dst: src,
  sport: dport,
  dport: sport,
})

type IpMore = Partial<Ipv4Parts> & { hopLimit?: number }

/** A packet of either family. TTL 63 unless said: what the router makes itself has 64. */
export function packet(
  ends: { src: string; dst: string },
  protocol: number,
  payload: Uint8Array,
  more: IpMore = {},
): Uint8Array {
  const { src, dst } = ends
  const ttl = more.ttl ?? 63
  return isSix(src)
    ? ipv6({ src, dst, next: protocol, payload, hopLimit: ttl, tos: more.tos })
    : ipv4({ id: id(), dontFragment: true, ...more, ttl, src, dst, protocol, payload })
}

export function tcpPacket(flow: Flow, parts: TcpParts, more: IpMore = {}): Uint8Array {
  return packet(flow, 6, tcp(flow, { srcPort: flow.sport, dstPort: flow.dport, ...parts }), more)
}

export function udpPacket(flow: Flow, size = 20, more: IpMore = {}): Uint8Array {
  return packet(flow, 17, udp(flow, { srcPort: flow.sport, dstPort: flow.dport, payload: bytes(size) }), more)
}

export function echoPacket(
  ends: { src: string; dst: string },
  ident: number,
  reply = false,
  size = 30,
  more: IpMore = {},
): Uint8Array {
  const six = isSix(ends.src)
  const type = six ? (reply ? 129 : 128) : reply ? 0 : 8
  const message = icmp({ type, rest: (ident << 16) | 1, payload: bytes(size) }, six ? ends : undefined)
  return packet(ends, six ? 58 : 1, message, more)
}

/** An ICMP error of `src` about `quoted`. */
export function errorPacket(
  src: string,
  dst: string,
  type: number,
  code: number,
  quoted: Uint8Array,
  rest = 0,
): Uint8Array {
  const six = isSix(src)
  const message = icmp(
    { type, code, rest, payload: quoted.slice(0, six ? 1232 : 528) },
    six ? { src, dst } : undefined,
  )
  return packet({ src, dst }, six ? 58 : 1, message, { tos: 0xc0 })
}

/** Where a flow's two ends are. */
export interface Places {
  from: number
  to: number
}

/** A TCP connection: opened, used, closed, and a few segments that do not belong to it. */
export function conversation(
  flow: Flow,
  { from, to }: Places,
  how: 'close' | 'reset' | 'stray' = 'close',
): Sent[] {
  const reply = back(flow)
  const [x, y] = [1000, 77000]
  const mss = [2, 4, 5, 0xb4]
  const here = (parts: TcpParts, what: string): Sent => ({ link: from, packet: tcpPacket(flow, parts), what })
  const there = (parts: TcpParts, what: string): Sent => ({ link: to, packet: tcpPacket(reply, parts), what })
  const open = [
    here({ flags: SYN, seq: x, options: mss }, 'SYN'),
    there({ flags: SYN | ACK, seq: y, ack: x + 1, options: mss }, 'SYN ACK'),
    here({ flags: ACK, seq: x + 1, ack: y + 1 }, 'ACK'),
    here({ flags: ACK | PSH, seq: x + 1, ack: y + 1, payload: bytes(100) }, 'data'),
    there({ flags: ACK | PSH, seq: y + 1, ack: x + 101, payload: bytes(900) }, 'answer'),
  ]
  if (how === 'reset')
    return [
      ...open,
      there({ flags: RST, seq: y + 901 }, 'RST'),
      here({ flags: ACK, seq: x + 101, ack: y + 901 }, 'ACK to the dead'),
    ]
  if (how === 'stray') {
    return [
      ...open,
      here({ flags: ACK, seq: x + 9_000_000, ack: y + 901, payload: bytes(10) }, 'out of window'),
      there({ flags: RST, seq: y + 9_000_000 }, 'RST out of window'),
      here({ flags: ACK, seq: x + 101, ack: y + 9_000_000 }, 'ACK of what was not sent'),
      here({ flags: 0, seq: x }, 'no flags'),
      here({ flags: FIN | SYN, seq: x }, 'FIN SYN'),
      there({ flags: SYN, seq: 5 }, 'SYN in the middle'),
    ]
  }
  return [
    ...open,
    here({ flags: FIN | ACK, seq: x + 101, ack: y + 901 }, 'FIN'),
    there({ flags: FIN | ACK, seq: y + 901, ack: x + 102 }, 'FIN back'),
    here({ flags: ACK, seq: x + 102, ack: y + 902 }, 'last ACK'),
    here({ flags: SYN, seq: x + 500_000, options: mss }, 'SYN again'),
  ]
}

export function question(flow: Flow, { from, to }: Places): Sent[] {
  const asked = udpPacket(flow)
  return [
    { link: from, packet: asked, what: 'question' },
    { link: to, packet: udpPacket(back(flow), 200), what: 'answer' },
    { link: from, packet: udpPacket(flow), what: 'question' },
  ]
}

export function ping(ends: { src: string; dst: string }, { from, to }: Places, ident: number): Sent[] {
  return [
    { link: from, packet: echoPacket(ends, ident), what: 'echo' },
    { link: to, packet: echoPacket({ src: ends.dst, dst: ends.src }, ident, true), what: 'echo reply' },
  ]
}

/** Fragments of a datagram: [offset, length] each, in the order given. */
export function fragments(
  flow: Flow,
  size: number,
  cuts: [number, number][],
  more: IpMore = {},
): Uint8Array[] {
  const whole = udp(flow, { srcPort: flow.sport, dstPort: flow.dport, payload: bytes(size) })
  const one = id()
  return cuts.map(([at, length]) => {
    const payload = whole.slice(at, at + length)
    const last = at + length >= whole.length
    if (!isSix(flow.src)) {
      return ipv4({
        ttl: 63,
        ...more,
        src: flow.src,
        dst: flow.dst,
        id: one,
        fragmentOffset: at,
        moreFragments: !last,
        payload,
      })
    }
    const header = Uint8Array.from([17, 0, at >> 8, (at & 0xf8) | (last ? 0 : 1), 0, 0, one >> 8, one & 255])
    return ipv6({
      src: flow.src,
      dst: flow.dst,
      next: 44,
      hopLimit: 63,
      payload: Uint8Array.from([...header, ...payload]),
    })
  })
}

/** A wrong checksum: one bit of the last byte. */
export function spoiled(p: Uint8Array): Uint8Array {
  const copy = p.slice()
  copy[copy.length - 1] ^= 1
  return copy
}
