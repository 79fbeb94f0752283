/**
 * Network namespaces of a test: names nobody else has, commands inside them, and nothing left behind,
 * whatever happens. Needs root; `lacking` says what is missing, for `test.skipIf`.
 *
 *     const lab = new NetLab()
 *     const web = lab.add('web')                    tl-<pid>-<random>-web
 *     lab.ip(web, 'link set lo up')
 *     lab.run(web, 'ping', '-c', '1', '10.0.0.2')
 *     lab.close()                                   in afterEach or afterAll
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'

function missing(): string | null {
  if (process.getuid?.() !== 0) return 'needs root: network namespaces'
  if (!existsSync('/dev/net/tun')) return 'needs /dev/net/tun'
  if (spawnSync('ip', ['-V']).status !== 0) return 'needs iproute2'
  const probe = `tl-${process.pid}-${randomBytes(3).toString('hex')}`
  if (spawnSync('ip', ['netns', 'add', probe]).status !== 0) return 'may not create network namespaces'
  spawnSync('ip', ['netns', 'del', probe])
  return null
}

/** What a test with real devices lacks here, or null: put it in the name of a skipped test. */
export const lacking: string | null = missing()

// Ctrl-C: nobody's afterAll is called then, but what is told at the exit still happens.
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(code))

export class NetLab {
  private readonly prefix = `tl-${process.pid}-${randomBytes(3).toString('hex')}`
  private readonly namespaces: string[] = []
  private readonly children = new Set<ChildProcess>()
  private readonly atExit = (): void => this.close()

  constructor() {
    process.once('exit', this.atExit)
  }

  /** Creates a namespace and returns its name. IPv6 is off in it, so that nothing speaks unasked. */
  add(name: string, options: { ipv6?: boolean } = {}): string {
    const full = `${this.prefix}-${name}`
    execFileSync('ip', ['netns', 'add', full], { stdio: 'pipe' })
    this.namespaces.push(full)
    if (!options.ipv6) {
      this.run(
        full,
        'sysctl',
        '-q',
        '-w',
        'net.ipv6.conf.all.disable_ipv6=1',
        'net.ipv6.conf.default.disable_ipv6=1',
      )
    }
    this.ip(full, 'link set lo up')
    return full
  }

  /** Path of a namespace's file, as src/native.ts wants it. */
  path(namespace: string): string {
    return `/run/netns/${namespace}`
  }

  /** `ip` in a namespace, arguments separated by blanks. Throws with what it said. */
  ip(namespace: string, args: string): string {
    return execFileSync('ip', ['-n', namespace, ...args.split(' ')], { encoding: 'utf8', stdio: 'pipe' })
  }

  /** A command in a namespace; its output. Throws when it fails. */
  run(namespace: string, ...command: string[]): string {
    return execFileSync('nsenter', [`--net=${this.path(namespace)}`, ...command], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
  }

  /** True when the command ends with 0. */
  ok(namespace: string, ...command: string[]): boolean {
    return (
      spawnSync('nsenter', [`--net=${this.path(namespace)}`, ...command], { stdio: 'ignore' }).status === 0
    )
  }

  /** A command that goes on; stopped by `close` at the latest. */
  start(namespace: string, ...command: string[]): ChildProcess {
    const child = spawn('nsenter', [`--net=${this.path(namespace)}`, ...command], { stdio: 'pipe' })
    this.children.add(child)
    child.once('exit', () => this.children.delete(child))
    return child
  }

  /** Removes one namespace now. */
  remove(namespace: string): void {
    const at = this.namespaces.indexOf(namespace)
    if (at >= 0) this.namespaces.splice(at, 1)
    execFileSync('ip', ['netns', 'del', namespace], { stdio: 'pipe' })
  }

  /** Stops what was started and removes every namespace. Can be called twice. */
  close(): void {
    process.removeListener('exit', this.atExit)
    for (const child of this.children) child.kill('SIGKILL')
    for (const namespace of this.namespaces.splice(0)) spawnSync('ip', ['netns', 'del', namespace])
  }
}
