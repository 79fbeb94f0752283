/**
 * Traffic for the demo: programs run inside the namespaces. ping and ip as Debian has them; TCP by
 * iperf3 where it is installed (with cubic: BBR paces, and would measure the pacing), else by two Node
 * processes.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { netnsPath } from '../config/netns.ts'
import type { Netns } from '../config/types.ts'

interface Ended {
  code: number
  stdout: string
  stderr: string
}

const inside = (netns: Netns, argv: string[]): string[] => ['nsenter', `--net=${netnsPath(netns)}`, ...argv]

/** Runs to its end, within `timeoutMs`. Only a program that cannot start throws. */
function run([file, ...args]: string[], ended: AbortSignal, timeoutMs = 15_000): Promise<Ended> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: timeoutMs, signal: ended }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number' && !error.killed) reject(error)
      else resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr })
    })
  })
}

function installed(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const DAD_POLL_MS = 100
const DAD_MS = 5000

/** Waits until no IPv6 address is tentative any more: until then it does not answer (RFC 4862 5.4). */
export async function settled(hosts: { netns: Netns }[], ended: AbortSignal): Promise<void> {
  for (const tool of ['ping', 'ip']) {
    if (!installed(tool))
      throw new Error(`${tool} is not installed (Debian: apt install iputils-ping iproute2)`)
  }
  for (let waited = 0; waited < DAD_MS; waited += DAD_POLL_MS) {
    const lists = await Promise.all(
      hosts.map(({ netns }) => run(inside(netns, ['ip', '-6', 'addr', 'show', 'tentative']), ended)),
    )
    if (lists.every(({ stdout }) => stdout.trim() === '')) return
    await sleep(DAD_POLL_MS, undefined, { signal: ended })
  }
}

export async function ping(
  netns: Netns,
  address: string,
  count: number,
  ended: AbortSignal,
): Promise<{ received: number; averageMs: number }> {
  const argv = ['ping', '-n', '-c', `${count}`, '-i', '0.1', '-W', '1', address]
  const { stdout, stderr } = await run(inside(netns, argv), ended)
  const received = /(\d+) received/.exec(stdout)
  if (received === null) throw new Error(`ping ${address}: ${stderr.trim() || stdout.trim()}`)
  const average = /= [\d.]+\/([\d.]+)\//.exec(stdout)
  return { received: Number(received[1]), averageMs: Number(average?.[1] ?? Number.NaN) }
}

export interface Transfer {
  gbps: number
  seconds: number
  tool: string
}

const TCP_SECONDS = 2
const PORT = 5201

export function transfer(from: Netns, to: Netns, address: string, ended: AbortSignal): Promise<Transfer> {
  return installed('iperf3') ? byIperf(from, to, address, ended) : byNode(from, to, address, ended)
}

async function byIperf(from: Netns, to: Netns, address: string, ended: AbortSignal): Promise<Transfer> {
  // --forceflush: its first line says that it listens, and must not stay in a buffer.
  const server = start(
    inside(to, ['iperf3', '-s', '-1', '-B', address, '-p', `${PORT}`, '--forceflush']),
    ended,
  )
  try {
    await firstOutput(server)
    const argv = ['iperf3', '-c', address, '-p', `${PORT}`, '-t', `${TCP_SECONDS}`, '-J']
    const cubic = await run(inside(from, [...argv, '-C', 'cubic']), ended)
    const { end, error } = JSON.parse(cubic.stdout)
    if (error) throw new Error(`iperf3: ${error}`)
    const { bits_per_second: bps, seconds } = end.sum_received
    return { gbps: bps / 1e9, seconds, tool: 'iperf3 -C cubic' }
  } finally {
    await stop(server)
  }
}

/** Counts until the sender closes, then prints bytes and seconds. */
const RECEIVER = `
let bytes = 0, start = 0
require('node:net').createServer((socket) => {
  start = performance.now()
  socket.on('data', (chunk) => { bytes += chunk.length })
  socket.on('close', () => {
    console.log(JSON.stringify({ bytes, seconds: (performance.now() - start) / 1000 }))
    process.exit()
  })
}).listen(${PORT}, process.argv[1], () => console.log('listening'))`

const SENDER = `
const socket = require('node:net').connect(${PORT}, process.argv[1])
const chunk = Buffer.alloc(1 << 20)
const end = performance.now() + ${TCP_SECONDS * 1000}
const send = () => {
  while (performance.now() < end) if (!socket.write(chunk)) return void socket.once('drain', send)
  socket.end()
}
socket.on('connect', send)`

async function byNode(from: Netns, to: Netns, address: string, ended: AbortSignal): Promise<Transfer> {
  const server = start(inside(to, [process.execPath, '-e', RECEIVER, address]), ended)
  let said = ''
  server.stdout?.on('data', (chunk) => {
    said += chunk
  })
  try {
    await firstOutput(server)
    const { code, stderr } = await run(inside(from, [process.execPath, '-e', SENDER, address]), ended)
    if (code !== 0) throw new Error(`the sender failed: ${stderr.trim()}`)
    if (server.exitCode === null) await once(server, 'close')
    const { bytes, seconds } = JSON.parse(said.split('\n')[1])
    return { gbps: (bytes * 8) / seconds / 1e9, seconds, tool: 'two Node processes' }
  } finally {
    await stop(server)
  }
}

function start([file, ...args]: string[], ended: AbortSignal): ChildProcess {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], signal: ended })
  // An abort is reported by whoever waits for the other end.
  child.on('error', () => {})
  return child
}

async function firstOutput(child: ChildProcess): Promise<void> {
  let stderr = ''
  child.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  const output = once(child.stdout!, 'data')
  const gone = once(child, 'close').then(() => {
    throw new Error(`the server ended before it listened: ${stderr.trim()}`)
  })
  await Promise.race([output, gone])
  gone.catch(() => {})
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const closed = once(child, 'close')
  child.kill()
  await closed
}
