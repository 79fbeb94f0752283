/**
 * Logs: pino, to standard error, so that standard output keeps to its one line. JSON for machines,
 * pino-pretty in front of a terminal. Written synchronously: there are few lines (never one per
 * packet), and the last one before an exit is the one that matters.
 */
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import type { LogFormat, LogLevel } from './log-options.ts'

export type { Logger }

const STDERR = 2

/** `auto`: pretty on a terminal, else JSON. `fd`: where to, standard error unless told. */
export function createLog(options: { level?: LogLevel; format?: LogFormat; fd?: number } = {}): Logger {
  const { level = 'info', format = 'auto', fd = STDERR } = options
  const terminal = fd === STDERR && process.stderr.isTTY === true
  if (format === 'json' || (format === 'auto' && !terminal)) {
    const settings = {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label: string) => ({ level: label }) },
    }
    return pino(settings, pino.destination({ dest: fd, sync: true }))
  }
  const stream = pretty({
    destination: fd,
    sync: true,
    colorize: terminal && !process.env.NO_COLOR,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname',
  })
  return pino({ level }, stream)
}

const SECOND_MS = 1000

/**
 * Port events, at most one line a second per port: a flapping port must not fill a disk. What comes
 * too soon is kept; after the second the latest state is written, with how many were left out, so
 * the last line about a port is always true.
 */
export class PortLog {
  private readonly write: (port: string, event: PortEvent, leftOut: number) => void
  private readonly ports = new Map<
    string,
    { nextMs: number; leftOut: number; timer: NodeJS.Timeout | null; last: PortEvent }
  >()

  constructor(write: (port: string, event: PortEvent, leftOut: number) => void) {
    this.write = write
  }

  note(port: string, event: PortEvent, nowMs: number): void {
    const seen = this.ports.get(port)
    if (seen === undefined || (nowMs >= seen.nextMs && seen.timer === null)) {
      this.ports.set(port, { nextMs: nowMs + SECOND_MS, leftOut: 0, timer: null, last: event })
      this.write(port, event, 0)
      return
    }
    seen.last = event
    seen.leftOut++
    seen.timer ??= setTimeout(() => this.flush(port), seen.nextMs - nowMs).unref()
  }

  /** Writes what is still kept. */
  close(): void {
    for (const [port, { timer }] of this.ports) {
      if (timer === null) continue
      clearTimeout(timer)
      this.flush(port)
    }
    this.ports.clear()
  }

  private flush(port: string): void {
    const seen = this.ports.get(port)
    if (seen === undefined) return
    seen.timer = null
    seen.nextMs += SECOND_MS
    // The event about to be written is not one of those left out.
    this.write(port, seen.last, seen.leftOut - 1)
    seen.leftOut = 0
  }
}

export interface PortEvent {
  state: 'up' | 'down'
  errno?: number
  reason?: string
}
