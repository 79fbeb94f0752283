/** The engine against the textbook: same settings, same frames, same outputs, drops and addresses. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PortSettings } from '../../src/engine/command.ts'
import { BATCH } from '../../src/packet/layout.ts'
import { fabricOf } from '../support/fabric.ts'
import { OracleSwitch } from '../support/oracle.ts'
import type { Injected } from '../support/port.ts'
import { packet, settings, withStatics } from '../support/traffic.ts'

type Step =
  | { do: 'send'; port: number; packets: Injected[] }
  /** Whole seconds: addresses past their time then leave the table at once, and limits see it. */
  | { do: 'wait'; seconds: number }
  | { do: 'set'; port: number; settings: PortSettings }

const PORTS = 5

type Scenario = ReturnType<typeof scenario> extends fc.Arbitrary<infer S> ? S : never

function scenario(aware: boolean, maxPackets: number) {
  const port = fc.nat(PORTS - 1)
  const send = fc.record({
    do: fc.constant('send' as const),
    port,
    packets: fc.array(packet, { minLength: 1, maxLength: maxPackets }),
  })
  const wait = fc.record({ do: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 7 }) })
  const set = fc.record({ do: fc.constant('set' as const), port, settings: settings(aware) })
  return fc.record({
    ports: fc.array(settings(aware), { minLength: PORTS, maxLength: PORTS }),
    statics: fc.array(fc.nat(2), { minLength: PORTS, maxLength: PORTS }),
    agingS: fc.constantFrom(0, 5, 300),
    reservedOpen: fc.nat(0xffff),
    seed: fc.integer(),
    steps: fc.array(
      fc.oneof({ weight: 8, arbitrary: send }, { weight: 2, arbitrary: wait }, { weight: 1, arbitrary: set }),
      { minLength: 1, maxLength: 20 },
    ),
  })
}

function compare(aware: boolean, given: Scenario): void {
  const { agingS, reservedOpen, seed } = given
  const all = withStatics(given.ports, aware, given.statics)
  const names = all.map((_, i) => `p${i}`)
  const lab = fabricOf(Object.fromEntries(all.map((s, i) => [names[i], s])), {
    agingS,
    reservedOpen,
    seed,
    slots: 80,
  })
  const model = new OracleSwitch()
  model.agingS = agingS
  model.reservedOpen = reservedOpen
  all.forEach((s, i) => {
    model.add(names[i], s)
  })
  try {
    for (const step of given.steps as Step[]) {
      if (step.do === 'wait') {
        lab.seconds(step.seconds)
        lab.run()
      } else if (step.do === 'set') {
        const next = { ...step.settings, statics: all[step.port].statics }
        lab.set(names[step.port], next)
        model.set(names[step.port], next)
      } else {
        for (const { frame, ...offloads } of step.packets) lab.port(names[step.port]).inject(frame, offloads)
        lab.run()
        for (let i = 0; i < step.packets.length; i += BATCH) {
          model.receive(names[step.port], step.packets.slice(i, i + BATCH), lab.nowMs)
        }
      }
      for (const name of names) {
        const hex = (frames: Uint8Array[]): string[] => frames.map((f) => Buffer.from(f).toString('hex'))
        expect(hex(lab.out(name))).toEqual(hex(model.sent.get(name)!.splice(0)))
        const drops = [...model.drops].filter(([key]) => key.startsWith(`${name} `))
        expect(lab.drops(name)).toEqual(
          Object.fromEntries(drops.map(([key, n]) => [key.slice(name.length + 1), n])),
        )
      }
      expect(lab.addresses()).toEqual(model.addresses(Math.floor(lab.nowMs / 1000)))
    }
  } finally {
    lab.close()
  }
}

describe('the engine does what the textbook says', () => {
  test('in a switch without VLANs', () => {
    fc.assert(
      fc.property(scenario(false, 10), (s) => compare(false, s)),
      { numRuns: 250 },
    )
  })
  test('in a switch with VLANs', () => {
    fc.assert(
      fc.property(scenario(true, 10), (s) => compare(true, s)),
      { numRuns: 500 },
    )
  })
  test('for more frames than a batch', () => {
    fc.assert(
      fc.property(scenario(true, 150), (s) => compare(true, s)),
      { numRuns: 30 },
    )
  })
})
