// Opening UDP sockets for tunnels, group membership, and what the kernel knows of a path. Throws
// SysError, closes what it opened. Addresses are text: 192.0.2.1, 2001:db8::1, fe80::1%eth0.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "netns.h"

namespace taploom {

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  socklen_t size() const { return any.sa_family == AF_INET6 ? sizeof v6 : sizeof v4; }
  bool group() const;
};

// A closed descriptor unless released.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }
  int release();

 private:
  int fd_;
};

// "" is every address of the family. A scope (%eth0) is looked up in the calling thread's namespace.
SocketAddress parse_address(int family, const std::string& text, int port);
std::string format_address(const SocketAddress& address);

struct UdpOptions {
  std::string netns;
  int family = 4;             // or 6
  std::string local;          // "" = every address
  int port = 0;               // 0 = the kernel chooses
  std::string device;         // SO_BINDTODEVICE
  bool df = false;            // IPv4's DF bit
  bool zeroChecksum = false;  // send without a UDP checksum
  bool acceptZero = false;    // IPv6: take datagrams without one
  bool receive = true;
  int ttl = 64, tos = 0;
  int buffer = 8 << 20;  // bytes asked of the kernel for each direction
};
struct UdpSocket {
  int fd;
  int port;
};
UdpSocket open_udp(const UdpOptions& options);

void change_membership(int fd, const std::string& group, const std::string& device, bool join);
// Multicast of a sending socket leaves by `device`, with `ttl`, and is not looped back.
void group_sender(int fd, const std::string& device, int ttl);
// Bytes of an IP packet that fit between the two, as far as the kernel knows.
int path_mtu(const std::string& netns, const std::string& local, const std::string& remote);
// Datagrams dropped on a socket: its buffer was full, their checksum was wrong.
unsigned socket_drops(int fd);

}  // namespace taploom
