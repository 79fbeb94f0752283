/**
 * What is measured: each subject joins the two namespaces of a lab. `missing` says what to install when
 * it cannot run here; `up` builds it and tells the lab which processes are its own.
 *
 * All are started as their manuals say, without tuning; see bench/README.md.
 */
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { CLIENT, DEVICE, FAR_GATEWAY, FAR_SERVER, NEAR_GATEWAY, SERVER } from './lab.mjs'
import { has, said, sh, sleep, start, stop } from './process.mjs'

export const bench = fileURLToPath(new URL('..', import.meta.url))
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const RELAY = `${bench}bin/relay`
export const LOAD = `${bench}bin/load`

/** A million addresses and the hosts themselves have to fit. */
const FDB_LIMIT = 1_100_000

/** Starts one of the subject's processes in `namespace` ('' = here); it ends with the lab. */
export function server(lab, namespace, command, args, options) {
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

/** taploom from `cli`, a build's dist/cli.js; `text` makes its configuration, and more files beside it. */
function daemon(name, cli, text) {
  return {
    name,
    ours: true,
    missing: () => (existsSync(cli) ? null : `${cli}: run \`npm run build\``),
    async up(lab) {
      const file = `${lab.directory}/bench.yaml`
      writeFileSync(file, text(lab))
      const socket = `${lab.directory}/control.sock`
      const args = [cli, 'up', file, '--socket', socket]
      const started = server(lab, '', process.execPath, args)
      started.name = name
      await said(started, /\bready\b/, 30000)
      lab.pids = [started.pid]
      lab.socket = socket
      lab.cli = cli
    },
  }
}

/** The switch; `extra` are further top-level lines of its configuration. */
export function taploom(name, cli, extra = '') {
  return daemon(
    name,
    cli,
    (lab) => `${extra}switches:
  lan:
    limit: ${FDB_LIMIT}
    ports:
      a: { tap: { name: ${DEVICE}, netns: ${lab.client}, addresses: [${CLIENT}/24] } }
      b: { tap: { name: ${DEVICE}, netns: ${lab.server}, addresses: [${SERVER}/24] } }
`,
  )
}

/** The router: `lan` is the client's side, `wan` the server's, and both are TAPs. */
function router(name, cli, rules) {
  return daemon(name, cli, (lab) => {
    lab.target = FAR_SERVER
    writeFileSync(`${lab.directory}/bench.rules`, rules)
    const tap = (namespace, addresses) => `tap: { name: ${DEVICE}, netns: ${namespace}, ${addresses} }`
    return `routers:
  edge:
    interfaces:
      lan: { ${tap(lab.client, `addresses: [${CLIENT}/24], gateway: ${NEAR_GATEWAY}`)}, addresses: [${NEAR_GATEWAY}/24] }
      wan: { ${tap(lab.server, `addresses: [${FAR_SERVER}/24]`)}, addresses: [${FAR_GATEWAY}/24] }
    nat:
      - { masquerade: { from: 10.71.0.0/24, out: wan } }
    rules: bench.rules
`
  })
}

/** What a router at home has: answers come back, and only the inside may begin. */
const STATEFUL = [
  '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-A FORWARD -i lan -j ACCEPT',
  '-A FORWARD -j DROP',
]

const table = (name, lines) => [`*${name}`, ...lines, 'COMMIT', ''].join('\n')

/** `count` rules that no packet of the benchmark matches but in the last. */
function manyRules(count) {
  const lines = []
  for (let i = 0; i < count - 1; i++)
    lines.push(`-A FORWARD -s 172.16.${i >> 8}.${i & 255}/32 -p udp -m udp --dport ${1024 + i} -j DROP`)
  return [...lines, '-A FORWARD -j ACCEPT']
}

/** The kernel as the same router; `load` puts its rules in force. */
function kernelRouter(name, missing, load) {
  return {
    name,
    missing,
    async up(lab) {
      lab.namespace(lab.middle)
      for (const [end, port, address] of [
        [lab.client, 'lan', NEAR_GATEWAY],
        [lab.server, 'wan', FAR_GATEWAY],
      ]) {
        sh('ip', '-n', end, 'link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', port, 'netns', lab.middle)
        sh('ip', '-n', lab.middle, 'addr', 'add', `${address}/24`, 'dev', port)
        sh('ip', '-n', lab.middle, 'link', 'set', port, 'up')
      }
      lab.route()
      lab.sysctl(lab.middle, 'net.ipv4.ip_forward=1')
      load(lab)
    },
  }
}

const NFT = `table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
table ip filter {
  chain forwarding {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan" accept
  }
}
`

const nft = kernelRouter(
  'nft',
  () => (has('nft') ? null : 'nft: apt-get install nftables'),
  (lab) => {
    writeFileSync(`${lab.directory}/bench.nft`, NFT)
    sh('ip', 'netns', 'exec', lab.middle, 'nft', '-f', `${lab.directory}/bench.nft`)
  },
)

function iptables(count) {
  return kernelRouter(
    `iptables-${count}`,
    () => (has('iptables-restore') ? null : 'iptables-restore: apt-get install iptables'),
    (lab) => {
      const nat = table('nat', ['-A POSTROUTING -s 10.71.0.0/24 -o wan -j MASQUERADE'])
      writeFileSync(`${lab.directory}/bench.rules`, nat + table('filter', manyRules(count)))
      sh('ip', 'netns', 'exec', lab.middle, 'iptables-restore', `${lab.directory}/bench.rules`)
    },
  )
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

/** @param flows OpenFlow instead of switching by address: lines for ovs-ofctl */
const openVSwitch = (name, flows = null) => ({
  name,
  missing: () =>
    has('ovs-vswitchd') && has('ovsdb-tool') && has('ovs-ofctl') && existsSync(SCHEMA)
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
    if (flows !== null) {
      writeFileSync(`${dir}/flows`, flows)
      const management = `unix:${dir}/br0.mgmt`
      sh('ip', 'netns', 'exec', lab.middle, 'ovs-ofctl', 'del-flows', management)
      sh('ip', 'netns', 'exec', lab.middle, 'ovs-ofctl', 'add-flows', management, `${dir}/flows`)
    }
    lab.pids = [daemon.pid, database.pid]
  },
})

const ovs = openVSwitch('ovs')

/** Source NAT with its connection tracking; the client keeps its address, so that nothing need be routed. */
const ovsNat = openVSwitch(
  'ovs-nat',
  `table=0,priority=10,arp,actions=NORMAL
table=0,priority=5,ip,in_port=ovs-a,actions=ct(commit,zone=1,nat(src=${CLIENT}:20000-60000),table=1)
table=0,priority=5,ip,in_port=ovs-b,actions=ct(zone=1,nat,table=1)
table=1,priority=5,in_port=ovs-a,actions=output:ovs-b
table=1,priority=5,in_port=ovs-b,ct_state=+est,actions=output:ovs-a
`,
)

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

const CLI = `${ROOT}dist/cli.js`
const builtIn = [relay, bridge, taploom('taploom', CLI), vde, ovs]
export const NAMES = builtIn.map((s) => s.name)

const stateful = table('filter', STATEFUL)
const routers = [taploom('taploom', CLI), router('router', CLI, stateful), nft, ovsNat]
export const ROUTER_NAMES = routers.map((s) => s.name)

/** Routers under few rules and many: [few, many] of the kernel and of ours. */
export const FEW_RULES = 10
export const MANY_RULES = 10_000
export const RULED = {
  iptables: [iptables(FEW_RULES), iptables(MANY_RULES)],
  router: [FEW_RULES, MANY_RULES].map((n) => router(`router-${n}`, CLI, table('filter', manyRules(n)))),
}

/** Subjects by name; NAME=FILE is taploom of another build, FILE being its dist/cli.js. */
export function subjectOf(text, routing = false) {
  const [name, file] = text.split('=')
  if (file) return routing ? router(name, file, stateful) : taploom(name, file)
  return (routing ? routers : builtIn).find((s) => s.name === name)
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
