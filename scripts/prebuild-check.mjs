// Builds the prebuilt binary, packs the package, installs it into an empty folder as a user would,
// with no compiler to fall back on, and uses it.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'taploom-pack-'))
const run = (command, args, cwd, env = process.env) =>
  execFileSync(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })

try {
  run('npm', ['run', '--silent', 'prebuild'], root)
  run(process.execPath, ['scripts/build.mjs', '--types'], root)
  const packed = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root),
  )[0]
  const files = packed.files.map((f) => f.path)
  for (const needed of ['dist/cli.js', 'dist/worker.js', 'dist/types/index.d.ts', 'LICENSE']) {
    if (!files.includes(needed)) throw new Error(`the package lacks ${needed}`)
  }
  if (!files.some((f) => f.startsWith('prebuilds/linux-')))
    throw new Error('the package has no prebuilt binary')
  // A PATH with node and npm's needs alone: compiling would fail.
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  for (const command of ['node', 'npm', 'sh', 'env', 'ip', 'nsenter']) {
    const found = `${process.env.PATH}:/usr/sbin`
      .split(delimiter)
      .map((f) => join(f, command))
      .find((f) => existsSync(f))
    if (found) symlinkSync(found, join(bin, command))
  }
  const user = join(folder, 'user')
  mkdirSync(user)
  writeFileSync(join(user, 'package.json'), '{ "name": "user", "private": true, "type": "module" }')
  const env = { ...process.env, PATH: bin }
  run('npm', ['install', '--no-audit', '--no-fund', '--silent', join(folder, packed.filename)], user, env)
  const script = `
    import { checkConfigObject, version } from 'taploom'
    const config = checkConfigObject({ switches: { lan: { ports: { a: { memory: {} } } } } })
    if (!config.switches.lan) throw new Error('no switch')
    console.log('taploom', version, 'installed and loaded without a compiler')`
  writeFileSync(join(user, 'use.mjs'), script)
  console.log(run(process.execPath, ['use.mjs'], user, env).trim())
} finally {
  rmSync(folder, { recursive: true, force: true })
}
