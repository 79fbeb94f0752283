/**
 * A port's settings, written into the tables that the stages read.
 */

import type { Stage } from '../packet/stage.ts'
import { Entry, Fdb } from '../switch/fdb.ts'
import { PortFlag, type PortTable } from '../switch/ports.ts'
import type { StormControl } from '../switch/storm.ts'
import { Switch } from '../switch/switch.ts'
import { setVlan } from '../switch/vlan.ts'
import type { PortSettings } from './command.ts'

const ETHERNET_HEADER = 14
/** A frame may carry one tag more than its payload's MTU says (802.3 clause 3.2.7, Linux VLAN_HLEN). */
const TAG = 4

/** Static addresses of before that are not in `s` any more go; learned ones stay. */
export function applySettings(
  ports: PortTable,
  storm: StormControl,
  stage: Stage,
  index: number,
  s: PortSettings,
  nowS: number,
): void {
  ports.flags[index] = flagsOf(s)
  ports.limit[index] = s.limit
  ports.maxFrame[index] = s.mtu + ETHERNET_HEADER + TAG
  setVlan(ports, index, s.vlan)
  storm.set(ports, index, s.stormUnknown, s.stormMulticast, s.stormBroadcast)
  if (!(stage instanceof Switch)) return
  const { fdb } = stage
  fdb.unpin(index)
  for (const [mac, vid] of s.statics) fdb.pin(macLo(mac), Fdb.key1(macHi(mac), vid), index, Entry.None, nowS)
  if (s.own) {
    const vid = Math.max(0, ports.pvid[index])
    fdb.pin(macLo(s.own), Fdb.key1(macHi(s.own), vid), index, Entry.Own, nowS)
  }
}

function flagsOf(s: PortSettings): number {
  let flags = 0
  if (s.up) flags |= PortFlag.Up
  if (s.learning) flags |= PortFlag.Learning
  if (s.floodUnknown) flags |= PortFlag.FloodUnknown
  if (s.floodMulticast) flags |= PortFlag.FloodMulticast
  if (s.floodBroadcast) flags |= PortFlag.FloodBroadcast
  if (s.isolated) flags |= PortFlag.Isolated
  if (s.hairpin) flags |= PortFlag.Hairpin
  if (s.locked) flags |= PortFlag.Locked
  return flags
}

const macHi = (mac: Uint8Array): number => (mac[0] << 8) | mac[1]
const macLo = (mac: Uint8Array): number => (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5]
