/** What services of several interfaces may not share: the file of their leases. */
import { resolve } from 'node:path'
import { Owners } from './owners.ts'
import type { Problems } from './problems.ts'
import type { RouterCandidate } from './router-candidate.ts'

export function checkServices(routers: readonly RouterCandidate[], problems: Problems): void {
  const files = new Owners(problems, 'a file of its own')
  for (const { interfaces, path } of routers) {
    for (const [name, { dhcp }] of Object.entries(interfaces ?? {})) {
      if (dhcp?.leases === undefined) continue
      files.claim(resolve(dhcp.leases), [...path, 'interfaces', name, 'dhcp', 'leases'], dhcp.leases)
    }
  }
}
