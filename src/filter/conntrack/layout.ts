/**
 * The memory of the conntrack table: who may read it, what lies where, what an entry costs. One thread
 * writes (the worker that owns the packets); any other may read at any time (row.ts shows how).
 *
 *     entries   32 words (two cache lines) per entry; entry 0 is not used, so that 0 means none
 *     ext       12 words per entry: the rest of IPv6 addresses. Untouched, and so no memory, for IPv4
 *     index     one word per place, two places taken per entry: tag | entry << 1 | direction   (table.ts)
 *     due       one word per entry: no later than this it may expire; 0 = the entry is free    (ageing.ts)
 *     sources   four words per place: how many entries a source has                            (sources.ts)
 *     header    counts and the seeds of the hash;   stats   doubles, see Stat
 *
 *     bytes per entry of a table of 1,000,000      IPv4  151      IPv6  199
 *
 * An entry is made of two tuples, of the original direction and of the reply. Without NAT the one is the
 * other turned around; with NAT the reply tuple is what the answers look like when they arrive here.
 *
 *     word   0      1      2      3      4      5      6       7       8       9
 *            src    dst    ports  src    dst    ports  key     status  expires mark     line 0
 *            \-- original ---/    \---- reply ---/
 *           10     11     12 .. 15                    16 .. 19        20 .. 22        23
 *            tcp    last   what original has sent      what reply has  last segment    mapping
 *           24 .. 31
 *            packets and bytes of both directions, four doubles                         line 1
 */
import { randomFillSync } from 'node:crypto'
import { lineWords } from '../../table/line.ts'

export const enum Ent {
  /** IPv4: the address; IPv6: its first word. The same for the other three. */
  OrigSrc = 0,
  OrigDst = 1,
  /** source << 16 | destination; ICMP: identifier << 16 | type << 8 | code. */
  OrigPorts = 2,
  ReplySrc = 3,
  ReplyDst = 4,
  ReplyPorts = 5,
  /** protocol | V6 | zone << 16. */
  Key = 6,
  /** Status bits. */
  Status = 7,
  /** Time of the worker's clock, wrapping: compared by difference. */
  ExpiresMs = 8,
  Mark = 9,
  /** State, scales and flags, see tcp.ts. */
  Tcp = 10,
  TcpLast = 11,
  /** End, MaxEnd, MaxWin, MaxAck of the original direction; then of the reply. */
  Sent = 12,
  LastSeq = 20,
  LastAck = 21,
  LastEnd = 22,
  /** NAT mapping (filter/nat/mappings.ts) | interface the flow is bound to + 1, << NAT_IF_SHIFT; 0 = none. */
  Nat = 23,
  Counters = 24,
  Words = 32,
}

/** Other uses of words of an entry. */
export const enum EntAlso {
  /** UDP: from then on traffic in both directions is a stream. */
  StreamMs = 12,
  /** Of an unconfirmed entry, which counts nothing yet: the packet it belongs to, and since when. */
  Owner = 24,
  BornMs = 25,
}
export const ENT_SHIFT = 5
export const EXT_WORDS = 12
/** Words of one direction's tuple in an entry, and of its addresses in ext. */
export const TUPLE_WORDS = 3
export const EXT_TUPLE_WORDS = 6

export const NAT_IF_SHIFT = 24
export const NAT_MAPPING = 0xffffff

/** Bit of Ent.Key and of a tuple's key. */
export const V6 = 0x100

/** The kernel's numbers (IPS_*) below 2^16. */
export const enum Status {
  Expected = 1,
  SeenReply = 2,
  Assured = 4,
  Confirmed = 8,
  SrcNat = 16,
  DstNat = 32,
  NatMask = 48,
  SrcNatDone = 128,
  DstNatDone = 256,
  NatDoneMask = 384,
  /** The place is taken. */
  Live = 0x10000,
  /** The zone counts in the tuple of this direction; shifted left by the direction. */
  ZoneOrig = 0x20000,
  ZoneReply = 0x40000,
  ZoneShift = 17,
  /** Its source is counted (sources.ts). */
  Counted = 0x80000,
  /** Was made here (OUTPUT). */
  Local = 0x100000,
  /** It came from outside to a NAT mapping: its replies are what is outbound. */
  Inbound = 0x200000,
  /** Its mapping remembers whom it speaks to. */
  Spoken = 0x400000,
}

export const enum Header {
  /** Entries that are taken. */
  Count = 0,
  /** Entries 1 to this were used at some time. */
  High = 1,
  /** First of the free ones below, or 0. */
  Free = 2,
  /** Most entries. */
  Capacity = 3,
  /** Sources that are counted. */
  Sources = 4,
  /** Ten secret words. */
  Seeds = 8,
  Words = 32,
}
const SEEDS = 12

export const enum Stat {
  Found = 0,
  Created = 1,
  Confirmed = 2,
  Invalid = 3,
  Expired = 4,
  Deleted = 5,
  EarlyDropped = 6,
  /** New flows refused because the table was full, or the source had too many. */
  Full = 7,
  SourceLimited = 8,
  /** A confirmation met an entry with the same tuple. */
  Clashed = 9,
  Related = 10,
  NatExhausted = 11,
  NatFiltered = 12,
  Words = 16,
}
/** In the order of Stat. */
export const STATS = [
  'found',
  'created',
  'confirmed',
  'invalid',
  'expired',
  'deleted',
  'earlyDropped',
  'full',
  'sourceLimited',
  'clashed',
  'related',
  'natExhausted',
  'natFiltered',
] as const

export const enum Dir {
  Original = 0,
  Reply = 1,
}

/** Most entries of a table: the index has 24 bits for entry and direction, the rest is the tag. */
export const MAX_CAPACITY = (1 << 23) - 2

export interface ConntrackMemory {
  header: Int32Array
  entries: Int32Array
  ext: Int32Array
  index: Int32Array
  due: Int32Array
  sources: Int32Array
  stats: Float64Array
}

/** Memory for at most `capacity` entries. `seed`: words for the hash, random unless a test repeats itself. */
export function conntrackMemory(capacity: number, seed?: Int32Array): ConntrackMemory {
  if (!Number.isInteger(capacity) || capacity < 1 || capacity > MAX_CAPACITY)
    throw new RangeError(`a conntrack table holds 1 to ${MAX_CAPACITY} entries, not ${capacity}`)
  const words = lineWords
  const memory: ConntrackMemory = {
    header: words(Header.Words),
    entries: words((capacity + 1) * Ent.Words),
    ext: words((capacity + 1) * EXT_WORDS),
    index: words(places(2 * capacity, 0.6, 16)),
    due: words(capacity + 1),
    sources: words(4 * places(capacity / 8, 1, 64)),
    stats: new Float64Array(new SharedArrayBuffer(Stat.Words * 8)),
  }
  memory.header[Header.Capacity] = capacity
  memory.header.set(seed ?? randomFillSync(new Int32Array(SEEDS)), Header.Seeds)
  return memory
}

/** The least power of two of which `share` is enough for `taken`. */
function places(taken: number, share: number, least: number): number {
  let power = least
  while (power * share < taken) power *= 2
  return power
}

/** What one more entry costs of memory, everything included. */
export function bytesPerEntry(memory: ConntrackMemory, family: 4 | 6): number {
  const capacity = memory.header[Header.Capacity]
  const shared = memory.index.byteLength + memory.sources.byteLength + memory.due.byteLength
  return Ent.Words * 4 + (family === 6 ? EXT_WORDS * 4 : 0) + shared / (capacity + 1)
}
