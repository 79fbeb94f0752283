/**
 * Addresses and routes that devices are still to get. Starting `ip` takes longer than opening a TAP, so
 * what the ports of one change need is collected, and one `ip` per namespace does it at the end.
 *
 *     add      a device was opened; nothing happens yet
 *     forget   it was closed again: undone before its turn came
 *     flush    all of it is done, or an error tells the first line that could not be; then none waits any more
 */
import type { Netns } from '../config/types.ts'
import { type IpJob, ipBatches } from './iproute.ts'

/** How many `ip` run at the same time. */
const AT_ONCE = 2

export class DeviceAddresses {
  /** By port. */
  private readonly waiting = new Map<string, { netns: Netns; lines: string[] }>()

  add(port: string, netns: Netns, lines: string[]): void {
    if (lines.length > 0) this.waiting.set(port, { netns, lines })
  }

  forget(port: string): void {
    this.waiting.delete(port)
  }

  /** @throws IpError */
  async flush(): Promise<void> {
    const spaces = new Map<Netns, string[]>()
    for (const { netns, lines } of this.waiting.values()) {
      const all = spaces.get(netns) ?? []
      all.push(...lines)
      spaces.set(netns, all)
    }
    this.waiting.clear()
    const shares: IpJob[][] = Array.from({ length: AT_ONCE }, () => [])
    let i = 0
    for (const [netns, lines] of spaces) shares[i++ % AT_ONCE].push({ netns, lines })
    const failures: unknown[] = []
    await Promise.all(shares.map((jobs) => ipBatches(jobs).catch((error) => failures.push(error))))
    if (failures.length > 0) throw failures[0]
  }
}
