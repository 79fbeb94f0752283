// The Internet checksum (RFC 1071) over bytes, and the big-endian words it is made of; pure
// functions without allocation.
#pragma once
#include <cstddef>
#include <cstdint>

namespace taploom {

// Big-endian words at any alignment.
inline uint16_t read16(const uint8_t* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t read32(const uint8_t* p) { return uint32_t{read16(p)} << 16 | read16(p + 2); }
inline void write16(uint8_t* p, size_t v) {
  p[0] = static_cast<uint8_t>(v >> 8);
  p[1] = static_cast<uint8_t>(v);
}
inline void write32(uint8_t* p, uint32_t v) {
  write16(p, v >> 16);
  write16(p + 2, v & 0xffff);
}

// Ones' complement sum of `len` bytes (big-endian 16-bit words, an odd last byte padded with
// zero), folded to 16 bits and added to `sum` (itself any unfolded 32-bit sum of such words).
// Not complemented. Any alignment. Vectorised. Sums can be chained while every part but the
// last has an even length.
uint16_t checksum_add(const uint8_t* data, size_t len, uint32_t sum);

// Finishes a partial checksum in place: sums from `start` to `len` (the field holds the
// pseudo-header's sum) and stores the complement at start + offset. A UDP result of 0 is
// stored as 0xffff (RFC 768): `offset` 6 tells UDP. False if the field is outside the frame.
bool checksum_finish(uint8_t* frame, size_t len, size_t start, size_t offset);

}  // namespace taploom
