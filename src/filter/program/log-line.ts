/**
 * Records of a Report's ring as lines, as the kernel's nf_log writes them, for people and for tools that read
 * the kernel's log:
 *
 *     PREFIX IN=lan OUT=wan MAC=... SRC=10.0.0.2 DST=192.0.2.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=1 DF
 *         PROTO=TCP SPT=1000 DPT=80 WINDOW=64240 RES=0x00 SYN URGP=0
 *     TRACE: filter:FORWARD:rule:2 IN=...
 *
 * Runs in the control thread. What a rule says about its lines (prefix, options) is looked up by its counter.
 */
import type { RingReader } from '../../packet/ring.ts'
import type { Chain, LogTarget, NflogTarget, Rule, RuleSet } from '../model.ts'
import { printAddress } from '../value.ts'
import { counted } from './counters.ts'
import { LogKind, LogRecord } from './report.ts'

export interface LogLine {
  /** syslog severity. */
  level: number
  seconds: number
  nanos: number
  text: string
}

const TRACE_LEVEL = 4
const NO_ETHERNET = 16
const ETHERNET = 14
const HOOKS = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']
const FLAG_NAMES = ['CWR', 'ECE', 'URG', 'ACK', 'PSH', 'RST', 'SYN', 'FIN']
const FLAG_BITS = [128, 64, 32, 16, 8, 4, 2, 1]

/** A record of either ring, copied out of it. */
export interface Recorded {
  /** By LogRecord. */
  words: Int32Array
  bytes: Uint8Array
}

/** The oldest record; null when there is none. */
export function takeRecord(ring: RingReader): Recorded | null {
  const at = ring.next()
  if (at < 0) return null
  const words = ring.words.slice(at >> 2, (at >> 2) + LogRecord.Words)
  const from = at + LogRecord.Words * 4
  const bytes = ring.bytes.slice(from, from + words[LogRecord.Captured])
  ring.release()
  return { words, bytes }
}

/** Makes lines of one rule set's records. */
export class LogLines {
  private readonly interfaces: readonly string[]
  /** By family: rules by counter, and where they stand. */
  private readonly places = new Map<number, { what: Rule | Chain; place: string }[]>()

  constructor(rules: readonly RuleSet[], interfaces: readonly string[]) {
    this.interfaces = interfaces
    for (const set of rules) {
      const where = new Map<Rule | Chain, string>()
      for (const { name, chains } of set.tables) {
        for (const chain of chains) {
          for (const [i, rule] of chain.rules.entries())
            where.set(rule, `${name}:${chain.name}:rule:${i + 1}`)
          where.set(chain, `${name}:${chain.name}:policy:${chain.rules.length + 1}`)
        }
      }
      this.places.set(
        set.family,
        counted(set).map((what) => ({ what, place: where.get(what)! })),
      )
    }
  }

  /** The oldest record of the ring as a line; null when there is none. */
  next(ring: RingReader): LogLine | null {
    const record = takeRecord(ring)
    return record && this.line(record)
  }

  /** The NFLOG that a record is of; null: the rules are other ones by now. */
  nflogOf({ words }: Recorded): NflogTarget | null {
    const target = this.ruleOf(words)?.target
    return target?.kind === 'NFLOG' ? target : null
  }

  private ruleOf(words: Int32Array): Rule | undefined {
    const family = words[LogRecord.Hook] >> 8
    return this.places.get(family)?.[words[LogRecord.Rule]]?.what as Rule | undefined
  }

  line({ words, bytes }: Recorded): LogLine {
    const family = words[LogRecord.Hook] >> 8
    const found = this.places.get(family)?.[words[LogRecord.Rule]]
    const rule = found?.what as Rule | undefined
    const target = rule?.target?.kind === 'LOG' ? rule.target : null
    const said = rule?.target?.kind === 'NFLOG' ? rule.target.prefix : (target?.prefix ?? '')
    const trace = words[LogRecord.Kind] === LogKind.Trace
    const place = found?.place ?? HOOKS[words[LogRecord.Hook] & 0xff]
    const prefix = trace ? `TRACE: ${place} ` : said
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const parts = [
      `${prefix}IN=${this.interfaceName(words[LogRecord.InIf])} OUT=${this.interfaceName(words[LogRecord.OutIf])}`,
      macs(words, bytes),
      ...packet(words, view, target),
      words[LogRecord.Mark] === 0 ? '' : `MARK=0x${(words[LogRecord.Mark] >>> 0).toString(16)}`,
    ]
    return {
      level: target?.level ?? TRACE_LEVEL,
      seconds: words[LogRecord.Seconds] >>> 0,
      nanos: words[LogRecord.Nanos],
      text: parts.filter((part) => part !== '').join(' '),
    }
  }

  interfaceName(index: number): string {
    return index < 0 ? '' : (this.interfaces[index] ?? String(index))
  }
}

function macs(words: Int32Array, bytes: Uint8Array): string {
  // What was made here has no header yet, or that of the request it answers.
  if (words[LogRecord.InIf] < 0) return ''
  if ((words[LogRecord.Flags] & NO_ETHERNET) !== 0 || words[LogRecord.L3] < ETHERNET) return ''
  return `MAC=${[...bytes.subarray(0, ETHERNET)].map((b) => b.toString(16).padStart(2, '0')).join(':')}`
}

const hex = (value: number): string => `0x${value.toString(16).padStart(2, '0').toUpperCase()}`

function packet(words: Int32Array, view: DataView, target: LogTarget | null): string[] {
  const at = words[LogRecord.L3]
  const four = words[LogRecord.Hook] >> 8 === 4
  const whole = view.byteLength - at >= (four ? 20 : 40)
  if (!whole) return ['TRUNCATED']
  const address = (from: number, count: number): string =>
    printAddress(Array.from({ length: count }, (_, i) => view.getUint32(from + 4 * i)))
  const header: string[] = []
  let later = false
  if (four) {
    const tos = view.getUint8(at + 1)
    const fragment = view.getUint16(at + 6)
    later = (fragment & 0x1fff) !== 0
    header.push(
      `SRC=${address(at + 12, 1)} DST=${address(at + 16, 1)} LEN=${view.getUint16(at + 2)}`,
      `TOS=${hex(tos & 0x1e)} PREC=${hex(tos & 0xe0)} TTL=${view.getUint8(at + 8)} ID=${view.getUint16(at + 4)}`,
      (fragment & 0x8000) !== 0 ? 'CE' : '',
      (fragment & 0x4000) !== 0 ? 'DF' : '',
      (fragment & 0x2000) !== 0 ? 'MF' : '',
      later ? `FRAG:${fragment & 0x1fff}` : '',
    )
    const options = (view.getUint8(at) & 15) * 4
    if (target?.ipOptions && options > 20) header.push(`OPT (${hexBytes(view, at + 20, at + options)})`)
  } else {
    const first = view.getUint32(at)
    header.push(
      `SRC=${address(at + 8, 4)} DST=${address(at + 24, 4)} LEN=${view.getUint16(at + 4) + 40}`,
      `TC=${(first >>> 20) & 0xff} HOPLIMIT=${view.getUint8(at + 7)} FLOWLBL=${first & 0xfffff}`,
    )
  }
  return [...header, ...transport(words, view, target, later)]
}

function transport(words: Int32Array, view: DataView, target: LogTarget | null, later: boolean): string[] {
  const protocol = words[LogRecord.Protocol]
  const at = words[LogRecord.L4]
  const room = later ? 0 : view.byteLength - at
  const name = { 1: 'ICMP', 6: 'TCP', 17: 'UDP', 58: 'ICMPv6', 132: 'SCTP', 136: 'UDPLITE' }[protocol]
  const parts = [`PROTO=${name ?? protocol}`]
  if (later || name === undefined || protocol === 132) return parts
  const needs = protocol === 6 ? 20 : 8
  if (room < needs) return [...parts, `INCOMPLETE [${Math.max(0, room)} bytes]`]
  if (protocol === 1 || protocol === 58) {
    const type = view.getUint8(at)
    parts.push(`TYPE=${type} CODE=${view.getUint8(at + 1)}`)
    const echo = protocol === 1 ? [0, 8, 13, 14] : [128, 129]
    if (echo.includes(type)) parts.push(`ID=${view.getUint16(at + 4)} SEQ=${view.getUint16(at + 6)}`)
    return parts
  }
  parts.push(`SPT=${view.getUint16(at)} DPT=${view.getUint16(at + 2)}`)
  if (protocol !== 6) return [...parts, `LEN=${view.getUint16(at + 4)}`]
  if (target?.tcpSequence) parts.push(`SEQ=${view.getUint32(at + 4)} ACK=${view.getUint32(at + 8)}`)
  const flags = view.getUint8(at + 13)
  const reserved = (view.getUint8(at + 12) & 15) << 2
  parts.push(
    `WINDOW=${view.getUint16(at + 14)} RES=${hex(reserved)}`,
    ...FLAG_NAMES.filter((_, i) => (flags & FLAG_BITS[i]) !== 0),
    `URGP=${view.getUint16(at + 18)}`,
  )
  const end = Math.min(at + (view.getUint8(at + 12) >> 4) * 4, view.byteLength)
  if (target?.tcpOptions && end > at + 20) parts.push(`OPT (${hexBytes(view, at + 20, end)})`)
  return parts
}

function hexBytes(view: DataView, from: number, to: number): string {
  const last = Math.min(to, view.byteLength)
  let text = ''
  for (let i = from; i < last; i++) text += view.getUint8(i).toString(16).padStart(2, '0').toUpperCase()
  return text
}
