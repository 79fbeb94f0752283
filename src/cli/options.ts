/** What several commands share: the global options, and arguments that are numbers. */
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { ControlClient } from '../control/api/client.ts'
import { DEFAULT_SOCKET } from '../control/api/socket.ts'

export interface GlobalOptions {
  socket: string
  debug: boolean
}

export function addGlobals(program: Command): void {
  program
    .option(
      '--socket <path>',
      'control socket (or TAPLOOM_SOCKET)',
      process.env.TAPLOOM_SOCKET || DEFAULT_SOCKET,
    )
    .option('--debug', 'show stack traces of errors (or TAPLOOM_DEBUG)', Boolean(process.env.TAPLOOM_DEBUG))
}

export function globalsOf(command: Command): GlobalOptions {
  const { socket, debug } = command.optsWithGlobals<GlobalOptions>()
  return { socket: resolve(socket), debug }
}

export const clientOf = (command: Command, timeoutMs?: number): ControlClient =>
  new ControlClient(globalsOf(command).socket, timeoutMs)

/** For commander: a whole number from `min` to `max`. */
export function whole(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`
    throw new InvalidArgumentError(`Expected a whole number ${range}.`)
  }
}

/** For commander: seconds, with decimals, more than zero. */
export function seconds(text: string): number {
  const value = Number(text.replace(/s$/, ''))
  if (text !== '' && Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('Expected seconds, more than 0.')
}

/** '2 switches', '1 port'. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** '2 switches, 7 ports, 1 router'. */
export function sizeText(config: {
  switches: Record<string, { ports: object }>
  routers: Record<string, { interfaces: object }>
}): string {
  const switches = Object.values(config.switches)
  const routers = Object.values(config.routers)
  const ports = switches.reduce((sum, sw) => sum + Object.keys(sw.ports).length, 0)
  const interfaces = routers.reduce((sum, router) => sum + Object.keys(router.interfaces).length, 0)
  const parts = []
  if (switches.length > 0 || routers.length === 0)
    parts.push(plural(switches.length, 'switch', 'switches'), plural(ports, 'port'))
  if (routers.length > 0) parts.push(plural(routers.length, 'router'), plural(interfaces, 'interface'))
  return parts.join(', ')
}
