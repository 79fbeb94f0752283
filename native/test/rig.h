// What receive() and transmit() need around them: a pool, queues, and a socket pair in a device's place.
//
//   Rig    the shared memory of a data plane. AddressSanitizer knows the one block, not the packets
//          in it, so a fence is drawn by hand: what lies outside of a packet and its virtio header is
//          poisoned, also for the kernel's reads and writes.
//   Wire   a pair of AF_UNIX sockets that keep message boundaries: one message is one frame, and
//          read, write, writev, recvmmsg and sendmmsg behave as they do on a TAP or a packet socket.
#pragma once
#include <sanitizer/asan_interface.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "../memory.h"
#include "../vnet.h"
#include "check.h"
#include "frames.h"

namespace taploom {

constexpr int kAllOffloads = kOffCsum | kOffTso4 | kOffTso6 | kOffEcn | kOffUso;
constexpr int kRoom = kSlotSize - kHeadroom;  // bytes of the longest frame received

using Words = std::array<int32_t, kTxWords>;

// What transmit() said.
struct Sent {
  int result;
  Words words;
  int32_t accounted() const {
    return words[kSent] + words[kNoRoom] + words[kRefused] + words[kDown] + words[kMalformed];
  }
  bool all(int count) const { return result == count && words[kSent] == count && accounted() == count; }
};

class Rig {
 public:
  static constexpr int kWords = 1024;

  explicit Rig(int slots) : meta_(static_cast<size_t>(slots) * kMetaWords), rx_(kWords), txq_(kWords) {
    bytes_ = static_cast<size_t>(slots) * kSlotSize;
    memory.pool = static_cast<uint8_t*>(std::aligned_alloc(64, bytes_));
    std::memset(memory.pool, 0xa5, bytes_);
    memory.slots = slots;
    memory.meta = meta_.data();
    memory.rx = rx_.data();
    memory.rxWords = kWords;
    memory.txq = txq_.data();
    memory.txWords = kWords;
    memory.txResult = result_.data();
    for (int i = 0; i < kWords; i++) memory.rx[i] = i % slots;
  }
  ~Rig() {
    open();
    std::free(memory.pool);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  Memory memory;

  int32_t& meta(int slot, int word) { return memory.metaOf(slot)[word]; }

  // No fences.
  void open() { __asan_unpoison_memory_region(memory.pool, bytes_); }

  // What may be touched of a slot that is to be sent: nothing, if head and length make no sense.
  void fence(int slot, int vnetSize) {
    __asan_poison_memory_region(memory.bytes(slot), kSlotSize);
    const int head = meta(slot, kHead), len = meta(slot, kLen);
    if (head < kMaxVnetHeader || len <= 0 || head > kSlotSize || len > kSlotSize - head) return;
    __asan_unpoison_memory_region(memory.bytes(slot) + head - vnetSize, static_cast<size_t>(len + vnetSize));
  }
  // ... that is to be filled: a virtio header or a restored tag in front of the frame.
  void fence_empty(int slot, int vnetSize) {
    const int before = vnetSize > 4 ? vnetSize : 4;
    __asan_poison_memory_region(memory.bytes(slot), kSlotSize);
    __asan_unpoison_memory_region(memory.bytes(slot) + kHeadroom - before,
                                  static_cast<size_t>(kRoom + before));
  }

  // A plain frame without a word of metadata.
  void put(int slot, const Bytes& frame) {
    __asan_unpoison_memory_region(memory.bytes(slot), kSlotSize);
    std::memset(memory.metaOf(slot), 0, kMetaWords * sizeof(int32_t));
    meta(slot, kHead) = kHeadroom;
    meta(slot, kLen) = static_cast<int32_t>(frame.size());
    if (!frame.empty()) std::memcpy(memory.bytes(slot) + kHeadroom, frame.data(), frame.size());
  }

  // A frame of the builder with the metadata it has when it was received. gsoSize 0: an ordinary one.
  void put(int slot, const Recipe& r, const Bytes& payload, int gsoSize = 0) {
    put(slot, build(r, payload));
    if (r.noEthernet) meta(slot, kFlags) |= kNoEthernet;
    if (r.sum == L4Sum::kPartial) {
      meta(slot, kFlags) |= kCsumPartial;
      meta(slot, kCsumStart) = static_cast<int32_t>(r.l4());
      meta(slot, kCsumOffset) = r.tcp ? 16 : 6;
    }
    if (gsoSize != 0) {
      meta(slot, kGsoType) = r.gsoType();
      meta(slot, kGsoSize) = gsoSize;
      meta(slot, kHdrLen) = static_cast<int32_t>(r.payload());
    }
  }

  Bytes frame(int slot) {
    const uint8_t* at = memory.bytes(slot) + meta(slot, kHead);
    return Bytes(at, at + meta(slot, kLen));
  }

  using Queue = std::vector<std::pair<int, uint32_t>>;  // slot, tag

  Sent send(const Device& device, const Queue& queue) {
    for (size_t i = 0; i < queue.size(); i++) {
      memory.txq[2 * i] = queue[i].first;
      memory.txq[2 * i + 1] = static_cast<int32_t>(queue[i].second);
    }
    result_.fill(-77);  // must be cleared by the call
    const int result = transmit(device, memory, 0, static_cast<int>(queue.size()));
    return {result, result_};
  }

  Sent send_raw(const Device& device, int at, int count) {
    result_.fill(-77);
    const int result = transmit(device, memory, at, count);
    return {result, result_};
  }

 private:
  size_t bytes_;
  std::vector<int32_t> meta_, rx_, txq_;
  Words result_{};
};

inline Device device_on(int fd, DeviceKind kind, int vnetSize, int offloads = 0) {
  Device device;
  device.fd = fd;
  device.kind = kind;
  device.vnetSize = vnetSize;
  device.offloads = offloads;
  device.token = 7;
  device.attached = true;
  return device;
}

// Messages until there are none, of at most 128 KiB.
inline std::vector<Bytes> drain(int fd) {
  std::vector<Bytes> out;
  static Bytes buffer(1 << 17);
  for (;;) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0) return out;
    out.emplace_back(buffer.begin(), buffer.begin() + got);
  }
}

class Wire {
 public:
  static constexpr int kBuffer = 1 << 20;

  explicit Wire(int type = SOCK_SEQPACKET, int buffer = kBuffer) {
    int fds[2];
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) std::abort();
    ours = fds[0];
    theirs = fds[1];
    for (int fd : fds) {
      if (buffer <= kBuffer / 8 || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    }
  }
  ~Wire() {
    close(ours);
    hang_up();
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  int ours, theirs;

  Device device(DeviceKind kind, int vnetSize, int offloads = 0) const {
    return device_on(ours, kind, vnetSize, offloads);
  }
  // What the device receives next.
  bool in(const Bytes& message) const {
    return write(theirs, message.data(), message.size()) == static_cast<ssize_t>(message.size());
  }
  // All that was sent to the device.
  std::vector<Bytes> out() const { return drain(theirs); }
  void hang_up() {
    if (theirs >= 0) close(theirs);
    theirs = -1;
  }
};

// A frame behind a virtio header of `vnetSize` bytes, as it crosses the descriptor.
inline Bytes behind(const VnetHeader& header, int vnetSize, const Bytes& frame) {
  Bytes out(static_cast<size_t>(vnetSize));
  if (vnetSize != 0) std::memcpy(out.data(), &header, sizeof header);
  append(&out, frame);
  return out;
}

inline uint32_t tag_of(const Recipe& r, uint16_t tpid) { return uint32_t{tpid} << 16 | r.tci; }

}  // namespace taploom
