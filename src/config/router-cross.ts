/**
 * What must fit together between the interfaces of routers, and with the switches they are on: subnets
 * that do not overlap, switches and VLANs that exist. Two interfaces may be on one switch and VLAN: they
 * are two hosts there, each with a subnet of its own.
 */
import { MAX_INTERFACES } from '../router/interfaces.ts'
import { type Cidr, familyOf, inSubnet, isHost, isLinkLocal, startOf } from './address.ts'
import { type Path, someOf } from './error.ts'
import type { Holder } from './owners.ts'
import type { Problems } from './problems.ts'
import { resolveDevice } from './resolve-device.ts'
import type { RouterCandidate } from './router-candidate.ts'
import { checkNat } from './router-nat.ts'
import { Reach } from './router-reach.ts'
import { checkPolicies, checkRoutes } from './router-routes.ts'
import type { InterfaceKeys } from './router-schema.ts'
import { checkServices } from './service-owners.ts'

/** VLAN of what says none. */
const DEFAULT_VID = 1

/** What routers need to know of a switch. */
export interface SwitchFacts {
  ports: number
  /** Some port has a `vlan` key. */
  tagged: boolean
  carries(vid: number): boolean
  /** Every VLAN of its ports. */
  vids(): number[]
}

/**
 * @param switches by name; null: there is something wrong with it. undefined = nothing is known of any.
 */
export function checkRouters(
  routers: readonly RouterCandidate[],
  switches: ReadonlyMap<string, SwitchFacts | null> | undefined,
  problems: Problems,
): void {
  if (switches) checkPlaces(routers, switches, problems)
  checkServices(routers, problems)
  for (const router of routers) {
    const { interfaces } = router
    if (!interfaces) continue
    const count = Object.keys(interfaces).length
    if (count > MAX_INTERFACES) {
      const at = [...router.path, 'interfaces']
      problems.add(at, { found: `${count} interfaces`, expected: `at most ${MAX_INTERFACES}` })
    }
    checkSubnets(router.path, interfaces, problems)
    const reach = new Reach(
      interfaces,
      router.routes.map((r) => r.keys),
    )
    checkRoutes(router, interfaces, reach, problems)
    checkPolicies(router, interfaces, problems)
    checkNat(router, interfaces, reach, problems)
  }
}

interface Placed {
  path: Path
  keys: InterfaceKeys
}

export function placed(routers: readonly RouterCandidate[]): Placed[] {
  return routers.flatMap(({ path, interfaces }) =>
    Object.entries(interfaces ?? {}).map(([name, keys]) => ({ path: [...path, 'interfaces', name], keys })),
  )
}

/** Its device, and our side. */
export function holdersOf(routers: readonly RouterCandidate[]): Holder[] {
  return placed(routers).flatMap(({ path, keys }) => {
    const link = keys.switch === undefined ? path.join('.') : `${keys.switch} ${keys.vlan ?? DEFAULT_VID}`
    const own: Holder = { path, addresses: keys.addresses.map((a) => a.text), mac: keys.mac, link }
    const { tap, tun, packet } = keys
    if (!tap && !tun && !packet) return [own]
    const device = resolveDevice('', { tap, tun, packet })
    if (!('name' in device)) return [own]
    const at = [...path, device.type]
    const there: Holder = {
      path: at,
      device: { path: [...at, 'name'], name: device.name, netns: device.netns },
      addresses: 'addresses' in device ? device.addresses : [],
      mac: 'mac' in device ? device.mac : undefined,
      link,
    }
    return [there, own]
  })
}

/** The switch of each interface exists, and somebody else is in its VLAN. */
function checkPlaces(
  routers: readonly RouterCandidate[],
  switches: ReadonlyMap<string, SwitchFacts | null>,
  problems: Problems,
): void {
  const all = placed(routers)
  for (const { path, keys } of all) {
    if (keys.switch === undefined) continue
    const facts = switches.get(keys.switch)
    if (facts === undefined) {
      const at = [...path, 'switch']
      problems.addUnknownName(at, keys.switch, 'a switch of this file', [...switches.keys()])
      continue
    }
    // Ports of a switch without any come later, through the library.
    if (!facts || facts.ports === 0) continue
    const peers = all.filter((p) => p.keys !== keys && p.keys.switch === keys.switch)
    if (keys.vlan !== undefined && !facts.tagged) {
      problems.add([...path, 'vlan'], {
        expected: 'no vlan',
        hint: `no port of switch ${keys.switch} has a vlan key: give one to those that are in a VLAN`,
      })
      continue
    }
    const aware = facts.tagged || peers.some((p) => p.keys.vlan !== undefined)
    const vid = keys.vlan ?? DEFAULT_VID
    if (!aware || facts.carries(vid) || peers.some((p) => (p.keys.vlan ?? DEFAULT_VID) === vid)) continue
    const vids = facts.vids().map(String)
    const expected = `a VLAN of a port of switch ${keys.switch}: ${someOf(vids)}`
    if (keys.vlan !== undefined) problems.add([...path, 'vlan'], { expected })
    else problems.add(path, { found: 'no vlan, which is VLAN 1', expected })
  }
}

/** A destination is on one link: no two interfaces have a common part of a subnet. */
function checkSubnets(path: Path, interfaces: Record<string, InterfaceKeys>, problems: Problems): void {
  const subnets = Object.entries(interfaces).flatMap(([name, { addresses }], order) =>
    addresses
      .map((cidr, i) => ({ cidr, name, order, path: [...path, 'interfaces', name, 'addresses', i] }))
      // Of a host prefix there is only our own address; link-local ones are on every link.
      .filter(({ cidr }) => !isHost(cidr) && !isLinkLocal(cidr.address)),
  )
  const key = ({ family, ...rest }: Cidr) => (BigInt(family) << 128n) | startOf({ family, ...rest })
  // Prefixes overlap only by being nested: in this order, each stands behind all that hold it.
  const sorted = subnets
    .map((s) => ({ ...s, key: key(s.cidr) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.cidr.prefix - b.cidr.prefix))
  const holding: typeof sorted = []
  for (const one of sorted) {
    while (holding.length > 0 && !inSubnet(one.cidr.address, holding.at(-1)!.cidr)) holding.pop()
    const other = holding.find(
      (o) =>
        o.name !== one.name &&
        o.cidr.address !== one.cidr.address &&
        familyOf(o.cidr.address) === one.cidr.family,
    )
    holding.push(one)
    if (!other) continue
    const [first, later] = other.order < one.order ? [other, one] : [one, other]
    problems.add(later.path, {
      found: later.cidr.text,
      expected: 'a subnet that no other interface has',
      hint: `it overlaps ${first.cidr.text} of ${first.name}: ${problems.lineOf(first.path)}`,
    })
  }
}
