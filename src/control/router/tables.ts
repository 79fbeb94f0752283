/** What a fabric says about its routers, and lets be done with them: the part of its interface that is theirs. */
import { EventEmitter } from 'node:events'
import type { WorkerLink } from '../../engine/worker-link.ts'
import { asksForAll, type ConntrackQuery, filterOf } from '../../filter/conntrack/query.ts'
import type { ConntrackFilter } from '../../filter/conntrack/select.ts'
import { Wrong } from '../../filter/error.ts'
import type { ConnectionQuery } from '../api/server-routers.ts'
import type { FabricEvents } from '../fabric-options.ts'
import type { Inventory } from '../inventory.ts'
import type { ConnectionRow, LeaseRow, NeighborRow, RouteRow, SetRow } from '../show/model.ts'
import * as view from '../show/view-router.ts'
import type { LiveRouter } from './live-router.ts'
import type { PacketQueue, QueueFunction, QueueOptions } from './packet-queue.ts'

export abstract class RouterTables extends EventEmitter<FabricEvents> {
  abstract readonly inventory: Inventory
  protected abstract readonly link: WorkerLink
  /** One change after the other. */
  protected abstract exclusive<T>(work: () => Promise<T>): Promise<T>

  routes(router?: string): RouteRow[] {
    return view.routes(this, router)
  }

  neighbors(router?: string): NeighborRow[] {
    return view.neighbors(this, router)
  }

  /** What the DHCP servers of routers have given. */
  leases(router?: string): LeaseRow[] {
    return view.leases(this, router)
  }

  /** Lines as iptables-save -c prints them, of every router and family. */
  rules(router?: string): string[] {
    return view.rules(this, router)
  }

  /** Sets that rules look into, with what is left of timeouts. */
  sets(router?: string): SetRow[] {
    return view.sets(this, router)
  }

  /**
   * Tracked connections; of one router, or those that fit. The keys are conntrack(8)'s options.
   * @throws BadFilter when a value makes no sense
   */
  conntrack(query: string | ConnectionQuery = {}): ConnectionRow[] {
    const { router, ...filter } = typeof query === 'string' ? { router: query } : query
    return view.conntrack(this, router, connectionFilter(filter))
  }

  /**
   * Ends the connections that fit, and NAT's mappings that stood for them alone. Returns how many there were.
   * @throws BadFilter when a value makes no sense, or nothing is asked for: flushConntrack ends all
   */
  deleteConntrack({ router, ...query }: ConnectionQuery): Promise<number> {
    if (asksForAll(query)) throw new BadFilter('say which connections are to be deleted')
    return this.removeConnections(router, connectionFilter(query))
  }

  /** Ends all connections. Returns how many there were. */
  flushConntrack(router?: string): Promise<number> {
    return this.removeConnections(router, {})
  }

  private async removeConnections(name: string | undefined, filter: ConntrackFilter): Promise<number> {
    let deleted = 0
    for (const { id } of view.routersOf(this, name))
      deleted += await this.link.ask({ op: 'conntrack-remove', id, filter })
    return deleted
  }

  /**
   * Registers a function that decides about the packets of `-j NFQUEUE --queue-num NUMBER` (QUEUE: number 0) in
   * a router's rules. It stays across reloads and worker restarts, as long as the router does.
   * @throws RangeError for an option that cannot be, Error when the number has a function or there is no such router
   */
  queue(router: string, number: number, fn: QueueFunction, options: QueueOptions = {}): Promise<PacketQueue> {
    return this.exclusive(() => this.router(router).queues.register(number, fn, options))
  }

  private router(name: string): LiveRouter {
    return view.routersOf(this, name)[0]
  }
}

/** A filter of connections that cannot be meant. */
export class BadFilter extends Error {
  override name = 'BadFilter'
}

function connectionFilter(query: ConntrackQuery): ConntrackFilter {
  try {
    return filterOf(query)
  } catch (error) {
    if (!(error instanceof Wrong)) throw error
    const known = error.supported ? `; supported: ${error.supported.join(', ')}` : ''
    throw new BadFilter(`${error.message}${known}`)
  }
}
