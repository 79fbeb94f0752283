/**
 * taploom as a library.
 *
 *     import { openFabric, Tap } from 'taploom'
 *     const fabric = await openFabric({ switches: { lan: { ports: { a: { tap: { name: 'eth0', netns: 'web' } } } } } })
 *     fabric.on('port-down', ({ port, reason }) => ...)
 *     await fabric.close()
 */

import { checkConfigObject } from './config/load.ts'
import type { FabricConfig, PortConfig } from './config/types.ts'
import { Fabric } from './control/fabric.ts'
import type { FabricOptions } from './control/fabric-options.ts'

export type { ConfigProblem } from './config/error.ts'
export { ConfigError } from './config/error.ts'
export { checkConfigObject, loadConfig, parseConfig } from './config/load.ts'
export type * from './config/types.ts'
export type { Exchange } from './control/exchange.ts'
export { Fabric } from './control/fabric.ts'
export type { AddressEvent, FabricEvents, FabricOptions, Log } from './control/fabric-options.ts'
export type * from './control/router/packet-queue.ts'
export type * from './control/show/model.ts'
export { Tap, Tun, type TuntapOptions } from './control/tuntap.ts'
export { version } from './root.ts'

/**
 * Opens a fabric from an object with the keys of a configuration file.
 * @throws ConfigError with every mistake; Error when a device or namespace cannot be made. Nothing is
 * left behind then.
 */
export async function openFabric(config: unknown, options?: FabricOptions): Promise<Fabric> {
  return Fabric.open(checkConfigObject(config), options)
}
export type { FabricConfig, PortConfig }
