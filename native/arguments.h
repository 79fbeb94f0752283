// Reading what JavaScript passes: an object's keys, with a default for each.
#pragma once
#include <napi.h>

#include <string>

namespace taploom {

inline std::string string_of(const Napi::Object& o, const char* key) {
  Napi::Value v = o.Get(key);
  return v.IsString() ? v.As<Napi::String>().Utf8Value() : std::string();
}
inline int int_of(const Napi::Object& o, const char* key, int otherwise) {
  Napi::Value v = o.Get(key);
  return v.IsNumber() ? v.As<Napi::Number>().Int32Value() : otherwise;
}
inline bool bool_of(const Napi::Object& o, const char* key, bool otherwise) {
  Napi::Value v = o.Get(key);
  return v.IsBoolean() ? v.As<Napi::Boolean>().Value() : otherwise;
}
inline Napi::Object object_arg(const Napi::CallbackInfo& info, const char* who) {
  if (!info[0].IsObject()) throw Napi::TypeError::New(info.Env(), std::string(who) + " needs an object");
  return info[0].As<Napi::Object>();
}

}  // namespace taploom
