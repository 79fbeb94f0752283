// The memory that TypeScript and C++ share. src/packet/layout.ts says the same in
// TypeScript; test/packet/layout.test.ts compares the two, number by number.
//
//   pool   slots of kSlotSize bytes       one packet each; the frame starts at meta[kHead]
//   meta   kMetaWords int32 per slot      what is known about the packet (below)
//   rx     int32 slot numbers             the slots the next receive fills, in order
//   txq    pairs of int32 (slot, tag)     what a port shall send; tag 0 = none, else TPID<<16 | TCI
//   events pairs of int32 (token, mask)   what `wait` found
//   clock  doubles                        monotonic ms, wall-clock s, wall-clock ns
//   sends  kSendWords int32 per row       what a UDP tunnel shall send, and what became of it
//   paths  kPathWords int32 per row       where to
//   info   kInfoWords int32 per packet    where what it received came from
#pragma once
#include <cstdint>

namespace taploom {

// 66 KiB and one cache line: room for a 64 KiB super-frame, its tags and headroom. The odd
// number of lines spreads the heads of neighbouring slots over all cache sets.
constexpr int kSlotSize = 67648;
constexpr int kHeadroom = 192;     // bytes in front of a received frame, for encapsulation
constexpr int kMaxVnetHeader = 24; // bytes of headroom a port may use for its virtio header

// Words of a packet's metadata.
enum Meta : int {
  kHead = 0,       // offset of the first byte of the frame in the slot
  kLen = 1,        // bytes
  kPort = 2,       // index of the port that received it
  kFlags = 3,      // Flag, below
  kGsoType = 4,    // Gso, below
  kGsoSize = 5,    // payload bytes per segment, 0 = not a super-frame
  kHdrLen = 6,     // bytes of headers, as the virtio header said (a hint)
  kCsumStart = 7,  // where the unfinished checksum starts, from the head
  kCsumOffset = 8, // where it is stored, from kCsumStart
  kStrip = 9,      // bytes after the MAC addresses that an egress leaves out (a popped tag)
  kTci = 10,       // VLAN the packet is in: PCP, DEI, VID
  kRemote = 11,    // of the worker: the remote that a tunnel got it from
  kMetaWords = 16, // one cache line per packet
};

enum Flag : int {
  kCsumPartial = 1,  // the L4 checksum holds the pseudo-header's sum only (NEEDS_CSUM)
  kCsumVerified = 2, // the L4 checksum is known to be right (DATA_VALID)
  kGsoEcn = 4,       // super-frame with CWR: only the first segment keeps it
  kTaken = 8,        // a port keeps the slot; the batch must not reuse it
  kNoEthernet = 16,  // starts with the IP header (TUN)
  kLoose = 32,       // belongs to no batch: released when the round is over
};

// As in <linux/virtio_net.h>.
enum Gso : int { kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoUdp = 5 };

// What a port can take: a packet that needs more is finished or segmented on the way out.
enum Offload : int { kOffCsum = 1, kOffTso4 = 2, kOffTso6 = 4, kOffEcn = 8, kOffUso = 16 };

enum Clock : int { kMonotonicMs = 0, kWallSeconds = 1, kWallNanos = 2, kClockWords = 4 };

// Words that `tx` fills.
enum TxResult : int {
  kSent = 0,      // packets
  kSentBytes = 1, // bytes, tags included
  kNoRoom = 2,    // EAGAIN, ENOBUFS: the kernel's queue is full
  kRefused = 3,   // EINVAL, EMSGSIZE, ...: the kernel does not take this frame
  kDown = 4,      // EIO, ENETDOWN: the device is not up
  kMalformed = 5, // a super-frame whose headers do not add up
  kErrno = 6,     // the last errno, positive
  kTxWords = 8,
};

// Words of a row that a UDP tunnel sends.
enum Send : int {
  kSendSlot = 0,
  kSendPath = 1,    // row of `paths`
  kSendSocket = 2,  // index into the sockets
  kSendTosTtl = 3,  // TTL << 8 | TOS of the outer header; TTL 0 = the socket's own
  kSendHeader0 = 4, // the tunnel header, two words in host order
  kSendHeader1 = 5,
  kSendResult = 6,  // filled: UDP payload bytes sent, or -errno
  kSendTag = 7,     // VLAN tag the inner frame gets, 0 = none
  kSendWords = 8,
};

// Words of a row that says where to.
enum Path : int {
  kPathFamily = 0,   // 4 or 6
  kPathAddress0 = 1, // four words, most significant first; IPv4 in the first
  kPathPort = 5,
  kPathScope = 6,    // index of the device, for link-local addresses and groups
  kPathWords = 8,
};

// Words that tell where a packet came from.
enum Info : int {
  kInfoFamily = 0,
  kInfoAddress0 = 1,
  kInfoPort = 5,
  kInfoTos = 6,
  kInfoFlags = 7, // bit 0: sent to a group; bits 8 to 31: device index, for a link-local sender
  kInfoWords = 8,
};

} // namespace taploom
