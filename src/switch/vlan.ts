// HOT
/**
 * VLANs (802.1Q, 802.1ad): which VLAN a frame is in when it comes in, and which tag it has when it
 * goes out. Read 802.1Q clauses 6.9 (classification) and 9 (tag format) first.
 *
 *     on the wire:  dst (6) | src (6) | [TPID (2) | PCP 3 DEI 1 VID 12] | type ...
 *
 * Inside, the outer tag is out of band: Meta.Tci holds PCP, DEI and VID, Meta.Strip how many bytes of
 * tag an egress leaves out. The frame's bytes stay as they came; the egress tag is gathered at the
 * write, so one slot serves tagged and untagged ports alike.
 *
 *     port        untagged     VID 0 (priority)   tagged               out, VLAN = pvid   other VLANs
 *     access N    VLAN N       VLAN N, PCP kept   refused              untagged           not a member
 *     trunk       native       native, PCP kept   its VLAN if allowed  untagged (native)  tagged
 *     tunnel N    VLAN N, all frames as they are, tags too (Q-in-Q)    as they were       not a member
 *     unaware     VLAN 0, all frames as they are                       as they were
 *
 * A port's TPID says which tag it reads: 0x8100 (C-tag) or 0x88a8 (S-tag, provider trunk; 0x9100 for
 * old equipment). A tag with another TPID is payload. VLAN 4095 is reserved and dropped.
 */
import { drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { META_SHIFT, Meta } from '../packet/layout.ts'
import type { Pool } from '../packet/pool.ts'
import { Member, PortFlag, type PortTable, VIDS } from './ports.ts'

export const TPID_C = 0x8100
export const TPID_S = 0x88a8
export const VID_MASK = 0xfff
const VID_RESERVED = 0xfff

/**
 * Puts the packet into its VLAN: sets Meta.Tci and Meta.Strip. Returns the VID, or -1 after counting
 * the drop. `type` is the EtherType at offset 12, `at` the frame's place in the pool; 18 bytes are there
 * when it is a TPID (checked here).
 */
export function classify(
  pool: Pool,
  ports: PortTable,
  counters: Float64Array,
  port: number,
  slot: number,
  at: number,
  type: number,
): number {
  const meta = pool.meta
  const m = slot << META_SHIFT
  const tpid = ports.tpid[port]
  if (tpid === 0) {
    meta[m + Meta.Tci] = 0
    return 0
  }
  if ((ports.flags[port] & PortFlag.Tunnel) !== 0) {
    // The customer's priority is carried over into the provider's tag (802.1ad 6.9.4).
    const pcp = type === TPID_C && meta[m + Meta.Len] >= 18 ? pool.view.getUint16(at + 14) & 0xf000 : 0
    meta[m + Meta.Tci] = pcp | ports.pvid[port]
    return ports.pvid[port]
  }
  let tci = 0
  let vid = 0
  if (type === tpid) {
    if (meta[m + Meta.Len] < 18) {
      drop(counters, port, Drop.Runt)
      return -1
    }
    tci = pool.view.getUint16(at + 14)
    vid = tci & VID_MASK
    if (vid === VID_RESERVED) {
      drop(counters, port, Drop.VlanReserved)
      return -1
    }
    meta[m + Meta.Strip] = 4
  }
  if (vid === 0) {
    vid = ports.pvid[port]
    if (vid < 0) {
      drop(counters, port, Drop.UntaggedRefused)
      return -1
    }
  } else {
    if (ports.tagged[port] === 0) {
      drop(counters, port, Drop.TaggedRefused)
      return -1
    }
    if ((ports.flags[port] & PortFlag.Translate) !== 0) vid = ports.inward[port]![vid]
    if (ports.member[port * VIDS + vid] === Member.No) {
      drop(counters, port, Drop.VlanIngress)
      return -1
    }
  }
  meta[m + Meta.Tci] = (tci & 0xf000) | vid
  return vid
}

/** The tag a packet of this VLAN gets on its way out by `port`: 0 = none. */
export function egressTag(ports: PortTable, port: number, tci: number, member: number): number {
  if (member !== Member.Tagged) return 0
  if ((ports.flags[port] & PortFlag.Translate) !== 0) {
    tci = (tci & 0xf000) | ports.outward[port]![tci & VID_MASK]
  }
  return (ports.tpid[port] << 16) | tci
}

/** A port's VLANs, as the configuration says them. */
export type PortVlan =
  | { mode: 'unaware' }
  | { mode: 'access'; vid: number; tpid?: number }
  | { mode: 'tunnel'; vid: number }
  | {
      mode: 'trunk'
      /** VIDs allowed, tagged. */
      allowed: number[]
      /** VLAN of untagged frames, if any. */
      native?: number
      /** 0x8100 by default. */
      tpid?: number
      /** [on the wire, inside] */
      translate?: [number, number][]
    }

/** Writes a port's row of the tables. */
export function setVlan(ports: PortTable, port: number, vlan: PortVlan): void {
  const row = ports.member.subarray(port * VIDS, (port + 1) * VIDS)
  row.fill(Member.No)
  ports.flags[port] &= ~(PortFlag.Tunnel | PortFlag.Translate)
  ports.inward[port] = null
  ports.outward[port] = null
  ports.tagged[port] = 0
  switch (vlan.mode) {
    case 'unaware':
      ports.tpid[port] = 0
      ports.pvid[port] = 0
      row[0] = Member.Untagged
      break
    case 'access':
    case 'tunnel':
      ports.tpid[port] = (vlan.mode === 'access' && vlan.tpid) || TPID_C
      ports.pvid[port] = vlan.vid
      row[vlan.vid] = Member.Untagged
      if (vlan.mode === 'tunnel') ports.flags[port] |= PortFlag.Tunnel
      break
    case 'trunk':
      ports.tpid[port] = vlan.tpid ?? TPID_C
      ports.tagged[port] = 1
      ports.pvid[port] = vlan.native ?? -1
      for (const vid of vlan.allowed) row[vid] = Member.Tagged
      if (vlan.native !== undefined) row[vlan.native] = Member.Untagged
      if (vlan.translate?.length) {
        const inward = Uint16Array.from({ length: VIDS }, (_, vid) => vid)
        const outward = inward.slice()
        // A number that only exists inside must not be a second way in: VID 0 has no members.
        for (const [, inside] of vlan.translate) inward[inside] = 0
        // An inside number that nobody has on the wire does not come in under its own name.
        for (const [, inside] of vlan.translate) inward[inside] = 0
        for (const [wire, inside] of vlan.translate) {
          inward[wire] = inside
          outward[inside] = wire
        }
        ports.inward[port] = inward
        ports.outward[port] = outward
        ports.flags[port] |= PortFlag.Translate
      }
  }
}
