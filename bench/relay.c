// The yardstick: the least a process can do to join two network namespaces.
//
//   relay NETNS_A NETNS_B [DEVICE]      namespaces by path; DEVICE is eth0
//
// One TAP in each, one thread, epoll. What can be read from one is written to the other as it came:
// the virtio header in front of a frame is passed through, so super-frames of 64 KiB and unfinished
// checksums cross untouched. No address is looked at, nothing is learned, nothing is counted. What is
// slower than this pays for deciding; what is faster was luck.
//
// Prints "ready" once both devices are up. Ends on SIGTERM; the devices end with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TUN_F_USO4  // newer than Debian 12's headers (Linux 6.2)
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
  VNET_HEADER = 10,    // struct virtio_net_hdr
  FRAME = 65536 + 64,  // the largest super-frame, its Ethernet header and tags
  BURST = 64,          // frames of one side before the other side gets its turn
};

static void fail(const char *what, const char *which) {
  fprintf(stderr, "relay: %s %s: %s\n", what, which, strerror(errno));
  exit(1);
}

static int open_tap(const char *name) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) fail("open", "/dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
  snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
  if (ioctl(fd, TUNSETIFF, &request) < 0) fail("cannot create", name);
  int header = VNET_HEADER, little = 1;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0)
    fail("virtio header of", name);
  const unsigned long base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) < 0 && ioctl(fd, TUNSETOFFLOAD, base) < 0)
    fail("offloads of", name);
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0 || ioctl(control, SIOCGIFFLAGS, &request) < 0) fail("flags of", name);
  request.ifr_flags |= IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request) < 0) fail("cannot set up", name);
  close(control);
  return fd;
}

static int open_tap_in(const char *netns, const char *name) {
  const int ns = open(netns, O_RDONLY | O_CLOEXEC);
  if (ns < 0 || setns(ns, CLONE_NEWNET) < 0) fail("cannot enter", netns);
  close(ns);
  return open_tap(name);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: relay NETNS_A NETNS_B [DEVICE]\n");
    return 2;
  }
  const char *name = argc > 3 ? argv[3] : "eth0";
  const int side[2] = {open_tap_in(argv[1], name), open_tap_in(argv[2], name)};
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  for (uint32_t i = 0; i < 2; i++) {
    struct epoll_event watch = {.events = EPOLLIN, .data = {.u32 = i}};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, side[i], &watch) < 0) fail("epoll", name);
  }
  puts("ready");
  fflush(stdout);

  static uint8_t frame[VNET_HEADER + FRAME];
  for (;;) {
    struct epoll_event found[2];
    const int n = epoll_wait(poll, found, 2, -1);
    for (int i = 0; i < n; i++) {
      const int in = side[found[i].data.u32], out = side[!found[i].data.u32];
      for (int burst = 0; burst < BURST; burst++) {
        const ssize_t got = read(in, frame, sizeof frame);
        if (got < 0) {
          if (errno == EAGAIN || errno == EINTR) break;
          fail("read", name);
        }
        // A full queue or a device that is down loses the frame, as any switch would.
        if (write(out, frame, (size_t)got) < 0 && errno == EBADFD) fail("write", name);
      }
    }
  }
}
