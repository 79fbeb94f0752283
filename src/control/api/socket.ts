/**
 * Who may listen on the control socket: one daemon per path. Binding is atomic, so the only question
 * is a path that is taken already:
 *
 *     at PATH                          so
 *     a socket, somebody answers       AlreadyRunning, with the holder's pid
 *     a socket, nobody answers         stale (its daemon was killed): removed, bound again
 *     anything else                    an error; never removed
 *
 * Two starters that both find a stale socket could remove each other's new one. So removing happens
 * under PATH.lock (created with O_EXCL, held for milliseconds), and the one who comes second finds
 * the first one alive. The mode is right from the first moment: umask is set around the bind itself,
 * which libuv does inside `listen`. Read unix(7).
 */
import { once } from 'node:events'
import { closeSync, lstatSync, mkdirSync, openSync, rmdirSync, statSync, unlinkSync } from 'node:fs'
import { request, type Server } from 'node:http'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const DEFAULT_SOCKET = '/run/taploom/control.sock'
/** Every answer carries it, so that a second daemon can say who is in its way. */
export const PID_HEADER = 'taploom-pid'
/** sun_path without its closing zero. */
const PATH_BYTES = 107
/** A lock this old was left by a process that died inside its few milliseconds. */
const LOCK_STALE_MS = 5000
const PROBE_MS = 1000
const ATTEMPTS = 40
const RETRY_MS = 50

export class SocketError extends Error {
  override name = 'SocketError'
}

export class AlreadyRunning extends SocketError {
  override name = 'AlreadyRunning'
  readonly pid: number | null

  constructor(path: string, pid: number | null) {
    super(`another taploom is running on ${path}${pid === null ? '' : ` (pid ${pid})`}`)
    this.pid = pid
  }
}

/** Makes `server` listen on `path`, mode 0660. Returns what removes the directories it had to make. */
export async function claimSocket(server: Server, path: string): Promise<() => void> {
  if (Buffer.byteLength(path) > PATH_BYTES) {
    throw new SocketError(`the socket's path has more than ${PATH_BYTES} bytes: ${path}`)
  }
  const made = makeDirectory(dirname(path))
  const release = () => removeDirectories(dirname(path), made)
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (await bind(server, path)) return release
      const holder = await probe(path)
      if (holder.alive) throw new AlreadyRunning(path, holder.pid)
      if (!(await removeStale(path))) await sleep(RETRY_MS)
    }
    throw new SocketError(`cannot listen on ${path}: it is taken, but nobody answers there`)
  } catch (error) {
    release()
    throw error
  }
}

/** True when bound, false when the path is taken. */
async function bind(server: Server, path: string): Promise<boolean> {
  const before = process.umask(0o117)
  const listening = once(server, 'listening')
  try {
    server.listen(path)
  } finally {
    process.umask(before)
  }
  try {
    await listening
    return true
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') return false
    throw new SocketError(`cannot listen on ${path}: ${explain(code, message)}`)
  }
}

/** Is there a daemon at `path`? One that accepts but does not answer in time counts as alive. */
export function probe(path: string): Promise<{ alive: boolean; pid: number | null }> {
  return new Promise((resolve) => {
    const req = request({ socketPath: path, path: '/v1/status', timeout: PROBE_MS }, (res) => {
      res.resume()
      const pid = Number(res.headers[PID_HEADER])
      resolve({ alive: true, pid: Number.isInteger(pid) && pid > 0 ? pid : null })
    })
    req.on('timeout', () => {
      resolve({ alive: true, pid: null })
      req.destroy()
    })
    req.on('error', (error: NodeJS.ErrnoException) => {
      const nobody = error.code === 'ECONNREFUSED' || error.code === 'ENOENT'
      resolve({ alive: !nobody, pid: null })
    })
    req.end()
  })
}

/** False when somebody else is at it right now, or was quicker. */
async function removeStale(path: string): Promise<boolean> {
  const lock = `${path}.lock`
  let fd: number
  try {
    fd = openSync(lock, 'wx', 0o600)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'EEXIST') throw new SocketError(`cannot create ${lock}: ${explain(code, message)}`)
    if (Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0) > LOCK_STALE_MS) quietly(lock)
    return false
  }
  try {
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found && !found.isSocket()) throw new SocketError(`${path} exists and is not a socket`)
    // Asked again, now that nobody else may remove: while the path exists, nobody can bind it.
    if (found && !(await probe(path)).alive) unlinkSync(path)
    return true
  } finally {
    closeSync(fd)
    quietly(lock)
  }
}

function makeDirectory(directory: string): string | undefined {
  const before = process.umask(0o022)
  try {
    return mkdirSync(directory, { recursive: true, mode: 0o755 })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new SocketError(`cannot create ${directory} for the control socket: ${explain(code, message)}`)
  } finally {
    process.umask(before)
  }
}

/** Removes `deepest` and what lies above it up to `first`, as far as empty. */
function removeDirectories(deepest: string, first: string | undefined): void {
  if (first === undefined) return
  try {
    for (let directory = deepest; directory.length >= first.length; directory = dirname(directory))
      rmdirSync(directory)
  } catch {
    // Somebody else has put something there: it stays.
  }
}

function explain(code: string | undefined, message: string): string {
  if (code === 'EACCES' || code === 'EPERM')
    return 'permission denied; run as root, or choose another path with --socket'
  return message
}

function quietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Gone already.
  }
}
