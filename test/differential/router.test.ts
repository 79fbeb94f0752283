/**
 * The same rules and the same packets through the kernel's router and ours: the same frames out, byte for byte,
 * by the same links, the same ICMP errors and resets, the same rule counters (`iptables-save -c` against
 * `show rules`), the same connections (`conntrack -L`).
 *
 *     test --frame--> TAPs  [namespace: the kernel, iptables-legacy]    TAPs --> frames     kernel-side.ts
 *     test --frame--> memory ports  [engine: router, filter]    memory ports --> frames     our-side.ts
 *
 * Rule sets and packets: rule-sets.ts and odd.ts by hand, grammar.ts from seeds. What is taken out before the
 * comparison stands in duel.ts, how the kernel is set up in kernel-side.ts, and where we differ on purpose in
 * differs.ts: each of these is tried too, and fails when it no longer differs.
 *
 * Where NAT has to draw a port, both do, and the rule set ends there (Outcome.drawn).
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lacking } from '../support/netlab.ts'
import { DIFFERENCES } from './router/differs.ts'
import { randomPackets, randomRules } from './router/grammar.ts'
import { KernelSide, unasked } from './router/kernel-side.ts'
import { CASES } from './router/rule-sets.ts'
import { compareRuleSet } from './router/run.ts'
import { world } from './router/world.ts'

/** More, from another seed: TAPLOOM_DIFFER_SETS=1000 TAPLOOM_DIFFER_SEED=5000. */
const SETS = Number(process.env.TAPLOOM_DIFFER_SETS ?? 150)
const FIRST_SEED = Number(process.env.TAPLOOM_DIFFER_SEED ?? 1)
const PACKETS = 120

test("what is left out of the kernel's frames is ICMPv6, not a port that looks like its type", () => {
  const frame = (nextHeader: number, ...behind: number[]): Uint8Array => {
    const f = new Uint8Array(14 + 40 + 16)
    f.set([0x86, 0xdd, 0x60], 12)
    f[20] = nextHeader
    f.set(behind, 54)
    return f
  }
  const options = (protocol: number, first: number): Uint8Array =>
    frame(0, protocol, 0, 1, 4, 0, 0, 0, 0, first)
  for (const type of [133, 143]) {
    expect(unasked(frame(58, type))).toBe(true)
    expect(unasked(options(58, type))).toBe(true)
    // A port that NAT drew: 0x8500 to 0x85ff, 0x8f00 to 0x8fff.
    expect(unasked(options(17, type))).toBe(false)
    expect(unasked(frame(17, type))).toBe(false)
  }
  expect(unasked(frame(58, 135))).toBe(false)
})

describe.skipIf(lacking)(`the router against the kernel's${lacking ? ` (${lacking})` : ''}`, () => {
  const standard = world()
  let kernel: KernelSide

  beforeAll(() => {
    kernel = new KernelSide(standard)
    kernel.settle()
  }, 60_000)
  afterAll(() => kernel?.close())

  test.each(CASES.map((c) => [c.name, c] as const))(
    '%s',
    (_, { bits, family, names, nets, packets, rules, sets, world: other }) => {
      const own = names ? world(names, nets, bits) : other ? other() : standard
      const side = own === standard ? kernel : new KernelSide(own)
      try {
        if (own !== standard) side.settle()
        const { came, differences, sent } = compareRuleSet(side, own, {
          family,
          rules,
          sets,
          packets: packets(),
        })
        expect(differences.join('\n')).toBe('')
        expect(sent).toBeGreaterThan(7)
        expect(came).toBeGreaterThan(3)
      } finally {
        if (own !== standard) side.close()
      }
    },
    60_000,
  )

  for (const family of [4, 6] as const) {
    test(`${SETS} random rule sets, IPv${family}`, () => {
      let drawn = 0
      for (let i = 0; i < SETS; i++) {
        const seed = FIRST_SEED + i
        const rules = randomRules(seed, family)
        const outcome = compareRuleSet(kernel, standard, {
          family,
          rules,
          packets: randomPackets(seed, family, PACKETS),
        })
        if (outcome.drawn) drawn++
        expect(outcome.differences.join('\n'), `seed ${seed}\n${rules}`).toBe('')
      }
      expect(drawn).toBeLessThan(Math.max(3, SETS / 4))
    }, 300_000)
  }

  test.each(DIFFERENCES.map((d) => [d.what, d.family, d] as const))(
    'on purpose: %s, IPv%i',
    (_, family, { packets, rules }) => {
      const { differences } = compareRuleSet(kernel, standard, { family, rules, packets: packets() })
      expect(differences).not.toEqual([])
    },
  )
})
