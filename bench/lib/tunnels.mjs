/**
 * Subjects of the tunnel benchmark: two hosts, each with a client behind it, joined by an underlay of
 * 1500 bytes. Each subject makes of both clients one network, through VXLAN.
 *
 *     -a eth0 10.71.0.1 --- -ha ul0 198.51.100.1 ===veth=== ul0 198.51.100.2 -hb --- 10.71.0.2 eth0 -b
 *
 *     taploom      two daemons: a TAP in the client's namespace, sockets in the host's
 *     taploom-tap  the same with `underlay: tap`: super-frames leave by a TAP in the host's namespace
 *     vxlan-c      bin/vxlan at both ends: the same without a decision; vxlan-c-tap
 *     kernel       a bridge with the kernel's vxlan device and a veth pair, at both ends
 */
import { existsSync, writeFileSync } from 'node:fs'
import { CLIENT, DEVICE, SERVER } from './lab.mjs'
import { said, sh } from './process.mjs'
import { bench, ROOT, server } from './subjects.mjs'

const ENDPOINT = `${bench}bin/vxlan`
const UNDERLAY = 'ul0'
const OUTER = ['198.51.100.1', '198.51.100.2']
const VNI = 77
/** 1500 less the headers of Ethernet (inner), VXLAN, UDP and IPv4. */
const INNER_MTU = 1450

/** What issue C asks for. */
export const TUNNEL_TARGETS = [
  { figure: 'tcp1', against: 'vxlan-c', atLeast: 0.9 },
  { figure: 'tcp1', against: 'kernel', atLeast: 0.45 },
  { figure: 'saturated', against: 'kernel', atLeast: 0.8 },
  { figure: 'lossless', against: 'kernel', atLeast: 0.8 },
]

/** Features of the underlay's two devices, as ethtool -K takes them: ['tx=off', 'gro=on']. */
export const underlay = { features: [] }

/** The two hosts and the wire between them. */
function hosts(lab) {
  const names = [`${lab.client}h`, `${lab.server}h`]
  for (const name of names) lab.namespace(name)
  sh(
    'ip',
    '-n',
    names[0],
    'link',
    'add',
    UNDERLAY,
    'type',
    'veth',
    'peer',
    'name',
    UNDERLAY,
    'netns',
    names[1],
  )
  names.forEach((name, i) => {
    sh('ip', '-n', name, 'addr', 'add', `${OUTER[i]}/24`, 'dev', UNDERLAY)
    sh('ip', '-n', name, 'link', 'set', UNDERLAY, 'up')
    for (const feature of underlay.features)
      sh('ip', 'netns', 'exec', name, 'ethtool', '-K', UNDERLAY, ...feature.split('='))
  })
  return [
    { name: names[0], client: lab.client, local: OUTER[0], remote: OUTER[1], address: CLIENT },
    { name: names[1], client: lab.server, local: OUTER[1], remote: OUTER[0], address: SERVER },
  ]
}

function shrink(lab) {
  for (const end of [lab.client, lab.server])
    sh('ip', '-n', end, 'link', 'set', DEVICE, 'mtu', `${INNER_MTU}`)
}

const endpoint = (name, ...mode) => ({
  name,
  missing: () => (existsSync(ENDPOINT) ? null : 'bench/bin/vxlan: run `make -C bench` (needs g++)'),
  async up(lab) {
    for (const host of hosts(lab)) {
      const args = [host.client, host.name].map((name) => `/run/netns/${name}`)
      const process = server(lab, '', ENDPOINT, [...args, host.local, host.remote, DEVICE, ...mode])
      await said(process, /ready/)
      lab.pids.push(process.pid)
    }
    lab.address()
    shrink(lab)
  },
})

const kernel = {
  name: 'kernel',
  missing: () => null,
  async up(lab) {
    for (const { name, client, local, remote } of hosts(lab)) {
      const ip = (...args) => sh('ip', '-n', name, 'link', ...args)
      const tunnel = [
        'vxlan',
        'id',
        `${VNI}`,
        'dstport',
        '4789',
        'local',
        local,
        'remote',
        remote,
        'dev',
        UNDERLAY,
      ]
      ip('add', 'br0', 'type', 'bridge')
      ip('add', 'vx0', 'type', ...tunnel)
      ip('set', 'br0', 'up')
      sh('ip', '-n', client, 'link', 'add', DEVICE, 'type', 'veth', 'peer', 'name', 'port', 'netns', name)
      for (const port of ['vx0', 'port']) ip('set', port, 'master', 'br0', 'up', 'mtu', `${INNER_MTU}`)
    }
    lab.address()
    shrink(lab)
  },
}

/** taploom from `cli`, a build's dist/cli.js. @param keys more of the VTEP's */
function taploom(name, cli, keys = '') {
  return {
    name,
    ours: true,
    missing: () => (existsSync(cli) ? null : `${cli}: run \`npm run build\``),
    async up(lab) {
      for (const [i, host] of hosts(lab).entries()) {
        const file = `${lab.directory}/host${i}.yaml`
        writeFileSync(
          file,
          `vteps:
  underlay: { local: ${host.local}, netns: ${host.name}${keys} }
switches:
  lan:
    ports:
      client: { tap: { name: ${DEVICE}, netns: ${host.client}, addresses: [${host.address}/24] } }
      far: { vxlan: { vni: ${VNI}, vtep: underlay, remotes: [${host.remote}] } }
`,
        )
        const daemon = server(lab, '', process.execPath, [
          cli,
          'up',
          file,
          '--socket',
          `${lab.directory}/${i}.sock`,
        ])
        daemon.name = name
        await said(daemon, /\bready\b/)
        lab.pids.push(daemon.pid)
      }
      shrink(lab)
    },
  }
}

const OURS = `${ROOT}dist/cli.js`
const builtIn = [
  endpoint('vxlan-c'),
  endpoint('vxlan-c-tap', 'tap'),
  kernel,
  taploom('taploom', OURS),
  taploom('taploom-tap', OURS, ', underlay: tap, df: set'),
]
export const TUNNEL_NAMES = builtIn.map((s) => s.name)

/** Subjects by name; NAME=FILE is taploom of another build, FILE being its dist/cli.js. */
export function tunnelOf(text) {
  const [name, file] = text.split('=')
  return file ? taploom(name, file) : builtIn.find((s) => s.name === name)
}

/** Issue C: 1000 VNIs and 100,000 remote addresses cost at most so many times what one VNI and ten do. */
const MANY_AT_MOST = 1.1

/**
 * What bench/micro-vtep.ts found, and what it makes of a packet's whole way.
 * @param packetUs CPU of both ends per packet, from the network; null when that was not measured
 */
export function manyReport(ns, packetUs) {
  const lines = ['1000 VNIs and 100,000 remote addresses against one VNI and ten, ns per packet:', '']
  for (const [talk, label] of [
    ['among', '10 stations talk'],
    ['spread', 'all talk, behind 100 remotes'],
    ['wide', 'all talk, each its own remote'],
  ]) {
    const extra = ns[`${talk}In`] + ns[`${talk}Out`] - ns.fewIn - ns.fewOut
    const both = `in ${ns.fewIn.toFixed(0)} -> ${ns[`${talk}In`].toFixed(0)}, out ${ns.fewOut.toFixed(0)} -> ${ns[`${talk}Out`].toFixed(0)}`
    const whole = packetUs === null ? null : (packetUs * 1000 + extra) / (packetUs * 1000)
    const verdict =
      whole === null
        ? 'whole path not measured'
        : `whole path at most ${MANY_AT_MOST}  ${whole.toFixed(2)}  ${whole <= MANY_AT_MOST ? 'met' : 'not met'}`
    lines.push(`  ${label.padEnd(34)} ${both.padEnd(32)} ${verdict}`)
  }
  if (packetUs !== null)
    lines.push('', `  (on ${packetUs.toFixed(2)} us of CPU per small packet, out and in)`)
  return lines.join('\n')
}
