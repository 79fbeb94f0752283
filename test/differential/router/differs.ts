/**
 * Where we differ from Linux on purpose: every entry is tried, and must still differ, so that the list is never
 * longer than the truth.
 */
import { icmp, ipv4 } from '../../support/frames.ts'
import type { Sent } from './duel.ts'
import { host, summing, withOptions } from './odd.ts'
import { bytes, echoPacket, fragments, packet, tcpPacket, udpPacket } from './traffic.ts'

export interface Difference {
  what: string
  why: string
  family: 4 | 6
  rules: string
  packets: () => Sent[]
}

const TRACKED = '*filter\n-A FORWARD -m conntrack --ctstate INVALID\nCOMMIT\n'
const flow = (family: 4 | 6) => ({
  src: host(family, 0, 5),
  dst: host(family, 1, 5),
  sport: 45100,
  dport: 53,
})
const cut = (family: 4 | 6, size: number, ...cuts: [number, number][]): Sent[] =>
  fragments(flow(family), size, cuts).map((p) => ({ link: 0, packet: p }))

export const DIFFERENCES: Difference[] = [
  ...(['0.1.2.3', '240.0.0.1'] as const).flatMap((address): Difference[] => [
    {
      what: `from ${address}`,
      why: 'RFC 1812 5.3.7: networks 0 and 240/4 are nowhere; Linux has taken them for unicast since 5.x',
      family: 4,
      rules: '',
      packets: () => [{ link: 0, packet: udpPacket({ ...flow(4), src: address }) }],
    },
    {
      what: `to ${address}`,
      why: 'the same',
      family: 4,
      rules: '',
      packets: () => [{ link: 0, packet: udpPacket({ ...flow(4), dst: address }) }],
    },
  ]),
  {
    what: 'a ping whose source is a broadcast address',
    why: 'RFC 1122 3.2.1.3: Linux answers to everybody (smurf)',
    family: 4,
    rules: '',
    packets: () => [{ link: 0, packet: echoPacket({ src: '10.0.0.255', dst: '10.0.0.1' }, 3) }],
  },
  {
    what: 'record route',
    why: 'RFC 7126 4.5: what is not recorded is not told; errors and answers carry no options either',
    family: 4,
    rules: '',
    packets: () => withOptions('record route', [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  },
  {
    what: 'record route, full',
    why: 'errors and answers carry no options: Linux returns them',
    family: 4,
    rules: '',
    packets: () => withOptions('record route, full', [7, 7, 8, 1, 2, 3, 4, 0]),
  },
  {
    what: 'timestamp',
    why: 'RFC 7126 4.7, as record route',
    family: 4,
    rules: '',
    packets: () => withOptions('timestamp', [68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  },
  ...([4, 6] as const).map(
    (family): Difference => ({
      what: 'pieces of different sizes, put together',
      why: 'they leave as big as the largest that came; Linux keeps the size of each if it can',
      family,
      rules: TRACKED,
      packets: () => cut(family, 1200, [0, 104], [104, 800], [904, 800]),
    }),
  ),
  {
    what: 'an IPv6 fragment whose length is no multiple of 8',
    why: 'RFC 8200 4.5: discarded, and the source told; Linux passes it on as INVALID',
    family: 6,
    rules: TRACKED,
    packets: () => cut(6, 1200, [0, 509], [512, 800]),
  },
  {
    what: 'an atomic fragment that is tracked',
    why: 'it leaves as it came; Linux takes the header off',
    family: 6,
    rules: TRACKED,
    packets: () => cut(6, 100, [0, 800]),
  },
  {
    what: 'REJECT of a protocol without a checksum that we know',
    why: 'the source is told; Linux sums the payload as if it were ICMP, and is silent when that is not right',
    family: 4,
    rules: '*filter\n-A FORWARD -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n',
    packets: () => [{ link: 0, packet: packet(flow(4), 89, bytes(40)) }],
  },
  {
    what: 'REJECT of a protocol that sums up, of IPv6, behind DNAT',
    why: 'the same: with the new address the sum is wrong',
    family: 6,
    rules:
      '*nat\n-A PREROUTING -j DNAT --to-destination fd00:2::5\nCOMMIT\n' +
      '*filter\n-A FORWARD -j REJECT --reject-with icmp6-no-route\nCOMMIT\n',
    packets: () => {
      const ends = { src: host(6, 0, 5), dst: host(6, 1, 4) }
      return [{ link: 0, packet: packet(ends, 99, summing(ends, 99, 40)) }]
    },
  },
  {
    what: 'an IPv6 header changed behind the checksum',
    why: 'HL, TOS, DSCP after conntrack summed it up: Linux finds the sum wrong then, and answers nothing',
    family: 6,
    rules: `${TRACKED}*mangle\n-A PREROUTING -j HL --hl-set 100\nCOMMIT\n`,
    packets: () => [{ link: 0, packet: udpPacket({ ...flow(6), dst: 'fd00:1::1' }, 900) }],
  },
  {
    what: 'an error about a packet with our own source',
    why: 'IPv6 takes it on, on both sides; we have no loopback over which an error would come back to us',
    family: 6,
    rules: '',
    packets: () => [{ link: 0, packet: udpPacket({ ...flow(6), src: 'fd00:1::1' }, 20, { ttl: 1 }) }],
  },
  ...([4, 6] as const).map(
    (family): Difference => ({
      what: 'REJECT of what the router made',
      why: 'the error would go to itself, over the loopback we do not have: Linux counts it in OUTPUT and INPUT',
      family,
      rules: `*filter\n-A OUTPUT -j REJECT --reject-with icmp${family === 4 ? '' : '6'}-port-unreachable\nCOMMIT\n`,
      packets: () => [
        { link: 0, packet: tcpPacket({ ...flow(family), dst: host(family, 0, 1) }, { flags: 2 }) },
      ],
    }),
  ),
  ...([4, 6] as const).map(
    (family): Difference => ({
      what: 'NOTRACK of what refuses an untracked packet',
      why: 'Linux gives the answer the null connection of the packet, and -j NOTRACK no longer holds (nf_ct_attach)',
      family,
      rules:
        '*raw\n-A PREROUTING -p tcp -m tcp --dport 99 -j NOTRACK\n-A OUTPUT -j NOTRACK\nCOMMIT\n' +
        '*filter\n-A FORWARD -p tcp -m tcp --dport 99 -j REJECT --reject-with tcp-reset\n' +
        '-A OUTPUT -m conntrack --ctstate UNTRACKED\nCOMMIT\n',
      packets: () => [{ link: 0, packet: tcpPacket({ ...flow(family), dport: 99 }, { flags: 16, ack: 5 }) }],
    }),
  ),
  ...([4, 6] as const).map(
    (family): Difference => ({
      what: 'GRE of a version that does not exist, translated',
      why: 'its addresses are, as those of any protocol without ports; Linux drops it',
      family,
      rules: `*nat\n-A PREROUTING -j DNAT --to-destination ${host(family, 2, 5)}\nCOMMIT\n`,
      packets: () => [{ link: 0, packet: packet(flow(family), 47, bytes(40)) }],
    }),
  ),
  {
    what: 'SCTP that is none',
    why: 'SCTP is tracked by its addresses and ports alone, so nothing of it is INVALID',
    family: 4,
    rules: TRACKED,
    packets: () => [{ link: 0, packet: packet(flow(4), 132, bytes(40)) }],
  },
  {
    what: '-m limit with a burst of days',
    why: 'the credit of --limit 1/day --limit-burst 3 does not fit the 32 bits it has in the kernel',
    family: 4,
    rules:
      '*filter\n-A FORWARD -m limit --limit 1/day --limit-burst 3 -j ACCEPT\n-A FORWARD -j DROP\nCOMMIT\n',
    packets: () =>
      [1, 2, 3].map((id) => ({
        link: 0,
        packet: ipv4({ ...flow(4), id, ttl: 63, protocol: 1, payload: icmp({ type: 8 }) }),
      })),
  },
]
