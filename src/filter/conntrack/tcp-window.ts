// HOT
/**
 * The window of TCP, after Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", as Linux 6.x
 * has it. A segment of the sender is good when (words: tcp-word.ts)
 *
 *     I    seq  <= sender.MaxEnd                                 it is not beyond what the receiver allowed
 *     II   end  >= sender.End - receiver.MaxWin                  nor long acknowledged,
 *     III  sack <= receiver.End                                  it acknowledges what was seen
 *     IV   sack >= receiver.End - max(66000, sender.MaxWin)      and that is not ages ago
 *
 * Beyond I, or beyond III: invalid. Beyond I by less than a window, under II, under IV: let through, but
 * nothing is learned from it and it does not keep the entry alive.
 */
import * as tcp from '../../wire/tcp.ts'
import { sackEdge } from '../../wire/tcp-option.ts'
import { Dir, Ent } from './layout.ts'
import { Segment, TcpState } from './tcp-state.ts'
import {
  after,
  endOf,
  flagsOf,
  lastDir,
  retransOf,
  Seen,
  Sent,
  scaleOf,
  sentAt,
  stateOf,
  type TcpOptions,
  withFlags,
  withLast,
  withOptions,
  withRetrans,
  withScale,
} from './tcp-word.ts'

const MAX_ACK_WINDOW = 66000

export const enum Window {
  Good = 0,
  /** Let through. */
  Pass = 1,
  Invalid = 2,
}

/** Checks a segment of direction `dir` and learns from it. `last` is behind the packet. */
export function inWindow(
  w: Int32Array,
  e: number,
  dir: number,
  kind: number,
  view: DataView,
  at: number,
  last: number,
  o: TcpOptions,
): Window {
  const s = sentAt(e, dir)
  const r = sentAt(e, dir ^ 1)
  const flags = tcp.flags(view, at)
  const state = stateOf(w, e)
  const rawWindow = tcp.window(view, at)
  let seq = tcp.seq(view, at)
  let ack = tcp.ack(view, at)
  let end = endOf(view, at, last)
  let sack = (flagsOf(w[e + Ent.Tcp], dir ^ 1) & Seen.SackPermitted) !== 0 ? sackEdge(view, at, ack) : ack

  if (w[s + Sent.MaxWin] === 0) {
    if (kind === Segment.Syn || kind === Segment.SynAck) {
      start(w, e, dir, view, at, end, rawWindow)
      // Simultaneous open: there is nothing to compare with yet.
      if ((flags & tcp.TcpFlag.Ack) === 0) return Window.Good
    } else pickUp(w, e, dir, end, sack, rawWindow)
  } else if (
    (flags & tcp.TcpFlag.Syn) !== 0 &&
    after(end, w[s + Sent.End]) &&
    (state === TcpState.SynSent || state === TcpState.SynRecv)
  ) {
    // It begins anew, with higher numbers (RFC 793 3.3), or answers again with others.
    start(w, e, dir, view, at, end, rawWindow)
    if (dir === Dir.Reply && (flags & tcp.TcpFlag.Ack) === 0) return Window.Good
  }

  // Without an ACK, or a RST with an empty one: taken as right. RSTs that answer a SYN have no number.
  if ((flags & tcp.TcpFlag.Ack) === 0 || ((flags & tcp.TcpFlag.Rst) !== 0 && ack === 0)) {
    ack = w[r + Sent.End]
    sack = ack
  }
  if ((flags & tcp.TcpFlag.Rst) !== 0 && seq === 0 && state === TcpState.SynSent) {
    seq = w[s + Sent.End]
    end = seq
  }
  const result = bounds(w, e, dir, s, r, seq, end, sack)
  const liberal = o.liberal || (flagsOf(w[e + Ent.Tcp], dir) & Seen.Liberal) !== 0
  if (result !== Window.Good) return liberal ? Window.Good : result
  learn(w, e, dir, kind, flags, seq, ack, sack, end, rawWindow)
  return Window.Good
}

/** The first SYN of a side. */
function start(
  w: Int32Array,
  e: number,
  dir: number,
  view: DataView,
  at: number,
  end: number,
  rawWindow: number,
): void {
  const s = sentAt(e, dir)
  w[s + Sent.End] = end
  w[s + Sent.MaxEnd] = end
  w[s + Sent.MaxWin] = rawWindow || 1
  let word = withOptions(w[e + Ent.Tcp], dir, view, at)
  // RFC 7323 2.2: windows are scaled if both sides say so.
  if (dir === Dir.Reply && (flagsOf(word, 0) & flagsOf(word, 1) & Seen.Scale) === 0)
    word = withScale(withScale(word, Dir.Original, 0), Dir.Reply, 0)
  w[e + Ent.Tcp] = word
}

/** The first segment of a side whose SYN was not seen: what it says is believed. */
function pickUp(w: Int32Array, e: number, dir: number, end: number, sack: number, rawWindow: number): void {
  const s = sentAt(e, dir)
  const r = sentAt(e, dir ^ 1)
  const window = rawWindow << scaleOf(w[e + Ent.Tcp], dir) || 1
  w[s + Sent.End] = end
  w[s + Sent.MaxWin] = window
  w[s + Sent.MaxEnd] = end + window
  if (w[r + Sent.MaxWin] === 0) {
    w[r + Sent.End] = sack
    w[r + Sent.MaxEnd] = sack
  } else if (sack === ((w[r + Sent.End] + 1) | 0)) {
    // The answer to a keepalive.
    w[r + Sent.End] = sack
  }
}

function bounds(
  w: Int32Array,
  e: number,
  dir: number,
  s: number,
  r: number,
  seq: number,
  end: number,
  sack: number,
): Window {
  const sentEnd = w[s + Sent.End]
  const theirWin = w[r + Sent.MaxWin]
  const theirEnd = w[r + Sent.End]
  const ownWin = w[s + Sent.MaxWin] >>> 0
  const ackLow = (theirEnd - (ownWin > MAX_ACK_WINDOW ? ownWin : MAX_ACK_WINDOW) - 1) | 0
  const notLate = after(end, (sentEnd - theirWin - 1) | 0)
  if (after(seq, w[s + Sent.MaxEnd])) {
    const over = (end - w[s + Sent.MaxEnd] + 1) >>> 0
    if (theirWin === 0 || !notLate || !after(sack, ackLow) || over > theirWin >>> 0 || after(sack, theirEnd))
      return Window.Invalid
    // Some send more than they may. Should the rules let it pass, the answer must not look wrong.
    w[s + Sent.End] = end
    w[e + Ent.Tcp] = withFlags(w[e + Ent.Tcp], dir, flagsOf(w[e + Ent.Tcp], dir) | Seen.Unacked)
    return Window.Pass
  }
  if (after(sack, theirEnd)) return Window.Invalid
  if (theirWin !== 0 && !notLate) return Window.Pass
  return after(sack, ackLow) ? Window.Good : Window.Pass
}

function learn(
  w: Int32Array,
  e: number,
  dir: number,
  kind: number,
  flags: number,
  seq: number,
  ack: number,
  sack: number,
  end: number,
  rawWindow: number,
): void {
  const s = sentAt(e, dir)
  const r = sentAt(e, dir ^ 1)
  let word = w[e + Ent.Tcp]
  const window = (flags & tcp.TcpFlag.Syn) !== 0 ? rawWindow : rawWindow << scaleOf(word, dir)
  const reach = (window + (sack - ack)) >>> 0
  if (w[s + Sent.MaxWin] >>> 0 < reach) w[s + Sent.MaxWin] = reach
  let seen = flagsOf(word, dir)
  if (after(end, w[s + Sent.End])) {
    w[s + Sent.End] = end
    seen |= Seen.Unacked
  }
  if ((flags & tcp.TcpFlag.Ack) !== 0) {
    if ((seen & Seen.MaxAck) === 0 || after(ack, w[s + Sent.MaxAck])) w[s + Sent.MaxAck] = ack
    seen |= Seen.MaxAck
  }
  word = withFlags(word, dir, seen)

  if (w[r + Sent.MaxWin] !== 0 && after(end, w[s + Sent.MaxEnd]))
    w[r + Sent.MaxWin] += end - w[s + Sent.MaxEnd]
  if (after((sack + window) | 0, (w[r + Sent.MaxEnd] - 1) | 0)) w[r + Sent.MaxEnd] = sack + (window || 1)
  if (ack === w[r + Sent.End]) word = withFlags(word, dir ^ 1, flagsOf(word, dir ^ 1) & ~Seen.Unacked)

  if (kind === Segment.Ack) {
    const again =
      lastDir(word) === dir &&
      w[e + Ent.LastSeq] === seq &&
      w[e + Ent.LastAck] === ack &&
      w[e + Ent.LastEnd] === end &&
      (w[e + Ent.TcpLast] & 0xffff) === rawWindow
    if (again) word = withRetrans(word, retransOf(word) + 1)
    else {
      word = withRetrans(withLast(word, dir, kind), 0)
      w[e + Ent.LastSeq] = seq
      w[e + Ent.LastAck] = ack
      w[e + Ent.LastEnd] = end
      w[e + Ent.TcpLast] = (w[e + Ent.TcpLast] & 0xffff0000) | rawWindow
    }
  }
  w[e + Ent.Tcp] = word
}
