/**
 * What must fit together in `nat`: interfaces with an address to hide behind, published ports that are
 * free and lead somewhere.
 */
import { familyOf, reservedIn } from './address.ts'
import { type Path, someOf } from './error.ts'
import { Owners } from './owners.ts'
import type { Problems } from './problems.ts'
import { interfaceAt, type RouterCandidate } from './router-candidate.ts'
import type { Reach } from './router-reach.ts'
import type { InterfaceKeys, NatKeys } from './router-schema.ts'

/** UDP. */
const DHCP_SERVER = 67

type Interfaces = Record<string, InterfaceKeys>
type Publish = NonNullable<NatKeys['publish']>

export function checkNat(
  router: RouterCandidate,
  interfaces: Interfaces,
  reach: Reach,
  problems: Problems,
): void {
  const taken: Taken[] = []
  const hidden = new Owners(problems, 'each masquerade once')
  for (const { path, keys } of router.nat) {
    if (keys.masquerade) {
      const { from, out } = keys.masquerade
      const at = [...path, 'masquerade']
      const iface = interfaceAt(interfaces, out, [...at, 'out'], problems)
      if (iface && !iface.addresses.some((a) => a.family === from.family)) {
        const expected = `an interface with an IPv${from.family} address`
        problems.add([...at, 'out'], { expected, hint: 'it is what others see instead' })
      } else if (iface) hidden.claim(`${from.text} ${out}`, at, `${from.text} out of ${out}`)
    }
    if (!keys.publish) continue
    const at = [...path, 'publish']
    checkListen(at, keys.publish, interfaces, taken, problems)
    checkTarget(at, keys.publish, reach, router.allRoutes, problems)
  }
}

/** Ports that are published already. */
interface Taken extends Publish {
  path: Path
}

function checkListen(
  path: Path,
  publish: Publish,
  interfaces: Interfaces,
  taken: Taken[],
  problems: Problems,
): void {
  const { listen, to, proto } = publish
  const at = [...path, 'listen']
  const family = familyOf(to.address)
  const ours = Object.values(interfaces).flatMap((i) => i.addresses.filter((a) => a.family === family))
  const outside = listen.address
  if (outside !== '' && familyOf(outside) !== family) {
    const hint = 'a translation stays in its family'
    problems.add(at, { found: outside, expected: `an IPv${family} address, as to`, hint })
    return
  }
  if (outside !== '' && !ours.some((a) => a.address === outside)) {
    const texts = ours.map((a) => a.address)
    const expected = `an address of ours${texts.length > 0 ? `: ${someOf(texts)}` : ''}`
    problems.add(at, { found: outside, expected, hint: 'without an address, all of them' })
    return
  }
  const [first, last] = listen.ports
  const served = Object.entries(interfaces).find(
    ([, i]) => i.dhcp && (outside === '' || i.addresses.some((a) => a.address === outside)),
  )
  if (served && proto === 'udp' && family === 4 && first <= DHCP_SERVER && DHCP_SERVER <= last) {
    const expected = `ports that are free: ${DHCP_SERVER} is the DHCP server's, on ${served[0]}`
    problems.add(at, { found: `udp ${textOf(outside, listen.ports)}`, expected })
    return
  }
  const other = taken.find((t) => collide(t, publish))
  if (other) {
    problems.add(at, {
      found: `${proto} ${textOf(outside, listen.ports)}, which collides with another`,
      expected: 'ports that are not published yet',
      hint: `${textOf(other.listen.address, other.listen.ports)} at ${problems.lineOf([...other.path, 'listen'])}`,
    })
  } else taken.push({ ...publish, path })
}

function collide(a: Publish, b: Publish): boolean {
  const sameAddress =
    familyOf(a.to.address) === familyOf(b.to.address) &&
    (a.listen.address === '' || b.listen.address === '' || a.listen.address === b.listen.address)
  const overlap = a.listen.ports[0] <= b.listen.ports[1] && b.listen.ports[0] <= a.listen.ports[1]
  return a.proto === b.proto && sameAddress && overlap
}

function textOf(address: string, [first, last]: [number, number]): string {
  const host = address.includes(':') ? `[${address}]` : address
  return `${host}:${first}${last === first ? '' : `-${last}`}`
}

/** @param allRoutes false: some are not known */
function checkTarget(
  path: Path,
  { listen, to }: Publish,
  reach: Reach,
  allRoutes: boolean,
  problems: Problems,
): void {
  const at = [...path, 'to']
  const { address, ports } = to
  const size = (range: [number, number]) => range[1] - range[0] + 1
  if (size(ports) !== size(listen.ports)) {
    const [first] = ports
    const fitting: [number, number] = [first, first + size(listen.ports) - 1]
    const hint = fitting[1] <= 65535 ? `such as ${textOf(address, fitting)}` : undefined
    const many = size(listen.ports) === 1 ? 'one port' : `${size(listen.ports)} ports`
    problems.add(at, { expected: `${many}, as listen`, hint })
    return
  }
  const own = reach.own.get(address)
  if (own !== undefined) {
    problems.add(at, { expected: 'another host', hint: `${address} is our own address, of ${own}` })
    return
  }
  const reserved = reach
    .linksTo(address)
    .map((link) => reservedIn(address, link.network))
    .find((r) => r !== undefined)
  if (reserved) problems.add(at, { expected: 'another host', hint: `${address} is ${reserved}` })
  else if (allRoutes && !reach.reaches(address)) {
    const near = reach.links.filter((l) => l.network.family === familyOf(address))
    const subnets = near.map((l) => l.network.text)
    const hint = subnets.length > 0 ? `our subnets are ${someOf(subnets, 'and')}` : undefined
    problems.add(at, { expected: 'an address that a route leads to', hint })
  }
}
