// Growing working memory on whole cache lines: a vector that straddles two lines costs two loads.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace nerfcore {

constexpr int64_t kCacheLine = 64;

// n values of T, uninitialised. `make_room` keeps the memory that is there, but not the values if it must grow.
template <class T> class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t n) { make_room(n); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept : values(other.values), size(other.size) { other.values = nullptr, other.size = 0; }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(values, other.values), std::swap(size, other.size);
    return *this;
  }
  ~Buffer() { std::free(values); }

  void make_room(int64_t n) {
    if (n <= size) return;
    std::free(values);
    size = (n * int64_t(sizeof(T)) + kCacheLine - 1) / kCacheLine * kCacheLine / int64_t(sizeof(T));
    values = static_cast<T*>(std::aligned_alloc(kCacheLine, size_t(size) * sizeof(T)));
    if (!values) throw std::bad_alloc();
  }
  // As make_room, but keeps the first `used` values.
  void grow(int64_t n, int64_t used) {
    if (n <= size) return;
    Buffer larger(n > 2 * size ? n : 2 * size);
    if (used) std::memcpy(larger.values, values, size_t(used) * sizeof(T));
    *this = std::move(larger);
  }
  void fill(T value, int64_t n) {
    make_room(n);
    for (int64_t i = 0; i < n; ++i) values[i] = value;
  }

  T* data() { return values; }
  const T* data() const { return values; }
  T& operator[](int64_t i) { return values[i]; }
  const T& operator[](int64_t i) const { return values[i]; }

 private:
  T* values = nullptr;
  int64_t size = 0;
};

}  // namespace nerfcore
