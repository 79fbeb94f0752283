/** TCP conversations, as stories: what each segment is, and what the entry becomes. */
import { describe, expect, test } from 'vitest'
import { Bench, type BenchOptions, type Packet, WSCALE7 } from './support.ts'

const A = { src: '10.0.0.2', dst: '10.0.0.3', sport: 40000, dport: 80 }
const B = { src: '10.0.0.3', dst: '10.0.0.2', sport: 80, dport: 40000 }
/** Initial sequence numbers. */
const X = 1000
const Y = 5000

class Talk extends Bench {
  a(flags: string, seq: number, ack: number, more: Partial<Packet> = {}): string {
    return this.send({ ...A, flags, seq: X + seq, ack: flags.includes('A') ? Y + ack : 0, ...more }).state
  }

  b(flags: string, seq: number, ack: number, more: Partial<Packet> = {}): string {
    return this.send({ ...B, flags, seq: Y + seq, ack: flags.includes('A') ? X + ack : 0, ...more }).state
  }

  open(options: number[] = []): this {
    expect(this.a('S', 0, 0, { options })).toBe('NEW')
    expect(this.tcpState()).toBe('SYN_SENT')
    expect(this.b('SA', 0, 1, { options })).toBe('ESTABLISHED')
    expect(this.tcpState()).toBe('SYN_RECV')
    expect(this.a('A', 1, 1)).toBe('ESTABLISHED')
    expect(this.tcpState()).toBe('ESTABLISHED')
    return this
  }
}

const talk = (options: BenchOptions = {}): Talk => new Talk(options)

describe('a connection', () => {
  test('opens, talks, closes; each state has its timeout', () => {
    const t = talk()
    t.a('S', 0, 0)
    expect([t.tcpState(), t.timeout()]).toEqual(['SYN_SENT', 120])
    expect(t.list()[0]).toContain('[UNREPLIED]')
    t.b('SA', 0, 1)
    expect([t.tcpState(), t.timeout()]).toEqual(['SYN_RECV', 60])
    expect(t.list()[0]).not.toContain('ASSURED')
    t.a('A', 1, 1)
    expect([t.tcpState(), t.timeout()]).toEqual(['ESTABLISHED', 432000])
    expect(t.list()[0]).toContain('[ASSURED]')
    t.a('PA', 1, 1, { payload: 100 })
    // Nobody has acknowledged it.
    expect([t.tcpState(), t.timeout()]).toEqual(['ESTABLISHED', 300])
    t.b('A', 1, 101)
    expect([t.tcpState(), t.timeout()]).toEqual(['ESTABLISHED', 432000])
    t.a('FA', 101, 1)
    expect([t.tcpState(), t.timeout()]).toEqual(['FIN_WAIT', 120])
    t.b('A', 1, 102)
    expect([t.tcpState(), t.timeout()]).toEqual(['CLOSE_WAIT', 60])
    t.b('FA', 1, 102)
    expect([t.tcpState(), t.timeout()]).toEqual(['LAST_ACK', 30])
    t.a('A', 102, 2)
    expect([t.tcpState(), t.timeout()]).toEqual(['TIME_WAIT', 120])
    t.pass(119.999)
    expect(t.list()).toHaveLength(1)
    t.pass(0.001)
    expect(t.list()).toEqual([])
    t.ct.tick(t.nowMs)
    expect(t.ct.count).toBe(0)
  })

  test('retransmitted SYNs do not keep it', () => {
    const t = talk()
    t.a('S', 0, 0)
    t.pass(100)
    expect(t.a('S', 0, 0)).toBe('NEW')
    expect(t.timeout()).toBe(20)
  })

  test('half closed: data goes on in the other direction', () => {
    const t = talk().open()
    t.a('FA', 1, 1)
    t.b('A', 1, 2)
    for (let i = 0; i < 10; i++) {
      expect(t.b('PA', 1 + 1000 * i, 2, { payload: 1000 })).toBe('ESTABLISHED')
      expect(t.a('A', 2, 1001 + 1000 * i)).toBe('ESTABLISHED')
    }
    expect(t.tcpState()).toBe('CLOSE_WAIT')
  })

  test('both close at once', () => {
    const t = talk().open()
    t.a('FA', 1, 1)
    t.b('FA', 1, 1)
    expect(t.tcpState()).toBe('LAST_ACK')
    t.a('A', 2, 2)
    t.b('A', 2, 2)
    expect(t.tcpState()).toBe('TIME_WAIT')
  })

  test('both open at once', () => {
    const t = talk()
    expect(t.a('S', 0, 0)).toBe('NEW')
    expect(t.b('S', 0, 0)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('SYN_SENT2')
    expect(t.timeout()).toBe(120)
    expect(t.a('SA', 0, 1)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('SYN_RECV')
    expect(t.b('SA', 0, 1)).toBe('ESTABLISHED')
    expect(t.a('A', 1, 1)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('ESTABLISHED')
  })

  test('refused: the RST ends it at once, and still passes', () => {
    const t = talk()
    t.a('S', 0, 0)
    expect(t.b('RA', 0, 1, { seq: 0 })).toBe('ESTABLISHED')
    expect(t.list()).toEqual([])
  })

  test('sequence numbers wrap around', () => {
    const t = talk()
    const near = 0xffffff00 - X
    t.a('S', near, 0)
    t.b('SA', 0, near + 1)
    t.a('A', near + 1, 1)
    for (let i = 0; i < 8; i++) {
      expect(t.a('PA', near + 1 + 100 * i, 1, { payload: 100 })).toBe('ESTABLISHED')
      expect(t.b('A', 1, near + 101 + 100 * i)).toBe('ESTABLISHED')
    }
    expect(t.timeout()).toBe(432000)
  })
})

describe('the window', () => {
  test('beyond it is invalid; the connection goes on', () => {
    const t = talk().open()
    expect(t.a('PA', 70000 + 64000, 1, { payload: 10 })).toBe('INVALID')
    expect(t.a('PA', 1, 1, { payload: 10 })).toBe('ESTABLISHED')
  })

  test('an acknowledgement of what was not sent is invalid', () => {
    const t = talk().open()
    expect(t.a('A', 1, 500)).toBe('INVALID')
  })

  test('old data passes and refreshes nothing', () => {
    const t = talk().open()
    t.a('PA', 1, 1, { payload: 1000 })
    t.b('A', 1, 1001, { win: 100 })
    for (let i = 1; i < 70; i++) {
      t.a('PA', 1 + 1000 * i, 1, { payload: 1000 })
      t.b('A', 1, 1001 + 1000 * i)
    }
    t.pass(1000)
    expect(t.a('PA', 1, 1, { payload: 100 })).toBe('ESTABLISHED')
    expect(t.timeout()).toBe(432000 - 1000)
  })

  test('is scaled when both sides say so', () => {
    const t = talk().open(WSCALE7)
    expect(t.a('A', 1, 1, { win: 1000 })).toBe('ESTABLISHED')
    expect(t.b('PA', 1 + 100_000, 1, { payload: 10 })).toBe('ESTABLISHED')
    const plain = talk()
    plain.a('S', 0, 0, { options: WSCALE7 })
    plain.b('SA', 0, 1)
    plain.a('A', 1, 1, { win: 1000 })
    expect(plain.b('PA', 1 + 200_000, 1, { payload: 10 })).toBe('INVALID')
  })

  test('SACK: the right edge counts as acknowledged', () => {
    const t = talk().open([4, 2, 1, 1])
    for (let i = 0; i < 80; i++) t.a('PA', 1 + 1000 * i, 1, { payload: 1000, win: 64000 })
    const edge = X + 5001
    const sack = [
      1,
      1,
      5,
      10,
      0,
      0,
      0,
      0,
      (edge >>> 24) & 255,
      (edge >>> 16) & 255,
      (edge >>> 8) & 255,
      edge & 255,
    ]
    expect(t.b('A', 1, 1, { options: sack })).toBe('ESTABLISHED')
  })

  test('a super-frame takes its whole payload', () => {
    const t = talk().open()
    expect(
      t.send({ ...A, flags: 'PA', seq: X + 1, ack: Y + 1, payload: 60000, gso: 1448, partial: true }).state,
    ).toBe('ESTABLISHED')
    expect(t.b('A', 1, 60001)).toBe('ESTABLISHED')
    const row = t.list()
    expect(row[0]).toContain('ESTABLISHED')
    expect(t.timeout()).toBe(432000)
  })

  test('liberal: only RSTs are checked', () => {
    const t = talk({ liberal: true }).open()
    expect(t.a('PA', 500000, 1, { payload: 10 })).toBe('ESTABLISHED')
  })

  test('a window of 0 shortens the wait', () => {
    const t = talk().open()
    t.b('A', 1, 1, { win: 0 })
    expect(t.timeout()).toBe(300)
    t.b('A', 1, 1, { win: 1000 })
    expect(t.timeout()).toBe(432000)
  })

  test('three retransmissions shorten it', () => {
    const t = talk().open()
    t.b('A', 1, 1)
    for (let i = 0; i < 3; i++) t.b('A', 1, 1)
    expect(t.timeout()).toBe(300)
  })
})

describe('RST', () => {
  test('of the expected number closes', () => {
    const t = talk().open()
    t.a('PA', 1, 1, { payload: 10 })
    t.b('A', 1, 11)
    expect(t.a('R', 11, 0)).toBe('ESTABLISHED')
    expect([t.tcpState(), t.timeout()]).toEqual(['CLOSE', 10])
  })

  test('in the window but not expected changes nothing: a challenge may follow', () => {
    const t = talk().open()
    t.b('A', 1, 1)
    expect(t.a('R', 500, 0)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('ESTABLISHED')
  })

  test('below what was acknowledged is invalid', () => {
    const t = talk().open()
    t.a('PA', 1, 1, { payload: 100 })
    t.b('A', 1, 101)
    expect(t.a('R', 50, 0)).toBe('INVALID')
    expect(t.tcpState()).toBe('ESTABLISHED')
  })

  test('right behind its own data closes', () => {
    const t = talk().open()
    t.a('A', 1, 1, { payload: 19 })
    expect(t.a('R', 20, 0)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('CLOSE')
  })

  test('out of the window is invalid, be it liberal or not', () => {
    const t = talk({ liberal: false }).open()
    expect(t.a('R', 900000, 0)).toBe('INVALID')
    expect(t.tcpState()).toBe('ESTABLISHED')
  })

  test('of both sides out of the window: the entry need not wait for days', () => {
    const t = talk().open()
    expect(t.a('FA', 900000, 1)).toBe('INVALID')
    expect(t.timeout()).toBe(432000)
    expect(t.b('RA', 900000, 1)).toBe('INVALID')
    expect(t.timeout()).toBe(300)
  })
})

describe('out of step', () => {
  test('mid-stream: taken up, believed, assured by an answer', () => {
    const t = talk()
    expect(t.a('PA', 100, 200, { payload: 10 })).toBe('NEW')
    expect([t.tcpState(), t.timeout()]).toEqual(['ESTABLISHED', 300])
    expect(t.b('A', 200, 110)).toBe('ESTABLISHED')
    expect(t.list()[0]).not.toContain('[ASSURED]')
    expect(t.a('A', 110, 200)).toBe('ESTABLISHED')
    expect(t.list()[0]).toContain('[ASSURED]')
  })

  test('mid-stream is invalid when not loose', () => {
    const t = talk({ loose: false })
    expect(t.a('PA', 100, 200, { payload: 10 })).toBe('INVALID')
    expect(t.ct.count).toBe(0)
  })

  test.each(['SA', 'FA', 'R', 'RA'])('%s begins nothing', (flags) => {
    const t = talk()
    expect(t.a(flags, 0, 0)).toBe('INVALID')
    expect(t.ct.count).toBe(0)
  })

  test.each(['', 'F', 'SF', 'SR', 'SAF', 'P', 'U', 'SFRPAU', 'SAU'])('flags "%s" are insane', (flags) => {
    const t = talk()
    expect(t.a(flags, 0, 0)).toBe('INVALID')
    t.open()
    expect(t.a(flags, 1, 1)).toBe('INVALID')
    expect(t.tcpState()).toBe('ESTABLISHED')
  })

  test('SYN in TIME_WAIT begins a new connection in its place', () => {
    const t = talk().open()
    t.a('FA', 1, 1)
    t.b('FA', 1, 2)
    t.a('A', 2, 2)
    expect(t.tcpState()).toBe('TIME_WAIT')
    expect(t.a('S', 700000, 0)).toBe('NEW')
    expect(t.tcpState()).toBe('SYN_SENT')
    expect(t.ct.count).toBe(1)
    expect(t.list()[0]).toContain('[UNREPLIED]')
  })

  test('SYN of the other side in TIME_WAIT: the roles change', () => {
    const t = talk().open()
    t.a('FA', 1, 1)
    t.b('FA', 1, 2)
    t.a('A', 2, 2)
    expect(t.b('S', 900000, 0)).toBe('NEW')
    expect(t.list()[0]).toContain('src=10.0.0.3 dst=10.0.0.2 sport=80 dport=40000 [UNREPLIED]')
  })

  test('SYN in a connection is let through; its SYN-ACK shows that both ends know better', () => {
    const t = talk().open()
    expect(t.a('S', 300000, 0)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('ESTABLISHED')
    expect(t.send({ ...B, flags: 'SA', seq: 77, ack: X + 300001 }).state).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('SYN_RECV')
    expect(t.send({ ...A, flags: 'A', seq: X + 300001, ack: 78 }).state).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('ESTABLISHED')
  })

  test('SYN in a connection, refused: the RST closes it', () => {
    const t = talk().open()
    t.a('S', 300000, 0)
    expect(t.send({ ...B, flags: 'RA', seq: 0, ack: X + 300001 }).state).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('CLOSE')
  })

  test('a challenge ACK to a SYN in LAST_ACK is not the last ACK', () => {
    const t = talk().open()
    t.a('FA', 1, 1)
    t.b('FA', 1, 2)
    expect(t.tcpState()).toBe('LAST_ACK')
    t.a('S', 800000, 0)
    expect(t.b('A', 2, 2)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('LAST_ACK')
    t.a('A', 2, 2)
    expect(t.tcpState()).toBe('TIME_WAIT')
  })

  test('a SYN that is challenged, and the RST that answers: the entry gives way to the next SYN', () => {
    const t = talk()
    t.a('S', 0, 0)
    expect(t.b('A', 900, 4000)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('SYN_SENT')
    expect(t.a('R', 4001, 0)).toBe('INVALID')
    expect(t.a('R', 4000, 0)).toBe('ESTABLISHED')
    expect(t.tcpState()).toBe('CLOSE')
    expect(t.a('S', 0, 0)).toBe('NEW')
  })
})
