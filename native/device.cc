#include "device.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "layout.h"

// Newer than Debian 12's headers (Linux 6.2).
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

namespace taploom {
namespace {

constexpr int kTapVnetSize = 10;    // struct virtio_net_hdr
constexpr int kSocketBuffer = 4 << 20; // bytes; the kernel drops beyond it and counts

struct Descriptors { // closes on the way out unless released
  std::vector<int> fds;
  ~Descriptors() {
    for (int fd : fds) close(fd);
  }
  std::vector<int> release() { return std::move(fds); }
};

// Kernels before 6.2 know no USO, some no ECN: ask for less until one is granted.
int grant_offloads(int fd, int wanted) {
  for (;;) {
    unsigned long bits = 0;
    if (wanted & kOffCsum) bits |= TUN_F_CSUM;
    if (wanted & kOffTso4) bits |= TUN_F_TSO4;
    if (wanted & kOffTso6) bits |= TUN_F_TSO6;
    if (wanted & kOffEcn) bits |= TUN_F_TSO_ECN;
    if (wanted & kOffUso) bits |= TUN_F_USO4 | TUN_F_USO6;
    if (ioctl(fd, TUNSETOFFLOAD, bits) == 0) return wanted;
    if (wanted & kOffUso) wanted &= ~kOffUso;
    else if (wanted & kOffEcn) wanted &= ~kOffEcn;
    else if (wanted) wanted = 0;
    else throw SysError{errno, "ioctl TUNSETOFFLOAD", "cannot set offloads"};
  }
}

} // namespace

TapDevice open_tap(const TapOptions& options) {
  TapDevice device;
  Descriptors opened;
  if (options.name.size() >= IFNAMSIZ) // cut off, it could be the name of another device
    throw SysError{ENAMETOOLONG, "ioctl TUNSETIFF", "a device name has at most 15 bytes: " + options.name};
  in_namespace(options.netns, [&] {
    ifreq request{};
    std::strncpy(request.ifr_name, options.name.c_str(), IFNAMSIZ - 1);
    for (int queue = 0; queue < options.queues; queue++) {
      int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
      if (fd < 0) throw SysError{errno, "open", "cannot open /dev/net/tun"};
      opened.fds.push_back(fd);
      int flags = (options.tun ? IFF_TUN : IFF_TAP) | IFF_NO_PI;
      if (options.vnetHdr) flags |= IFF_VNET_HDR;
      if (options.queues > 1) flags |= IFF_MULTI_QUEUE;
      if (options.exclusive && queue == 0) flags |= IFF_TUN_EXCL;
      request.ifr_flags = static_cast<short>(flags);
      if (ioctl(fd, TUNSETIFF, &request) < 0)
        throw SysError{errno, "ioctl TUNSETIFF",
                       std::string("cannot create ") + (options.tun ? "TUN " : "TAP ") + options.name};
      if (options.vnetHdr) {
        int size = kTapVnetSize;
        if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
          throw SysError{errno, "ioctl TUNSETVNETHDRSZ", "cannot set the virtio header's size"};
        int little = 1;
        if (ioctl(fd, TUNSETVNETLE, &little) < 0)
          throw SysError{errno, "ioctl TUNSETVNETLE", "cannot set the virtio header's byte order"};
        device.vnetSize = size;
        device.offloads = grant_offloads(fd, options.offloads);
      }
    }
    if (options.persist) set_persist(opened.fds[0], true);
    device.name = request.ifr_name;
  });
  device.fds = opened.release();
  return device;
}

PacketSocket open_packet(const std::string& netns, const std::string& name, bool vnetHdr) {
  PacketSocket result;
  Descriptors opened;
  in_namespace(netns, [&] {
    unsigned index = if_nametoindex(name.c_str());
    if (index == 0) throw SysError{errno, "if_nametoindex", "no device " + name};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw SysError{errno, "socket", "cannot open a packet socket"};
    opened.fds.push_back(fd);
    int on = 1, buffer = kSocketBuffer;
    if (vnetHdr && setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0)
      throw SysError{errno, "setsockopt PACKET_VNET_HDR", "cannot use offloads on " + name};
    if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0)
      throw SysError{errno, "setsockopt PACKET_AUXDATA", "cannot read VLAN tags on " + name};
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0)
      throw SysError{errno, "setsockopt PACKET_IGNORE_OUTGOING", "needs Linux 4.20"};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) < 0)
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    packet_mreq membership{};
    membership.mr_ifindex = static_cast<int>(index);
    membership.mr_type = PACKET_MR_PROMISC;
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) < 0)
      throw SysError{errno, "setsockopt PACKET_ADD_MEMBERSHIP", "cannot make " + name + " promiscuous"};
    // Bound last, with the protocol: nothing of another device is ever queued.
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(ETH_P_ALL);
    address.sll_ifindex = static_cast<int>(index);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
      throw SysError{errno, "bind", "cannot bind to " + name};
    result.vnetSize = vnetHdr ? kTapVnetSize : 0;
  });
  result.fd = opened.release()[0];
  return result;
}

void set_persist(int fd, bool on) {
  if (ioctl(fd, TUNSETPERSIST, on ? 1 : 0) < 0)
    throw SysError{errno, "ioctl TUNSETPERSIST", "cannot change whether the device persists"};
}

void set_carrier(int fd, bool on) {
  int value = on ? 1 : 0;
  if (ioctl(fd, TUNSETCARRIER, &value) < 0)
    throw SysError{errno, "ioctl TUNSETCARRIER", "cannot change the carrier"};
}

} // namespace taploom
