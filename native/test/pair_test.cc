// Tests of receive() and transmit() over socket pairs (rig.h).
//
//   1  receive    order, limits, headers, lengths, slots that do not exist
//   2  transmit   tags, checksums, super-frames: against the frame builder
//   3  refusals   malformed, no room, no peer, no device
//   4  mutation   random metadata and headers of every kind: everything is accounted for
#include <climits>

#include "rig.h"

using namespace taploom;

namespace {

constexpr DeviceKind kKinds[] = {DeviceKind::kTap, DeviceKind::kTun, DeviceKind::kPacket};
constexpr DeviceKind kEthernet[] = {DeviceKind::kTap, DeviceKind::kPacket};
constexpr int kVnetSizes[] = {0, 10, 12, 24};

Bytes numbered(int i, size_t len) {
  Bytes frame(len, static_cast<uint8_t>(i));
  frame[0] = 2;
  return frame;
}

// ---------------------------------------------------------------------------------------------
// 1. Receive

void slots_are_filled_in_order() {
  for (DeviceKind kind : kKinds) {
    for (int vnetSize : kVnetSizes) {
      Rig rig(40);
      for (int i = 0; i < 40; i++) rig.memory.rx[i] = 39 - i;
      for (int i = 0; i < 40; i++) rig.fence_empty(i, vnetSize);
      for (int i = 0; i < 40 * kMetaWords; i++) rig.memory.meta[i] = -1;
      const Wire wire;
      for (int i = 0; i < 35; i++) wire.in(behind({}, vnetSize, numbered(i, static_cast<size_t>(60 + i))));
      EXPECT(receive(wire.device(kind, vnetSize), rig.memory, 2, 38, 1 << 30) == 35);
      for (int i = 0; i < 35; i++) {
        const int slot = 39 - (2 + i);
        EXPECT(rig.meta(slot, kHead) == kHeadroom &&
               rig.frame(slot) == numbered(i, static_cast<size_t>(60 + i)));
        EXPECT(rig.meta(slot, kPort) == 7 && rig.meta(slot, kGsoSize) == 0 &&
               rig.meta(slot, kGsoType) == kGsoNone);
        EXPECT(rig.meta(slot, kFlags) == (kind == DeviceKind::kTun ? kNoEthernet : 0));
        EXPECT(rig.meta(slot, kStrip) == 0 && rig.meta(slot, kTci) == 0);
      }
      for (int slot : {0, 1, 2, 38, 39}) EXPECT(rig.meta(slot, kHead) == -1);         // not touched
      EXPECT(receive(wire.device(kind, vnetSize), rig.memory, 0, 40, 1 << 30) == 0);  // EAGAIN
    }
  }
}

void max_is_kept() {
  for (DeviceKind kind : kKinds) {
    for (int max : {0, 1, 31, 32, 33, 63, 64, 65}) {
      Rig rig(70);
      const Wire wire;
      for (int i = 0; i < 70; i++) wire.in(numbered(i, 60));
      EXPECT(receive(wire.device(kind, 0), rig.memory, 0, max, 1 << 30) == max);
      EXPECT(drain(wire.ours).size() == static_cast<size_t>(70 - max));
    }
  }
}

void the_budget_is_kept() {
  for (DeviceKind kind : kKinds) {
    Rig rig(100);
    const Wire wire;
    for (int i = 0; i < 100; i++) wire.in(numbered(i, 100));
    const Device device = wire.device(kind, 0);
    const int block = kind == DeviceKind::kPacket ? 32 : 1;  // messages between two looks
    EXPECT(receive(device, rig.memory, 0, 100, 0) == 0);
    EXPECT(receive(device, rig.memory, 0, 100, -1) == 0);
    EXPECT(receive(device, rig.memory, 0, 100, 1) == block);
    EXPECT(receive(device, rig.memory, 0, 100, 201) ==
           (block == 1 ? 3 : 32));  // the one that passes it still comes
    EXPECT(receive(device, rig.memory, 0, 100, INT_MAX) == (block == 1 ? 96 : 36));
  }
}

void errors_are_negative() {
  for (DeviceKind kind : kKinds) {
    Rig rig(4);
    EXPECT(receive(device_on(-1, kind, 10), rig.memory, 0, 4, 1000) == -EBADF);
    if (kind != DeviceKind::kPacket) continue;
    int ends[2];
    if (pipe(ends) < 0) continue;
    EXPECT(receive(device_on(ends[0], kind, 10), rig.memory, 0, 4, 1000) == -ENOTSOCK);
    close(ends[0]);
    close(ends[1]);
  }
}

struct HeaderCase {
  VnetHeader header;
  int flags, gsoType, gsoSize;
  bool empty;
};

void the_virtio_header_is_understood() {
  constexpr uint8_t kNeeds = kVnetNeedsCsum, kValid = kVnetDataValid, kEcn = kVnetGsoEcn;
  constexpr int kLength = 100;
  const HeaderCase cases[] = {
      {{0, 0, 0, 0, 0, 0}, 0, 0, 0, false},
      {{kValid, 0, 0, 0, 0, 0}, kCsumVerified, 0, 0, false},
      {{kNeeds, 0, 0, 0, 34, 16}, kCsumPartial, 0, 0, false},
      {{kNeeds | kValid, 0, 0, 0, 34, 6}, kCsumPartial, 0, 0, false},
      {{kNeeds, kGsoTcp4, 54, 1448, 34, 16}, kCsumPartial, kGsoTcp4, 1448, false},
      {{kNeeds, kGsoTcp6, 74, 1428, 54, 16}, kCsumPartial, kGsoTcp6, 1428, false},
      {{kNeeds, kGsoUdp, 42, 1472, 34, 6}, kCsumPartial, kGsoUdp, 1472, false},
      {{kNeeds, kGsoTcp4 | kEcn, 54, 1448, 34, 16}, kCsumPartial | kGsoEcn, kGsoTcp4, 1448, false},
      {{kNeeds, kGsoTcp6 | kEcn, 74, 1448, 54, 16}, kCsumPartial | kGsoEcn, kGsoTcp6, 1448, false},
      {{0, kGsoTcp4, 54, 1448, 0, 0}, 0, kGsoTcp4, 1448, false},
      {{0, 3, 54, 1448, 0, 0}, 0, 3, 1448, false},        // UFO: nobody takes it, transmit() refuses it
      {{0, 0x7f, 54, 1448, 0, 0}, 0, 0x7f, 1448, false},  // unknown
      {{0, kGsoTcp4, 54, 0, 0, 0}, 0, 0, 0, false},       // no segment size: an ordinary frame
      {{0, 0, 54, 1448, 0, 0}, 0, 0, 0, false},           // no type: the size means nothing
      {{kNeeds, 0, 0, 0, kLength - 2, 0}, kCsumPartial, 0, 0, false},  // the last two bytes
      {{kNeeds, 0, 0, 0, kLength - 1, 0}, 0, 0, 0, true},
      {{kNeeds, 0, 0, 0, kLength, 0}, 0, 0, 0, true},
      {{kNeeds, 0, 0, 0, 0, kLength - 1}, 0, 0, 0, true},
      {{kNeeds, 0, 0, 0, 50, 49}, 0, 0, 0, true},
      {{kNeeds, 0, 0, 0, 65535, 65535}, 0, 0, 0, true},
  };
  for (DeviceKind kind : kKinds) {
    for (int vnetSize : {10, 12, 24}) {
      for (const HeaderCase& c : cases) {
        Rig rig(1);
        std::memset(rig.memory.meta, 0xff, kMetaWords * sizeof(int32_t));
        rig.fence_empty(0, vnetSize);
        const Wire wire;
        wire.in(behind(c.header, vnetSize, numbered(1, kLength)));
        EXPECT(receive(wire.device(kind, vnetSize), rig.memory, 0, 1, 1 << 20) == 1);
        if (c.empty) {
          EXPECT(rig.meta(0, kLen) == 0);
          continue;
        }
        EXPECT(rig.frame(0) == numbered(1, kLength));
        EXPECT(rig.meta(0, kFlags) == (c.flags | (kind == DeviceKind::kTun ? kNoEthernet : 0)));
        EXPECT(rig.meta(0, kGsoType) == c.gsoType && rig.meta(0, kGsoSize) == c.gsoSize);
        if (c.gsoSize != 0) EXPECT(rig.meta(0, kHdrLen) == c.header.hdrLen);
        if ((c.flags & kCsumPartial) == 0) continue;
        EXPECT(rig.meta(0, kCsumStart) == c.header.csumStart &&
               rig.meta(0, kCsumOffset) == c.header.csumOffset);
      }
    }
  }
}

// Too short for its header is a packet of nothing: somebody counts it, and nobody trusts the header.
void frames_of_every_length_come() {
  for (DeviceKind kind : kKinds) {
    for (int vnetSize : kVnetSizes) {
      const size_t longest = static_cast<size_t>(kRoom + vnetSize);
      for (size_t len :
           {size_t{0}, size_t{1}, size_t{9}, size_t{10}, size_t{11}, size_t{12}, size_t{13}, size_t{23},
            size_t{24}, size_t{25}, longest - 1, longest, longest + 1, longest + 5000}) {
        Rig rig(3);
        for (int slot = 0; slot < 3; slot++) rig.fence_empty(slot, vnetSize);
        // The header of an earlier packet, still in the slot, says TSO.
        const VnetHeader stale{kVnetNeedsCsum, kGsoTcp4, 54, 1448, 34, 16};
        if (vnetSize != 0) std::memcpy(rig.memory.bytes(0) + kHeadroom - vnetSize, &stale, sizeof stale);
        Bytes message(len, 0);
        for (size_t i = static_cast<size_t>(vnetSize); i < len; i++) message[i] = static_cast<uint8_t>(i * 7);
        const Wire wire;
        EXPECT(wire.in(message) && wire.in(behind({}, vnetSize, numbered(5, 60))));
        EXPECT(receive(wire.device(kind, vnetSize), rig.memory, 0, 3, 1 << 30) == 2);
        EXPECT(rig.frame(1) == numbered(5, 60));
        EXPECT(rig.meta(0, kGsoSize) == 0 && (rig.meta(0, kFlags) & kCsumPartial) == 0);
        if (len < static_cast<size_t>(vnetSize)) {
          EXPECT(rig.meta(0, kLen) == 0);
        } else if (len <= longest) {
          EXPECT(rig.frame(0) == Bytes(message.begin() + vnetSize, message.end()));
        } else {  // a packet socket says that it was cut; a TAP never has one as long
          EXPECT(rig.meta(0, kLen) == (kind == DeviceKind::kPacket ? 0 : kRoom));
        }
      }
    }
  }
}

void an_ended_stream_ends_the_receive() {
  for (DeviceKind kind : kKinds) {
    for (int vnetSize : kVnetSizes) {
      Rig rig(8);
      Wire wire;
      wire.hang_up();
      const int got = receive(wire.device(kind, vnetSize), rig.memory, 0, 8, 1 << 30);
      EXPECT(got <= 8);
      for (int i = 0; i < got; i++) EXPECT(rig.meta(i, kLen) == 0);
    }
  }
}

void slots_that_do_not_exist_are_not_filled() {
  for (DeviceKind kind : kKinds) {
    Rig rig(4);
    const Wire wire;
    for (int i = 0; i < 4; i++) wire.in(numbered(i, 60));
    const Device device = wire.device(kind, 0);
    const int words = Rig::kWords;
    const int wrong[][2] = {{-1, 1},      {0, -1},      {0, words + 1}, {words, 1},         {words + 1, 0},
                            {1, words},   {INT_MAX, 1}, {1, INT_MAX},   {INT_MAX, INT_MAX}, {INT_MIN, 0},
                            {0, INT_MIN}, {-1, INT_MAX}};
    for (const auto& w : wrong) EXPECT(receive(device, rig.memory, w[0], w[1], 1 << 20) == -EFAULT);
    for (int slot : {-1, 4, 5, INT_MAX, INT_MIN}) {
      for (int place : {0, 1, 3}) {  // also behind places that are right: nothing is read
        const int right = rig.memory.rx[place];
        rig.memory.rx[place] = slot;
        EXPECT(receive(device, rig.memory, 0, 4, 1 << 20) == -EFAULT);
        rig.memory.rx[place] = right;
      }
    }
    EXPECT(receive(device, rig.memory, words, 0, 1 << 20) == 0);
    EXPECT(receive(device, rig.memory, words - 4, 4, 1 << 20) == 4);
  }
}

// ---------------------------------------------------------------------------------------------
// 2. Transmit

// The ways a tag can change on the way out.
struct Retag {
  int strip;
  uint16_t push;  // TPID
};

std::vector<Retag> retags(const Recipe& r) {
  std::vector<Retag> all = {{0, 0}};
  if (r.noEthernet) return all;
  all.push_back({0, 0x8100});
  if (r.tags.empty()) return all;
  all.push_back({4, 0});
  all.push_back({4, 0x88a8});
  return all;
}

Recipe retagged(Recipe r, const Retag& retag) {
  if (retag.strip != 0) r.tags.erase(r.tags.begin());
  if (retag.push != 0) r.tags.insert(r.tags.begin(), retag.push);
  return r;
}

uint32_t tag_word(const Recipe& r, const Retag& retag) { return retag.push == 0 ? 0 : tag_of(r, retag.push); }

void frames_leave_as_the_builder_makes_them() {
  for (Recipe r : all_recipes()) {
    const Bytes payload = random_bytes(between(0, 90));
    for (int variant = 0; variant < 2 * 2 * 4 * 3; variant++) {
      const DeviceKind kind = r.noEthernet ? DeviceKind::kTun : kEthernet[variant & 1];
      const int vnetSize = kVnetSizes[variant >> 2 & 3];
      const int offloads = (variant >> 4) == 0 ? 0 : (variant >> 4) == 1 ? kOffCsum : kAllOffloads;
      r.sum = variant & 2 ? L4Sum::kPartial : L4Sum::kFull;
      const bool whole = vnetSize != 0 && offloads != 0;  // the device finishes the checksum
      for (const Retag& retag : retags(r)) {
        Rig rig(1);
        rig.put(0, r, payload);
        rig.meta(0, kStrip) = retag.strip;
        rig.fence(0, vnetSize);
        Recipe leaves = retagged(r, retag), stays = r;
        if (!whole) leaves.sum = stays.sum = L4Sum::kFull;
        VnetHeader header{};
        if (r.sum == L4Sum::kPartial) {
          header.flags = whole ? kVnetNeedsCsum : kVnetDataValid;
          header.csumStart = static_cast<uint16_t>(whole ? leaves.l4() : 0);
          header.csumOffset = static_cast<uint16_t>(!whole ? 0 : r.tcp ? 16 : 6);
        }
        const Wire wire;
        const Sent sent = rig.send(wire.device(kind, vnetSize, offloads), {{0, tag_word(r, retag)}});
        const Bytes expected = build(leaves, payload);
        EXPECT(sent.all(1) && sent.words[kSentBytes] == static_cast<int32_t>(expected.size()));
        const std::vector<Bytes> out = wire.out();
        EXPECT(out.size() == 1 && out[0] == behind(header, vnetSize, expected));
        EXPECT(rig.frame(0) == build(stays, payload));
        const int state = rig.meta(0, kFlags) & (kCsumPartial | kCsumVerified);
        EXPECT(state == (r.sum == L4Sum::kFull ? 0 : whole ? kCsumPartial : kCsumVerified));
      }
    }
  }
}

void a_verified_checksum_is_told() {
  Rig rig(1);
  const Wire wire;
  rig.put(0, recipe(false, true), random_bytes(10));
  rig.meta(0, kFlags) = kCsumVerified;
  EXPECT(rig.send(wire.device(DeviceKind::kTap, 10), {{0, 0}}).all(1));
  EXPECT(wire.out().at(0).at(0) == kVnetDataValid);
}

// Every segment against the builder; then the whole for a device that takes it.
void super_frames_are_segmented_only_for_those_who_must() {
  for (Recipe r : all_recipes()) {
    r.sum = L4Sum::kPartial;
    for (int variant = 0; variant < 4; variant++) {
      const DeviceKind kind = r.noEthernet ? DeviceKind::kTun : kEthernet[pick(2)];
      const int vnetSize = kVnetSizes[variant];
      const bool ecn = r.tcp && chance(2);
      r.flags = static_cast<uint8_t>(kAck | kPsh | (ecn ? kCwr : 0) | (chance(3) ? kFin : 0));
      const size_t gsoSize = between(400, 1400);
      const Bytes payload = random_bytes(variant == 0 ? r.room() : between(1, 6000));
      const int own = r.gsoType() == kGsoTcp4 ? kOffTso4 : r.gsoType() == kGsoTcp6 ? kOffTso6 : kOffUso;
      const int needed = own | kOffCsum | (ecn ? kOffEcn : 0);
      for (const Retag& retag : retags(r)) {
        const Recipe leaves = retagged(r, retag);
        for (int offloads :
             {0, kAllOffloads, kAllOffloads & ~own, kAllOffloads & ~kOffCsum, kAllOffloads & ~kOffEcn}) {
          const bool whole = vnetSize != 0 && (offloads & needed) == needed;
          Rig rig(1);
          rig.put(0, r, payload, static_cast<int>(gsoSize));
          rig.meta(0, kStrip) = retag.strip;
          if (ecn) rig.meta(0, kFlags) |= kGsoEcn;
          rig.fence(0, vnetSize);
          const Wire wire;
          const Sent sent = rig.send(wire.device(kind, vnetSize, offloads), {{0, tag_word(r, retag)}});
          std::vector<Bytes> expected;
          int32_t bytes = 0;
          if (whole) {
            const Bytes frame = build(leaves, payload);
            VnetHeader header{};
            header.flags = kVnetNeedsCsum;
            header.gsoType = static_cast<uint8_t>(r.gsoType() | (ecn ? kVnetGsoEcn : 0));
            header.gsoSize = static_cast<uint16_t>(gsoSize);
            header.hdrLen = static_cast<uint16_t>(leaves.payload());
            header.csumStart = static_cast<uint16_t>(leaves.l4());
            header.csumOffset = r.tcp ? 16 : 6;
            expected.push_back(behind(header, vnetSize, frame));
            bytes = static_cast<int32_t>(frame.size());
          } else {
            for (const Bytes& segment : expected_segments(leaves, payload, gsoSize, ecn)) {
              expected.push_back(behind({}, vnetSize, segment));
              bytes += static_cast<int32_t>(segment.size());
            }
          }
          EXPECT(sent.all(1) && sent.words[kSentBytes] == bytes);
          EXPECT(wire.out() == expected);
          EXPECT(rig.frame(0) == build(r, payload) && (rig.meta(0, kFlags) & kCsumPartial) != 0);
        }
      }
    }
  }
}

void a_flooded_slot_is_the_same_for_everyone() {
  for (bool super : {false, true}) {
    Recipe r = recipe(true, true);
    r.tags = {0x8100};
    r.sum = L4Sum::kPartial;
    const Bytes payload = random_bytes(super ? 5000 : 100);
    Rig rig(1);
    rig.put(0, r, payload, super ? 1000 : 0);
    rig.meta(0, kStrip) = 4;
    const Bytes before = rig.frame(0);
    for (const Retag& retag : std::vector<Retag>{{4, 0}, {4, 0x8100}, {4, 0x88a8}, {4, 0}}) {
      for (DeviceKind kind : kEthernet) {
        for (int offloads : {kAllOffloads, super ? kOffCsum : kAllOffloads}) {
          const Wire wire;
          rig.fence(0, 10);
          EXPECT(rig.send(wire.device(kind, 10, offloads), {{0, tag_word(r, retag)}, {0, tag_word(r, retag)}})
                     .all(2));
          const std::vector<Bytes> out = wire.out();
          const size_t half = out.size() / 2;
          EXPECT(half > 0 && std::vector<Bytes>(out.begin(), out.begin() + static_cast<ptrdiff_t>(half)) ==
                                 std::vector<Bytes>(out.begin() + static_cast<ptrdiff_t>(half), out.end()));
          EXPECT(rig.frame(0) == before);
          EXPECT(offloads != kAllOffloads ||
                 Bytes(out[0].begin() + 10, out[0].end()) == build(retagged(r, retag), payload));
        }
      }
    }
  }
}

// One port finishes the checksum; the ports after it get the finished frame and know it.
void a_checksum_is_finished_once() {
  Recipe r = recipe(false, false);
  r.sum = L4Sum::kPartial;
  const Bytes payload = random_bytes(33);
  Rig rig(1);
  rig.put(0, r, payload);
  const Wire plain, able;
  EXPECT(rig.send(plain.device(DeviceKind::kTap, 10, 0), {{0, 0}, {0, 0}}).all(2));
  EXPECT(rig.send(able.device(DeviceKind::kPacket, 10, kAllOffloads), {{0, 0}}).all(1));
  r.sum = L4Sum::kFull;
  VnetHeader valid{};
  valid.flags = kVnetDataValid;
  const Bytes expected = behind(valid, 10, build(r, payload));
  EXPECT(plain.out() == std::vector<Bytes>(2, expected) && able.out() == std::vector<Bytes>(1, expected));
}

// More than one sendmmsg, with a super-frame and a refusal in between: the order stays.
void a_packet_socket_keeps_the_order() {
  for (size_t count : {1u, 31u, 32u, 33u, 64u, 65u, 100u}) {
    Rig rig(static_cast<int>(count));
    Rig::Queue queue;
    std::vector<Bytes> expected;
    int32_t refused = 0, malformed = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
      const int slot = static_cast<int>(i);
      Recipe r = recipe(i % 2 == 0, i % 3 == 0);
      r.id = static_cast<uint16_t>(i);
      const size_t before = expected.size();
      if (i % 25 == 10) {
        r.sum = L4Sum::kPartial;
        const Bytes payload = random_bytes(2500);
        rig.put(slot, r, payload, 1000);
        for (const Bytes& s : expected_segments(r, payload, 1000, false)) expected.push_back(s);
      } else if (i % 25 == 17) {
        rig.put(slot, r, random_bytes(66000 - 100));  // more than the buffer below: EMSGSIZE
        refused++;
      } else if (i % 25 == 5) {
        rig.put(slot, r, random_bytes(50));
        rig.meta(slot, kStrip) = 3;
        malformed++;
      } else {
        const Bytes payload = random_bytes(pick(60));
        rig.put(slot, r, payload);
        expected.push_back(build(retagged(r, {0, static_cast<uint16_t>(i % 4 == 0 ? 0x8100 : 0)}), payload));
      }
      for (size_t k = before; k < expected.size(); k++) bytes += static_cast<int32_t>(expected[k].size());
      rig.fence(slot, 0);
      queue.push_back({slot, i % 4 == 0 && i % 25 != 10 ? tag_of(r, 0x8100) : 0});
    }
    const Wire wire(SOCK_SEQPACKET, Wire::kBuffer);
    const int small = 32768;  // doubled by the kernel
    setsockopt(wire.ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    Sent total{};
    std::vector<Bytes> out;
    for (size_t from = 0; from < count; from += 40) {  // the small buffer holds no more
      const size_t to = from + 40 < count ? from + 40 : count;
      const Rig::Queue part(queue.begin() + static_cast<ptrdiff_t>(from),
                            queue.begin() + static_cast<ptrdiff_t>(to));
      const Sent sent = rig.send(wire.device(DeviceKind::kPacket, 0), part);
      EXPECT(sent.result == sent.words[kSent] && sent.accounted() == static_cast<int32_t>(part.size()));
      for (size_t w = 0; w < kTxWords; w++) total.words[w] += sent.words[w];
      for (const Bytes& frame : wire.out()) out.push_back(frame);
    }
    EXPECT(out == expected);
    EXPECT(total.words[kRefused] == refused && total.words[kMalformed] == malformed &&
           total.words[kNoRoom] == 0);
    EXPECT(total.words[kSentBytes] == bytes && (refused == 0 || count == 33 || total.accounted() > 0));
  }
}

// ---------------------------------------------------------------------------------------------
// 3. Refusals

// True if the one packet in slot 0 is counted as malformed by everyone who looks at `what`.
bool malformed(Rig& rig, int offloads = 0, uint32_t tag = 0) {
  bool all = true;
  for (DeviceKind kind : kEthernet) {
    rig.fence(0, 10);
    const Wire wire;
    const Sent sent = rig.send(wire.device(kind, 10, offloads), {{0, tag}});
    all =
        all && sent.result == 0 && sent.words[kMalformed] == 1 && sent.accounted() == 1 && wire.out().empty();
  }
  return all;
}

void numbers_that_do_not_fit_are_malformed() {
  const Recipe r = [] {
    Recipe partial = recipe(false, true);
    partial.sum = L4Sum::kPartial;
    return partial;
  }();
  const int len = static_cast<int>(build(r, Bytes(100)).size());
  const auto with = [&](int word, int value, int offloads, uint32_t tag = 0, int gsoSize = 0) {
    Rig rig(1);
    rig.put(0, r, Bytes(100), gsoSize);
    rig.meta(0, word) = value;
    return malformed(rig, offloads, tag);
  };
  for (int offloads : {0, kAllOffloads}) {
    for (int head :
         {INT_MIN, -1, 0, kMaxVnetHeader - 1, kSlotSize - len + 1, kSlotSize, kSlotSize + 1, INT_MAX})
      EXPECT(with(kHead, head, offloads));
    for (int value : {INT_MIN, -1, 0, kSlotSize - kHeadroom + 1, kSlotSize, INT_MAX})
      EXPECT(with(kLen, value, offloads) && with(kLen, value, offloads, 0x81000001));
    for (int strip : {INT_MIN, -4, -1, 1, 2, 3, 5, 8, INT_MAX}) EXPECT(with(kStrip, strip, offloads));
    for (int size : {INT_MIN, -1, 65536, INT_MAX}) EXPECT(with(kGsoSize, size, offloads, 0, 50));
    // A checksum in front of what an IP header ends at would rewrite addresses or a tag.
    for (int start : {INT_MIN, -1, 0, 12, 14, 33, len - 17, len, INT_MAX})
      EXPECT(with(kCsumStart, start, offloads));
    for (int offset : {INT_MIN, -1, len - 35, len, INT_MAX}) EXPECT(with(kCsumOffset, offset, offloads));
    for (int head : {kMaxVnetHeader, kSlotSize - len}) EXPECT(!with(kHead, head, offloads));
    for (int start : {34, len - 18}) EXPECT(!with(kCsumStart, start, offloads));
    for (int hint : {INT_MIN, -1, 0, 65535, INT_MAX}) EXPECT(!with(kHdrLen, hint, offloads, 0x81000001, 50));
  }
  Rig rig(1);
  rig.put(0, Bytes(15, 1));
  rig.meta(0, kStrip) = 4;
  EXPECT(malformed(rig));
  rig.put(0, Bytes(11, 1));
  EXPECT(!malformed(rig) && malformed(rig, 0, 0x81000001));
  rig.put(0, Bytes(60, 0x45));
  rig.meta(0, kFlags) = kNoEthernet;  // no tag where there is no Ethernet
  EXPECT(!malformed(rig) && malformed(rig, 0, 0x81000001));
  rig.meta(0, kStrip) = 4;
  EXPECT(malformed(rig));
}

void super_frames_that_do_not_add_up_are_malformed() {
  for (Recipe r : all_recipes()) {
    if (r.noEthernet) continue;
    r.sum = L4Sum::kPartial;
    Rig rig(1);
    const auto fresh = [&] { rig.put(0, r, Bytes(3000, 1), 1000); };
    const auto byte = [&](size_t at) -> uint8_t& { return rig.memory.bytes(0)[kHeadroom + at]; };
    fresh();
    EXPECT(!malformed(rig));
    for (uint32_t tag : {0u, 0x81000001u}) {
      fresh();
      rig.meta(0, kFlags) = 0;  // no partial checksum
      EXPECT(malformed(rig, 0, tag));
      fresh();
      byte(r.l3()) = 0x75;  // IP version 7
      EXPECT(malformed(rig, 0, tag));
      fresh();
      byte(r.l3() - 1) = 0x99;  // EtherType
      EXPECT(malformed(rig, 0, tag));
      fresh();
      byte(r.l3() + (r.v6 ? 4 : 2)) = 0xff;  // IP length
      EXPECT(malformed(rig, 0, tag));
      fresh();
      rig.meta(0, kLen) = static_cast<int32_t>(r.payload() - 1);
      EXPECT(malformed(rig, 0, tag));
      fresh();
      rig.meta(0, kCsumStart) += 2;
      EXPECT(malformed(rig, 0, tag));
      fresh();
      rig.meta(0, kGsoSize) = 2;  // 1500 segments
      EXPECT(malformed(rig, 0, tag));
      for (int type : {INT_MIN, -1, 0, 2, 3, 6, 0x80, 0x101, INT_MAX}) {
        fresh();
        rig.meta(0, kGsoType) = type;
        EXPECT(malformed(rig, 0, tag) && malformed(rig, kAllOffloads, tag));  // nobody takes an unknown kind
      }
    }
  }
}

void a_full_queue_is_no_room() {
  for (DeviceKind kind : kKinds) {
    for (bool super : {false, true}) {
      Rig rig(50);
      Rig::Queue queue;
      Recipe r = recipe(false, true);
      r.sum = L4Sum::kPartial;
      for (int i = 0; i < 50; i++) {
        r.id = static_cast<uint16_t>(100 * i);
        rig.put(i, r, Bytes(super ? 3000 : 1000, static_cast<uint8_t>(i)), super ? 1000 : 0);
        queue.push_back({i, 0});
      }
      const Wire wire(SOCK_SEQPACKET, 20000);
      const Device device = wire.device(kind, 10, super ? kOffCsum : kAllOffloads);
      const Sent sent = rig.send(device, queue);
      const std::vector<Bytes> out = wire.out();
      EXPECT(sent.result == sent.words[kSent] && sent.result > 0 && sent.result < 50);
      EXPECT(sent.words[kNoRoom] == 50 - sent.words[kSent] && sent.words[kErrno] == EAGAIN);
      EXPECT(super || out.size() == static_cast<size_t>(sent.result));
      EXPECT(!super || out.size() >= 3 * static_cast<size_t>(sent.result));
      for (size_t i = 0; !super && i < out.size(); i++) EXPECT(out[i].back() == i);
      EXPECT(rig.send(device, {{0, 0}}).all(1));  // the reader made room
    }
  }
}

void a_peer_that_left_is_a_refusal() {
  for (DeviceKind kind : kKinds) {
    for (int type : {SOCK_SEQPACKET, SOCK_DGRAM}) {
      Rig rig(1);
      rig.put(0, recipe(false, true), Bytes(10));
      Wire wire(type);
      wire.hang_up();
      const Sent sent = rig.send(wire.device(kind, 10), Rig::Queue(40, {0, 0}));
      EXPECT(sent.result == 0 && sent.words[kRefused] == 40 && sent.accounted() == 40);
      EXPECT(type == SOCK_DGRAM || sent.words[kErrno] == EPIPE);
    }
  }
}

void a_device_that_is_gone_says_so() {
  for (DeviceKind kind : kKinds) {
    Rig rig(2);
    Recipe r = recipe(false, true);
    rig.put(0, r, Bytes(10));
    r.sum = L4Sum::kPartial;
    rig.put(1, r, Bytes(3000), 1000);
    for (int slot : {0, 1}) {
      const Sent sent = rig.send(device_on(-1, kind, 10), Rig::Queue(70, {slot, 0}));
      EXPECT(sent.result == -EBADF && sent.words[kDown] == 70 && sent.accounted() == 70);
      EXPECT(sent.words[kErrno] == EBADF);
    }
  }
}

void pairs_that_do_not_exist_are_not_sent() {
  for (DeviceKind kind : kKinds) {
    Rig rig(2);
    rig.put(0, Bytes(60, 1));
    rig.put(1, Bytes(60, 2));
    for (int i = 0; i < Rig::kWords; i++) rig.memory.txq[i] = 0;
    const Wire wire;
    const Device device = wire.device(kind, 0);
    const Words nothing{};
    const int words = Rig::kWords;
    const int wrong[][2] = {
        {-1, 1},      {0, -1},      {0, words / 2 + 1}, {words, 1},   {words - 1, 1}, {INT_MAX, 1},
        {0, INT_MAX}, {2, 1 << 30}, {INT_MAX, INT_MAX}, {INT_MIN, 0}, {0, INT_MIN},   {0, 1 << 30}};
    for (const auto& w : wrong) {
      const Sent sent = rig.send_raw(device, w[0], w[1]);
      EXPECT(sent.result == -EFAULT && sent.words == nothing);
    }
    for (int slot : {-1, 2, INT_MAX, INT_MIN}) {  // nothing leaves, not even what is right
      const Sent sent = rig.send(device, {{0, 0}, {1, 0}, {slot, 0}});
      EXPECT(sent.result == -EFAULT && sent.words == nothing);
    }
    EXPECT(wire.out().empty());
    EXPECT(rig.send_raw(device, words, 0).all(0) && rig.send(device, {{1, 0}}).all(1));
    rig.memory.txq[words - 2] = 1;
    EXPECT(rig.send_raw(device, words - 2, 1).all(1));
  }
}

// ---------------------------------------------------------------------------------------------
// 4. Mutation

int odd_number(int near) {
  switch (pick(8)) {
    case 0:
      return 0;
    case 1:
      return -1;
    case 2:
      return INT_MIN;
    case 3:
      return INT_MAX;
    case 4:
      return static_cast<int>(static_cast<unsigned>(near) + static_cast<unsigned>(pick(9)) - 4);
    case 5:
      return static_cast<int>(pick(70000));
    case 6:
      return static_cast<int>(pick(100));
    default:
      return static_cast<int>(generator());
  }
}

uint32_t random_tag() { return chance(2) ? 0 : chance(4) ? static_cast<uint32_t>(generator()) : 0x81000064u; }

// A packet that is sometimes right.
void put_something(Rig& rig, int slot, const std::vector<Recipe>& recipes) {
  Recipe r = recipes[pick(recipes.size())];
  r.sum = chance(4) ? L4Sum::kFull : L4Sum::kPartial;
  const bool super = chance(2);
  if (chance(5))
    rig.put(slot, random_bytes(pick(200)));
  else
    rig.put(slot, r, random_bytes(pick(chance(300) ? 60000 : 200)),
            super ? static_cast<int>(between(1, 300)) : 0);
  if (!r.tags.empty() && chance(2)) rig.meta(slot, kStrip) = 4;
  if (chance(3)) rig.meta(slot, kFlags) ^= 1 << pick(6);
  while (chance(2)) {
    const int word = static_cast<int>(pick(kMetaWords));
    rig.meta(slot, word) = odd_number(rig.meta(slot, word));
  }
}

DeviceKind any_kind() { return kKinds[pick(3)]; }

// 100 thousand packets: every one ends in exactly one counter, no byte outside of it is touched, and
// what is malformed writes nothing.
void everything_is_accounted_for() {
  const std::vector<Recipe> recipes = all_recipes();
  constexpr int kSlots = 4;
  Rig rig(kSlots);
  const Wire wire;
  int32_t packets = 0, sentPackets = 0, bad = 0;
  while (packets < 100000) {
    const int vnetSize = kVnetSizes[pick(4)];
    const int offloads = chance(3) ? static_cast<int>(generator()) : static_cast<int>(pick(32));
    for (int slot = 0; slot < kSlots; slot++) {
      put_something(rig, slot, recipes);
      rig.fence(slot, vnetSize);
    }
    Rig::Queue queue;
    const int count = chance(20) ? 70 : static_cast<int>(pick(6));
    for (int i = 0; i < count; i++) queue.push_back({static_cast<int>(pick(kSlots)), random_tag()});
    const Sent sent = rig.send(wire.device(any_kind(), vnetSize, offloads), queue);
    EXPECT(sent.result == sent.words[kSent] && sent.accounted() == count);
    for (int w : {kSent, kSentBytes, kNoRoom, kRefused, kDown, kMalformed, kErrno})
      EXPECT(sent.words[static_cast<size_t>(w)] >= 0);
    const std::vector<Bytes> out = wire.out();
    if (sent.words[kMalformed] == count) EXPECT(out.empty());
    EXPECT(out.size() >= static_cast<size_t>(sent.words[kSent]));
    packets += count + kSlots;
    sentPackets += sent.words[kSent];
    bad += sent.words[kMalformed];
  }
  EXPECT(sentPackets > 5000 && bad > 5000);
}

// Received with a random header, sent on as it is: no header makes either side leave the frame.
void random_headers_are_survived() {
  Rig rig(8);
  const std::vector<Recipe> recipes = all_recipes();
  for (int i = 0; i < 15000; i++) {
    const int vnetSize = kVnetSizes[pick(4)];
    const DeviceKind kind = any_kind();
    const Wire wire;
    const int count = static_cast<int>(between(1, 8));
    for (int k = 0; k < count; k++) {
      Recipe r = recipes[pick(recipes.size())];
      r.sum = L4Sum::kPartial;
      const Bytes frame = chance(4) ? random_bytes(pick(100)) : build(r, random_bytes(pick(300)));
      VnetHeader header{kVnetNeedsCsum,
                        static_cast<uint8_t>(chance(2) ? 0 : r.gsoType()),
                        static_cast<uint16_t>(r.payload()),
                        static_cast<uint16_t>(between(1, 200)),
                        static_cast<uint16_t>(r.l4()),
                        static_cast<uint16_t>(r.tcp ? 16 : 6)};
      while (chance(2)) {
        uint8_t raw[sizeof header];
        std::memcpy(raw, &header, sizeof header);
        raw[pick(sizeof header)] = static_cast<uint8_t>(generator());
        std::memcpy(&header, raw, sizeof header);
      }
      Bytes message = behind(header, vnetSize, frame);
      if (chance(10)) message.resize(pick(message.size() + 1));
      wire.in(message);
    }
    for (int slot = 0; slot < 8; slot++) rig.fence_empty(slot, vnetSize);
    EXPECT(receive(wire.device(kind, vnetSize), rig.memory, 0, 8, 1 << 30) == count);
    Rig::Queue queue;
    for (int slot = 0; slot < count; slot++) {
      const int len = rig.meta(slot, kLen), flags = rig.meta(slot, kFlags);
      EXPECT(len >= 0 && len <= kRoom && rig.meta(slot, kHead) == kHeadroom);
      EXPECT(len == 0 || !(flags & kCsumPartial) ||
             rig.meta(slot, kCsumStart) + rig.meta(slot, kCsumOffset) + 2 <= len);
      EXPECT(rig.meta(slot, kGsoSize) >= 0 && rig.meta(slot, kGsoSize) <= 0xffff);
      queue.push_back({slot, random_tag()});
      rig.fence(slot, 24);
    }
    const Sent sent =
        rig.send(wire.device(any_kind(), kVnetSizes[pick(4)], static_cast<int>(pick(32))), queue);
    EXPECT(sent.result == sent.words[kSent] && sent.accounted() == count);
  }
}

}  // namespace

std::vector<Test> pair_tests() {
  return {
      TEST(slots_are_filled_in_order),
      TEST(max_is_kept),
      TEST(the_budget_is_kept),
      TEST(errors_are_negative),
      TEST(the_virtio_header_is_understood),
      TEST(frames_of_every_length_come),
      TEST(an_ended_stream_ends_the_receive),
      TEST(slots_that_do_not_exist_are_not_filled),
      TEST(frames_leave_as_the_builder_makes_them),
      TEST(a_verified_checksum_is_told),
      TEST(super_frames_are_segmented_only_for_those_who_must),
      TEST(a_flooded_slot_is_the_same_for_everyone),
      TEST(a_checksum_is_finished_once),
      TEST(a_packet_socket_keeps_the_order),
      TEST(numbers_that_do_not_fit_are_malformed),
      TEST(super_frames_that_do_not_add_up_are_malformed),
      TEST(a_full_queue_is_no_room),
      TEST(a_peer_that_left_is_a_refusal),
      TEST(a_device_that_is_gone_says_so),
      TEST(pairs_that_do_not_exist_are_not_sent),
      TEST(everything_is_accounted_for),
      TEST(random_headers_are_survived),
  };
}
