/**
 * The memory that TypeScript and C++ share: native/layout.h says the same, and
 * test/packet/layout.test.ts compares the two, number by number.
 *
 *     pool    slots of SLOT_SIZE bytes     one packet each; the frame starts at meta[Head]
 *     meta    Meta.Words int32 per slot    what is known about the packet
 *     rx      int32 slot numbers           the slots the next receive fills, in order
 *     txq     pairs of int32 (slot, tag)   what a port shall send; tag 0 = none, else TPID<<16 | TCI
 *     events  pairs of int32 (token, mask) what `wait` found
 *     clock   doubles                      monotonic ms, wall-clock s, wall-clock ns
 *     sends   Send.Words int32 per row     what a UDP tunnel shall send, and what became of it
 *     paths   Path.Words int32 per row     where to
 *     info    Info.Words int32 per packet  where what it received came from
 */

/** Bytes per slot: a 64 KiB super-frame, its tags and headroom, and an odd number of cache lines. */
export const SLOT_SIZE = 67648
/** Bytes in front of a received frame, for encapsulation and the virtio header. */
export const HEADROOM = 192
/** Bytes of headroom a port may use for its virtio header. */
export const MAX_VNET_HEADER = 24
/** Longest frame a slot holds, from HEADROOM on. */
export const MAX_FRAME = SLOT_SIZE - HEADROOM

/** Words of a packet's metadata: `meta[(slot << META_SHIFT) + Meta.Len]`. */
export const enum Meta {
  /** Offset of the frame's first byte in the slot. */
  Head = 0,
  /** Bytes. */
  Len = 1,
  /** Index of the port that received it. */
  Port = 2,
  /** Flag bits. */
  Flags = 3,
  /** A Gso kind. */
  GsoType = 4,
  /** Payload bytes per segment; 0 = not a super-frame. */
  GsoSize = 5,
  /** Bytes of headers as the virtio header said (a hint). */
  HdrLen = 6,
  /** Where the unfinished checksum starts, from the head. */
  CsumStart = 7,
  /** Where it is stored, from CsumStart. */
  CsumOffset = 8,
  /** Bytes behind the MAC addresses that an egress leaves out (a popped tag): 0 or 4. */
  Strip = 9,
  /** The VLAN the packet is in: PCP (3 bits), DEI (1), VID (12). */
  Tci = 10,
  /** Row of the remote it came from, when Port is a VXLAN port; -1 = made here. */
  Remote = 11,
  Words = 16,
}
export const META_SHIFT = 4

export const enum Flag {
  /** The L4 checksum holds the pseudo-header's sum only (NEEDS_CSUM). */
  CsumPartial = 1,
  /** The L4 checksum is known to be right (DATA_VALID). */
  CsumVerified = 2,
  /** Super-frame with CWR: only its first segment keeps it. */
  GsoEcn = 4,
  /** A port keeps the slot; the batch must not reuse it. */
  Taken = 8,
  /** Starts with the IP header (TUN). */
  NoEthernet = 16,
  /** Belongs to no batch: released when the round is over, unless somebody takes it. */
  Loose = 32,
}

/** Kinds of super-frame, as in <linux/virtio_net.h>. */
export const enum Gso {
  None = 0,
  Tcp4 = 1,
  Tcp6 = 4,
  Udp = 5,
}

/** What a port takes as it is; a packet that needs more is finished or segmented on its way out. */
export const enum Offload {
  Csum = 1,
  Tso4 = 2,
  Tso6 = 4,
  Ecn = 8,
  Uso = 16,
}

export const enum Clock {
  MonotonicMs = 0,
  WallSeconds = 1,
  WallNanos = 2,
  Words = 4,
}

/** Words that `Io.tx` fills. */
export const enum TxResult {
  Sent = 0,
  SentBytes = 1,
  /** EAGAIN, ENOBUFS: the kernel's queue is full. */
  NoRoom = 2,
  /** EINVAL, EMSGSIZE, ...: the kernel does not take this frame. */
  Refused = 3,
  /** EIO, ENETDOWN: the device is not up. */
  Down = 4,
  /** A super-frame whose headers do not add up. */
  Malformed = 5,
  Errno = 6,
  Words = 8,
}

/** Words of a row that a UDP tunnel sends. */
export const enum Send {
  Slot = 0,
  /** Row of `paths`. */
  Path = 1,
  /** Index into the sockets. */
  Socket = 2,
  /** TTL << 8 | TOS of the outer header; TTL 0 = the socket's own. */
  TosTtl = 3,
  /** The tunnel header: two words, most significant byte first on the wire. */
  Header0 = 4,
  Header1 = 5,
  /** Filled by `tx`: UDP payload bytes sent (all segments), or -errno; -EBADMSG = frame malformed. */
  Result = 6,
  /** VLAN tag the inner frame gets: TPID<<16 | TCI, 0 = none. */
  Tag = 7,
  Words = 8,
}
export const SEND_SHIFT = 3

/** Words of a row that says where a UDP tunnel sends to. */
export const enum Path {
  /** 4 or 6. */
  Family = 0,
  /** Address0 .. Address0 + 3, most significant first; IPv4 in Address0. */
  Address0 = 1,
  Port = 5,
  /** Index of the device, for link-local addresses and groups; else 0. */
  Scope = 6,
  Words = 8,
}
export const PATH_SHIFT = 3

/** Words that tell where a packet of a UDP tunnel came from. */
export const enum Info {
  /** 4 or 6. */
  Family = 0,
  /** Address0 .. Address0 + 3 as in Path. */
  Address0 = 1,
  Port = 5,
  /** TOS or traffic class of the outer header. */
  Tos = 6,
  /** Bit 0: sent to a multicast group. Bits 8 to 31: index of the device, for a link-local sender. */
  Flags = 7,
  Words = 8,
}
export const INFO_SHIFT = 3

/** Packets a port hands over at a time. */
export const BATCH = 64
/** Ports of one fabric; their indices are shared by counters, VLAN tables and queues. */
export const MAX_PORTS = 1024
