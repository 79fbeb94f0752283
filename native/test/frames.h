// The oracle of the tests: frames built field by field, with a checksum of its own, two bytes at a
// time. What is under test must produce the frame that the builder makes for the same place.
#pragma once
#include "../checksum.h"
#include "../layout.h"
#include "check.h"

namespace taploom {

inline uint16_t naive_sum(const uint8_t* data, size_t len, uint64_t sum) {
  for (size_t i = 0; i < len; i++) sum += i % 2 == 0 ? uint64_t{data[i]} << 8 : data[i];
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint16_t>(sum);
}

inline void append16(Bytes* out, size_t v) {
  out->push_back(static_cast<uint8_t>(v >> 8));
  out->push_back(static_cast<uint8_t>(v));
}
inline void append32(Bytes* out, uint32_t v) {
  append16(out, v >> 16);
  append16(out, v & 0xffff);
}
inline void append(Bytes* out, const Bytes& bytes) { out->insert(out->end(), bytes.begin(), bytes.end()); }

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64, kCwr = 128;

enum class L4Sum { kFull, kPartial };

// Everything that can differ between two frames. The defaults are those of a frame in mid-stream.
struct Recipe {
  bool v6 = false, tcp = true, noEthernet = false;
  std::vector<uint16_t> tags;  // TPIDs, outer first
  uint8_t lastMacByte = 0x02;
  uint16_t tci = 0x2064;
  uint8_t tos = 0, ttl = 64;
  uint16_t id = 0x1234, fragment = 0x4000;  // DF
  uint32_t flowLabel = 0x12345;
  Bytes ipOptions;   // whole words
  Bytes extensions;  // IPv6, each without its next-header byte's value (build() chains them)
  std::vector<uint8_t> extensionTypes;
  Bytes finalDst;  // where a routing header leads, if not to the IPv6 header's destination
  uint8_t lastAddrByte = 9;
  uint16_t srcPort = 40000, dstPort = 443;
  uint32_t seq = 0x01020304, ack = 0x0a0b0c0d;
  uint8_t reserved = 0, flags = kAck;
  uint16_t window = 501, urgent = 0;
  Bytes tcpOptions;  // whole words
  L4Sum sum = L4Sum::kFull;

  size_t l3() const { return noEthernet ? 0 : 14 + 4 * tags.size(); }
  size_t l4() const { return l3() + (v6 ? 40 + extensions.size() : 20 + ipOptions.size()); }
  size_t payload() const { return l4() + (tcp ? 20 + tcpOptions.size() : 8); }
  int gsoType() const { return !tcp ? kGsoUdp : v6 ? kGsoTcp6 : kGsoTcp4; }
  // Payload of the longest packet.
  size_t room() const { return 65535 + (v6 ? l3() + 40 : l3()) - payload(); }
};

inline Bytes build(const Recipe& r, const uint8_t* payload, size_t payloadLen) {
  Bytes out;
  if (!r.noEthernet) {
    append(&out, {0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, r.lastMacByte});
    for (uint16_t tpid : r.tags) {
      append16(&out, tpid);
      append16(&out, r.tci);
    }
    append16(&out, r.v6 ? 0x86dd : 0x0800);
  }
  const size_t l4Header = r.payload() - r.l4();
  const size_t l4Len = l4Header + payloadLen;
  const uint8_t protocol = r.tcp ? 6 : 17;
  Bytes src, dst;
  if (r.v6) {
    src = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    dst = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, r.lastAddrByte};
    append32(&out, 0x60000000u | uint32_t{r.tos} << 20 | r.flowLabel);
    append16(&out, r.extensions.size() + l4Len);
    out.push_back(r.extensionTypes.empty() ? protocol : r.extensionTypes[0]);
    out.push_back(r.ttl);
    append(&out, src);
    append(&out, dst);
    const size_t from = out.size();
    append(&out, r.extensions);
    for (size_t i = 0, at = from; i < r.extensionTypes.size(); i++) {
      out[at] = i + 1 < r.extensionTypes.size() ? r.extensionTypes[i + 1] : protocol;
      at += (out[at + 1] + 1u) * 8;
    }
  } else {
    src = {10, 0, 0, 1};
    dst = {10, 0, 0, r.lastAddrByte};
    const size_t headerLen = 20 + r.ipOptions.size();
    const size_t from = out.size();
    out.push_back(static_cast<uint8_t>(0x40 | headerLen / 4));
    out.push_back(r.tos);
    append16(&out, headerLen + l4Len);
    append16(&out, r.id);
    append16(&out, r.fragment);
    append(&out, {r.ttl, protocol, 0, 0});
    append(&out, src);
    append(&out, dst);
    append(&out, r.ipOptions);
    const int sum = ~naive_sum(out.data() + from, headerLen, 0) & 0xffff;
    out[from + 10] = static_cast<uint8_t>(sum >> 8);
    out[from + 11] = static_cast<uint8_t>(sum);
  }
  const size_t l4 = out.size();
  append16(&out, r.srcPort);
  append16(&out, r.dstPort);
  if (r.tcp) {
    append32(&out, r.seq);
    append32(&out, r.ack);
    out.push_back(static_cast<uint8_t>(l4Header / 4 << 4 | r.reserved));
    out.push_back(r.flags);
    append16(&out, r.window);
    append16(&out, 0);
    append16(&out, r.urgent);
    append(&out, r.tcpOptions);
  } else {
    append16(&out, l4Len);
    append16(&out, 0);
  }
  out.insert(out.end(), payload, payload + payloadLen);

  Bytes pseudo = src;
  append(&pseudo, r.finalDst.empty() ? dst : r.finalDst);
  append16(&pseudo, protocol);
  append16(&pseudo, l4Len);
  int sum = naive_sum(pseudo.data(), pseudo.size(), 0);
  if (r.sum == L4Sum::kFull) {
    sum = ~naive_sum(out.data() + l4, l4Len, static_cast<uint64_t>(sum)) & 0xffff;
    if (sum == 0 && !r.tcp) sum = 0xffff;
  }
  const size_t at = l4 + (r.tcp ? 16 : 6);
  out[at] = static_cast<uint8_t>(sum >> 8);
  out[at + 1] = static_cast<uint8_t>(sum);
  return out;
}
inline Bytes build(const Recipe& r, const Bytes& payload) { return build(r, payload.data(), payload.size()); }

inline Recipe recipe(bool v6, bool tcp) {
  Recipe r;
  r.v6 = v6;
  r.tcp = tcp;
  return r;
}

// One of each kind and envelope: 4 protocols x (no Ethernet, 0, 1, 2 tags) x (bare, with options).
inline std::vector<Recipe> all_recipes() {
  const std::vector<std::vector<uint16_t>> envelopes = {{}, {0x8100}, {0x88a8, 0x8100}, {0x9100, 0x8100}};
  std::vector<Recipe> all;
  for (int kind = 0; kind < 16; kind++) {
    for (size_t envelope = 0; envelope <= envelopes.size(); envelope++) {
      Recipe r = recipe((kind & 1) != 0, (kind & 2) != 0);
      r.noEthernet = envelope == envelopes.size();
      if (!r.noEthernet) r.tags = envelopes[envelope];
      if ((kind & 4) != 0) r.tcpOptions = {1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9};  // timestamps
      if (!r.tcp) r.tcpOptions.clear();
      if ((kind & 8) != 0 && !r.v6) r.ipOptions = {0x94, 4, 0, 0};  // router alert
      if ((kind & 8) != 0 && r.v6) {
        r.extensionTypes = {0, 60};
        r.extensions = {0, 0, 5, 2, 0, 0, 1, 0, 0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
      }
      all.push_back(r);
    }
  }
  return all;
}

// What Linux would make of it, by the builder.
inline std::vector<Bytes> expected_segments(const Recipe& super, const Bytes& payload, size_t gsoSize,
                                            bool ecn) {
  std::vector<Bytes> out;
  size_t sent = 0;
  do {
    const size_t len = payload.size() - sent < gsoSize ? payload.size() - sent : gsoSize;
    const bool last = sent + len == payload.size();
    Recipe r = super;
    r.sum = L4Sum::kFull;
    r.id = static_cast<uint16_t>(super.id + out.size());
    r.seq = static_cast<uint32_t>(super.seq + sent);
    if (!last) r.flags = static_cast<uint8_t>(r.flags & ~(kFin | kPsh));
    if (ecn && sent > 0) r.flags = static_cast<uint8_t>(r.flags & ~kCwr);
    out.push_back(build(r, payload.data() + sent, len));
    sent += len;
  } while (sent < payload.size());
  return out;
}

}  // namespace taploom
