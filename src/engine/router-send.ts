/** Packets that the control thread makes for a router: DHCP answers, router advertisements, probes. */
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { Clock, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import { IfFlag } from '../router/interfaces.ts'
import { describeMade } from '../router/made.ts'
import { putEthernet, putNothing } from '../router/neighbour-link.ts'
import type { Router } from '../router/router.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import type { RouterCommand } from './command.ts'
import type { Engine } from './engine.ts'
import type { EngineRouterHost } from './router-host.ts'

const hosts = new WeakMap<Router, EngineRouterHost>()

/** The host of a router that was just built. */
export function remember(router: Router, host: EngineRouterHost): void {
  hosts.set(router, host)
}

/** Without a free slot, or when the interface is gone, the packet is lost: its receiver will ask again. */
export function sendMade(
  engine: Engine,
  router: Router,
  { index, packet, mac, ask }: Extract<RouterCommand, { op: 'router-send' }>,
): void {
  const host = hosts.get(router)!
  const { interfaces } = router
  if (interfaces.port[index] < 0) return
  const slot = host.make(packet.length)
  if (slot < 0) return
  const { ipRows: ip, pool } = engine
  const at = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
  pool.bytes.set(packet, at)
  describe(engine, slot, at, packet.length)
  const row = slot << IP_SHIFT
  const six = ip[row + Ip.Family] === 6
  const destination = ip[row + Ip.Dst0]
  if (mac === null) {
    // A link-local destination is on this link; any other is routed.
    ip[row + Ip.OutIf] = six ? index : -1
    router.originate(slot, Math.floor(engine.memory.clock[Clock.MonotonicMs]))
  } else {
    ip[row + Ip.OutIf] = index
    if ((interfaces.flags[index] & IfFlag.NoEthernet) !== 0) putNothing(pool, ip, slot)
    else {
      const hi = (mac[0] << 8) | mac[1]
      const lo = (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]
      putEthernet(pool, ip, slot, hi, lo, interfaces.macHi[index], interfaces.macLo[index])
    }
    host.send(interfaces.port[index], slot)
  }
  if (ask && !six) router.resolver.ask(index, destination)
  engine.pipeline.settle(engine.batch)
}

function describe(engine: Engine, slot: number, at: number, length: number): void {
  const { ipRows: ip, pool } = engine
  const { view } = pool
  const six = view.getUint8(at) >> 4 === 6
  const proto = six ? ipv6.nextHeader(view, at) : ipv4.protocol(view, at)
  const l4 = six ? ipv6.SIZE : ipv4.headerLength(view, at)
  const udp = proto === ipv4.Protocol.Udp
  // ICMP: type and code; what identifies it is of no use here.
  const ports = udp ? view.getInt32(at + l4) : view.getUint16(at + l4) << 16
  describeMade(ip, slot, six ? 6 : 4, proto, l4, length, ports, 0)
  const row = slot << IP_SHIFT
  ip[row + Ip.Ttl] = six ? ipv6.ttl(view, at) : ipv4.ttl(view, at)
  for (let i = 0; i < (six ? 4 : 1); i++) {
    ip[row + Ip.Src0 + i] = six ? ipv6.srcAddr(view, at, i) : ipv4.srcAddr(view, at)
    ip[row + Ip.Dst0 + i] = six ? ipv6.dstAddr(view, at, i) : ipv4.dstAddr(view, at)
  }
}
