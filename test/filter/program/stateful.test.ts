/** Matches that remember, as stories with a clock by hand; and that what they remember is bounded. */
import { describe, expect, test } from 'vitest'
import { icmp, ipv4, ipv6, tcp, udp } from '../../support/frames.ts'
import { Lab, type LabOptions } from './lab.ts'

const packet = (src = '10.0.0.2', dstPort = 53, size = 4, dst = '192.0.2.9', srcPort = 1000): Uint8Array =>
  ipv4({
    src,
    dst,
    protocol: 17,
    payload: udp({ src, dst }, { srcPort, dstPort, payload: new Uint8Array(size) }),
  })

function lab(rule: string, options: LabOptions = {}): Lab {
  return new Lab({ rules: `*filter\n${rule.replaceAll(/^/gm, '-A FORWARD ')}\nCOMMIT\n`, ...options })
}

/** Packets the rule has taken out of `n`, `gapMs` apart. */
function taken(one: Lab, n: number, gapMs: number, make: (i: number) => Uint8Array = () => packet()): number {
  const before = one.packets()
  for (let i = 0; i < n; i++) {
    one.send(make(i))
    one.nowMs += gapMs
  }
  return one.packets() - before
}

describe('limit', () => {
  test('a burst, then the rate', () => {
    const one = lab('-m limit --limit 10/sec --limit-burst 5 -j ACCEPT')
    expect(taken(one, 100, 0)).toBe(5)
    // At 0, 10, ... 990 ms: nine more are due.
    expect(taken(one, 100, 10)).toBe(9)
    one.nowMs += 10_000
    expect(taken(one, 100, 0)).toBe(5)
  })

  test('packets that other conditions refuse before it cost nothing', () => {
    const one = lab('-p udp -m udp --dport 99 -m limit --limit 1/hour --limit-burst 1 -j ACCEPT')
    expect(taken(one, 10, 0)).toBe(0)
    expect(taken(one, 10, 0, () => packet('10.0.0.2', 99))).toBe(1)
  })

  test('conditions behind it do not keep it from counting', () => {
    const one = lab('-m limit --limit 1/hour --limit-burst 1 -p udp -m udp --dport 99 -j ACCEPT')
    expect(taken(one, 1, 0)).toBe(0)
    expect(taken(one, 10, 0, () => packet('10.0.0.2', 99))).toBe(0)
  })
})

describe('hashlimit', () => {
  const perSource =
    '-m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name h'

  test('has a bucket for every source', () => {
    const one = lab(`${perSource} -j ACCEPT`)
    expect(taken(one, 30, 0, (i) => packet(`10.0.0.${1 + (i % 3)}`))).toBe(6)
    one.nowMs += 500
    expect(taken(one, 3, 0, (i) => packet(`10.0.0.${1 + i}`))).toBe(0)
    one.nowMs += 500
    expect(taken(one, 6, 0, (i) => packet(`10.0.0.${1 + (i % 3)}`))).toBe(3)
  })

  test('prefixes share', () => {
    const one = lab(`${perSource} --hashlimit-srcmask 24 -j ACCEPT`)
    expect(taken(one, 30, 0, (i) => packet(`10.0.0.${i + 1}`))).toBe(2)
    expect(taken(one, 30, 0, (i) => packet(`10.0.1.${i + 1}`))).toBe(2)
  })

  test('above takes the rest', () => {
    const one = lab(
      '-m hashlimit --hashlimit-above 1/sec --hashlimit-burst 2 --hashlimit-mode dstip,dstport --hashlimit-name h -j DROP',
    )
    expect(taken(one, 10, 0)).toBe(8)
    expect(taken(one, 10, 0, () => packet('10.0.0.2', 54))).toBe(8)
  })

  test('bytes', () => {
    const one = lab(
      '-m hashlimit --hashlimit-upto 1000b/s --hashlimit-mode srcip --hashlimit-name b -j ACCEPT',
    )
    // 28 + 72 bytes are 7 chunks of 16, of the 63 that the kernel makes of 1000.
    expect(taken(one, 100, 0, () => packet('10.0.0.2', 53, 72))).toBe(9)
    one.nowMs += 1000
    expect(taken(one, 100, 0, () => packet('10.0.0.2', 53, 72))).toBe(9)
  })

  test('bytes with a burst: so many seconds more, once', () => {
    const one = lab(
      '-m hashlimit --hashlimit-upto 1000b/s --hashlimit-burst 1984b --hashlimit-mode srcip --hashlimit-name b -j ACCEPT',
    )
    expect(taken(one, 100, 0, () => packet('10.0.0.2', 53, 72))).toBe(3 * 9)
    one.nowMs += 10_000
    expect(taken(one, 100, 0, () => packet('10.0.0.2', 53, 72))).toBe(9)
  })

  test('a full table drops what it has no bucket for; expired buckets make room', () => {
    const one = lab(
      '-m hashlimit --hashlimit-upto 1/sec --hashlimit-mode srcip --hashlimit-name h --hashlimit-htable-max 4 --hashlimit-htable-expire 1000 -j ACCEPT',
    )
    expect(taken(one, 10, 0, (i) => packet(`10.0.0.${i + 1}`))).toBe(4)
    expect(one.send(packet('10.0.0.77')).end).toBe('filter')
    one.nowMs += 1000
    expect(one.send(packet('10.0.0.77')).end).toBe('out eth1')
  })

  test('by port: an SPI where there are none, nothing in other protocols; cut off before them, it is dropped', () => {
    const rule =
      '-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 1 --hashlimit-mode dstport --hashlimit-name p -j ACCEPT'
    const raw = (protocol: number, ...payload: number[]): Uint8Array =>
      ipv4({ src: '10.0.0.2', dst: '192.0.2.9', protocol, payload: Uint8Array.from(payload) })
    const one = lab(rule)
    const of = (bytes: Uint8Array): number => taken(one, 1, 0, () => bytes)
    expect([of(packet('10.0.0.2', 7)), of(packet('10.0.0.2', 8)), of(packet('10.0.0.2', 8))]).toEqual([
      1, 1, 0,
    ])
    expect([of(raw(50, 0, 0, 0, 7)), of(raw(50, 0, 0, 0, 9)), of(raw(50, 1, 1, 0, 9))]).toEqual([0, 1, 0])
    expect([of(raw(51, 0, 0, 0, 10, 0, 0, 0, 11)), of(raw(50, 0, 0, 0, 11))]).toEqual([1, 0])
    expect([of(raw(47, 0, 0, 0, 12)), of(raw(47)), of(raw(1, 8, 0, 0, 0, 0, 0, 0, 0))]).toEqual([1, 0, 0])
    expect(one.send(raw(50, 0, 0, 0)).end).toBe('filter')
    expect(one.send(raw(51, 0, 0, 0, 7)).end).toBe('filter')
  })

  test('rules share a table by its name', () => {
    const one = lab(`${perSource} -j ACCEPT\n${perSource} -j ACCEPT`)
    taken(one, 10, 0)
    expect([one.packets(0), one.packets(1)]).toEqual([2, 0])
  })
})

describe('recent', () => {
  test('knocking: set, then rcheck within seconds', () => {
    const one = lab(
      '-p udp -m udp --dport 99 -m recent --set --name K -j DROP\n-m recent --rcheck --seconds 10 --name K -j ACCEPT',
    )
    one.send(packet())
    expect(one.packets(1)).toBe(0)
    one.send(packet('10.0.0.2', 99))
    one.nowMs += 9_000
    one.send(packet())
    expect(one.packets(1)).toBe(1)
    one.send(packet('10.0.0.3'))
    one.nowMs += 2_000
    one.send(packet())
    expect(one.packets(1)).toBe(1)
  })

  test('hitcount: the fourth in a minute', () => {
    const one = lab(
      '-m recent --update --seconds 60 --hitcount 4 --name S -j DROP\n-m recent --set --name S -j ACCEPT',
    )
    const ends = Array.from({ length: 6 }, () => one.send(packet()).end)
    expect(ends).toEqual(['out eth1', 'out eth1', 'out eth1', 'out eth1', 'filter', 'filter'])
    one.nowMs += 61_000
    expect(one.send(packet()).end).toBe('out eth1')
  })

  test('remove', () => {
    const one = lab(
      '-p udp -m udp --dport 1 -m recent --remove --name R -j ACCEPT\n-p udp -m udp --dport 2 -m recent --set --name R -j ACCEPT\n-m recent --rcheck --name R -j ACCEPT',
    )
    one.send(packet('10.0.0.2', 2))
    one.send(packet())
    one.send(packet('10.0.0.2', 1))
    one.send(packet())
    expect([one.packets(0), one.packets(1), one.packets(2)]).toEqual([1, 1, 1])
  })

  test('keeps a hundred addresses, the latest', () => {
    const one = lab(
      '-p udp -m udp --dport 2 -m recent --set --name R -j ACCEPT\n-m recent --rcheck --name R -j ACCEPT',
    )
    for (let i = 0; i < 300; i++) one.send(packet(`10.0.${i >> 8}.${i & 255 || 7}`, 2))
    one.send(packet('10.0.0.1'))
    expect(one.packets(1)).toBe(0)
    one.send(packet('10.0.1.43'))
    expect(one.packets(1)).toBe(1)
  })
})

describe('connlimit', () => {
  const syn = (srcPort: number, src = '10.0.0.2', flags = 2): Uint8Array =>
    ipv4({
      src,
      dst: '192.0.2.9',
      protocol: 6,
      payload: tcp({ src, dst: '192.0.2.9' }, { srcPort, flags, seq: 1 }),
    })

  test('counts connections of an address, not packets', () => {
    const one = lab('-p tcp -m connlimit --connlimit-above 2 -j DROP')
    expect([1, 1, 2, 2, 3, 1].map((port) => one.send(syn(port)).end)).toEqual([
      'out eth1',
      'out eth1',
      'out eth1',
      'out eth1',
      'filter',
      'out eth1',
    ])
    expect(one.send(syn(1, '10.0.0.3')).end).toBe('out eth1')
  })

  test('connections that are gone do not count', () => {
    const one = lab('-p tcp -m connlimit --connlimit-above 2 -j DROP')
    one.send(syn(1))
    one.send(syn(2))
    one.nowMs += 125_000
    for (let i = 0; i < 20; i++) one.conntrack.tick(one.nowMs + i * 1000)
    expect(one.send(syn(3)).end).toBe('out eth1')
  })
})

describe('statistic', () => {
  test('nth', () => {
    const one = lab('-m statistic --mode nth --every 3 --packet 1 -j ACCEPT')
    const got = Array.from({ length: 7 }, () => taken(one, 1, 0))
    expect(got).toEqual([0, 1, 0, 0, 1, 0, 0])
  })

  test('random comes near its probability, and is the same for the same seed', () => {
    const a = taken(lab('-m statistic --mode random --probability 0.25 -j ACCEPT'), 4000, 0)
    expect(a).toBeGreaterThan(900)
    expect(a).toBeLessThan(1100)
    expect(taken(lab('-m statistic --mode random --probability 0.25 -j ACCEPT'), 4000, 0)).toBe(a)
  })
})

describe('set', () => {
  const hit = (options: LabOptions, match: string, bytes: Uint8Array): boolean => {
    const one = lab(`-m set ${match} -j ACCEPT`, options)
    one.send(bytes)
    return one.packets() === 1
  }

  test('addresses, networks, exceptions', () => {
    const sets = {
      a: { type: 'hash:ip', elements: ['10.0.0.2', '10.1.0.0/30'] },
      n: { type: 'hash:net', elements: ['10.0.0.0/8', '10.0.0.0/24 nomatch', '10.0.0.2/32'] },
    }
    expect(hit({ sets }, '--match-set a src', packet())).toBe(true)
    expect(hit({ sets }, '--match-set a dst', packet())).toBe(false)
    expect(hit({ sets }, '! --match-set a dst', packet())).toBe(true)
    expect(hit({ sets }, '--match-set a src', packet('10.1.0.3'))).toBe(true)
    expect(hit({ sets }, '--match-set n src', packet())).toBe(true)
    expect(hit({ sets }, '--match-set n src', packet('10.0.0.3'))).toBe(false)
    expect(hit({ sets }, '--match-set n src', packet('10.9.0.3'))).toBe(true)
    expect(hit({ sets }, '--match-set n src --return-nomatch', packet('10.0.0.3'))).toBe(true)
    expect(hit({ sets }, '--match-set n src --return-nomatch', packet('10.9.0.3'))).toBe(false)
  })

  test('ports, lists, MACs', () => {
    const sets = {
      p: { type: 'hash:ip,port', elements: ['192.0.2.9,udp:53', '192.0.2.9,icmp:8/0'] },
      w: { type: 'hash:net,port', elements: ['192.0.2.0/24,udp:50-60'] },
      m: { type: 'hash:mac', elements: ['02:00:00:00:00:02'] },
      t: { type: 'hash:ip,port,net', elements: ['192.0.2.9,udp:53,10.0.0.0/8'] },
    }
    const ping = ipv4({ src: '10.0.0.2', dst: '192.0.2.9', protocol: 1, payload: icmp({ type: 8 }) })
    expect(hit({ sets }, '--match-set p dst,dst', packet())).toBe(true)
    expect(hit({ sets }, '--match-set p dst,src', packet())).toBe(false)
    expect(hit({ sets }, '--match-set p dst,dst', ping)).toBe(true)
    expect(hit({ sets }, '--match-set w dst,dst', packet('10.0.0.2', 60))).toBe(true)
    expect(hit({ sets }, '--match-set w dst,dst', packet('10.0.0.2', 61))).toBe(false)
    expect(hit({ sets }, '--match-set m src', packet())).toBe(true)
    expect(hit({ sets }, '--match-set t dst,dst,src', packet())).toBe(true)
    expect(hit({ sets }, '--match-set t dst,dst,src', packet('11.0.0.2'))).toBe(false)
    const setText =
      'create b bitmap:port range 0-1023\nadd b 53\ncreate h hash:ip\nadd h 10.0.0.9\ncreate l list:set\nadd l h\nadd l b\n'
    expect(hit({ setText }, '--match-set b dst', packet())).toBe(true)
    expect(hit({ setText }, '--match-set b src', packet())).toBe(false)
    expect(hit({ setText }, '--match-set l dst', packet())).toBe(true)
    expect(hit({ setText }, '--match-set l src', packet('10.0.0.9', 99))).toBe(true)
    expect(hit({ setText }, '--match-set l src', packet('10.0.0.8', 99))).toBe(false)
  })

  test('IPv6 networks', () => {
    const one = new Lab({
      rules6: '*filter\n-A FORWARD -m set --match-set v src -j ACCEPT\nCOMMIT\n',
      setText: 'create v hash:net family inet6\nadd v fd00::/64\nadd v fd01::7\n',
    })
    for (const src of ['fd00::2', 'fd00:0:0:1::2', 'fd01::7', 'fd01::8']) {
      const ends = { src, dst: '2001:db8::9' }
      one.send(ipv6({ ...ends, payload: udp(ends) }))
    }
    expect(one.packets(0, 6)).toBe(2)
  })

  test('timeouts and counters', () => {
    const setText =
      'create s hash:ip timeout 10 counters\nadd s 10.0.0.2 timeout 5 packets 0 bytes 0\nadd s 10.0.0.3 timeout 0 packets 3 bytes 0\n'
    const one = lab('-m set --match-set s src -j ACCEPT', { setText })
    expect(taken(one, 2, 0)).toBe(2)
    one.nowMs += 5000
    expect(taken(one, 2, 0)).toBe(0)
    expect(taken(one, 2, 0, () => packet('10.0.0.3'))).toBe(2)
    const gt = lab('-m set --match-set s src --packets-gt 5 -j ACCEPT', { setText })
    // 3 to begin with: the third of these is the sixth.
    expect(taken(gt, 5, 0, () => packet('10.0.0.3'))).toBe(3)
  })
})
