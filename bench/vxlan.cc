// The yardstick of the tunnel: the least a process can do to join a TAP to a VXLAN.
//
//   vxlan CLIENT_NETNS HOST_NETNS LOCAL REMOTE [DEVICE [tap]]     namespaces by path; DEVICE is eth0
//
// One TAP in CLIENT_NETNS, two UDP sockets in HOST_NETNS, one thread, epoll, and the addon's own
// segmentation, coalescing and batched system calls. What comes from the TAP goes to REMOTE in VNI 77, what
// comes from anywhere goes to the TAP. No address is looked at, nothing is learned, no header is checked,
// nothing is counted. What taploom is slower than this, it pays for deciding. With `tap` super-frames leave
// by an underlay TAP (../native/underlay.h) instead of a socket.
//
// Prints "ready" once the device is up. Ends on SIGTERM; the device ends with it.
#include <sys/epoll.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "../native/device.h"
#include "../native/link.h"
#include "../native/udp.h"

using namespace taploom;

namespace {

constexpr int kPort = 4789;
constexpr int kBatch = 64;
constexpr int kBudget = 64 * 1024;  // bytes of one side before the other gets its turn
constexpr int kTurns = 16;          // batches of the tunnel before the TAP gets its turn
constexpr int32_t kFlags = 0x08000000, kVni = 77 << 8;

struct Plane {
  std::vector<uint8_t> pool = std::vector<uint8_t>(size_t{kBatch} * kSlotSize);
  std::vector<int32_t> meta = std::vector<int32_t>(kBatch * kMetaWords);
  std::vector<int32_t> rx = std::vector<int32_t>(kBatch);
  std::vector<int32_t> txq = std::vector<int32_t>(2 * kBatch);
  std::vector<int32_t> sends = std::vector<int32_t>(kBatch * kSendWords);
  std::vector<int32_t> paths = std::vector<int32_t>(kPathWords);
  std::vector<int32_t> info = std::vector<int32_t>(kBatch * kInfoWords);
  int32_t result[kTxWords] = {};
  Memory memory;
  UdpArrays arrays;

  Plane() {
    for (int i = 0; i < kBatch; i++) rx[static_cast<size_t>(i)] = i;
    memory.pool = pool.data();
    memory.slots = kBatch;
    memory.meta = meta.data();
    memory.rx = rx.data();
    memory.rxWords = kBatch;
    memory.txq = txq.data();
    memory.txWords = 2 * kBatch;
    memory.txResult = result;
    arrays = {sends.data(), kBatch, paths.data(), 1, info.data(), kBatch};
  }
};

int out(Plane& plane, const Device& tap, UdpTunnel& tunnel) {
  const int n = receive(tap, plane.memory, 0, kBatch, kBudget);
  for (int i = 0; i < n; i++) {
    const int32_t row[kSendWords] = {i, 0, 1, 64 << 8, kFlags, kVni, 0, 0};
    std::memcpy(plane.sends.data() + i * kSendWords, row, sizeof row);
  }
  if (n > 0) tunnel.transmit(plane.memory, 0, n);
  return n;
}

int in(Plane& plane, const Device& tap, UdpTunnel& tunnel) {
  const int n = tunnel.receive(plane.memory, 1, 0, kBatch, kBudget);
  int count = 0;
  for (int i = 0; i < n; i++) {
    int32_t* meta = plane.memory.metaOf(i);
    if (meta[kLen] <= kTunnelHeader) continue;
    meta[kHead] += kTunnelHeader;
    meta[kLen] -= kTunnelHeader;
    meta[kCsumStart] -= kTunnelHeader;
    meta[kHdrLen] -= kTunnelHeader;
    plane.txq[static_cast<size_t>(2 * count)] = i;
    plane.txq[static_cast<size_t>(2 * count++ + 1)] = 0;
  }
  if (count > 0) transmit(tap, plane.memory, 0, count);
  return n;
}

int run(char** argv, const char* name, bool whole) {
  TapOptions options;
  options.netns = argv[1];
  options.name = name;
  options.offloads = kOffCsum | kOffTso4 | kOffTso6 | kOffEcn | kOffUso;
  const TapDevice opened = open_tap(options);
  LinkChange up;
  up.mtu = 1450;
  up.up = 1;
  change_link(options.netns, name, up);
  UdpOptions socket;
  socket.netns = argv[2];
  socket.local = argv[3];
  socket.port = kPort;
  const UdpSocket receiver = open_udp(socket);
  socket.port = 0;
  socket.receive = false;
  socket.df = whole;
  const UdpSocket sender = open_udp(socket);

  Plane plane;
  const SocketAddress remote = parse_address(4, argv[4], kPort);
  plane.paths[kPathFamily] = 4;
  plane.paths[kPathAddress0] = static_cast<int32_t>(ntohl(remote.v4.sin_addr.s_addr));
  plane.paths[kPathPort] = kPort;
  const int underlay = whole ? open_underlay(argv[2], 4).fd : -1;
  UdpTunnel tunnel({receiver.fd, sender.fd}, 1, plane.arrays, true, underlay);
  Device tap;
  tap.fd = opened.fds[0];
  tap.vnetSize = opened.vnetSize;
  tap.offloads = opened.offloads;

  const int poll = epoll_create1(EPOLL_CLOEXEC);
  for (int fd : {tap.fd, receiver.fd}) {
    epoll_event watch{};
    watch.events = EPOLLIN;
    watch.data.fd = fd;
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &watch) < 0) throw SysError{errno, "epoll_ctl", "cannot wait"};
  }
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    epoll_event found[2];
    const int n = epoll_wait(poll, found, 2, -1);
    for (int i = 0; i < n; i++) {
      if (found[i].data.fd == tap.fd) {
        out(plane, tap, tunnel);
        continue;
      }
      // A full batch may have left something in the tunnel's hands, of which epoll knows nothing.
      int turns = 0;
      while (in(plane, tap, tunnel) == kBatch && (turns++ < kTurns || out(plane, tap, tunnel) >= 0)) {
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: vxlan CLIENT_NETNS HOST_NETNS LOCAL REMOTE [DEVICE [tap]]\n");
    return 2;
  }
  try {
    return run(argv, argc > 5 ? argv[5] : "eth0", argc > 6 && std::strcmp(argv[6], "tap") == 0);
  } catch (const SysError& e) {
    std::fprintf(stderr, "vxlan: %s: %s (%s)\n", e.what.c_str(), std::strerror(e.err), e.syscall.c_str());
    return 1;
  }
}
