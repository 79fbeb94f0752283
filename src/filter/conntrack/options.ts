/** What an operator sets about conntrack, with the defaults of each profile. */
import { type ConntrackMemory, Header } from './layout.ts'
import type { TcpOptions } from './tcp-word.ts'
import { type Profile, type Timeouts, timeoutsOf } from './timeouts.ts'

/** Folded ones' complement sum (RFC 1071), not complemented: native.ts has one. */
export type Checksum = (bytes: Uint8Array, from: number, length: number, sum?: number) => number

export interface ConntrackOptions {
  profile?: Profile
  /** Seconds, instead of the profile's. */
  timeouts?: Partial<Timeouts>
  /** Most entries; at most what the memory holds, which is the default. */
  limit?: number
  /** Most entries of one source (IPv4 address, IPv6 /64); 0 = only `limit`. */
  perSource?: number
  /** Take up TCP flows whose beginning was not seen. Default true. */
  loose?: boolean
  /** Of TCP, only RSTs must be in the window. Default false. */
  liberal?: boolean
  /** Retransmissions without an answer, after which tcpRetrans counts. Default 3, at most 15. */
  maxRetrans?: number
  ignoreInvalidRst?: boolean
  /** Inbound UDP keeps a NAT mapping alive (RFC 4787 REQ-6). Default: linux true, rfc false. */
  inboundRefresh?: boolean
  /** Verifies full checksums that nobody has; a packet with a wrong one is invalid. null = not verified. */
  checksum?: Checksum | null
}

/** The same, ready for the data plane. An operator may change them while packets pass. */
export interface Settings {
  profile: Profile
  timeouts: Int32Array
  limit: number
  perSource: number
  inboundRefresh: boolean
  /** The header checksum of a packet that an ICMP error quotes must be right (RFC 5508 REQ-3 b). */
  strictErrors: boolean
  tcp: TcpOptions
  checksum: Checksum | null
}

const MAX_RETRANS = 15

/** Throws a RangeError for a value that cannot be. */
export function settingsOf(options: ConntrackOptions, memory: ConntrackMemory): Settings {
  const profile = options.profile ?? 'linux'
  const capacity = memory.header[Header.Capacity]
  const { limit = capacity, maxRetrans = 3, perSource = 0 } = options
  if (!(limit >= 1 && limit <= capacity))
    throw new RangeError(`the limit is 1 to ${capacity} entries, not ${limit}`)
  if (!(perSource >= 0)) throw new RangeError(`the limit per source is 0 or more entries, not ${perSource}`)
  if (!(maxRetrans >= 1 && maxRetrans <= MAX_RETRANS))
    throw new RangeError(`retransmissions are 1 to ${MAX_RETRANS}, not ${maxRetrans}`)
  return {
    profile,
    timeouts: timeoutsOf(profile, options.timeouts),
    limit,
    perSource,
    inboundRefresh: options.inboundRefresh ?? profile === 'linux',
    strictErrors: profile === 'rfc',
    tcp: {
      loose: options.loose ?? true,
      liberal: options.liberal ?? false,
      maxRetrans,
      ignoreInvalidRst: options.ignoreInvalidRst ?? false,
    },
    checksum: options.checksum ?? null,
  }
}
