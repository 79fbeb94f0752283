/**
 * The underlay TAP of a VTEP while it is in use. The kernel takes all it is handed and says nothing when it drops
 * it afterwards: a firewall's FORWARD chain, a reverse path filter that came later, a route back to this machine.
 * So what was handed over is compared with what the namespace forwarded; whoever forwards much besides hides a loss.
 */
import { netnsPath } from '../../config/netns.ts'
import type { VtepConfig } from '../../config/types.ts'
import { openUnderlay } from '../../config/vtep-underlay.ts'
import { native } from '../../native.ts'

/** Looks in a row that must find a loss, each at so many packets at least: the counters are not of one instant. */
const STRIKES = 2
const LEAST = 8

export interface UnderlayCount {
  handed: number
  forwarded: number
}

export class LiveUnderlay {
  readonly fd: number
  readonly name: string
  private readonly count: () => UnderlayCount
  private last: UnderlayCount
  private strikes = 0

  constructor(fd: number, name: string, count: () => UnderlayCount) {
    this.fd = fd
    this.name = name
    this.count = count
    this.last = count()
  }

  /** Whether the kernel loses most of what it is handed. */
  loses(): boolean {
    const now = this.count()
    const handed = now.handed - this.last.handed
    if (handed < LEAST) return false
    this.strikes = now.forwarded - this.last.forwarded < handed / 2 ? this.strikes + 1 : 0
    this.last = now
    return this.strikes >= STRIKES
  }
}

/** null when the VTEP sends by its sockets only. @throws UnderlayError, see openUnderlay */
export function underlayOf(config: VtepConfig): LiveUnderlay | null {
  if (config.underlay !== 'tap') return null
  const { fd, name } = openUnderlay(config)
  return new LiveUnderlay(fd, name, () => native.underlayCounts(netnsPath(config.netns), config.family, name))
}
