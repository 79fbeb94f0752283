/**
 * What a program is: the rules of one family as int32 words in shared memory, written once by the compiler
 * (control thread), read by walk.ts. A packet is its row of packet/ip.ts.
 *
 *     head     Head.Words: family, and for every table and hook where its chain begins (0 = no such chain)
 *     chains   records, one behind the other, 64 bytes each: up to four masked compares of words of the row
 *     bodies   what is looked at only when these have passed
 *
 *     record   | next | body | word value mask | word value mask | word value mask | word value mask | - |
 *     body     | counter | target | arg | arg | ordered | ops: | op, length, operands ... | ... | 0 |
 *
 * A record stands for a rule, for the end of a chain (policy, or return), or for a dispatch: rules in a row
 * that all compare the same word under the same mask are not tried one by one. The dispatch looks the
 * packet's value up and goes to the first rule of the run that wants it; `next` of a rule in a run is the
 * next one with the same value. A rule that cannot match has no effect, so counters stay exact.
 *
 * Most conditions are masked compares: addresses, exact ports, protocol and interfaces (together in the word
 * Scan.Key), mark, connection state. The compiler puts the one that tells most first. The others are ops, in
 * the order of the rule's text.
 */
export const enum TableId {
  Raw = 0,
  Mangle = 1,
  Nat = 2,
  Filter = 3,
  Security = 4,
}
export const HOOKS = 5

export const enum Head {
  Family = 0,
  /** Most user-defined chains one packet can be in. */
  Depth = 1,
  /** TCP flags that a rule looks at. */
  TcpFlags = 2,
  /** Counters there are. */
  Counters = 3,
  /** 1: some rule needs connection tracking, of this family (nf_ct_netns_get counts by family, too). */
  Tracks = 4,
  /** First record of a chain: [table * HOOKS + hook]; 0 = there is none. */
  Chains = 8,
  /** Its last one, the policy. */
  Ends = 33,
  Words = 64,
}

/** Words of a row (Ip.Scratch) that belong to the filter while it runs. */
export const enum Scan {
  /** protocol | in-interface << InShift | out-interface << OutShift | Later: a later fragment. */
  Key = 31,
  InShift = 8,
  OutShift = 17,
  /** Nine bits; all ones = there is no interface. */
  NoInterface = 511,
  Later = 1 << 26,
}

export const enum Rule {
  Next = 0,
  Body = 1,
  Word0 = 2,
  Value0 = 3,
  Mask0 = 4,
  Word1 = 5,
  Value1 = 6,
  Mask1 = 7,
  Word2 = 8,
  Value2 = 9,
  Mask2 = 10,
  Word3 = 11,
  Value3 = 12,
  Mask3 = 13,
  Words = 16,
}
export const TESTS = 4

export const enum Body {
  /** -1 = not counted. */
  Counter = 0,
  Target = 1,
  Arg = 2,
  Arg2 = 3,
  /** Where all conditions stand as ops, in the order of the text; 0 = nowhere. For packets cut short. */
  Ordered = 4,
  Ops = 5,
}

/** word, mask, bits of the hash, first record of the run, record behind it; then pairs (value, record). */
export const enum Dispatch {
  Word = 0,
  Mask = 1,
  Shift = 2,
  Behind = 3,
  Pairs = 4,
}

export const enum Target {
  Accept = 0,
  Drop = 1,
  Return = 2,
  /** arg: record of the chain. */
  Jump = 3,
  Goto = 4,
  /** No target: counts only. */
  None = 5,
  /** End of a user-defined chain. */
  End = 6,
  /** arg: place of the table. */
  Dispatch = 7,
  /** From here on act.ts. arg: reply as type << 8 | code, -1 = TCP reset. */
  Reject = 16,
  Log = 17,
  /** arg: most bytes. */
  Nflog = 18,
  /** arg: queue, arg2: number of queues | bypass << 16 */
  Queue = 19,
  /** arg: value, arg2: mask. */
  Mark = 20,
  ConnmarkSet = 21,
  /** arg: mask of the packet's mark, arg2: of the connection's. */
  ConnmarkSave = 22,
  ConnmarkRestore = 23,
  Notrack = 24,
  /** arg: zone, -1 = the mark; arg2: directions, 1 original, 2 reply. */
  Zone = 25,
  /** arg: index of the range. NETMAP is the one or the other, by its hook. */
  Snat = 26,
  Dnat = 27,
  Masquerade = 28,
  Redirect = 29,
  Netmap = 30,
  /** arg: MSS, -1 = clamp to the path. */
  Tcpmss = 31,
  /** arg: value, arg2: mask. */
  Tos = 32,
  /** arg: value, arg2: 0 set, 1 add, -1 take off. */
  Ttl = 33,
  Trace = 34,
  Checksum = 35,
}

/** Operands are listed in ops.ts, where they are written. */
export const enum Op {
  End = 0,
  Word = 1,
  Address = 2,
  Interface = 3,
  Guard = 4,
  Ports = 5,
  TcpFlags = 6,
  Icmp = 7,
  Multiport = 8,
  Iprange = 9,
  CtState = 10,
  CtGate = 11,
  CtAddress = 12,
  CtPorts = 13,
  CtProtocol = 14,
  CtDirection = 15,
  Connmark = 16,
  Never = 17,
  SetConstant = 18,
  // From VARIABLE on.
  CtStatus = 32,
  CtExpire = 33,
  Length = 34,
  Ttl = 35,
  TcpOption = 36,
  Tcpmss = 37,
  Dscp = 38,
  Mac = 39,
  Addrtype = 40,
  Rpfilter = 41,
  // From STATEFUL on.
  Limit = 48,
  Hashlimit = 49,
  Connlimit = 50,
  Recent = 51,
  Set = 52,
  Random = 53,
  Nth = 54,
}

/** From here on the answer may differ between packets of one flow in one state. */
export const VARIABLE = 32
/** From here on asking leaves a trace: the order of a rule's conditions matters. */
export const STATEFUL = 48

/** What an op says. */
export const enum Answer {
  No = 0,
  Yes = 1,
  /** The packet is dropped whatever the rule says (xtables' hotdrop). */
  HotDrop = 2,
}
