// HOT
/**
 * Targets that do more than decide. Each returns CONTINUE (the next rule is tried, as xtables' XT_CONTINUE) or
 * a Verdict. A rewrite changes the row and the bytes, and the checksums incrementally (wire/).
 */
import { Drop } from '../../packet/drop.ts'
import { Hook, Verdict } from '../../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../../packet/ip.ts'
import { Flag, META_SHIFT, Meta, SLOT_SIZE } from '../../packet/layout.ts'
import { checksumOf } from '../../wire/checksum.ts'
import * as ipv4 from '../../wire/ipv4.ts'
import * as ipv6 from '../../wire/ipv6.ts'
import { Manip } from '../nat/range.ts'
import { PASS, Queued } from './host.ts'
import { Body, Target } from './layout.ts'
import { tosOf } from './match-variable.ts'
import { setMss } from './mss.ts'
import type { Plane } from './plane.ts'
import type { Program } from './program.ts'
import type { Report } from './report.ts'

export const CONTINUE = -1

export function act(
  plane: Plane,
  program: Program,
  report: Report,
  body: number,
  slot: number,
  nowMs: number,
): number {
  const w = program.words
  const row = slot << IP_SHIFT
  const { conntrack, ip } = plane
  const arg = w[body + Body.Arg]
  const arg2 = w[body + Body.Arg2]
  const node = ip[row + Ip.Ct]
  switch (w[body + Body.Target]) {
    case Target.Mark:
      ip[row + Ip.Mark] = (ip[row + Ip.Mark] & ~arg2) ^ arg
      return CONTINUE
    case Target.ConnmarkSet:
      if (node >= 0) conntrack.setMark(node >> 1, (conntrack.mark(node >> 1) & ~arg2) ^ arg)
      return CONTINUE
    case Target.ConnmarkSave:
      if (node >= 0)
        conntrack.setMark(node >> 1, (conntrack.mark(node >> 1) & ~arg2) ^ (ip[row + Ip.Mark] & arg))
      return CONTINUE
    case Target.ConnmarkRestore:
      if (node >= 0) ip[row + Ip.Mark] = (ip[row + Ip.Mark] & ~arg) ^ (conntrack.mark(node >> 1) & arg2)
      return CONTINUE
    default:
      plane.variable = 1
      return actOnce(plane, program, report, body, slot, row, nowMs)
  }
}

/** What must be done for every packet anew. */
function actOnce(
  plane: Plane,
  program: Program,
  report: Report,
  body: number,
  slot: number,
  row: number,
  nowMs: number,
): number {
  const w = program.words
  const { conntrack, host, ip } = plane
  const arg = w[body + Body.Arg]
  const arg2 = w[body + Body.Arg2]
  switch (w[body + Body.Target]) {
    case Target.Reject:
      // Answered when the walk is over: the answer goes through OUTPUT.
      plane.refused = 1
      plane.reply = arg
      return Verdict.Drop
    case Target.Log:
      report.log(plane, slot, w[body + Body.Counter], nowMs)
      return CONTINUE
    case Target.Nflog:
      report.nflog(plane, slot, w[body + Body.Counter], arg)
      return CONTINUE
    case Target.Queue: {
      const queue = arg + balance(ip, row, arg2 & 0xffff)
      const queued = host.queue(slot, queue, plane.hook, plane.step, nowMs)
      if (queued === Queued.Taken) return Verdict.Stolen
      // Nobody listens: dropped, or with --queue-bypass as if it had been accepted.
      const bypass = queued === Queued.Nobody && arg2 >>> 17 === 1
      if (bypass || queued === Queued.FullAccept) return Verdict.Accept
      plane.reason = queued === Queued.Nobody ? Drop.QueueNobody : Drop.QueueFull
      return Verdict.Drop
    }
    case Target.Notrack:
      if (ip[row + Ip.CtState] === 0) conntrack.untrack(slot)
      return CONTINUE
    case Target.Zone:
      if (ip[row + Ip.CtState] === 0) conntrack.zone(slot, arg < 0 ? ip[row + Ip.Mark] & 0xffff : arg, arg2)
      return CONTINUE
    case Target.Snat:
    case Target.Dnat:
    case Target.Netmap:
      return setup(plane, program, slot, arg, nowMs)
    case Target.Masquerade:
      if (!host.addressOf(slot, ip[row + Ip.OutIf], true, conntrack.natAddress)) return Verdict.Drop
      return setup(plane, program, slot, arg, nowMs)
    case Target.Redirect:
      if (plane.hook === Hook.Output) loopback(ip[row + Ip.Family], conntrack.natAddress)
      else if (!host.addressOf(slot, ip[row + Ip.InIf], false, conntrack.natAddress)) return Verdict.Drop
      return setup(plane, program, slot, arg, nowMs)
    case Target.Tcpmss:
      return setMss(plane, slot, row, arg) ? CONTINUE : Verdict.Drop
    case Target.Tos:
      setTos(plane, slot, row, arg, arg2)
      return CONTINUE
    case Target.Ttl:
      setTtl(plane, slot, row, arg, arg2)
      return CONTINUE
    case Target.Trace:
      report.traced[slot] = 1
      return CONTINUE
    case Target.Checksum:
      finishChecksum(plane, slot)
      return CONTINUE
    default:
      return CONTINUE
  }
}

/** The same queue for both directions of a flow. */
function balance(ip: Int32Array, row: number, queues: number): number {
  if (queues < 2) return 0
  const ends = ip[row + Ip.Src0] ^ ip[row + Ip.Dst0] ^ ip[row + Ip.Src0 + 3] ^ ip[row + Ip.Dst0 + 3]
  return (Math.imul(ends ^ ip[row + Ip.Proto], 0x9e3779b1) >>> 16) % queues
}

function setup(plane: Plane, program: Program, slot: number, range: number, nowMs: number): number {
  const { hook } = plane
  const manip = hook === Hook.Prerouting || hook === Hook.Output ? Manip.Destination : Manip.Source
  const result = plane.conntrack.natSetup(slot, manip, program.ranges[range], nowMs)
  if (result === PASS) return Verdict.Accept
  plane.reason = result
  return Verdict.Drop
}

function loopback(family: number, words: Int32Array): void {
  words[0] = family === 4 ? 0x7f000001 : 0
  words[1] = 0
  words[2] = 0
  words[3] = family === 4 ? 0 : 1
}

function setTos(plane: Plane, slot: number, row: number, value: number, mask: number): void {
  const at = slot * SLOT_SIZE + plane.meta[(slot << META_SHIFT) + Meta.Head] + plane.ip[row + Ip.L3]
  const tos = ((tosOf(plane, slot, row) & ~mask) ^ value) & 255
  if (plane.ip[row + Ip.Family] === 4) ipv4.setTos(plane.view, at, tos)
  else ipv6.setTos(plane.view, at, tos)
}

/** @param step 0 set, 1 add, -1 take off; never below 0 nor above 255 */
function setTtl(plane: Plane, slot: number, row: number, value: number, step: number): void {
  const { ip } = plane
  const at = slot * SLOT_SIZE + plane.meta[(slot << META_SHIFT) + Meta.Head] + ip[row + Ip.L3]
  let ttl = step === 0 ? value : ip[row + Ip.Ttl] + step * value
  if (ttl < 0) ttl = 0
  if (ttl > 255) ttl = 255
  ip[row + Ip.Ttl] = ttl
  if (ip[row + Ip.Family] === 4) ipv4.setTtl(plane.view, at, ttl)
  else ipv6.setTtl(plane.view, at, ttl)
}

/** CHECKSUM --checksum-fill: finishes what a device would. Super-frames are left to it (xt_CHECKSUM). */
function finishChecksum(plane: Plane, slot: number): void {
  const { meta, view } = plane
  const m = slot << META_SHIFT
  if ((meta[m + Meta.Flags] & Flag.CsumPartial) === 0 || meta[m + Meta.GsoSize] !== 0) return
  const head = slot * SLOT_SIZE + meta[m + Meta.Head]
  const start = meta[m + Meta.CsumStart]
  const length = meta[m + Meta.Len] - start
  if (length < meta[m + Meta.CsumOffset] + 2) return
  const sum = checksumOf(view, head + start, length, 0)
  view.setUint16(head + start + meta[m + Meta.CsumOffset], sum === 0 ? 0xffff : sum)
  meta[m + Meta.Flags] = (meta[m + Meta.Flags] & ~Flag.CsumPartial) | Flag.CsumVerified
}
