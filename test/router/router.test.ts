/** The router as a whole, on memory ports with a manual clock. */
import { describe, expect, it } from 'vitest'
import { IfFlag } from '../../src/router/interfaces.ts'
import { RouteKind, TABLE_MAIN } from '../../src/router/routes.ts'
import { icmp, ipv4, udp } from '../support/frames.ts'
import { Lab } from './lab.ts'

const packet = (dst: string, ttl = 64, src = '10.0.0.2') =>
  ipv4({ src, dst, ttl, protocol: 17, payload: udp({ src, dst }, { payload: Buffer.alloc(20) }) })

describe('a router', () => {
  it('asks for the next hop, keeps the packet, and sends it when the answer comes', () => {
    const lab = new Lab(2)
    lab.meet(0)
    lab.send(0, packet('10.0.1.2'))
    const [request, ...more] = lab.out(1)
    expect(more).toEqual([])
    expect(Buffer.from(request).readUInt16BE(12)).toBe(0x0806)
    lab.conserved()
    lab.meet(1)
    lab.conserved()
    lab.send(0, packet('10.0.1.2'))
    const [frame] = lab.out(1)
    expect(Buffer.from(frame.subarray(0, 6)).toString('hex')).toBe('020000000102')
    expect(frame[22]).toBe(63)
    lab.conserved()
  })

  it('answers an echo request', () => {
    const lab = new Lab(1)
    lab.meet(0)
    lab.send(
      0,
      ipv4({
        src: '10.0.0.2',
        dst: '10.0.0.1',
        protocol: 1,
        payload: icmp({ type: 8, payload: Buffer.alloc(8) }),
      }),
    )
    const [reply] = lab.out(0)
    expect(reply[34]).toBe(0)
    expect([...reply.subarray(26, 34)]).toEqual([10, 0, 0, 1, 10, 0, 0, 2])
    lab.conserved()
  })

  it.each([
    ['a time to live that ends', packet('10.0.1.2', 1), 11, 0, 'ttl-exceeded'],
    ['no route', packet('192.0.2.1'), 3, 0, 'no-route'],
    ['a closed port of its own', packet('10.0.1.1'), 3, 3, 'no-listener'],
  ])('tells the sender of %s', (_what, bytes, type, code, reason) => {
    const lab = new Lab(2)
    lab.meet(0)
    lab.send(0, bytes)
    const [error] = lab.out(0)
    expect([error[34], error[35]]).toEqual([type, code])
    expect([...error.subarray(42, 62)]).toEqual([...bytes.subarray(0, 20)])
    expect(lab.drops(0)[reason]).toBe(1)
    lab.conserved()
  })

  it('drops martians and broken headers, silently and by name', () => {
    const lab = new Lab(2)
    lab.meet(0)
    lab.send(0, packet('10.0.1.2', 64, '127.0.0.1'))
    const broken = packet('10.0.1.2')
    broken[10] ^= 0xff
    lab.send(0, broken)
    lab.send(0, packet('10.0.1.2').subarray(0, 24))
    expect(lab.drops(0)).toMatchObject({ martian: 1, 'ip-checksum': 1, 'ip-malformed': 1 })
    expect(lab.out(0)).toEqual([])
    lab.conserved()
  })

  it('strict reverse-path filtering refuses a source from elsewhere', () => {
    const lab = new Lab(2, { flags: IfFlag.RpStrict })
    lab.meet(0)
    lab.send(0, packet('10.0.1.2', 64, '10.0.1.7'))
    expect(lab.drops(0)['reverse-path']).toBe(1)
    lab.conserved()
  })

  it('spreads flows over equal-cost paths, each flow on one', () => {
    const lab = new Lab(3)
    for (const i of [0, 1, 2]) lab.meet(i)
    const hop = (i: number) => ({ outIf: i, gateway: [(10 << 24) | (i << 8) | 2], weight: 1 })
    const base = {
      family: 4 as const,
      address: [0],
      length: 0,
      table: TABLE_MAIN,
      kind: RouteKind.Unicast,
      metric: 0,
      src: null,
    }
    lab.writer.add({ ...base, hops: [hop(1), hop(2)] })
    for (let i = 0; i < 200; i++) lab.send(0, packet(`198.51.${i}.7`))
    const [one, two] = [lab.out(1).length, lab.out(2).length]
    expect(one + two).toBe(200)
    expect(Math.min(one, two)).toBeGreaterThan(50)
    for (let i = 0; i < 10; i++) lab.send(0, packet('198.51.100.7'))
    expect([0, 10]).toContain(lab.out(1).length)
    lab.conserved()
  })

  it('changes a route while packets flow: the metric decides', () => {
    const lab = new Lab(3)
    for (const i of [0, 1, 2]) lab.meet(i)
    const base = {
      family: 4 as const,
      address: [(203 << 24) | (0 << 16) | (113 << 8)],
      length: 24,
      table: TABLE_MAIN,
      kind: RouteKind.Unicast,
      src: null,
    }
    const via = (i: number) => [{ outIf: i, gateway: [(10 << 24) | (i << 8) | 2], weight: 1 }]
    lab.writer.add({ ...base, metric: 20, hops: via(1) })
    lab.send(0, packet('203.0.113.5'))
    lab.writer.add({ ...base, metric: 10, hops: via(2) })
    lab.send(0, packet('203.0.113.5'))
    lab.writer.remove(base, (e) => e.metric === 10)
    lab.send(0, packet('203.0.113.5'))
    expect([lab.out(1).length, lab.out(2).length]).toEqual([2, 1])
    lab.conserved()
  })
})
