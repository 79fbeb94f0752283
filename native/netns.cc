#include "netns.h"

#include <cerrno>
#include <exception>
#include <fcntl.h>
#include <sched.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace taploom {

void in_namespace(const std::string& path, const std::function<void()>& work) {
  if (path.empty()) return work();
  int ns = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (ns < 0) throw SysError{errno, "open", "cannot open network namespace " + path};
  std::exception_ptr failure;
  try {
    std::thread visitor([&] {
      try {
        if (setns(ns, CLONE_NEWNET) < 0)
          throw SysError{errno, "setns", "cannot enter network namespace " + path};
        work();
      } catch (...) {
        failure = std::current_exception();
      }
    });
    visitor.join();
  } catch (const std::system_error& e) { // no thread to be had
    close(ns);
    throw SysError{e.code().value(), "clone", "cannot visit network namespace " + path};
  }
  close(ns);
  if (failure) std::rethrow_exception(failure);
}

} // namespace taploom
