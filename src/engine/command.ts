/**
 * What the control thread tells the worker, and what the worker tells back. Plain data: it crosses a
 * MessagePort. The worker applies a command between two batches, never in the middle of one.
 */
import type { ConntrackMemory } from '../filter/conntrack/layout.ts'
import type { ConntrackOptions } from '../filter/conntrack/options.ts'
import type { ConntrackFilter } from '../filter/conntrack/select.ts'
import type { RuleLoad } from '../filter/load.ts'
import type { MappingMemory } from '../filter/nat/mappings.ts'
import type { Filtering } from '../filter/nat/nat.ts'
import type { ReportMemory } from '../filter/program/report.ts'
import type { PuntMemory } from '../packet/punt.ts'
import type { ChannelSpec } from '../port/channel.ts'
import type { DeviceSpec } from '../port/device.ts'
import type { FaultSpec } from '../port/fault.ts'
import type { Policy, RouteMemory } from '../router/routes.ts'
import type { PortVlan } from '../switch/vlan.ts'
import type { TunnelAddress, VtepMemory, VtepSettings, VtepSockets, VxlanSettings } from '../tunnel/tables.ts'

/** How a port behaves in its switch; all of it can change while traffic flows. */
export interface PortSettings {
  vlan: PortVlan
  mtu: number
  up: boolean
  learning: boolean
  floodUnknown: boolean
  floodMulticast: boolean
  floodBroadcast: boolean
  isolated: boolean
  hairpin: boolean
  locked: boolean
  /** Most addresses; 0 = only the switch's limit. */
  limit: number
  /** Packets per second, Infinity = no limit. */
  stormUnknown: number
  stormMulticast: number
  stormBroadcast: number
  /** Static addresses: [MAC bytes, VID]. */
  statics: [Uint8Array, number][]
  /** The address of the switch's own device behind this port (a host port). */
  own: Uint8Array | null
}

export type PortSpec =
  | ({ type: 'device' } & DeviceSpec)
  | { type: 'patch'; index: number; name: string; peer: number; mtu: number }
  | ({ type: 'memory' } & ChannelSpec)
  | {
      type: 'pcap'
      index: number
      name: string
      mtu: number
      frames: PcapFrames
      loop: boolean
      speed: number
    }
  /** A VNI of a VTEP. `mtu`: 65535 unless the operator said one; what fits into the tunnel is asked per remote. */
  | {
      type: 'vxlan'
      index: number
      name: string
      mtu: number
      /** Id of the VTEP. */
      vtep: number
      vni: number
      settings: VxlanSettings
    }

/** A capture file, loaded: frame i is bytes[starts[i] .. starts[i + 1]), timesMs from the first. */
export interface PcapFrames {
  bytes: Uint8Array
  starts: Uint32Array
  timesMs: Float64Array
}

export interface SwitchSettings {
  agingS: number
  limit: number
  /** Bit n opens 01-80-C2-00-00-0n. */
  reservedOpen: number
}

/** An interface of a router as its tables hold it. */
export interface InterfaceSettings {
  name: string
  port: number
  /** 6 bytes; what a TUN has does not matter. */
  mac: Uint8Array
  mtu: number
  /** IfFlag bits. */
  flags: number
  /** Words, most significant first, and prefix length; the link-local address first. */
  addresses: { family: 4 | 6; address: number[]; length: number; begin?: AddressBegin }[]
}

/**
 * What an address that the interface did not have begins with (router/neighbour-dad.ts): not used before
 * it is known to be free; used at once and probed; used and announced; somebody else's, as a worker before
 * this one knew. Without: used, and nothing is said.
 */
export type AddressBegin = 'wait' | 'use' | 'announce' | 'taken'

/** What a worker found out about an address of a router's interface. */
export interface AddressNews {
  /** The router's. */
  id: number
  interface: number
  /** conflict: somebody else uses it, and we go on. */
  fate: 'unique' | 'duplicate' | 'conflict'
  family: 4 | 6
  address: number[]
  /** Of the other station; zeros for unique. */
  mac: Uint8Array
}

/** What a router's filter keeps in shared memory. */
export interface FilterMemory {
  conntrack: ConntrackMemory
  mappings: MappingMemory
  report: ReportMemory
}

/** Rings between a router's queues and the control thread; queue.ts says what is in them. */
export interface QueueMemory {
  toControl: SharedArrayBuffer
  fromControl: SharedArrayBuffer
  /** One int32: 1 while the reader of toControl knows that there is something. */
  signal: SharedArrayBuffer
  /** QueueStat by queue, in the order of the settings. */
  stats: SharedArrayBuffer
}

export interface QueueSettings {
  number: number
  /** For a packet that is not answered. */
  timeoutMs: number
  /** What becomes of that packet, and of one there is no room for. */
  accept: boolean
  /** Most bytes of a packet, from the IP header on, that the function sees. */
  bytes: number
  /** Most packets that wait. */
  length: number
  /** Row of `stats`. */
  stat: number
}

/** What an operator sets about connections; what is not said is the profile's. */
export type Tracking = Omit<ConntrackOptions, 'profile' | 'checksum'> & { filtering?: Filtering }

export type RouterCommand =
  | {
      op: 'router-add'
      id: number
      name: string
      /** Port index that counts what the router makes and holds. */
      home: number
      routes: RouteMemory
      policies: Policy[]
      neighbours: SharedArrayBuffer
      filter: FilterMemory
      punt: PuntMemory
      /** Wait for 'router-rules' before the first packet. */
      closed: boolean
      seed: number
    }
  /** Rules in force from the next batch on; null = none of this family. */
  | { op: 'router-rules'; id: number; load: RuleLoad; profile: 'linux' | 'rfc'; conntrack?: Tracking }
  /** Deletes the connections that fit; answered with how many. */
  | { op: 'conntrack-remove'; id: number; filter: ConntrackFilter }
  /** Functions of the control thread that listen on queues (QUEUE, NFQUEUE): all there are. */
  | { op: 'router-queues'; id: number; memory: QueueMemory; epoch: number; queues: QueueSettings[] }
  /** All of its interfaces are gone. */
  | { op: 'router-remove'; id: number }
  /** Tables or policies were added or removed; routes themselves change in shared memory. */
  | { op: 'router-routes'; id: number; routes: RouteMemory; policies: Policy[] }
  /**
   * An IP packet of the control thread, checksums filled in. With a MAC it leaves by the interface as it is,
   * without rules or routes, as from a raw socket; else it is sent as the router's own packets are.
   * `ask`: also ask the link who has its (IPv4) destination.
   */
  | {
      op: 'router-send'
      id: number
      index: number
      packet: Uint8Array
      mac: Uint8Array | null
      ask?: boolean
    }
  | { op: 'interface-set'; id: number; index: number; settings: InterfaceSettings }
  | { op: 'interface-remove'; id: number; index: number }

export type TunnelCommand =
  | {
      op: 'vtep-add'
      /** A stage's: not that of a switch or router. */
      id: number
      name: string
      /** Port index that counts the datagrams. */
      index: number
      sockets: VtepSockets
      settings: VtepSettings
      memory: VtepMemory
    }
  /** Both are in force from the next batch on; nothing that was learned is forgotten. */
  | { op: 'vtep-set'; id: number; sockets: VtepSockets; settings: VtepSettings }
  /** Its VXLAN ports must be gone. The sockets stay open. */
  | { op: 'vtep-remove'; id: number }
  /** Remotes, group, statics and options of a VXLAN port; what was learned of remotes that stay is kept. */
  | { op: 'vxlan-set'; index: number; settings: VxlanSettings }
  /** A dead remote gets no floods, and what was learned of it is forgotten. */
  | { op: 'remote-state'; id: number; remote: TunnelAddress; dead: boolean }
  /** Forgets learned addresses: of one VXLAN port or all (-1), of one remote or all (null). */
  | { op: 'vxlan-flush'; id: number; index: number; remote: TunnelAddress | null }

export type Command =
  | RouterCommand
  | TunnelCommand
  | { op: 'switch-add'; id: number; name: string; fdb: SharedArrayBuffer; settings: SwitchSettings }
  /** Two ports joined as they are. */
  | { op: 'wire-add'; id: number }
  | { op: 'switch-set'; id: number; settings: SwitchSettings }
  | { op: 'switch-remove'; id: number }
  | { op: 'port-add'; switch: number; spec: PortSpec; settings: PortSettings; fault?: FaultSpec }
  | { op: 'port-set'; index: number; settings: PortSettings }
  | { op: 'port-remove'; index: number }
  /** Stop using the device; the port stays a member, down. */
  | { op: 'port-detach'; index: number }
  | { op: 'flush'; switch: number; port: number; vid: number }
  | { op: 'capture'; index: number; ring: SharedArrayBuffer | null; snapLen: number }
  | { op: 'poll'; policy: PollPolicy }
  | { op: 'stop' }

/** sleep: block at once; adaptive: spin a little while traffic flows; busy: never sleep. */
export type PollPolicy = 'sleep' | 'adaptive' | 'busy'

export interface Request {
  seq: number
  command: Command
}

export type Reply =
  /** `value`: what a command that asks is answered with, else 0. */
  | { type: 'done'; seq: number; error?: string; value?: number }
  /** The device behind a port is gone; the worker has stopped using it. */
  | { type: 'port-down'; index: number; errno: number }
  /** The kernel said the device is down; it may come back, or be gone: the control thread looks. */
  | { type: 'port-doubt'; index: number; errno: number }
  /** A memory port has frames for the control thread. */
  | { type: 'frames'; index: number }
  | { type: 'address'; news: AddressNews }
  /** A router has packets for the control thread. */
  | { type: 'punt'; id: number }
  | { type: 'stopped' }
