/**
 * A configuration after validation: every default filled in, every unit a number. What the loader
 * makes (load.ts), the differ compares (diff.ts) and the fabric builds (control/fabric.ts). Names and
 * meaning of the keys are documented where they are declared, in schema.ts.
 */
import type { PollPolicy } from '../engine/command.ts'
import type { Timeouts } from '../filter/conntrack/timeouts.ts'
import type { Filtering } from '../filter/nat/nat.ts'
import type { FaultSpec } from '../port/fault.ts'
import type { PortVlan } from '../switch/vlan.ts'
import type { VtepConfig, VxlanConfig } from './vtep-types.ts'

export type { VtepConfig, VxlanConfig }

export interface FabricConfig {
  /** Network namespaces to create when missing. */
  namespaces: string[]
  poll: PollPolicy
  switches: Record<string, SwitchConfig>
  routers: Record<string, RouterConfig>
  vteps: Record<string, VtepConfig>
}

export interface SwitchConfig {
  /** Seconds, 0 = never. */
  agingS: number
  /** Most addresses in all. */
  limit: number
  /** Bit n forwards 01-80-C2-00-00-0n. */
  reservedOpen: number
  /** Some port has a `vlan` key: tags mean something. */
  vlanAware: boolean
  ports: Record<string, PortConfig>
}

export interface PortConfig {
  device: DeviceConfig
  vlan: PortVlan
  /** Largest payload of a frame our side sends, bytes; 0 = whatever the device has (packet ports). */
  mtu: number
  learning: boolean
  flood: { unknown: boolean; multicast: boolean; broadcast: boolean }
  isolated: boolean
  hairpin: boolean
  locked: boolean
  /** Most addresses; 0 = only the switch's limit. */
  limit: number
  /** Packets per second; Infinity = no limit. */
  storm: { unknown: number; multicast: number; broadcast: number }
  statics: { mac: string; vid: number }[]
  fault?: FaultSpec
  /** A tunnel of the switch says what its MTU is: nobody else did. */
  tunnelMtu?: true
}

/** A namespace as written: '' = the daemon's own, a name, a path or a pid. */
export type Netns = string

export interface LinkConfig {
  name: string
  netns: Netns
  /** CIDRs, IPv4 and IPv6. */
  addresses: string[]
  /** Default gateways, at most one of each family. */
  gateways: string[]
  /** Lower case, colons; undefined = the kernel chooses. */
  mac?: string
  mtu: number
}

export interface OffloadConfig {
  checksum: boolean
  tso: boolean
  uso: boolean
}

export type DeviceConfig =
  | ({ type: 'tap' | 'tun'; offload: OffloadConfig; persist: boolean; queues: number } & LinkConfig)
  /** The switch's own interface: a TAP in the daemon's namespace. */
  | ({ type: 'host'; offload: OffloadConfig } & LinkConfig)
  | { type: 'packet'; name: string; netns: Netns }
  /** The other end: a port of a switch of this fabric that names us. */
  | { type: 'patch'; switch: string; port: string }
  | { type: 'pcap'; file: string; loop: boolean; speed: number }
  /** Frames come and go through the library. */
  | { type: 'memory' }
  | VxlanConfig

/** A router: interfaces joined at layer 3. */
export interface RouterConfig {
  interfaces: Record<string, InterfaceConfig>
  routes: RouteConfig[]
  policies: PolicyConfig[]
  /** What the `nat` key says; compiled into rules (control/router/rules.ts). */
  nat: NatConfig[]
  /** Checked; each table is in one of them, for each family. */
  rules: RulesConfig[]
  /** How conntrack and NAT behave: as the kernel, or as BCP 127 asks. */
  profile: 'linux' | 'rfc'
  /** Checked; no name is in two of them. */
  sets: SetsConfig[]
  /** Files that packets of NFLOG groups go to. */
  nflog: NflogConfig[]
  conntrack: TrackingConfig
}

/** Sets in the words of `ipset save`: of a file, or written out under `sets`. */
export interface SetsConfig {
  /** As RulesConfig's; 'sets' for those of the configuration itself. */
  file: string
  text: string
}

export interface NflogConfig {
  group: number
  file: string
  maxBytes: number
}

export interface TrackingConfig {
  max: number
  /** 0 = no limit. */
  perSource: number
  /** Seconds; those that are not the profile's. */
  timeouts: Partial<Timeouts>
  loose: boolean
  liberal: boolean
  maxRetrans: number
  filtering: Filtering
  /** Undefined: the profile's. */
  inboundRefresh?: boolean
}

/** A file in iptables-save (family 4) or ip6tables-save (6) format, read whole. */
export interface RulesConfig {
  /** From the directory of the configuration on, as that was named. */
  file: string
  text: string
  family: 4 | 6
}

export interface InterfaceConfig {
  /** A switch of this fabric, or a device of its own. `vlan` is null if the switch does not look at tags. */
  on:
    | { type: 'switch'; switch: string; vlan: number | null }
    | Exclude<DeviceConfig, { type: 'patch' | 'pcap' | 'host' | 'vxlan' }>
  /** CIDRs of ours, IPv4 and IPv6. */
  addresses: string[]
  mac?: string
  /** Longest IP packet, bytes; 0 = whatever the device has (packet). */
  mtu: number
  rpFilter: 'off' | 'strict' | 'loose'
  clampMss: boolean
  /** Ask whether somebody else has our addresses: on, IPv4 in the background; strict, IPv4 before it is used. */
  dad: 'on' | 'off' | 'strict'
  dhcp?: DhcpConfig
  advertise?: AdvertiseConfig
  fault?: FaultSpec
  /** As of a port. */
  tunnelMtu?: true
}

/** A DHCPv4 server on an interface. Addresses as text, '' = none. */
export interface DhcpConfig {
  /** Ours in the subnet that is served, with prefix. */
  address: string
  pool: [first: string, last: string][]
  /** One of mac and clientId (hexadecimal) may be ''. */
  reservations: { mac: string; clientId: string; address: string; hostName: string }[]
  router: string
  dns: string[]
  domain: string
  /** 0 = the interface's. */
  mtu: number
  /** CIDR and gateway. */
  routes: { to: string; via: string }[]
  leaseS: number
  /** Absolute path. */
  leases: string
  probeMs: number
}

/** Router advertisements on an interface. */
export interface AdvertiseConfig {
  /** CIDRs, none = the interface's own. */
  prefixes: { prefix: string; onLink: boolean; autonomous: boolean; validS: number; preferredS: number }[]
  /** 0 = the interface's. */
  mtu: number
  hopLimit: number
  lifetimeS: number
  managed: boolean
  other: boolean
  dns: string[]
  search: string[]
  minIntervalS: number
  maxIntervalS: number
}

export interface RouteConfig {
  /** CIDR; 0.0.0.0/0 and ::/0 for `default`. */
  to: string
  kind: 'unicast' | 'blackhole' | 'unreachable' | 'prohibit' | 'throw'
  /** Next hops; several are equal-cost paths; none unless unicast. `via` '' = on the link. */
  hops: { via: string; interface: string; weight: number }[]
  metric: number
  table: number
  /** Preferred source address, '' = any. */
  src: string
}

/** `ip rule`. '' and null match everything. Of one priority, the first is asked first. */
export interface PolicyConfig {
  priority: number
  /** Has routes, or is local or main. */
  table: number
  /** CIDRs. */
  from: string
  to: string
  /** Where the packet came in. */
  interface: string
  /** 32 bits, unsigned; the value has no bits beside the mask's. */
  mark: { value: number; mask: number } | null
}

export type NatConfig =
  | { type: 'masquerade'; from: string; out: string }
  /** Port listenPorts[0] + n of `listen` ('' = every address of ours) leads to port toPort + n of `to`. */
  | {
      type: 'publish'
      proto: 'tcp' | 'udp'
      listen: string
      listenPorts: [first: number, last: number]
      to: string
      toPort: number
    }
