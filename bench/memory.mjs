/**
 * Memory of `taploom up` under traffic: resident size after start, then once a second while TCP and
 * small packets pass in turn, and the slope of the second half by least squares. Judges nothing.
 *
 *     node bench/memory.mjs [--seconds 20 | --hours N] [--mbps N] [--cli FILE] [--json FILE]
 *
 * With --mbps it leaves the machine usable: TCP at that rate, and a hundred small packets a second for each of
 * its megabits. Needs root. Wanted: below 120 MB after start, flat over an hour (`--hours 1`).
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { saturate, shot, tcp } from './lib/figures.mjs'
import { Lab } from './lib/lab.mjs'
import { describe, machine } from './lib/machine.mjs'
import { note, runMain, usage } from './lib/process.mjs'
import { resultFile, writeJson } from './lib/results.mjs'
import { obstacle, ROOT, taploom } from './lib/subjects.mjs'

/** Longest stretch of one kind of traffic. */
const STRETCH_S = 10
const START_MB = 120

function residentMB(pid) {
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return (Number(line[1]) * 1024) / 1e6
}

/** MB per hour of the straight line that fits best. */
function slopePerHour(samples) {
  const n = samples.length
  const mean = (key) => samples.reduce((sum, s) => sum + s[key], 0) / n
  const [t0, m0] = [mean('s'), mean('mb')]
  let up = 0
  let down = 0
  for (const { s, mb } of samples) {
    up += (s - t0) * (mb - m0)
    down += (s - t0) ** 2
  }
  return down > 0 ? (up / down) * 3600 : 0
}

/** The document of one run. */
export async function memory({ seconds, mbps = 0, cli = `${ROOT}dist/cli.js` }) {
  const why = obstacle()
  if (why !== null) throw usage(`the memory benchmark cannot run: ${why}`)
  const subject = taploom('taploom', cli)
  const missing = subject.missing()
  if (missing !== null) throw usage(missing)
  const facts = machine()
  const lab = new Lab('memory')
  await subject.up(lab)
  await lab.reachable()
  const [pid] = lab.pids
  const startMB = residentMB(pid)
  note(`after start: ${startMB.toFixed(1)} MB`)
  const samples = []
  const began = Date.now()
  const elapsed = () => (Date.now() - began) / 1000
  const timer = setInterval(() => samples.push({ s: elapsed(), mb: residentMB(pid) }), 1000)
  try {
    for (let turn = 0; elapsed() < seconds; turn++) {
      const stretch = Math.max(1, Math.min(STRETCH_S, Math.round((seconds - elapsed()) / 2)))
      if (turn % 2 === 0) await tcp(lab, 1, stretch, mbps)
      else await (mbps > 0 ? shot(lab, stretch, mbps * 100) : saturate(lab, stretch))
      note(`${elapsed().toFixed(0)} of ${seconds} s: ${residentMB(pid).toFixed(1)} MB`)
    }
  } finally {
    clearInterval(timer)
  }
  const endMB = residentMB(pid)
  await lab.down()
  const settled = samples.slice(samples.length >> 1)
  const peakMB = Math.max(startMB, endMB, ...samples.map((s) => s.mb))
  return { machine: facts, seconds, startMB, peakMB, endMB, slopeMBPerHour: slopePerHour(settled), samples }
}

export function memoryReport(document) {
  const { seconds, startMB, peakMB, endMB, slopeMBPerHour } = document
  return [
    `Resident memory of taploom over ${seconds.toFixed(0)} s of traffic:`,
    '',
    `  after start   ${startMB.toFixed(1)} MB   (below ${START_MB}: ${startMB < START_MB ? 'met' : 'not met'})`,
    `  peak, end     ${peakMB.toFixed(1)}, ${endMB.toFixed(1)} MB`,
    `  slope         ${slopeMBPerHour.toFixed(1)} MB/h over the second half` +
      (seconds < 600 ? ' (of little meaning in so short a run)' : ''),
  ].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runMain(async () => {
    let values
    try {
      const text = { type: 'string' }
      ;({ values } = parseArgs({
        options: { seconds: text, hours: text, cli: text, json: text, mbps: text },
      }))
    } catch (error) {
      throw usage(error.message)
    }
    const seconds = values.hours !== undefined ? Number(values.hours) * 3600 : Number(values.seconds ?? 20)
    if (!(seconds > 0)) throw usage('--seconds and --hours need a number above 0')
    const document = await memory({ seconds, mbps: Number(values.mbps ?? 0), cli: values.cli })
    const file = values.json ?? resultFile('memory')
    writeJson(file, document)
    process.stdout.write(`${describe(document.machine)}\n\n${memoryReport(document)}\n`)
    note(`\nwritten: ${file}`)
  })
}
