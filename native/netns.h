// Doing something inside a network namespace.
#pragma once
#include <functional>
#include <string>

namespace taploom {

// A failed system call, before it becomes a JavaScript Error with code, syscall and sentence.
struct SysError {
  int err;
  std::string syscall;
  std::string what; // what was attempted, for people
};

// Runs `work` inside the namespace whose file is `path` ("" = the process's own). A thread of
// its own enters the namespace and ends there, so the calling thread never leaves its own,
// not even when something fails half-way. Throws SysError.
void in_namespace(const std::string& path, const std::function<void()>& work);

} // namespace taploom
