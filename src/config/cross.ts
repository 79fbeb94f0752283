/**
 * What must fit together across ports: one owner for each name and address, patch ports in pairs,
 * VLANs that exist where they are named. Looks at the ports that are right in themselves, so that
 * one mistake is told once; a port with a mistake of its own takes no part. Routers: router-cross.ts.
 */
import { MAX_PORTS } from '../packet/layout.ts'
import type { PortVlan } from '../switch/vlan.ts'
import { foundText, nearest, orList, type Path } from './error.ts'
import { checkOwners, type Holder, Owners } from './owners.ts'
import type { Problems } from './problems.ts'
import { carries, isAll, pairsOf, resolveVlan, untaggedIn, untaggedVid } from './resolve.ts'
import { resolveDevice } from './resolve-device.ts'
import { routersIn } from './router-candidate.ts'
import { checkRouters, holdersOf, placed, type SwitchFacts } from './router-cross.ts'
import { type PortKeys, portSchema, switchSchema } from './schema.ts'
import { valueAt } from './source.ts'
import { fieldsOf, vid, Wrong } from './value.ts'
import { checkVteps } from './vtep-cross.ts'

interface Candidate {
  switch: string
  port: string
  path: Path
  /** null: there is something wrong with it. */
  keys: PortKeys | null
}

/** Finds what zod cannot see. */
export function crossCheck(problems: Problems): void {
  const ports = candidates(problems.raw)
  const routers = routersIn(problems.raw)
  const interfaces = placed(routers)
  // An interface on a switch is a port there and one of the router.
  const own = ports.length + fieldsOf(valueAt(problems.raw, ['vteps']).value).length
  const count = interfaces.reduce((sum, { keys }) => sum + (keys.switch === undefined ? 1 : 2), own)
  if (count > MAX_PORTS)
    problems.add(['switches'], { found: `${count} ports`, expected: `at most ${MAX_PORTS}` })
  checkNames(problems)
  checkOwners([...ports.flatMap((p) => holderOf(p, problems)), ...holdersOf(routers)], problems)
  checkPatches(ports, problems)
  checkVteps(
    ports.flatMap(({ path, keys }) => (keys?.vxlan ? [{ path: [...path, 'vxlan'], keys: keys.vxlan }] : [])),
    problems,
  )
  for (const p of ports) if (p.keys?.vlan) checkTranslate(p, p.keys.vlan, problems)
  for (const name of new Set(ports.map((p) => p.switch))) {
    const own = ports.filter((p) => p.switch === name)
    const here = interfaces.filter(({ keys }) => keys.switch === name)
    const tagged = here.some(({ keys }) => keys.vlan !== undefined)
    const macs = here.flatMap(({ path, keys }) => (keys.mac ? [[keys.mac, path] as const] : []))
    // Whether the switch is VLAN-aware is known only when all its ports are.
    if (own.every((p) => p.keys)) checkStatics(own, tagged, new Map(macs), problems)
  }
  const wanted = new Set(interfaces.map(({ keys }) => keys.switch))
  checkRouters(routers, switchFacts(ports, wanted, problems), problems)
}

/** What routers need to know of `wanted`; undefined when not even the names of the switches can be read. */
function switchFacts(
  ports: readonly Candidate[],
  wanted: ReadonlySet<string | undefined>,
  problems: Problems,
): Map<string, SwitchFacts | null> | undefined {
  const { value } = valueAt(problems.raw, ['switches'])
  if (!problems.namesKnown('switches')) return undefined
  return new Map(
    fieldsOf(value).map(([name, body]) => {
      if (!wanted.has(name) || !switchSchema.safeParse(body).success) return [name, null]
      const own = ports.filter((p) => p.switch === name)
      const vlans = own.map((p) => resolveVlan(p.keys!.vlan, true))
      const facts: SwitchFacts = {
        ports: own.length,
        tagged: own.some((p) => p.keys!.vlan !== undefined),
        carries: (vid) => vlans.some((vlan) => carries(vlan, vid)),
        vids: () => [...new Set(vlans.flatMap(vidsOf))].sort((a, b) => a - b),
      }
      return [name, facts]
    }),
  )
}

function candidates(raw: unknown): Candidate[] {
  return fieldsOf(valueAt(raw, ['switches']).value).flatMap(([sw, body]) =>
    fieldsOf(valueAt(body, ['ports']).value).map(([port, body]) => ({
      switch: sw,
      port,
      path: ['switches', sw, 'ports', port],
      keys: portSchema.safeParse(body).data ?? null,
    })),
  )
}

/** Of namespaces, and of switches and routers: 'lan.web' must be one port. */
function checkNames(problems: Problems): void {
  const { value } = valueAt(problems.raw, ['namespaces'])
  const namespaces = new Owners(problems, 'each namespace once')
  for (const [i, name] of Array.isArray(value) ? value.entries() : [])
    if (typeof name === 'string') namespaces.claim(name, ['namespaces', i], name)
  const names = new Owners(problems, 'another name than that of a switch')
  for (const key of ['switches', 'routers'] as const)
    for (const [name] of fieldsOf(valueAt(problems.raw, [key]).value))
      names.claim(name, [key, name], `the name ${name}`)
}

/** What a port owns; nothing if something is wrong with it. */
function holderOf({ port, path, keys, ...at }: Candidate, problems: Problems): Holder[] {
  if (!keys) return []
  const device = resolveDevice(port, keys)
  if (!('name' in device)) return []
  const own = [...path, device.type]
  const written = device.type !== 'host' || keys.host?.name !== undefined
  if (!written && Buffer.byteLength(device.name) > 15) {
    problems.add(own, {
      found: 'no name',
      expected: 'the key name',
      hint: "the port's own is longer than the 15 bytes of a device name",
    })
    return []
  }
  const { name, netns } = device
  return [
    {
      path: own,
      device: { path: written ? [...own, 'name'] : own, name, netns },
      addresses: 'addresses' in device ? device.addresses : [],
      mac: 'mac' in device ? device.mac : undefined,
      // Ports of a switch that does not look at tags are all in one VLAN here.
      link: `${at.switch} ${untaggedIn(keys.vlan)}`,
    },
  ]
}

/** A patch port and the one it names must name each other. */
function checkPatches(ports: Candidate[], problems: Problems): void {
  const byName = new Map(ports.map((p) => [`${p.switch}.${p.port}`, p]))
  const end = (p: Candidate) => (p.keys?.patch ? `${p.keys.patch.switch}.${p.keys.patch.port}` : undefined)
  const nameOf = (p: Candidate) => `${p.switch}.${p.port}`
  const switches = new Set(ports.map((p) => p.switch))

  // A switch with a mistake that hides its ports; nothing can be said about them.
  const unread = new Set(
    fieldsOf(valueAt(problems.raw, ['switches']).value)
      .filter(([, body]) => problems.any && fieldsOf(valueAt(body, ['ports']).value).length === 0)
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

/**
 * Static addresses of one switch: in a VLAN the port carries, and behind one port only.
 * @param tagged an interface of a router names a VLAN of it
 * @param devices owners of MAC addresses, to which those of the ports are added
 */
function checkStatics(
  ports: Candidate[],
  tagged: boolean,
  devices: Map<string, Path>,
  problems: Problems,
): void {
  const vlanAware = tagged || ports.some((p) => p.keys!.vlan !== undefined)
  const statics = new Owners(problems, 'each static address once per VLAN')
  for (const p of ports) {
    const device = resolveDevice(p.port, p.keys!)
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

function vidsOf(vlan: PortVlan): number[] {
  const untagged = untaggedVid(vlan)
  return [...(vlan.mode === 'trunk' ? vlan.allowed : []), ...(untagged === undefined ? [] : [untagged])]
}

function listed(vlan: PortVlan): string {
  if (vlan.mode === 'unaware') return ''
  if (vlan.mode !== 'trunk') return `: ${vlan.vid}`
  const vids = [...new Set(vidsOf(vlan))]
  return vids.length > 8 ? '' : `: ${orList(vids.map(String))}`
}
