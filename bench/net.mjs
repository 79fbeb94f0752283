/**
 * The network benchmark: two namespaces, one hop between them, one subject after the other.
 *
 *     node bench/net.mjs [--subjects relay,bridge,taploom,vde,ovs] [--rounds 3] [--seconds 3] [--quick]
 *                        [--figures tcp1,tcp4,saturated,lossless,rtt,million] [--patience 10]
 *                        [--json FILE] [--router]
 *
 * In a round every subject is up in namespaces of its own and each figure is taken of one subject after
 * the other, within seconds; the order rotates with figures and rounds. Each waits until the machine is
 * idle, --patience seconds at most; those that began beside another program are counted. NAME=FILE as a subject is
 * taploom of another build (FILE is its dist/cli.js), to compare two versions. Subjects that are not
 * installed are left out and said so. Needs root. Progress goes to standard error, the report to
 * standard output. With --router two subnets are joined by routers with NAT instead, see lib/router.mjs. See
 * bench/README.md.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { introduce, learned, lossless, newFlows, roundTrip, saturate, tcp } from './lib/figures.mjs'
import { Lab } from './lib/lab.mjs'
import { describe, machine, quiet, stealSeconds } from './lib/machine.mjs'
import { note, runMain, usage } from './lib/process.mjs'
import { print, ROUTER_TARGETS, summary } from './lib/report.mjs'
import { resultFile, writeJson } from './lib/results.mjs'
import { rulesReport, rulesRound } from './lib/router.mjs'
import { NAMES, obstacle, ROUTER_NAMES, subjectOf } from './lib/subjects.mjs'

export const NET_OPTIONS = `  --router          the router: ${ROUTER_NAMES.join(', ')}, and what rules cost the kernel and us
  --subjects LIST   of ${NAMES.join(', ')} and NAME=FILE (another build's dist/cli.js); default all
  --rounds N        default 3
  --seconds N       of TCP, default 3
  --figures LIST    of tcp1, tcp4, saturated, lossless, rtt, million (of switches), newflows (of routers); default all
  --patience N      seconds to wait for an idle machine before each measurement; default 10
  --quick           one short round of relay, bridge and taploom
  --json FILE       default bench/results/<date>.json
`

const STAGES = {
  tcp1: async (lab, o) => {
    const { gbps, cpuSecondsPerGB, machineSecondsPerGB, userShare } = await tcp(lab, 1, o.seconds)
    return { tcp1: gbps, cpu: cpuSecondsPerGB, machine: machineSecondsPerGB, user: userShare }
  },
  tcp4: async (lab, o) => ({ tcp4: (await tcp(lab, 4, o.seconds)).gbps }),
  saturated: async (lab, o) => {
    const { kpps, cpuUsPerPacket } = await saturate(lab, Math.min(o.seconds, 1.5))
    return { saturated: kpps, cpuUsPerPacket }
  },
  lossless: async (lab) => ({ lossless: (await lossless(lab)).kpps }),
  rtt: async (lab, o) => {
    const { p50Us, p99Us } = await roundTrip(lab, o.quick ? 1000 : 5000)
    return { p50: p50Us, p99: p99Us }
  },
  newflows: async (lab, o) => ({ newFlows: (await newFlows(lab, Math.min(o.seconds, 1.5))).pps / 1e3 }),
  // Last: it leaves the forwarding database full.
  million: async (lab, o) => {
    const few = await saturate(lab, o.seconds)
    const sent = await introduce(lab, o.quick ? MILLION / 10 : MILLION)
    const addresses = await learned(lab)
    if (addresses !== null && addresses < 0.99 * sent)
      note(`only ${addresses} of ${sent} addresses were learned`)
    const many = await saturate(lab, o.seconds)
    return { million: many.cpuUsPerPacket / few.cpuUsPerPacket, addresses }
  },
}

const MILLION = 1_000_000
/** What only one kind of subject is asked for. */
const ROUTERS_ONLY = ['newflows']
const SWITCHES_ONLY = ['million']

export function options(argv) {
  let values
  try {
    ;({ values } = parseArgs({
      args: argv,
      options: {
        subjects: { type: 'string' },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        figures: { type: 'string' },
        router: { type: 'boolean', default: false },
        patience: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' },
      },
    }))
  } catch (error) {
    throw usage(error.message)
  }
  const number = (text, byDefault, least, name) => {
    const value = text === undefined ? byDefault : Number(text)
    if (!(value >= least)) throw usage(`--${name} ${text}: a number of at least ${least} is needed`)
    return value
  }
  const names = values.router ? ROUTER_NAMES : NAMES
  const quickly = values.router ? 'taploom,router,nft' : 'relay,bridge,taploom'
  const named = (values.subjects ?? (values.quick ? quickly : names.join(','))).split(',')
  const notHere = values.router ? SWITCHES_ONLY : ROUTERS_ONLY
  const all = Object.keys(STAGES).filter((figure) => !notHere.includes(figure))
  const figures = values.figures?.split(',') ?? all
  for (const name of named)
    if (!subjectOf(name, values.router))
      throw usage(`no subject ${name}; there are ${names.join(', ')} and NAME=CLI_FILE`)
  for (const name of figures)
    if (!all.includes(name)) throw usage(`no figure ${name}; there are ${all.join(', ')}`)
  return {
    router: values.router,
    subjects: named.map((name) => subjectOf(name, values.router)),
    rounds: Math.round(number(values.rounds, values.quick ? 1 : 3, 1, 'rounds')),
    seconds: number(values.seconds, values.quick ? 1 : 3, 1, 'seconds'),
    figures,
    patience: number(values.patience, values.quick ? 0 : 10, 0, 'patience'),
    quick: values.quick,
    json: values.json ?? resultFile(values.router ? 'router' : 'net'),
  }
}

const rotated = (list, by) => list.map((_, i) => list[(i + by) % list.length])

/** Measures everything `o` asks for; the document that goes to the JSON file. */
export async function measure(o) {
  const why = obstacle()
  if (why !== null) throw usage(`the network benchmark cannot run: ${why}`)
  const facts = machine()
  const skipped = []
  const subjects = o.subjects.filter((subject) => {
    const missing = subject.missing()
    if (missing === null) return true
    note(`left out: ${subject.name}: ${missing}`)
    skipped.push({ subject: subject.name, missing })
    return false
  })
  if (subjects.length === 0) throw usage('nothing to measure')
  const steal = stealSeconds()
  const rounds = []
  const ruled = []
  let measurements = 0
  let disturbed = 0
  for (let r = 0; r < o.rounds; r++) {
    const done = await round(o, subjects, r)
    rounds.push(done.result)
    if (o.router) ruled.push(await rulesRound(o, r))
    measurements += done.measurements
    disturbed += done.disturbed
  }
  const names = subjects.map((s) => s.name)
  const ours = subjects.filter((s) => s.ours).map((s) => s.name)
  return {
    machine: facts,
    options: { rounds: o.rounds, seconds: o.seconds, quick: o.quick },
    skipped,
    measurements,
    disturbed,
    stealS: stealSeconds() - steal,
    rounds,
    ...(o.router ? { rules: ruled } : {}),
    ...summary(rounds, names, ours, o.router ? ROUTER_TARGETS : o.targets),
  }
}

async function round(o, subjects, r) {
  const labs = new Map()
  const result = {}
  let measurements = 0
  let disturbed = 0
  try {
    for (const subject of subjects) {
      const lab = new Lab(subject.name)
      labs.set(subject, lab)
      await subject.up(lab)
      await lab.reachable()
      // Compilers and caches warm up outside of the figures.
      await tcp(lab, 1, 1)
      await saturate(lab, 0.3)
      result[subject.name] = {}
    }
    for (const [f, figure] of o.figures.entries()) {
      for (const subject of rotated(subjects, r + f)) {
        if (figure === 'million' && !subject.ours) continue
        // A switch has no flows.
        if (figure === 'newflows' && subject.name === 'taploom') continue
        const alone = await quiet(o.patience)
        measurements++
        if (!alone) disturbed++
        const got = await STAGES[figure](labs.get(subject), o)
        Object.assign(result[subject.name], got)
        const said = Object.entries(got).map(([key, value]) => `${key} ${value?.toPrecision(4) ?? '-'}`)
        note(
          `round ${r + 1}/${o.rounds}  ${subject.name.padEnd(10)}  ${said.join('  ')}${alone ? '' : '  (not alone)'}`,
        )
      }
    }
  } finally {
    for (const lab of labs.values()) await lab.down()
  }
  return { result, measurements, disturbed }
}

export function reportOf(document) {
  return [
    `${document.options.rounds} rounds of ${document.options.seconds} s; ` +
      `${document.disturbed} of ${document.measurements} measurements began beside other programs, ` +
      `other guests took ${document.stealS.toFixed(1)} s of the cores`,
    ...document.skipped.map((s) => `left out: ${s.subject}: ${s.missing}`),
    '',
    print(document),
    ...(document.rules ? ['', rulesReport(document.rules)] : []),
  ].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runMain(async () => {
    if (process.argv.includes('--help')) {
      process.stdout.write(`usage: node bench/net.mjs [options]\n\n${NET_OPTIONS}`)
      return
    }
    const o = options(process.argv.slice(2))
    const document = await measure(o)
    writeJson(o.json, document)
    process.stdout.write(`${describe(document.machine)}\n${reportOf(document)}\n`)
    note(`\nwritten: ${o.json}`)
  })
}
