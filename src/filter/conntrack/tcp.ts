// HOT
/**
 * TCP, one flow: what a segment does to its state (tcp-state.ts) if it is in the window (tcp-window.ts), and
 * for how long the entry is then remembered. As Linux 6.x; the words are in tcp-word.ts.
 *
 *     segment --table--> ignore    let through and noted: its answer shows whether it was good
 *                        invalid
 *                        a state   in the window? --> the entry is in that state, with its timeout
 *
 * A super-frame is one segment whose sequence space is the whole payload.
 */
import * as tcp from '../../wire/tcp.ts'
import { sackPermitted, windowScale } from '../../wire/tcp-option.ts'
import { Dir, Ent, Status } from './layout.ts'
import { closing, next, Segment, segmentOf, TcpState } from './tcp-state.ts'
import { inWindow, Window } from './tcp-window.ts'
import {
  after,
  endOf,
  flagsOf,
  lastDir,
  lastKind,
  retransOf,
  Seen,
  Sent,
  sentAt,
  stateOf,
  type TcpOptions,
  withFlags,
  withLast,
  withOptions,
  withScale,
  withState,
} from './tcp-word.ts'
import { Timeout } from './timeouts.ts'

/** What becomes of a segment when it is not refreshed for so many ms. */
export const enum TcpResult {
  /** Of this flow, but it changes nothing and keeps nothing alive. */
  Pass = 0,
  Invalid = -1,
  /** The flow is over and the segment starts another: kill the entry and look again. */
  Again = -2,
  /** The flow was refused before it began: forget it at once. */
  Forget = -3,
  /** Invalid, and the entry need not wait for longer than Timeout.TcpUnacked. */
  InvalidShorten = -4,
}

/** The first segment of an entry. False when none can begin with it. `end` is behind the packet. */
export function begin(
  w: Int32Array,
  e: number,
  view: DataView,
  at: number,
  end: number,
  o: TcpOptions,
): boolean {
  const segment = segmentOf(tcp.flags(view, at))
  const state = next(TcpState.None, Dir.Original, segment)
  if (state >= TcpState.Invalid || (state !== TcpState.SynSent && !o.loose)) return false
  const s = sentAt(e, Dir.Original)
  const window = tcp.window(view, at) || 1
  const top = endOf(view, at, end)
  w[s + Sent.End] = top
  w[s + Sent.MaxWin] = window
  let word = withLast(0, Dir.Original, Segment.None)
  if (state === TcpState.SynSent) {
    w[s + Sent.MaxEnd] = top
    word = withOptions(word, Dir.Original, view, at)
  } else {
    w[s + Sent.MaxEnd] = top + window
    word = withFlags(word, Dir.Original, Seen.SackPermitted | Seen.Liberal)
    word = withFlags(word, Dir.Reply, Seen.SackPermitted | Seen.Liberal)
  }
  w[e + Ent.Tcp] = word
  return true
}

/**
 * A segment of a flow, in direction `dir`; `end` is behind the packet. Returns for how many ms the entry is
 * to be remembered from now on, or a TcpResult.
 */
export function segment(
  w: Int32Array,
  e: number,
  dir: number,
  view: DataView,
  at: number,
  end: number,
  timeouts: Int32Array,
  o: TcpOptions,
): number {
  const flags = tcp.flags(view, at)
  const kind = segmentOf(flags)
  const word = w[e + Ent.Tcp]
  let old: number = stateOf(w, e)
  let state = next(old, dir, kind)
  let skip = false
  switch (state) {
    case TcpState.Invalid:
      return TcpResult.Invalid
    case TcpState.SynSent:
    case TcpState.Ignore:
      if (state === TcpState.SynSent) {
        if (old < TcpState.TimeWait) break
        const seen = flagsOf(word, Dir.Original) | flagsOf(word, Dir.Reply)
        if ((seen & Seen.CloseInit) !== 0 || (lastDir(word) === dir && lastKind(word) === Segment.Rst))
          return TcpResult.Again
      }
      if (
        kind === Segment.SynAck &&
        lastKind(word) === Segment.Syn &&
        lastDir(word) !== dir &&
        tcp.ack(view, at) === w[e + Ent.LastEnd]
      ) {
        resync(w, e, dir)
        old = TcpState.SynSent
        state = TcpState.SynRecv
        break
      }
      remember(w, e, dir, kind, old, view, at, end)
      return TcpResult.Pass
    case TcpState.TimeWait:
      if (challenged(w, e, dir, kind, old)) return TcpResult.Pass
      break
    case TcpState.SynSent2:
      w[e + Ent.TcpLast] |= Seen.BothSyn << 24
      break
    case TcpState.SynRecv:
      // The table does not know simultaneous open: there, this ACK completes it.
      if (dir === Dir.Reply && kind === Segment.Ack && ((w[e + Ent.TcpLast] >>> 24) & Seen.BothSyn) !== 0)
        state = TcpState.Established
      break
    case TcpState.Close:
      if (kind !== Segment.Rst) break
      skip = closing(old)
      if (skip) break
      if ((flagsOf(word, dir ^ 1) & Seen.MaxAck) !== 0 && lastKind(word) !== Segment.Syn) {
        state = reset(w, e, dir, old, view, at, o)
        if (state === TcpState.Invalid) return TcpResult.Invalid
        if (state === TcpState.Close) break
      }
      skip = answersIgnored(w, e, dir, old, view, at)
      break
  }
  if (!skip) {
    const fit = inWindow(w, e, dir, kind, view, at, end, o)
    if (fit === Window.Pass) return TcpResult.Pass
    if (fit === Window.Invalid) return refuse(w, e, dir, kind)
  }
  return settle(w, e, dir, kind, old, state, timeouts, o)
}

/**
 * A segment outside of the window. FINs or RSTs of both sides in a row say that the flow is over and only
 * this entry does not know: it need not wait for days.
 */
function refuse(w: Int32Array, e: number, dir: number, kind: number): TcpResult {
  if (kind !== Segment.Rst && kind !== Segment.Fin) return TcpResult.Invalid
  if ((w[e + Ent.Status] & Status.Assured) === 0) return TcpResult.Invalid
  const word = w[e + Ent.Tcp]
  const before = lastKind(word)
  if (lastDir(word) !== dir && (before === Segment.Fin || before === Segment.Rst))
    return TcpResult.InvalidShorten
  w[e + Ent.Tcp] = withLast(word, dir, kind)
  return TcpResult.Invalid
}

/** A segment in the window: the state changes, and with it how long the entry lives. */
function settle(
  w: Int32Array,
  e: number,
  dir: number,
  kind: number,
  old: number,
  state: number,
  timeouts: Int32Array,
  o: TcpOptions,
): number {
  let word = withState(withLast(w[e + Ent.Tcp], dir, kind), state)
  if (old !== state && state === TcpState.FinWait)
    word = withFlags(word, dir, flagsOf(word, dir) | Seen.CloseInit)
  w[e + Ent.Tcp] = word
  let ms = timeouts[state]
  const unacked = (flagsOf(word, Dir.Original) | flagsOf(word, Dir.Reply)) & Seen.Unacked
  if (retransOf(word) >= o.maxRetrans && ms > timeouts[Timeout.TcpRetrans]) ms = timeouts[Timeout.TcpRetrans]
  else if (kind === Segment.Rst) ms = timeouts[Timeout.TcpClose]
  else if (unacked !== 0 && ms > timeouts[Timeout.TcpUnacked]) ms = timeouts[Timeout.TcpUnacked]
  else if ((w[e + Ent.TcpLast] & 0xffff) === 0 && ms > timeouts[Timeout.TcpRetrans])
    ms = timeouts[Timeout.TcpRetrans]
  const status = w[e + Ent.Status]
  if ((status & Status.SeenReply) === 0) {
    if (kind === Segment.Rst) return TcpResult.Forget
    // A SYN sent again does not keep the entry: a port that is used again would never be free.
    if (kind === Segment.Syn && old === TcpState.SynSent) return TcpResult.Pass
    if (state === TcpState.Established && ms > timeouts[Timeout.TcpUnacked]) ms = timeouts[Timeout.TcpUnacked]
  } else if (state === TcpState.Established && (old === TcpState.SynRecv || old === TcpState.Established)) {
    w[e + Ent.Status] = status | Status.Assured
  }
  return ms
}

/** A SYN-ACK answers the SYN that was let through: both ends know more than we, so we begin anew with them. */
function resync(w: Int32Array, e: number, dir: number): void {
  const other = dir ^ 1
  const s = sentAt(e, other)
  const last = w[e + Ent.TcpLast]
  w[s + Sent.End] = w[e + Ent.LastEnd]
  w[s + Sent.MaxEnd] = w[e + Ent.LastEnd]
  w[s + Sent.MaxWin] = last & 0xffff || 1
  w[s + Sent.MaxAck] = 0
  const seen = (last >>> 24) & Seen.All
  let word = withScale(withFlags(w[e + Ent.Tcp], other, seen), other, (last >>> 16) & 15)
  word = withScale(withFlags(word, dir, flagsOf(word, dir) & Seen.Liberal), dir, 0)
  w[e + Ent.Tcp] = word
  w[e + Ent.TcpLast] = last & ~(Seen.Challenge << 24)
  const r = sentAt(e, dir)
  for (let i = 0; i < 4; i++) w[r + i] = 0
}

/** Notes a segment that is let through unchecked, to know its answer. */
function remember(
  w: Int32Array,
  e: number,
  dir: number,
  kind: number,
  old: number,
  view: DataView,
  at: number,
  end: number,
): void {
  w[e + Ent.Tcp] = withLast(w[e + Ent.Tcp], dir, kind)
  w[e + Ent.LastSeq] = tcp.seq(view, at)
  w[e + Ent.LastEnd] = endOf(view, at, end)
  let last = (w[e + Ent.TcpLast] & 0xffff0000) | tcp.window(view, at)
  if (kind === Segment.Syn && dir === Dir.Original) {
    const scale = windowScale(view, at)
    const seen =
      (scale >= 0 ? Seen.Scale : 0) |
      (sackPermitted(view, at) ? Seen.SackPermitted : 0) |
      (old === TcpState.LastAck ? Seen.Challenge : 0)
    last = (last & 0xffff) | (seen << 24) | ((scale > 0 ? scale : 0) << 16)
  }
  w[e + Ent.TcpLast] = last
  if (old === TcpState.SynSent && kind === Segment.Ack && dir === Dir.Reply)
    w[e + Ent.LastAck] = tcp.ack(view, at)
}

/** RFC 5961: the ACK that answers a spurious SYN is not the last ACK. */
function challenged(w: Int32Array, e: number, dir: number, kind: number, old: number): boolean {
  const word = w[e + Ent.Tcp]
  const last = w[e + Ent.TcpLast]
  if (old !== TcpState.LastAck || kind !== Segment.Ack || lastDir(word) === dir) return false
  if (lastKind(word) !== Segment.Syn || ((last >>> 24) & Seen.Challenge) === 0) return false
  w[e + Ent.TcpLast] = last & ~(Seen.Challenge << 24)
  return true
}

/** The state after a RST that must prove itself: Close, Invalid, or the old one (a challenge may follow). */
function reset(
  w: Int32Array,
  e: number,
  dir: number,
  old: number,
  view: DataView,
  at: number,
  o: TcpOptions,
): number {
  const word = w[e + Ent.Tcp]
  const seq = tcp.seq(view, at)
  const established = old === TcpState.Established && (w[e + Ent.Status] & Status.Assured) !== 0
  if (seq === 0 && !established) return TcpState.Close
  const expected = w[sentAt(e, dir ^ 1) + Sent.MaxAck]
  if (after(expected, seq) && !o.ignoreInvalidRst) return TcpState.Invalid
  if (!established || seq === expected) return TcpState.Close
  // Right behind the data the same side has just sent.
  const behind = lastKind(word) === Segment.Ack && lastDir(word) === dir && seq === w[e + Ent.LastEnd]
  return behind ? TcpState.Close : old
}

/** The RST answers a SYN or ACK that was let through unchecked. */
function answersIgnored(
  w: Int32Array,
  e: number,
  dir: number,
  old: number,
  view: DataView,
  at: number,
): boolean {
  const status = w[e + Ent.Status]
  const last = lastKind(w[e + Ent.Tcp])
  if (lastDir(w[e + Ent.Tcp]) === dir) return false
  // A client uses a port again; its SYN was challenged, and this is how it answers (RFC 5961 4.2).
  if (old === TcpState.SynSent && last === Segment.Ack && tcp.seq(view, at) === w[e + Ent.LastAck])
    return true
  const syn = (status & Status.SeenReply) !== 0 && last === Segment.Syn
  const ack = (status & Status.Assured) === 0 && last === Segment.Ack
  return (syn || ack) && tcp.ack(view, at) === w[e + Ent.LastEnd]
}
