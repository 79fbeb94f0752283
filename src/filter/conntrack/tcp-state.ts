// HOT
/**
 * What a TCP segment does to the state of its flow: the table of Linux 6.x's nf_conntrack, which
 * test/filter/conntrack/kernel.test.ts compares with the kernel at hand.
 *
 *     NONE          nothing seen yet               CLOSE_WAIT    the first FIN was acknowledged
 *     SYN_SENT      SYN                            LAST_ACK      FIN in both directions
 *     SYN_SENT2     SYN from both sides            TIME_WAIT     the last one was acknowledged
 *     SYN_RECV      SYN-ACK                        CLOSE         RST
 *     ESTABLISHED   its acknowledgement
 *     FIN_WAIT      FIN
 *
 *     original   NONE  SS   SR   ES   FW   CW   LA   TW   CL   S2        -- ignored: let through, nothing
 *     SYN        SS    SS   --   --   --   --   --   SS   SS   S2           changes; whoever gets it knows
 *     SYN-ACK    xx    xx   SR   xx   xx   xx   xx   xx   xx   SR           better and will answer
 *     FIN        xx    xx   FW   FW   LA   LA   LA   TW   CL   xx        xx invalid
 *     ACK        ES    xx   ES   ES   CW   CW   TW   TW   CL   xx
 *     RST        xx    CL   CL   CL   CL   CL   CL   CL   CL   CL
 *     none       xx    xx   xx   xx   xx   xx   xx   xx   xx   xx
 *
 *     reply      NONE  SS   SR   ES   FW   CW   LA   TW   CL   S2
 *     SYN        xx    S2   xx   xx   xx   xx   xx   SS   xx   S2
 *     SYN-ACK    xx    SR   --   --   --   --   --   --   --   SR
 *     FIN        xx    xx   FW   FW   LA   LA   LA   TW   CL   xx
 *     ACK        xx    --   SR   ES   CW   CW   TW   TW   CL   --
 *     RST        xx    CL   CL   CL   CL   CL   CL   CL   CL   CL
 *     none       xx    xx   xx   xx   xx   xx   xx   xx   xx   xx
 */
import { TcpFlag } from '../../wire/tcp.ts'

/** The kernel's numbers. */
export const enum TcpState {
  None = 0,
  SynSent = 1,
  SynRecv = 2,
  Established = 3,
  FinWait = 4,
  CloseWait = 5,
  LastAck = 6,
  TimeWait = 7,
  Close = 8,
  SynSent2 = 9,
  /** Not states, but what the table says of a segment. */
  Invalid = 10,
  Ignore = 11,
}

export const TCP_STATES = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
] as const

/** Kinds of segments, the first that fits: RST, SYN with or without ACK, FIN, ACK. */
export const enum Segment {
  Syn = 0,
  SynAck = 1,
  Fin = 2,
  Ack = 3,
  Rst = 4,
  None = 5,
}

const NO = TcpState.None
const SS = TcpState.SynSent
const SR = TcpState.SynRecv
const ES = TcpState.Established
const FW = TcpState.FinWait
const CW = TcpState.CloseWait
const LA = TcpState.LastAck
const TW = TcpState.TimeWait
const CL = TcpState.Close
const S2 = TcpState.SynSent2
const XX = TcpState.Invalid
const IG = TcpState.Ignore

const STATES = 10
const SEGMENTS = 6
// biome-ignore format: a table
const NEXT = Uint8Array.of(
  // NO  SS  SR  ES  FW  CW  LA  TW  CL  S2      original
     SS, SS, IG, IG, IG, IG, IG, SS, SS, S2,
     XX, XX, SR, XX, XX, XX, XX, XX, XX, SR,
     XX, XX, FW, FW, LA, LA, LA, TW, CL, XX,
     ES, XX, ES, ES, CW, CW, TW, TW, CL, XX,
     XX, CL, CL, CL, CL, CL, CL, CL, CL, CL,
     XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
  //                                             reply
     XX, S2, XX, XX, XX, XX, XX, SS, XX, S2,
     XX, SR, IG, IG, IG, IG, IG, IG, IG, SR,
     XX, XX, FW, FW, LA, LA, LA, TW, CL, XX,
     XX, IG, SR, ES, CW, CW, TW, TW, CL, IG,
     XX, CL, CL, CL, CL, CL, CL, CL, CL, CL,
     XX, XX, XX, XX, XX, XX, XX, XX, XX, XX,
)

/** The state after a segment, or Invalid or Ignore. */
export function next(state: number, dir: number, segment: number): number {
  return NEXT[(dir * SEGMENTS + segment) * STATES + state]
}

export function segmentOf(flags: number): Segment {
  if ((flags & TcpFlag.Rst) !== 0) return Segment.Rst
  if ((flags & TcpFlag.Syn) !== 0) return (flags & TcpFlag.Ack) !== 0 ? Segment.SynAck : Segment.Syn
  if ((flags & TcpFlag.Fin) !== 0) return Segment.Fin
  return (flags & TcpFlag.Ack) !== 0 ? Segment.Ack : Segment.None
}

/** Flags that a sane sender puts together; PSH, ECE and CWR go with all of them. */
export function saneFlags(flags: number): boolean {
  const rest = flags & (TcpFlag.Fin | TcpFlag.Syn | TcpFlag.Rst | TcpFlag.Ack | TcpFlag.Urg)
  const plain = rest & ~TcpFlag.Urg
  if (plain === TcpFlag.Syn || plain === TcpFlag.Ack || plain === (TcpFlag.Fin | TcpFlag.Ack)) return true
  return rest === (TcpFlag.Syn | TcpFlag.Ack) || rest === TcpFlag.Rst || rest === (TcpFlag.Rst | TcpFlag.Ack)
}

/** A flow on its way out: under pressure it may go although it is assured. */
export function closing(state: number): boolean {
  return state >= FW && state <= CL
}

export const FIRST_STATE = NO
