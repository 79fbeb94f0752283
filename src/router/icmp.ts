// HOT
/**
 * ICMP and ICMPv6 errors of the router: when they must not be sent, how many may be, and what they quote.
 *
 * Never (RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4 e) about an ICMP error, a fragment that is not
 * the first, a packet to a link-layer or network group address (ICMPv6: but for packet too big), or from
 * a source that is not one host.
 *
 * Limits as Linux's: a bucket per destination (icmp_ratelimit, 1 in `intervalMs`, up to BURST saved) and
 * one for all (icmp_msgs_per_sec, icmp_msgs_burst). What is over is counted, and nothing else happens. Errors by
 * which a source finds out how long a packet may be are not limited: without them a connection hangs.
 */
import { CtState, Frag, IP_SHIFT, Ip, IpFlag } from '../packet/ip.ts'
import { META_SHIFT, Meta, SLOT_SIZE } from '../packet/layout.ts'
import * as checksum from '../wire/checksum.ts'
import * as icmp from '../wire/icmp.ts'
import * as icmpv6 from '../wire/icmpv6.ts'
import * as ipv4 from '../wire/ipv4.ts'
import * as ipv6 from '../wire/ipv6.ts'
import { describeMade, MADE_TTL } from './made.ts'
import type { Router } from './router.ts'
import { errorSource4, errorSource6 } from './source.ts'

/** RFC 1812 4.3.2.3: as much of the packet as fits in 576 bytes; RFC 4443: in 1280. */
const MOST4 = 576
const MOST6 = 1280
/** Precedence 6, internetwork control (RFC 1812 4.3.2.5); the packet's own TOS bits stay, as in Linux. */
const TOS_CONTROL = 0xc0
const TOS_KEPT = 0x1e
const BUCKETS = 1024
const BURST = 6
const PER_SECOND = 1000
const ALL_BURST = 50

export const enum Icmp4Code {
  HostUnreachable = (3 << 8) | 1,
  ProtocolUnreachable = (3 << 8) | 2,
  PortUnreachable = (3 << 8) | 3,
  FragmentationNeeded = (3 << 8) | 4,
  NetUnreachable = 3 << 8,
  Prohibited = (3 << 8) | 13,
  TtlExceeded = 11 << 8,
  ReassemblyExceeded = (11 << 8) | 1,
  ParameterProblem = 12 << 8,
}

export const enum Icmp6Code {
  NoRoute = 1 << 8,
  Prohibited = (1 << 8) | 1,
  /** A link-local source, and the destination is on another link. */
  BeyondScope = (1 << 8) | 2,
  AddressUnreachable = (1 << 8) | 3,
  PortUnreachable = (1 << 8) | 4,
  TooBig = 2 << 8,
  HopLimitExceeded = 3 << 8,
  ReassemblyExceeded = (3 << 8) | 1,
  ParameterProblem = 4 << 8,
  UnknownNextHeader = (4 << 8) | 1,
}

export class IcmpErrors {
  /** Least time between two errors to one destination, ms. */
  intervalMs = 1000
  /** Errors that a limit held back. */
  limited = 0
  private readonly router: Router
  private readonly source = new Int32Array(4)
  private readonly credit = new Float64Array(BUCKETS)
  private readonly filledMs = new Float64Array(BUCKETS).fill(-1)
  private allCredit = ALL_BURST
  private allFilledMs = -1

  constructor(router: Router) {
    this.router = router
  }

  /**
   * Sends an error about `slot`, which stays the caller's.
   * @param code4 and code6: type << 8 | code, for the packet's family; -1 = none for this family
   * @param info the word behind the checksum: MTU, pointer
   */
  send(slot: number, code4: number, code6: number, info: number, nowMs: number): void {
    const { ip } = this.router.host
    const row = slot << IP_SHIFT
    const four = ip[row + Ip.Family] === 4
    const code = four ? code4 : code6
    if (code < 0 || !this.allowed(ip, row, four, code)) return
    const aboutSize = four ? code === Icmp4Code.FragmentationNeeded : code === Icmp6Code.TooBig
    if (
      !aboutSize &&
      !this.withinLimits(four ? ip[row + Ip.Src0] : ip[row + Ip.Src0 + 3] ^ ip[row + Ip.Src0 + 1], nowMs)
    ) {
      this.limited++
      return
    }
    if (four) this.send4(slot, row, code, info, nowMs)
    else this.send6(slot, row, code, info, nowMs)
  }

  private allowed(ip: Int32Array, row: number, four: boolean, code: number): boolean {
    if ((ip[row + Ip.Flags] & (IpFlag.IcmpError | IpFlag.Broadcast)) !== 0) return false
    if ((ip[row + Ip.Frag] & Frag.Later) !== 0) return false
    const tooBig = !four && code === Icmp6Code.TooBig
    if (ip[row + Ip.PktType] !== 0 && (ip[row + Ip.Flags] & IpFlag.Local) === 0 && !tooBig) return false
    if (four) {
      // An ICMP type that nobody knows may be an error (RFC 1122 3.2.2; Linux).
      if (ip[row + Ip.Proto] === ipv4.Protocol.Icmp && ip[row + Ip.Ports] >>> 24 > icmp.IcmpType.MaskReply)
        return false
      const dst = ip[row + Ip.Dst0]
      return ip[row + Ip.Src0] !== 0 && dst !== -1 && dst >>> 28 !== 14
    }
    const src = row + Ip.Src0
    if ((ip[src] | ip[src + 1] | ip[src + 2] | ip[src + 3]) === 0) return false
    return tooBig || ip[row + Ip.Dst0] >>> 24 !== 0xff
  }

  private withinLimits(key: number, nowMs: number): boolean {
    if (this.allFilledMs !== nowMs) {
      const grown = this.allCredit + ((nowMs - this.allFilledMs) * PER_SECOND) / 1000
      this.allCredit = grown < ALL_BURST ? grown : ALL_BURST
      this.allFilledMs = nowMs
    }
    if (this.allCredit < 1) return false
    const i = (Math.imul(key, 0x9e3779b1) >>> 22) & (BUCKETS - 1)
    const saved = this.filledMs[i] < 0 ? BURST : this.credit[i] + (nowMs - this.filledMs[i]) / this.intervalMs
    this.filledMs[i] = nowMs
    this.credit[i] = saved < BURST ? saved : BURST
    if (this.credit[i] < 1) return false
    this.credit[i] -= 1
    this.allCredit -= 1
    return true
  }

  private send4(slot: number, row: number, code: number, info: number, nowMs: number): void {
    const { ip, pool } = this.router.host
    const { view } = pool
    const toUs = (ip[row + Ip.Flags] & IpFlag.ToUs) !== 0
    const src = toUs ? ip[row + Ip.Dst0] : errorSource4(this.router, slot)
    if (src === 0) return
    const quote = Math.min(ip[row + Ip.Length], MOST4 - ipv4.SIZE - icmp.SIZE)
    const made = this.router.host.make(ipv4.SIZE + icmp.SIZE + quote)
    if (made < 0) return
    const from = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
    const at = made * SLOT_SIZE + pool.meta[(made << META_SHIFT) + Meta.Head]
    const total = ipv4.SIZE + icmp.SIZE + quote
    const tos = (ipv4.tos(view, from) & TOS_KEPT) | TOS_CONTROL
    ipv4.write(view, at, total, ipv4.Protocol.Icmp, src, ip[row + Ip.Src0], MADE_TTL, tos, made, false)
    icmp.write(view, at + ipv4.SIZE, code >> 8, code & 0xff, info)
    pool.bytes.copyWithin(at + ipv4.SIZE + icmp.SIZE, from, from + quote)
    icmp.fillChecksum(view, at + ipv4.SIZE, icmp.SIZE + quote)
    this.describe(made, 4, row, total, ipv4.SIZE)
    ip[(made << IP_SHIFT) + Ip.Src0] = src
    this.router.originate(made, nowMs)
  }

  private send6(slot: number, row: number, code: number, info: number, nowMs: number): void {
    const { ip, pool } = this.router.host
    const { view } = pool
    const toUs = (ip[row + Ip.Flags] & IpFlag.ToUs) !== 0
    const { source } = this
    if (!toUs && !errorSource6(this.router, slot, source, 0)) return
    const quote = Math.min(ip[row + Ip.Length], MOST6 - ipv6.SIZE - icmpv6.SIZE)
    const total = ipv6.SIZE + icmpv6.SIZE + quote
    const made = this.router.host.make(total)
    if (made < 0) return
    const from = slot * SLOT_SIZE + pool.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
    const at = made * SLOT_SIZE + pool.meta[(made << META_SHIFT) + Meta.Head]
    ipv6.write(view, at, icmpv6.SIZE + quote, ipv4.Protocol.Icmpv6, MADE_TTL, 0, 0)
    const to = made << IP_SHIFT
    for (let i = 0; i < 4; i++) {
      ip[to + Ip.Src0 + i] = toUs ? ip[row + Ip.Dst0 + i] : source[i]
      view.setInt32(at + 8 + 4 * i, ip[to + Ip.Src0 + i])
      view.setInt32(at + 24 + 4 * i, ip[row + Ip.Src0 + i])
    }
    icmpv6.write(view, at + ipv6.SIZE, code >> 8, code & 0xff, info)
    pool.bytes.copyWithin(at + ipv6.SIZE + icmpv6.SIZE, from, from + quote)
    const pseudo = checksum.pseudo6(view, at, ipv4.Protocol.Icmpv6, icmpv6.SIZE + quote)
    icmpv6.fillChecksum(view, at + ipv6.SIZE, icmpv6.SIZE + quote, pseudo)
    this.describe(made, 6, row, total, ipv6.SIZE)
    this.router.originate(made, nowMs)
  }

  /** The row of an error, to the source of the packet of `row`. */
  private describe(made: number, family: number, row: number, length: number, l4: number): void {
    const { ip, pool } = this.router.host
    const to = made << IP_SHIFT
    const at = made * SLOT_SIZE + pool.meta[(made << META_SHIFT) + Meta.Head] + l4
    const ports =
      (icmp.type(pool.view, at) << 24) | (icmp.code(pool.view, at) << 16) | icmp.ident(pool.view, at)
    const proto = family === 4 ? ipv4.Protocol.Icmp : ipv4.Protocol.Icmpv6
    describeMade(ip, made, family, proto, l4, length, ports, IpFlag.IcmpError)
    // It belongs to that packet's connection, though nobody can find it yet, or ever (nf_ct_attach).
    const node = ip[row + Ip.Ct]
    if (node >= 2) {
      ip[to + Ip.Ct] = node ^ 1
      ip[to + Ip.CtState] = CtState.Related
    }
    for (let i = 0; i < 4; i++) ip[to + Ip.Dst0 + i] = ip[row + Ip.Src0 + i]
  }
}
