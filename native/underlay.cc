#include "underlay.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "checksum.h"
#include "frame.h"
#include "link.h"
#include "segment.h"
#include "udp.h"
#include "vnet.h"

namespace taploom {
namespace {

// <linux/if_tun.h> of Linux 6.17, <linux/virtio_net.h> of the same.
constexpr unsigned long kTunnelGso = 0x80, kTunnelGsoCsum = 0x100;
constexpr uint8_t kVnetTunnelCsum = 8, kVnetTunnel4 = 0x20, kVnetTunnel6 = 0x40;

// struct virtio_net_hdr_v1_hash_tunnel, little endian by TUNSETVNETLE.
struct TunnelVnetHeader {
  VnetHeader plain;
  uint16_t buffers, hash[4], outerTransport, innerNetwork;
};
static_assert(sizeof(TunnelVnetHeader) == kMaxVnetHeader, "the kernel's layout");

constexpr size_t kEthernet = 14, kIpv6Bytes = 40, kUdpBytes = 8;
constexpr size_t kMaxOuter = kEthernet + kIpv6Bytes + kUdpBytes;
constexpr int kLongestIp = 65535;

std::string conf(int family, const std::string& device, const char* key) {
  return "/proc/sys/net/ipv" + std::to_string(family) + "/conf/" + device + "/" + key;
}

void set_option(int family, const std::string& device, const char* key, char value) {
  const std::string file = conf(family, device, key);
  const Descriptor fd(open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd < 0 || write(fd, &value, 1) != 1) throw SysError{errno, "write", "cannot set " + file};
}

int read_option(int family, const std::string& device, const char* key) {
  const std::string file = conf(family, device, key);
  const Descriptor fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  char digit = 0;
  if (fd < 0 || read(fd, &digit, 1) != 1) throw SysError{errno, "read", "cannot read " + file};
  return digit - '0';
}

void configure(int family, const std::string& name) {
  if (family == 4) {
    set_option(4, name, "accept_local", '1');
    set_option(4, name, "forwarding", '1');
  } else {
    set_option(6, name, "addr_gen_mode", '1');  // no address of its own
    set_option(6, name, "accept_ra", '0');
    set_option(6, name, "disable_ipv6", '0');
    set_option(6, name, "force_forwarding", '1');
  }
  LinkChange up;
  up.up = 1;
  change_link("", name, up);
}

// A file of /proc/net as the calling thread's namespace has it, line by line until `found`.
template <class F>
void each_line(const char* name, F found) {
  const std::string path = std::string("/proc/thread-self/net/") + name;
  FILE* file = std::fopen(path.c_str(), "re");
  if (!file) return;
  char line[1024];
  while (std::fgets(line, sizeof line, file) && !found(line)) {
  }
  std::fclose(file);
}

}  // namespace

UnderlayDevice open_underlay(const std::string& netns, int family) {
  UnderlayDevice device{-1, "", 0};
  in_namespace(netns, [&] {
    Descriptor fd(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (fd < 0) throw SysError{errno, "open", "cannot open /dev/net/tun"};
    ifreq request{};
    std::strncpy(request.ifr_name, "underlay%d", IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd, TUNSETIFF, &request) < 0)
      throw SysError{errno, "ioctl TUNSETIFF", "cannot create an underlay TAP"};
    device.name = request.ifr_name;
    int size = sizeof(TunnelVnetHeader), little = 1;
    if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0)
      throw SysError{errno, "ioctl TUNSETVNETHDRSZ", "cannot set the virtio header"};
    const unsigned long bits =
        TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | kTunnelGso | kTunnelGsoCsum;
    if (ioctl(fd, TUNSETOFFLOAD, bits) < 0)
      throw SysError{errno, "ioctl TUNSETOFFLOAD", "no UDP tunnel GSO on a TAP"};
    configure(family, device.name);
    if (family == 4) device.rpFilter = read_option(4, "all", "rp_filter");
    device.fd = fd.release();
  });
  return device;
}

UnderlayCounts underlay_counts(const std::string& netns, int family, const std::string& name) {
  UnderlayCounts counts{0, 0};
  in_namespace(netns, [&] {
    // "  underlay0: bytes packets ...", of what the kernel received from us.
    each_line("dev", [&](const char* line) {
      const char* at = line + std::strspn(line, " ");
      if (std::strncmp(at, name.c_str(), name.size()) != 0 || at[name.size()] != ':') return false;
      return std::sscanf(at + name.size() + 1, "%*s %lf", &counts.handed) == 1;
    });
    // ForwDatagrams is counted before the firewall is asked. What was sent and is not our own was forwarded.
    double own = 0, all = 0;
    if (family == 4)
      each_line("snmp", [&](const char* line) {  // the line of names does not begin with a number
        return std::sscanf(
                   line,
                   "Ip: %*d %*s %*s %*s %*s %*s %*s %*s %*s %lf %*s %*s %*s %*s %*s %*s %*s %*s %*s %lf",
                   &own, &all) == 2;
      });
    else
      each_line("snmp6", [&](const char* line) {
        std::sscanf(line, "Ip6OutRequests %lf", &own);
        return std::sscanf(line, "Ip6OutTransmits %lf", &all) == 1;
      });
    counts.forwarded = all - own;
  });
  return counts;
}

Underlay::Underlay(int fd) : fd_(fd) {
  if (fd < 0) return;
  ifreq request{};
  if (ioctl(fd, SIOCGIFHWADDR, &request) < 0) throw SysError{errno, "ioctl SIOCGIFHWADDR", "not a TAP"};
  std::memcpy(mac_, request.ifr_hwaddr.sa_data, sizeof mac_);
}

// Ethernet, IP and UDP in front of `payload` bytes. Bytes written.
size_t Underlay::put_outer(uint8_t* at, const TunnelSocket& socket, const int32_t* path, int tosTtl,
                           size_t payload) {
  const int tos = tosTtl & 0xff, hops = (tosTtl >> 8 & 0xff ? tosTtl >> 8 & 0xff : socket.ttl) + 1;
  const size_t ipBytes = socket.v6 ? kIpv6Bytes : kIpv4Header, udpLen = kUdpBytes + payload;
  std::memcpy(at, mac_, 6);
  std::memcpy(at + 6, mac_, 6);
  at[6] ^= 4;  // somebody else on that link
  write16(at + 12, socket.v6 ? 0x86dd : 0x0800);
  uint8_t *ip = at + kEthernet, *udp = ip + ipBytes;
  uint32_t sum;
  if (socket.v6) {
    write32(ip, 6u << 28 | static_cast<uint32_t>(tos) << 20);
    write16(ip + 4, udpLen);
    ip[6] = IPPROTO_UDP;
    ip[7] = static_cast<uint8_t>(hops);
    std::memcpy(ip + 8, &socket.local.v6.sin6_addr, 16);
    for (int i = 0; i < 4; i++) write32(ip + 24 + 4 * i, static_cast<uint32_t>(path[kPathAddress0 + i]));
    sum = checksum_add(ip + 8, 32, 0);
  } else {
    ip[0] = 0x45;
    ip[1] = static_cast<uint8_t>(tos);
    write16(ip + 2, kIpv4Header + udpLen);
    write16(ip + 4, id_);
    write16(ip + 6, 0x4000);  // DF
    ip[8] = static_cast<uint8_t>(hops);
    ip[9] = IPPROTO_UDP;
    write16(ip + 10, 0);
    std::memcpy(ip + 12, &socket.local.v4.sin_addr, 4);
    write32(ip + 16, static_cast<uint32_t>(path[kPathAddress0]));
    write16(ip + 10, 0xffffu ^ checksum_add(ip, kIpv4Header, 0));
    sum = checksum_add(ip + 12, 8, 0);
  }
  std::memcpy(udp, socket.v6 ? &socket.local.v6.sin6_port : &socket.local.v4.sin_port, 2);
  write16(udp + 2, static_cast<size_t>(path[kPathPort]));
  write16(udp + 4, udpLen);
  // The kernel finishes it for each segment, from this sum of the pseudo-header.
  write16(udp + 6,
          socket.checksum ? checksum_add(nullptr, 0, sum + IPPROTO_UDP + static_cast<uint32_t>(udpLen)) : 0);
  return kEthernet + ipBytes + kUdpBytes;
}

int Underlay::send(const TunnelSocket& socket, const int32_t* path, const int32_t* send, const int32_t* meta,
                   const uint8_t* frame) {
  const int ttl = send[kSendTosTtl] >> 8 & 0xff;
  if (!socket.forwardable || path[kPathScope] != 0 || (ttl ? ttl : socket.ttl) == 255) return 0;
  const uint32_t first = static_cast<uint32_t>(path[kPathAddress0]) >> 24;
  if (socket.v6 ? first == 0xff : first >= 224) return 0;  // a group
  Layers at;
  if (!(meta[kFlags] & kCsumPartial) || meta[kStrip] > kTagBytes ||
      !parse_layers(frame, static_cast<size_t>(meta[kLen]), false, &at) || !at.tcp ||
      meta[kGsoType] != (at.v6 ? kGsoTcp6 : kGsoTcp4) || static_cast<size_t>(meta[kCsumStart]) != at.l4 ||
      meta[kCsumOffset] != 16)
    return 0;
  const uint32_t tag = static_cast<uint32_t>(send[kSendTag]);
  const size_t strip = static_cast<size_t>(meta[kStrip]), size = static_cast<size_t>(meta[kGsoSize]);
  const size_t data = at.end - at.payload, segments = (data + size - 1) / size;
  if (data <= size || segments > static_cast<size_t>(kMaxSegments) || at.l3 < kMacBytes + strip + 2) return 0;
  const size_t shift = kTunnelHeader + (tag ? kTagBytes : 0) - strip;
  const size_t payload = shift + at.end;  // of the super-frame's datagram
  if (payload + kUdpBytes + (socket.v6 ? 0 : kIpv4Header) > kLongestIp) return 0;

  uint8_t head[sizeof(TunnelVnetHeader) + kMaxOuter + kTunnelHeader + kMacBytes + kTagBytes];
  uint8_t* outer = head + sizeof(TunnelVnetHeader);
  const size_t outerBytes = put_outer(outer, socket, path, send[kSendTosTtl], payload);
  uint8_t* tunnel = outer + outerBytes;
  write32(tunnel, static_cast<uint32_t>(send[kSendHeader0]));
  write32(tunnel + 4, static_cast<uint32_t>(send[kSendHeader1]));
  const size_t macs = put_macs(tunnel + kTunnelHeader, frame, tag), skip = kMacBytes + strip;

  TunnelVnetHeader vnet{};
  const size_t ahead = outerBytes + shift;  // of where the frame would begin, had it no other tag
  vnet.plain.flags = static_cast<uint8_t>(kVnetNeedsCsum | (socket.checksum ? kVnetTunnelCsum : 0));
  vnet.plain.gsoType = static_cast<uint8_t>(meta[kGsoType] | (socket.v6 ? kVnetTunnel6 : kVnetTunnel4) |
                                            (meta[kFlags] & kGsoEcn ? kVnetGsoEcn : 0));
  vnet.plain.hdrLen = static_cast<uint16_t>(ahead + at.payload);
  vnet.plain.gsoSize = static_cast<uint16_t>(size);
  vnet.plain.csumStart = static_cast<uint16_t>(ahead + at.l4);
  vnet.plain.csumOffset = static_cast<uint16_t>(meta[kCsumOffset]);
  vnet.outerTransport = static_cast<uint16_t>(outerBytes - kUdpBytes);
  vnet.innerNetwork = static_cast<uint16_t>(ahead + at.l3);
  std::memcpy(head, &vnet, sizeof vnet);

  const iovec pieces[] = {{head, sizeof vnet + outerBytes + kTunnelHeader + macs},
                          {const_cast<uint8_t*>(frame) + skip, at.end - skip}};
  ssize_t n;
  do n = writev(fd_, pieces, 2);
  while (n < 0 && errno == EINTR);
  if (n < 0) return 0;
  id_ = static_cast<uint16_t>(id_ + segments);
  return static_cast<int>(data + segments * (shift + at.payload));
}

}  // namespace taploom
