// Messages of udp-transmit.cc on their way into the kernel, and what becomes of their rows.
//
//   the kernel says           then
//   sent                      its bytes are added to the result of each row
//   EINVAL, EIO, EMSGSIZE     of a run: each datagram by itself, so that only the guilty fail
//   ECONNREFUSED and the like once more: it can be the ICMP error of a datagram sent earlier
//   anything else             the result of each of its rows
//
// What a message has in common with its socket (TTL, TOS) needs no control message.
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "checksum.h"
#include "udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace taploom {
namespace {

constexpr int kOldMaxSegments = 64;  // Linux before 6.9
constexpr size_t kControl = 128;     // bytes: all options at once

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
