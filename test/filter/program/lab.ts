/**
 * A router in miniature around Netfilter: interfaces by name, routes by prefix, real connection tracking and
 * NAT, a clock by hand. A packet goes the way it would go, and the test sees where it ended and as what.
 */
import { Conntrack } from '../../../src/filter/conntrack/conntrack.ts'
import { conntrackMemory } from '../../../src/filter/conntrack/layout.ts'
import { type InlineSet, makeSets, parseSets } from '../../../src/filter/ipset.ts'
import type { RuleSet } from '../../../src/filter/model.ts'
import { Mappings } from '../../../src/filter/nat/mappings.ts'
import { Nat } from '../../../src/filter/nat/nat.ts'
import { Netfilter } from '../../../src/filter/netfilter.ts'
import { parseRules } from '../../../src/filter/parse.ts'
import { printRules } from '../../../src/filter/print.ts'
import { compile } from '../../../src/filter/program/compile.ts'
import { readCounters } from '../../../src/filter/program/counters.ts'
import { type FilterHost, Queued } from '../../../src/filter/program/host.ts'
import type { ProgramMemory } from '../../../src/filter/program/memory.ts'
import { Report } from '../../../src/filter/program/report.ts'
import { Tracker } from '../../../src/filter/program/tracker.ts'
import { DROPS, type Drop } from '../../../src/packet/drop.ts'
import { Hook, Verdict } from '../../../src/packet/hooks.ts'
import { IP_SHIFT, Ip, IpFlag } from '../../../src/packet/ip.ts'
import { Clock, Flag, META_SHIFT, Meta } from '../../../src/packet/layout.ts'
import { planeMemory } from '../../../src/packet/memory.ts'
import { Pool } from '../../../src/packet/pool.ts'
import { ringMemory } from '../../../src/packet/ring.ts'
import { PARSED, parse } from '../../../src/router/parse.ts'
import { ip4 } from '../../support/frames.ts'

export interface LabOptions {
  /** Rule file, IPv4 and IPv6. */
  rules?: string
  rules6?: string
  interfaces?: string[]
  /** Address of ours by interface. */
  addresses?: Record<string, string>
  /** [prefix, interface], most specific first. */
  routes?: [string, string][]
  sets?: Record<string, InlineSet>
  setText?: string
  cacheLines?: number
  track?: boolean
  counters?: boolean
  mtu?: number
}

export interface Sent {
  /** Where it ended: 'out eth1', 'in', or the name of a drop. */
  end: string
  /** Hook it was dropped at. */
  hook: number
  /** The IP packet as it ended. */
  bytes: Uint8Array
  mark: number
  refused: number[]
}

export interface Way {
  in?: string
  /** Made here: OUTPUT. */
  local?: boolean
  mac?: number[]
  pktType?: number
  mark?: number
  /** Super-frame, or unfinished checksum: Flag bits and words of Meta. */
  meta?: Partial<Record<'gsoSize' | 'gsoType' | 'csumStart' | 'csumOffset', number>>
  partial?: boolean
}

const ETHERNET = 14

export class Lab {
  nowMs = 1000
  readonly memory = planeMemory(64)
  readonly pool = new Pool(this.memory.pool, this.memory.meta)
  readonly ip = new Int32Array(this.pool.size << IP_SHIFT)
  readonly rings = { log: ringMemory(65536), nflog: ringMemory(65536) }
  readonly report = new Report(this.memory, this.pool, this.rings)
  readonly conntrack: Conntrack
  readonly filter: Netfilter
  readonly interfaces: string[]
  rules4: RuleSet | null = null
  rules6: RuleSet | null = null
  program4: ProgramMemory | null = null
  program6: ProgramMemory | null = null
  lost: string[] = []
  private refused: number[] = []
  /** Listeners of queues: take the packet? */
  listener: ((slot: number, queue: number, hook: Hook, step: number) => boolean) | null = null
  /** Sends the answer to a packet that was refused. */
  answer: ((slot: number) => void) | null = null
  readonly options: LabOptions

  constructor(options: LabOptions) {
    this.options = options
    this.interfaces = options.interfaces ?? ['eth0', 'eth1', 'eth2']
    const { ip, pool } = this
    const ctMemory = conntrackMemory(4096, new Int32Array(12).fill(7))
    this.conntrack = new Conntrack({ ip, pool }, ctMemory)
    const mappings = new Mappings(Mappings.memory(1024, 99, false), ctMemory)
    const nat = new Nat({ ip, pool }, this.conntrack, mappings)
    this.filter = new Netfilter({
      ip,
      pool,
      host: this.host(),
      conntrack: new Tracker(this.conntrack, nat),
      report: this.report,
      seed: 1,
      cacheLines: options.cacheLines,
    })
    this.memory.clock[Clock.WallSeconds] = 1_700_000_000
    this.load(options)
  }

  load({ rules, rules6, sets, setText, counters }: LabOptions): void {
    const known = sets ? makeSets(sets) : setText ? parseSets(setText) : new Map()
    const { interfaces, nowMs } = this
    const built = new Map()
    const read = (text: string | undefined, family: 4 | 6): RuleSet | null =>
      text === undefined ? null : parseRules(text, { family, sets: known })
    this.rules4 = read(rules, 4)
    this.rules6 = read(rules6, 6)
    const program = (set: RuleSet | null): ProgramMemory | null =>
      // As it arrives in the worker.
      set && structuredClone(compile(set, { interfaces, sets: known, setMemories: built, counters, nowMs }))
    this.program4 = program(this.rules4)
    this.program6 = program(this.rules6)
    this.filter.set({ v4: this.program4, v6: this.program6, track: this.options.track })
  }

  private host(): FilterHost {
    return {
      lose: (_iface, _slot, reason: Drop) => void this.lost.push(DROPS[reason][0]),
      reject: (slot, how) => {
        this.refused.push(how)
        this.answer?.(slot)
        return true
      },
      addressType: (ip, at, family) => this.typeOf(ip, at, family),
      reversePath: () => true,
      addressOf: (_slot, iface, _toHop, words) => {
        const address = this.options.addresses?.[this.interfaces[iface]]
        if (address === undefined) return false
        words[0] = ip4(address)
        return true
      },
      pathMtu: () => this.options.mtu ?? 1500,
      queue: (slot, queue, hook, step) =>
        this.listener?.(slot, queue, hook, step) ? Queued.Taken : Queued.Nobody,
    }
  }

  private typeOf(ip: Int32Array, at: number, family: number): number {
    if (family !== 4) return 2
    if (Object.values(this.options.addresses ?? {}).some((a) => ip4(a) === ip[at])) return 4
    if (ip[at] === -1) return 8
    return ip[at] >>> 28 === 14 ? 32 : 2
  }

  private route(slot: number): string {
    const dst = this.ip[(slot << IP_SHIFT) + Ip.Dst0]
    for (const [prefix, iface] of this.options.routes ?? []) {
      const [net, length] = prefix.split('/')
      const mask = Number(length) === 0 ? 0 : -1 << (32 - Number(length))
      if (((ip4(net) ^ dst) & mask) === 0) return iface
    }
    return this.interfaces[1]
  }

  /** Puts an IP packet behind an Ethernet header; its slot. */
  lay(packet: Uint8Array, way: Way = {}): number {
    const { ip, pool } = this
    const slot = pool.alloc()
    pool.reset(slot, packet.length + ETHERNET)
    const frame = pool.frame(slot)
    frame.set([2, 0, 0, 0, 0, 1, ...(way.mac ?? [2, 0, 0, 0, 0, 2]), 8, 0])
    frame.set(packet, ETHERNET)
    const m = slot << META_SHIFT
    pool.meta[m + Meta.GsoSize] = way.meta?.gsoSize ?? 0
    pool.meta[m + Meta.GsoType] = way.meta?.gsoType ?? 0
    pool.meta[m + Meta.CsumStart] = way.meta?.csumStart ?? 0
    pool.meta[m + Meta.CsumOffset] = way.meta?.csumOffset ?? 0
    if (way.partial) pool.meta[m + Meta.Flags] |= Flag.CsumPartial
    const result = parse(pool, ip, slot, ETHERNET, packet[0] >> 4)
    if (result !== PARSED) {
      pool.release(slot)
      throw new Error(`the parser drops it: ${DROPS[result][0]}`)
    }
    const row = slot << IP_SHIFT
    ip[row + Ip.InIf] = way.local ? -1 : this.interfaces.indexOf(way.in ?? this.interfaces[0])
    ip[row + Ip.PktType] = way.pktType ?? 0
    ip[row + Ip.Mark] = way.mark ?? 0
    if (way.local) ip[row + Ip.Flags] |= IpFlag.Local
    return slot
  }

  /** All the way of a packet. */
  send(packet: Uint8Array, way: Way = {}): Sent {
    const { filter, ip, nowMs } = this
    const slot = this.lay(packet, way)
    const row = slot << IP_SHIFT
    // The answer to a refused packet is sent while that packet is still in hand.
    if (this.answer === null) this.lost = []
    if (!way.local) this.refused = []
    let hook = way.local ? Hook.Output : Hook.Prerouting
    let end = ''
    if (way.local) ip[row + Ip.OutIf] = this.interfaces.indexOf(this.route(slot))
    for (;;) {
      const verdict = filter.idle(hook) ? Verdict.Accept : filter.run(hook, slot, nowMs)
      if (verdict !== Verdict.Accept) {
        end = verdict === Verdict.Drop ? (this.lost.at(-1) ?? 'lost without a name') : 'stolen'
        break
      }
      if (hook === Hook.Input) end = 'in'
      if (hook === Hook.Postrouting) end = `out ${this.interfaces[ip[row + Ip.OutIf]]}`
      if (end !== '') break
      if (hook === Hook.Prerouting) {
        hook = this.typeOf(ip, row + Ip.Dst0, ip[row + Ip.Family]) === 4 ? Hook.Input : Hook.Forward
        if (hook === Hook.Forward) ip[row + Ip.OutIf] = this.interfaces.indexOf(this.route(slot))
      } else {
        if (hook === Hook.Output) ip[row + Ip.OutIf] = this.interfaces.indexOf(this.route(slot))
        hook = Hook.Postrouting
      }
    }
    const bytes = this.pool.frame(slot).slice(ETHERNET)
    this.pool.release(slot)
    return { end, hook, bytes, mark: ip[row + Ip.Mark], refused: this.refused }
  }

  /** The rules with their live counters. */
  show(family: 4 | 6 = 4): string {
    const rules = family === 4 ? this.rules4! : this.rules6!
    readCounters(rules, (family === 4 ? this.program4 : this.program6)!)
    return printRules(rules, { counters: true })
  }

  /** Packets that the n-th rule of the file has counted. */
  packets(n = 0, family: 4 | 6 = 4): number {
    const lines = this.show(family)
      .split('\n')
      .filter((line) => line.startsWith('['))
    return Number(/^\[(\d+):/.exec(lines[n])![1])
  }
}
