/**
 * Which entries an operator means: listing (any thread), deleting and flushing (the worker, which alone
 * writes). A filter is a plain object, so that it can be sent to the worker; what it does not mention may be
 * anything.
 */
import type { Entries } from './entries.ts'
import { type ConntrackMemory, ENT_SHIFT, Ent, Header, NAT_IF_SHIFT, Status, V6 } from './layout.ts'
import { addressOf, type ConntrackRow, type EntryCopy, entries, rowOf } from './row.ts'
import { TCP_STATES } from './tcp-state.ts'
import { isIcmp } from './tuple.ts'

/** An address, or a network. One word for IPv4, four for IPv6, in host order. */
export interface AddressFilter {
  address: readonly number[]
  /** Bits; default: all. */
  prefix?: number
}

export interface ConntrackFilter {
  family?: 4 | 6
  protocol?: number
  src?: AddressFilter
  dst?: AddressFilter
  replySrc?: AddressFilter
  replyDst?: AddressFilter
  /** Of the original direction; ICMP: none matches. */
  sport?: number
  dport?: number
  replySport?: number
  replyDport?: number
  /** A name of TCP_STATES. */
  state?: string
  zone?: number
  mark?: { value: number; mask: number }
  /** Status bits that must be set, and that must not be. */
  status?: number
  statusNot?: number
  /** Masqueraded to this router interface. */
  boundIf?: number
}

export function matches(entry: EntryCopy, filter: ConntrackFilter): boolean {
  const { words } = entry
  const key = words[Ent.Key]
  const status = words[Ent.Status]
  const port = (word: Ent, high: boolean): number =>
    isIcmp(key & 0xff) ? -1 : high ? words[word] >>> 16 : words[word] & 0xffff
  const is = (wanted: number | undefined, got: number): boolean => wanted === undefined || wanted === got
  return (
    is(filter.family, (key & V6) !== 0 ? 6 : 4) &&
    is(filter.protocol, key & 0xff) &&
    is(filter.zone, key >>> 16) &&
    within(filter.src, entry, 0, false) &&
    within(filter.dst, entry, 0, true) &&
    within(filter.replySrc, entry, 1, false) &&
    within(filter.replyDst, entry, 1, true) &&
    is(filter.sport, port(Ent.OrigPorts, true)) &&
    is(filter.dport, port(Ent.OrigPorts, false)) &&
    is(filter.replySport, port(Ent.ReplyPorts, true)) &&
    is(filter.replyDport, port(Ent.ReplyPorts, false)) &&
    (filter.state === undefined ||
      ((key & 0xff) === 6 && TCP_STATES[words[Ent.Tcp] & 15] === filter.state)) &&
    (filter.mark === undefined || ((words[Ent.Mark] ^ filter.mark.value) & filter.mark.mask) === 0) &&
    (status & (filter.status ?? 0)) === (filter.status ?? 0) &&
    (status & (filter.statusNot ?? 0)) === 0 &&
    is(filter.boundIf, (words[Ent.Nat] >>> NAT_IF_SHIFT) - 1)
  )
}

function within(
  filter: AddressFilter | undefined,
  entry: EntryCopy,
  dir: number,
  destination: boolean,
): boolean {
  if (filter === undefined) return true
  const address = addressOf(entry, dir, destination)
  if (address.length !== filter.address.length) return false
  let bits = filter.prefix ?? 32 * address.length
  return address.every((word, i) => {
    const mask = bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits)
    bits -= 32
    return ((word ^ filter.address[i]) & mask) === 0
  })
}

/** Rows of the entries that match. */
export function* rows(
  memory: ConntrackMemory,
  nowMs: number,
  filter: ConntrackFilter = {},
): Generator<ConntrackRow> {
  for (const entry of entries(memory, nowMs)) if (matches(entry, filter)) yield rowOf(entry, nowMs)
}

/** Deletes what matches. Only the worker may; it walks the whole table. Returns how many. */
export function remove(table: Entries, nowMs: number, filter: ConntrackFilter = {}): number {
  let removed = 0
  for (const entry of entries(table.table.memory, nowMs)) {
    if (!matches(entry, filter)) continue
    table.kill(entry.index)
    removed++
  }
  return removed
}

/**
 * After a worker died: the entries that were nobody's but its packets' vanish, the rest is as it was.
 * Call once, before the first packet.
 */
export function adopt(table: Entries): void {
  const { header, words } = table.table
  for (let entry = 1; entry <= header[Header.High]; entry++) {
    const status = words[(entry << ENT_SHIFT) + Ent.Status]
    if ((status & (Status.Live | Status.Confirmed)) === Status.Live) table.kill(entry)
  }
}
