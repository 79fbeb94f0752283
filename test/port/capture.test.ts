import { describe, expect, it } from 'vitest'
import { Counter } from '../../src/packet/counters.ts'
import { Flag, Gso, Offload } from '../../src/packet/layout.ts'
import { RECORD_BYTES, Rec } from '../../src/packet/record.ts'
import { RingReader, ringMemory } from '../../src/packet/ring.ts'
import { CapturePort } from '../../src/port/capture.ts'
import { FaultPort } from '../../src/port/fault.ts'
import { settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame, numbered } from '../support/frames.ts'
import { Plane } from './plane.ts'
import { tcp4 } from './tcp.ts'

interface Seen {
  port: number
  out: boolean
  seconds: number
  nanos: number
  length: number
  flags: number
  bytes: Uint8Array
  csumStart: number
}

function drain(reader: RingReader): Seen[] {
  const seen: Seen[] = []
  for (let at = reader.next(); at >= 0; at = reader.next()) {
    const w = at >> 2
    const word = (field: number): number => reader.words[w + field]
    const captured = word(Rec.Captured)
    expect(reader.length).toBe(RECORD_BYTES + captured)
    seen.push({
      port: word(Rec.Port),
      out: word(Rec.Direction) === 1,
      seconds: word(Rec.Seconds),
      nanos: word(Rec.Nanos),
      length: word(Rec.Length),
      flags: word(Rec.Flags),
      csumStart: word(Rec.CsumStart),
      bytes: reader.bytes.slice(at + RECORD_BYTES, at + RECORD_BYTES + captured),
    })
    reader.release()
  }
  return seen
}

function capture(plane: Plane, index: number, snapLen = 0, bytes = 1 << 20): RingReader {
  const ring = ringMemory(bytes)
  plane.engine.apply({ op: 'capture', index, ring, snapLen })
  return new RingReader(ring)
}

describe('a captured port', () => {
  it('shows what comes and goes, with time and direction', () => {
    const plane = new Plane()
    const [a, b] = [plane.memory(0), plane.memory(1)]
    const reader = capture(plane, 0)
    const one = frame({ dst: 2, src: 1, payload: numbered(1) })
    const two = frame({ dst: 1, src: 2, payload: numbered(2, 51) })
    a.inject(one)
    plane.settle()
    plane.pass(250)
    b.inject(two)
    plane.settle()
    expect(drain(reader)).toMatchObject([
      { port: 0, out: false, seconds: 1_700_000_001, nanos: 0, length: 60, bytes: one },
      { port: 0, out: true, seconds: 1_700_000_001, nanos: 250_000_000, length: 65, bytes: two },
    ])
    expect(plane.count(0, Counter.Captured)).toBe(2)
    plane.conserved()
  })

  it('shows the tags of its own wire', () => {
    const plane = new Plane()
    const trunk = { mode: 'trunk' as const, allowed: [10], native: 20 }
    const a = plane.memory(0, 0, { vlan: trunk })
    plane.memory(1, 0, { vlan: { mode: 'access', vid: 10 } })
    plane.memory(2, 0, { vlan: { ...trunk, tpid: 0x88a8 } })
    const readers = [0, 1, 2].map((index) => capture(plane, index))
    const parts = { dst: BROADCAST, src: 1, payload: numbered(1, 47) }
    a.inject(frame({ ...parts, tags: [{ vid: 10, pcp: 3 }] }))
    plane.settle()
    const [in0, out1, out2] = readers.map((reader) => drain(reader)[0])
    expect(in0.bytes).toEqual(frame({ ...parts, tags: [{ vid: 10, pcp: 3 }] }))
    expect(out1).toMatchObject({ length: 61, bytes: frame(parts) })
    expect(out2.bytes).toEqual(frame({ ...parts, tags: [{ vid: 10, pcp: 3, tpid: 0x88a8 }] }))
  })

  it('cuts at the snap length, wherever that is', () => {
    for (const snapLen of [1, 11, 12, 13, 15, 16, 17, 60, 64, 65]) {
      const plane = new Plane()
      const a = plane.memory(0, 0, { vlan: { mode: 'access', vid: 10 } })
      plane.memory(1, 0, { vlan: { mode: 'trunk', allowed: [10] } })
      const reader = capture(plane, 1, snapLen)
      a.inject(frame({ dst: 2, src: 1, payload: numbered(1) }))
      plane.settle()
      const whole = frame({ dst: 2, src: 1, tags: [{ vid: 10 }], payload: numbered(1) })
      expect(drain(reader)[0]).toMatchObject({ length: 64, bytes: whole.subarray(0, snapLen) })
    }
  })

  it('shows super-frames whole, and the state of checksums before the port finished them', () => {
    const plane = new Plane()
    const a = plane.memory(0)
    plane.memory(1)
    const reader = capture(plane, 1)
    const { bytes, csumStart } = tcp4(3000)
    a.inject(bytes, { flags: Flag.CsumPartial, csumStart, csumOffset: 16, gsoType: Gso.Tcp4, gsoSize: 1400 })
    plane.settle()
    expect(drain(reader)).toMatchObject([{ length: bytes.length, bytes, flags: Flag.CsumPartial, csumStart }])
  })

  it('loses and counts what the ring has no room for; traffic goes on', () => {
    const plane = new Plane()
    const [a, b] = [plane.memory(0), plane.memory(1)]
    const reader = capture(plane, 0, 0, 4096)
    for (let i = 0; i < 100; i++) a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    const seen = drain(reader).length
    expect(b.sent).toHaveLength(100)
    expect(seen).toBe(plane.count(0, Counter.Captured))
    expect(seen + plane.count(0, Counter.CaptureLost)).toBe(100)
    expect(plane.count(0, Counter.CaptureLost)).toBeGreaterThan(0)
    plane.conserved()
  })

  it('survives changed settings, is taken off, and put on again', () => {
    const plane = new Plane()
    const a = plane.memory(0)
    plane.memory(1)
    const reader = capture(plane, 0)
    plane.engine.apply({ op: 'port-set', index: 0, settings: settingsOf({ mtu: 9000 }) })
    expect(a.mtu).toBe(9000)
    expect(plane.engine.pipeline.portOf[0]?.mtu).toBe(9000)
    a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(drain(reader)).toHaveLength(1)
    // Another one replaces it; the first is told.
    const second = capture(plane, 0)
    expect(reader.ended).toBe(true)
    a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect([drain(reader).length, drain(second).length]).toEqual([0, 1])
    plane.engine.apply({ op: 'capture', index: 0, ring: null, snapLen: 0 })
    expect(plane.engine.pipeline.portOf[0]).toBe(a)
    a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(drain(second)).toHaveLength(0)
    expect(second.ended).toBe(true)
  })

  it('takes its capture with it when it is removed', () => {
    const plane = new Plane()
    plane.memory(0)
    const reader = capture(plane, 0)
    plane.engine.removePort(0)
    expect(reader.ended).toBe(true)
    expect(() => plane.engine.apply({ op: 'capture', index: 0, ring: null, snapLen: 0 })).not.toThrow()
    expect(() => capture(plane, 0)).toThrow(/no port 0/)
  })

  it('stands outside of a bad line: received after its fate, sent before', () => {
    const plane = new Plane()
    const rates = { loss: 1, duplicate: 0, reorder: 0, truncate: 0, delayMs: 0, jitterMs: 0 }
    const bad = plane.faulty(0, { seed: 1, rx: rates, tx: rates })
    const good = plane.memory(1)
    const reader = capture(plane, 0)
    const outer = plane.engine.pipeline.portOf[0] as CapturePort
    expect(outer).toBeInstanceOf(CapturePort)
    expect(outer.inner).toBeInstanceOf(FaultPort)
    expect(outer.timed).toBe(true)
    bad.inject(frame({ dst: 2, src: 1 }))
    good.inject(frame({ dst: 1, src: 2 }))
    plane.settle()
    expect(drain(reader).map((s) => s.out)).toEqual([true])
    expect([bad.sent.length, good.sent.length]).toEqual([0, 0])
    plane.conserved()
  })

  it('is the only one that is wrapped', () => {
    const plane = new Plane()
    plane.memory(0)
    const b = plane.memory(1, 0, {}, { offloads: Offload.Csum })
    capture(plane, 0)
    expect(plane.engine.pipeline.portOf[1]).toBe(b)
  })
})
