/**
 * The typed contract between TypeScript and the addon (native/addon.cc). Nothing else imports the
 * addon. Data path (`Io.rx`, `tx`, `wait`): errors are negative errno. Everything else throws an
 * Error with `code` ('EPERM'), `errno` (negative), `syscall` and a sentence.
 *
 * A `netns` is the path of a namespace's file ('' = the caller's own); the calling thread never
 * leaves its namespace.
 */
import { createRequire } from 'node:module'
import { packageRoot } from './root.ts'

export interface IoArrays {
  pool: Uint8Array
  meta: Int32Array
  rx: Int32Array
  txq: Int32Array
  events: Int32Array
  clock: Float64Array
  txResult: Int32Array
}

export const enum DeviceKind {
  Tap = 0,
  Tun = 1,
  Packet = 2,
  Udp = 3,
}

/** UDP sockets that carry tunnelled frames, and the arrays the worker shares with them. */
export interface UdpAttachment {
  /** All send (`Send.Socket` is an index into it); the first `receivers` of them receive. */
  fds: readonly number[]
  /** Default 1. More than one: a unicast socket and those bound to multicast groups. */
  receivers?: number
  /** Rows of Send.Words: what `tx` sends. */
  sends: Int32Array
  /** Rows of Path.Words: where to. */
  paths: Int32Array
  /** Rows of Info.Words: where the packets of the last `rx` came from, one per packet. */
  info: Int32Array
  /** Bytes of tunnel header in front of every inner frame: 8. */
  header: number
  /** Merge inner UDP datagrams too (USO super-frames). Default false. */
  udp?: boolean
  /** A TAP of `openUnderlay`, for TCP super-frames. Stays open when the sockets are detached. Default -1: none. */
  underlay?: number
}

/** The data path of one worker: its memory, its devices, and what it waits on. */
export interface Io {
  /** Starts waiting for `fd`; `token` is what `wait` reports. Returns a device number. */
  attach(fd: number, kind: DeviceKind, vnetSize: number, offloads: number, token: number): number
  /**
   * Starts waiting for the receiving sockets. `rx` then gives [tunnel header][inner frame], all
   * offsets of the metadata from the tunnel header on; runs of one TCP flow come merged (CsumPartial
   * and Gso fields set), a right inner L4 checksum is told by CsumVerified, one that the sender left
   * unfinished by CsumPartial, CsumStart and CsumOffset. A datagram cut short is a packet of 0 bytes.
   * It returns less than `max` only when it holds nothing back.
   * `tx(device, at, count)` sends the rows `at .. at + count` of `sends`, and fills their Result.
   */
  attachUdp(sockets: UdpAttachment, token: number): number
  /** Stops waiting; the descriptor stays open. */
  detach(device: number): void
  /** The other side takes other offloads from now on. */
  update(device: number, offloads: number): void
  /** Fills rx[from .. from+max) until empty or `budget` bytes have come. Packets, or -errno. */
  rx(device: number, from: number, max: number, budget: number): number
  /** Sends `count` pairs from txq[at]; txResult accounts for each. Packets sent, or -errno (device gone). */
  tx(device: number, at: number, count: number): number
  /** Spins for `spinUs`, then sleeps up to `timeoutMs` (-1 = for ever). Events found; sets the clock. */
  wait(timeoutMs: number, spinUs: number): number
  /** Sets the clock without waiting. */
  tick(): void
  close(): void
}

export interface TapRequest {
  netns?: string
  /** '' or with %d: the kernel chooses. At most 15 bytes. */
  name?: string
  /** A TUN: IP packets without Ethernet. */
  tun?: boolean
  /** IFF_VNET_HDR; without it there are no offloads. Default true. */
  vnetHdr?: boolean
  /** Offload bits wanted; fewer may be granted. */
  offloads?: number
  /** 1 to 256; more than one opens a multi-queue device. */
  queues?: number
  /** The device outlives its descriptors. */
  persist?: boolean
  /** Fail with EBUSY if the device exists. Default true. */
  exclusive?: boolean
}

export interface TapDevice {
  /** One per queue; non-blocking. Close each with `close`. */
  fds: number[]
  name: string
  offloads: number
  vnetSize: number
}

export interface UdpRequest {
  netns?: string
  family: 4 | 6
  /** '' = every address; a multicast group is bound shared (SO_REUSEADDR). Link-local: with `device`. */
  local?: string
  /** 0 = the kernel chooses. */
  port?: number
  /** SO_BINDTODEVICE. */
  device?: string
  /**
   * IPv4's DF bit. 'unset' never fragments here either: what exceeds the device's MTU is EMSGSIZE.
   * 'set': what exceeds the path's known MTU too. IPv6: always the latter.
   */
  df?: 'unset' | 'set'
  /** UDP checksum 0 on what is sent (and then no UDP_SEGMENT). */
  zeroChecksum?: boolean
  /** IPv6: accept checksum 0 (RFC 6935). IPv4 always does. */
  acceptZero?: boolean
  /** false: a socket that only sends; what arrives is discarded in the kernel. Default true. */
  receive?: boolean
  /** What packets carry unless their row says otherwise; rows that say the same are cheaper. Default 64, 0. */
  ttl?: number
  tos?: number
  /** Bytes of the kernel's buffers. Default 8 MiB, or what the system allows. */
  buffer?: number
}

export interface EchoReply {
  /** Address as text, with %scope when link-local. */
  remote: string
  id: number
  seq: number
  /** Bytes of the IP packet, its header included. */
  bytes: number
}

export interface Link {
  index: number
  mac: Uint8Array | null
  mtu: number
  up: boolean
  carrier: boolean
}

/** A frame that `coalesce` made or left alone; gsoType 0 = as it was. */
export interface Coalesced {
  bytes: Buffer
  gsoType: number
  gsoSize: number
  csumStart: number
}

export interface Native {
  Io: new (arrays: IoArrays, wakeFd?: number) => Io
  openTap(request: TapRequest): TapDevice
  /** A raw, promiscuous socket on an existing device. */
  openPacket(request: { netns?: string; name: string; vnetHdr?: boolean }): { fd: number; vnetSize: number }
  /** A bound, non-blocking UDP socket. Throws EADDRINUSE, EADDRNOTAVAIL, ENODEV, ... */
  openUdp(request: UdpRequest): { fd: number; port: number }
  /** IGMP or MLD membership of a receiving socket. */
  joinGroup(fd: number, group: string, device: string): void
  leaveGroup(fd: number, group: string, device: string): void
  /** Multicast of a sending socket: out of `device`, with `ttl`, not looped back to this machine. */
  groupSender(fd: number, device: string, ttl: number): void
  /** Bytes of an IP packet the kernel believes to fit now between the two ('' = any local address). */
  pathMtu(netns: string, local: string, remote: string): number
  /** Datagrams the kernel dropped on a socket because its buffer was full or their checksum wrong. */
  socketDrops(fd: number): number
  /**
   * A TAP that takes whole encapsulated super-frames, set up and up. `rpFilter`: that of all devices, which must
   * be 0 for IPv4. Throws EINVAL when the kernel is too old (before Linux 6.17).
   */
  openUnderlay(request: { netns?: string; family: 4 | 6 }): { fd: number; name: string; rpFilter: number }
  /** Packets handed over by such a TAP so far, and packets forwarded by its whole namespace. */
  underlayCounts(netns: string, family: 4 | 6, name: string): { handed: number; forwarded: number }
  /** A raw, non-blocking ICMP socket that hears echo replies only. */
  openEcho(request: { netns?: string; family: 4 | 6; local?: string; device?: string }): number
  /** Sends an echo request of `bytes` bytes of IP packet; never fragmented with `df`. 0 or -errno. */
  echo(fd: number, remote: string, id: number, seq: number, bytes: number, df: boolean): number
  /** The next reply, null when there is none. */
  echoReply(fd: number): EchoReply | null
  /** Inode of a file: the identity of a namespace. -1 when it is gone. Allocates nothing but the number. */
  inode(path: string): number
  /** null when there is no such device. */
  readLink(netns: string, name: string): Link | null
  changeLink(netns: string, name: string, change: { mac?: Uint8Array; mtu?: number; up?: boolean }): void
  setPersist(fd: number, on: boolean): void
  setCarrier(fd: number, on: boolean): void
  /** A descriptor that wakes a blocked `wait`. */
  eventfd(): number
  wake(fd: number): void
  close(fd: number): void
  /** Folded ones' complement sum (RFC 1071), not complemented. */
  checksum(bytes: Uint8Array, from: number, len: number, sum?: number): number
  /** Finishes a partial checksum in place; false when it lies outside the frame. */
  finishChecksum(frame: Uint8Array, start: number, offset: number): boolean
  /** A super-frame as frames; null when its headers do not add up. `flags`: Flag bits. */
  segment(
    frame: Uint8Array,
    gsoType: number,
    gsoSize: number,
    csumStart: number,
    flags?: number,
  ): Buffer[] | null
  /** Merges runs of neighbours (Linux's GRO rules). `udp`: merge datagrams too. */
  coalesce(frames: Buffer[], flags?: number, udp?: boolean): Coalesced[]
  /** Asks for huge pages behind a table of many megabytes; without effect where there are none. */
  hugePages(bytes: Uint8Array): void
  layout(): Record<string, number>
}

const require = createRequire(import.meta.url)

export const native: Native = require('node-gyp-build')(packageRoot)
