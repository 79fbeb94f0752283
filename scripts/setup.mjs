// Makes a plain clone ready: Debian packages, npm packages, the addon, dist/. Uses nothing but Node.
//
//   node scripts/setup.mjs demo    what the lab needs
//   node scripts/setup.mjs test    what the tests need as well
//
// Does only what is missing, and says what it does. Packages are installed when run as root on a
// system with apt-get; otherwise it prints the command and stops.
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, realpathSync, statSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** [command, Debian package] */
const BUILD = [
  ['g++', 'g++'],
  ['make', 'make'],
  ['python3', 'python3'],
]
const RUN = [
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
  ['ping', 'iputils-ping'],
]
const TEST = [
  ['ethtool', 'ethtool'],
  ['iperf3', 'iperf3'],
  ['tshark', 'tshark'],
  ['iptables-restore', 'iptables'],
  ['ipset', 'ipset'],
  ['sysctl', 'procps'],
  ['udhcpc', 'udhcpc'],
  ['dhclient', 'isc-dhcp-client'],
  ['git', 'git'],
]
const NEEDS = { demo: [...BUILD, ...RUN], test: [...BUILD, ...RUN, ...TEST] }

const say = (text) => process.stderr.write(`setup: ${text}\n`)
const fail = (text) => {
  say(text)
  process.exit(1)
}

function onPath(command) {
  const folders = `${process.env.PATH}:/usr/sbin:/sbin`.split(delimiter)
  return folders.some((folder) => existsSync(join(folder, command)))
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 'inherit'], ...options })
  if (result.status !== 0) fail(`"${command} ${args.join(' ')}" failed`)
}

/** Newest modification below the folders, ms. */
function newest(...paths) {
  let time = 0
  for (const path of paths) {
    const full = join(root, path)
    if (!existsSync(full)) continue
    const info = statSync(full)
    time = Math.max(time, info.mtimeMs)
    if (info.isDirectory())
      for (const entry of readdirSync(full)) time = Math.max(time, newest(join(path, entry)))
  }
  return time
}

function debianPackages(goal) {
  const missing = [...new Set(NEEDS[goal].filter(([command]) => !onPath(command)).map(([, name]) => name))]
  if (missing.length === 0) return
  const command = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  if (process.getuid() !== 0 || !onPath('apt-get')) {
    fail(
      `these packages are missing: ${missing.join(' ')}. Install them (Debian, as root: ${command}) and run this again.`,
    )
  }
  say(`installing ${missing.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  run('apt-get', ['update', '-qq'], { env })
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], { env })
}

function npmPackages() {
  const done = join(root, 'node_modules/.package-lock.json')
  if (existsSync(done) && statSync(done).mtimeMs >= newest('package-lock.json')) return
  say('installing npm packages (npm ci)')
  // Without scripts: the addon is compiled below, where nothing fits, and no other package needs one.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'])
}

function addon() {
  const built = join(root, 'build/Release/taploom.node')
  const stale = existsSync(built) && statSync(built).mtimeMs < newest('native', 'binding.gyp')
  if (!stale) {
    try {
      createRequire(import.meta.url)('node-gyp-build')(root)
      return
    } catch {
      // Nothing fits: compile.
    }
  }
  say('compiling the native addon')
  // Node's own headers where they came with it; else node-gyp fetches them.
  const prefix = dirname(dirname(realpathSync(process.execPath)))
  const own = existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : []
  run(process.execPath, [join(root, 'node_modules/node-gyp/bin/node-gyp.js'), 'rebuild', '--silent', ...own])
}

function bundles() {
  const built = join(root, 'dist/cli.js')
  if (existsSync(built) && statSync(built).mtimeMs >= newest('src', 'scripts/build.mjs', 'package.json'))
    return
  say('building dist/')
  execFileSync(process.execPath, [join(root, 'scripts/build.mjs')], {
    cwd: root,
    stdio: ['ignore', 2, 'inherit'],
  })
}

/** `npx taploom` looks here first; its own way of finding a checkout's command remembers one that was not built. */
function command() {
  const link = join(root, 'node_modules/.bin/taploom')
  if (lstatSync(link, { throwIfNoEntry: false }) === undefined) symlinkSync('../../dist/cli.js', link)
}

const goal = process.argv[2] ?? 'demo'
if (!NEEDS[goal]) fail(`no such goal: ${goal}; there are ${Object.keys(NEEDS).join(' and ')}`)
if (Number(process.versions.node.split('.')[0]) < 20)
  fail(`Node ${process.versions.node} is too old: 20 or newer is needed`)
debianPackages(goal)
npmPackages()
addon()
bundles()
command()
