/**
 * The conditions of a rule on their way into a program: a masked compare of one word of the row, or an op.
 * All of them must hold. Compares are hoisted into the record as long as nothing before them has effects.
 */
import { CtState, Ip } from '../../packet/ip.ts'
import type { InterfaceMatch, Network, Range, Rule, Words } from '../model.ts'
import { type CompileContext, interfaceBits } from './context.ts'
import { Op, Scan } from './layout.ts'

export type Condition =
  /** (row[word] ^ value) & mask is 0. */
  { kind: 'word'; word: number; value: number; mask: number } | OpCondition

/** op, operands; the length is added when it is written. */
export interface OpCondition {
  kind: 'op'
  op: Op
  operands: readonly number[]
}

export const op = (code: Op, ...operands: number[]): OpCondition => ({ kind: 'op', op: code, operands })

/** A compare, or its opposite. */
export function word(at: number, value: number, mask: number, invert = false): Condition {
  // Bits of the value outside of the mask can never be equal (mark: (x & mask) === value).
  if ((value & ~mask) !== 0) return invert ? op(Op.Word, at, 0, 0, 0) : op(Op.Never)
  if (invert) return op(Op.Word, at, value, mask, 1)
  return { kind: 'word', word: at, value: value | 0, mask: mask | 0 }
}

/** The same where the value may have bits that do not count. */
export const maskedWord = (at: number, value: number, mask: number, invert = false): Condition =>
  word(at, value & mask, mask, invert)

/** Source or destination of the packet. */
export function address(at: number, network: Network, invert: boolean): Condition[] {
  const { address: words, mask } = network
  if (mask.every((m) => m === 0)) return invert ? [op(Op.Never)] : []
  if (invert && words.length > 1) return [op(Op.Address, at, 4, 1, ...words, ...mask)]
  return words.flatMap((value, i) => (mask[i] === 0 ? [] : [maskedWord(at + i, value, mask[i], invert)]))
}

/** What iptables itself knows, before any -m. */
export function headerConditions(rule: Rule, context: CompileContext): Condition[] {
  const list: Condition[] = []
  if (rule.source) list.push(...address(Ip.Src0, rule.source, rule.source.invert))
  if (rule.destination) list.push(...address(Ip.Dst0, rule.destination, rule.destination.invert))
  if (rule.inInterface) list.push(interfaceCondition(rule.inInterface, Scan.InShift, context))
  if (rule.outInterface) list.push(interfaceCondition(rule.outInterface, Scan.OutShift, context))
  if (rule.protocol) list.push(word(Scan.Key, rule.protocol.number, 0xff, rule.protocol.invert))
  if (rule.fragment !== null) list.push(word(Scan.Key, rule.fragment ? Scan.Later : 0, Scan.Later))
  return list
}

function interfaceCondition(match: InterfaceMatch, shift: number, context: CompileContext): Condition {
  const { invert } = match
  // `-i +` is any interface, or none.
  if (match.prefix && match.name === '') return word(Scan.Key, 0, 0)
  const bits = interfaceBits(match, context)
  if (bits.size === 0) return invert ? word(Scan.Key, 0, 0) : op(Op.Never)
  if (bits.size === 1) return word(Scan.Key, [...bits][0] << shift, Scan.NoInterface << shift, invert)
  const map = new Int32Array(16)
  for (let i = 0; i < 512; i++) if (bits.has(i) !== invert) map[i >> 5] |= 1 << (i & 31)
  return op(Op.Interface, shift, ...map)
}

/** The transport header must be there: a later fragment does not match, a packet cut short is dropped. */
export function guard(bytes: number): Condition[] {
  return [word(Scan.Key, 0, Scan.Later), op(Op.Guard, bytes)]
}

export function portRange(shift: number, { min, max }: Range, invert: boolean): Condition[] {
  if (min === 0 && max === 65535 && !invert) return []
  if (min === max) return [word(Ip.Ports, min << shift, 0xffff << shift, invert)]
  return [op(Op.Ports, shift, min, max, invert ? 1 : 0)]
}

/** Four words of an address that may have one. */
export function fourWords(words: Words): number[] {
  return [...words, 0, 0, 0].slice(0, 4).map((w) => w | 0)
}

/** CT_STATE bits of the model in the row's (packet/ip.ts). */
export function rowStates(states: number): number {
  const pairs = [
    [1, CtState.Invalid],
    [2, CtState.New],
    [4, CtState.Related],
    [8, CtState.Established],
    [16, CtState.Untracked],
  ]
  return pairs.reduce((bits, [from, to]) => ((states & from) !== 0 ? bits | to : bits), 0)
}

const ALL_STATES = CtState.Invalid | CtState.New | CtState.Related | CtState.Established | CtState.Untracked

/** Exactly one bit of the state is set, so to be among some is to be none of the others. */
export function stateCondition(states: number, invert: boolean): Condition {
  const wanted = invert ? ALL_STATES & ~rowStates(states) : rowStates(states)
  return word(Ip.CtState, 0, ALL_STATES & ~wanted)
}
