/**
 * What a VTEP keeps in shared memory: written by the worker (but for Remote.Mtu), read by the control thread
 * at leisure, adopted by the successor of a worker that died.
 *
 *     remotes    Remote.Words int32 per row           one remote VTEP or group, and its state
 *     counters   RemoteCount.Words doubles per row    what went there, came from there, was dropped
 *     addresses  a HashTable: (VXLAN port, MAC) -> row
 *     bindings   Binding.Words int32 per row          (VXLAN port, IP address) -> MAC, for suppression
 *
 * A row of remotes is one cache line and begins like a row of packet/layout.ts Path. An entry of `addresses`:
 *
 *     key0   bytes 2..5 of the MAC                  value0  row | generation << 17 | Station.Static
 *     key1   1 | port index (15) | bytes 0..1       value1  second of the worker's clock, last seen
 *
 * An entry whose generation is not its row's is dead, whatever else it says: so all that was learned of a
 * remote is forgotten by counting up one word.
 */
import { HashTable } from '../table/hash.ts'
import { lineDoubles, lineWords } from '../table/line.ts'

/** Words of a row of remotes. The first seven are those of Path. */
export const enum Remote {
  /** 4 or 6; 0 = the row is free. */
  Family = 0,
  Address0 = 1,
  Port = 5,
  Scope = 6,
  /** RemoteFlag bits. */
  Flags = 8,
  /** Longest packet of the underlay, its IP header included; 0 = VtepSettings.mtu. Control writes it. */
  Mtu = 9,
  /** Second of the worker's clock when something came from it last; 0 = never. */
  HeardS = 10,
  /** Addresses learned that are behind it. */
  Addresses = 11,
  /** Counts up when what was learned of it is forgotten. */
  Generation = 12,
  /** VXLAN ports that name it: in a list, as a group, in a static entry. */
  Users = 13,
  Words = 16,
}
export const REMOTE_SHIFT = 4

export const enum RemoteFlag {
  /** Named by the configuration; the others were learned from what they sent. */
  Named = 1,
  /** A multicast group of the underlay. */
  Group = 2,
  /** Does not answer: gets no floods. */
  Dead = 4,
}

/** Doubles of a row of counters. */
export const enum RemoteCount {
  /** Inner packets; a super-frame is one. */
  TxPackets = 0,
  /** Bytes of UDP payload. */
  TxBytes = 1,
  RxPackets = 2,
  RxBytes = 3,
  /** Dropped: did not fit, or the kernel said so (EMSGSIZE). */
  TooBig = 4,
  Unreachable = 5,
  NoRoom = 6,
  Refused = 7,
  /** Dropped of what came: not accepted, inner tag, congestion mark. */
  NotAccepted = 8,
  Tagged = 9,
  Ecn = 10,
  /** Addresses learned, moved here from another remote, and evicted to make room. */
  Learned = 11,
  Moved = 12,
  Evicted = 13,
  Words = 16,
}
export const COUNT_SHIFT = 4

export const enum Station {
  RowMask = 0x1ffff,
  GenerationShift = 17,
  GenerationMask = 0x1fff,
  /** Set by the operator: does not age, does not move. */
  Static = 0x40000000,
}
/** Rows that Station.RowMask can name. */
export const MAX_REMOTES = 0x20000

/** Words of a row of bindings. */
export const enum Binding {
  /** 1 << 31 | port << 8 | family; 0 = the row is free. */
  Key = 0,
  Address0 = 1,
  /** BindingFlag bits | bytes 0..1 of the MAC. */
  MacHi = 5,
  MacLo = 6,
  SeenS = 7,
  Words = 8,
}

export const enum BindingFlag {
  /** IPv6: an advertisement said it is a router. */
  Router = 0x10000,
  /** Set by the operator. */
  Static = 0x20000,
}

/** An address of the underlay as words, most significant first: one (IPv4) or four (IPv6). */
export interface TunnelAddress {
  address: number[]
  /** Index of the device, for link-local addresses and groups; else 0. */
  scope: number
}

export interface VtepMemory {
  remotes: Int32Array
  counters: Float64Array
  addresses: SharedArrayBuffer
  bindings: SharedArrayBuffer
}

/** The sockets of a VTEP, opened by the control thread. */
export interface VtepSockets {
  /** Receivers, then `senders` sockets of one DF setting, then as many with DF set (only df: inherit). */
  fds: number[]
  receivers: number
  /** Source ports: a power of two or not, at least 1. */
  senders: number
  /** An underlay TAP for super-frames of TCP; absent = there is none. */
  underlay?: number
}

export interface VtepSettings {
  /** Its own address, words like TunnelAddress; all 0 = every address of the machine. */
  local: number[]
  /** UDP port of the remotes. */
  port: number
  /** Longest packet of the underlay where a remote's own is not known. */
  mtu: number
  df: 'unset' | 'set' | 'inherit'
  /** 0 = the inner packet's. */
  ttl: number
  groupTtl: number
  /** -1 = the inner packet's. */
  tos: number
  strict: boolean
}

/** A station behind a remote, named by the operator. */
export interface TunnelStation {
  mac: Uint8Array
  remote: TunnelAddress
  /** Its IP addresses, for suppression; words like TunnelAddress. */
  addresses: number[][]
}

/** A VXLAN port; all of it can change while traffic flows. */
export interface VxlanSettings {
  remotes: TunnelAddress[]
  group: TunnelAddress | null
  statics: TunnelStation[]
  learning: boolean
  /** Most addresses learned; 0 = only the VTEP's limit. */
  limit: number
  /** Seconds, 0 = never. */
  agingS: number
  suppress: boolean
  clampMss: boolean
  innerVlan: 'discard' | 'keep'
  accept: 'known' | 'any'
}

/**
 * Memory of one VTEP.
 * @param remotes most remotes at a time, 1 to MAX_REMOTES
 * @param addresses most addresses, static ones too
 * @param bindings most (IP address, MAC) pairs
 */
export function vtepMemory(remotes: number, addresses: number, bindings: number, seed: number): VtepMemory {
  return {
    remotes: lineWords(remotes * Remote.Words),
    counters: lineDoubles(remotes * RemoteCount.Words),
    addresses: HashTable.memory(addresses, seed),
    bindings: new SharedArrayBuffer(bindings * Binding.Words * 4),
  }
}

/** An address behind a remote, as the control thread reads it. */
export interface StationRow {
  /** Index of the VXLAN port. */
  port: number
  macHi: number
  macLo: number
  /** Row of remotes. */
  remote: number
  static: boolean
  /** Second of the worker's clock. */
  seenS: number
}

/** Every address that was not forgotten; whether it is too old is the reader's to say (VxlanSettings.agingS). */
export function stationsOf(memory: VtepMemory): StationRow[] {
  const { words } = new HashTable(memory.addresses)
  const { remotes } = memory
  const rows: StationRow[] = []
  for (let at = 0; at < words.length; at += 4) {
    const key1 = words[at + 1]
    const value = words[at + 2]
    if (key1 === 0 || !isLive(remotes, value)) continue
    rows.push({
      port: (key1 >>> 16) & 0x7fff,
      macHi: key1 & 0xffff,
      macLo: words[at],
      remote: value & Station.RowMask,
      static: (value & Station.Static) !== 0,
      seenS: words[at + 3],
    })
  }
  return rows
}

/** What an entry says is still so: its remote was not forgotten since. */
export function isLive(remotes: Int32Array, value: number): boolean {
  if ((value & Station.Static) !== 0) return true
  const generation = remotes[((value & Station.RowMask) << REMOTE_SHIFT) + Remote.Generation]
  return (((value >>> Station.GenerationShift) ^ generation) & Station.GenerationMask) === 0
}
