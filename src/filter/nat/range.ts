/**
 * What a rule of table nat wants: one row of words, made when the rules are compiled.
 *
 *     SNAT --to-source 203.0.113.1-203.0.113.4:1024-2047 --random --persistent
 *          \-- addresses ----------------/ \- ports -/
 *
 *     target       addresses                            ports                           flags
 *     SNAT         the rule's                           the rule's, or as they come     random, persistent
 *     DNAT         the rule's, or as they come          the rule's, shifted by base     random, persistent
 *     MASQUERADE   Dynamic: the interface's, each time  the rule's, or as they come     Bound: to the interface
 *     REDIRECT     Dynamic                              the rule's, or as they come
 *     NETMAP       the network's, host bits kept        as they come                    Netmap
 */
export const enum RangeWord {
  Flags = 0,
  /** Four words each, as in packet/ip.ts. */
  MinAddr = 1,
  MaxAddr = 5,
  MinPort = 9,
  MaxPort = 10,
  BasePort = 11,
  /** NETMAP: network bits. */
  Prefix = 12,
  Words = 16,
}

export const enum RangeFlag {
  Addresses = 1,
  Ports = 2,
  /** --random and --random-fully, which are the same in Linux since 5.0. */
  Random = 4,
  /** --persistent: the same address for the same source, wherever it goes. */
  Persistent = 8,
  /** port = min + (destination port - base). */
  Shifted = 16,
  Netmap = 32,
  /** The address is in Nat.address when the range is used. */
  Dynamic = 64,
  /** The flow lives as long as it leaves by this interface. */
  Bound = 128,
}

/** What a packet's source or destination becomes. */
export const enum Manip {
  Source = 0,
  Destination = 1,
}

export type NatRange = Int32Array

export interface NatRangeSpec {
  /** One word for IPv4, four for IPv6, in host order. */
  addresses?: { first: readonly number[]; last: readonly number[] } | null
  ports?: { min: number; max: number } | null
  basePort?: number | null
  random?: boolean
  persistent?: boolean
  /** NETMAP: how many bits of `addresses.first` are the network. */
  prefix?: number
  dynamic?: boolean
  bound?: boolean
}

export function natRange(spec: NatRangeSpec): NatRange {
  const { addresses, basePort, ports } = spec
  const range = new Int32Array(RangeWord.Words)
  let flags = 0
  if (addresses) {
    flags |= RangeFlag.Addresses
    range.set(addresses.first, RangeWord.MinAddr)
    range.set(addresses.last, RangeWord.MaxAddr)
  }
  if (ports) {
    flags |= RangeFlag.Ports
    range[RangeWord.MinPort] = ports.min
    range[RangeWord.MaxPort] = ports.max
  }
  if (basePort !== undefined && basePort !== null) {
    flags |= RangeFlag.Shifted
    range[RangeWord.BasePort] = basePort
  }
  if (spec.prefix !== undefined) {
    flags |= RangeFlag.Netmap
    range[RangeWord.Prefix] = spec.prefix
  }
  if (spec.random) flags |= RangeFlag.Random
  if (spec.persistent) flags |= RangeFlag.Persistent
  if (spec.dynamic) flags |= RangeFlag.Dynamic | RangeFlag.Addresses
  if (spec.bound) flags |= RangeFlag.Bound
  range[RangeWord.Flags] = flags
  return range
}

/** Part of a NatTarget (filter/targets/model.ts). */
export interface NatTargetLike {
  kind: 'SNAT' | 'DNAT' | 'MASQUERADE' | 'REDIRECT'
  addresses: { first: readonly number[]; last: readonly number[] } | null
  ports: { min: number; max: number } | null
  basePort: number | null
  random: boolean
  randomFully: boolean
  persistent: boolean
}

/** Of a rule's target. */
export function rangeOf(target: NatTargetLike): NatRange {
  const { addresses, basePort, kind, persistent, ports } = target
  const dynamic = kind === 'MASQUERADE' || kind === 'REDIRECT'
  const random = target.random || target.randomFully
  return natRange({ addresses, ports, basePort, random, persistent, dynamic, bound: kind === 'MASQUERADE' })
}

/** Of NETMAP's. */
export function netmapOf(to: { address: readonly number[]; mask: readonly number[] }): NatRange {
  let prefix = 0
  for (const word of to.mask) prefix += Math.clz32(~word)
  return natRange({ addresses: { first: to.address, last: to.address }, prefix })
}
