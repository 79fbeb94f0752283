/**
 * The daemon: one configuration file, one fabric, one control socket, until somebody ends it.
 *
 *     load, validate  ->  capabilities  ->  socket  ->  system check  ->  fabric  ->  serve  ->  ready
 *     (exit 2)            (exit 1)          (one daemon per socket)
 *
 * The socket comes before anything is created, so a second daemon fails without touching a device.
 * Every step that fails undoes the ones before it.
 *
 *     signal              so
 *     SIGINT, SIGTERM     removes what it created, exit 0 (or 1, when that fails)
 *     a second one        says that it is at it
 *     a third one         ends at once, exit 1, and tells what is left
 *     SIGHUP              reload; a bad configuration is logged, and what runs goes on
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { loadConfig } from '../config/load.ts'
import { checkSystem } from '../config/system.ts'
import { captureFeed } from './api/capture-stream.ts'
import { ControlServer } from './api/server.ts'
import { captureEncoder } from './capture/pcapng.ts'
import { Fabric } from './fabric.ts'
import { namespaceExists } from './iproute.ts'
import { type Logger, type PortEvent, PortLog } from './log.ts'
import { requireCapabilities } from './privilege.ts'

export interface DaemonOptions {
  /** The configuration, as the caller named it. */
  file: string
  socket: string
  log: Logger
}

export class Daemon {
  readonly options: DaemonOptions
  readonly fabric: Fabric
  private readonly server: ControlServer
  private readonly portLog: PortLog
  /** Reloads come one after the other. */
  private turn: Promise<unknown> = Promise.resolve()
  private closing: Promise<void> | null = null

  private constructor(options: DaemonOptions, fabric: Fabric, server: ControlServer) {
    this.options = options
    this.fabric = fabric
    this.server = server
    this.portLog = new PortLog((port, event, leftOut) => this.logPort(port, event, leftOut))
    const note = (e: { switch: string; port: string }, event: PortEvent) =>
      this.portLog.note(`${e.switch}.${e.port}`, event, performance.now())
    fabric.on('port-down', (e) => note(e, { state: 'down', errno: e.errno, reason: e.reason }))
    fabric.on('port-up', (e) => note(e, { state: 'up' }))
    server.serve({
      fabric,
      reload: (file) => this.reload(file),
      capture: async (port, snapLen) => {
        const source = await fabric.capture(port, { snapLen })
        try {
          return captureFeed(source, captureEncoder(source, snapLen))
        } catch (error) {
          await source.close()
          throw error
        }
      },
    })
  }

  /**
   * @param signal ends it in the middle
   * @param created gets the namespaces that are made
   * @throws ConfigError, PrivilegeError, SocketError, or what the kernel refused; nothing is left then
   */
  static async start(options: DaemonOptions, signal?: AbortSignal, created?: string[]): Promise<Daemon> {
    const { file, socket, log } = options
    const config = loadConfig(file)
    requireCapabilities(config)
    const server = new ControlServer(log)
    try {
      await server.listen(socket)
      checkSystem(config)
      const fabric = await Fabric.open(config, { log, configFile: resolve(file), signal, created })
      return new Daemon(options, fabric, server)
    } catch (error) {
      await server.close()
      throw error
    }
  }

  /** Loads the file again, or another one, and applies the difference. Returns a line per change. */
  reload(file = this.options.file): Promise<string[]> {
    const work = this.turn.then(async () => {
      const next = loadConfig(file)
      requireCapabilities(next)
      checkSystem(next, this.fabric.config)
      const changes = await this.fabric.apply(next)
      this.options.log.info(
        { file, changes },
        changes.length === 0 ? 'reloaded: nothing changed' : 'reloaded',
      )
      return changes
    })
    this.turn = work.catch(() => {})
    return work
  }

  /** Removes exactly what was created. Safe to call twice. */
  close(): Promise<void> {
    this.closing ??= this.closeOnce()
    return this.closing
  }

  private async closeOnce(): Promise<void> {
    await this.turn
    this.portLog.close()
    try {
      await this.server.close()
    } finally {
      await this.fabric.close()
    }
  }

  private logPort(port: string, event: PortEvent, leftOut: number): void {
    const { state, errno, reason } = event
    const fields = { port, state, errno, reason, ...(leftOut > 0 ? { leftOut } : {}) }
    if (state === 'up') this.options.log.info(fields, `port ${port} is up`)
    else this.options.log.warn(fields, `port ${port} is down: ${reason}`)
  }
}

export interface RunOptions extends DaemonOptions {
  /**
   * Called once traffic flows. A number ends the daemon with that exit code; nothing lets it run until
   * a signal comes. `ended` is aborted by that signal.
   */
  ready(daemon: Daemon, ended: AbortSignal): Promise<number | undefined> | number | undefined
}

const ENDING = ['SIGINT', 'SIGTERM'] as const
const UNEXPECTED = ['uncaughtException', 'unhandledRejection'] as const

/** Runs a daemon with signals to its exit code. @throws what Daemon.start throws */
export async function runDaemon(options: RunOptions): Promise<number> {
  const { log } = options
  const ended = new AbortController()
  const created: string[] = []
  let daemon: Daemon | null = null
  /** An exit code that outweighs what `ready` said. */
  let forced: number | null = null
  let signals = 0
  const end = (signal: string): void => {
    signals++
    if (signals === 1) {
      log.info({ signal }, 'ending')
      ended.abort()
    } else if (signals === 2) log.warn({ signal }, 'cleaning up, please wait; a third signal ends at once')
    else {
      log.error({ signal }, `ending at once; ${leftText(created, options.socket)}`)
      process.exit(1)
    }
  }
  const crash = (error: unknown): void => {
    log.fatal({ err: error }, 'an error nobody expected: ending')
    forced = 1
    ended.abort()
  }
  const hangup = (): void => {
    if (daemon === null) return
    daemon.reload().catch((error) => log.error({ code: error.code }, `reload refused: ${error.message}`))
  }
  for (const signal of ENDING) process.on(signal, end)
  process.on('SIGHUP', hangup)
  for (const event of UNEXPECTED) process.on(event, crash)
  try {
    daemon = await Daemon.start(options, ended.signal, created)
    daemon.fabric.on('failed', crash)
    const code = ended.signal.aborted ? 0 : await untilDone(options, daemon, ended.signal)
    await daemon.close()
    log.info({}, 'everything that was created is removed')
    return forced ?? code
  } catch (error) {
    await daemon?.close().catch((e) => log.error({ err: e }, 'could not remove everything'))
    if (daemon !== null || !ended.signal.aborted || error !== ended.signal.reason) throw error
    log.info({}, 'ended while starting; everything that was created is removed')
    return forced ?? 0
  } finally {
    for (const signal of ENDING) process.off(signal, end)
    process.off('SIGHUP', hangup)
    for (const event of UNEXPECTED) process.off(event, crash)
  }
}

/** What nobody removes any more. Devices go with the process that holds them. */
function leftText(created: string[], socket: string): string {
  const namespaces = created.filter(namespaceExists).map((name) => `namespace ${name}`)
  const left = [...namespaces, ...(existsSync(socket) ? [`socket ${socket}`] : [])]
  return left.length === 0 ? 'nothing is left behind' : `left behind: ${left.join(', ')}`
}

/** The exit code that `ready` gives, or 0 when a signal comes first. */
async function untilDone(options: RunOptions, daemon: Daemon, ended: AbortSignal): Promise<number> {
  const signalled = new Promise<number>((resolve) => {
    ended.addEventListener('abort', () => resolve(0), { once: true })
  })
  const asked = Promise.resolve(options.ready(daemon, ended)).then((code) => code ?? signalled)
  return Promise.race([asked, signalled])
}
