/**
 * hashlimit: a rate for every combination of addresses and ports. Kept as the kernel keeps it:
 *
 *     packets   the microseconds one costs (rate.ts)
 *     bytes     what 16 of them cost, of 2^32 a second; so 1000b/s is 992b/s, and 12345678b/s is 12056kb/s.
 *               A burst is a whole number of seconds' bytes, rounded up
 *
 * With --hashlimit-rate-match a flow is measured instead: 5/min is then five packets in an interval of 60 s,
 * and is printed as iptables prints it, 5/sec with the interval beside it.
 */
import { Wrong } from '../error.ts'
import { quoteName } from '../lex.ts'
import type { Family } from '../model.ts'
import { type Extension, flag, type Options, option, words } from '../option.ts'
import { printBits, readBits, readNumber, U32, width } from '../value.ts'
import { HASH_MODE, type HashlimitMatch } from './model.ts'
import { DEFAULT_BURST, printRate, readRate, readTableName, unitOf } from './rate.ts'

type Rate = HashlimitMatch['rate']

/** A rate as it is written, and what it implies. */
interface Written {
  rate: Rate
  expireMs: number
  /** What a rate is measured over, unless told otherwise. */
  intervalS: number
}

const TICKS = 1_000_000
/** How long an idle entry of a byte rate is kept unless told otherwise. */
const BYTE_EXPIRE_MS = 15_000
const BYTE_BURST_EXPIRE_MS = 60_000
const GC_INTERVAL_MS = 1000
/** iptables reads a signed number: above, it refuses or takes another. */
const LONGEST_INTERVAL_S = 0x7fff_ffff

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
    flag('rateMatch', '--hashlimit-rate-match'),
    option('interval', '--hashlimit-rate-interval'),
  ],
  build: (options, family) => {
    const key = options.oneOf(['upto', 'above'], '--hashlimit-upto, --hashlimit-above')
    const text = options.text(key)!
    const number = (name: string, least = 0) =>
      options.maybe(name, (word) => readNumber(word, least, U32, 'a number'))
    const prefix = (name: string) =>
      options.maybe(name, (word) => readNumber(word, 0, width(family), 'a prefix length')) ?? width(family)
    const measured = options.has('rateMatch')
    const interval = options.maybe('interval', readInterval)
    if (interval !== null && !measured)
      throw new Wrong('hashlimit: --hashlimit-rate-interval needs --hashlimit-rate-match')
    const { expireMs, intervalS, rate } = /b\/s$/.test(text)
      ? buildBytes(text, options)
      : buildPackets(text, options, measured)
    return {
      kind: 'hashlimit',
      above: (key === 'above') !== options.inverted(key),
      rate,
      intervalS: measured ? (interval ?? intervalS) : 0,
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

/** Decimal, also behind a zero: here iptables does not read octal. */
function readInterval(text: string): number {
  const seconds = /^[0-9]{1,15}$/.test(text) ? Number(text) : 0
  if (seconds < 1 || seconds > LONGEST_INTERVAL_S)
    throw new Wrong(`'${text}' is not a number of seconds from 1 to ${LONGEST_INTERVAL_S}`)
  return seconds
}

function buildPackets(text: string, options: Options, measured: boolean): Written {
  const { cost, unitS } = readRate(text, TICKS)
  const burst = options.maybe('burst', (word) => readNumber(word, 1, 1_000_000, 'a burst')) ?? DEFAULT_BURST
  const costUs = measured ? Math.floor(cost / unitS) : cost
  if (costUs === 0)
    throw new Wrong(`${text} with --hashlimit-rate-match: more than ${TICKS} packets an interval`)
  if (overflows(costUs, burst)) {
    throw new Wrong('hashlimit: this burst at this rate is longer than the kernel can count (37 hours)')
  }
  return { rate: { unit: 'packets', costUs, burst }, expireMs: unitS * 1000, intervalS: unitS }
}

/**
 * The kernel's own test of whether a full bucket fits in its counter (checkentry of xt_hashlimit), wrong
 * answers included. Its credits a second are HZ times CREDITS_PER_JIFFY, the same at HZ 250 and 1000.
 */
const CREDITS_PER_TICK = (250n << 39n) / BigInt(TICKS)

function overflows(cost: number, burst: number): boolean {
  const credits = (time: bigint) => BigInt.asUintN(64, time * CREDITS_PER_TICK)
  return credits(BigInt(cost) * BigInt(burst)) < credits(BigInt(cost))
}

function chunkCost(bytesPerS: number): number {
  return Math.floor(U32 / (Math.floor(bytesPerS / 16) + 1))
}

/** The rate that iptables and the kernel make of a cost. */
export function bytesPerS(cost: number): number {
  return (Math.floor(U32 / cost) - 1) * 16
}

/** What 2^32 - 1 bytes a second round to. */
const MOST_BYTES_PER_S = bytesPerS(chunkCost(U32))

function buildBytes(text: string, options: Options): Written {
  const cost = chunkCost(readBytes(text.slice(0, -2), MOST_BYTES_PER_S))
  const burst = options.maybe('burst', (word) => readBytes(word, U32))
  const bytes = bytesPerS(cost)
  if (burst !== null && bytes === 0) throw new Wrong(`hashlimit: a burst needs 16b/s at least, not ${text}`)
  if (burst !== null && burst < bytes)
    throw new Wrong(`hashlimit: the burst is smaller than one second's ${bytes}b`)
  const refills = burst === null ? 0 : Math.ceil(burst / bytes)
  return {
    rate: { unit: 'bytes', chunkCost: cost, refills },
    expireMs: refills > 0 ? BYTE_BURST_EXPIRE_MS : BYTE_EXPIRE_MS,
    intervalS: 1,
  }
}

function readBytes(text: string, most: number): number {
  const parts = /^([0-9]{1,10})(k|m)?b?$/i.exec(text)
  const unit = { '': 1, k: 1024, m: 1024 * 1024 }[parts?.[2]?.toLowerCase() ?? '']!
  const bytes = Number(parts?.[1] ?? 0) * unit
  if (bytes < 1 || bytes > most)
    throw new Wrong(`'${text}' is not a number of bytes such as 512b, 10kb, 3mb (at most ${most})`)
  return bytes
}

const MB = 1024 * 1024
const KB = 1024

/** In the largest unit that, rounded down, still means the same. */
function printBytes(bytes: number, means: (rounded: number) => boolean): string {
  const mb = Math.floor(bytes / MB)
  if (mb > 0 && means(mb * MB)) return `${mb}mb`
  const kb = Math.floor(bytes / KB)
  return kb > 0 && means(kb * KB) ? `${kb}kb` : `${bytes}b`
}

/** 4 GiB and more: in bytes. Below 16b/s iptables prints 0b/s, which it does not read: here 15b/s, the same. */
function printByteRate(cost: number): string {
  return printBytes(bytesPerS(cost) || 15, (rounded) => rounded <= U32 && chunkCost(rounded) === cost)
}

/** As iptables, but where its rounding would make the burst smaller when it is read again. */
function printBurst(cost: number, refills: number): string {
  const bytes = bytesPerS(cost)
  return printBytes(Math.min(bytes * refills, U32), (rounded) => Math.ceil(rounded / bytes) === refills)
}

function printHashlimit(match: HashlimitMatch, family: Family): string {
  const { rate, intervalS } = match
  const [text, burst, impliedExpireMs] =
    rate.unit === 'packets'
      ? [printRate(rate.costUs, TICKS), String(rate.burst), unitOf(rate.costUs, TICKS).seconds * 1000]
      : rate.refills === 0
        ? [`${printByteRate(rate.chunkCost)}/s`, null, BYTE_EXPIRE_MS]
        : [
            `${printByteRate(rate.chunkCost)}/s`,
            printBurst(rate.chunkCost, rate.refills),
            BYTE_BURST_EXPIRE_MS,
          ]
  return words(
    `--hashlimit-${match.above ? 'above' : 'upto'} ${text}`,
    burst !== null && `--hashlimit-burst ${burst}`,
    match.mode !== 0 && `--hashlimit-mode ${printBits(match.mode, HASH_MODE)}`,
    `--hashlimit-name ${quoteName(match.name)}`,
    match.tableSize !== 0 && `--hashlimit-htable-size ${match.tableSize}`,
    match.tableMax !== 0 && `--hashlimit-htable-max ${match.tableMax}`,
    match.gcIntervalMs !== GC_INTERVAL_MS && `--hashlimit-htable-gcinterval ${match.gcIntervalMs}`,
    match.expireMs !== impliedExpireMs && `--hashlimit-htable-expire ${match.expireMs}`,
    match.sourcePrefix !== width(family) && `--hashlimit-srcmask ${match.sourcePrefix}`,
    match.destinationPrefix !== width(family) && `--hashlimit-dstmask ${match.destinationPrefix}`,
    intervalS > 0 && '--hashlimit-rate-match',
    intervalS > 1 && `--hashlimit-rate-interval ${intervalS}`,
  )
}
