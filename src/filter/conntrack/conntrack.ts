// HOT
/**
 * Connection tracking: which flow a packet belongs to, and what that makes of the packet.
 *
 *     in        PREROUTING, OUTPUT (priority -200): finds the entry, or makes one that nobody finds yet;
 *               sets Ip.Ct (entry << 1 | direction, -1 = none) and Ip.CtState
 *     confirm   at the end of the way (POSTROUTING, INPUT): from now on the entry can be found
 *     drop      the packet ends before: an entry that was made for it vanishes
 *
 *     CtState       the packet
 *     New           begins a flow, or none has answered yet        Ct >= 2
 *     Established   belongs to a flow with traffic in both directions, or is the first answer
 *     Related       an ICMP error about a flow; Ct is the flow, in the direction of the error
 *     Invalid       none of these and cannot begin a flow: Ct -1, NAT leaves it alone
 *     Untracked     a rule said so (notrack), or ICMPv6 of the link
 *
 * `in` and `confirm` return PASS or the Drop that the packet ends for. A packet of which a rule wants
 * another zone comes with a template: `zone`.
 */
import { CtState, Frag, IP_SHIFT, Ip, IpFlag } from '../../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import type { Pool } from '../../packet/pool.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as l4 from '../../wire/l4.ts'
import { flags, TcpFlag } from '../../wire/tcp.ts'
import { datagram, isQuery, ofTheLink } from './datagram.ts'
import { Entries } from './entries.ts'
import { MOST_GUESSED } from './guess.ts'
import { type ConntrackMemory, Dir, ENT_SHIFT, Ent, Header, Stat, Status, V6 } from './layout.ts'
import { type ConntrackOptions, type Settings, settingsOf } from './options.ts'
import { errorFits, soundTransport } from './sound.ts'
import type { EntryTable } from './table.ts'
import * as tcp from './tcp.ts'
import * as tuple from './tuple.ts'
import { T } from './tuple.ts'

export const PASS = -1
/** Segments that may end a connection, or begin another in its place. */
const ENDS = TcpFlag.Fin | TcpFlag.Syn | TcpFlag.Rst

export interface ConntrackHost {
  readonly pool: Pool
  /** Rows of packet/ip.ts. */
  readonly ip: Int32Array
}

export class Conntrack {
  readonly entries: Entries
  readonly table: EntryTable
  readonly stats: Float64Array
  readonly settings: Settings
  /** Keeps the loads of `prefetch` and `settled` from being optimised away. */
  fetched = 0
  private readonly pool: Pool
  private readonly ip: Int32Array
  private readonly t = new Int32Array(T.Words)
  private readonly hashes = new Int32Array(MOST_GUESSED)

  constructor(host: ConntrackHost, memory: ConntrackMemory, options: ConntrackOptions = {}) {
    this.pool = host.pool
    this.ip = host.ip
    this.settings = settingsOf(options, memory)
    this.entries = new Entries(host.ip, memory, this.settings)
    this.table = this.entries.table
    this.stats = memory.stats
  }

  /**
   * A rule (CT --zone) puts the packet into a zone, before `in`.
   * @param dirs bit 0: of the original direction, bit 1: of the reply; usually both
   */
  zone(slot: number, zone: number, dirs: number): void {
    this.ip[(slot << IP_SHIFT) + Ip.Ct] = -2 - ((zone << 2) | dirs)
  }

  /** A rule (CT --notrack) keeps the packet out, before `in`. */
  untrack(slot: number): void {
    this.ip[(slot << IP_SHIFT) + Ip.CtState] = CtState.Untracked
    this.ip[(slot << IP_SHIFT) + Ip.Ct] = -1
  }

  /**
   * The packet is of a connection that is confirmed, and neither ends nor begins one: `in`, which must come next, will
   * not make an entry nor remove one. Only after `prefetch`, and for packets without a template.
   */
  settled(slot: number, nowMs: number): boolean {
    const { ip, pool, t, table } = this
    const row = slot << IP_SHIFT
    const node = ip[row + Ip.CtGuess]
    if (node < 2 || (ip[row + Ip.Flags] & (IpFlag.HasL4 | IpFlag.IcmpError)) !== IpFlag.HasL4) return false
    const e = (node >> 1) << ENT_SHIFT
    if ((table.words[e + Ent.Status] & Status.Confirmed) === 0) return false
    if (((table.words[e + Ent.ExpiresMs] - nowMs) | 0) <= 0) return false
    if (ip[row + Ip.Proto] === ipv4.Protocol.Tcp) {
      const head = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
      if ((flags(pool.view, head + ip[row + Ip.L4]) & ENDS) !== 0) return false
    }
    tuple.ofPacket(ip, row, 0, t)
    if (!table.has(node, t)) return false
    this.fetched ^= table.words[e + Ent.Counters]
    ip[row + Ip.CtGuess] = ~node
    return true
  }

  in(slot: number, nowMs: number): number {
    const ip = this.ip
    const row = slot << IP_SHIFT
    const known = ~ip[row + Ip.CtGuess]
    if (known >= 0) ip[row + Ip.CtGuess] = 0
    if (ip[row + Ip.CtState] !== 0) return PASS
    const template = ip[row + Ip.Ct]
    ip[row + Ip.Ct] = -1
    const zone = template < -1 ? (-2 - template) >>> 2 : 0
    const dirs = template < -1 ? (-2 - template) & 3 : 3
    const proto = ip[row + Ip.Proto]
    const l4Known = (ip[row + Ip.Flags] & IpFlag.HasL4) !== 0
    // No transport: the headers before it do not lead there.
    if ((ip[row + Ip.Frag] & Frag.Later) !== 0 || ip[row + Ip.L4] === 0) return this.invalid(row)
    if (tuple.isIcmp(proto)) {
      if (!l4Known) return this.invalid(row)
      if (proto === ipv4.Protocol.Icmpv6 && ofTheLink(ip[row + Ip.Ports] >>> 24)) {
        ip[row + Ip.CtState] = CtState.Untracked
        return PASS
      }
      if ((ip[row + Ip.Flags] & IpFlag.IcmpError) !== 0) return this.error(slot, row, zone, nowMs)
    } else if (!l4Known && l4.hasPorts(proto)) return this.invalid(row)
    if (!soundTransport(this.pool, ip, slot, this.settings.checksum)) return this.invalid(row)
    return this.flow(slot, row, zone, dirs, known, nowMs)
  }

  private invalid(row: number): number {
    this.ip[row + Ip.CtState] = CtState.Invalid
    this.ip[row + Ip.Ct] = -1
    this.stats[Stat.Invalid]++
    return PASS
  }

  /** @param known its entry and direction, -1 = to be found */
  private flow(slot: number, row: number, zone: number, dirs: number, known: number, nowMs: number): number {
    const { entries, ip, pool, t, table } = this
    const words = table.words
    const proto = ip[row + Ip.Proto]
    const head = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head]
    const at = head + ip[row + Ip.L4]
    const end = head + ip[row + Ip.L3] + ip[row + Ip.Length]
    for (let round = 0; round < 2; round++) {
      let node = round === 0 ? known : -1
      if (node < 0) node = this.lookUp(row, (dirs & 1) !== 0 ? zone : 0, nowMs)
      if (node < 0 && dirs !== 3) {
        node = this.ofReplyZone(row, (dirs & 2) !== 0 ? zone : 0, nowMs)
        tuple.ofPacket(ip, row, (dirs & 1) !== 0 ? zone : 0, t)
      }
      if (node < 0) {
        if (!this.canBegin(row, proto)) return this.invalid(row)
        const entry = entries.create(slot, t, zone, dirs, nowMs)
        if (entry < 0) return ~entry
        if (
          proto === ipv4.Protocol.Tcp &&
          !tcp.begin(words, entry << ENT_SHIFT, pool.view, at, end, this.settings.tcp)
        ) {
          this.entries.kill(entry)
          return this.invalid(row)
        }
        node = entry << 1
      }
      const e = (node >> 1) << ENT_SHIFT
      const dir = node & 1
      const result =
        proto === ipv4.Protocol.Tcp
          ? tcp.segment(words, e, dir, pool.view, at, end, this.settings.timeouts, this.settings.tcp)
          : datagram(words, e, proto, this.settings.timeouts, nowMs)
      if (result === tcp.TcpResult.Again) {
        this.entries.kill(node >> 1)
        continue
      }
      return this.settle(row, node, result, nowMs)
    }
    return this.invalid(row)
  }

  /** The entry and direction of the packet, whose tuple goes to `t`; -1 = there is none. */
  private lookUp(row: number, zone: number, nowMs: number): number {
    const { ip, t, table } = this
    tuple.ofPacket(ip, row, zone, t)
    const guess = ip[row + Ip.CtGuess]
    return this.entries.live(table.guessed(guess, t) ? guess : table.find(t, table.hash(t)), nowMs)
  }

  /** What the packet of an entry is, and what it does to the entry's life. */
  private settle(row: number, node: number, result: number, nowMs: number): number {
    const { ip, table } = this
    const words = table.words
    const e = (node >> 1) << ENT_SHIFT
    const dir = node & 1
    const status = words[e + Ent.Status]
    if (result === tcp.TcpResult.Invalid || result === tcp.TcpResult.InvalidShorten) {
      if (result === tcp.TcpResult.InvalidShorten) this.entries.shorten(node >> 1, nowMs)
      if ((status & Status.Confirmed) === 0) this.entries.kill(node >> 1)
      return this.invalid(row)
    }
    if (result === tcp.TcpResult.Forget) this.entries.expireAt(node >> 1, nowMs)
    else if (result > 0) {
      if (this.keeps(e, dir, status)) this.entries.expireAt(node >> 1, nowMs + result)
      if ((status & Status.Confirmed) !== 0) this.entries.account(node, ip[row + Ip.Length])
    }
    ip[row + Ip.Ct] = node
    this.stats[Stat.Found]++
    if (dir === Dir.Reply) {
      words[e + Ent.Status] |= Status.SeenReply
      ip[row + Ip.CtState] = CtState.Established
    } else ip[row + Ip.CtState] = (status & Status.SeenReply) !== 0 ? CtState.Established : CtState.New
    return PASS
  }

  /** RFC 4787 REQ-6: with the setting, inbound UDP does not keep a mapping alive. */
  private keeps(e: number, dir: number, status: number): boolean {
    if (this.settings.inboundRefresh || (this.table.words[e + Ent.Key] & 0xff) !== ipv4.Protocol.Udp)
      return true
    if ((status & Status.Inbound) !== 0) return dir === Dir.Reply || (status & Status.Confirmed) === 0
    // The first answer counts: it is what makes the flow one of both directions.
    return (status & Status.SrcNat) === 0 || dir === Dir.Original || (status & Status.SeenReply) === 0
  }

  private ofReplyZone(row: number, zone: number, nowMs: number): number {
    tuple.ofPacket(this.ip, row, zone, this.t)
    const node = this.entries.find(this.t, nowMs)
    return node >= 0 && (node & 1) === Dir.Reply ? node : -1
  }

  private canBegin(row: number, proto: number): boolean {
    return !tuple.isIcmp(proto) || isQuery(proto, this.ip[row + Ip.Ports] >>> 24)
  }

  /** An ICMP error: the flow is that of the packet it quotes, turned around. */
  private error(slot: number, row: number, zone: number, nowMs: number): number {
    const { ip, t } = this
    if (!errorFits(this.pool, ip, slot, zone, this.settings.strictErrors, t)) return this.invalid(row)
    if (!tuple.invert(t, t)) return this.invalid(row)
    // It must go to whom the quoted packet came from; else it is about somebody else's flow.
    for (let i = 0; i < ((t[T.Key] & V6) !== 0 ? 4 : 1); i++) {
      if (ip[row + Ip.Dst0 + i] !== t[T.Dst + i]) return this.invalid(row)
    }
    const node = this.entries.find(t, nowMs)
    if (node < 0) return this.invalid(row)
    ip[row + Ip.Ct] = node
    ip[row + Ip.CtState] = CtState.Related
    this.stats[Stat.Related]++
    return PASS
  }

  /** CONNMARK: the mark of the packet's flow; 0 when it has none. */
  mark(slot: number): number {
    const node = this.ip[(slot << IP_SHIFT) + Ip.Ct]
    return node < 2 ? 0 : this.table.words[((node >> 1) << ENT_SHIFT) + Ent.Mark]
  }

  setMark(slot: number, mark: number): void {
    const node = this.ip[(slot << IP_SHIFT) + Ip.Ct]
    if (node >= 2) this.table.words[((node >> 1) << ENT_SHIFT) + Ent.Mark] = mark
  }

  /** Makes the packet's entry findable. PASS, or the Drop when another has come before. */
  confirm(slot: number, nowMs: number): number {
    return this.entries.confirm(slot, nowMs)
  }

  /** The packet ends here. */
  drop(slot: number): void {
    this.entries.drop(slot)
  }

  /**
   * Looks up `n` packets that will come `in`, `slots[0..n)`: what is found goes to Ip.CtGuess, for `in` to make
   * sure of. The loads of a batch do not depend on each other, so the cache misses of a big table overlap.
   */
  prefetch(slots: Int32Array, n: number): void {
    const { hashes, ip, t, table } = this
    const most = n < MOST_GUESSED ? n : MOST_GUESSED
    for (let i = 0; i < most; i++) {
      tuple.ofPacket(ip, slots[i] << IP_SHIFT, 0, t)
      hashes[i] = table.hash(t)
    }
    this.fetched = table.guess(hashes, most)
    for (let i = 0; i < most; i++) ip[(slots[i] << IP_SHIFT) + Ip.CtGuess] = hashes[i]
  }

  /** Once a second. */
  tick(nowMs: number): void {
    this.entries.ageing.tick(nowMs)
  }

  get count(): number {
    return this.table.header[Header.Count]
  }
}
