/** Puts a router's rules in force, with all they stand on: sets, files of NFLOG, limits of connections. */
import type { Command } from '../../engine/command.ts'
import type { WorkerLink } from '../../engine/worker-link.ts'
import { Header } from '../../filter/conntrack/layout.ts'
import type { RuleLoad } from '../../filter/load.ts'
import { interfaceNames, type LiveRouter, subnetOf } from './live-router.ts'
import { buildRules, type FilterConfig, type LiveRules, loadOf } from './rules.ts'

/**
 * All of it from the next batch on, or nothing; the first time it also opens the router.
 * @throws Error when a file cannot be written, or a limit is too high
 */
export async function putRules(link: WorkerLink, router: LiveRouter, config: FilterConfig): Promise<void> {
  const subnets = [...router.interfaces.values()].flatMap((i) => i.config.addresses.map(subnetOf))
  const names = interfaceNames(router)
  const rules = buildRules(config, router.rules, names, subnets)
  const files = router.ruleLog.open(config.nflog)
  router.ruleLog.use(rules.generation, [rules.v4, rules.v6], names)
  try {
    await link.send(rulesCommand(router, rules, loadOf(rules, router.rules)))
  } catch (error) {
    files.undo()
    throw error
  }
  files.commit()
  router.rules = rules
}

/** The rules in force, for a worker that took over. */
export function rulesAgain(router: LiveRouter): Command {
  const { rules } = router
  const { generation, memory4: v4, memory6: v6 } = rules
  return rulesCommand(router, rules, { v4, v6, generation })
}

function rulesCommand({ filter, id, name }: LiveRouter, { config }: LiveRules, load: RuleLoad): Command {
  const { max: limit, ...tracking } = config.conntrack
  const room = filter.conntrack.header[Header.Capacity]
  if (limit > room)
    throw new Error(
      `router ${name}: conntrack.max ${limit} needs a larger table; it can grow only by a restart`,
    )
  return { op: 'router-rules', id, load, profile: config.profile, conntrack: { ...tracking, limit } }
}
