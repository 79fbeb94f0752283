// Everything that must pass, step by step, with one true count at the end:
//
//   N passed, N failed, N skipped
//
//   node scripts/test.mjs            all steps
//   node scripts/test.mjs unit lint  only these
//
// A step that is a program counts as one test; vitest counts its own. What is skipped says why.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'taploom-test-'))
const total = { passed: 0, failed: 0, skipped: 0 }
const skipped = []
const failed = []
const bin = (name) => join(root, 'node_modules/.bin', name)

function run(command, args, env = {}) {
  return (
    spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } }).status === 0
  )
}

function program(name, command, args, env) {
  const ok = run(command, args, env)
  total[ok ? 'passed' : 'failed']++
  if (!ok) failed.push(name)
}

function vitest(name, node, args) {
  const report = join(scratch, `${name}.json`)
  const argv = [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...args,
  ]
  run(node[0], [...node.slice(1), ...argv])
  let result
  try {
    result = JSON.parse(readFileSync(report, 'utf8'))
  } catch {
    total.failed++
    failed.push(`${name}: vitest wrote no report`)
    return
  }
  for (const file of result.testResults) {
    if (file.status === 'failed' && file.assertionResults.length === 0) {
      total.failed++
      failed.push(`${name}: ${file.name}: ${file.message}`)
    }
    for (const test of file.assertionResults) {
      const label = `${name}: ${test.fullName}`
      if (test.status === 'passed') total.passed++
      else if (test.status === 'failed') {
        total.failed++
        failed.push(label)
      } else {
        total.skipped++
        skipped.push(label)
      }
    }
  }
}

const steps = {
  lint: () => program('lint', bin('biome'), ['check', '.']),
  types: () => program('types', bin('tsc'), ['--noEmit']),
  native: () =>
    program('native (ASan, UBSan)', 'make', ['-s', '-C', 'native/test', 'test', `OUT=${scratch}/native`]),
  unit: () => vitest('unit', [process.execPath], []),
  fuzz: () => {
    const long = ['test/fuzz/switch.mjs', '--frames', '10000000']
    program('fuzz, 10 million frames', process.execPath, long)
    program('fuzz, 10 million datagrams', process.execPath, [...long, '--tunnel'])
  },
  prebuild: () => program('prebuilt binary', process.execPath, ['scripts/prebuild-check.mjs']),
  newer: () =>
    vitest(
      'node 24',
      ['npx', '--yes', '-p', 'node@24', 'node'],
      ['test/native', 'test/engine', 'test/netns'],
    ),
  bench: () =>
    program('benchmark, quick', process.execPath, [
      'bench/run.mjs',
      '--quick',
      '--json',
      `${scratch}/bench.json`,
    ]),
}

const wanted = process.argv.slice(2)
for (const name of wanted) {
  if (!steps[name]) {
    console.error(`no step ${name}; there are ${Object.keys(steps).join(', ')}`)
    process.exit(2)
  }
}
try {
  for (const [name, step] of Object.entries(steps)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    console.log(`\n== ${name}`)
    step()
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
if (skipped.length > 0) console.log(`\nskipped:\n  ${skipped.join('\n  ')}`)
if (failed.length > 0) console.log(`\nfailed:\n  ${failed.join('\n  ')}`)
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed > 0 ? 1 : 0
