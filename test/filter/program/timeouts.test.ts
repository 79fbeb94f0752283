/** The times of matches, to the millisecond: what is still so just before, and no longer just after. */
import { describe, expect, test } from 'vitest'
import { ipv4, udp } from '../../support/frames.ts'
import { Lab, type LabOptions } from './lab.ts'

const packet = (src = '10.0.0.2', dst = '192.0.2.9'): Uint8Array =>
  ipv4({ src, dst, protocol: 17, payload: udp({ src, dst }, { srcPort: 1000, dstPort: 53 }) })

function lab(rules: string[], options: LabOptions = {}): Lab {
  return new Lab({ rules: `*filter\n${rules.map((r) => `-A FORWARD ${r}\n`).join('')}COMMIT\n`, ...options })
}

/** What the rule takes now. */
function hit(one: Lab, rule = 0, src?: string): boolean {
  const before = one.packets(rule)
  one.send(packet(src))
  return one.packets(rule) > before
}

describe('limit: a token is there after exactly its time', () => {
  test.each([
    ['100/sec', 10],
    ['10/sec', 100],
    ['1/sec', 1000],
    ['6/min', 10_000],
    ['2/hour', 1_800_000],
  ])('%s', (rate, ms) => {
    const one = lab([`-m limit --limit ${rate} --limit-burst 1`])
    expect(hit(one)).toBe(true)
    one.nowMs += ms - 1
    expect(hit(one)).toBe(false)
    one.nowMs += 1
    expect(hit(one)).toBe(true)
  })
})

describe('hashlimit', () => {
  const spec = '--hashlimit-burst 1 --hashlimit-mode srcip --hashlimit-name h'

  test('a token of a source', () => {
    const one = lab([`-m hashlimit --hashlimit-upto 4/min ${spec}`])
    expect(hit(one)).toBe(true)
    one.nowMs += 14_999
    expect(hit(one)).toBe(false)
    one.nowMs += 1
    expect(hit(one)).toBe(true)
  })

  test('an unused source is forgotten after --hashlimit-htable-expire, its tokens begin anew', () => {
    const one = lab([`-m hashlimit --hashlimit-upto 1/hour ${spec} --hashlimit-htable-expire 20000`])
    expect(hit(one)).toBe(true)
    one.nowMs += 19_999
    // Asked for: it is kept for longer.
    expect(hit(one)).toBe(false)
    one.nowMs += 19_999
    expect(hit(one)).toBe(false)
    one.nowMs += 20_000
    expect(hit(one)).toBe(true)
  })
})

describe('hashlimit --hashlimit-rate-match', () => {
  const measured = (rate: string, more = ''): string =>
    `-m hashlimit --hashlimit-${rate} --hashlimit-mode srcip --hashlimit-name h --hashlimit-rate-match ${more}`.trimEnd()
  /** What the rule says of n packets at once. */
  const many = (one: Lab, n: number, rule = 0, src?: string): number =>
    Array.from({ length: n }, () => hit(one, rule, src)).filter(Boolean).length

  test('the rate and the burst in an interval, then it is above', () => {
    const one = lab([measured('upto 5/min', '--hashlimit-burst 3')])
    expect(many(one, 20)).toBe(8)
    expect(many(one, 20, 0, '10.0.0.3')).toBe(8)
  })

  test('an interval that was above makes the next one above, from its first packet to its end', () => {
    const one = lab([measured('upto 5/min', '--hashlimit-burst 3')])
    many(one, 8)
    one.nowMs += 59_999
    expect(hit(one)).toBe(false)
    // 9 in 60 s: the next begins above, although it is quiet itself.
    one.nowMs += 1
    expect(hit(one)).toBe(false)
    one.nowMs += 59_999
    expect(hit(one)).toBe(false)
    one.nowMs += 1
    expect(many(one, 20)).toBe(8)
  })

  test('an interval within the rate leaves the next one free, burst and all', () => {
    const one = lab([measured('upto 5/min', '--hashlimit-burst 3 --hashlimit-htable-expire 600000')])
    for (let i = 0; i < 3; i++) {
      expect(many(one, 5)).toBe(5)
      one.nowMs += 60_000
    }
    expect(many(one, 20)).toBe(8)
  })

  test('a pause counts: the rate is that of the time until the next packet', () => {
    const rule = measured(
      'upto 5/sec',
      '--hashlimit-burst 5 --hashlimit-rate-interval 10 --hashlimit-htable-expire 60000',
    )
    for (const [ms, yes] of [
      [19_999, false],
      [20_000, true],
    ] as const) {
      const one = lab([rule])
      expect(many(one, 10)).toBe(10)
      one.nowMs += ms
      expect(hit(one)).toBe(yes)
    }
  })

  test('the unit is the interval, unless one is given', () => {
    for (const [rate, more, ms] of [
      ['2/sec', '', 1000],
      ['2/min', '', 60_000],
      ['2/hour', '', 3_600_000],
      ['2/day', '', 86_400_000],
      ['2/day', '--hashlimit-rate-interval 7', 7000],
    ] as const) {
      const one = lab([
        measured(`upto ${rate}`, `--hashlimit-burst 1 --hashlimit-htable-expire 4000000000 ${more}`),
      ])
      expect(many(one, 9), rate).toBe(3)
      one.nowMs += ms - 1
      expect(hit(one), rate).toBe(false)
      one.nowMs += 1
      expect(hit(one), rate).toBe(false)
      one.nowMs += ms
      expect(many(one, 9), rate).toBe(3)
    }
  })

  test('above is the rest', () => {
    for (const [way, taken] of [
      ['--hashlimit-upto', 8],
      ['! --hashlimit-above', 8],
      ['--hashlimit-above', 12],
      ['! --hashlimit-upto', 12],
    ] as const) {
      const more = '--hashlimit-burst 3 --hashlimit-name h --hashlimit-rate-match'
      expect(many(lab([`-m hashlimit ${way} 5/min ${more}`]), 20), way).toBe(taken)
    }
  })

  test('bytes: whole packets are counted, and a burst is so many times the rate', () => {
    // 28 bytes each; 1000b/s are 992.
    const one = lab([
      measured('upto 1000b/s'),
      measured('upto 1000b/s', '--hashlimit-burst 1985b').replace(' h ', ' b '),
    ])
    expect(many(one, 200)).toBe(Math.floor(992 / 28))
    expect(one.packets(1)).toBe(Math.floor((3 * 992) / 28))
  })

  test('an unused source is forgotten after --hashlimit-htable-expire, and what was held against it', () => {
    const one = lab([measured('upto 2/hour', '--hashlimit-burst 1 --hashlimit-htable-expire 20000')])
    expect(many(one, 9)).toBe(3)
    one.nowMs += 19_999
    expect(hit(one)).toBe(false)
    one.nowMs += 20_000
    expect(many(one, 9)).toBe(3)
  })

  test('rules share an entry by name, and each of them counts the packet', () => {
    const one = lab([
      measured('upto 5/min', '--hashlimit-burst 3'),
      measured('upto 5/min', '--hashlimit-burst 3'),
    ])
    expect(many(one, 20)).toBe(4)
    expect(one.packets(1)).toBe(4)
  })
})

describe('recent', () => {
  const knock = (how: string): Lab =>
    lab([`-m recent --${how} --seconds 60 --name R`, '-m recent --set --name R'])

  test('--rcheck: seen within so many seconds, and a millisecond more is too long', () => {
    for (const [ms, yes] of [
      [60_000, true],
      [60_001, false],
    ] as const) {
      const one = knock('rcheck')
      expect(hit(one)).toBe(false)
      one.nowMs += ms
      expect(hit(one)).toBe(yes)
    }
  })

  test('--update: what is found counts as seen again', () => {
    const one = lab(['-m recent --update --seconds 60 --name R', '-s 10.0.0.9 -m recent --set --name R'])
    one.send(packet('10.0.0.9'))
    for (let i = 0; i < 5; i++) {
      one.nowMs += 60_000
      expect(hit(one, 0, '10.0.0.9')).toBe(true)
    }
  })
})

describe('sets: an element is there until its time is over', () => {
  test.each([
    ['hash:ip', '10.0.0.2'],
    ['hash:net', '10.0.0.0/24'],
    ['hash:ip,port', '10.0.0.2,udp:1000'],
  ])('%s', (type, element) => {
    const sides = type.includes(',') ? 'src,src' : 'src'
    const setText = `create s ${type} timeout 10\nadd s ${element}\ncreate t ${type} timeout 10\nadd t ${element} timeout 3\ncreate u ${type} timeout 10\nadd u ${element} timeout 0\n`
    const one = lab(
      ['s', 't', 'u'].map((name) => `-m set --match-set ${name} ${sides}`),
      { setText },
    )
    const found = (): boolean[] => {
      const before = [0, 1, 2].map((i) => one.packets(i))
      one.send(packet())
      return [0, 1, 2].map((i) => one.packets(i) > before[i])
    }
    one.nowMs += 2_999
    expect(found()).toEqual([true, true, true])
    one.nowMs += 1
    expect(found()).toEqual([true, false, true])
    one.nowMs += 6_999
    expect(found()).toEqual([true, false, true])
    one.nowMs += 1
    expect(found()).toEqual([false, false, true])
  })
})
