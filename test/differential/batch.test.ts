/**
 * What a router makes of packets that come as a batch is what it makes of them one by one: the same frames by each
 * link, the same rule counters, the same connections. A batch goes through PREROUTING, FORWARD and POSTROUTING hook by
 * hook where that is the same (router.ts, enter).
 */
import { describe, expect, test } from 'vitest'
import { networkOf, wordsOfAddress } from '../../src/control/router/addressing.ts'
import { RouteKind, TABLE_MAIN } from '../../src/router/routes.ts'
import type { Sent } from './router/duel.ts'
import { randomPackets, randomRules } from './router/grammar.ts'
import { OurSide } from './router/our-side.ts'
import { udpPacket } from './router/traffic.ts'
import { toRouter, world } from './router/world.ts'

const SETS = Number(process.env.TAPLOOM_DIFFER_SETS ?? 150)
const FIRST_SEED = Number(process.env.TAPLOOM_DIFFER_SEED ?? 1)
const PACKETS = 120
const LONGEST = 16

/** As iptables-save shows tables that nobody has put a rule into. */
const EMPTY = `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
`

/** Rules that PREROUTING and POSTROUTING have none of but nat's, and that do not look at the time or at chance. */
function plainRules(seed: number, family: 4 | 6): string {
  const sections = randomRules(seed, family).match(/^\*(filter|nat|security)\n[\s\S]*?^COMMIT$/gm) ?? []
  const lines = sections.join('\n').split('\n')
  const text = `${lines.filter((line) => !/-m (limit|hashlimit|recent)|--mode random/.test(line)).join('\n')}\n`
  return seed % 2 === 0 ? text : text + EMPTY
}

interface Told {
  frames: string[][]
  rules: string
  connections: string[]
}

/** A frame, but for the identification of ICMP messages that we make: they are numbered by destination and time. */
function told(frame: Uint8Array): string {
  const bytes = Buffer.from(frame)
  if (bytes[14] >> 4 === 4 && bytes[23] === 1) for (const at of [18, 24]) bytes.writeUInt16BE(0, at)
  return bytes.toString('hex')
}

function through(family: 4 | 6, rules: string, batches: Sent[][]): Told {
  const side = new OurSide(world())
  try {
    side.load({ [family]: rules })
    const frames: string[][] = [[], [], []]
    for (const batch of batches) {
      const out = side.sendAll(
        batch[0].link,
        batch.map(({ dst, link, packet }) => toRouter(link, packet, dst)),
      )
      out.forEach((list, link) => {
        frames[link].push(...list.map(told))
      })
    }
    expect(side.balance()).toBe(0)
    const connections = side.connections().map((line) => line.replace(/^(\S+ +\d+) \d+/, '$1'))
    // Errors are sent before what waits for its turn, and everything else in its order.
    return {
      frames: frames.map((list) => list.sort()),
      rules: side.rules(family),
      connections: connections.sort(),
    }
  } finally {
    side.close()
  }
}

/** Packets in a row that come by one link, some at a time. */
function together(packets: Sent[]): Sent[][] {
  const batches: Sent[][] = []
  for (const packet of packets) {
    const last = batches.at(-1)
    if (last && last[0].link === packet.link && last.length < LONGEST) last.push(packet)
    else batches.push([packet])
  }
  return batches
}

test('a batch of a masqueraded flow that must leave elsewhere: none of it gets out untranslated', () => {
  const side = new OurSide(world())
  try {
    side.load({ 4: '*nat\n-A POSTROUTING -o wan -j MASQUERADE\nCOMMIT\n' })
    const flow = { src: '10.0.0.2', dst: '192.0.2.9', sport: 4000, dport: 53 }
    const batch = (n: number) => Array.from({ length: n }, () => toRouter(0, udpPacket(flow)))
    const left = (n: number): number[] => side.sendAll(0, batch(n)).map((frames) => frames.length)
    expect([left(1), left(4)]).toEqual([
      [0, 1, 0],
      [0, 4, 0],
    ])
    const hops = [{ outIf: 2, gateway: wordsOfAddress('10.0.2.2'), weight: 1 }]
    const route = { ...networkOf('192.0.2.9/32'), table: TABLE_MAIN, metric: 0, src: null, hops }
    side.writer.add({ ...route, kind: RouteKind.Unicast })
    expect(left(3)).toEqual([0, 0, 0])
    expect(side.drops()).toEqual({ 'nat-moved': 3 })
    expect([left(2), side.balance()]).toEqual([[0, 0, 2], 0])
  } finally {
    side.close()
  }
})

describe.each([4, 6] as const)('IPv%i: a batch', (family) => {
  test('is as good as one by one', () => {
    let drawn = 0
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SETS; seed++) {
      const rules = plainRules(seed, family)
      // Answers follow at once: only questions, and all of one link's, make long batches.
      const packets = randomPackets(seed, family, PACKETS).sort((a, b) => a.link - b.link)
      const alone = packets.map((packet) => [packet])
      const one = through(family, rules, alone)
      const many = through(family, rules, together(packets))
      if (JSON.stringify(many) === JSON.stringify(one)) continue
      // Where NAT draws a port, no two runs are alike.
      if (JSON.stringify(one) !== JSON.stringify(through(family, rules, alone))) drawn++
      else expect(many, `seed ${seed}\n${rules}`).toEqual(one)
    }
    expect(drawn).toBeLessThan(Math.max(3, SETS / 4))
  }, 300_000)
})
