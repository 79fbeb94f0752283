// Coalescing (GRO): consecutive segments of one flow back into a super-frame. Pure; the
// rules are those of Linux's GRO (net/ipv4/tcp_offload.c, udp_offload.c):
//   same Ethernet header and tags, addresses, ports, TTL, TOS, DF, acknowledgement, window, options;
//   next sequence number; every segment but the last as long as the first; no flags but ACK,
//   and PSH, which ends the run; IPv4 ids consecutive or, with DF, fixed; no IP options or
//   extension headers, no fragments, no padding after the packet; at most 64 UDP datagrams.
// Checksums are verified first: a frame with a wrong one, or UDP without one, is never merged. Where senders
// of this machine are heard, one that was left unfinished is as good as right.
#pragma once
#include <cstddef>
#include <cstdint>
#include "segment.h"

namespace taploom {

// A run of frames that may be merged. Usage: start(first), then add(next) until it refuses;
// finish() patches the first frame's headers into those of the super-frame. The payload bytes
// of the frames added stay where they are: the caller gathers them (payloadOffset onwards).
class Coalescer {
 public:
  // False: this frame can never lead a run (not TCP or UDP, no payload, flags, PSH included,
  // fragment, bad checksum): send it alone.
  // `udp`: merge UDP datagrams too (USO), which is only right for a receiver that asked.
  // `unfinished`: take checksums that are the pseudo-header's sum only.
  bool start(uint8_t* frame, size_t len, bool noEthernet, bool udp, bool unfinished = false);
  // True: the frame continues the run, its payload is frame + payloadOffset() .. len.
  // False leaves the run as it was; the frame may start the next one.
  bool add(const uint8_t* frame, size_t len);
  int count() const { return count_; }  // frames in the run; 0 after a failed start
  bool partial() const { return partial_; }  // the first frame's checksum is unfinished
  const Layers& layers() const { return at_; }
  size_t payloadOffset() const { return at_.payload; }
  size_t totalLen() const { return total_; } // headers and all payload, at most 65535 + L2
  // Writes lengths, PSH and a partial checksum into the first frame and ends the run; describes
  // the result: `bytes` holds the headers and the first payload, `len` counts what the caller
  // gathers. With count() == 1 it leaves the frame as it was and gsoType 0.
  SuperFrame finish();

 private:
  bool isPartial(const uint8_t* frame, size_t len) const;
  bool verified(const uint8_t* frame, size_t len) const;

  uint8_t* first_ = nullptr;
  Layers at_{};         // of the first frame, and so of all
  size_t total_ = 0;    // bytes of the super-frame so far
  size_t segment_ = 0;  // payload bytes of the first frame
  int count_ = 0;
  uint32_t nextSeq_ = 0;
  uint16_t firstId_ = 0;
  bool closed_ = false, noEthernet_ = false, fixedId_ = false, psh_ = false;
  bool unfinished_ = false, partial_ = false;
};

}  // namespace taploom
