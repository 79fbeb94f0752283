// Opening devices: TAP, TUN and AF_PACKET sockets. Throws SysError, closes what it opened.
#pragma once
#include <cstdint>
#include <string>
#include <vector>
#include "netns.h"

namespace taploom {

struct TapOptions {
  std::string netns;    // path of the namespace's file, "" = own
  std::string name;     // "" or with %d: the kernel chooses
  bool tun = false;     // IP packets without Ethernet
  bool vnetHdr = true;  // IFF_VNET_HDR: needed for every offload
  int offloads = 0;     // Offload bits wanted
  int queues = 1;       // > 1: IFF_MULTI_QUEUE
  bool persist = false; // the device outlives the descriptor
  bool exclusive = true; // fail if the device exists
};

struct TapDevice {
  std::vector<int> fds; // non-blocking, close-on-exec
  std::string name;
  int offloads = 0;  // Offload bits granted
  int vnetSize = 0;  // bytes of virtio header in front of every frame
};
TapDevice open_tap(const TapOptions& options);

struct PacketSocket {
  int fd = -1;
  int vnetSize = 0;
};
// A raw socket on an existing device: promiscuous, our own frames not echoed, the VLAN tag the
// kernel took off reported beside the frame (PACKET_AUXDATA).
PacketSocket open_packet(const std::string& netns, const std::string& name, bool vnetHdr);

void set_persist(int fd, bool on);
void set_carrier(int fd, bool on);

} // namespace taploom
