// Receiving: from a device's descriptor into the slots of the pool.
//
//   slot:  | headroom ....... |vnet| frame ...                    |
//                             ^    ^ kHeadroom = meta[kHead]
//          one read() fills the virtio header and the frame behind it; the header is then
//          told in the packet's metadata, which is the only truth from there on.
#include <cerrno>
#include <cstring>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <sys/socket.h>
#include <unistd.h>

#include "memory.h"
#include "vnet.h"

namespace taploom {
namespace {

constexpr int kMessages = 32;  // per recvmmsg
constexpr int kTagBytes = 4;
constexpr int kMacBytes = 12;

// Tells `meta` what the virtio header says. Lengths that do not fit leave an empty packet,
// which the first stage drops as a runt. Of a packet without bytes the header is not looked at: it
// may not have come at all.
void describe(int32_t* meta, const uint8_t* header, int vnetSize, int len, int flags) {
  meta[kHead] = kHeadroom;
  meta[kLen] = len;
  meta[kFlags] = flags;
  meta[kGsoType] = kGsoNone;
  meta[kGsoSize] = 0;
  meta[kStrip] = 0;
  meta[kTci] = 0;
  if (vnetSize == 0 || len == 0) return;
  VnetHeader vnet;
  std::memcpy(&vnet, header, sizeof vnet);
  if (vnet.flags & kVnetNeedsCsum) {
    if (vnet.csumStart + vnet.csumOffset + 2 > len) {
      meta[kLen] = 0;
      return;
    }
    meta[kFlags] |= kCsumPartial;
    meta[kCsumStart] = vnet.csumStart;
    meta[kCsumOffset] = vnet.csumOffset;
  } else if (vnet.flags & kVnetDataValid) {
    meta[kFlags] |= kCsumVerified;
  }
  if (vnet.gsoType != kGsoNone && vnet.gsoSize != 0) {
    meta[kGsoType] = vnet.gsoType & ~kVnetGsoEcn;
    if (vnet.gsoType & kVnetGsoEcn) meta[kFlags] |= kGsoEcn;
    meta[kGsoSize] = vnet.gsoSize;
    meta[kHdrLen] = vnet.hdrLen;
  }
}

int receive_tap(const Device& device, const Memory& memory, int from, int max, int budget) {
  const int vnetSize = device.vnetSize;
  const int flags = device.kind == DeviceKind::kTun ? kNoEthernet : 0;
  int count = 0, bytes = 0;
  while (count < max && bytes < budget) {
    const int slot = memory.rx[from + count];
    uint8_t* at = memory.bytes(slot) + kHeadroom - vnetSize;
    const ssize_t got = read(device.fd, at, static_cast<size_t>(kSlotSize - kHeadroom + vnetSize));
    if (got < 0) {
      if (errno == EINTR) continue;
      if (count == 0 && errno != EAGAIN) return -errno;
      break;
    }
    int32_t* meta = memory.metaOf(slot);
    meta[kPort] = device.token;
    describe(meta, at, vnetSize, got < vnetSize ? 0 : static_cast<int>(got) - vnetSize, flags);
    bytes += static_cast<int>(got);
    count++;
  }
  return count;
}

// The kernel takes the outer VLAN tag off and tells it beside the frame; put it back.
void restore_tag(uint8_t* slot, int32_t* meta, uint16_t tpid, uint16_t tci) {
  if (meta[kLen] < kMacBytes) return;
  uint8_t* frame = slot + meta[kHead];
  std::memmove(frame - kTagBytes, frame, kMacBytes);
  frame += kMacBytes - kTagBytes;
  frame[0] = static_cast<uint8_t>(tpid >> 8);
  frame[1] = static_cast<uint8_t>(tpid);
  frame[2] = static_cast<uint8_t>(tci >> 8);
  frame[3] = static_cast<uint8_t>(tci);
  meta[kHead] -= kTagBytes;
  meta[kLen] += kTagBytes;
  if (meta[kFlags] & kCsumPartial) meta[kCsumStart] += kTagBytes;
  if (meta[kGsoSize]) meta[kHdrLen] += kTagBytes;
}

int receive_packet(const Device& device, const Memory& memory, int from, int max, int budget) {
  mmsghdr messages[kMessages];
  iovec pieces[kMessages];
  alignas(cmsghdr) uint8_t control[kMessages][CMSG_SPACE(sizeof(tpacket_auxdata))];
  int count = 0, bytes = 0;
  while (count < max && bytes < budget) {
    const int want = max - count < kMessages ? max - count : kMessages;
    for (int i = 0; i < want; i++) {
      const int slot = memory.rx[from + count + i];
      pieces[i] = {memory.bytes(slot) + kHeadroom - device.vnetSize,
                   static_cast<size_t>(kSlotSize - kHeadroom + device.vnetSize)};
      messages[i].msg_hdr = {nullptr, 0, &pieces[i], 1, control[i], sizeof control[i], 0};
      messages[i].msg_len = 0;
    }
    const int got = recvmmsg(device.fd, messages, static_cast<unsigned>(want), MSG_DONTWAIT, nullptr);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EINVAL) { // a super-frame of a kind the virtio header has no number for: it is lost
        int32_t* meta = memory.metaOf(memory.rx[from + count++]);
        meta[kPort] = device.token;
        describe(meta, nullptr, 0, 0, 0);
        continue;
      }
      if (count == 0 && errno != EAGAIN) return -errno;
      break;
    }
    for (int i = 0; i < got; i++) {
      const int slot = memory.rx[from + count + i];
      int32_t* meta = memory.metaOf(slot);
      const int len = static_cast<int>(messages[i].msg_len) - device.vnetSize;
      meta[kPort] = device.token;
      const bool cut = messages[i].msg_hdr.msg_flags & MSG_TRUNC;
      describe(meta, static_cast<uint8_t*>(pieces[i].iov_base), device.vnetSize, len < 0 || cut ? 0 : len, 0);
      for (cmsghdr* c = CMSG_FIRSTHDR(&messages[i].msg_hdr); c; c = CMSG_NXTHDR(&messages[i].msg_hdr, c)) {
        if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) continue;
        tpacket_auxdata aux;
        std::memcpy(&aux, CMSG_DATA(c), sizeof aux);
        if (!(aux.tp_status & TP_STATUS_VLAN_VALID)) continue;
        const bool named = aux.tp_status & TP_STATUS_VLAN_TPID_VALID;
        restore_tag(memory.bytes(slot), meta, named ? aux.tp_vlan_tpid : ETH_P_8021Q, aux.tp_vlan_tci);
      }
      bytes += static_cast<int>(messages[i].msg_len);
    }
    count += got;
    if (got < want) break;
  }
  return count;
}

} // namespace

int receive(const Device& device, const Memory& memory, int from, int max, int budget) {
  if (from < 0 || max < 0 || from > memory.rxWords || max > memory.rxWords - from) return -EFAULT;
  if (!memory.hasAll(memory.rx + from, max, 1)) return -EFAULT;
  return device.kind == DeviceKind::kPacket ? receive_packet(device, memory, from, max, budget)
                                            : receive_tap(device, memory, from, max, budget);
}

} // namespace taploom
