// The data path's class as JavaScript sees it: attach, rx, tx, wait. Errors are negative errno.
#pragma once
#include <napi.h>

namespace taploom {
Napi::Function define_io(Napi::Env env);
} // namespace taploom
