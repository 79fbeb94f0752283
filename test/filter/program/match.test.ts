/** Every match against packets that it fits and packets that it does not. */
import { describe, expect, test } from 'vitest'
import { icmp, ipv4, ipv6, type TcpParts, tcp, udp } from '../../support/frames.ts'
import { Lab, type LabOptions, type Way } from './lab.ts'

const A = '10.0.0.2'
const B = '192.0.2.9'
const A6 = 'fd00::2'
const B6 = '2001:db8::9'

const t4 = (parts: TcpParts = {}, more: object = {}): Uint8Array =>
  ipv4({ src: A, dst: B, protocol: 6, payload: tcp({ src: A, dst: B }, parts), ...more })
const u4 = (srcPort = 1000, dstPort = 53, size = 4, more: object = {}): Uint8Array =>
  ipv4({
    src: A,
    dst: B,
    protocol: 17,
    payload: udp({ src: A, dst: B }, { srcPort, dstPort, payload: new Uint8Array(size) }),
    ...more,
  })
const i4 = (type: number, code = 0): Uint8Array =>
  ipv4({ src: A, dst: B, protocol: 1, payload: icmp({ type, code, rest: 0x10001 }) })
const t6 = (parts: TcpParts = {}, more: object = {}): Uint8Array =>
  ipv6({ src: A6, dst: B6, next: 6, payload: tcp({ src: A6, dst: B6 }, parts), ...more })
const i6 = (type: number, code = 0): Uint8Array =>
  ipv6({ src: A6, dst: B6, next: 58, payload: icmp({ type, code }, { src: A6, dst: B6 }) })
const MSS = (mss: number): number[] => [2, 4, mss >> 8, mss & 255]

interface Case {
  rule: string
  packet: Uint8Array
  hit: boolean
  way?: Way
  v6?: boolean
  options?: LabOptions
  chain?: string
}

function hits({ rule, packet, way, v6, options, chain = 'FORWARD' }: Case): boolean {
  const table = /rpfilter/.test(rule) ? 'mangle' : 'filter'
  const text = `*${table}\n-A ${chain} ${rule} -j ACCEPT\nCOMMIT\n`
  const lab = new Lab({ ...options, ...(v6 ? { rules6: text } : { rules: text }) })
  lab.send(packet, way)
  return lab.packets(0, v6 ? 6 : 4) === 1
}

const yes = (rule: string, packet: Uint8Array, more: Partial<Case> = {}): Case => ({
  rule,
  packet,
  hit: true,
  ...more,
})
const no = (rule: string, packet: Uint8Array, more: Partial<Case> = {}): Case => ({
  rule,
  packet,
  hit: false,
  ...more,
})

const later = ipv4({ src: A, dst: B, protocol: 6, payload: new Uint8Array(40), fragmentOffset: 800 })

const CASES: Case[] = [
  yes('-s 10.0.0.0/8', u4()),
  no('-s 10.0.0.0/8 -d 10.0.0.0/8', u4()),
  no('! -s 10.0.0.0/8', u4()),
  yes('! -d 10.0.0.0/8', u4()),
  yes('-s 10.0.0.2/255.0.0.255', u4()),
  no('-s 10.0.0.3/255.0.0.255', u4()),
  yes('-i eth0 -o eth1', u4()),
  no('-i eth1', u4()),
  yes('! -i eth1', u4()),
  no('! -o eth1', u4()),
  yes('-i eth+ ! -o veth+', u4()),
  no('-o veth+', u4()),
  yes('-i + -o +', u4()),
  no('! -i eth+', u4()),
  no('-i lo', u4()),
  yes('! -i lo', u4()),
  no('-i veth+', u4(), { options: { interfaces: ['eth0', 'eth1', 'veth0', 'veth1'] } }),
  yes('-i veth+', u4(), {
    options: { interfaces: ['eth0', 'eth1', 'veth0', 'veth1'] },
    way: { in: 'veth1' },
  }),
  no('! -i veth+', u4(), {
    options: { interfaces: ['eth0', 'eth1', 'veth0', 'veth1'] },
    way: { in: 'veth1' },
  }),
  yes('-p udp', u4()),
  no('-p tcp', u4()),
  yes('! -p tcp', u4()),
  yes('-f', later),
  no('! -f', later),
  no('-f', u4()),
  no('-p tcp -m tcp --sport 0:1', later),
  yes('-p tcp -m tcp --dport 80', t4()),
  no('-p tcp -m tcp --dport 81', t4()),
  yes('-p tcp -m tcp ! --dport 81', t4()),
  yes('-p tcp -m tcp --sport 1000:1001 --dport 1:100', t4()),
  no('-p tcp -m tcp ! --sport 1000:1001', t4()),
  yes('-p tcp -m tcp --syn', t4({ flags: 2 })),
  no('-p tcp -m tcp --syn', t4({ flags: 18 })),
  yes('-p tcp -m tcp ! --syn', t4({ flags: 18 })),
  yes('-p tcp -m tcp --tcp-flags SYN,ACK ACK', t4({ flags: 24 })),
  no('-p tcp -m tcp --tcp-flags ALL ACK', t4({ flags: 24 })),
  yes('-p tcp -m tcp --tcp-option 2', t4({ flags: 2, options: MSS(1460) })),
  no('-p tcp -m tcp --tcp-option 8', t4({ flags: 2, options: MSS(1460) })),
  yes('-p tcp -m tcp ! --tcp-option 8', t4({ flags: 2, options: MSS(1460) })),
  yes('-p tcp -m tcpmss --mss 1400:1500', t4({ flags: 2, options: MSS(1460) })),
  no('-p tcp -m tcpmss ! --mss 1400:1500', t4({ flags: 2, options: MSS(1460) })),
  no('-p tcp -m tcpmss --mss 1400:1500', t4({ flags: 2 })),
  yes('-p tcp -m tcpmss ! --mss 1400:1500', t4({ flags: 2 })),
  yes('-p udp -m udp --dport 53', u4()),
  no('-p udp -m udp --sport 53', u4()),
  yes('-p icmp -m icmp --icmp-type 8', i4(8)),
  no('-p icmp -m icmp --icmp-type 0', i4(8)),
  yes('-p icmp -m icmp ! --icmp-type 0', i4(8)),
  yes('-p icmp -m icmp --icmp-type 3/3', i4(3, 3)),
  no('-p icmp -m icmp --icmp-type 3/3', i4(3, 1)),
  yes('-p icmp -m icmp --icmp-type any', i4(13)),
  yes('-p icmpv6 -m icmp6 --icmpv6-type 128', i6(128), { v6: true }),
  no('-p icmpv6 -m icmp6 --icmpv6-type 129', i6(128), { v6: true }),
  yes('-p tcp -m multiport --dports 22,80,443', t4()),
  no('-p tcp -m multiport --dports 22,443', t4()),
  yes('-p tcp -m multiport ! --dports 22,443', t4()),
  yes('-p tcp -m multiport --sports 22,900:1100', t4()),
  yes('-p udp -m multiport --ports 1000', u4()),
  yes('-p udp -m multiport --ports 53', u4()),
  no('-p udp -m multiport --ports 54', u4()),
  yes('-m iprange --src-range 10.0.0.1-10.0.0.3', u4()),
  no('-m iprange --src-range 10.0.0.3-10.0.0.9', u4()),
  yes('-m iprange ! --dst-range 10.0.0.3-10.0.0.9', u4()),
  yes('-m iprange --dst-range 192.0.2.9-192.0.2.9', u4()),
  yes('-m iprange --src-range fd00::-fd00::ffff', t6(), { v6: true }),
  no('-m iprange --src-range fd00::3-fd00::ffff', t6(), { v6: true }),
  yes('-s fd00::/64 -d 2001:db8::9/128 -p tcp -m tcp --dport 80', t6(), { v6: true }),
  no('-s fd00::3/128', t6(), { v6: true }),
  no('-s fd01::/16', t6(), { v6: true }),
  yes('! -s fd00::3/128', t6(), { v6: true }),
  no('! -s fd00::/64', t6(), { v6: true }),
  yes('-m mark --mark 5', u4(), { way: { mark: 5 } }),
  no('-m mark --mark 5', u4(), { way: { mark: 4 } }),
  yes('-m mark --mark 0x1/0x1', u4(), { way: { mark: 0xff } }),
  yes('-m mark ! --mark 0x1/0x1', u4(), { way: { mark: 0xfe } }),
  no('-m mark --mark 0x3/0x1', u4(), { way: { mark: 0xff } }),
  yes('-m length --length 32', u4()),
  no('-m length --length 33:65535', u4()),
  yes('-m length ! --length 33:65535', u4()),
  yes('-m length --length 32', ipv6({ src: A6, dst: B6 }), { v6: true, hit: false }),
  yes('-m length --length 40', ipv6({ src: A6, dst: B6, next: 59 }), { v6: true }),
  yes('-m ttl --ttl-eq 64', u4()),
  no('-m ttl --ttl-lt 64', u4()),
  yes('-m ttl --ttl-gt 63', u4()),
  no('-m ttl ! --ttl-eq 64', u4()),
  yes('-m hl --hl-eq 64', t6(), { v6: true }),
  yes('-m dscp --dscp 0x2e', u4(1, 2, 4, { tos: 0xb8 })),
  yes('-m dscp --dscp-class EF', u4(1, 2, 4, { tos: 0xba })),
  no('-m dscp ! --dscp 0x2e', u4(1, 2, 4, { tos: 0xb8 })),
  yes('-m dscp --dscp 0x2e', t6({}, { tos: 0xb8 }), { v6: true }),
  yes('-m pkttype --pkt-type unicast', u4()),
  yes('-m pkttype --pkt-type multicast', u4(), { way: { pktType: 2 } }),
  no('-m pkttype ! --pkt-type broadcast', u4(), { way: { pktType: 1 } }),
  yes('-m mac --mac-source 02:00:00:00:00:02', u4()),
  no('-m mac --mac-source 02:00:00:00:00:03', u4()),
  yes('-m mac ! --mac-source 02:00:00:00:00:03', u4()),
  yes('-m comment --comment "all of it"', u4()),
  yes('-m addrtype --src-type UNICAST', u4()),
  no('-m addrtype --dst-type LOCAL', u4()),
  yes('-m addrtype ! --dst-type LOCAL', u4()),
  yes('-m addrtype --dst-type LOCAL', u4(), { options: { addresses: { eth0: B } }, chain: 'INPUT' }),
  no('-m physdev --physdev-in eth0', u4()),
  yes('-m physdev ! --physdev-in eth0', u4()),
  yes('-m physdev ! --physdev-is-bridged', u4()),
  no('-m physdev --physdev-is-bridged', u4()),
  yes('-m rpfilter', u4(), { chain: 'PREROUTING' }),
  no('-m rpfilter --invert', u4(), { chain: 'PREROUTING' }),
  yes('-m conntrack --ctstate NEW', u4()),
  no('-m conntrack --ctstate ESTABLISHED,RELATED', u4()),
  yes('-m conntrack ! --ctstate ESTABLISHED,RELATED', u4()),
  yes('-m state --state NEW,INVALID', u4()),
  yes('-m conntrack --ctstate INVALID', t4({ flags: 0 })),
  no('-m conntrack --ctstate NEW,ESTABLISHED,RELATED,UNTRACKED', t4({ flags: 0 })),
  // Without a connection the states alone decide.
  yes('-m conntrack --ctstate INVALID --ctproto 17', t4({ flags: 0 })),
  no('-m conntrack --ctproto 6', t4({ flags: 0 })),
  yes('-m conntrack --ctproto 17 --ctorigsrc 10.0.0.0/8 --ctorigdst 192.0.2.9', u4()),
  no('-m conntrack --ctorigsrc 192.0.2.9', u4()),
  yes('-m conntrack --ctreplsrc 192.0.2.9 --ctrepldst 10.0.0.2', u4()),
  yes('-m conntrack --ctorigsrcport 1000 --ctorigdstport 50:60', u4()),
  yes('-m conntrack --ctreplsrcport 53 ! --ctrepldstport 1', u4()),
  yes('-m conntrack --ctdir ORIGINAL', u4()),
  no('-m conntrack --ctdir REPLY', u4()),
  no('-m conntrack --ctstatus CONFIRMED', u4()),
  yes('-m conntrack ! --ctstatus CONFIRMED', u4()),
  yes('-m conntrack --ctexpire 1:60', u4()),
  no('-m conntrack --ctexpire 1:2', u4()),
  yes('-m conntrack --ctorigsrc fd00::/16', t6({ flags: 2 }), { v6: true }),
  no('-m conntrack --ctorigsrc fd01::/16', t6({ flags: 2 }), { v6: true }),
  yes('-m connmark --mark 0', u4()),
  no('-m connmark --mark 1', u4()),
  no('-m connmark --mark 0', t4({ flags: 0 })),
  yes('-m statistic --mode random --probability 1', u4()),
  no('-m statistic --mode random --probability 0', u4()),
  yes('-m connlimit --connlimit-upto 1', u4()),
  no('-m connlimit --connlimit-above 1', u4()),
]

describe('a rule matches', () => {
  for (const one of CASES.filter(({ hit }) => hit))
    test(`${one.v6 ? 'v6 ' : ''}${one.rule}`, () => expect(hits(one)).toBe(true))
})
describe('a rule does not match', () => {
  for (const one of CASES.filter(({ hit }) => !hit))
    test(`${one.v6 ? 'v6 ' : ''}${one.rule}`, () => expect(hits(one)).toBe(false))
})
