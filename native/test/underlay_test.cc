// Tests of underlay.cc, in a network namespace of this test's own: what a super-frame has become when the
// kernel has routed it from the underlay TAP to a device without offloads, against transmit() as the oracle.
//
//   far     a TAP without virtio header: the kernel has to segment, and to finish every checksum
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>

#include "../device.h"
#include "../link.h"
#include "../udp.h"
#include "rig.h"

using namespace taploom;

namespace {

constexpr int kRows = 8, kVni = 0x123456;
constexpr size_t kOuter4 = 14 + 20 + 8, kOuter6 = 14 + 40 + 8;

bool run(const std::string& command) {
  return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
}

// A namespace with a route to 192.0.2.2 and 2001:db8::2 by the device `far`, and the sockets of a tunnel.
struct Host {
  int family, far = -1, underlay = -1, port = 0;
  std::string name;
  std::vector<int32_t> sends, paths, info;
  std::vector<int> fds;
  std::unique_ptr<UdpTunnel> tunnel;

  Host(int f, bool df, bool zeroChecksum)
      : family(f), sends(kRows * kSendWords), paths(2 * kPathWords), info(8) {
    TapOptions options;
    options.name = "far";
    options.vnetHdr = false;
    far = open_tap(options).fds[0];
    run("ip addr add 192.0.2.1/24 dev far; ip -6 addr add 2001:db8::1/64 dev far nodad; ip link set far up");
    run("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:22 dev far");
    run("ip -6 neigh add 2001:db8::2 lladdr 02:00:00:00:00:22 dev far");
    const UnderlayDevice device = open_underlay("", family);
    underlay = device.fd;
    name = device.name;
    UdpOptions o;
    o.family = family;
    o.local = family == 4 ? "192.0.2.1" : "2001:db8::1";
    o.df = df;
    o.zeroChecksum = zeroChecksum;
    o.receive = false;
    o.tos = 8;
    const UdpSocket socket = open_udp(o);
    fds = {socket.fd};
    port = socket.port;
    const UdpArrays arrays{sends.data(), kRows, paths.data(), 2, info.data(), 1};
    tunnel.reset(new UdpTunnel(fds, 1, arrays, true, underlay));
    const SocketAddress to = parse_address(family, family == 4 ? "192.0.2.2" : "2001:db8::2", 0);
    paths[kPathFamily] = family;
    for (int i = 0; i < (family == 4 ? 1 : 4); i++)
      paths[static_cast<size_t>(kPathAddress0 + i)] = static_cast<int32_t>(
          read32((family == 4 ? reinterpret_cast<const uint8_t*>(&to.v4.sin_addr) : to.v6.sin6_addr.s6_addr) +
                 4 * i));
    paths[kPathPort] = 4789;
    for (int i = 0; i < 3; i++) drain(far);
  }
  ~Host() {
    for (int fd : {far, underlay, fds[0]}) close(fd);
  }
  int32_t* row(int i, int slot, uint32_t tag, int tosTtl) {
    const int32_t words[kSendWords] = {slot,       0,         0, tosTtl,
                                       0x08000000, kVni << 8, 0, static_cast<int32_t>(tag)};
    int32_t* at = sends.data() + i * kSendWords;
    std::memcpy(at, words, sizeof words);
    return at;
  }
  double handed() const { return underlay_counts("", family, name).handed; }
  // Our datagrams on the wire.
  std::vector<Bytes> wire() const {
    std::vector<Bytes> ours;
    const size_t udp = (family == 4 ? kOuter4 : kOuter6) - 8;
    for (Bytes& frame : drain(far))
      if (frame.size() > udp + 8 && read16(frame.data() + udp + 2) == 4789 && frame[0] == 2)
        ours.push_back(frame);
    return ours;
  }
};

// Runs in a namespace that ends with the thread.
void apart(const std::function<void()>& work) {
  if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0) return skip("needs root and /dev/net/tun");
  std::string why;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) < 0)
      why = "needs CAP_SYS_ADMIN: cannot make a network namespace";
    else if (!run("ip link set lo up"))
      why = "needs iproute2";
    try {
      if (why.empty()) close(open_underlay("", 4).fd);
      if (why.empty()) work();
    } catch (const SysError& e) {
      const bool old = e.syscall == "ioctl TUNSETOFFLOAD";
      if (old)
        why = "needs Linux 6.17: UDP tunnel GSO on a TAP";
      else
        std::printf("  %s: %s\n", e.what.c_str(), std::strerror(e.err));
      EXPECT(old);
    }
  }).join();
  if (!why.empty()) skip(why);
}

std::vector<Bytes> frames_of(Rig& rig, int slot, uint32_t tag) {
  const Wire wire(SOCK_SEQPACKET, 8 << 20);
  rig.send(wire.device(DeviceKind::kPacket, 0), {{slot, tag}});
  return wire.out();
}

// Whether the outer headers are those of a datagram of ours; `id` is the IPv4 identification.
bool outer_is_right(const Host& host, const Bytes& f, int ttl, int tos, bool zero, uint16_t* id) {
  const uint8_t *ip = f.data() + 14, *udp = f.data() + (host.family == 4 ? kOuter4 : kOuter6) - 8;
  const size_t udpLen = f.size() - static_cast<size_t>(udp - f.data());
  bool right = read16(udp) == host.port && read16(udp + 4) == udpLen;
  uint32_t pseudo;
  if (host.family == 4) {
    *id = read16(ip + 4);
    right = right && ip[0] == 0x45 && ip[1] == tos && read16(ip + 2) == f.size() - 14 && ip[8] == ttl &&
            read16(ip + 6) == 0x4000 && checksum_add(ip, 20, 0) == 0xffff && read32(ip + 12) == 0xc0000201 &&
            read32(ip + 16) == 0xc0000202;
    pseudo = checksum_add(ip + 12, 8, IPPROTO_UDP);
  } else {
    right = right && read32(ip) == (6u << 28 | static_cast<uint32_t>(tos) << 20) &&
            read16(ip + 4) == udpLen && ip[6] == IPPROTO_UDP && ip[7] == ttl && ip[23] == 1 && ip[39] == 2;
    pseudo = checksum_add(ip + 8, 32, IPPROTO_UDP);
  }
  if (zero) return right && read16(udp + 6) == 0;
  return right && checksum_add(udp, udpLen, pseudo + static_cast<uint32_t>(udpLen)) == 0xffff;
}

void super_frames_leave_whole() {
  for (int family : {4, 6})
    for (bool zero : {false, true})
      apart([&] {
        Host host(family, true, zero);
        Rig rig(2);
        const size_t outer = family == 4 ? kOuter4 : kOuter6;
        int lastId = -1;
        for (int round = 0; round < 120; round++) {
          Recipe r;
          r.v6 = chance(2);
          r.sum = L4Sum::kPartial;
          r.seq = static_cast<uint32_t>(generator());
          if (chance(3)) r.tags = {0x8100};
          if (chance(2)) r.tcpOptions = Bytes(12, 1);
          if (chance(3)) r.flags |= 0x09;  // PSH, FIN
          if (chance(4)) r.flags |= 0x80;  // CWR
          const int mss = static_cast<int>(between(300, 1300));
          rig.open();
          rig.put(0, r, random_bytes(between(static_cast<size_t>(mss) + 1, 60000)), mss);
          if (r.flags & 0x80) rig.meta(0, kFlags) |= kGsoEcn;
          if (!r.tags.empty() && chance(2)) rig.meta(0, kStrip) = 4;
          const uint32_t tag = chance(3) ? 0x81000064u : 0;
          const int ttl = chance(3) ? static_cast<int>(between(1, 254)) : 0,
                    tos = static_cast<int>(pick(256));
          const std::vector<Bytes> frames = frames_of(rig, 0, tag);
          rig.fence(0, 0);
          const int32_t* row = host.row(0, 0, tag, ttl << 8 | tos);
          const double before = host.handed();
          EXPECT(host.tunnel->transmit(rig.memory, 0, 1) == 1);
          EXPECT(host.handed() == before + 1);
          const std::vector<Bytes> got = host.wire();
          EXPECT(got.size() == frames.size() && frames.size() > 1);
          size_t bytes = 0;
          for (size_t i = 0; i < got.size() && i < frames.size(); i++) {
            Bytes expected;
            append32(&expected, 0x08000000);
            append32(&expected, kVni << 8);
            append(&expected, frames[i]);
            bytes += expected.size();
            EXPECT(Bytes(got[i].begin() + static_cast<long>(outer), got[i].end()) == expected);
            uint16_t id = 0;
            EXPECT(outer_is_right(host, got[i], ttl ? ttl : 64, tos, zero, &id));
            if (family == 4 && lastId >= 0) EXPECT(id == ((lastId + 1) & 0xffff));
            lastId = id;
          }
          EXPECT(static_cast<size_t>(row[kSendResult]) == bytes);
        }
      });
}

// What the TAP must not have goes by the socket, and a flow keeps its order between the two.
void the_rest_goes_by_the_socket() {
  for (int family : {4, 6})
    apart([&] {
      Host host(family, true, false);
      Rig rig(3);
      Recipe r;
      r.sum = L4Sum::kPartial;
      Recipe datagrams = r;
      datagrams.tcp = false;
      rig.put(0, r, random_bytes(5000), 1000);
      rig.put(1, r, random_bytes(100));
      rig.put(2, datagrams, random_bytes(5000), 1000);
      const int order[] = {1, 0, 1, 2};
      for (int i = 0; i < 4; i++) host.row(i, order[i], 0, 64 << 8);
      EXPECT(host.tunnel->transmit(rig.memory, 0, 4) == 4);
      EXPECT(host.handed() == 1);
      std::vector<size_t> sizes;
      for (const Bytes& frame : host.wire()) sizes.push_back(frame.size());
      const size_t head = (family == 4 ? kOuter4 : kOuter6) + 8 + 54, udp = head - 12;
      const std::vector<size_t> expected = {head + 100,  head + 1000, head + 1000, head + 1000,
                                            head + 1000, head + 1000, head + 100,  udp + 1000,
                                            udp + 1000,  udp + 1000,  udp + 1000,  udp + 1000};
      EXPECT(sizes == expected);
      // No TTL is left that is one more; a group; a device that has to be named.
      host.row(0, 0, 0, 255 << 8);
      EXPECT(host.tunnel->transmit(rig.memory, 0, 1) == 1);
      host.paths[kPathScope] = 1;
      host.row(0, 0, 0, 64 << 8);
      host.tunnel->transmit(rig.memory, 0, 1);
      host.paths[kPathScope] = 0;
      host.paths[kPathAddress0] = static_cast<int32_t>(family == 4 ? 0xef010101 : 0xff050000);
      host.tunnel->transmit(rig.memory, 0, 1);
      EXPECT(host.handed() == 1);
    });
  // IPv4 without DF: the kernel could fragment what it forwards.
  apart([] {
    Host host(4, false, false);
    Rig rig(1);
    Recipe r;
    r.sum = L4Sum::kPartial;
    rig.put(0, r, random_bytes(5000), 1000);
    host.row(0, 0, 0, 64 << 8);
    EXPECT(host.tunnel->transmit(rig.memory, 0, 1) == 1);
    EXPECT(host.handed() == 0 && host.wire().size() == 5);
  });
}

int odd(int near) {
  switch (pick(5)) {
    case 0:
      return 0;
    case 1:
      return chance(2) ? INT_MIN : INT_MAX;
    case 2:
      return static_cast<int>(static_cast<unsigned>(near) + static_cast<unsigned>(pick(9)) - 4);
    case 3:
      return static_cast<int>(pick(70000));
    default:
      return static_cast<int>(generator());
  }
}

// Metadata and headers that do not add up: every row ends somewhere, and no byte outside a slot is touched.
void mutations_are_survived() {
  for (int family : {4, 6})
    apart([&] {
      Host host(family, true, false);
      Rig rig(1);
      int sent = 0;
      for (int round = 0; round < 4000; round++) {
        Recipe r;
        r.v6 = chance(2);
        r.sum = L4Sum::kPartial;
        if (chance(3)) r.tags = {0x8100, 0x8100};
        rig.open();
        rig.put(0, r, random_bytes(pick(chance(20) ? 65000 : 3000)), static_cast<int>(between(1, 1500)));
        if (chance(3))
          rig.memory.bytes(0)[kHeadroom + pick(r.payload())] ^= static_cast<uint8_t>(1 << pick(8));
        while (chance(2)) {
          const int word = static_cast<int>(pick(kMetaWords));
          rig.meta(0, word) = odd(rig.meta(0, word));
        }
        rig.fence(0, 0);
        host.row(0, 0, chance(2) ? 0 : static_cast<uint32_t>(generator()),
                 static_cast<int>(generator() & 0xffff));
        host.tunnel->transmit(rig.memory, 0, 1);
        const int32_t* w = rig.memory.txResult;
        EXPECT(w[kSent] + w[kNoRoom] + w[kRefused] + w[kDown] + w[kMalformed] == 1);
        sent += w[kSent];
        if (round % 64 == 0) drain(host.far);
      }
      EXPECT(sent > 100 && host.handed() > 100);
    });
}

void the_device_ends_with_its_descriptor() {
  apart([] {
    const UnderlayDevice device = open_underlay("", 4);
    EXPECT(read_link("", device.name).up);
    close(device.fd);
    EXPECT(read_link("", device.name).index == 0);
    int error = 0;
    try {
      Underlay wrong(open("/dev/null", O_RDWR | O_CLOEXEC));
    } catch (const SysError& e) {
      error = e.err;
    }
    EXPECT(error == ENOTTY);
  });
}

}  // namespace

std::vector<Test> underlay_tests() {
  return {TEST(super_frames_leave_whole), TEST(the_rest_goes_by_the_socket), TEST(mutations_are_survived),
          TEST(the_device_ends_with_its_descriptor)};
}
