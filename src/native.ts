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
}

/** The data path of one worker: its memory, its devices, and what it waits on. */
export interface Io {
  /** Starts waiting for `fd`; `token` is what `wait` reports. Returns a device number. */
  attach(fd: number, kind: DeviceKind, vnetSize: number, offloads: number, token: number): number
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
