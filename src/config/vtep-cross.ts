/**
 * What must fit together between VTEPs and the ports that stand on them: one VTEP per address and port,
 * one port per VNI, and remotes that the VTEP can reach: of its family, and not itself.
 */
import { familyOf, isAddress, isLinkLocal } from './address.ts'
import type { Path } from './error.ts'
import { netnsPath, netnsText } from './netns.ts'
import { Owners } from './owners.ts'
import type { Problems } from './problems.ts'
import { valueAt } from './source.ts'
import { fieldsOf } from './value.ts'
import { resolveVtep } from './vtep-resolve.ts'
import { type VtepKeys, type VxlanKeys, vtepSchema } from './vtep-schema.ts'
import type { VtepConfig } from './vtep-types.ts'

export interface TunnelPort {
  /** Of the key `vxlan`. */
  path: Path
  keys: VxlanKeys
}

const isAny = (local: string): boolean => local === '0.0.0.0' || local === '::'

/** @param ports those that are right in themselves */
export function checkVteps(ports: readonly TunnelPort[], problems: Problems): void {
  const raw = valueAt(problems.raw, ['vteps']).value
  /** null: something is wrong with it. */
  const vteps = new Map<string, VtepConfig | null>(
    fieldsOf(raw).map(([name, body]) => {
      const keys: VtepKeys | undefined = vtepSchema.safeParse(body).data
      return [name, keys === undefined ? null : resolveVtep(keys)]
    }),
  )
  checkSockets(vteps, problems)
  const known = problems.namesKnown('vteps')
  const vnis = new Owners(problems, 'each VNI once on a VTEP')
  for (const { path, keys } of ports) {
    const vtep = vteps.get(keys.vtep)
    if (vtep === undefined && known)
      problems.addUnknownName([...path, 'vtep'], keys.vtep, 'a VTEP of this file', [...vteps.keys()])
    vnis.claim(`${keys.vtep} ${keys.vni}`, [...path, 'vni'], `VNI ${keys.vni}`)
    checkRepeats(path, keys, problems)
    if (vtep) checkReach(path, keys, vtep, problems)
  }
}

/** Two sockets cannot have one address and port; one for all addresses has every address. */
function checkSockets(vteps: ReadonlyMap<string, VtepConfig | null>, problems: Problems): void {
  const seen: { name: string; vtep: VtepConfig }[] = []
  for (const [name, vtep] of vteps) {
    if (!vtep) continue
    const path = ['vteps', name]
    if (isLinkLocal(vtep.local) && vtep.device === '') {
      const hint = 'the same address can be on every link'
      problems.add([...path, 'local'], { expected: 'the key device beside a link-local address', hint })
    }
    if (vtep.underlay === 'tap') checkUnderlay(vtep, [...path, 'underlay'], problems)
    const other = seen.find(
      ({ vtep: v }) =>
        v.family === vtep.family &&
        v.port === vtep.port &&
        netnsPath(v.netns) === netnsPath(vtep.netns) &&
        (v.local === vtep.local || isAny(v.local) || isAny(vtep.local)) &&
        (v.device === vtep.device || v.device === '' || vtep.device === ''),
    )
    seen.push({ name, vtep })
    if (!other) continue
    problems.add([...path, 'local'], {
      found: `${vtep.local} port ${vtep.port} in ${netnsText(vtep.netns)} again`,
      expected: 'an address and port that no other VTEP has',
      hint: `also at ${problems.lineOf(['vteps', other.name, 'local'])}`,
    })
  }
}

/** What goes through a TAP is forwarded by the kernel: as its routes say, from one address, never in fragments. */
function checkUnderlay({ local, family, device, df, ttl }: VtepConfig, path: Path, problems: Problems): void {
  if (isAny(local) || local === '::1' || local.startsWith('127.'))
    problems.add(path, {
      expected: 'socket, or a local address that others can reach',
      hint: `the VTEP has ${local}`,
    })
  if (device !== '')
    problems.add(path, {
      expected: 'socket, or no key device',
      hint: 'the kernel routes what the TAP hands over',
    })
  if (family === 4 && df === 'unset')
    problems.add(path, {
      expected: 'the key df beside it, set or inherit',
      hint: 'what is forwarded without DF the kernel may fragment, which RFC 7348 forbids',
    })
  if (ttl === 255)
    problems.add(path, { expected: 'a TTL up to 254 beside it', hint: 'forwarding takes one off' })
}

/** What stands in a list twice. */
function checkRepeats(path: Path, keys: VxlanKeys, problems: Problems): void {
  const remotes = new Owners(problems, 'each remote once')
  for (const [i, remote] of keys.remotes.entries()) remotes.claim(remote, [...path, 'remotes', i], remote)
  const stations = new Owners(problems, 'each MAC address once')
  const addresses = new Owners(problems, 'another address')
  for (const [i, entry] of keys.static.entries()) {
    stations.claim(entry.mac, [...path, 'static', i, 'mac'], entry.mac)
    for (const [j, address] of entry.addresses.entries())
      addresses.claim(address, [...path, 'static', i, 'addresses', j], address)
  }
}

function checkReach(path: Path, keys: VxlanKeys, vtep: VtepConfig, problems: Problems): void {
  const remotes: [string, Path][] = [
    ...keys.remotes.map((remote, i): [string, Path] => [remote, [...path, 'remotes', i]]),
    ...keys.static.map(({ remote }, i): [string, Path] => [remote, [...path, 'static', i, 'remote']]),
  ]
  const hint = `the VTEP ${keys.vtep} has ${vtep.local}`
  for (const [remote, at] of remotes) {
    if (!isAddress(remote)) continue
    if (familyOf(remote) !== vtep.family) problems.add(at, { expected: `an IPv${vtep.family} address`, hint })
    else if (remote === vtep.local) {
      problems.add(at, {
        expected: 'the address of another machine',
        hint: 'it is the local address of the VTEP',
      })
    } else if (isLinkLocal(remote) && vtep.device === '') {
      problems.add(at, {
        expected: 'an address that is not link-local',
        hint: 'or a VTEP with the key device',
      })
    }
  }
  if (keys.group === undefined) {
    if (keys.device !== undefined)
      problems.add([...path, 'device'], {
        expected: 'no device without a group',
        hint: 'it is where the group is joined',
      })
    return
  }
  if (familyOf(keys.group) !== vtep.family)
    problems.add([...path, 'group'], { expected: `a multicast address of IPv${vtep.family}`, hint })
  if (keys.device === undefined && vtep.device === '') {
    const why = 'a group is joined on one device: here, or as the device of the VTEP'
    problems.add([...path, 'group'], { expected: 'the key device beside a group', hint: why })
  }
}
