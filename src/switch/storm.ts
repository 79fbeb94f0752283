// HOT
/**
 * Storm control: at most so many packets per second of each kind of flood, per port. A token bucket
 * holds one second's worth, so a quiet port may burst that much at once; what is over is dropped by name.
 */
import { MAX_PORTS } from '../packet/layout.ts'
import { PortFlag, type PortTable } from './ports.ts'

export const enum Flood {
  Unknown = 0,
  Multicast = 1,
  Broadcast = 2,
}
const KINDS = 3

export class StormControl {
  private readonly rate = new Float64Array(MAX_PORTS * KINDS)
  private readonly tokens = new Float64Array(MAX_PORTS * KINDS)
  private readonly filledMs = new Float64Array(MAX_PORTS * KINDS)

  /** Packets per second, Infinity = no limit. */
  set(ports: PortTable, port: number, unknown: number, multicast: number, broadcast: number): void {
    const rates = [unknown, multicast, broadcast]
    const limited = rates.some((r) => r !== Number.POSITIVE_INFINITY)
    ports.flags[port] = limited ? ports.flags[port] | PortFlag.Storm : ports.flags[port] & ~PortFlag.Storm
    for (let kind = 0; kind < KINDS; kind++) {
      const at = port * KINDS + kind
      if (this.rate[at] === rates[kind]) continue
      this.rate[at] = rates[kind]
      this.tokens[at] = rates[kind]
      this.filledMs[at] = -1
    }
  }

  /** True when one more packet may pass now. */
  admits(port: number, kind: Flood, nowMs: number): boolean {
    const at = port * KINDS + kind
    const rate = this.rate[at]
    if (rate === Number.POSITIVE_INFINITY) return true
    if (this.filledMs[at] !== nowMs) {
      if (this.filledMs[at] >= 0) {
        const grown = this.tokens[at] + (rate * (nowMs - this.filledMs[at])) / 1000
        this.tokens[at] = grown < rate ? grown : rate
      }
      this.filledMs[at] = nowMs
    }
    if (this.tokens[at] < 1) return false
    this.tokens[at] -= 1
    return true
  }
}
