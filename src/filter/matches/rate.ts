/**
 * limit, and the rates of packets that hashlimit has too. A rate is kept as the kernel keeps it: the time one
 * packet costs, in whole ticks (limit: 1/10000 s, hashlimit: 1/1000000 s), so 90/min is 6666 ticks and 3000/sec
 * becomes 3333/sec. It is printed in the unit iptables chooses, by its arithmetic; for odd rates that rounds
 * (2401/min is 249 ticks, prints as 40/sec and is 250 when read again), so the text is a fixed point and the
 * ticks may move once.
 */
import { Wrong } from '../error.ts'
import { type Extension, option, words } from '../option.ts'
import { readNumber } from '../value.ts'
import type { LimitMatch } from './model.ts'

const UNITS = [
  { name: 'day', seconds: 86_400 },
  { name: 'hour', seconds: 3600 },
  { name: 'min', seconds: 60 },
  { name: 'sec', seconds: 1 },
] as const

const UNIT_WORDS: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600, day: 86_400 }

interface Rate {
  cost: number
  /** Of the unit as written. */
  unitS: number
}

export function readRate(text: string, ticksPerS: number): Rate {
  const parts = /^([0-9]{1,10})(?:\/([a-z]+))?$/i.exec(text)
  const unit = parts?.[2]?.toLowerCase() ?? 's'
  const word = Object.keys(UNIT_WORDS).find((name) => name.startsWith(unit))
  const count = Number(parts?.[1] ?? 0)
  if (word === undefined || count === 0) {
    throw new Wrong(`'${text}' is not a rate such as 5/sec, 30/minute, 100/hour, 7/day`)
  }
  const unitS = UNIT_WORDS[word]
  const cost = Math.floor((ticksPerS * unitS) / count)
  if (count / unitS > ticksPerS) throw new Wrong(`the rate ${text} is above ${ticksPerS}/sec`)
  return { cost, unitS }
}

/** The unit iptables prints a cost in: the smallest one whose rounding error stays below one packet. */
export function unitOf(cost: number, ticksPerS: number): (typeof UNITS)[number] {
  let at = 1
  for (; at < UNITS.length; at++) {
    const ticks = UNITS[at].seconds * ticksPerS
    if (cost > ticks || Math.floor(ticks / cost) < ticks % cost) break
  }
  return UNITS[at - 1]
}

export function printRate(cost: number, ticksPerS: number): string {
  const unit = unitOf(cost, ticksPerS)
  return `${Math.floor((unit.seconds * ticksPerS) / cost)}/${unit.name}`
}

const LIMIT_TICKS = 10_000

/**
 * The kernel's own test of whether a full bucket fits in its counter (checkentry of xt_limit), wrong answers
 * included, so that what it took from others loads here too. Its credits a second are HZ times
 * CREDITS_PER_JIFFY, the same at HZ 250 and 1000.
 */
const LIMIT_CREDITS_PER_S = 32_000n

function limitOverflows(cost: number, burst: number): boolean {
  const ticks = BigInt(LIMIT_TICKS)
  const credits = (time: bigint) =>
    time > 0xffff_ffffn / LIMIT_CREDITS_PER_S
      ? BigInt.asUintN(32, (time / ticks) * LIMIT_CREDITS_PER_S)
      : (time * LIMIT_CREDITS_PER_S) / ticks
  return credits(BigInt.asUintN(32, BigInt(cost) * BigInt(burst))) < credits(BigInt(cost))
}

export const DEFAULT_BURST = 5

export const limit: Extension<LimitMatch> = {
  name: 'limit',
  options: [option('limit', '--limit'), option('burst', '--limit-burst')],
  build: (options) => {
    const { cost } = readRate(options.text('limit') ?? '3/hour', LIMIT_TICKS)
    const burst = options.maybe('burst', (text) => readNumber(text, 1, 10_000, 'a burst')) ?? DEFAULT_BURST
    if (limitOverflows(cost, burst)) {
      throw new Wrong('limit: this burst at this rate is longer than the kernel can count (37 hours)')
    }
    return { kind: 'limit', cost100us: cost, burst }
  },
  print: ({ cost100us, burst }) =>
    words(
      `--limit ${printRate(cost100us, LIMIT_TICKS)}`,
      burst !== DEFAULT_BURST && `--limit-burst ${burst}`,
    ),
}

/** Name of a table that rules share (hashlimit, recent): a file name to the kernel. */
export function readTableName(text: string, longest = 254): string {
  if (text === '' || text.length > longest || text === '.' || text === '..' || text.includes('/')) {
    throw new Wrong(`'${text}' is not a table name (1 to ${longest} characters, no '/')`)
  }
  return text
}
