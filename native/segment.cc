// Software segmentation (GSO): the work a network card does for a super-frame.
//
//   super-frame   | Ethernet, tags | IP | TCP or UDP | payload ............................ |
//                 '------- headerLen() = 54 for TCP --'-- gsoSize --'-- gsoSize --'-- rest --'
//
//   field               segment i of n
//   IPv4 total length   headers + own payload        IPv6: payload length
//   IPv4 id             id + i, modulo 65536         for UDP too, and with DF too
//   IPv4 checksum       computed                     the old one is not looked at
//   TCP sequence        seq + payload before it
//   TCP FIN, PSH        only in the last
//   TCP CWR             with `ecn` only in the first (RFC 3168 6.1.2); without it every segment
//                       keeps what the super-frame had, as accurate ECN counts it (RFC 9768)
//   UDP length          8 + own payload
//   L4 checksum         computed over pseudo-header, header and payload; UDP 0 becomes 0xffff
//   everything else     copied, SYN and URG included, if a sender is that odd
//
// Which segment sizes are sensible is not decided here: a size of 1 makes 65 thousand segments, so
// whoever takes super-frames from strangers limits count().
//
// Read first: Linux Documentation/networking/segmentation-offloads.rst; then inet_gso_segment
// (net/ipv4/af_inet.c), ipv6_gso_segment (net/ipv6/ip6_offload.c), tcp_gso_segment
// (net/ipv4/tcp_offload.c), __udp_gso_segment (net/ipv4/udp_offload.c).
#include "segment.h"

#include <algorithm>
#include <cstring>

#include "checksum.h"
#include "layout.h"

namespace taploom {
namespace {

constexpr size_t kMacs = 12, kTag = 4, kMaxTags = 2;
constexpr uint16_t kEtherIpv4 = 0x0800, kEtherIpv6 = 0x86dd;
constexpr size_t kIpv4Header = 20, kIpv6Header = 40, kTcpHeader = 20, kUdpHeader = 8;
constexpr uint8_t kHopByHop = 0, kTcp = 6, kUdp = 17, kRouting = 43, kDestination = 60;
constexpr uint8_t kFin = 0x01, kPsh = 0x08, kCwr = 0x80;

bool is_tag(uint16_t type) { return type == 0x8100 || type == 0x88a8 || type == 0x9100; }

// Finds the IP header; the EtherType and the version must agree.
bool parse_link(const uint8_t* frame, size_t len, bool noEthernet, Layers* at) {
  at->l3 = 0;
  if (!noEthernet) {
    size_t type = kMacs;
    if (len < type + 2) return false;
    for (size_t tags = 0; tags < kMaxTags && is_tag(read16(frame + type)); tags++) {
      type += kTag;
      if (len < type + 2) return false;
    }
    const uint16_t etherType = read16(frame + type);
    if (etherType != kEtherIpv4 && etherType != kEtherIpv6) return false;
    at->l3 = type + 2;
    at->v6 = etherType == kEtherIpv6;
  }
  if (len <= at->l3) return false;
  const int version = frame[at->l3] >> 4;
  if (noEthernet) at->v6 = version == 6;
  return version == (at->v6 ? 6 : 4);
}

// IPv4: the end, the L4 header, the protocol. Fragments have no L4 header, or not all of it.
bool parse_ipv4(const uint8_t* frame, size_t len, Layers* at, uint8_t* protocol) {
  if (len - at->l3 < kIpv4Header) return false;
  const uint8_t* ip = frame + at->l3;
  const size_t headerLen = (ip[0] & 15u) * 4;
  const size_t total = read16(ip + 2);
  if (headerLen < kIpv4Header || total < headerLen || total > len - at->l3) return false;
  constexpr int kMoreFragmentsAndOffset = 0x3fff;
  if ((read16(ip + 6) & kMoreFragmentsAndOffset) != 0) return false;
  *protocol = ip[9];
  at->l4 = at->l3 + headerLen;
  at->end = at->l3 + total;
  at->pseudo = checksum_add(ip + 12, 8, *protocol);
  return true;
}

// IPv6: the same, after the extension headers that every segment simply repeats. A jumbogram
// (payload length 0), a fragment or an encrypted packet ends here.
bool parse_ipv6(const uint8_t* frame, size_t len, Layers* at, uint8_t* protocol) {
  if (len - at->l3 < kIpv6Header) return false;
  const uint8_t* ip = frame + at->l3;
  const uint8_t* destination = ip + 24;
  at->end = at->l3 + kIpv6Header + read16(ip + 4);
  if (at->end > len) return false;
  uint8_t next = ip[6];
  size_t l4 = at->l3 + kIpv6Header;
  while (next == kHopByHop || next == kRouting || next == kDestination) {
    if (at->end - l4 < 8 || l4 > kMaxSegmentHeader) return false;
    const uint8_t* extension = frame + l4;
    const size_t size = (extension[1] + 1u) * 8;
    if (size > at->end - l4) return false;
    if (next == kRouting && extension[3] != 0) {
      // Segments left: the checksum is for the final destination (RFC 8200 8.1), which mobile IPv6
      // (type 2) and segment routing (type 4, RFC 8754) carry first. Type 0 is abolished (RFC 5095).
      if ((extension[2] != 2 && extension[2] != 4) || size < 24) return false;
      destination = extension + 8;
    }
    next = extension[0];
    l4 += size;
  }
  *protocol = next;
  at->l4 = l4;
  at->pseudo = checksum_add(destination, 16, checksum_add(ip + 8, 16, next));
  return true;
}

}  // namespace

bool parse_layers(const uint8_t* frame, size_t len, bool noEthernet, Layers* out) {
  uint8_t protocol = 0;
  if (!parse_link(frame, len, noEthernet, out)) return false;
  if (!(out->v6 ? parse_ipv6 : parse_ipv4)(frame, len, out, &protocol)) return false;

  const uint8_t* l4 = frame + out->l4;
  const size_t room = out->end - out->l4;
  size_t headerLen = kUdpHeader;
  if (protocol == kTcp) {
    if (room < kTcpHeader) return false;
    headerLen = (l4[12] >> 4) * 4u;
    if (headerLen < kTcpHeader || headerLen > room) return false;
  } else if (protocol != kUdp || room < kUdpHeader || read16(l4 + 4) != room) {
    return false;
  }
  out->tcp = protocol == kTcp;
  out->payload = out->l4 + headerLen;
  return out->payload <= kMaxSegmentHeader;
}

bool Segmenter::init(const SuperFrame& frame) {
  f_ = frame;
  sent_ = 0;
  count_ = index_ = 0;
  if (frame.gsoSize <= 0 || frame.csumStart < 0) return false;
  if (!parse_layers(frame.bytes, frame.len, frame.noEthernet, &at_)) return false;
  const int type = at_.tcp ? (at_.v6 ? kGsoTcp6 : kGsoTcp4) : kGsoUdp;
  if (frame.gsoType != type || static_cast<size_t>(frame.csumStart) != at_.l4) return false;
  const size_t size = static_cast<size_t>(frame.gsoSize);
  const size_t segments = (at_.end - at_.payload + size - 1) / size;
  count_ = std::max(1, static_cast<int>(segments));  // at most 65535, as an IP packet is
  return true;
}

bool Segmenter::next(uint8_t* header, const uint8_t** payload, size_t* payloadLen) {
  if (index_ == count_) return false;
  const bool last = index_ == count_ - 1;
  *payload = f_.bytes + at_.payload + sent_;
  *payloadLen = std::min(static_cast<size_t>(f_.gsoSize), at_.end - at_.payload - sent_);

  std::memcpy(header, f_.bytes, at_.payload);
  uint8_t* ip = header + at_.l3;
  uint8_t* l4 = header + at_.l4;
  const size_t l4Header = at_.payload - at_.l4;
  const size_t l4Len = l4Header + *payloadLen;
  const size_t l3Len = at_.l4 - at_.l3 + l4Len;
  if (at_.v6) {
    write16(ip + 4, l3Len - kIpv6Header);
  } else {
    write16(ip + 2, l3Len);
    write16(ip + 4, read16(ip + 4) + static_cast<size_t>(index_));
    write16(ip + 10, 0);
    write16(ip + 10, 0xffffu ^ checksum_add(ip, at_.l4 - at_.l3, 0));
  }

  uint8_t* checksum = l4 + (at_.tcp ? 16 : 6);
  if (at_.tcp) {
    write32(l4 + 4, read32(l4 + 4) + static_cast<uint32_t>(sent_));
    if (!last) l4[13] &= static_cast<uint8_t>(~(kFin | kPsh));
    if (f_.ecn && index_ > 0) l4[13] &= static_cast<uint8_t>(~kCwr);
  } else {
    write16(l4 + 4, l4Len);
  }
  write16(checksum, 0);
  // The L4 header is a whole number of words, so the payload's sum may follow it.
  const uint32_t headers = checksum_add(l4, l4Header, at_.pseudo + static_cast<uint32_t>(l4Len));
  const size_t sum = 0xffffu ^ checksum_add(*payload, *payloadLen, headers);
  write16(checksum, sum == 0 && !at_.tcp ? 0xffff : sum);

  sent_ += *payloadLen;
  index_++;
  return true;
}

}  // namespace taploom
