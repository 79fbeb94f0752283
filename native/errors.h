// A failed system call as a JavaScript Error: message is a sentence, `code` the errno's name,
// `errno` negative as Node's own, `syscall` what failed.
#pragma once
#include <napi.h>

#include <cerrno>
#include <cstring>

#include "netns.h"

namespace taploom {

inline const char* errno_name(int err) {
  const char* name = strerrorname_np(err);
  return name ? name : "EUNKNOWN";
}

[[noreturn]] inline void throw_js(Napi::Env env, const SysError& e) {
  const char* code = errno_name(e.err);
  Napi::Error error = Napi::Error::New(env, e.what + ": " + std::strerror(e.err) + " (" + code + ", " + e.syscall + ")");
  error.Set("code", Napi::String::New(env, code));
  error.Set("errno", Napi::Number::New(env, -e.err));
  error.Set("syscall", Napi::String::New(env, e.syscall));
  throw error;
}

// Runs `work`, turning a SysError into a thrown JavaScript Error.
template <class F>
auto guarded(Napi::Env env, F work) -> decltype(work()) {
  try {
    return work();
  } catch (const SysError& e) {
    throw_js(env, e);
  }
}

} // namespace taploom
