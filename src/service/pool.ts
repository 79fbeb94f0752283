/**
 * Which address a client gets (RFC 2131 4.3.1): the one reserved for it, the one it has or had, the one it
 * asks for, then any: one that nobody ever had, from a place that its name tells (so it gets the same one
 * from an empty file), then the one that has been free for longest.
 */
import { sameNet } from './address.ts'
import { isLive, keyOf, type LeaseTable } from './lease-table.ts'

export interface Reservation {
  /** '' = by clientId. */
  mac: string
  /** Hexadecimal, '' = by mac. */
  clientId: string
  address: number
  /** Told to the client, '' = none. */
  hostName: string
}

export interface Client {
  mac: string
  clientId: string
}

export class Pool {
  private readonly ranges: readonly [first: number, last: number][]
  private readonly network: number
  private readonly length: number
  private readonly excluded: ReadonlySet<number>
  private readonly byMac = new Map<string, Reservation>()
  private readonly byId = new Map<string, Reservation>()
  private readonly reserved = new Map<number, Reservation>()
  readonly size: number

  /**
   * @param network any address of the subnet, and its prefix length
   * @param excluded addresses that are never given: our own
   */
  constructor(
    network: number,
    length: number,
    ranges: readonly [number, number][],
    reservations: readonly Reservation[],
    excluded: readonly number[],
  ) {
    this.network = network
    this.length = length
    this.ranges = ranges
    this.excluded = new Set(excluded)
    for (const one of reservations) {
      if (one.mac !== '') this.byMac.set(one.mac, one)
      if (one.clientId !== '') this.byId.set(one.clientId, one)
      this.reserved.set(one.address, one)
    }
    this.size = ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  }

  reservationOf({ clientId, mac }: Client): Reservation | undefined {
    return (clientId === '' ? undefined : this.byId.get(clientId)) ?? this.byMac.get(mac)
  }

  inSubnet(address: number): boolean {
    return sameNet(address, this.network, this.length)
  }

  inRanges(address: number): boolean {
    return this.ranges.some(([first, last]) => address >= first && address <= last)
  }

  /** The client may have the address as far as the configuration goes. */
  allows(address: number, client: Client): boolean {
    const own = this.reservationOf(client)
    if (own) return own.address === address
    return this.inRanges(address) && !this.reserved.has(address) && !this.excluded.has(address)
  }

  /** Also of interest when nobody has it. */
  has(address: number): boolean {
    return this.inRanges(address) || this.reserved.has(address)
  }

  /**
   * The address for a client, or -1 when there is none.
   * @param wanted what it asks for, 0 = nothing
   * @param taken addresses that others are being offered, or that are just being looked at
   */
  choose(
    client: Client,
    wanted: number,
    leases: LeaseTable,
    taken: (address: number) => boolean,
    nowMs: number,
  ): number {
    const key = keyOf(client)
    const free = (address: number): boolean => {
      if (!this.allows(address, client) || taken(address)) return false
      const lease = leases.at(address)
      return !isLive(lease, nowMs) || (lease.state === 'bound' && keyOf(lease) === key)
    }
    const own = this.reservationOf(client)
    if (own) return this.claimable(own.address, client, leases, nowMs) ? own.address : -1
    const former = leases.of(key)
    if (former && free(former.address)) return former.address
    if (wanted !== 0 && free(wanted)) return wanted
    return this.any(client, leases, free)
  }

  /** A reserved address is its owner's, even if an other name of the same MAC has it; not one in use elsewhere. */
  claimable(address: number, client: Client, leases: LeaseTable, nowMs: number): boolean {
    const lease = leases.at(address)
    if (!isLive(lease, nowMs)) return true
    return lease.state === 'bound' && (keyOf(lease) === keyOf(client) || lease.mac === client.mac)
  }

  private any(client: Client, leases: LeaseTable, free: (address: number) => boolean): number {
    let oldest = -1
    let sinceMs = Number.POSITIVE_INFINITY
    const start = hash(keyOf(client)) % Math.max(1, this.size)
    for (let i = 0; i < this.size; i++) {
      const address = this.nth((start + i) % this.size)
      if (!free(address)) continue
      const lease = leases.at(address)
      if (lease === undefined) return address
      if (lease.expiresMs >= sinceMs) continue
      oldest = address
      sinceMs = lease.expiresMs
    }
    return oldest
  }

  private nth(n: number): number {
    let left = n
    for (const [first, last] of this.ranges) {
      const count = last - first + 1
      if (left < count) return first + left
      left -= count
    }
    return -1
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}
