/**
 * What is measured: each subject joins the two namespaces of a lab. `missing` says what to install when
 * it cannot run here; `up` builds it and tells the lab which processes are its own.
 *
 * All are started as their manuals say, without tuning; see bench/README.md.
 */
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CLIENT, DEVICE, SERVER } from './lab.mjs'
import { has, said, sh, sleep, start, stop } from './process.mjs'

const bench = fileURLToPath(new URL('..', import.meta.url))
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const RELAY = `${bench}bin/relay`
export const LOAD = `${bench}bin/load`

/** A million addresses and the hosts themselves have to fit. */
const FDB_LIMIT = 1_100_000

/** Starts one of the subject's processes in `namespace` ('' = here); it ends with the lab. */
function server(lab, namespace, command, args, options) {
  const handle = namespace
    ? start('ip', ['netns', 'exec', namespace, command, ...args], options)
    : start(command, args, options)
  handle.name = command
  lab.onDown(() => stop(handle))
  return handle
}

const relay = {
  name: 'relay',
  missing: () => (existsSync(RELAY) ? null : 'bench/bin/relay: run `make -C bench`'),
  async up(lab) {
    const process = server(lab, '', RELAY, [`/run/netns/${lab.client}`, `/run/netns/${lab.server}`, DEVICE])
    await said(process, /ready/)
    lab.address()
    lab.pids = [process.pid]
  },
}

const bridge = {
  name: 'bridge',
  missing: () => null,
  async up(lab) {
    lab.namespace(lab.middle)
    sh('ip', '-n', lab.middle, 'link', 'add', 'br0', 'type', 'bridge')
    sh('ip', '-n', lab.middle, 'link', 'set', 'br0', 'up')
    for (const [end, port] of [
      [lab.client, 'port-a'],
      [lab.server, 'port-b'],
    ]) {
      sh('ip', '-n', end, 'link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', port, 'netns', lab.middle)
      sh('ip', '-n', lab.middle, 'link', 'set', port, 'master', 'br0', 'up')
    }
    lab.address()
  },
}

/** taploom from `cli`, a build's dist/cli.js; `extra` are further top-level lines of its configuration. */
export function taploom(name, cli, extra = '') {
  return {
    name,
    ours: true,
    missing: () => (existsSync(cli) ? null : `${cli}: run \`npm run build\``),
    async up(lab) {
      const file = `${lab.directory}/bench.yaml`
      writeFileSync(
        file,
        `${extra}switches:
  lan:
    limit: ${FDB_LIMIT}
    ports:
      a: { tap: { name: ${DEVICE}, netns: ${lab.client}, addresses: [${CLIENT}/24] } }
      b: { tap: { name: ${DEVICE}, netns: ${lab.server}, addresses: [${SERVER}/24] } }
`,
      )
      const socket = `${lab.directory}/control.sock`
      const args = [cli, 'up', file, '--socket', socket]
      const daemon = server(lab, '', process.execPath, args)
      daemon.name = name
      await said(daemon, /\bready\b/)
      lab.pids = [daemon.pid]
      lab.socket = socket
      lab.cli = cli
    },
  }
}

const vde = {
  name: 'vde',
  missing: () => (has('vde_switch') ? null : 'vde_switch: apt-get install vde2'),
  async up(lab) {
    lab.namespace(lab.middle)
    const args = ['-s', `${lab.directory}/vde`, '-t', 'vde-a', '-t', 'vde-b']
    // It ends when its standard input does, so it gets a pipe that nobody writes to.
    const process = server(lab, lab.middle, 'vde_switch', args, { stdio: ['pipe', 'pipe', 'pipe'] })
    await deviceIn(lab.middle, 'vde-b', process)
    lab.hand('vde-a', lab.client)
    lab.hand('vde-b', lab.server)
    lab.address()
    lab.pids = [process.pid]
  },
}

const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema'

const ovs = {
  name: 'ovs',
  missing: () =>
    has('ovs-vswitchd') && has('ovsdb-tool') && existsSync(SCHEMA)
      ? null
      : 'ovs-vswitchd: apt-get install openvswitch-switch',
  async up(lab) {
    lab.namespace(lab.middle)
    const dir = lab.directory
    const db = `unix:${dir}/db.sock`
    const env = { ...process.env, OVS_RUNDIR: dir, OVS_DBDIR: dir, OVS_LOGDIR: dir, OVS_SYSCONFDIR: dir }
    const vsctl = (...args) =>
      sh('ip', 'netns', 'exec', lab.middle, 'ovs-vsctl', `--db=${db}`, '--timeout=10', ...args)
    sh('ovsdb-tool', 'create', `${dir}/conf.db`, SCHEMA)
    const database = server(lab, lab.middle, 'ovsdb-server', [`${dir}/conf.db`, `--remote=p${db}`], { env })
    for (let i = 0; i < 50 && !existsSync(`${dir}/db.sock`); i++) await sleep(100)
    vsctl('--no-wait', 'init')
    const daemon = server(lab, lab.middle, 'ovs-vswitchd', [db], { env })
    vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev')
    for (const tap of ['ovs-a', 'ovs-b'])
      vsctl('add-port', 'br0', tap, '--', 'set', 'interface', tap, 'type=tap')
    await deviceIn(lab.middle, 'ovs-b', daemon)
    lab.hand('ovs-a', lab.client)
    lab.hand('ovs-b', lab.server)
    lab.address()
    lab.pids = [daemon.pid, database.pid]
  },
}

async function deviceIn(namespace, device, process) {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      return void sh('ip', '-n', namespace, 'link', 'show', 'dev', device)
    } catch {
      await sleep(100)
    }
  }
  throw new Error(`${process.name} made no device ${device}: ${process.output.trim()}`)
}

const builtIn = [relay, bridge, taploom('taploom', `${ROOT}dist/cli.js`), vde, ovs]
export const NAMES = builtIn.map((s) => s.name)

/** Subjects by name; NAME=FILE is taploom of another build, FILE being its dist/cli.js. */
export function subjectOf(text) {
  const [name, file] = text.split('=')
  if (file) return taploom(name, file)
  return builtIn.find((s) => s.name === name)
}

/** Why nothing can be measured here, or null. */
export function obstacle() {
  if (process.getuid() !== 0) return 'needs root, to make network namespaces: run it with sudo'
  const tools = [
    ['ip', 'iproute2'],
    ['iperf3', 'iperf3'],
    ['ping', 'iputils-ping'],
    ['sysctl', 'procps'],
  ].filter(([tool]) => !has(tool))
  if (tools.length > 0)
    return `${tools.map(([tool]) => tool).join(', ')} missing: apt-get install ${tools.map(([, p]) => p).join(' ')}`
  if (!existsSync(LOAD)) return 'bench/bin/load missing: run `make -C bench` (needs gcc and make)'
  try {
    closeSync(openSync('/dev/net/tun', 'r+'))
  } catch (error) {
    return `/dev/net/tun cannot be opened (${error.code})`
  }
  return null
}
