#include "bytes.h"

#include <sys/mman.h>

#include <cstring>
#include <memory>

#include "checksum.h"
#include "coalesce.h"
#include "layout.h"
#include "segment.h"

namespace taploom {
namespace {

struct Bytes {
  uint8_t* data;
  size_t len;
};

Bytes bytes_arg(const Napi::CallbackInfo& info, size_t at) {
  napi_typedarray_type type;
  size_t len = 0;
  void* data = nullptr;
  if (!info[at].IsTypedArray() ||
      napi_get_typedarray_info(info.Env(), info[at], &type, &len, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array)
    throw Napi::TypeError::New(info.Env(), "a Uint8Array is expected");
  return {static_cast<uint8_t*>(data), len};
}

int int_at(const Napi::CallbackInfo& info, size_t at) {
  return info.Length() > at && info[at].IsNumber() ? info[at].As<Napi::Number>().Int32Value() : 0;
}

// checksum(bytes, from, len, sum) -> folded sum, not complemented
Napi::Value js_checksum(const Napi::CallbackInfo& info) {
  Bytes b = bytes_arg(info, 0);
  const size_t from = static_cast<uint32_t>(int_at(info, 1)), len = static_cast<uint32_t>(int_at(info, 2));
  if (from > b.len || len > b.len - from) throw Napi::RangeError::New(info.Env(), "checksum: outside the array");
  const uint32_t sum = info[3].IsNumber() ? info[3].As<Napi::Number>().Uint32Value() : 0;
  return Napi::Number::New(info.Env(), checksum_add(b.data + from, len, sum));
}

// finishChecksum(frame, start, offset) -> false if outside the frame
Napi::Value js_finish(const Napi::CallbackInfo& info) {
  Bytes b = bytes_arg(info, 0);
  const bool ok = checksum_finish(b.data, b.len, static_cast<uint32_t>(int_at(info, 1)),
                                  static_cast<uint32_t>(int_at(info, 2)));
  return Napi::Boolean::New(info.Env(), ok);
}

// segment(frame, gsoType, gsoSize, csumStart, flags) -> frames, or null when malformed
Napi::Value js_segment(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Bytes b = bytes_arg(info, 0);
  const int flags = int_at(info, 4);
  Segmenter segmenter;
  SuperFrame frame{b.data, b.len, int_at(info, 1), int_at(info, 2), int_at(info, 3),
                   (flags & kGsoEcn) != 0, (flags & kNoEthernet) != 0};
  if (!segmenter.init(frame)) return env.Null();
  Napi::Array result = Napi::Array::New(env);
  uint8_t header[kMaxSegmentHeader];
  const uint8_t* payload;
  size_t len;
  uint32_t n = 0;
  while (segmenter.next(header, &payload, &len)) {
    Napi::Buffer<uint8_t> out = Napi::Buffer<uint8_t>::New(env, segmenter.headerLen() + len);
    std::memcpy(out.Data(), header, segmenter.headerLen());
    std::memcpy(out.Data() + segmenter.headerLen(), payload, len);
    result.Set(n++, out);
  }
  return result;
}

Napi::Object merged(Napi::Env env, Napi::Buffer<uint8_t> bytes, const SuperFrame& super) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("bytes", bytes);
  o.Set("gsoType", super.gsoType);
  o.Set("gsoSize", super.gsoSize);
  o.Set("csumStart", super.csumStart);
  return o;
}

// coalesce(frames, flags, udp) -> [{ bytes, gsoType, gsoSize, csumStart }], in order; merges runs
// of neighbours and leaves the rest as it is.
Napi::Value js_coalesce(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsArray()) throw Napi::TypeError::New(env, "coalesce needs an array of frames");
  Napi::Array frames = info[0].As<Napi::Array>();
  const bool noEthernet = (int_at(info, 1) & kNoEthernet) != 0, udp = info[2].ToBoolean();
  Napi::Array result = Napi::Array::New(env);
  uint32_t out = 0;
  for (uint32_t i = 0; i < frames.Length();) {
    Napi::Value first = frames.Get(i);
    if (!first.IsBuffer()) throw Napi::TypeError::New(env, "coalesce: a frame is not a Buffer");
    Napi::Buffer<uint8_t> lead = first.As<Napi::Buffer<uint8_t>>();
    Napi::Buffer<uint8_t> head = Napi::Buffer<uint8_t>::Copy(env, lead.Data(), lead.Length());
    Coalescer run;
    uint32_t next = i + 1;
    const bool leads = run.start(head.Data(), head.Length(), noEthernet, udp);
    for (; leads && next < frames.Length(); next++) {
      Napi::Value v = frames.Get(next);
      if (!v.IsBuffer()) break;
      Napi::Buffer<uint8_t> more = v.As<Napi::Buffer<uint8_t>>();
      if (!run.add(more.Data(), more.Length())) break;
    }
    if (!leads || run.count() == 1) {
      result.Set(out++, merged(env, head, SuperFrame{}));
    } else {
      const size_t payload = run.payloadOffset();
      Napi::Buffer<uint8_t> whole = Napi::Buffer<uint8_t>::New(env, run.totalLen());
      const SuperFrame super = run.finish();
      size_t at = lead.Length();
      std::memcpy(whole.Data(), head.Data(), at);
      for (uint32_t k = i + 1; k < next; k++) {
        Napi::Buffer<uint8_t> more = frames.Get(k).As<Napi::Buffer<uint8_t>>();
        const size_t len = more.Length() - payload;
        if (at + len > whole.Length()) throw Napi::Error::New(env, "coalesce: lengths do not add up");
        std::memcpy(whole.Data() + at, more.Data() + payload, len);
        at += len;
      }
      result.Set(out++, merged(env, whole, super));
    }
    i = next;
  }
  return result;
}

// hugePages(bytes): asks the kernel for huge pages behind a big table, so that a random read does
// not pay for a page walk as well. A kernel that has none leaves everything as it was.
Napi::Value js_huge_pages(const Napi::CallbackInfo& info) {
  constexpr uintptr_t kHuge = 2u << 20;
  Bytes b = bytes_arg(info, 0);
  const uintptr_t at = reinterpret_cast<uintptr_t>(b.data);
  const uintptr_t from = (at + kHuge - 1) & ~(kHuge - 1), to = (at + b.len) & ~(kHuge - 1);
  if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
  return info.Env().Undefined();
}

} // namespace

void define_bytes(Napi::Env env, Napi::Object exports) {
  exports.Set("checksum", Napi::Function::New(env, js_checksum));
  exports.Set("finishChecksum", Napi::Function::New(env, js_finish));
  exports.Set("segment", Napi::Function::New(env, js_segment));
  exports.Set("hugePages", Napi::Function::New(env, js_huge_pages));
  exports.Set("coalesce", Napi::Function::New(env, js_coalesce));
}

} // namespace taploom
