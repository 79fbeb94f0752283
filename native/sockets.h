// UDP and ICMP sockets as JavaScript sees them.
#pragma once
#include <napi.h>

#include <memory>

#include "udp.h"

namespace taploom {

// A tunnel, and the arrays it points into kept alive.
struct AttachedTunnel {
  UdpTunnel tunnel;
  Napi::ObjectReference arrays;
};

// From the arguments of Io.attachUdp; throws JavaScript errors.
std::unique_ptr<AttachedTunnel> tunnel_from(const Napi::CallbackInfo& info);

void define_sockets(Napi::Env env, Napi::Object exports);

}  // namespace taploom
