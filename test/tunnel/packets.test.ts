/** What a VTEP does to a packet: marks, sizes, offloads, the outer header, answers of its own. */
import { describe, expect, test } from 'vitest'
import { COUNTER_WORDS, Counter } from '../../src/packet/counters.ts'
import { Flag, Gso, META_SHIFT, Meta } from '../../src/packet/layout.ts'
import { REMOTE_SHIFT, Remote } from '../../src/tunnel/tables.ts'
import { arp } from '../router/packets.ts'
import {
  BROADCAST,
  frame,
  type Ipv4Parts,
  icmp,
  ipv4,
  ipv6,
  onesSum,
  station,
  tcp,
  udp,
} from '../support/frames.ts'
import {
  Internet,
  remote,
  type SegmentOptions,
  type Site,
  type SiteOptions,
  TUNNEL,
  UNDERLAY,
} from './lab.ts'

const [A, B] = [1, 2]
const [HERE, THERE, YONDER] = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
const [IP_A, IP_B] = ['10.0.0.1', '10.0.0.2']
const [IP6_A, IP6_B] = ['fd00::1', 'fd00::2']

function site(segment: SegmentOptions = {}, options: SiteOptions = {}): Site {
  return new Internet().site(HERE, { web: {} }, { remotes: [THERE], ...segment }, options)
}

const v4 = (parts: Partial<Ipv4Parts> = {}, dst = B, src = A): Uint8Array =>
  frame({
    src,
    dst,
    type: 0x0800,
    payload: ipv4({ src: IP_A, dst: IP_B, payload: udp({ src: IP_A, dst: IP_B }), ...parts }),
  })
const v6 = (parts: object = {}): Uint8Array =>
  frame({
    src: A,
    dst: B,
    type: 0x86dd,
    payload: ipv6({ src: IP6_A, dst: IP6_B, payload: udp({ src: IP6_A, dst: IP6_B }), ...parts }),
  })

/** The one datagram that sending this makes. */
function sent(here: Site, bytes: Uint8Array) {
  here.send('web', bytes)
  const all = here.datagrams()
  expect(all).toHaveLength(1)
  here.conserved()
  return all[0]
}

describe('the outer header', () => {
  const NAMES = [0, 1, 2, 3]

  test.each(NAMES)('gets the ECN field %i of the inner one, whatever its DSCP', (ecn) => {
    for (const tos of [-1, 0, 0x28, 0xff]) {
      const here = site({}, { tos })
      const dscp = tos < 0 ? 0xb8 : tos & 0xfc
      expect(sent(here, v4({ tos: 0xb8 | ecn })).tos).toBe(dscp | ecn)
      expect(sent(here, v6({ tos: 0xb8 | ecn })).tos).toBe(dscp | ecn)
    }
  })

  test('of what is not IP is not marked', () => {
    expect(sent(site(), frame({ src: A, dst: B })).tos).toBe(0)
    expect(sent(site({}, { tos: 0xff }), frame({ src: A, dst: B })).tos).toBe(0xfc)
  })

  test('has a TTL of its own, or the inner one', () => {
    expect(sent(site({}, { ttl: 9 }), v4({ ttl: 33 })).ttl).toBe(9)
    expect(sent(site({}, { ttl: 0 }), v4({ ttl: 33 })).ttl).toBe(33)
    expect(sent(site({}, { ttl: 0 }), v6({ hopLimit: 34 })).ttl).toBe(34)
    expect(sent(site({}, { ttl: 0 }), frame({ src: A, dst: B })).ttl).toBe(64)
  })

  test('df inherit: DF and IPv6 go by the second set of sockets', () => {
    const here = site({}, { df: 'inherit', senders: 4 })
    const plain = sent(here, v4()).socket
    expect(plain).toBeGreaterThanOrEqual(1)
    expect(plain).toBeLessThan(5)
    expect(sent(here, v4({ dontFragment: true })).socket).toBe(plain + 4)
    expect(sent(here, v6()).socket).toBeGreaterThanOrEqual(5)
    expect(sent(here, frame({ src: A, dst: B })).socket).toBeLessThan(5)
  })

  test('the source port is the same for one inner flow, and many for many', () => {
    const here = site({}, { senders: 16 })
    const of = (srcPort: number, size = 0): number =>
      sent(here, v4({ payload: udp({ src: IP_A, dst: IP_B }, { srcPort, payload: new Uint8Array(size) }) }))
        .socket
    const used = new Set<number>()
    for (let port = 1; port < 400; port++) {
      const socket = of(port)
      used.add(socket)
      expect(of(port, 100)).toBe(socket)
      expect(socket).toBeGreaterThanOrEqual(1)
      expect(socket).toBeLessThanOrEqual(16)
    }
    expect(used.size).toBe(16)
  })

  test('all fragments of a datagram have one source port', () => {
    const here = site({}, { senders: 64 })
    const payload = Uint8Array.from({ length: 64 }, (_, i) => i * 7)
    const sockets = [0, 64, 128].map(
      (fragmentOffset) =>
        sent(here, v4({ payload, fragmentOffset, moreFragments: fragmentOffset < 128 })).socket,
    )
    expect(new Set(sockets).size).toBe(1)
  })
})

describe('congestion marks out of the tunnel (RFC 6040, figure 4)', () => {
  // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns the same of the outer header; -1 = dropped.
  const TABLE = [
    [0, 0, 0, -1],
    [1, 1, 1, 3],
    [2, 1, 2, 3],
    [3, 3, 3, 3],
  ]
  for (const inner of [0, 1, 2, 3])
    for (const outer of [0, 1, 2, 3])
      test(`inner ${inner}, outer ${outer}: ${TABLE[inner][outer]}`, () => {
        for (const make of [v4, v6]) {
          const here = site()
          here.receive(THERE, 7, make({ tos: 0x60 | inner }), { tos: 0x80 | outer })
          const expected = TABLE[inner][outer]
          if (expected < 0) expect(here.drops(UNDERLAY)).toEqual({ 'tunnel-ecn': 1 })
          expect(here.out('web')).toEqual(expected < 0 ? [] : [make({ tos: 0x60 | expected })])
          here.conserved()
        }
      })

  test('what is not IP passes, marked or not', () => {
    const here = site()
    here.receive(THERE, 7, frame({ src: A, dst: B }), { tos: 3 })
    expect(here.out('web')).toHaveLength(1)
  })
})

describe('size', () => {
  /** An IPv4 packet of `length` bytes. */
  const long = (length: number, parts: Partial<Ipv4Parts> = {}): Uint8Array =>
    v4({
      payload: udp({ src: IP_A, dst: IP_B }, { payload: new Uint8Array(length - 28) }),
      dontFragment: true,
      ...parts,
    })
  const long6 = (length: number): Uint8Array =>
    v6({ payload: udp({ src: IP6_A, dst: IP6_B }, { payload: new Uint8Array(length - 48) }) })

  test('1450 bytes fit into 1500 over IPv4, 1451 do not', () => {
    const here = site()
    expect(sent(here, long(1450)).inner).toHaveLength(1464)
    here.send('web', long(1451))
    expect(here.datagrams()).toEqual([])
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-too-big': 1 })
    here.conserved()
  })

  test('1430 bytes fit into 1500 over IPv6, 1431 do not', () => {
    const here = new Internet().site('2001:db8::1', { web: {} }, { remotes: ['2001:db8::2'] })
    expect(sent(here, long(1430)).to).toBe('2001:db8::2')
    here.send('web', long(1431))
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-too-big': 1 })
  })

  test("a remote's own MTU decides, as soon as it is known", () => {
    const here = site()
    const remotes = here.memory.remotes
    remotes[(here.remoteRows()[0].row << REMOTE_SHIFT) + Remote.Mtu] = 1400
    here.send('web', long(1351))
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-too-big': 1 })
    expect(sent(here, long(1350)).inner).toHaveLength(1364)
  })

  test('the sender of IPv4 with DF is told, as if by the destination', () => {
    const here = site()
    here.send('web', long(1500))
    const [answer] = here.out('web')
    const bytes = long(1500)
    const payload = bytes.subarray(14, 14 + 548)
    const error = icmp({ type: 3, code: 4, rest: 1450, payload })
    expect(answer).toEqual(
      frame({
        src: B,
        dst: A,
        type: 0x0800,
        payload: ipv4({ src: IP_B, dst: IP_A, protocol: 1, payload: error }),
      }),
    )
    here.conserved()
  })

  test('the sender of IPv6 is told', () => {
    const here = site()
    here.send('web', long6(1500))
    const [answer] = here.out('web')
    const payload = long6(1500).subarray(14, 14 + 1232)
    const error = icmp({ type: 2, rest: 1450, payload }, { src: IP6_B, dst: IP6_A })
    expect(answer).toEqual(
      frame({
        src: B,
        dst: A,
        type: 0x86dd,
        payload: ipv6({ src: IP6_B, dst: IP6_A, next: 58, payload: error }),
      }),
    )
    here.conserved()
  })

  test('the answer comes back in the VLAN it was asked in', () => {
    const trunk = { vlan: { mode: 'trunk' as const, allowed: [5] } }
    const access = { vlan: { mode: 'access' as const, vid: 5 } }
    const here = new Internet().site(
      HERE,
      { web: access },
      { remotes: [THERE], port: trunk, innerVlan: 'keep' },
    )
    here.send('web', long(1500))
    const [answer] = here.out('web')
    // A tag takes four bytes more.
    expect(new DataView(answer.buffer).getUint16(14 + 20 + 6)).toBe(1446)
    here.conserved()
  })

  test.each([
    ['IPv4 that may be fragmented', long(1500, { dontFragment: false })],
    ['a fragment', long(1500, { moreFragments: true })],
    ['no IP', frame({ src: A, dst: B, size: 1500 })],
    ['a group', frame({ src: A, dst: BROADCAST, type: 0x0800, payload: long(1500).slice(14) })],
    [
      'an ICMP error',
      v4({ protocol: 1, payload: icmp({ type: 3, payload: new Uint8Array(1472) }), dontFragment: true }),
    ],
    ['from nobody', long(1500, { src: '0.0.0.0' })],
    ['from loopback', long(1500, { src: '127.0.0.1' })],
    ['to a group of IPv4', long(1500, { dst: '224.0.0.5' })],
  ])('%s is counted and not answered', (_, bytes) => {
    const here = site()
    here.send('web', bytes)
    expect(here.out('web')).toEqual([])
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-too-big': 1 })
    here.conserved()
  })

  test('of a super-frame the segments count', () => {
    const here = site()
    const segment = (size: number): void => {
      const payload = ipv4({
        src: IP_A,
        dst: IP_B,
        protocol: 6,
        dontFragment: true,
        payload: tcp({ src: IP_A, dst: IP_B, partial: true }, { payload: new Uint8Array(20_000) }),
      })
      here.fabric.sendSuper('web', frame({ src: A, dst: B, type: 0x0800, payload }), {
        gsoType: Gso.Tcp4,
        gsoSize: size,
        csumStart: 34,
        csumOffset: 16,
        flags: Flag.CsumPartial,
      })
    }
    segment(1410)
    expect(here.datagrams()).toMatchObject([{ gsoSize: 1410 }])
    expect(here.count(TUNNEL, Counter.TxBytes)).toBe(14 + 40 + 20_000)
    expect(here.out('web')).toEqual([])
    segment(1411)
    expect(here.datagrams()).toEqual([])
    expect(new DataView(here.out('web')[0].buffer).getUint16(14 + 20 + 6)).toBe(1450)
    here.conserved()
  })

  test('with two remotes in a flood, the smaller one decides what the sender is told', () => {
    const here = site({ remotes: [THERE, YONDER] })
    const table = here.memory.remotes
    table[(here.remoteRows()[1].row << REMOTE_SHIFT) + Remote.Mtu] = 1300
    here.send('web', long(1400))
    expect(here.datagrams().map((d) => d.to)).toEqual([THERE])
    expect(here.drops(TUNNEL)).toEqual({ 'tunnel-too-big': 1 })
    expect(new DataView(here.out('web')[0].buffer).getUint16(14 + 20 + 6)).toBe(1250)
    here.conserved()
  })
})

describe('MSS', () => {
  const MSS = [2, 4, 0x05, 0xb4]
  const syn = (mss: number[], src = A, dst = B, partial = false, flags = 2): Uint8Array =>
    frame({
      src,
      dst,
      type: 0x0800,
      payload: ipv4({
        src: IP_A,
        dst: IP_B,
        protocol: 6,
        payload: tcp({ src: IP_A, dst: IP_B, partial }, { flags, options: mss }),
      }),
    })
  const syn6 = (mss: number[]): Uint8Array =>
    frame({
      src: A,
      dst: B,
      type: 0x86dd,
      payload: ipv6({
        src: IP6_A,
        dst: IP6_B,
        next: 6,
        payload: tcp({ src: IP6_A, dst: IP6_B }, { flags: 2, options: mss }),
      }),
    })
  const clamped = (n: number): number[] => [2, 4, n >> 8, n & 255]

  test('of a SYN is lowered to what fits, with a right checksum', () => {
    expect(sent(site(), syn(MSS)).inner).toEqual(syn(clamped(1410)))
    expect(sent(site(), syn6(MSS)).inner).toEqual(syn6(clamped(1390)))
    expect(sent(site(), syn(MSS, A, B, false, 0x12)).inner).toEqual(syn(clamped(1410), A, B, false, 0x12))
  })

  test('is never raised, and other segments are left alone', () => {
    expect(sent(site(), syn(clamped(536))).inner).toEqual(syn(clamped(536)))
    expect(sent(site(), syn([])).inner).toEqual(syn([]))
    expect(sent(site(), syn(MSS, A, B, false, 0x10)).inner).toEqual(syn(MSS, A, B, false, 0x10))
  })

  test('is left alone when the operator says so', () => {
    expect(sent(site({ clampMss: false }), syn(MSS)).inner).toEqual(syn(MSS))
  })

  test('other ports of a flood get the SYN as it was', () => {
    const here = new Internet().site(HERE, { web: {}, db: {} }, { remotes: [THERE] })
    here.send('web', syn(MSS))
    expect(here.out('db')).toEqual([syn(MSS)])
    expect(here.datagrams()[0].inner).toEqual(syn(clamped(1410)))
    here.conserved()
  })

  test('is lowered out of the tunnel, too, checksum finished or not', () => {
    const here = site()
    here.receive(THERE, 7, syn(MSS, B, A))
    expect(here.out('web')).toEqual([syn(clamped(1410), B, A)])
    here.receive(THERE, 7, syn(MSS, B, A, true), { flags: Flag.CsumPartial, csumStart: 34, csumOffset: 16 })
    expect(here.out('web')).toEqual([syn(clamped(1410), B, A, true)])
  })
})

describe('super-frames of a kernel on this machine', () => {
  test('are recognised by their length, TCP over IPv4 and IPv6', () => {
    for (const [six, size] of [
      [false, 1410],
      [true, 1390],
    ] as const) {
      const here = site()
      const ends = six ? { src: IP6_A, dst: IP6_B } : { src: IP_A, dst: IP_B }
      const segment = tcp({ ...ends, partial: true }, { payload: new Uint8Array(30_000) })
      const payload = six
        ? ipv6({ ...ends, next: 6, payload: segment })
        : ipv4({ ...ends, protocol: 6, payload: segment })
      const bytes = frame({ src: B, dst: A, type: six ? 0x86dd : 0x0800, payload })
      const seen: number[][] = []
      const port = here.fabric.port('web')
      const { tx } = port
      port.tx = (queue) => {
        const { meta } = here.fabric.engine.pool
        const m = queue.words[queue.at] << META_SHIFT
        seen.push([
          meta[m + Meta.GsoType],
          meta[m + Meta.GsoSize],
          meta[m + Meta.CsumStart],
          meta[m + Meta.CsumOffset],
        ])
        return tx.call(port, queue)
      }
      const csumStart = six ? 54 : 34
      here.receive(THERE, 7, bytes, { flags: Flag.CsumPartial, csumStart, csumOffset: 16 })
      expect(seen).toEqual([[six ? Gso.Tcp6 : Gso.Tcp4, size, csumStart, 16]])
      expect(here.out('web')).toEqual([bytes])
      expect(here.count(TUNNEL, Counter.RxSuper)).toBe(1)
      here.conserved()
    }
  })

  test('a packet that fits is none, however unfinished its checksum', () => {
    const here = site()
    const payload = ipv4({
      src: IP_A,
      dst: IP_B,
      protocol: 6,
      payload: tcp({ src: IP_A, dst: IP_B, partial: true }, { payload: new Uint8Array(1410) }),
    })
    here.receive(THERE, 7, frame({ src: B, dst: A, type: 0x0800, payload }), {
      flags: Flag.CsumPartial,
      csumStart: 34,
      csumOffset: 16,
    })
    expect(here.out('web')).toHaveLength(1)
    expect(here.count(TUNNEL, Counter.RxSuper)).toBe(0)
  })
})

describe('suppression', () => {
  const here = (options: SegmentOptions = {}): Site =>
    site({ suppress: true, remotes: [THERE, YONDER], ...options })
  const request = (target = IP_B, spa = IP_A): Uint8Array => arp({ sha: A, spa, tpa: target })
  const solicitation = (target = IP6_B, src = IP6_A): Uint8Array => {
    const body = ipv6Nd(135, src, 'ff02::1:ff00:2', target, src === '::' ? [] : [1, 1, ...station(A)])
    return frame({ src: A, dst: Uint8Array.from([0x33, 0x33, 0xff, 0, 0, 2]), type: 0x86dd, payload: body })
  }
  const advertisement = (bits: number): Uint8Array =>
    frame({
      src: B,
      dst: A,
      type: 0x86dd,
      payload: ipv6Nd(136, IP6_B, IP6_A, IP6_B, [2, 1, ...station(B)], bits),
    })

  function ipv6Nd(
    type: number,
    src: string,
    dst: string,
    target: string,
    options: number[],
    bits = 0,
  ): Uint8Array {
    const address = ipv6({ src: target, dst: target }).slice(8, 24)
    const payload = Uint8Array.from([...address, ...options])
    return ipv6({
      src,
      dst,
      next: 58,
      hopLimit: 255,
      payload: icmp({ type, rest: (bits << 24) >>> 0, payload }, { src, dst }),
    })
  }

  test('a request for a station whose binding is known is answered here', () => {
    const site = here()
    site.receive(THERE, 7, arp({ op: 2, sha: B, spa: IP_B, tha: A, tpa: IP_A }))
    site.out('web')
    site.send('web', request())
    expect(site.datagrams()).toEqual([])
    expect(site.out('web')).toEqual([arp({ op: 2, sha: B, spa: IP_B, tha: A, tpa: IP_A })])
    expect(site.count(TUNNEL, Counter.Consumed)).toBe(1)
    site.conserved()
  })

  test('any ARP of the other side tells: a request, an announcement', () => {
    for (const told of [arp({ sha: B, spa: IP_B, tpa: '10.0.0.9' }), arp({ sha: B, spa: IP_B, tpa: IP_B })]) {
      const site = here()
      site.receive(THERE, 7, told)
      site.send('web', request())
      expect(site.datagrams()).toEqual([])
    }
  })

  test.each([
    ['an address nobody has told of', request('10.0.0.77')],
    ['a probe', request(IP_B, '0.0.0.0')],
    ['an announcement', request(IP_A, IP_A)],
    ['a question to one station', arp({ sha: A, spa: IP_A, tpa: IP_B, dst: 9 })],
    ['a reply', arp({ op: 2, sha: A, spa: IP_A, tpa: IP_B, tha: 9 })],
  ])('%s goes into the tunnel', (_, bytes) => {
    const site = here()
    site.receive(THERE, 7, arp({ op: 2, sha: B, spa: IP_B, tha: A, tpa: IP_A }))
    site.out('web')
    site.send('web', bytes)
    expect(site.datagrams()).toHaveLength(2)
    expect(site.out('web')).toEqual([])
  })

  test('not without the option, not for what is too old, not when the remote is dead', () => {
    const tell = arp({ op: 2, sha: B, spa: IP_B, tha: A, tpa: IP_A })
    const off = here({ suppress: false })
    off.receive(THERE, 7, tell)
    off.send('web', request())
    expect(off.datagrams()).toHaveLength(2)

    const old = here()
    old.receive(THERE, 7, tell)
    old.net.seconds(299)
    old.receive(THERE, 7, frame({ src: B, dst: A }))
    old.net.seconds(2)
    old.send('web', request())
    expect(old.datagrams()).toHaveLength(2)

    const dead = here()
    dead.receive(THERE, 7, tell)
    dead.fabric.engine.apply({ op: 'remote-state', id: 10, remote: remote(THERE), dead: true })
    dead.send('web', request())
    expect(dead.datagrams()).toHaveLength(1)
  })

  test('a station that came to our side is no longer answered for', () => {
    const site = here()
    site.receive(THERE, 7, arp({ op: 2, sha: B, spa: IP_B, tha: A, tpa: IP_A }))
    site.send('web', arp({ sha: B, spa: IP_B, tpa: IP_B }))
    site.datagrams()
    site.send('web', request())
    expect(site.datagrams()).toHaveLength(2)
    expect(site.known()).toEqual({ [THERE]: 0, [YONDER]: 0 })
  })

  test('what the operator says of a station is enough', () => {
    const site = here({ statics: [{ mac: station(B), remote: THERE, addresses: [IP_B, IP6_B] }] })
    site.send('web', request(), solicitation())
    expect(site.datagrams()).toEqual([])
    expect(site.out('web')).toHaveLength(2)
  })

  test.each([
    [0x80 | 0x40 | 0x20, 0xe0],
    [0x20, 0x60],
  ])('a solicitation is answered as the advertisement said, flags %i', (bits, answered) => {
    const site = here()
    site.receive(THERE, 7, advertisement(bits))
    site.out('web')
    site.send('web', solicitation())
    expect(site.datagrams()).toEqual([])
    expect(site.out('web')).toEqual([advertisement(answered)])
    site.conserved()
  })

  test('duplicate address detection goes into the tunnel', () => {
    const site = here()
    site.receive(THERE, 7, advertisement(0x60))
    site.send('web', solicitation(IP6_B, '::'))
    expect(site.datagrams()).toHaveLength(2)
  })

  test('malformed questions are no questions', () => {
    const site = here()
    for (let cut = 14; cut < request().length; cut++) site.send('web', request().slice(0, cut))
    for (let cut = 14; cut < solicitation().length; cut++) site.send('web', solicitation().slice(0, cut))
    expect(site.out('web')).toEqual([])
    site.conserved()
  })
})

test('answers wait their turn and are bounded', () => {
  const here = site({}, { slots: 90 })
  const big = v4({
    payload: udp({ src: IP_A, dst: IP_B }, { payload: new Uint8Array(1472) }),
    dontFragment: true,
  })
  here.fabric.inject('web', ...Array.from({ length: 64 }, () => big))
  here.run()
  // The pool has no more than this for them.
  expect(here.out('web').length).toBe(26)
  expect(here.drops(TUNNEL)).toEqual({ 'tunnel-too-big': 64 })
  here.conserved()
})

test('an answer has a right checksum whatever it quotes', () => {
  const here = site()
  for (let size = 1423; size < 1472; size++) {
    here.send(
      'web',
      v4({
        payload: udp({ src: IP_A, dst: IP_B }, { payload: new Uint8Array(size).fill(size) }),
        dontFragment: true,
      }),
    )
    const [answer] = here.out('web')
    expect(onesSum(answer.subarray(14, 34))).toBe(0xffff)
    expect(onesSum(answer.subarray(34))).toBe(0xffff)
  }
  const counted = here.fabric.counters[TUNNEL * COUNTER_WORDS + Counter.Made]
  expect(counted).toBe(1472 - 1423)
})
