// Reading and setting what every network device has: MAC, MTU, up, carrier. Throws SysError.
#pragma once
#include <cstdint>
#include <string>
#include "netns.h"

namespace taploom {

struct Link {
  int index = 0; // 0: no such device
  uint8_t mac[6] = {};
  bool hasMac = false;
  int mtu = 0;
  bool up = false;
  bool carrier = false; // IFF_RUNNING
};
Link read_link(const std::string& netns, const std::string& name);

struct LinkChange {
  const uint8_t* mac = nullptr; // 6 bytes, or leave it
  int mtu = 0;                  // 0: leave it
  int up = -1;                  // 0 down, 1 up, -1 leave it
};
// Applied in the order down, MAC, MTU, up.
void change_link(const std::string& netns, const std::string& name, const LinkChange& change);

} // namespace taploom
