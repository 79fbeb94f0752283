// Tests with the kernel on the other end: receive(), transmit(), open_tap(), open_packet(), links and
// namespaces. All of it happens in a network namespace that this process enters once and that ends
// with it; nothing outside is touched.
//
//   1  packet sockets   over a veth pair: tags beside the frame, super-frames, many in one call
//   2  TAP and TUN      against a packet socket on the same device; the kernel's own segmentation
//   3  the end          devices that are down, deleted, or lost with their namespace
//   4  namespaces       the calling thread stays where it is; failures leave no descriptor behind
#include "../device.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "../link.h"
#include "../netns.h"
#include "rig.h"

using namespace taploom;

namespace {

bool run(const std::string& command) {
  return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
}

// Enters the namespace of the tests once; what is missing for that, or "".
std::string enter() {
  if (geteuid() != 0) return "needs root";
  if (unshare(CLONE_NEWNET) < 0) return "needs CAP_SYS_ADMIN: cannot make a network namespace";
  if (access("/dev/net/tun", R_OK | W_OK) < 0) return "needs /dev/net/tun";
  if (!run("ip link set lo up")) return "needs iproute2";
  // Silence: no neighbour discovery on devices that come up. What still gets through is filtered.
  run("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6");
  run("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
  return "";
}

bool unable() {
  static const std::string why = enter();
  if (!why.empty()) skip(why);
  return !why.empty();
}

int descriptors() {
  DIR* dir = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

ino_t own_namespace() {
  struct stat at {};
  stat("/proc/thread-self/ns/net", &at);
  return at.st_ino;
}

// A namespace that lives as long as this.
struct Namespace {
  int fd = -1;
  std::string path;
  Namespace() {
    std::thread([&] {
      if (unshare(CLONE_NEWNET) == 0) fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    }).join();
    path = "/proc/self/fd/" + std::to_string(fd);
  }
  ~Namespace() { end(); }
  void end() {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

// True within `seconds`: the kernel tears devices and namespaces down in its own time.
template <class F>
bool eventually(F condition, int seconds = 10) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

struct Got {
  Bytes frame;
  std::array<int32_t, kMetaWords> meta;
};

bool ours(const Bytes& frame, bool noEthernet) {
  static const Bytes mac = {0x02, 0, 0, 0, 0, 0x01};  // the builder's
  if (noEthernet) return frame.size() >= 20 && (frame[0] >> 4 == 4 ? frame[12] == 10 : frame[8] == 0x20);
  return frame.size() >= 12 && std::equal(mac.begin(), mac.end(), frame.begin());
}

// A device of the kernel as the data plane has it, with a pool of its own.
class End {
 public:
  static constexpr int kSlots = 128;

  explicit End(const TapDevice& tap, bool tun = false)
      : device(device_on(tap.fds[0], tun ? DeviceKind::kTun : DeviceKind::kTap, tap.vnetSize, tap.offloads)),
        rig_(kSlots) {}
  explicit End(const PacketSocket& socket)
      : device(
            device_on(socket.fd, DeviceKind::kPacket, socket.vnetSize, socket.vnetSize ? kAllOffloads : 0)),
        rig_(kSlots) {}
  ~End() { close(device.fd); }
  End(const End&) = delete;
  End& operator=(const End&) = delete;

  Device device;
  bool noEthernet = false;

  // Frames of the tests until there are `want` of them, then all that are there.
  std::vector<Got> receive_frames(size_t want) {
    std::vector<Got> all;
    for (;;) {
      for (int i = 0; i < kSlots; i++) rig_.fence_empty(i, device.vnetSize);
      const int n = receive(device, rig_.memory, 0, kSlots, 1 << 30);
      if (n < 0) return all;
      for (int i = 0; i < n; i++) {
        Got got{rig_.frame(i), {}};
        std::copy_n(rig_.memory.metaOf(i), kMetaWords, got.meta.begin());
        if (got.frame.empty() || ours(got.frame, noEthernet)) all.push_back(got);
      }
      if (n > 0) continue;
      if (all.size() >= want) return all;
      pollfd waiting{device.fd, POLLIN, 0};
      if (poll(&waiting, 1, 3000) <= 0) return all;
    }
  }

  Rig& rig() {
    rig_.open();
    return rig_;
  }

  bool send(const Recipe& r, const Bytes& payload, int gsoSize = 0, uint32_t tag = 0, int strip = 0,
            bool ecn = false) {
    rig().put(0, r, payload, gsoSize);
    rig_.meta(0, kStrip) = strip;
    if (ecn) rig_.meta(0, kFlags) |= kGsoEcn;
    rig_.fence(0, device.vnetSize);
    return rig_.send(device, {{0, tag}}).all(1);
  }

  int receive_now() {
    for (int i = 0; i < kSlots; i++) rig_.fence_empty(i, device.vnetSize);
    return receive(device, rig_.memory, 0, kSlots, 1 << 30);
  }

 private:
  Rig rig_;
};

std::vector<Bytes> frames_of(const std::vector<Got>& all) {
  std::vector<Bytes> out;
  for (const Got& got : all) out.push_back(got.frame);
  return out;
}

// A veth pair, a packet socket on either side.
struct Veth {
  const bool made =
      run("ip link add tla type veth peer name tlb && ip link set tla up && ip link set tlb up");
  End a{open_packet("", "tla", true)}, b{open_packet("", "tlb", true)};
  ~Veth() { run("ip link del tla"); }
};

TapOptions tap_named(const std::string& name, int offloads = kAllOffloads) {
  TapOptions options;
  options.name = name;
  options.offloads = offloads;
  return options;
}

void bring_up(const std::string& name, bool up = true) {
  LinkChange change;
  change.up = up ? 1 : 0;
  change_link("", name, change);
}

TapDevice open_up(const TapOptions& options) {
  TapDevice tap = open_tap(options);
  bring_up(tap.name);
  return tap;
}

// The four kinds, bare and tagged.
std::vector<Recipe> ethernet_recipes() {
  std::vector<Recipe> all;
  for (const std::vector<uint16_t>& tags : {std::vector<uint16_t>{}, {0x8100}, {0x88a8}, {0x88a8, 0x8100}}) {
    for (int kind = 0; kind < 4; kind++) {
      Recipe r = recipe((kind & 1) != 0, (kind & 2) != 0);
      r.tags = tags;
      r.sum = L4Sum::kPartial;
      if (r.tcp) r.tcpOptions = {1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9};
      all.push_back(r);
    }
  }
  return all;
}

// One frame, with its offloads, from end to end.
bool arrives_whole(End& from, End& to, const Recipe& r, size_t length, int gsoSize) {
  const Bytes payload = random_bytes(length);
  if (!from.send(r, payload, gsoSize)) return false;
  const std::vector<Got> got = to.receive_frames(1);
  if (got.size() != 1 || got[0].frame != build(r, payload)) return false;
  const auto& meta = got[0].meta;
  if (!(meta[kFlags] & kCsumPartial) || meta[kCsumStart] != static_cast<int>(r.l4())) return false;
  if (meta[kCsumOffset] != (r.tcp ? 16 : 6) || meta[kPort] != 7) return false;
  return meta[kGsoSize] == gsoSize && meta[kGsoType] == (gsoSize != 0 ? r.gsoType() : kGsoNone);
}

// ---------------------------------------------------------------------------------------------
// 1. Packet sockets

void a_veth_pair_carries_more_than_one_call_takes() {
  if (unable()) return;
  Veth veth;
  EXPECT(veth.made);
  for (const auto& way : {std::make_pair(&veth.a, &veth.b), std::make_pair(&veth.b, &veth.a)}) {
    for (int count : {1, 31, 32, 33, 64, 100}) {
      Rig& rig = way.first->rig();
      Rig::Queue queue;
      std::vector<Bytes> expected;
      for (int i = 0; i < count; i++) {
        Recipe r = recipe(i % 2 == 0, i % 3 == 0);
        r.id = static_cast<uint16_t>(i);
        const Bytes payload = random_bytes(between(26, 1400));
        rig.put(i, r, payload);
        rig.fence(i, way.first->device.vnetSize);
        if (i % 5 == 0) r.tags = {0x8100};
        queue.push_back({i, i % 5 == 0 ? tag_of(r, 0x8100) : 0});
        expected.push_back(build(r, payload));
      }
      const Sent sent = rig.send(way.first->device, queue);
      EXPECT(sent.all(count));
      EXPECT(frames_of(way.second->receive_frames(static_cast<size_t>(count))) == expected);
      EXPECT(way.first->receive_frames(0).empty());  // own frames do not come back
    }
  }
}

void a_tag_beside_the_frame_is_put_back() {
  if (unable()) return;
  Veth veth;
  for (int tci : {0x0000, 0x0001, 0x0fff, 0x1000, 0xe064, 0xffff}) {  // VID 0, CFI and PCP too
    for (const std::vector<uint16_t>& tags :
         {std::vector<uint16_t>{0x8100}, {0x88a8}, {0x88a8, 0x8100}, {0x8100, 0x8100}}) {
      for (L4Sum sum : {L4Sum::kFull, L4Sum::kPartial}) {
        Recipe r = recipe(false, true);
        r.tags = tags;
        r.tci = static_cast<uint16_t>(tci);
        r.sum = sum;
        const Bytes payload = random_bytes(80);
        EXPECT(veth.a.send(r, payload));
        const std::vector<Got> got = veth.b.receive_frames(1);
        EXPECT(got.size() == 1 && got[0].frame == build(r, payload) && got[0].meta[kHead] == kHeadroom - 4);
        if (sum == L4Sum::kPartial && got.size() == 1)
          EXPECT(got[0].meta[kCsumStart] == static_cast<int>(r.l4()) &&
                 (got[0].meta[kFlags] & kCsumPartial) != 0);
      }
    }
  }
}

void super_frames_cross_a_veth_pair_whole() {
  if (unable()) return;
  Veth veth;
  for (const Recipe& r : ethernet_recipes()) {
    for (size_t length : {size_t{3000}, size_t{64000}}) {
      const int gsoSize = r.tcp || length < 60000 ? 1000 : 1400;
      EXPECT(arrives_whole(veth.a, veth.b, r, length, gsoSize));
      EXPECT(arrives_whole(veth.b, veth.a, r, length, gsoSize));
    }
    EXPECT(arrives_whole(veth.a, veth.b, r, 100, 0));
  }
}

// What others send on the device is not received either: only what comes in.
void frames_of_other_senders_do_not_come_back() {
  if (unable()) return;
  Veth veth;
  End other(open_packet("", "tla", true));
  EXPECT(other.send(recipe(false, true), Bytes(60)));
  EXPECT(veth.b.receive_frames(1).size() == 1);
  EXPECT(veth.a.receive_frames(0).empty());
}

// Tags pushed and popped at the gather, with super-frames: what comes out must be what is built.
void retagged_super_frames_cross_a_veth_pair() {
  if (unable()) return;
  Veth veth;
  for (Recipe r : ethernet_recipes()) {
    if (r.tags.size() == 2) continue;
    const Bytes payload = random_bytes(20000);
    for (bool push : {false, true}) {
      const int strip = r.tags.empty() ? 0 : 4;
      Recipe leaves = r;
      leaves.tags.clear();
      if (push) leaves.tags = {0x8100};
      EXPECT(veth.a.send(r, payload, 1400, push ? tag_of(r, 0x8100) : 0, strip));
      const std::vector<Got> got = veth.b.receive_frames(1);
      EXPECT(got.size() == 1 && got[0].frame == build(leaves, payload));
      if (got.size() == 1)
        EXPECT(got[0].meta[kGsoSize] == 1400 && got[0].meta[kCsumStart] == static_cast<int>(leaves.l4()));
    }
  }
}

void a_packet_socket_without_header_gets_finished_frames() {
  if (unable()) return;
  Veth veth;
  End plain(open_packet("", "tla", false));
  EXPECT(plain.device.vnetSize == 0);
  plain.device.offloads = kAllOffloads;  // an impossible wish must not reach the wire
  for (const Recipe& r : ethernet_recipes()) {
    const Bytes payload = random_bytes(3000);
    EXPECT(plain.send(r, payload, 1000));
    const std::vector<Bytes> expected = expected_segments(r, payload, 1000, false);
    EXPECT(frames_of(veth.b.receive_frames(expected.size())) == expected);
    Recipe full = r;
    full.sum = L4Sum::kFull;
    EXPECT(plain.send(r, Bytes(100, 1)));
    EXPECT(frames_of(veth.b.receive_frames(1)) == std::vector<Bytes>{build(full, Bytes(100, 1))});
    EXPECT(veth.b.send(full, Bytes(100, 2)));
    EXPECT(frames_of(plain.receive_frames(1)) == std::vector<Bytes>{build(full, Bytes(100, 2))});
  }
}

// What is longer than the device's MTU is refused alone; its neighbours in the same call are sent.
void one_refused_message_stops_no_other() {
  if (unable()) return;
  Veth veth;
  Rig& rig = veth.a.rig();
  Rig::Queue queue;
  std::vector<Bytes> expected;
  int32_t refused = 0;
  for (int i = 0; i < 70; i++) {
    const bool big = i == 0 || i == 31 || i == 40 || i == 41 || i == 69;
    const Bytes payload(big ? 3000 : 60, static_cast<uint8_t>(i));
    rig.put(i, recipe(false, false), payload);
    if (!big) expected.push_back(build(recipe(false, false), payload));
    refused += big ? 1 : 0;
    queue.push_back({i, 0});
  }
  const Sent sent = rig.send(veth.a.device, queue);
  EXPECT(sent.result == 70 - refused && sent.words[kRefused] == refused && sent.accounted() == 70);
  EXPECT(sent.words[kErrno] == EMSGSIZE);
  EXPECT(frames_of(veth.b.receive_frames(expected.size())) == expected);
}

// ---------------------------------------------------------------------------------------------
// 2. TAP and TUN

void a_tap_carries_super_frames_both_ways() {
  if (unable()) return;
  const TapDevice opened = open_up(tap_named("tl0"));
  EXPECT(opened.vnetSize == 10 && (opened.offloads & kOffCsum) != 0);
  End tap(opened), kernel(open_packet("", "tl0", true));
  for (const Recipe& r : ethernet_recipes()) {
    for (size_t length : {size_t{100}, size_t{3000}, size_t{64000}}) {
      const int gsoSize = length == 100 ? 0 : 1400;
      EXPECT(arrives_whole(tap, kernel, r, length, gsoSize));
      if (r.tcp || (opened.offloads & kOffUso) || gsoSize == 0)
        EXPECT(arrives_whole(kernel, tap, r, length, gsoSize));
    }
  }
}

// The kernel segments for a TAP without offloads; so do we. Both must be what the builder says.
void the_kernel_segments_as_we_do() {
  if (unable()) return;
  const TapDevice opened = open_up(tap_named("tl0", 0));
  EXPECT(opened.offloads == 0);
  End tap(opened), kernel(open_packet("", "tl0", true));
  for (Recipe r : ethernet_recipes()) {
    for (bool ecn : {false, true}) {
      if (ecn && !r.tcp) continue;
      r.flags = static_cast<uint8_t>(kAck | kPsh | (ecn ? kCwr : 0));
      for (size_t length : {1401u, 2800u, 9999u, 64000u}) {
        const Bytes payload = random_bytes(length);
        const std::vector<Bytes> expected = expected_segments(r, payload, 1400, ecn);
        for (int offloads : {kAllOffloads, int{kOffCsum}}) {  // the kernel's turn, our turn
          kernel.device.offloads = offloads;
          EXPECT(kernel.send(r, payload, 1400, 0, 0, ecn));
          EXPECT(frames_of(tap.receive_frames(expected.size())) == expected);
        }
      }
    }
  }
}

void a_tap_without_header_gets_whole_frames() {
  if (unable()) return;
  TapOptions options = tap_named("tl0");
  options.vnetHdr = false;
  const TapDevice opened = open_up(options);
  EXPECT(opened.vnetSize == 0 && opened.offloads == 0);
  End tap(opened), kernel(open_packet("", "tl0", true));
  for (Recipe r : ethernet_recipes()) {
    const Bytes payload = random_bytes(100);
    EXPECT(tap.send(r, payload) && kernel.send(r, payload));
    r.sum = L4Sum::kFull;
    EXPECT(frames_of(kernel.receive_frames(1)) == std::vector<Bytes>{build(r, payload)});
    EXPECT(frames_of(tap.receive_frames(1)) == std::vector<Bytes>{build(r, payload)});
  }
}

void a_tun_carries_packets_without_ethernet() {
  if (unable()) return;
  TapOptions options = tap_named("tl0");
  options.tun = true;
  End tun(open_up(options), true), kernel(open_packet("", "tl0", true));
  tun.noEthernet = kernel.noEthernet = true;
  for (int kind = 0; kind < 4; kind++) {
    Recipe r = recipe((kind & 1) != 0, (kind & 2) != 0);
    r.noEthernet = true;
    r.sum = L4Sum::kPartial;
    for (int gsoSize : {0, 1000}) {
      EXPECT(arrives_whole(tun, kernel, r, gsoSize == 0 ? 100 : 5000, gsoSize));
      const Bytes payload = random_bytes(gsoSize == 0 ? 100 : 5000);
      EXPECT(kernel.send(r, payload, gsoSize));
      const std::vector<Got> got = tun.receive_frames(1);
      EXPECT(got.size() == 1 && got[0].frame == build(r, payload));
      if (got.size() == 1)
        EXPECT((got[0].meta[kFlags] & kNoEthernet) != 0 && got[0].meta[kGsoSize] == gsoSize);
    }
  }
}

void every_queue_of_a_tap_sends() {
  if (unable()) return;
  TapOptions options = tap_named("tlq%d");
  options.queues = 4;
  const TapDevice opened = open_up(options);
  EXPECT(opened.fds.size() == 4 && opened.name == "tlq0");
  End kernel(open_packet("", opened.name, true));
  for (int fd : opened.fds) {
    End queue(TapDevice{{fd}, opened.name, opened.offloads, opened.vnetSize});
    const Bytes payload = random_bytes(100);
    EXPECT(queue.send(recipe(true, true), payload));
    EXPECT(frames_of(kernel.receive_frames(1)) == std::vector<Bytes>{build(recipe(true, true), payload)});
  }
}

// A super-frame the virtio header cannot name (UDP fragmentation offload, say) makes the kernel's
// receive fail once. It costs that packet, and neither the port nor its neighbours.
void a_super_frame_without_a_name_is_an_empty_packet() {
  if (unable()) return;
  const TapDevice opened = open_up(tap_named("tl0"));
  End tap(opened), kernel(open_packet("", "tl0", true));
  Recipe r = recipe(false, false);
  const Bytes payload = random_bytes(100);
  for (int before : {0, 1, 40}) {
    for (int i = 0; i < before; i++) EXPECT(tap.send(r, payload));
    Recipe partial = r;
    partial.sum = L4Sum::kPartial;
    VnetHeader ufo{kVnetNeedsCsum, 3, 42, 1400, 34, 6};
    const Bytes message = behind(ufo, 10, build(partial, random_bytes(5000)));
    if (write(opened.fds[0], message.data(), message.size()) < 0) return skip("this kernel takes no UFO");
    EXPECT(tap.send(r, payload));
    std::vector<Bytes> expected(static_cast<size_t>(before), build(r, payload));
    expected.push_back({});
    expected.push_back(build(r, payload));
    EXPECT(frames_of(kernel.receive_frames(expected.size())) == expected);
  }
}

// ---------------------------------------------------------------------------------------------
// 3. The end

void a_device_that_is_down_takes_nothing() {
  if (unable()) return;
  Veth veth;
  End tap(open_tap(tap_named("tl0")));
  Rig& rig = tap.rig();
  rig.put(0, recipe(false, true), Bytes(60));
  Sent sent = rig.send(tap.device, Rig::Queue(40, {0, 0}));
  EXPECT(sent.result == 0 && sent.words[kDown] == 40 && sent.accounted() == 40 && sent.words[kErrno] == EIO);
  EXPECT(tap.receive_now() == 0);
  bring_up("tl0");
  EXPECT(rig.send(tap.device, Rig::Queue(40, {0, 0})).all(40));

  Rig& other = veth.a.rig();
  other.put(0, recipe(false, true), Bytes(60));
  bring_up("tla", false);
  EXPECT(veth.a.receive_now() == -ENETDOWN);  // told once
  EXPECT(veth.a.receive_now() >= 0);
  sent = other.send(veth.a.device, Rig::Queue(40, {0, 0}));
  EXPECT(sent.result == 0 && sent.words[kDown] == 40 && sent.accounted() == 40 &&
         sent.words[kErrno] == ENETDOWN);
  bring_up("tla");
  EXPECT(other.send(veth.a.device, Rig::Queue(40, {0, 0})).all(40));
}

void a_deleted_device_is_gone() {
  if (unable()) return;
  Veth veth;
  Rig& rig = veth.a.rig();
  rig.put(0, recipe(false, true), Bytes(60));
  run("ip link del tla");
  EXPECT(veth.a.receive_now() == -ENETDOWN);
  const Sent sent = rig.send(veth.a.device, Rig::Queue(70, {0, 0}));
  EXPECT(sent.result == -ENXIO && sent.words[kDown] == 70 && sent.accounted() == 70);
}

void a_deleted_tap_is_gone() {
  if (unable()) return;
  const Namespace other;
  for (const std::string& netns : {std::string(), other.path}) {
    TapOptions options = tap_named("tl0");
    options.netns = netns;
    End tap(open_tap(options));
    in_namespace(netns, [] { run("ip link set tl0 up"); });
    Rig& rig = tap.rig();
    rig.put(0, recipe(false, true), Bytes(60));
    EXPECT(rig.send(tap.device, {{0, 0}}).all(1));
    in_namespace(netns, [] { run("ip link del tl0"); });
    const Sent sent = rig.send(tap.device, Rig::Queue(40, {0, 0}));
    EXPECT(sent.result == -EBADFD && sent.words[kDown] == 40 && sent.accounted() == 40);
    EXPECT(tap.receive_now() == -EBADFD);
  }
}

// The descriptor belongs to the namespace it was opened in and keeps it alive: whoever deletes the
// name sees nothing happen, and whoever watches for that must look at the name.
void a_tap_keeps_its_namespace() {
  if (unable()) return;
  Namespace other;
  TapOptions options = tap_named("tl0");
  options.netns = other.path;
  End tap(open_tap(options));
  in_namespace(other.path, [] { run("ip link set tl0 up"); });
  EXPECT(read_link("", "tl0").index == 0 && read_link(other.path, "tl0").up);
  other.end();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT(tap.send(recipe(false, true), Bytes(60)));
}

// ---------------------------------------------------------------------------------------------
// 4. Namespaces, links, failures

void the_calling_thread_stays_where_it_is() {
  if (unable()) return;
  const Namespace other;
  const ino_t here = own_namespace();
  const int before = descriptors();
  ino_t inside = 0;
  in_namespace(other.path, [&] { inside = own_namespace(); });
  EXPECT(inside != here && inside != 0 && own_namespace() == here);
  in_namespace("", [&] { inside = own_namespace(); });
  EXPECT(inside == here);
  int caught = 0;
  try {
    in_namespace(other.path, [] { throw SysError{EPERM, "test", "a refusal"}; });
  } catch (const SysError& e) {
    caught = e.err;
  }
  EXPECT(caught == EPERM && own_namespace() == here);
  try {
    in_namespace(other.path, [] { throw 42; });
  } catch (int e) {
    caught = e;
  }
  EXPECT(caught == 42 && own_namespace() == here && descriptors() == before);
}

void failures_leave_nothing_behind() {
  if (unable()) return;
  Namespace other;
  Veth veth;
  const TapDevice busy = open_tap(tap_named("tlbusy"));
  const std::string longName = "tlbusy-and-ten-more";  // its first 15 bytes name another device
  TapOptions cut = tap_named(longName.substr(0, 15));
  const TapDevice shorter = open_tap(cut);

  struct Case {
    int err;
    std::function<void()> work;
  };
  const auto tap = [&](const std::string& name, bool tun, bool exclusive, const std::string& netns = "",
                       int queues = 1) {
    return [=] {
      TapOptions options = tap_named(name);
      options.tun = tun;
      options.exclusive = exclusive;
      options.netns = netns;
      options.queues = queues;
      for (int fd : open_tap(options).fds) close(fd);
    };
  };
  const auto change = [&](const std::string& netns, const std::string& name, int mtu) {
    return [=] {
      LinkChange c;
      c.mtu = mtu;
      change_link(netns, name, c);
    };
  };
  const std::string missing = "/run/netns/tl-is-not-there";
  const std::vector<Case> cases = {
      {EBUSY, tap("tlbusy", false, true)},
      {EBUSY, tap("tlbusy", false, false)},  // one queue, and it is taken
      {EINVAL, tap("tlbusy", true, false)},  // a TAP is no TUN
      {EBUSY, tap("tla", false, true)},
      {EINVAL, tap("tla", false, false)},  // a veth is no TAP
      {EINVAL, tap("tl/0", false, true)},
      {ENOENT, tap("tlnew", false, true, missing)},
      {EINVAL, tap("tlnew", false, true, "/dev/null")},
      {ENAMETOOLONG, tap(longName, false, false)},
      {ENAMETOOLONG, tap(longName, false, true, other.path)},
      {E2BIG, tap("tlnew", false, true, "", 257)},
      {ENODEV, [] { open_packet("", "tlnew", true); }},
      {ENODEV, [&] { open_packet("", longName, true); }},
      {ENODEV, [&] { open_packet(other.path, "tla", true); }},
      {ENOENT, [&] { open_packet(missing, "tla", true); }},
      {ENOENT, [&] { read_link(missing, "tla"); }},
      {ENAMETOOLONG, [&] { read_link("", longName); }},
      {ENOENT, change(missing, "tla", 1400)},
      {ENODEV, change("", "tlnew", 1400)},
      {ENAMETOOLONG, change("", longName, 1400)},
      {EINVAL, change("", "tla", 65536)},
      {EBADF, [] { set_persist(-1, true); }},
      {EBADF, [] { set_carrier(-1, true); }},
      {ENOTTY, [&] { set_carrier(veth.a.device.fd, true); }},
  };
  const ino_t here = own_namespace();
  const int before = descriptors();
  for (size_t i = 0; i < cases.size(); i++) {
    int err = 0;
    std::string syscall, what;
    try {
      cases[i].work();
    } catch (const SysError& e) {
      err = e.err;
      syscall = e.syscall;
      what = e.what;
    }
    if (err != cases[i].err) std::printf("  case %zu: %s: %s\n", i, what.c_str(), strerrorname_np(err));
    EXPECT(err == cases[i].err && !syscall.empty() && !what.empty());
    EXPECT(descriptors() == before && own_namespace() == here);
    EXPECT(read_link("", "tlnew").index == 0 && read_link(other.path, "tlnew").index == 0);
  }
  for (int fd : {busy.fds[0], shorter.fds[0]}) close(fd);
}

void links_are_read_and_changed() {
  if (unable()) return;
  const Namespace other;
  for (const std::string& netns : {std::string(), other.path}) {
    TapOptions options = tap_named("tl0");
    options.netns = netns;
    End tap(open_tap(options));
    Link link = read_link(netns, "tl0");
    EXPECT(link.index > 0 && link.hasMac && link.mtu == 1500 && !link.up);
    const uint8_t mac[6] = {2, 0x74, 0x6c, 0, 0, 9};
    LinkChange change;
    change.mac = mac;
    change.mtu = 9216;
    change.up = 1;
    change_link(netns, "tl0", change);
    link = read_link(netns, "tl0");
    EXPECT(link.up && link.carrier && link.mtu == 9216 && std::memcmp(link.mac, mac, 6) == 0);
    set_carrier(tap.device.fd, false);
    EXPECT(eventually([&] { return !read_link(netns, "tl0").carrier; }) && read_link(netns, "tl0").up);
    set_carrier(tap.device.fd, true);
    EXPECT(eventually([&] { return read_link(netns, "tl0").carrier; }));
    LinkChange down;
    down.up = 0;
    down.mtu = 68;
    change_link(netns, "tl0", down);
    EXPECT(!read_link(netns, "tl0").up && read_link(netns, "tl0").mtu == 68);
  }
  EXPECT(read_link("", "tl0").index == 0);
}

void a_persistent_tap_outlives_its_descriptor() {
  if (unable()) return;
  TapOptions options = tap_named("tl0");
  options.persist = true;
  close(open_tap(options).fds[0]);
  const int index = read_link("", "tl0").index;
  EXPECT(index > 0);
  options.exclusive = false;
  const TapDevice again = open_tap(options);
  EXPECT(read_link("", "tl0").index == index);
  set_persist(again.fds[0], false);
  close(again.fds[0]);
  EXPECT(read_link("", "tl0").index == 0);
}

}  // namespace

std::vector<Test> device_tests() {
  return {
      TEST(a_veth_pair_carries_more_than_one_call_takes),
      TEST(a_tag_beside_the_frame_is_put_back),
      TEST(super_frames_cross_a_veth_pair_whole),
      TEST(frames_of_other_senders_do_not_come_back),
      TEST(retagged_super_frames_cross_a_veth_pair),
      TEST(a_packet_socket_without_header_gets_finished_frames),
      TEST(one_refused_message_stops_no_other),
      TEST(a_tap_carries_super_frames_both_ways),
      TEST(the_kernel_segments_as_we_do),
      TEST(a_tap_without_header_gets_whole_frames),
      TEST(a_tun_carries_packets_without_ethernet),
      TEST(every_queue_of_a_tap_sends),
      TEST(a_super_frame_without_a_name_is_an_empty_packet),
      TEST(a_device_that_is_down_takes_nothing),
      TEST(a_deleted_device_is_gone),
      TEST(a_deleted_tap_is_gone),
      TEST(a_tap_keeps_its_namespace),
      TEST(the_calling_thread_stays_where_it_is),
      TEST(failures_leave_nothing_behind),
      TEST(links_are_read_and_changed),
      TEST(a_persistent_tap_outlives_its_descriptor),
  };
}
