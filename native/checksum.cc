// The Internet checksum, many words at a time.
//
// RFC 1071 allows three liberties, and all three are taken here:
//
//   order      the sum of byte-swapped words is the byte-swapped sum: add in the machine's
//              order, swap once at the end
//   width      16-bit words may be added two at a time as 32-bit words, as long as no carry is
//              lost: 2^32 = 1 (mod 65535)
//   delay      carries may be folded in at the end: 32-bit words in 64-bit lanes
//
//   memory   | w0 | w1 | w2 | w3 | w4 | w5 | ...     32-bit words
//   lane 0     w0 + w1  +  w4 + w5  + ...            64 bits: full after 2^32 words,
//   lane 1     w2 + w3  +  w6 + w7  + ...            so never in a frame
//
// Read first: RFC 1071 section 2. Linux does the same in lib/checksum.c and, with add-with-carry
// instead of vectors, in arch/x86/lib/csum-partial_64.c.
//
// Notes on performance: g++ 12 -O3 on a virtual EPYC, best of many, 1400 B / 64 KiB: 64-bit adds
// with carry 111 ns / 5.0 us; the plain 32-bit loop, vectorised by the compiler, 60 / 2.6 (at
// -O2 it is not, and takes 157 / 6.4); 16-byte vectors 45 to 80 / 1.9 to 3.3 (the machine is noisy);
// 32-byte vectors 36 to 44 / 1.2 to 1.5. So both vector widths are written out, and the wider is
// chosen at run time: not by `target_clones`, whose ifunc the dynamic loader of musl lacks.
#include "checksum.h"

#include <cstring>

namespace taploom {
namespace {

// GCC and Clang turn these into SSE2, AVX2 or NEON, or into scalars where there is none.
using Lanes16 = uint64_t __attribute__((vector_size(16)));
using Lanes32 = uint64_t __attribute__((vector_size(32)));

// Unfolded sum of `len` bytes, a multiple of two vectors. Always inlined, so that it is compiled
// for the instruction set of its caller.
template <typename Lanes>
__attribute__((always_inline)) inline uint64_t sum_blocks(const uint8_t* data, size_t len) {
  constexpr size_t kWidth = sizeof(Lanes);
  const Lanes low = Lanes{} + 0xffffffffu;
  Lanes a{}, b{}, c{}, d{};  // four chains of additions, so that none waits for its own result
  for (size_t i = 0; i < len; i += 2 * kWidth) {
    Lanes x, y;
    std::memcpy(&x, data + i, kWidth);
    std::memcpy(&y, data + i + kWidth, kWidth);
    a += x & low;
    b += x >> 32;
    c += y & low;
    d += y >> 32;
  }
  a += b + c + d;
  uint64_t sum = 0;
  for (size_t i = 0; i < kWidth / sizeof(uint64_t); i++) sum += a[i];
  return sum;
}

#if defined(__x86_64__)
constexpr size_t kWideFrom = 256;  // bytes; below, the wider vectors gain nothing

__attribute__((target("avx2"), noinline)) uint64_t sum_blocks_avx2(const uint8_t* data, size_t len) {
  return sum_blocks<Lanes32>(data, len);
}
#endif

uint64_t sum_short(const uint8_t* data, size_t len) {
  uint64_t sum = 0;
  for (; len >= 4; data += 4, len -= 4) {
    uint32_t word;
    std::memcpy(&word, data, 4);
    sum += word;
  }
  if (len >= 2) {
    uint16_t word;
    std::memcpy(&word, data, 2);
    sum += word;
    data += 2;
    len -= 2;
  }
  if (len != 0) {
    uint16_t word = 0;  // the last byte is the first of its word in memory, in either byte order
    std::memcpy(&word, data, 1);
    sum += word;
  }
  return sum;
}

uint16_t fold(uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<uint16_t>(sum);
}

}  // namespace

uint16_t checksum_add(const uint8_t* data, size_t len, uint32_t sum) {
  uint64_t acc = 0;
  size_t done = 0;
#if defined(__x86_64__)
  if (len >= kWideFrom && __builtin_cpu_supports("avx2")) {
    done = len & ~size_t{63};
    acc = sum_blocks_avx2(data, done);
  }
#endif
  const size_t narrow = (len - done) & ~size_t{31};
  acc += sum_blocks<Lanes16>(data + done, narrow);
  done += narrow;
  acc += sum_short(data + done, len - done);

  uint16_t words = fold(acc);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  words = __builtin_bswap16(words);
#endif
  return fold(uint64_t{words} + sum);
}

bool checksum_finish(uint8_t* frame, size_t len, size_t start, size_t offset) {
  // Subtractions only: the two offsets come from a peer and may be anything.
  if (start > len || len - start < 2 || offset > len - start - 2) return false;
  const int result = ~checksum_add(frame + start, len - start, 0) & 0xffff;
  constexpr size_t kUdpChecksum = 6;
  const bool absent = result == 0 && offset == kUdpChecksum;  // to UDP, 0 means "no checksum"
  write16(frame + start + offset, absent ? 0xffff : static_cast<size_t>(result));
  return true;
}

}  // namespace taploom
