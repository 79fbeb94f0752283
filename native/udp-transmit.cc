// Sending inner frames through UDP sockets.
//
//   small frame    | header | frame |                     copied together: one piece for a whole run
//   large frame    | header |  + | frame ............ |   gathered
//   retagged       | header | MACs | tag? |  + | type, payload |
//   super-frame    | header | its headers |  + | payload |   the same for every segment (segment.h)
//
// Datagrams collect in messages. One that goes the same way (socket, address) with the same TOS and TTL
// and is as long as those before joins their message; a shorter one joins and closes it, as UDP_SEGMENT
// wants all but the last equal. Several messages are open at a time, so that flows which alternate are
// still sent in runs; those of one way keep their order. The tunnel header need not be the same.
//
//   limit of a message     65507 bytes (65535 with IPv4's headers), 128 segments
//   flushed                when all messages or the arena are in use, and at the end
//
// Read first: udp_send_skb (net/ipv4/udp.c); Linux Documentation/networking/segmentation-offloads.rst.
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "checksum.h"
#include "frame.h"
#include "segment.h"
#include "udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace taploom {
namespace {

constexpr size_t kMaxBytes = 65507;  // what IPv4 leaves of 65535
constexpr int kOldMaxSegments = 64;  // Linux before 6.9
constexpr size_t kControl = 128;

// What the kernel may say of a datagram sent earlier, once.
bool may_be_late(int err) {
  return err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH || err == EPROTO ||
         err == ENOPROTOOPT;
}

void put_control(msghdr* header, int level, int type, const void* data, size_t size) {
  auto* c = reinterpret_cast<cmsghdr*>(static_cast<uint8_t*>(header->msg_control) + header->msg_controllen);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(size);
  std::memcpy(CMSG_DATA(c), data, size);
  header->msg_controllen += CMSG_SPACE(size);
}
void put_control(msghdr* header, int level, int type, int value) {
  put_control(header, level, type, &value, sizeof value);
}

// The options in which a message differs from its socket.
void put_options(msghdr* header, const TunnelSocket& socket, const Message& message, const SocketAddress& to,
                 int scope) {
  const bool group = to.group();
  const int ttl = message.tosTtl >> 8 & 0xff, tos = message.tosTtl & 0xff;
  const int level = socket.v6 ? static_cast<int>(IPPROTO_IPV6) : static_cast<int>(IPPROTO_IP);
  if (message.segments > 1) {
    const uint16_t size = static_cast<uint16_t>(message.segmentLen);
    put_control(header, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
  }
  if (tos != socket.tos) put_control(header, level, socket.v6 ? IPV6_TCLASS : IP_TOS, tos);
  // The socket's own TTL is that of unicast.
  if (ttl != 0 && (ttl != socket.ttl || group))
    put_control(header, level, socket.v6 ? IPV6_HOPLIMIT : IP_TTL, ttl);
  if (scope == 0 || !group) return;
  if (socket.v6) {
    in6_pktinfo info{};
    info.ipi6_ifindex = static_cast<unsigned>(scope);
    put_control(header, level, IPV6_PKTINFO, &info, sizeof info);
  } else {
    in_pktinfo info{};
    info.ipi_ifindex = scope;
    put_control(header, level, IP_PKTINFO, &info, sizeof info);
  }
}

}  // namespace

UdpSender::UdpSender(std::vector<TunnelSocket>& sockets, const UdpArrays& arrays)
    : sockets_(sockets), a_(arrays), messages_(new Message[kMessages]), arena_(new uint8_t[kArena]) {}

int UdpSender::transmit(const Memory& memory, int at, int count) {
  result_ = memory.txResult;
  std::memset(result_, 0, kTxWords * sizeof(int32_t));
  if (at < 0 || count < 0 || at > a_.sendRows || count > a_.sendRows - at) return -EFAULT;
  bool all = true;
  for (int row = at; row < at + count; row++) {
    const int32_t* send = a_.sends + static_cast<size_t>(row) * kSendWords;
    const int path = send[kSendPath], socket = send[kSendSocket];
    all &= memory.has(send[kSendSlot]) && path >= 0 && path < a_.pathRows && socket >= 0 &&
           socket < static_cast<int>(sockets_.size());
  }
  if (!all) return -EFAULT;
  for (int row = at; row < at + count; row++) {
    a_.sends[static_cast<size_t>(row) * kSendWords + kSendResult] = 0;
    send_row(memory, row);
  }
  flush();
  for (int row = at; row < at + count; row++) {
    const int bytes = a_.sends[static_cast<size_t>(row) * kSendWords + kSendResult];
    if (bytes <= 0) continue;
    result_[kSent]++;
    result_[kSentBytes] += bytes;
  }
  return result_[kSent];
}

// A header as it crosses the wire.
void UdpSender::put_header(uint8_t* to, const int32_t* send) const {
  write32(to, static_cast<uint32_t>(send[kSendHeader0]));
  write32(to + 4, static_cast<uint32_t>(send[kSendHeader1]));
}

// Room in the arena; what waits is sent if there is none.
void UdpSender::reserve(size_t bytes) {
  if (used_ + bytes > kArena) flush();
}

void UdpSender::send_row(const Memory& memory, int row) {
  const int32_t* send = a_.sends + static_cast<size_t>(row) * kSendWords;
  const int slot = send[kSendSlot];
  const uint32_t tag = static_cast<uint32_t>(send[kSendTag]);
  int32_t* meta = memory.metaOf(slot);
  if (!sound(meta, tag) || (meta[kFlags] & kNoEthernet)) return fail(row, EBADMSG);
  const int32_t* path = a_.paths + static_cast<size_t>(send[kSendPath]) * kPathWords;
  const bool v6 = sockets_[static_cast<size_t>(send[kSendSocket])].v6;
  if (path[kPathFamily] != (v6 ? 6 : 4)) return fail(row, EAFNOSUPPORT);
  uint8_t* frame = memory.bytes(slot) + meta[kHead];
  if (meta[kGsoSize]) return send_super(row, meta, frame);
  const size_t len = static_cast<size_t>(meta[kLen]), strip = static_cast<size_t>(meta[kStrip]);
  if (meta[kFlags] & kCsumPartial) {
    if (!checksum_finish(frame, len, static_cast<size_t>(meta[kCsumStart]),
                         static_cast<size_t>(meta[kCsumOffset])))
      return fail(row, EBADMSG);
    meta[kFlags] = (meta[kFlags] & ~kCsumPartial) | kCsumVerified;
  }
  reserve(kTunnelHeader + kTagBytes + kCopyBelow);
  uint8_t* at = arena_.get() + used_;
  put_header(at, send);
  size_t head = kTunnelHeader, skip = 0;
  if (tag || strip) {
    head += put_macs(at + head, frame, tag);
    skip = kMacBytes + strip;
  }
  size_t rest = len - skip;
  if (len <= kCopyBelow) {
    std::memcpy(at + head, frame + skip, rest);
    head += rest;
    rest = 0;
  }
  add(row, head, frame + skip, rest);
}

void UdpSender::send_super(int row, const int32_t* meta, const uint8_t* frame) {
  const int32_t* send = a_.sends + static_cast<size_t>(row) * kSendWords;
  const uint32_t tag = static_cast<uint32_t>(send[kSendTag]);
  const size_t strip = static_cast<size_t>(meta[kStrip]), added = tag ? kTagBytes : 0;
  Segmenter segmenter;
  const SuperFrame super{frame,
                         static_cast<size_t>(meta[kLen]),
                         meta[kGsoType],
                         meta[kGsoSize],
                         meta[kCsumStart],
                         (meta[kFlags] & kGsoEcn) != 0,
                         false};
  if (!(meta[kFlags] & kCsumPartial) || !segmenter.init(super) || segmenter.count() > kMaxSegments)
    return fail(row, EBADMSG);
  // Where a segment's headers start so that those behind the tag end up in their place.
  const size_t shift = kTunnelHeader + added - strip;
  const size_t head = shift + segmenter.headerLen();
  const uint8_t* payload;
  size_t payloadLen;
  for (;;) {
    reserve(shift + kMaxSegmentHeader);
    uint8_t* at = arena_.get() + used_;
    if (!segmenter.next(at + shift, &payload, &payloadLen)) return;
    if (added != strip || added) put_macs(at + kTunnelHeader, frame, tag);
    put_header(at, send);
    add(row, head, payload, payloadLen);
  }
}

// A datagram whose first `headBytes` lie at the arena's end.
void UdpSender::add(int row, size_t headBytes, const uint8_t* rest, size_t restBytes) {
  const int32_t* send = a_.sends + static_cast<size_t>(row) * kSendWords;
  const size_t len = headBytes + restBytes;
  if (len > kMaxBytes) return fail(row, EMSGSIZE);
  uint8_t* at = arena_.get() + used_;
  Message* m = message_for(send, len);
  // A flush for want of a message made the arena empty, but left these bytes where they are.
  if (used_ == 0 && at != arena_.get()) {
    std::memmove(arena_.get(), at, headBytes);
    at = arena_.get();
  }
  used_ += headBytes;
  if (m->pieces > 0 &&
      static_cast<uint8_t*>(m->piece[m->pieces - 1].iov_base) + m->piece[m->pieces - 1].iov_len == at)
    m->piece[m->pieces - 1].iov_len += headBytes;
  else m->piece[m->pieces++] = {at, headBytes};
  if (restBytes != 0) m->piece[m->pieces++] = {const_cast<uint8_t*>(rest), restBytes};
  m->segments++;
  m->bytes += len;
  m->closed = len < m->segmentLen;
  if (m->rows > 0 && m->row[m->rows - 1] == row) {
    m->rowBytes[m->rows - 1] += static_cast<int>(len);
  } else {
    m->row[m->rows] = row;
    m->rowBytes[m->rows++] = static_cast<int>(len);
  }
}

// The message that a datagram of `len` bytes joins: the last of its way, or a new one.
Message* UdpSender::message_for(const int32_t* send, size_t len) {
  const int socket = send[kSendSocket], path = send[kSendPath], tosTtl = send[kSendTosTtl];
  const TunnelSocket& s = sockets_[static_cast<size_t>(socket)];
  for (int i = count_ - 1; i >= 0; i--) {
    Message& m = message(i);
    if (m.socket != socket || m.path != path) continue;
    if (m.tosTtl == tosTtl && !m.closed && len <= m.segmentLen && m.segments < maxSegments_ &&
        m.bytes + len <= kMaxBytes && s.segments)
      return &m;
    break;
  }
  if (count_ == kMessages) flush();
  Message& m = message(count_++);
  m.socket = socket;
  m.path = path;
  m.tosTtl = tosTtl;
  m.segments = m.pieces = m.rows = 0;
  m.segmentLen = len;
  m.bytes = 0;
  m.closed = m.sent = false;
  return &m;
}

// Sends all messages: those of one socket in one call, in their order.
void UdpSender::flush() {
  Message* batch[kMessages];
  for (int i = 0; i < count_; i++) {
    if (message(i).sent) continue;
    int n = 0;
    for (int j = i; j < count_; j++) {
      if (message(j).sent || message(j).socket != message(i).socket) continue;
      message(j).sent = true;
      batch[n++] = &message(j);
    }
    send_messages(batch, n);
  }
  count_ = 0;
  used_ = 0;
}

size_t UdpSender::address(const Message& message, SocketAddress* to) const {
  const int32_t* path = a_.paths + static_cast<size_t>(message.path) * kPathWords;
  const uint16_t port = htons(static_cast<uint16_t>(path[kPathPort]));
  *to = {};
  if (!sockets_[static_cast<size_t>(message.socket)].v6) {
    to->v4.sin_family = AF_INET;
    to->v4.sin_port = port;
    to->v4.sin_addr.s_addr = htonl(static_cast<uint32_t>(path[kPathAddress0]));
  } else {
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = port;
    to->v6.sin6_scope_id = static_cast<uint32_t>(path[kPathScope]);
    for (int i = 0; i < 4; i++)
      write32(to->v6.sin6_addr.s6_addr + 4 * i, static_cast<uint32_t>(path[kPathAddress0 + i]));
  }
  return to->size();
}

void UdpSender::send_messages(Message* const* batch, int count) {
  mmsghdr headers[kMessages];
  SocketAddress to[kMessages];
  alignas(cmsghdr) uint8_t control[kMessages][kControl];
  TunnelSocket& socket = sockets_[static_cast<size_t>(batch[0]->socket)];
  for (int i = 0; i < count; i++) {
    Message& m = *batch[i];
    const size_t size = address(m, &to[i]);
    msghdr& h = headers[i].msg_hdr;
    h = {&to[i], static_cast<socklen_t>(size), m.piece, static_cast<size_t>(m.pieces), control[i], 0, 0};
    put_options(&h, socket, m, to[i], a_.paths[static_cast<size_t>(m.path) * kPathWords + kPathScope]);
    if (h.msg_controllen == 0) h.msg_control = nullptr;
    headers[i].msg_len = 0;
  }
  bool retried = false;
  for (int done = 0; done < count;) {
    const int n = sendmmsg(socket.fd, headers + done, static_cast<unsigned>(count - done), MSG_DONTWAIT);
    if (n > 0) {
      for (int i = 0; i < n; i++) succeed(*batch[done + i]);
      done += n;
      retried = false;
      continue;
    }
    const int err = n < 0 ? errno : EIO;
    if (err == EINTR) continue;
    if (may_be_late(err) && !retried) {
      retried = true;
      continue;
    }
    retried = false;
    send_apart(*batch[done++], err);
  }
}

// A message the kernel refused. If it is the segmentation it does not want, or one segment that is too
// long, each datagram is sent by itself.
void UdpSender::send_apart(Message& m, int err) {
  if (m.segments == 1 || (err != EINVAL && err != EIO && err != EMSGSIZE)) {
    for (int i = 0; i < m.rows; i++) fail(m.row[i], err);
    return;
  }
  TunnelSocket& socket = sockets_[static_cast<size_t>(m.socket)];
  if (err == EINVAL && m.segments > kOldMaxSegments) maxSegments_ = kOldMaxSegments;
  else if (err == EIO) socket.segments = false;  // a device without checksum offload, before Linux 6.11
  SocketAddress to;
  alignas(cmsghdr) uint8_t control[kControl];
  msghdr h{&to, static_cast<socklen_t>(address(m, &to)), nullptr, 0, control, 0, 0};
  Message one = {};  // the options of a single datagram
  one.tosTtl = m.tosTtl;
  put_options(&h, socket, one, to, a_.paths[static_cast<size_t>(m.path) * kPathWords + kPathScope]);
  if (h.msg_controllen == 0) h.msg_control = nullptr;
  int piece = 0, entry = 0;
  size_t used = 0, inRow = 0;  // of the piece, of the row's bytes
  bool broken = false;         // the rest of this row is not worth sending
  for (int i = 0; i < m.segments; i++) {
    const size_t before = static_cast<size_t>(i) * m.segmentLen;
    const size_t len = m.bytes - before < m.segmentLen ? m.bytes - before : m.segmentLen;
    iovec parts[Message::kPieces];
    size_t count = 0;
    for (size_t left = len; left > 0;) {
      const iovec& p = m.piece[piece];
      const size_t n = p.iov_len - used < left ? p.iov_len - used : left;
      parts[count++] = {static_cast<uint8_t*>(p.iov_base) + used, n};
      left -= n;
      used += n;
      if (used == p.iov_len) {
        piece++;
        used = 0;
      }
    }
    h.msg_iov = parts;
    h.msg_iovlen = count;
    if (!broken) {
      ssize_t n;
      do n = sendmsg(socket.fd, &h, MSG_DONTWAIT);
      while (n < 0 && errno == EINTR);
      if (n < 0) {
        fail(m.row[entry], errno);
        broken = true;
      }
    }
    inRow += len;
    if (inRow < static_cast<size_t>(m.rowBytes[entry])) continue;
    if (!broken) {
      int32_t& result = a_.sends[static_cast<size_t>(m.row[entry]) * kSendWords + kSendResult];
      if (result >= 0) result += m.rowBytes[entry];
    }
    entry++;
    inRow = 0;
    broken = false;
  }
}

void UdpSender::succeed(const Message& m) {
  for (int i = 0; i < m.rows; i++) {
    int32_t& result = a_.sends[static_cast<size_t>(m.row[i]) * kSendWords + kSendResult];
    if (result >= 0) result += m.rowBytes[i];
  }
}

// Counted once per row, by its first error.
void UdpSender::fail(int row, int err) {
  int32_t& result = a_.sends[static_cast<size_t>(row) * kSendWords + kSendResult];
  if (result < 0) return;
  result = -err;
  result_[kErrno] = err;
  switch (err) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM: result_[kNoRoom]++; break;
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENODEV:
    case EBADF: result_[kDown]++; break;
    case EBADMSG: result_[kMalformed]++; break;
    default: result_[kRefused]++;
  }
}

}  // namespace taploom
