// Density cells kept as a decaying maximum, and the bits made from them: Müller et al. 2022, appendix E.2.
#pragma once
#include "core/platform.h"

namespace nerfcore {

// Adds the bits of `mask` to a word that many threads may touch; returns what it held before.
NC_HD uint32_t atomic_or(uint32_t* word, uint32_t mask) {
#ifdef __CUDA_ARCH__
  return atomicOr(word, mask);
#else
  return __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
#endif
}

// Raises a non-negative number to `value` under the same conditions. Non-negative IEEE numbers are ordered as their bits are.
NC_HD void atomic_max(float* target, float value) {
#ifdef __CUDA_ARCH__
  atomicMax(reinterpret_cast<int*>(target), __float_as_int(value));
#else
  float held;
  __atomic_load(target, &held, __ATOMIC_RELAXED);
  while (held < value && !__atomic_compare_exchange(target, &held, &value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
#endif
}

NC_HD void atomic_max(double* target, double value) {
#ifdef __CUDA_ARCH__
  atomicMax(reinterpret_cast<long long*>(target), __double_as_longlong(value));
#else
  double held;
  __atomic_load(target, &held, __ATOMIC_RELAXED);
  while (held < value && !__atomic_compare_exchange(target, &held, &value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
#endif
}

// A cell below 0 was never seen by a camera and stays as it is; a density that is not finite is no evidence either way.
template <class T> NC_HD bool occupancy_counts(T cell, T density) { return cell >= T(0) && density - density == T(0); }

// Eight cells to a byte, the first one lowest.
template <class T> NC_HD uint8_t occupancy_byte(const T* cells, T threshold) {
  unsigned byte = 0;
  for (int i = 0; i < 8; ++i) byte |= unsigned(cells[i] > threshold) << i;
  return uint8_t(byte);
}

// Block that holds the point x in cascade c of `cascades`, each of resolution^3 blocks; -1 outside.
template <class T> NC_HD int64_t occupancy_block(const T* x, int cascade, int cascades, int resolution) {
  const T blocks_per_unit = T(resolution) * T(int64_t(1) << (cascades - 1 - cascade));
  int64_t block = 0;
  for (int d = 2; d >= 0; --d) {
    const T at = std::floor((x[d] - T(0.5)) * blocks_per_unit + T(resolution) * T(0.5));
    if (!(at >= T(0) && at < T(resolution))) return -1;
    block = block * resolution + int64_t(at);
  }
  return (int64_t(cascade) * resolution * resolution * resolution) + block;
}

}  // namespace nerfcore
