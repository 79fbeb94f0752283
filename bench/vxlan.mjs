/**
 * The tunnel benchmark: two hosts, an underlay of 1500 bytes, a VXLAN between them.
 *
 *     node bench/vxlan.mjs [--subjects vxlan-c,kernel,taploom] [--ethtool tx=off,gro=on]
 *                          [further options of net.mjs]
 *
 * --ethtool changes features of the underlay's devices: `tx=off,gro=on` is a network card without offloads.
 * Rounds, figures and the report are those of net.mjs; the subjects are in lib/tunnels.mjs, the targets
 * those of the tunnel. Needs root. See bench/README.md.
 */
import { fileURLToPath } from 'node:url'
import { describe } from './lib/machine.mjs'
import { micro, packetUsOf } from './lib/micro.mjs'
import { note, runMain, usage } from './lib/process.mjs'
import { resultFile, writeJson } from './lib/results.mjs'
import { manyReport, TUNNEL_NAMES, TUNNEL_TARGETS, tunnelOf, underlay } from './lib/tunnels.mjs'
import { measure, NET_OPTIONS, options, reportOf } from './net.mjs'

const FIGURES = 'tcp1,tcp4,saturated,lossless,rtt'

/** The options of net.mjs, with subjects, figures and targets of the tunnel. */
export function tunnelOptions(argv) {
  const rest = []
  let names = TUNNEL_NAMES
  let figures = FIGURES
  for (let i = 0; i < argv.length; i++) {
    const [key, inline] = argv[i].split(/=(.*)/s, 2)
    if (key !== '--subjects' && key !== '--figures' && key !== '--ethtool') {
      rest.push(argv[i])
      continue
    }
    const value = inline ?? argv[++i] ?? ''
    if (key === '--ethtool') underlay.features = value.split(',')
    else if (key === '--subjects') names = value.split(',')
    else figures = value
  }
  for (const name of names)
    if (!tunnelOf(name))
      throw usage(`no tunnel ${name}; there are ${TUNNEL_NAMES.join(', ')} and NAME=CLI_FILE`)
  const o = options([...rest, '--figures', figures])
  return { ...o, subjects: names.map(tunnelOf), targets: TUNNEL_TARGETS }
}

/** Measures the network and, when taploom is among the subjects, what many tunnels cost it. */
export async function measureTunnels(o) {
  const document = await measure(o)
  if (o.subjects.some((s) => s.ours)) document.many = await micro(o.quick, 'micro-vtep')
  return document
}

export function tunnelReport(document) {
  const parts = [reportOf(document)]
  if (document.many) parts.push('', manyReport(document.many, packetUsOf(document)))
  return parts.join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await runMain(async () => {
    if (process.argv.includes('--help')) {
      process.stdout.write(
        `usage: node bench/vxlan.mjs [options]\n\n${NET_OPTIONS}\nSubjects: ${TUNNEL_NAMES}\n`,
      )
      return
    }
    const o = tunnelOptions(process.argv.slice(2))
    const document = await measureTunnels(o)
    const file = process.argv.includes('--json') ? o.json : resultFile('vxlan')
    writeJson(file, document)
    process.stdout.write(`${describe(document.machine)}\n${tunnelReport(document)}\n`)
    note(`\nwritten: ${file}`)
  })
}
