/**
 * How a command ends: 0 done, 1 failed, 2 bad usage or configuration. People get a sentence on standard
 * error; the stack only with --debug or TAPLOOM_DEBUG.
 */
import { CommanderError } from 'commander'
import { ControlError } from '../control/api/client.ts'

export const DONE = 0
export const FAILED = 1
export const BAD_USAGE = 2

/** What was asked for cannot be meant. */
export class UsageError extends Error {
  override name = 'UsageError'
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return BAD_USAGE
  if (error instanceof Error && error.name === 'ConfigError') return BAD_USAGE
  if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : BAD_USAGE
  if (error instanceof ControlError && [400, 404, 422].includes(error.status)) return BAD_USAGE
  return FAILED
}

/** Tells what happened, unless commander has said it already. Returns the exit code. */
export function report(error: unknown, debug: boolean): number {
  const code = exitCodeOf(error)
  if (error instanceof CommanderError) return code
  const text = error instanceof Error ? (debug ? error.stack : error.message) : String(error)
  process.stderr.write(`taploom: ${text}\n`)
  return code
}
