/**
 * A daemon on real devices, as an operator has it: `dist/cli.js up FILE --socket SOCKET` as a child
 * process, its file and socket in a directory of the test's own.
 *
 *     const place = new Place()
 *     const daemon = await place.up(place.write(yaml))      until it says ready
 *     await place.ask('show', 'ports')                      a command against it
 *     await place.close()                                   in afterEach
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CounterRow, DropRow, PortStatus } from '../../src/control/show/model.ts'
import { type Ended, Running, taploom } from './cli.ts'

export class Place {
  readonly directory = mkdtempSync(join(tmpdir(), 'tl-place-'))
  readonly socket = join(this.directory, 'control.sock')
  private readonly started: Running[] = []

  path(name: string): string {
    return join(this.directory, name)
  }

  write(text: string, name = 'fabric.yaml'): string {
    writeFileSync(this.path(name), text)
    return this.path(name)
  }

  /** Starts a command that goes on; `close` ends it at the latest. */
  start(...argv: (string | { under: string[] })[]): Running {
    const running = new Running(...argv, '--socket', this.socket)
    this.started.push(running)
    return running
  }

  /** A daemon that is ready. `under`: a command that starts it. */
  async up(file: string, ...under: string[]): Promise<Running> {
    const daemon = this.start({ under }, 'up', file, '--log-format', 'json')
    await daemon.says('ready')
    return daemon
  }

  ask(...words: string[]): Promise<Ended> {
    return taploom(...words, '--socket', this.socket)
  }

  async json<T>(...words: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.ask(...words, '--json')
    if (code !== 0) throw new Error(`taploom ${words.join(' ')}: ${stderr}`)
    return JSON.parse(stdout)
  }

  async port(name: string): Promise<PortStatus> {
    return (await this.json<PortStatus[]>('show', 'ports')).find((p) => p.name === name)!
  }

  async counters(name: string): Promise<CounterRow> {
    return (await this.json<CounterRow[]>('show', 'counters')).find((p) => p.port === name)!
  }

  /** Packets that a port dropped for this reason. */
  async dropped(name: string, reason: string): Promise<number> {
    const rows = await this.json<DropRow[]>('show', 'drops')
    return rows.find((r) => r.port === name && r.reason === reason)?.packets ?? 0
  }

  async close(): Promise<void> {
    for (const running of this.started.splice(0)) await running.kill()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
