/** What a fabric says about its routers, and lets be done with them: the part of its interface that is theirs. */
import { EventEmitter } from 'node:events'
import type { WorkerLink } from '../engine/worker-link.ts'
import type { FabricEvents } from './fabric-options.ts'
import type { Inventory } from './inventory.ts'
import type { LiveRouter } from './live-router.ts'
import type { ConnectionRow, NeighborRow, RouteRow } from './model.ts'
import type { PacketQueue, QueueFunction, QueueOptions } from './packet-queue.ts'
import * as view from './view-router.ts'

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

  /** Lines as iptables-save -c prints them, of every router and family. */
  rules(router?: string): string[] {
    return view.rules(this, router)
  }

  conntrack(router?: string): ConnectionRow[] {
    return view.conntrack(this, router)
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
    const { routers } = this.inventory.routing
    const router = routers.get(name)
    if (router) return router
    throw new Error(`no router ${name}; there are ${[...routers.keys()].join(', ') || 'none'}`)
  }
}
