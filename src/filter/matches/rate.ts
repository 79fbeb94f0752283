/**
 * limit and hashlimit. A rate is kept as the kernel keeps it: the time one packet costs, in whole ticks
 * (limit: 1/10000 s, hashlimit: 1/1000000 s), so 90/min is 6666 ticks and 3000/sec becomes 3333/sec. It is
 * printed in the unit iptables chooses, by its arithmetic; for odd rates that rounds (2401/min is 249 ticks,
 * prints as 40/sec and is 250 when read again), so the text is a fixed point and the ticks may move once.
 */
import { Wrong } from '../error.ts'
import { quoteName } from '../lex.ts'
import type { Family } from '../model.ts'
import { type Extension, type Options, option, words } from '../option.ts'
import { printBits, readBits, readNumber, U32, width } from '../value.ts'
import { HASH_MODE, type HashlimitMatch, type LimitMatch } from './model.ts'

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

function readRate(text: string, ticksPerS: number): Rate {
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
function unitOf(cost: number, ticksPerS: number): (typeof UNITS)[number] {
  let at = 1
  for (; at < UNITS.length; at++) {
    const ticks = UNITS[at].seconds * ticksPerS
    if (cost > ticks || Math.floor(ticks / cost) < ticks % cost) break
  }
  return UNITS[at - 1]
}

function printRate(cost: number, ticksPerS: number): string {
  const unit = unitOf(cost, ticksPerS)
  return `${Math.floor((unit.seconds * ticksPerS) / cost)}/${unit.name}`
}

const LIMIT_TICKS = 10_000

/**
 * The kernel's own tests of whether a full bucket fits in its counter (checkentry of xt_limit and
 * xt_hashlimit), wrong answers included, so that what it took from others loads here too. Its credits a
 * second are HZ times CREDITS_PER_JIFFY, the same at HZ 250 and 1000.
 */
const LIMIT_CREDITS_PER_S = 32_000n
const HASH_CREDITS_PER_TICK = (250n << 39n) / 1_000_000n

function limitOverflows(cost: number, burst: number): boolean {
  const ticks = BigInt(LIMIT_TICKS)
  const credits = (time: bigint) =>
    time > 0xffff_ffffn / LIMIT_CREDITS_PER_S
      ? BigInt.asUintN(32, (time / ticks) * LIMIT_CREDITS_PER_S)
      : (time * LIMIT_CREDITS_PER_S) / ticks
  return credits(BigInt.asUintN(32, BigInt(cost) * BigInt(burst))) < credits(BigInt(cost))
}

function hashlimitOverflows(cost: number, burst: number): boolean {
  const credits = (time: bigint) => BigInt.asUintN(64, time * HASH_CREDITS_PER_TICK)
  return credits(BigInt(cost) * BigInt(burst)) < credits(BigInt(cost))
}

const DEFAULT_BURST = 5

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

const HASH_TICKS = 1_000_000
/** How long an idle entry of a byte rate is kept unless told otherwise. */
const BYTE_EXPIRE_MS = 15_000
const GC_INTERVAL_MS = 1000

export const hashlimit: Extension<HashlimitMatch> = {
  name: 'hashlimit',
  options: [
    option('upto', '--hashlimit-upto --hashlimit', { invert: true }),
    option('above', '--hashlimit-above', { invert: true }),
    option('burst', '--hashlimit-burst'),
    option('mode', '--hashlimit-mode'),
    option('name', '--hashlimit-name'),
    option('srcmask', '--hashlimit-srcmask'),
    option('dstmask', '--hashlimit-dstmask'),
    option('size', '--hashlimit-htable-size'),
    option('max', '--hashlimit-htable-max'),
    option('gc', '--hashlimit-htable-gcinterval'),
    option('expire', '--hashlimit-htable-expire'),
  ],
  build: (options, family) => {
    const key = options.oneOf(['upto', 'above'], '--hashlimit-upto, --hashlimit-above')
    const text = options.text(key)!
    const number = (name: string, least = 0) =>
      options.maybe(name, (word) => readNumber(word, least, U32, 'a number'))
    const prefix = (name: string) =>
      options.maybe(name, (word) => readNumber(word, 0, width(family), 'a prefix length')) ?? width(family)
    const { rate, expireMs } = /b\/s$/.test(text) ? buildBytes(text, options) : buildPackets(text, options)
    return {
      kind: 'hashlimit',
      above: (key === 'above') !== options.inverted(key),
      rate,
      mode: options.maybe('mode', (word) => readBits(word, HASH_MODE, 'hashlimit mode')) ?? 0,
      name: readTableName(options.need('name', '--hashlimit-name')),
      sourcePrefix: prefix('srcmask'),
      destinationPrefix: prefix('dstmask'),
      tableSize: number('size') ?? 0,
      tableMax: number('max') ?? 0,
      gcIntervalMs: number('gc', 1) ?? GC_INTERVAL_MS,
      expireMs: number('expire', 1) ?? expireMs,
    }
  },
  print: printHashlimit,
}

function buildPackets(text: string, options: Options): { rate: HashlimitMatch['rate']; expireMs: number } {
  const { cost, unitS } = readRate(text, HASH_TICKS)
  const burst = options.maybe('burst', (word) => readNumber(word, 1, 1_000_000, 'a burst')) ?? DEFAULT_BURST
  if (hashlimitOverflows(cost, burst)) {
    throw new Wrong('hashlimit: this burst at this rate is longer than the kernel can count (37 hours)')
  }
  return { rate: { unit: 'packets', costUs: cost, burst }, expireMs: unitS * 1000 }
}

function buildBytes(text: string, options: Options): { rate: HashlimitMatch['rate']; expireMs: number } {
  const bytesPerS = readBytes(text.slice(0, -2))
  return {
    rate: { unit: 'bytes', bytesPerS, burstBytes: options.maybe('burst', readBytes) },
    expireMs: BYTE_EXPIRE_MS,
  }
}

function readBytes(text: string): number {
  const parts = /^([0-9]{1,10})(k|m)?b?$/i.exec(text)
  const unit = { '': 1, k: 1024, m: 1024 * 1024 }[parts?.[2]?.toLowerCase() ?? '']!
  const bytes = Number(parts?.[1] ?? 0) * unit
  if (bytes < 1 || bytes > U32)
    throw new Wrong(`'${text}' is not a number of bytes such as 512b, 10kb, 3mb (below 4 GiB)`)
  return bytes
}

function printBytes(bytes: number): string {
  if (bytes % (1024 * 1024) === 0) return `${bytes / 1024 / 1024}mb`
  return bytes % 1024 === 0 ? `${bytes / 1024}kb` : `${bytes}b`
}

function printHashlimit(match: HashlimitMatch, family: Family): string {
  const { rate } = match
  const packets = rate.unit === 'packets'
  const impliedExpireMs = packets ? unitOf(rate.costUs, HASH_TICKS).seconds * 1000 : BYTE_EXPIRE_MS
  const burst = packets ? String(rate.burst) : rate.burstBytes === null ? null : printBytes(rate.burstBytes)
  return words(
    `--hashlimit-${match.above ? 'above' : 'upto'} ${packets ? printRate(rate.costUs, HASH_TICKS) : `${printBytes(rate.bytesPerS)}/s`}`,
    burst !== null && `--hashlimit-burst ${burst}`,
    match.mode !== 0 && `--hashlimit-mode ${printBits(match.mode, HASH_MODE)}`,
    `--hashlimit-name ${quoteName(match.name)}`,
    match.tableSize !== 0 && `--hashlimit-htable-size ${match.tableSize}`,
    match.tableMax !== 0 && `--hashlimit-htable-max ${match.tableMax}`,
    match.gcIntervalMs !== GC_INTERVAL_MS && `--hashlimit-htable-gcinterval ${match.gcIntervalMs}`,
    match.expireMs !== impliedExpireMs && `--hashlimit-htable-expire ${match.expireMs}`,
    match.sourcePrefix !== width(family) && `--hashlimit-srcmask ${match.sourcePrefix}`,
    match.destinationPrefix !== width(family) && `--hashlimit-dstmask ${match.destinationPrefix}`,
  )
}

/** Name of a table that rules share (hashlimit, recent): a file name to the kernel. */
export function readTableName(text: string, longest = 254): string {
  if (text === '' || text.length > longest || text === '.' || text === '..' || text.includes('/')) {
    throw new Wrong(`'${text}' is not a table name (1 to ${longest} characters, no '/')`)
  }
  return text
}
