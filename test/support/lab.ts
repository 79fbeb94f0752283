/** NetLab with what the tests of whole fabrics do most: pings, and commands that take a while. */
import { execFile, spawnSync } from 'node:child_process'
import { NetLab } from './netlab.ts'

export { lacking } from './netlab.ts'

/** True when the command is installed. */
export function has(command: string): boolean {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  return spawnSync('sh', ['-c', `command -v ${command}`], { env }).status === 0
}

/** Options of `ping` for requests that must come one after the other. */
export const PACED = ['-l', '1', '-i', '0.1']

export interface Result {
  code: number
  stdout: string
  stderr: string
}

export class Lab extends NetLab {
  private count = 0

  /** Several namespaces; with IPv6 only when asked. */
  spaces(count: number, options: { ipv6?: boolean } = {}): string[] {
    return Array.from({ length: count }, () => this.add(`n${this.count++}`, options))
  }

  /** Runs a command inside and waits; never throws for its exit code. */
  in(namespace: string, command: string, ...args: string[]): Promise<Result> {
    return new Promise((resolve) => {
      const options = { timeout: 30_000, maxBuffer: 16 << 20 }
      const argv = [`--net=${this.path(namespace)}`, command, ...args]
      execFile('nsenter', argv, options, (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0
        resolve({ code, stdout, stderr })
      })
    })
  }

  /**
   * Echo replies that came back, of `count` requests. Up to ten are sent at once: then ping waits two seconds for
   * all of them. Of paced ones it would wait for the last only one interval, which a busy machine needs now and then.
   */
  async ping(namespace: string, address: string, count = 1, ...options: string[]): Promise<number> {
    const pace = count <= 10 ? ['-l', `${count}`, '-i', '0.2'] : ['-i', '0.05']
    const args = ['-n', '-c', `${count}`, ...pace, '-W', '2', ...options, address]
    const { stdout } = await this.in(namespace, 'ping', ...args)
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0)
  }
}
