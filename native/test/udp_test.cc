// Tests of udp.cc, udp-socket.cc, udp-transmit.cc, udp-receive.cc and echo.cc over loopback.
//
//   1  sending     against transmit(): the same slot on a packet socket, with a header in front
//   2  receiving   whatever is merged, taken apart again it is what was sent, in its order
//   3  refusals    rows out of range, families, lengths, checksums left out, a small MTU
//   4  mutation    random metadata out, random datagrams in
//   5  sockets     what opening refuses; groups; echo; path MTU
#include "../udp.h"

#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <climits>
#include <functional>
#include <map>
#include <thread>

#include "../echo.h"
#include "../link.h"
#include "rig.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

using namespace taploom;

namespace {

constexpr int kRows = 128;
constexpr int32_t kFlagsWord = 0x08000000;

UdpSocket open_on(int family, const char* local, bool zeroChecksum = false, bool receive = true) {
  UdpOptions o;
  o.family = family;
  o.local = local;
  o.zeroChecksum = o.acceptZero = zeroChecksum;
  o.receive = receive;
  return open_udp(o);
}

const char* loopback(int family) { return family == 4 ? "127.0.0.1" : "::1"; }

bool has_v6() {
  const int fd = socket(AF_INET6, SOCK_DGRAM, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_addr = in6addr_loopback;
  const bool has = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0;
  if (fd >= 0) close(fd);
  return has;
}

// A tunnel with its arrays; the tables lie in blocks of exactly their size.
struct Tunnel {
  std::vector<int32_t> sends, paths, info;
  std::vector<int> fds;
  UdpArrays arrays;
  std::unique_ptr<UdpTunnel> tunnel;

  Tunnel(const std::vector<int>& sockets, int receivers = 1, bool udp = false, int rows = kRows)
      : sends(static_cast<size_t>(rows * kSendWords)),
        paths(8 * kPathWords),
        info(static_cast<size_t>(rows * kInfoWords)),
        fds(sockets) {
    arrays = {sends.data(), rows, paths.data(), 8, info.data(), rows};
    tunnel.reset(new UdpTunnel(fds, receivers, arrays, udp));
  }
  ~Tunnel() {
    for (int fd : fds) close(fd);
  }
  void path(int row, int family, int port) {
    int32_t* p = paths.data() + row * kPathWords;
    p[kPathFamily] = family;
    p[kPathAddress0] = family == 4 ? 0x7f000001 : 0;
    p[kPathAddress0 + 3] = family == 4 ? 0 : 1;
    p[kPathPort] = port;
  }
  int32_t* send(int row) { return sends.data() + row * kSendWords; }
  void row(int row, int slot, int path, int socket, uint32_t tag, int vni, int tosTtl = 64 << 8) {
    const int32_t words[kSendWords] = {slot,       path,     socket, tosTtl,
                                       kFlagsWord, vni << 8, -77,    static_cast<int32_t>(tag)};
    std::memcpy(send(row), words, sizeof words);
  }
  const int32_t* came(int row) const { return info.data() + row * kInfoWords; }
};

int error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const SysError& e) {
    return e.err;
  }
  return 0;
}

Bytes header(int vni) {
  Bytes out;
  append32(&out, static_cast<uint32_t>(kFlagsWord));
  append32(&out, static_cast<uint32_t>(vni) << 8);
  return out;
}

bool wait_for(int fd) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 1000) == 1;
}

// A plain socket as the other end: no UDP_GRO, so that the kernel hands over every datagram.
struct Peer {
  int fd, port;
  explicit Peer(int family) {
    const UdpSocket s = open_on(family, loopback(family));
    fd = s.fd;
    port = s.port;
    const int off = 0;
    setsockopt(fd, IPPROTO_UDP, 104 /* UDP_GRO */, &off, sizeof off);
  }
  ~Peer() { close(fd); }
  std::vector<Bytes> out() const { return drain(fd); }
  // Datagrams of one length but the last, as one message.
  bool in(int family, int port, const Bytes& bytes, size_t segment) const {
    SocketAddress to = parse_address(family, loopback(family), port);
    iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) uint8_t control[CMSG_SPACE(2)] = {};
    msghdr h{&to, to.size(), &piece, 1, control, sizeof control, 0};
    cmsghdr* c = CMSG_FIRSTHDR(&h);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(2);
    const uint16_t size = static_cast<uint16_t>(segment);
    std::memcpy(CMSG_DATA(c), &size, sizeof size);
    if (segment == 0 || segment >= bytes.size()) h.msg_control = nullptr, h.msg_controllen = 0;
    return sendmsg(fd, &h, 0) == static_cast<ssize_t>(bytes.size());
  }
};

// What a packet socket would have sent of the same slots: the oracle.
std::vector<Bytes> frames_of(Rig& rig, int slot, uint32_t tag) {
  const Wire wire(SOCK_SEQPACKET, 8 << 20);
  rig.send(wire.device(DeviceKind::kPacket, 0), {{slot, tag}});
  return wire.out();
}

std::vector<Recipe> recipes() {
  std::vector<Recipe> out;
  for (int i = 0; i < 16; i++) {
    Recipe r;
    r.v6 = i & 1;
    r.tcp = (i & 2) == 0;
    if (i & 4) r.tags = {0x8100};
    if ((i & 8) && r.tcp) r.tcpOptions = Bytes(12, 1);
    out.push_back(r);
  }
  return out;
}

// ---------------------------------------------------------------------------------------------
// 1. Sending

// Random frames to two addresses by three sockets: per way the datagrams arrive in order, as they were.
void datagrams_leave_as_the_oracle_says() {
  for (int family : {4, 6}) {
    if (family == 6 && !has_v6()) continue;
    for (bool zero : {false, true}) {
      constexpr int kSlots = 6;
      Rig rig(kSlots);
      const Peer one(family), two(family);
      std::vector<int> fds;
      for (int i = 0; i < 3; i++) fds.push_back(open_on(family, loopback(family), zero, i == 0).fd);
      for (const Peer* peer : {&one, &two}) {
        const int on = 1;
        if (zero && family == 6)
          setsockopt(peer->fd, IPPROTO_UDP, 102 /* UDP_NO_CHECK6_RX */, &on, sizeof on);
      }
      Tunnel t(fds);
      t.path(0, family, one.port);
      t.path(1, family, two.port);
      const std::vector<Recipe> all = recipes();
      for (int round = 0; round < 150; round++) {
        const bool uniform = chance(2);
        const size_t len = pick(300);
        for (int slot = 0; slot < kSlots; slot++) {
          rig.open();
          Recipe r = all[pick(all.size())];
          if (chance(2)) r.sum = L4Sum::kPartial;
          const bool super = r.sum == L4Sum::kPartial && chance(2);
          rig.put(slot, r,
                  random_bytes(super     ? pick(60000)
                               : uniform ? len
                                         : pick(1400)),
                  super ? static_cast<int>(between(200, 1400)) : 0);
          if (!r.tags.empty() && chance(2)) rig.meta(slot, kStrip) = 4;
        }
        std::map<int, std::vector<Bytes>> expected[2];  // by socket, for each peer
        const int rows = static_cast<int>(between(1, 10));
        int64_t bytes = 0;
        for (int i = 0; i < rows; i++) {
          const int slot = static_cast<int>(pick(kSlots)), path = static_cast<int>(pick(2));
          const int socket = static_cast<int>(pick(3)), vni = static_cast<int>(pick(1 << 23));
          const uint32_t tag = chance(3) ? 0x81000064u : 0;
          t.row(i, slot, path, socket, tag, vni, chance(4) ? static_cast<int>(pick(3)) | 9 << 8 : 64 << 8);
          for (const Bytes& frame : frames_of(rig, slot, tag)) {
            Bytes datagram = header(vni);
            append(&datagram, frame);
            bytes += static_cast<int64_t>(datagram.size());
            expected[path][socket].push_back(datagram);
          }
        }
        for (int slot = 0; slot < kSlots; slot++) rig.fence(slot, 0);
        EXPECT(t.tunnel->transmit(rig.memory, 0, rows) == rows);
        EXPECT(rig.memory.txResult[kSent] == rows && rig.memory.txResult[kSentBytes] == bytes);
        int64_t told = 0;
        for (int i = 0; i < rows; i++) told += t.send(i)[kSendResult];
        EXPECT(told == bytes);
        for (int path = 0; path < 2; path++) {
          std::vector<Bytes> got = (path ? two : one).out();
          size_t total = 0;
          for (auto& [socket, list] : expected[path]) {
            total += list.size();
            // Those of one socket keep their order between those of the others.
            size_t at = 0;
            for (const Bytes& datagram : list) {
              while (at < got.size() && got[at] != datagram) at++;
              EXPECT(at < got.size());
              at++;
            }
          }
          EXPECT(got.size() == total);
        }
      }
    }
  }
}

// Equal small frames become one message: a socket with UDP_GRO gets them in one read.
void equal_frames_are_one_message() {
  Rig rig(64);
  const UdpSocket in = open_on(4, "127.0.0.1");
  Tunnel t({open_on(4, "127.0.0.1", false, false).fd});
  t.path(0, 4, in.port);
  for (int i = 0; i < 64; i++) {
    rig.put(i, build(Recipe{}, Bytes(18, static_cast<uint8_t>(i))));
    rig.fence(i, 0);
    t.row(i, i, 0, 0, 0, i);
  }
  EXPECT(t.tunnel->transmit(rig.memory, 0, 64) == 64);
  const std::vector<Bytes> got = drain(in.fd);
  EXPECT(got.size() == 1 && got[0].size() == 64 * 80);
  for (size_t i = 0; i < 64; i++) EXPECT(got[0][i * 80 + 6] == i && got[0][i * 80 + 79] == i);
  close(in.fd);
}

// More ways than messages, more headers than the arena holds.
void more_than_there_is_room_for() {
  Rig rig(4);
  std::vector<int> fds;
  for (int i = 0; i < 40; i++) fds.push_back(open_on(4, "127.0.0.1", false, false).fd);
  Tunnel t(fds, 1, false, 600);
  const Peer peer(4);
  t.path(0, 4, peer.port);
  for (int i = 0; i < 4; i++) rig.put(i, build(Recipe{}, random_bytes(static_cast<size_t>(100 + i * 40))));
  std::map<Bytes, int> expected;
  for (int i = 0; i < 600; i++) {
    t.row(i, i % 4, 0, static_cast<int>(pick(40)), 0, i);
    Bytes datagram = header(i);
    append(&datagram, rig.frame(i % 4));
    expected[datagram]++;
  }
  for (int i = 0; i < 4; i++) rig.fence(i, 0);
  EXPECT(t.tunnel->transmit(rig.memory, 0, 600) == 600);
  for (const Bytes& datagram : peer.out()) expected[datagram]--;
  for (auto& [datagram, left] : expected) EXPECT(left == 0);
}

// ---------------------------------------------------------------------------------------------
// 2. Receiving

// The packets of a receive as the datagrams they were made of.
std::vector<Bytes> apart(Rig& rig, int count) {
  std::vector<Bytes> out;
  for (int i = 0; i < count; i++) {
    const int slot = rig.memory.rx[i];
    const Bytes packet = rig.frame(slot);
    EXPECT(rig.meta(slot, kHead) == kHeadroom && rig.meta(slot, kPort) == 5);
    if (rig.meta(slot, kGsoSize) == 0) {
      out.push_back(packet);
      continue;
    }
    const Bytes front(packet.begin(), packet.begin() + kTunnelHeader);
    const SuperFrame super{packet.data() + kTunnelHeader,
                           packet.size() - kTunnelHeader,
                           rig.meta(slot, kGsoType),
                           rig.meta(slot, kGsoSize),
                           rig.meta(slot, kCsumStart) - kTunnelHeader,
                           false,
                           false};
    Segmenter segmenter;
    EXPECT(rig.meta(slot, kFlags) == kCsumPartial && segmenter.init(super) && segmenter.count() > 1);
    uint8_t headers[kMaxSegmentHeader];
    const uint8_t* payload;
    size_t len;
    while (segmenter.next(headers, &payload, &len)) {
      Bytes datagram = front;
      datagram.insert(datagram.end(), headers, headers + segmenter.headerLen());
      datagram.insert(datagram.end(), payload, payload + len);
      out.push_back(datagram);
    }
  }
  return out;
}

struct Inbound {
  Rig rig{40};
  UdpSocket ours;
  Tunnel tunnel;
  Peer peer;
  int family;
  explicit Inbound(int f = 4, bool udp = false)
      : ours(open_on(f, loopback(f))), tunnel({ours.fd}, 1, udp), peer(f), family(f) {
    for (int i = 0; i < 40; i++) rig.fence_empty(i, 0);
  }
  bool in(const Bytes& bytes, size_t segment = 0) { return peer.in(family, ours.port, bytes, segment); }
  int receive(int max = 40, int budget = 1 << 30) {
    return tunnel.tunnel->receive(rig.memory, 5, 0, max, budget);
  }
  // All there is, in steps of `max`; how many packets.
  size_t all(int max, std::vector<Bytes>* out) {
    size_t packets = 0;
    for (int n; (n = receive(max)) > 0;) {
      packets += static_cast<size_t>(n);
      for (const Bytes& datagram : apart(rig, n)) out->push_back(datagram);
      for (int i = 0; i < 40; i++) rig.fence_empty(i, 0);
    }
    return packets;
  }
};

// The segments of one stream, each behind a header, as one message.
Bytes stream_of(const Recipe& recipe, size_t payload, size_t mss, int vni, std::vector<Bytes>* datagrams) {
  Recipe r = recipe;
  Bytes out;
  for (size_t at = 0, i = 0; at < payload; at += mss, i++) {
    r.seq = recipe.seq + static_cast<uint32_t>(at);
    r.id = static_cast<uint16_t>(recipe.id + i);
    Bytes datagram = header(vni);
    append(&datagram, build(r, random_bytes(std::min(mss, payload - at))));
    datagrams->push_back(datagram);
    append(&out, datagram);
  }
  return out;
}

void a_stream_comes_as_one_packet() {
  for (int family : {4, 6}) {
    if (family == 6 && !has_v6()) continue;
    for (bool tcp : {true, false}) {
      for (bool v6 : {false, true}) {
        Inbound b(family, !tcp);
        Recipe r;
        r.v6 = v6;
        r.tcp = tcp;
        std::vector<Bytes> sent, got;
        const Bytes first = stream_of(r, 40 * 1000 + 300, 1000, 99, &sent);
        EXPECT(b.in(first, sent[0].size()));
        EXPECT(b.all(40, &got) == 1);
        EXPECT(got == sent);
        const int32_t* info = b.tunnel.came(0);
        EXPECT(info[kInfoFamily] == family && info[kInfoPort] == b.peer.port && info[kInfoFlags] == 0);
        EXPECT(info[kInfoAddress0 + (family == 4 ? 0 : 3)] == (family == 4 ? 0x7f000001 : 1));
      }
    }
  }
}

// A super-frame of 64 KiB does not fit one message: the run goes on in the next.
void a_run_goes_on_in_the_next_message() {
  Inbound b;
  Recipe r;
  std::vector<Bytes> one, two, got;
  const Bytes first = stream_of(r, 40 * 1400, 1400, 1, &one);
  r.seq += 40 * 1400;
  r.id = static_cast<uint16_t>(r.id + 40);
  const Bytes second = stream_of(r, 3 * 1400 + 7, 1400, 1, &two);
  EXPECT(b.in(first, one[0].size()) && b.in(second, two[0].size()));
  EXPECT(b.all(40, &got) == 1);
  one.insert(one.end(), two.begin(), two.end());
  EXPECT(got == one);
}

// Headers, senders and TOS that differ end a run.
void what_differs_stays_apart() {
  Inbound b;
  Recipe r;
  std::vector<Bytes> sent, got;
  Bytes message = stream_of(r, 4000, 1000, 1, &sent);
  message[sent[0].size() + 6] = 7;  // another VNI in the second
  sent[1][6] = 7;
  EXPECT(b.in(message, sent[0].size()));
  EXPECT(b.all(40, &got) == 3 && got == sent);  // 1, 2, 3+4

  got.clear();
  sent.clear();
  const Peer other(4);
  std::vector<Bytes> more;
  const Bytes first = stream_of(r, 2000, 1000, 1, &sent);
  r.seq += 2000;
  r.id = static_cast<uint16_t>(r.id + 2);
  const Bytes second = stream_of(r, 2000, 1000, 1, &more);
  EXPECT(b.in(first, sent[0].size()) && other.in(4, b.ours.port, second, more[0].size()));
  EXPECT(b.all(40, &got) == 2);
  sent.insert(sent.end(), more.begin(), more.end());
  EXPECT(got == sent);
  EXPECT(b.tunnel.came(0)[kInfoPort] == b.peer.port && b.tunnel.came(1)[kInfoPort] == other.port);

  const int tos = 0x03;
  setsockopt(b.peer.fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
  EXPECT(b.in(sent[0]) && b.receive() == 1 && b.tunnel.came(0)[kInfoTos] == 3);
}

void checksums_are_told() {
  Inbound b;
  for (const Recipe& plain : recipes()) {
    for (L4Sum sum : {L4Sum::kFull, L4Sum::kPartial}) {
      Recipe r = plain;
      r.sum = sum;
      Bytes datagram = header(3);
      append(&datagram, build(r, random_bytes(33)));
      EXPECT(b.in(datagram) && b.receive() == 1);
      EXPECT(b.rig.frame(0) == datagram);
      const int flags = b.rig.meta(0, kFlags);
      if (sum == L4Sum::kFull) {
        EXPECT(flags == (r.tcp ? kCsumVerified : 0));  // UDP is not looked at unless it may be merged
      } else {
        EXPECT(flags == kCsumPartial &&
               b.rig.meta(0, kCsumStart) == static_cast<int>(kTunnelHeader + r.l4()) &&
               b.rig.meta(0, kCsumOffset) == (r.tcp ? 16 : 6));
      }
      datagram.back() ^= 1;  // wrong
      EXPECT(b.in(datagram) && b.receive() == 1 && b.rig.frame(0) == datagram);
      EXPECT(b.rig.meta(0, kFlags) == (sum == L4Sum::kFull ? 0 : kCsumPartial));
    }
  }
  // A kernel's super-frame: one long datagram, nothing told of its segments.
  Recipe r;
  r.sum = L4Sum::kPartial;
  Bytes datagram = header(3);
  append(&datagram, build(r, random_bytes(60000)));
  EXPECT(b.in(datagram) && b.receive() == 1 && b.rig.frame(0) == datagram);
  EXPECT(b.rig.meta(0, kFlags) == kCsumPartial && b.rig.meta(0, kGsoSize) == 0);
}

// The kernel cut what it was handed, and left the checksums to hardware that is not there.
void unfinished_checksums_are_merged() {
  for (bool v6 : {false, true}) {
    Inbound b;
    Recipe r;
    r.v6 = v6;
    r.sum = L4Sum::kPartial;
    Bytes message;
    for (int i = 0; i < 10; i++) {
      append(&message, header(3));
      append(&message, build(r, random_bytes(1000)));
      r.seq += 1000;
      r.id++;
    }
    EXPECT(b.in(message, message.size() / 10) && b.receive() == 1);
    EXPECT(b.rig.meta(0, kFlags) == kCsumPartial && b.rig.meta(0, kGsoSize) == 1000);
    EXPECT(b.rig.meta(0, kLen) == static_cast<int>(kTunnelHeader + r.payload() + 10000));
  }
}

// 70 datagrams that do not merge, in one message, for those who take few at a time.
void nothing_held_back_is_lost() {
  for (int max : {1, 2, 7, 39, 40}) {
    Inbound b;
    std::vector<Bytes> sent, got;
    Bytes message;
    for (int i = 0; i < 70; i++) {
      Bytes datagram = header(i);
      append(&datagram, random_bytes(i == 69 ? 20 : 100));
      sent.push_back(datagram);
      append(&message, datagram);
    }
    EXPECT(b.in(message, sent[0].size()) && b.in(sent[3]));
    sent.push_back(sent[3]);
    EXPECT(b.receive(0) == 0);
    EXPECT(b.all(max, &got) == 71 && got == sent);
  }
}

void the_budget_is_kept() {
  Inbound b;
  for (int i = 0; i < 20; i++) b.in(random_bytes(1000));
  EXPECT(b.receive(40, 0) == 0);
  EXPECT(b.receive(40, -1) == 0);
  const int some = b.receive(40, 1000);
  EXPECT(some > 0 && some < 20);
  EXPECT(b.receive() == 20 - some);
}

void several_sockets_are_heard() {
  Rig rig(8);
  std::vector<UdpSocket> sockets;
  std::vector<int> fds;
  for (int i = 0; i < 3; i++) {
    sockets.push_back(open_on(4, "127.0.0.1"));
    fds.push_back(sockets.back().fd);
  }
  Tunnel t(fds, 3);
  const Peer peer(4);
  for (const UdpSocket& s : sockets)
    peer.in(4, s.port, random_bytes(static_cast<size_t>(100 + s.port % 3)), 0);
  int count = 0;
  for (int n; (n = t.tunnel->receive(rig.memory, 5, 0, 8, 1 << 20)) > 0;) count += n;
  EXPECT(count == 3);
}

// ---------------------------------------------------------------------------------------------
// 3. Refusals

void rows_that_do_not_exist_are_not_sent() {
  Rig rig(4);
  const Peer peer(4);
  Tunnel t({open_on(4, "127.0.0.1").fd});
  t.path(0, 4, peer.port);
  for (int i = 0; i < 4; i++) rig.put(i, build(Recipe{}, random_bytes(50)));
  auto good = [&] {
    for (int i = 0; i < 3; i++) t.row(i, i, 0, 0, 0, 1);
  };
  for (int word : {kSendSlot, kSendPath, kSendSocket}) {
    for (int value : {-1, 8, kRows, INT_MIN, INT_MAX}) {
      good();
      t.send(2)[word] = value;
      EXPECT(t.tunnel->transmit(rig.memory, 0, 3) == -EFAULT);
      EXPECT(rig.memory.txResult[kSent] == 0 && peer.out().empty());
    }
  }
  good();
  for (auto [at, count] :
       {std::pair<int, int>{-1, 1}, {0, -1}, {kRows, 1}, {0, kRows + 1}, {INT_MAX, INT_MAX}, {INT_MIN, 1}})
    EXPECT(t.tunnel->transmit(rig.memory, at, count) == -EFAULT);
  EXPECT(peer.out().empty() && t.tunnel->transmit(rig.memory, kRows, 0) == 0);
  for (auto [from, max] :
       {std::pair<int, int>{-1, 1}, {0, -1}, {0, kRows + 1}, {kRows, 1}, {INT_MAX, 1}, {1, INT_MAX}})
    EXPECT(t.tunnel->receive(rig.memory, 5, from, max, 1 << 20) == -EFAULT);
  rig.memory.rx[3] = 4;
  EXPECT(t.tunnel->receive(rig.memory, 5, 0, 4, 1 << 20) == -EFAULT);
  EXPECT(t.tunnel->transmit(rig.memory, 0, 3) == 3 && peer.out().size() == 3);
}

void a_row_fails_alone() {
  Rig rig(8);
  const Peer peer(4);
  Tunnel t({open_on(4, "127.0.0.1").fd, open_on(has_v6() ? 6 : 4, has_v6() ? "::1" : "127.0.0.1").fd});
  t.path(0, 4, peer.port);
  t.path(1, 6, peer.port);
  t.path(2, 0, peer.port);
  for (int i = 0; i < 8; i++) {
    rig.put(i, build(Recipe{}, Bytes(50, static_cast<uint8_t>(i))));
    t.row(i, i, 0, 0, 0, 1);
  }
  t.send(1)[kSendPath] = 1;            // IPv6 by an IPv4 socket
  t.send(2)[kSendPath] = 2;            // no family at all
  rig.meta(3, kFlags) = kCsumPartial;  // before the IP header
  rig.put(4, random_bytes(66000));     // no datagram is so long
  rig.meta(5, kLen) = 0;
  Recipe r;
  r.sum = L4Sum::kPartial;
  rig.put(6, r, random_bytes(3000), 1000);
  rig.meta(6, kGsoType) = 9;  // no such kind
  rig.meta(7, kFlags) |= kNoEthernet;
  EXPECT(t.tunnel->transmit(rig.memory, 0, 8) == 1);
  const int wanted[] = {0, -EAFNOSUPPORT, -EAFNOSUPPORT, -EBADMSG, -EMSGSIZE, -EBADMSG, -EBADMSG, -EBADMSG};
  for (int i = 1; i < 8; i++) EXPECT(t.send(i)[kSendResult] == wanted[i]);
  EXPECT(t.send(0)[kSendResult] > 0 && peer.out().size() == 1);
  const int32_t* w = rig.memory.txResult;
  EXPECT(w[kSent] + w[kNoRoom] + w[kRefused] + w[kDown] + w[kMalformed] == 8);
}

// Closed ports answer with ICMP: nothing of it reaches what is sent next.
void late_errors_are_nobodys() {
  Rig rig(1);
  int port;
  {
    const Peer gone(4);
    port = gone.port;
  }
  const Peer peer(4);
  Tunnel t({open_on(4, "127.0.0.1").fd});
  t.path(0, 4, port);
  t.path(1, 4, peer.port);
  rig.put(0, build(Recipe{}, random_bytes(50)));
  for (int i = 0; i < 50; i++) {
    t.row(0, 0, i & 1, 0, 0, 1);
    EXPECT(t.tunnel->transmit(rig.memory, 0, 1) == 1);
    EXPECT(t.tunnel->receive(rig.memory, 5, 0, 1, 1 << 20) == 0);
  }
  EXPECT(peer.out().size() == 25);
}

// A run in which some are longer than the device's MTU: those fail, the others are sent.
void a_small_mtu_fails_only_what_is_too_long() {
  if (geteuid() != 0) return skip("needs root");
  bool entered = false;
  std::thread([&] {  // in a namespace that ends with the thread and its sockets
    if (unshare(CLONE_NEWNET) < 0) return;
    entered = true;
    LinkChange small;
    small.mtu = 1500;
    small.up = 1;
    change_link("", "lo", small);
    for (bool df : {false, true}) {
      Rig rig(6);
      const Peer peer(4);
      UdpOptions o;
      o.local = "127.0.0.1";
      o.df = df;
      Tunnel t({open_udp(o).fd});
      t.path(0, 4, peer.port);
      for (int i = 0; i < 4; i++) rig.put(i, build(Recipe{}, random_bytes(i == 3 ? 50 : 1600)));
      Recipe r;
      r.sum = L4Sum::kPartial;
      rig.put(4, r, random_bytes(5000), 1600);
      rig.put(5, r, random_bytes(5000), 1400);
      for (int i = 0; i < 6; i++) t.row(i, i, 0, 0, 0, 1);
      EXPECT(t.tunnel->transmit(rig.memory, 0, 6) == 2);
      for (int i = 0; i < 6; i++) EXPECT((i == 3 || i == 5) == (t.send(i)[kSendResult] > 0));
      for (int i : {0, 1, 2, 4}) EXPECT(t.send(i)[kSendResult] == -EMSGSIZE);
      EXPECT(peer.out().size() == 5 && rig.memory.txResult[kRefused] == 4);
    }
    EXPECT(path_mtu("", "", "127.0.0.1") == 1500);
    const int echo = open_echo("", 4, "", "");
    EXPECT(send_echo(echo, "127.0.0.1", 1, 1, 1501, true) == -EMSGSIZE);
    EXPECT(send_echo(echo, "127.0.0.1", 1, 2, 1501, false) == 0);  // in fragments
    EXPECT(send_echo(echo, "127.0.0.1", 1, 3, 1500, true) == 0);
    close(echo);
  })
      .join();
  if (!entered) skip("needs CAP_SYS_ADMIN: cannot make a network namespace");
}

// Every socket bound to a group hears it, and is told so.
void a_group_is_heard() {
  if (geteuid() != 0) return skip("needs root");
  bool entered = false;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) < 0) return;
    entered = true;
    LinkChange up;
    up.up = 1;
    change_link("", "lo", up);
    UdpOptions o;
    o.local = "239.1.1.1";
    const UdpSocket bound = open_udp(o);
    o.port = bound.port;
    const UdpSocket again = open_udp(o);
    o.local = "";
    EXPECT(error_of([&] { open_udp(o); }) == EADDRINUSE);
    o.port = 0;
    const UdpSocket any = open_udp(o);
    for (const UdpSocket& s : {bound, again, any}) change_membership(s.fd, "239.1.1.1", "lo", true);
    Rig rig(4);
    Tunnel t({bound.fd, again.fd, any.fd}, 3);
    const UdpSocket sender = open_on(4, "127.0.0.1", false, false);
    group_sender(sender.fd, "lo", 1);
    const int loop = 1;  // the only way to hear oneself
    setsockopt(sender.fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof loop);
    Tunnel out({sender.fd});
    for (int port : {bound.port, any.port}) {
      out.path(0, 4, port);
      out.paths[kPathAddress0] = static_cast<int32_t>(0xef010101);
      out.paths[kPathScope] = 1;  // lo
      rig.put(0, build(Recipe{}, random_bytes(50)));
      out.row(0, 0, 0, 0, 0, 1);
      EXPECT(out.tunnel->transmit(rig.memory, 0, 1) == 1);
      const int n = t.tunnel->receive(rig.memory, 5, 0, 4, 1 << 20);
      EXPECT(n == (port == any.port ? 1 : 2) && t.came(0)[kInfoFlags] == 1);
    }
    const Peer peer(4);
    EXPECT(peer.in(4, any.port, random_bytes(20), 0) && t.tunnel->receive(rig.memory, 5, 0, 4, 1 << 20) == 1);
    EXPECT(t.came(0)[kInfoFlags] == 0);
    change_membership(bound.fd, "239.1.1.1", "lo", false);
    EXPECT(error_of([&] { change_membership(bound.fd, "239.1.1.1", "lo", false); }) == EADDRNOTAVAIL);
  }).join();
  if (!entered) skip("needs CAP_SYS_ADMIN: cannot make a network namespace");
}

// ---------------------------------------------------------------------------------------------
// 4. Mutation

int odd(int near) {
  switch (pick(6)) {
    case 0: return 0;
    case 1: return -1;
    case 2: return chance(2) ? INT_MIN : INT_MAX;
    case 3: return static_cast<int>(static_cast<unsigned>(near) + static_cast<unsigned>(pick(9)) - 4);
    case 4: return static_cast<int>(pick(70000));
    default: return static_cast<int>(generator());
  }
}

// What a packet socket sends of it, a tunnel sends; what that calls malformed, this does.
void every_row_ends_somewhere() {
  constexpr int kSlots = 4;
  Rig rig(kSlots);
  const Peer peer(4);
  Tunnel t({open_on(4, "127.0.0.1", false, false).fd, open_on(4, "127.0.0.1", true, false).fd});
  t.path(0, 4, peer.port);
  const std::vector<Recipe> all = recipes();
  int sent = 0, bad = 0;
  for (int round = 0; round < 8000; round++) {
    for (int slot = 0; slot < kSlots; slot++) {
      Recipe r = all[pick(all.size())];
      r.sum = chance(4) ? L4Sum::kFull : L4Sum::kPartial;
      rig.put(slot, r, random_bytes(pick(chance(100) ? 30000 : 300)),
              chance(2) ? static_cast<int>(between(60, 400)) : 0);
      if (!r.tags.empty() && chance(2)) rig.meta(slot, kStrip) = 4;
      while (chance(3)) {
        const int word = static_cast<int>(pick(kMetaWords));
        rig.meta(slot, word) = odd(rig.meta(slot, word));
      }
      rig.fence(slot, 0);
    }
    std::vector<Bytes> expected;
    int malformed = 0;
    const int rows = static_cast<int>(pick(8));
    for (int i = 0; i < rows; i++) {
      const int slot = static_cast<int>(pick(kSlots));
      const uint32_t tag = chance(2) ? 0 : chance(4) ? static_cast<uint32_t>(generator()) : 0x81000064u;
      t.row(i, slot, 0, static_cast<int>(pick(2)), tag, i, static_cast<int>(generator() & 0xffff) | 1 << 8);
      const std::vector<Bytes> frames = frames_of(rig, slot, tag);
      const bool refused = frames.empty() || (rig.meta(slot, kFlags) & kNoEthernet);
      malformed += refused;
      if (refused) continue;
      for (const Bytes& frame : frames) {
        expected.push_back(header(i));
        append(&expected.back(), frame);
      }
    }
    const int result = t.tunnel->transmit(rig.memory, 0, rows);
    const int32_t* w = rig.memory.txResult;
    std::vector<Bytes> got = peer.out();
    // A frame too long for a datagram is the one thing on which the two differ.
    if (w[kRefused] == 0) {
      EXPECT(result == rows - malformed && w[kMalformed] == malformed);
      std::sort(expected.begin(), expected.end());
      std::sort(got.begin(), got.end());
      EXPECT(got == expected);
    }
    EXPECT(w[kSent] + w[kNoRoom] + w[kRefused] + w[kDown] + w[kMalformed] == rows);
    sent += result;
    bad += malformed;
  }
  EXPECT(sent > 5000 && bad > 3000);
}

// Streams in which bytes are changed, datagrams lost, doubled or cut: what comes out is what went in.
// A datagram whose inner checksum, if it was not finished, is; without padding then. What is merged and taken
// apart again has it.
Bytes finished(Bytes datagram) {
  Layers at;
  if (datagram.size() <= kTunnelHeader) return datagram;
  uint8_t* frame = datagram.data() + kTunnelHeader;
  if (!parse_layers(frame, datagram.size() - kTunnelHeader, false, &at)) return datagram;
  const size_t offset = at.tcp ? 16 : 6;
  const uint16_t field = read16(frame + at.l4 + offset);
  const uint32_t pseudo = at.pseudo + static_cast<uint32_t>(at.end - at.l4);
  if (field != checksum_add(nullptr, 0, pseudo) || (!at.tcp && field == 0)) return datagram;
  checksum_finish(frame, at.end, at.l4, offset);
  datagram.resize(kTunnelHeader + at.end);
  return datagram;
}

void whatever_arrives_comes_out() {
  size_t datagrams = 0, packets = 0;
  uint16_t id = 0;
  for (bool udp : {false, true}) {
    Inbound b(4, udp);
    const std::vector<Recipe> all = recipes();
    for (int round = 0; round < 3000; round++) {
      std::vector<Bytes> sent, got;
      const int messages = static_cast<int>(between(1, 4));
      for (int m = 0; m < messages; m++) {
        Recipe r = all[pick(all.size())];
        if (chance(10)) r.sum = L4Sum::kPartial;
        // No two neighbours with one id: they may be merged (coalesce.h), and would get two ids again.
        r.id = id = static_cast<uint16_t>(id + 1000);
        std::vector<Bytes> stream;
        if (chance(6)) {
          const size_t len = between(1, 200);
          for (size_t i = 0, n = between(1, 30); i < n; i++) stream.push_back(random_bytes(len));
        } else {
          stream_of(r, between(1, 12000), between(100, 1400), static_cast<int>(pick(3)), &stream);
        }
        // All but the last of one length, whatever happens to them.
        for (Bytes& d : stream)
          while (chance(25)) d[pick(d.size())] ^= static_cast<uint8_t>(1 << pick(8));
        if (stream.size() > 2 && chance(4))
          stream.erase(stream.begin() + static_cast<long>(pick(stream.size() - 1)));
        if (stream.size() > 2 && chance(4)) std::swap(stream[0], stream[1]);
        if (chance(4)) stream.back().resize(between(1, stream.back().size()));
        Bytes message;
        for (const Bytes& d : stream) append(&message, d);
        EXPECT(b.in(message, stream[0].size()));
        sent.insert(sent.end(), stream.begin(), stream.end());
      }
      if (chance(20)) {
        EXPECT(b.in({}));
        sent.push_back({});
      }
      packets += b.all(static_cast<int>(between(1, 40)), &got);
      datagrams += sent.size();
      EXPECT(got.size() == sent.size());
      for (size_t i = 0; i < got.size() && i < sent.size(); i++)
        EXPECT(finished(got[i]) == finished(sent[i]));
    }
  }
  EXPECT(packets * 4 < datagrams * 3);
}

// ---------------------------------------------------------------------------------------------
// 5. Sockets

void opening_says_what_is_wrong() {
  const UdpSocket taken = open_on(4, "127.0.0.1");
  auto with = [](const std::function<void(UdpOptions&)>& change) {
    return error_of([&] {
      UdpOptions o;
      change(o);
      close(open_udp(o).fd);
    });
  };
  EXPECT(with([&](UdpOptions& o) { o.local = "127.0.0.1", o.port = taken.port; }) == EADDRINUSE);
  EXPECT(with([](UdpOptions& o) { o.local = "192.0.2.77"; }) == EADDRNOTAVAIL);
  EXPECT(with([](UdpOptions& o) { o.local = "127.0.0.256"; }) == EINVAL);
  EXPECT(with([](UdpOptions& o) { o.local = "::1"; }) == EINVAL);
  EXPECT(with([](UdpOptions& o) { o.family = 6, o.local = "127.0.0.1"; }) == EINVAL);
  EXPECT(with([](UdpOptions& o) { o.device = "no-such"; }) == ENODEV);
  EXPECT(with([](UdpOptions& o) { o.device = "a-name-that-is-too-long"; }) == ENODEV);
  EXPECT(with([](UdpOptions& o) { o.netns = "/no/such"; }) == ENOENT);
  EXPECT(with([](UdpOptions& o) { o.port = 65536; }) == EINVAL);
  EXPECT(with([](UdpOptions& o) { o.family = 6, o.local = "fe80::1%no-such"; }) == ENODEV);
  EXPECT(error_of([&] { change_membership(taken.fd, "127.0.0.1", "lo", true); }) == EINVAL);
  EXPECT(error_of([&] { change_membership(taken.fd, "239.1.1.1", "no-such", true); }) == ENODEV);
  close(taken.fd);
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0) std::abort();
  EXPECT(error_of([&] { UdpTunnel({pair[0]}, 1, UdpArrays{}, false); }) == ENOTSOCK);
  close(pair[0]);
  close(pair[1]);
  EXPECT(error_of([] { UdpTunnel({-1}, 1, UdpArrays{}, false); }) == EBADF);
}

void a_sender_keeps_nothing() {
  const UdpSocket sender = open_on(4, "127.0.0.1", false, false);
  const Peer peer(4);
  EXPECT(peer.in(4, sender.port, random_bytes(100), 0));
  EXPECT(drain(sender.fd).empty());
  close(sender.fd);
}

void the_kernel_knows_the_path() {
  EXPECT(path_mtu("", "", "127.0.0.1") >= 1280);
  EXPECT(path_mtu("", "127.0.0.1", "127.0.0.1") == path_mtu("", "", "127.0.0.1"));
  EXPECT(error_of([] { path_mtu("", "192.0.2.77", "127.0.0.1"); }) == EADDRNOTAVAIL);
  EXPECT(error_of([] { path_mtu("", "", "nonsense"); }) == EINVAL);
}

void drops_are_counted() {
  const UdpSocket s = [] {
    UdpOptions o;
    o.local = "127.0.0.1";
    o.buffer = 4096;
    return open_udp(o);
  }();
  const Peer peer(4);
  EXPECT(socket_drops(s.fd) == 0);
  for (int i = 0; i < 20; i++) peer.in(4, s.port, random_bytes(2000), 0);
  EXPECT(socket_drops(s.fd) > 0);
  close(s.fd);
}

void echoes_come_back() {
  if (geteuid() != 0) return skip("needs root");
  for (int family : {4, 6}) {
    if (family == 6 && !has_v6()) continue;
    const int fd = open_echo("", family, "", "");
    EchoReply reply;
    EXPECT(!receive_echo(fd, &reply));
    for (int bytes : {family == 4 ? 28 : 48, 100, 1500, 9000}) {
      EXPECT(send_echo(fd, loopback(family), 0x1234, bytes, bytes, true) == 0);
      EXPECT(wait_for(fd) && receive_echo(fd, &reply));
      EXPECT(reply.id == 0x1234 && reply.seq == bytes && reply.bytes == bytes &&
             reply.remote == loopback(family));
    }
    for (int bytes : {0, family == 4 ? 27 : 47, 65536, -1})
      EXPECT(send_echo(fd, loopback(family), 1, 1, bytes, true) == -EINVAL);
    EXPECT(send_echo(fd, "nonsense", 1, 1, 100, false) == -EINVAL);
    close(fd);
  }
}

}  // namespace

std::vector<Test> udp_tests() {
  return {TEST(datagrams_leave_as_the_oracle_says),
          TEST(equal_frames_are_one_message),
          TEST(more_than_there_is_room_for),
          TEST(a_stream_comes_as_one_packet),
          TEST(a_run_goes_on_in_the_next_message),
          TEST(what_differs_stays_apart),
          TEST(checksums_are_told),
          TEST(unfinished_checksums_are_merged),
          TEST(nothing_held_back_is_lost),
          TEST(the_budget_is_kept),
          TEST(several_sockets_are_heard),
          TEST(rows_that_do_not_exist_are_not_sent),
          TEST(a_row_fails_alone),
          TEST(late_errors_are_nobodys),
          TEST(a_small_mtu_fails_only_what_is_too_long),
          TEST(a_group_is_heard),
          TEST(every_row_ends_somewhere),
          TEST(whatever_arrives_comes_out),
          TEST(opening_says_what_is_wrong),
          TEST(a_sender_keeps_nothing),
          TEST(the_kernel_knows_the_path),
          TEST(drops_are_counted),
          TEST(echoes_come_back)};
}
