/**
 * What VTEPs need from this machine: their address in their namespace, a UDP port nobody has, devices that
 * exist. Tried by binding a socket for a moment, so the kernel itself answers.
 */
import { native } from '../native.ts'
import type { Path } from './error.ts'
import { netnsPath, netnsText } from './netns.ts'
import type { Problems } from './problems.ts'
import type { FabricConfig, Netns } from './types.ts'
import type { VtepConfig } from './vtep-types.ts'
import { openUnderlay, UnderlayError } from './vtep-underlay.ts'

/** @param running what runs now, in a reload: its sockets are not in the way */
export function checkVtepSystem(
  config: FabricConfig,
  running: FabricConfig | undefined,
  problems: Problems,
  checkNetns: (netns: Netns, path: Path) => boolean,
): void {
  const made = madeDevices(config)
  for (const [name, vtep] of Object.entries(config.vteps)) {
    const path = ['vteps', name]
    if (!checkNetns(vtep.netns, path)) continue
    const devices = deviceKeys(config, name, path)
    for (const [device, at] of devices) checkDevice(device, vtep.netns, at, made, problems)
    const bound = Object.values(running?.vteps ?? {}).some((old) => sameSocket(old, vtep))
    if (!bound) checkSocket(vtep, path, made, problems)
    if (vtep.underlay === 'tap') checkUnderlay(vtep, [...path, 'underlay'], problems)
  }
}

interface Made {
  /** 'namespace file name' of devices the file describes. */
  names: Set<string>
  /** 'namespace file address'. */
  addresses: Set<string>
}

/** What will be there although it is not now. */
function madeDevices(config: FabricConfig): Made {
  const ofPorts = Object.values(config.switches).flatMap((sw) => Object.values(sw.ports).map((p) => p.device))
  const ofRouters = Object.values(config.routers).flatMap((r) => Object.values(r.interfaces).map((i) => i.on))
  const made: Made = { names: new Set(), addresses: new Set() }
  for (const device of [...ofPorts, ...ofRouters]) {
    if (device.type !== 'tap' && device.type !== 'tun' && device.type !== 'host') continue
    const file = netnsPath(device.netns)
    made.names.add(`${file} ${device.name}`)
    for (const cidr of device.addresses) made.addresses.add(`${file} ${cidr.slice(0, cidr.indexOf('/'))}`)
  }
  return made
}

/** The devices named for a VTEP: its own, and those its groups are joined on. */
function deviceKeys(config: FabricConfig, vtep: string, path: Path): [string, Path][] {
  const keys: [string, Path][] = []
  if (config.vteps[vtep].device !== '') keys.push([config.vteps[vtep].device, [...path, 'device']])
  for (const [sw, { ports }] of Object.entries(config.switches)) {
    for (const [port, { device }] of Object.entries(ports)) {
      if (device.type !== 'vxlan' || device.vtep !== vtep || device.groupDevice === '') continue
      keys.push([device.groupDevice, ['switches', sw, 'ports', port, 'vxlan', 'device']])
    }
  }
  return keys
}

function checkDevice(name: string, netns: Netns, path: Path, made: Made, problems: Problems): void {
  const file = netnsPath(netns)
  if (made.names.has(`${file} ${name}`)) return
  try {
    if (native.readLink(file, name) !== null) return
  } catch {
    // A namespace that will be made, or may not be entered: opening tells.
    return
  }
  problems.add(path, { found: `'${name}' in ${netnsText(netns)}`, expected: 'a device that exists' })
}

function sameSocket(a: VtepConfig, b: VtepConfig): boolean {
  return netnsPath(a.netns) === netnsPath(b.netns) && a.port === b.port && a.family === b.family
}

function checkUnderlay(vtep: VtepConfig, path: Path, problems: Problems): void {
  try {
    native.close(openUnderlay(vtep).fd)
  } catch (error) {
    // Rights, and namespaces that will be made: opening tells.
    if (error instanceof UnderlayError) problems.add(path, error)
  }
}

function checkSocket(vtep: VtepConfig, path: Path, made: Made, problems: Problems): void {
  const { local, family, port, device } = vtep
  const netns = netnsPath(vtep.netns)
  const any = local === '0.0.0.0' || local === '::'
  const ours = made.addresses.has(`${netns} ${local}`)
  try {
    const { fd } = native.openUdp({
      netns,
      family,
      local: any ? '' : local,
      port,
      device: device || undefined,
    })
    native.close(fd)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const where = netnsText(vtep.netns)
    if (code === 'EADDRNOTAVAIL') {
      if (ours) return
      const expected = `an address of a device in ${where}`
      problems.add([...path, 'local'], { expected, hint: 'nothing there has it' })
    } else if (code === 'EADDRINUSE') {
      const found = `UDP port ${port} of ${local} in ${where}, which is taken`
      const hint = 'another program or a kernel vxlan device has it: see `ss -uanp` and `ip -d link`'
      problems.add([...path, 'port'], { found, expected: 'a UDP port that is free', hint })
    } else if (code === 'EAFNOSUPPORT') {
      problems.add([...path, 'local'], { expected: 'an IPv4 address', hint: 'the kernel has no IPv6 here' })
    } else if (code !== 'EPERM' && code !== 'EACCES' && code !== 'ENODEV' && code !== 'ENOENT') {
      problems.add([...path, 'local'], { expected: 'an address to bind a UDP socket to', hint: message })
    } else if (code === 'EACCES' && port < 1024) {
      problems.add([...path, 'port'], { expected: 'a port from 1024 on', hint: message })
    }
  }
}
