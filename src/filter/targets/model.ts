/** What a rule can do: one shape each, told apart by `kind`, which is its name after -j. */
import type { Network, Range, Words } from '../model.ts'

export interface VerdictTarget {
  kind: 'ACCEPT' | 'DROP' | 'RETURN'
}

/** `-j CHAIN` and `-g CHAIN`: with goto, the chain's end returns to where this chain was called from. */
export interface JumpTarget {
  kind: 'jump'
  /** Index in Table.chains; always a user-defined one. */
  chain: number
  goto: boolean
}

export interface RejectTarget {
  kind: 'REJECT'
  /** The reply: a TCP reset, or an ICMP / ICMPv6 error of this type and code. */
  reply: { protocol: 'tcp-reset' } | { protocol: 'icmp' | 'icmp6'; type: number; code: number }
}

export interface LogTarget {
  kind: 'LOG'
  /** syslog severity, 0 to 7. */
  level: number
  /** At most 29 characters. */
  prefix: string
  tcpSequence: boolean
  tcpOptions: boolean
  ipOptions: boolean
  uid: boolean
  macDecode: boolean
}

export interface NflogTarget {
  kind: 'NFLOG'
  group: number
  /** At most 63 characters. */
  prefix: string
  /** Most bytes of a packet to copy; null: all. */
  size: number | null
  /** --nflog-range, which has no effect; kept to be printed. 0: not given. */
  range: number
  threshold: number
}

/** QUEUE is NFQUEUE number 0. */
export interface QueueTarget {
  kind: 'QUEUE' | 'NFQUEUE'
  /** Inclusive; one number unless balanced by flow. */
  queues: Range
  /** Accept when nobody listens, instead of dropping. */
  bypass: boolean
  cpuFanout: boolean
}

/** mark = (mark & ~mask) ^ value; the other ways to write it come down to this. */
export interface MarkTarget {
  kind: 'MARK'
  value: number
  mask: number
}

export type ConnmarkTarget =
  | { kind: 'CONNMARK'; action: 'set'; value: number; mask: number }
  /** save: ctmark = (ctmark & ~ctMask) ^ (nfmark & nfMask); restore: the other way round. */
  | { kind: 'CONNMARK'; action: 'save' | 'restore'; nfMask: number; ctMask: number }

export interface CtTarget {
  /** NOTRACK is CT --notrack. */
  kind: 'CT' | 'NOTRACK'
  notrack: boolean
  /** null: zone 0. 'mark': the packet's mark is the zone. */
  zone: { direction: 'both' | 'original' | 'reply'; id: number | 'mark' } | null
}

export interface NatTarget {
  kind: 'SNAT' | 'DNAT' | 'MASQUERADE' | 'REDIRECT'
  /** null: unchanged (SNAT, DNAT) or that of the interface (MASQUERADE, REDIRECT). */
  addresses: { first: Words; last: Words } | null
  /** null: as the profile chooses. */
  ports: Range | null
  /** DNAT's shifted range: port = ports.min + (destination port - basePort). */
  basePort: number | null
  random: boolean
  randomFully: boolean
  persistent: boolean
}

export interface NetmapTarget {
  kind: 'NETMAP'
  to: Network
}

export interface TcpmssTarget {
  kind: 'TCPMSS'
  /** null: path MTU less headers (--clamp-mss-to-pmtu). */
  mss: number | null
}

/** tos = (tos & ~mask) ^ value. */
export interface TosTarget {
  kind: 'TOS'
  value: number
  mask: number
}

export interface DscpTarget {
  kind: 'DSCP'
  value: number
}

export interface TtlTarget {
  kind: 'TTL' | 'HL'
  action: 'set' | 'inc' | 'dec'
  value: number
}

export interface FlagTarget {
  kind: 'TRACE' | 'CHECKSUM'
}

export type Target =
  | VerdictTarget
  | JumpTarget
  | RejectTarget
  | LogTarget
  | NflogTarget
  | QueueTarget
  | MarkTarget
  | ConnmarkTarget
  | CtTarget
  | NatTarget
  | NetmapTarget
  | TcpmssTarget
  | TosTarget
  | DscpTarget
  | TtlTarget
  | FlagTarget
