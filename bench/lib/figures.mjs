/**
 * The figures, one function each: it loads the lab's subject and returns numbers. The load tools run in
 * the lab's namespaces; the subject's CPU time is read from /proc around the load, threads included.
 */
import { readFileSync } from 'node:fs'
import { DEVICE } from './lab.mjs'
import { output, said, sh, sleep, start, stop } from './process.mjs'
import { LOAD } from './subjects.mjs'

/** The kernel's clock ticks per second in /proc/PID/stat. */
const TICKS = Number(sh('getconf', 'CLK_TCK'))
const LOSS_ALLOWED = 0.005
const SEARCH_STEPS = 6
const SEARCH_SHOT_S = 0.4

/** [user, system] seconds of the processes since they began. */
export function cpuOf(pids) {
  let user = 0
  let system = 0
  for (const pid of pids) {
    // The name, in parentheses, may contain anything; fields are counted from behind it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    user += Number(fields[11]) / TICKS
    system += Number(fields[12]) / TICKS
  }
  return [user, system]
}

/** Seconds all cores have worked since the machine began, whoever for. */
function machineBusy() {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return (user + nice + system + irq + softirq) / TICKS
}

const inNamespace = (namespace, command, args) => ['ip', ['netns', 'exec', namespace, command, ...args]]

/** TCP: payload at the receiver, Gb/s, and what it cost the subject. */
export async function tcp(lab, streams, seconds, mbps = 0) {
  const port = lab.port()
  const server = start(...inNamespace(lab.server, 'iperf3', ['-s', '-1', '-p', `${port}`, '--forceflush']))
  try {
    await said(server, /listening/i)
    const [before, busy] = [cpuOf(lab.pids), machineBusy()]
    const args = [
      '-c',
      lab.target,
      '-p',
      `${port}`,
      '-t',
      `${seconds}`,
      '-P',
      `${streams}`,
      '-C',
      'cubic',
      '-J',
    ]
    if (mbps > 0) args.push('-b', `${mbps}M`)
    const report = JSON.parse(await output(...inNamespace(lab.client, 'iperf3', args), (seconds + 15) * 1000))
    const [after, busyAfter] = [cpuOf(lab.pids), machineBusy()]
    const received = report.end.sum_received
    const [user, system] = [after[0] - before[0], after[1] - before[1]]
    const cpu = lab.pids.length > 0 && user + system > 0
    return {
      gbps: received.bits_per_second / 1e9,
      cpuSecondsPerGB: cpu ? (user + system) / (received.bytes / 1e9) : null,
      machineSecondsPerGB: (busyAfter - busy) / (received.bytes / 1e9),
      userShare: cpu ? user / (user + system) : null,
      retransmits: report.end.sum_sent.retransmits,
    }
  } finally {
    await stop(server)
  }
}

/** One burst of small datagrams: what was sent and what arrived. */
export async function shot(lab, seconds, pps) {
  const port = `${lab.port()}`
  const sink = start(...inNamespace(lab.server, LOAD, ['sink', lab.target, port]))
  try {
    await sleep(80)
    const args = ['blast', lab.target, port, `${seconds}`, `${pps}`]
    const sent = JSON.parse(await output(...inNamespace(lab.client, LOAD, args), seconds * 1000 + 10000))
    await sink.ended
    return { sent, got: JSON.parse(sink.stdout) }
  } finally {
    await stop(sink)
  }
}

/** Packets per second that arrive while the sender never waits. */
export async function saturate(lab, seconds) {
  const before = cpuOf(lab.pids)
  const { got } = await shot(lab, seconds, 0)
  const after = cpuOf(lab.pids)
  const used = after[0] + after[1] - before[0] - before[1]
  return {
    kpps: got.pps / 1e3,
    cpuUsPerPacket: lab.pids.length > 0 && got.received > 0 ? (used * 1e6) / got.received : null,
  }
}

/** Ports of the server that new flows go to: with 64512 source ports each, more flows than a shot has packets. */
const FLOW_PORTS = 16

/** Datagrams per second that arrive when each begins a flow and the sender never waits. */
export async function newFlows(lab, seconds) {
  const port = `${lab.port(FLOW_PORTS)}`
  const sink = start(...inNamespace(lab.server, LOAD, ['sink', lab.target, port, '250', `${FLOW_PORTS}`]))
  try {
    await sleep(80)
    const args = ['flows', lab.target, port, `${seconds}`, `${FLOW_PORTS}`]
    await output(...inNamespace(lab.client, LOAD, args), seconds * 1000 + 10000)
    await sink.ended
    const { received, pps } = JSON.parse(sink.stdout)
    if (received === 0) throw new Error(`${lab.name}: no packet of a new flow arrived`)
    return { pps }
  } finally {
    await stop(sink)
  }
}

/** The highest offered rate of which at most 0.5 % is lost, by halving. */
export async function lossless(lab) {
  const first = await shot(lab, SEARCH_SHOT_S, 0)
  let low = 0
  let high = Math.max(2000, Math.min(first.got.pps * 1.5, first.sent.pps))
  let best = 0
  for (let step = 0; step < SEARCH_STEPS; step++) {
    const offered = Math.round(step === 0 ? high : (low + high) / 2)
    const { sent, got } = await shot(lab, SEARCH_SHOT_S, offered)
    if (got.received >= (1 - LOSS_ALLOWED) * sent.sent) {
      best = Math.max(best, sent.pps)
      if (step === 0) break
      low = offered
    } else high = offered
  }
  return { kpps: best / 1e3 }
}

/** UDP request and response, one at a time, blocking sockets at both ends. */
export async function roundTrip(lab, count) {
  const port = `${lab.port()}`
  const echo = start(...inNamespace(lab.server, LOAD, ['echo', lab.target, port]))
  try {
    await sleep(100)
    const args = ['pong', lab.target, port, `${count}`]
    const { p50Us, p99Us } = JSON.parse(await output(...inNamespace(lab.client, LOAD, args), 30000))
    return { p50Us, p99Us }
  } finally {
    await stop(echo)
  }
}

/** One frame from each of `count` further addresses: the subject learns them all. How many were sent. */
export async function introduce(lab, count) {
  const args = ['macs', DEVICE, `${count}`]
  return JSON.parse(await output(...inNamespace(lab.client, LOAD, args), 120000)).sent
}

/** How many addresses taploom says it knows; null when it cannot be asked. */
export async function learned(lab) {
  try {
    const show = [lab.cli, '--socket', lab.socket, 'show', 'status', '--json']
    const status = JSON.parse(await output(process.execPath, show, 10000))
    return status.switches.reduce((sum, s) => sum + s.addresses, 0)
  } catch {
    return null
  }
}
