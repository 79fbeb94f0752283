// HOT
/** Ops that remember: limit, hashlimit, connlimit, recent, sets that count or expire, statistic. */
import { CounterTest } from './compare.ts'
import { Answer, Op } from './layout.ts'
import type { Plane } from './plane.ts'
import type { Program } from './program.ts'
import { setAnswer } from './sets.ts'

/** The kernel counts limit's time in 1/10000 s. */
const TICKS_PER_MS = 10
const test = new CounterTest()

export function matchStateful(
  plane: Plane,
  program: Program,
  op: Op,
  at: number,
  slot: number,
  row: number,
  nowMs: number,
): Answer {
  const w = program.words
  switch (op) {
    case Op.Limit:
      return limit(program, w[at + 2], nowMs)
    case Op.Hashlimit:
      return program.hashlimits[w[at + 2]].match(plane, row, w[at + 3] === 1, nowMs)
    case Op.Connlimit: {
      const count = program.connlimits[w[at + 2]].count(plane, row, w[at + 3])
      if (count < 0) return Answer.HotDrop
      return count > w[at + 4] >>> 0 === (w[at + 5] === 1) ? 1 : 0
    }
    case Op.Recent: {
      const table = program.recents[w[at + 2]]
      return table.match(plane, row, w[at + 3], w[at + 4], w[at + 5] >>> 0, w[at + 6], w[at + 7] === 1, nowMs)
    }
    case Op.Set: {
      const set = program.sets[w[at + 2]]
      const flags = w[at + 4]
      test.load(w, at + 6)
      const count = (flags & 2) !== 0
      const found = set.find(plane, slot, row, w[at + 3], count, count && (flags & 4) !== 0, test, nowMs)
      return setAnswer(found, set.isNet && (flags & 1) !== 0) !== (w[at + 5] === 1) ? 1 : 0
    }
    case Op.Random:
      return program.random() < w[at + 2] >>> 0 !== (w[at + 3] === 1) ? 1 : 0
    case Op.Nth: {
      const { counts } = program
      const i = w[at + 2]
      const next = counts[i] === (w[at + 3] >>> 0) - 1 ? 0 : counts[i] + 1
      counts[i] = next
      return (next === 0) !== (w[at + 4] === 1) ? 1 : 0
    }
    default:
      return Answer.No
  }
}

/** A bucket of `cap` ticks that fills with time; a packet takes `cost` (xt_limit). */
function limit(program: Program, index: number, nowMs: number): Answer {
  const { limits } = program
  const at = index * 4
  const cost = limits[at]
  const cap = limits[at + 1]
  const since = limits[at + 3]
  const credit = limits[at + 2] + (since < 0 ? 0 : nowMs - since) * TICKS_PER_MS
  limits[at + 3] = nowMs
  limits[at + 2] = credit < cap ? credit : cap
  if (limits[at + 2] < cost) return Answer.No
  limits[at + 2] -= cost
  return Answer.Yes
}
