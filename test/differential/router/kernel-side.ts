/**
 * The kernel as the router: a namespace whose devices are TAPs, their other ends ours. A frame is written into
 * one; the kernel forwards it within the write, so what came out of the others can be read at once.
 *
 * Sysctls that make it comparable: no ICMP rate limits (ours are lifted too), no redirects (we send none), no
 * reverse-path filter, source routes refused as we refuse them, no flow labels for packets of its own, no
 * duplicate address detection; fragments are not given up while the test runs (the error would come in the middle
 * of another rule set). The rest is as the kernel comes.
 */
import { spawnSync } from 'node:child_process'
import { DeviceKind, type Io, native } from '../../../src/native.ts'
import { BATCH } from '../../../src/packet/layout.ts'
import { type PlaneMemory, planeMemory } from '../../../src/packet/memory.ts'
import { Pool } from '../../../src/packet/pool.ts'
import { RX_BUDGET } from '../../../src/port/device.ts'
import { mac } from '../../support/frames.ts'
import { NetLab } from '../../support/netlab.ts'
import { fill, onWire } from '../../support/port.ts'
import { hostMac, routerMac, type World } from './world.ts'

const ALWAYS = [
  'net.ipv4.ip_forward=1',
  'net.ipv4.icmp_ratelimit=0',
  'net.ipv4.icmp_ratemask=0',
  'net.ipv4.icmp_msgs_per_sec=1000000',
  'net.ipv4.icmp_msgs_burst=100000',
  'net.ipv6.icmp.ratelimit=0',
  'net.ipv4.icmp_echo_ignore_broadcasts=1',
  'net.ipv6.auto_flowlabels=0',
  'net.ipv4.ipfrag_time=3600',
  'net.ipv6.ip6frag_time=3600',
  'net.netfilter.nf_conntrack_frag6_timeout=3600',
]
const EACH = [
  'net.ipv4.conf.IF.rp_filter=0',
  'net.ipv4.conf.IF.accept_local=0',
  'net.ipv4.conf.IF.send_redirects=0',
  'net.ipv4.conf.IF.secure_redirects=0',
  'net.ipv4.conf.IF.accept_source_route=0',
  'net.ipv4.conf.IF.route_localnet=0',
  'net.ipv6.conf.IF.accept_dad=0',
  'net.ipv6.conf.IF.dad_transmits=0',
  'net.ipv6.conf.IF.router_solicitations=0',
  'net.ipv6.conf.IF.accept_ra=0',
  'net.ipv6.conf.IF.accept_source_route=0',
  'net.ipv6.conf.IF.mldv2_unsolicited_report_interval=100',
]
/** How long the kernel may be late with a frame that we sent. */
const LATE_MS = 400

const cell = new Int32Array(new SharedArrayBuffer(4))
export const sleep = (ms: number): void => void Atomics.wait(cell, 0, 0, ms)

export class KernelSide {
  private readonly lab = new NetLab()
  private readonly ns: string
  private readonly fds: number[] = []
  private readonly memory: PlaneMemory = planeMemory(2 * BATCH)
  private readonly pool = new Pool(this.memory.pool, this.memory.meta)
  private readonly io: Io

  constructor(world: World) {
    const { lab } = this
    this.ns = lab.add('k', { ipv6: true })
    const { ns } = this
    for (let i = 0; i < BATCH; i++) this.memory.rx[i] = this.pool.alloc()
    const { pool, meta, rx, txq, events, clock, txResult } = this.memory
    this.io = new native.Io({ pool, meta, rx, txq, events, clock, txResult })
    lab.run(
      ns,
      'sysctl',
      '-q',
      '-w',
      ...ALWAYS,
      ...EACH.flatMap((s) => [s.replace('IF', 'all'), s.replace('IF', 'default')]),
    )
    const commands: string[] = []
    world.links.forEach(({ addresses, hosts, mtu, name }, i) => {
      const fd = native.openTap({ netns: lab.path(ns), name, vnetHdr: false }).fds[0]
      this.fds.push(fd)
      this.io.attach(fd, DeviceKind.Tap, 0, 0, i)
      const generated = world.linkLocal ? 0 : 1
      lab.run(
        ns,
        'sysctl',
        '-q',
        '-w',
        `net.ipv6.conf.${name}.addr_gen_mode=${generated}`,
        ...EACH.map((s) => s.replace('IF', name)),
      )
      commands.push(`link set ${name} address ${mac(routerMac(i))} mtu ${mtu} txqueuelen 10000 up`)
      for (const a of addresses) commands.push(`addr add ${a} dev ${name}${a.includes(':') ? ' nodad' : ''}`)
      for (const h of hosts)
        commands.push(`neigh replace ${h} lladdr ${mac(hostMac(i))} dev ${name} nud permanent`)
    })
    for (const { kind, link, src, to, via } of world.ways) {
      const way = kind ? `${kind} ${to}` : `${to} via ${via} dev ${world.links[link!].name}`
      commands.push(`route add ${way}${src ? ` src ${src}` : ''}`)
    }
    this.command(['ip', '-batch', '-'], `${commands.join('\n')}\n`)
    // Behind the devices: they join the routers' groups now.
    lab.run(ns, 'sysctl', '-q', '-w', 'net.ipv6.conf.all.forwarding=1')
  }

  /** Waits until the kernel has nothing to say of its own: group memberships of a link that came up. */
  settle(quietMs = 1200): void {
    for (let quiet = 0; quiet < quietMs; quiet += 20) {
      sleep(20)
      if (
        this.collect(
          this.fds.map(() => []),
          true,
        ) > 0
      )
        quiet = 0
    }
  }

  command(argv: string[], input = ''): string {
    const done = spawnSync('nsenter', [`--net=${this.lab.path(this.ns)}`, ...argv], {
      input,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    })
    if (done.status !== 0) throw new Error(`${argv.join(' ')}: ${done.stderr}`)
    return done.stdout
  }

  /** @param text whole tables, which replace those of the same name */
  load(family: 4 | 6, text: string): void {
    this.command([family === 4 ? 'iptables-legacy-restore' : 'ip6tables-legacy-restore', '-c'], text)
  }

  rules(family: 4 | 6): string {
    return this.command([family === 4 ? 'iptables-legacy-save' : 'ip6tables-legacy-save', '-c'])
  }

  forgetConnections(): void {
    this.command(['conntrack', '-F'])
  }

  connections(family: 4 | 6): string[] {
    return this.command(['conntrack', '-L', '-f', family === 4 ? 'ipv4' : 'ipv6'])
      .split('\n')
      .filter((line) => line.includes('src='))
  }

  /** Sends one frame; what came out, by link. @param expected frames to wait for, for a while */
  send(link: number, frame: Uint8Array, expected: number): Uint8Array[][] {
    const out: Uint8Array[][] = this.fds.map(() => [])
    fill(this.pool, BATCH, { frame }, link)
    this.memory.txq[0] = BATCH
    this.memory.txq[1] = 0
    this.io.tx(link, 0, 1)
    let n = this.collect(out)
    for (let waited = 0; n < expected && waited < LATE_MS; waited++) {
      sleep(1)
      n += this.collect(out)
    }
    return out
  }

  /** Reads what there is. @param chatter count what the kernel says unasked, too */
  collect(out: Uint8Array[][], chatter = false): number {
    let n = 0
    for (let link = 0; link < this.fds.length; link++) {
      const got = this.io.rx(link, 0, BATCH, RX_BUDGET)
      for (let i = 0; i < got; i++) {
        const frame = onWire(this.pool, this.memory.rx[i], 0)
        if (!unasked(frame)) out[link].push(frame)
        else if (!chatter) continue
        n++
      }
    }
    return n
  }

  close(): void {
    this.io.close()
    for (const fd of this.fds) native.close(fd)
    this.lab.close()
  }
}

/** ICMPv6 of the link itself: reports of group membership, solicitations. Also behind hop-by-hop options. */
export function unasked(frame: Uint8Array): boolean {
  if (frame[12] !== 0x86 || frame[13] !== 0xdd) return false
  const options = frame[20] === 0
  if (frame[options ? 54 : 20] !== 58) return false
  const type = frame[options ? 54 + 8 : 54]
  return type === 143 || type === 133
}
