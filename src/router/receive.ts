// HOT
/** A frame becomes a packet: whether it is for us, ARP, what IP says about itself, fragments. */
import { Drop } from '../packet/drop.ts'
import { Frag, IP_SHIFT, Ip } from '../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import * as ethernet from '../wire/ethernet.ts'
import { flawed } from './odd.ts'
import { PARSED, parse } from './parse.ts'
import type { Router } from './router.ts'

const GONE = -1

/** The slot of a packet that is to enter PREROUTING, its row filled; -1 = it went another way. */
export function receive(router: Router, slot: number, iface: number, port: number, nowMs: number): number {
  const { hooks, host, interfaces } = router
  const { ip, pool } = host
  const { meta, view } = pool
  const m = slot << META_SHIFT
  const at = slot * SLOT_SIZE + meta[m + Meta.Head]
  const row = slot << IP_SHIFT
  let l3 = 0
  let version = 0
  let pktType = 0
  if ((meta[m + Meta.Flags] & Flag.NoEthernet) !== 0) {
    version = meta[m + Meta.Len] > 0 ? view.getUint8(at) >> 4 : 0
  } else {
    if (meta[m + Meta.Len] < ethernet.SIZE) return reject(router, port, slot, Drop.Runt)
    if ((view.getUint8(at + 6) & 1) !== 0) return reject(router, port, slot, Drop.SourceGroup)
    const hi = ethernet.dstMacHi(view, at)
    if ((hi & 0x100) !== 0) pktType = ethernet.isBroadcast(view, at) ? 1 : 2
    else if (hi !== interfaces.macHi[iface] || ethernet.dstMacLo(view, at) !== interfaces.macLo[iface])
      return reject(router, port, slot, Drop.NotForUs)
    const type = ethernet.etherType(view, at)
    if (type === ethernet.EtherType.Arp) {
      router.resolver.arp(slot, iface, nowMs)
      return GONE
    }
    l3 = ethernet.SIZE
    if (type === ethernet.EtherType.Ipv4) version = 4
    else if (type === ethernet.EtherType.Ipv6) version = 6
  }
  if (version !== 4 && version !== 6) return reject(router, port, slot, Drop.NoListener)
  const result = parse(pool, ip, slot, l3, version)
  ip[row + Ip.InIf] = iface
  ip[row + Ip.PktType] = pktType
  if (result !== PARSED) {
    flawed(router, slot, port, result, nowMs)
    return GONE
  }
  if ((ip[row + Ip.Frag] & Frag.Any) === 0) return slot
  const tracked = version === 4 ? hooks.tracks4 : hooks.tracks6
  return tracked ? router.fragments.gather(slot, nowMs) : slot
}

/** Drops a frame that the filter has not seen. */
export function reject(router: Router, port: number, slot: number, reason: Drop): number {
  router.host.lose(port, slot, reason)
  return GONE
}
