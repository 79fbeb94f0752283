/**
 * A DHCP server for one interface (RFC 2131 4.3). It sends nothing itself: what is to be saved, sent and
 * probed stands in `changes`, `answers` and `probes`, and its owner (dhcp-service.ts) saves first.
 *
 *     message                          answer
 *     DISCOVER                         OFFER of the client's address or of a free one, after a look whether
 *                                      somebody else uses it; kept for OFFER_MS
 *     REQUEST  server id, ours         selecting      ACK, or NAK when the address is not to be had
 *              server id, another's    -              our offer is void
 *              requested, no ciaddr    init-reboot    ACK; NAK: other network, other address; unknown
 *                                                     client: silence, another server may know it
 *              ciaddr, to us alone     renewing       ACK, or NAK
 *              ciaddr, to everybody    rebinding      ACK of what we gave; NAK; unknown client: silence
 *     DECLINE                          -              nobody gets the address for QUARANTINE_MS
 *     RELEASE                          -              free again, kept for the client while others are
 *     INFORM                           ACK without an address or a lease
 *
 * Relays: a message with a giaddr in the interface's subnet is answered to the relay; others would need a
 * pool of that subnet, which there is not: they are counted and left alone. What costs most, an address
 * for somebody unknown, is limited by `fresh`: a flood of invented MACs takes the pool slowly, and each
 * offer nobody requests is free again after OFFER_MS.
 */
import { DhcpMessage } from '../wire/dhcp.ts'
import { addrText } from '../wire/ipv4.ts'
import { Bucket } from './bucket.ts'
import { type Request, readRequest } from './dhcp-message.ts'
import { nak, type Reply, reply } from './dhcp-reply.ts'
import type { DhcpSettings } from './dhcp-settings.ts'
import { isLive, keyOf, type Lease, LeaseTable } from './lease-table.ts'
import { Offers } from './offers.ts'
import { Pool } from './pool.ts'

const OFFER_MS = 30_000
const QUARANTINE_MS = 600_000
const MIN_LEASE_S = 60
/** New clients: at once, and per second. A hypervisor that starts is served, a flood is not. */
const FRESH_BURST = 256
const FRESH_PER_SECOND = 32
/** Addresses in a row that somebody else uses, before the client has to ask again. */
const TRIES = 8

export interface DhcpCounters {
  malformed: number
  relayed: number
  limited: number
  exhausted: number
  declined: number
}

export class DhcpServer {
  readonly leases = new LeaseTable()
  readonly changes: Lease[] = []
  readonly answers: Reply[] = []
  /** Addresses that somebody may use: tell with `probed`. */
  readonly probes: number[] = []
  readonly counters: DhcpCounters = { malformed: 0, relayed: 0, limited: 0, exhausted: 0, declined: 0 }
  private readonly warn: (message: string) => void
  private readonly fresh = new Bucket(FRESH_PER_SECOND, FRESH_BURST)
  private readonly offers = new Offers()
  /** Whose offer waits until an address was looked at, by address. */
  private readonly pending = new Map<number, { request: Request; tries: number }>()
  private pool!: Pool
  private settings!: DhcpSettings
  private full = false
  private toldRelay = false

  constructor(settings: DhcpSettings, warn: (message: string) => void) {
    this.warn = warn
    this.configure(settings)
  }

  /** Leases stay; who has an address that is not to be had any more is told so when he renews. */
  configure(settings: DhcpSettings): void {
    const { serverId, length, pool, reservations, excluded } = settings
    this.settings = settings
    this.pool = new Pool(serverId, length, pool, reservations, excluded)
    this.offers.clear()
    this.pending.clear()
    this.probes.length = 0
    this.full = false
  }

  /**
   * @param toUs it was sent to our address alone
   * @param src the packet's source
   */
  receive(bytes: Uint8Array, toUs: boolean, src: number, nowMs: number): void {
    const request = readRequest(bytes)
    if (request === null) {
      this.counters.malformed++
      return
    }
    if (request.giaddr !== 0 && !this.pool.inSubnet(request.giaddr)) {
      this.counters.relayed++
      if (!this.toldRelay)
        this.warn(`requests of relay ${addrText(request.giaddr)} are not answered: its subnet is not here`)
      this.toldRelay = true
      return
    }
    switch (request.type) {
      case DhcpMessage.Discover:
        return this.discover(request, 0, nowMs)
      case DhcpMessage.Request:
        return this.request(request, toUs, nowMs)
      case DhcpMessage.Decline:
        return this.decline(request, nowMs)
      case DhcpMessage.Release:
        return this.release(request, nowMs)
      case DhcpMessage.Inform:
        return this.inform(request, src)
      default:
        this.counters.malformed++
    }
  }

  private discover(request: Request, tries: number, nowMs: number): void {
    const key = keyOf(request)
    const offered = this.offers.of(key, nowMs)
    if (offered >= 0 && this.grantable(offered, request, nowMs)) return this.offer(request, offered, nowMs)
    for (const waiting of this.pending.values()) {
      if (keyOf(waiting.request) !== key) continue
      waiting.request = request
      return
    }
    const known = this.leases.of(key)
    const has = isLive(known, nowMs) && this.grantable(known.address, request, nowMs)
    if (!has && tries === 0 && !this.fresh.take(nowMs)) {
      this.counters.limited++
      return
    }
    const taken = (address: number): boolean => this.isTaken(address, key, nowMs)
    const address = this.pool.choose(request, request.requested, this.leases, taken, nowMs)
    if (address < 0) return this.exhausted()
    this.full = false
    if (this.settings.probeMs === 0 || (isLive(known, nowMs) && known.address === address))
      return this.offer(request, address, nowMs)
    this.pending.set(address, { request, tries })
    this.probes.push(address)
  }

  private exhausted(): void {
    this.counters.exhausted++
    if (!this.full) this.warn(`no address is free (the pool has ${this.pool.size})`)
    this.full = true
  }

  /** @param user MAC of who answered for the address; null = nobody did */
  probed(address: number, user: string | null, nowMs: number): void {
    const waiting = this.pending.get(address)
    if (!waiting) return
    this.pending.delete(address)
    const { request, tries } = waiting
    if (user === null || user === request.mac) return this.offer(request, address, nowMs)
    this.warn(`${addrText(address)} is used by ${user}, who has no lease: nobody gets it for now`)
    this.quarantine(address, user, nowMs)
    if (tries + 1 < TRIES) this.discover(request, tries + 1, nowMs)
  }

  private offer(request: Request, address: number, nowMs: number): void {
    this.offers.put(address, keyOf(request), nowMs + OFFER_MS)
    this.answer(DhcpMessage.Offer, request, address, this.leaseSeconds(request))
  }

  private request(request: Request, toUs: boolean, nowMs: number): void {
    const { ciaddr, requested, serverId } = request
    const key = keyOf(request)
    if (serverId !== 0 && serverId !== this.settings.serverId) return this.offers.void(key)
    const address = ciaddr !== 0 && serverId === 0 ? ciaddr : requested || ciaddr
    if (address === 0) {
      this.counters.malformed++
      return
    }
    if (!this.pool.inSubnet(address)) return this.refuse(request, 'wrong network')
    const known = this.leases.of(key)?.address ?? this.pool.reservationOf(request)?.address ?? -1
    const ours = known === address || this.offers.of(key, nowMs) === address
    // Selecting and renewing are to us alone: an address that we do not know of can only be from before
    // our file was lost. The others are to everybody, and silence leaves them to who knows.
    const forUs = serverId !== 0 || (ciaddr !== 0 && toUs)
    if (this.grantable(address, request, nowMs) && (ours || forUs)) {
      if (ours || this.fresh.take(nowMs)) this.ack(request, address, nowMs)
      else this.counters.limited++
    } else if (forUs || known >= 0) this.refuse(request, 'address not available')
  }

  private isTaken(address: number, key: string, nowMs: number): boolean {
    const waiting = this.pending.get(address)
    return (
      this.offers.isOthers(address, key, nowMs) || (waiting !== undefined && keyOf(waiting.request) !== key)
    )
  }

  /** The client may have this address now. */
  private grantable(address: number, request: Request, nowMs: number): boolean {
    return (
      this.pool.allows(address, request) &&
      this.pool.claimable(address, request, this.leases, nowMs) &&
      !this.isTaken(address, keyOf(request), nowMs)
    )
  }

  private leaseSeconds({ leaseS }: Request): number {
    const most = this.settings.leaseS
    return leaseS === 0 ? most : Math.max(Math.min(leaseS, most), Math.min(MIN_LEASE_S, most))
  }

  private ack(request: Request, address: number, nowMs: number): void {
    const { clientId, mac } = request
    const leaseS = this.leaseSeconds(request)
    const key = keyOf(request)
    const before = this.leases.at(address)
    const hostName = request.hostName || (before && keyOf(before) === key ? before.hostName : '')
    const expiresMs = nowMs + leaseS * 1000
    this.save({ address, state: 'bound', mac, clientId, hostName, expiresMs }, nowMs)
    this.offers.void(key)
    this.answer(DhcpMessage.Ack, request, address, leaseS)
  }

  private save(lease: Lease, nowMs: number): void {
    const former = this.leases.put(lease, nowMs)
    if (former) this.changes.push(former)
    this.changes.push(lease)
  }

  private decline(request: Request, nowMs: number): void {
    const { requested, serverId } = request
    const key = keyOf(request)
    const lease = this.leases.at(requested)
    const its = isLive(lease, nowMs) && lease.state === 'bound' && keyOf(lease) === key
    if (serverId !== this.settings.serverId || (!its && this.offers.of(key, nowMs) !== requested)) return
    this.warn(`${addrText(requested)} was declined by ${request.mac}: somebody else uses it`)
    this.offers.void(key)
    this.quarantine(requested, request.mac, nowMs)
  }

  private quarantine(address: number, mac: string, nowMs: number): void {
    this.counters.declined++
    const expiresMs = nowMs + QUARANTINE_MS
    this.save({ address, state: 'declined', mac, clientId: '', hostName: '', expiresMs }, nowMs)
  }

  private release(request: Request, nowMs: number): void {
    const lease = this.leases.at(request.ciaddr)
    if (request.serverId !== this.settings.serverId) return
    if (!isLive(lease, nowMs) || lease.state !== 'bound' || keyOf(lease) !== keyOf(request)) return
    this.save({ ...lease, state: 'released', expiresMs: nowMs }, nowMs)
  }

  private inform(request: Request, src: number): void {
    const address = request.ciaddr || src
    if (!this.pool.inSubnet(address)) return
    this.answer(DhcpMessage.Ack, { ...request, ciaddr: address }, 0, 0)
  }

  private answer(
    type: DhcpMessage.Offer | DhcpMessage.Ack,
    request: Request,
    yiaddr: number,
    leaseS: number,
  ): void {
    const hostName = this.pool.reservationOf(request)?.hostName ?? ''
    this.answers.push(reply(this.settings, type, request, yiaddr, leaseS, hostName))
  }

  private refuse(request: Request, message: string): void {
    this.answers.push(nak(this.settings, request, message))
  }

  /** Forgets what is over. */
  tick(nowMs: number): void {
    this.offers.prune(nowMs)
    this.leases.prune(nowMs, (address) => this.pool.has(address))
  }
}
