// Sending: from the slots of the pool to a device's descriptor.
//
//   as it is:   | vnet | frame ........................ |     one piece: the virtio header is
//                                                             written into the headroom
//   retagged:   | vnet | MACs | tag? |  + | type, payload |   two pieces; the slot is untouched,
//                                                             so other ports can still send it
//   segmented:  | vnet | MACs | tag? |  + | headers |  + | payload |   three pieces a segment
#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "checksum.h"
#include "frame.h"
#include "memory.h"
#include "vnet.h"
#include "segment.h"

namespace taploom {
namespace {

constexpr int kMessages = 32; // per sendmmsg
constexpr int kHeadBytes = kMaxVnetHeader + kMacBytes + kTagBytes;

int offload_for(int gsoType) {
  switch (gsoType) {
    case kGsoTcp4: return kOffTso4;
    case kGsoTcp6: return kOffTso6;
    case kGsoUdp: return kOffUso;
    default: return -1; // no device takes an unknown kind
  }
}

// The pieces of one frame on its way out. Lives until it is written.
struct Outgoing {
  uint8_t head[kHeadBytes];
  iovec pieces[3];
  int count = 0;
};

// `meta` was found sound; null for a frame that needs nothing.
void put_vnet(uint8_t* to, int vnetSize, const int32_t* meta, int shift) {
  if (vnetSize == 0) return;
  std::memset(to, 0, static_cast<size_t>(vnetSize));
  if (!meta) return;
  VnetHeader vnet{};
  const int flags = meta[kFlags];
  if (flags & kCsumPartial) {
    vnet.flags = kVnetNeedsCsum;
    vnet.csumStart = static_cast<uint16_t>(meta[kCsumStart] + shift);
    vnet.csumOffset = static_cast<uint16_t>(meta[kCsumOffset]);
  } else if (flags & kCsumVerified) {
    vnet.flags = kVnetDataValid;
  }
  if (meta[kGsoSize]) {
    vnet.gsoType = static_cast<uint8_t>(meta[kGsoType] | (flags & kGsoEcn ? kVnetGsoEcn : 0));
    vnet.gsoSize = static_cast<uint16_t>(meta[kGsoSize]);
    // A hint of the sender's, never checked: it may be any number.
    vnet.hdrLen = static_cast<uint16_t>(static_cast<unsigned>(meta[kHdrLen]) + static_cast<unsigned>(shift));
  }
  std::memcpy(to, &vnet, sizeof vnet);
}

// Head piece of a frame whose tag changes: virtio header, MAC addresses, tag.
size_t put_head(uint8_t* to, int vnetSize, const uint8_t* frame, uint32_t tag) {
  return static_cast<size_t>(vnetSize) + put_macs(to + vnetSize, frame, tag);
}

class Sender {
 public:
  Sender(const Device& device, const Memory& memory)
      : d_(device), m_(memory), r_(memory.txResult), offloads_(device.vnetSize ? device.offloads : 0) {}

  void send(int slot, uint32_t tag) {
    int32_t* meta = m_.metaOf(slot);
    uint8_t* slotBytes = m_.bytes(slot);
    const int head = meta[kHead], len = meta[kLen], strip = meta[kStrip];
    if (!sound(meta, tag)) {
      r_[kMalformed]++;
      return;
    }
    uint8_t* frame = slotBytes + head;
    if (meta[kGsoSize] && !takes_gso(meta)) return segment(meta, frame, tag);
    if ((meta[kFlags] & kCsumPartial) && !(offloads_ & kOffCsum) && !finish(meta, frame)) return;
    const int shift = (tag ? kTagBytes : 0) - strip;
    const int vnetSize = d_.vnetSize;
    Outgoing& out = next();
    if (!tag && !strip) {
      put_vnet(frame - vnetSize, vnetSize, meta, 0);
      out.pieces[0] = {frame - vnetSize, static_cast<size_t>(len + vnetSize)};
      out.count = 1;
    } else {
      put_vnet(out.head, vnetSize, meta, shift);
      out.pieces[0] = {out.head, put_head(out.head, vnetSize, frame, tag)};
      out.pieces[1] = {frame + kMacBytes + strip, static_cast<size_t>(len - kMacBytes - strip)};
      out.count = 2;
    }
    const int result = write(out);
    account(result, len + shift);
  }

  void flush() {
    if (queued_ == 0) return;
    flush_messages();
  }

  int fatal() const { return fatal_; }

 private:
  // Every kind of segmentation needs the checksum offload, as in the kernel.
  bool takes_gso(const int32_t* meta) const {
    const int bit = offload_for(meta[kGsoType]);
    const int needed = bit | kOffCsum | (meta[kFlags] & kGsoEcn ? kOffEcn : 0);
    return bit > 0 && (offloads_ & needed) == needed;
  }

  bool finish(int32_t* meta, uint8_t* frame) {
    if (!checksum_finish(frame, static_cast<size_t>(meta[kLen]), static_cast<size_t>(meta[kCsumStart]),
                         static_cast<size_t>(meta[kCsumOffset]))) {
      r_[kMalformed]++;
      return false;
    }
    meta[kFlags] = (meta[kFlags] & ~kCsumPartial) | kCsumVerified;
    return true;
  }

  void segment(const int32_t* meta, const uint8_t* frame, uint32_t tag) {
    Segmenter segmenter;
    SuperFrame super{frame,
                     static_cast<size_t>(meta[kLen]),
                     meta[kGsoType],
                     meta[kGsoSize],
                     meta[kCsumStart],
                     (meta[kFlags] & kGsoEcn) != 0,
                     (meta[kFlags] & kNoEthernet) != 0};
    const size_t strip = static_cast<size_t>(meta[kStrip]);
    if (!(meta[kFlags] & kCsumPartial) || !segmenter.init(super) || segmenter.count() > kMaxSegments) {
      r_[kMalformed]++;
      return;
    }
    const size_t skip = super.noEthernet ? 0 : kMacBytes + strip;
    const int vnetSize = d_.vnetSize;
    uint8_t headers[kMaxSegmentHeader];
    const uint8_t* payload;
    size_t payloadLen;
    int bytes = 0, worst = 0;
    flush(); // the header buffer below is reused: nothing may wait behind it
    while (segmenter.next(headers, &payload, &payloadLen)) {
      Outgoing& out = next();
      put_vnet(out.head, vnetSize, nullptr, 0);
      size_t headLen = super.noEthernet ? static_cast<size_t>(vnetSize) : put_head(out.head, vnetSize, headers, tag);
      out.pieces[0] = {out.head, headLen};
      out.pieces[1] = {headers + skip, segmenter.headerLen() - skip};
      out.pieces[2] = {const_cast<uint8_t*>(payload), payloadLen};
      out.count = 3;
      const int result = write_now(out);
      if (result < 0) {
        worst = result;
        break;
      }
      bytes += result - vnetSize;
    }
    account(worst, bytes);
  }

  Outgoing& next() { return out_[d_.kind == DeviceKind::kPacket ? queued_ : 0]; }

  // A TAP takes one frame a call. A packet socket takes many: queued until there are enough.
  int write(Outgoing& out) {
    if (d_.kind != DeviceKind::kPacket) return write_now(out);
    if (++queued_ == kMessages) flush_messages();
    return kQueued;
  }

  int write_now(Outgoing& out) {
    ssize_t n;
    do {
      n = out.count == 1 ? ::write(d_.fd, out.pieces[0].iov_base, out.pieces[0].iov_len)
                         : writev(d_.fd, out.pieces, out.count);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : static_cast<int>(n);
  }

  void flush_messages() {
    mmsghdr messages[kMessages];
    for (int i = 0; i < queued_; i++) {
      messages[i].msg_hdr = {nullptr, 0, out_[i].pieces, static_cast<size_t>(out_[i].count), nullptr, 0, 0};
      messages[i].msg_len = 0;
    }
    int done = 0;
    while (done < queued_) {
      const int n = sendmmsg(d_.fd, messages + done, static_cast<unsigned>(queued_ - done), MSG_DONTWAIT);
      if (n < 0) {
        if (errno == EINTR) continue;
        account(-errno, 0); // the first of the rest failed; go on behind it
        done++;
        continue;
      }
      for (int i = 0; i < n; i++) account(0, static_cast<int>(messages[done + i].msg_len) - d_.vnetSize);
      done += n;
    }
    queued_ = 0;
  }

  void account(int result, int bytes) {
    if (result == kQueued) return;
    if (result >= 0) {
      r_[kSent]++;
      r_[kSentBytes] += bytes;
      return;
    }
    r_[kErrno] = -result;
    switch (-result) {
      case EAGAIN: case ENOBUFS: case ENOMEM: r_[kNoRoom]++; break;
      case EIO: case ENETDOWN: r_[kDown]++; break;
      case EBADFD: case EBADF: case ENXIO: case ENODEV:
        r_[kDown]++;
        fatal_ = result;
        break;
      default: r_[kRefused]++;
    }
  }

  static constexpr int kQueued = 1 << 30;
  const Device& d_;
  const Memory& m_;
  int32_t* r_;
  const int offloads_; // without a virtio header nothing can be asked for
  Outgoing out_[kMessages];
  int queued_ = 0;
  int fatal_ = 0;
};

} // namespace

int transmit(const Device& device, const Memory& memory, int at, int count) {
  std::memset(memory.txResult, 0, kTxWords * sizeof(int32_t));
  if (at < 0 || count < 0 || at > memory.txWords || count > (memory.txWords - at) / 2) return -EFAULT;
  if (!memory.hasAll(memory.txq + at, count, 2)) return -EFAULT;
  Sender sender(device, memory);
  for (int i = 0; i < count; i++) {
    const int slot = memory.txq[at + 2 * i];
    if (sender.fatal()) {
      memory.txResult[kDown]++;
      continue;
    }
    sender.send(slot, static_cast<uint32_t>(memory.txq[at + 2 * i + 1]));
  }
  sender.flush();
  return sender.fatal() ? sender.fatal() : memory.txResult[kSent];
}

} // namespace taploom
