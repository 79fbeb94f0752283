// The options that make a UDP socket fit for a tunnel:
//
//   option                          why
//   UDP_GRO                         one receive for a run of datagrams (Linux 5.0)
//   IP_MTU_DISCOVER = INTERFACE     DF clear, yet never a fragment of ours: EMSGSIZE instead. RFC 7348
//                                   4.3 forbids a VTEP to fragment
//   IP_MTU_DISCOVER = DO            DF set, and the path MTU that ICMP taught is obeyed: EMSGSIZE
//   IP_RECVTOS, IPV6_RECVTCLASS     the outer ECN bits, for RFC 6040
//   IP_MULTICAST_ALL = 0            no groups that other sockets of the machine joined
//   SO_NO_CHECK, UDP_NO_CHECK6_TX   checksum 0; the kernel then refuses UDP_SEGMENT
//   SO_ATTACH_FILTER "return 0"     a socket that only sends keeps no datagram
//
// No IP_RECVERR: an unconnected socket then hears of no ICMP error of an earlier datagram, though the
// kernel still learns the path's MTU from it.
#include "udp-socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

// Newer than Debian 12's headers, or than those of musl.
#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL 49
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif
#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

namespace taploom {
namespace {

constexpr int kMaxPort = 65535;

bool set(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}
void demand(int fd, int level, int name, int value, const char* syscall, const char* sentence) {
  if (!set(fd, level, name, value)) throw SysError{errno, syscall, sentence};
}

int family_of(int fd) {
  int family = 0;
  socklen_t size = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0)
    throw SysError{errno, "getsockopt SO_DOMAIN", "not a socket"};
  return family;
}

// In the socket's own namespace, whichever the thread is in.
int device_index(int fd, const std::string& name) {
  ifreq request{};
  if (name.empty() || name.size() >= IFNAMSIZ)
    throw SysError{ENODEV, "ioctl SIOCGIFINDEX", "no device " + name};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFINDEX, &request) < 0) throw SysError{errno, "ioctl SIOCGIFINDEX", "no device " + name};
  return request.ifr_ifindex;
}

void set_buffer(int fd, int force, int plain, int bytes) {
  if (!set(fd, SOL_SOCKET, force, bytes)) set(fd, SOL_SOCKET, plain, bytes);
}

void discard_all(int fd) {
  sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  sock_fprog program{1, code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
    throw SysError{errno, "setsockopt SO_ATTACH_FILTER", "cannot make a socket that only sends"};
}

void options4(int fd, const UdpOptions& o) {
  demand(fd, IPPROTO_IP, IP_MTU_DISCOVER, o.df ? IP_PMTUDISC_DO : IP_PMTUDISC_INTERFACE,
         "setsockopt IP_MTU_DISCOVER", "cannot choose whether DF is set");
  demand(fd, IPPROTO_IP, IP_RECVTOS, 1, "setsockopt IP_RECVTOS", "cannot read the TOS of packets");
  demand(fd, IPPROTO_IP, IP_TTL, o.ttl, "setsockopt IP_TTL", "cannot set the TTL");
  demand(fd, IPPROTO_IP, IP_TOS, o.tos, "setsockopt IP_TOS", "cannot set the TOS");
  set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
  if (o.zeroChecksum)
    demand(fd, SOL_SOCKET, SO_NO_CHECK, 1, "setsockopt SO_NO_CHECK", "cannot leave out the UDP checksum");
}

// IPv6 routers never fragment, so that the path's MTU is always obeyed.
void options6(int fd, const UdpOptions& o) {
  demand(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, "setsockopt IPV6_V6ONLY", "cannot leave IPv4 to others");
  demand(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, "setsockopt IPV6_MTU_DISCOVER",
         "cannot forbid fragments");
  demand(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "setsockopt IPV6_RECVTCLASS", "cannot read the traffic class");
  demand(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, o.ttl, "setsockopt IPV6_UNICAST_HOPS",
         "cannot set the hop limit");
  demand(fd, IPPROTO_IPV6, IPV6_TCLASS, o.tos, "setsockopt IPV6_TCLASS", "cannot set the traffic class");
  set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
  set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0);
  if (o.zeroChecksum)
    demand(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, 1, "setsockopt UDP_NO_CHECK6_TX",
           "cannot leave out the UDP checksum");
  if (o.acceptZero)
    demand(fd, IPPROTO_UDP, UDP_NO_CHECK6_RX, 1, "setsockopt UDP_NO_CHECK6_RX", "cannot accept checksum 0");
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}
int Descriptor::release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

bool SocketAddress::group() const {
  return any.sa_family == AF_INET6 ? IN6_IS_ADDR_MULTICAST(&v6.sin6_addr)
                                   : IN_MULTICAST(ntohl(v4.sin_addr.s_addr));
}

SocketAddress parse_address(int family, const std::string& text, int port) {
  SocketAddress out{};
  if (port < 0 || port > kMaxPort) throw SysError{EINVAL, "bind", "a port is 0 to 65535"};
  const size_t percent = text.find('%');
  const std::string host = text.substr(0, percent);
  bool good = family == 4 ? percent == std::string::npos : family == 6;
  if (family == 4) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(static_cast<uint16_t>(port));
    good = good && (host.empty() || inet_pton(AF_INET, host.c_str(), &out.v4.sin_addr) == 1);
  } else {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(static_cast<uint16_t>(port));
    good = good && (host.empty() || inet_pton(AF_INET6, host.c_str(), &out.v6.sin6_addr) == 1);
    if (good && percent != std::string::npos) {
      const std::string scope = text.substr(percent + 1);
      out.v6.sin6_scope_id = if_nametoindex(scope.c_str());
      if (out.v6.sin6_scope_id == 0) throw SysError{ENODEV, "if_nametoindex", "no device " + scope};
    }
  }
  if (!good) throw SysError{EINVAL, "inet_pton", "not an IPv" + std::to_string(family) + " address: " + text};
  return out;
}

std::string format_address(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.any.sa_family == AF_INET) return inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof text);
  inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof text);
  std::string out = text;
  if (address.v6.sin6_scope_id != 0) out += '%' + std::to_string(address.v6.sin6_scope_id);
  return out;
}

UdpSocket open_udp(const UdpOptions& options) {
  UdpSocket result{-1, 0};
  const std::string where =
      (options.local.empty() ? "every address" : options.local) + " port " + std::to_string(options.port);
  in_namespace(options.netns, [&] {
    SocketAddress local = parse_address(options.family, options.local, options.port);
    Descriptor fd(socket(local.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
    if (fd < 0) throw SysError{errno, "socket", "cannot open a UDP socket"};
    if (!options.device.empty()) {
      const int index = device_index(fd, options.device);
      if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.device.c_str(),
                     static_cast<socklen_t>(options.device.size())) < 0)
        throw SysError{errno, "setsockopt SO_BINDTODEVICE", "cannot use device " + options.device};
      if (options.family == 6 && local.v6.sin6_scope_id == 0 &&
          (IN6_IS_ADDR_LINKLOCAL(&local.v6.sin6_addr) || IN6_IS_ADDR_MULTICAST(&local.v6.sin6_addr)))
        local.v6.sin6_scope_id = static_cast<uint32_t>(index);
    }
    if (options.family == 4) options4(fd, options);
    else options6(fd, options);
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.buffer);
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.buffer);
    if (options.receive) set(fd, IPPROTO_UDP, UDP_GRO, 1);
    else discard_all(fd);
    if (local.group())  // every tunnel of the machine hears its group
      demand(fd, SOL_SOCKET, SO_REUSEADDR, 1, "setsockopt SO_REUSEADDR", "cannot share a group");
    if (bind(fd, &local.any, local.size()) < 0) throw SysError{errno, "bind", "cannot bind to " + where};
    socklen_t size = sizeof local;
    if (getsockname(fd, &local.any, &size) < 0) throw SysError{errno, "getsockname", "cannot read the port"};
    result.port = ntohs(options.family == 4 ? local.v4.sin_port : local.v6.sin6_port);
    result.fd = fd.release();
  });
  return result;
}

void change_membership(int fd, const std::string& group, const std::string& device, bool join) {
  const int family = family_of(fd), index = device_index(fd, device);
  const std::string sentence = std::string(join ? "cannot join " : "cannot leave ") + group + " on " + device;
  const SocketAddress address = parse_address(family == AF_INET6 ? 6 : 4, group, 0);
  if (!address.group()) throw SysError{EINVAL, "setsockopt", "not a multicast group: " + group};
  int failed;
  if (family == AF_INET) {
    ip_mreqn request{address.v4.sin_addr, {INADDR_ANY}, index};
    failed =
        setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &request, sizeof request);
    // A socket for every address has to be told which packets were for the group.
    if (failed == 0 && join) set(fd, IPPROTO_IP, IP_PKTINFO, 1);
  } else {
    ipv6_mreq request{address.v6.sin6_addr, static_cast<unsigned>(index)};
    failed =
        setsockopt(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &request, sizeof request);
    if (failed == 0 && join) set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  }
  if (failed) throw SysError{errno, "setsockopt", sentence};
}

void group_sender(int fd, const std::string& device, int ttl) {
  const int index = device_index(fd, device);
  if (family_of(fd) == AF_INET) {
    const ip_mreqn request{{INADDR_ANY}, {INADDR_ANY}, index};
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request) < 0)
      throw SysError{errno, "setsockopt IP_MULTICAST_IF", "cannot send multicast by " + device};
    demand(fd, IPPROTO_IP, IP_MULTICAST_TTL, ttl, "setsockopt IP_MULTICAST_TTL",
           "cannot set the multicast TTL");
    demand(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0, "setsockopt IP_MULTICAST_LOOP",
           "cannot switch off the loop");
  } else {
    demand(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, index, "setsockopt IPV6_MULTICAST_IF",
           "cannot choose the device");
    demand(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, ttl, "setsockopt IPV6_MULTICAST_HOPS",
           "cannot set the hop limit");
    demand(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0, "setsockopt IPV6_MULTICAST_LOOP",
           "cannot switch off the loop");
  }
}

int path_mtu(const std::string& netns, const std::string& local, const std::string& remote) {
  int mtu = 0;
  in_namespace(netns, [&] {
    const int family = remote.find(':') == std::string::npos ? 4 : 6;
    const SocketAddress to = parse_address(family, remote, 9);  // any port: nothing is sent
    const SocketAddress from = parse_address(family, local, 0);
    Descriptor fd(socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP));
    if (fd < 0) throw SysError{errno, "socket", "cannot open a UDP socket"};
    // Without it the socket would be told the device's MTU, not what ICMP taught.
    if (family == 4) set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    else set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    if (!local.empty() && bind(fd, &from.any, from.size()) < 0)
      throw SysError{errno, "bind", "cannot bind to " + local};
    if (connect(fd, &to.any, to.size()) < 0) throw SysError{errno, "connect", "no route to " + remote};
    socklen_t size = sizeof mtu;
    const int level = family == 4 ? IPPROTO_IP : IPPROTO_IPV6;
    if (getsockopt(fd, level, family == 4 ? IP_MTU : IPV6_MTU, &mtu, &size) < 0)
      throw SysError{errno, "getsockopt IP_MTU", "cannot read the MTU towards " + remote};
  });
  return mtu;
}

unsigned socket_drops(int fd) {
  unsigned words[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof words;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, words, &size) < 0)
    throw SysError{errno, "getsockopt SO_MEMINFO", "cannot read a socket's counters"};
  return words[SK_MEMINFO_DROPS];
}

}  // namespace taploom
