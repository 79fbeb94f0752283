// The shared memory of one data plane as C++ sees it, and what it knows about a port.
#pragma once
#include <cstddef>
#include <cstdint>

#include "layout.h"

namespace taploom {

struct Memory {
  uint8_t* pool = nullptr;
  int slots = 0;
  int32_t* meta = nullptr;   // slots * kMetaWords
  int32_t* rx = nullptr;     // rxWords slot numbers
  int rxWords = 0;
  int32_t* txq = nullptr;    // txWords int32, pairs
  int txWords = 0;
  int32_t* events = nullptr; // eventWords int32, pairs
  int eventWords = 0;
  double* clock = nullptr;   // kClockWords
  int32_t* txResult = nullptr; // kTxWords

  bool has(int slot) const { return slot >= 0 && slot < slots; }
  // Whether `count` numbers, `stride` words apart, are slots. Asked before the first byte moves, so
  // that a wrong number loses no packet.
  bool hasAll(const int32_t* numbers, int count, int stride) const {
    bool all = true;
    for (int i = 0; i < count; i++) all &= has(numbers[i * stride]);
    return all;
  }
  uint8_t* bytes(int slot) const { return pool + static_cast<size_t>(slot) * kSlotSize; }
  int32_t* metaOf(int slot) const { return meta + static_cast<size_t>(slot) * kMetaWords; }
};

enum class DeviceKind : int { kTap = 0, kTun = 1, kPacket = 2, kUdp = 3 };

class UdpTunnel;

struct Device {
  int fd = -1;
  DeviceKind kind = DeviceKind::kTap;
  int vnetSize = 0; // bytes of virtio header in front of every frame, 0 = none
  int offloads = 0; // Offload bits the other side takes
  int token = 0;    // what `wait` reports; TypeScript's port index
  bool attached = false;
  UdpTunnel* udp = nullptr; // of kUdp: its sockets, and what they hold back
};

// Fills the slots rx[from .. from+max) until the device is empty or `budget` bytes have come (a
// packet socket looks at the budget once in 32 packets). Returns how many, or a negative errno when
// the first read fails (0 for EAGAIN); -EFAULT, with nothing read, for slots that do not exist.
// What came cut short or makes no sense is a packet of 0 bytes.
int receive(const Device& device, const Memory& memory, int from, int max, int budget);

// Sends `count` pairs (slot, tag) from txq[at]. Every packet is accounted for in txResult.
// A packet the device cannot take as it is gets its checksum finished (in place) or is
// segmented (gathered, no payload copied). Returns the number of packets sent, or a negative
// errno when the device is gone (the rest is then counted as kDown). -EFAULT, with nothing sent and
// nothing counted, for slots that do not exist.
int transmit(const Device& device, const Memory& memory, int at, int count);

} // namespace taploom
