import { describe, expect, it } from 'vitest'
import type { PortSettings } from '../../src/engine/command.ts'
import { Counter } from '../../src/packet/counters.ts'
import { Drop } from '../../src/packet/drop.ts'
import { Flag, Gso, Offload } from '../../src/packet/layout.ts'
import { OUTBOX, PatchPort } from '../../src/port/patch.ts'
import { settingsOf } from '../support/fabric.ts'
import { BROADCAST, frame, numbered, numberIn } from '../support/frames.ts'
import { Plane } from './plane.ts'
import { tcp4 } from './tcp.ts'

/** Patches switch 0 and 1 by commands, as the control thread does. */
function patch(plane: Plane, a: number, b: number, settings: Partial<PortSettings> = {}): void {
  for (const [index, peer, id] of [
    [a, b, 0],
    [b, a, 1],
  ]) {
    plane.engine.apply({
      op: 'port-add',
      switch: id,
      spec: { type: 'patch', index, name: `p${index}`, peer, mtu: 1500 },
      settings: settingsOf(settings),
    })
  }
}

describe('two patched switches', () => {
  it('are one network: learned, forwarded, flooded', () => {
    const plane = new Plane(2)
    const [a, b, c] = [plane.memory(0), plane.memory(1, 1), plane.memory(2, 1)]
    patch(plane, 10, 11)
    a.inject(frame({ dst: BROADCAST, src: 1 }))
    plane.settle()
    expect([b.sent.length, c.sent.length]).toEqual([1, 1])
    b.inject(frame({ dst: 1, src: 2 }))
    plane.settle()
    a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect([a.sent.length, b.sent.length, c.sent.length]).toEqual([1, 2, 1])
    expect(plane.count(10, Counter.TxPackets)).toBe(2)
    expect(plane.count(11, Counter.RxPackets)).toBe(2)
    expect(plane.count(10, Counter.TxBytes)).toBe(plane.count(11, Counter.RxBytes))
    plane.conserved()
  })

  it('carry tags: pushed, replaced and popped on the way, offsets of offloads with them', () => {
    const plane = new Plane(2)
    const trunk = { mode: 'trunk' as const, allowed: [10, 20] }
    const a = plane.memory(0, 0, { vlan: { mode: 'access', vid: 10 } })
    const b = plane.memory(
      1,
      1,
      { vlan: { mode: 'access', vid: 10 } },
      { offloads: Offload.Csum | Offload.Tso4 },
    )
    const t = plane.memory(2, 1, { vlan: trunk }, { offloads: Offload.Csum | Offload.Tso4 })
    patch(plane, 10, 11, { vlan: { ...trunk, tpid: 0x88a8 } })
    const { bytes, csumStart } = tcp4(3000)
    const about = {
      flags: Flag.CsumPartial,
      csumStart,
      csumOffset: 16,
      gsoType: Gso.Tcp4,
      gsoSize: 1400,
      hdrLen: 54,
    }
    a.inject(bytes, about)
    plane.settle()
    expect(b.sent[0]).toEqual({ bytes, ...about })
    expect(t.sent[0]).toMatchObject({ csumStart: csumStart + 4, hdrLen: 58 })
    const tagged = [...bytes.slice(0, 12), 0x81, 0, 0, 10, ...bytes.slice(12)]
    expect([...t.sent[0].bytes]).toEqual(tagged)
    expect(plane.count(11, Counter.RxSuper)).toBe(1)
    plane.conserved()
  })

  it('share a flooded packet with other ports without changing it', () => {
    const plane = new Plane(2)
    const trunk = { mode: 'trunk' as const, allowed: [10] }
    const a = plane.memory(0, 0, { vlan: { mode: 'access', vid: 10 } })
    patch(plane, 10, 11, { vlan: trunk })
    const after = plane.memory(1, 0, { vlan: { mode: 'access', vid: 10 } })
    const far = plane.memory(2, 1, { vlan: { mode: 'access', vid: 10 } })
    const sent = frame({ dst: BROADCAST, src: 1, payload: numbered(5) })
    a.inject(sent)
    plane.settle()
    expect(after.sent[0].bytes).toEqual(sent)
    expect(far.sent[0].bytes).toEqual(sent)
    plane.conserved()
  })

  it('hold what is on its way, and drop over the bound by name', () => {
    const plane = new Plane(2, 1024)
    const a = plane.memory(0)
    const b = plane.memory(1, 1)
    patch(plane, 10, 11)
    // Only the first switch breathes.
    const { batch, pipeline } = plane.engine
    for (let i = 0; i < 300; i++) a.inject(frame({ dst: 2, src: 1, payload: numbered(i) }))
    for (let i = 0; i < 5; i++) pipeline.run(batch, a, plane.nowMs)
    expect(plane.count(10, Counter.Held)).toBe(OUTBOX)
    expect(plane.drops(10, Drop.QueueFull)).toBe(300 - OUTBOX)
    plane.conserved()
    plane.settle()
    expect(b.sent.map((f) => numberIn(f.bytes))).toEqual([...Array(OUTBOX).keys()])
    expect(plane.count(10, Counter.Held)).toBe(0)
    plane.conserved()
  })

  it('drop by name when the pool is empty', () => {
    const plane = new Plane(2, 100)
    const a = plane.memory(0)
    patch(plane, 10, 11)
    for (let i = 0; i < 64; i++) a.inject(frame({ dst: 2, src: 1 }))
    plane.engine.pipeline.run(plane.engine.batch, a, plane.nowMs)
    expect(plane.count(10, Counter.Held)).toBe(36)
    expect(plane.drops(10, Drop.NoSlot)).toBe(28)
    plane.conserved()
  })

  it('patched twice are a loop that stays bounded, and other ports go on', () => {
    const plane = new Plane(2, 512)
    const [a, b] = [plane.memory(0), plane.memory(1, 1)]
    patch(plane, 10, 11)
    patch(plane, 12, 13)
    for (let i = 0; i < 100; i++) a.inject(frame({ dst: BROADCAST, src: 1 }))
    for (let i = 0; i < 300; i++) {
      plane.step()
      plane.conserved()
      b.sent.length = 0
      a.sent.length = 0
    }
    const held = [10, 11, 12, 13].map((p) => plane.count(p, Counter.Held))
    expect(Math.max(...held)).toBeLessThanOrEqual(OUTBOX)
    expect(held.some((n) => n > 0)).toBe(true)
    b.inject(frame({ dst: BROADCAST, src: 77, payload: numbered(77) }))
    for (let i = 0; i < 50; i++) plane.step()
    expect(plane.count(1, Counter.RxPackets)).toBe(1)
    plane.conserved()
  })

  it('push tags for ever without running out of headroom', () => {
    // Each turn of the loop adds a tag: a tunnel port on one side, a trunk on the other.
    const plane = new Plane(2)
    const a = plane.memory(0, 0, { vlan: { mode: 'tunnel', vid: 10 } })
    const add = (index: number, peer: number, id: number, vlan: PortSettings['vlan']): number =>
      plane.engine.apply({
        op: 'port-add',
        switch: id,
        spec: { type: 'patch', index, name: `p${index}`, peer, mtu: 9000 },
        settings: settingsOf({ vlan, mtu: 9000 }),
      })
    add(10, 11, 0, { mode: 'trunk', allowed: [10], tpid: 0x88a8 })
    add(11, 10, 1, { mode: 'tunnel', vid: 20 })
    add(12, 13, 0, { mode: 'tunnel', vid: 10 })
    add(13, 12, 1, { mode: 'trunk', allowed: [20], tpid: 0x88a8 })
    a.inject(frame({ dst: BROADCAST, src: 1 }))
    for (let i = 0; i < 6000; i++) plane.step()
    plane.conserved()
    // It grew until it was longer than the MTU, and ended there.
    expect(plane.drops(10, Drop.TooBig) + plane.drops(13, Drop.TooBig)).toBeGreaterThan(0)
    expect(plane.drops(10, Drop.Malformed)).toBe(0)
  })

  it('drop by name when an end goes, either end', () => {
    for (const gone of [10, 11]) {
      const plane = new Plane(2)
      const a = plane.memory(0)
      patch(plane, 10, 11)
      for (let i = 0; i < 5; i++) a.inject(frame({ dst: 2, src: 1 }))
      plane.engine.pipeline.run(plane.engine.batch, a, plane.nowMs)
      plane.engine.removePort(gone)
      expect(plane.drops(10, gone === 10 ? Drop.PortRemoved : Drop.PortDown)).toBe(5)
      plane.conserved()
      a.inject(frame({ dst: 2, src: 1 }))
      plane.settle()
      plane.conserved()
      expect(plane.drops(gone === 10 ? 0 : 10, gone === 10 ? Drop.NoEgress : Drop.PortDown)).toBe(
        gone === 10 ? 1 : 6,
      )
    }
  })

  it('join again when an end comes back', () => {
    const plane = new Plane(2)
    const [a, b] = [plane.memory(0), plane.memory(1, 1)]
    patch(plane, 10, 11)
    plane.engine.removePort(11)
    plane.engine.apply({
      op: 'port-add',
      switch: 1,
      spec: { type: 'patch', index: 11, name: 'p11', peer: 10, mtu: 1500 },
      settings: settingsOf(),
    })
    a.inject(frame({ dst: 2, src: 1 }))
    plane.settle()
    expect(b.sent).toHaveLength(1)
    plane.conserved()
  })

  it('cannot be joined with a third, themselves, or a port that is no patch', () => {
    const plane = new Plane(2)
    plane.memory(0)
    patch(plane, 10, 11)
    const third = { type: 'patch' as const, index: 12, name: 'p12', peer: 10, mtu: 1500 }
    const add = (peer: number) => () =>
      plane.engine.apply({ op: 'port-add', switch: 1, spec: { ...third, peer }, settings: settingsOf() })
    expect(add(10)).toThrow(/joined already/)
    expect(add(0)).toThrow(/no patch/)
    const alone = new PatchPort(plane.engine, 20, 'alone', 1500)
    expect(() => alone.join(alone)).toThrow(/joined/)
  })
})
