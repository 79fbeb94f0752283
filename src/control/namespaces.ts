/** The namespaces of a fabric: created when they are missing; removed are only those that were. */
import { netnsPath } from '../config/netns.ts'
import { addNamespaces, deleteNamespaces, namespaceExists } from './iproute.ts'
import type { LivePort } from './ports.ts'

export class Namespaces {
  /** By us. */
  readonly created: string[]

  constructor(created: string[] = []) {
    this.created = created
  }

  /** A line for each. @throws IpError; those that were made are among `created` */
  async add(names: string[]): Promise<string[]> {
    const missing = names.filter((name) => !namespaceExists(name))
    try {
      await addNamespaces(missing)
    } finally {
      for (const name of missing)
        if (namespaceExists(name) && !this.created.includes(name)) this.created.push(name)
    }
    return names.map((name) => `namespace ${name}: ${missing.includes(name) ? 'created' : 'was there'}`)
  }

  async remove(name: string, ports: Iterable<LivePort>): Promise<string> {
    const at = this.created.indexOf(name)
    if (at < 0) return `namespace ${name}: left as it was`
    const user = [...ports].find((p) => p.device?.netns === netnsPath(name))
    if (user) return `namespace ${name}: stays, port ${user.switch}.${user.name} is in it`
    if (namespaceExists(name)) await deleteNamespaces([name])
    this.created.splice(at, 1)
    return `namespace ${name}: removed`
  }

  async clear(): Promise<void> {
    await deleteNamespaces(this.created.filter(namespaceExists))
    this.created.length = 0
  }
}
