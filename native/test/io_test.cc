// Tests of receive.cc, transmit.cc, device.cc, netns.cc and link.cc, without Node.
//
//   pair_test.cc     over socket pairs: needs nothing
//   udp_test.cc      over UDP sockets of the loopback device
//   underlay_test.cc  over an underlay TAP: needs root, iproute2 and Linux 6.17, and is skipped without
//   device_test.cc   over TAPs, TUNs, veth pairs and packet sockets, in a network namespace of this
//                    process's own: needs root and iproute2, and is skipped without
//
// Deterministic but for what the kernel does in between.
#include <csignal>

#include "check.h"

std::vector<Test> pair_tests();
std::vector<Test> udp_tests();
std::vector<Test> underlay_tests();
std::vector<Test> device_tests();

int main() {
  std::signal(SIGPIPE, SIG_IGN);  // no device does that, but a socket without a peer does
  std::vector<Test> tests = pair_tests();
  for (const Test& test : udp_tests()) tests.push_back(test);
  for (const Test& test : underlay_tests()) tests.push_back(test);
  for (const Test& test : device_tests()) tests.push_back(test);
  return run_all(tests);
}
