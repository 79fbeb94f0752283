// HOT
/** What every part of the filter works on: the packet memory, connections, the router around; and the packet in hand. */
import { Drop } from '../../packet/drop.ts'
import { Hook } from '../../packet/hooks.ts'
import { CtState, Frag, IP_SHIFT, Ip } from '../../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import type { Pool } from '../../packet/pool.ts'
import * as tcp from '../../wire/tcp.ts'
import { CONFIRMED, type ConntrackLike, type FilterHost, Tuple } from './host.ts'
import { Scan } from './layout.ts'

export class Plane {
  readonly ip: Int32Array
  readonly pool: Pool
  readonly view: DataView
  readonly meta: Int32Array
  readonly host: FilterHost
  readonly conntrack: ConntrackLike
  readonly tuple = new Int32Array(Tuple.Words)
  hook: Hook = Hook.Prerouting
  /** Bytes of transport header and payload; -1 = a later fragment. */
  l4Length = 0
  /** 1: TCP, UDP or ICMP cut off within its header. */
  short = 0
  /** 1: something was asked whose answer may be another for the next packet of this flow. */
  variable = 0
  /** The Step in hand (netfilter.ts): where a queued packet goes on. */
  step = 0
  /** 1: the packet in hand is refused, with this reply (FilterHost.reject). */
  refused = 0
  reply = 0
  /** What a dropped packet ends for. */
  reason: Drop = Drop.Filter

  constructor(ip: Int32Array, pool: Pool, host: FilterHost, conntrack: ConntrackLike) {
    this.ip = ip
    this.pool = pool
    this.view = pool.view
    this.meta = pool.meta
    this.host = host
    this.conntrack = conntrack
  }

  /**
   * The packet is not the one that begins its connection: whether that has been answered or not, it is confirmed, and
   * its translation is chosen. The next packet like this one fares as it does.
   */
  goesOn(row: number): boolean {
    const node = this.ip[row + Ip.Ct]
    if (node < 0) return false
    const state = this.ip[row + Ip.CtState]
    if (state !== CtState.New) return state === CtState.Established
    return (this.conntrack.status(node >> 1) & CONFIRMED) !== 0
  }

  /** Looks at a packet anew at each hook: the router has gone on with it. */
  enter(hook: Hook, slot: number): void {
    const { ip } = this
    const row = slot << IP_SHIFT
    const protocol = ip[row + Ip.Proto]
    const later = (ip[row + Ip.Frag] & Frag.Later) !== 0
    // In by none: made here. Out by none: not routed yet, or to us.
    const inIf = hook === Hook.Output ? Scan.NoInterface : ip[row + Ip.InIf] & Scan.NoInterface
    const outIf = hook <= Hook.Input ? Scan.NoInterface : ip[row + Ip.OutIf] & Scan.NoInterface
    ip[row + Scan.Key] =
      protocol | (inIf << Scan.InShift) | (outIf << Scan.OutShift) | (later ? Scan.Later : 0)
    this.hook = hook
    this.variable = 0
    this.refused = 0
    this.reason = Drop.Filter
    this.l4Length = later ? -1 : ip[row + Ip.L3] + ip[row + Ip.Length] - ip[row + Ip.L4]
    this.short = !later && this.l4Length < 20 ? cutShort(protocol, this.l4Length) : 0
  }
}

function cutShort(protocol: number, length: number): number {
  if (protocol === 6) return 1
  const icmp = protocol === 1 || protocol === 58
  return length < 8 && (protocol === 17 || protocol === 136 || icmp) ? 1 : 0
}

/** TcpFlag bits of a segment. */
export function flagsOf(plane: Plane, slot: number, row: number): number {
  const head = slot * SLOT_SIZE + plane.meta[(slot << META_SHIFT) + Meta.Head]
  return tcp.flags(plane.view, head + plane.ip[row + Ip.L4]) & 63
}
