// What JavaScript gets from this addon. src/native.ts is the typed contract; no policy here.
#include <napi.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "bytes.h"
#include "device.h"
#include "errors.h"
#include "io.h"
#include "layout.h"
#include "link.h"
#include "sockets.h"

namespace taploom {
namespace {

std::string name_arg(const Napi::Env& env, const Napi::Value& value) {
  std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
  if (name.size() > 15) throw Napi::RangeError::New(env, "a device name has at most 15 bytes: " + name);
  return name;
}

// openTap({ netns, name, tun, vnetHdr, offloads, queues, persist, exclusive })
Napi::Value js_open_tap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object o = object_arg(info, "openTap");
  TapOptions options;
  options.netns = string_of(o, "netns");
  options.name = name_arg(env, o.Get("name"));
  options.tun = bool_of(o, "tun", false);
  options.vnetHdr = bool_of(o, "vnetHdr", true);
  options.offloads = int_of(o, "offloads", 0);
  options.queues = int_of(o, "queues", 1);
  options.persist = bool_of(o, "persist", false);
  options.exclusive = bool_of(o, "exclusive", true);
  if (options.queues < 1 || options.queues > 256) throw Napi::RangeError::New(env, "queues: 1 to 256");
  TapDevice device = guarded(env, [&] { return open_tap(options); });
  Napi::Object result = Napi::Object::New(env);
  Napi::Array fds = Napi::Array::New(env, device.fds.size());
  for (size_t i = 0; i < device.fds.size(); i++) fds.Set(static_cast<uint32_t>(i), device.fds[i]);
  result.Set("fds", fds);
  result.Set("name", device.name);
  result.Set("offloads", device.offloads);
  result.Set("vnetSize", device.vnetSize);
  return result;
}

// openPacket({ netns, name, vnetHdr })
Napi::Value js_open_packet(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Object o = object_arg(info, "openPacket");
  std::string name = name_arg(env, o.Get("name"));
  PacketSocket socket =
      guarded(env, [&] { return open_packet(string_of(o, "netns"), name, bool_of(o, "vnetHdr", true)); });
  Napi::Object result = Napi::Object::New(env);
  result.Set("fd", socket.fd);
  result.Set("vnetSize", socket.vnetSize);
  return result;
}

// inode(path) -> number, -1 when there is no such file. Asked twice a second of every namespace: unlike
// fs.statSync it leaves nothing for the garbage collector.
Napi::Value js_inode(const Napi::CallbackInfo& info) {
  struct stat found;
  const bool there = info[0].IsString() && stat(info[0].As<Napi::String>().Utf8Value().c_str(), &found) == 0;
  return Napi::Number::New(info.Env(), there ? static_cast<double>(found.st_ino) : -1);
}

// readLink(netns, name) -> { index, mac, mtu, up, carrier } or null
Napi::Value js_read_link(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string netns = info[0].ToString(), name = name_arg(env, info[1]);
  Link link = guarded(env, [&] { return read_link(netns, name); });
  if (link.index == 0) return env.Null();
  Napi::Object result = Napi::Object::New(env);
  result.Set("index", link.index);
  result.Set("mac", link.hasMac ? Napi::Buffer<uint8_t>::Copy(env, link.mac, 6) : env.Null());
  result.Set("mtu", link.mtu);
  result.Set("up", link.up);
  result.Set("carrier", link.carrier);
  return result;
}

// changeLink(netns, name, { mac?, mtu?, up? })
Napi::Value js_change_link(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string netns = info[0].ToString(), name = name_arg(env, info[1]);
  if (!info[2].IsObject()) throw Napi::TypeError::New(env, "changeLink needs { mac, mtu, up }");
  Napi::Object o = info[2].As<Napi::Object>();
  LinkChange change;
  Napi::Value mac = o.Get("mac");
  if (mac.IsTypedArray()) {
    Napi::Uint8Array bytes = mac.As<Napi::Uint8Array>();
    if (bytes.ByteLength() != 6) throw Napi::RangeError::New(env, "a MAC address has 6 bytes");
    change.mac = bytes.Data();
  }
  change.mtu = int_of(o, "mtu", 0);
  Napi::Value up = o.Get("up");
  if (up.IsBoolean()) change.up = up.As<Napi::Boolean>().Value() ? 1 : 0;
  guarded(env, [&] { change_link(netns, name, change); });
  return env.Undefined();
}

Napi::Value js_set_persist(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { set_persist(info[0].ToNumber(), info[1].ToBoolean()); });
  return info.Env().Undefined();
}

Napi::Value js_set_carrier(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { set_carrier(info[0].ToNumber(), info[1].ToBoolean()); });
  return info.Env().Undefined();
}

Napi::Value js_eventfd(const Napi::CallbackInfo& info) {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw_js(info.Env(), SysError{errno, "eventfd", "cannot make a wake-up descriptor"});
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value js_wake(const Napi::CallbackInfo& info) {
  uint64_t one = 1;
  int fd = info[0].ToNumber();
  if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN)
    throw_js(info.Env(), SysError{errno, "write", "cannot wake the worker"});
  return info.Env().Undefined();
}

Napi::Value js_close(const Napi::CallbackInfo& info) {
  const double fd = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  if (!(fd >= 0)) throw Napi::TypeError::New(info.Env(), "close needs a descriptor");
  close(static_cast<int>(fd));
  return info.Env().Undefined();
}

// The numbers of layout.h, for the test that compares them with src/packet/layout.ts.
Napi::Value js_layout(const Napi::CallbackInfo& info) {
  Napi::Object o = Napi::Object::New(info.Env());
#define PUT(name) o.Set(#name, static_cast<int>(name))
  PUT(kSlotSize); PUT(kHeadroom); PUT(kMaxVnetHeader); PUT(kMetaWords);
  PUT(kHead); PUT(kLen); PUT(kPort); PUT(kFlags); PUT(kGsoType); PUT(kGsoSize); PUT(kHdrLen);
  PUT(kCsumStart); PUT(kCsumOffset); PUT(kStrip); PUT(kTci); PUT(kRemote);
  PUT(kCsumPartial); PUT(kCsumVerified); PUT(kGsoEcn); PUT(kTaken); PUT(kNoEthernet); PUT(kLoose);
  PUT(kGsoNone); PUT(kGsoTcp4); PUT(kGsoTcp6); PUT(kGsoUdp);
  PUT(kOffCsum); PUT(kOffTso4); PUT(kOffTso6); PUT(kOffEcn); PUT(kOffUso);
  PUT(kMonotonicMs); PUT(kWallSeconds); PUT(kWallNanos); PUT(kClockWords);
  PUT(kSent); PUT(kSentBytes); PUT(kNoRoom); PUT(kRefused); PUT(kDown); PUT(kMalformed); PUT(kErrno); PUT(kTxWords);
  PUT(kSendSlot); PUT(kSendPath); PUT(kSendSocket); PUT(kSendTosTtl); PUT(kSendHeader0); PUT(kSendHeader1);
  PUT(kSendResult); PUT(kSendTag); PUT(kSendWords);
  PUT(kPathFamily); PUT(kPathAddress0); PUT(kPathPort); PUT(kPathScope); PUT(kPathWords);
  PUT(kInfoFamily); PUT(kInfoAddress0); PUT(kInfoPort); PUT(kInfoTos); PUT(kInfoFlags); PUT(kInfoWords);
#undef PUT
  return o;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Io", define_io(env));
  exports.Set("openTap", Napi::Function::New(env, js_open_tap));
  exports.Set("openPacket", Napi::Function::New(env, js_open_packet));
  exports.Set("inode", Napi::Function::New(env, js_inode));
  exports.Set("readLink", Napi::Function::New(env, js_read_link));
  exports.Set("changeLink", Napi::Function::New(env, js_change_link));
  exports.Set("setPersist", Napi::Function::New(env, js_set_persist));
  exports.Set("setCarrier", Napi::Function::New(env, js_set_carrier));
  exports.Set("eventfd", Napi::Function::New(env, js_eventfd));
  exports.Set("wake", Napi::Function::New(env, js_wake));
  exports.Set("close", Napi::Function::New(env, js_close));
  exports.Set("layout", Napi::Function::New(env, js_layout));
  define_bytes(env, exports);
  define_sockets(env, exports);
  return exports;
}

} // namespace
} // namespace taploom

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return taploom::init(env, exports); }
NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)
