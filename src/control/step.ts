/** One step of a change, done when it is in force. Which come in which order is config/diff.ts's and steps.ts's. */
import type { Change } from '../config/diff.ts'
import { filterOf, type RouterChange } from '../config/diff-router.ts'
import type { Inventory } from './inventory.ts'
import type { RouterInventory } from './router/inventory.ts'

/** Returns a line that tells it. A step that fails changes nothing. */
export async function takeStep(inventory: Inventory, change: Change): Promise<string> {
  const { namespaces, routing, tunnels } = inventory
  switch (change.op) {
    case 'add-namespace':
      return (await namespaces.add([change.name]))[0]
    case 'remove-namespace':
      return namespaces.remove(change.name, inventory.ports.values())
    case 'set-poll':
      await inventory.setPoll(change.poll)
      return `poll: ${change.poll}`
    case 'add-switch':
      await inventory.addSwitch(change.name, change.config)
      return `switch ${change.name}: added`
    case 'set-switch':
      await inventory.setSwitch(change.name, change.config)
      return `switch ${change.name}: changed`
    case 'remove-switch':
      await inventory.removeSwitch(change.name)
      return `switch ${change.name}: removed`
    case 'add-port':
      await inventory.addPort(change.switch, change.port, change.config)
      return `port ${change.switch}.${change.port}: added`
    case 'set-port':
      await inventory.setPort(change.switch, change.port, change.config)
      return `port ${change.switch}.${change.port}: changed`
    case 'remove-port':
      await inventory.removePort(change.switch, change.port)
      return `port ${change.switch}.${change.port}: removed`
    case 'add-vtep':
      // Its address may be one that a device of ours is still to get.
      await inventory.addresses.flush()
      await tunnels.add(change.name, change.config)
      return `VTEP ${change.name}: added`
    case 'set-vtep':
      await tunnels.set(change.name, change.config)
      return `VTEP ${change.name}: changed`
    case 'remove-vtep':
      await tunnels.remove(change.name)
      return `VTEP ${change.name}: removed`
    default:
      return takeRouterStep(routing, change)
  }
}

async function takeRouterStep(routing: RouterInventory, change: RouterChange): Promise<string> {
  switch (change.op) {
    case 'add-router':
      await routing.add(change.name, change.config)
      return `router ${change.name}: added`
    case 'remove-router':
      await routing.remove(change.name)
      return `router ${change.name}: removed`
    case 'add-interface':
      await routing.addInterface(change.router, change.name, change.config)
      return `interface ${change.router}.${change.name}: added`
    case 'set-interface':
      await routing.setInterface(change.router, change.name, change.config)
      return `interface ${change.router}.${change.name}: changed`
    case 'remove-interface':
      await routing.removeInterface(change.router, change.name)
      return `interface ${change.router}.${change.name}: removed`
    case 'set-routes':
      await routing.setRoutes(change.router, change.routes, change.policies)
      return `router ${change.router}: routes changed`
    case 'set-rules':
      await routing.setRules(change.router, filterOf(change))
      return `router ${change.router}: rules changed`
  }
}
