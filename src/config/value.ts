/**
 * Readers of single values: units, ranges, names. A reader takes what the file says and returns it in
 * the unit the rest of the program uses, or throws a Wrong that says what it would have taken.
 * `leaf` makes a zod schema of a reader.
 */
import { z } from 'zod'
import { orList } from './error.ts'

/** Why a value is not taken; never leaves the schema. */
export class Wrong {
  readonly expected: string
  readonly hint: string | undefined

  constructor(expected: string, hint?: string) {
    this.expected = expected
    this.hint = hint
  }
}

/** What the schema tells the loader about a value (zod carries it in an issue's `params`). */
export interface WrongParams {
  expected: string
  hint?: string
  found?: unknown
}

/** @param json what JSON Schema says of it */
export function leaf<T>(read: (found: unknown) => T, json: Record<string, unknown> = {}) {
  return z
    .unknown()
    .transform((found, ctx): T => {
      try {
        return read(found)
      } catch (wrong) {
        if (!(wrong instanceof Wrong)) throw wrong
        const params: WrongParams = { expected: wrong.expected, hint: wrong.hint, found }
        ctx.issues.push({ code: 'custom', input: found, params, message: wrong.expected, continue: true })
        return z.NEVER
      }
    })
    .meta(json)
}

export function flag(found: unknown): boolean {
  if (typeof found === 'boolean') return found
  const word = typeof found === 'string' && /^(yes|no|on|off)$/i.test(found)
  throw new Wrong('true or false', word ? 'YAML 1.2 has no other words for it' : undefined)
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Key and value of each entry of a mapping; none of anything else. */
export function fieldsOf(value: unknown): [string, unknown][] {
  return isMapping(value) ? Object.entries(value) : []
}

/** One of a few words. */
export function oneOf<const W extends string>(...words: W[]) {
  return leaf(
    (found): W => {
      const word = words.find((w) => w === found)
      if (word !== undefined) return word
      throw new Wrong(orList(words))
    },
    { enum: words },
  )
}

export function integer(min: number, max: number, what = 'a whole number', hint?: string) {
  const expected =
    max === Number.MAX_SAFE_INTEGER ? `${what} from ${min} on` : `${what} from ${min} to ${max}`
  return leaf(
    (found): number => {
      if (typeof found !== 'number' || !Number.isInteger(found) || found < min || found > max) {
        throw new Wrong(expected, hint)
      }
      return found
    },
    { type: 'integer', minimum: min, ...(max === Number.MAX_SAFE_INTEGER ? {} : { maximum: max }) },
  )
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** '10ms', '300s', '5m', '2h', '1d' as ms; a bare number, or '0', counts in `bareUnitMs`. NaN = not one. */
export function durationMs(found: unknown, bareUnitMs: number): number {
  if (typeof found === 'number') return found * bareUnitMs
  const match = typeof found === 'string' ? /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?$/.exec(found) : null
  if (!match) return Number.NaN
  return Number(match[1]) * (match[2] ? UNIT_MS[match[2]] : bareUnitMs)
}

/** Seconds. */
export function aging(found: unknown): number {
  const seconds = durationMs(found, 1000) / 1000
  if (seconds === 0 || (seconds >= 10 && seconds <= 1_000_000)) return seconds
  throw new Wrong(
    '0 (never) or a time from 10s to 1000000s, such as 300s or 5m',
    'the range of 802.1Q clause 8.8.3',
  )
}

/** Seconds, whole. */
export function span(minS: number, maxS: number, example: string) {
  return leaf(
    (found): number => {
      const seconds = durationMs(found, 1000) / 1000
      if (Number.isInteger(seconds) && seconds >= minS && seconds <= maxS) return seconds
      throw new Wrong(`a time from ${minS}s to ${maxS}s, such as ${example}`)
    },
    { type: ['integer', 'string'] },
  )
}

/** Milliseconds. */
export function delay(found: unknown): number {
  const ms = durationMs(found, 1)
  if (ms >= 0 && ms <= 60_000) return ms
  throw new Wrong('a time from 0 to 60s, such as 10ms')
}

/** A share of packets, 0 to 1. */
export function share(found: unknown): number {
  const percent = typeof found === 'string' ? /^([0-9]+(?:\.[0-9]+)?)\s?%$/.exec(found) : null
  const value = percent ? Number(percent[1]) / 100 : found
  if (typeof value === 'number' && value >= 0 && value <= 1) return value
  throw new Wrong("a share of packets from 0 to 1, or from '0%' to '100%'")
}

const VID_EXPECTED = 'a VLAN id from 1 to 4094'

export function vid(found: unknown, expected = VID_EXPECTED): number {
  if (found === 4095) throw new Wrong(expected, '4095 is reserved by 802.1Q')
  if (found === 0) throw new Wrong(expected, '0 marks a priority tag, which names no VLAN')
  if (typeof found === 'number' && Number.isInteger(found) && found > 0 && found < 4095) return found
  throw new Wrong(expected)
}

/** A VLAN or a range '20-30', as [first, last]. */
export function vidRange(found: unknown): [first: number, last: number] {
  const expected = `${VID_EXPECTED}, or a range such as '20-30'`
  const range = typeof found === 'string' ? /^([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?$/.exec(found) : null
  const first = vid(range ? Number(range[1]) : found, expected)
  const last = range?.[2] ? vid(Number(range[2]), expected) : first
  if (last < first) throw new Wrong(expected, 'the smaller one first')
  return [first, last]
}

/** EtherType of a tag. */
export function tpid(found: unknown): number {
  const text = String(found).toLowerCase()
  if (text === '802.1q') return 0x8100
  if (text === '802.1ad') return 0x88a8
  if (text === '0x9100' || found === 0x9100) return 0x9100
  throw new Wrong('802.1q, 802.1ad or 0x9100')
}

/** Last byte of an address of the block 01-80-C2-00-00-0x. */
export function reservedByte(found: unknown): number {
  const expected = 'a byte from 0x03 to 0x0f, the last of 01-80-C2-00-00-0x'
  const hex = typeof found === 'string' ? /^(?:0x)?([0-9a-f]{1,2})$/i.exec(found) : null
  const byte = hex ? Number.parseInt(hex[1], 16) : found
  const never = ['STP', 'PAUSE', 'LACP']
  if (typeof byte === 'number' && never[byte])
    throw new Wrong(expected, `0x0${byte} is ${never[byte]}, which a bridge never forwards`)
  if (typeof byte === 'number' && Number.isInteger(byte) && byte >= 3 && byte <= 15) return byte
  throw new Wrong(expected)
}

/** A name of a switch or a port; 'switch.port' must stay readable, so no dots. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/
export const NAME_EXPECTED = 'a name of letters, digits, - and _, 63 at most'

/** A device's name, as the kernel takes it (dev_valid_name; '%' would make it choose a number). */
export function deviceName(found: unknown): string {
  const expected = "a device name: 1 to 15 bytes without space, '/', ':' or '%'"
  const bytes = typeof found === 'string' ? Buffer.byteLength(found) : 0
  if (
    typeof found === 'string' &&
    bytes > 0 &&
    !/[\s/:%\p{Cc}]/u.test(found) &&
    found !== '.' &&
    found !== '..'
  ) {
    if (bytes <= 15) return found
    throw new Wrong(expected, `this is ${bytes} bytes long`)
  }
  throw new Wrong(expected)
}

/** A namespace's name, as `ip netns` takes it. */
export function netnsName(found: unknown): string {
  const expected = 'the name of a network namespace'
  if (typeof found === 'number') throw new Wrong(expected, 'digits alone are a pid')
  if (typeof found !== 'string') throw new Wrong(expected)
  if (/^[0-9]+$/.test(found)) throw new Wrong(expected, 'digits alone are a pid')
  if (!/^[^\s/\p{Cc}-][^\s/\p{Cc}]{0,254}$/u.test(found) || found === '.' || found === '..')
    throw new Wrong(expected)
  return found
}

/** '', a name, an absolute path, or a pid. */
export function netns(found: unknown): string {
  const pid = typeof found === 'string' && /^[1-9][0-9]*$/.test(found) ? Number(found) : found
  if (typeof pid === 'number' && Number.isInteger(pid) && pid > 0 && pid <= 4_194_304) return String(pid)
  if (typeof found === 'string' && (found === '' || /^\/[^\0]+$/.test(found))) return found
  try {
    return netnsName(typeof found === 'number' ? null : found)
  } catch {
    throw new Wrong('a network namespace: a name, an absolute path or a pid')
  }
}

export function text(expected: string) {
  return leaf(
    (found): string => {
      if (typeof found === 'string' && found !== '' && !found.includes('\0')) return found
      throw new Wrong(expected)
    },
    { type: 'string' },
  )
}
