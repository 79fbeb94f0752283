/** Bundles the micro-benchmarks as the data plane itself is bundled, each into one file, and runs them. */
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { spread, table } from './report.mjs'
import { ROOT } from './subjects.mjs'

/** Issue A: forwarding with a million learned addresses costs at most this many times that with ten. */
const MILLION_AT_MOST = 1.1

/** Bundles bench/NAME.ts; the bundle's path. */
export async function bundle(name) {
  const outfile = `${ROOT}bench/bin/${name}.mjs`
  await build({
    absWorkingDir: ROOT,
    entryPoints: [`bench/${name}.ts`],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
    // The sources find the package's root from where they lie, which is not where the bundle lies.
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(`${ROOT}src/native.ts`).href) },
  })
  return outfile
}

/** The document of bench/NAME.ts. */
export async function micro(quick, name) {
  return run(await bundle(name), quick)
}

function run(file, quick, part = []) {
  const done = spawnSync(process.execPath, [file, ...part, ...(quick ? ['--quick'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  if (done.status !== 0) throw new Error(`the micro-benchmarks failed (${done.status ?? done.signal})`)
  return JSON.parse(done.stdout.trim().split('\n').pop())
}

/** The documents of all parts of bench/micro.ts in one. */
export async function microParts(quick) {
  const file = await bundle('micro')
  const whole = { rows: [] }
  for (const part of run(file, quick)) {
    const { rows, witness, ...figures } = run(file, quick, [part])
    whole.rows.push(...rows)
    for (const [key, some] of Object.entries(figures)) whole[key] = { ...whole[key], ...some }
  }
  return whole
}

/**
 * @param packetUs what the kernel's part costs per packet, if the network benchmark has told
 * @param kernelNs what a rule costs in the kernel, if the router's has
 */
export function microReport({ rows, million, lpm, router }, packetUs = null, kernelNs = null) {
  const lines = [
    table([
      ['', 'ns', '+-'],
      ...rows.map((r) => [r.name, r.nsPerOp.toFixed(1), `${r.deviation.toFixed(1)} %`]),
    ]),
    '',
    'A million learned addresses against ten, forwarding cost:',
    '',
    `  in the pipeline, 10 hosts talk    at most ${MILLION_AT_MOST}   ${million.among.toFixed(2)}  ${verdict(million.among)}`,
    `  in the pipeline, all hosts talk   at most ${MILLION_AT_MOST}   ${million.spread.toFixed(2)}  ${verdict(million.spread)}`,
  ]
  if (packetUs !== null) {
    const whole = (packetUs * 1000 + million.spreadExtraNs) / (packetUs * 1000)
    lines.push(
      `  of the whole path, all hosts talk at most ${MILLION_AT_MOST}   ${whole.toFixed(2)}  ${verdict(whole)}` +
        `  (the extra ${million.spreadExtraNs.toFixed(0)} ns on ${packetUs.toFixed(2)} us of CPU per packet)`,
    )
  }
  lines.push('', ...routerReport(lpm, router, packetUs, kernelNs))
  return lines.join('\n')
}

/** What issue B asks of single operations. */
function routerReport(lpm, router, packetUs, kernelNs) {
  const atMost = (what, bound, value, digits = 2) =>
    `  ${what.padEnd(66)} at most ${`${bound}`.padEnd(5)} ${value.toFixed(digits).padStart(8)}  ${value <= bound ? 'met' : 'not met'}`
  const { packetAll, packetExtraNs } = router
  const lines = [
    'The router:',
    '',
    atMost('established flows, 10,000 rules by 10', 1.1, router.rules),
    ...[
      ['ns a rule costs the first packet of a flow', router.nsPerRule],
      ['ns a rule that has nothing in common with its neighbours', router.nsPerScatteredRule],
    ].map(([what, ns]) =>
      kernelNs === null
        ? `  ${what.padEnd(66)} (the kernel: see --router) ${ns.toFixed(2)}`
        : atMost(what, kernelNs.toFixed(1), ns),
    ),
    atMost('a packet, 1,000,000 connections of which 1,000 talk, by 1,000', 1.2, router.packetAmong),
    atMost('a packet, 1,000,000 connections that all talk, by 1,000', 1.2, packetAll),
    atMost('finding one, 1,000,000 connections of which 1,000 talk, by 1,000', 1.2, router.findAmong),
    atMost('finding one, 1,000,000 connections that all talk, by 1,000', 1.2, router.findAll),
    atMost('bytes a connection, IPv4', 200, router.bytesPerEntry.v4, 0),
    atMost('bytes a connection, IPv6', 200, router.bytesPerEntry.v6, 0),
  ]
  for (const family of ['v4', 'v6']) {
    lines.push(
      atMost(
        `ns a look-up among 1,000,000 routes, IP${family}, 8,192 destinations`,
        100,
        lpm.lookupNs[family].active,
        0,
      ),
      atMost(
        `ns a look-up among 1,000,000 routes, IP${family}, nothing in a cache`,
        100,
        lpm.lookupNs[family].cold,
        0,
      ),
      atMost(`s to load 1,000,000 routes, IP${family}`, 5, lpm.replaceMillionMs[family] / 1000, 1),
    )
  }
  if (packetUs !== null) {
    const whole = (packetUs * 1000 + packetExtraNs) / (packetUs * 1000)
    lines.push(atMost('the whole path, 1,000,000 connections that all talk, by 1,000', 1.2, whole))
  }
  return lines
}

const verdict = (ratio) => (ratio <= MILLION_AT_MOST ? 'met' : 'not met')

/** Median CPU microseconds per small packet of taploom in a network document. */
export function packetUsOf(net) {
  return spread(net.rounds.map((round) => round.taploom?.cpuUsPerPacket))?.median ?? null
}
