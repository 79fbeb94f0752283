/** Rules on their way to the worker. */
import type { ProgramMemory } from './program/memory.ts'

/** What is to be in force. Null: no rules of this family. */
export interface RuleLoad {
  v4: ProgramMemory | null
  v6: ProgramMemory | null
  /** Track connections of both families even if no rule asks. */
  track?: boolean
  /** Goes on with counters of the rules in force (counters.ts, carriedCounters). */
  carry4?: Int32Array | null
  carry6?: Int32Array | null
  /** Who asks for a connection that there is no room for is told: RFC 5508 REQ-8. */
  explain?: boolean
  /** Said in records of LOG and TRACE: which rule set their numbers mean. */
  generation?: number
}
