/** VXLAN in a configuration after validation: tunnel endpoints, and the ports that stand on them. */
import type { Netns } from './types.ts'

/** A UDP socket in a namespace, and how tunnelled packets leave by it. */
export interface VtepConfig {
  netns: Netns
  /** 0.0.0.0 or :: = every address of the family. */
  local: string
  family: 4 | 6
  port: number
  /** The device traffic has to use; '' = as the routes say. */
  device: string
  /** MTU of the underlay in bytes; 0 = found out. */
  mtu: number
  /** tap: super-frames of TCP are handed to the kernel whole, by a TAP; everything else by sockets. */
  underlay: 'socket' | 'tap'
  df: 'unset' | 'set' | 'inherit'
  /** 0 = the inner packet's. */
  ttl: number
  /** Of what goes to a group. */
  groupTtl: number
  /** DSCP and ECN bits; -1 = the inner packet's. ECN follows RFC 6040 in any case. */
  tos: number
  udpChecksum: boolean
  /** A datagram with a reserved bit set is dropped. */
  strict: boolean
  /** Sockets, each with a source port of its own: flows are spread over them. */
  sourcePorts: number
  /** Most addresses learned, over all VNIs. */
  limit: number
  /** Most remotes known at a time. */
  maxRemotes: number
  /** How often names are looked up again, seconds. */
  resolveS: number
  probe: ProbeConfig
}

export interface ProbeConfig {
  /** Looks for the longest packet that the path takes. */
  mtu: boolean
  /** Tells whether the remote is there. */
  liveness: boolean
  /** Seconds between two echoes. */
  intervalS: number
  /** Echoes without an answer that make a remote dead. */
  misses: number
}

export interface VxlanConfig {
  type: 'vxlan'
  vtep: string
  vni: number
  /** Who gets floods: addresses, or names that are looked up. */
  remotes: string[]
  /** Multicast address that floods go to; '' = none. */
  group: string
  /** Where the group is joined; '' = the VTEP's device. */
  groupDevice: string
  /** Remember which remote a source address is behind. */
  learning: boolean
  statics: TunnelStatic[]
  /** Most addresses learned; 0 = only the VTEP's limit. */
  limit: number
  /** Seconds, 0 = never. */
  agingS: number
  /** Answers ARP requests and neighbour solicitations for addresses it knows. */
  suppress: boolean
  clampMss: boolean
  innerVlan: 'discard' | 'keep'
  /** known: only what comes from a listed, static or group remote is let in. */
  accept: 'known' | 'any'
}

/** A station behind a remote. */
export interface TunnelStatic {
  mac: string
  /** An address or a name. */
  remote: string
  /** IP addresses of the station. */
  addresses: string[]
}
