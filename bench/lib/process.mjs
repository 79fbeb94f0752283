/**
 * Processes and what must be undone. Everything started here is known by its child object and ended by
 * its pid; everything built (namespaces, files) leaves a note how to remove it. `finish` undoes all of
 * it, last first, and is called on the normal way out, on a failure and on a signal alike.
 */
import { execFileSync, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'

const STOP_MS = 3000
const children = new Set()
const undo = []
let finished = null

/** Adds a clean-up step. Returns a function that does it now instead. */
export function later(step) {
  undo.push(step)
  return async () => {
    const at = undo.indexOf(step)
    if (at < 0) return
    undo.splice(at, 1)
    await step()
  }
}

export function finish() {
  finished ??= (async () => {
    await Promise.all([...children].map(stop))
    while (undo.length > 0) {
      try {
        await undo.pop()()
      } catch (error) {
        note(`clean-up: ${error.message}`)
      }
    }
  })()
  return finished
}

/** Runs `main`, undoes everything, and exits: 0, 1 on a failure, 128 + n on a signal, 2 on wrong usage. */
export async function runMain(main) {
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ]) {
    process.on(signal, async () => {
      await finish()
      process.exit(128 + number)
    })
  }
  let code = 0
  try {
    await main()
  } catch (error) {
    // After a signal everything fails on its way down; only the first cause is of interest.
    if (finished === null) process.stderr.write(`bench: ${error.usage ? error.message : error.stack}\n`)
    code = error.usage ? 2 : 1
  }
  await finish()
  process.exitCode = code
}

export function usage(message) {
  return Object.assign(new Error(message), { usage: true })
}

export function note(text) {
  process.stderr.write(`${text}\n`)
}

export function sleep(ms) {
  return new Promise((done) => setTimeout(done, ms))
}

/** Runs a short command to its end, throwing with what it said. */
export function sh(command, ...args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    throw new Error(`${command} ${args.join(' ')}: ${(error.stderr || error.message).trim()}`)
  }
}

export function has(command) {
  return (process.env.PATH ?? '')
    .split(':')
    .concat('/usr/sbin', '/sbin')
    .some((dir) => {
      try {
        accessSync(`${dir}/${command}`, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/**
 * Starts a process. `output` collects what it says on both streams, `stdout` on the first alone;
 * `ended` is its exit code.
 */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  const handle = { child, pid: child.pid, stdout: '', output: '', name: command }
  children.add(handle)
  const hear = (stream) => (chunk) => {
    handle.output += chunk
    if (stream === 'out') handle.stdout += chunk
    handle.onOutput?.()
  }
  child.stdout.on('data', hear('out'))
  child.stderr.on('data', hear('err'))
  handle.ended = new Promise((done) => {
    const end = (code) => {
      children.delete(handle)
      done(code)
      handle.onOutput?.()
    }
    child.on('error', (error) => {
      handle.output += error.message
      end(-1)
    })
    child.on('close', (code, signal) => end(code ?? signal))
  })
  handle.ended.then((code) => (handle.code = code))
  return handle
}

/** Waits until the process has said `pattern` on standard output; throws when it ends first or takes too long. */
export async function said(handle, pattern, timeoutMs = 10000) {
  const until = Date.now() + timeoutMs
  while (!pattern.test(handle.stdout)) {
    if (handle.code !== undefined)
      throw new Error(`${handle.name} ended (${handle.code}): ${handle.output.trim()}`)
    const left = until - Date.now()
    if (left <= 0) throw new Error(`${handle.name} did not get ready: ${handle.output.trim()}`)
    await Promise.race([sleep(left), new Promise((done) => (handle.onOutput = done))])
  }
}

export async function stop(handle) {
  if (!handle || handle.code !== undefined) return
  handle.child.kill('SIGTERM')
  const timer = setTimeout(() => handle.child.kill('SIGKILL'), STOP_MS)
  await handle.ended
  clearTimeout(timer)
}

/** Runs a process to its end and returns what it wrote to standard output; throws unless it exits 0. */
export async function output(command, args, timeoutMs) {
  const handle = start(command, args)
  const timer = setTimeout(() => handle.child.kill('SIGKILL'), timeoutMs)
  const code = await handle.ended
  clearTimeout(timer)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} (${code}): ${handle.output.trim()}`)
  return handle.stdout
}
