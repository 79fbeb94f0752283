/**
 * iproute2 (`ip`) for what a device gets besides the ioctls of native.ts: namespaces by name,
 * addresses and routes. A failure tells the command and what `ip` said.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { netnsPath } from '../config/netns.ts'
import type { Netns } from '../config/types.ts'

export class IpError extends Error {
  override readonly name = 'IpError'
}

function run(command: string, args: string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout)
      const said = stderr.trim() || error.message
      const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
      const why = missing ? `${command} is not installed (Debian: iproute2, util-linux)` : said
      reject(new IpError(`${[command, ...args].join(' ')}: ${why}`))
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

/** Runs lines of `ip -batch` inside the namespace; stops at the first that fails. */
export async function ipBatch(netns: Netns, lines: string[]): Promise<void> {
  if (lines.length === 0) return
  const path = netnsPath(netns)
  const [command, ...prefix] = path === '' ? ['ip'] : ['nsenter', `--net=${path}`, 'ip']
  try {
    await run(command, [...prefix, '-batch', '-'], `${lines.join('\n')}\n`)
  } catch (error) {
    // `ip` names the line it stopped at: "Command failed -:2".
    const line = Number(/Command failed -:(\d+)/.exec((error as Error).message)?.[1])
    const which = line ? `ip ${lines[line - 1]}` : 'ip'
    const said = (error as Error).message.split('\n').find((l) => /Error|answers|RTNETLINK/.test(l))
    throw new IpError(
      `${which}${netns ? ` (in namespace ${netns})` : ''}: ${said ?? (error as Error).message}`,
    )
  }
}

export const namespaceExists = (name: string): boolean => existsSync(netnsPath(name))

export async function addNamespace(name: string): Promise<void> {
  await run('ip', ['netns', 'add', name])
  await run('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
}

export async function deleteNamespace(name: string): Promise<void> {
  await run('ip', ['netns', 'delete', name])
}

/** The lines that give a device its addresses and default gateways. */
export function addressLines(name: string, addresses: string[], gateways: string[]): string[] {
  const lines = addresses.map((a) => `addr add ${a} dev ${name}${a.includes(':') ? ' nodad' : ''}`)
  for (const g of gateways)
    lines.push(`route add ${g.includes(':') ? '::/0' : '0.0.0.0/0'} via ${g} dev ${name}`)
  return lines
}
