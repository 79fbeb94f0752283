// A tunnel over UDP sockets: receive and transmit as memory.h has them, with inner frames in the pool
// and tunnel headers of 8 bytes in front. What the numbers of a row mean: layout.h.
//
//   transmit   rows of `sends`  -> datagrams of equal length to one address are one UDP_SEGMENT message
//   receive    UDP_GRO messages -> datagrams -> runs of one TCP flow merged -> slots, rows of `info`
//
// Who decides about headers, addresses and sockets is TypeScript; nothing here knows a VNI.
#pragma once
#include <sys/uio.h>

#include <memory>
#include <vector>

#include "coalesce.h"
#include "memory.h"
#include "udp-socket.h"
#include "underlay.h"

namespace taploom {

constexpr int kTunnelHeader = 8;  // VXLAN's; GENEVE's and GPE's shortest

struct TunnelSocket {
  int fd = -1;
  bool v6 = false;
  bool segments = true;      // takes UDP_SEGMENT: sends checksums, and the kernel has not refused
  bool group = false;        // bound to a group: all it hears was sent to one
  int ttl = 0, tos = 0;      // its own
  bool checksum = true;      // of UDP, on what it sends
  bool forwardable = false;  // what leaves may be forwarded by an underlay TAP: one address, DF set
  SocketAddress local = {};
};

struct UdpArrays {
  int32_t* sends = nullptr;
  int sendRows = 0;
  const int32_t* paths = nullptr;
  int pathRows = 0;
  int32_t* info = nullptr;
  int infoRows = 0;
};

// One message: a datagram, or datagrams of equal length but for the last.
struct Message {
  static constexpr int kMaxSegments = 128;  // UDP_MAX_SEGMENTS of <linux/udp.h>; 64 before Linux 6.9
  static constexpr int kPieces = 2 * kMaxSegments;
  int socket, path, tosTtl;
  int segments;       // datagrams
  size_t segmentLen;  // bytes of all but the last
  size_t bytes;       // of all
  bool closed;        // takes no more: the last is shorter
  bool sent;
  int pieces, rows;
  iovec piece[kPieces];
  int row[kMaxSegments];       // the rows it carries ...
  int rowBytes[kMaxSegments];  // ... and how much of each
};

class UdpSender {
 public:
  UdpSender(std::vector<TunnelSocket>& sockets, const UdpArrays& arrays, int underlay);
  int transmit(const Memory& memory, int at, int count);

 private:
  static constexpr int kMessages = 32;         // being put together at a time
  static constexpr size_t kArena = 64 * 1024;  // headers and small frames
  static constexpr int kCopyBelow = 512;       // frames up to here are copied behind their header

  Message& message(int i) { return messages_.get()[i]; }
  void reserve(size_t bytes);
  void send_row(const Memory& memory, int row);
  void send_super(int row, const int32_t* meta, const uint8_t* frame);
  bool send_whole(int row, const int32_t* meta, const uint8_t* frame);
  void put_header(uint8_t* to, const int32_t* send) const;
  void add(int row, size_t headBytes, const uint8_t* rest, size_t restBytes);
  Message* message_for(const int32_t* send, size_t len);
  void flush();
  void send_messages(Message* const* batch, int count);
  void send_apart(Message& message, int err);
  void succeed(const Message& message);
  void fail(int row, int err);
  size_t address(const Message& message, SocketAddress* to) const;

  std::vector<TunnelSocket>& sockets_;
  const UdpArrays& a_;
  Underlay underlay_;
  std::unique_ptr<Message[]> messages_;
  int count_ = 0;  // of messages
  std::unique_ptr<uint8_t[]> arena_;
  size_t used_ = 0;
  int maxSegments_ = Message::kMaxSegments;
  int32_t* result_ = nullptr;
};

class UdpReceiver {
 public:
  UdpReceiver(const std::vector<TunnelSocket>& sockets, int receivers, const UdpArrays& arrays, bool udp);
  int receive(const Memory& memory, int token, int from, int max, int budget);

 private:
  static constexpr int kMessages = 32;
  static constexpr size_t kBuffer = 65536 + 64;  // the longest message; an odd number of cache lines
  // The kernel's order decides how control messages come; room for all that are asked for.
  static constexpr size_t kControl = 128;

  struct Arrival {  // what is known about a message
    size_t len, segment;
    int32_t info[kInfoWords];
  };

  int fill();
  void describe(int i, const msghdr& header, size_t len, bool group);
  bool merge(const Arrival& arrival, const uint8_t* datagram, size_t len);
  void open(const Memory& memory, const Arrival& arrival, const uint8_t* datagram, size_t len);
  void close();

  const std::vector<TunnelSocket>& sockets_;
  const int receivers_;
  const UdpArrays& a_;
  const bool udp_;
  std::unique_ptr<uint8_t[]> buffer_;
  std::unique_ptr<Arrival[]> arrivals_;
  int got_ = 0, at_ = 0;  // messages held, the one in hand
  size_t offset_ = 0;     // in it
  int socket_ = 0;        // the next to be asked
  int want_ = 1;          // messages to ask for

  // The packet that is being put together.
  Coalescer run_;
  int32_t* meta_ = nullptr;
  uint8_t* head_ = nullptr;
  int32_t* info_ = nullptr;
  int token_ = 0, count_ = 0, from_ = 0;
};

class UdpTunnel {
 public:
  // Throws SysError when a descriptor is no UDP socket.
  // `underlay`: a TAP of open_underlay() that super-frames leave by; stays the caller's.
  UdpTunnel(const std::vector<int>& fds, int receivers, const UdpArrays& arrays, bool udp, int underlay = -1);
  UdpTunnel(const UdpTunnel&) = delete;
  UdpTunnel& operator=(const UdpTunnel&) = delete;
  int receivers() const { return receivers_; }
  int fd(int i) const { return sockets_[static_cast<size_t>(i)].fd; }

  // As receive() of memory.h, with a row of `info` for every slot. Less than `max` only when nothing is
  // held back; `budget` is looked at before the kernel is asked again.
  int receive(const Memory& memory, int token, int from, int max, int budget) {
    return receiver_.receive(memory, token, from, max, budget);
  }
  // Rows at .. at+count of `sends`. Rows sent, each with its kSendResult; all in txResult as well.
  // -EFAULT, with nothing sent, for rows, slots, paths or sockets that do not exist.
  int transmit(const Memory& memory, int at, int count) { return sender_.transmit(memory, at, count); }

 private:
  UdpArrays arrays_;
  std::vector<TunnelSocket> sockets_;
  const int receivers_;
  UdpSender sender_;
  UdpReceiver receiver_;
};

}  // namespace taploom
