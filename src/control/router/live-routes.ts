/** What the routing tables of a router hold: what its interfaces and its configuration say. */
import { isDeepStrictEqual } from 'node:util'
import type { AddressNews } from '../../engine/command.ts'
import { configuredRoute, connectedRoutes } from './addressing.ts'
import { indexIn, type LiveInterface, type LiveRouter } from './live-router.ts'
import { isAddress, learn, type OwnAddress } from './own-addresses.ts'

/**
 * Makes the tables hold it; the worker sees it at once. An interface whose device is gone has no routes, and of
 * equal-cost paths the others stay, as in Linux.
 * @param open false for an interface whose device is gone
 */
export function refreshRoutes(router: LiveRouter, open: (name: string) => boolean): void {
  const up = (name: string) => router.interfaces.has(name) && open(name)
  const connected = [...router.interfaces.values()]
    .filter((i) => up(i.name))
    .flatMap((i) =>
      connectedRoutes(
        i.index,
        i.addresses.filter((a) => a.used),
      ),
    )
  const own = router.routes.flatMap((route) => {
    const hops = route.hops.filter((hop) => up(hop.interface))
    if (hops.length === 0 && route.hops.length > 0) return []
    return [configuredRoute({ ...route, hops }, (name) => indexIn(router, name))]
  })
  router.writer.replace([...connected, ...own])
}

export interface Heard {
  router: string
  interface: string
  own: OwnAddress
  was: OwnAddress['state']
}

/**
 * What a worker found out about an address; null when that is not there any more.
 * @param changed told when the address is used from now on, or no longer
 */
export function hearAddress(
  router: LiveRouter,
  news: AddressNews,
  changed: (live: LiveInterface) => void,
): Heard | null {
  const live = [...router.interfaces.values()].find((i) => i.index === news.interface)
  const own = live?.addresses.find((a) => isAddress(a, news))
  if (!live || !own) return null
  const was = own.state
  if (learn(own, news)) {
    changed(live)
    // Only its own routes: there may be a million others.
    for (const route of connectedRoutes(live.index, [own])) {
      if (own.used) router.writer.add(route)
      else router.writer.remove(route, (r) => r.kind === route.kind && isDeepStrictEqual(r, route))
    }
  }
  return { router: router.name, interface: live.name, own, was }
}
