/**
 * What the router and the filter know about an IP packet: one row of int32 words per slot, beside the
 * pool's metadata (layout.ts), filled by router/parse.ts and read by everything behind it. It belongs to
 * the packet as long as the slot does: a packet that waits for its neighbour keeps its row.
 *
 * Addresses are words in host order, most significant first: IPv4 uses the first word alone. Offsets
 * are from the frame's head (Meta.Head), so they move with it.
 */
export const enum Ip {
  /** 4, 6, or 0 = not IP. */
  Family = 0,
  /** Offset of the IP header. */
  L3 = 1,
  /** Offset of the transport header, behind options and extension headers. */
  L4 = 2,
  /** Transport protocol; a fragment that is not the first has it too, but no L4. */
  Proto = 3,
  /** Bytes from L3 on, as the IP header says (a super-frame's are the frame's). */
  Length = 4,
  /** Frag bits. */
  Frag = 5,
  /** srcPort << 16 | dstPort; ICMP: type << 24 | code << 16 | identifier; 0 = none. */
  Ports = 6,
  /** TTL or hop limit as received. */
  Ttl = 7,
  /** netfilter's mark. */
  Mark = 8,
  /** Conntrack entry << 1 | direction (1 = reply); -1 = none. */
  Ct = 9,
  /** CtState bit; 0 = not looked up. */
  CtState = 10,
  /** Index of the router interface it came in by; -1 = made here. */
  InIf = 11,
  /** Index of the router interface it leaves by; -1 = not routed yet. */
  OutIf = 12,
  /** Route entry that was chosen; -1 = none. */
  Route = 13,
  /** 0 = to us, 1 = broadcast, 2 = multicast, 3 = to somebody else (Linux PACKET_*), by the MAC. */
  PktType = 14,
  /** Bits of IpFlag. */
  Flags = 15,
  Src0 = 16,
  Dst0 = 20,
  /** Next hop's address: of the destination, or of the gateway. */
  Hop0 = 24,
  /** 28, 29 and 31: free for the stage in hand. */
  Scratch = 28,
  /**
   * A node (as Ct) that is probably the packet's, 0 = none; ~node once that is sure (conntrack.ts, settled). Written by
   * conntrack alone; netfilter and its flow cache read ahead by it.
   */
  CtGuess = 30,
  Words = 32,
}
export const IP_SHIFT = 5

export const enum Frag {
  None = 0,
  /** A fragment: more follow, or it has an offset. */
  Any = 1,
  /** Not the first: no transport header. */
  Later = 2,
  /** IPv4 DF. */
  DontFragment = 4,
  /** Put together by the reassembler: re-fragmented on its way out, to Ip.Scratch bytes. */
  Reassembled = 8,
}

export const enum IpFlag {
  /** IPv4 options or IPv6 hop-by-hop options are there. */
  Options = 1,
  /** Made here (OUTPUT instead of PREROUTING and FORWARD). */
  Local = 2,
  /** An ICMP error: its payload quotes a packet. */
  IcmpError = 4,
  /** Ports and L4 offset are known and inside the packet. */
  HasL4 = 8,
  /** An address or port was rewritten (NAT). */
  Translated = 16,
  /** To an address of ours: what refuses it speaks from there. */
  ToUs = 32,
  /** To a broadcast address of a network of ours: nobody answers (RFC 1122 3.2.2). */
  Broadcast = 64,
}

/** As conntrack's ctstate bits. */
export const enum CtState {
  Invalid = 1,
  Established = 2,
  Related = 4,
  New = 8,
  Untracked = 64,
}
