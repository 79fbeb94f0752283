// What a tunnel finds out about its sockets once, so that no packet has to ask.
#include "udp.h"

#include <netinet/udp.h>

#include <cerrno>

#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#endif

namespace taploom {
namespace {

int ask(int fd, int level, int name, const char* syscall) {
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd, level, name, &value, &size) < 0) throw SysError{errno, syscall, "not a UDP socket"};
  return value;
}

// Whether datagrams of a socket have one source, which may be seen on a wire, and DF.
bool forwardable(int fd, const TunnelSocket& s) {
  if (s.group) return false;
  if (s.v6) {
    const in6_addr& a = s.local.v6.sin6_addr;
    return !IN6_IS_ADDR_UNSPECIFIED(&a) && !IN6_IS_ADDR_LOOPBACK(&a) && !IN6_IS_ADDR_LINKLOCAL(&a);
  }
  const uint32_t a = ntohl(s.local.v4.sin_addr.s_addr);
  return a != INADDR_ANY && a >> 24 != IN_LOOPBACKNET &&
         ask(fd, IPPROTO_IP, IP_MTU_DISCOVER, "getsockopt IP_MTU_DISCOVER") == IP_PMTUDISC_DO;
}

TunnelSocket inspect(int fd) {
  TunnelSocket s;
  s.fd = fd;
  const int family = ask(fd, SOL_SOCKET, SO_DOMAIN, "getsockopt SO_DOMAIN");
  if ((family != AF_INET && family != AF_INET6) ||
      ask(fd, SOL_SOCKET, SO_PROTOCOL, "getsockopt SO_PROTOCOL") != IPPROTO_UDP)
    throw SysError{ENOTSOCK, "getsockopt", "not a UDP socket"};
  s.v6 = family == AF_INET6;
  s.ttl = s.v6 ? ask(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, "getsockopt IPV6_UNICAST_HOPS")
               : ask(fd, IPPROTO_IP, IP_TTL, "getsockopt IP_TTL");
  s.tos = s.v6 ? ask(fd, IPPROTO_IPV6, IPV6_TCLASS, "getsockopt IPV6_TCLASS")
               : ask(fd, IPPROTO_IP, IP_TOS, "getsockopt IP_TOS");
  s.segments = !(s.v6 ? ask(fd, IPPROTO_UDP, UDP_NO_CHECK6_TX, "getsockopt UDP_NO_CHECK6_TX")
                      : ask(fd, SOL_SOCKET, SO_NO_CHECK, "getsockopt SO_NO_CHECK"));
  s.checksum = s.segments;
  socklen_t size = sizeof s.local;
  if (getsockname(fd, &s.local.any, &size) < 0) throw SysError{errno, "getsockname", "not a UDP socket"};
  s.group = s.local.group();
  s.forwardable = forwardable(fd, s);
  return s;
}

std::vector<TunnelSocket> inspect_all(const std::vector<int>& fds) {
  std::vector<TunnelSocket> sockets;
  for (int fd : fds) sockets.push_back(inspect(fd));
  return sockets;
}

}  // namespace

UdpTunnel::UdpTunnel(const std::vector<int>& fds, int receivers, const UdpArrays& arrays, bool udp,
                     int underlay)
    : arrays_(arrays),
      sockets_(inspect_all(fds)),
      receivers_(receivers),
      sender_(sockets_, arrays_, underlay),
      receiver_(sockets_, receivers_, arrays_, udp) {}

}  // namespace taploom
