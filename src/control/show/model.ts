/**
 * What `show` shows: the stable JSON documents of the control API and of the library. A field is
 * added, never renamed or removed.
 */
import type { ConntrackRow } from '../../filter/conntrack/row.ts'

export interface PortStatus {
  name: string
  switch: string
  /** tap, tun, host, packet, patch, pcap, memory. */
  type: string
  /** up: traffic flows; down: the device is gone or not set up; see `reason`. */
  state: 'up' | 'down'
  reason: string | null
  device: string | null
  netns: string | null
  mac: string | null
  mtu: number
  vlan: string
  addresses: string[]
  /** Offloads in force: checksum, tso4, tso6, ecn, uso. */
  offloads: string[]
  learned: number
  rxPackets: number
  rxBytes: number
  txPackets: number
  txBytes: number
  drops: number
}

export interface FdbRow {
  switch: string
  vlan: number
  mac: string
  port: string
  type: 'dynamic' | 'static' | 'own'
  /** Seconds since the last frame; 0 for static ones. */
  ageS: number
  /** Behind a VXLAN port: the remote it is behind; null = any of them, or no VXLAN port. */
  remote: string | null
}

export interface VlanRow {
  switch: string
  vlan: number
  tagged: string[]
  untagged: string[]
  addresses: number
}

export interface CounterRow {
  port: string
  /** '(vtep)' for the sockets of a VTEP, whose name is then that of the port. */
  switch: string
  rxPackets: number
  rxBytes: number
  /** Super-frames among rxPackets. */
  rxSuper: number
  txPackets: number
  txBytes: number
  /** Copies a flood or a fault made of packets received here. */
  made: number
  held: number
  learned: number
  moved: number
  learnRefused: number
  evicted: number
  captured: number
  captureLost: number
  drops: number
}

export interface DropRow {
  port: string
  /** As in CounterRow. */
  switch: string
  reason: string
  side: 'in' | 'out'
  packets: number
  meaning: string
}

export interface StatusReport {
  version: string
  node: string
  pid: number
  startedAt: string
  uptimeS: number
  configFile: string | null
  poll: string
  workers: { state: 'running' | 'stopped'; restarts: number }[]
  switches: {
    name: string
    ports: number
    up: number
    addresses: number
    limit: number
    agingS: number
    vlanAware: boolean
  }[]
  vteps: {
    name: string
    local: string
    port: number
    netns: string | null
    /** As in TunnelRow. */
    underlay: TunnelRow['underlay']
    /** Of the underlay, where a remote's own is not known. */
    mtu: number
    remotes: number
    /** Learned and static. */
    addresses: number
    limit: number
    /** Datagrams that the kernel had no room for. */
    lost: number
  }[]
  memory: { residentBytes: number; poolSlots: number }
  /** in + made = out + dropped + held + consumed; see the conservation law in packet/counters.ts. */
  totals: { in: number; made: number; out: number; dropped: number; held: number; consumed: number }
}

export interface InterfaceRow {
  router: string
  name: string
  /** switch, tap, tun, packet, memory. */
  type: string
  /** It is on a switch; null if it has a device of its own. */
  switch: string | null
  /** VLAN of that switch, null if that does not look at tags. */
  vlan: number | null
  /** 'switch.port' of `show ports`: its port in the switch, or the router's own. */
  port: string
  device: string | null
  netns: string | null
  state: 'up' | 'down'
  reason: string | null
  /** Ours; null for a TUN. */
  mac: string | null
  mtu: number
  addresses: {
    /** With prefix. */
    address: string
    /** tentative: being asked for; valid: nobody else has it; duplicate: somebody has. */
    state: 'tentative' | 'valid' | 'duplicate'
    /** Answered for, sent from, in the routing tables. */
    used: boolean
    /** MAC of who else has it, as far as that was heard. */
    other: string | null
  }[]
  rxPackets: number
  rxBytes: number
  txPackets: number
  txBytes: number
  /** Of the router's port. */
  drops: number
}

export interface RouteRow {
  router: string
  table: string
  /** CIDR, `default` for the whole. */
  to: string
  kind: 'unicast' | 'local' | 'broadcast' | 'blackhole' | 'unreachable' | 'prohibit' | 'throw'
  /** Several are equal-cost paths; `via` null = on the link. */
  hops: { via: string | null; interface: string; weight: number }[]
  metric: number
  src: string | null
}

export interface NeighborRow {
  router: string
  interface: string
  address: string
  mac: string | null
  /** As `ip neighbour` prints it. */
  state: string
  /** It is a router itself (IPv6). */
  isRouter: boolean
  /** Packets that wait for it. */
  waiting: number
  usedS: number
  confirmedS: number
}

/** A tracked connection: filter/conntrack/row.ts says what each field is. */
export type ConnectionRow = ConntrackRow & { router: string }

/** A set of addresses that rules look into (ipset). */
export interface SetRow {
  router: string
  name: string
  type: string
  /** 4, 6, or null where a set has no addresses. */
  family: 4 | 6 | null
  /** The words of `ipset save` that create it. */
  create: string
  elements: SetElementRow[]
}

export interface SetElementRow {
  /** As ipset writes it: 10.0.0.0/8, 10.0.0.1,tcp:80. */
  element: string
  /** Whole seconds that are left; 0 = for ever; null = the set has no timeouts. */
  timeoutS: number | null
  nomatch: boolean
  /** Null = the set does not count. */
  packets: number | null
  bytes: number | null
  comment: string
}

/** An address that a DHCP server has given. */
export interface LeaseRow {
  router: string
  interface: string
  address: string
  /** Of the client; of who uses the address, when it is declined. */
  mac: string
  /** Hexadecimal. */
  clientId: string | null
  hostName: string | null
  /** declined: somebody uses it without a lease, nobody gets it until `expires`. */
  state: 'bound' | 'declined'
  expires: string
  leftS: number
}

/** Packets dropped at a remote, by reason (`show drops` says what they mean). */
export interface TunnelDrops {
  'tunnel-too-big': number
  'tunnel-unreachable': number
  'no-room': number
  refused: number
  'tunnel-remote': number
  'tunnel-tagged': number
  'tunnel-ecn': number
}

/** A remote of a VTEP. */
export interface TunnelRow {
  vtep: string
  /** Its address, or the group's; null = its name is not known (yet). */
  remote: string | null
  /** As the configuration names it; null = by address, or not at all. */
  name: string | null
  /** group: a multicast group of the underlay; learned: from what it sent. */
  kind: 'listed' | 'group' | 'learned'
  /**
   * up: it answered or sent something lately; down: given up (`probe: { liveness: true }`); unknown: neither;
   * unresolved: there is no address for its name.
   */
  state: 'up' | 'down' | 'unknown' | 'unresolved'
  vnis: number[]
  /** VXLAN ports it belongs to: 'switch.port'. */
  ports: string[]
  /** Learned and static addresses behind it. */
  addresses: number
  /** How super-frames of TCP leave. tap-failed: a TAP was asked for, but the kernel lost what it was handed. */
  underlay: 'socket' | 'tap' | 'tap-failed'
  /** Longest inner IP packet, bytes. */
  mtu: number
  /** Longest packet of the underlay, bytes. */
  pathMtu: number
  /** config: the operator said it; device: the underlay's; icmp: a router told; probe: found by echoes. */
  mtuFrom: 'config' | 'device' | 'icmp' | 'probe'
  /** Seconds since something came from it; null = never. */
  heardS: number | null
  txPackets: number
  txBytes: number
  rxPackets: number
  rxBytes: number
  drops: TunnelDrops
  dropped: number
  /** Addresses learned from it so far, moved to it from another remote, and evicted to make room. */
  learned: number
  moved: number
  evicted: number
}
