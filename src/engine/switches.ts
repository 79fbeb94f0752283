/** Switches in the engine: built and changed by commands. */
import { MAX_PORTS } from '../packet/layout.ts'
import { Fdb } from '../switch/fdb.ts'
import { Switch } from '../switch/switch.ts'
import type { Command, SwitchSettings } from './command.ts'
import type { Engine } from './engine.ts'

export function buildSwitch(engine: Engine, command: Extract<Command, { op: 'switch-add' }>): Switch {
  const { memory, pool, ports, storm } = engine
  const { agingS, limit, reservedOpen } = command.settings
  const fdb = new Fdb(command.fdb, memory.counters, ports.limit, limit, agingS)
  const sw = new Switch(command.name, fdb, pool, ports, storm, memory.counters, MAX_PORTS)
  sw.reservedOpen = reservedOpen
  return sw
}

export function setSwitch(sw: Switch, { agingS, limit, reservedOpen }: SwitchSettings): void {
  sw.fdb.agingS = agingS
  sw.fdb.limit = Math.min(limit, sw.fdb.table.limit)
  sw.reservedOpen = reservedOpen
}
