#include "link.h"

#include <cerrno>
#include <cstring>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace taploom {
namespace {

struct Socket { // any socket takes the interface ioctls of its namespace
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  Socket() {
    if (fd < 0) throw SysError{errno, "socket", "cannot open a socket for interface requests"};
  }
  ~Socket() {
    if (fd >= 0) close(fd);
  }
};

ifreq request_for(const std::string& name) {
  if (name.size() >= IFNAMSIZ) // cut off, it could be the name of another device
    throw SysError{ENAMETOOLONG, "ioctl", "a device name has at most 15 bytes: " + name};
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  return request;
}

} // namespace

Link read_link(const std::string& netns, const std::string& name) {
  Link link;
  in_namespace(netns, [&] {
    Socket socket;
    ifreq request = request_for(name);
    if (ioctl(socket.fd, SIOCGIFINDEX, &request) < 0) {
      if (errno == ENODEV || errno == ENXIO) return;
      throw SysError{errno, "ioctl SIOCGIFINDEX", "cannot look up device " + name};
    }
    link.index = request.ifr_ifindex;
    if (ioctl(socket.fd, SIOCGIFFLAGS, &request) == 0) {
      link.up = request.ifr_flags & IFF_UP;
      link.carrier = request.ifr_flags & IFF_RUNNING;
    }
    if (ioctl(socket.fd, SIOCGIFMTU, &request) == 0) link.mtu = request.ifr_mtu;
    if (ioctl(socket.fd, SIOCGIFHWADDR, &request) == 0) {
      link.hasMac = request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
      std::memcpy(link.mac, request.ifr_hwaddr.sa_data, 6);
    }
  });
  return link;
}

void change_link(const std::string& netns, const std::string& name, const LinkChange& change) {
  in_namespace(netns, [&] {
    Socket socket;
    auto call = [&](unsigned long what, ifreq& request, const char* syscall, const std::string& sentence) {
      if (ioctl(socket.fd, what, &request) < 0) throw SysError{errno, syscall, sentence};
    };
    auto set_up = [&](bool up) {
      ifreq request = request_for(name);
      call(SIOCGIFFLAGS, request, "ioctl SIOCGIFFLAGS", "cannot read the flags of " + name);
      if (up) request.ifr_flags |= IFF_UP;
      else request.ifr_flags &= static_cast<short>(~IFF_UP);
      call(SIOCSIFFLAGS, request, "ioctl SIOCSIFFLAGS",
           "cannot set " + name + (up ? " up" : " down"));
    };
    if (change.up == 0) set_up(false);
    if (change.mac) {
      ifreq request = request_for(name);
      request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
      std::memcpy(request.ifr_hwaddr.sa_data, change.mac, 6);
      call(SIOCSIFHWADDR, request, "ioctl SIOCSIFHWADDR", "cannot set the MAC address of " + name);
    }
    if (change.mtu) {
      ifreq request = request_for(name);
      request.ifr_mtu = change.mtu;
      call(SIOCSIFMTU, request, "ioctl SIOCSIFMTU",
           "cannot set the MTU of " + name + " to " + std::to_string(change.mtu));
    }
    if (change.up == 1) set_up(true);
  });
}

} // namespace taploom
