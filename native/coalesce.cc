// Coalescing (GRO): segment.cc backwards. A run merges only what segmentation would take apart
// into the very same frames again, so nobody behind us can tell (but for the ids of DF packets,
// which carry no information: RFC 6864 section 4).
//
//   state     start                     add                                finish
//   empty     -> open, or stays empty   refuses                            gsoType 0
//   open      begins anew               -> open; -> closed after a         -> closed
//                                       shorter frame or PSH; or refuses
//   closed    begins anew               refuses                            the same again
//
// The order of the tests is that of their price: the sum over the payload is last. The whole of a
// later frame's headers is compared with the first's, so they need not be parsed again:
//
//   IPv4   | ver, TOS = | total length ! | id ! | DF = | TTL, protocol = | sum v | addresses = |
//   IPv6   | ver, class, flow label =    | payload length ! | next, hop limit, addresses =     |
//   TCP    | ports = | seq ! | ack = | offset = | flags ! | window = | sum v | urgent, options = |
//   UDP    | ports = | length ! | sum v |            = the same   ! follows a rule   v verified
//
// What it does not do: reorder, hold frames for a later batch, merge pure acknowledgements, or look
// into tunnels.
//
// Read first: Linux Documentation/networking/segmentation-offloads.rst; inet_gro_receive
// (net/ipv4/af_inet.c), tcp_gro_receive (net/ipv4/tcp_offload.c), udp_gro_receive
// (net/ipv4/udp_offload.c).
#include "coalesce.h"

#include <cstring>

#include "checksum.h"
#include "layout.h"

namespace taploom {
namespace {

constexpr uint8_t kPsh = 0x08, kAck = 0x10;
constexpr uint16_t kDontFragment = 0x4000;
constexpr size_t kMaxPacket = 65535;  // IPv4's total length; for IPv6 the header is counted too
constexpr int kMaxDatagrams = 64;     // UDP_GRO_CNT_MAX in udp_offload.c

bool same(const uint8_t* a, const uint8_t* b, size_t from, size_t to) {
  return std::memcmp(a + from, b + from, to - from) == 0;
}

}  // namespace

// Whether a frame with the first frame's addresses has an L4 checksum that was not finished.
bool Coalescer::isPartial(const uint8_t* frame, size_t len) const {
  const uint32_t pseudo = at_.pseudo + static_cast<uint32_t>(len - at_.l4);
  return read16(frame + at_.l4 + (at_.tcp ? 16 : 6)) == checksum_add(nullptr, 0, pseudo);
}

// Whether the checksums of a frame with the first frame's addresses are there and right.
bool Coalescer::verified(const uint8_t* frame, size_t len) const {
  if (!at_.v6 && checksum_add(frame + at_.l3, at_.l4 - at_.l3, 0) != 0xffff) return false;
  if (!at_.tcp && read16(frame + at_.l4 + 6) == 0) return false;  // segments would get one
  if (unfinished_ && isPartial(frame, len)) return true;
  const size_t l4Len = len - at_.l4;
  return checksum_add(frame + at_.l4, l4Len, at_.pseudo + static_cast<uint32_t>(l4Len)) == 0xffff;
}

bool Coalescer::start(uint8_t* frame, size_t len, bool noEthernet, bool udp, bool unfinished) {
  *this = Coalescer();
  unfinished_ = unfinished;
  if (!parse_layers(frame, len, noEthernet, &at_)) return false;
  if (at_.end != len || at_.payload == len) return false;
  if (at_.l4 - at_.l3 != (at_.v6 ? 40 : 20)) return false;
  const uint8_t* l4 = frame + at_.l4;
  if (at_.tcp) {
    const bool reserved = (l4[12] & 15) != 0;  // accurate ECN's AE among them
    if (reserved || l4[13] != kAck) return false;
  } else if (!udp) {
    return false;
  }
  if (!at_.v6) {
    const uint16_t fragment = read16(frame + at_.l3 + 6);
    if ((fragment & ~kDontFragment) != 0) return false;
    firstId_ = read16(frame + at_.l3 + 4);
  }
  if (!verified(frame, len)) return false;
  partial_ = unfinished && isPartial(frame, len);
  first_ = frame;
  noEthernet_ = noEthernet;
  segment_ = len - at_.payload;
  total_ = len;
  nextSeq_ = at_.tcp ? read32(l4 + 4) + static_cast<uint32_t>(segment_) : 0;
  count_ = 1;
  return true;
}

bool Coalescer::add(const uint8_t* frame, size_t len) {
  if (count_ == 0 || closed_ || len <= at_.payload) return false;
  const size_t l3 = at_.l3, l4 = at_.l4, payloadLen = len - at_.payload;
  if (payloadLen > segment_ || total_ + payloadLen > kMaxPacket + l3) return false;

  bool fixedId = fixedId_;
  if (at_.v6) {
    if (read16(frame + l3 + 4) != len - l4) return false;
    if (!same(frame, first_, 0, l3 + 4) || !same(frame, first_, l3 + 6, l4 + 4)) return false;
  } else {
    if (read16(frame + l3 + 2) != len - l3) return false;
    if (!same(frame, first_, 0, l3 + 2)) return false;
    if (!same(frame, first_, l3 + 6, l3 + 10) || !same(frame, first_, l3 + 12, l4 + 4)) return false;
    const uint16_t id = read16(frame + l3 + 4);
    const bool mayBeFixed = (read16(first_ + l3 + 6) & kDontFragment) != 0;
    if (count_ == 1) fixedId = mayBeFixed && id == firstId_;  // the second frame shows which
    if (id != static_cast<uint16_t>(firstId_ + (fixedId ? 0 : count_))) return false;
  }

  bool psh = false;
  if (at_.tcp) {
    if (read32(frame + l4 + 4) != nextSeq_) return false;
    if (!same(frame, first_, l4 + 8, l4 + 13) || !same(frame, first_, l4 + 14, l4 + 16)) return false;
    if (!same(frame, first_, l4 + 18, at_.payload)) return false;
    const uint8_t flags = frame[l4 + 13];
    if ((flags & ~kPsh) != kAck) return false;
    psh = (flags & kPsh) != 0;
  } else if (read16(frame + l4 + 4) != len - l4 || count_ == kMaxDatagrams) {
    return false;
  }
  if (!verified(frame, len)) return false;

  fixedId_ = fixedId;
  psh_ = psh;
  closed_ = psh || payloadLen < segment_;
  nextSeq_ += static_cast<uint32_t>(payloadLen);
  total_ += payloadLen;
  count_++;
  return true;
}

SuperFrame Coalescer::finish() {
  SuperFrame result{};
  result.bytes = first_;
  result.len = total_;
  result.noEthernet = noEthernet_;
  closed_ = true;
  if (count_ < 2) return result;

  uint8_t* ip = first_ + at_.l3;
  uint8_t* l4 = first_ + at_.l4;
  const size_t l4Len = total_ - at_.l4;
  if (at_.v6) {
    write16(ip + 4, l4Len);
  } else {
    write16(ip + 2, total_ - at_.l3);
    write16(ip + 10, 0);
    write16(ip + 10, 0xffffu ^ checksum_add(ip, at_.l4 - at_.l3, 0));
  }
  if (at_.tcp) {
    if (psh_) l4[13] |= kPsh;
  } else {
    write16(l4 + 4, l4Len);
  }
  // Partial: the pseudo-header's sum, not complemented; whoever segments or sends it adds the rest.
  const uint16_t partial = checksum_add(nullptr, 0, at_.pseudo + static_cast<uint32_t>(l4Len));
  write16(l4 + (at_.tcp ? 16 : 6), partial);

  result.gsoType = at_.tcp ? (at_.v6 ? kGsoTcp6 : kGsoTcp4) : kGsoUdp;
  result.gsoSize = static_cast<int>(segment_);
  result.csumStart = static_cast<int>(at_.l4);
  return result;
}

}  // namespace taploom
