// HOT
/**
 * What an entry knows of a TCP flow, packed: two words, and four per direction of what that side has sent.
 *
 *     Tcp      | retrans 4 | dir 1 | segment 3 | flags 6 | flags 6 | scale 4 | scale 4 | state 4 |
 *                of the last segment             reply     original  reply     original
 *     TcpLast  | flags 8 | - | scale 4 | window 16 |    of the last segment; flags and scale of the last SYN
 *                                                        that was let through unchecked
 *
 *     End      highest seq + length                   MaxWin   largest window it offered
 *     MaxEnd   highest (s)ack + window of the other   MaxAck   highest acknowledgement
 */
import * as tcp from '../../wire/tcp.ts'
import { sackPermitted, windowScale } from '../../wire/tcp-option.ts'
import { Ent } from './layout.ts'
import type { TcpState } from './tcp-state.ts'

export const enum Seen {
  Scale = 1,
  SackPermitted = 2,
  /** This side closed first. */
  CloseInit = 4,
  /** Windows unknown (picked up): not checked. */
  Liberal = 8,
  /** It sent what was not acknowledged yet. */
  Unacked = 16,
  /** MaxAck is set. */
  MaxAck = 32,
  All = 63,
  /** Of TcpLast only: an ACK may be the answer to a SYN that was let through (RFC 5961). */
  Challenge = 64,
  /** Of TcpLast only: both sides sent a SYN. */
  BothSyn = 128,
}

export const enum Sent {
  End = 0,
  MaxEnd = 1,
  MaxWin = 2,
  MaxAck = 3,
}

const STATE = 15
const SEGMENT_SHIFT = 24
const DIR_SHIFT = 27
const RETRANS_SHIFT = 28
const RETRANS_MOST = 15
const LAST_MASK = 0x0f000000

/** Limits that an operator sets, as Linux's nf_conntrack_tcp_*. */
export interface TcpOptions {
  /** Take up flows whose beginning was not seen. */
  loose: boolean
  /** Only RSTs must be in the window. */
  liberal: boolean
  maxRetrans: number
  /** RSTs need not be in the window. */
  ignoreInvalidRst: boolean
}

export function after(a: number, b: number): boolean {
  return ((a - b) | 0) > 0
}

/** Where the Sent words of a direction begin. */
export function sentAt(e: number, dir: number): number {
  return e + Ent.Sent + (dir << 2)
}

export function stateOf(words: Int32Array, e: number): TcpState {
  return words[e + Ent.Tcp] & STATE
}

export function withState(word: number, state: number): number {
  return (word & ~STATE) | state
}

export function flagsOf(word: number, dir: number): number {
  return (word >>> (12 + 6 * dir)) & Seen.All
}

export function withFlags(word: number, dir: number, flags: number): number {
  const shift = 12 + 6 * dir
  return (word & ~(Seen.All << shift)) | (flags << shift)
}

export function scaleOf(word: number, dir: number): number {
  return (word >>> (4 + 4 * dir)) & 15
}

export function withScale(word: number, dir: number, scale: number): number {
  const shift = 4 + 4 * dir
  return (word & ~(15 << shift)) | (scale << shift)
}

/** Kind and direction of the last segment. */
export function lastKind(word: number): number {
  return (word >>> SEGMENT_SHIFT) & 7
}

export function lastDir(word: number): number {
  return (word >>> DIR_SHIFT) & 1
}

export function withLast(word: number, dir: number, segment: number): number {
  return (word & ~LAST_MASK) | (segment << SEGMENT_SHIFT) | (dir << DIR_SHIFT)
}

export function retransOf(word: number): number {
  return word >>> RETRANS_SHIFT
}

export function withRetrans(word: number, count: number): number {
  const most = count > RETRANS_MOST ? RETRANS_MOST : count
  return (word & 0x0fffffff) | (most << RETRANS_SHIFT)
}

/** Takes in the options of a SYN. A header without any leaves all as it was, as in Linux. */
export function withOptions(word: number, dir: number, view: DataView, at: number): number {
  if (tcp.headerLength(view, at) === tcp.SIZE) return word
  const scale = windowScale(view, at)
  const flags = (scale >= 0 ? Seen.Scale : 0) | (sackPermitted(view, at) ? Seen.SackPermitted : 0)
  const kept = flagsOf(word, dir) & Seen.Liberal
  return withScale(withFlags(word, dir, flags | kept), dir, scale > 0 ? scale : 0)
}

/** The sequence number behind the segment at `at`; `end` is behind the packet. */
export function endOf(view: DataView, at: number, end: number): number {
  return (tcp.seq(view, at) + tcp.span(view, at, end - at - tcp.headerLength(view, at))) | 0
}
