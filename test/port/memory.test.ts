import { describe, expect, it } from 'vitest'
import { native } from '../../src/native.ts'
import { Counter } from '../../src/packet/counters.ts'
import { Drop } from '../../src/packet/drop.ts'
import { Flag, Gso, MAX_FRAME, Offload } from '../../src/packet/layout.ts'
import { LoopPort } from '../../src/port/loop.ts'
import { BROADCAST, frame, numbered, numberIn } from '../support/frames.ts'
import { Plane } from './plane.ts'
import { tcp4 } from './tcp.ts'

describe('a memory port', () => {
  it('learns and forwards: batches of 1, 2, 64, 65 and 257', () => {
    for (const count of [1, 2, 64, 65, 257]) {
      const plane = new Plane()
      const [a, b] = [plane.memory(0), plane.memory(1)]
      for (let i = 0; i < count; i++) a.inject(frame({ dst: 2, src: 1, payload: numbered(i) }))
      plane.settle()
      expect(b.sent.map((f) => numberIn(f.bytes))).toEqual([...Array(count).keys()])
      plane.conserved()
    }
  })

  it('sends what the wire carries: tag popped, pushed, replaced', () => {
    const plane = new Plane()
    const trunk = { mode: 'trunk' as const, allowed: [10, 20], native: 20 }
    const a = plane.memory(0, 0, { vlan: trunk })
    const b = plane.memory(1, 0, { vlan: { mode: 'access', vid: 10 } })
    const c = plane.memory(2, 0, { vlan: { ...trunk, tpid: 0x88a8 } })
    a.inject(frame({ dst: BROADCAST, src: 1, tags: [{ vid: 10, pcp: 5 }], payload: numbered(7, 50) }))
    b.inject(frame({ dst: BROADCAST, src: 2, payload: numbered(8) }))
    plane.settle()
    expect(b.sent[0].bytes).toEqual(frame({ dst: BROADCAST, src: 1, payload: numbered(7, 50) }))
    expect(c.sent[0].bytes).toEqual(
      frame({ dst: BROADCAST, src: 1, tags: [{ vid: 10, pcp: 5, tpid: 0x88a8 }], payload: numbered(7, 50) }),
    )
    expect(a.sent[0].bytes).toEqual(
      frame({ dst: BROADCAST, src: 2, tags: [{ vid: 10 }], payload: numbered(8) }),
    )
    plane.conserved()
  })

  it('finishes a partial checksum on a plain wire, keeps it where the port takes it', () => {
    const plane = new Plane()
    const a = plane.memory(0)
    const plain = plane.memory(1)
    const smart = plane.memory(2, 0, {}, { offloads: Offload.Csum })
    const { bytes, csumStart } = tcp4(100)
    const meta = { flags: Flag.CsumPartial, csumStart, csumOffset: 16 }
    a.inject(bytes, meta)
    plane.settle()
    const finished = bytes.slice()
    expect(native.finishChecksum(finished, csumStart, 16)).toBe(true)
    expect(plain.sent[0]).toMatchObject({ bytes: finished, flags: 0 })
    expect(smart.sent[0]).toMatchObject({ bytes, ...meta })
    plane.conserved()
  })

  it('segments a super-frame on a plain wire, tag and all, and keeps it where the port takes it', () => {
    const plane = new Plane()
    const vlan = { mode: 'trunk' as const, allowed: [10] }
    const a = plane.memory(0, 0, { vlan: { mode: 'access', vid: 10 } })
    const plain = plane.memory(1, 0, { vlan })
    const smart = plane.memory(2, 0, { vlan }, { offloads: Offload.Csum | Offload.Tso4 })
    const { bytes, csumStart } = tcp4(3000)
    const about = { csumStart, csumOffset: 16, gsoType: Gso.Tcp4, gsoSize: 1400, hdrLen: 54 }
    a.inject(bytes, { flags: Flag.CsumPartial, ...about })
    plane.settle()
    expect(plain.sent.map((f) => f.bytes.length)).toEqual([58 + 1400, 58 + 1400, 58 + 200])
    expect(plain.sent.every((f) => f.bytes[12] === 0x81 && f.bytes[15] === 10)).toBe(true)
    expect(smart.sent).toHaveLength(1)
    expect(smart.sent[0]).toMatchObject({ csumStart: csumStart + 4, gsoSize: 1400, hdrLen: 58 })
    expect(plane.count(0, Counter.RxSuper)).toBe(1)
    expect(plane.count(1, Counter.TxPackets)).toBe(1)
    plane.conserved()
  })

  it('drops by name what does not add up, and what nobody takes out', () => {
    const plane = new Plane()
    const a = plane.memory(0)
    const b = plane.memory(1, 0, {}, { limit: 2 })
    // A super-frame that is none.
    a.inject(frame({ dst: 2, src: 1 }), {
      flags: Flag.CsumPartial,
      csumStart: 34,
      csumOffset: 16,
      gsoType: Gso.Tcp4,
      gsoSize: 10,
    })
    // A checksum outside of its frame.
    a.inject(frame({ dst: 2, src: 1 }), { flags: Flag.CsumPartial, csumStart: 50, csumOffset: 16 })
    for (let i = 0; i < 5; i++) a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(plane.drops(1, Drop.Malformed)).toBe(1)
    expect(plane.drops(0, Drop.Runt)).toBe(1)
    expect(b.sent).toHaveLength(2)
    expect(plane.drops(1, Drop.NoRoom)).toBe(3)
    plane.conserved()
  })

  it('takes no more than its limit, nor frames longer than a slot, nor any after it closed', () => {
    const plane = new Plane()
    const a = plane.memory(0, 0, {}, { limit: 2 })
    expect([1, 2, 3].map(() => a.inject(frame({ dst: 2, src: 1 })))).toEqual([true, true, false])
    expect(() => a.inject(new Uint8Array(MAX_FRAME + 1))).toThrow(RangeError)
    plane.engine.removePort(0)
    expect(a.inject(frame({ dst: 2, src: 1 }))).toBe(false)
    plane.settle()
    plane.conserved()
  })

  it('calls back instead of keeping', () => {
    const plane = new Plane()
    const seen: number[] = []
    const a = plane.memory(0)
    const b = plane.memory(1, 0, {}, { onSent: (f) => seen.push(f.bytes.length) })
    a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(seen).toEqual([60])
    expect(b.sent).toEqual([])
  })
})

describe('a loop port', () => {
  it('receives its templates over and over, and counts what it is sent', () => {
    const plane = new Plane()
    const frames = [frame({ dst: 9, src: 1, size: 46 }), frame({ dst: 9, src: 2, size: 101 })]
    const source = plane.add(new LoopPort(plane.engine, 0, 'source', frames))
    const sink = plane.add(new LoopPort(plane.engine, 1, 'sink', []))
    const watch = plane.memory(2)
    source.start(1001)
    sink.start(5)
    plane.settle()
    expect(plane.count(0, Counter.RxPackets)).toBe(1001)
    expect(plane.count(1, Counter.TxPackets)).toBe(1001)
    expect(plane.count(1, Counter.TxBytes)).toBe(501 * 60 + 500 * 115)
    expect(watch.sent.slice(0, 3).map((f) => f.bytes)).toEqual([frames[0], frames[1], frames[0]])
    plane.conserved()
  })
})
