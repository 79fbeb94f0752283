// The virtio-net header (struct virtio_net_hdr, virtio 1.2 section 5.1.6), little endian by
// TUNSETVNETLE. Written out because <linux/virtio_net.h> does not compile as C++.
#pragma once
#include <cstdint>

namespace taploom {

struct VnetHeader {
  uint8_t flags;
  uint8_t gsoType;
  uint16_t hdrLen;
  uint16_t gsoSize;
  uint16_t csumStart;
  uint16_t csumOffset;
};
static_assert(sizeof(VnetHeader) == 10, "the kernel's layout");

constexpr uint8_t kVnetNeedsCsum = 1;
constexpr uint8_t kVnetDataValid = 2;
constexpr uint8_t kVnetGsoEcn = 0x80;

} // namespace taploom
