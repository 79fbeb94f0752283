// The long run of a fuzzer: bundles switch.ts, or tunnel.ts, and runs it.
//
//     node test/fuzz/switch.mjs [--tunnel] [--frames 10000000] [--seed N]
//
// The seed is printed; the same seed and count repeat the run. A failure ends with exit code 1 and the
// frames of the batch that broke it, to be kept in corpus/ when it was worth it.
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { bundle, forget } from './build.mjs'

const { values } = parseArgs({
  options: { frames: { type: 'string' }, seed: { type: 'string' }, tunnel: { type: 'boolean' } },
})
const frames = Number(values.frames ?? 10_000_000)
const seed = Number(values.seed ?? Date.now() % 2 ** 31)
if (!(frames > 0) || !Number.isInteger(seed)) {
  console.error('usage: node test/fuzz/switch.mjs [--tunnel] [--frames N] [--seed N]')
  process.exit(2)
}
const built = await bundle(`test/fuzz/${values.tunnel ? 'tunnel' : 'switch'}.ts`, 'fuzz')
try {
  const { fuzz } = await import(pathToFileURL(built).href)
  console.log(`seed ${seed}, ${frames} frames`)
  const report = fuzz({ frames, seed })
  console.log(
    `${report.frames} frames in ${report.seconds.toFixed(1)} s, ${Math.round(report.frames / report.seconds)} frames/s`,
  )
  console.log(
    `received ${report.rx}, made ${report.made}, sent ${report.tx}, dropped ${report.dropped}, seed ${seed}`,
  )
  for (const [reason, n] of report.reasons) console.log(`  ${reason.padEnd(18)} ${n}`)
} catch (error) {
  console.error(error instanceof Error ? error.stack : error)
  console.error(`seed ${seed}`)
  process.exitCode = 1
} finally {
  forget(built)
}
