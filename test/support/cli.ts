/** Runs dist/cli.js: to its end, or as a daemon that a test stops. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

/** `taploom(...words)`, or with variables of the environment before them. */
export async function taploom(...argv: (string | Record<string, string>)[]): Promise<Ended> {
  const words = argv.filter((word) => typeof word === 'string')
  const env = Object.assign({}, ...argv.filter((word) => typeof word === 'object'))
  return ended(launch(process.execPath, [CLI, ...words], env))
}

export function launch(command: string, args: string[], env: Record<string, string> = {}): ChildProcess {
  const { TAPLOOM_SOCKET: _, TAPLOOM_DEBUG: __, FORCE_COLOR: ___, ...own } = process.env
  return spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...own, ...env } })
}

export async function ended(child: ChildProcess): Promise<Ended> {
  const closed = once(child, 'close')
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)])
  const [code] = await closed
  return { code, stdout, stderr }
}

/** A daemon: what it has said so far, and how it ended. */
export class Running {
  stdout = ''
  stderr = ''
  readonly child: ChildProcess
  readonly exit: Promise<number | null>

  /** `new Running('up', file)`, or with a command that starts it before: `{ under: ['nsenter', ...] }`. */
  constructor(...argv: (string | { under: string[] })[]) {
    const words = argv.filter((word) => typeof word === 'string')
    const under = argv.flatMap((word) => (typeof word === 'object' ? word.under : []))
    const [command, ...args] = [...under, process.execPath, CLI, ...words]
    this.child = launch(command, args)
    this.child.stdout!.on('data', (chunk) => {
      this.stdout += chunk
    })
    this.child.stderr!.on('data', (chunk) => {
      this.stderr += chunk
    })
    this.exit = once(this.child, 'close').then(([code]) => code)
  }

  /** Until standard output has this word. @throws when it ends before */
  async says(word: string): Promise<void> {
    const output = async (): Promise<void> => {
      while (!this.stdout.includes(word)) await once(this.child.stdout!, 'data')
    }
    const gone = this.exit.then((code) => {
      throw new Error(`it ended with ${code} before it said ${word}: ${this.stderr}`)
    })
    gone.catch(() => {})
    await Promise.race([output(), gone])
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal)
    return this.exit
  }

  /** For afterEach: gone, whatever happened. */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.end('SIGKILL')
  }
}
