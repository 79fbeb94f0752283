/** Targets that change the packet or what is noted of it: MARK, CONNMARK, CT, NOTRACK, TCPMSS, TOS, DSCP, TTL, HL, TRACE, CHECKSUM. */
import { Wrong } from '../error.ts'
import { TCP_FLAG } from '../matches/model.ts'
import { type Family, HOOK } from '../model.ts'
import { readDscpClass } from '../names.ts'
import {
  type Extension,
  flag,
  isProtocol,
  type OptionSpec,
  type Options,
  only,
  option,
  type Place,
  words,
} from '../option.ts'
import { hex, readMark, readNumber, U32 } from '../value.ts'
import type {
  ConnmarkTarget,
  CtTarget,
  DscpTarget,
  FlagTarget,
  MarkTarget,
  TcpmssTarget,
  TosTarget,
  TtlTarget,
} from './model.ts'

const ANYWHERE = ~0

const SET_MARK: readonly OptionSpec[] = [
  option('xmark', '--set-xmark'),
  option('mark', '--set-mark'),
  option('and', '--and-mark'),
  option('or', '--or-mark'),
  option('xor', '--xor-mark'),
]
const SET_KEYS = SET_MARK.map((spec) => spec.key)
const SET_NAMES = SET_MARK.map((spec) => spec.names[0]).join(', ')

/** Every way to write a change of a mark as (x & ~mask) ^ value. */
function buildMark(key: string, text: string): { value: number; mask: number } {
  if (key === 'xmark') return readMark(text)
  if (key === 'mark') {
    const { value, mask } = readMark(text)
    return { value, mask: (mask | value) >>> 0 }
  }
  const bits = readNumber(text, 0, U32, 'a number')
  if (key === 'and') return { value: 0, mask: ~bits >>> 0 }
  return { value: bits, mask: key === 'or' ? bits : 0 }
}

export const mark: Extension<MarkTarget> = {
  name: 'MARK',
  options: SET_MARK,
  build: (options) => {
    const key = options.oneOf(SET_KEYS, SET_NAMES)
    return { kind: 'MARK', ...buildMark(key, options.text(key)!) }
  },
  print: ({ value, mask }) => `--set-xmark ${hex(value)}/${hex(mask)}`,
}

export const connmark: Extension<ConnmarkTarget> = {
  name: 'CONNMARK',
  options: [
    ...SET_MARK,
    flag('save', '--save-mark'),
    flag('restore', '--restore-mark'),
    option('nfmask', '--nfmask'),
    option('ctmask', '--ctmask'),
    option('both', '--mask'),
  ],
  build: (options) => {
    const key = options.oneOf([...SET_KEYS, 'save', 'restore'], `${SET_NAMES}, --save-mark, --restore-mark`)
    if (key !== 'save' && key !== 'restore') {
      for (const mask of ['nfmask', 'ctmask', 'both']) {
        if (options.has(mask))
          throw new Wrong('CONNMARK: masks as options belong to --save-mark and --restore-mark')
      }
      return { kind: 'CONNMARK', action: 'set', ...buildMark(key, options.text(key)!) }
    }
    options.exclusive('both', 'nfmask')
    options.exclusive('both', 'ctmask')
    const mask = (name: string) => options.maybe(name, (text) => readNumber(text, 0, U32, 'a mask'))
    const both = mask('both') ?? U32
    return { kind: 'CONNMARK', action: key, nfMask: mask('nfmask') ?? both, ctMask: mask('ctmask') ?? both }
  },
  print: (target) =>
    target.action === 'set'
      ? `--set-xmark ${hex(target.value)}/${hex(target.mask)}`
      : `--${target.action}-mark --nfmask ${hex(target.nfMask)} --ctmask ${hex(target.ctMask)}`,
}

const ZONE_SUFFIX = { both: '', original: '-orig', reply: '-reply' } as const
const ZONE_KEYS = { zone: 'both', 'zone-orig': 'original', 'zone-reply': 'reply' } as const

function checkRaw(name: string): (shape: unknown, place: Place) => string | undefined {
  return (_, place) => only(place, `target ${name}`, ['raw'], ANYWHERE, '')
}

export const ct: Extension<CtTarget> = {
  name: 'CT',
  options: [flag('notrack', '--notrack'), ...Object.keys(ZONE_KEYS).map((key) => option(key, `--${key}`))],
  build: (options) => {
    const given = (Object.keys(ZONE_KEYS) as (keyof typeof ZONE_KEYS)[]).filter((key) => options.has(key))
    if (given.length > 1) throw new Wrong('CT: only one of --zone, --zone-orig, --zone-reply may be given')
    const id = given.length === 0 ? 0 : readZone(options.text(given[0])!)
    return {
      kind: 'CT',
      notrack: options.has('notrack'),
      zone: id === 0 ? null : { direction: ZONE_KEYS[given[0]], id },
    }
  },
  print: ({ notrack, zone }) =>
    words(notrack && '--notrack', zone && `--zone${ZONE_SUFFIX[zone.direction]} ${zone.id}`),
  check: checkRaw('CT'),
}

function readZone(text: string): number | 'mark' {
  return text === 'mark' ? 'mark' : readNumber(text, 0, 65535, "a zone (or 'mark')")
}

export const notrack: Extension<CtTarget> = {
  name: 'NOTRACK',
  options: [],
  build: () => ({ kind: 'NOTRACK', notrack: true, zone: null }),
  print: () => '',
  check: checkRaw('NOTRACK'),
}

export const trace: Extension<FlagTarget> = {
  name: 'TRACE',
  options: [],
  build: () => ({ kind: 'TRACE' }),
  print: () => '',
  check: checkRaw('TRACE'),
}

function checkMangle(name: string): (shape: unknown, place: Place) => string | undefined {
  return (_, place) => only(place, `target ${name}`, ['mangle'], ANYWHERE, '')
}

export const checksum: Extension<FlagTarget> = {
  name: 'CHECKSUM',
  options: [flag('fill', '--checksum-fill')],
  build: (options) => {
    if (!options.has('fill')) throw new Wrong("CHECKSUM: '--checksum-fill' must be given")
    return { kind: 'CHECKSUM' }
  },
  print: () => '--checksum-fill',
  check: checkMangle('CHECKSUM'),
}

/** A packet of 65535 bytes less its network header, as iptables has it. */
const MAX_MSS: Readonly<Record<Family, number>> = { 4: 65515, 6: 65495 }

export const tcpmss: Extension<TcpmssTarget> = {
  name: 'TCPMSS',
  options: [option('set', '--set-mss'), flag('clamp', '--clamp-mss-to-pmtu')],
  build: (options, family) => {
    const key = options.oneOf(['set', 'clamp'], '--set-mss, --clamp-mss-to-pmtu')
    return {
      kind: 'TCPMSS',
      mss: key === 'clamp' ? null : readNumber(options.text('set')!, 0, MAX_MSS[family], 'an MSS'),
    }
  },
  print: ({ mss }) => (mss === null ? '--clamp-mss-to-pmtu' : `--set-mss ${mss}`),
  check: ({ mss }, place) => {
    const syn = place.rule.matches.some(
      (match) =>
        match.kind === 'tcp' &&
        match.flags &&
        !match.flags.invert &&
        match.flags.value.compare & TCP_FLAG.SYN,
    )
    if (!isProtocol(place.rule, 6) || !syn) {
      return 'TCPMSS works only on SYN packets: the rule needs -p tcp --syn or --tcp-flags SYN,RST SYN'
    }
    if (mss !== null) return undefined
    const hooks = HOOK.FORWARD | HOOK.OUTPUT | HOOK.POSTROUTING
    return only(place, 'TCPMSS --clamp-mss-to-pmtu', [], hooks, 'FORWARD, OUTPUT, POSTROUTING')
  },
}

const TOS_NAME: Readonly<Record<string, number>> = Object.assign(Object.create(null), {
  'Minimize-Delay': 16,
  'Maximize-Throughput': 8,
  'Maximize-Reliability': 4,
  'Minimize-Cost': 2,
  'Normal-Service': 0,
})

/** A name means the old TOS bits only (RFC 1349), so its mask leaves precedence alone. */
function readTos(text: string): { value: number; mask: number } {
  const name = Object.keys(TOS_NAME).find((key) => key.toLowerCase() === text.toLowerCase())
  if (name !== undefined) return { value: TOS_NAME[name], mask: 0x3f }
  if (!/^[0-9]/.test(text))
    throw new Wrong(`unknown TOS '${text}'`, ['value[/mask]', ...Object.keys(TOS_NAME)])
  const [value, mask, more] = text.split('/')
  if (more !== undefined) throw new Wrong(`'${text}' is not value[/mask]`)
  return { value: readByte(value), mask: mask === undefined ? 0xff : readByte(mask) }
}

function readByte(text: string): number {
  return readNumber(text, 0, 255, 'a number')
}

function hex2(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`
}

export const tos: Extension<TosTarget> = {
  name: 'TOS',
  options: [
    option('set', '--set-tos'),
    option('and', '--and-tos'),
    option('or', '--or-tos'),
    option('xor', '--xor-tos'),
  ],
  build: (options) => {
    const key = options.oneOf(['set', 'and', 'or', 'xor'], '--set-tos, --and-tos, --or-tos, --xor-tos')
    const text = options.text(key)!
    if (key === 'set') return { kind: 'TOS', ...readTos(text) }
    const bits = readByte(text)
    if (key === 'and') return { kind: 'TOS', value: 0, mask: ~bits & 255 }
    return { kind: 'TOS', value: bits, mask: key === 'or' ? bits : 0 }
  },
  print: ({ value, mask }) => `--set-tos ${hex2(value)}/${hex2(mask)}`,
  check: checkMangle('TOS'),
}

export const dscp: Extension<DscpTarget> = {
  name: 'DSCP',
  options: [option('value', '--set-dscp'), option('class', '--set-dscp-class')],
  build: (options) => {
    const key = options.oneOf(['value', 'class'], '--set-dscp, --set-dscp-class')
    const text = options.text(key)!
    return { kind: 'DSCP', value: key === 'class' ? readDscpClass(text) : readNumber(text, 0, 63, 'a DSCP') }
  },
  print: ({ value }) => `--set-dscp ${hex2(value)}`,
  check: checkMangle('DSCP'),
}

function ttlTarget(kind: 'TTL' | 'HL', family: Family): Extension<TtlTarget> {
  const name = kind.toLowerCase()
  return {
    name: kind,
    family,
    options: ['set', 'inc', 'dec'].map((action) => option(action, `--${name}-${action}`)),
    build: (options: Options) => {
      const action = options.oneOf(
        ['set', 'inc', 'dec'],
        `--${name}-set, --${name}-inc, --${name}-dec`,
      ) as TtlTarget['action']
      const value = readNumber(options.text(action)!, action === 'set' ? 0 : 1, 255, 'a number')
      return { kind, action, value }
    },
    print: ({ action, value }) => `--${name}-${action} ${value}`,
    check: checkMangle(kind),
  }
}

export const ttl = ttlTarget('TTL', 4)
export const hl = ttlTarget('HL', 6)
