// HOT
/**
 * The steps of a hook that belong to a packet's connection: find it, translate as it says, confirm it. Who else
 * must know is told: `serials` goes up when an entry begins to stand for another connection.
 */
import type { Drop } from '../../packet/drop.ts'
import { Verdict } from '../../packet/hooks.ts'
import { CtState, Ip } from '../../packet/ip.ts'
import { Manip } from '../nat/range.ts'
import { CONFIRMED, PASS } from './host.ts'
import type { Plane } from './plane.ts'

const SRC_NAT_DONE = 128
const DST_NAT_DONE = 256
const TCP = 6

export class Connections {
  /** Ip.Ct of the packet that is being refused, for its answer; -1 = none. */
  attached = -1
  private readonly plane: Plane
  private readonly serials: Int32Array

  constructor(plane: Plane, serials: Int32Array) {
    this.plane = plane
    this.serials = serials
  }

  track(slot: number, row: number, nowMs: number): Verdict {
    const { conntrack, ip } = this.plane
    if (this.attached >= 0) return this.attach(row)
    const result = conntrack.in(slot, nowMs)
    if (result !== PASS) return this.refuse(result)
    const node = ip[row + Ip.Ct]
    if (node >= 0 && ip[row + Ip.CtState] !== CtState.Established) {
      if ((conntrack.status(node >> 1) & CONFIRMED) === 0) this.serials[node >> 1]++
    }
    return Verdict.Accept
  }

  /**
   * The answer to a packet that was refused belongs to that packet's connection (nf_ct_attach), though nobody
   * can find it yet, or ever: it is translated back.
   */
  private attach(row: number): Verdict {
    const { ip } = this.plane
    ip[row + Ip.Ct] = this.attached ^ 1
    ip[row + Ip.CtState] = CtState.Related
    this.attached = -1
    return Verdict.Accept
  }

  /** The packet has got through. A reply never makes its connection. */
  confirm(slot: number, row: number, nowMs: number): Verdict {
    const { conntrack, ip } = this.plane
    if ((ip[row + Ip.Ct] & 1) !== 0) return Verdict.Accept
    const result = conntrack.confirm(slot, nowMs)
    return result === PASS ? Verdict.Accept : this.refuse(result)
  }

  /** The chains of nat are to be asked: the connection is new, and this side of it not chosen. */
  asks(slot: number, row: number, manip: Manip): boolean {
    const { conntrack, ip } = this.plane
    return ip[row + Ip.Ct] >= 0 && ip[row + Ip.CtState] === CtState.New && conntrack.natFresh(slot, manip)
  }

  /**
   * The chains of nat see the reset that refuses a packet whose connection is not set up yet, as in the kernel:
   * they count it, and change nothing.
   */
  shows(row: number, manip: Manip): boolean {
    const { conntrack, ip } = this.plane
    const node = ip[row + Ip.Ct]
    if (node < 2 || ip[row + Ip.CtState] !== CtState.Related || ip[row + Ip.Proto] !== TCP) return false
    const done = manip === Manip.Source ? SRC_NAT_DONE : DST_NAT_DONE
    return (conntrack.status(node >> 1) & (done | CONFIRMED)) === 0
  }

  /** As nf_nat_inet_fn: if no rule has chosen, nothing changes but what keeps the tuple unique; then the rewrite. */
  translate(slot: number, row: number, manip: Manip, nowMs: number): Verdict {
    const { conntrack, ip } = this.plane
    if (ip[row + Ip.Ct] < 0) return Verdict.Accept
    if (this.asks(slot, row, manip)) {
      const result = conntrack.natSetup(slot, manip, null, nowMs)
      if (result !== PASS) return this.refuse(result)
    }
    return this.apply(slot, manip)
  }

  /** Rewrites the packet as its connection says. */
  apply(slot: number, manip: Manip): Verdict {
    const result = this.plane.conntrack.natApply(slot, manip)
    return result === PASS ? Verdict.Accept : this.refuse(result)
  }

  private refuse(reason: Drop): Verdict {
    this.plane.reason = reason
    return Verdict.Drop
  }
}
