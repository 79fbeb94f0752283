/**
 * Leases on disk: a journal, a line of JSON per change, the last line of an address counts.
 *
 *     {"taploom":"leases","version":1}
 *     {"address":"10.0.0.5","state":"bound","mac":"02:..","clientId":"","hostName":"web","expires":"2026-..Z"}
 *
 *     append    write, fdatasync: when it returns the change survives a crash
 *     compact   the lines that count to FILE.new, fsync, rename, fsync of the directory; at every start, and
 *               when the journal has grown to a multiple of what it says
 *
 * A last line that is cut short is what a crash leaves of a change that was never told to anybody: it is
 * dropped in silence. Any other line that cannot be read means that somebody else wrote here: the file is
 * set aside as FILE.corrupt, with a warning, and what could be read is kept. FILE.lock says who has the file
 * open, by pid and start (pids come again); that of a process which is gone is taken over. Mode 0600.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { addrText } from '../wire/ipv4.ts'
import { ipv4Bits } from './address.ts'
import type { Lease, LeaseState } from './lease-table.ts'

const HEAD = { taploom: 'leases', version: 1 }
const MODE = 0o600
/** Lines beyond four per lease that a journal may have. */
const SLACK = 1024
const STATES: readonly string[] = ['bound', 'released', 'declined'] satisfies LeaseState[]

/** Files that this process has open. */
const open = new Set<string>()

export class LeaseFile {
  readonly path: string
  private fd = -1
  private lines = 0
  private records = 0

  private constructor(path: string) {
    this.path = path
  }

  /**
   * Opens the file, or makes it, with what leads to it.
   * @throws Error with a sentence: somebody else has it, or the system says no
   */
  static open(path: string, warn: (message: string) => void): { file: LeaseFile; leases: Lease[] } {
    const file = new LeaseFile(path)
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      lock(path)
    } catch (error) {
      throw new Error(`leases file ${path}: ${(error as Error).message}`)
    }
    try {
      const leases = file.load(warn)
      file.compact(leases)
      return { file, leases }
    } catch (error) {
      unlock(path)
      throw new Error(`leases file ${path}: ${(error as Error).message}`)
    }
  }

  private load(warn: (message: string) => void): Lease[] {
    if (!existsSync(this.path)) return []
    const { leases, wrong } = parseLeases(readFileSync(this.path, 'utf8'))
    if (wrong > 0) {
      const aside = `${this.path}.corrupt`
      copyFileSync(this.path, aside)
      warn(
        `leases file ${this.path}: line ${wrong} is no lease; the file is kept as ${aside}, and its ${leases.length} good leases are used`,
      )
    }
    return leases
  }

  /** @throws what the system says; then nothing may be told to a client */
  append(leases: readonly Lease[]): void {
    if (leases.length === 0) return
    const bytes = Buffer.from(leases.map(lineOf).join(''))
    let at = 0
    while (at < bytes.length) at += writeSync(this.fd, bytes, at)
    fdatasyncSync(this.fd)
    this.lines += leases.length
  }

  /** True when it is time for `compact`. */
  get long(): boolean {
    return this.lines > 4 * this.records + SLACK
  }

  /** Makes the file say this and nothing else. */
  compact(leases: readonly Lease[]): void {
    const fresh = `${this.path}.new`
    rmSync(fresh, { force: true })
    const fd = openSync(fresh, 'ax', MODE)
    try {
      const bytes = Buffer.from(`${JSON.stringify(HEAD)}\n${leases.map(lineOf).join('')}`)
      let at = 0
      while (at < bytes.length) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
      renameSync(fresh, this.path)
      syncDirectory(dirname(this.path))
    } catch (error) {
      closeSync(fd)
      throw error
    }
    if (this.fd >= 0) closeSync(this.fd)
    this.fd = fd
    this.lines = leases.length
    this.records = leases.length
  }

  close(): void {
    if (this.fd < 0) return
    closeSync(this.fd)
    this.fd = -1
    unlock(this.path)
  }
}

function lineOf({ address, state, mac, clientId, hostName, expiresMs }: Lease): string {
  const expires = new Date(expiresMs).toISOString()
  return `${JSON.stringify({ address: addrText(address | 0), state, mac, clientId, hostName, expires })}\n`
}

/** What a journal says; `wrong` is the number of the first line that says nothing, 0 = all do. */
export function parseLeases(text: string): { leases: Lease[]; wrong: number } {
  const byAddress = new Map<number, Lease>()
  const lines = text.split('\n')
  // Behind the last line end stands nothing, or a change that was not finished.
  lines.pop()
  let wrong = 0
  for (const [i, line] of lines.entries()) {
    const lease = i === 0 ? null : leaseOf(line)
    if (lease) byAddress.set(lease.address, lease)
    else if (wrong === 0 && !(i === 0 && isHead(line))) wrong = i + 1
  }
  if (lines.length === 0 && text !== '') wrong = 1
  return { leases: [...byAddress.values()], wrong }
}

function isHead(line: string): boolean {
  try {
    const { taploom, version } = JSON.parse(line)
    return taploom === HEAD.taploom && version === HEAD.version
  } catch {
    return false
  }
}

function leaseOf(line: string): Lease | null {
  let found: Record<string, unknown>
  try {
    found = JSON.parse(line)
  } catch {
    return null
  }
  if (typeof found !== 'object' || found === null) return null
  const { address, state, mac, clientId, hostName, expires } = found
  const bits = typeof address === 'string' ? ipv4Bits(address) : -1
  const expiresMs = typeof expires === 'string' ? Date.parse(expires) : Number.NaN
  const right =
    bits >= 0 &&
    typeof state === 'string' &&
    STATES.includes(state) &&
    typeof mac === 'string' &&
    /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) &&
    typeof clientId === 'string' &&
    /^([0-9a-f]{2})*$/.test(clientId) &&
    typeof hostName === 'string' &&
    Number.isFinite(expiresMs)
  return right ? { address: bits, state: state as LeaseState, mac, clientId, hostName, expiresMs } : null
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function lock(path: string): void {
  if (open.has(path)) throw new Error('it is in use by another interface')
  const name = `${path}.lock`
  for (let last = false; ; last = true) {
    try {
      const fd = openSync(name, 'wx', MODE)
      writeSync(fd, `${process.pid} ${startOf(process.pid)}\n`)
      closeSync(fd)
      break
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || last) throw error
      const [pid, start] = readFileSync(name, 'utf8').trim().split(' ')
      if (pid !== String(process.pid) && start !== '' && startOf(pid) === start)
        throw new Error(`it is in use by process ${pid}`)
      rmSync(name, { force: true })
    }
  }
  open.add(path)
}

/** When a process began, in ticks since the machine did; '' = there is none. */
export function startOf(pid: number | string): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Behind the command, which may have blanks and brackets of its own: fields 3 to 52.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return ''
  }
}

function unlock(path: string): void {
  open.delete(path)
  rmSync(`${path}.lock`, { force: true })
}
