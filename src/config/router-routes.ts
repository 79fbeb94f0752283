/**
 * What must fit together in the routes of a router: one family per route, gateways on a link, interfaces
 * and preferred sources that exist, tables that are not empty.
 */
import { familyOf, isLinkLocal, reservedIn } from './address.ts'
import { type Path, someOf } from './error.ts'
import { Owners } from './owners.ts'
import type { Problems } from './problems.ts'
import { interfaceAt, type RouterCandidate } from './router-candidate.ts'
import { familyOfRoute, interfaceOf, type Reach } from './router-reach.ts'
import type { InterfaceKeys, RouteKeys } from './router-schema.ts'
import { TABLES } from './router-value.ts'

/** Paths of one route. */
const MAX_HOPS = 64

type Interfaces = Record<string, InterfaceKeys>

export function checkRoutes(
  router: RouterCandidate,
  interfaces: Interfaces,
  reach: Reach,
  problems: Problems,
): void {
  const unique = new Owners(problems, 'each destination once per table and metric')
  for (const { path, keys } of router.routes) {
    if (keys.interface !== undefined && keys.dev !== undefined)
      problems.add([...path, 'dev'], { expected: 'either interface or dev', hint: 'they mean the same' })
    const family = familyOfRoute(keys)
    if (keys.to === null && (family === undefined || keys.type !== 'unicast')) {
      problems.add([...path, 'to'], {
        expected: '0.0.0.0/0 or ::/0',
        hint: 'only a gateway tells the family of `default`',
      })
      continue
    }
    const to = keys.to?.text ?? (family === 6 ? '::/0' : '0.0.0.0/0')
    unique.claim(`${to} ${keys.table} ${keys.metric}`, [...path, 'to'], to)
    if (keys.type === 'unicast') {
      checkHops(path, keys, family!, interfaces, reach, problems)
      checkSource(path, keys, family!, interfaces, problems)
    } else {
      for (const key of ['via', 'interface', 'dev', 'src'] as const)
        if (keys[key] !== undefined)
          problems.add([...path, key], { expected: `no ${key}`, hint: `this is a ${keys.type} route` })
    }
  }
}

function checkHops(
  path: Path,
  keys: RouteKeys,
  family: 4 | 6,
  interfaces: Interfaces,
  reach: Reach,
  problems: Problems,
): void {
  const whole = interfaceOf(keys)
  const wholePath = [...path, keys.interface === undefined ? 'dev' : 'interface']
  if (whole === undefined && !keys.via) {
    problems.add(path, { found: 'neither of them', expected: 'via or interface' })
    return
  }
  if (whole !== undefined && !interfaceAt(interfaces, whole, wholePath, problems)) return
  if (keys.via && keys.via.length > MAX_HOPS)
    problems.add([...path, 'via'], { found: `${keys.via.length} gateways`, expected: `at most ${MAX_HOPS}` })
  const unique = new Owners(problems, 'each gateway once')
  const hops = reach.hopsOf(keys)
  for (const [i, { via, interface: given }] of (keys.via ?? []).entries()) {
    const at = [...path, 'via', i]
    if (given !== undefined && !interfaceAt(interfaces, given, [...at, 'interface'], problems)) continue
    unique.claim(`${via} ${hops[i].interface}`, at, via ?? given!)
    if (via === undefined) continue
    const told = given ?? whole
    const wrong =
      familyOf(via) === family
        ? wrongGateway(via, told, reach)
        : { expected: `an IPv${family} address`, hint: `as ${keys.to === null ? 'the first gateway' : 'to'}` }
    if (wrong) problems.add([...at, 'via'], { found: via, ...wrong })
  }
}

/** What is wrong with a gateway, if anything. `told` is the interface the route names. */
function wrongGateway(via: string, told: string | undefined, reach: Reach) {
  const owner = reach.own.get(via)
  if (owner) return { expected: 'another host', hint: `it is our own address, of ${owner}` }
  if (isLinkLocal(via))
    return told === undefined
      ? { expected: 'interface beside it', hint: 'a link-local address is on every link' }
      : undefined
  const holding = reach.linksTo(via)
  const near = holding.filter((l) => told === undefined || l.interface === told)
  if (near.length > 0) {
    const reserved = near.map((l) => reservedIn(via, l.network)).find((r) => r !== undefined)
    return reserved ? { expected: 'another host', hint: `that is ${reserved}` } : undefined
  }
  const known = reach.links.filter((l) => l.network.family === familyOf(via))
  const here = known.filter((l) => told === undefined || l.interface === told)
  const texts = here.map((l) => (told === undefined ? `${l.network.text} (${l.interface})` : l.network.text))
  const subnets = texts.length > 0 ? someOf(texts) : `an IPv${familyOf(via)} address; there is none`
  return {
    expected:
      told === undefined
        ? `an address in a subnet of ours: ${subnets}`
        : `an address in a subnet of ${told}: ${subnets}`,
    hint:
      holding.length > 0 ? `it is behind ${holding[0].interface}` : 'a gateway must be reachable without one',
  }
}

function checkSource(
  path: Path,
  { src }: RouteKeys,
  family: 4 | 6,
  interfaces: Interfaces,
  problems: Problems,
): void {
  if (src === undefined) return
  const ours = Object.values(interfaces).flatMap((i) => i.addresses.filter((a) => a.family === family))
  if (ours.some((a) => a.address === src)) return
  const texts = ours.map((a) => a.address)
  const expected =
    texts.length > 0 ? `an address of ours: ${someOf(texts)}` : `an IPv${family} address of ours`
  problems.add([...path, 'src'], { found: src, expected })
}

export function checkPolicies(router: RouterCandidate, interfaces: Interfaces, problems: Problems): void {
  const tables = new Set([TABLES.local, TABLES.main, ...router.routes.map((r) => r.keys.table)])
  for (const { path, keys } of router.policies) {
    const { from, to, interface: named, table } = keys
    if (from && to && from.family !== to.family)
      problems.add([...path, 'to'], {
        expected: `an IPv${from.family} network`,
        hint: 'as from: a packet has one family',
      })
    if (named !== undefined) interfaceAt(interfaces, named, [...path, 'interface'], problems)
    if (router.allRoutes && !tables.has(table))
      problems.add([...path, 'table'], {
        expected: `a table with routes: ${someOf([...tables].map(tableText))}`,
      })
  }
}

function tableText(table: number): string {
  return Object.keys(TABLES).find((name) => TABLES[name] === table) ?? String(table)
}
