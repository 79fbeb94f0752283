/** Random rules, random flows: the program does what the oracle reads, with and without the flow cache. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { HookName } from '../../../src/filter/model.ts'
import { parseRules } from '../../../src/filter/parse.ts'
import { printRules } from '../../../src/filter/print.ts'
import { CtState, IP_SHIFT, Ip } from '../../../src/packet/ip.ts'
import { icmp, ip4, ipv4, tcp, udp } from '../../support/frames.ts'
import { Lab } from './lab.ts'
import { type Known, Oracle } from './oracle.ts'

const HOOK_NAMES: HookName[] = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']
const ROUTES: [string, string][] = [
  ['10.0.0.0/8', 'eth0'],
  ['0.0.0.0/0', 'eth1'],
]

const not = fc.constantFrom('', '', '! ')
const net = fc.constantFrom(
  '10.0.0.1/32',
  '10.0.0.2/32',
  '10.0.0.0/30',
  '192.0.2.1/32',
  '192.0.2.2/32',
  '192.0.2.0/24',
)
const port = fc.constantFrom('53', '80', '1000', '50:90', '1000:65535')
const opt = <T>(arb: fc.Arbitrary<T>, weight = 2): fc.Arbitrary<T | ''> =>
  fc.oneof({ weight, arbitrary: fc.constant('' as const) }, { weight: 1, arbitrary: arb })
const words = (...parts: fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
  fc.tuple(...parts).map((list) => list.filter((part) => part !== '').join(' '))

const transport = fc.oneof(
  fc.constant(''),
  words(
    fc.constant('-p udp -m udp'),
    opt(fc.tuple(not, port).map(([n, p]) => `${n}--sport ${p}`)),
    opt(
      fc.tuple(not, port).map(([n, p]) => `${n}--dport ${p}`),
      1,
    ),
  ),
  words(
    fc.constant('-p tcp -m tcp'),
    opt(
      fc.tuple(not, port).map(([n, p]) => `${n}--dport ${p}`),
      1,
    ),
    opt(fc.constantFrom('--syn', '! --syn', '--tcp-flags PSH PSH', '--tcp-flags SYN,RST SYN')),
  ),
  fc
    .tuple(not, fc.constantFrom('8', '0', 'any', '3/3'))
    .map(([n, t]) => `-p icmp -m icmp ${n}--icmp-type ${t}`),
  fc
    .tuple(not, fc.constantFrom('dports', 'sports', 'ports'))
    .map(([n, s]) => `-p udp -m multiport ${n}--${s} 53,900:1100`),
  fc.constantFrom('-p tcp', '! -p udp', '-p icmp'),
)
/** Constant within a flow: what the cache may remember. */
const calm = fc.oneof(
  fc
    .tuple(not, fc.constantFrom('NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'INVALID', 'NEW,ESTABLISHED'))
    .map(([n, s]) => `-m conntrack ${n}--ctstate ${s}`),
  fc.constantFrom(
    '-m conntrack --ctdir ORIGINAL',
    '-m conntrack --ctdir REPLY',
    '-m state --state ESTABLISHED',
    '-m comment --comment "x y"',
  ),
  fc
    .tuple(not, fc.constantFrom('0x0', '0x1', '0x2/0x3', '0x4/0x4'))
    .map(([n, m]) => `-m mark ${n}--mark ${m}`),
  fc.tuple(not, fc.constantFrom('0x0', '0x1/0x1', '0x8')).map(([n, m]) => `-m connmark ${n}--mark ${m}`),
  fc
    .tuple(not, fc.constantFrom('10.0.0.1-10.0.0.2', '10.0.0.2-192.0.2.1'))
    .map(([n, r]) => `-m iprange ${n}--src-range ${r}`),
  fc.constant('-m pkttype --pkt-type unicast'),
)
const wild = fc.oneof(
  calm,
  fc.constantFrom(
    '-m length --length 0:40',
    '-m ttl --ttl-lt 60',
    '-m ttl --ttl-eq 64',
    '-m dscp --dscp 0x2e',
  ),
  fc
    .tuple(fc.integer({ min: 1, max: 4 }), not)
    .map(([n, i]) => `-m statistic --mode nth ${i}--every ${n} --packet ${n - 1}`),
)
const target = (chains: string[], table: string, tame: boolean): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom('-j ACCEPT', '-j ACCEPT', '-j RETURN', '', '', '', tame ? '' : '-j LOG'),
    { weight: 1, arbitrary: fc.constantFrom('-j DROP', '-j ACCEPT', '-j RETURN', '') },
    fc.constantFrom(
      '',
      '-j MARK --set-mark 1',
      '-j MARK --or-mark 4',
      '-j MARK --xor-mark 2',
      '-j CONNMARK --set-mark 1',
      '-j CONNMARK --save-mark',
      '-j CONNMARK --restore-mark',
    ),
    ...(table === 'mangle' && !tame
      ? [
          fc.constantFrom(
            '-j TTL --ttl-set 50',
            '-j TTL --ttl-dec 1',
            '-j TOS --set-tos 0xb8',
            '-j DSCP --set-dscp 10',
          ),
        ]
      : []),
    ...(chains.length > 0
      ? [fc.tuple(fc.constantFrom('-j', '-j', '-g'), fc.constantFrom(...chains)).map(([j, c]) => `${j} ${c}`)]
      : []),
  )
const rule = (
  chain: string,
  chains: string[],
  table: string,
  out: boolean,
  tame: boolean,
): fc.Arbitrary<string> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: words(
        fc.constant(`-A ${chain}`),
        opt(fc.tuple(not, net).map(([n, a]) => `${n}-s ${a}`)),
        opt(fc.tuple(not, net).map(([n, a]) => `${n}-d ${a}`)),
        opt(
          fc
            .tuple(not, fc.constantFrom('eth0', 'eth1', 'eth+', 'no0'))
            .map(([n, i]) => (i === 'eth+' && n ? '' : `${n}-i ${i}`)),
        ),
        out
          ? opt(fc.tuple(not, fc.constantFrom('eth0', 'eth1')).map(([n, i]) => `${n}-o ${i}`))
          : fc.constant(''),
        transport,
        opt(tame ? calm : wild),
        opt(tame ? calm : wild),
        target(chains, table, tame),
      ),
    },
    // Many of these in a row make a run.
    {
      weight: 4,
      arbitrary: fc
        .tuple(
          fc.constantFrom(
            '10.0.0.1',
            '10.0.0.2',
            '10.0.0.3',
            '192.0.2.1',
            '192.0.2.2',
            '192.0.2.3',
            '192.0.2.4',
          ),
          transport,
          target(chains, table, tame),
        )
        .map(([host, t, j]) => `-A ${chain} -d ${host}/32 ${t} ${j}`),
    },
  )
const rules = (
  tame: boolean,
  chain: string,
  chains: string[],
  table: string,
  out = false,
): fc.Arbitrary<string[]> => fc.array(rule(chain, chains, table, out, tame), { maxLength: 16 })

const file = (tame: boolean): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.constantFrom('ACCEPT', 'ACCEPT', 'ACCEPT', 'DROP'),
      rules(tame, 'FORWARD', ['A', 'B'], 'filter', true),
      rules(tame, 'A', ['B'], 'filter', true),
      rules(tame, 'B', [], 'filter', true),
      rules(tame, 'PREROUTING', [], 'mangle'),
      rules(tame, 'FORWARD', [], 'mangle', true),
      fc.array(
        fc.constantFrom('-A PREROUTING -j MARK --set-mark 2', '-A PREROUTING -p udp -s 10.0.0.1 -j ACCEPT'),
        { maxLength: 2 },
      ),
    )
    .map(([policy, forward, a, b, pre, mangle, raw]) =>
      [
        '*raw',
        ...raw,
        'COMMIT\n*mangle',
        ...pre,
        ...mangle,
        'COMMIT\n*filter',
        `:FORWARD ${policy} [0:0]\n:A - [0:0]\n:B - [0:0]`,
        ...forward,
        ...a,
        ...b,
        'COMMIT\n',
      ].join('\n'),
    )

interface Step {
  flow: number
  reply: boolean
  flags: number
  size: number
  ttl: number
  tos: number
}
const step: fc.Arbitrary<Step> = fc.record({
  flow: fc.integer({ min: 0, max: 7 }),
  reply: fc.boolean(),
  flags: fc.constantFrom(2, 16, 16, 16, 24, 17),
  size: fc.constantFrom(0, 4, 40),
  ttl: fc.constantFrom(64, 64, 64, 59),
  tos: fc.constantFrom(0, 0, 0, 0xb8),
})

function packetOf({ flow, reply, flags, size, ttl, tos }: Step): {
  bytes: Uint8Array
  known: Omit<Known, 'state' | 'reply' | 'tracked' | 'ctMark'>
} {
  const inside = `10.0.0.${1 + (flow & 1)}`
  const outside = `192.0.2.${1 + ((flow >> 1) & 1)}`
  const [src, dst] = reply ? [outside, inside] : [inside, outside]
  const protocol = [17, 17, 6, 6, 17, 6, 1, 1][flow]
  const [sport, dport] = reply ? [flow & 4 ? 80 : 53, 1000] : [1000, flow & 4 ? 80 : 53]
  const payload = new Uint8Array(size)
  const ends = { src, dst }
  const l4 =
    protocol === 17
      ? udp(ends, { srcPort: sport, dstPort: dport, payload })
      : protocol === 6
        ? tcp(ends, { srcPort: sport, dstPort: dport, flags, payload })
        : icmp({ type: reply ? 0 : 8, rest: 0x10001 * (1 + flow), payload })
  const bytes = ipv4({ src, dst, protocol, payload: l4, ttl, tos })
  return {
    bytes,
    known: {
      src: ip4(src),
      dst: ip4(dst),
      protocol,
      sport,
      dport,
      flags,
      icmpType: reply ? 0 : 8,
      icmpCode: 0,
      inIf: reply ? 'eth1' : 'eth0',
      outIf: '',
      length: bytes.length,
      ttl,
      tos,
      mark: 0,
      pktType: 0,
    },
  }
}

const STATES: [number, number][] = [
  [CtState.Invalid, 1],
  [CtState.New, 2],
  [CtState.Related, 4],
  [CtState.Established, 8],
  [CtState.Untracked, 16],
]

/** Sends the packets; the oracle reads along. Both tell what became of each. */
function run(
  text: string,
  steps: Step[],
  cacheLines: number,
): { told: unknown[]; read: unknown[]; shown: string; expected: string; hits: number } {
  const lab = new Lab({ rules: text, routes: ROUTES, cacheLines, track: true, interfaces: ['eth0', 'eth1'] })
  const model = parseRules(text, { family: 4 })
  const oracle = new Oracle(model)
  const told: unknown[] = []
  const read: unknown[] = []
  // What conntrack says is not in question here: it is listened to.
  let seen = { state: 0, reply: false, tracked: false, ctMark: 0, node: -1 }
  const { conntrack, ip } = lab
  const original = conntrack.in.bind(conntrack)
  conntrack.in = (slot, nowMs) => {
    const result = original(slot, nowMs)
    const row = slot << IP_SHIFT
    const node = ip[row + Ip.Ct]
    const state = STATES.find(([bit]) => bit === ip[row + Ip.CtState])![1]
    const ctMark = node < 0 ? 0 : conntrack.table.words[((node >> 1) << 5) + 9]
    seen = { state, reply: (node & 1) === 1, tracked: node >= 0, ctMark, node }
    return result
  }
  for (const one of steps) {
    lab.nowMs += 10
    const { bytes, known: before } = packetOf(one)
    const sent = lab.send(bytes, { in: before.inIf })
    const ctMark = seen.node < 0 ? 0 : conntrack.table.words[((seen.node >> 1) << 5) + 9]
    const dropped = sent.end === 'filter'
    told.push([
      dropped,
      dropped ? HOOK_NAMES[sent.hook] : '',
      sent.mark,
      dropped ? 0 : sent.bytes[8],
      dropped ? 0 : sent.bytes[1],
      dropped ? 0 : ctMark,
    ])
    const known: Known = { ...before, state: 1, reply: false, tracked: false, ctMark: 0 }
    let at = ''
    for (const hook of ['PREROUTING', 'FORWARD', 'POSTROUTING'] as const) {
      known.outIf = hook === 'PREROUTING' ? '' : one.reply ? 'eth0' : 'eth1'
      const track = (): void => {
        if (hook === 'PREROUTING') Object.assign(known, seen)
      }
      if (oracle.hook(hook, known, track) === 'DROP') {
        at = hook
        break
      }
    }
    const drop = at !== ''
    read.push([
      drop,
      at,
      known.mark | 0,
      drop ? 0 : known.ttl,
      drop ? 0 : known.tos,
      drop ? 0 : known.ctMark | 0,
    ])
  }
  for (const [what, [packets, bytes]] of oracle.hits)
    what.counters = { packets: BigInt(packets), bytes: BigInt(bytes) }
  return {
    told,
    read,
    shown: lab.show(),
    expected: printRules(model, { counters: true }),
    hits: lab.filter.cache.hits,
  }
}

test('the program does what the rules say, cached or not', () => {
  let hits = 0
  fc.assert(
    fc.property(
      fc.boolean().chain(file),
      fc.array(step, { minLength: 40, maxLength: 120 }),
      (text, steps) => {
        const cached = run(text, steps, 64)
        hits += cached.hits
        expect(cached.told).toEqual(cached.read)
        expect(cached.shown).toBe(cached.expected)
        const plain = run(text, steps, 0)
        expect(plain.hits).toBe(0)
        expect(plain.told).toEqual(cached.told)
        expect(plain.shown).toBe(cached.shown)
      },
    ),
    { numRuns: Number(process.env.TAPLOOM_RUNS ?? 150), seed: 1 },
  )
  // The cache was used: else this would say nothing about it.
  expect(hits).toBeGreaterThan(1000)
}, 120_000)
