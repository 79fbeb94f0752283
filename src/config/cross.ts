/**
 * What must fit together across ports: one owner for each name and address, patch ports in pairs,
 * VLANs that exist where they are named. Looks at the ports that are right in themselves, so that
 * one mistake is told once; a port with a mistake of its own takes no part.
 */
import { isLinkLocal } from './address.ts'
import { foundText, nearest, orList, type Path } from './error.ts'
import { netnsPath, netnsText } from './netns.ts'
import type { Problems } from './problems.ts'
import { carries, isAll, pairsOf, resolveDevice, resolveVlan, untaggedVid } from './resolve.ts'
import { type PortKeys, portSchema } from './schema.ts'
import { valueAt } from './source.ts'
import { vid, Wrong } from './value.ts'

const MAX_PORTS = 1024

interface Candidate {
  switch: string
  port: string
  path: Path
  /** null: there is something wrong with it. */
  keys: PortKeys | null
}

/** Finds what zod cannot see. `file` is the raw value of the whole file. */
export function crossCheck(problems: Problems): void {
  const ports = candidates(problems.raw)
  if (ports.length > MAX_PORTS)
    problems.add(['switches'], { found: `${ports.length} ports`, expected: `at most ${MAX_PORTS}` })
  checkNamespaces(problems)
  checkOwners(ports, problems)
  checkPatches(ports, problems)
  for (const p of ports) if (p.keys?.vlan) checkTranslate(p, p.keys.vlan, problems)
  for (const name of new Set(ports.map((p) => p.switch))) {
    const own = ports.filter((p) => p.switch === name)
    // Whether the switch is VLAN-aware is known only when all its ports are.
    if (own.every((p) => p.keys)) checkStatics(own, problems)
  }
}

function entries(value: unknown): [string, unknown][] {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
}

function candidates(raw: unknown): Candidate[] {
  return entries(valueAt(raw, ['switches']).value).flatMap(([sw, body]) =>
    entries(valueAt(body, ['ports']).value).map(([port, body]) => ({
      switch: sw,
      port,
      path: ['switches', sw, 'ports', port],
      keys: portSchema.safeParse(body).data ?? null,
    })),
  )
}

function checkNamespaces(problems: Problems): void {
  const { value } = valueAt(problems.raw, ['namespaces'])
  if (!Array.isArray(value)) return
  const owners = new Owners(problems, 'each namespace once')
  for (const [i, name] of value.entries())
    if (typeof name === 'string') owners.claim(name, ['namespaces', i], name)
}

/** Things that may have one owner. */
class Owners {
  private readonly problems: Problems
  private readonly expected: string
  private readonly first = new Map<string, Path>()

  constructor(problems: Problems, expected: string) {
    this.problems = problems
    this.expected = expected
  }

  claim(key: string, path: Path, found: string): void {
    const owner = this.first.get(key)
    if (owner === undefined) this.first.set(key, path)
    else
      this.problems.add(path, {
        found: `${found} again`,
        expected: this.expected,
        hint: `also at ${this.problems.lineOf(owner)}`,
      })
  }

  has(key: string): Path | undefined {
    return this.first.get(key)
  }
}

/** Device names per namespace, IP addresses, MAC addresses. */
function checkOwners(ports: Candidate[], problems: Problems): void {
  const names = new Owners(problems, 'another name')
  const addresses = new Owners(problems, 'another address')
  const macs = new Owners(problems, 'another MAC address')
  for (const p of ports) {
    if (!p.keys) continue
    const device = resolveDevice(p.port, p.keys, '/')
    const path = [...p.path, device.type]
    if ('name' in device) {
      const own = p.keys[device.type]
      const written = own && 'name' in own && own.name !== undefined
      if (!written && Buffer.byteLength(device.name) > 15) {
        problems.add(path, {
          found: 'no name',
          expected: 'the key name',
          hint: "the port's own is longer than the 15 bytes of a device name",
        })
        continue
      }
      const found = `'${device.name}' in ${netnsText(device.netns)}`
      names.claim(`${netnsPath(device.netns)} ${device.name}`, written ? [...path, 'name'] : path, found)
    }
    if (!('addresses' in device)) continue
    for (const [i, cidr] of device.addresses.entries()) {
      const address = cidr.slice(0, cidr.indexOf('/'))
      const scope = isLinkLocal(address) ? p.switch : ''
      addresses.claim(`${scope} ${address}`, [...path, 'addresses', i], address)
    }
    if (device.mac) macs.claim(device.mac, [...path, 'mac'], device.mac)
  }
}

/** A patch port and the one it names must name each other. */
function checkPatches(ports: Candidate[], problems: Problems): void {
  const byName = new Map(ports.map((p) => [`${p.switch}.${p.port}`, p]))
  const end = (p: Candidate) => (p.keys?.patch ? `${p.keys.patch.switch}.${p.keys.patch.port}` : undefined)
  const nameOf = (p: Candidate) => `${p.switch}.${p.port}`
  const switches = new Set(ports.map((p) => p.switch))

  // A switch with a mistake that hides its ports; nothing can be said about them.
  const unread = new Set(
    entries(valueAt(problems.raw, ['switches']).value)
      .filter(([, body]) => problems.any && entries(valueAt(body, ['ports']).value).length === 0)
      .map(([sw]) => sw),
  )

  /** What is wrong with where `p` leads, whatever leads to `p`. */
  const wrongEnd = (p: Candidate): { expected: string; hint?: string } | undefined => {
    const name = end(p)!
    if (unread.has(p.keys!.patch!.switch)) return undefined
    const peer = byName.get(name)
    if (peer === p) return { expected: 'another port', hint: 'a port cannot be its own other end' }
    if (peer && (!peer.keys || peer.keys.patch)) return undefined
    if (peer)
      return { expected: 'a port that is a patch', hint: `${name} is a ${Object.keys(peer.keys!)[0]}` }
    const guess = nearest(name, ports.filter((q) => q.keys?.patch && q !== p).map(nameOf))
    const what = switches.has(p.keys!.patch!.switch) ? 'port' : 'switch'
    return { expected: `a ${what} of this file`, hint: guess && `did you mean ${guess}?` }
  }
  const mutual = (p: Candidate): boolean => {
    const peer = byName.get(end(p)!)
    return !!peer?.keys?.patch && end(peer) === nameOf(p)
  }
  for (const p of ports) {
    if (!p.keys?.patch) continue
    const path = [...p.path, 'patch']
    const wrong = wrongEnd(p)
    if (wrong) {
      problems.add(path, { found: foundText(end(p)), ...wrong })
      continue
    }
    const peer = byName.get(end(p)!)
    if (!peer?.keys?.patch || mutual(p)) continue
    // The other end leads astray itself, and is told so: this end is not to blame.
    const third = byName.get(end(peer)!)
    if (wrongEnd(peer) || !third?.keys || (mutual(third) && end(third) !== nameOf(peer))) continue
    const where = problems.lineOf([...peer.path, 'patch'])
    problems.add(path, {
      found: foundText(end(p)),
      expected: 'a port that names this one',
      hint: `it names ${end(peer)}: ${where}`,
    })
  }
}

/** Each VLAN has one number on the wire, and each number one VLAN. */
function checkTranslate(p: Candidate, keys: NonNullable<PortKeys['vlan']>, problems: Problems): void {
  if (keys.trunk === undefined) return
  const vlan = resolveVlan(keys, true)
  if (vlan.mode === 'trunk' && vlan.allowed.length === 0 && vlan.native === undefined) {
    problems.add([...p.path, 'vlan', 'trunk'], { expected: 'at least one VLAN', hint: 'or native' })
  }
  if (!keys.translate) return
  const base = [...p.path, 'vlan', 'translate']
  const insides = new Owners(problems, 'one number on the wire for each VLAN')
  const pairs = pairsOf(keys.translate)
  for (const [wire, inside] of Object.entries(keys.translate)) {
    const path = [...base, wire]
    try {
      vid(/^[1-9][0-9]*$|^0$/.test(wire) ? Number(wire) : wire)
    } catch (wrong) {
      if (!(wrong instanceof Wrong)) throw wrong
      problems.add(path, { found: `the key ${wire}`, expected: wrong.expected, hint: wrong.hint }, 'key')
      continue
    }
    insides.claim(String(inside), path, `VLAN ${inside}`)
    if (!carries(vlan, inside)) {
      problems.add(path, { expected: 'a VLAN of the trunk', hint: `${inside} is not in its list` })
    } else if (inside === keys.native) {
      problems.add(path, {
        expected: 'another VLAN than the native one',
        hint: 'that has no tag on the wire',
      })
    }
    const clash =
      Number(wire) !== keys.native &&
      carries(vlan, Number(wire)) &&
      !pairs.some(([, to]) => to === Number(wire))
    if (clash && !isAll(keys.trunk)) {
      const expected = `a trunk without VLAN ${wire}, or a translation of it too`
      problems.add(
        path,
        {
          found: `VLAN ${wire} of the wire for VLAN ${inside}`,
          expected,
          hint: `VLAN ${wire} would leave with the same number`,
        },
        'key',
      )
    }
  }
}

/** Static addresses of one switch: in a VLAN the port carries, and behind one port only. */
function checkStatics(ports: Candidate[], problems: Problems): void {
  const vlanAware = ports.some((p) => p.keys!.vlan !== undefined)
  const statics = new Owners(problems, 'each static address once per VLAN')
  const devices = new Map<string, Path>()
  for (const p of ports) {
    const device = resolveDevice(p.port, p.keys!, '/')
    if ('mac' in device && device.mac) devices.set(device.mac, p.path)
  }
  for (const p of ports) {
    const vlan = resolveVlan(p.keys!.vlan, vlanAware)
    for (const [i, { mac, vlan: given }] of p.keys!.static.entries()) {
      const path = [...p.path, 'static', i]
      if (given !== undefined && vlan.mode === 'unaware') {
        problems.add([...path, 'vlan'], {
          expected: 'no vlan',
          hint: 'no port of this switch has a vlan key',
        })
        continue
      }
      if (given !== undefined && !carries(vlan, given)) {
        problems.add([...path, 'vlan'], { expected: `a VLAN of the port${listed(vlan)}` })
        continue
      }
      const inside = given ?? untaggedVid(vlan)
      if (inside === undefined) {
        problems.add(path, { found: mac, expected: 'mac and vlan', hint: 'this trunk has no native VLAN' })
        continue
      }
      const owner = devices.get(mac)
      if (owner && owner !== p.path) {
        const hint = `also at ${problems.lineOf([...owner])}`
        problems.add(path, {
          found: `${mac}, which a device of another port has`,
          expected: 'another MAC address',
          hint,
        })
      } else statics.claim(`${inside} ${mac}`, path, mac)
    }
  }
}

function listed(vlan: ReturnType<typeof resolveVlan>): string {
  if (vlan.mode === 'unaware') return ''
  if (vlan.mode !== 'trunk') return `: ${vlan.vid}`
  const vids = [...new Set([...vlan.allowed, ...(vlan.native === undefined ? [] : [vlan.native])])]
  return vids.length > 8 ? '' : `: ${orList(vids.map(String))}`
}
