// One body of mathematics for a number and for a SIMD vector of numbers side by side (core/simd.h has the vector's half of each
// function): V is float, double, or a vector of them; a mask is what comparing two V gives.
#pragma once
#include "core/platform.h"

#include <cstring>
#include <type_traits>

namespace nerfcore {

template <class V> struct Lane {
  using Element = V;
  using Mask = bool;
  using Unsigned = uint32_t;
  using Bits = std::conditional_t<sizeof(V) == 4, uint32_t, uint64_t>;
};
template <class V> using Element = typename Lane<V>::Element;
template <class V> using Mask = typename Lane<V>::Mask;
template <class V> using Unsigned = typename Lane<V>::Unsigned;  // as many 32-bit integers

template <class V> NC_HD V splat(Element<V> x) { return x - V{}; }

NC_HD bool any(bool mask) { return mask; }
NC_HD uint32_t lane_bits(bool mask) { return mask; }  // bit i: whether lane i is set
NC_HD bool not_of(bool mask) { return !mask; }
template <class V> NC_HD V select(Mask<V> mask, V a, V b) { return mask ? a : b; }
template <class V> NC_HD V min_lanes(V a, V b) { return select(a < b, a, b); }
template <class V> NC_HD V max_lanes(V a, V b) { return select(a > b, a, b); }

NC_HD float floor_of(float x) { return std::floor(x); }
NC_HD double floor_of(double x) { return std::floor(x); }
NC_HD float abs_of(float x) { return std::fabs(x); }
NC_HD double abs_of(double x) { return std::fabs(x); }
NC_HD float root_of(float x) { return std::sqrt(x); }
NC_HD double root_of(double x) { return std::sqrt(x); }
NC_HD uint32_t to_unsigned(float x) { return uint32_t(int32_t(x)); }  // of a number not below 0
NC_HD uint32_t to_unsigned(double x) { return uint32_t(int32_t(x)); }

NC_HD void exponential(float x, float* exp, float* expm1) { *exp = std::exp(x), *expm1 = std::expm1(x); }
NC_HD void exponential(double x, double* exp, double* expm1) { *exp = std::exp(x), *expm1 = std::expm1(x); }

// Bit `index` of an array of 32-bit words, as the mask of a V.
template <class V> NC_HD Mask<V> test_bit(const uint32_t* words, uint32_t index) { return words[index >> 5] >> (index & 31) & 1; }

// A number not below 0 without all but its first three bits behind the leading one.
template <class V> NC_HD V keep_eighths(V x) {
  constexpr int kDropped = sizeof(Element<V>) == 4 ? 20 : 49;
  typename Lane<V>::Bits bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits = bits >> kDropped << kDropped;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

}  // namespace nerfcore
