// What every sender asks of a frame before it trusts its metadata, and the bytes in front of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "layout.h"

namespace taploom {

constexpr int kMacBytes = 12;
constexpr int kTagBytes = 4;
constexpr int kIpv4Header = 20;  // the shortest header in front of a checksum
// A segment size of a few bytes is an attack on whoever has to segment: Linux's smallest MSS is 48.
constexpr int kMaxSegments = 65536 / 48;

// Whether the numbers fit the slot, the frame and the virtio header.
inline bool sound(const int32_t* meta, uint32_t tag) {
  const int head = meta[kHead], len = meta[kLen], strip = meta[kStrip], flags = meta[kFlags];
  if (head < kMaxVnetHeader || len <= 0 || head > kSlotSize || len > kSlotSize - head) return false;
  if (strip != 0 && strip != kTagBytes) return false;
  if ((tag || strip) && (len < kMacBytes + strip || (flags & kNoEthernet))) return false;
  if (meta[kGsoSize] < 0 || meta[kGsoSize] > 0xffff) return false;
  if (!(flags & kCsumPartial)) return true;
  // Behind an IP header: a sender must not have addresses or a tag rewritten after they were judged.
  const int lowest = (flags & kNoEthernet ? 0 : kMacBytes + strip + 2) + kIpv4Header;
  const int start = meta[kCsumStart], offset = meta[kCsumOffset];
  return start >= lowest && start <= 0xffff - kTagBytes && start <= len - 2 && offset >= 0 &&
         offset <= len - 2 - start;
}

// The MAC addresses of a frame and the tag it gets. Bytes written.
inline size_t put_macs(uint8_t* to, const uint8_t* frame, uint32_t tag) {
  std::memcpy(to, frame, kMacBytes);
  if (!tag) return kMacBytes;
  to[kMacBytes] = static_cast<uint8_t>(tag >> 24);
  to[kMacBytes + 1] = static_cast<uint8_t>(tag >> 16);
  to[kMacBytes + 2] = static_cast<uint8_t>(tag >> 8);
  to[kMacBytes + 3] = static_cast<uint8_t>(tag);
  return kMacBytes + kTagBytes;
}

}  // namespace taploom
