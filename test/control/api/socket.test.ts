/** One daemon per control socket; what lies at its path otherwise. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createRaw } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { AlreadyRunning, claimSocket, PID_HEADER, probe } from '../../../src/control/api/socket.ts'

let directory: string
let path: string
const open: { close(): void }[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tl-socket-'))
  path = join(directory, 'control.sock')
})
afterEach(() => {
  for (const server of open.splice(0)) server.close()
  rmSync(directory, { recursive: true, force: true })
})

function newServer(): Server {
  const server = createServer((_, res) => res.setHeader(PID_HEADER, process.pid).end())
  open.push(server)
  return server
}

/** A socket whose daemon was killed. */
async function leaveStale(): Promise<void> {
  const child = join(directory, 'child.cjs')
  writeFileSync(child, "require('node:net').createServer().listen(process.argv[2], () => process.send('up'))")
  const process = fork(child, [path])
  await once(process, 'message')
  process.kill('SIGKILL')
  await once(process, 'exit')
  expect(existsSync(path)).toBe(true)
}

it('is mode 0660 in directories of mode 0755 whatever the umask, which stays as it was', async () => {
  const deep = join(directory, 'run', 'taploom', 'control.sock')
  const before = process.umask(0o077)
  try {
    await claimSocket(newServer(), deep)
    expect(process.umask()).toBe(0o077)
  } finally {
    process.umask(before)
  }
  expect(statSync(deep).mode & 0o777).toBe(0o660)
  expect(statSync(join(directory, 'run', 'taploom')).mode & 0o777).toBe(0o755)
  expect(statSync(join(directory, 'run')).mode & 0o777).toBe(0o755)
})

it('takes the directories it made with it, and no others', async () => {
  mkdirSync(join(directory, 'run'))
  const server = newServer()
  const release = await claimSocket(server, join(directory, 'run', 'a', 'b', 'control.sock'))
  server.close()
  await once(server, 'close')
  release()
  expect(existsSync(join(directory, 'run', 'a'))).toBe(false)
  expect(existsSync(join(directory, 'run'))).toBe(true)
})

it('names the pid of the one who is there', async () => {
  await claimSocket(newServer(), path)
  const second = claimSocket(newServer(), path)
  await expect(second).rejects.toThrow(AlreadyRunning)
  await expect(second).rejects.toThrow(`another taploom is running on ${path} (pid ${process.pid})`)
  expect(await probe(path)).toEqual({ alive: true, pid: process.pid })
})

it('takes one who accepts and says nothing for alive', async () => {
  const mute = createRaw(() => {})
  await new Promise<void>((resolve) => mute.listen(path, resolve))
  try {
    await expect(claimSocket(newServer(), path)).rejects.toThrow(`another taploom is running on ${path}`)
  } finally {
    // The probe left it a connection, which `close` would wait for; the server dies with the test.
    mute.close()
  }
})

it('removes a stale socket silently', async () => {
  await leaveStale()
  await claimSocket(newServer(), path)
  expect(await probe(path)).toMatchObject({ alive: true })
  expect(existsSync(`${path}.lock`)).toBe(false)
})

it('gives a stale socket to one of many who want it', async () => {
  await leaveStale()
  const claims = await Promise.allSettled(Array.from({ length: 8 }, () => claimSocket(newServer(), path)))
  expect(claims.filter((c) => c.status === 'fulfilled').length).toBe(1)
  for (const c of claims) if (c.status === 'rejected') expect(c.reason).toBeInstanceOf(AlreadyRunning)
  expect(await probe(path)).toMatchObject({ alive: true })
})

it('never removes what is not a socket', async () => {
  writeFileSync(path, 'precious')
  await expect(claimSocket(newServer(), path)).rejects.toThrow(`${path} exists and is not a socket`)
  expect(statSync(path).size).toBe(8)
  expect(existsSync(`${path}.lock`)).toBe(false)
})

it('refuses a path that the kernel would cut', async () => {
  const long = join(directory, 'x'.repeat(120))
  await expect(claimSocket(newServer(), long)).rejects.toThrow('more than 107 bytes')
})

it('leaves no directory behind when it fails', async () => {
  writeFileSync(join(directory, 'file'), '')
  await expect(claimSocket(newServer(), join(directory, 'file', 'sub', 'x.sock'))).rejects.toThrow(
    'cannot create',
  )
  const long = join(directory, 'new', 'y'.repeat(60), 'z'.repeat(60))
  await expect(claimSocket(newServer(), long)).rejects.toThrow()
  expect(existsSync(join(directory, 'new'))).toBe(false)
})
