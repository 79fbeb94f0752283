/**
 * Leases in memory: by address, and by who has them. What is in the file (lease-file.ts) is in here.
 *
 *     state      until `expiresMs`                       then
 *     bound      the client's                            anybody's, the client's first
 *     released   (given back: expiresMs is when)         anybody's, the client's first
 *     declined   nobody's: another host uses it          anybody's
 *
 * A client has one address; its former one is released. Records of the past stay, so that a client that
 * comes back gets the address it had; there are never more than addresses, of which the pools have
 * MAX_ADDRESSES at most.
 */

/** Addresses of all pools of one interface. */
export const MAX_ADDRESSES = 65536

export type LeaseState = 'bound' | 'released' | 'declined'

export interface Lease {
  /** Unsigned. */
  address: number
  state: LeaseState
  mac: string
  /** Hexadecimal, '' = none: the MAC says who it is. */
  clientId: string
  hostName: string
  /** Wall clock, ms: it must mean the same after a restart. */
  expiresMs: number
}

/** Who a client is (RFC 2131 4.2): its identifier, or else its MAC. */
export function keyOf({ clientId, mac }: Pick<Lease, 'clientId' | 'mac'>): string {
  return clientId === '' ? mac : clientId
}

export class LeaseTable {
  private readonly byAddress = new Map<number, Lease>()
  private readonly byKey = new Map<string, Lease>()

  get size(): number {
    return this.byAddress.size
  }

  at(address: number): Lease | undefined {
    return this.byAddress.get(address)
  }

  /** What the client has, or had last. */
  of(key: string): Lease | undefined {
    return this.byKey.get(key)
  }

  all(): Lease[] {
    return [...this.byAddress.values()].sort((a, b) => a.address - b.address)
  }

  /** Enters a lease. Returns the client's former one, now released, if it had another address. */
  put(lease: Lease, nowMs: number): Lease | null {
    const there = this.byAddress.get(lease.address)
    if (there && this.byKey.get(keyOf(there)) === there) this.byKey.delete(keyOf(there))
    this.byAddress.set(lease.address, lease)
    if (lease.state === 'declined') return null
    const key = keyOf(lease)
    const former = this.byKey.get(key)
    this.byKey.set(key, lease)
    if (!former || former.address === lease.address || former.state !== 'bound') return null
    const given: Lease = { ...former, state: 'released', expiresMs: Math.min(former.expiresMs, nowMs) }
    this.byAddress.set(former.address, given)
    return given
  }

  /** Forgets the past of addresses that are of no interest any more. */
  prune(nowMs: number, keep: (address: number) => boolean): void {
    for (const lease of this.byAddress.values()) {
      if (lease.expiresMs > nowMs || keep(lease.address)) continue
      this.byAddress.delete(lease.address)
      if (this.byKey.get(keyOf(lease)) === lease) this.byKey.delete(keyOf(lease))
    }
  }
}

/** Nobody else may have the address now. */
export function isLive(lease: Lease | undefined, nowMs: number): lease is Lease {
  return lease !== undefined && lease.state !== 'released' && lease.expiresMs > nowMs
}
