// An underlay TAP: the second way out of a tunnel, for TCP super-frames. They are handed to the kernel
// whole, with all their headers, as if they had come from a machine of that link; it routes them by its
// own tables and segments them as late as it can, inner and outer headers at once (UDP tunnel GSO).
//
//   | virtio 24 | Ethernet 14 | IP 20, 40 | UDP 8 | VXLAN 8 | inner MACs, tag? | rest, to 64 KiB |
//
//   needed                    why
//   Linux 6.17                TUN_F_UDP_TUNNEL_GSO
//   a TAP, not a TUN          virtio_net_hdr_tnl_to_skb() wants 14 bytes in front of the outer header
//   accept_local              the source is the host's own address, a martian otherwise
//   forwarding of the device  and a TTL one higher. Nobody but us can send by this device
//   DF                        what is forwarded without it, the kernel would fragment
//
// Nothing comes back by it: answers, ICMP errors too, go to the host's address and so to the sockets.
// All that is set is of the device, which ends with its descriptor.
//
// Read first: virtio_net_hdr_tnl_to_skb (include/linux/virtio_net.h), ip_forward (net/ipv4).
#pragma once
#include <cstdint>
#include <string>

#include "udp-socket.h"

namespace taploom {

struct TunnelSocket;

struct UnderlayDevice {
  int fd;            // non-blocking, close-on-exec
  std::string name;  // the kernel chose its number
  int rpFilter;      // of all devices (net.ipv4.conf.all.rp_filter): it must be 0 for IPv4
};
// Throws SysError: EINVAL from TUNSETOFFLOAD when the kernel is too old.
UnderlayDevice open_underlay(const std::string& netns, int family);

// Packets handed over so far, and packets the namespace forwarded so far, past its firewall.
struct UnderlayCounts {
  double handed, forwarded;
};
UnderlayCounts underlay_counts(const std::string& netns, int family, const std::string& name);

class Underlay {
 public:
  // -1: there is none. Throws SysError when it is not a TAP.
  explicit Underlay(int fd);
  bool open() const { return fd_ >= 0; }
  // Sends the super-frame of a row that was found sound. UDP payload bytes of all its segments, or 0 when
  // the socket has to do it: what is not TCP, or would be fragmented, and whatever the kernel refuses.
  int send(const TunnelSocket& socket, const int32_t* path, const int32_t* send, const int32_t* meta,
           const uint8_t* frame);

 private:
  size_t put_outer(uint8_t* at, const TunnelSocket& socket, const int32_t* path, int tosTtl, size_t payload);

  int fd_;
  uint8_t mac_[6] = {};
  uint16_t id_ = 0;  // of the next IPv4 packet
};

}  // namespace taploom
