// ICMP and ICMPv6 echo on raw sockets: probes of liveness and of a path's MTU. (The npm package
// raw-socket cannot open its socket in another namespace.)
#pragma once
#include <string>

namespace taploom {

// A non-blocking raw socket that hears echo replies only. Throws SysError.
int open_echo(const std::string& netns, int family, const std::string& local, const std::string& device);

// Sends a request whose IP packet has `bytes` bytes (28 or 48 to 65535); never fragmented with `df`.
// 0 or -errno; -EMSGSIZE when the device's MTU is smaller.
int send_echo(int fd, const std::string& remote, int id, int seq, int bytes, bool df);

struct EchoReply {
  std::string remote;
  int id = 0, seq = 0;
  int bytes = 0;  // of the IP packet
};
// False when there is none.
bool receive_echo(int fd, EchoReply* reply);

}  // namespace taploom
