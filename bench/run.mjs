/**
 * `npm run bench`: builds what is needed, runs the benchmarks, prints one report, writes one JSON file.
 *
 *     npm run bench [-- --micro] [-- --net] [-- --router] [-- --vxlan] [-- --memory] [-- --quick] [-- --json FILE]
 *
 * Without a choice: --micro, --net, --router and --vxlan. Further options (--subjects, --rounds, --seconds, ...) go
 * to the network benchmarks. See bench/README.md.
 */
import { fileURLToPath } from 'node:url'
import { describe, machine } from './lib/machine.mjs'
import { microParts, microReport, packetUsOf } from './lib/micro.mjs'
import { note, output, runMain } from './lib/process.mjs'
import { resultFile, writeJson } from './lib/results.mjs'
import { kernelNsPerRule } from './lib/router.mjs'
import { obstacle, ROOT } from './lib/subjects.mjs'
import { memory, memoryReport } from './memory.mjs'
import { measure, NET_OPTIONS, options, reportOf } from './net.mjs'
import { measureTunnels, tunnelOptions, tunnelReport } from './vxlan.mjs'

const BUILD_MS = 300_000
const PARTS = ['--micro', '--net', '--router', '--vxlan', '--memory']

const USAGE = `usage: npm run bench -- [--micro] [--net] [--router] [--vxlan] [--memory] [options]

  --micro           single operations, in nanoseconds
  --net             TCP, small packets and latency against the relay, the bridge, ...; needs root
  --router          NAT and rules against the kernel's router and Open vSwitch; needs root
  --vxlan           the same through a tunnel between two hosts; needs root
  --memory          resident memory under traffic; needs root
                    (none of these: --micro, --net, --router and --vxlan)

The network benchmarks' options:

`

function heading(text) {
  return `\n${text}\n${'='.repeat(text.length)}\n`
}

await runMain(async () => {
  const argv = process.argv.slice(2)
  if (argv.includes('--help')) {
    process.stdout.write(`${USAGE}${NET_OPTIONS}`)
    return
  }
  const chosen = argv.filter((a) => PARTS.includes(a))
  const wanted = chosen.length > 0 ? chosen : ['--micro', '--net', '--router', '--vxlan']
  const rest = argv.filter((a) => !PARTS.includes(a))
  const quick = rest.includes('--quick')
  const networks = ['--net', '--router'].filter((part) => wanted.includes(part))
  // --subjects are those of the network benchmarks, unless only the tunnel's is run.
  const tunnelOnly = wanted.includes('--vxlan') && networks.length === 0
  const optionsOf = (part) => options(part === '--router' ? [...rest, part] : rest)
  const chosenOptions = new Map(networks.map((part) => [part, optionsOf(part)]))
  const throughTunnel = tunnelOptions(tunnelOnly ? rest : rest.filter((a) => a === '--quick'))
  const json = (tunnelOnly ? throughTunnel : (chosenOptions.get(networks[0]) ?? options(rest))).json

  await output('make', ['-s', '-C', `${ROOT}bench`], BUILD_MS)
  await output(process.execPath, [fileURLToPath(new URL('../scripts/build.mjs', import.meta.url))], BUILD_MS)

  const document = { machine: machine() }
  const report = [describe(document.machine)]
  // The network first: nothing has warmed the machine up or filled its memory yet.
  for (const [part, o] of chosenOptions) {
    const title = part === '--router' ? 'Router' : 'Network'
    const why = obstacle()
    // Without root the rest can still be had, unless this was asked for by name.
    if (why !== null && chosen.length === 0) {
      report.push(heading(title), `not run: ${why}`)
      continue
    }
    const measured = await measure(o)
    document[part.slice(2)] = measured
    report.push(heading(title), reportOf(measured))
  }
  if (wanted.includes('--vxlan')) {
    const why = obstacle()
    if (why !== null && chosen.length === 0) report.push(heading('Tunnel'), `not run: ${why}`)
    else {
      document.vxlan = await measureTunnels(throughTunnel)
      report.push(heading('Tunnel'), tunnelReport(document.vxlan))
    }
  }
  if (wanted.includes('--memory')) {
    document.memory = await memory({ seconds: quick ? 5 : 20 })
    report.push(heading('Memory'), memoryReport(document.memory))
  }
  if (wanted.includes('--micro')) {
    document.micro = await microParts(quick)
    const packetUs = document.net ? packetUsOf(document.net) : null
    report.push(heading('Micro'), microReport(document.micro, packetUs, kernelNsPerRule(document.router)))
  }
  const file = rest.includes('--json') ? json : resultFile('bench')
  writeJson(file, document)
  process.stdout.write(`${report.join('\n')}\n`)
  note(`\nwritten: ${file}`)
})
