/** The matches a rule can carry: one shape each, told apart by `kind`, which is its name after -m. */
import type { Network, Range, Words } from '../model.ts'

/** Bits of conntrack's and state's `states`, in the order they are printed. */
export const CT_STATE = {
  INVALID: 1,
  NEW: 2,
  RELATED: 4,
  ESTABLISHED: 8,
  UNTRACKED: 16,
  SNAT: 32,
  DNAT: 64,
} as const

export const CT_STATUS = { EXPECTED: 1, SEEN_REPLY: 2, ASSURED: 4, CONFIRMED: 8 } as const

/** Bits of addrtype: 1 << the kernel's RTN_ number. */
export const ADDRESS_TYPE = {
  UNSPEC: 1,
  UNICAST: 2,
  LOCAL: 4,
  BROADCAST: 8,
  ANYCAST: 16,
  MULTICAST: 32,
  BLACKHOLE: 64,
  UNREACHABLE: 128,
  PROHIBIT: 256,
  THROW: 512,
  NAT: 1024,
  XRESOLVE: 2048,
} as const

/** The flag byte of the TCP header. */
export const TCP_FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const

/** Bits of hashlimit's mode, in the order they are printed. */
export const HASH_MODE = { srcip: 1, srcport: 2, dstip: 4, dstport: 8 } as const

export interface Inverted<T> {
  invert: boolean
  value: T
}

/** tcp and udp: no port given is null. */
export interface PortMatch {
  source: Inverted<Range> | null
  destination: Inverted<Range> | null
}

export interface TcpMatch extends PortMatch {
  kind: 'tcp'
  /** (flags & mask) === compare, with TCP_FLAG bits. */
  flags: Inverted<{ mask: number; compare: number }> | null
  /** Kind of a TCP option that must be there. */
  option: Inverted<number> | null
}

export interface UdpMatch extends PortMatch {
  kind: 'udp'
}

export interface IcmpMatch {
  kind: 'icmp' | 'icmp6'
  invert: boolean
  /** null: any. */
  type: number | null
  code: Range
}

export interface MultiportMatch {
  kind: 'multiport'
  side: 'source' | 'destination' | 'either'
  invert: boolean
  /** A single port is a range of one. At most 15 port numbers in all. */
  ports: Range[]
}

export interface AddressRange {
  first: Words
  last: Words
}

export interface IprangeMatch {
  kind: 'iprange'
  source: Inverted<AddressRange> | null
  destination: Inverted<AddressRange> | null
}

export interface ConntrackMatch {
  kind: 'conntrack'
  /** CT_STATE bits; any of them. */
  states: Inverted<number> | null
  protocol: Inverted<number> | null
  /** Addresses as written: there may be bits outside of the mask, which do not count. */
  origSource: Inverted<Network> | null
  origDestination: Inverted<Network> | null
  replySource: Inverted<Network> | null
  replyDestination: Inverted<Network> | null
  origSourcePort: Inverted<Range> | null
  origDestinationPort: Inverted<Range> | null
  replySourcePort: Inverted<Range> | null
  replyDestinationPort: Inverted<Range> | null
  /** CT_STATUS bits; any of them. 0: none of them is set. */
  status: Inverted<number> | null
  /** Seconds until the entry expires. */
  expireS: Inverted<Range> | null
  direction: 'original' | 'reply' | null
}

export interface StateMatch {
  kind: 'state'
  invert: boolean
  /** CT_STATE bits without SNAT and DNAT. */
  states: number
}

export interface AddrtypeMatch {
  kind: 'addrtype'
  /** ADDRESS_TYPE bits; any of them. */
  source: Inverted<number> | null
  destination: Inverted<number> | null
  /** Look the address up only among those of this interface. */
  limit: 'in' | 'out' | null
}

/** mark: of the packet; connmark: of its conntrack entry. (x & mask) === value. */
export interface MarkMatch {
  kind: 'mark' | 'connmark'
  invert: boolean
  value: number
  mask: number
}

export interface LimitMatch {
  kind: 'limit'
  /** Time one packet costs, in 1/10000 s: the kernel's own resolution. */
  cost100us: number
  burst: number
}

export interface HashlimitMatch {
  kind: 'hashlimit'
  /** true: matches what exceeds the rate; false: what stays within it. */
  above: boolean
  rate:
    | { unit: 'packets'; costUs: number; burst: number }
    /** What 16 bytes cost, of 2^32 that a second brings; how often a bucket is filled at once (0: no burst). */
    | { unit: 'bytes'; chunkCost: number; refills: number }
  /** --hashlimit-rate-match: a flow is measured over so many seconds. 0: it takes from a bucket. */
  intervalS: number
  /** HASH_MODE bits; 0: one bucket for all. */
  mode: number
  name: string
  sourcePrefix: number
  destinationPrefix: number
  /** 0: the implementation's choice. */
  tableSize: number
  tableMax: number
  gcIntervalMs: number
  expireMs: number
}

export interface ConnlimitMatch {
  kind: 'connlimit'
  /** true: more than `limit`; false: at most. */
  above: boolean
  limit: number
  prefix: number
  by: 'source' | 'destination'
}

export interface RecentMatch {
  kind: 'recent'
  action: 'set' | 'rcheck' | 'update' | 'remove'
  invert: boolean
  /** 0: not given. */
  seconds: number
  reap: boolean
  /** 0: not given. */
  hitCount: number
  sameTtl: boolean
  name: string
  mask: Words
  side: 'source' | 'destination'
}

export interface SetMatch {
  kind: 'set'
  invert: boolean
  set: string
  /** One for each dimension of the set's elements. */
  sides: ('src' | 'dst')[]
  returnNomatch: boolean
  updateCounters: boolean
  updateSubcounters: boolean
  packets: SetCounterMatch | null
  bytes: SetCounterMatch | null
}

export interface SetCounterMatch {
  compare: 'eq' | 'ne' | 'lt' | 'gt'
  value: bigint
}

export type StatisticMatch =
  /** Matches if a random 31-bit number is below `threshold31`. */
  | { kind: 'statistic'; mode: 'random'; invert: boolean; threshold31: number }
  /** Matches one of `every` packets, the first time after `packet` others. */
  | { kind: 'statistic'; mode: 'nth'; invert: boolean; every: number; packet: number }

/** length: of the network-layer packet. tcpmss: the option of a SYN. Both inclusive. */
export interface RangeMatch {
  kind: 'length' | 'tcpmss'
  invert: boolean
  range: Range
}

export interface TtlMatch {
  kind: 'ttl' | 'hl'
  compare: 'eq' | 'ne' | 'lt' | 'gt'
  value: number
}

export interface DscpMatch {
  kind: 'dscp'
  invert: boolean
  value: number
}

export interface PkttypeMatch {
  kind: 'pkttype'
  invert: boolean
  type: 'unicast' | 'broadcast' | 'multicast' | 'otherhost'
}

export interface MacMatch {
  kind: 'mac'
  invert: boolean
  /** Six bytes. */
  source: readonly number[]
}

/** Always matches. */
export interface CommentMatch {
  kind: 'comment'
  text: string
}

export interface RpfilterMatch {
  kind: 'rpfilter'
  loose: boolean
  validMark: boolean
  acceptLocal: boolean
  invert: boolean
}

export interface PhysdevMatch {
  kind: 'physdev'
  in: Inverted<{ name: string; prefix: boolean }> | null
  out: Inverted<{ name: string; prefix: boolean }> | null
  /** The value that is required; null: not asked. */
  isIn: boolean | null
  isOut: boolean | null
  isBridged: boolean | null
}

export type Match =
  | TcpMatch
  | UdpMatch
  | IcmpMatch
  | MultiportMatch
  | IprangeMatch
  | ConntrackMatch
  | StateMatch
  | AddrtypeMatch
  | MarkMatch
  | LimitMatch
  | HashlimitMatch
  | ConnlimitMatch
  | RecentMatch
  | SetMatch
  | StatisticMatch
  | RangeMatch
  | TtlMatch
  | DscpMatch
  | PkttypeMatch
  | MacMatch
  | CommentMatch
  | RpfilterMatch
  | PhysdevMatch
