/**
 * A rule set, read and checked: what parse.ts makes, print.ts writes and the compiler turns into a
 * program over typed arrays. Nothing in here needs reading again: addresses are 32-bit words, names of
 * states and types are bits, a jump is an index, a default is filled in.
 *
 *     RuleSet -> Table[] -> Chain[] -> Rule[] -> header fields, Match[], Target
 *                                                (ANDed)        (at most one)
 *
 * A rule matches if its header fields and all of its matches do. A rule without target only counts.
 */
import type { Match } from './matches/model.ts'
import type { Target } from './targets/model.ts'

export type * from './matches/model.ts'
export type * from './targets/model.ts'

export type Family = 4 | 6

export type TableName = 'raw' | 'mangle' | 'nat' | 'filter' | 'security'

export type HookName = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING'

/** Bits of Chain.reach. */
export const HOOK: Readonly<Record<HookName, number>> = {
  PREROUTING: 1,
  INPUT: 2,
  FORWARD: 4,
  OUTPUT: 8,
  POSTROUTING: 16,
}

/** Built-in chains of each table, in the order iptables-save writes them. */
export const BUILT_IN: Readonly<Record<TableName, readonly HookName[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
  security: ['INPUT', 'FORWARD', 'OUTPUT'],
}

/** An address in host order, most significant word first: one word for IPv4, four for IPv6. */
export type Words = readonly number[]

export interface Network {
  /** Already masked. */
  address: Words
  /** Usually a prefix, but iptables allows any bits. */
  mask: Words
}

export interface AddressMatch extends Network {
  invert: boolean
}

export interface InterfaceMatch {
  invert: boolean
  /** Without the `+`. */
  name: string
  /** The name was written with `+` and is the beginning of a name. */
  prefix: boolean
}

/** Inclusive. */
export interface Range {
  min: number
  max: number
}

/** 64-bit, as the kernel's. */
export interface Counters {
  packets: bigint
  bytes: bigint
}

export interface Rule {
  counters: Counters
  source: AddressMatch | null
  destination: AddressMatch | null
  inInterface: InterfaceMatch | null
  outInterface: InterfaceMatch | null
  /** Never 0: any protocol is null. */
  protocol: { invert: boolean; number: number } | null
  /** true: second and further fragments only (-f); false: all others (! -f). IPv4. */
  fragment: boolean | null
  matches: Match[]
  target: Target | null
  /** Where it stood in the text, from 1. */
  line: number
}

export interface Chain {
  name: string
  /** null: a user-defined chain. */
  hook: HookName | null
  /** Of a built-in chain; null for user-defined ones, whose end returns. */
  policy: 'ACCEPT' | 'DROP' | null
  counters: Counters
  rules: Rule[]
  /** HOOK bits of the built-in chains from which a packet can come here; 0: nothing jumps here. */
  reach: number
}

export interface Table {
  name: TableName
  /** All built-in chains in hook order, then the user-defined ones in the text's order. */
  chains: Chain[]
}

export interface RuleSet {
  family: Family
  /** In the text's order; a table that was not mentioned is not here. */
  tables: Table[]
}
