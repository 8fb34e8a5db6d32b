// Host/device portability: one body of mathematics for g++ and nvcc. No torch, no STL in device code.
#pragma once
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define NC_HD __host__ __device__ __forceinline__
#else
#define NC_HD inline __attribute__((always_inline))
#endif

namespace nerfcore {

template <class T> NC_HD T min_of(T a, T b) { return a < b ? a : b; }
template <class T> NC_HD T max_of(T a, T b) { return a > b ? a : b; }
template <class T> NC_HD T clamp(T x, T low, T high) { return min_of(max_of(x, low), high); }

// Of a word that is not 0: the number of its lowest bit.
NC_HD int lowest_bit(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __ffs(int(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}

NC_HD int lowest_bit(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return __builtin_ctzll(word);
#endif
}

NC_HD int count_bits(uint32_t word) {
#ifdef __CUDA_ARCH__
  return __popc(word);
#else
  return __builtin_popcount(word);
#endif
}

NC_HD int count_bits(uint64_t word) {
#ifdef __CUDA_ARCH__
  return __popcll(word);
#else
  return __builtin_popcountll(word);
#endif
}

}  // namespace nerfcore
