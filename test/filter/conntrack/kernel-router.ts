/**
 * The kernel's router with conntrack in a namespace, between two TAPs whose other ends are ours: a packet in
 * by one, what comes out of the other, and what `conntrack -L` says then.
 *
 *     inside 10.0.0.2 --- t0 10.0.0.1  [kernel]  203.0.113.1 t1 --- 203.0.113.2 outside
 *
 * Rules of table mangle write the state that conntrack saw into the packet's TOS.
 */
import { readSync, writeSync } from 'node:fs'
import { native } from '../../../src/native.ts'
import { NetLab } from '../../support/netlab.ts'

export const INSIDE = '10.0.0.2'
export const OUTSIDE = '203.0.113.2'
/** TOS values that stand for states. */
const STATES = { NEW: 4, ESTABLISHED: 8, RELATED: 12, INVALID: 16, UNTRACKED: 20 } as const
const STATION = [2, 0, 0, 0, 0, 9]
/** The kernel forwards within the write; now and then it is late. */
const TRIES = 20

export interface Forwarded {
  state: string
  /** The IP packet, TOS and TTL as they were sent. */
  bytes: Uint8Array
}

export class KernelRouter {
  private readonly lab = new NetLab()
  private readonly ns: string
  private readonly fds: number[] = []
  private readonly macs: Uint8Array[] = []

  constructor(sysctls: string[] = []) {
    this.ns = this.lab.add('ct')
    const { lab, ns } = this
    const names = ['t0', 't1']
    for (const name of names) {
      this.fds.push(native.openTap({ netns: lab.path(ns), name, vnetHdr: false, exclusive: true }).fds[0])
      lab.ip(ns, `link set ${name} up mtu 9000`)
      this.macs.push(native.readLink(lab.path(ns), name)!.mac!)
    }
    const mac = STATION.map((b) => b.toString(16).padStart(2, '0')).join(':')
    lab.ip(ns, 'addr add 10.0.0.1/24 dev t0')
    lab.ip(ns, 'addr add 203.0.113.1/24 dev t1')
    for (let host = 2; host < 10; host++) {
      lab.ip(ns, `neigh add 10.0.0.${host} lladdr ${mac} dev t0`)
      lab.ip(ns, `neigh add 203.0.113.${host} lladdr ${mac} dev t1`)
    }
    lab.run(
      ns,
      'sysctl',
      '-q',
      '-w',
      'net.ipv4.ip_forward=1',
      'net.ipv4.conf.all.rp_filter=0',
      'net.ipv4.conf.t0.rp_filter=0',
      'net.ipv4.conf.t1.rp_filter=0',
      'net.ipv4.conf.t0.send_redirects=0',
    )
    lab.run(ns, 'sysctl', '-q', '-w', 'net.netfilter.nf_conntrack_acct=1', ...sysctls)
    for (const [state, tos] of Object.entries(STATES))
      this.rule(
        'mangle',
        'POSTROUTING',
        '-m',
        'conntrack',
        '--ctstate',
        state,
        '-j',
        'TOS',
        '--set-tos',
        String(tos),
      )
    this.drain(0)
    this.drain(1)
  }

  rule(table: string, chain: string, ...rest: string[]): void {
    this.lab.run(this.ns, 'iptables-legacy', '-w', '-t', table, '-A', chain, ...rest)
  }

  /** Sends an IP packet into t`from`; the IPv4 packet that comes out of t`to`, or null. */
  send(from: 0 | 1, to: 0 | 1, packet: Uint8Array): Forwarded | null {
    this.drain(0)
    this.drain(1)
    writeSync(this.fds[from], Uint8Array.from([...this.macs[from], ...STATION, 8, 0, ...packet]))
    for (let i = 0; i < TRIES; i++) {
      const frame = this.read(to)
      if (frame === null) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, i < 2 ? 0 : 1)
        continue
      }
      if (frame[12] !== 8 || frame[13] !== 0) continue
      return take(frame.slice(14), packet)
    }
    return null
  }

  private read(port: number): Uint8Array | null {
    const buffer = new Uint8Array(10000)
    try {
      return buffer.slice(0, readSync(this.fds[port], buffer))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return null
      throw error
    }
  }

  private drain(port: number): void {
    while (this.read(port) !== null);
  }

  /** The lines about 10.0.0.0/24, in some order. */
  list(): string[] {
    const text = this.lab.run(this.ns, 'conntrack', '-L', '-o', 'id')
    return text
      .split('\n')
      .filter((line) => line.includes('src='))
      .map((line) =>
        line
          .replace(/ use=\d+/, '')
          .replace(/ id=\d+$/, '')
          .trim(),
      )
      .sort()
  }

  flush(): void {
    this.lab.run(this.ns, 'conntrack', '-F')
  }

  close(): void {
    for (const fd of this.fds) native.close(fd)
    this.lab.close()
  }
}

/** The state out of the TOS; TOS, TTL and the header's checksum as in `sent`. */
function take(bytes: Uint8Array, sent: Uint8Array): Forwarded {
  const state = Object.entries(STATES).find(([, tos]) => tos === (bytes[1] & 0x1e))?.[0] ?? 'none'
  bytes[1] = sent[1]
  bytes[8] = sent[8]
  bytes[10] = 0
  bytes[11] = 0
  let sum = 0
  for (let i = 0; i < (bytes[0] & 15) * 4; i += 2) sum += (bytes[i] << 8) | bytes[i + 1]
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  bytes[10] = (~sum >> 8) & 255
  bytes[11] = ~sum & 255
  return { state, bytes }
}

/** Lines without their seconds, and the seconds. */
export function apart(lines: string[]): { text: string[]; seconds: number[] } {
  const seconds: number[] = []
  const text = lines.map((line) =>
    line.replace(/^(\S+ +\d+) (\d+)/, (_, head: string, s: string) => {
      seconds.push(Number(s))
      return head
    }),
  )
  return { text, seconds }
}
