/**
 * The table for people and programs, read from any thread: rows, and the lines that `conntrack -L` prints.
 *
 *     tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=198.51.100.1 sport=40000 dport=443 packets=3 bytes=180
 *       src=198.51.100.1 dst=203.0.113.1 sport=443 dport=40000 packets=2 bytes=120 [ASSURED] mark=0 use=1
 *
 * (one line). The worker goes on writing meanwhile: an entry is copied until two copies agree about what it
 * is, and an entry whose time is over is not shown although its place may not be reclaimed yet.
 */
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import * as l4 from '../../wire/l4.ts'
import {
  type ConntrackMemory,
  Ent,
  EXT_TUPLE_WORDS,
  EXT_WORDS,
  Header,
  Status,
  TUPLE_WORDS,
  V6,
} from './layout.ts'
import { TCP_STATES } from './tcp-state.ts'
import { isIcmp } from './tuple.ts'

/** One direction. Which of ports and ICMP fields are there depends on the protocol. */
export interface TupleRow {
  src: string
  dst: string
  sport?: number
  dport?: number
  type?: number
  code?: number
  id?: number
  packets: number
  bytes: number
}

export interface ConntrackRow {
  family: 4 | 6
  protocol: number
  protocolName: string
  /** Whole seconds that are left. */
  timeoutS: number
  /** TCP. */
  state: string | null
  original: TupleRow
  reply: TupleRow
  /** Of SEEN_REPLY, ASSURED, SRC_NAT, DST_NAT. */
  status: string[]
  mark: number
  zone: number
  /** The zone counts in one direction only. */
  zoneDirection: 'original' | 'reply' | null
}

/** A copy of an entry's words and of its part of ext. */
export interface EntryCopy {
  index: number
  words: Int32Array
  ext: Int32Array
  counters: Float64Array
}

const NAMES: Record<number, string> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  47: 'gre',
  58: 'icmpv6',
  132: 'sctp',
  136: 'udplite',
}
const TCP = 6
const GRE = 47
const STATE_MASK = 15
const TRIES = 4
const SHOWN: [Status, string][] = [
  [Status.SeenReply, 'SEEN_REPLY'],
  [Status.Assured, 'ASSURED'],
  [Status.SrcNat, 'SRC_NAT'],
  [Status.DstNat, 'DST_NAT'],
]

/** The confirmed entries whose time is not over. The copy is only good until the next one. */
export function* entries(memory: ConntrackMemory, nowMs: number): Generator<EntryCopy> {
  const buffer = new ArrayBuffer(Ent.Words * 4)
  const words = new Int32Array(buffer)
  const counters = new Float64Array(buffer, Ent.Counters * 4)
  const ext = new Int32Array(EXT_WORDS)
  const high = memory.header[Header.High]
  for (let index = 1; index <= high; index++) {
    if (!copyOf(memory, index, words, ext)) continue
    if (((words[Ent.ExpiresMs] - nowMs) | 0) > 0) yield { index, words, ext, counters }
  }
}

function copyOf(memory: ConntrackMemory, index: number, words: Int32Array, ext: Int32Array): boolean {
  const at = index * Ent.Words
  for (let tries = 0; tries < TRIES; tries++) {
    if ((memory.entries[at + Ent.Status] & Status.Confirmed) === 0) return false
    words.set(memory.entries.subarray(at, at + Ent.Words))
    if ((words[Ent.Key] & V6) !== 0) ext.set(memory.ext.subarray(index * EXT_WORDS, (index + 1) * EXT_WORDS))
    let same = (memory.entries[at + Ent.Status] & Status.Confirmed) !== 0
    for (let i = 0; i <= Ent.Key; i++) same &&= memory.entries[at + i] === words[i]
    if (same) return true
  }
  return false
}

/** Four words of the source or destination of a direction; IPv4: one. */
export function addressOf(entry: EntryCopy, dir: number, destination: boolean): number[] {
  const word = entry.words[dir * TUPLE_WORDS + (destination ? 1 : 0)]
  if ((entry.words[Ent.Key] & V6) === 0) return [word]
  const at = dir * EXT_TUPLE_WORDS + (destination ? 3 : 0)
  return [word, ...entry.ext.subarray(at, at + 3)]
}

function addressText(words: number[]): string {
  return words.length === 1 ? ipv4.addrText(words[0]) : ipv6.addrText(words[0], words[1], words[2], words[3])
}

function tupleRow(entry: EntryCopy, dir: number): TupleRow {
  const ports = entry.words[dir * TUPLE_WORDS + 2]
  const protocol = entry.words[Ent.Key] & 0xff
  let fields: Partial<TupleRow> = {}
  if (isIcmp(protocol)) fields = { type: (ports >> 8) & 255, code: ports & 255, id: ports >>> 16 }
  else if (l4.hasPorts(protocol)) fields = { sport: ports >>> 16, dport: ports & 0xffff }
  return {
    src: addressText(addressOf(entry, dir, false)),
    dst: addressText(addressOf(entry, dir, true)),
    ...fields,
    packets: entry.counters[2 * dir],
    bytes: entry.counters[2 * dir + 1],
  }
}

export function rowOf(entry: EntryCopy, nowMs: number): ConntrackRow {
  const { words } = entry
  const protocol = words[Ent.Key] & 0xff
  const status = words[Ent.Status]
  const dirs = (status >> Status.ZoneShift) & 3
  return {
    family: (words[Ent.Key] & V6) !== 0 ? 6 : 4,
    protocol,
    protocolName: NAMES[protocol] ?? 'unknown',
    timeoutS: Math.floor(((words[Ent.ExpiresMs] - nowMs) | 0) / 1000),
    state: protocol === TCP ? TCP_STATES[words[Ent.Tcp] & STATE_MASK] : null,
    original: tupleRow(entry, 0),
    reply: tupleRow(entry, 1),
    status: SHOWN.filter(([bit]) => (status & bit) !== 0).map(([, name]) => name),
    mark: words[Ent.Mark] >>> 0,
    zone: words[Ent.Key] >>> 16,
    zoneDirection: dirs === 3 || dirs === 0 ? null : dirs === 1 ? 'original' : 'reply',
  }
}

function tupleText(row: TupleRow, protocol: number): string {
  const parts = [`src=${row.src} dst=${row.dst}`]
  if (row.sport !== undefined) parts.push(`sport=${row.sport} dport=${row.dport}`)
  if (row.type !== undefined) parts.push(`type=${row.type} code=${row.code} id=${row.id}`)
  if (protocol === GRE) parts.push('srckey=0x0 dstkey=0x0')
  return parts.join(' ')
}

/**
 * The line of `conntrack -L` (with nf_conntrack_acct: packets and bytes).
 * @param counters leave packets and bytes out, as a kernel does that does not count
 */
export function lineOf(row: ConntrackRow, counters = true): string {
  const count = (t: TupleRow): string => (counters ? ` packets=${t.packets} bytes=${t.bytes}` : '')
  const zoneIn = (direction: 'original' | 'reply', name: string): string =>
    row.zone !== 0 && row.zoneDirection === direction ? ` ${name}=${row.zone}` : ''
  const unreplied = row.status.includes('SEEN_REPLY') ? '' : ' [UNREPLIED]'
  return [
    `${row.protocolName.padEnd(8)} ${row.protocol} ${row.timeoutS} `,
    row.state === null ? '' : `${row.state} `,
    `${tupleText(row.original, row.protocol)}${zoneIn('original', 'zone-orig')}${count(row.original)}`,
    unreplied,
    ` ${tupleText(row.reply, row.protocol)}${zoneIn('reply', 'zone-reply')}${count(row.reply)}`,
    row.status.includes('ASSURED') ? ' [ASSURED]' : '',
    ` mark=${row.mark}`,
    row.zone !== 0 && row.zoneDirection === null ? ` zone=${row.zone}` : '',
    ' use=1',
  ].join('')
}
