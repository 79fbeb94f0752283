/**
 * Many packets out of few in one round: the pool bears it, and nothing is lost but by name. A batch of
 * 64 KiB datagrams becomes thousands of fragments, more than there are slots.
 */
import { describe, expect, it } from 'vitest'
import { COUNTER_WORDS, Counter } from '../../src/packet/counters.ts'
import { Flag, Gso } from '../../src/packet/layout.ts'
import { ipv4, tcp, udp } from '../support/frames.ts'
import { HOME, Lab } from './lab.ts'

const HEADER = 20
const ends = (dst: string) => ({ src: '10.0.0.2', dst })

/** A datagram of `size` bytes of payload, whose bytes tell their place. */
function datagram(dst: string, size: number): Uint8Array {
  const payload = Uint8Array.from({ length: size }, (_, i) => (i * 7) ^ (i >> 8))
  return ipv4({ ...ends(dst), ttl: 9, id: 77, protocol: 17, payload: udp(ends(dst), { payload }) })
}

/** The payloads of fragments put together again, by identification, in the order of arrival. */
function whole(frames: Uint8Array[], mtu: number): Uint8Array[] {
  const datagrams: Uint8Array[] = []
  let parts: Uint8Array[] = []
  let at = 0
  for (const frame of frames) {
    const packet = Buffer.from(frame).subarray(14)
    expect(packet.length).toBeLessThanOrEqual(mtu)
    expect((packet.readUInt16BE(6) & 0x1fff) * 8).toBe(at)
    const payload = packet.subarray(HEADER, packet.readUInt16BE(2))
    parts.push(payload)
    at += payload.length
    if ((packet.readUInt16BE(6) & 0x2000) !== 0) continue
    datagrams.push(Buffer.concat(parts))
    parts = []
    at = 0
  }
  expect(parts).toEqual([])
  return datagrams
}

describe.each([1024, 128, 80])('with %d slots', (slots) => {
  it('a batch of datagrams is cut to MTU 68, every byte of it', () => {
    const lab = new Lab(2, { slots, mtus: [1500, 68] })
    lab.meet(0)
    lab.meet(1)
    const packet = datagram('10.0.1.2', 65507)
    for (let i = 0; i < 6; i++) lab.inject(0, packet)
    lab.run()
    const out = lab.out(1)
    expect(out.length).toBe(6 * Math.ceil((65535 - HEADER) / 48))
    const back = whole(out, 68)
    expect(back.length).toBe(6)
    for (const one of back) expect(Buffer.compare(one, packet.subarray(HEADER))).toBe(0)
    expect(lab.drops(0)).toEqual({})
    expect(lab.drops(1)).toEqual({})
    lab.conserved()
  })

  it('to several interfaces at once', () => {
    const lab = new Lab(4, { slots, mtus: [1500, 68, 68, 68] })
    for (let i = 0; i < 4; i++) lab.meet(i)
    for (let i = 0; i < 12; i++) lab.inject(0, datagram(`10.0.${1 + (i % 3)}.2`, 20_000))
    lab.run()
    for (const i of [1, 2, 3]) {
      expect(whole(lab.out(i), 68).length).toBe(4)
      expect(lab.drops(i)).toEqual({})
    }
    lab.conserved()
  })

  it('a super-frame of datagrams becomes datagrams in fragments', () => {
    const lab = new Lab(2, { slots, mtus: [1500, 100] })
    lab.meet(0)
    lab.meet(1)
    const packet = datagram('10.0.1.2', 44 * 1400)
    const csum = { csumStart: 34, csumOffset: 6, flags: Flag.CsumPartial }
    const meta = { gsoType: Gso.Udp, gsoSize: 1400, hdrLen: 42, ...csum }
    for (let i = 0; i < 4; i++) lab.inject(0, packet, meta)
    lab.run()
    const back = whole(lab.out(1), 100)
    expect(back.length).toBe(4 * 44)
    for (const [i, one] of back.entries()) {
      const from = HEADER + 8 + (i % 44) * 1400
      expect(Buffer.compare(one.subarray(8), packet.subarray(from, from + 1400))).toBe(0)
    }
    expect(lab.drops(1)).toEqual({})
    lab.conserved()
  })

  it('what nobody answers for is dropped by name, and others do not suffer', () => {
    const lab = new Lab(3, { slots, mtus: [1500, 68, 1500] })
    lab.meet(0)
    lab.meet(2)
    for (let i = 0; i < 6; i++) {
      lab.inject(0, datagram('10.0.1.2', 65507))
      lab.inject(0, datagram('10.0.2.2', 100))
    }
    lab.run()
    expect(lab.out(2).length).toBe(6)
    const held = lab.engine.memory.counters[HOME * COUNTER_WORDS + Counter.Held]
    expect(held).toBe(Math.min(101, slots >> 2, slots - 64))
    expect(Object.keys(lab.drops(1))).toEqual([slots > 100 ? 'neighbour-queue' : 'no-slot'])
    expect(lab.drops(0)).toEqual({})
    expect(lab.drops(2)).toEqual({})
    lab.conserved()
    lab.run(4000)
    lab.run(4000)
    lab.conserved()
  })
})

it('a super-frame of TCP leaves in segments that fit', () => {
  const lab = new Lab(2, { mtus: [1500, 576] })
  lab.meet(0)
  lab.meet(1)
  const size = 40 * 1448
  const payload = Uint8Array.from({ length: size }, (_, i) => i * 3)
  const segment = tcp(ends('10.0.1.2'), { payload })
  const packet = ipv4({ ...ends('10.0.1.2'), protocol: 6, payload: segment })
  const csum = { csumStart: 34, csumOffset: 16, flags: Flag.CsumPartial }
  const meta = { gsoType: Gso.Tcp4, gsoSize: 1448, hdrLen: 54, ...csum }
  for (let i = 0; i < 3; i++) lab.inject(0, packet, meta)
  lab.run()
  const out = lab.out(1).map((f) => Buffer.from(f).subarray(14))
  expect(out.every((p) => p.readUInt16BE(2) <= 576 && p.length <= 576)).toBe(true)
  const bytes = Buffer.concat(out.map((p) => p.subarray(40, p.readUInt16BE(2))))
  expect(Buffer.compare(bytes, Buffer.concat([payload, payload, payload]))).toBe(0)
  expect(lab.drops(1)).toEqual({})
  lab.conserved()
})
