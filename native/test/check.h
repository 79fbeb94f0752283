// The little a test program needs: EXPECT, seeded randomness, exact heap blocks, a table of tests.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using Bytes = std::vector<uint8_t>;

inline int failuresHere = 0;  // of the running test

// Reports the first few failures of a test; the rest of a loop would say the same.
#define EXPECT(condition)                                                \
  do {                                                                   \
    if (!(condition) && ++failuresHere <= 3)                             \
      std::printf("  %s line %d: %s\n", __FILE__, __LINE__, #condition); \
  } while (0)

inline std::mt19937 generator(20240229);
inline size_t pick(size_t below) { return generator() % below; }
inline bool chance(size_t oneIn) { return pick(oneIn) == 0; }
inline size_t between(size_t from, size_t to) { return from + pick(to - from + 1); }

inline Bytes random_bytes(size_t len) {
  Bytes bytes(len);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(generator());
  return bytes;
}

// A copy on the heap with nothing behind it, not even a vector's spare capacity.
class Exact {
 public:
  explicit Exact(const Bytes& bytes) : Exact(bytes.data(), bytes.size()) {}
  Exact(const uint8_t* bytes, size_t len) : data_(static_cast<uint8_t*>(std::malloc(len))), len_(len) {
    if (len != 0) std::memcpy(data_, bytes, len);
  }
  Exact(Exact&& other) noexcept : data_(other.data_), len_(other.len_) { other.data_ = nullptr; }
  Exact(const Exact&) = delete;
  Exact& operator=(const Exact&) = delete;
  ~Exact() { std::free(data_); }
  uint8_t* data() const { return data_; }
  size_t size() const { return len_; }
  Bytes bytes() const { return Bytes(data_, data_ + len_); }

 private:
  uint8_t* data_;
  size_t len_;
};

struct Test {
  const char* name;
  void (*run)();
};
#define TEST(name) \
  { #name, name }

// A test that cannot run here says why; it counts as skipped, never as passed.
inline std::string skippedHere;
inline void skip(const std::string& why) { skippedHere = why; }

// Runs every test and prints what failed and what was skipped. The process's exit code.
inline int run_all(const std::vector<Test>& tests) {
  int passed = 0, failed = 0, skipped = 0;
  for (const Test& test : tests) {
    failuresHere = 0;
    skippedHere.clear();
    test.run();
    if (failuresHere != 0) {
      std::printf("FAIL %s (%d)\n", test.name, failuresHere);
      failed++;
    } else if (!skippedHere.empty()) {
      std::printf("skipped %s: %s\n", test.name, skippedHere.c_str());
      skipped++;
    } else {
      passed++;
    }
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 ? 0 : 1;
}
