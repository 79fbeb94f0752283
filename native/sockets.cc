#include "sockets.h"

#include "arguments.h"
#include "echo.h"
#include "errors.h"

namespace taploom {
namespace {

Napi::Int32Array words_of(const Napi::Object& o, const char* key) {
  Napi::Value v = o.Get(key);
  if (!v.IsTypedArray() || v.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    throw Napi::TypeError::New(o.Env(), std::string("Io.attachUdp: ") + key + " is not an Int32Array");
  return v.As<Napi::Int32Array>();
}

std::string text(const Napi::Value& value) { return value.ToString(); }
int number(const Napi::Value& value) { return value.ToNumber(); }

int family_of(const Napi::Object& o) {
  const int family = int_of(o, "family", 0);
  if (family != 4 && family != 6) throw Napi::RangeError::New(o.Env(), "family: 4 or 6");
  return family;
}

// openUdp({ netns, family, local, port, device, df, zeroChecksum, acceptZero, receive, ttl, tos, buffer })
Napi::Value js_open_udp(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object o = object_arg(info, "openUdp");
  UdpOptions options;
  options.netns = string_of(o, "netns");
  options.family = family_of(o);
  options.local = string_of(o, "local");
  options.port = int_of(o, "port", 0);
  options.device = string_of(o, "device");
  options.df = string_of(o, "df") == "set";
  options.zeroChecksum = bool_of(o, "zeroChecksum", false);
  options.acceptZero = bool_of(o, "acceptZero", false);
  options.receive = bool_of(o, "receive", true);
  options.ttl = int_of(o, "ttl", options.ttl);
  options.tos = int_of(o, "tos", options.tos);
  options.buffer = int_of(o, "buffer", options.buffer);
  if (options.ttl < 1 || options.ttl > 255) throw Napi::RangeError::New(env, "ttl: 1 to 255");
  if (options.tos < 0 || options.tos > 255) throw Napi::RangeError::New(env, "tos: 0 to 255");
  const UdpSocket socket = guarded(env, [&] { return open_udp(options); });
  Napi::Object result = Napi::Object::New(env);
  result.Set("fd", socket.fd);
  result.Set("port", socket.port);
  return result;
}

// joinGroup, leaveGroup(fd, group, device)
template <bool join>
Napi::Value js_membership(const Napi::CallbackInfo& info) {
  const int fd = number(info[0]);
  const std::string group = text(info[1]), device = text(info[2]);
  guarded(info.Env(), [&] { change_membership(fd, group, device, join); });
  return info.Env().Undefined();
}

// groupSender(fd, device, ttl)
Napi::Value js_group_sender(const Napi::CallbackInfo& info) {
  const int fd = number(info[0]), ttl = number(info[2]);
  const std::string device = text(info[1]);
  guarded(info.Env(), [&] { group_sender(fd, device, ttl); });
  return info.Env().Undefined();
}

// pathMtu(netns, local, remote)
Napi::Value js_path_mtu(const Napi::CallbackInfo& info) {
  const std::string netns = text(info[0]), local = text(info[1]), remote = text(info[2]);
  return Napi::Number::New(info.Env(), guarded(info.Env(), [&] { return path_mtu(netns, local, remote); }));
}

Napi::Value js_socket_drops(const Napi::CallbackInfo& info) {
  const int fd = number(info[0]);
  return Napi::Number::New(info.Env(), guarded(info.Env(), [&] { return socket_drops(fd); }));
}

// openEcho({ netns, family, local, device })
Napi::Value js_open_echo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object o = object_arg(info, "openEcho");
  const int family = family_of(o);
  return Napi::Number::New(env, guarded(env, [&] {
                             return open_echo(string_of(o, "netns"), family, string_of(o, "local"),
                                              string_of(o, "device"));
                           }));
}

// echo(fd, remote, id, seq, bytes, df) -> 0 or -errno
Napi::Value js_echo(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), send_echo(number(info[0]), text(info[1]), number(info[2]),
                                                 number(info[3]), number(info[4]), info[5].ToBoolean()));
}

// openUnderlay({ netns, family })
Napi::Value js_open_underlay(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object o = object_arg(info, "openUnderlay");
  const int family = family_of(o);
  const UnderlayDevice device = guarded(env, [&] { return open_underlay(string_of(o, "netns"), family); });
  Napi::Object result = Napi::Object::New(env);
  result.Set("fd", device.fd);
  result.Set("name", device.name);
  result.Set("rpFilter", device.rpFilter);
  return result;
}

// underlayCounts(netns, family, name)
Napi::Value js_underlay_counts(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  const std::string netns = text(info[0]), name = text(info[2]);
  const int family = number(info[1]);
  const UnderlayCounts counts = guarded(env, [&] { return underlay_counts(netns, family, name); });
  Napi::Object result = Napi::Object::New(env);
  result.Set("handed", counts.handed);
  result.Set("forwarded", counts.forwarded);
  return result;
}

Napi::Value js_echo_reply(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  EchoReply reply;
  if (!receive_echo(number(info[0]), &reply)) return env.Null();
  Napi::Object result = Napi::Object::New(env);
  result.Set("remote", reply.remote);
  result.Set("id", reply.id);
  result.Set("seq", reply.seq);
  result.Set("bytes", reply.bytes);
  return result;
}

}  // namespace

std::unique_ptr<AttachedTunnel> tunnel_from(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object o = object_arg(info, "Io.attachUdp");
  Napi::Value list = o.Get("fds");
  if (!list.IsArray()) throw Napi::TypeError::New(env, "Io.attachUdp: fds is not an array");
  std::vector<int> fds;
  for (uint32_t i = 0; i < list.As<Napi::Array>().Length(); i++)
    fds.push_back(number(list.As<Napi::Array>().Get(i)));
  const int receivers = int_of(o, "receivers", 1);
  if (receivers < 1 || static_cast<size_t>(receivers) > fds.size())
    throw Napi::RangeError::New(env, "Io.attachUdp: receivers: 1 to the number of fds");
  const int underlay = int_of(o, "underlay", -1);
  if (int_of(o, "header", kTunnelHeader) != kTunnelHeader)
    throw Napi::RangeError::New(env, "Io.attachUdp: a tunnel header has 8 bytes");
  Napi::Int32Array sends = words_of(o, "sends"), paths = words_of(o, "paths"), from = words_of(o, "info");
  UdpArrays arrays;
  arrays.sends = sends.Data();
  arrays.sendRows = static_cast<int>(sends.ElementLength() / kSendWords);
  arrays.paths = paths.Data();
  arrays.pathRows = static_cast<int>(paths.ElementLength() / kPathWords);
  arrays.info = from.Data();
  arrays.infoRows = static_cast<int>(from.ElementLength() / kInfoWords);
  Napi::Object kept = Napi::Array::New(env);
  kept.Set(0u, sends);
  kept.Set(1u, paths);
  kept.Set(2u, from);
  return guarded(env, [&] {
    return std::unique_ptr<AttachedTunnel>(new AttachedTunnel{
        UdpTunnel(fds, receivers, arrays, bool_of(o, "udp", false), underlay), Napi::Persistent(kept)});
  });
}

void define_sockets(Napi::Env env, Napi::Object exports) {
  exports.Set("openUdp", Napi::Function::New(env, js_open_udp));
  exports.Set("joinGroup", Napi::Function::New(env, js_membership<true>));
  exports.Set("leaveGroup", Napi::Function::New(env, js_membership<false>));
  exports.Set("groupSender", Napi::Function::New(env, js_group_sender));
  exports.Set("pathMtu", Napi::Function::New(env, js_path_mtu));
  exports.Set("socketDrops", Napi::Function::New(env, js_socket_drops));
  exports.Set("openUnderlay", Napi::Function::New(env, js_open_underlay));
  exports.Set("underlayCounts", Napi::Function::New(env, js_underlay_counts));
  exports.Set("openEcho", Napi::Function::New(env, js_open_echo));
  exports.Set("echo", Napi::Function::New(env, js_echo));
  exports.Set("echoReply", Napi::Function::New(env, js_echo_reply));
}

}  // namespace taploom
