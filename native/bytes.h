// Pure functions over bytes for TypeScript: checksum, segmentation, coalescing.
#pragma once
#include <napi.h>

namespace taploom {
void define_bytes(Napi::Env env, Napi::Object exports);
} // namespace taploom
