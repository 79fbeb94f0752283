/** The state table, transition by transition: written down a second time, by hand, as sentences. */
import { describe, expect, test } from 'vitest'
import {
  closing,
  next,
  Segment,
  saneFlags,
  segmentOf,
  TCP_STATES,
  TcpState,
} from '../../../src/filter/conntrack/tcp-state.ts'

const SEGMENTS = ['SYN', 'SYN-ACK', 'FIN', 'ACK', 'RST', 'none'] as const
const name = (state: number): string =>
  TCP_STATES[state] ?? (state === TcpState.Ignore ? 'ignore' : 'invalid')

/** [direction, segment]: from -> to. What is not mentioned is invalid. */
const RULES: [string, string, string][] = [
  ['original', 'SYN', 'NONE SYN_SENT TIME_WAIT CLOSE -> SYN_SENT'],
  ['original', 'SYN', 'SYN_SENT2 -> SYN_SENT2'],
  ['original', 'SYN', 'SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK -> ignore'],
  ['original', 'SYN-ACK', 'SYN_SENT2 SYN_RECV -> SYN_RECV'],
  ['both', 'FIN', 'SYN_RECV ESTABLISHED -> FIN_WAIT'],
  ['both', 'FIN', 'FIN_WAIT CLOSE_WAIT LAST_ACK -> LAST_ACK'],
  ['both', 'FIN', 'TIME_WAIT -> TIME_WAIT'],
  ['both', 'FIN', 'CLOSE -> CLOSE'],
  ['original', 'ACK', 'NONE SYN_RECV ESTABLISHED -> ESTABLISHED'],
  ['both', 'ACK', 'FIN_WAIT CLOSE_WAIT -> CLOSE_WAIT'],
  ['both', 'ACK', 'LAST_ACK TIME_WAIT -> TIME_WAIT'],
  ['both', 'ACK', 'CLOSE -> CLOSE'],
  [
    'both',
    'RST',
    'SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2 -> CLOSE',
  ],
  ['reply', 'SYN', 'SYN_SENT SYN_SENT2 -> SYN_SENT2'],
  ['reply', 'SYN', 'TIME_WAIT -> SYN_SENT'],
  ['reply', 'SYN-ACK', 'SYN_SENT SYN_SENT2 -> SYN_RECV'],
  ['reply', 'SYN-ACK', 'SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE -> ignore'],
  ['reply', 'ACK', 'SYN_SENT SYN_SENT2 -> ignore'],
  ['reply', 'ACK', 'SYN_RECV -> SYN_RECV'],
  ['reply', 'ACK', 'ESTABLISHED -> ESTABLISHED'],
]

const wanted = new Map<string, string>()
for (const [direction, segment, rule] of RULES) {
  const [from, to] = rule.split(' -> ')
  for (const state of from.split(' '))
    for (const dir of direction === 'both' ? ['original', 'reply'] : [direction])
      wanted.set(`${dir} ${segment} ${state}`, to)
}

describe.each(['original', 'reply'])('%s direction', (direction) => {
  describe.each(SEGMENTS)('%s', (segment) => {
    test.each(TCP_STATES)('in %s', (state) => {
      const to = next(TCP_STATES.indexOf(state), direction === 'reply' ? 1 : 0, SEGMENTS.indexOf(segment))
      expect(name(to)).toBe(wanted.get(`${direction} ${segment} ${state}`) ?? 'invalid')
    })
  })
})

test('RST comes before SYN, SYN before FIN, FIN before ACK', () => {
  const [F, S, R, A] = [1, 2, 4, 16]
  expect(segmentOf(R | S | A)).toBe(Segment.Rst)
  expect(segmentOf(S)).toBe(Segment.Syn)
  expect(segmentOf(S | A)).toBe(Segment.SynAck)
  expect(segmentOf(F | A)).toBe(Segment.Fin)
  expect(segmentOf(A)).toBe(Segment.Ack)
  expect(segmentOf(0)).toBe(Segment.None)
})

test('nine combinations of flags are sane; PSH, ECE and CWR make no difference', () => {
  const letters: Record<string, number> = { F: 1, S: 2, R: 4, A: 16, U: 32 }
  const sane = new Set(['S', 'SU', 'SA', 'R', 'RA', 'FA', 'FAU', 'A', 'AU'])
  for (let bits = 0; bits < 256; bits++) {
    const combination = ['S', 'R', 'F', 'A', 'U'].filter((l) => (bits & letters[l]) !== 0)
    const same = [...sane].some(
      (s) => s.length === combination.length && combination.every((l) => s.includes(l)),
    )
    expect(saneFlags(bits), combination.join('')).toBe(same)
  }
})

test('flows that are on their way out', () => {
  expect(TCP_STATES.filter((_, i) => closing(i))).toEqual([
    'FIN_WAIT',
    'CLOSE_WAIT',
    'LAST_ACK',
    'TIME_WAIT',
    'CLOSE',
  ])
})
