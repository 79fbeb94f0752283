// HOT
/**
 * The ops of a rule, one after the other until one says no. Here those whose answer is the same for all packets
 * of a flow in one state, so that flow-cache.ts may remember it; the others in match-variable.ts (the packet's
 * own) and match-stateful.ts (what was before). Operands: ops.ts.
 */
import { CtState, IP_SHIFT, Ip } from '../../packet/ip.ts'
import { CounterTest } from './compare.ts'
import { Tuple } from './host.ts'
import { Answer, Op, Scan, STATEFUL, VARIABLE } from './layout.ts'
import { matchStateful } from './match-stateful.ts'
import { matchVariable } from './match-variable.ts'
import { flagsOf, type Plane } from './plane.ts'
import type { Program } from './program.ts'
import { setAnswer } from './sets.ts'

/** Set bits of the model's SNAT and DNAT, halved, are the status bits. */
const NAT_BITS = 48
const anyCount = new CounterTest()

/** All ops from `at` on. */
export function matchOps(plane: Plane, program: Program, at: number, slot: number, nowMs: number): Answer {
  const w = program.words
  const row = slot << IP_SHIFT
  for (;;) {
    const op = w[at]
    if (op === Op.End) return Answer.Yes
    let answer: Answer
    if (op < VARIABLE) {
      if (op === Op.CtGate) {
        if (plane.ip[row + Ip.Ct] < 0) {
          if (w[at + 2] === 0) return Answer.No
          // Over itself, and over what asks about the connection.
          at += w[at + 1] + w[at + 3]
          continue
        }
        answer = Answer.Yes
      } else answer = matchConstant(plane, program, op, at, slot, row, nowMs)
    } else {
      plane.variable = 1
      answer =
        op < STATEFUL
          ? matchVariable(plane, w, op, at, slot, row, nowMs)
          : matchStateful(plane, program, op, at, slot, row, nowMs)
    }
    if (answer !== Answer.Yes) return answer
    at += w[at + 1]
  }
}

/** One op that looks at the packet, its connection and sets that stay as they are. */
export function matchConstant(
  plane: Plane,
  program: Program,
  op: Op,
  at: number,
  slot: number,
  row: number,
  nowMs: number,
): Answer {
  const w = program.words
  const { ip } = plane
  switch (op) {
    case Op.Word:
      return (((ip[row + w[at + 2]] ^ w[at + 3]) & w[at + 4]) === 0) !== (w[at + 5] === 1) ? 1 : 0
    case Op.Address:
      return sameAddress(w, at + 5, w[at + 3], ip, row + w[at + 2]) !== (w[at + 4] === 1) ? 1 : 0
    case Op.Interface: {
      const index = (ip[row + Scan.Key] >>> w[at + 2]) & 511
      return (w[at + 3 + (index >> 5)] >>> (index & 31)) & 1 ? 1 : 0
    }
    case Op.Guard:
      if (plane.l4Length < 0) return Answer.No
      return plane.l4Length < w[at + 2] ? Answer.HotDrop : Answer.Yes
    case Op.Ports: {
      const port = (ip[row + Ip.Ports] >>> w[at + 2]) & 0xffff
      return (port >= w[at + 3] && port <= w[at + 4]) !== (w[at + 5] === 1) ? 1 : 0
    }
    case Op.TcpFlags:
      return ((flagsOf(plane, slot, row) & w[at + 2]) === w[at + 3]) !== (w[at + 4] === 1) ? 1 : 0
    case Op.Icmp: {
      const ports = ip[row + Ip.Ports]
      const code = (ports >>> 16) & 0xff
      const same = ports >>> 24 === w[at + 2] && code >= w[at + 3] && code <= w[at + 4]
      return same !== (w[at + 5] === 1) ? 1 : 0
    }
    case Op.Multiport:
      return anyPort(w, at, ip[row + Ip.Ports]) !== (w[at + 3] === 1) ? 1 : 0
    case Op.Iprange:
      return between(w, at, ip, row + w[at + 2]) !== (w[at + 4] === 1) ? 1 : 0
    case Op.CtState: {
      const node = ip[row + Ip.Ct]
      const state = ip[row + Ip.CtState] || CtState.Invalid
      let hit = (state & w[at + 2]) !== 0
      if (!hit && w[at + 3] !== 0 && node >= 0) hit = natState(plane.conntrack.status(node >> 1), w[at + 3])
      return hit !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.CtAddress: {
      const { tuple } = plane
      const node = ip[row + Ip.Ct]
      plane.conntrack.tuple((node & ~1) | w[at + 2], tuple)
      const words = ip[row + Ip.Family] === 4 ? 1 : 4
      let same = true
      for (let i = 0; i < words; i++)
        if (((tuple[w[at + 3] + i] & w[at + 9 + i]) ^ w[at + 5 + i]) !== 0) same = false
      return same !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.CtPorts: {
      plane.conntrack.tuple((ip[row + Ip.Ct] & ~1) | w[at + 2], plane.tuple)
      const port = (plane.tuple[Tuple.Ports] >>> w[at + 3]) & 0xffff
      return (port >= w[at + 4] && port <= w[at + 5]) !== (w[at + 6] === 1) ? 1 : 0
    }
    case Op.CtProtocol:
      plane.conntrack.tuple(ip[row + Ip.Ct], plane.tuple)
      return ((plane.tuple[Tuple.Protocol] & 0xff) === w[at + 2]) !== (w[at + 3] === 1) ? 1 : 0
    case Op.CtDirection:
      return (ip[row + Ip.Ct] & 1) === w[at + 2] ? 1 : 0
    case Op.Connmark: {
      const node = ip[row + Ip.Ct]
      if (node < 0) return Answer.No
      return ((plane.conntrack.mark(node >> 1) & w[at + 3]) === w[at + 2]) !== (w[at + 4] === 1) ? 1 : 0
    }
    case Op.SetConstant: {
      const set = program.sets[w[at + 2]]
      const found = set.find(plane, slot, row, w[at + 3], false, false, anyCount, nowMs)
      return setAnswer(found, set.isNet && (w[at + 4] & 1) !== 0) !== (w[at + 5] === 1) ? 1 : 0
    }
    default:
      return Answer.No
  }
}

function sameAddress(w: Int32Array, at: number, words: number, ip: Int32Array, from: number): boolean {
  for (let i = 0; i < words; i++) if (((ip[from + i] ^ w[at + i]) & w[at + words + i]) !== 0) return false
  return true
}

function anyPort(w: Int32Array, at: number, ports: number): boolean {
  const src = ports >>> 16
  const dst = ports & 0xffff
  const side = w[at + 2]
  const n = w[at + 4]
  for (let i = 0; i < n; i++) {
    const min = w[at + 5 + 2 * i]
    const max = w[at + 6 + 2 * i]
    if ((side & 1) !== 0 && src >= min && src <= max) return true
    if ((side & 2) !== 0 && dst >= min && dst <= max) return true
  }
  return false
}

function between(w: Int32Array, at: number, ip: Int32Array, from: number): boolean {
  const words = w[at + 3]
  return order(ip, from, w, at + 5, words) >= 0 && order(ip, from, w, at + 5 + words, words) <= 0
}

function order(a: Int32Array, at: number, b: Int32Array, bt: number, words: number): number {
  for (let i = 0; i < words; i++) {
    const x = a[at + i] >>> 0
    const y = b[bt + i] >>> 0
    if (x !== y) return x < y ? -1 : 1
  }
  return 0
}

/** @param wanted 16 SNAT, 32 DNAT, as the status */
function natState(status: number, wanted: number): boolean {
  return (status & wanted & NAT_BITS) !== 0
}
