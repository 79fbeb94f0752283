/** Packets that wait for a function: every way they can end, with a clock moved by hand. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { QueueDecision } from '../../src/control/router/packet-queue.ts'
import { icmp, ipv4, onesSum, pseudoHeader, udp } from '../support/frames.ts'
import { RouterLab } from './router-lab.ts'

const FORWARD = '*filter\n-A FORWARD -p udp -j NFQUEUE --queue-num 7\nCOMMIT\n'
const src = '10.0.0.2'
const dst = '10.0.1.2'
const packet = (more: object = {}, payload = Buffer.alloc(20, 1)): Uint8Array =>
  ipv4({ src, dst, protocol: 17, payload: udp({ src, dst }, { payload }), ...more })
/** Answers by hand, in the order of the packets. */
function byHand(): { fn: () => Promise<QueueDecision>; answers: ((d: QueueDecision) => void)[] } {
  const answers: ((d: QueueDecision) => void)[] = []
  return { answers, fn: () => new Promise((resolve) => answers.push(resolve)) }
}

describe('a queue', () => {
  it('keeps the packet until the function has answered, in any order', async () => {
    const lab = new RouterLab(2, FORWARD)
    const { answers, fn } = byHand()
    await lab.desk.register(7, fn)
    lab.send(0, packet({ id: 1 }))
    lab.send(0, packet({ id: 2 }))
    await lab.turn()
    expect([answers.length, lab.held, lab.out(1)]).toEqual([2, 2, []])
    lab.conserved()
    answers[1]('accept')
    await lab.turn()
    expect(lab.out(1).map((p) => p.readUInt16BE(4))).toEqual([2])
    answers[0]('drop')
    await lab.turn()
    expect([lab.held, lab.out(1), lab.drops()]).toEqual([0, [], { 'queue-verdict': 1 }])
    lab.conserved()
  })

  it('the time is over exactly then; a late answer changes nothing', async () => {
    const lab = new RouterLab(2, FORWARD)
    const { answers, fn } = byHand()
    const queue = await lab.desk.register(7, fn, { timeoutMs: 500 })
    lab.send(0, packet())
    await lab.turn(498)
    expect(lab.drops()).toEqual({})
    lab.run(1)
    expect([lab.drops(), lab.held]).toEqual([{ 'queue-timeout': 1 }, 0])
    answers[0]('accept')
    await lab.turn()
    expect(lab.out(1)).toEqual([])
    expect(queue.stats()).toEqual({ queued: 1, answered: 0, timedOut: 1, full: 0 })
    lab.conserved()
  })

  it('accepts by default when told so: behind the table, not out of the router', async () => {
    const rules =
      '*mangle\n-A FORWARD -j NFQUEUE --queue-num 7\nCOMMIT\n*filter\n-A FORWARD -m ttl --ttl-eq 9 -j DROP\nCOMMIT\n'
    const lab = new RouterLab(2, rules)
    await lab.desk.register(7, byHand().fn, { timeoutMs: 10, verdict: 'accept' })
    lab.send(0, packet())
    lab.send(0, packet({ ttl: 10 }))
    await lab.turn(20)
    await lab.turn(1)
    expect([lab.out(1).length, lab.drops()]).toEqual([1, { filter: 1 }])
    lab.conserved()
  })

  it('as many wait as may; the rest has the verdict of the queue', async () => {
    const lab = new RouterLab(2, FORWARD)
    const queue = await lab.desk.register(7, byHand().fn, { length: 3 })
    for (let i = 0; i < 5; i++) lab.send(0, packet())
    expect([lab.held, lab.drops()]).toEqual([3, { 'queue-full': 2 }])
    lab.conserved()
    const open = new RouterLab(2, FORWARD)
    await open.desk.register(7, byHand().fn, { length: 1, verdict: 'accept' })
    for (let i = 0; i < 3; i++) open.send(0, packet())
    expect([open.held, open.out(1).length, open.drops()]).toEqual([1, 2, {}])
    expect(queue.stats().full).toBe(2)
  })

  it('never more than a quarter of the pool, however many come', async () => {
    const lab = new RouterLab(2, FORWARD)
    await lab.desk.register(7, byHand().fn, { length: 256 })
    for (let i = 0; i < 100; i++) lab.send(0, packet())
    expect([lab.held, lab.drops()]).toEqual([64, { 'queue-full': 36 }])
    lab.conserved()
  })

  it('close gives what waits the verdict at once', async () => {
    const lab = new RouterLab(2, FORWARD)
    const queue = await lab.desk.register(7, byHand().fn)
    lab.send(0, packet())
    await queue.close()
    lab.run()
    expect([lab.held, lab.drops()]).toEqual([0, { 'queue-timeout': 1 }])
    lab.send(0, packet())
    expect(lab.drops()).toEqual({ 'queue-timeout': 1, 'queue-nobody': 1 })
    lab.conserved()
  })

  it('new bytes: lengths and checksums put right, the mark kept, garbage dropped by name', async () => {
    const lab = new RouterLab(2, FORWARD)
    const told: Buffer[] = []
    const answers: QueueDecision[] = [
      { verdict: 'accept', packet: packet({ ttl: 33 }, Buffer.alloc(301, 9)) },
      { verdict: 'accept', packet: Buffer.from('not a packet') },
      'nonsense' as QueueDecision,
    ]
    await lab.desk.register(7, ({ packet }) => {
      told.push(packet)
      return answers.shift()!
    })
    lab.send(0, packet())
    await lab.turn()
    const [sent] = lab.out(1)
    expect([sent.length, sent.readUInt16BE(2), sent[8], sent.readUInt16BE(24)]).toEqual([329, 329, 33, 309])
    expect(onesSum(sent.subarray(0, 20))).toBe(0xffff)
    expect(onesSum(sent.subarray(20), pseudoHeader(src, dst, 17, 309))).toBe(0xffff)
    for (let i = 0; i < 2; i++) {
      lab.send(0, packet())
      await lab.turn()
    }
    expect(lab.out(1)).toEqual([])
    expect(lab.drops()).toEqual({ 'queue-verdict': 2 })
    expect(lab.errors[0]).toBe('the bytes are no IPv4 packet')
    lab.conserved()
  })

  it('a function that takes part of a packet cannot change it', async () => {
    const lab = new RouterLab(2, FORWARD)
    await lab.desk.register(7, ({ packet: p }) => ({ verdict: 'accept', packet: p }), { bytes: 28 })
    lab.send(0, packet())
    await lab.turn()
    expect(lab.errors).toEqual(['the packet was not copied whole (`bytes`), so it cannot be changed'])
    expect(lab.drops()).toEqual({ 'queue-verdict': 1 })
  })

  it('a connection that is deleted meanwhile takes its packet with it', async () => {
    const rules =
      '*filter\n-A FORWARD -p udp -m conntrack --ctstate ESTABLISHED -j NFQUEUE --queue-num 7\nCOMMIT\n'
    const lab = new RouterLab(2, rules)
    const { answers, fn } = byHand()
    await lab.desk.register(7, fn)
    const ends = { src: dst, dst: src }
    lab.send(0, packet())
    lab.send(1, ipv4({ ...ends, protocol: 17, payload: udp(ends, { srcPort: 2000, dstPort: 1000 }) }))
    await lab.turn()
    expect(lab.held).toBe(1)
    expect(lab.engine.apply({ op: 'conntrack-remove', id: 0, filter: {} })).toBe(1)
    answers[0]('accept')
    await lab.turn()
    expect([lab.out(0), lab.drops()]).toEqual([[], { 'queue-gone': 1 }])
    lab.conserved()
  })

  it('the numbers of balanced queues are those of the rule, both ways of a flow in one', async () => {
    const lab = new RouterLab(2, '*filter\n-A FORWARD -j NFQUEUE --queue-balance 3:6\nCOMMIT\n')
    const asked: number[] = []
    for (const number of [3, 4, 5, 6]) {
      await lab.desk.register(number, ({ queue }) => {
        asked.push(queue)
        return 'accept'
      })
    }
    lab.send(0, packet())
    await lab.turn()
    const ends = { src: dst, dst: src }
    lab.send(1, ipv4({ ...ends, protocol: 17, payload: udp(ends, { payload: Buffer.alloc(8) }) }))
    await lab.turn()
    expect(asked.length).toBe(2)
    expect(new Set(asked).size).toBe(1)
  })

  it('wrong options are refused', async () => {
    const lab = new RouterLab(1, FORWARD)
    const accept = (): QueueDecision => 'accept'
    await lab.desk.register(7, accept)
    await expect(lab.desk.register(7, accept)).rejects.toThrow('queue 7 has a function already')
    await expect(lab.desk.register(8, accept, { timeoutMs: 0 })).rejects.toThrow(
      'timeoutMs is a whole number from 1 to 30000, not 0',
    )
    await expect(lab.desk.register(65536, accept)).rejects.toThrow('0 to 65535')
    await expect(lab.desk.register(9, accept, { verdict: 'maybe' as 'drop' })).rejects.toThrow(
      'accept or drop',
    )
  })
})

const decision = fc.constantFrom<QueueDecision>(
  'accept',
  'drop',
  'repeat',
  { verdict: 'accept', mark: 3 },
  { verdict: 'repeat', mark: 1 },
  { verdict: 'accept', packet: packet({ ttl: 5 }) },
  { verdict: 'accept', packet: packet({ src: '127.0.0.1' }) },
)
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ port: fc.nat(2), to: fc.nat(3), kind: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ answer: fc.nat(10), decision }) },
  { weight: 2, arbitrary: fc.record({ ms: fc.constantFrom(1, 20, 60, 300) }) },
  { weight: 1, arbitrary: fc.record({ gone: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ rules: fc.nat(2) }) },
)
const RULES = [
  '*raw\n-A PREROUTING -p udp -j NFQUEUE --queue-num 1\nCOMMIT\n*filter\n-A FORWARD -m mark ! --mark 1 -j NFQUEUE --queue-num 2\n-A INPUT -j NFQUEUE --queue-num 1\nCOMMIT\n',
  '*nat\n-A POSTROUTING -j NFQUEUE --queue-num 2\nCOMMIT\n*mangle\n-A POSTROUTING -j NFQUEUE --queue-num 1\n-A OUTPUT -j QUEUE\nCOMMIT\n',
  '*nat\n-A POSTROUTING -o if1 -j MASQUERADE\nCOMMIT\n*filter\n-A FORWARD -j NFQUEUE --queue-num 9 --queue-bypass\n-A OUTPUT -j NFQUEUE --queue-num 1\nCOMMIT\n',
]

it('whatever is answered, in whatever order, nothing is lost without a name', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(2), fc.array(step, { maxLength: 40 }), async (rules, steps) => {
      const lab = new RouterLab(3, RULES[rules])
      const { answers, fn } = byHand()
      await lab.desk.register(0, fn, { timeoutMs: 50, length: 4 })
      await lab.desk.register(1, fn, { timeoutMs: 50, length: 8 })
      await lab.desk.register(2, fn, { timeoutMs: 250, verdict: 'accept' })
      for (const one of steps) {
        if ('ms' in one) lab.run(one.ms)
        else if ('answer' in one) answers.splice(one.answer % (answers.length || 1), 1)[0]?.(one.decision)
        else if ('rules' in one) lab.load(RULES[one.rules])
        else if ('gone' in one) {
          lab.engine.stages[0]?.forget(one.gone, false)
          // Slots come back with the round that is next.
          lab.run(200)
        } else {
          const ends = { src: `10.0.${one.port}.2`, dst: `10.0.${one.to}.${one.to === one.port ? 1 : 2}` }
          const payload =
            one.kind === 0 ? icmp({ type: 8, code: 0 }) : udp(ends, { payload: Buffer.alloc(9) })
          lab.send(one.port, ipv4({ ...ends, protocol: one.kind === 0 ? 1 : 17, payload }))
        }
        await lab.turn()
        lab.conserved()
      }
      for (let i = 0; i < 4; i++) await lab.turn(300)
      lab.run(4000)
      lab.run(4000)
      lab.run(4000)
      lab.conserved()
    }),
    { numRuns: 60 },
  )
})
