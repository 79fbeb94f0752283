/** A router that is not told to the worker yet: its tables, rings and functions. */
import type { WorkerLink } from '../../engine/worker-link.ts'
import { NeighbourTable } from '../../router/neighbour-table.ts'
import { RouteWriter } from '../../router/route-writer.ts'
import type { Log } from '../fabric-options.ts'
import { filterMemory, type LiveRouter, nameOf } from './live-router.ts'
import { QueueDesk } from './queue-desk.ts'
import { RuleLog } from './rule-log.ts'
import { NO_RULES } from './rules.ts'
import { RouterServices } from './services.ts'

/** Neighbours of each family. */
const NEIGHBOURS = 4096

export interface RouterParts {
  id: number
  name: string
  home: number
  /** Most connections. */
  connections: number
  link: WorkerLink
  log: Log
  /** A function of a queue failed. */
  failed(queue: number, error: Error): void
}

export function makeRouter({ connections, failed, home, id, link, log, name }: RouterParts): LiveRouter {
  const seed = (Math.random() * 0x100000000) | 0
  const filter = filterMemory(seed, connections)
  const neighbours = NeighbourTable.memory(NEIGHBOURS, seed)
  const interfaceName = (index: number): string => nameOf(router, index)
  const router: LiveRouter = {
    id,
    name,
    home,
    interfaces: new Map(),
    routes: [],
    policies: [],
    writer: new RouteWriter(),
    neighbours,
    filter,
    rules: NO_RULES,
    ruleLog: new RuleLog(filter.report, ({ text }) => log.info({ router: name }, text)),
    queues: new QueueDesk({ router: name, id, link, interfaceName, failed }),
    services: new RouterServices({ id, name, neighbours }, (c) => link.send(c), log),
    seed,
  }
  return router
}
