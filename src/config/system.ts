/**
 * What a configuration needs from this machine: namespaces that exist, device names that are free,
 * devices and files that are there. Looks and touches nothing; a moment later the answer may be another,
 * so opening a device checks again.
 *
 *     netns by name          listed in `namespaces`, or there (/run/netns/NAME)
 *     netns by path or pid   there
 *     tap, tun, host         no device of that name in its namespace, unless persist
 *     packet                 a device of that name in its namespace
 *     pcap                   a file that can be read
 *     vteps                  vtep-system.ts
 */
import { accessSync, constants, statSync } from 'node:fs'
import { native } from '../native.ts'
import { ConfigError, type ConfigProblem, type Path } from './error.ts'
import { isNamed, isPid, netnsPath, netnsText } from './netns.ts'
import { Problems } from './problems.ts'
import type { DeviceConfig, FabricConfig, Netns } from './types.ts'
import { checkVtepSystem } from './vtep-system.ts'

/**
 * True for a device that the fabric has already (reload): that it exists is right then. `netns` as
 * the configuration writes it.
 */
export type Ours = (netns: Netns, name: string) => boolean

/**
 * @param running what runs now, in a reload
 * @throws ConfigError with everything that is in the way
 */
export function checkSystem(config: FabricConfig, running?: FabricConfig): void {
  const own = new Set<string>()
  for (const { device } of devicesOf(running)) {
    if ('name' in device && device.type !== 'packet') own.add(`${netnsPath(device.netns)} ${device.name}`)
  }
  const ours: Ours = (netns, name) => own.has(`${netnsPath(netns)} ${name}`)
  const problems = systemProblems(config, ours, running)
  if (problems.length > 0) throw new ConfigError(problems)
}

/** What is in the way, with the same places as a ConfigError's problems; [] = nothing. */
export function systemProblems(
  config: FabricConfig,
  ours: Ours = () => false,
  running?: FabricConfig,
): ConfigProblem[] {
  const problems = Problems.about(config)
  for (const { path, device } of devicesOf(config)) {
    if (device.type === 'pcap') checkFile(device.file, path, problems)
    else if ('name' in device) checkDevice(config, device, path, problems, ours)
  }
  checkVtepSystem(config, running, problems, (netns, path) => checkNetns(config, netns, path, problems))
  return problems.sorted
}

interface Placed {
  path: Path
  device: DeviceConfig
}

/** Of ports and of routers' interfaces. */
function devicesOf(config: FabricConfig | undefined): Placed[] {
  const ofPorts = Object.entries(config?.switches ?? {}).flatMap(([sw, { ports }]) =>
    Object.entries(ports).map(([port, { device }]): Placed => {
      return { path: ['switches', sw, 'ports', port, device.type], device }
    }),
  )
  const ofRouters = Object.entries(config?.routers ?? {}).flatMap(([router, { interfaces }]) =>
    Object.entries(interfaces).flatMap(([name, { on }]): Placed[] => {
      if (on.type === 'switch') return []
      return [{ path: ['routers', router, 'interfaces', name, on.type], device: on }]
    }),
  )
  return [...ofPorts, ...ofRouters]
}

type NamedDevice = Extract<DeviceConfig, { name: string }>

function checkDevice(
  config: FabricConfig,
  device: NamedDevice,
  path: Path,
  problems: Problems,
  ours: Ours,
): void {
  const { name, netns } = device
  const file = netnsPath(netns)
  if (!checkNetns(config, netns, path, problems)) return
  if (file !== '' && !exists(file)) {
    if (device.type !== 'packet') return
    const found = `'${name}' in ${netnsText(netns)}, which will be new and empty`
    problems.add([...path, 'name'], { found, expected: 'a device that exists' })
    return
  }
  if (ours(netns, name)) return
  let there: boolean
  try {
    there = native.readLink(file, name) !== null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Without the rights to look, opening it will tell.
    if (code === 'EPERM' || code === 'EACCES') return
    const hint = (error as Error).message
    problems.add([...path, 'netns'], { found: `'${netns}'`, expected: 'a network namespace', hint })
    return
  }
  const found = `'${name}' in ${netnsText(netns)}`
  if (device.type === 'packet') {
    if (!there) problems.add([...path, 'name'], { found, expected: 'a device that exists' })
  } else if (there && !('persist' in device && device.persist)) {
    problems.add([...path, 'name'], {
      found,
      expected: 'a name that is free',
      hint: 'such a device exists already',
    })
  }
}

/** True for a namespace that exists or will be made. */
function checkNetns(config: FabricConfig, netns: Netns, path: Path, problems: Problems): boolean {
  const file = netnsPath(netns)
  if (file === '' || exists(file) || (isNamed(netns) && config.namespaces.includes(netns))) return true
  if (!isNamed(netns)) {
    const found = isPid(netns) ? `pid ${netns}, which does not run` : `'${netns}', which does not exist`
    problems.add([...path, 'netns'], { found, expected: 'a network namespace that exists' })
  } else {
    const expected = 'a network namespace that exists, or that `namespaces` lists'
    problems.add([...path, 'netns'], { found: `'${netns}'`, expected, hint: `there is no ${file}` })
  }
  return false
}

function exists(file: string): boolean {
  try {
    statSync(file)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}

function checkFile(file: string, path: Path, problems: Problems): void {
  const refuse = (hint: string) =>
    problems.add([...path, 'file'], { found: `'${file}'`, expected: 'a capture file', hint })
  try {
    if (statSync(file).isDirectory()) refuse('it is a directory')
    accessSync(file, constants.R_OK)
  } catch (error) {
    refuse(
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : 'it may not be read',
    )
  }
}
