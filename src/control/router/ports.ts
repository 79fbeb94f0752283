/** The ports that an interface of a router stands on; inventory.ts owns them. */
import type { InterfaceConfig, PortConfig } from '../../config/types.ts'
import { formatMac } from '../devices.ts'
import type { Inventory } from '../inventory.ts'
import { plainPort } from './live-router.ts'

/** Opens the interface's own device, or the patch between its switch and the router. Both ends, or none. */
export async function openPorts(
  inventory: Inventory,
  routerName: string,
  name: string,
  config: InterfaceConfig,
  mac: Uint8Array,
): Promise<void> {
  const { on, mtu, fault } = config
  if (on.type !== 'switch') {
    await inventory.addPort(routerName, name, plainPort(on, mtu, fault))
    return
  }
  const sw = inventory.switches.get(on.switch)
  if (!sw) throw new Error(`router ${routerName}: no switch ${on.switch}`)
  const vid = on.vlan ?? 1
  const vlan: PortConfig['vlan'] = sw.config.vlanAware ? { mode: 'access', vid } : { mode: 'unaware' }
  const end = `${routerName}.${name}`
  const inside = { type: 'patch' as const, switch: routerName, port: name }
  // The switch knows where the router is before it has said a word.
  const statics = [{ mac: formatMac(mac), vid: sw.config.vlanAware ? vid : 0 }]
  await inventory.addPort(on.switch, end, { ...plainPort(inside, mtu), vlan, statics })
  try {
    const outside = { type: 'patch' as const, switch: on.switch, port: end }
    await inventory.addPort(routerName, name, plainPort(outside, mtu, fault))
  } catch (error) {
    await inventory.removePort(on.switch, end)
    throw error
  }
}
