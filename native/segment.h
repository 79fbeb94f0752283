// Software segmentation: one TCP or UDP super-frame into frames of at most `gsoSize` payload
// bytes each, without copying a payload byte. Pure; allocates nothing.
#pragma once
#include <cstddef>
#include <cstdint>

namespace taploom {

// Ethernet + two VLAN tags + IPv6 with 256 bytes of extension headers + TCP with options.
constexpr size_t kMaxSegmentHeader = 512;

// What lies where in a frame. Offsets are from its first byte, and every one was checked:
// l3 < l4 < payload <= end <= the frame's length, payload <= kMaxSegmentHeader.
struct Layers {
  size_t l3;        // IPv4 or IPv6 header
  size_t l4;        // TCP or UDP header
  size_t payload;   // first byte after it
  size_t end;       // where the IP packet ends; what follows is Ethernet padding
  bool v6;
  bool tcp;         // else UDP
  uint32_t pseudo;  // unfolded sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1), no length
};

// Ethernet with 0..2 tags (0x8100, 0x88a8, 0x9100) or none, IPv4 or IPv6 with extension headers,
// TCP or UDP. False for anything else, for fragments, and when a length field does not add up.
bool parse_layers(const uint8_t* frame, size_t len, bool noEthernet, Layers* out);

// A super-frame as the virtio header describes it. Offsets are from the frame's first byte.
struct SuperFrame {
  const uint8_t* bytes;
  size_t len;
  int gsoType;      // Gso of layout.h
  int gsoSize;      // payload bytes per segment, > 0
  int csumStart;    // first byte of the TCP or UDP header
  bool ecn;         // kGsoEcn
  bool noEthernet;  // the frame starts with the IP header
};

// Usage: init(frame), then next() until it is false. The frame must stay where it is meanwhile;
// if somebody writes to it the segments are wrong, but no byte outside of it is read.
class Segmenter {
 public:
  // False when the headers do not add up (lengths, version, protocol, offsets): drop it.
  bool init(const SuperFrame& frame);
  int count() const { return count_; }                // segments, at least 1; 0 after a failed init
  size_t headerLen() const { return at_.payload; }    // bytes every segment starts with
  // The next segment: writes its headers (lengths, IPv4 id and checksum, TCP sequence and
  // flags, a full L4 checksum) to `header` (kMaxSegmentHeader bytes of room) and points
  // `payload` into the frame. False after the last.
  bool next(uint8_t* header, const uint8_t** payload, size_t* payloadLen);

 private:
  SuperFrame f_{};
  Layers at_{};
  size_t sent_ = 0;  // payload bytes of the segments before
  int count_ = 0, index_ = 0;
};

}  // namespace taploom
