/** Matches that look something up or remember: set, recent, connlimit, statistic; and iprange and comment. */
import { Wrong } from '../error.ts'
import { quoteName, quoteText } from '../lex.ts'
import type { Family } from '../model.ts'
import { type Extension, flag, type Options, option, printInverting, words } from '../option.ts'
import {
  prefixMask,
  prefixOf,
  printAddress,
  readAddress,
  readMask,
  readNumber,
  readU64,
  readWord,
  U32,
  width,
} from '../value.ts'
import type {
  AddressRange,
  CommentMatch,
  ConnlimitMatch,
  IprangeMatch,
  RecentMatch,
  SetCounterMatch,
  SetMatch,
  StatisticMatch,
} from './model.ts'
import { readTableName } from './rate.ts'

const SET_COMPARE = ['eq', 'lt', 'gt'] as const

function counterOptions(what: 'packets' | 'bytes') {
  return SET_COMPARE.map((compare) =>
    option(`${what}-${compare}`, `--${what}-${compare}`, { invert: compare === 'eq' }),
  )
}

function readSetCounter(options: Options, what: 'packets' | 'bytes'): SetCounterMatch | null {
  const given = SET_COMPARE.filter((compare) => options.has(`${what}-${compare}`))
  if (given.length === 0) return null
  if (given.length > 1)
    throw new Wrong(`set: only one of --${what}-eq, --${what}-lt, --${what}-gt may be given`)
  const key = `${what}-${given[0]}`
  return {
    compare: options.inverted(key) ? 'ne' : given[0],
    value: readU64(options.text(key)!, `a number of ${what}`),
  }
}

function printSetCounter(what: string, match: SetCounterMatch | null): string {
  if (match === null) return ''
  return match.compare === 'ne'
    ? `! --${what}-eq ${match.value}`
    : `--${what}-${match.compare} ${match.value}`
}

/** The kernel looks at six dimensions at most. */
const MAX_SIDES = 6

export const set: Extension<SetMatch> = {
  name: 'set',
  options: [
    option('match', '--match-set', { args: 2, invert: true }),
    flag('return-nomatch', '--return-nomatch'),
    flag('counters', '--update-counters', { invert: true }),
    flag('subcounters', '--update-subcounters', { invert: true }),
    ...counterOptions('packets'),
    ...counterOptions('bytes'),
  ],
  build: (options) => {
    const name = options.need('match', '--match-set')
    const sides = options
      .args('match')![1]
      .split(',')
      .map((side) => readWord<'src' | 'dst'>(side, ['src', 'dst'], 'side of a set'))
    if (sides.length > MAX_SIDES) throw new Wrong(`set: more than ${MAX_SIDES} of src and dst`)
    return {
      kind: 'set',
      invert: options.inverted('match'),
      set: readSetName(name),
      sides,
      returnNomatch: options.has('return-nomatch'),
      updateCounters: !options.inverted('counters'),
      updateSubcounters: !options.inverted('subcounters'),
      packets: readSetCounter(options, 'packets'),
      bytes: readSetCounter(options, 'bytes'),
    }
  },
  print: (match) =>
    words(
      `${match.invert ? '! ' : ''}--match-set ${match.set} ${match.sides.join(',')}`,
      match.returnNomatch && '--return-nomatch',
      !match.updateCounters && '! --update-counters',
      !match.updateSubcounters && '! --update-subcounters',
      printSetCounter('packets', match.packets),
      printSetCounter('bytes', match.bytes),
    ),
}

export function readSetName(text: string): string {
  if (!/^[^\s"\\,/]{1,31}$/.test(text))
    throw new Wrong(`'${text}' is not a set name (1 to 31 characters, no blank, quote, comma)`)
  return text
}

const RECENT_ACTIONS = ['set', 'rcheck', 'update', 'remove'] as const

export const recent: Extension<RecentMatch> = {
  name: 'recent',
  options: [
    ...RECENT_ACTIONS.map((action) => flag(action, `--${action}`, { invert: true })),
    option('seconds', '--seconds'),
    flag('reap', '--reap'),
    option('hitcount', '--hitcount'),
    flag('rttl', '--rttl'),
    option('name', '--name'),
    option('mask', '--mask'),
    flag('rsource', '--rsource'),
    flag('rdest', '--rdest'),
  ],
  build: (options, family) => {
    const action = options.oneOf(
      RECENT_ACTIONS,
      '--set, --rcheck, --update, --remove',
    ) as RecentMatch['action']
    for (const key of ['seconds', 'reap', 'hitcount', 'rttl']) {
      if (options.has(key) && (action === 'set' || action === 'remove')) {
        throw new Wrong(`recent: --${key} belongs to --rcheck and --update`)
      }
    }
    if (options.has('reap') && !options.has('seconds')) throw new Wrong('recent: --reap needs --seconds')
    options.exclusive('rsource', 'rdest')
    return {
      kind: 'recent',
      action,
      invert: options.inverted(action),
      seconds: options.maybe('seconds', (text) => readNumber(text, 1, U32, 'seconds')) ?? 0,
      reap: options.has('reap'),
      hitCount: options.maybe('hitcount', (text) => readNumber(text, 0, 65535, 'a count')) ?? 0,
      sameTtl: options.has('rttl'),
      name: options.maybe('name', (text) => readTableName(text, 199)) ?? 'DEFAULT',
      mask: options.maybe('mask', (text) => readAddress(text, family)) ?? prefixMask(width(family), family),
      side: options.has('rdest') ? 'destination' : 'source',
    }
  },
  print: (match) =>
    words(
      `${match.invert ? '! ' : ''}--${match.action}`,
      match.seconds !== 0 && `--seconds ${match.seconds}`,
      match.reap && '--reap',
      match.hitCount !== 0 && `--hitcount ${match.hitCount}`,
      match.sameTtl && '--rttl',
      `--name ${quoteName(match.name)}`,
      `--mask ${printAddress(match.mask)}`,
      match.side === 'source' ? '--rsource' : '--rdest',
    ),
}

export const connlimit: Extension<ConnlimitMatch> = {
  name: 'connlimit',
  options: [
    option('upto', '--connlimit-upto', { invert: true }),
    option('above', '--connlimit-above', { invert: true }),
    option('mask', '--connlimit-mask'),
    flag('saddr', '--connlimit-saddr'),
    flag('daddr', '--connlimit-daddr'),
  ],
  build: (options, family) => {
    const key = options.oneOf(['upto', 'above'], '--connlimit-upto, --connlimit-above')
    options.exclusive('saddr', 'daddr')
    return {
      kind: 'connlimit',
      above: (key === 'above') !== options.inverted(key),
      limit: readNumber(options.text(key)!, 0, U32, 'a number of connections'),
      prefix: options.maybe('mask', (text) => readPrefix(text, family)) ?? width(family),
      by: options.has('daddr') ? 'destination' : 'source',
    }
  },
  print: (match) =>
    words(
      `--connlimit-${match.above ? 'above' : 'upto'} ${match.limit}`,
      `--connlimit-mask ${match.prefix}`,
      match.by === 'source' ? '--connlimit-saddr' : '--connlimit-daddr',
    ),
}

function readPrefix(text: string, family: Family): number {
  const prefix = prefixOf(readMask(text, family))
  if (prefix < 0) throw new Wrong(`the mask '${text}' is not a prefix`)
  return prefix
}

const CERTAIN = 0x8000_0000

export const statistic: Extension<StatisticMatch> = {
  name: 'statistic',
  options: [
    option('mode', '--mode'),
    option('probability', '--probability', { invert: true }),
    option('every', '--every', { invert: true }),
    option('packet', '--packet'),
  ],
  build: (options) => {
    const mode = readWord(options.need('mode', '--mode'), ['random', 'nth'], 'statistic mode')
    if (mode === 'random') {
      if (options.has('every') || options.has('packet'))
        throw new Wrong('statistic: --every and --packet belong to --mode nth')
      const probability = readProbability(options.need('probability', '--probability'))
      return {
        kind: 'statistic',
        mode,
        invert: options.inverted('probability'),
        threshold31: Math.round(probability * CERTAIN),
      }
    }
    if (options.has('probability')) throw new Wrong('statistic: --probability belongs to --mode random')
    const every = readNumber(options.need('every', '--every'), 1, U32, 'a number of packets')
    const packet = readNumber(options.text('packet') ?? '0', 0, every - 1, 'a packet number')
    return { kind: 'statistic', mode, invert: options.inverted('every'), every, packet }
  },
  print: (match) => {
    const not = match.invert ? '! ' : ''
    if (match.mode === 'nth') return `--mode nth ${not}--every ${match.every} --packet ${match.packet}`
    return `--mode random ${not}--probability ${(match.threshold31 / CERTAIN).toFixed(11)}`
  },
}

function readProbability(text: string): number {
  const value = /^[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?$/i.test(text) ? Number(text) : Number.NaN
  if (!(value >= 0 && value <= 1)) throw new Wrong(`'${text}' is not a probability from 0 to 1`)
  return value
}

export const iprange: Extension<IprangeMatch> = {
  name: 'iprange',
  options: [
    option('source', '--src-range', { invert: true }),
    option('destination', '--dst-range', { invert: true }),
  ],
  build: (options, family) => {
    options.needAny()
    const read = (text: string) => readAddressRange(text, family)
    return {
      kind: 'iprange',
      source: options.inverting('source', read),
      destination: options.inverting('destination', read),
    }
  },
  print: ({ source, destination }) =>
    words(
      printInverting('--src-range', source, printAddressRange),
      printInverting('--dst-range', destination, printAddressRange),
    ),
}

/** 'first-last' or one address. */
export function readAddressRange(text: string, family: Family): AddressRange {
  const dash = text.indexOf('-')
  const first = readAddress(dash < 0 ? text : text.slice(0, dash), family)
  const last = dash < 0 ? first : readAddress(text.slice(dash + 1), family)
  const differ = first.findIndex((word, at) => word !== last[at])
  if (differ >= 0 && first[differ] > last[differ])
    throw new Wrong(`the range '${text}' ends before it begins`)
  return { first, last }
}

function printAddressRange({ first, last }: AddressRange): string {
  return `${printAddress(first)}-${printAddress(last)}`
}

const MAX_COMMENT = 255

export const comment: Extension<CommentMatch> = {
  name: 'comment',
  options: [option('text', '--comment')],
  build: (options) => {
    const text = options.need('text', '--comment')
    if (Buffer.byteLength(text) > MAX_COMMENT) throw new Wrong(`comment: longer than ${MAX_COMMENT} bytes`)
    return { kind: 'comment', text }
  },
  print: ({ text }) => `--comment ${quoteText(text)}`,
}
