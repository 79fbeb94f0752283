/** The facts of the machine that a figure means nothing without. */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { sleep } from './process.mjs'

export function machine() {
  const tcp = readFileSync('/proc/sys/net/ipv4/tcp_congestion_control', 'utf8').trim()
  return {
    date: new Date().toISOString(),
    kernel: release(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGB: Math.round(totalmem() / 1e9),
    node: process.version,
    congestionControl: tcp,
    load: Number(loadavg()[0].toFixed(2)),
  }
}

export function describe(m) {
  return (
    `${m.date.slice(0, 16)}Z, kernel ${m.kernel}, ${m.cores} cores of ${m.cpu}, ${m.memoryGB} GB, node ${m.node},\n` +
    `default congestion control ${m.congestionControl} (measured with cubic), load before the start ${m.load}`
  )
}

/** Share of the cores' time in which somebody ran, over `ms`. */
async function busyShare(ms) {
  const read = () => {
    const [user, nice, system, idle, iowait, irq, softirq, steal] = cpuLine()
    return {
      busy: user + nice + system + irq + softirq + steal,
      all: user + nice + system + idle + iowait + irq + softirq + steal,
    }
  }
  const before = read()
  await sleep(ms)
  const after = read()
  return (after.busy - before.busy) / Math.max(1, after.all - before.all)
}

const SAMPLE_MS = 200
const QUIET = 0.2

/** Waits until the machine is idle, but at most so long. True if it was. */
export async function quiet(patienceS) {
  const until = Date.now() + patienceS * 1000
  while ((await busyShare(SAMPLE_MS)) > QUIET) if (Date.now() >= until) return false
  return true
}

const cpuLine = () =>
  readFileSync('/proc/stat', 'utf8').split('\n')[0].trim().split(/\s+/).slice(1).map(Number)

/** Seconds a hypervisor kept the machine's cores from running, since boot. */
export function stealSeconds() {
  return cpuLine()[7] / 100
}
