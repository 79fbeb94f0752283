/** Every target: what it makes of the packet, and that checksums stay right. */
import { describe, expect, test } from 'vitest'
import { parseRules } from '../../../src/filter/parse.ts'
import { LogLines } from '../../../src/filter/program/log-line.ts'
import { LogRecord } from '../../../src/filter/program/report.ts'
import { Hook, Verdict } from '../../../src/packet/hooks.ts'
import { IP_SHIFT, Ip } from '../../../src/packet/ip.ts'
import { RingReader } from '../../../src/packet/ring.ts'
import { icmp, ipv4, ipv6, onesSum, pseudoHeader, type TcpParts, tcp, udp } from '../../support/frames.ts'
import { Lab, type LabOptions, type Sent, type Way } from './lab.ts'

const A = '10.0.0.2'
const B = '192.0.2.9'
const ENDS = { src: A, dst: B }
const ENDS6 = { src: 'fd00::2', dst: '2001:db8::9' }

const u4 = (more: object = {}): Uint8Array => ipv4({ ...ENDS, payload: udp(ENDS), ...more })
const t4 = (parts: TcpParts = {}, partial = false): Uint8Array =>
  ipv4({ ...ENDS, protocol: 6, payload: tcp({ ...ENDS, partial }, parts) })

function sound(bytes: Uint8Array): void {
  const four = bytes[0] >> 4 === 4
  const head = four ? (bytes[0] & 15) * 4 : 40
  if (four) expect(onesSum(bytes.subarray(0, head))).toBe(0xffff)
  const text = (from: number, n: number): string =>
    n === 4
      ? [...bytes.subarray(from, from + 4)].join('.')
      : Array.from({ length: 8 }, (_, i) =>
          ((bytes[from + 2 * i] << 8) | bytes[from + 2 * i + 1]).toString(16),
        ).join(':')
  const [src, dst] = four ? [text(12, 4), text(16, 4)] : [text(8, 16), text(24, 16)]
  const protocol = four ? bytes[9] : bytes[6]
  const body = bytes.subarray(head)
  const pseudo =
    protocol === 1
      ? []
      : four
        ? pseudoHeader(src, dst, protocol, body.length)
        : pseudo6(bytes, body.length, protocol)
  expect(onesSum(pseudo, body)).toBe(0xffff)
}

const pseudo6 = (bytes: Uint8Array, length: number, protocol: number): number[] => [
  ...bytes.subarray(8, 40),
  ...[0, 0, length >> 8, length & 255],
  ...[0, 0, 0, protocol],
]

function sent(rule: string, bytes: Uint8Array, options: LabOptions = {}, way: Way = {}): Sent & { lab: Lab } {
  const [table, ...rest] = rule.split(' ')
  const text = `*${table}\n-A ${rest.join(' ')}\nCOMMIT\n`
  const lab = new Lab({ ...options, ...(bytes[0] >> 4 === 4 ? { rules: text } : { rules6: text }) })
  return { ...lab.send(bytes, way), lab }
}

describe('verdicts', () => {
  test('ACCEPT, DROP, policy, RETURN, jump, goto', () => {
    const rules = `*filter
:FORWARD DROP [0:0]
:ONE - [0:0]
:TWO - [0:0]
-A FORWARD -p udp -j ONE
-A FORWARD -p tcp -g TWO
-A FORWARD -p icmp -j RETURN
-A FORWARD -j ACCEPT
-A ONE -s 10.0.0.1 -j ACCEPT
-A ONE -s 10.0.0.2 -j RETURN
-A ONE -j DROP
-A TWO -s 10.0.0.1 -j ACCEPT
COMMIT
`
    const lab = new Lab({ rules })
    const end = (src: string, protocol: number): string => {
      const ends = { src, dst: B }
      const payload = protocol === 17 ? udp(ends) : protocol === 6 ? tcp(ends) : icmp({ type: 8 })
      return lab.send(ipv4({ ...ends, protocol, payload })).end
    }
    expect(end('10.0.0.1', 17)).toBe('out eth1')
    // Back from ONE, accepted by the last rule.
    expect(end('10.0.0.2', 17)).toBe('out eth1')
    expect(end('10.0.0.3', 17)).toBe('filter')
    expect(end('10.0.0.1', 6)).toBe('out eth1')
    // Not back from TWO: the policy.
    expect(end('10.0.0.2', 6)).toBe('filter')
    expect(end('10.0.0.1', 1)).toBe('filter')
    expect(lab.show()).toContain(':FORWARD DROP [2:')
  })

  test.each([
    ['', 0x303],
    ['--reject-with icmp-net-unreachable', 0x300],
    ['--reject-with icmp-host-unreachable', 0x301],
    ['--reject-with icmp-proto-unreachable', 0x302],
    ['--reject-with icmp-net-prohibited', 0x309],
    ['--reject-with icmp-host-prohibited', 0x30a],
    ['--reject-with icmp-admin-prohibited', 0x30d],
  ])('REJECT %s', (how, reply) => {
    const result = sent(`filter FORWARD -j REJECT ${how}`, u4())
    expect([result.end, result.refused]).toEqual(['filter', [reply]])
  })

  test('REJECT with a reset, and of IPv6', () => {
    expect(sent('filter FORWARD -p tcp -j REJECT --reject-with tcp-reset', t4()).refused).toEqual([-1])
    const bytes = ipv6({ ...ENDS6, payload: udp(ENDS6) })
    expect(sent('filter FORWARD -j REJECT --reject-with icmp6-adm-prohibited', bytes).refused).toEqual([
      0x101,
    ])
  })

  test('a packet that is cut short is dropped where a rule asks for its ports', () => {
    const short = ipv4({ ...ENDS, protocol: 6, payload: new Uint8Array(8) })
    expect(sent('filter FORWARD -p tcp -m tcp --dport 80 -j ACCEPT', short).end).toBe('filter')
    expect(sent('filter FORWARD -s 10.9.9.9 -p tcp -m tcp --dport 80 -j ACCEPT', short).end).toBe('out eth1')
    expect(sent('filter FORWARD -p tcp -m tcp --dport 80:90 -j ACCEPT', short).end).toBe('filter')
    expect(sent('filter FORWARD -p tcp -j ACCEPT', short).end).toBe('out eth1')
    const many = Array.from(
      { length: 20 },
      (_, i) => `-A FORWARD -d 192.0.2.${i} -p tcp -m tcp --dport 80 -j ACCEPT`,
    )
    const lab = new Lab({ rules: `*filter\n${many.join('\n')}\nCOMMIT\n` })
    expect(lab.send(short).end).toBe('filter')
    // In the order of the text, not in that of the record.
    const port = '-m tcp --dport 80'
    expect(sent(`filter FORWARD -p tcp ${port} -m mark --mark 1 -j ACCEPT`, short).end).toBe('filter')
    expect(sent(`filter FORWARD -p tcp -m mark --mark 1 ${port} -j ACCEPT`, short).end).toBe('out eth1')
  })
})

describe('marks', () => {
  test.each([
    ['--set-mark 5', 5],
    ['--or-mark 4', 7],
    ['--and-mark 2', 2],
    ['--xor-mark 1', 2],
    ['--set-xmark 0x10/0xf', 0x10],
  ])('MARK %s', (how, mark) => {
    expect(sent(`mangle PREROUTING -j MARK ${how}`, u4(), {}, { mark: 3 }).mark).toBe(mark)
  })

  test('CONNMARK: saved by the first packet, restored to the next', () => {
    const rules = `*mangle
-A PREROUTING -j CONNMARK --restore-mark
-A PREROUTING -m mark --mark 0 -s ${A} -j MARK --set-mark 9
-A FORWARD -m conntrack --ctstate NEW -j CONNMARK --save-mark
COMMIT
`
    const lab = new Lab({ rules })
    const back = ipv4({ src: B, dst: A, payload: udp({ src: B, dst: A }, { srcPort: 2000, dstPort: 1000 }) })
    expect(lab.send(u4()).mark).toBe(9)
    for (let i = 0; i < 3; i++) expect(lab.send(back, { in: 'eth1' }).mark).toBe(9)
    expect(lab.filter.cache.hits).toBeGreaterThan(0)
  })

  test('CT --notrack', () => {
    const rules =
      '*raw\n-A PREROUTING -j CT --notrack\nCOMMIT\n*filter\n-A FORWARD -m conntrack --ctstate UNTRACKED -j ACCEPT\nCOMMIT\n'
    const lab = new Lab({ rules })
    lab.send(u4())
    expect([lab.packets(1), lab.conntrack.count]).toEqual([1, 0])
  })

  test('CT --zone: the same addresses in two zones are two connections', () => {
    const rules = '*raw\n-A PREROUTING -i eth0 -j CT --zone 1\n-A PREROUTING -i eth2 -j CT --zone 2\nCOMMIT\n'
    const lab = new Lab({ rules })
    lab.send(u4(), { in: 'eth0' })
    lab.send(u4(), { in: 'eth2' })
    expect(lab.conntrack.count).toBe(2)
  })
})

describe('rewrites', () => {
  test.each([
    ['--ttl-set 9', 9],
    ['--ttl-inc 5', 69],
    ['--ttl-dec 5', 59],
    ['--ttl-dec 200', 0],
    ['--ttl-inc 255', 255],
  ])('TTL %s', (how, ttl) => {
    const { bytes } = sent(`mangle PREROUTING -j TTL ${how}`, u4())
    expect(bytes[8]).toBe(ttl)
    sound(bytes)
  })

  test('HL, TOS, DSCP', () => {
    const six = ipv6({ ...ENDS6, payload: udp(ENDS6) })
    expect(sent('mangle PREROUTING -j HL --hl-set 9', six).bytes[7]).toBe(9)
    const tos = sent('mangle PREROUTING -j TOS --set-tos 0x10/0x3f', u4({ tos: 0xc1 })).bytes
    expect(tos[1]).toBe(0xd0)
    sound(tos)
    const dscp = sent('mangle PREROUTING -j DSCP --set-dscp 46', u4({ tos: 3 })).bytes
    expect(dscp[1]).toBe(0xbb)
    sound(dscp)
    expect(sent('mangle PREROUTING -j DSCP --set-dscp 46', six).bytes[0]).toBe(0x6b)
  })

  const mss = (n: number): number[] => [2, 4, n >> 8, n & 255]
  const clamp = 'mangle FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS'
  const mssOf = (bytes: Uint8Array, head = 20): number[] => [...bytes.subarray(head + 20, head + 24)]

  test('TCPMSS lowers, never raises, and leaves others alone', () => {
    const low = sent(`${clamp} --set-mss 1000`, t4({ flags: 2, options: mss(1460) })).bytes
    expect(mssOf(low)).toEqual(mss(1000))
    sound(low)
    expect(mssOf(sent(`${clamp} --set-mss 1000`, t4({ flags: 2, options: mss(500) })).bytes)).toEqual(
      mss(500),
    )
    const path = sent(`${clamp} --clamp-mss-to-pmtu`, t4({ flags: 2, options: mss(1460) }), {
      mtu: 1400,
    }).bytes
    expect(mssOf(path)).toEqual(mss(1360))
    sound(path)
    const odd = sent(`${clamp} --set-mss 1000`, t4({ flags: 2, options: [1, ...mss(1460), 0] })).bytes
    expect([...odd.subarray(41, 45)]).toEqual(mss(1000))
    sound(odd)
    const ack = t4({ flags: 16, options: mss(1460) })
    expect(sent(`${clamp} --set-mss 1000`, ack).bytes).toEqual(ack)
  })

  test('TCPMSS gives a SYN without the option one', () => {
    for (const options of [[], [1, 3, 3, 7]]) {
      const { bytes, end } = sent(`${clamp} --set-mss 1000`, t4({ flags: 2, options }))
      expect(end).toBe('out eth1')
      expect(bytes.length).toBe(44 + options.length)
      expect([bytes[3], ...mssOf(bytes)]).toEqual([44 + options.length, ...mss(536)])
      expect([...bytes.subarray(44)]).toEqual(options)
      expect(bytes[32] >> 4).toBe(6 + options.length / 4)
      sound(bytes)
    }
    const six = ipv6({ ...ENDS6, next: 6, payload: tcp(ENDS6, { flags: 2 }) })
    const { bytes } = sent(`${clamp} --clamp-mss-to-pmtu`, six)
    expect(mssOf(bytes, 40)).toEqual(mss(1220))
    sound(bytes)
    // Who asks next finds a header that is 4 bytes longer.
    const asked = `${clamp} --set-mss 1000\n-A FORWARD -p tcp -m tcpmss --mss 0:600`
    const { end, lab } = sent(asked, t4({ flags: 2 }))
    expect([end, lab.packets(1)]).toEqual(['out eth1', 1])
  })

  test('unfinished checksums stay unfinished, and CHECKSUM finishes them', () => {
    const way: Way = { partial: true, meta: { csumStart: 34, csumOffset: 16 } }
    const syn = t4({ flags: 2 }, true)
    const sum = (bytes: Uint8Array): number => (bytes[36] << 8) | bytes[37]
    const grown = sent(`${clamp} --set-mss 1000`, syn, {}, way).bytes
    // The pseudo-header's length has grown by the option.
    expect(sum(grown)).toBe((sum(syn) + 4) % 0xffff)
    sound(sent('mangle POSTROUTING -j CHECKSUM --checksum-fill', syn, {}, way).bytes)
    sound(sent('mangle POSTROUTING -j CHECKSUM --checksum-fill', u4()).bytes)
  })
})

describe('reports', () => {
  test('LOG writes the line that the kernel writes', () => {
    const text =
      '*filter\n-A FORWARD -p tcp -j LOG --log-prefix "new: " --log-level info --log-tcp-sequence --log-tcp-options\nCOMMIT\n'
    const lab = new Lab({ rules: text })
    lab.send(t4({ flags: 2, seq: 7, options: [2, 4, 5, 180] }))
    const lines = new LogLines([parseRules(text, { family: 4 })], lab.interfaces)
    const ring = new RingReader(lab.rings.log)
    expect(lines.next(ring)).toEqual({
      level: 6,
      seconds: 1_700_000_000,
      nanos: 0,
      text:
        'new: IN=eth0 OUT=eth1 MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=10.0.0.2 DST=192.0.2.9 LEN=44 ' +
        'TOS=0x00 PREC=0x00 TTL=64 ID=0 PROTO=TCP SPT=1000 DPT=80 SEQ=7 ACK=0 WINDOW=65535 RES=0x00 SYN URGP=0 OPT (020405B4)',
    })
    expect(lines.next(ring)).toBeNull()
  })

  test('LOG has a rate, and what is over is counted', () => {
    const lab = new Lab({ rules: '*filter\n-A FORWARD -j LOG\nCOMMIT\n' })
    lab.report.linesPerS = 10
    for (let i = 0; i < 50; i++) lab.send(u4())
    expect(lab.report.lost).toBe(40)
    expect(lab.packets()).toBe(50)
  })

  test('a ring that nobody reads fills, and traffic goes on', () => {
    const lab = new Lab({ rules: '*filter\n-A FORWARD -j NFLOG --nflog-group 1\nCOMMIT\n' })
    for (let i = 0; i < 2000; i++) expect(lab.send(u4()).end).toBe('out eth1')
    expect(lab.report.lost).toBeGreaterThan(500)
  })

  test('NFLOG copies the packet', () => {
    const lab = new Lab({
      rules: '*filter\n-A FORWARD -j ACCEPT -p icmp\n-A FORWARD -j NFLOG --nflog-size 20\nCOMMIT\n',
    })
    lab.send(u4())
    const ring = new RingReader(lab.rings.nflog)
    // Counter 2: behind INPUT's policy and the first rule.
    const at = ring.next()
    // An Ethernet header, and 20 bytes of the IP packet.
    expect(ring.length).toBe(LogRecord.Words * 4 + 14 + 20)
    expect([ring.words[(at >> 2) + LogRecord.Rule], ring.words[(at >> 2) + LogRecord.Hook]]).toEqual([
      2,
      2 | (4 << 8),
    ])
  })

  test('TRACE tells every rule that the packet meets, in all tables', () => {
    const rules =
      '*raw\n-A PREROUTING -p udp -j TRACE\nCOMMIT\n*filter\n:U - [0:0]\n-A FORWARD -j U\n-A U -p tcp -j DROP\n-A U -p udp -j ACCEPT\nCOMMIT\n'
    const lab = new Lab({ rules })
    lab.send(u4())
    lab.send(t4())
    const lines = new LogLines([lab.rules4!], lab.interfaces)
    const ring = new RingReader(lab.rings.log)
    const told: string[] = []
    for (let line = lines.next(ring); line; line = lines.next(ring))
      told.push(line.text.split(' ').slice(0, 2).join(' '))
    expect(told).toEqual([
      'TRACE: raw:PREROUTING:policy:2',
      'TRACE: filter:FORWARD:rule:1',
      'TRACE: filter:U:rule:2',
    ])
  })
})

describe('queues', () => {
  test('without a listener: dropped, or with --queue-bypass let through', () => {
    expect(sent('filter FORWARD -j NFQUEUE --queue-num 3', u4()).end).toBe('queue-nobody')
    expect(sent('filter FORWARD -j NFQUEUE --queue-num 3 --queue-bypass', u4()).end).toBe('out eth1')
    expect(sent('filter FORWARD -j QUEUE', u4()).end).toBe('queue-nobody')
  })

  test('a listener takes the packet, and it goes on behind the table', () => {
    const lab = new Lab({
      rules:
        '*mangle\n-A FORWARD -j NFQUEUE --queue-num 3\n-A FORWARD -j DROP\nCOMMIT\n*filter\n-A FORWARD -p udp -j DROP\nCOMMIT\n',
    })
    let kept = { slot: -1, queue: 0, hook: 0 as Hook, step: -1 }
    lab.listener = (slot, queue, hook, step) => {
      kept = { slot, queue, hook, step }
      return true
    }
    expect(lab.send(u4()).end).toBe('stolen')
    expect([kept.queue, kept.hook]).toEqual([3, Hook.Forward])
    expect(lab.filter.resume(kept.hook, kept.step, false, kept.slot, lab.nowMs)).toBe(Verdict.Drop)
    expect([lab.packets(0), lab.packets(1), lab.packets(2)]).toEqual([1, 0, 1])
  })

  test('repeat: once more through the same table', () => {
    const lab = new Lab({
      rules: '*mangle\n-A FORWARD -m mark ! --mark 1 -j NFQUEUE --queue-num 3\n-A FORWARD -j DROP\nCOMMIT\n',
    })
    let kept = { slot: -1, hook: 0 as Hook, step: -1 }
    lab.listener = (slot, _queue, hook, step) => {
      kept = { slot, hook, step }
      return true
    }
    expect(lab.send(u4()).end).toBe('stolen')
    lab.ip[(kept.slot << IP_SHIFT) + Ip.Mark] = 1
    expect(lab.filter.resume(kept.hook, kept.step, true, kept.slot, lab.nowMs)).toBe(Verdict.Drop)
    expect([lab.packets(0), lab.packets(1)]).toEqual([1, 1])
  })

  test('rules that change meanwhile: it goes on behind the same table of the new ones', () => {
    const lab = new Lab({ rules: '*raw\n-A PREROUTING -j NFQUEUE --queue-num 3\nCOMMIT\n' })
    let kept = { slot: -1, hook: 0 as Hook, step: -1 }
    lab.listener = (slot, _queue, hook, step) => {
      kept = { slot, hook, step }
      return true
    }
    expect(lab.send(u4()).end).toBe('stolen')
    lab.load({
      rules:
        '*raw\n-A PREROUTING -j DROP\nCOMMIT\n*mangle\n-A PREROUTING -m conntrack --ctstate NEW -j DROP\nCOMMIT\n',
    })
    expect(lab.filter.resume(kept.hook, kept.step, false, kept.slot, lab.nowMs)).toBe(Verdict.Drop)
    expect([lab.packets(0), lab.packets(1)]).toEqual([0, 1])
  })
})
