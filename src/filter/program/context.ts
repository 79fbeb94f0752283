/** What the compiler knows while it writes one family's program. */
import type { IpSet } from '../ipset.ts'
import type { Family, TableName } from '../model.ts'
import type { ProgramMemory } from './memory.ts'
import type { SetMemory } from './set-memory.ts'

export interface CompileOptions {
  /** Names of the router's interfaces by their index; '' = not in use. */
  interfaces: readonly string[]
  sets?: ReadonlyMap<string, IpSet>
  /** Tables of these sets that are built already (both families use them). */
  setMemories?: Map<string, SetMemory>
  /** Begin with the rule set's counters (iptables-restore -c). */
  counters?: boolean
  /** The worker's clock: when timeouts of set elements begin. */
  nowMs?: number
}

export interface CompileContext extends CompileOptions {
  family: Family
  table: TableName
  memory: ProgramMemory
  setMemories: Map<string, SetMemory>
  tcpFlags: number
  tracks: boolean
}

/** Indices of the interfaces that a name or the beginning of one stands for. */
export function interfaceBits(
  { name, prefix }: { name: string; prefix: boolean },
  { interfaces }: CompileOptions,
): Set<number> {
  const found = new Set<number>()
  for (const [index, one] of interfaces.entries()) {
    if (one !== '' && (prefix ? one.startsWith(name) : one === name)) found.add(index)
  }
  return found
}

/** Index of `spec` in `list`, added if nothing there is the same under `key`. */
export function shared<T>(list: T[], spec: T, key: (spec: T) => string): number {
  const at = list.findIndex((one) => key(one) === key(spec))
  return at >= 0 ? at : list.push(spec) - 1
}
