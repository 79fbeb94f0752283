/**
 * iproute2 (`ip`) for what a device gets besides the ioctls of native.ts: namespaces by name,
 * addresses and routes. A failure tells the command and what `ip` said.
 */
import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isNamed, netnsPath } from '../config/netns.ts'
import type { Netns } from '../config/types.ts'
import { native } from '../native.ts'

export class IpError extends Error {
  override readonly name = 'IpError'
}

const TIMEOUT_MS = 20_000

/** In a session of its own: Ctrl-C is for us, who may be cleaning up with it. */
function run(command: string, args: string[], input = ''): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      detached: true,
      timeout: TIMEOUT_MS,
      stdio: ['pipe', 'ignore', 'pipe'],
    })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said += text
    })
    child.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      const why = code === 'ENOENT' ? `${command} is not installed (Debian: iproute2, util-linux)` : message
      reject(new IpError(why))
    })
    child.on('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(new IpError(said.trim() || `${command} ended with ${signal ?? code}`))
    })
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

/** Lines for `ip -batch` inside a namespace. */
export interface IpJob {
  netns: Netns
  lines: string[]
}

/**
 * Does the jobs in order and stops at the first line that fails. One shell starts all the `ip`: from a process
 * as large as ours a start takes some 10 ms, from a shell one.
 */
export async function ipBatches(jobs: IpJob[]): Promise<void> {
  const wanted = jobs.filter((job) => job.lines.length > 0)
  if (wanted.length === 0) return
  const calls = wanted.map(
    ({ netns, lines }, i) => `${ipIn(netns)} -batch - <<'END' || stop ${i}\n${lines.join('\n')}\nEND\n`,
  )
  try {
    await run('sh', ['-s'], `stop() { echo "job $1" >&2; exit 1; }\n${calls.join('')}`)
  } catch (error) {
    throw explain(wanted, (error as Error).message)
  }
}

export function ipBatch(netns: Netns, lines: string[]): Promise<void> {
  return ipBatches([{ netns, lines }])
}

/** `ip -n` takes names alone. */
function ipIn(netns: Netns): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
  if (netns === '') return 'ip'
  return isNamed(netns) ? `ip -n ${quoted(netns)}` : `nsenter --net=${quoted(netnsPath(netns))} ip`
}

function explain(jobs: IpJob[], message: string): IpError {
  const missing = /(ip|nsenter): (?:command )?not found/.exec(message)?.[1]
  if (missing) return new IpError(`${missing} is not installed (Debian: iproute2, util-linux)`)
  const { netns, lines } = jobs[Number(/^job (\d+)$/m.exec(message)?.[1] ?? 0)]
  // `ip` names the line it stopped at: "Command failed -:2".
  const line = Number(/Command failed -:(\d+)/.exec(message)?.[1])
  const which = line ? `ip ${lines[line - 1]}` : 'ip'
  const said = message.split('\n').find((l) => /Error|answers|RTNETLINK/.test(l))
  return new IpError(`${which}${netns ? ` (in namespace ${netns})` : ''}: ${said ?? message}`)
}

export const namespaceExists = (name: string): boolean => existsSync(netnsPath(name))

/** Namespaces that one `ip` makes or removes: a signal is heard between two of them. */
const AT_ONCE = 64

/** Creates them all, as far as it gets: who calls looks which are there when it fails. */
export async function addNamespaces(names: string[]): Promise<void> {
  for (let i = 0; i < names.length; i += AT_ONCE) {
    const some = names.slice(i, i + AT_ONCE)
    await ipBatch(
      '',
      some.map((name) => `netns add ${name}`),
    )
    for (const name of some) native.changeLink(netnsPath(name), 'lo', { up: true })
  }
}

/** Removes them, as far as it gets. @throws IpError that names those that are left */
export async function deleteNamespaces(names: string[]): Promise<void> {
  let failure: unknown
  for (let i = 0; i < names.length; i += AT_ONCE) {
    const lines = names.slice(i, i + AT_ONCE).map((name) => `netns delete ${name}\n`)
    await run('ip', ['-force', '-batch', '-'], lines.join('')).catch((error) => {
      failure = error
    })
  }
  const left = names.filter(namespaceExists)
  if (left.length > 0)
    throw new IpError(`left behind: namespace ${left.join(', ')} (${(failure as Error)?.message})`)
}

/** The device that has the address; '' = none, or nobody can say. */
export function deviceOf(netns: Netns, address: string): Promise<string> {
  const path = netnsPath(netns)
  const ask = ['ip', '-json', 'addr', 'show', 'to', address]
  const [command, ...args] = path === '' ? ask : ['nsenter', `--net=${path}`, ...ask]
  return new Promise((resolve) => {
    execFile(command, args, { timeout: TIMEOUT_MS }, (error, said) => {
      const links: { ifname?: string }[] = error || said.trim() === '' ? [] : JSON.parse(said)
      resolve(links.find((link) => link.ifname !== undefined)?.ifname ?? '')
    })
  })
}

/** The lines that give a device its addresses and default gateways. */
export function addressLines(name: string, addresses: string[], gateways: string[]): string[] {
  const lines = addresses.map((a) => `addr add ${a} dev ${name}${a.includes(':') ? ' nodad' : ''}`)
  for (const g of gateways)
    lines.push(`route add ${g.includes(':') ? '::/0' : '0.0.0.0/0'} via ${g} dev ${name}`)
  return lines
}
