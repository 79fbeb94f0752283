// Sending inner frames through UDP sockets.
//
//   small frame    | header | frame |                     copied together: one piece for a whole run
//   large frame    | header |  + | frame ............ |   gathered
//   retagged       | header | MACs | tag? |  + | type, payload |
//   super-frame    | header | its headers |  + | payload |   the same for every segment (segment.h)
//                  or whole, by an underlay TAP (underlay.h)
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
#include <cerrno>
#include <cstring>

#include "checksum.h"
#include "frame.h"
#include "segment.h"
#include "udp.h"

namespace taploom {
namespace {

constexpr size_t kMaxBytes = 65507;  // what IPv4 leaves of 65535

}  // namespace

UdpSender::UdpSender(std::vector<TunnelSocket>& sockets, const UdpArrays& arrays, int underlay)
    : sockets_(sockets),
      a_(arrays),
      underlay_(underlay),
      messages_(new Message[kMessages]),
      arena_(new uint8_t[kArena]) {}

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

// By the underlay TAP, behind what waits: a flow keeps its order.
bool UdpSender::send_whole(int row, const int32_t* meta, const uint8_t* frame) {
  int32_t* send = a_.sends + static_cast<size_t>(row) * kSendWords;
  const int32_t* path = a_.paths + static_cast<size_t>(send[kSendPath]) * kPathWords;
  flush();
  send[kSendResult] =
      underlay_.send(sockets_[static_cast<size_t>(send[kSendSocket])], path, send, meta, frame);
  return send[kSendResult] > 0;
}

void UdpSender::send_super(int row, const int32_t* meta, const uint8_t* frame) {
  const int32_t* send = a_.sends + static_cast<size_t>(row) * kSendWords;
  if (underlay_.open() && send_whole(row, meta, frame)) return;
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
  else
    m->piece[m->pieces++] = {at, headBytes};
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

}  // namespace taploom
