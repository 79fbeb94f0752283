#include "echo.h"

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "checksum.h"
#include "udp-socket.h"

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif

namespace taploom {
namespace {

constexpr int kIcmpHeader = 8, kIpv4Bytes = 20, kIpv6Bytes = 40, kMaxPacket = 65535;

bool is_v6(int fd) {
  int family = 0;
  socklen_t size = sizeof family;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 && family == AF_INET6;
}

}  // namespace

int open_echo(const std::string& netns, int family, const std::string& local, const std::string& device) {
  int result = -1;
  in_namespace(netns, [&] {
    const SocketAddress from = parse_address(family, local, 0);
    Descriptor fd(socket(from.any.sa_family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
                         family == 4 ? IPPROTO_ICMP : static_cast<int>(IPPROTO_ICMPV6)));
    if (fd < 0) throw SysError{errno, "socket", "cannot open an ICMP socket"};
    int failed;
    if (family == 4) {
      const uint32_t blocked = ~(1u << ICMP_ECHOREPLY);
      failed = setsockopt(fd, SOL_RAW, ICMP_FILTER, &blocked, sizeof blocked);
    } else {
      icmp6_filter filter;
      ICMP6_FILTER_SETBLOCKALL(&filter);
      ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
      failed = setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
    }
    if (failed) throw SysError{errno, "setsockopt ICMP_FILTER", "cannot listen to echo replies only"};
    if (!device.empty() && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                                      static_cast<socklen_t>(device.size())) < 0)
      throw SysError{errno, "setsockopt SO_BINDTODEVICE", "cannot use device " + device};
    if (!local.empty() && bind(fd, &from.any, from.size()) < 0)
      throw SysError{errno, "bind", "cannot bind to " + local};
    result = fd.release();
  });
  return result;
}

int send_echo(int fd, const std::string& remote, int id, int seq, int bytes, bool df) {
  const bool v6 = is_v6(fd);
  const int headers = (v6 ? kIpv6Bytes : kIpv4Bytes) + kIcmpHeader;
  if (bytes < headers || bytes > kMaxPacket) return -EINVAL;
  // PROBE: DF set and the kernel's own opinion of the path ignored, which is what is being tested.
  const int discover =
      v6 ? (df ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_DONT) : (df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
  if (setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &discover,
                 sizeof discover) < 0)
    return -errno;
  uint8_t packet[kMaxPacket] = {};
  const size_t len = static_cast<size_t>(bytes - headers + kIcmpHeader);
  packet[0] = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
  write16(packet + 4, static_cast<size_t>(id) & 0xffff);
  write16(packet + 6, static_cast<size_t>(seq) & 0xffff);
  if (!v6) write16(packet + 2, 0xffffu ^ checksum_add(packet, len, 0));  // ICMPv6's is the kernel's work
  SocketAddress to;
  try {
    to = parse_address(v6 ? 6 : 4, remote, 0);
  } catch (const SysError& e) {
    return -e.err;
  }
  for (int attempt = 0;; attempt++) {
    if (sendto(fd, packet, len, MSG_DONTWAIT, &to.any, to.size()) >= 0) return 0;
    if (errno == EINTR) continue;
    // The first may be the error of an earlier request.
    if (attempt > 0 || errno == EAGAIN) return -errno;
  }
}

bool receive_echo(int fd, EchoReply* reply) {
  const bool v6 = is_v6(fd);
  uint8_t packet[256];  // the headers; the rest is only counted
  constexpr int kMaxErrors = 16;
  for (int errors = 0; errors < kMaxErrors;) {
    SocketAddress from{};
    socklen_t size = sizeof from;
    const ssize_t got = recvfrom(fd, packet, sizeof packet, MSG_DONTWAIT | MSG_TRUNC, &from.any, &size);
    if (got < 0) {
      if (errno == EAGAIN || errno == EBADF || errno == ENOTSOCK) return false;
      errors++;  // what ICMP said of an earlier request
      continue;
    }
    const size_t had = got < static_cast<ssize_t>(sizeof packet) ? static_cast<size_t>(got) : sizeof packet;
    const size_t at = v6 || had == 0 ? 0 : (packet[0] & 15u) * 4;
    if (had < at + kIcmpHeader || packet[at] != (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY)) continue;
    reply->remote = format_address(from);
    reply->id = read16(packet + at + 4);
    reply->seq = read16(packet + at + 6);
    reply->bytes = static_cast<int>(got) + (v6 ? kIpv6Bytes : 0);
    return true;
  }
  return false;
}

}  // namespace taploom
