// Tests of the pure parts: checksum.cc, segment.cc, coalesce.cc. Build and run: `make test` here.
//
// The oracle is a frame builder with a checksum of its own (frames.h). A segment is right if it
// equals, byte for byte, the frame built for its place in the stream; a coalesced super-frame is
// right if it equals the one that was taken apart. Every frame under test lies in a heap block of
// exactly its length, so that AddressSanitizer sees a read of one byte too many.
//
//   1  checksum       lengths, alignments, partial checksums
//   2  segment        against the builder, single fields, refusals, truncation, mutation
//   3  coalesce       round trips, one refusal per rule, mutation
//
// Deterministic: the seed is fixed, and nothing is asked of the machine.
#include <algorithm>
#include <climits>
#include <cstring>
#include <string>
#include <vector>

#include "../checksum.h"
#include "../coalesce.h"
#include "../layout.h"
#include "../segment.h"
#include "check.h"
#include "frames.h"

using namespace taploom;

namespace {

SuperFrame describe(const Recipe& r, const Exact& frame, int gsoSize, bool ecn = false) {
  SuperFrame s{};
  s.bytes = frame.data();
  s.len = frame.size();
  s.gsoType = r.gsoType();
  s.gsoSize = gsoSize;
  s.csumStart = static_cast<int>(r.l4());
  s.ecn = ecn;
  s.noEthernet = r.noEthernet;
  return s;
}

// All segments as frames; the header buffer is exact too.
std::vector<Bytes> segments_of(const SuperFrame& frame, bool* ok) {
  std::vector<Bytes> out;
  Segmenter segmenter;
  *ok = segmenter.init(frame);
  if (!*ok) return out;
  const Exact header(Bytes(segmenter.headerLen()));
  const uint8_t* payload = nullptr;
  size_t payloadLen = 0;
  while (segmenter.next(header.data(), &payload, &payloadLen)) {
    EXPECT(payload >= frame.bytes && payload + payloadLen <= frame.bytes + frame.len);
    Bytes segment = header.bytes();
    segment.insert(segment.end(), payload, payload + payloadLen);
    out.push_back(segment);
  }
  EXPECT(static_cast<size_t>(segmenter.count()) == out.size());
  EXPECT(!segmenter.next(header.data(), &payload, &payloadLen));
  return out;
}

// ---------------------------------------------------------------------------------------------
// 1. Checksum

void checksum_of_every_length_and_alignment() {
  const Bytes source = random_bytes(2100);
  for (size_t align = 0; align < 16; align++) {
    for (size_t len = 0; len <= 2100; len++) {
      const Exact block(Bytes(align + len));  // malloc aligns to 16
      if (len != 0) std::memcpy(block.data() + align, source.data(), len);
      const uint32_t sum = static_cast<uint32_t>(generator());
      EXPECT(checksum_add(block.data() + align, len, sum) == naive_sum(source.data(), len, sum));
    }
  }
}

void checksum_of_random_lengths() {
  for (int i = 0; i < 3000; i++) {
    const Exact block(random_bytes(pick(70000)));
    const uint32_t sum = static_cast<uint32_t>(generator());
    EXPECT(checksum_add(block.data(), block.size(), sum) == naive_sum(block.data(), block.size(), sum));
  }
}

void checksum_loses_no_carry() {
  for (size_t len : {1u, 2u, 31u, 32u, 255u, 256u, 257u, 1400u, 65535u, 65536u, 1u << 20}) {
    const Exact ones(Bytes(len, 0xff)), zeros{Bytes(len)};
    for (uint32_t sum : {0u, 1u, 0xffffu, 0x10000u, 0xffffffffu}) {
      EXPECT(checksum_add(ones.data(), len, sum) == naive_sum(ones.data(), len, sum));
      EXPECT(checksum_add(zeros.data(), len, sum) == naive_sum(nullptr, 0, sum));
    }
  }
  EXPECT(checksum_add(nullptr, 0, 0) == 0);
}

void checksum_of_rfc1071_example() {
  const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};  // section 3
  EXPECT(checksum_add(bytes, sizeof bytes, 0) == 0xddf2);
}

void checksums_chain_after_even_parts() {
  for (int i = 0; i < 2000; i++) {
    const Bytes b = random_bytes(between(2, 3000));
    const size_t cut = pick(b.size() / 2 + 1) * 2;
    const uint16_t head = checksum_add(b.data(), cut, 0);
    EXPECT(checksum_add(b.data() + cut, b.size() - cut, head) == naive_sum(b.data(), b.size(), 0));
  }
}

void finish_completes_a_partial_checksum() {
  for (const Recipe& full : all_recipes()) {
    for (size_t len : {0u, 1u, 2u, 3u, 99u, 1400u, 1401u}) {
      Recipe partial = full;
      partial.sum = L4Sum::kPartial;
      const Bytes payload = random_bytes(len);
      const Exact frame(build(partial, payload));
      EXPECT(checksum_finish(frame.data(), frame.size(), full.l4(), full.tcp ? 16 : 6));
      EXPECT(frame.bytes() == build(full, payload));
    }
  }
}

void finish_stores_udp_zero_as_ones() {
  const Bytes unlucky(8, 0xff);  // sums to 0xffff
  for (size_t offset : {0u, 2u, 4u, 6u}) {
    const Exact frame(unlucky);
    EXPECT(checksum_finish(frame.data(), 8, 0, offset));
    EXPECT(read16(frame.data() + offset) == (offset == 6 ? 0xffff : 0));
  }
}

void finish_refuses_a_field_outside() {
  const size_t huge = SIZE_MAX;
  for (size_t len = 0; len < 40; len++) {
    const Bytes before = random_bytes(len);
    for (size_t start = 0; start < 44; start++) {
      for (size_t offset = 0; offset < 44; offset++) {
        const Exact frame(before);
        const bool inside = start + offset + 2 <= len;
        EXPECT(checksum_finish(frame.data(), len, start, offset) == inside);
        EXPECT(inside || frame.bytes() == before);
      }
    }
  }
  const Exact frame(random_bytes(40));
  EXPECT(!checksum_finish(frame.data(), 40, huge, 6) && !checksum_finish(frame.data(), 40, 6, huge));
  EXPECT(!checksum_finish(frame.data(), 40, huge, huge) && !checksum_finish(frame.data(), 40, 2, huge - 1));
}

// ---------------------------------------------------------------------------------------------
// 2. Segment

void segments_equal_the_frames_of_the_builder() {
  const size_t lengths[] = {0, 1, 2, 7, 8, 535, 536, 537, 1072, 1073, 2801, 4321};
  const size_t sizes[] = {1, 2, 7, 536, 1399, 1400, 65535, INT_MAX};
  for (Recipe r : all_recipes()) {
    for (size_t len : lengths) {
      const Bytes payload = random_bytes(len);
      for (size_t size : sizes) {
        if (len / size > 600) continue;
        const bool ecn = chance(2);
        r.flags = static_cast<uint8_t>(kAck | (chance(2) ? kPsh : 0) | (chance(2) ? kFin : 0) |
                                       (chance(2) ? kCwr : 0));
        r.sum = chance(2) ? L4Sum::kPartial : L4Sum::kFull;  // the old one must not matter
        const Exact frame(build(r, payload));
        bool ok = false;
        const std::vector<Bytes> got = segments_of(describe(r, frame, static_cast<int>(size), ecn), &ok);
        EXPECT(ok && got == expected_segments(r, payload, size, ecn));
      }
    }
  }
}

void the_longest_packet_is_segmented() {
  for (const Recipe& r : all_recipes()) {
    const Bytes payload = random_bytes(r.room());
    const Exact frame(build(r, payload));
    for (size_t size : {1448u, 65535u}) {
      bool ok = false;
      const std::vector<Bytes> got = segments_of(describe(r, frame, static_cast<int>(size)), &ok);
      EXPECT(ok && got == expected_segments(r, payload, size, false));
    }
  }
}

// The same once more without the builder: offsets and values by hand.
void fields_of_a_tcp_super_frame() {
  Recipe r = recipe(false, true);
  r.id = 0xffff;
  r.seq = 0xffffff00;
  r.flags = kAck | kPsh | kFin | kCwr;
  const Exact frame(build(r, random_bytes(2001)));
  bool ok = false;
  const std::vector<Bytes> got = segments_of(describe(r, frame, 1000, true), &ok);
  EXPECT(ok && got.size() == 3);
  if (got.size() != 3) return;
  EXPECT(got[0].size() == 1054 && got[1].size() == 1054 && got[2].size() == 55);
  EXPECT(read16(&got[0][16]) == 1040 && read16(&got[2][16]) == 41);
  EXPECT(read16(&got[0][18]) == 0xffff && read16(&got[1][18]) == 0 && read16(&got[2][18]) == 1);
  EXPECT(read32(&got[1][38]) == 0xffffff00u + 1000 && read32(&got[2][38]) == 1744);
  EXPECT(got[0][47] == (kAck | kCwr) && got[1][47] == kAck && got[2][47] == (kAck | kPsh | kFin));
  for (const Bytes& segment : got) EXPECT(naive_sum(&segment[14], 20, 0) == 0xffff);
}

void fields_of_a_udp6_super_frame() {
  Recipe r = recipe(true, false);
  r.tags = {0x88a8, 0x8100};
  const Exact frame(build(r, random_bytes(2401)));
  bool ok = false;
  const std::vector<Bytes> got = segments_of(describe(r, frame, 1200), &ok);
  EXPECT(ok && got.size() == 3);
  if (got.size() != 3) return;
  EXPECT(read16(&got[0][26]) == 1208 && read16(&got[0][66]) == 1208);
  EXPECT(read16(&got[2][26]) == 9 && read16(&got[2][66]) == 9 && got[2].size() == 71);
}

void cwr_stays_everywhere_without_ecn() {
  Recipe r = recipe(true, true);
  r.flags = kAck | kCwr | kEce;
  const Exact frame(build(r, random_bytes(300)));
  bool ok = false;
  for (const Bytes& segment : segments_of(describe(r, frame, 100), &ok)) {
    EXPECT(segment[r.l4() + 13] == (kAck | kCwr | kEce));
  }
  EXPECT(ok);
}

void a_udp_checksum_of_zero_is_sent_as_ones() {
  for (bool v6 : {false, true}) {
    const Recipe r = recipe(v6, false);
    Bytes payload(6);
    const Bytes plain = build(r, payload.data(), 2);
    payload[4] = plain[r.l4() + 6];  // the missing word: the sum becomes 0xffff
    payload[5] = plain[r.l4() + 7];
    const Exact frame(build(r, payload));
    bool ok = false;
    const std::vector<Bytes> got = segments_of(describe(r, frame, 2), &ok);
    EXPECT(ok && got.size() == 3 && read16(&got[2][r.l4() + 6]) == 0xffff);
  }
}

void ethernet_padding_is_not_payload() {
  const Recipe r = recipe(false, true);
  const Bytes payload = random_bytes(3);
  Bytes padded = build(r, payload);
  padded.resize(60, 0xaa);
  const Exact frame(padded);
  bool ok = false;
  EXPECT(segments_of(describe(r, frame, 2), &ok) == expected_segments(r, payload, 2, false));
}

void a_routing_header_names_the_final_destination() {
  for (uint8_t type : {uint8_t{2}, uint8_t{4}}) {
    Recipe r = recipe(true, true);
    r.finalDst = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xef};
    r.extensionTypes = {43};
    r.extensions = {0, 2, type, 1, 0, 0, 0, 0};
    append(&r.extensions, r.finalDst);
    const Bytes payload = random_bytes(250);
    const Exact frame(build(r, payload));
    bool ok = false;
    EXPECT(segments_of(describe(r, frame, 100), &ok) == expected_segments(r, payload, 100, false) && ok);

    Recipe arrived = r;  // no segments left: the header's own destination
    arrived.extensions[3] = 0;
    arrived.finalDst.clear();
    const Exact second(build(arrived, payload));
    EXPECT(segments_of(describe(arrived, second, 100), &ok) ==
           expected_segments(arrived, payload, 100, false));

    Bytes abolished = frame.bytes();
    abolished[14 + 40 + 2] = 0;
    const Exact third(abolished);
    segments_of(describe(r, third, 100), &ok);
    EXPECT(!ok);

    Recipe empty = r;  // segments left, but none in the header
    empty.extensions = {0, 0, type, 1, 0, 0, 0, 0};
    const Exact fourth(build(empty, payload));
    segments_of(describe(empty, fourth, 100), &ok);
    EXPECT(!ok);
  }
}

// Header length 0 makes the IP header pass as a UDP header, if the id is a fitting UDP length.
void an_ipv4_header_is_not_its_own_payload() {
  Recipe r = recipe(false, false);
  r.id = 20 + 8 + 300;
  Bytes bytes = build(r, random_bytes(300));
  bytes[r.l3()] = 0x40;
  const Exact frame(bytes);
  SuperFrame s = describe(r, frame, 100);
  s.csumStart = static_cast<int>(r.l3());
  bool ok = false;
  segments_of(s, &ok);
  EXPECT(!ok);
}

// Each edit makes one thing wrong in a frame that is right otherwise.
void super_frames_that_do_not_add_up_are_refused() {
  bool ok = false;
  const auto refused = [&](const Recipe& r, const Bytes& bytes, int delta = 0, int type = -1,
                           int size = 100) {
    const Exact frame(bytes);
    SuperFrame s = describe(r, frame, size);
    s.csumStart += delta;
    if (type >= 0) s.gsoType = type;
    segments_of(s, &ok);
    return !ok;
  };
  const auto with = [](Bytes bytes, size_t at, int value) {
    bytes[at] = static_cast<uint8_t>(value);
    return bytes;
  };
  for (const Recipe& r : all_recipes()) {
    const Bytes good = build(r, random_bytes(300));
    const size_t l3 = r.l3(), l4 = r.l4();
    EXPECT(!refused(r, good));
    EXPECT(refused(r, good, 1) && refused(r, good, -1) && refused(r, good, -1000) &&
           refused(r, good, INT_MAX / 2));
    EXPECT(refused(r, good, 0, -1, 0) && refused(r, good, 0, -1, -5) && refused(r, good, 0, -1, INT_MIN));
    for (int type : {int{kGsoNone}, int{kGsoTcp4}, int{kGsoTcp6}, int{kGsoUdp}, 3}) {
      EXPECT(refused(r, good, 0, type) == (type != r.gsoType()));
    }
    EXPECT(refused(r, with(good, l3, 0x50 | (good[l3] & 15))));
    EXPECT(refused(r, with(good, l3, (r.v6 ? 0x40 : 0x60) | 5)));  // disagrees with the EtherType or gsoType
    if (!r.noEthernet) {
      EXPECT(refused(r, with(good, l3 - 1, 0x06)));  // ARP
      Recipe threeTags = r;
      threeTags.tags = {0x8100, 0x8100, 0x8100};
      EXPECT(refused(threeTags, build(threeTags, random_bytes(300))));
    }
    if (r.v6) {
      EXPECT(refused(r, with(with(good, l3 + 4, 0), l3 + 5, 0)));               // jumbogram
      EXPECT(refused(r, with(good, l3 + 5, good[l3 + 5] + 1)));                 // one byte more than there is
      EXPECT(refused(r, with(with(good, l3 + 4, 0), l3 + 5, 7)));               // ends inside the L4 header
      EXPECT(refused(r, with(good, l3 + 6, 44)));                               // fragment
      EXPECT(refused(r, with(good, l3 + 6, 58)));                               // ICMPv6
      if (!r.extensions.empty()) EXPECT(refused(r, with(good, l3 + 41, 255)));  // beyond the end
    } else {
      EXPECT(refused(r, with(good, l3, 0x44)));  // shorter than its minimum
      EXPECT(refused(r, with(good, l3, 0x4f)));  // options: another L4 start
      EXPECT(refused(r, with(good, l3 + 3, good[l3 + 3] + 1)));
      EXPECT(refused(r, with(with(good, l3 + 2, 0), l3 + 3, 19)));
      EXPECT(refused(r, with(with(good, l3 + 2, 0), l3 + 3, static_cast<int>(l4 - l3) + 7)));
      EXPECT(refused(r, with(good, l3 + 6, 0x20)) && refused(r, with(good, l3 + 7, 1)));
      EXPECT(refused(r, with(good, l3 + 9, 1)));  // ICMP
    }
    if (r.tcp) {
      EXPECT(refused(r, with(good, l4 + 12, 0x40)));
      Recipe tiny = r;
      tiny.tcpOptions.clear();
      EXPECT(
          refused(tiny, with(build(tiny, random_bytes(3)), tiny.l4() + 12, 0xf0)));  // longer than the packet
    } else {
      EXPECT(refused(r, with(good, l4 + 5, good[l4 + 5] + 1)) &&
             refused(r, with(good, l4 + 5, good[l4 + 5] - 1)));
    }
  }
}

void headers_longer_than_the_buffer_are_refused() {
  for (size_t words : {20u, 54u, 55u, 60u, 255u}) {  // of 8 bytes
    Recipe r = recipe(true, true);
    r.extensionTypes = {60};
    r.extensions = Bytes(words * 8);
    r.extensions[1] = static_cast<uint8_t>(words - 1);
    const Exact frame(build(r, random_bytes(200)));
    bool ok = false;
    segments_of(describe(r, frame, 100), &ok);
    EXPECT(ok == (r.payload() <= kMaxSegmentHeader));
  }
}

void every_truncation_is_refused() {
  for (const Recipe& r : all_recipes()) {
    const Bytes good = build(r, random_bytes(60));
    for (size_t len = 0; len < good.size(); len++) {
      const Exact frame(good.data(), len);
      bool ok = false;
      segments_of(describe(r, frame, 20), &ok);
      EXPECT(!ok);
      Coalescer coalescer;
      EXPECT(!coalescer.start(frame.data(), len, r.noEthernet, true));
    }
  }
}

void nothing_happens_before_init() {
  Segmenter segmenter;
  uint8_t header[kMaxSegmentHeader];
  const uint8_t* payload = nullptr;
  size_t payloadLen = 0;
  EXPECT(segmenter.count() == 0 && !segmenter.next(header, &payload, &payloadLen));
  const Recipe r = recipe(false, true);
  const Exact frame(build(r, random_bytes(300)));
  EXPECT(segmenter.init(describe(r, frame, 100)) && segmenter.count() == 3);
  EXPECT(!segmenter.init(describe(r, frame, 0)) && segmenter.count() == 0);
  EXPECT(!segmenter.next(header, &payload, &payloadLen));
  EXPECT(segmenter.init(describe(r, frame, 200)) && segmenter.count() == 2);  // usable again
}

void mutate(Bytes* bytes, size_t headerLen) {
  for (size_t n = between(1, 6); n > 0; n--) {
    const size_t at = chance(8) ? pick(bytes->size()) : pick(headerLen);  // mostly in the headers
    uint8_t* b = &(*bytes)[at];
    *b = chance(2) ? static_cast<uint8_t>(generator()) : static_cast<uint8_t>(*b ^ (1u << pick(8)));
  }
  if (chance(8)) bytes->resize(pick(bytes->size() + 1));
  if (chance(16)) append(bytes, random_bytes(pick(20)));
}

// Whatever is accepted comes out whole: the segments parse, sum up, and carry the very payload.
void mutated_super_frames_stay_sane() {
  const std::vector<Recipe> recipes = all_recipes();
  int accepted = 0;
  for (int i = 0; i < 200000; i++) {
    const Recipe& r = recipes[pick(recipes.size())];
    Bytes bytes = build(r, random_bytes(pick(400)));
    mutate(&bytes, r.payload());
    const Exact frame(bytes);
    SuperFrame s = describe(r, frame, static_cast<int>(between(1, 200)), chance(2));
    if (chance(8)) s.gsoType = static_cast<int>(pick(7));
    if (chance(8)) s.csumStart = static_cast<int>(pick(600));
    if (chance(16)) s.noEthernet = !s.noEthernet;
    bool ok = false;
    const std::vector<Bytes> got = segments_of(s, &ok);
    if (!ok) continue;
    accepted++;
    Layers whole{};
    EXPECT(parse_layers(frame.data(), frame.size(), s.noEthernet, &whole) && whole.end <= frame.size());
    Bytes joined;
    for (const Bytes& segment : got) {
      Layers at{};
      EXPECT(parse_layers(segment.data(), segment.size(), s.noEthernet, &at));
      EXPECT(at.end == segment.size() && at.payload == whole.payload && at.l4 == whole.l4);
      EXPECT(at.end - at.payload <= static_cast<size_t>(s.gsoSize));
      const size_t l4Len = at.end - at.l4;
      EXPECT(naive_sum(segment.data() + at.l4, l4Len, at.pseudo + l4Len) == 0xffff);
      EXPECT(at.v6 || naive_sum(segment.data() + at.l3, at.l4 - at.l3, 0) == 0xffff);
      joined.insert(joined.end(), segment.begin() + static_cast<long>(at.payload), segment.end());
    }
    EXPECT(joined == Bytes(frame.data() + whole.payload, frame.data() + whole.end));
  }
  EXPECT(accepted > 20000);  // else the test tests nothing
}

// ---------------------------------------------------------------------------------------------
// 3. Coalesce

// The super-frame in one piece, as the caller's gather would write it.
Bytes gather(const SuperFrame& super, const std::vector<Exact>& frames, size_t payloadOffset) {
  Bytes out = frames[0].bytes();
  EXPECT(super.bytes == frames[0].data());
  for (size_t i = 1; i < frames.size(); i++) {
    out.insert(out.end(), frames[i].data() + payloadOffset, frames[i].data() + frames[i].size());
  }
  return out;
}

void segments_coalesce_into_the_original() {
  for (int i = 0; i < 3000; i++) {
    Recipe r = recipe(chance(2), !chance(3));
    r.noEthernet = chance(4);
    if (!r.noEthernet) r.tags.resize(pick(3), 0x8100);
    r.tos = static_cast<uint8_t>(generator());
    r.ttl = static_cast<uint8_t>(generator());
    r.id = static_cast<uint16_t>(generator());
    r.fragment = chance(2) ? 0x4000 : 0;
    r.seq = chance(4) ? 0xffffff00u : static_cast<uint32_t>(generator());
    r.ack = static_cast<uint32_t>(generator());
    r.flags = chance(2) ? kAck : kAck | kPsh;
    if (r.tcp) r.tcpOptions = random_bytes(pick(11) * 4);
    r.sum = L4Sum::kPartial;
    const size_t most = 65535 + r.l3() - r.payload();  // IPv6 could have 40 more; the coalescer stops here
    const size_t size = chance(3) ? between(1, 100) : between(100, 9000);
    const size_t longest = r.tcp ? most : std::min(most, size * 64);
    const Bytes payload = random_bytes(between(1, chance(20) ? longest : std::min<size_t>(longest, 20000)));

    const Exact original(build(r, payload));
    bool ok = false;
    std::vector<Exact> frames;
    for (const Bytes& b : segments_of(describe(r, original, static_cast<int>(size)), &ok))
      frames.emplace_back(b);
    EXPECT(ok);
    if (!ok) continue;
    const bool single = frames.size() == 1;

    Coalescer coalescer;
    const bool leads = coalescer.start(frames[0].data(), frames[0].size(), r.noEthernet, true);
    EXPECT(leads == !(single && r.tcp && (r.flags & kPsh) != 0));
    if (!leads) continue;
    for (size_t k = 1; k < frames.size(); k++) EXPECT(coalescer.add(frames[k].data(), frames[k].size()));
    EXPECT(static_cast<size_t>(coalescer.count()) == frames.size());
    EXPECT(coalescer.payloadOffset() == r.payload() && coalescer.totalLen() == original.size());
    const SuperFrame super = coalescer.finish();
    EXPECT(super.len == original.size() && super.noEthernet == r.noEthernet && !super.ecn);
    if (single) {
      Recipe full = r;
      full.sum = L4Sum::kFull;
      EXPECT(super.gsoType == kGsoNone && super.gsoSize == 0 && frames[0].bytes() == build(full, payload));
      continue;
    }
    EXPECT(super.gsoType == r.gsoType() && static_cast<size_t>(super.gsoSize) == size);
    EXPECT(static_cast<size_t>(super.csumStart) == r.l4());
    EXPECT(gather(super, frames, r.payload()) == original.bytes());
    coalescer.finish();  // a second time changes nothing
    EXPECT(gather(super, frames, r.payload()) == original.bytes());
  }
}

// Two frames in sequence; `edit` spoils the second (and may know the first). All checksums are
// right, so nothing but the edited field can be the reason.
using Edit = void (*)(Recipe*);
constexpr uint32_t kFirstLen = 100;

bool merges(const Recipe& r, Edit edit, size_t secondLen = kFirstLen) {
  const Exact first(build(r, random_bytes(kFirstLen)));
  Recipe next = r;
  next.id++;
  next.seq += kFirstLen;
  if (edit != nullptr) edit(&next);
  const Exact second(build(next, random_bytes(secondLen)));
  Coalescer coalescer;
  if (!coalescer.start(first.data(), first.size(), r.noEthernet, true)) return false;
  const bool merged = coalescer.add(second.data(), second.size());
  EXPECT(coalescer.count() == (merged ? 2 : 1));
  EXPECT(coalescer.totalLen() == first.size() + (merged ? secondLen : 0));
  return merged;
}

std::vector<Recipe> mergeable_recipes() {
  std::vector<Recipe> all;
  for (const Recipe& r : all_recipes()) {
    if (r.ipOptions.empty() && r.extensions.empty()) all.push_back(r);
  }
  return all;
}

void one_refusal_per_rule() {
  for (const Recipe& r : mergeable_recipes()) {
    EXPECT(merges(r, nullptr));
    EXPECT(merges(r, nullptr, 1) && merges(r, nullptr, kFirstLen - 1));
    EXPECT(!merges(r, nullptr, kFirstLen + 1));
    EXPECT(!merges(r, nullptr, 0));
    EXPECT(!merges(r, [](Recipe* n) { n->tos ^= 4; }));
    EXPECT(!merges(r, [](Recipe* n) { n->tos ^= 3; }));  // ECN: a mark must not be lost
    EXPECT(!merges(r, [](Recipe* n) { n->ttl--; }));
    EXPECT(!merges(r, [](Recipe* n) { n->lastAddrByte++; }));
    EXPECT(!merges(r, [](Recipe* n) { n->srcPort++; }));
    EXPECT(!merges(r, [](Recipe* n) { n->dstPort++; }));
    EXPECT(!merges(r, [](Recipe* n) { n->tcp = !n->tcp, n->tcpOptions.clear(); }));
    EXPECT(!merges(r, [](Recipe* n) { n->v6 = !n->v6; }));
    if (r.noEthernet) {
      EXPECT(!merges(r, [](Recipe* n) { n->noEthernet = false; }));
    } else {
      EXPECT(!merges(r, [](Recipe* n) { n->lastMacByte++; }));
      EXPECT(!merges(r, [](Recipe* n) { n->tags.push_back(0x8100); }));
      EXPECT(!merges(r, [](Recipe* n) { n->noEthernet = true; }));
    }
    if (!r.tags.empty()) {
      EXPECT(!merges(r, [](Recipe* n) { n->tci++; }));
      EXPECT(!merges(r, [](Recipe* n) { n->tags.back() = 0x88a8; }));
    }
    if (r.v6) {
      EXPECT(!merges(r, [](Recipe* n) { n->flowLabel++; }));
      EXPECT(!merges(r, [](Recipe* n) {
        n->extensionTypes = {60};
        n->extensions = {0, 0, 1, 4, 0, 0, 0, 0};
      }));
    } else {
      EXPECT(!merges(r, [](Recipe* n) { n->fragment = 0; }));       // not DF
      EXPECT(!merges(r, [](Recipe* n) { n->fragment = 0x6000; }));  // first fragment
      EXPECT(!merges(r, [](Recipe* n) { n->fragment = 0x4001; }));  // later fragment
      EXPECT(!merges(r, [](Recipe* n) { n->fragment = 0xc000; }));  // reserved bit
      EXPECT(!merges(r, [](Recipe* n) { n->id++; }));               // one is missing
      EXPECT(!merges(r, [](Recipe* n) { n->id = static_cast<uint16_t>(n->id - 2); }));
      EXPECT(!merges(r, [](Recipe* n) { n->ipOptions = {1, 1, 1, 0}; }));
      EXPECT(merges(r, [](Recipe* n) { n->id--; }));  // fixed, with DF
      Recipe mayBeFragmented = r;
      mayBeFragmented.fragment = 0;
      EXPECT(merges(mayBeFragmented, nullptr));
      EXPECT(!merges(mayBeFragmented, [](Recipe* n) { n->id--; }));
      EXPECT(!merges(mayBeFragmented, [](Recipe* n) { n->fragment = 0x4000; }));
    }
    if (r.tcp) {
      EXPECT(!merges(r, [](Recipe* n) { n->seq++; }));             // gap
      EXPECT(!merges(r, [](Recipe* n) { n->seq--; }));             // overlap
      EXPECT(!merges(r, [](Recipe* n) { n->seq -= kFirstLen; }));  // repetition
      EXPECT(!merges(r, [](Recipe* n) { n->ack++; }));
      EXPECT(!merges(r, [](Recipe* n) { n->window--; }));
      EXPECT(!merges(r, [](Recipe* n) { n->urgent++; }));
      EXPECT(!merges(r, [](Recipe* n) { n->reserved = 1; }));
      EXPECT(!merges(r, [](Recipe* n) { append(&n->tcpOptions, {1, 1, 1, 1}); }));
      EXPECT(merges(r, [](Recipe* n) { n->flags |= kPsh; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags |= kFin; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags |= kSyn; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags |= kRst; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags |= kUrg; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags |= kEce; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags |= kCwr; }));
      EXPECT(!merges(r, [](Recipe* n) { n->flags = 0; }));
      if (!r.tcpOptions.empty()) {
        EXPECT(!merges(r, [](Recipe* n) { n->tcpOptions.back()++; }));
        EXPECT(!merges(r, [](Recipe* n) { n->tcpOptions.clear(); }));
      }
    }
  }
}

bool leads(const Recipe& r, const Bytes& bytes, bool udp = true) {
  const Exact frame(bytes);
  Coalescer coalescer;
  const bool started = coalescer.start(frame.data(), frame.size(), r.noEthernet, udp);
  EXPECT(coalescer.count() == (started ? 1 : 0) && frame.bytes() == bytes);
  return started;
}

void frames_that_lead_no_run() {
  for (const Recipe& r : all_recipes()) {
    const Bytes payload = random_bytes(100);
    const Bytes good = build(r, payload);
    EXPECT(leads(r, good) == (r.ipOptions.empty() && r.extensions.empty()));
  }
  for (const Recipe& r : mergeable_recipes()) {
    const Bytes payload = random_bytes(100);
    const Bytes good = build(r, payload);
    const auto edited = [&](Edit edit) {
      Recipe e = r;
      edit(&e);
      return leads(e, build(e, payload));
    };
    EXPECT(leads(r, good) && leads(r, good, false) == r.tcp);
    EXPECT(!leads(r, build(r, Bytes())));  // nothing to merge
    Bytes padded = good;
    padded.push_back(0);
    EXPECT(!leads(r, padded));
    EXPECT(!edited([](Recipe* e) { e->sum = L4Sum::kPartial; }));
    if (!r.v6) {
      EXPECT(!edited([](Recipe* e) { e->fragment = 0x2000; }));
      EXPECT(!edited([](Recipe* e) { e->fragment = 0x0001; }));
      EXPECT(!edited([](Recipe* e) { e->fragment = 0x8000; }));
    }
    if (r.tcp) {
      for (uint8_t flag : {kFin, kSyn, kRst, kPsh, kUrg, kEce, kCwr}) {
        Recipe e = r;
        e.flags |= flag;
        EXPECT(!leads(e, build(e, payload)));
      }
      EXPECT(!edited([](Recipe* e) { e->flags = 0; }));
      EXPECT(!edited([](Recipe* e) { e->reserved = 1; }));
    } else {
      Bytes unsummed = good;
      write16(&unsummed[r.l4() + 6], 0);
      EXPECT(!leads(r, unsummed));
    }
  }
}

// Makes the checksums of a changed frame right again, as if all of it were the packet `r` describes:
// so a wrong length field is not refused for its checksum.
void repair(Bytes* bytes, const Recipe& r) {
  if (bytes->size() < r.payload()) return;
  uint8_t* ip = bytes->data() + r.l3();
  uint8_t* l4 = bytes->data() + r.l4();
  const size_t l4Len = bytes->size() - r.l4();
  if (!r.v6) {
    write16(ip + 10, 0);
    write16(ip + 10, 0xffffu ^ naive_sum(ip, r.l4() - r.l3(), 0));
  }
  const uint64_t pseudo = naive_sum(ip + (r.v6 ? 8 : 12), r.v6 ? 32 : 8, l4Len + (r.tcp ? 6 : 17));
  uint8_t* field = l4 + (r.tcp ? 16 : 6);
  write16(field, 0);
  const size_t sum = 0xffffu ^ naive_sum(l4, l4Len, pseudo);
  write16(field, sum == 0 && !r.tcp ? 0xffff : sum);
}

// Checksums are right, a length is not; or a datagram has no checksum, and its segment would get one.
void lengths_that_disagree_never_merge() {
  for (const Recipe& r : mergeable_recipes()) {
    Recipe next = r;
    next.id++;
    next.seq += 50;
    const Exact first(build(r, random_bytes(50)));
    const Bytes good = build(next, random_bytes(50));
    const auto merged = [&](const Bytes& bytes) {
      const Exact second(bytes);
      Coalescer coalescer;
      EXPECT(coalescer.start(first.data(), first.size(), r.noEthernet, true));
      return coalescer.add(second.data(), second.size());
    };
    EXPECT(merged(good));
    for (int delta : {-1, 1}) {
      std::vector<size_t> fields = {r.l3() + (r.v6 ? 5 : 3)};
      if (!r.tcp) fields.push_back(r.l4() + 5);
      for (size_t field : fields) {
        Bytes bad = good;
        bad[field] = static_cast<uint8_t>(bad[field] + delta);
        repair(&bad, next);
        EXPECT(!merged(bad));
      }
    }
    Bytes padded = good;
    padded.push_back(0);  // sums stay right, but for the length in the pseudo-header
    EXPECT(!merged(padded));
    repair(&padded, next);
    EXPECT(!merged(padded));
    if (!r.tcp) {
      Bytes unsummed = good;
      write16(&unsummed[r.l4() + 6], 0);
      EXPECT(!merged(unsummed));
      // A field of 0 that sums up all the same, because the payload makes up for it.
      Bytes lucky = good;
      const size_t word = read16(&lucky[r.payload()]), sum = read16(&lucky[r.l4() + 6]);
      write16(&lucky[r.l4() + 6], 0);
      write16(&lucky[r.payload()], (word + sum) % 0xffff);
      EXPECT(!merged(lucky));
    }
  }
}

// Any single bit flipped after the checksums were made, in either frame.
void a_wrong_checksum_never_merges() {
  for (const Recipe& r : mergeable_recipes()) {
    const Bytes first = build(r, random_bytes(20));
    Recipe next = r;
    next.id++;
    next.seq += 20;
    const Bytes second = build(next, random_bytes(20));
    const auto both = [&](const Bytes& a, const Bytes& b) {
      const Exact x(a), y(b);
      Coalescer coalescer;
      return coalescer.start(x.data(), x.size(), r.noEthernet, true) && coalescer.add(y.data(), y.size());
    };
    EXPECT(both(first, second));
    for (size_t bit = 0; bit < first.size() * 8; bit++) {
      Bytes a = first, b = second;
      a[bit / 8] = static_cast<uint8_t>(a[bit / 8] ^ 1u << bit % 8);
      b[bit / 8] = static_cast<uint8_t>(b[bit / 8] ^ 1u << bit % 8);
      EXPECT(!both(a, second) && !both(first, b));
    }
  }
}

// Frames of `lengths`, offered in turn; says which were taken.
std::string offer(const Recipe& r, const std::vector<size_t>& lengths, size_t pshAt = SIZE_MAX) {
  std::string taken;
  std::vector<Exact> frames;
  Coalescer coalescer;
  Recipe next = r;
  for (size_t i = 0; i < lengths.size(); i++) {
    next.flags = static_cast<uint8_t>(kAck | (i == pshAt ? kPsh : 0));
    frames.emplace_back(build(next, random_bytes(lengths[i])));
    const Exact& f = frames.back();
    const bool ok =
        i == 0 ? coalescer.start(f.data(), f.size(), r.noEthernet, true) : coalescer.add(f.data(), f.size());
    taken += ok ? 'y' : 'n';
    if (!ok) continue;  // the next frame takes its place in the stream
    next.id++;
    next.seq += static_cast<uint32_t>(lengths[i]);
  }
  return taken;
}

void a_run_ends() {
  for (const Recipe& r : mergeable_recipes()) {
    EXPECT(offer(r, {100, 100, 100, 40}) == "yyyy");
    EXPECT(offer(r, {100, 40, 100}) == "yyn");  // shorter: was the last
    EXPECT(offer(r, {100, 40, 40}) == "yyn");
    EXPECT(offer(r, {100, 101, 100, 0, 100}) == "ynyny");  // a refusal leaves the run as it was
    if (r.tcp) EXPECT(offer(r, {100, 100, 100, 100}, 2) == "yyyn");
    if (!r.tcp) EXPECT(offer(r, std::vector<size_t>(66, 10)) == std::string(64, 'y') + "nn");
  }
}

void a_run_fills_a_packet_and_no_more() {
  for (const Recipe& r : mergeable_recipes()) {
    const size_t most = 65535 + r.l3() - r.payload();
    const size_t size = 1400, whole = most / size, rest = most % size;
    std::vector<size_t> lengths(whole, size);
    lengths.push_back(rest + 1);
    lengths.push_back(rest);
    EXPECT(offer(r, lengths) == std::string(whole, 'y') + "ny");
  }
}

void fixed_and_consecutive_ids_do_not_mix() {
  const auto run = [](const std::vector<uint16_t>& ids) {
    Coalescer coalescer;
    std::vector<Exact> frames;
    std::string taken;
    Recipe r = recipe(false, true);
    for (uint16_t id : ids) {
      r.id = id;
      frames.emplace_back(build(r, random_bytes(50)));
      const Exact& f = frames.back();
      const bool ok = frames.size() == 1 ? coalescer.start(f.data(), f.size(), false, false)
                                         : coalescer.add(f.data(), f.size());
      taken += ok ? 'y' : 'n';
      if (ok) r.seq += 50;
    }
    return taken;
  };
  EXPECT(run({7, 7, 7}) == "yyy" && run({0, 0, 0}) == "yyy");
  EXPECT(run({7, 8, 9}) == "yyy" && run({0xffff, 0, 1}) == "yyy");
  EXPECT(run({7, 7, 8, 9}) == "yynn" && run({7, 8, 8, 9}) == "yyny" && run({7, 8, 7}) == "yyn");
}

void nothing_happens_before_start() {
  Coalescer coalescer;
  const Recipe r = recipe(false, true);
  const Exact good(build(r, random_bytes(100))), bad(random_bytes(100));
  EXPECT(coalescer.count() == 0 && !coalescer.add(good.data(), good.size()));
  EXPECT(coalescer.finish().gsoType == kGsoNone);
  EXPECT(coalescer.start(good.data(), good.size(), false, false) && coalescer.count() == 1);
  EXPECT(!coalescer.start(bad.data(), bad.size(), false, false) && coalescer.count() == 0);
  EXPECT(!coalescer.add(good.data(), good.size()));
  EXPECT(coalescer.start(good.data(), good.size(), false, false));
  coalescer.finish();
  Recipe next = r;
  next.id++;
  next.seq += 100;
  const Exact second(build(next, random_bytes(100)));
  EXPECT(!coalescer.add(second.data(), second.size()));  // the run is over
}

// What is merged can be taken apart again into exactly the frames that came in.
void mutated_runs_lose_nothing() {
  const std::vector<Recipe> recipes = mergeable_recipes();
  int merged = 0;
  for (int i = 0; i < 200000; i++) {
    Recipe r = recipes[pick(recipes.size())];
    const size_t size = between(1, 60);
    std::vector<Exact> frames;
    const size_t spoilt = pick(3);
    for (size_t k = 0; k < 3; k++) {
      Bytes bytes = build(r, random_bytes(k == 2 ? between(1, size) : size));
      if (k == spoilt) {
        if (chance(2)) {
          mutate(&bytes, r.payload());
        } else {
          const size_t at = r.l3() + pick(r.payload() - r.l3());  // one field, and often a small change
          bytes[at] = static_cast<uint8_t>(bytes[at] ^ 1u << pick(8));
        }
        if (!chance(4)) repair(&bytes, r);
      }
      frames.emplace_back(bytes);
      r.id++;
      r.seq += static_cast<uint32_t>(size);
    }
    Coalescer coalescer;
    if (!coalescer.start(frames[0].data(), frames[0].size(), r.noEthernet, true)) continue;
    std::vector<Bytes> before = {frames[0].bytes()};
    std::vector<Exact> run;
    run.push_back(std::move(frames[0]));
    for (size_t k = 1; k < 3; k++) {
      if (!coalescer.add(frames[k].data(), frames[k].size())) continue;
      before.push_back(frames[k].bytes());
      run.push_back(std::move(frames[k]));
    }
    SuperFrame super = coalescer.finish();
    const Exact whole(gather(super, run, coalescer.payloadOffset()));
    EXPECT(super.len == whole.size());
    if (run.size() == 1) {
      EXPECT(whole.bytes() == before[0] && super.gsoType == kGsoNone);
      continue;
    }
    merged++;
    super.bytes = whole.data();
    bool ok = false;
    std::vector<Bytes> after = segments_of(super, &ok);
    if (!r.v6 && after.size() > 1 && before[0].size() > r.l3() + 6 &&
        read16(&before[0][r.l3() + 4]) == read16(&before[1][r.l3() + 4])) {
      for (size_t k = 0; k < after.size(); k++) {  // fixed ids come back counted
        write16(&after[k][r.l3() + 4], read16(&before[0][r.l3() + 4]));
        repair(&after[k], r);
      }
    }
    EXPECT(ok && after == before);
  }
  EXPECT(merged > 20000);
}

const std::vector<Test> kTests = {
    TEST(checksum_of_every_length_and_alignment),
    TEST(checksum_of_random_lengths),
    TEST(checksum_loses_no_carry),
    TEST(checksum_of_rfc1071_example),
    TEST(checksums_chain_after_even_parts),
    TEST(finish_completes_a_partial_checksum),
    TEST(finish_stores_udp_zero_as_ones),
    TEST(finish_refuses_a_field_outside),
    TEST(segments_equal_the_frames_of_the_builder),
    TEST(the_longest_packet_is_segmented),
    TEST(fields_of_a_tcp_super_frame),
    TEST(fields_of_a_udp6_super_frame),
    TEST(cwr_stays_everywhere_without_ecn),
    TEST(a_udp_checksum_of_zero_is_sent_as_ones),
    TEST(ethernet_padding_is_not_payload),
    TEST(a_routing_header_names_the_final_destination),
    TEST(an_ipv4_header_is_not_its_own_payload),
    TEST(super_frames_that_do_not_add_up_are_refused),
    TEST(headers_longer_than_the_buffer_are_refused),
    TEST(every_truncation_is_refused),
    TEST(nothing_happens_before_init),
    TEST(mutated_super_frames_stay_sane),
    TEST(segments_coalesce_into_the_original),
    TEST(one_refusal_per_rule),
    TEST(frames_that_lead_no_run),
    TEST(lengths_that_disagree_never_merge),
    TEST(a_wrong_checksum_never_merges),
    TEST(a_run_ends),
    TEST(a_run_fills_a_packet_and_no_more),
    TEST(fixed_and_consecutive_ids_do_not_mix),
    TEST(nothing_happens_before_start),
    TEST(mutated_runs_lose_nothing),
};

}  // namespace

int main() { return run_all(kTests); }
