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

}  // namespace nerfcore
