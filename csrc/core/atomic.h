// What many threads may do to one address at once.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// Adds the bits of `mask` to a word; returns what it held before.
NC_HD uint32_t atomic_or(uint32_t* word, uint32_t mask) {
#ifdef __CUDA_ARCH__
  return atomicOr(word, mask);
#else
  return __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
#endif
}

// Raises a number that is not below 0: such IEEE numbers are ordered as their bits are.
NC_HD void atomic_max(float* target, float value) {
#ifdef __CUDA_ARCH__
  atomicMax(reinterpret_cast<int*>(target), __float_as_int(value));
#else
  float now;
  __atomic_load(target, &now, __ATOMIC_RELAXED);
  while (now < value && !__atomic_compare_exchange(target, &now, &value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
#endif
}

#ifdef __CUDACC__
template <class T> __device__ __forceinline__ void atomic_add(T* target, T value) { atomicAdd(target, value); }

__device__ __forceinline__ void atomic_max(double* target, double value) {
  atomicMax(reinterpret_cast<long long*>(target), __double_as_longlong(value));
}
#endif

}  // namespace nerfcore
