import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Flag } from '../../src/packet/layout.ts'
import { station } from '../support/frames.ts'
import { a6, bytes, ethernet, fragment6, icmp6, ip6, ipv6, u32 } from './packets.ts'
import { Bench, OWN, type Sent } from './support.ts'

const ALL_NODES = [0x33, 0x33, 0, 0, 0, 1]
const ALL_ROUTERS = [0x33, 0x33, 0, 0, 0, 2]
const link = (type: number, n: number): Uint8Array => bytes([type, 1], station(n))

interface NsParts {
  n?: number
  src?: string
  dst?: string
  target?: string
  options?: Uint8Array
  hopLimit?: number
  code?: number
}

/** A solicitation by station n. */
function ns({
  n = 9,
  src = 'fe80::9',
  dst = 'fe80::1',
  target = 'fe80::1',
  ...rest
}: NsParts = {}): Uint8Array {
  const message = bytes([135, rest.code ?? 0, 0, 0], u32(0), a6(target), rest.options ?? link(1, n))
  return ethernet(OWN, n, 0x86dd, icmp6({ src, dst, hopLimit: rest.hopLimit ?? 255 }, message))
}

interface NaParts {
  n?: number
  src?: string
  dst?: string
  target?: string
  /** 'RSO' in any combination. */
  flags?: string
  options?: Uint8Array
  mac?: number
}

function na({
  n = 9,
  src = 'fe80::9',
  dst = 'fe80::1',
  target = 'fe80::9',
  flags = '',
  ...rest
}: NaParts): Uint8Array {
  const bits =
    (flags.includes('R') ? 0x80 : 0) | (flags.includes('S') ? 0x40 : 0) | (flags.includes('O') ? 0x20 : 0)
  const options = rest.options ?? (rest.mac === undefined ? new Uint8Array() : link(2, rest.mac))
  return ethernet(
    OWN,
    n,
    0x86dd,
    icmp6({ src, dst }, bytes([136, 0, 0, 0, bits, 0, 0, 0], a6(target), options)),
  )
}

/** The advertisement we are expected to send. */
function advert(to: number | number[], dst: string, target: string, flags: number, iface = 0): Uint8Array {
  const message = bytes([136, 0, 0, 0, flags, 0, 0, 0], a6(target), link(2, OWN + iface))
  return ethernet(to, OWN + iface, 0x86dd, icmp6({ src: target, dst }, message))
}

const frames = (sent: Sent[]): Uint8Array[] => sent.map((s) => s.bytes)
const entry = (bench: Bench): string =>
  bench
    .list()
    .map((n) => `${n.mac?.slice(12)} ${n.state}${n.router ? ' router' : ''}`)
    .join()

function routed(dst = 'fe80::9'): Uint8Array {
  return ethernet(
    OWN + 1,
    8,
    0x86dd,
    ipv6({ dst: 'fd00:9::1', src: 'fd00:1::9', payload: bytes(dst.length) }),
  )
}

/** fe80::9 is being asked for, or known as station 9. */
function make(bench: Bench, state: 'INCOMPLETE' | 'REACHABLE' | 'STALE'): void {
  if (state === 'STALE') {
    const rs = icmp6({ src: 'fe80::9', dst: 'ff02::2' }, bytes([133, 0, 0, 0], u32(0), link(1, 9)))
    bench.receive(ethernet(ALL_ROUTERS, 9, 0x86dd, rs))
    return
  }
  bench.output(routed(), 'fe80::9')
  bench.host.round()
  if (state === 'REACHABLE') bench.receive(na({ flags: 'SO', mac: 9 }))
}

describe('solicitations', () => {
  test('for ours are answered, and who asks is learned', () => {
    const bench = new Bench()
    expect(frames(bench.receive(ns()))).toEqual([advert(9, 'fe80::9', 'fe80::1', 0xe0)])
    expect(entry(bench)).toBe('00:09 DELAY')
  })

  test('to the solicited-node group as well', () => {
    const bench = new Bench()
    const sent = bench.receive(ns({ dst: 'ff02::1:ff00:1', target: 'fd00::1' }))
    expect(frames(sent)).toEqual([advert(9, 'fe80::9', 'fd00::1', 0xe0)])
  })

  test('for others are nothing', () => {
    const bench = new Bench()
    expect(bench.receive(ns({ dst: 'ff02::1:ff00:7', target: 'fe80::7' }))).toEqual([])
    expect(bench.receive(ns({ target: 'fe80::2' }))).toEqual([])
    expect(bench.list()).toEqual([])
    expect(bench.host.consumed).toBe(2)
  })

  test('from :: (an address is being looked at) are answered to all nodes, not solicited', () => {
    const bench = new Bench()
    const probe = ns({ src: '::', dst: 'ff02::1:ff00:1', options: new Uint8Array() })
    expect(frames(bench.receive(probe))).toEqual([advert(ALL_NODES, 'ff02::1', 'fe80::1', 0xa0)])
    expect(bench.list()).toEqual([])
  })

  test('without a MAC: the answer waits until the asker is found', () => {
    const bench = new Bench()
    const [asked] = bench.receive(ns({ options: new Uint8Array() }))
    expect(asked.bytes[54]).toBe(135)
    expect(frames(bench.receive(na({ flags: 'S', mac: 9 })))).toEqual([advert(9, 'fe80::9', 'fe80::1', 0xe0)])
  })

  test('a new MAC replaces the old one, and is stale', () => {
    const bench = new Bench()
    make(bench, 'REACHABLE')
    bench.receive(ns({ n: 12 }))
    expect(entry(bench)).toBe('00:0c DELAY')
  })

  test('the same MAC leaves the state alone', () => {
    const bench = new Bench()
    make(bench, 'REACHABLE')
    bench.receive(ns())
    expect(entry(bench)).toBe('00:09 REACHABLE')
  })
})

describe('what breaks a rule is dropped by name', () => {
  const o = new Uint8Array()
  const cut = (frame: Uint8Array, n: number): Uint8Array => {
    const shorter = frame.slice(0, n)
    shorter.set([0, n - 54], 18)
    return shorter
  }
  const broken = ns()
  broken[60] ^= 1
  test.each([
    ['NS hop limit 254', ns({ hopLimit: 254 })],
    ['NS code 1', ns({ code: 1 })],
    ['NS checksum', broken],
    ['NS target is a group', ns({ target: 'ff02::1' })],
    ['NS option of length 0', ns({ options: bytes([1, 0], station(9)) })],
    ['NS option longer than the rest', ns({ options: bytes([1, 2], station(9)) })],
    ['NS option of a wrong length', ns({ options: bytes([1, 2], station(9), new Uint8Array(8)) })],
    ['NS MAC is a group', ns({ options: bytes([1, 1], ALL_NODES) })],
    ['NS MAC is zero', ns({ options: bytes([1, 1], [0, 0, 0, 0, 0, 0]) })],
    ['NS from :: with a MAC', ns({ src: '::', dst: 'ff02::1:ff00:1' })],
    ['NS from :: to one host', ns({ src: '::', dst: 'fe80::1', options: o })],
    ['NS too short', cut(ns(), 54 + 20)],
    ['NA target is a group', na({ target: 'ff02::1', flags: 'S', mac: 9 })],
    ['NA solicited, to a group', na({ dst: 'ff02::1', flags: 'S', mac: 9 })],
    ['NA MAC is a group', na({ flags: 'S', options: bytes([2, 1], ALL_NODES) })],
  ])('%s', (_, frame) => {
    const bench = new Bench()
    make(bench, 'INCOMPLETE')
    expect(bench.receive(frame)).toEqual([])
    expect(bench.host.dropped('nd-invalid')).toBe(1)
    expect(entry(bench)).toBe('undefined INCOMPLETE')
  })

  test('a fragment (RFC 6980)', () => {
    const bench = new Bench()
    const message = ns().subarray(54)
    const frame = ethernet(
      OWN,
      9,
      0x86dd,
      ipv6({
        src: 'fe80::9',
        dst: 'fe80::1',
        hopLimit: 255,
        next: 44,
        payload: fragment6(58, 0, false, 1, message),
      }),
    )
    expect(bench.receive(frame)).toEqual([])
    expect(bench.host.dropped('nd-invalid')).toBe(1)
  })

  test('a checksum that the device vouches for, or has yet to finish, is not looked at', () => {
    for (const flags of [Flag.CsumVerified, Flag.CsumPartial]) {
      const bench = new Bench()
      bench.put(broken, 0, { flags, csumStart: 54, csumOffset: 2 })
      expect(bench.host.round().length).toBe(1)
    }
  })
})

/** RFC 4861 appendix C, and 7.2.5. */
describe('advertisements', () => {
  test.each([
    ['INCOMPLETE', 'S', 9, '00:09 REACHABLE'],
    ['INCOMPLETE', '', 9, '00:09 DELAY'],
    ['INCOMPLETE', 'O', 9, '00:09 DELAY'],
    ['INCOMPLETE', 'SO', undefined, 'undefined INCOMPLETE'],
    ['INCOMPLETE', 'SOR', 9, '00:09 REACHABLE router'],
    ['REACHABLE', 'S', 9, '00:09 REACHABLE'],
    ['REACHABLE', 'S', undefined, '00:09 REACHABLE'],
    ['REACHABLE', '', 12, '00:09 STALE'],
    ['REACHABLE', 'S', 12, '00:09 STALE'],
    ['REACHABLE', 'SO', 12, '00:0c REACHABLE'],
    ['REACHABLE', 'O', 12, '00:0c STALE'],
    ['REACHABLE', 'O', 9, '00:09 REACHABLE'],
    ['REACHABLE', 'RO', 9, '00:09 REACHABLE router'],
    ['STALE', '', 12, '00:09 STALE'],
    ['STALE', 'SO', 12, '00:0c REACHABLE'],
    ['STALE', 'S', undefined, '00:09 REACHABLE'],
  ] as const)('%s, flags %s, MAC %s: %s', (state, flags, mac, result) => {
    const bench = new Bench()
    make(bench, state)
    bench.receive(na({ flags, mac }))
    expect(entry(bench)).toBe(result)
  })

  test('of nobody we know make no entry', () => {
    const bench = new Bench()
    bench.receive(na({ flags: 'SO', mac: 9 }))
    expect(bench.list()).toEqual([])
  })

  test('send what waits, in order', () => {
    const bench = new Bench()
    for (let i = 0; i < 3; i++) bench.output(routed('x'.repeat(i)), 'fe80::9')
    bench.host.round()
    expect(bench.receive(na({ flags: 'S', mac: 9 })).map((s) => s.bytes[54])).toEqual([0, 1, 2])
  })

  test('of an address of ours: a conflict', () => {
    const bench = new Bench()
    bench.receive(na({ target: 'fe80::1', flags: 'O', mac: 13, n: 13, dst: 'ff02::1' }))
    expect(bench.told).toEqual([{ fate: 'conflict', iface: 0, address: 'fe80:0:0:0:0:0:0:1', by: 13 }])
    expect(bench.nd.conflicts).toBe(1)
    expect(bench.list()).toEqual([])
  })

  test('a solicitation from an address of ours is one too, and is not answered', () => {
    const bench = new Bench()
    expect(bench.receive(ns({ src: 'fd00::1', n: 13 }))).toEqual([])
    expect(bench.nd.conflicts).toBe(1)
  })
})

describe('unreachability', () => {
  test('three solicitations to the group, then unreachable', () => {
    const bench = new Bench()
    bench.output(routed(), 'fd00::5')
    const sent = [...bench.host.round(), ...bench.wait(4000)]
    expect(sent.length).toBe(3)
    expect(bench.unreachable.length).toBe(1)
  })

  test('a probe goes to the neighbour itself', () => {
    const bench = new Bench()
    make(bench, 'REACHABLE')
    bench.wait(50_000, 1000)
    bench.output(routed(), 'fe80::9')
    bench.host.round()
    const [probe] = bench.wait(5000)
    const message = bytes([135, 0, 0, 0], u32(0), a6('fe80::9'), link(1, OWN))
    expect(probe.bytes).toEqual(ethernet(9, OWN, 0x86dd, icmp6({ src: 'fe80::1', dst: 'fe80::9' }, message)))
    bench.receive(na({ flags: 'S' }))
    expect(entry(bench)).toBe('00:09 REACHABLE')
  })
})

describe('routers', () => {
  test('a router solicitation is told of, and who sent it is learned', () => {
    const bench = new Bench()
    const rs = icmp6({ src: 'fe80::9', dst: 'ff02::2' }, bytes([133, 0, 0, 0], u32(0), link(1, 9)))
    expect(bench.receive(ethernet(ALL_ROUTERS, 9, 0x86dd, rs))).toEqual([])
    expect(bench.routerSolicitations).toEqual([0])
    expect(entry(bench)).toBe('00:09 STALE')
  })

  test('from :: it is told of as well, but not with a MAC', () => {
    const bench = new Bench()
    for (const options of [new Uint8Array(), link(1, 9)]) {
      const rs = icmp6({ src: '::', dst: 'ff02::2' }, bytes([133, 0, 0, 0], u32(0), options))
      bench.receive(ethernet(ALL_ROUTERS, 9, 0x86dd, rs))
    }
    expect(bench.routerSolicitations).toEqual([0])
    expect(bench.host.dropped('nd-invalid')).toBe(1)
    expect(bench.list()).toEqual([])
  })

  test('advertisements and redirects of others change nothing', () => {
    const bench = new Bench()
    make(bench, 'REACHABLE')
    const ra = icmp6({ src: 'fe80::9' }, bytes([134, 0, 0, 0], u32(0), u32(0), u32(0), link(1, 14)))
    const redirect = icmp6(
      { src: 'fe80::9', dst: 'fe80::1' },
      bytes([137, 0, 0, 0], u32(0), a6('fe80::14'), a6('fd00:9::1'), link(2, 14)),
    )
    const before = bench.host.consumed
    expect(bench.receive(ethernet(ALL_NODES, 9, 0x86dd, ra))).toEqual([])
    expect(bench.receive(ethernet(OWN, 9, 0x86dd, redirect))).toEqual([])
    expect(bench.host.consumed - before).toBe(2)
    expect(entry(bench)).toBe('00:09 REACHABLE')
  })
})

describe('detection before an address is used (RFC 4862)', () => {
  const start = (bench: Bench): void => {
    const [w0, w1, w2, w3] = ip6('fd00::77')
    bench.nd.dad.start(0, w0, w1, w2, w3, bench.nowMs)
  }
  const probe = ethernet(
    [0x33, 0x33, 0xff, 0, 0, 0x77],
    OWN,
    0x86dd,
    icmp6({ src: '::', dst: 'ff02::1:ff00:77' }, bytes([135, 0, 0, 0], u32(0), a6('fd00::77'))),
  )

  test('one solicitation from ::, a second of silence, then an advertisement', () => {
    const bench = new Bench()
    start(bench)
    const sent = bench.wait(5000)
    expect(frames(sent)).toEqual([probe, advert(ALL_NODES, 'ff02::1', 'fd00::77', 0xa0)])
    expect(bench.told.map((t) => t.fate)).toEqual(['unique'])
    expect(bench.nd.dad.size).toBe(0)
  })

  test('nobody is answered while it is tentative', () => {
    const bench = new Bench()
    start(bench)
    expect(bench.receive(ns({ target: 'fd00::77', dst: 'ff02::1:ff00:77' }))).toEqual([])
    bench.wait(5000)
    expect(bench.receive(ns({ target: 'fd00::77', dst: 'ff02::1:ff00:77' })).length).toBe(1)
  })

  test.each([
    ['an advertisement', na({ n: 13, target: 'fd00::77', flags: 'O', mac: 13, dst: 'ff02::1' })],
    [
      "another's probe",
      ns({ n: 13, src: '::', dst: 'ff02::1:ff00:77', target: 'fd00::77', options: new Uint8Array() }),
    ],
  ])('%s: duplicate', (_, frame) => {
    const bench = new Bench()
    start(bench)
    bench.wait(1000)
    expect(bench.receive(frame)).toEqual([])
    expect(bench.told).toEqual([{ fate: 'duplicate', iface: 0, address: 'fd00:0:0:0:0:0:0:77', by: 13 }])
    expect(bench.wait(30_000, 1000)).toEqual([])
  })

  test('our own probe that comes back is none', () => {
    const bench = new Bench()
    start(bench)
    bench.wait(1000)
    expect(bench.receive(probe)).toEqual([])
    bench.wait(5000)
    expect(bench.told.map((t) => t.fate)).toEqual(['unique'])
  })
})

test('whatever comes has one fate, and what is sent has our MAC and hop limit 255', () => {
  const bench = new Bench({ neighbours: 16 })
  make(bench, 'REACHABLE')
  const options = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }).map((o) => Uint8Array.from(o))
  const source = fc.constantFrom('fe80::9', '::', 'fd00::8', 'fe80::1', 'fd00:9::1')
  const target = fc.constantFrom('fe80::9', 'fe80::1', 'fd00::1', 'ff02::1', 'fd00::77')
  const dst = fc.constantFrom('fe80::1', 'ff02::1', 'ff02::2', 'ff02::1:ff00:1')
  const type = fc.integer({ min: 133, max: 137 })
  fc.assert(
    fc.property(
      type,
      source,
      dst,
      target,
      options,
      fc.integer({ min: 0, max: 255 }),
      (t, src, to, about, o, flags) => {
        const message = bytes([t, 0, 0, 0, flags, 0, 0, 0], a6(about), o)
        bench.nowMs += 13
        const sent = bench.receive(ethernet(OWN, 9, 0x86dd, icmp6({ src, dst: to }, message)))
        for (const s of [...sent, ...bench.tick()]) {
          expect(s.bytes.subarray(6, 12)).toEqual(station(OWN))
          if (s.bytes[20] === 58) expect(s.bytes[21]).toBe(255)
        }
        expect(bench.list().length).toBeLessThanOrEqual(16)
      },
    ),
    { numRuns: 2000 },
  )
})
