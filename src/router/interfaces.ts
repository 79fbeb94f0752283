// HOT
/**
 * The interfaces of a router: parallel arrays by interface index, filled by cold code. An interface is a
 * port (a device of its own, or the router's end of a patch into a switch) with a MAC and addresses.
 */
import { MAX_PORTS } from '../packet/layout.ts'

export const MAX_INTERFACES = 256
/** Addresses of each family per interface. */
export const MAX_ADDRESSES = 16

const OWNED = 4096

export const enum IfFlag {
  Up = 1,
  /** A TUN: packets without Ethernet, no neighbours. */
  NoEthernet = 2,
  /** Reverse-path filter (RFC 3704). */
  RpStrict = 4,
  RpLoose = 8,
  /** Clamp the MSS of SYNs to the path's MTU. */
  ClampMss = 16,
  /** DHCP requests, router solicitations: the control thread answers them. */
  Dhcp = 32,
  Advertise = 64,
}

export class Interfaces {
  count = 0
  readonly names: string[] = []
  readonly flags = new Int32Array(MAX_INTERFACES)
  readonly port = new Int32Array(MAX_INTERFACES).fill(-1)
  readonly mtu = new Int32Array(MAX_INTERFACES)
  readonly macHi = new Int32Array(MAX_INTERFACES)
  readonly macLo = new Int32Array(MAX_INTERFACES)
  /** Interface of a port, or -1. */
  readonly ofPort = new Int32Array(MAX_PORTS).fill(-1)
  /** IPv4 addresses and prefix lengths, address4[if * MAX_ADDRESSES + i]. */
  readonly count4 = new Int32Array(MAX_INTERFACES)
  readonly address4 = new Int32Array(MAX_INTERFACES * MAX_ADDRESSES)
  readonly prefix4 = new Int32Array(MAX_INTERFACES * MAX_ADDRESSES)
  /** By a hash of an address: one of ours may have it. */
  private readonly owned4 = new Uint8Array(OWNED)
  /** IPv6: four words each, address6[(if * MAX_ADDRESSES + i) * 4 + word]; the link-local one is among them. */
  readonly count6 = new Int32Array(MAX_INTERFACES)
  readonly address6 = new Int32Array(MAX_INTERFACES * MAX_ADDRESSES * 4)
  readonly prefix6 = new Int32Array(MAX_INTERFACES * MAX_ADDRESSES)

  /** The address of ours on `iface` that is in the same subnet as `address`, else the first; 0 = none. */
  source4(iface: number, address: number): number {
    const base = iface * MAX_ADDRESSES
    const n = this.count4[iface]
    for (let i = 0; i < n; i++) {
      const bits = this.prefix4[base + i]
      const mask = bits === 0 ? 0 : -1 << (32 - bits)
      if (((this.address4[base + i] ^ address) & mask) === 0) return this.address4[base + i]
    }
    return n > 0 ? this.address4[base] : 0
  }

  /** Notes an IPv4 address of ours, for mayOwn4. */
  own4(address: number): void {
    this.owned4[hash4(address)] = 1
  }

  /** False: the IPv4 address is not ours. True: it may be. */
  mayOwn4(address: number): boolean {
    return this.owned4[hash4(address)] !== 0
  }

  /** True when the IPv4 address is ours on this interface. */
  has4(iface: number, address: number): boolean {
    const base = iface * MAX_ADDRESSES
    const n = this.count4[iface]
    for (let i = 0; i < n; i++) if (this.address4[base + i] === address) return true
    return false
  }

  /** Index (in words) into address6 of our IPv6 address on this interface, or -1. */
  find6(iface: number, a0: number, a1: number, a2: number, a3: number): number {
    const { address6 } = this
    const base = iface * MAX_ADDRESSES
    const n = this.count6[iface]
    for (let i = 0; i < n; i++) {
      const at = (base + i) * 4
      if (
        address6[at] === a0 &&
        address6[at + 1] === a1 &&
        address6[at + 2] === a2 &&
        address6[at + 3] === a3
      )
        return at
    }
    return -1
  }
}

function hash4(address: number): number {
  return (Math.imul(address, 0x9e3779b1) >>> 20) & (OWNED - 1)
}
