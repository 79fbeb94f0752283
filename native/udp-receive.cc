// Receiving inner frames through UDP sockets.
//
//   message (UDP_GRO)   | hdr | frame 1 | hdr | frame 2 | ... | hdr | last |    one sender, one length
//   slot                | hdr | frame 1's headers | payload 1 | payload 2 | ...  as long as they merge
//
// Messages come into a buffer, not into slots: what one holds can need one slot or a hundred. Datagrams
// leave it in their order; a run goes on from one message into the next. Each is verified and then
// copied, while it is in the nearest cache.
//
//   inner L4 checksum       tells
//   right                   kCsumVerified, or merged
//   the pseudo-header's     kCsumPartial, or merged: the sender is a kernel on this machine that left it
//                           to its hardware. Such a datagram can hold a super-frame of 64 KiB, too
//   wrong, none, not TCP    nothing
//
// What does not merge with its predecessor ends the run: flows that alternate datagram by datagram
// stay apart. (The kernel's UDP_GRO has already sorted them by their outer flow.)
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "checksum.h"
#include "udp.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

namespace taploom {
namespace {

constexpr int kLateErrors = 8;            // that one call clears, of datagrams sent earlier
constexpr size_t kManyBytes = 40 * 1024;  // at a time: then it is bulk, and the cache wants it one by one

template <class T>
T value_of(const cmsghdr* c) {
  T value;
  std::memcpy(&value, CMSG_DATA(c), sizeof value);
  return value;
}

// An L4 checksum that is not finished, or is by chance the same as if.
void note_partial(int32_t* meta, const uint8_t* frame, size_t len) {
  Layers at;
  if (!parse_layers(frame, len, false, &at)) return;
  const uint8_t* l4 = frame + at.l4;
  const size_t l4Len = at.end - at.l4, offset = at.tcp ? 16 : 6;
  const uint32_t pseudo = at.pseudo + static_cast<uint32_t>(l4Len);
  const uint16_t field = read16(l4 + offset);
  if (field != checksum_add(nullptr, 0, pseudo) || (!at.tcp && field == 0)) return;
  if (checksum_add(l4, l4Len, pseudo) == 0xffff) {
    meta[kFlags] |= kCsumVerified;
    return;
  }
  meta[kFlags] |= kCsumPartial;
  meta[kCsumStart] = static_cast<int32_t>(kTunnelHeader + at.l4);
  meta[kCsumOffset] = static_cast<int32_t>(offset);
  meta[kLen] = static_cast<int32_t>(kTunnelHeader + at.end);  // padding is not part of the sum
}

}  // namespace

UdpReceiver::UdpReceiver(const std::vector<TunnelSocket>& sockets, int receivers, const UdpArrays& arrays,
                         bool udp)
    : sockets_(sockets),
      receivers_(receivers),
      a_(arrays),
      udp_(udp),
      buffer_(new uint8_t[kMessages * kBuffer]),
      arrivals_(new Arrival[kMessages]) {
  static_assert(kBuffer <= kSlotSize - kHeadroom, "a message fits a slot");
}

int UdpReceiver::receive(const Memory& memory, int token, int from, int max, int budget) {
  if (from < 0 || max < 0 || from > memory.rxWords || max > memory.rxWords - from) return -EFAULT;
  if (from > a_.infoRows || max > a_.infoRows - from) return -EFAULT;
  if (!memory.hasAll(memory.rx + from, max, 1)) return -EFAULT;
  token_ = token;
  from_ = from;
  count_ = 0;
  meta_ = nullptr;
  run_ = Coalescer();
  size_t bytes = 0;
  for (;;) {
    if (at_ == got_) {
      if (count_ == max || bytes >= static_cast<size_t>(budget < 0 ? 0 : budget)) break;
      const int got = fill();
      if (got <= 0) {
        if (got < 0 && count_ == 0) return got;
        break;
      }
      for (int i = 0; i < got; i++) bytes += arrivals_.get()[i].len;
    }
    const Arrival& arrival = arrivals_.get()[at_];
    const uint8_t* datagram = buffer_.get() + static_cast<size_t>(at_) * kBuffer + offset_;
    const size_t rest = arrival.len - offset_;
    const size_t len = rest < arrival.segment ? rest : arrival.segment;
    if (!merge(arrival, datagram, len)) {
      if (count_ == max) break;
      open(memory, arrival, datagram, len);
    }
    offset_ += len;
    if (offset_ < arrival.len) continue;
    at_++;
    offset_ = 0;
  }
  close();
  return count_;
}

// Asks the sockets in turn, from where it stopped. Messages, 0 when there are none, -errno.
int UdpReceiver::fill() {
  mmsghdr headers[kMessages];
  iovec pieces[kMessages];
  SocketAddress senders[kMessages];
  alignas(cmsghdr) uint8_t control[kMessages][kControl];
  got_ = at_ = 0;
  offset_ = 0;
  for (int asked = 0, errors = 0; asked < receivers_;) {
    const TunnelSocket& socket = sockets_[static_cast<size_t>(socket_)];
    for (int i = 0; i < want_; i++) {
      pieces[i] = {buffer_.get() + static_cast<size_t>(i) * kBuffer, kBuffer};
      headers[i].msg_hdr = {&senders[i], sizeof senders[i], &pieces[i], 1, control[i], kControl, 0};
      headers[i].msg_len = 0;
    }
    const int got = recvmmsg(socket.fd, headers, static_cast<unsigned>(want_), MSG_DONTWAIT, nullptr);
    if (got > 0) {
      size_t bytes = 0;
      for (int i = 0; i < got; i++) {
        describe(i, headers[i].msg_hdr, headers[i].msg_len, socket.group);
        bytes += headers[i].msg_len;
      }
      if (bytes > kManyBytes) want_ = want_ > 2 ? want_ / 2 : 1;
      else if (got == want_ && want_ < kMessages) want_ *= 2;
      return got_ = got;
    }
    const int err = got < 0 ? errno : EAGAIN;
    if (err == EBADF || err == ENOTSOCK || err == EINVAL) return -err;
    if (err == EAGAIN || ++errors > kLateErrors) {
      asked++;
      socket_ = (socket_ + 1) % receivers_;
    }
  }
  return 0;
}

void UdpReceiver::describe(int i, const msghdr& header, size_t len, bool group) {
  Arrival& a = arrivals_.get()[i];
  const SocketAddress& sender = *static_cast<const SocketAddress*>(header.msg_name);
  int segment = 0, tos = 0;
  for (const cmsghdr* c = CMSG_FIRSTHDR(&header); c;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&header), const_cast<cmsghdr*>(c))) {
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      segment = value_of<int>(c);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      tos = value_of<uint8_t>(c);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      tos = value_of<int>(c);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      group = IN_MULTICAST(ntohl(value_of<in_pktinfo>(c).ipi_addr.s_addr));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      const in6_pktinfo info = value_of<in6_pktinfo>(c);
      group = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
    }
  }
  // Cut short, or without all that belongs to it: nothing in it can be believed.
  a.len = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? 0 : len;
  a.segment = segment > 0 && static_cast<size_t>(segment) < a.len ? static_cast<size_t>(segment) : a.len;
  std::memset(a.info, 0, sizeof a.info);
  a.info[kInfoTos] = tos & 0xff;
  a.info[kInfoFlags] = group;
  if (sender.any.sa_family == AF_INET6) {
    a.info[kInfoFamily] = 6;
    for (int word = 0; word < 4; word++)
      a.info[kInfoAddress0 + word] = static_cast<int32_t>(read32(sender.v6.sin6_addr.s6_addr + 4 * word));
    a.info[kInfoPort] = ntohs(sender.v6.sin6_port);
    a.info[kInfoFlags] |= static_cast<int32_t>(sender.v6.sin6_scope_id << 8);
  } else {
    a.info[kInfoFamily] = 4;
    a.info[kInfoAddress0] = static_cast<int32_t>(ntohl(sender.v4.sin_addr.s_addr));
    a.info[kInfoPort] = ntohs(sender.v4.sin_port);
  }
}

// Whether the datagram went into the packet in hand.
bool UdpReceiver::merge(const Arrival& arrival, const uint8_t* datagram, size_t len) {
  if (run_.count() == 0 || len <= kTunnelHeader || std::memcmp(datagram, head_, kTunnelHeader) != 0)
    return false;
  if (std::memcmp(arrival.info, info_, sizeof arrival.info) != 0) return false;
  const size_t before = run_.totalLen();
  if (!run_.add(datagram + kTunnelHeader, len - kTunnelHeader)) return false;
  const size_t skip = kTunnelHeader + run_.payloadOffset();
  std::memcpy(head_ + kTunnelHeader + before, datagram + skip, len - skip);
  return true;
}

// The next slot takes the datagram.
void UdpReceiver::open(const Memory& memory, const Arrival& arrival, const uint8_t* datagram, size_t len) {
  close();
  const int slot = memory.rx[from_ + count_];
  meta_ = memory.metaOf(slot);
  head_ = memory.bytes(slot) + kHeadroom;
  info_ = a_.info + static_cast<size_t>(from_ + count_) * kInfoWords;
  count_++;
  std::memcpy(head_, datagram, len);
  std::memcpy(info_, arrival.info, sizeof arrival.info);
  meta_[kHead] = kHeadroom;
  meta_[kLen] = static_cast<int32_t>(len);
  meta_[kPort] = token_;
  meta_[kFlags] = 0;
  meta_[kGsoType] = kGsoNone;
  meta_[kGsoSize] = 0;
  meta_[kStrip] = 0;
  meta_[kTci] = 0;
  if (len <= kTunnelHeader) return;
  if (run_.start(head_ + kTunnelHeader, len - kTunnelHeader, false, udp_, true)) return;
  note_partial(meta_, head_ + kTunnelHeader, len - kTunnelHeader);
}

// The packet in hand takes no more.
void UdpReceiver::close() {
  if (run_.count() == 1 && run_.partial()) {
    meta_[kFlags] |= kCsumPartial;
    meta_[kCsumStart] = static_cast<int32_t>(kTunnelHeader + run_.layers().l4);
    meta_[kCsumOffset] = run_.layers().tcp ? 16 : 6;
  } else if (run_.count() == 1) {
    meta_[kFlags] |= kCsumVerified;
  } else if (run_.count() > 1) {
    const SuperFrame super = run_.finish();
    meta_[kLen] = static_cast<int32_t>(kTunnelHeader + super.len);
    meta_[kFlags] |= kCsumPartial;
    meta_[kGsoType] = super.gsoType;
    meta_[kGsoSize] = super.gsoSize;
    meta_[kHdrLen] = static_cast<int32_t>(kTunnelHeader + run_.payloadOffset());
    meta_[kCsumStart] = kTunnelHeader + super.csumStart;
    meta_[kCsumOffset] = super.gsoType == kGsoUdp ? 6 : 16;
  }
  run_ = Coalescer();
}

}  // namespace taploom
