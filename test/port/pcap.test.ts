import { describe, expect, it } from 'vitest'
import type { PcapFrames } from '../../src/engine/command.ts'
import { Counter } from '../../src/packet/counters.ts'
import { PcapPort } from '../../src/port/pcap.ts'
import { settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame, numbered, numberIn } from '../support/frames.ts'
import { Plane } from './plane.ts'

function framesOf(timesMs: number[]): PcapFrames {
  const frames = timesMs.map((_, i) => frame({ dst: BROADCAST, src: 1, payload: numbered(i, 46 + (i % 7)) }))
  const starts = new Uint32Array(frames.length + 1)
  frames.forEach((f, i) => {
    starts[i + 1] = starts[i] + f.length
  })
  const bytes = new Uint8Array(starts[frames.length])
  for (let i = 0; i < frames.length; i++) bytes.set(frames[i], starts[i])
  return { bytes, starts, timesMs: Float64Array.from(timesMs) }
}

function replay(timesMs: number[], loop: boolean, speed: number) {
  const plane = new Plane()
  const out = plane.memory(1)
  plane.engine.apply({
    op: 'port-add',
    switch: 0,
    spec: { type: 'pcap', index: 0, name: 'file', mtu: 1500, frames: framesOf(timesMs), loop, speed },
    settings: settingsOf(),
  })
  return { plane, out, numbers: () => out.sent.map((f) => numberIn(f.bytes)) }
}

describe('a replayed file', () => {
  it('keeps its times', () => {
    const { plane, out, numbers } = replay([0, 10, 10, 25.5], false, 1)
    const seen: number[] = []
    for (let ms = 0; ms <= 40; ms++) {
      plane.settle()
      seen.push(out.sent.length)
      plane.pass(1)
    }
    expect([seen[0], seen[9], seen[10], seen[25], seen[26], seen[40]]).toEqual([1, 1, 3, 3, 4, 4])
    expect(numbers()).toEqual([0, 1, 2, 3])
    expect(out.sent[3].bytes).toHaveLength(14 + 49)
    plane.conserved()
  })

  it('goes twice as fast, or half', () => {
    for (const [speed, at] of [
      [2, 10],
      [0.5, 40],
    ]) {
      const { plane, out } = replay([0, 20], false, speed)
      plane.settle()
      plane.pass(at - 1)
      expect(out.sent).toHaveLength(1)
      plane.pass(1)
      expect(out.sent).toHaveLength(2)
    }
  })

  it('comes at once, in batches, at speed 0', () => {
    const { plane, numbers } = replay(
      Array.from({ length: 150 }, (_, i) => i * 1000),
      false,
      0,
    )
    plane.step()
    expect(numbers()).toHaveLength(64)
    plane.settle()
    expect(numbers()).toEqual([...Array(150).keys()])
    plane.conserved()
  })

  it('starts again one mean gap after its end', () => {
    const { plane, out, numbers } = replay([0, 10, 20], true, 1)
    plane.settle()
    plane.pass(29)
    expect(out.sent).toHaveLength(3)
    plane.pass(1)
    expect(out.sent).toHaveLength(4)
    plane.pass(270)
    expect(numbers().slice(0, 7)).toEqual([0, 1, 2, 0, 1, 2, 0])
    expect(out.sent).toHaveLength(31)
    plane.conserved()
  })

  it('of one frame, or none, does not run wild', () => {
    const one = replay([0], true, 1)
    one.plane.settle()
    one.plane.pass(2500)
    expect(one.out.sent).toHaveLength(3)
    const none = replay([], true, 0)
    none.plane.pass(10)
    expect(none.out.sent).toHaveLength(0)
  })

  it('counts and forgets what it is sent', () => {
    const plane = new Plane()
    const a = plane.memory(1)
    plane.add(new PcapPort(plane.engine, 0, 'file', 1500, framesOf([]), false, 1))
    a.inject(frame({ dst: BROADCAST, src: 2 }))
    plane.settle()
    expect([plane.count(0, Counter.TxPackets), plane.count(0, Counter.TxBytes)]).toEqual([1, 60])
    plane.conserved()
  })
})
